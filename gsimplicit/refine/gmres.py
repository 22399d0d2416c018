"""Matrix-free GMRES for bordered Jacobians, batched on torch: the same code on a CPU and on a GPU.

Three things make it converge where restarted GMRES stalls:

1. Right preconditioning by the mean field: the Jacobian with its reaction averaged over the grid is a small matrix a
   wave number, inverted by FFT; the border is eliminated from it by blocks. The transposed solve has the transposed
   preconditioner.
2. Deflation: what stalls it are the slow modes of a pattern. After each cycle the harmonic Ritz vectors of least
   modulus are kept and taken out of the next one (GCRO-DR: Parks, de Sturler, Mackey, Johnson and Maiti, SIAM J. Sci.
   Comput. 28, 2006).
3. Recycling: the kept space serves later right-hand sides, and the next Jacobian of Newton's method.

Instances end by themselves, within a cycle too: what one gets does not depend on which others are in its batch, but for
rounding. Small dense problems, one an instance, are solved on the CPU, on threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit.refine.operator import BORDER, BorderedOperator, combine, dots
from gsimplicit.threads import each

Array = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

DEPENDENT = 1e-13
"""Squared length below which what is left of a unit vector counts as nothing: it depends on others."""

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
    products: Counts


def gmres(
    operator: BorderedOperator,
    r: torch.Tensor,
    *,
    transpose: bool,
    tol: float | Array,
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
        tol: Relative residual to reach, one for all or one each, shape (B,).
        cycle: Basis vectors of a cycle, deflated ones included.
        deflate: Slow directions kept, < cycle.
        max_products: Cap on products an instance.
        spaces: Kept directions an instance, shape (k, S H W + 2) in the preconditioned unknowns; brought up to date.

    Returns:
        The iterates of least true residual.
    """
    B = len(r)
    largest = _power_of_two(r.abs().amax(dim=1, keepdim=True))
    r = r / largest  # so that the squares in the norms neither vanish nor overflow
    size = r.norm(dim=1).clamp(min=1e-300)
    best, residual = torch.zeros_like(r), np.where((r == 0).all(dim=1).cpu().numpy(), 0.0, 1.0)
    residual[~torch.isfinite(r).all(dim=1).cpu().numpy()] = np.inf
    products, asked = np.zeros(B, dtype=np.int64), np.broadcast_to(tol, B)
    active = [i for i in range(B) if asked[i] < residual[i] < np.inf]
    while active:
        some = _Cycle(operator.part(active), transpose, [spaces[i] for i in active], deflate)
        right, start, scale = r[active], best[active], size[active]
        rest = right - some.operator.apply(start, transpose=transpose) if products.any() else right
        goal = asked[active] * scale.cpu().numpy()
        step, spent, kept = some.run(rest, goal, np.minimum(cycle, 1 + max_products - products[active]))
        x = start + step
        left = ((right - some.operator.apply(x, transpose=transpose)).norm(dim=1) / scale).cpu().numpy()
        going = []
        for j, i in enumerate(active):
            products[i] += spent[j]
            spaces[i] = kept[j]
            if not np.isfinite(left[j]):
                residual[i] = np.inf if residual[i] == 1.0 else residual[i]
                continue
            stalled = left[j] > 0.9 * residual[i] and products[i] > 2 * cycle
            if left[j] < residual[i]:
                best[i], residual[i] = x[j], left[j]
            if residual[i] > asked[i] and not stalled and products[i] < max_products:
                going.append(i)
        active = going
    return Iterates(best * largest, residual, products)


class _Cycle:
    """One cycle of Arnoldi's process for B instances, with their slow directions taken out."""

    def __init__(
        self, operator: BorderedOperator, transpose: bool, spaces: list[torch.Tensor | None], deflate: int
    ) -> None:
        self.operator, self._transpose, self._deflate = operator, transpose, deflate
        self._counts = np.array([0 if s is None else len(s) for s in spaces])
        shape = (operator.shape[0], int(self._counts.max()), operator.unknowns + BORDER)
        # zeros fill up
        self._kept = torch.zeros(shape, dtype=torch.float64, device=operator.device)
        for i, space in enumerate(spaces):
            if space is not None:
                self._kept[i, : len(space)] = space
        # U with A U = C and C orthonormal; `kept` are the same directions before preconditioning
        self._U = self._C = self._kept
        if shape[1]:
            self._U = self._precondition(self._kept)
            self._C = operator.apply(self._U, transpose=transpose)
            sizes = self._C.norm(dim=2)
            self._combine(torch.diag_embed(torch.where(sizes > 0, 1 / sizes, 0.0)))
            for _ in range(2):  # twice is enough
                self._combine(torch.from_numpy(_orthogonal((self._C @ self._C.mT).cpu().numpy())).to(operator.device))

    def _combine(self, weights: torch.Tensor) -> None:
        """Other directions of the same space; of some there remain zeros."""
        self._kept, self._U, self._C = weights @ self._kept, weights @ self._U, weights @ self._C

    def _precondition(self, z: torch.Tensor) -> torch.Tensor:
        return self.operator.precondition(z, transpose=self._transpose)

    def run(self, rest: torch.Tensor, goal: Array, cycle: Counts) -> tuple[torch.Tensor, Counts, list[Any]]:
        """A step that lowers the residuals `rest`, the products an instance took, and the slow directions found.

        An instance ends where its least-squares residual is below its goal, or with its cycle.
        """
        B, k = self._C.shape[:2]
        along = dots(self._C, rest)
        step, rest = combine(along, self._U), rest - combine(along, self._C)
        most = np.maximum(cycle - self._counts, 1)
        m = int(most.max())
        # C and Arnoldi's vectors V, and what products with V have along both
        V = torch.zeros((B, k + m + 1, rest.shape[1]), dtype=rest.dtype, device=rest.device)
        H = torch.zeros((B, k + m + 1, m), dtype=rest.dtype, device=rest.device)
        beta = rest.norm(dim=1)
        V[:, :k], V[:, k] = self._C, rest / beta.clamp(min=1e-300)[:, None]
        start, done = beta.cpu().numpy(), np.zeros(B, dtype=np.int64)
        for j in range(m):
            self._lengthen(V, H, k, j)
            if (j + 1) % LOOK == 0 or (most == j + 1).any():
                left = _residuals(H[:, k : k + j + 2, : j + 1].cpu().numpy(), start)
                # NaN counts as ended
                done[(done == 0) & (~(left > goal) | (most <= j + 1))] = j + 1
                if done.all():
                    break
        m = int(done.max())
        V, H, seen = V[:, : k + m + 1], H[:, : k + m + 1, :m], H[:, : k + m + 1, :m].cpu().numpy()
        weights, slow = self._small(V, seen, start, done)
        y = torch.from_numpy(weights).to(rest.device)
        step = step + self._precondition(combine(y, V[:, k:-1])) - combine(dots(H[:, :k], y), self._U)
        return step, self._counts + done, slow

    def _lengthen(self, V: torch.Tensor, H: torch.Tensor, k: int, j: int) -> None:
        """Arnoldi's step j."""
        w, basis = self.operator.apply(self._precondition(V[:, k + j]), transpose=self._transpose), V[:, : k + j + 1]
        for _ in range(2):  # twice is enough
            h = dots(basis, w)
            w = torch.baddbmm(w[:, None], h[:, None], basis, alpha=-1)[:, 0]
            H[:, : k + j + 1, j] += h
        size = w.norm(dim=1)
        H[:, k + j + 1, j], V[:, k + j + 1] = size, w / size.clamp(min=1e-300)[:, None]

    def _small(self, V: torch.Tensor, H: Array, beta: Array, done: Counts) -> tuple[Array, list[torch.Tensor | None]]:
        """What minimises each least-squares residual, and each instance's harmonic Ritz vectors of least modulus.

        The vectors are in the preconditioned unknowns.
        """
        k = self._kept.shape[1]
        size = self._kept.norm(dim=2)
        kept, new = self._kept / size.clamp(min=1e-300)[..., None], V[:, k:-1]
        # not side by side in one tensor: on large grids Arnoldi's vectors fill the memory
        overlaps = torch.cat([V @ kept.mT, V @ new.mT], dim=2).cpu().numpy()
        lengths = size.cpu().numpy()
        weights = np.zeros((len(V), new.shape[1]))
        spread = np.zeros((len(V), self._deflate, k + new.shape[1]))

        def one(i: int) -> int:
            n = int(done[i])
            weights[i, :n] = _least_squares(H[i, k : k + n + 1, :n], beta[i])
            old = np.flatnonzero(lengths[i])
            own, few = np.r_[old, k : k + n], len(old)
            rows = np.r_[own, k + n]
            G = np.zeros((few + n + 1, few + n))
            G[:few, :few] = np.diag(1 / lengths[i][old])
            G[:, few:] = H[i][rows, :n]
            chosen = _harmonic(G, overlaps[i][np.ix_(rows, own)], self._deflate)
            spread[i, : len(chosen), own] = chosen.T
            return len(chosen)

        counts = each(one, range(len(V)))
        chosen = torch.from_numpy(spread).to(V.device)
        slow = chosen[..., :k] @ kept + chosen[..., k:] @ new
        return weights, [slow[i, :n] if n else None for i, n in enumerate(counts)]


def _power_of_two(size: torch.Tensor) -> torch.Tensor:
    """The largest power of two that is not above a size; 1 where the size is zero or not finite.

    By an exact quotient: the power in `torch.ldexp` of torch 2.4 is a float32, which overflows or vanishes.
    """
    return torch.where((size > 0) & size.isfinite(), size / (2 * torch.frexp(size).mantissa), 1.0)


def _orthogonal(products: Array) -> Array:
    """Combinations that make vectors orthonormal, from their products (B, k, k); zero for those that depend on others.

    By the products alone, since the vectors lie on the device, and a QR of tall matrices is slow there.
    """
    finite = np.isfinite(products).all(axis=(1, 2), keepdims=True)
    values, vectors = np.linalg.eigh(np.where(finite, products, 0.0))
    weights = np.where(values > DEPENDENT, 1 / np.sqrt(np.maximum(values, DEPENDENT)), 0.0)
    return np.ascontiguousarray((vectors * weights[:, None]).transpose(0, 2, 1))


def _residuals(H: Array, beta: Array) -> Array:
    """Least of `|beta e1 - H y|` an instance, shape (B,); NaN where H is not finite.

    It is what `beta e1` has along the one vector that is orthogonal to all columns, which follows row by row.
    """
    n = np.zeros(H.shape[:2])
    n[:, 0] = 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        for j in range(H.shape[2]):
            n[:, j + 1] = -np.einsum("bi,bi->b", n[:, : j + 1], H[:, : j + 1, j]) / np.maximum(H[:, j + 1, j], 1e-150)
            n /= np.linalg.norm(n, axis=1, keepdims=True)
        return np.asarray(beta * np.abs(n[:, 0]))


def _least_squares(H: Array, beta: float) -> Array:
    """The y that minimises `|beta e1 - H y|`; zero where H is not finite."""
    goal = np.zeros(len(H))
    goal[0] = beta
    if not (np.isfinite(H).all() and np.isfinite(beta)):
        return np.zeros(H.shape[1])
    return np.asarray(np.linalg.lstsq(H, goal, rcond=None)[0], dtype=np.float64)


def _harmonic(G: Array, overlap: Array, count: int) -> Array:
    """Real combinations (n, m) that span the harmonic Ritz vectors of least modulus, `count` at most."""
    count, none = min(count, G.shape[1] - 1), np.zeros((0, G.shape[1]))
    if count < 1 or not (np.isfinite(G).all() and np.isfinite(overlap).all()):
        return none
    try:
        # of the inverse problem, whose largest values are the least ones
        values, vectors = np.linalg.eig(np.linalg.lstsq(G, overlap, rcond=None)[0])
    except np.linalg.LinAlgError:
        return none
    columns: list[Array] = []
    for i in np.argsort(-np.abs(values)):
        if len(columns) >= count or not abs(values[i]) > 0:
            break
        if values[i].imag >= 0:  # of a conjugate pair one gives both real directions
            columns.append(vectors[:, i].real)
            if values[i].imag > 0:
                columns.append(vectors[:, i].imag)
    if not columns:
        return none
    basis: Array = np.linalg.qr(np.stack(columns[:count], axis=1))[0].T
    return np.ascontiguousarray(basis)
