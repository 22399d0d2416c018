"""Least squares in F and k by Levenberg and Marquardt, with the tangents of the march, at one time or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import torch

import gsimplicit as gs

FREE = (2, 3)
"""Places of F and k."""
HIGH = 0.1
"""Upper bound of either, as in the paper's parametrisation."""
FURTHEST = 0.5
"""Largest step of a raw parameter."""
TRIES = 8
"""Dampings tried a step."""

Terms = Sequence[tuple[int, torch.Tensor]]
"""Steps to march, and v to compare the state with."""


@dataclass(frozen=True)
class Fitted:
    """Where a fit ended.

    Attributes:
        values: F and k.
        loss: Sum of squares there; NaN where the march diverges.
        gradients: Derivatives of the sum of squares that were taken, whatever number of times it has.
        marches: Marches, those with derivatives counted once.
        unseen: Whether the first derivative was exactly 0.
    """

    values: tuple[float, float]
    loss: float
    gradients: int
    marches: int
    unseen: bool


def fitted(
    start: Sequence[float],
    phases: Sequence[Terms],
    loss: Any,
    initial: torch.Tensor,
    most: int,
    base: Mapping[str, float],
) -> Fitted:
    """Fit F and k to one phase after the other, each with at most `most` accepted steps."""
    raw = torch.logit(torch.tensor(start, dtype=torch.float64) / HIGH)
    gradients, marches, unseen, left = 0, 0, False, float("nan")
    for number, terms in enumerate(phases):
        problem = _Problem([(steps, loss.features(v)) for steps, v in terms], loss, initial, base)
        ended = _descended(problem, raw, most)
        gradients, marches = gradients + ended.gradients, marches + ended.marches
        raw, left, unseen = ended.raw, ended.loss, unseen or (number == 0 and ended.unseen)
        if not isfinite(left):
            break
    F, k = (HIGH * torch.sigmoid(raw)).tolist()
    return Fitted((F, k), left, gradients, marches, unseen)


@dataclass(frozen=True)
class _Problem:
    """One sum of squares: features after some steps, and those to meet."""

    goals: Sequence[tuple[int, torch.Tensor]]
    loss: Any
    initial: torch.Tensor
    base: Mapping[str, float]

    def params(self, raw: torch.Tensor) -> gs.Params:
        """Parameters from raw F and k."""
        F, k = (HIGH * torch.sigmoid(raw)).tolist()
        return gs.Params(**{**self.base, "F": F, "k": k})

    def residuals(self, raw: torch.Tensor) -> torch.Tensor | None:
        """Differences of features whose squares add up to the mean loss; None where the march diverges."""
        params, out, fields, done = self.params(raw), [], self.initial, 0
        for steps, goal in self.goals:
            fields = gs.steady_state(params, fields, tol=0.0, max_steps=steps - done, progress=False).fields
            done = steps
            if not bool(torch.isfinite(fields).all()):
                return None
            out.append((self.loss.features(fields[:, 1]) - goal).flatten() / (goal.numel() * len(self.goals)) ** 0.5)
        return torch.cat(out)

    def slopes(self, raw: torch.Tensor) -> torch.Tensor:
        """Their derivatives in the raw parameters, shape (N, 2)."""
        params, out = self.params(raw), []
        for steps, goal in self.goals:
            fields, tangents = gs.marched_derivatives(params, self.initial, steps)
            columns = [
                torch.func.jvp(self.loss.features, (fields[:, 1],), (tangents[:, p, 1],))[1].flatten() for p in FREE
            ]
            out.append(torch.stack(columns, 1) / (goal.numel() * len(self.goals)) ** 0.5)
        chain = HIGH * torch.sigmoid(raw) * (1 - torch.sigmoid(raw))
        return torch.cat(out) * chain


@dataclass(frozen=True)
class _State:
    """Where a descent is, and what it has cost."""

    raw: torch.Tensor
    residuals: torch.Tensor
    damping: float = 1e-2
    gradients: int = 0
    marches: int = 0
    unseen: bool = False

    @property
    def loss(self) -> float:
        return float(self.residuals @ self.residuals)


def _descended(problem: _Problem, raw: torch.Tensor, most: int) -> _State:
    """The sum of squares lowered by at most so many steps."""
    here = problem.residuals(raw)
    each = len(problem.goals)
    if here is None:
        return _State(raw, torch.tensor([torch.nan], dtype=torch.float64), marches=each)
    state = _State(raw, here, marches=each)
    for number in range(most):
        slopes = problem.slopes(state.raw)
        normal, downhill = slopes.T @ slopes, slopes.T @ state.residuals
        gone = bool((downhill == 0).all())
        state = replace(
            state, gradients=state.gradients + 1, marches=state.marches + each,
            unseen=state.unseen or (number == 0 and gone),
        )  # fmt: skip
        if gone or not bool(torch.isfinite(normal).all()):
            break
        before, (state, moved) = state.loss, _stepped(problem, state, normal, downhill)
        if not moved or before - state.loss < 1e-8 * before or state.loss < 1e-14:
            break
    return state


def _stepped(
    problem: _Problem, state: _State, normal: torch.Tensor, downhill: torch.Tensor
) -> tuple[_State, bool]:  # fmt: skip
    """The state after the first damping that lowers the sum, and whether one did."""
    damping, marches = state.damping, state.marches
    for _ in range(TRIES):
        ridge = damping * torch.diag(normal.diagonal() + 1e-9 * normal.trace())
        step = torch.linalg.lstsq(normal + ridge, downhill[:, None], driver="gelsd").solution[:, 0]
        step *= min(1.0, FURTHEST / (float(step.abs().max()) + 1e-300))
        there = problem.residuals(state.raw - step)
        marches += len(problem.goals)
        if there is not None and float(there @ there) < state.loss:
            raw, less = state.raw - step, max(damping / 3, 1e-8)
            return replace(state, raw=raw, residuals=there, damping=less, marches=marches), True
        damping *= 4
    return replace(state, marches=marches), False
