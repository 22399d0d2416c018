"""The followed method: a root found from the data, minimised along its branch, and where the branch was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.judge import Answer, judged
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits.branch import BranchLostError, Root, first, settled
from gsimplicit.inverse.fits.following import Walked, by_bfgs, by_data, by_deviations, by_loss
from gsimplicit.inverse.fits.problem import Ended, Fit
from gsimplicit.inverse.starts.search import Found, explains
from gsimplicit.inverse.starts.starts import place
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.routes.arguments import as_objective
from gsimplicit.routes.objective import Loss

Array = np.ndarray[Any, np.dtype[np.float64]]

STARTS = 4
"""Starts at most."""
STEPS = 100_000
"""Evaluations by which the picture is marched to a root at most."""
SHIFTS = 6
"""Steps by which a root of a torch loss is brought over the picture."""


def recovered(
    ready: Prepared, loss: str | Loss | FeatureLoss, optimizer: str, iterations: int, *, elsewhere: bool
) -> Answer:
    """Parameters along the branch of the root that is nearest to the data."""
    problem, tried, lost = ready.problem, 0, ""
    fits: list[Fit] = []
    for values in ready.parameters(elsewhere=elsewhere):
        if tried == STARTS:
            break
        tried += 1
        root = first_root(ready, values)
        if root is None:
            lost = lost or f"no root near the picture was found at the start, {named(ready, values)}"
            continue
        walked = _walked(ready, root, loss, optimizer, iterations)
        if walked.ended != Ended.CONVERGED:
            lost = lost or _told(ready, walked)
            continue
        fits.append(walked.fit(problem))
        if explains(problem, fits[-1], ready.accept):
            break
    fits.sort(key=lambda f: f.chi2)
    if not fits:
        return Answer(Recovery.FAILED, lost, starts=(tried, 0), noise=ready.data.noise, scales=problem.scales)
    answer = judged(problem, Found((fits[0],), (1,), tried, None), ready.data, ready.accept)
    if loss == "pixels" or answer.certainty is None:
        return answer
    # what a loss that is not least squares makes of noise is not known to us
    unknown = replace(answer.certainty, covariance=np.full_like(answer.certainty.covariance, np.nan))
    return replace(answer, certainty=unknown)


def first_root(ready: Prepared, values: Array) -> Root | None:
    """The root of some parameters that the picture leads to; None where none is found.

    By a penalty on the residual, raised, and Newton's method; where that fails the picture is marched to its own rest.
    """
    start = place(ready.problem, ready.data.guess, values, 0)
    if start is None:
        return None
    try:
        return first(ready.problem, start)
    except BranchLostError:
        pass
    try:
        return settled(ready.problem, start, STEPS)
    except BranchLostError:
        return None


def _walked(ready: Prepared, root: Root, loss: str | Loss | FeatureLoss, optimizer: str, iterations: int) -> Walked:
    problem = ready.problem
    if isinstance(loss, str) and loss == "pixels":
        if optimizer == "gauss-newton":
            return by_data(problem, root, iterations)
        value = by_deviations(problem)
    else:
        value = by_loss(problem, _objective(ready, loss))
    walked = by_bfgs(problem, root, value, iterations)
    if walked.ended != Ended.CONVERGED:
        return walked
    over = by_data(problem, walked.root, SHIFTS, held=True)
    return replace(walked, root=over.root)


def _objective(ready: Prepared, loss: str | Loss | FeatureLoss) -> Loss:
    """The loss, against the picture where it needs a target."""
    own = callable(loss) and not hasattr(loss, "features")
    seen = ready.problem.model.seen
    v = torch.from_numpy(ready.question.pictures.values[:, seen].copy())
    return as_objective(loss, None if own else v, 1, (int(v.shape[1]), int(v.shape[2])), ready.problem.model)


def _told(ready: Prepared, walked: Walked) -> str:
    at = named(ready, walked.root.place.values)
    if walked.lost:
        return f"the branch was lost after {walked.iterations} steps at {at}: no root could be followed from there"
    return (
        f"{walked.iterations} steps along the branch ended at {at} with a loss of {walked.value:.3g}, not at a minimum"
    )


def named(ready: Prepared, values: Array) -> str:
    """Parameters in words: "Du = 0.16, ..."."""
    return ", ".join(f"{n} = {x:.6g}" for n, x in zip(ready.problem.model.parameters, values, strict=True))
