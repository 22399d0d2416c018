"""The Gray-Scott equations written out by hand: residual, Jacobian and bounds, and steps of length 1 in few operations.

    du/dt = Du Lap(u) - u v^2 + F (1 - u),    dv/dt = Dv Lap(v) + u v^2 - (F + k) v    (arXiv 2606.11258, eq. 1 and 2)

All is pointwise: torch tensors, numpy arrays, numbers and the registers of a compiled kernel pass through. `S` always
stands for the sum over the four neighbours of a pixel of the periodic grid, so that the five-point Laplacian is
`S - 4 u`. Steps are gathered into fewer operations than derived ones take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gsimplicit.models.operations import A


def reaction(u: A, v: A, F: A, k: A) -> tuple[A, A]:
    """The rates without diffusion."""
    return -u * v * v + F * (1 - u), u * v * v - (F + k) * v


def residual_u(u: A, v: A, Su: A, Du: A, F: A) -> A:
    """Right-hand side of the equation of u: `Du Lap(u) - u v^2 + F (1 - u)` (arXiv 2606.11258, eq. 1)."""
    return Du * (Su - 4 * u) - u * v * v + F * (1 - u)


def residual_v(u: A, v: A, Sv: A, Dv: A, F: A, k: A) -> A:
    """Right-hand side of the equation of v: `Dv Lap(v) + u v^2 - (F + k) v` (arXiv 2606.11258, eq. 2)."""
    return Dv * (Sv - 4 * v) + u * v * v - (F + k) * v


def reaction_jacobian(u: A, v: A, F: A, k: A) -> tuple[A, A, A, A]:
    """Pointwise part of the Jacobian of the residual: `(du/du, du/dv, dv/du, dv/dv)` without diffusion."""
    vv, uv2 = v * v, 2 * u * v
    return -(F + vv), -uv2, vv, uv2 - (F + k)


def bending(u: A, v: A) -> A:
    """Bound on the 2-norm by which the Jacobian of the reaction at (u, v) changes for a change of 1 of the pair.

    `|J(X) - J(Y)| <= bending |X - Y|` pointwise, with u and v the largest moduli on the way: J changes by
    `(-1, 1) (2 v b, 2 (v a + u b))`, of norm `2 sqrt(2)` times that of the matrix `[[0, v], [v, u]]`.
    """
    return math.sqrt(2) * (u + (u * u + 4 * v * v) ** 0.5)


def beyond_linear(u: A, v: A, a: A, b: A) -> A:
    """What the reaction `u v^2` gains from (u, v) to (u + a, v + b) beyond its linear part; v gains and u loses it."""
    return 2 * v * a * b + (u + a) * b * b


def step_coefficients(Du: A, Dv: A, F: A, k: A) -> tuple[A, A]:
    """Factors `cu = 1 - 4 Du - F` and `cv = 1 - 4 Dv - F - k` of the factored step.

    Form them in float64 and round once: formed in float32 they cost a factor of three in accuracy.
    """
    return 1 - 4 * Du - F, 1 - 4 * Dv - F - k


def step_u(u: A, v: A, Su: A, Du: A, F: A, cu: A) -> A:
    """One Euler step of u with unit step and unit spacing (eq. 3): `u + residual_u`, gathered into six operations."""
    return Du * Su + (u * (cu - v * v) + F)


def step_v(u: A, v: A, Sv: A, Dv: A, cv: A) -> A:
    """One Euler step of v with unit step and unit spacing (eq. 4): `v + residual_v`, gathered into six operations."""
    return Dv * Sv + v * (u * v + cv)


def adjoint_step_u(a: A, b: A, Sa: A, v: A, Du: A, cu: A) -> A:
    """Component u of the transposed step Jacobian applied to the adjoint pair (a, b), at the state (u, v)."""
    return Du * Sa + (cu * a + v * v * (b - a))


def adjoint_step_v(a: A, b: A, Sb: A, u: A, v: A, Dv: A, cv: A) -> A:
    """Component v of the transposed step Jacobian applied to the adjoint pair (a, b), at the state (u, v)."""
    uv = u * v
    return Dv * Sb + (cv * b + (uv + uv) * (b - a))


def tangent_step_u(a: A, b: A, Sa: A, u: A, v: A, Du: A, cu: A) -> A:
    """Component u of the step Jacobian applied to the tangent pair (a, b), at the state (u, v)."""
    uv = u * v
    return Du * Sa + ((cu - v * v) * a - (uv + uv) * b)


def tangent_step_v(a: A, b: A, Sb: A, u: A, v: A, Dv: A, cv: A) -> A:
    """Component v of the step Jacobian applied to the tangent pair (a, b), at the state (u, v)."""
    uv = u * v
    return Dv * Sb + ((cv + (uv + uv)) * b + v * v * a)


def parameter_forces(u: A, v: A, Su: A, Sv: A) -> tuple[A, A, A, A]:
    """Derivatives of a step in the parameters at fixed fields, where not zero.

    Returns:
        Of u in Du, of v in Dv, of u in F; and of v in F, which is that in k too.
    """
    return Su - 4 * u, Sv - 4 * v, 1 - u, -v


class StepsByHand:
    """Steps of length 1; see `Steps`."""

    species, parameters, constants, sums = 2, 4, 5, 5
    key = "gray_scott"
    """A name alone: kept kernels are known by this file's source."""

    def constants_of(self, parameters: Sequence[A], dt: float) -> list[A]:
        """Du, Dv, F, cu, cv."""
        Du, Dv, F, k = parameters
        return [Du, Dv, F, *step_coefficients(Du, Dv, F, k)]

    def step(self, x: Sequence[A], S: Sequence[A], c: Sequence[A]) -> list[A]:
        """U and v a step later."""
        (u, v), (Su, Sv), (Du, Dv, F, cu, cv) = x, S, c
        return [step_u(u, v, Su, Du, F, cu), step_v(u, v, Sv, Dv, cv)]

    def adjoint(self, a: Sequence[A], Sa: Sequence[A], x: Sequence[A], c: Sequence[A]) -> tuple[list[A], list[A]]:
        """The adjoint a step earlier; the sums are those of a, u a, v b, u Sa and v Sb.

        The Laplacian of the state is moved onto the adjoint by symmetry, so the stored state needs no stencil.
        """
        (p, q), (Sp, Sq), (u, v), (Du, Dv, _, cu, cv) = a, Sa, x, c
        gained = [p, u * p, v * q, u * Sp, v * Sq]  # first: fewer registers are needed at once
        return [adjoint_step_u(p, q, Sp, v, Du, cu), adjoint_step_v(p, q, Sq, u, v, Dv, cv)], gained

    def tangents(
        self, x: Sequence[A], S: Sequence[A], d: Sequence[Sequence[A]], Sd: Sequence[Sequence[A]], c: Sequence[A]
    ) -> list[list[A]]:
        """Derivatives of u and v in Du, Dv, F and k, a step later."""
        (u, v), (Su, Sv), (Du, Dv, _, cu, cv) = x, S, c
        of_Du, of_Dv, of_F, of_k = parameter_forces(u, v, Su, Sv)
        out = []
        for (p, q), (Sp, Sq), (on_u, on_v) in zip(
            d, Sd, ((of_Du, None), (None, of_Dv), (of_F, of_k), (None, of_k)), strict=True
        ):
            new_p = tangent_step_u(p, q, Sp, u, v, Du, cu)
            new_q = tangent_step_v(p, q, Sq, u, v, Dv, cv)
            out.append([new_p if on_u is None else new_p + on_u, new_q if on_v is None else new_q + on_v])
        return out

    def derivatives_of(self, sums: Sequence[A], dt: float) -> list[A]:
        """Derivatives in Du, Dv, F and k."""
        s_a, s_ua, s_vb, s_uSa, s_vSb = sums
        return [s_uSa - 4 * s_ua, s_vSb - 4 * s_vb, s_a - s_ua - s_vb, -s_vb]


BY_HAND = StepsByHand()
