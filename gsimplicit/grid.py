"""The periodic grid of pixels of width 1: the one place that knows its five-point stencil, its waves and its shifts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.intp]]

NEIGHBOURS = 4
"""Neighbours of a pixel: the Laplacian is their sum less four times the pixel."""


def neighbour_sum(field: torch.Tensor) -> torch.Tensor:
    """Sum over the four nearest neighbours along the last two axes of a tensor.

    Added in the order of the compiled kernels, so that both give the same bits.
    """
    return (field.roll(1, -1) + field.roll(-1, -1)) + (field.roll(1, -2) + field.roll(-1, -2))


def around(x: Array) -> Array:
    """The same sum for arrays (..., H, W), in the same order."""
    rows = np.concatenate([x[..., -1:, :], x, x[..., :1, :]], axis=-2)
    columns = np.concatenate([x[..., -1:], x, x[..., :1]], axis=-1)
    return np.asarray((columns[..., :-2] + columns[..., 2:]) + (rows[..., :-2, :] + rows[..., 2:, :]))


def wave_numbers(n: int, *, half: bool = False) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """`2 pi i` times the frequencies of n pixels, or those of a real transform's half.

    The Nyquist mode of an even grid has no real derivative and is dropped, which keeps derivatives antisymmetric.
    """
    numbers: Any = 2j * np.pi * (np.fft.rfftfreq(n) if half else np.fft.fftfreq(n))
    if n % 2 == 0:
        numbers[n // 2] = 0
    return np.asarray(numbers)


def slopes(fields: Array) -> Array:
    """Spectral derivatives of fields (S, H, W) along rows and columns, shape (2 directions, S, H, W)."""
    hat = np.fft.fft2(fields)
    out = []
    for axis, n in enumerate(fields.shape[-2:]):
        q = wave_numbers(n)
        out.append(np.fft.ifft2(hat * (q[:, None] if axis == 0 else q[None, :])).real)
    return np.stack(out)


def laplacian(shape: tuple[int, int], *, half: bool = False) -> Array:
    """Eigenvalues of the five-point Laplacian at each wave number, shape (H, W), or (H, W // 2 + 1) for a half."""
    H, W = shape
    across = np.fft.rfftfreq(W) if half else np.fft.fftfreq(W)
    return np.asarray(2 * np.cos(2 * np.pi * np.fft.fftfreq(H))[:, None] + 2 * np.cos(2 * np.pi * across) - NEIGHBOURS)


def laplacian_of(shape: tuple[int, ...]) -> Array:
    """The same as sums over the two axes, by the number of the wave, for fields of `shape` (S, H, W)."""
    a, b = (2 * np.cos(2 * np.pi * np.arange(n) / n) - 2 for n in shape[1:])
    return np.asarray(a[:, None] + b[None, :])


def shifted(fields: Array, shift: Array) -> Array:
    """Fields (S, H, W) moved rigidly by (rows, columns) pixels, by the shift theorem; whole pixels move exactly."""
    hat = np.fft.fft2(fields)
    for axis, (n, by) in enumerate(zip(fields.shape[-2:], shift, strict=True)):
        factor = np.exp(-2j * np.pi * np.fft.fftfreq(n) * by)
        if n % 2 == 0:
            factor[n // 2] = factor[n // 2].real  # the Nyquist mode has no phase of its own
        hat = hat * (factor[:, None] if axis == 0 else factor[None, :])
    moved: Array = np.fft.ifft2(hat).real
    return moved


def broken_translations(fields: Array, scale: float = 1.0) -> Array:
    """Independent directions in which a state of a typical size is not uniform, unit vectors (row, column), (r, 2)."""
    steep = slopes(fields).reshape(2, -1)
    values, vectors = np.linalg.eigh(steep @ steep.T / steep.shape[1])
    # squares of slopes: 1e-8 is a slope of 1e-4 by the scale, far below any pattern and far above rounding
    broken: Array = vectors.T[values > max(1e-8 * scale**2, 1e-10 * float(values.max()))]
    return broken


def along(directions: Array, fields: Array) -> Array:
    """Derivatives of fields (S, H, W) along some directions or velocities (..., 2), shape (..., S, H, W)."""
    return np.asarray(np.tensordot(directions, slopes(fields), axes=1))


@lru_cache(maxsize=8)
def stencil(species: int, H: int, W: int, *, mirrored: bool = False) -> tuple[Indices, Indices]:
    """Row and column indices of a Jacobian's entries, the species of a pixel side by side (interleaved).

    For each species the pixel itself and its neighbours above, below, left and right; then for each pair of species
    i, j of which i is not j the pixel's entry (i, j). Interleaving keeps the unknowns of a pixel together, which the
    minimum-degree ordering rewards. A mirrored rim has itself for a neighbour.
    """
    grid = np.arange(H * W).reshape(H, W)
    wide = np.pad(grid, 1, mode="edge" if mirrored else "wrap")
    near = [x.ravel() for x in (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:])]
    cell = grid.ravel()
    rows, columns = [], []
    for c in range(species):
        for other in (cell, *near):
            rows.append(species * cell + c)
            columns.append(species * other + c)
    for i in range(species):
        for j in range(species):
            if i != j:
                rows.append(species * cell + i)
                columns.append(species * cell + j)
    return np.concatenate(rows), np.concatenate(columns)


def interleaved(fields: Array) -> Array:
    """Fields (m, S, H, W) as columns (S H W, m), the species of a pixel side by side."""
    m, S, H, W = fields.shape
    return np.ascontiguousarray(fields.transpose(2, 3, 1, 0).reshape(S * H * W, m))


def separate(column: Array, shape: tuple[int, ...]) -> Array:
    """A column (S H W,) as fields of `shape` (S, H, W)."""
    S, H, W = shape
    return column.reshape(H, W, S).transpose(2, 0, 1)
