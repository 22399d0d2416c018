"""What lies outside a picture: the picture again, or something that nobody saw.

An open window is mirrored at its rim wherever a start needs values outside: for its filters, its hidden species and
its march. The fit itself assumes nothing of the outside; see `gsimplicit.inverse.fits.open_step`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.equations import Equations, Model
from gsimplicit.grid import Indices, along, around, broken_translations, stencil
from gsimplicit.inverse.pictures import kriging, noise

Array = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


FELT = 6
"""Pixels inside the rim up to which a start feels its mirror."""
FAINT = 0.01
"""Slope along a direction, by the steepest, below which it is noise or rounding that breaks the translation along it.
Stripes have one such; a drift along them would be a spurious unknown that makes their Jacobian singular."""
GAP = 16
"""Pixels between the ends of a window that make it periodic."""


class Mirrored(Equations):
    """The equations on a window whose rim is a mirror: nothing flows through it."""

    def around(self, x: Array) -> Array:
        """Sum over the four nearest neighbours of fields (..., H, W)."""
        return around_mirrored(x)

    def stencil(self, H: int, W: int) -> tuple[Indices, Indices]:
        """Row and column indices of the Jacobian's entries."""
        return stencil(len(self.model.species), H, W, mirrored=True)


def around_mirrored(x: Array) -> Array:
    """Sum over the four nearest neighbours of fields (..., H, W) that are mirrored at their rim."""
    rows = np.concatenate([x[..., :1, :], x, x[..., -1:, :]], axis=-2)
    columns = np.concatenate([x[..., :1], x, x[..., -1:]], axis=-1)
    return np.asarray((columns[..., :-2] + columns[..., 2:]) + (rows[..., :-2, :] + rows[..., 2:, :]))


def inner(fields: Array) -> Array:
    """Fields (..., H, W) without their rim of one pixel."""
    return np.ascontiguousarray(fields[..., 1:-1, 1:-1])


def slopes_inside(fields: Array) -> Array:
    """Central differences of fields (S, H, W) along rows and columns, inside the rim, shape (2, S, H - 2, W - 2)."""
    x = fields
    return np.stack([x[:, 2:, 1:-1] - x[:, :-2, 1:-1], x[:, 1:-1, 2:] - x[:, 1:-1, :-2]]) / 2


@dataclass(frozen=True)
class Edges:
    """What is done where a picture ends.

    Attributes:
        open: Whether the outside is unknown; else the picture is periodic.
    """

    open: bool = False

    def equations(self, model: Model, values: Array) -> Equations:
        """The equations on the whole picture, for starts."""
        return Mirrored(model, values) if self.open else Equations(model, values)

    def defect(self, model: Model, values: Array, X: Array, drift: Array) -> Array:
        """What must vanish at a steady state that drifts: of an open window, the residual inside its rim."""
        if not self.open:
            return Equations(model, values).defect(X, drift)
        return inner(Equations(model, values).residual(X)) + np.tensordot(drift, slopes_inside(X), axes=1)

    def moves(self, X: Array, scale: float) -> Array:
        """Directions in which a state can drift, unit vectors (row, column), (r, 2): along stripes it cannot."""
        if self.open:
            return np.eye(2)
        directions = broken_translations(X, scale)
        steep = np.sqrt((along(directions, X) ** 2).reshape(len(directions), X.size).sum(1))
        return np.asarray(directions[steep >= FAINT * steep.max(initial=0)])

    def around(self, x: Array) -> Array:
        """Sum over the four nearest neighbours of fields (..., H, W)."""
        return around_mirrored(x) if self.open else around(x)

    def whole(self, fields: Array) -> Array:
        """Periodic fields that march as these (..., H, W) do: of an open window, with its mirror images."""
        return np.ascontiguousarray(_mirrored(fields) if self.open else fields)

    def own(self, fields: Array, shape: tuple[int, ...]) -> Array:
        """The part of `whole` fields that they were made from, of a shape (..., H, W)."""
        return _corner(fields, shape) if self.open else fields

    def judged(self, residual: Array) -> Array:
        """The part of a start's residual (..., H, W) that does not feel the mirror."""
        if not self.open:
            return residual
        m = min(FELT, min(residual.shape[-2:]) // 6)
        return np.ascontiguousarray(residual[..., m:-m, m:-m])

    def smoothed(self, fields: Array, width: float) -> Array:
        """Fields (..., H, W) through a Gauss filter of a width in pixels; 0 is none."""
        if not (self.open and width):
            return noise.smoothed(fields, width)
        return _corner(noise.smoothed(_mirrored(fields), width), fields.shape)

    def noise_of(self, picture: Array) -> float:
        """Standard deviation of white noise on a picture (H, W)."""
        return noise.noise_of(_mirrored(picture) if self.open else picture)

    def denoised(self, picture: Array, size: float) -> Array:
        """A picture (H, W) by a Wiener filter."""
        if not self.open:
            return noise.denoised(picture, size)
        return _corner(noise.denoised(_mirrored(picture), size), picture.shape)

    def filled(self, picture: Array, there: Mask, size: float) -> Array:
        """A picture (H, W) where it was not measured as well: the smoothest one within the noise."""
        if not self.open:
            return noise.filled(picture, there, size)
        return _corner(noise.filled(_mirrored(picture), _mirrored(there), size), picture.shape)

    def kriged(self, picture: Array, there: Mask, size: float) -> Array:
        """A picture (H, W) from few of its pixels: the likeliest one of the patterns with their spectrum."""
        if not self.open:
            return kriging.kriged(picture, there, size)
        gap = ((0, GAP), (0, GAP))  # an open window is a periodic picture with a gap around it
        return _corner(kriging.kriged(np.pad(picture, gap), np.pad(there, gap), size), picture.shape)


PERIODIC, OPEN = Edges(), Edges(open=True)


def _mirrored(x: Any) -> Any:
    """Four copies (..., 2 H, 2 W) that are periodic and continuous."""
    rows = np.concatenate([x, x[..., ::-1, :]], axis=-2)
    return np.concatenate([rows, rows[..., ::-1]], axis=-1)


def _corner(x: Array, shape: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(x[..., : shape[-2], : shape[-1]])
