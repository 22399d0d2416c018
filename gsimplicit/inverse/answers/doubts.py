"""What an answer that fits may still be wrong about: the camera, whether the pattern is at rest, and its family."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.inverse.fits.problem import Fit, Problem
from gsimplicit.inverse.fits.scales import Scales

Array = np.ndarray[Any, np.dtype[np.float64]]

BENT = 15.0
"""Fall of the sum of squares, by the noise's, from which the camera is not believed: 1 of 500 by chance."""
PULLED = 3.0
"""Standard deviations by which what is believed of a window's rim may move the answer."""
FAMILY = 0.02
"""Relative difference of parameters from which unfinished fits are a family of answers."""


def doubt(problem: Problem, fit: Fit, least: float) -> str:
    """Why a fit that explains the data is not believed, with the number that says so; empty where it is.

    Args:
        problem: What was asked.
        fit: The fit.
        least: Sum of squares by degrees of freedom that is taken at least, as for its intervals.
    """
    if not len(fit.camera) or fit.columns.shape[0] != len(fit.weighed):
        return ""
    apart = pull(fit, least) if problem.edges.open else 0.0
    if apart > PULLED:
        return (
            f"the window is no part of a steady state: what is needed of its rim pulls the parameters by {apart:.1f} "
            f"standard deviations, up to {PULLED:g} are usual; is the pattern at rest?"
        )
    fall = bend(fit, least, affine=problem.affine)
    if fall > BENT:
        what = "a camera that bends v" if problem.affine else "an offset, a gain and a bend of v"
        return (
            f"the picture does not show v as it is: {what} would explain {fall:.0f} noises' squares more than the "
            f"parameters can, chance up to {BENT:.0f}"
        )
    return ""


def nowhere(problem: Problem, starts: int, last: Fit | None) -> str:
    """Why no start led to an answer, as far as is known, and what to look at.

    Args:
        problem: What was asked.
        starts: How many starts were tried.
        last: The fit that came nearest, if there was one.
    """
    how = "none" if last is None else f"the nearest ended with {last.ended}"
    seen = {n: s for n, s in zip(problem.model.species, problem.snapshots[0].there, strict=True) if s.any()}
    hints = [f"does it show {' and '.join(seen)} of {problem.model.name} at rest"]
    if not problem.edges.open:
        hints.append("is it periodic, or a part that needs periodic=False")
    if not all(s.all() for s in seen.values()):
        hints.append("are its gaps narrower than a wave")
    if problem.affine:
        hints.append("is more of the species brighter")
    return f"none of {starts} starts led to a steady state near the data: {how}. Look: {'; '.join(hints)}?"


def bend(fit: Fit, least: float, *, affine: bool) -> float:
    """Fall of the sum of squares, by the noise's, where the camera may have offset, gain and bend as well.

    To first order in them, with the parameters, the state and the rim of a window following: a score test. Only what
    the data themselves say of them counts: where a model has a family that looks alike but for a gain, what is believed
    of the rim alone would tell them, and any slope there pulls towards a flatter member.
    """
    camera = fit.camera[:, 2:] if affine else fit.camera
    camera = _unit(camera - _on(_basis(fit.columns), camera))
    basis = _basis(camera)
    fall = float(((basis[fit.measured].T @ fit.weighed[fit.measured]) ** 2).sum())
    left = max(float((fit.weighed**2).sum()) - fall, 0.0) / fit.freedom
    return fall / max(left, least)


def pull(fit: Fit, least: float) -> float:
    """Length of what data alone would change of the answer of a window, in standard deviations of the answer.

    The answer is a balance of the data and of what is believed of the rim; g is the slope of the one, and minus that of
    the other. With the inverse information C of both the length is that of `C^1/2 g`.
    """
    slope = _basis(fit.columns)[fit.measured].T @ fit.weighed[fit.measured]
    return float(np.sqrt((slope**2).sum() / max(fit.chi2, least)))


def _unit(columns: Array) -> Array:
    size = np.linalg.norm(columns, axis=0)
    return columns / np.where(size > 0, size, 1.0)


def _basis(columns: Array) -> Array:
    """Orthonormal columns of the same space; directions that are hardly there are left out."""
    left, size, _ = np.linalg.svd(_unit(columns), full_matrices=False)
    return np.asarray(left[:, size > 1e-9 * max(float(size.max(initial=0)), 1e-300)])


def _on(basis: Array, columns: Array) -> Array:
    return np.asarray(basis @ (basis.T @ columns))


def wide(scales: Scales, valley: list[Array]) -> bool:
    """Whether fits that went on and on are far enough apart to be a family, not one answer that was nearly reached."""
    return any(float(np.abs(scales.between(a, valley[0])).max()) > FAMILY for a in valley[1:])


def along(problem: Problem, scales: Scales, valley: list[Array]) -> str:
    """What a family was seen of, in a sentence."""
    told = [
        f"{name} {min(a[j] for a in valley):.3g} to {max(a[j] for a in valley):.3g}"
        for j, name in enumerate(problem.model.parameters)
        if scales.directions[:, j].any()
    ]
    unseen = len(problem.snapshots[0].there) - sum(bool(s.any()) for s in problem.snapshots[0].there)
    if problem.affine:
        what = "with an unknown gain the unit of time is unknown too: fix a parameter"
    else:
        what = "give the second species, or fix a parameter" if unseen else "fix a parameter"
    return (
        f"{len(valley)} fits ended along a family that explains the data alike, without an end: {', '.join(told)}; "
        f"{what}"
    )
