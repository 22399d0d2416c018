"""Rows of the kernels as plain loops, for any width: C padded fields (C, H, W + 2) with a halo cell at either end.

The halo spares the inner loop its index arithmetic, so that it vectorises; rows wrap by index. Sums and maxima run in
one accumulator a column, because without fast-math only that order vectorises.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gsimplicit import gray_scott

Array = np.ndarray[Any, np.dtype[Any]]

# no fast-math: the same fields give the same bits on every machine
_inline = numba.njit(inline="always", error_model="numpy")
_step_u, _step_v = _inline(gray_scott.step_u), _inline(gray_scott.step_v)
_adjoint_u, _adjoint_v = _inline(gray_scott.adjoint_step_u), _inline(gray_scott.adjoint_step_v)
_tangent_u, _tangent_v = _inline(gray_scott.tangent_step_u), _inline(gray_scott.tangent_step_v)
_forces = _inline(gray_scott.parameter_forces)

# mypy: disable-error-code="no-untyped-def"


def states(first: Array, count: int) -> Array:
    """`count` states side by side, the first one given, the others uninitialised; with gaps nothing would vectorise."""
    out = np.empty((count, *first.shape), first.dtype)
    out[0] = first
    return out


@_inline
def _wrapped(i, H):
    return i + H if i < 0 else i - H if i >= H else i


def pack(fields: Array) -> Array:
    """Fields (C, H, W) with one periodic halo column at either end."""
    return np.ascontiguousarray(np.pad(fields, ((0, 0), (0, 0), (1, 1)), mode="wrap"))


def unpack(padded: Array) -> Array:
    """Fields (C, H, W) without their halo."""
    return padded[..., 1:-1].copy()


@_inline
def advance(tape, at, mask, schedule, p):
    """Step from state to state: step t of the schedule goes from `(at + t - 1) & mask` to `(at + t) & mask`."""
    Du, Dv, F, cu, cv = p[0], p[1], p[2], p[3], p[4]
    H, W, one = tape.shape[2], np.uint64(tape.shape[3] - 2), np.uint64(1)  # unsigned: no wrap-around test
    for s in range(schedule.shape[0]):
        t = schedule[s, 0]
        x, y = tape[(at + t - 1) & mask], tape[(at + t) & mask]
        for i in range(schedule[s, 1], schedule[s, 2]):
            above, here, below = _wrapped(i - 1, H), _wrapped(i, H), _wrapped(i + 1, H)
            un, uc, us, ou = x[0, above], x[0, here], x[0, below], y[0, here]
            vn, vc, vs, ov = x[1, above], x[1, here], x[1, below], y[1, here]
            for j in range(one, W + one):
                u, v = uc[j], vc[j]
                ou[j] = _step_u(u, v, (uc[j - one] + uc[j + one]) + (un[j] + us[j]), Du, F, cu)
                ov[j] = _step_v(u, v, (vc[j - one] + vc[j + one]) + (vn[j] + vs[j]), Dv, cv)
            ou[0], ou[W + one] = ou[W], ou[one]
            ov[0], ov[W + one] = ov[W], ov[one]


@_inline
def stage(pair, now, schedule, p, weights):
    """The other state becomes `a x + b other + c step(x)`, x being state `now`, and a, b, c `weights`."""
    Du, Dv, F, cu, cv = p[0], p[1], p[2], p[3], p[4]
    a, b, c = weights[0], weights[1], weights[2]
    H, W, one = pair.shape[2], np.uint64(pair.shape[3] - 2), np.uint64(1)
    x, y = pair[now], pair[now ^ 1]
    for i in range(H):
        above, below = _wrapped(i - 1, H), _wrapped(i + 1, H)
        un, uc, us, ou = x[0, above], x[0, i], x[0, below], y[0, i]
        vn, vc, vs, ov = x[1, above], x[1, i], x[1, below], y[1, i]
        for j in range(one, W + one):
            u, v = uc[j], vc[j]
            ou[j] = a * u + b * ou[j] + c * _step_u(u, v, (uc[j - one] + uc[j + one]) + (un[j] + us[j]), Du, F, cu)
            ov[j] = a * v + b * ov[j] + c * _step_v(u, v, (vc[j - one] + vc[j + one]) + (vn[j] + vs[j]), Dv, cv)
        ou[0], ou[W + one] = ou[W], ou[one]
        ov[0], ov[W + one] = ov[W], ov[one]


@_inline
def retreat(tape, top, pair, now, schedule, p, totals):
    """Adjoint steps of a pair of adjoint states: step t around state `top - t`; `totals` (5, W + 2) gains its sums."""
    Du, Dv, cu, cv = p[0], p[1], p[3], p[4]
    H, W, one = pair.shape[2], np.uint64(pair.shape[3] - 2), np.uint64(1)
    for s in range(schedule.shape[0]):
        t = schedule[s, 0]
        x, y, state = pair[(now + t - 1) & 1], pair[(now + t) & 1], tape[top - t]
        for i in range(schedule[s, 1], schedule[s, 2]):
            above, here, below = _wrapped(i - 1, H), _wrapped(i, H), _wrapped(i + 1, H)
            an, ac, as_, oa = x[0, above], x[0, here], x[0, below], y[0, here]
            bn, bc, bs, ob = x[1, above], x[1, here], x[1, below], y[1, here]
            us, vs = state[0, here], state[1, here]
            for j in range(one, W + one):
                a, b, u, v = ac[j], bc[j], us[j], vs[j]
                Sa = (ac[j - one] + ac[j + one]) + (an[j] + as_[j])
                Sb = (bc[j - one] + bc[j + one]) + (bn[j] + bs[j])
                totals[0, j] += a
                totals[1, j] += u * a
                totals[2, j] += v * b
                totals[3, j] += u * Sa
                totals[4, j] += v * Sb
                oa[j] = _adjoint_u(a, b, Sa, v, Du, cu)
                ob[j] = _adjoint_v(a, b, Sb, u, v, Dv, cv)
            oa[0], oa[W + one] = oa[W], oa[one]
            ob[0], ob[W + one] = ob[W], ob[one]


@_inline
def advance_tangents(pair, now, schedule, p):
    """Steps of u and v and their derivatives in Du, Dv, F and k, ten fields in all."""
    Du, Dv, F, cu, cv = p[0], p[1], p[2], p[3], p[4]
    H, W, one = pair.shape[2], np.uint64(pair.shape[3] - 2), np.uint64(1)
    for s in range(schedule.shape[0]):
        t = schedule[s, 0]
        x, y = pair[(now + t - 1) & 1], pair[(now + t) & 1]
        for i in range(schedule[s, 1], schedule[s, 2]):
            above, here, below = _wrapped(i - 1, H), _wrapped(i, H), _wrapped(i + 1, H)
            for j in range(one, W + one):
                u, v = x[0, here, j], x[1, here, j]
                Su = (x[0, here, j - one] + x[0, here, j + one]) + (x[0, above, j] + x[0, below, j])
                Sv = (x[1, here, j - one] + x[1, here, j + one]) + (x[1, above, j] + x[1, below, j])
                of_Du, of_Dv, of_F, of_k = _forces(u, v, Su, Sv)
                y[0, here, j], y[1, here, j] = _step_u(u, v, Su, Du, F, cu), _step_v(u, v, Sv, Dv, cv)
                for n in range(2, 10, 2):
                    a, b = x[n, here, j], x[n + 1, here, j]
                    Sa = (x[n, here, j - one] + x[n, here, j + one]) + (x[n, above, j] + x[n, below, j])
                    Sb = (x[n + 1, here, j - one] + x[n + 1, here, j + one]) + (x[n + 1, above, j] + x[n + 1, below, j])
                    y[n, here, j] = _tangent_u(a, b, Sa, u, v, Du, cu)
                    y[n + 1, here, j] = _tangent_v(a, b, Sb, u, v, Dv, cv)
                y[2, here, j] += of_Du
                y[5, here, j] += of_Dv
                y[6, here, j] += of_F
                y[7, here, j] += of_k
                y[9, here, j] += of_k
            for c in range(10):
                y[c, here, 0], y[c, here, W + one] = y[c, here, W], y[c, here, one]


@_inline
def largest_change(pair):
    """Max norm of the difference of two states, NaN where either is not finite."""
    largest = np.zeros((2, pair.shape[3]), pair.dtype)
    W, one = np.uint64(pair.shape[3] - 2), np.uint64(1)
    for c in range(pair.shape[1]):
        for i in range(pair.shape[2]):
            a, b, m, nan = pair[0, c, i], pair[1, c, i], largest[0], largest[1]
            for j in range(one, W + one):
                d = abs(a[j] - b[j])
                m[j] = d if d > m[j] else m[j]
                nan[j] += d - d  # a maximum drops NaN; this does not
    return largest[0, 1:-1].max() + largest[1, 1:-1].sum()
