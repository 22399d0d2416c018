"""What is told of a simulation: how it was marched, and how its fields stand."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Leg", "Report"]


@dataclass(frozen=True)
class Leg:
    """A part of a march with the same parameters.

    Attributes:
        values: Of the parameters, in the model's order.
        dt: Length of a step, time units.
        steps: Steps taken, >= 1.
    """

    values: tuple[float, ...]
    dt: float
    steps: int


@dataclass(frozen=True)
class Report:
    """What is to be said of the fields that are shown.

    Attributes:
        time: Time units since the start.
        steps: Steps since the start.
        dt: Length of the next step, time units.
        least: Smallest value of the observed species.
        largest: Its largest value.
        residual: Largest rate of change of any species, per unit time; NaN before the first step.
        status: How it stands, in a word: new, marching, settled, diverged, or, of a state that was found, steady,
            drifting, fixed, unsteady, failed.
        evaluations: Of the residual, by the refinement that came after the steps; 0 where there was none.
        warning: Why the step is too long for the parameters, empty where it is not.
        values: Of the parameters, in the model's order.
    """

    time: float
    steps: int
    dt: float
    least: float
    largest: float
    residual: float
    status: str
    evaluations: int
    warning: str
    values: tuple[float, ...]

    def word(self, running: bool) -> str:
        """How it stands, where it is known whether it is marched just now."""
        return self.status if running or self.status != "marching" else "paused"
