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
from typing import Any

import numpy as np
import scipy.linalg
import torch

from gsimplicit.refine.operator import BORDER, BorderedOperator, combine, dots

Array = np.ndarray[Any, np.dtype[np.float64]]

LOOK = 10
"""Products between two looks at the least-squares residual: each look waits for the device."""


@dataclass(frozen=True)
class Iterates:
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
) -> Iterates:
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
    return Iterates(best * largest, residual, products)


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
        along = dots(C, rest)
        step, rest = combine(along, U), rest - combine(along, C)
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
                h = dots(C, w)
                w, D[:, :, j] = w - combine(h, C), D[:, :, j] + h
                h = dots(V[:, : j + 1], w)
                w, H[:, : j + 1, j] = w - combine(h, V[:, : j + 1]), H[:, : j + 1, j] + h
            H[:, j + 1, j] = w.norm(dim=1)
            V[:, j + 1] = w / H[:, j + 1, j].clamp(min=1e-300)[:, None]
            done = j + 1
            if done % LOOK == 0 or done == m:
                weights, left = _least_squares(H[:, : done + 1, :done].cpu().numpy(), start)
                if not (left > goal).any():  # NaN counts as ended
                    break
        y = torch.from_numpy(weights).to(rest.device)
        step = step + self._precondition(combine(y, V[:, :done])) - combine(dots(D[:, :, :done], y), U)
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
