"""Fields and parameters at once, with a penalty on the residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer

WEIGHTS = (1e2, 1e3, 1e4)
"""Times that are tried where none are given."""


@dataclass(frozen=True)
class Weak(Method):
    """The fields need not be steady, but their residual counts against them.

    Minimises squared deviations from the data plus squared residuals, both by the noise, over fields and parameters
    together. A weight is a time: a residual may stand that would move the fields by the noise within it. Low weights
    lead there from far away, high ones make the steady state exact, so that the answer becomes one-shot's; in between
    the model may be a little wrong. Takes pictures with gaps, and several of one set.

    Attributes:
        weights: Times, rising, each > 0: one after the other, each begun where the one before ended. None
            may be given where `moving`.
        iterations: Most at each weight, >= 1.
        elsewhere: Whether other starts are looked for where the given one leads nowhere.
        moving: For pictures that have not come to rest. du/dt is an unknown then, noise of a size that is found: the
            weight is raised as far as noise allows. The noise of the picture must be known or can be estimated, and
            its error goes into that size. Intervals allow for du/dt that agrees between pixels. Tried with Gray-Scott;
            weights of 0.5 to 1e4 times the model's unit of time are tried, so that models whose patterns form within
            less than a hundred of them fail.

    Method: see `gsimplicit.inverse.fits.weak` and `gsimplicit.inverse.fits.moving`.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Weak
        >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
        >>> round(gs.invert(v, method=Weak()).params.k.item(), 6)
        0.065
    """

    name: ClassVar[str] = "weak"
    weights: tuple[float, ...] = WEIGHTS
    iterations: int = 30
    elsewhere: bool = True
    moving: bool = False

    def __post_init__(self) -> None:
        times = [checks.real("entry of weights", w, above=0) for w in checks.listed("weights", self.weights)]
        if not times or times != sorted(set(times)):
            raise ValueError(f"weights must be at least one time and rise, got {self.weights!r}")
        object.__setattr__(self, "weights", tuple(times))
        checks.integer("iterations", self.iterations, 1)
        checks.flag("elsewhere", self.elsewhere)
        checks.flag("moving", self.moving)
        if self.moving and self.weights != WEIGHTS:
            raise ValueError(f"weights must not be given with moving=True, which finds its own, got {self.weights!r}")

    def check(self, question: Question) -> None:
        """Refuse an unknown gain.

        Raises:
            ValueError: It is asked for.
        """
        from gsimplicit.inverse.answers.prepared import require

        require(self.name, question)

    def recover(self, question: Question) -> Answer:
        """Fits from several starts, and what they decide."""
        from gsimplicit.inverse.answers import moving_fit
        from gsimplicit.inverse.answers.prepared import answered
        from gsimplicit.inverse.answers.weak_fit import recovered

        if self.moving:
            return answered(question, lambda r: moving_fit.recovered(r, self.iterations, elsewhere=self.elsewhere))
        settings = (self.weights, self.iterations)
        return answered(question, lambda ready: recovered(ready, *settings, elsewhere=self.elsewhere))
