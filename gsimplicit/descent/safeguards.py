"""What keeps a descent finite: a march with the next parameters, before they are taken."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gsimplicit import checks
from gsimplicit.equations import Model

__all__ = ["Safeguards"]


@dataclass(frozen=True)
class Safeguards:
    """The adaptive learning rate of arXiv 2606.11258, section 2.2, as its published code has it.

    The next parameters are tried by a march from the next step's fields. They are taken where it stays finite, v stays
    in its bounds ([0, 1] for Gray-Scott, the model's own for others) and the loss is finite. Else the rate is shrunk,
    and where no shrunk rate will do, larger ones are tried. Every step begins with the optimiser's own rate again. The
    march that is accepted is the next step's: a trial costs nothing where the first one is taken.

    Attributes:
        shrink: Factor of the rate at each further try, in (0, 1).
        tries: Tries with the rate and shrunk ones, >= 1; then as many less one with larger ones.
        jump: Factor of the rate at each of those, > 1.
        cfl: Take no diffusion coefficient above `1 / (4 dt)`, the paper's two-dimensional CFL criterion. The paper
            takes no measure to ensure it.

    Examples:
        >>> import gsimplicit as gs
        >>> [round(factor, 4) for factor in gs.Safeguards().factors]
        [1.0, 0.1, 0.01, 0.001, 1.2, 1.44, 1.728]
    """

    shrink: float = 0.1
    tries: int = 4
    jump: float = 1.2
    cfl: bool = False

    def __post_init__(self) -> None:
        checks.keep(
            self,
            {
                "shrink": checks.real("shrink", self.shrink, above=0, below=1),
                "tries": checks.integer("tries", self.tries, 1, 1000),
                "jump": checks.real("jump", self.jump, above=1),
                "cfl": checks.flag("cfl", self.cfl),
            },
        )

    @property
    def factors(self) -> tuple[float, ...]:
        """Factors of the learning rate in the order in which they are tried."""
        return (
            *(self.shrink**i for i in range(self.tries)),
            *(self.jump**i for i in range(1, self.tries)),
        )

    def steps_stay_stable(self, values: torch.Tensor, model: Model, dt: float) -> torch.Tensor:
        """Whether parameters (B, P) pass the CFL criterion, bool (B,); all do where it is not asked for."""
        if not self.cfl:
            return torch.ones(len(values), dtype=torch.bool)
        return torch.le(values[:, : len(model.diffusivity)], 0.25 / dt).all(dim=1)


def stays_inside(fields: torch.Tensor, model: Model) -> torch.Tensor:
    """Whether the observed species of fields (N, S, H, W) is finite and in the model's bounds, bool (N,)."""
    seen = fields[:, model.seen].flatten(1)
    ends = model.bounds[model.seen]
    fine: torch.Tensor = torch.isfinite(seen)
    if ends is not None:
        fine = fine & (seen >= ends[0]) & (seen <= ends[1])
    return fine.all(dim=1).cpu()


def possible(values: torch.Tensor, model: Model) -> torch.Tensor:
    """Whether parameters (B, P) are finite and in the model's ranges, bool (B,)."""
    low, high = torch.tensor([model.range_of(n) for n in model.parameters], dtype=torch.float64).T
    inside: torch.Tensor = torch.isfinite(values) & (values >= low) & (values <= high)
    return inside.all(dim=1)
