"""Pictures with gaps: the model is marched while it is pulled towards what was measured.

    X <- X + dt (R(X; p) + G (data - X)),    G zero where nothing was measured.

The model fills the gaps. One step later without the pull the state is off from the data by what the model disagrees
with, so the misfit there, by the size of a step's reaction, ranks parameters; it is least near the right ones.
(Nudging is old in weather forecasting: R. Hoke and R. Anthes, Monthly Weather Review 104, 1551, 1976.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.fits.problem import Place
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.marching.backend import KERNELS
from gsimplicit.models.expression import Symbol, UntraceableError
from gsimplicit.models.pointwise import as_values

Array = np.ndarray[Any, np.dtype[np.float64]]
Box = tuple[Array, Array]
"""Lowest and highest values of the parameters."""

PULL = 0.2
"""Share of the deviation that is taken away in one step, of that at its end."""
STABLE = 0.2
"""Length of a step times the largest diffusion coefficient."""
DIFFERENCE = 1e-3
"""Step of the differences."""
STEP = 0.2
"""Largest change of a free coordinate in one round."""
ROUNDS, STEPS, SETTLED = 15, 150, 500
"""Rounds of improvement, steps in each, and steps before the first."""


@dataclass(frozen=True, eq=False)
class Nudged:
    """States of K sets of parameters, pulled towards one snapshot.

    Attributes:
        model: The model.
        snapshot: What was measured.
        values: Parameters, shape (K, P).
        fields: Shape (S, K, H, W).
        deviations: Of the state from the data after a step without a pull, by the size of a step's reaction, shape
            (K, count).
        edges: What lies outside.
    """

    model: Model
    snapshot: Snapshot
    values: Array
    fields: Array
    deviations: Array
    edges: Edges = PERIODIC

    @property
    def misfit(self) -> Array:
        """Root mean square of the deviations, shape (K,); infinite where the state is not finite."""
        with np.errstate(all="ignore"):
            size = np.sqrt((self.deviations**2).mean(1))
        return np.asarray(np.where(np.isfinite(size), size, np.inf))

    def at(self, values: Array, parents: Array, steps: int) -> Nudged:
        """Marched on at other parameters (K, P), from the states of the K parents named."""
        return marched(replace(self, values=values, fields=self.fields[:, parents]), steps)


def marched(state: Nudged, steps: int) -> Nudged:
    """Some steps further, pulled in each; the deviations are those after one more step without a pull."""
    model, snap, K = state.model, state.snapshot, len(state.values)
    S = len(model.species)
    dt = STABLE / max(float(state.values[:, :S].max()), STABLE)
    pulled = tuple(i for i in range(S) if snap.weights[i].any())
    pull = np.where(snap.there, PULL / (1 - PULL) / dt, 0.0)[list(pulled)]
    data = np.where(snap.there, snap.values, 0.0)[list(pulled)]
    still = np.broadcast_to(np.concatenate([pull, data])[:, None], (2 * len(pulled), K, *data.shape[1:]))
    both = state.edges.whole(np.concatenate([state.fields, still]).swapaxes(0, 1))
    values = np.insert(state.values, [S] * len(still), 0.0, axis=1)
    params = ModelParams.of_values(_with_pull(model, pulled), values)
    ends = KERNELS.march(params, torch.from_numpy(both), 0.0, steps, steps, dt).fields.numpy()
    x = list(state.edges.own(ends[:, :S], data.shape[1:]).swapaxes(0, 1))
    p = [column[:, None, None] for column in state.values.T]
    with np.errstate(all="ignore"):
        rates = model.residual(x, [state.edges.around(f) for f in x], p)
        off = np.stack([f + dt * r for f, r in zip(x, rates, strict=True)]) - snap.values[:, None]
        deviations = (snap.weights * off.transpose(1, 0, 2, 3))[:, snap.there] / _reacted(state, x, p, dt)[:, None]
    return replace(state, fields=np.stack(x), deviations=deviations)


@lru_cache(maxsize=16)
def _with_pull(model: Model, pulled: tuple[int, ...]) -> Model:
    """The model with a pull on some species: strengths and data are species of their own that neither react nor move.

    So whatever marches a model marches this one. Names are counted, as those of the model may be any. Where the model's
    reaction is no formula that of this one is none: traced through it, it could be another one.
    """
    S, n = len(model.species), len(pulled)

    def reaction(*given: Any) -> list[Any]:
        if model.untraced and isinstance(given[0], Symbol):
            raise UntraceableError(model.untraced)
        x, pull, data, rates = given[:S], given[S : S + n], given[S + n : S + 2 * n], given[S + 2 * n :]
        out = as_values(model.reaction(*x, *rates), S, lambda value: value)
        for i, g, d in zip(pulled, pull, data, strict=True):
            out[i] = out[i] + g * (d - x[i])
        return [*out, *(0.0 for _ in range(2 * n))]

    return Model(
        name=model.name if model.untraced else f"pulled_{model.name}",  # a warning that it is slow tells the user's
        species=tuple(f"x{i}" for i in range(S + 2 * n)),
        diffusivity=tuple(f"d{i}" for i in range(S + 2 * n)),
        rates=tuple(f"r{i}" for i in range(len(model.rates))),
        reaction=reaction,
    )


def _reacted(state: Nudged, x: list[Array], p: list[Array], dt: float) -> Array:
    """What the seen species gain and lose by reaction in a step, in standard deviations of the noise, shape (K,).

    NaN where it is not finite: nothing is small beside it.
    """
    S, snap = len(x), state.snapshot
    with np.errstate(all="ignore"):
        bare = [np.zeros_like(column) for column in p[:S]] + p[S:]
        rates = dt * np.stack(np.broadcast_arrays(*state.model.residual(x, x, bare))) * snap.weights[:, None]
        size = np.sqrt(np.sum([np.var(r, axis=(1, 2)) for r in rates], axis=0))
    return np.asarray(np.where(np.isfinite(size), np.maximum(size, 1e-300), np.nan))


def pulled(
    model: Model, snapshots: Sequence[Snapshot], start: Place, scales: Scales, box: Box, edges: Edges = PERIODIC
) -> tuple[Place, float]:
    """A start whose states and parameters were pulled towards the data, and the misfit of its first snapshot."""
    states = [Nudged(model, s, start.values[None], X[:, None], np.zeros((1, 1)), edges)
              for s, X in zip(snapshots, start.fields, strict=True)]  # fmt: skip
    first = improved(marched(states[0], SETTLED), scales, box)
    others = [marched(replace(s, values=first.values), SETTLED) for s in states[1:]]
    fields = tuple(np.ascontiguousarray(s.fields[:, 0]) for s in (first, *others))
    return Place(fields, start.drifts, first.values[0], start.gain), float(first.misfit[0])


def improved(state: Nudged, scales: Scales, within: Box, rounds: int = ROUNDS, steps: int = STEPS) -> Nudged:
    """One set of parameters (K = 1) made better by Gauss and Newton's method on the deviations.

    Derivatives are differences of states marched beside each other. Parameters stay within a lowest and a highest
    value: where nothing reacts or diffuses nothing leaves the data, so all of them small would be the best of all.
    """
    here, mu, ways = state, 1e-2, np.eye(len(scales.directions))
    for _ in range(rounds):
        values = here.values[0]
        beside = np.stack([values, *(scales.moved(values, DIFFERENCE * w) for w in ways)])
        many = here.at(beside, np.zeros(len(beside), dtype=int), steps)
        if not np.isfinite(many.misfit).all():
            return here
        r, J = many.deviations[0], (many.deviations[1:] - many.deviations[0]).T / DIFFERENCE
        H, g = J.T @ J, J.T @ r
        tried = []
        for damping in (mu / 10, mu, 10 * mu, 100 * mu):
            z: Any = -np.linalg.solve(H + damping * np.diag(np.diag(H)) + 1e-12 * np.eye(len(H)), g)
            z *= min(1.0, STEP / max(float(np.abs(z).max()), 1e-300))
            tried.append(np.clip(scales.moved(values, z), *within))
        after = many.at(np.stack([values, *tried]), np.zeros(len(tried) + 1, dtype=int), steps)
        best = int(np.argmin(after.misfit))
        here = replace(
            after, values=after.values[[best]], fields=after.fields[:, [best]], deviations=after.deviations[[best]]
        )
        mu = mu * 10 if best == 0 else (mu / 10, mu, 10 * mu, 100 * mu)[best - 1]
        if best and np.allclose(tried[best - 1], values, rtol=1e-3, atol=0):
            break
    return here
