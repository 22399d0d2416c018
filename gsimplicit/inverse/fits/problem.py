"""What a fit is asked, where it stands, and where it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from gsimplicit.equations import Model
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.pictures.snapshot import Snapshot

Array = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Ended(StrEnum):
    """How an iteration ended."""

    CONVERGED = "converged"
    STEPS = "steps used up"
    SINGULAR = "singular"
    DIVERGED = "not finite"
    LEFT = "parameters left"
    GAIN = "gain not positive"


@dataclass(frozen=True, eq=False)
class Place:
    """Where an iteration stands: the states of all snapshots, one set of parameters, one gain.

    Attributes:
        fields: A state a snapshot, each (S, H, W).
        drifts: Their drifts, each (2,).
        values: Parameters, shape (P,).
        gain: Offset and gain of the seen species.
    """

    fields: tuple[Array, ...]
    drifts: tuple[Array, ...]
    values: Array
    gain: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Fit:
    """Where it ended.

    Attributes:
        place: States, parameters and gain.
        ended: How.
        iterations: Factorisations of each snapshot's Jacobian.
        residual: Largest bordered residual per unit time.
        columns: Derivative of the misfit in the unknowns, shape (count, m + shifts + 2 with a gain).
        misfit: Deviations in standard deviations of the noise, shape (count,).
        level: First value of the level function: how far the start was from everything.
        absorbed: Degrees of freedom of the data that an unknown outside takes.
        weighed: All deviations that were made small, of each window those from what is believed of its rim after those
            from its data, shape (rows of the columns,).
        camera: Their derivatives in offset, gain and bend of the camera, shape (rows, 3); none where not asked.
        measured: Which of them are from the data, shape (rows,).
    """

    place: Place
    ended: Ended
    iterations: int
    residual: float
    columns: Array
    misfit: Array
    level: float = field(default=np.inf)
    absorbed: float = 0.0
    weighed: Array = field(default_factory=lambda: np.zeros(0))
    camera: Array = field(default_factory=lambda: np.zeros((0, 3)))
    measured: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def freedom(self) -> int:
        """Degrees of freedom left."""
        return max(len(self.misfit) - int(self.columns.shape[1]) - round(self.absorbed), 1)

    @property
    def chi2(self) -> float:
        """Sum of squared deviations by the degrees of freedom left: 1 where noise explains it all."""
        return float((self.misfit**2).sum() / self.freedom)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is asked: the snapshots of one set of parameters of a model, and what is free.

    Attributes:
        model: The model.
        snapshots: What was seen.
        scales: How parameters are varied.
        affine: Whether gain and offset of the seen species are unknown.
        sure: Whether the noise is known; else what is left must be white to count as noise.
        edges: What lies outside the pictures.
        doubted: Factor by which hidden values on the rim of a window may differ more than is believed.
    """

    model: Model
    snapshots: tuple[Snapshot, ...]
    scales: Scales
    affine: bool = False
    sure: bool = True
    edges: Edges = PERIODIC
    doubted: float = 1.0

    @property
    def noise(self) -> float:
        """Smallest standard deviation of the noise, the unit in which fields are compared with it."""
        return float(1.0 / max(float(s.weights.max()) for s in self.snapshots))

    @property
    def trusted(self) -> bool:
        """Whether a fit may go far along what is hardly seen.

        Not where a wrong root may pass for the answer, since the noise is not known, and not where an unknown gain
        leaves a family whose members all fit.
        """
        return self.sure and not self.affine

    def misfit(self, place: Place) -> Array:
        """Deviations of all snapshots."""
        return np.concatenate([s.misfit(X, place.gain) for s, X in zip(self.snapshots, place.fields, strict=True)])

    def defects(self, place: Place) -> list[Array]:
        """Bordered residuals of all states, each (S, H, W), without the rim where the outside is unknown."""
        pairs = zip(place.fields, place.drifts, strict=True)
        return [self.edges.defect(self.model, place.values, X, c) for X, c in pairs]
