"""Measures that also suit patterns which do not fill the grid yet.

The dominant wavelength of v sees a growing patch as one long wave, and the shape of a pattern is counted in squares of
that wavelength. The gradient of v sees what is inside the patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from studies._patterns import FLAT, radial_spectrum

Array = np.ndarray[Any, Any]


def fine_wavelength(v: Array) -> Array:
    """Dominant wavelength of the gradient of v in pixels: where the wave number squared times the power is largest.

    Of a regular pattern that fills the grid it is the dominant wavelength of v, or a little less.

    Args:
        v: Shape (..., H, W).

    Returns:
        Shape (...); NaN where there is no pattern.

    Examples:
        >>> x = np.arange(128)
        >>> wave = np.tile(np.sin(2 * np.pi * x / 16), (128, 1))
        >>> patch = np.exp(-0.5 * ((x - 64) / 16) ** 2)
        >>> within = patch[:, None] * patch * (1 + wave)  # a patch of waves
        >>> round(float(fine_wavelength(wave))), round(float(fine_wavelength(within)), 1)
        (16, 15.8)
    """
    q, power = radial_spectrum(v)
    found = 1 / q[(q**2 * power).argmax(axis=-1)]
    return np.where(np.asarray(v, np.float64).std(axis=(-2, -1)) < FLAT, np.nan, found)


def loss(v: Array, w: Array) -> Array:
    """The paper's spectrum loss of every two fields, shape (..., H, W) each."""
    one, two = (torch.from_numpy(np.ascontiguousarray(x).reshape(-1, *x.shape[-2:])) for x in (v, w))
    return gs.spectrum_loss(one, two).numpy().reshape(v.shape[:-2])
