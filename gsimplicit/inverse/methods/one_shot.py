"""States, parameters and drifts together: the default method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer


@dataclass(frozen=True)
class OneShot(Method):
    """The steady state nearest to the data, sought together with its parameters by Gauss and Newton's method.

    Attributes:
        elsewhere: Whether other starts are looked for where the given one leads nowhere.

    Method: H. G. Bock, the reduced generalised Gauss-Newton method for boundary value problems (in Modelling of
    Chemical Reaction Systems, Springer 1981); see `gsimplicit.inverse.fits.one_shot`.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import OneShot
        >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
        >>> gs.invert(v, method=OneShot()).method
        'one-shot'
    """

    name: ClassVar[str] = "one-shot"
    windows: ClassVar[bool] = True
    ties: ClassVar[bool] = True
    elsewhere: bool = True

    def __post_init__(self) -> None:
        checks.flag("elsewhere", self.elsewhere)

    def recover(self, question: Question) -> Answer:
        """Fits from several starts, and what they decide."""
        from gsimplicit.inverse.answers.recover import recover

        q = question
        return recover(q.model, q.pictures, q.wanted, q.noise, affine=q.affine, elsewhere=self.elsewhere)
