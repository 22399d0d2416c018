"""A reaction-diffusion model: species that react in each pixel and diffuse between pixels.

    dx_i/dt = D_i (S_i - 4 x_i) + f_i(x; p),    S_i the sum of x_i over the four neighbours of a pixel.

All that a model must state is its names and the reaction f, a pointwise function. What the rest of the package needs
follows by differentiation: steps, tangents, adjoints, the Jacobian, second derivatives. A model may override any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit import checks
from gsimplicit.models.dynamics import Dynamics, Rest
from gsimplicit.models.pointwise import Reaction
from gsimplicit.models.probe import tried_before
from gsimplicit.models.statement import (
    TAKEN,
    arguments_of,
    bounds_of,
    identifier,
    lowest_and_highest,
    name_of,
    names_of,
    numbers,
    require_apart,
    require_call,
    require_own_name,
)

if TYPE_CHECKING:
    from gsimplicit.models.params import ModelParams

UNIFORM = 1e-3
"""Standard deviation of the observed species, by the model's `scale`, below which a state counts as uniform."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Model(Dynamics):
    """A reaction-diffusion model on the periodic grid of pixels of width 1.

    Attributes:
        name: Name, an identifier.
        species: Names of the S species, in the order of the fields' second axis.
        diffusivity: Names of the S diffusion coefficients, pixels squared per unit time, in that order.
        rates: Names of the other parameters, in the order in which the reaction takes them.
        reaction: The rates of change `f(*species, *rates)` without diffusion, per unit time: one value a species. It is
            called with tensors, arrays or symbols in place of numbers and must be pointwise: a pixel's rates are made
            of that pixel's values. What is made of + - * /, powers, exp, log, sqrt, tanh, sin, cos, abs, maximum and
            minimum is compiled.
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
        scale: Typical size of the species, > 0. Small is told from large by it: a state is uniform below 1e-3 of it,
            a root is closed to `Refine.tol` times it. The default suits fields between about 0.03 and 30.
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
    scale: float = 1.0
    equations: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.species)
        plain: dict[str, Any] = {
            "name": identifier("name", self.name, taken=frozenset()),
            "species": names_of("species", self.species),
            "diffusivity": names_of("diffusivity", self.diffusivity, taken=TAKEN | {"v"}),  # v is a scan's variable
            "rates": names_of("rates", self.rates, least=0, taken=TAKEN | {"v"}),
        }
        checks.keep(self, plain)
        require_apart(self.species, self.diffusivity, self.rates)
        if not callable(self.reaction):
            raise TypeError(f"reaction must be a function of the species and rates, got {checks.shown(self.reaction)}")
        require_own_name(self.name, self.reaction)
        require_call(self.reaction, (*self.species, *self.rates))
        checks.keep(self, {"observed": checks.choice("observed", self.observed or self.species[-1], self.species)})
        if not self.rest:
            checks.keep(self, {"rest": (0.0,) * n})
        if not callable(self.rest):
            checks.keep(self, {"rest": numbers("rest", self.rest, n)})
        checks.keep(self, {"bounds": bounds_of(self.species, self.bounds)})
        checks.keep(self, {"scale": checks.real("scale", self.scale, above=0)})
        self._check_tables()
        self.pointwise  # noqa: B018 (what the reaction cannot do is told here, not where it is first marched)

    def _check_tables(self) -> None:
        for name in ("presets", "ranges", "words", "defaults"):
            checks.keep(self, {name: MappingProxyType(dict(getattr(self, name)))})
        size = len(self.parameters)
        for name, values in self.presets.items():
            numbers(f"preset {name!r}", values, size)
        for label, table in (("ranges", self.ranges), ("defaults", self.defaults)):
            for name in table:
                checks.choice(f"entry of {label}", name, self.parameters)
        ranges = {name: lowest_and_highest(f"range of {name}", pair) for name, pair in self.ranges.items()}
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
        scale: float = 1.0,
    ) -> Model:
        """A model from a function of a pixel.

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
            scale: Typical size of the species, as in `Model`.

        Raises:
            ValueError: Names clash, or the function takes fewer arguments than there are species.
            TypeError: The function's arguments cannot be read, it does not give one rate a species, or an argument
                has a wrong type.

        Example:
            >>> import gsimplicit as gs
            >>> def reaction(u, v, a, b):
            ...     return a - u + u * u * v, b - u * u * v
            >>> model = gs.Model.of(reaction, name="mine")
            >>> model.params(Du=0.01, Dv=0.2, a=0.1, b=0.9).b.item()
            0.9
        """
        if not callable(reaction):
            raise TypeError(f"reaction must be a function of the species and rates, got {checks.shown(reaction)}")
        species = names_of("species", species)
        rates, defaults = arguments_of(reaction, len(species))
        return cls(
            name=name_of(reaction) if name is None else name,
            species=species,
            diffusivity=tuple(f"D{s}" for s in species) if diffusivity is None else diffusivity,  # type: ignore[arg-type]
            rates=rates,
            reaction=reaction,
            observed=observed or species[-1],
            rest=rest,
            presets={n: tuple(v) for n, v in presets.items()},
            ranges=ranges,
            defaults=defaults,
            scale=scale,
        )

    # -----------------------------------------------------------------------------------------------------------------
    # Names and values
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        """Place of the observed species."""
        return self.species.index(self.observed)

    def range_of(self, name: str) -> tuple[float, float]:
        """Lowest and highest allowed value of a parameter."""
        low, high = self.ranges.get(name, (float("-inf"), float("inf")))
        return (max(low, 0.0), high) if name in self.diffusivity else (low, high)

    def params(self, *unnamed: Any, **values: Any) -> ModelParams:
        """Parameters of this model as one batch of B instances, by name; see `gsimplicit.Params`.

        Raises:
            ValueError: A value is not finite or lies outside the model's range, or the shapes do not broadcast.
            TypeError: A name is missing or not of the model, or a value is not real.
        """
        from gsimplicit.models.params import ModelParams

        if unnamed:
            names = ", ".join(self.parameters)
            raise TypeError(f"parameters of {self.name} are {names}, given by name; got {len(unnamed)} without one")
        return ModelParams._named(self, values)

    def preset(self, name: str) -> ModelParams:
        """Parameters with a name, of `presets`.

        Raises:
            ValueError: There is no preset of that name.
        """
        if not self.presets:
            raise ValueError(
                f"preset must be one of {self.name}'s, which has none: use params, got {checks.shown(name)}"
            )
        found = self.presets[checks.choice("preset", name, self.presets)]
        return self.params(**dict(zip(self.parameters, found, strict=True)))

    def kinds(self, fields: torch.Tensor) -> torch.Tensor:
        """Kind of each state of a batch, int64, shape (B,): 1 trivial, 2 uniform, 3 pattern; 0 where not finite."""
        x = fields[:, self.seen].to(torch.float64).flatten(1)
        kind = torch.full((len(x),), 3, dtype=torch.int64, device=x.device)
        kind[x.std(dim=1, correction=0) < UNIFORM * self.scale] = 2
        if self.trivial is not None:
            kind[x.amax(dim=1) < self.trivial] = 1
        kind[~torch.isfinite(fields).flatten(1).all(dim=1)] = 0
        return kind.cpu()

    # -----------------------------------------------------------------------------------------------------------------
    # Identity
    # -----------------------------------------------------------------------------------------------------------------

    @property
    def _text(self) -> str:
        """The traced reaction in a line; empty where it is no formula."""
        return "" if self.formulas is None else self.formulas.text

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What makes two models the same: names, and the formulas where there are some."""
        names = (self.name, self.species, self.diffusivity, self.rates, self.observed, self.scale)
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
    with tried_before():
        made = kind(**state)
    if text and made._text != text:
        raise ValueError(
            f"the reaction of {made.name} is another one here than where it was pickled: it was edited, or a value "
            "that it takes from its module was changed after it was traced; make the model again, and give what "
            "varies as arguments of the reaction"
        )
    return made
