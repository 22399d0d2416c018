"""The Gray-Scott equations, once: the model of the paper and the default of the package.

    du/dt = Du Lap(u) - u v^2 + F (1 - u),    dv/dt = Dv Lap(v) + u v^2 - (F + k) v    (arXiv 2606.11258, eq. 1 and 2)

The functions of the first part are pointwise: torch tensors, numpy arrays, numbers and the registers of a compiled
kernel all pass through them. Steps and derivatives are gathered by hand, into fewer operations than derived ones take.
`S` always stands for the sum over the four neighbours of a cell of the periodic grid, so that the five-point Laplacian
is `S - 4 u`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import real_tensor
from gsimplicit.models.model import Model
from gsimplicit.models.params import ModelParams
from gsimplicit.models.steps import Steps
from gsimplicit.surroundings import own_surroundings
from gsimplicit.transforms import refuse_batched

A: TypeAlias = Any
"""A torch tensor, a numpy array, or a register of a compiled kernel: whatever has `+`, `-` and `*`."""

PARAMETERS = ("Du", "Dv", "F", "k")
"""Names of the four parameters, in the order used wherever they are stacked."""


def residual_u(u: A, v: A, Su: A, Du: A, F: A) -> A:
    """Right-hand side of the equation of u: `Du Lap(u) - u v^2 + F (1 - u)` (arXiv 2606.11258, eq. 1)."""
    return Du * (Su - 4 * u) - u * v * v + F * (1 - u)


def residual_v(u: A, v: A, Sv: A, Dv: A, F: A, k: A) -> A:
    """Right-hand side of the equation of v: `Dv Lap(v) + u v^2 - (F + k) v` (arXiv 2606.11258, eq. 2)."""
    return Dv * (Sv - 4 * v) + u * v * v - (F + k) * v


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


GATHERS = 0.01
"""Ratio of Dv to Du below which a state that diverged is told to take a larger Dv, not a shorter step."""


class _Steps:
    """Steps of length 1, gathered by hand."""

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


_STEPS = _Steps()


def reaction(u: A, v: A, F: A, k: A) -> tuple[A, A]:
    """The rates without diffusion."""
    return -u * v * v + F * (1 - u), u * v * v - (F + k) * v


class GrayScott(Model):
    """Gray-Scott, with its hand-gathered lines in place of derived ones."""

    def params(self, **values: Any) -> Params:
        """Parameters of Gray-Scott by name, `Params`."""
        return Params._named(self, values)

    def residual(self, x: Sequence[A], S: Sequence[A], p: Sequence[A]) -> list[A]:
        """Right-hand sides, one a species."""
        (u, v), (Su, Sv), (Du, Dv, F, k) = x, S, p
        return [residual_u(u, v, Su, Du, F), residual_v(u, v, Sv, Dv, F, k)]

    def reaction_jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """Pointwise part of the Jacobian of the residual."""
        uu, uv, vu, vv = reaction_jacobian(x[0], x[1], p[2], p[3])
        return [[uu, uv], [vu, vv]]

    def bending(self, x: Sequence[A], p: Sequence[A], reach: float) -> A:
        """Bound on the change of the reaction's Jacobian, see `bending`."""
        return bending(abs(x[0]) + reach, abs(x[1]) + reach)

    def beyond_linear(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[A]:
        """What the residual gains along d beyond its linear part."""
        gain = beyond_linear(x[0], x[1], d[0], d[1])
        return [-gain, gain]

    def radius(self, p: Sequence[float], x: Sequence[A]) -> float:
        """Diffusion and the decay of u at v of about 0.5: a larger v shows as growth and shortens the step."""
        return 8 * max(p[0], p[1]) + p[2] + 0.25

    def reach(self, p: Sequence[float], x: torch.Tensor) -> str:
        """Words for how fast the chequerboard decays where v is largest."""
        largest = x[1].detach().abs().max().to("cpu", torch.float64)
        return f"8 Du + F + v^2 reaches {float(8 * p[0] + p[2] + largest**2):.3g}; the limit is about 2 / dt"

    def advice(self, p: Sequence[float]) -> str:
        """Where v hardly diffuses it gathers in single cells."""
        if p[1] >= GATHERS * p[0]:
            return ""
        return (
            f"v gathers in single cells where Dv is below {GATHERS:g} Du, until the explicit step is unstable: a "
            "larger Dv, or a smaller Du or F (a preset of another program is D / dx^2 here, see gsimplicit.Params)"
        )

    def excited(self, p: Sequence[float]) -> list[tuple[float, ...]]:
        """The upper uniform state, where there is one."""
        upper = homogeneous_states(p[2], p[3]).upper
        return [] if upper is None else [upper]

    def frequencies(self, p: Sequence[float], x: Sequence[A]) -> list[float]:
        """Spots oscillate at 0.03, the uniform state at `sqrt((F + k) (k - F))`."""
        return [0.03, 0.08]

    def steps(self, dt: float) -> Steps | None:
        """The hand-gathered step of length 1; derived ones of other lengths."""
        return _STEPS if dt == 1 else super().steps(dt)


_PEARSON = (2e-5 / (2.5 / 256) ** 2, 1e-5 / (2.5 / 256) ** 2)
"""Diffusion of Pearson, Science 261, 189 (1993): 256 cells over a length of 2.5."""

_PEARSON_RATES = {"epsilon": (0.014, 0.055), "theta": (0.046, 0.061), "mu": (0.050, 0.065)}
"""F and k of three of his classes, as R. Munafo's extended classification has them."""

_THE_WELL = (2e-5 / (2 / 128) ** 2, 1e-5 / (2 / 128) ** 2)
"""Diffusion of the data set gray_scott_reaction_diffusion of The Well (arXiv 2412.00568): 128 cells over [-1, 1]."""

_THE_WELL_RATES = {
    "gliders": (0.014, 0.054),
    "bubbles": (0.098, 0.057),
    "maze": (0.029, 0.057),
    "worms": (0.058, 0.065),
    "spirals": (0.018, 0.051),
    "spots": (0.030, 0.062),
}
"""Its F and k."""


PRESETS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "paper": (0.16, 0.08, 0.035, 0.065),
        "paper_start": (0.1270, 0.1269, 0.0500, 0.0501),
        "paper_pivot_1": (0.1285, 0.0734, 0.0429, 0.0682),
        "paper_pivot_2": (0.1343, 0.0679, 0.0429, 0.0653),
        **{f"pearson_{name}": (*_PEARSON, F, k) for name, (F, k) in _PEARSON_RATES.items()},
        **{f"the_well_{name}": (*_THE_WELL, F, k) for name, (F, k) in _THE_WELL_RATES.items()},
        "karl_sims": (0.15, 0.075, 0.055, 0.062),
    }
)
"""Ground truth (section 2.1) and the training trajectory of appendix D of arXiv 2606.11258; and presets of other
sources, translated to cells of width 1."""


@dataclass(frozen=True)
class Homogeneous:
    """Spatially uniform steady states of one instance in closed form, see `homogeneous_states`.

    Attributes:
        trivial: (u, v) = (1, 0).
        upper: The state with the larger v, or None where it does not exist.
        lower: The state with the smaller v, a saddle of the reaction, or None.
    """

    trivial: tuple[float, float]
    upper: tuple[float, float] | None
    lower: tuple[float, float] | None


def homogeneous_states(F: float, k: float) -> Homogeneous:
    """Uniform steady states: `(F + k) v^2 - F v + F (F + k) = 0` and `u = (F + k) / v`, beside (1, 0).

    Args:
        F: Feed rate, > 0.
        k: Kill rate, >= 0.

    Returns:
        The trivial state, and the upper and lower ones where `F > 4 (F + k)^2`.

    Raises:
        TypeError: F or k is no single real number; `bifurcation.uniform.upper_state` takes arrays.
        ValueError: Negative, or not finite.

    Example:
        >>> from gsimplicit.models.gray_scott import homogeneous_states
        >>> u, v = homogeneous_states(0.03, 0.05).upper
        >>> round(u, 3), round(v, 3)
        (0.309, 0.259)
    """
    F, k = (checks.real(f"{n} of homogeneous_states", x, least=0) for n, x in (("F", F), ("k", k)))
    s = F + k
    square = F * F - 4 * F * s * s
    if square <= 0 or s == 0:
        return Homogeneous((1.0, 0.0), None, None)
    upper = (F + math.sqrt(square)) / (2 * s)
    lower = F / upper  # the product of the two roots is F: no cancellation
    return Homogeneous((1.0, 0.0), (s / upper, upper), (s / lower, lower))


def _uniform(F: float, k: float) -> list[tuple[float, float]]:
    """The uniform states there are: the trivial one, the upper and the lower one."""
    states = homogeneous_states(F, k)
    return [s for s in (states.trivial, states.upper, states.lower) if s is not None]


gray_scott = GrayScott(
    name="gray_scott",
    species=("u", "v"),
    diffusivity=("Du", "Dv"),
    rates=("F", "k"),
    reaction=reaction,
    observed="v",
    rest=(1.0, 0.0),
    presets=PRESETS,
    ranges={"F": (0.0, float("inf")), "k": (0.0, float("inf"))},
    bounds=((0.0, 1.5), (0.0, 1.0)),
    words={"u": "substrate", "v": "activator", "F": "feed rate", "k": "kill rate"},
    uniform=_uniform,
    trivial=0.01,
    equations="du/dt = Du Lap(u) - u v^2 + F (1 - u); dv/dt = Dv Lap(v) + u v^2 - (F + k) v",
    source="Gray and Scott, Chem. Eng. Sci. 39, 1087 (1984); arXiv 2606.11258",
)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Params(ModelParams):
    """The four Gray-Scott parameters, as one batch of B instances.

    Each argument is a float, a sequence, a numpy array or a torch tensor, of shape () or (B,); they are broadcast
    against each other. All scalars give B = 1. Values are copied, kept as float64 tensors on the CPU and stay attached
    to autograd. Pickles and deep copies hold the values alone, cut off from autograd.

    A cell is 1 wide and a step 1 long. Presets of programs with a spacing dx and a step dt translate as
    `Du = D_u / dx^2`, `Dv = D_v / dx^2`, F and k kept: steady states do not depend on dt. The trajectory is the same
    (`D dt / dx^2`) for dt = 1 alone, since dt multiplies the reaction as well, which has no coefficient here. Where
    `D / dx^2` is above 1/4 take wider cells. docs/units.md has worked examples, `Params.preset` some translated.

    Args:
        Du: Diffusion coefficient of u, cells squared per unit time, >= 0. The explicit step needs about Du <= 1/4.
        Dv: Diffusion coefficient of v, cells squared per unit time, >= 0.
        F: Feed rate, per unit time, >= 0.
        k: Kill rate, per unit time, >= 0.

    Raises:
        ValueError: A value is not finite or negative, or the shapes do not broadcast to one batch.
        TypeError: A value is not a real number, sequence, array or tensor of them: booleans, text, dates, complex
            numbers, masked or missing values, sparse and quantised tensors and those of device meta are refused.

    Example:
        >>> import gsimplicit as gs
        >>> params = gs.Params(Du=0.16, Dv=0.08, F=[0.030, 0.035], k=0.065)
        >>> len(params), params.F.tolist()
        (2, [0.03, 0.035])
    """

    Du: torch.Tensor
    Dv: torch.Tensor
    F: torch.Tensor
    k: torch.Tensor

    PRESETS: ClassVar[Mapping[str, tuple[float, float, float, float]]] = PRESETS
    model = gray_scott

    @own_surroundings
    def __init__(self, Du: Any, Dv: Any, F: Any, k: Any) -> None:
        self._fill(gray_scott, (Du, Dv, F, k))

    @classmethod
    def preset(cls, name: str) -> Params:
        """Parameters with a name.

        "paper", "paper_start", "paper_pivot_1" and "paper_pivot_2" are of arXiv 2606.11258, "pearson_epsilon",
        "pearson_theta" and "pearson_mu" of Pearson, Science 261 (1993), "the_well_gliders", "the_well_bubbles",
        "the_well_maze", "the_well_worms", "the_well_spirals" and "the_well_spots" of The Well (arXiv 2412.00568), and
        "karl_sims" of his tutorial, on cells sqrt(2) times as wide as there, where the step of 1 is stable.

        Raises:
            ValueError: There is no preset of that name.
        """
        return cls(*cls.PRESETS[checks.choice("preset", name, cls.PRESETS)])

    @classmethod
    @own_surroundings
    def stack(cls, values: torch.Tensor | np.ndarray[Any, Any]) -> Params:
        """Parameters from a tensor or array of shape (B, 4), columns Du, Dv, F, k.

        Raises:
            ValueError: The shape is another, or a value is not finite or negative.
            TypeError: Not real numbers.
        """
        if not isinstance(values, torch.Tensor) or values.dtype != torch.float64 or values.is_nested:
            values = real_tensor("values", values, attached=True)
        if values.ndim != 2 or values.shape[1] != len(PARAMETERS) or not len(values):
            raise ValueError(f"values must have shape (B, 4) with B >= 1, got {tuple(values.shape)}")
        return cls(*values.unbind(1))

    @classmethod
    @own_surroundings
    def from_unbounded(cls, raw: torch.Tensor | np.ndarray[Any, Any]) -> Params:
        """Parameters from unbounded coordinates: `softplus` for Du and Dv, `0.1 sigmoid` for F and k.

        The coordinates of arXiv 2606.11258, section 2.2. Any real number is allowed, so that an optimiser needs no
        bounds: Du, Dv in (0, inf), F, k in (0, 0.1).

        Args:
            raw: Coordinates of shape (B, 4) or (4,), columns for Du, Dv, F, k.

        Raises:
            ValueError: The shape is another, or a coordinate is not finite.
            TypeError: Not real numbers.
        """
        n = len(PARAMETERS)
        raw = real_tensor("raw", raw, attached=True)
        refuse_batched("raw", raw)
        if raw.ndim not in (1, 2) or raw.shape[-1] != n:
            raise ValueError(f"raw must have shape (B, {n}) or ({n},), got {tuple(raw.shape)}")
        if not raw.numel():
            raise ValueError(f"raw must hold at least one instance, got shape {tuple(raw.shape)}")
        raw = raw.reshape(-1, n)
        for j, name in enumerate(PARAMETERS):
            bad = raw.detach()[:, j][~torch.isfinite(raw.detach()[:, j])].tolist()
            if bad:
                raise ValueError(f"{name} must be finite, got {bad[0]} in column {j} of raw")
        return cls(*torch.nn.functional.softplus(raw[:, :2]).unbind(1), *(0.1 * torch.sigmoid(raw[:, 2:])).unbind(1))

    @own_surroundings
    def to_unbounded(self) -> torch.Tensor:
        """Unbounded coordinates of shape (B, 4), the inverse of `from_unbounded`.

        Raises:
            ValueError: Du or Dv is 0, or F or k lies outside (0, 0.1), where the coordinates do not reach.

        Example:
            >>> import gsimplicit as gs
            >>> raw = gs.Params.preset("paper").to_unbounded()
            >>> gs.Params.from_unbounded(raw).F.item()
            0.035
        """
        for name, upper in zip(PARAMETERS, (math.inf, math.inf, 0.1, 0.1), strict=True):
            value = getattr(self, name).detach()
            if not bool(((value > 0) & (value < upper)).all()):
                raise ValueError(
                    f"{name} must lie strictly between 0 and {upper} for bounded coordinates, got {value.tolist()}"
                )
        D, rates = self.tensor()[:, :2], self.tensor()[:, 2:] / 0.1
        return torch.cat([D + torch.log(-torch.expm1(-D)), torch.logit(rates)], dim=1)
