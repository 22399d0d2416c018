"""Bordered Jacobians of a batch without a matrix, and the mean field that preconditions them, on torch.

The mean field is the Jacobian with its reaction averaged over the grid: a small matrix a wave number, inverted by FFT.
The border is eliminated from it by blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import applied
from gsimplicit.grid import laplacian, wave_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered

BORDER = 2
"""Border slots an instance, one a translation. A slot that is not needed is closed by a 1 on the diagonal."""

_FLOOR = 1e-6
"""Least modulus of a determinant of the mean field: a wave number at its Turing onset must not dominate."""


class BorderedOperator:
    """Bordered Jacobians of B states and their mean-field preconditioners.

    They act on a column an instance, shape (B, S H W + 2), or on several, (B, m, S H W + 2).

    Args:
        systems: B systems on one grid.
        device: Where to compute.
    """

    def __init__(self, systems: Sequence[Bordered], device: torch.device) -> None:
        def tensor(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values), dtype=torch.float64).to(device)

        self.device = device
        self._fields = tensor(np.stack([s.fields for s in systems]))
        self.shape = tuple(self._fields.shape)
        B, S, H, W = self.shape
        self.unknowns = S * H * W
        p = [p[:, None, None] for p in tensor(np.stack([s.parameters for s in systems])).unbind(1)]
        J = systems[0].equations.model.reaction_jacobian(self._fields.unbind(1), p)
        self._p, self._J = [q[:, None] for q in p], [[e[:, None] for e in row] for row in J]
        self._waves = [torch.from_numpy(w).to(device) for w in (wave_numbers(H)[:, None], wave_numbers(W, half=True))]
        directions, closed = np.zeros((B, BORDER, 2)), np.ones((B, BORDER))
        for i, s in enumerate(systems):
            directions[i, : len(s.directions)] = s.directions
            closed[i, : len(s.directions)] = 0.0
        self._columns, self._closed = self._along(tensor(directions)), tensor(closed)
        self._rows = self._columns.clone()
        for i, s in enumerate(systems):
            if s.phase is not None and len(s.directions):
                self._rows[i, : len(s.directions)] = tensor(s.phase).reshape(len(s.directions), -1)
        # c . grad in Fourier space; None where every pattern rests
        velocity = np.stack([s.velocity for s in systems])
        down, across = (
            c * wave for c, wave in zip(tensor(velocity)[..., None, None, None].unbind(1), self._waves, strict=True)
        )
        self._drift = down + across if velocity.any() else None
        self._inverse = self._mean_field()
        # the border of the preconditioner, eliminated by blocks: [transpose] -> solved columns, inverse of what is left
        self._eliminated = [self._eliminate(transpose) for transpose in (False, True)]

    def _along(self, directions: torch.Tensor) -> torch.Tensor:
        """Spectral derivatives of the fields along directions (B, n, 2), shape (B, n, S H W)."""
        hat = torch.fft.rfft2(self._fields)
        steep = [torch.fft.irfft2(hat * wave, s=self.shape[-2:]).flatten(1) for wave in self._waves]
        return directions @ torch.stack(steep, dim=1)

    def _mean_field(self) -> list[list[torch.Tensor]]:
        """The inverse of the averaged Jacobian at each wave number: S rows of S, (B, 1, H, W // 2 + 1) each."""
        _, S, H, W = self.shape
        waves = torch.from_numpy(laplacian((H, W), half=True)).to(self.device)
        entries = []
        for i in range(S):
            row = [e.mean(dim=(-2, -1), keepdim=True) + 0.0 * waves for e in self._J[i]]
            row[i] = row[i] + self._p[i] * waves
            row = [e.to(torch.complex128) for e in row]
            if self._drift is not None:
                row[i] = row[i] + self._drift
            entries.append(row)
        return _inverse(entries)

    def _eliminate(self, transpose: bool) -> tuple[torch.Tensor, torch.Tensor]:
        column, row = self._border(transpose)
        solved = self._smooth(column, transpose)
        # one that is singular must not raise: it would end the others of its batch as well
        return solved, torch.linalg.inv_ex(row @ solved.mT - torch.diag_embed(self._closed))[0]

    def _border(self, transpose: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Columns and rows of the border, shape (B, 2, S H W)."""
        return (self._rows, self._columns) if transpose else (self._columns, self._rows)

    def _fields_of(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(self.shape[0], -1, *self.shape[1:])

    def product(self, x: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The Jacobian without its border, or its transpose, on (B, m, S H W)."""
        fields = self._fields_of(x)
        y = applied(self._J, self._p, fields, transpose=transpose)
        if self._drift is not None:
            # the spectral derivative is antisymmetric
            moved = torch.fft.irfft2(torch.fft.rfft2(fields) * self._drift[:, None], s=self.shape[-2:])
            y = y - moved if transpose else y + moved
        return y.reshape(x.shape)

    def apply(self, z: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The bordered operator, or its transpose."""
        if z.ndim == 2:
            return self.apply(z[:, None], transpose=transpose)[:, 0]
        x, s = z[..., : self.unknowns], z[..., self.unknowns :]
        column, row = self._border(transpose)
        y = torch.baddbmm(self.product(x, transpose=transpose), s, column)
        return torch.cat([y, torch.baddbmm(self._closed[:, None] * s, x, row.mT)], dim=2)

    def precondition(self, z: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The inverse of the bordered mean field, or its transpose."""
        if z.ndim == 2:
            return self.precondition(z[:, None], transpose=transpose)[:, 0]
        solved, inverse = self._eliminated[transpose]
        _, row = self._border(transpose)
        y = self._smooth(z[..., : self.unknowns], transpose)
        s = torch.baddbmm(z[..., self.unknowns :], y, row.mT, beta=-1) @ inverse.mT
        return torch.cat([torch.baddbmm(y, s, solved, alpha=-1), s], dim=2)

    def _smooth(self, x: torch.Tensor, transpose: bool) -> torch.Tensor:
        """The inverse of the mean field without border, or its transpose, on (B, m, S H W)."""
        inverse = self._inverse
        if transpose:
            inverse = [[e.conj() for e in column] for column in zip(*inverse, strict=True)]
        hats = torch.fft.rfft2(self._fields_of(x)).unbind(2)
        smoothed = [sum(e * hat for e, hat in zip(row, hats, strict=True)) for row in inverse]
        y: torch.Tensor = torch.fft.irfft2(torch.stack(smoothed, dim=2), s=self.shape[-2:])
        return y.reshape(x.shape)

    def part(self, instances: list[int]) -> BorderedOperator:
        """The operators of some of the instances, in rising order."""
        if len(instances) == self.shape[0]:
            return self
        some = object.__new__(BorderedOperator)
        some.device, some.unknowns, some._waves = self.device, self.unknowns, self._waves
        some.shape = (len(instances), *self.shape[1:])
        chosen = torch.tensor(instances, device=self.device)
        some._fields, some._p = self._fields[chosen], [p[chosen] for p in self._p]
        some._columns, some._rows, some._closed = (a[chosen] for a in (self._columns, self._rows, self._closed))
        some._drift = None if self._drift is None else self._drift[chosen]
        some._J, some._inverse = ([[a[chosen] for a in row] for row in rows] for rows in (self._J, self._inverse))
        some._eliminated = [(a[chosen], b[chosen]) for a, b in self._eliminated]
        return some


def _inverse(entries: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
    """The inverse of matrices given by their entries, kept from blowing up where one is nearly singular."""
    if len(entries) == 2:
        (a, b), (c, d) = entries
        det = a * d - b * c
        size = det.abs()
        det = torch.where(size < _FLOOR, _FLOOR * torch.where(size > 0, det / size.clamp(min=1e-300), 1.0), det)
        return [[d / det, -b / det], [-c / det, a / det]]
    matrix = torch.stack([torch.stack(row, dim=-1) for row in entries], dim=-2)
    eye = torch.eye(len(entries), dtype=matrix.dtype, device=matrix.device)
    small = torch.linalg.det(matrix).abs() < _FLOOR
    found = torch.linalg.inv_ex(matrix + _FLOOR * small[..., None, None] * eye)[0]
    return [list(row.unbind(-1)) for row in found.unbind(-2)]


def dots(basis: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Dot products of basis vectors (B, m, n) with columns (B, n), shape (B, m)."""
    return (basis @ x[..., None])[..., 0]


def combine(weights: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sums of basis vectors (B, m, n) by weights (B, m), shape (B, n)."""
    return (weights[:, None] @ basis)[:, 0]
