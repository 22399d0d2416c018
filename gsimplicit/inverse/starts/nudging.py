"""Pictures with gaps: the model is marched while it is pulled towards what was measured.

    X <- X + dt R(X; p),    then in measured pixels  x <- x + g (data - x).

The model fills the gaps. Just before the pull the state is off from the data by what the model disagrees with, so the
misfit there, by the size of a step's reaction, ranks parameters; it is least near the right ones.
(Nudging is old in weather forecasting: R. Hoke and R. Anthes, Monthly Weather Review 104, 1551, 1976.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.equations import Model
from gsimplicit.inverse.fits.problem import Place
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.pictures.snapshot import Snapshot

Array = np.ndarray[Any, np.dtype[np.float64]]
Box = tuple[Array, Array]
"""Lowest and highest values of the parameters."""

PULL = 0.2
"""Share of the deviation that is taken away in one step."""
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
        deviations: Of the state from the data before the last pull, by the size of a step's reaction, shape (K, count).
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
    """Some steps further, each followed by a pull."""
    model, snap = state.model, state.snapshot
    S = len(model.species)
    dt = min(1.0, STABLE / float(state.values[:, :S].max()))
    p = [column[:, None, None] for column in state.values.T]
    pulled = [i for i in range(S) if snap.weights[i].any()]
    share = {i: PULL * (snap.weights[i] > 0) for i in pulled}
    x = list(state.fields)
    before = x
    with np.errstate(all="ignore"):
        for _ in range(steps):
            rates = model.residual(x, [state.edges.around(f) for f in x], p)
            before = [f + dt * r for f, r in zip(x, rates, strict=True)]
            x = list(before)
            for i in pulled:
                x[i] = before[i] + share[i] * (snap.values[i] - before[i])
    off = np.stack(before) - snap.values[:, None]
    deviations = (snap.weights * off.transpose(1, 0, 2, 3))[:, snap.there]
    return replace(state, fields=np.stack(x), deviations=deviations / _reacted(state, x, p, dt)[:, None])


def _reacted(state: Nudged, x: list[Array], p: list[Array], dt: float) -> Array:
    """What the seen species gain and lose by reaction in a step, in standard deviations of the noise, shape (K,)."""
    S, snap = len(x), state.snapshot
    with np.errstate(all="ignore"):
        bare = [np.zeros_like(column) for column in p[:S]] + p[S:]
        rates = dt * np.stack(np.broadcast_arrays(*state.model.residual(x, x, bare))) * snap.weights[:, None]
        size = np.sqrt(np.sum([np.var(r, axis=(1, 2)) for r in rates], axis=0))
    return np.asarray(np.where(size > 0, size, 1e-300))


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
