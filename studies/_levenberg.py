"""Least squares in F and k by Levenberg and Marquardt, with the tangents of the march, at one time or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        loss: Sum of squares there.
        marches: Marches it took, those with tangents counted once.
        unseen: Whether the first derivative was exactly 0.
    """

    values: tuple[float, float]
    loss: float
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
    """Fit F and k to one phase after the other, each with at most `most` accepted steps."""  # fmt: skip
    raw, marches, unseen, found = torch.logit(torch.tensor(start, dtype=torch.float64) / HIGH), 0, False, float("nan")
    for number, terms in enumerate(phases):
        goals = [(steps, loss.features(v)) for steps, v in terms]
        damping, here = 1e-2, _residuals(raw, goals, loss, initial, base)
        marches += len(terms)
        if here is None:
            break
        for _ in range(most):
            found = float(here @ here)
            slopes = _slopes(raw, goals, loss, initial, base)
            marches += len(terms)
            normal, downhill = slopes.T @ slopes, slopes.T @ here
            if number == 0 and not unseen and _ == 0:
                unseen = bool((downhill == 0).all())
            if not bool(torch.isfinite(normal).all()) or bool((downhill == 0).all()):
                break
            better = None
            for _try in range(TRIES):
                step = torch.linalg.lstsq(
                    normal + damping * torch.diag(normal.diagonal() + 1e-9 * normal.trace()), downhill[:, None],
                    driver="gelsd",
                ).solution[:, 0]  # fmt: skip
                step *= min(1.0, FURTHEST / (float(step.abs().max()) + 1e-300))
                there = _residuals(raw - step, goals, loss, initial, base)
                marches += len(terms)
                if there is not None and float(there @ there) < found:
                    better = there
                    break
                damping *= 4
            if better is None:
                break
            raw, here, damping = raw - step, better, max(damping / 3, 1e-8)
            if found - float(here @ here) < 1e-8 * found or float(here @ here) < 1e-14:
                break
        found = float(here @ here)
    F, k = (HIGH * torch.sigmoid(raw)).tolist()
    return Fitted((F, k), found, marches, unseen)


def _params(raw: torch.Tensor, base: Mapping[str, float]) -> gs.Params:
    F, k = (HIGH * torch.sigmoid(raw)).tolist()
    return gs.Params(**{**base, "F": F, "k": k})


def _residuals(
    raw: torch.Tensor,
    goals: Sequence[tuple[int, torch.Tensor]],
    loss: Any,
    initial: torch.Tensor,
    base: Mapping[str, float],
) -> torch.Tensor | None:
    """Differences of features whose squares add up to the mean loss; None where the march diverges."""  # fmt: skip
    params, out, fields, done = _params(raw, base), [], initial, 0
    for steps, goal in goals:
        fields = gs.steady_state(params, fields, tol=0.0, max_steps=steps - done, progress=False).fields
        done = steps
        if not bool(torch.isfinite(fields).all()):
            return None
        out.append((loss.features(fields[:, 1]) - goal).flatten() / (goal.numel() * len(goals)) ** 0.5)
    return torch.cat(out)


def _slopes(
    raw: torch.Tensor,
    goals: Sequence[tuple[int, torch.Tensor]],
    loss: Any,
    initial: torch.Tensor,
    base: Mapping[str, float],
) -> torch.Tensor:
    """Their derivatives in the raw parameters, shape (N, 2)."""  # fmt: skip
    params, out = _params(raw, base), []
    for steps, goal in goals:
        fields, tangents = gs.marched_derivatives(params, initial, steps)
        columns = [torch.func.jvp(loss.features, (fields[:, 1],), (tangents[:, p, 1],))[1].flatten() for p in FREE]
        out.append(torch.stack(columns, 1) / (goal.numel() * len(goals)) ** 0.5)
    chain = HIGH * torch.sigmoid(raw) * (1 - torch.sigmoid(raw))
    return torch.cat(out) * chain
