"""Descent on a loss of re-marched states: the paper's way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gsimplicit import checks
from gsimplicit.inverse.method import Method, Question

if TYPE_CHECKING:
    from gsimplicit.descent.row import OptimizerFactory
    from gsimplicit.inverse.answers.judge import Answer
    from gsimplicit.losses.loss import FeatureLoss
    from gsimplicit.routes.arguments import Fields
    from gsimplicit.routes.objective import Loss
    from gsimplicit.routes.route import Route


@dataclass(frozen=True)
class Descend(Method):
    """Gradient descent on a loss of states that are marched anew from an initial field: for comparison.

    This is what arXiv 2606.11258 does, and why it fails: the loss has cliffs where a step of the parameters moves the
    initial field into another basin. `gsimplicit.descend` does the steps. The verdict is about the steady state of the
    parameters with the least loss that is nearest to the picture; the reason gives the parameters where there is none.

    Attributes:
        route: By which gradients are taken, as for `gsimplicit.grad`.
        loss: As for `gsimplicit.grad`, against the picture; or any callable of v (B, H, W) giving (B,).
        initial: Fields to march from, shape (1, S, H, W); None is `gsimplicit.initial_state` on the picture's grid.
        steps: Steps of the optimiser, >= 1.
        optimizer: As for `gsimplicit.descend`; None is the paper's.
        max_steps: Cap on each march, >= 1.

    Intervals are those of least squares at the steady state that is judged.

    Examples:
        >>> import functools, torch
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Descend
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> v = gs.steady_state(params, start, refine=True).v
        >>> adam = functools.partial(torch.optim.Adam, lr=0.002)
        >>> by = Descend(initial=start, steps=1, optimizer=adam)
        >>> gs.invert(v, start=params.replace(k=0.0645), free=["k"], method=by).verdict.item() == gs.Recovery.FOUND
        False
    """

    name: ClassVar[str] = "descend"
    route: str | Route = "implicit"
    loss: str | Loss | FeatureLoss = "spectrum"
    initial: Fields | None = None
    steps: int = 100
    optimizer: OptimizerFactory | None = None
    max_steps: int = 50_000

    def __post_init__(self) -> None:
        from gsimplicit.descent.row import as_optimizer
        from gsimplicit.routes.arguments import as_route, check_loss

        as_route(self.route)
        if isinstance(self.loss, str) or not callable(self.loss):
            check_loss(self.loss)
        checks.integer("steps", self.steps, 1)
        checks.integer("max_steps", self.max_steps, 1)
        as_optimizer(self.optimizer)

    def check(self, question: Question) -> None:
        """Refuse gaps, several pictures of one set, an unknown gain, and initial fields on another grid.

        Raises:
            ValueError: The question has one of them.
        """
        from gsimplicit.inverse.answers.prepared import require

        require(self.name, question, whole=True, one=True)
        if question.model.seen not in question.pictures.seen:
            raise ValueError(f"v must be given for the method {self.name!r}")
        if self.initial is not None and tuple(self.initial.shape) != (1, *question.pictures.values.shape[1:]):
            raise ValueError(
                f"initial must have shape {(1, *question.pictures.values.shape[1:])} for this picture, "
                f"got {tuple(self.initial.shape)}"
            )

    def recover(self, question: Question) -> Answer:
        """Where the descent ended, judged by the picture."""
        import torch

        from gsimplicit.inverse.answers.prepared import answered
        from gsimplicit.inverse.answers.remarched import recovered

        initial = None if self.initial is None else torch.as_tensor(self.initial, dtype=torch.float64)
        settings = (self.route, self.loss, initial, self.steps, self.optimizer, self.max_steps)
        return answered(question, lambda ready: recovered(ready, *settings))
