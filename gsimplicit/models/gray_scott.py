"""Gray-Scott: the model of the paper and the default of the package, its closed forms and its parameters.

du/dt = Du Lap(u) - u v^2 + F (1 - u),    dv/dt = Dv Lap(v) + u v^2 - (F + k) v    (arXiv 2606.11258, eq. 1 and 2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import real_tensor
from gsimplicit.models.gray_scott_equations import (
    BY_HAND,
    bending,
    beyond_linear,
    reaction,
    reaction_jacobian,
    residual_u,
    residual_v,
)
from gsimplicit.models.gray_scott_presets import PRESETS
from gsimplicit.models.model import Model
from gsimplicit.models.operations import A
from gsimplicit.models.params import ModelParams
from gsimplicit.models.steps import Steps
from gsimplicit.surroundings import own_surroundings
from gsimplicit.transforms import refuse_batched

PARAMETERS = ("Du", "Dv", "F", "k")
"""Names of the four parameters, in the order used wherever they are stacked."""


GATHERS = 0.01
"""Ratio of Dv to Du below which a state that diverged is told to take a larger Dv, not a shorter step."""


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
        """Where v hardly diffuses it gathers in single pixels."""
        if p[1] >= GATHERS * p[0]:
            return ""
        return (
            f"v gathers in single pixels where Dv is below {GATHERS:g} Du, until the explicit step is unstable: a "
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
        return BY_HAND if dt == 1 else super().steps(dt)


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

    A pixel is 1 wide and a step 1 long. Presets of programs with a spacing dx and a step dt translate as
    `Du = D_u / dx^2`, `Dv = D_v / dx^2`, F and k kept: steady states do not depend on dt. The trajectory is the same
    (`D dt / dx^2`) for dt = 1 alone, since dt multiplies the reaction as well, which has no coefficient here. Where
    `D / dx^2` is above 1/4 take wider pixels. docs/units.md has worked examples, `Params.preset` some translated.

    Args:
        Du: Diffusion coefficient of u, pixels squared per unit time, >= 0. The explicit step needs about Du <= 1/4.
        Dv: Diffusion coefficient of v, pixels squared per unit time, >= 0.
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
        "karl_sims" of his tutorial, on pixels sqrt(2) times as wide as there, where the step of 1 is stable.

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
