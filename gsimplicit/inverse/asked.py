"""What is asked with pictures, checked and made into questions: one door for `invert` and for training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.method import Method, Question
from gsimplicit.inverse.pictures.axes import Axes, axes_of, require_same
from gsimplicit.inverse.pictures.edges import OPEN, PERIODIC
from gsimplicit.inverse.pictures.question import Pictures, as_model, as_noise, as_pictures, as_wanted

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, eq=False)
class Asked:
    """What a call asks.

    Attributes:
        pictures: All of them.
        axes: Their coordinates.
        questions: One a set of parameters.
    """

    pictures: Pictures
    axes: Axes
    questions: list[Question]


def asked(
    by: Method,
    v: Any,
    u: Any = None,
    mask: Any = None,
    start: ModelParams | None = None,
    *,
    noise: float | Sequence[float] | None = None,
    model: Model | None = None,
    free: Sequence[str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    tied: Mapping[str, tuple[str, float]] | None = None,
    shared: bool = False,
    gain: bool = False,
    periodic: bool = True,
) -> Asked:
    """Questions to a method, as `invert` says; what the method cannot take is refused.

    Raises:
        ValueError: As of `invert`.
        TypeError: As of `invert`.
    """
    from gsimplicit.inverse.starts.starts import Search

    axes = axes_of("v", v)
    for name, one in (("u", u), ("mask", mask)):
        require_same(name, one, axes)
    model = as_model(model, start)
    if not periodic and not by.windows:
        can = _listed("windows")
        raise ValueError(f"periodic must be True for method {by.name!r}: open windows are for {can}")
    pictures = as_pictures(model, v, u, mask, PERIODIC if periodic else OPEN)
    wanted = as_wanted(model, start, free, ranges, tied)
    if wanted.tied and not by.ties:
        raise ValueError(f"tied must be None for method {by.name!r}: ties are for {_listed('ties')}")
    if wanted.start is None:
        Search.of(model, wanted.ranges)  # a model without presets or ranges is refused before any work
    levels = as_noise(noise, pictures.seen)
    sets = [pictures] if shared else [pictures.one(b) for b in range(len(pictures))]
    questions = [Question(model, some, wanted, levels, gain) for some in sets]
    for question in questions:
        by.check(question)
    return Asked(pictures, axes, questions)


def _listed(what: str) -> str:
    """Names of the methods that take something."""
    from gsimplicit.inverse.methods import METHODS

    able: Iterable[str] = (name for name, one in METHODS.items() if getattr(one, what))
    return ", ".join(able)
