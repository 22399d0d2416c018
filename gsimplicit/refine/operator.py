"""Bordered Jacobians of a batch without a matrix, and the mean field that preconditions them, on torch.

The mean field is the Jacobian with its reaction averaged over the grid: a small matrix a wave number, inverted by FFT.
The border is eliminated from it by blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import columns, product, together
from gsimplicit.grid import along, laplacian, wave_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered

BORDER = 2
"""Border slots an instance, one a translation. A slot that is not needed is closed by a 1 on the diagonal."""

_FLOOR = 1e-6
"""Least modulus of a determinant of the mean field: a wave number at its Turing onset must not dominate."""


class BorderedOperator:
    """Bordered Jacobians of B states and their mean-field preconditioners, on columns of shape (B, S H W + 2).

    Args:
        systems: B systems on one grid.
        device: Where to compute.
    """

    def __init__(self, systems: Sequence[Bordered], device: torch.device) -> None:
        def tensor(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float64).to(device)

        self.device = device
        self._fields = tensor(np.stack([s.fields for s in systems]))
        self._params = together([s.equations for s in systems])
        self.shape = tuple(self._fields.shape)
        B, S, H, W = self.shape
        self.unknowns = S * H * W
        columns, rows = np.zeros((2, B, BORDER, self.unknowns))
        closed = np.ones((B, BORDER))
        for i, s in enumerate(systems):
            r = len(s.directions)
            if r:
                columns[i, :r] = along(s.directions, s.fields).reshape(r, -1)
                rows[i, :r] = columns[i, :r] if s.phase is None else s.phase.reshape(r, -1)
                closed[i, :r] = 0.0
        self._columns, self._rows, self._closed = tensor(columns), tensor(rows), tensor(closed)
        velocity = np.stack([s.velocity for s in systems])
        # c . grad in Fourier space; None where every pattern rests
        down, across = wave_numbers(H)[:, None], wave_numbers(W, half=True)
        drift = velocity[:, 0, None, None] * down + velocity[:, 1, None, None] * across
        self._drift = torch.from_numpy(drift).to(device) if velocity.any() else None
        self._inverse = self._mean_field(drift)
        # the border of the preconditioner, eliminated by blocks: [transpose] -> solved columns, Schur complement
        self._eliminated = [self._eliminate(transpose) for transpose in (False, True)]

    def _mean_field(self, drift: np.ndarray[Any, Any]) -> list[list[torch.Tensor]]:
        """The inverse of the averaged Jacobian at each wave number: S rows of S entries, (B, H, W // 2 + 1) each."""
        B, S, H, W = self.shape
        fields = self._fields.to("cpu")
        J = self._params.model.reaction_jacobian(fields.unbind(1), columns(self._params, fields))
        waves, values = laplacian((H, W), half=True), self._params.tensor().numpy()
        shape = (B, *waves.shape)
        entries = []
        for i in range(S):
            row = [np.broadcast_to(e.mean(dim=(-2, -1)).numpy()[:, None, None], shape) for e in J[i]]
            row[i] = values[:, i, None, None] * waves + row[i] + drift
            entries.append(row)
        return [[self._sent(e) for e in row] for row in _inverse(entries)]

    def _sent(self, entry: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(entry)).to(self.device)

    def _eliminate(self, transpose: bool) -> tuple[torch.Tensor, torch.Tensor]:
        column, row = self._border(transpose)
        solved = torch.stack([self._smooth(column[:, i], transpose) for i in range(BORDER)], dim=1)
        return solved, row @ solved.mT - torch.diag_embed(self._closed)

    def _border(self, transpose: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Columns and rows of the border, shape (B, 2, S H W)."""
        return (self._rows, self._columns) if transpose else (self._columns, self._rows)

    def product(self, x: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The Jacobian without its border, or its transpose, on (B, S H W)."""
        x = x.reshape(self.shape)
        y = product(self._fields, self._params, x, transpose=transpose)
        if self._drift is not None:
            # the spectral derivative is antisymmetric
            moved = torch.fft.irfft2(torch.fft.rfft2(x) * self._drift[:, None], s=self.shape[-2:])
            y = y - moved if transpose else y + moved
        return y.reshape(len(y), -1)

    def apply(self, z: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The bordered operator, or its transpose, on (B, S H W + 2)."""
        x, s = z[:, : self.unknowns], z[:, self.unknowns :]
        column, row = self._border(transpose)
        y = self.product(x, transpose=transpose) + combine(s, column)
        return torch.cat([y, dots(row, x) + self._closed * s], dim=1)

    def precondition(self, z: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The inverse of the bordered mean field, or its transpose, on (B, S H W + 2)."""
        solved, schur = self._eliminated[transpose]
        _, row = self._border(transpose)
        y = self._smooth(z[:, : self.unknowns], transpose)
        s = torch.linalg.solve(schur, dots(row, y) - z[:, self.unknowns :])
        return torch.cat([y - combine(s, solved), s], dim=1)

    def _smooth(self, x: torch.Tensor, transpose: bool) -> torch.Tensor:
        """The inverse of the mean field without border, or its transpose, on (B, S H W)."""
        inverse = self._inverse
        if transpose:
            inverse = [[e.conj() for e in column] for column in zip(*inverse, strict=True)]
        hats = torch.fft.rfft2(x.reshape(self.shape)).unbind(1)
        smoothed = [sum(e * hat for e, hat in zip(row, hats, strict=True)) for row in inverse]
        y: torch.Tensor = torch.fft.irfft2(torch.stack(smoothed, dim=1), s=self.shape[-2:])
        return y.reshape(len(x), -1)

    def part(self, instances: list[int]) -> BorderedOperator:
        """The operators of some of the instances."""
        some = object.__new__(BorderedOperator)
        some.device, some.unknowns = self.device, self.unknowns
        some.shape = (len(instances), *self.shape[1:])
        some._fields, some._params = self._fields[instances], self._params[instances]
        some._columns, some._rows, some._closed = (a[instances] for a in (self._columns, self._rows, self._closed))
        some._drift = None if self._drift is None else self._drift[instances]
        some._inverse = [[a[instances] for a in row] for row in self._inverse]
        some._eliminated = [(a[instances], b[instances]) for a, b in self._eliminated]
        return some


def _inverse(entries: list[list[Any]]) -> list[list[Any]]:
    """The inverse of matrices given by their entries, kept from blowing up where one is nearly singular."""
    if len(entries) == 2:
        (a, b), (c, d) = entries
        det = a * d - b * c
        size = np.abs(det)
        det = np.where(size < _FLOOR, _FLOOR * np.where(size > 0, det / np.maximum(size, 1e-300), 1.0), det)
        return [[d / det, -b / det], [-c / det, a / det]]
    matrix = np.stack([np.stack(row, axis=-1) for row in entries], axis=-2)
    small = np.abs(np.linalg.det(matrix)) < _FLOOR
    matrix[small] += _FLOOR * np.eye(len(entries))
    found = np.linalg.inv(matrix)
    return [[found[..., i, j] for j in range(len(entries))] for i in range(len(entries))]


def dots(basis: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Dot products of basis vectors (B, m, n) with columns (B, n), shape (B, m)."""
    return (basis @ x[..., None])[..., 0]


def combine(weights: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sums of basis vectors (B, m, n) by weights (B, m), shape (B, n)."""
    return (weights[:, None] @ basis)[:, 0]
