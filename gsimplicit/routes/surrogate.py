"""The derivative of a network that was trained to know what states look like at which parameters."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from gsimplicit.configuration import digest
from gsimplicit.equations import ModelParams
from gsimplicit.identity import identity, label
from gsimplicit.losses import LOSSES, Gram
from gsimplicit.losses.loss import sees_all
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.objective import Loss, Objective, value_of
from gsimplicit.routes.route import Derivatives, Problem, Route, nothing
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

HOW = (
    "the surrogate route needs a trained model: scan with keep='v' over the parameters, then "
    "model = gsimplicit.train_surrogate(scan) and route=gsimplicit.routes.Surrogate(model)"
)


def _itself(v: torch.Tensor) -> torch.Tensor:
    return v.to(torch.float64)


FEATURES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    **{name: loss.features for name, loss in LOSSES.items()},
    "v": _itself,
}
"""What a network can be trained to give, of v (B, H, W); a callable loss is a feature of one number."""


def unknown_surrogate() -> Route:
    """What the route's name alone stands for.

    Raises:
        ValueError: Always; it says how to train a model.
    """
    raise ValueError(HOW)


@dataclass(frozen=True, eq=False)
class Surrogate(Route):
    """Autograd through an ensemble of networks from the parameters to features of the state.

    It stands where the march stops, but its derivative knows nothing of that state: it is the slope of what the
    networks learned from the scan they were trained on, smooth over whatever cliff lies between two of its points. The
    losses it knows are those it was trained for; with "v" among them any loss of v, and `solve`. A parameter the scan
    did not vary has no derivative: NaN. `certificate.error` is the spread of the ensemble's gradients, and
    `model.held_out_error` how far its features are from those at points it has not seen.

    Attributes:
        model: Of `gsimplicit.train_surrogate`, or read back from its file.

    Raises:
        TypeError: The model is no dataset.
        ValueError: The dataset is no model, or parameters lie outside the range it was trained on.

    Examples:
        >>> import gsimplicit as gs
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> axes = {"k": [0.06, 0.061, 0.062, 0.063, 0.064]}
        >>> line = gs.scan(axes, initial=start, keep="v", max_steps=200, progress=False)
        >>> networks = gs.train_surrogate(line, losses=["spectrum"], progress=False)
        >>> params = gs.Params.preset("paper").replace(k=0.0615)
        >>> out = gs.grad(params, gs.routes.Surrogate(networks), initial=start, max_steps=200)
        >>> bool(out.grad.k.isfinite()), bool(out.grad.F.isnan())  # F was not varied
        (True, True)
    """

    name: ClassVar[str] = "surrogate"
    through_steps: ClassVar[bool] = False
    model: xr.Dataset
    _networks: _Networks = field(init=False, repr=False)

    @own_surroundings
    def __post_init__(self) -> None:
        import xarray as xr

        if not isinstance(self.model, xr.Dataset):
            raise TypeError(f"model of Surrogate must be a dataset of train_surrogate, got {self.model!r}; {HOW}")
        if "weights" not in self.model or "layers" not in self.model.attrs:
            raise ValueError(f"model of Surrogate holds no networks; {HOW}")
        if not self.model.attrs.get("gsimplicit_complete", 1):
            raise ValueError("model of Surrogate must be whole: its training was interrupted; train it to the end")
        # a copy: the networks are made of it here, and what tells it from another is read from it later
        object.__setattr__(self, "model", self.model.copy(deep=True).load())
        object.__setattr__(self, "_networks", _Networks(self.model))

    @property
    def digest(self) -> str:
        """What tells this model from another: its weights and components."""
        parts = [f"{name} {digest(self.model[name].values)}" for name in sorted(map(str, self.model.data_vars))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    @property
    def needs_root(self) -> bool:
        """False: it needs no state at all."""
        return False

    @property
    def biased(self) -> bool:
        """True: what is differentiated is a network."""
        return True

    @property
    def answers(self) -> tuple[bool, ...]:
        """The parameters its training varied."""
        return tuple(self._networks.varied.tolist())

    def check(self, params: ModelParams) -> None:
        """Raise a ValueError for parameters outside the training range."""
        outside = self._networks.outside(params.tensor().detach())
        if bool(outside.any()):
            i, p = (int(n) for n in outside.nonzero()[0])
            low, high = float(self._networks.low[p]), float(self._networks.high[p])
            raise ValueError(
                f"{params.model.parameters[p]} must lie in {low:g}..{high:g}, where the surrogate was trained, "
                f"got {float(params.tensor()[i, p]):g}"
            )

    def solve(self, problem: Problem) -> SteadyState:
        """The marched state.

        Raises:
            ValueError: The fields are on another grid than those the networks were trained on.
        """
        grid = tuple(problem.initial.shape[2:])
        if grid != self._networks.grid:
            raise ValueError(f"the surrogate was trained on a grid of {self._networks.grid}, got fields on {grid}")
        return problem.state()

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Through the networks' own v, which they must have been trained for.

        Raises:
            ValueError: They were not.
        """
        if "v" not in self._networks.heads:
            raise ValueError(
                "the surrogate has no derivative of v itself: train it with losses=['v', ...], or call grad with a "
                f"loss it was trained for: {', '.join(map(repr, self._networks.heads))}"
            )

        def weighed(weight: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return (self._networks.features("v", at) * weight).sum((-2, -1))

        return self._pulled(
            problem, state, [partial(weighed, c[:, state.model.seen].to("cpu", torch.float64)) for c in cotangents]
        )

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Derivatives:
        """Derivative of the losses of what the networks give at the parameters.

        Raises:
            ValueError: They were not trained for a loss.
        """
        return self._pulled(problem, state, [self._predicted(loss) for loss in losses])

    def _predicted(self, loss: Loss) -> Callable[[torch.Tensor], torch.Tensor]:
        """The loss of parameters (B, P), shape (M, B) for M networks."""
        name = loss.name if isinstance(loss, Objective) else label(loss)
        if sees_all(loss):
            raise ValueError(f"loss must be of the observed species for the surrogate route, got {name!r} of all")
        function: Any = loss.loss if isinstance(loss, Objective) else loss
        target = getattr(loss, "target", None)
        if name in FEATURES and name in self._networks.heads and target is not None and self._learned(function):
            goal = function.features(target)
            return lambda at: ((self._networks.features(name, at) - goal) ** 2).mean((-2, -1))
        if name not in FEATURES and name in self._networks.heads and self._knows(name, function):
            return lambda at: self._networks.features(name, at)[..., 0, 0]
        if "v" in self._networks.heads:
            return lambda at: torch.stack([value_of(loss, v) for v in self._networks.features("v", at)])
        known = ", ".join(map(repr, self._networks.heads))
        raise ValueError(f"loss must be one the surrogate was trained for, {known}, got {name!r}")

    def _learned(self, loss: Any) -> bool:
        """Whether a loss with features is the one of its name that the networks were trained for."""
        if not isinstance(loss, Gram):
            return type(loss) is type(LOSSES[loss.name])
        here, there = loss.told, self._networks.gram
        return (there.get("sha256"), there.get("scale")) == (here.sha256, here.scale)

    def _knows(self, name: str, loss: Any) -> bool:
        """Whether a callable is the very one the networks were trained for, not one of the same name."""
        try:
            return bool(json.loads(json.dumps(identity(loss))) == self._networks.callables.get(name))
        except ValueError:
            return False

    def _pulled(
        self, problem: Problem, state: SteadyState, losses: Sequence[Callable[[torch.Tensor], torch.Tensor]]
    ) -> Derivatives:
        values = problem.params.tensor().to(torch.float64)
        lost = self._networks.outside(values).any(dim=1) | (state.status == Status.DIVERGED)
        gradients, certificates = [], []
        for loss in losses:
            at = values.clone().requires_grad_()
            with torch.enable_grad():
                of_members = loss(at)
                slopes = torch.stack([torch.autograd.grad(one.sum(), at, retain_graph=True)[0] for one in of_members])
            slopes[:, :, ~self._networks.varied] = torch.nan
            slopes[:, lost] = torch.nan
            mean = slopes.mean(dim=0)
            spread = (slopes - mean).nan_to_num().norm(dim=2).square().mean(dim=0).sqrt()
            gradients.append(mean)
            certificates.append(
                Certificate(
                    definition=tuple("none" if none else "network" for none in lost.tolist()),
                    adjoint_residual=nothing(len(state)),
                    other_definition=nothing(len(state)),
                    # one network has no spread to tell its error by
                    error=torch.where(lost | (len(slopes) == 1), torch.nan, spread / mean.nan_to_num().norm(dim=1)),
                    position=nothing(len(state)),
                    products=torch.full((len(state),), len(slopes)),
                )
            )
        return Derivatives(torch.stack(gradients), tuple(certificates))


class _Networks:
    """The ensemble of a model as torch functions."""

    def __init__(self, model: xr.Dataset) -> None:
        self.low, self.high = (torch.from_numpy(model[name].values.copy()) for name in ("low", "high"))
        self.varied = self.high > self.low
        self.layers = [int(n) for n in model.attrs["layers"]]
        self.weights = torch.from_numpy(model["weights"].values.copy())
        self.grid = (int(model.sizes["y"]), int(model.sizes["x"]))
        known = json.loads(model.attrs["losses"])
        self.callables = {one[0]: one for one in known if isinstance(one, list)}
        self.gram: dict[str, Any] = next((one for one in known if isinstance(one, dict)), {})
        self.heads: dict[str, tuple[int, torch.Tensor, torch.Tensor]] = {}
        first = 0
        for name in [str(n) for n in model["head"].values]:
            mean, basis = (torch.from_numpy(model[f"{part}_{name}"].values.copy()) for part in ("mean", "basis"))
            self.heads[name] = (first, mean, basis)
            first += len(basis)

    def outside(self, values: torch.Tensor) -> torch.Tensor:
        """Which parameters (B, P) lie outside the training range; rounding of its ends is forgiven."""
        slack = 1e-9 * self.high.abs()
        return (values < self.low - slack) | (values > self.high + slack)

    def features(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """Features of each network at parameters (B, P), shape (M, B, ...)."""
        first, mean, basis = self.heads[name]
        inputs = scaled(values, self.low, self.high)[:, self.varied]
        out = torch.stack([network(w, self.layers, inputs) for w in self.weights])
        return mean + torch.einsum("mbk,kyx->mbyx", out[..., first : first + len(basis)], basis)


def scaled(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Parameters with their range as -1..1."""
    return 2 * (values - low) / (high - low).clamp(min=1e-300) - 1


def size_of(layers: Sequence[int]) -> int:
    """How many weights a network with these widths has."""
    return sum(a * b + b for a, b in pairwise(layers))


def network(weights: torch.Tensor, layers: Sequence[int], inputs: torch.Tensor) -> torch.Tensor:
    """A fully connected network with tanh between layers.

    Args:
        weights: All weights and biases in one vector, layer after layer.
        layers: Widths from the inputs to the outputs.
        inputs: Shape (B, layers[0]).

    Returns:
        Shape (B, layers[-1]).
    """
    out, first = inputs, 0
    for n, (a, b) in enumerate(pairwise(layers)):
        matrix = weights[first : first + a * b].view(a, b)
        out = out @ matrix + weights[first + a * b : first + a * b + b]
        first += a * b + b
        if n < len(layers) - 2:
            out = torch.tanh(out)
    return out


def initial_weights(layers: Sequence[int], seed: int) -> torch.Tensor:
    """Weights drawn with variance 1 / inputs, biases 0."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[torch.Tensor] = []
    for a, b in pairwise(layers):
        draws: Any = torch.randn(a * b, generator=generator, dtype=torch.float64)
        parts += [draws / math.sqrt(a), torch.zeros(b, dtype=torch.float64)]
    return torch.cat(parts)
