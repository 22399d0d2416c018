"""Matrix-free GMRES for bordered Jacobians, batched on torch: the same code on a CPU and on a GPU.

Three things make it converge where restarted GMRES stalls:

1. Right preconditioning by the mean field: the Jacobian with its reaction averaged over the grid is a small matrix a
   wave number, inverted by FFT; the border is eliminated from it by blocks. The transposed solve has the transposed
   preconditioner.
2. Deflation: what stalls it are the slow modes of a pattern. After each cycle the harmonic Ritz vectors of least
   modulus are kept and taken out of the next one (GCRO-DR: Parks, de Sturler, Mackey, Johnson and Maiti, SIAM J. Sci.
   Comput. 28, 2006).
3. Recycling: the kept space serves later right-hand sides, and the next Jacobian of Newton's method.

Instances end by themselves: one that has converged, or has become NaN, leaves the batch after its cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
import torch

from gsimplicit.equations import columns, product, together
from gsimplicit.grid import along, laplacian, wave_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered

Array = np.ndarray[Any, np.dtype[np.float64]]

BORDER = 2
"""Border slots an instance, one a translation. A slot that is not needed is closed by a 1 on the diagonal."""

LOOK = 10
"""Products between two looks at the least-squares residual: each look waits for the device."""

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
        y = self.product(x, transpose=transpose) + _combine(s, column)
        return torch.cat([y, _dots(row, x) + self._closed * s], dim=1)

    def precondition(self, z: torch.Tensor, *, transpose: bool) -> torch.Tensor:
        """The inverse of the bordered mean field, or its transpose, on (B, S H W + 2)."""
        solved, schur = self._eliminated[transpose]
        _, row = self._border(transpose)
        y = self._smooth(z[:, : self.unknowns], transpose)
        s = torch.linalg.solve(schur, _dots(row, y) - z[:, self.unknowns :])
        return torch.cat([y - _combine(s, solved), s], dim=1)

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


def _dots(basis: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Dot products of basis vectors (B, m, n) with columns (B, n), shape (B, m)."""
    return (basis @ x[..., None])[..., 0]


def _combine(weights: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Sums of basis vectors (B, m, n) by weights (B, m), shape (B, n)."""
    return (weights[:, None] @ basis)[:, 0]


@dataclass(frozen=True)
class Solved:
    """Where GMRES ended, for B instances.

    Attributes:
        x: Solutions, shape (B, S H W + 2).
        residual: True relative residuals in the 2-norm, shape (B,); infinite where an instance became NaN.
        products: Products with the Jacobian, shape (B,).
    """

    x: torch.Tensor
    residual: Array
    products: np.ndarray[Any, np.dtype[np.int64]]


def gmres(
    operator: BorderedOperator,
    r: torch.Tensor,
    *,
    transpose: bool,
    tol: float,
    cycle: int,
    deflate: int,
    max_products: int,
    spaces: list[torch.Tensor | None],
) -> Solved:
    """Solve for B right-hand sides at once by deflated GMRES.

    Args:
        operator: B bordered Jacobians.
        r: Right-hand sides, shape (B, S H W + 2).
        transpose: Solve with the transpose.
        tol: Relative residual to reach.
        cycle: Basis vectors of a cycle, deflated ones included.
        deflate: Slow directions kept, < cycle.
        max_products: Cap on products an instance.
        spaces: Kept directions an instance, shape (k, S H W + 2) in the preconditioned unknowns; brought up to date.

    Returns:
        The iterates of least true residual.
    """
    B = len(r)
    # scaled by a power of two, so that the squares in the norms neither vanish nor overflow
    largest = torch.ldexp(torch.ones_like(r[:, :1]), torch.frexp(r.abs().amax(dim=1, keepdim=True)).exponent)
    r = r / largest
    size = r.norm(dim=1).clamp(min=1e-300)
    best, residual = torch.zeros_like(r), np.where((r == 0).all(dim=1).cpu().numpy(), 0.0, 1.0)
    residual[~torch.isfinite(r).all(dim=1).cpu().numpy()] = np.inf
    products = np.zeros(B, dtype=np.int64)
    active = [i for i in range(B) if tol < residual[i] < np.inf]
    while active:
        some = _Cycle(operator.part(active), transpose, [spaces[i] for i in active], deflate)
        rest = (r - operator.apply(best, transpose=transpose))[active] if products.any() else r[active]
        step, spent, kept = some.run(rest, tol * size[active], min(cycle, 1 + max_products - int(products.max())))
        x = best[active] + step
        left = ((r[active] - some.operator.apply(x, transpose=transpose)).norm(dim=1) / size[active]).cpu().numpy()
        going = []
        for j, i in enumerate(active):
            products[i] += spent
            spaces[i] = kept[j]
            if not np.isfinite(left[j]):
                residual[i] = np.inf if residual[i] == 1.0 else residual[i]
                continue
            stalled = left[j] > 0.9 * residual[i] and products[i] > 2 * cycle
            if left[j] < residual[i]:
                best[i], residual[i] = x[j], left[j]
            if residual[i] > tol and not stalled and products[i] < max_products:
                going.append(i)
        active = going
    return Solved(best * largest, residual, products)


class _Cycle:
    """One cycle of Arnoldi's process for B instances, with their slow directions taken out."""

    def __init__(
        self, operator: BorderedOperator, transpose: bool, spaces: list[torch.Tensor | None], deflate: int
    ) -> None:
        self.operator, self._transpose, self._deflate = operator, transpose, deflate
        k = min((len(s) for s in spaces if s is not None), default=0)
        shape = (operator.shape[0], k, operator.unknowns + BORDER)
        self._kept = torch.zeros(shape, dtype=torch.float64, device=operator.device)
        for i, space in enumerate(spaces):
            if space is not None and k:
                self._kept[i] = space[:k]
        # U with A U = C and C orthonormal; `kept` are the same directions before preconditioning
        self._U, self._C = torch.zeros_like(self._kept), torch.zeros_like(self._kept)
        for j in range(k):
            self._U[:, j] = self._precondition(self._kept[:, j])
            self._C[:, j] = operator.apply(self._U[:, j], transpose=transpose)
        self.products = k
        if k:
            Q, R = torch.linalg.qr(self._C.mT)
            diagonal = R.diagonal(dim1=-2, dim2=-1).abs()
            regular = diagonal.amin(dim=1) > 1e-14 * diagonal.amax(dim=1)
            R = torch.where(regular[:, None, None], R, torch.eye(k, dtype=R.dtype, device=R.device))
            keep = regular[:, None, None]
            self._C = torch.where(keep, Q.mT, 0.0)
            self._U = torch.where(keep, torch.linalg.solve_triangular(R.mT, self._U, upper=False), 0.0)
            self._kept = torch.where(keep, torch.linalg.solve_triangular(R.mT, self._kept, upper=False), 0.0)

    def _precondition(self, z: torch.Tensor) -> torch.Tensor:
        return self.operator.precondition(z, transpose=self._transpose)

    def run(self, rest: torch.Tensor, target: torch.Tensor, cycle: int) -> tuple[torch.Tensor, int, list[Any]]:
        """A step that lowers the residuals `rest`, the products it took, and the slow directions found.

        Ends early where all least-squares residuals are below `target`.
        """
        B, k = self._C.shape[:2]
        C, U = self._C, self._U
        along = _dots(C, rest)
        step, rest = _combine(along, U), rest - _combine(along, C)
        m = max(cycle - k, 1)
        V = torch.zeros((B, m + 1, rest.shape[1]), dtype=rest.dtype, device=rest.device)
        H = torch.zeros((B, m + 1, m), dtype=rest.dtype, device=rest.device)
        D = torch.zeros((B, k, m), dtype=rest.dtype, device=rest.device)
        beta = rest.norm(dim=1)
        V[:, 0] = rest / beta.clamp(min=1e-300)[:, None]
        goal, start = target.cpu().numpy(), beta.cpu().numpy()
        weights, done = np.zeros((B, 0)), 0
        for j in range(m):
            w = self.operator.apply(self._precondition(V[:, j]), transpose=self._transpose)
            for _ in range(2):  # twice is enough
                h = _dots(C, w)
                w, D[:, :, j] = w - _combine(h, C), D[:, :, j] + h
                h = _dots(V[:, : j + 1], w)
                w, H[:, : j + 1, j] = w - _combine(h, V[:, : j + 1]), H[:, : j + 1, j] + h
            H[:, j + 1, j] = w.norm(dim=1)
            V[:, j + 1] = w / H[:, j + 1, j].clamp(min=1e-300)[:, None]
            done = j + 1
            if done % LOOK == 0 or done == m:
                weights, left = _least_squares(H[:, : done + 1, :done].cpu().numpy(), start)
                if not (left > goal).any():  # NaN counts as ended
                    break
        y = torch.from_numpy(weights).to(rest.device)
        step = step + self._precondition(_combine(y, V[:, :done])) - _combine(_dots(D[:, :, :done], y), U)
        return step, self.products + done, self._slow(V[:, : done + 1], H[:, : done + 1, :done], D[:, :, :done])

    def _slow(self, V: torch.Tensor, H: torch.Tensor, D: torch.Tensor) -> list[torch.Tensor | None]:
        """Harmonic Ritz vectors of least modulus of each instance, in the preconditioned unknowns."""
        k, m = D.shape[1:]
        size = self._kept.norm(dim=2)
        kept = self._kept / size.clamp(min=1e-300)[..., None]
        found: list[torch.Tensor | None] = []
        for i in range(len(V)):
            searched = torch.cat([kept[i], V[i, :m]])
            image = torch.cat([self._C[i], V[i]])
            G = np.zeros((k + m + 1, k + m))
            length = size[i].cpu().numpy()
            G[:k, :k] = np.diag(np.divide(1.0, length, out=np.zeros(k), where=length > 0))
            G[:k, k:], G[k:, k:] = D[i].cpu().numpy(), H[i].cpu().numpy()
            overlap = (image @ searched.T).cpu().numpy()
            chosen = _harmonic(G, overlap, self._deflate)
            found.append(None if chosen is None else torch.from_numpy(chosen).to(V.device) @ searched)
        return found


def _least_squares(H: Array, beta: Array) -> tuple[Array, Array]:
    """Minimise `|beta e1 - H y|` an instance: y (B, m) and the residuals (B,), NaN where H is not finite."""
    weights, left = np.zeros((len(H), H.shape[2])), np.full(len(H), np.nan)
    for i, h in enumerate(H):
        if np.isfinite(h).all() and np.isfinite(beta[i]):
            goal = np.zeros(len(h))
            goal[0] = beta[i]
            weights[i] = np.linalg.lstsq(h, goal, rcond=None)[0]
            left[i] = np.linalg.norm(goal - h @ weights[i])
    return weights, left


def _harmonic(G: Array, overlap: Array, count: int) -> Array | None:
    """Real combinations (count, m) that span the harmonic Ritz vectors of least modulus; None where there are none."""
    count = min(count, G.shape[1] - 1)
    if count < 1 or not np.isfinite(G).all():
        return None
    values, vectors = scipy.linalg.eig(G.T @ G, G.T @ overlap)
    order = np.argsort(np.where(np.isfinite(values), np.abs(values), np.inf))
    columns: list[Array] = []
    for i in order:
        if len(columns) >= count or not np.isfinite(values[i]):
            break
        if values[i].imag >= 0:  # of a conjugate pair one gives both real directions
            columns.append(vectors[:, i].real)
            if values[i].imag > 0:
                columns.append(vectors[:, i].imag)
    if not columns:
        return None
    basis: Array = np.linalg.qr(np.stack(columns[:count], axis=1))[0].T
    return np.ascontiguousarray(basis)
