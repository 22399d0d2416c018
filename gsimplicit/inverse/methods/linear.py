"""All species seen: linear fits of the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer


@dataclass(frozen=True)
class Linear(Method):
    """Linear least squares on the steady equations, for models that are linear in their parameters.

    Gray-Scott's are linear in Du and F, and in Dv and F + k. All species must have been seen. It takes milliseconds, no
    start, and stands some noise, since both sides of the equations are filtered.

    Attributes:
        width: Standard deviation of the Gauss filter in pixels, >= 0; 0 fits pixel by pixel, for clean pictures.
        polish: Whether one-shot goes on from the answer: narrower intervals.

    Method: see `gsimplicit.inverse.answers.linear_fit`.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Linear
        >>> state = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True)
        >>> result = gs.invert(state.v, state.u, method=Linear(width=0.0))
        >>> round(result.params.Du.item(), 4), round(result.params.k.item(), 4)
        (0.16, 0.065)
    """

    name: ClassVar[str] = "linear"
    width: float = 2.5
    polish: bool = False

    def __post_init__(self) -> None:
        checks.real("width", self.width, least=0)
        checks.flag("polish", self.polish)

    def check(self, question: Question) -> None:
        """Refuse species that were not seen, gaps, an unknown gain, and models that are not linear.

        Raises:
            ValueError: The question has one of them.
        """
        from gsimplicit.inverse.answers.linear_fit import nonlinear
        from gsimplicit.inverse.answers.prepared import require

        model, wanted = question.model, question.wanted
        missing = [name for i, name in enumerate(model.species) if i not in question.pictures.seen]
        if missing:
            raise ValueError(
                f"all species must have been seen for the method {self.name!r}, {', '.join(missing)} was not: "
                "'one-shot' and 'variable-projection' do without"
            )
        require(self.name, question, whole=True)
        places = [model.parameters.index(name) for name in wanted.free]
        names = nonlinear(model, places, wanted.fixed)
        if names:
            raise ValueError(
                f"model must be linear in the free parameters for the method {self.name!r}, {model.name} is not in "
                f"{', '.join(names)}: fix some with free, or use 'one-shot'"
            )

    def recover(self, question: Question) -> Answer:
        """The parameters of least residual."""
        from gsimplicit.inverse.answers.linear_fit import recovered
        from gsimplicit.inverse.answers.prepared import answered

        return answered(question, lambda ready: recovered(ready, self.width), polish=self.polish)
