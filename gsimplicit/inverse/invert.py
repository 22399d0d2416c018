"""`invert`: parameters from pictures of steady states."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit import progress as progress_line
from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.asked import asked
from gsimplicit.inverse.inversion import Inversion
from gsimplicit.inverse.labelled import params_of
from gsimplicit.inverse.methods import METHODS, Method
from gsimplicit.inverse.pictures.question import Pictures
from gsimplicit.surroundings import own_surroundings, untraced
from gsimplicit.threads import each

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer

Array = np.ndarray[Any, np.dtype[np.float64]]


@untraced
@own_surroundings
def invert(
    v: Any,
    u: Any = None,
    mask: Any = None,
    start: ModelParams | None = None,
    *,
    noise: float | Sequence[float] | None = None,
    method: str | Method = "one-shot",
    model: Model | None = None,
    free: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    tied: Mapping[str, tuple[str, float]] | None = None,
    shared: bool = False,
    gain: bool = False,
    periodic: bool = True,
    level: float = 0.95,
    progress: bool = True,
) -> Inversion:
    """Parameters of a model from pictures of its steady states.

    One picture of v is enough for the four parameters of Gray-Scott. The state itself is an unknown beside the
    parameters: nothing is marched from an initial field, whose basin of attraction makes the cliffs of the loss of
    arXiv 2606.11258. The noise of every pixel is taken as independent and normal.

    Args:
        v: Pictures of the observed species, in the model's own units: (H, W), or (B, H, W) for B pictures, at least
            8 x 8 pixels of a periodic field; or of all species, (B, S, H, W). Coordinates of a labelled array give the
            pixels' width: see `Inversion.physical`.
        u: Pictures of the other one of two species, of the same shape; None where it was not seen.
        mask: True where a pixel was measured, shape (H, W) or (B, H, W); None where all were. What a numpy masked array
            masks in v or u was not measured either.
        start: Parameters to begin at, one set; None looks for them, as does a start that leads nowhere. Those that are
            not free stay as they are there. Where noise could hide a wrong answer (above 3 % of the pattern's standard
            deviation, or unknown in gaps) the answer from it is one among others.
        noise: Standard deviation of the noise, > 0, one for all or one a seen species in the model's order: u, v.
            None estimates it. Pictures with gaps do not tell theirs: deviations up to a tenth of the pattern's own are
            taken for noise then. It decides what counts as explained. Intervals come from the deviations themselves;
            those of open windows stand for this noise at least.
        method: A name of `gsimplicit.inverse.methods.METHODS`, or an object from there with settings of its own.
        model: The model; None is that of `start`, or Gray-Scott.
        free: Names of the parameters that are sought; None seeks all.
        ranges: Where to look for a start, a lowest and a highest value by name; the model's presets say it for others.
        tied: Parameters that are a factor times another one, `{"Dv": ("Du", 0.5)}` for Dv = Du / 2.
        shared: Whether all B pictures are of one set of parameters.
        gain: Whether the picture shows `offset + gain v` with unknown offset and gain. Gray-Scott's parameters are
            then known up to the unit of time: one of them must be given, by `free` and `start`.
        periodic: Whether what leaves a picture on one side enters it on the other. False takes it as an open window:
            nothing is known of the outside, and the state on a rim of one pixel is sought too.
        level: Level of the intervals, between 0 and 1.
        progress: Whether a line says what goes on, where the output is a terminal.

    Returns:
        The parameters with their intervals, the completed fields, and a verdict for each set.

    Raises:
        ValueError: A shape is wrong, a value is not finite, a picture is constant or nothing of it was measured, a name
            is unknown, or the model has no presets and neither start nor ranges are given.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import torch
        >>> import gsimplicit as gs
        >>> params, fields = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> v = gs.steady_state(params, fields, refine=True).v
        >>> noisy = v + 0.001 * torch.randn(v.shape, generator=torch.Generator().manual_seed(0), dtype=v.dtype)
        >>> result = gs.invert(noisy)
        >>> low, high = result.interval[0, 3].tolist()
        >>> low < 0.065 < high, high - low < 0.002
        (True, True)
    """
    from gsimplicit.inverse.answers.judge import firm

    begin = time.perf_counter()
    by = as_method(method)
    level = checks.real("level", level, above=0, below=1)
    flags = (("shared", shared), ("gain", gain), ("periodic", periodic), ("progress", progress))
    together, affine, closed, shown = (checks.flag(n, x) for n, x in flags)
    what = asked(
        by, v, u, mask, start, noise=noise, model=model, free=free, ranges=ranges, tied=tied, shared=together,
        gain=affine, periodic=closed,
    )  # fmt: skip
    model = what.questions[0].model
    with progress_line.line("invert", shown):
        answers = each(lambda question: firm(model, by.recover(question), level), what.questions)
    found = _collected(model, what.pictures, answers, by.name, level, time.perf_counter() - begin)
    return replace(found, axes=what.axes)


def as_method(method: Any) -> Method:
    """The method meant by a name or a settings object.

    Raises:
        ValueError: No method has that name.
        TypeError: Neither a name nor a method.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise TypeError(f"method must be a name or a gsimplicit.inverse.methods object, got {checks.shown(method)}")
    return METHODS[checks.choice("method", method, METHODS)]()


def _collected(
    model: Model, pictures: Pictures, answers: list[Answer], method: str, level: float, seconds: float
) -> Inversion:
    """Answers as one result."""
    from gsimplicit.inverse.answers.judge import residual_of

    N, P, (B, S, H, W) = len(answers), len(model.parameters), pictures.values.shape
    values, interval = np.full((N, P), np.nan), np.full((N, P, 2), np.nan)
    covariance = np.full((N, P, P), np.nan)
    fields, drift, residual = np.full((B, S, H, W), np.nan), np.full((B, 2), np.nan), np.full(B, np.nan)
    scalars = np.full((3, N), np.nan)
    gain = np.full((N, 2), np.nan)
    for n, a in enumerate(answers):
        scalars[0, n] = a.noise
        if a.fit is None or a.certainty is None or a.scales is None:
            continue
        scalars[1:, n] = a.fit.chi2, a.certainty.condition
        if a.verdict == Recovery.MISFIT:  # a state was reached, an answer was not
            continue
        place = a.fit.place
        mine = range(B) if N < B else [n]
        # of a family that fits alike no member is given
        values[n] = np.where(a.certainty.moved(a.scales), np.nan, place.values)
        gain[n] = place.gain
        interval[n] = a.certainty.interval(a.scales, place.values, level, a.ends)
        covariance[n] = a.certainty.of_parameters(a.scales, place.values)
        for b, X, c, r in zip(mine, place.fields, place.drifts, residual_of(model, place, pictures.edges), strict=True):
            fields[b], drift[b], residual[b] = X, c, r
    size = np.sqrt(np.einsum("npp->np", covariance))
    with np.errstate(all="ignore"):
        correlation = covariance / (size[:, :, None] * size[:, None, :])
    tensor = torch.from_numpy
    return Inversion(
        params=params_of(model, values),
        interval=tensor(interval),
        covariance=tensor(covariance),
        correlation=tensor(correlation),
        fields=tensor(fields),
        drift=tensor(drift),
        residual=tensor(residual),
        noise=tensor(scalars[0]),
        misfit=tensor(scalars[1]),
        condition=tensor(scalars[2]),
        gain=tensor(gain),
        starts=torch.tensor([a.starts[0] for a in answers]),
        met=torch.tensor([a.starts[1] for a in answers]),
        verdict=torch.tensor([int(a.verdict) for a in answers]),
        reason=tuple(a.reason for a in answers),
        others=tuple(tensor(np.array(a.others).reshape(-1, P)) for a in answers),
        method=method,
        level=level,
        seconds=seconds,
    )
