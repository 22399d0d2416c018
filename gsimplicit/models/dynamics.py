"""What follows from a model's reaction: its equations in a pixel, their derivatives, steps, and bounds on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from gsimplicit.models.by_torch import ByTorch
from gsimplicit.models.expression import UntraceableError
from gsimplicit.models.formulas import Formulas
from gsimplicit.models.operations import A
from gsimplicit.models.probe import other_when_traced, require_pointwise
from gsimplicit.models.steps import Steps, derived

if TYPE_CHECKING:
    from gsimplicit.models.pointwise import Pointwise, Reaction

Rest: TypeAlias = tuple[float, ...] | Callable[..., Sequence[Any]]


class Dynamics:
    """Equations of a model, pointwise: arrays or tensors of any shape that broadcast; x, S and p are sequences.

    `Model` states what is declared here; what a model overrides of the rest is its own.
    """

    name: str
    species: tuple[str, ...]
    diffusivity: tuple[str, ...]
    rates: tuple[str, ...]
    reaction: Reaction
    rest: Rest
    bounds: tuple[tuple[float, float] | None, ...]
    presets: Mapping[str, tuple[float, ...]]
    defaults: Mapping[str, float]
    uniform: Callable[..., Sequence[tuple[float, ...]]] | None

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest allowed value of a parameter."""
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all P parameters, in the order used wherever they are stacked: diffusivity first."""
        return (*self.diffusivity, *self.rates)

    def rest_of(self, rates: Sequence[A]) -> list[A]:
        """State without a pattern at these rates, one value a species: NaN where the model has none there."""
        if not callable(self.rest):
            return list(self.rest)
        try:
            found = list(self.rest(*rates))
        except ArithmeticError:  # b / a at a = 0
            return [float("nan")] * len(self.species)
        except TypeError as error:
            raise TypeError(f"rest must take the rates {', '.join(self.rates)}, one each: {error}") from error
        if len(found) != len(self.species):
            raise ValueError(f"rest must give one value a species, {len(self.species)} of them, got {len(found)}")
        return found

    def uniform_of(self, rates: Sequence[float]) -> list[tuple[float, ...]]:
        """Uniform steady states at these rates, each one value a species; none where the model states none."""
        if self.uniform is None:
            return []
        found, S = list(self.uniform(*rates)), len(self.species)
        for state in found:
            if np.shape(state) != (S,):
                raise ValueError(f"uniform must give a list of states, each of one value a species, {S}; got {state!r}")
        return [tuple(state) for state in found]

    @cached_property
    def formulas(self) -> Formulas | None:
        """The traced reaction, of all P parameters; None where it is no formula."""
        return self._traced[0]

    @property
    def untraced(self) -> str:
        """Why the reaction is no formula; empty where it is one."""
        return self._traced[1]

    @cached_property
    def _traced(self) -> tuple[Formulas | None, str]:
        try:
            found = Formulas(self._rates_of, len(self.species), len(self.parameters))
            own = str(getattr(self.reaction, "__module__", "")).partition(".")[0] != "gsimplicit"
            if own and other_when_traced(self.name, found, self._rates_of, self._probed()):
                return None, "with tensors it gives other values than with symbols"
            return found, ""
        except UntraceableError as error:
            return None, str(error)

    def _rates_of(self, *values: A) -> Any:
        """The reaction of the species and all parameters."""
        n = len(self.species)
        return self.reaction(*values[:n], *values[2 * n :])

    @cached_property
    def pointwise(self) -> Pointwise:
        """The reaction and its derivatives.

        Raises:
            ValueError: It is no formula, and not pointwise.
            TypeError: It is neither a formula nor a function of tensors.
        """
        if self.formulas is not None:
            return self.formulas
        by = ByTorch(self._rates_of, len(self.species), len(self.parameters))
        require_pointwise(self.name, by, (*self.species, *self.parameters), self._probed())
        return by

    def _probed(self) -> list[tuple[float, float]]:
        """Where species and parameters are tried: in their ranges, and close to the first preset if there is one."""
        low_high = [b or (0.0, float("inf")) for b in self.bounds]
        found = {n: self.range_of(n) for n in self.parameters}
        known = {**self.defaults, **dict(zip(self.parameters, next(iter(self.presets.values()), ()), strict=False))}
        for name, value in known.items():
            low, high = found[name]
            found[name] = max(low, value - abs(value) / 4), min(high, value + abs(value) / 4)
        return low_high + [found[n] for n in self.parameters]

    def residual(self, x: Sequence[A], S: Sequence[A], p: Sequence[A]) -> list[A]:
        """Right-hand sides `D (S - 4 x) + f`, one a species."""
        f = self.pointwise.value(x, p)
        return [D * (around - 4 * at) + rate for D, at, around, rate in zip(p, x, S, f, strict=False)]

    def reaction_jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """Pointwise part of the Jacobian of the residual, `df_i/dx_j`."""
        return self.pointwise.jacobian(x, p)

    def parameter_slopes(self, x: Sequence[A], S: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """Derivatives of the residual in the parameters at fixed fields: P rows of S."""
        rows = self.pointwise.slopes(x, p)
        for i in range(len(self.species)):
            rows[i][i] = rows[i][i] + (S[i] - 4 * x[i])
        return rows

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative of the residual in the fields along a and b."""
        return self.pointwise.second(x, p, a, b)

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """The g with `g . b = w . second(x, p, a, b)` for every b."""
        return self.pointwise.second_transposed(x, p, a, w)

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A], Sd: Sequence[A]) -> list[list[A]]:
        """Derivative of `parameter_slopes` along d, whose neighbour sums are Sd: P rows of S."""
        rows = self.pointwise.mixed(x, p, d)
        for i in range(len(self.species)):
            rows[i][i] = rows[i][i] + (Sd[i] - 4 * d[i])
        return rows

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """Second derivatives of the residual in the parameters at fixed fields: P rows of P of S."""
        return self.pointwise.second_slopes(x, p)

    def beyond_linear(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[A]:
        """What the residual gains along d beyond its linear part: exact where the reaction is a cubic polynomial.

        Half the second derivative, taken a third of the way; no rounding of the residual's own.
        """
        third = [at + along / 3 for at, along in zip(x, d, strict=True)]
        return [0.5 * bend for bend in self.second(third, p, d, d)]

    def bending(self, x: Sequence[A], p: Sequence[A], reach: float) -> A:
        """Bound on the 2-norm by which the reaction's Jacobian changes for a change of 1 of the species, within reach.

        That of the entries' second derivatives, at the state and at either end of the reach.
        """
        most: Any = 0.0
        for by in (-reach, 0.0, reach):
            at, squares = [value + by for value in x], 0.0
            units = [[np.ones_like(v) if i == j else np.zeros_like(v) for i, v in enumerate(x)] for j in range(len(x))]
            for j, a in enumerate(units):
                for b in units[j:]:
                    bends = self.second(at, p, a, b)
                    squares = squares + (1 if a is b else 2) * sum(bend * bend for bend in bends)
            most = np.maximum(most, np.sqrt(squares))
        return most

    def radius(self, p: Sequence[float], x: Sequence[A]) -> float:
        """Bound on the spectral radius of the Jacobian at a state, by Gershgorin's discs."""
        J = self.reaction_jacobian(x, p)
        return max(8 * p[i] + float(np.max(sum(np.abs(e) for e in J[i]))) for i in range(len(x)))

    def advice(self, p: Sequence[float]) -> str:
        """What a state that diverged at these parameters is told, where the model knows better than a shorter step."""
        return ""

    def excited(self, p: Sequence[float]) -> list[tuple[float, ...]]:
        """Uniform states away from rest, at which a step is fastest."""
        return self.uniform_of(p[len(self.species) :])

    def frequencies(self, p: Sequence[float], x: Sequence[A]) -> list[float]:
        """Frequencies per unit time that the reaction may oscillate with about a state: of its mean, and of rest."""
        found = set()
        for state in ([float(np.mean(a)) for a in x], self.rest_of(p[len(self.species) :])):
            J = np.array(self.reaction_jacobian(list(map(float, state)), p), dtype=np.float64)
            values = np.linalg.eigvals(J) if np.isfinite(J).all() else np.zeros(0)
            found |= {float(np.round(abs(v.imag), 6)) for v in values if np.isfinite(v) and abs(v.imag) > 1e-6}
        return sorted(found)

    def reach(self, p: Sequence[float], x: torch.Tensor) -> str:
        """Words for how fast the fastest mode of a state (S, H, W) decays."""
        fastest = self.radius(p, [a.detach().to("cpu", torch.float64).numpy() for a in x])
        return f"rates reach {fastest:.3g} per unit time; the limit is 2 / dt"

    def steps(self, dt: float) -> Steps | None:
        """One explicit step of length dt as formulas; None where the reaction is none."""
        return self._unit_steps if dt == 1 else self._any_steps

    @cached_property
    def _unit_steps(self) -> Steps | None:
        return None if self.formulas is None else derived(self.formulas.alone(), unit=True)

    @cached_property
    def _any_steps(self) -> Steps | None:
        return None if self.formulas is None else derived(self.formulas.alone(), unit=False)
