"""The implicit route on a root that is found from the data and followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.inverse.answers.judge import Answer
    from gsimplicit.losses.loss import FeatureLoss
    from gsimplicit.routes.objective import Loss

PIXELS = "pixels"
OPTIMIZERS = ("gauss-newton", "bfgs")


@dataclass(frozen=True)
class Followed(Method):
    """A loss of the steady state, minimised along one branch of steady states.

    The root of the first parameters is the one nearest to the picture. As parameters move Newton's method follows it
    from the root before, so that no basin of an initial field matters, and derivatives are those of the implicit
    function theorem. It ends where its branch ends: at a fold, for one. The reason says where that was.

    Attributes:
        loss: "pixels" (squared deviations, in any shift), a name of `gsimplicit.grad`'s losses, an object with
            features, or any torch callable of v (1, H, W) giving (1,). Named losses compare with the picture itself.
        optimizer: "gauss-newton" or "bfgs"; None is the first for "pixels", and the other one for all else.
        iterations: Most steps, >= 1.
        elsewhere: Whether other starts are looked for where the given one leads nowhere.

    Intervals are those of least squares: with another loss than "pixels" they are NaN.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Followed
        >>> params = gs.Params.preset("paper")
        >>> v = gs.steady_state(params, gs.initial_state(grid=(32, 32)), refine=True).v
        >>> result = gs.invert(v, start=params.replace(k=0.0645), method=Followed())
        >>> round(result.params.k.item(), 6)
        0.065
    """

    name: ClassVar[str] = "followed"
    loss: str | Loss | FeatureLoss = PIXELS
    optimizer: str | None = None
    iterations: int = 100
    elsewhere: bool = True

    def __post_init__(self) -> None:
        from gsimplicit.routes.arguments import check_loss

        if self.loss != PIXELS and (isinstance(self.loss, str) or not callable(self.loss)):
            check_loss(self.loss)
        if self.optimizer is not None:
            checks.choice("optimizer", self.optimizer, OPTIMIZERS)
        if self.optimizer == "gauss-newton" and self.loss != PIXELS:
            raise ValueError(f"optimizer must be 'bfgs' with another loss than {PIXELS!r}, got 'gauss-newton'")
        checks.integer("iterations", self.iterations, 1)
        checks.flag("elsewhere", self.elsewhere)

    def check(self, question: Question) -> None:
        """Refuse several pictures of one set, an unknown gain, and gaps where the loss compares whole pictures.

        Raises:
            ValueError: The question has one of them.
        """
        from gsimplicit.inverse.answers.prepared import require

        require(self.name, question, one=True, whole=self.loss != PIXELS)

    def recover(self, question: Question) -> Answer:
        """The minimum along the branch, or where the branch was lost."""
        from gsimplicit.inverse.answers.followed_fit import recovered
        from gsimplicit.inverse.answers.prepared import answered

        optimizer = self.optimizer or ("gauss-newton" if self.loss == PIXELS else "bfgs")
        settings = (self.loss, optimizer, self.iterations)
        return answered(question, lambda ready: recovered(ready, *settings, elsewhere=self.elsewhere))
