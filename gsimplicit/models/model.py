"""A reaction-diffusion model: species that react in each cell and diffuse between cells.

    dx_i/dt = D_i (S_i - 4 x_i) + f_i(x; p),    S_i the sum of x_i over the four neighbours of a cell.

All that a model must state is its names and the reaction f, a pointwise function. What the rest of the package needs
follows by differentiation: steps, tangents, adjoints, the Jacobian, second derivatives. A model may override any of it.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.models.expression import UntraceableError
from gsimplicit.models.pointwise import ByTorch, Formulas, Pointwise
from gsimplicit.models.steps import Steps, derived

if TYPE_CHECKING:
    from gsimplicit.models.params import ModelParams

A: TypeAlias = Any
Reaction: TypeAlias = Callable[..., Any]
Rest: TypeAlias = tuple[float, ...] | Callable[..., Sequence[Any]]

UNIFORM = 1e-3
"""Standard deviation of the observed species below which a state counts as uniform."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})

TAKEN = frozenset({
    "self", "model", "tensor", "detach", "replace", "expand", "of_values", "preset", "stack", "requires_grad",
    "instance", "parameter", "route", "objective", "sample", "species", "component", "mode", "y", "x", "loss",
    "gradient", "route_loss", "route_definition", "route_status", "route_moved", "status", "kind", "stable",
    "eigenvalue_real", "eigenvalue_imag", "steps", "change", "residual", "v_mean", "v_std", "initial", "target",
    "target_fields", "done", "step", "time"
})  # fmt: skip
"""Names that parameters and species may not have: they mean something else in params, gradients and scans."""


@dataclass(frozen=True, eq=False)
class Model:
    """A reaction-diffusion model on the periodic grid of cells of width 1.

    Attributes:
        name: Name, an identifier.
        species: Names of the S species, in the order of the fields' second axis.
        diffusivity: Names of the S diffusion coefficients, cells squared per unit time, in that order.
        rates: Names of the other parameters, in the order in which the reaction takes them.
        reaction: The rates of change `f(*species, *rates)` without diffusion, per unit time: one value a species. It is
            called with tensors, arrays or symbols in place of numbers and must be pointwise: a cell's rates are made of
            that cell's values. What is made of + - * /, powers, exp, log, sqrt, tanh, sin and cos is compiled.
        observed: The species that losses see.
        rest: State without a pattern, one value a species: numbers, or a function of the rates that gives them.
        presets: Named sets of all parameters, diffusivity first.
        ranges: Lowest and highest allowed value of parameters; diffusion coefficients are >= 0 in any case, others any
            finite number.
        bounds: Lowest and highest initial value of each species, where noise is cut off; None is no bound.
        words: A few words on parameters and species, for labels.
        uniform: From the rates, as numbers, to the uniform steady states in closed form, each one value a species; None
            where there is no such form.
        defaults: Values of parameters that need not be given.
        trivial: Value of the largest observed amount below which a state counts as trivial; None where no state does.
        equations: The equations as a line of text.
        source: Where model and presets are from.

    Example:
        >>> import gsimplicit as gs
        >>> model = gs.Model.of(lambda a, h, mu: (a * a / h - mu * a, a * a - h), name="mine", species=("a", "h"))
        >>> model.parameters
        ('Da', 'Dh', 'mu')
    """

    name: str
    species: tuple[str, ...]
    diffusivity: tuple[str, ...]
    rates: tuple[str, ...]
    reaction: Reaction
    observed: str = ""
    rest: Rest = ()
    presets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bounds: tuple[tuple[float, float] | None, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    uniform: Callable[..., Sequence[tuple[float, ...]]] | None = None
    trivial: float | None = None
    equations: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.species)
        plain: dict[str, Any] = {
            "name": _identifier("name", self.name, taken=frozenset()),
            "species": _names("species", self.species),
            "diffusivity": _names("diffusivity", self.diffusivity, taken=TAKEN | {"v"}),  # v is a scan's variable
            "rates": _names("rates", self.rates, least=0, taken=TAKEN | {"v"}),
        }
        checks.keep(self, plain)
        if len(self.diffusivity) != n:
            raise ValueError(f"diffusivity must name one coefficient a species, {n} of them, got {self.diffusivity}")
        names = [*self.species, *self.parameters]
        if len(set(names)) < len(names):
            twice = sorted({x for x in names if names.count(x) > 1})
            raise ValueError(f"species and parameters must have different names, got {', '.join(twice)} twice")
        if not callable(self.reaction):
            raise TypeError(f"reaction must be a function of the species and rates, got {checks.shown(self.reaction)}")
        _check_call(self.reaction, (*self.species, *self.rates))
        checks.keep(self, {"observed": checks.choice("observed", self.observed or self.species[-1], self.species)})
        if not self.rest:
            checks.keep(self, {"rest": (0.0,) * n})
        if not callable(self.rest):
            checks.keep(self, {"rest": _numbers("rest", self.rest, n)})
        if not self.bounds:
            checks.keep(self, {"bounds": (None,) * n})
        if not isinstance(self.bounds, list | tuple) or len(self.bounds) != n:
            raise ValueError(f"bounds must hold a pair or None a species, {n} of them, got {checks.shown(self.bounds)}")
        pairs = zip(self.species, self.bounds, strict=True)
        checks.keep(self, {"bounds": tuple(None if b is None else _pair(f"bounds of {s}", b) for s, b in pairs)})
        self._check_tables()

    def _check_tables(self) -> None:
        for name in ("presets", "ranges", "words", "defaults"):
            checks.keep(self, {name: MappingProxyType(dict(getattr(self, name)))})
        size = len(self.parameters)
        for name, values in self.presets.items():
            _numbers(f"preset {name!r}", values, size)
        for label, table in (("ranges", self.ranges), ("defaults", self.defaults)):
            for name in table:
                checks.choice(f"entry of {label}", name, self.parameters)
        ranges = {name: _pair(f"range of {name}", pair) for name, pair in self.ranges.items()}
        defaults = {name: checks.real(f"default of {name}", value) for name, value in self.defaults.items()}
        checks.keep(self, {"ranges": MappingProxyType(ranges), "defaults": MappingProxyType(defaults)})

    @classmethod
    def of(
        cls,
        reaction: Reaction,
        name: str | None = None,
        species: Sequence[str] = ("u", "v"),
        diffusivity: Sequence[str] | None = None,
        observed: str | None = None,
        rest: Rest = (),
        presets: Mapping[str, Sequence[float]] = _EMPTY,
        ranges: Mapping[str, tuple[float, float]] = _EMPTY,
    ) -> Model:
        """A model from a function of a cell.

        Args:
            reaction: `reaction(*species, *rates)`: rates of change of the species, without diffusion, per unit time.
                Its arguments after the species are the model's parameters, by their names; defaults are taken over.
            name: Name of the model; None is the function's, or "model".
            species: Names of the species, by default u and v.
            diffusivity: Names of the diffusion coefficients, one a species; None is D and the species: Du, Dv.
            observed: The species that losses see; None is the last one.
            rest: State without a pattern, as in `Model`.
            presets: Named sets of all parameters, diffusivity first.
            ranges: Lowest and highest allowed value of parameters.

        Raises:
            ValueError: Names clash, or the function takes fewer arguments than there are species.
            TypeError: The function's arguments cannot be read, it does not give one rate a species, or an argument
                has a wrong type.

        Example:
            >>> import gsimplicit as gs
            >>> def reaction(u, v, a, b):
            ...     return a - u + u * u * v, b - u * u * v
            >>> model = gs.Model.of(reaction, name="schnakenberg")
            >>> model.params(Du=0.01, Dv=0.2, a=0.1, b=0.9).b.item()
            0.9
        """
        if not callable(reaction):
            raise TypeError(f"reaction must be a function of the species and rates, got {checks.shown(reaction)}")
        species = _names("species", species)
        rates, defaults = _arguments(reaction, len(species))
        made = cls(
            name=_name_of(reaction) if name is None else name,
            species=species,
            diffusivity=tuple(f"D{s}" for s in species) if diffusivity is None else diffusivity,  # type: ignore[arg-type]
            rates=rates,
            reaction=reaction,
            observed=observed or species[-1],
            rest=rest,
            presets={n: tuple(v) for n, v in presets.items()},
            ranges=ranges,
            defaults=defaults,
        )
        with suppress(UntraceableError):  # another number of rates is told here, and not where it is first marched
            Formulas(made._rates_of, len(species), len(made.parameters))
        return made

    # -----------------------------------------------------------------------------------------------------------------
    # Names and values
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all P parameters, in the order used wherever they are stacked: diffusivity first."""
        return (*self.diffusivity, *self.rates)

    @property
    def seen(self) -> int:
        """Place of the observed species."""
        return self.species.index(self.observed)

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest allowed value of a parameter."""
        low, high = self.ranges.get(name, (float("-inf"), float("inf")))
        return (max(low, 0.0), high) if name in self.diffusivity else (low, high)

    def params(self, **values: Any) -> ModelParams:
        """Parameters of this model as one batch of B instances, by name; see `gsimplicit.Params`.

        Raises:
            ValueError: A value is not finite or lies outside the model's range, or the shapes do not broadcast.
            TypeError: A name is missing or not of the model, or a value is not real.
        """
        from gsimplicit.models.params import ModelParams

        return ModelParams._named(self, values)

    def preset(self, name: str) -> ModelParams:
        """Parameters with a name, of `presets`.

        Raises:
            ValueError: There is no preset of that name.
        """
        found = self.presets[checks.choice("preset", name, self.presets)]
        return self.params(**dict(zip(self.parameters, found, strict=True)))

    def rest_of(self, rates: Sequence[A]) -> list[A]:
        """State without a pattern at these rates, one value a species: NaN where the model has none there."""
        if not callable(self.rest):
            return list(self.rest)
        try:
            found = list(self.rest(*rates))
        except ArithmeticError:  # b / a at a = 0
            return [float("nan")] * len(self.species)
        if len(found) != len(self.species):
            raise ValueError(f"rest must give one value a species, {len(self.species)} of them, got {len(found)}")
        return found

    def kinds(self, fields: torch.Tensor) -> torch.Tensor:
        """Kind of each state of a batch, int64, shape (B,): 1 trivial, 2 uniform, 3 pattern; 0 where not finite."""
        x = fields[:, self.seen].to(torch.float64).flatten(1)
        kind = torch.full((len(x),), 3, dtype=torch.int64, device=x.device)
        kind[x.std(dim=1, correction=0) < UNIFORM] = 2
        if self.trivial is not None:
            kind[x.amax(dim=1) < self.trivial] = 1
        kind[~torch.isfinite(fields).flatten(1).all(dim=1)] = 0
        return kind.cpu()

    # -----------------------------------------------------------------------------------------------------------------
    # Equations, pointwise: arrays or tensors of any shape that broadcast; x, S and p are sequences
    # -----------------------------------------------------------------------------------------------------------------

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
            return Formulas(self._rates_of, len(self.species), len(self.parameters)), ""
        except UntraceableError as error:
            return None, str(error)

    def _rates_of(self, *values: A) -> Any:
        """The reaction of the species and all parameters."""
        n = len(self.species)
        return self.reaction(*values[:n], *values[2 * n :])

    @cached_property
    def pointwise(self) -> Pointwise:
        """The reaction and its derivatives."""
        return self.formulas or ByTorch(self._rates_of, len(self.species), len(self.parameters))

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
        return [] if self.uniform is None else list(self.uniform(*p[len(self.species) :]))

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
        return None if self.formulas is None else derived(self.formulas, unit=True)

    @cached_property
    def _any_steps(self) -> Steps | None:
        return None if self.formulas is None else derived(self.formulas, unit=False)

    # -----------------------------------------------------------------------------------------------------------------

    @property
    def _text(self) -> str:
        """The traced reaction in a line; empty where it is no formula."""
        return "" if self.formulas is None else self.formulas.text

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What makes two models the same: names, and the formulas where there are some."""
        names = (self.name, self.species, self.diffusivity, self.rates, self.observed)
        steps = self._any_steps
        return (*names, steps.key if steps is not None else self.reaction)

    def same(self, other: Model) -> bool:
        """Whether another object is this model, perhaps from another process."""
        return self is other or (type(self) is type(other) and self.key == other.key)

    def __reduce__(self) -> tuple[Any, ...]:
        from gsimplicit import models

        if getattr(models, self.name, None) is self:
            return _shipped, (self.name,)
        state = {n: _plain(getattr(self, n)) for n in self.__dataclass_fields__}
        return _rebuilt, (type(self), state, self._text)

    def __repr__(self) -> str:
        return f"Model {self.name}: {', '.join(self.species)}; parameters {', '.join(self.parameters)}"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _shipped(name: str) -> Model:
    from gsimplicit import models

    found: Model = getattr(models, name)
    return found


def _rebuilt(kind: type[Model], state: Mapping[str, Any], text: str = "") -> Model:
    """A model from its pickle, which holds the function by name or by value: what it is traced to must be the same."""
    made = kind(**state)
    if text and made._text != text:
        raise ValueError(
            f"the reaction of {made.name} is another one here than where it was pickled: it was edited, or a value "
            "that it takes from its module was changed after it was traced; make the model again, and give what "
            "varies as arguments of the reaction"
        )
    return made


def _identifier(what: str, name: Any, taken: frozenset[str] = TAKEN) -> str:
    """A name that can be an attribute, or a clear error."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be text, got {checks.shown(name)}")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name in taken:
        raise ValueError(f"{what} must be a name that is not taken, of letters, digits and _, got {name!r}")
    return str(name)


def _names(what: str, names: Any, least: int = 1, taken: frozenset[str] = TAKEN) -> tuple[str, ...]:
    """Names as a tuple, or a clear error."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"{what} must be a sequence of names, got {checks.shown(names)}")
    if len(names) < least:
        raise ValueError(f"{what} must hold at least {least} name, got none")
    return tuple(_identifier(f"name in {what}", name, taken) for name in names)


def _pair(what: str, pair: Any) -> tuple[float, float]:
    """A lowest and a highest value, either of them perhaps infinite, or a clear error."""
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise ValueError(f"{what} must be a lowest and a highest value, got {checks.shown(pair)}")
    low, high = (checks.real(f"entry of {what}", value, finite=False) for value in pair)
    if not low <= high:
        raise ValueError(f"{what} must be a lowest and a highest value, got {checks.shown(pair)}")
    return low, high


def _check_call(reaction: Reaction, names: tuple[str, ...]) -> None:
    """Raise unless a function can be called with so many arguments."""
    try:
        inspect.signature(reaction).bind(*names)
    except ValueError:  # of a function that tells nothing of its arguments
        return
    except TypeError as error:
        raise TypeError(f"reaction must take {', '.join(names)}, one by one and no more: {error}") from None


def _numbers(what: str, values: Any, size: int) -> tuple[float, ...]:
    """So many finite numbers, or a clear error."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != size:
        raise ValueError(f"{what} must hold {size} numbers, got {checks.shown(values)}")
    return tuple(checks.real(f"entry of {what}", v) for v in values)


def _arguments(reaction: Reaction, species: int) -> tuple[tuple[str, ...], Mapping[str, float]]:
    """Names of a function's arguments after the species, and the defaults of those that have one."""
    try:
        found = list(inspect.signature(reaction).parameters.values())
    except (TypeError, ValueError) as error:
        raise TypeError(f"the arguments of reaction {reaction!r} cannot be read: {error}") from error
    several = [p.name for p in found if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY)]
    if several:
        raise TypeError(f"reaction must take its arguments by position, one by one, got {', '.join(several)}")
    if len(found) < species:
        raise ValueError(f"reaction must take the {species} species and its rates, got {len(found)} arguments")
    given = {p.name: p.default for p in found[species:] if p.default is not p.empty}
    defaults = {name: checks.real(f"default of {name}", value) for name, value in given.items()}
    return tuple(p.name for p in found[species:]), MappingProxyType(defaults)


def _name_of(reaction: Reaction) -> str:
    name = getattr(reaction, "__name__", "model")
    return name if isinstance(name, str) and name.isidentifier() and not name.startswith("_") else "model"
