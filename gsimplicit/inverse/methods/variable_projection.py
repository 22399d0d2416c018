"""Species that were not seen are eliminated, linear parameters fitted: for clean pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer
    from gsimplicit.inverse.answers.prepared import Prepared


@dataclass(frozen=True)
class VariableProjection(Method):
    """The residual of the seen species at the picture itself, with everything else eliminated.

    For given parameters the species that were not seen follow from their own equations, and parameters that enter
    linearly by least squares (Gray-Scott's Dv and k), so that two unknowns are left (Du and F). From a start as far
    away as that of arXiv 2606.11258 it reaches a clean picture's parameters to rounding, in a fraction of a second.
    Differences of neighbouring pixels multiply noise: what is noisy ends as MISFIT, with the noise that the residual
    shows.

    Attributes:
        limit: Noise that the residual may show, by the picture's standard deviation, > 0.
        iterations: Most of one fit, >= 1.
        elsewhere: Whether other starts are looked for where the given one leads nowhere.
        polish: Whether one-shot goes on from the answer, or from where the noise ruined it.

    Method: G. Golub and V. Pereyra, Inverse Problems 19, R1 (2003); see `gsimplicit.inverse.fits.variable_projection`.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import VariableProjection
        >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
        >>> failed = gs.Params(0.127, 0.1269, 0.05, 0.0501)  # where the paper's training began
        >>> round(gs.invert(v, start=failed, method=VariableProjection()).params.k.item(), 6)
        0.065
    """

    name: ClassVar[str] = "variable-projection"
    limit: float = 2e-4
    iterations: int = 60
    elsewhere: bool = True
    polish: bool = False

    def __post_init__(self) -> None:
        checks.real("limit", self.limit, above=0)
        checks.integer("iterations", self.iterations, 1)
        for name in ("elsewhere", "polish"):
            checks.flag(name, getattr(self, name))

    def check(self, question: Question) -> None:
        """Refuse gaps, several pictures of one set, an unknown gain, and noise above the limit.

        Raises:
            ValueError: The question has one of them.
        """
        from gsimplicit.inverse.answers.prepared import require

        require(self.name, question, whole=True, one=True)

    def recover(self, question: Question) -> Answer:
        """The parameters of least projected residual."""
        from gsimplicit.inverse.answers.clean import recovered
        from gsimplicit.inverse.answers.prepared import answered

        def by(ready: Prepared) -> Answer:
            return recovered(ready, self.limit, self.iterations, elsewhere=self.elsewhere)

        return answered(question, by, polish=self.polish)
