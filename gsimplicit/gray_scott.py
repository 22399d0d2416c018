"""The Gray-Scott equations, once.

This module owns the equations and everything that follows from them by algebra: the steady residual, the explicit
Euler step, Jacobian products, parameter derivatives, the homogeneous states and the stability limit. It knows nothing
of files, solvers or losses.

The functions in the first part are pointwise: torch tensors, numpy arrays and numba-compiled scalars all pass through
them, so there is one statement of the equations. `S` always stands for the sum over the four neighbours of a cell of
the periodic grid, so that the five-point Laplacian is `S - 4 u`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import holds_tensor, real_tensor
from gsimplicit.surroundings import caller, own_surroundings
from gsimplicit.transforms import refuse_batched, refuse_transformed, transformed

if TYPE_CHECKING:
    from collections.abc import Iterator

A: TypeAlias = Any
"""A torch tensor, a numpy array, or a scalar inside a compiled kernel: whatever has `+`, `-` and `*`."""

PARAMETERS = ("Du", "Dv", "F", "k")
"""Names of the four parameters, in the order used wherever they are stacked."""


# ---------------------------------------------------------------------------------------------------------------------
# Pointwise equations
# ---------------------------------------------------------------------------------------------------------------------


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


def beyond_linear(u: A, v: A, a: A, b: A) -> A:
    """What the reaction `u v^2` gains from (u, v) to (u + a, v + b) beyond its linear part; v gains and u loses it."""
    return 2 * v * a * b + (u + a) * b * b


def bending(u: A, v: A) -> A:
    """Bound on the 2-norm by which the Jacobian of the reaction at (u, v) changes for a change of 1 of the pair.

    `|J(X) - J(Y)| <= bending |X - Y|` pointwise, with u and v the largest moduli on the way: J changes by
    `(-1, 1) (2 v b, 2 (v a + u b))`, of norm `2 sqrt(2)` times that of the matrix `[[0, v], [v, u]]`.
    """
    return math.sqrt(2) * (u + (u * u + 4 * v * v) ** 0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Parameters
# ---------------------------------------------------------------------------------------------------------------------


class StabilityWarning(UserWarning):
    """A parameter lies above the stability limit of the explicit step, so that marching is expected to diverge."""


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


class UnitsWarning(UserWarning):
    """Diffusion coefficients look like those of a program with another spacing."""


@dataclass(frozen=True, eq=False)
class Params:
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

    PRESETS: ClassVar[Mapping[str, tuple[float, float, float, float]]] = MappingProxyType(
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

    @own_surroundings
    def __init__(self, Du: Any, Dv: Any, F: Any, k: Any) -> None:
        given = {name: _as_parameter(name, value) for name, value in zip(PARAMETERS, (Du, Dv, F, k), strict=True)}
        sizes = {value.numel() for value in given.values() if value.numel() != 1}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items())
            raise ValueError(f"parameters must broadcast to one batch (B,), got {shapes}")
        size = sizes.pop() if sizes else 1
        for name, value in given.items():
            # repeated, not expanded: instances share no memory
            object.__setattr__(self, name, value.reshape(-1) if value.numel() == size else value.repeat(size))

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

    @own_surroundings
    def tensor(self) -> torch.Tensor:
        """All parameters as one new tensor of shape (B, 4), columns Du, Dv, F, k."""
        return torch.stack([self.Du, self.Dv, self.F, self.k], dim=1)

    @classmethod
    def _of(cls, values: torch.Tensor) -> Params:
        """Parameters from values (B, 4) of their own memory that were checked when they came in."""
        params = object.__new__(cls)
        for name, column in zip(PARAMETERS, values.unbind(1), strict=True):
            object.__setattr__(params, name, column)
        return params

    def detach(self) -> Params:
        """The same values, cut off from autograd."""
        values = self.tensor()
        refuse_transformed(values)
        return Params._of(values.detach())

    def replace(self, **changes: Any) -> Params:
        """A copy with some parameters replaced, for example `params.replace(F=0.04)`."""
        return replace(self, **changes)

    @own_surroundings
    def expand(self, size: int) -> Params:
        """The same parameters as a batch of `size` instances, from a batch of 1 or of `size`."""
        size = checks.integer("size", size, 1)
        if len(self) not in (1, size):
            raise ValueError(f"a batch of {len(self)} parameters cannot be expanded to {size}")
        values = self.tensor()
        if transformed(values) or not _in_range(values):  # they may have been written into since they came in
            return Params.stack(values.expand(size, -1))
        return Params._of(values if len(values) == size else values.repeat(size, 1))

    @property
    def requires_grad(self) -> bool:
        """Whether any parameter is attached to autograd."""
        return any(getattr(self, name).requires_grad for name in PARAMETERS)

    def __len__(self) -> int:
        return self.Du.shape[0]

    def __getitem__(self, index: int | np.integer[Any] | slice | list[int]) -> Params:
        values = self.tensor()[checks.index(index)]
        return Params._of(values) if values.ndim == 2 and len(values) else Params.stack(values)

    def __copy__(self) -> Params:
        return Params.stack(self.tensor())

    def __deepcopy__(self, memo: dict[int, Any]) -> Params:
        # torch copies no tensor that is attached: what a copy of the graph would mean is not defined
        return self.detach()

    def __reduce__(self) -> tuple[Any, ...]:
        # an array: the pools of multiprocessing would send a tensor as shared memory, which ends with its process
        return Params.stack, (self.tensor().detach().numpy(),)

    def __iter__(self) -> Iterator[Params]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name).detach().tolist() for f in fields(self)}
        return f"Params({', '.join(f'{n}={v[0] if len(v) == 1 else v}' for n, v in shown.items())})"


def _as_parameter(name: str, value: Any) -> torch.Tensor:
    """One parameter as a float64 tensor of shape () or (B,) with memory of its own, or a clear error."""
    if type(value) is float and 0 <= value < math.inf:
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, list | tuple) and holds_tensor(value):
        # a list of tensors stays attached to autograd
        tensor = torch.cat([_as_parameter(name, one).reshape(-1) for one in value])
    else:
        tensor = real_tensor(name, value, attached=True)
    refuse_batched(name, tensor)
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise ValueError(f"{name} must have shape () or (B,) with B >= 1, got {tuple(tensor.shape)}")
    if not _in_range(tensor):
        bad = ~(torch.isfinite(tensor) & (tensor >= 0)).detach().reshape(-1)
        i = int(bad.nonzero()[0, 0])
        raise ValueError(f"{name} must be finite and >= 0, got {tensor.detach().reshape(-1)[i].item()} at instance {i}")
    return tensor


def _in_range(values: torch.Tensor) -> bool:
    """Whether all are finite and >= 0, so that they can be parameters."""
    values = values.detach()
    return bool(((values >= 0) & (values < math.inf)).all())


def warn_if_unstable(params: Params) -> None:
    """Warn where the explicit step of size 1 is unstable at a uniform state.

    Euler with unit step needs every eigenvalue above -2. At u = 1, v = 0 the most negative ones are `-(8 Du + F)` and
    `-(8 Dv + F + k)`; at the upper uniform state, where there is one, that of the chequerboard, about
    `-(8 Du + F + v^2)`.

    Args:
        params: B instances.
    """
    p = params.detach().tensor().numpy()
    Du, Dv, F, k = p.T
    limits = {
        "8 Du + F": (8 * Du + F, "expect status diverged"),
        "8 Dv + F + k": (8 * Dv + F + k, "expect status diverged"),
    }
    if not any((value > 2).any() for value, _ in limits.values()):
        fastest = np.array([-_fastest_of_upper(*x) for x in p.tolist()])
        what = "expect the uniform state, and whatever comes near its v, to be thrown back and forth by every step"
        limits = {"8 Du + F + v^2, about": (fastest, what)}
    for text, (value, outcome) in limits.items():
        over = np.flatnonzero(value > 2).tolist()
        if over:
            warnings.warn(
                f"the explicit step is unstable: {text} = {value[over[0]]:.4g} > 2 at instance {over[0]}"
                f"{f' and {len(over) - 1} more' if len(over) > 1 else ''}; {outcome}. {_UNITS}",
                StabilityWarning,
                stacklevel=caller(),
            )
    _warn_if_not_felt(np.maximum(Du, Dv))


_UNITS = (
    "Diffusion coefficients of other programs are D / dx^2 here, with wider cells where that is above 1/4: "
    "see gsimplicit.Params"
)

NOT_FELT = 1e-3
"""Diffusion below which a spot, about `sqrt(D / F)` wide, is a fraction of a cell."""


def _warn_if_not_felt(largest: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Warn where diffusion is so weak that cells hardly feel each other: a sign of another program's units."""
    small = np.flatnonzero((largest > 0) & (largest < NOT_FELT)).tolist()
    if small:
        warnings.warn(
            f"diffusion is hardly felt from cell to cell: the larger of Du and Dv is {largest[small[0]]:.2g} < "
            f"{NOT_FELT:g} cells squared per unit time at instance {small[0]}"
            f"{f' and {len(small) - 1} more' if len(small) > 1 else ''}. {_UNITS}",
            UnitsWarning,
            stacklevel=caller(),
        )


def _fastest_of_upper(Du: float, Dv: float, F: float, k: float) -> float:
    """The most negative eigenvalue of the upper uniform state, that of the chequerboard; 0 where there is none."""
    upper = homogeneous_states(F, k).upper
    if upper is None:
        return 0.0
    uu, uv, vu, vv = reaction_jacobian(*upper, F, k)
    a, d = uu - 8 * Du, vv - 8 * Dv
    square = ((a - d) / 2) ** 2 + uv * vu
    return float((a + d) / 2 - math.sqrt(max(square, 0.0)))


# ---------------------------------------------------------------------------------------------------------------------
# Fields: residual, products, derivatives. Fields have shape (B, 2, H, W), u and v along the second axis.
# ---------------------------------------------------------------------------------------------------------------------


def neighbour_sum(field: torch.Tensor) -> torch.Tensor:
    """Sum over the four nearest neighbours on the periodic grid, along the last two axes.

    Added in the order of the compiled kernel, so that both give the same bits.
    """
    return (field.roll(1, -1) + field.roll(-1, -1)) + (field.roll(1, -2) + field.roll(-1, -2))


def _columns(params: Params, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Du, Dv, F, k shaped (B, 1, 1) in the dtype and on the device of `like`."""
    return tuple(p.to(like.device, like.dtype)[:, None, None] for p in (params.Du, params.Dv, params.F, params.k))


def step(fields: torch.Tensor, params: Params) -> torch.Tensor:
    """One explicit Euler step with unit time step and spacing (arXiv 2606.11258, eq. 3 and 4).

    Args:
        fields: u and v, shape (B, 2, H, W), dimensionless.
        params: B instances.

    Returns:
        The fields one time unit later, shape (B, 2, H, W). Differentiable by torch.

    Example:
        >>> import torch
        >>> from gsimplicit import gray_scott
        >>> rest = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])[None].double()
        >>> torch.equal(gray_scott.step(rest, gray_scott.Params.preset("paper")), rest)
        True
    """
    cu, cv = (
        c.to(fields.device, fields.dtype)[:, None, None]
        for c in step_coefficients(params.Du, params.Dv, params.F, params.k)
    )
    Du, Dv, F, _ = _columns(params, fields)
    u, v = fields.unbind(1)
    S = neighbour_sum(fields)
    return torch.stack([step_u(u, v, S[:, 0], Du, F, cu), step_v(u, v, S[:, 1], Dv, cv)], dim=1)


def residual(fields: torch.Tensor, params: Params) -> torch.Tensor:
    """Right-hand side of the Gray-Scott equations, per unit time: zero exactly at a steady state.

    Args:
        fields: u and v, shape (B, 2, H, W).
        params: B instances.

    Returns:
        Residual of shape (B, 2, H, W). Differentiable by torch.
    """
    Du, Dv, F, k = _columns(params, fields)
    u, v = fields.unbind(1)
    S = neighbour_sum(fields)
    return torch.stack([residual_u(u, v, S[:, 0], Du, F), residual_v(u, v, S[:, 1], Dv, F, k)], dim=1)


def jacobian_product(fields: torch.Tensor, params: Params, direction: torch.Tensor) -> torch.Tensor:
    """Jacobian of the residual in the fields, applied to `direction`, all of shape (B, 2, H, W)."""
    return _product(fields, params, direction, transpose=False)


def jacobian_transpose_product(fields: torch.Tensor, params: Params, direction: torch.Tensor) -> torch.Tensor:
    """Transposed Jacobian of the residual in the fields, applied to `direction`, all of shape (B, 2, H, W)."""
    return _product(fields, params, direction, transpose=True)


def _product(fields: torch.Tensor, params: Params, direction: torch.Tensor, *, transpose: bool) -> torch.Tensor:
    """Diffusion is symmetric, so the transpose only exchanges the two off-diagonal blocks."""
    Du, Dv, F, k = _columns(params, fields)
    uu, uv, vu, vv = reaction_jacobian(fields[:, 0], fields[:, 1], F, k)
    if transpose:
        uv, vu = vu, uv
    p, q = direction.unbind(1)
    lap = neighbour_sum(direction) - 4 * direction
    return torch.stack([Du * lap[:, 0] + uu * p + uv * q, Dv * lap[:, 1] + vu * p + vv * q], dim=1)


def parameter_derivatives(fields: torch.Tensor) -> torch.Tensor:
    """Derivatives of the residual in Du, Dv, F and k at fixed fields.

    Args:
        fields: u and v, shape (B, 2, H, W).

    Returns:
        Shape (B, 4, 2, H, W). They do not depend on the parameters: the residual is linear in them.
    """
    u, v = fields.unbind(1)
    lap = neighbour_sum(fields) - 4 * fields
    zero = torch.zeros_like(u)
    rows = [(lap[:, 0], zero), (zero, lap[:, 1]), (1 - u, -v), (zero, -v)]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def second_derivative(fields: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Second derivative of the residual in the fields along the directions a and b, all of shape (B, 2, H, W).

    Only the reaction u v^2 curves: `2 v (a_u b_v + a_v b_u) + 2 u a_v b_v`, gained by v and lost by u.
    """
    u, v = fields.unbind(1)
    bend = 2 * v * (a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]) + 2 * u * a[:, 1] * b[:, 1]
    return torch.stack([-bend, bend], dim=1)


def second_derivative_transposed(fields: torch.Tensor, a: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    """The field f with `f . b = cotangent . second_derivative(fields, a, b)` for every b, all of shape (B, 2, H, W)."""
    u, v = fields.unbind(1)
    gain = cotangent[:, 1] - cotangent[:, 0]
    return torch.stack([2 * v * a[:, 1] * gain, (2 * v * a[:, 0] + 2 * u * a[:, 1]) * gain], dim=1)


def mixed_derivative(direction: torch.Tensor) -> torch.Tensor:
    """Derivative of the residual in the fields, along `direction` (B, 2, H, W), and in Du, Dv, F and k.

    Returns:
        Shape (B, 4, 2, H, W). It depends on neither fields nor parameters: the residual is bilinear in the two.
    """
    return parameter_derivatives(direction) - parameter_derivatives(torch.zeros_like(direction))


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
        >>> from gsimplicit import gray_scott
        >>> u, v = gray_scott.homogeneous_states(0.03, 0.05).upper
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
