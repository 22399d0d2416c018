"""The same step on open windows: nothing is known outside, so the state on the rim is an unknown of its own.

The equations hold inside the rim only, so there are fewer of them than values of the state. Each of the steps a, b_j of
`gsimplicit.inverse.fits.one_shot` is the one, of all that the equations allow, that is best for the data:

    min |W dX + e|^2  with  J dX = r,    [ W'W  J' ] [ dX ]   [ -W'e ]
                                         [ J    0  ] [ l  ] = [   r  ].

What is left of the data for the parameters is then orthogonal to all that the rim could do. A hidden species on the
rim is held by one weak belief, that it differs from its inner neighbour by about `SLOPE` of the model's scale, or as
much as pixels inside do where that is more: where the seen species vanishes the data say nothing of it. Where the gain
is unknown drift is taken as none: a small one, which noise makes, would seem to tell the unit of time that such a
picture does not have. The belief itself tells how large a hidden species is, and so a gain: `Problem.doubted` weakens
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from gsimplicit.equations import Equations
from gsimplicit.grid import interleaved, separate
from gsimplicit.inverse.fits.belief import SLOPE, believed, usual, usual_slopes
from gsimplicit.inverse.fits.linearised import CLOSED, Change
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.fits.step import FIELD_STEP, Step
from gsimplicit.inverse.pictures.edges import inner, slopes_inside
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.refine.linear import SparseLU, jacobian

Array = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Sparse = scipy.sparse.csr_array

LEAST = 1e-6
"""Noise by the model's scale that this belief is weighed against at least."""
REFINED = 3
"""Steps of iterative refinement of the linear solves."""
FAR, HELD = 2.0, 1.0
"""Mean square of the deviations from which a step is far from its end, and how hard the rim is then held: far from a
steady state the data want more of the hidden values there than the linear model can tell."""
DRAWS = 16
"""Random vectors from which the freedom is estimated that the rim takes of the data."""
SMALL_DRIFT = 1e-4
"""Unit in which drift is sought."""


class Window:
    """A snapshot of an open window, linearised at a state: the saddle point of data and equations, factorised.

    Args:
        problem: What is asked.
        snapshot: One of its snapshots.
        equations: The model at the current parameters.
        X: Current state, shape (S, H, W).
        drift: Its drift, shape (2,).
        gain: Current gain of the seen species.
        held: What a change of a hidden value on the rim by 1 counts against a step, in standard deviations.

    Raises:
        np.linalg.LinAlgError: It is singular to working precision.
    """

    def __init__(
        self,
        problem: Problem,
        snapshot: Snapshot,
        equations: Equations,
        X: Array,
        drift: Array,
        gain: float,
        held: float,
    ):
        S, H, W = X.shape
        chosen = np.zeros((H, W), dtype=bool)
        chosen[1:-1, 1:-1] = True
        J = scipy.sparse.csr_array(jacobian(equations, X, drift))[np.repeat(chosen.ravel(), S)]
        weight = (snapshot.weights * np.where(np.arange(S) == snapshot.seen, gain, 1.0)[:, None, None])[snapshot.there]
        order = np.arange(X.size).reshape(H, W, S).transpose(2, 0, 1)[snapshot.there]
        n = len(order)
        data = scipy.sparse.coo_array((weight, (np.arange(n), order)), shape=(n, X.size))
        self.shape, self.count = X.shape, n
        self.unit = float(1.0 / weight.max())
        self.scale = problem.model.scale
        self.differences = usual(X, self.scale)
        belief = believed(snapshot, problem.doubted * self.differences) * max(1.0, LEAST * self.scale / self.unit)
        self.rows = scipy.sparse.csr_array(scipy.sparse.vstack([data, belief]))
        self._species = belief.argmax(1) % S
        self._bend(X)
        rim = np.zeros(X.size)
        rim[belief.argmax(1)] = held * self.unit
        Q = self.rows.T @ self.rows * self.unit**2 + scipy.sparse.diags_array(rim**2)
        saddle = scipy.sparse.csr_array(scipy.sparse.block_array([[Q, J.T], [J, None]]))  # type: ignore[arg-type]
        # most of its diagonal is zero; with each inner value in the row of its equation and each multiplier in that of
        # its value the Jacobian's stands there, and half the fill and time is enough
        inside = np.nonzero(np.repeat(chosen.ravel(), S))[0]
        self._order = np.arange(saddle.shape[0])
        self._order[inside], self._order[X.size :] = self._order[X.size :], inside
        self._K = scipy.sparse.csc_array(saddle[self._order])
        self._lu = SparseLU(self._K)

    def _bend(self, X: Array) -> None:
        """What the usual differences change with the state, as factors of the derivative and of its normal matrix.

        The derivative of the deviations is `rows - B G'`, with a column for each species whose differences follow the
        state, and its square that of the rows and `U C U'`.
        """
        slopes = usual_slopes(X, self.scale)
        which = np.nonzero(slopes.any((1, 2)))[0]
        k, n = len(which), X.size
        self._B, self._G = np.zeros((self.rows.shape[0], k)), np.zeros((n, k))
        deviations = self.rows @ interleaved(X[None])[:, 0]
        for j, s in enumerate(which):
            own = self.count + np.nonzero(self._species == s)[0]
            self._B[own, j] = deviations[own]
            self._G[s :: len(X), j] = slopes[s].ravel()
        self._U = np.concatenate([self.rows.T @ self._B, self._G], axis=1) * self.unit
        none, one = np.zeros((k, k)), np.eye(k)
        self._C = np.block([[none, -one], [-one, self._B.T @ self._B]])

    def solve(self, r: Array, e: Array | None = None) -> Array:
        """Changes (m, S, H, W) that change the residual by r (m, S, H - 2, W - 2), best for deviations e (rows, m)."""
        top = np.zeros((self.rows.shape[1], len(r)))
        if e is not None:
            top = (self._G @ (self._B.T @ e) - self.rows.T @ e) * self.unit**2
        b = np.concatenate([top, interleaved(r)])[self._order]
        x, left = self._refined(b)
        if not left <= CLOSED and not self._lu.robust:
            self._lu = SparseLU(self._K, robust=True)
            x, left = self._refined(b)
        if not left < 1e-3:
            raise np.linalg.LinAlgError("the window's equations are singular to working precision")
        n = self.rows.shape[1]
        return np.stack([separate(column, self.shape) for column in x[:n].T])

    def _refined(self, b: Array) -> tuple[Array, float]:
        """Solutions for columns b by iterative refinement, and their largest relative residual."""
        size = np.linalg.norm(b, axis=0)
        with np.errstate(all="ignore"):
            U = np.zeros((len(b), self._U.shape[1]))
            U[: len(self._U)] = self._U
            answered = self._lu.solve(U[self._order])
            small = np.linalg.inv(self._C) + U.T @ answered

            def solved(r: Array) -> Array:
                y = self._lu.solve(r)
                return np.asarray(y - answered @ np.linalg.solve(small, U.T @ y))

            x = solved(b)
            for n in range(REFINED + 1):
                rest = b - self._K @ x - U[self._order] @ (self._C @ (U.T @ x))
                left = float((np.linalg.norm(rest, axis=0) / np.where(size > 0, size, 1.0)).max())
                if left <= CLOSED or n == REFINED:
                    break
                x = x + solved(rest)
        return x, left

    def along(self, X: Array) -> Array:
        """What a change X (S, H, W) changes the deviations by: those from the data, then from the belief, (rows,)."""
        x = interleaved(X[None])[:, 0]
        return np.asarray(self.rows @ x - self._B @ (self._G.T @ x))

    def beliefs(self, X: Array) -> Array:
        """Deviations of a state (S, H, W) from the belief."""
        usually = (self.differences / usual(X, self.scale))[self._species]
        return np.asarray((self.rows @ interleaved(X[None])[:, 0])[self.count :] * usually)

    def absorbed(self) -> float:
        """Degrees of freedom of the data that the rim takes: the trace of what maps data to their fit."""
        draws = np.random.default_rng(0).choice([-1.0, 1.0], size=(self.count, DRAWS))
        e = np.zeros((self.rows.shape[0], DRAWS))
        e[: self.count] = -draws
        S, H, W = self.shape
        fitted = self.solve(np.zeros((DRAWS, S, H - 2, W - 2)), e)
        return float(np.mean([draw @ self.along(x)[: self.count] for draw, x in zip(draws.T, fitted, strict=True)]))


class OpenStep(Step):
    """The linear model at a place of open windows."""

    def __init__(self, problem: Problem, place: Place, directions: Sequence[Array]) -> None:
        self.problem, self.place, self.directions = problem, place, directions
        equations = Equations(problem.model, place.values)
        self._open(equations, 0.0)
        left = float((self.start**2).mean())
        if left > FAR and max(float(np.abs(c.fields).max()) for c in self.zeroth) > FIELD_STEP * problem.model.scale:
            self._open(equations, HELD * np.sqrt(left) / (SLOPE * problem.model.scale))
        ways = problem.scales.slopes(place.values)
        self.by_parameter, self.by_shift, self.by_gain = [], [], []
        for window, s, X in zip(self.windows, problem.snapshots, place.fields, strict=True):
            slopes = inner(np.tensordot(ways, equations.parameter_slopes(X), axes=1))
            drifts = np.eye(2)[: 0 if problem.affine else 2]
            solved = window.solve(-np.concatenate([slopes, SMALL_DRIFT * slopes_inside(X)[: len(drifts)]]))
            none, m = np.zeros(2), len(ways)
            self.by_parameter.append([Change(x, none) for x in solved[:m]])
            self.by_shift.append([Change(x, SMALL_DRIFT * e) for x, e in zip(solved[m:], drifts, strict=True)])
            if problem.affine:
                e = np.zeros((window.rows.shape[0], 2))
                e[: s.count] = s.of_gain(X)
                answered = window.solve(np.zeros((2, len(X), *(n - 2 for n in X.shape[1:]))), e)
                self.by_gain.append([(Change(x, none), own) for x, own in zip(answered, e.T, strict=True)])
        self.columns = self._columns()
        self.damp()

    def _open(self, equations: Equations, held: float) -> None:
        """Factorise all windows and correct the place."""
        states = zip(self.problem.snapshots, self.place.fields, self.place.drifts, strict=True)
        self.windows = [Window(self.problem, s, equations, X, c, self.place.gain[1], held) for s, X, c in states]
        self.zeroth = self.corrections(self.place)
        self.start = self.deviations(self.place) + self.seen(self.zeroth)

    def corrections(self, place: Place) -> list[Change]:
        """Changes that remove the residual inside the rims, of all such those that are best for the data."""
        parts = zip(self.windows, self.problem.defects(place), self._deviations(place), strict=True)
        return [Change(w.solve(-R[None], e[:, None])[0], np.zeros(2)) for w, R, e in parts]

    def _deviations(self, place: Place) -> list[Array]:
        """Deviations of each window from its data and from the belief."""
        return [
            np.concatenate([s.misfit(X, place.gain), w.beliefs(X)])
            for w, s, X in zip(self.windows, self.problem.snapshots, place.fields, strict=True)
        ]

    def deviations(self, place: Place) -> Array:
        """Those from the data, and those from the belief."""
        return np.concatenate(self._deviations(place))

    def seen(self, changes: Sequence[Change]) -> Array:
        """What changes of all states change the deviations by."""
        return np.concatenate([w.along(c.fields) for w, c in zip(self.windows, changes, strict=True)])

    def _columns(self) -> Array:
        m, n = len(self.problem.scales.directions), [len(shifts) for shifts in self.by_shift]
        ends = np.cumsum([0, *(w.rows.shape[0] for w in self.windows)])
        A = np.zeros((ends[-1], m + sum(n) + 2 * self.problem.affine))
        for i, w in enumerate(self.windows):
            rows = slice(ends[i], ends[i + 1])
            for j, change in enumerate(self.by_parameter[i]):
                A[rows, j] = w.along(change.fields)
            for j, change in enumerate(self.by_shift[i]):
                A[rows, m + sum(n[:i]) + j] = w.along(change.fields)
            for j, (change, own) in enumerate(self.by_gain[i] if self.problem.affine else []):
                A[rows, m + sum(n) + j] = own + w.along(change.fields)
        return A

    def whole(self) -> tuple[list[Change], Array]:
        """Changes of all states, and of gain and offset, by the full step: a gain moves what the rims do."""
        changes, gain = super().whole()
        if not self.problem.affine:
            return changes, gain
        out = [
            Change(c.fields + sum(g * x.fields for g, (x, _) in zip(gain, of, strict=True)), c.speeds)
            for c, of in zip(changes, self.by_gain, strict=True)
        ]
        return out, gain

    def camera(self) -> Array:
        """Derivatives in offset, gain and bend of the camera, with what the rims make of them, shape (rows, 3)."""
        out = []
        for w, s, X in zip(self.windows, self.problem.snapshots, self.place.fields, strict=True):
            e = np.zeros((w.rows.shape[0], 3))
            e[: s.count] = s.of_camera(X)
            answered = w.solve(np.zeros((3, len(X), *(n - 2 for n in X.shape[1:]))), e)
            out.append(e + np.stack([w.along(x) for x in answered], axis=1))
        return np.concatenate(out)

    def measured(self) -> Mask:
        """Which of the deviations are from the data: of each window those before its belief."""
        return np.concatenate([np.arange(w.rows.shape[0]) < w.count for w in self.windows])

    def absorbed(self) -> float:
        """Degrees of freedom of the data that the rims take."""
        return sum(w.absorbed() for w in self.windows)
