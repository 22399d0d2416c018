"""The paper's way, for comparison: descent on a loss of states that are marched anew from an initial field."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gsimplicit.descent.descend import descend
from gsimplicit.descent.record import Outcome
from gsimplicit.descent.row import OptimizerFactory
from gsimplicit.equations import DEFAULT, ModelParams, instability_expected
from gsimplicit.initial import Box, initial_state
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.followed_fit import SHIFTS, first_root, named
from gsimplicit.inverse.answers.judge import Answer, judged
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits.following import by_data
from gsimplicit.inverse.fits.problem import Ended
from gsimplicit.inverse.starts.search import Found
from gsimplicit.inverse.starts.starts import Search
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Route

Array = np.ndarray[Any, np.dtype[np.float64]]


def recovered(
    ready: Prepared,
    route: str | Route,
    loss: str | Loss | FeatureLoss,
    initial: torch.Tensor | None,
    steps: int,
    optimizer: OptimizerFactory | None,
    max_steps: int,
) -> Answer:
    """Parameters of the least loss on the way, judged by the steady state of theirs that is nearest to the picture."""
    model, wanted, v = ready.problem.model, ready.question.wanted, _observed(ready)
    start = wanted.start if wanted.start is not None else Search.of(model, wanted.ranges).middle()
    own = callable(loss) and not hasattr(loss, "features")
    with instability_expected():  # a step that diverges is not taken
        record = descend(
            ModelParams.of_values(model, start[None]), None if own else v, route, loss,
            _field(ready, v) if initial is None else initial, steps, optimizer=optimizer, free=wanted.free,
            max_steps=max_steps, progress=False,
        )  # fmt: skip
    losses = record["loss"].values[:, 0]
    outcome = Outcome(int(record["outcome"].values[~np.isnan(losses), 0][-1])) if np.isfinite(losses).any() else None
    if outcome is None:
        reason = f"the loss is not finite at the start, {named(ready, start)}"
        return Answer(Recovery.FAILED, reason, starts=(1, 0), noise=ready.data.noise, scales=ready.problem.scales)
    best = int(np.nanargmin(losses))
    values = record["params"].values[best, 0]
    first_loss = float(losses[np.isfinite(losses)][0])
    told = (
        f"descent from {named(ready, start)} took the loss from {first_loss:.4g} to {losses[best]:.4g} at "
        f"{named(ready, values)} (step {best}, ended as {outcome.name.lower()})"
    )
    return _judged(ready, np.asarray(values, dtype=np.float64), told)


def _observed(ready: Prepared) -> torch.Tensor:
    return torch.from_numpy(ready.question.pictures.values[:, ready.problem.model.seen].copy())


def _field(ready: Prepared, v: torch.Tensor) -> torch.Tensor:
    """The usual initial field on the picture's grid."""
    grid, model = (int(v.shape[-2]), int(v.shape[-1])), ready.problem.model
    if model is not DEFAULT:
        return initial_state(grid=grid, model=model)
    return initial_state(grid=grid, box=Box(half=max(1, min(grid) // 4)) if min(grid) < 20 else Box())


def _judged(ready: Prepared, values: Array, told: str) -> Answer:
    """Whether a steady state of some parameters explains the picture."""
    problem = ready.problem
    failed = Answer(
        Recovery.FAILED, f"{told}: no steady state of these parameters was found near the picture", starts=(1, 0),
        noise=ready.data.noise, scales=problem.scales,
    )  # fmt: skip
    root = first_root(ready, values)
    if root is None:
        return failed
    walked = by_data(problem, root, SHIFTS, held=True)
    fit = walked.fit(problem)
    fit = fit if fit.ended == Ended.CONVERGED else type(fit)(
        fit.place, Ended.CONVERGED, fit.iterations, fit.residual, fit.columns, fit.misfit
    )  # fmt: skip
    answer = judged(problem, Found((fit,), (1,), 1, None), ready.data, ready.accept)
    return Answer(
        answer.verdict,
        f"{told}: {answer.reason}",
        answer.fit,
        answer.certainty,
        (),
        (1, 1),
        answer.noise,
        answer.scales,
    )
