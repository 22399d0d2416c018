"""What was measured of one set of parameters: noise, denoised and completed pictures, and whether they can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.inverse.pictures import kriging
from gsimplicit.inverse.pictures.edges import Edges
from gsimplicit.inverse.pictures.question import Pictures
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.inverse.starts.starts import Guess
from gsimplicit.models.model import UNIFORM, Model

Array = np.ndarray[Any, np.dtype[np.float64]]

SURE = 5.0
"""Standard deviations by which something must stand out of the noise."""
ROUGH = 0.15
"""What an estimate of the noise may be off by."""
FEW = 64
"""Values below which nothing is tried."""
OUTSIDE = 6.0
"""Noise by which values may lie outside what the model allows."""
ASSUMED = 0.02
"""Noise of pictures with gaps, by their standard deviation, until their fit says more."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Snapshots of one set of parameters with what is known of their noise.

    Attributes:
        snapshots: With weights by the noise.
        guess: Denoised and completed.
        noise: Standard deviation of the observed species' noise, given, estimated or assumed.
        known: Whether it was given or could be estimated.
    """

    snapshots: tuple[Snapshot, ...]
    guess: Guess
    noise: float
    known: bool


def measured(model: Model, pictures: Pictures, noise: Sequence[float | None]) -> Measured:
    """Noise, denoised pictures and weights."""
    seen, spread, edges = pictures.seen, [], pictures.edges
    completed = np.zeros_like(pictures.values)
    weights = np.zeros_like(pictures.values)
    completed[:] = np.asarray(_at_rest(model))[None, :, None, None]
    sizes = {}
    for i, given in zip(seen, noise, strict=True):
        at, there = pictures.values[:, i], pictures.there[:, i]
        own = float(np.mean([p[t].std() for p, t in zip(at, there, strict=True)]))
        whole = bool(there.all())
        size = (
            given if given is not None else float(np.mean([edges.noise_of(p) for p in at])) if whole else ASSUMED * own
        )
        sizes[i] = max(size, 1e-12 * model.scale)
        spread.append(sizes[i] / max(own, 1e-300))
        for b, (picture, where) in enumerate(zip(at, there, strict=True)):
            completed[b, i] = edges.denoised(picture, sizes[i]) if whole else _filled(picture, where, sizes[i], edges)
        weights[:, i] = there / sizes[i]
    snapshots = tuple(Snapshot(v, w, model.seen) for v, w in zip(pictures.values, weights, strict=True))
    known = pictures.whole or all(n is not None for n in noise)
    guess = Guess(tuple(completed), seen, max(spread) if known else max(*spread, 0.05), edges)
    return Measured(snapshots, guess, sizes.get(model.seen, min(sizes.values())), known)


def assumed(pictures: Pictures) -> dict[int, float]:
    """Noise of each seen species that `measured` assumes where it is neither given nor to be estimated."""

    def own(i: int) -> float:
        at, there = pictures.values[:, i], pictures.there[:, i]
        return float(np.mean([p[t].std() for p, t in zip(at, there, strict=True)]))

    return {i: ASSUMED * own(i) for i in pictures.seen}


def _filled(picture: Array, there: Any, noise: float, edges: Edges) -> Array:
    few = int(there.sum()) <= kriging.MOST
    return edges.kriged(picture, there, noise) if few else edges.filled(picture, there, noise)


def _at_rest(model: Model) -> list[float]:
    """First guesses of species that were not seen: the model's scale, which Newton's method starts from."""
    if not callable(model.rest):
        return [float(x) for x in model.rest]
    return [model.scale] * len(model.species)


def refusal(model: Model, pictures: Pictures, data: Measured, *, affine: bool) -> str:
    """Why the data cannot tell, with the number that says so; empty where they may."""
    count = int(pictures.there.sum())
    if count < FEW:
        return f"{count} values were measured, at least {FEW} are needed"
    few = _narrow(model, pictures)
    if few:
        return few
    for b, X in enumerate(data.guess.pictures):
        number = pictures.first + b
        for i in pictures.seen:
            name, there = model.species[i], pictures.there[b, i]
            values = pictures.values[b, i][there]
            noise = 1.0 / float(data.snapshots[b].weights[i].max())
            low, high = _allowed(model, i, affine=affine)
            room = OUTSIDE * noise
            if values.min() < low - room or values.max() > high + room:
                return (
                    f"{name} of picture {number} lies in {values.min():.4g} to {values.max():.4g}, the model's in "
                    f"{low:g} to {high:g}: more than {OUTSIDE:g} times the noise ({noise:.2g}) outside"
                )
        seen = model.seen if model.seen in pictures.seen else pictures.seen[0]
        values, noise = (
            pictures.values[b, seen][pictures.there[b, seen]],
            1.0 / float(data.snapshots[b].weights[seen].max()),
        )
        if X[seen].std() < UNIFORM * model.scale:
            return (
                f"picture {number} is uniform: {model.species[seen]} varies by {X[seen].std():.2g}, below "
                f"{UNIFORM * model.scale:g}; a uniform state tells nothing of diffusion"
            )
        if data.known and values.var() < noise**2 * (1 + ROUGH + SURE * np.sqrt(2 / len(values))):
            return (
                f"picture {number} is noise: its standard deviation {values.std():.3g} against {noise:.3g} of the noise"
            )
    return ""


def _narrow(model: Model, pictures: Pictures) -> str:
    """Why an open window is too small; empty where it is not."""
    (B, S, H, W), count = pictures.values.shape, int(pictures.there.sum())
    rim = S * B * (2 * H + 2 * W - 4)
    if not pictures.edges.open or count - rim >= FEW:
        return ""
    return (
        f"an open window of {H} x {W} pixels has {count // B} values, and the unknown state on its rim up to "
        f"{rim // B}: fewer than {FEW} are left for the parameters"
    )


def _allowed(model: Model, i: int, *, affine: bool) -> tuple[float, float]:
    """Lowest and highest value of a species; none of one that is seen through an unknown gain."""
    free = (-np.inf, np.inf)
    if not model.bounds or (affine and i == model.seen):
        return free
    return model.bounds[i] or free
