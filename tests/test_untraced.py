"""Reactions that are no formula: what they must keep to, and threads that differentiate them side by side."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from helpers import mean_square

import gsimplicit as gs

pytestmark = pytest.mark.filterwarnings("ignore::gsimplicit.marching.cpu.UntracedWarning")


def switched(u: Any, v: Any, a: Any, b: Any) -> Any:
    return a - u + v * torch.where(u > 0.2, u * u, 0.2 * u), b - u * v


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that interrupt each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# ---------------------------------------------------------------------------------------------------------------------
# Threads
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_threads_that_differentiate_side_by_side_get_the_bits_of_one() -> None:
    model = gs.Model.of(switched)
    x = [0.5 + np.random.default_rng(0).random((6, 7)) for _ in range(2)]
    d = [np.random.default_rng(1).normal(size=(6, 7)) for _ in range(2)]
    p = [0.1, 0.2, 0.3, 0.6]

    def all_of(_: Any = None) -> list[np.ndarray]:
        by = model.pointwise
        found: list[Any] = [by.jacobian(x, p), by.slopes(x, p), by.second(x, p, d, d), by.mixed(x, p, d)]
        return [np.array(one) for one in [*found, by.second_transposed(x, p, d, d), by.second_slopes(x, p)]]

    expected = all_of()
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(all_of, range(200)):
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.usefixtures("hasty", "two_threads")
@pytest.mark.parametrize("route", ["tangent", "unrolled", "implicit"])
def test_a_batch_on_threads_has_the_gradients_of_its_instances(route: str) -> None:
    model, a = gs.Model.of(switched), [0.1, 0.2, 0.3, 0.4]
    start = torch.rand(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    given: dict[str, Any] = {"initial": start, "dt": 0.1, "max_steps": 20, "tol": 0.0}
    if route == "implicit":
        given |= {"max_steps": 2000}
    single = [gs.grad(model.params(Du=0.1, Dv=0.2, a=one, b=0.6), route, mean_square, **given) for one in a]
    whole = gs.grad(model.params(Du=0.1, Dv=0.2, a=a, b=0.6), route, mean_square, **given)
    assert torch.equal(whole.grad.tensor(), torch.cat([one.grad.tensor() for one in single]))


@pytest.mark.usefixtures("hasty")
def test_scans_on_threads_are_those_of_one_thread() -> None:
    base = gs.Model.of(switched).params(Du=0.1, Dv=0.2, a=0.3, b=0.6)
    given: dict[str, Any] = {
        "base": base, "losses": [mean_square], "routes": ["unrolled", "tangent"], "progress": False, "tile": 1,
        "initial": torch.full((1, 2, 4, 5), 0.5, dtype=torch.float64), "tol": 0.0, "max_steps": 10, "dt": 0.1,
    }  # fmt: skip
    axes = {"a": [0.1, 0.2, 0.3, 0.4]}
    here = gs.scan(axes, **given)
    with ThreadPoolExecutor(4) as pool:
        there = gs.scan(axes, **given, executor=pool)
    np.testing.assert_array_equal(here["gradient"], there["gradient"])


# ---------------------------------------------------------------------------------------------------------------------
# What would be silently wrong
# ---------------------------------------------------------------------------------------------------------------------

CUT = [
    lambda u, v, a, b: (a - u + math.exp(-b) * u * v, b - u * v),
    lambda u, v, a, b: (a - u + float(b) * u * v, b - u * v),
    lambda u, v, a, b: (a - u + b.item() * u * v, b - u * v),
    lambda u, v, a, b: (a - u + v * np.where(u > 0.2, u * u, 0.2 * u), b - u * v),
    lambda u, v, a, b: (a - u if a > 0.2 else u, b - u * v),
    lambda u, v, a, b: (max(a - u, v), b - u * v),
]


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("function", CUT)
def test_what_makes_numbers_of_rates_or_species_is_refused(function: Any) -> None:
    with pytest.raises(
        TypeError, match=r"tensors of several pixels \(.*: use torch's functions, torch.exp for math.exp"
    ):
        gs.Model.of(function, name="mine")


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda u, v, a, b: (a - torch.relu(u).detach(), b - u * v), "u"),
        (lambda u, v, a, b: (a - u, b.data - torch.relu(v)), "b"),
        (lambda u, v, a, b: (a - u, b - torch.from_numpy(np.maximum(v.detach().numpy(), 0.2))), "v"),
    ],
)
def test_what_is_cut_off_autograd_is_refused(function: Any, name: str) -> None:
    with pytest.raises(
        ValueError, match=f"the reaction of mine is cut off autograd: its derivative in {name} by torch"
    ):
        gs.Model.of(function, name="mine")


@pytest.mark.parametrize(
    ("function", "whose"),
    [
        (lambda u, v, a: (a - u + 0.1 * v.mean(), a - v), "of other instances too, "),
        (lambda u, v, a: (a - u + 0.1 * v.mean((-2, -1), keepdim=True), a - v), ""),
        (lambda u, v, a: (a - u + 0.1 * v.roll(1, -1), a - v), ""),
        (lambda u, v, a: (a - u, a - v * torch.softmax(u, -1)), ""),
        (lambda u, v, a: (a - u, a - v + 0.1 * torch.cumsum(u, 0)), "of other instances too, "),
    ],
)
def test_what_looks_beyond_a_cell_is_refused(function: Any, whose: str) -> None:
    with pytest.raises(ValueError, match=f"of mine looks beyond a pixel: .* other pixels,? ?{whose}changed as well"):
        gs.Model.of(function, name="mine")
    names: dict[str, Any] = {"name": "mine", "species": ("u", "v"), "diffusivity": ("Du", "Dv"), "rates": ("a",)}
    with pytest.raises(ValueError, match="looks beyond a pixel"):
        gs.Model(**names, reaction=function)


def test_what_draws_counts_or_asks_for_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="gives other values when it is called again"):
        gs.Model.of(lambda u, a: a - u * torch.rand_like(u), species=("u",))
    with pytest.raises(ValueError, match="gives other values alone than in a batch"):
        gs.Model.of(lambda u, a: a - torch.relu(u) * u.shape[0], species=("u",))


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("traced", [True, False])
def test_a_tensor_that_requires_grad_is_an_argument_or_refused(shape: tuple[int, ...], traced: bool) -> None:
    held = torch.full(shape, 0.3, dtype=torch.float64, requires_grad=True)
    bent: Any = (lambda v: v) if traced else torch.relu
    for reaction in (lambda u, v, b: (held - u, b - bent(v)), lambda u, v, b: (b - bent(v) * held, u)):
        with pytest.raises(TypeError, match=r"uses a tensor that requires grad .* Make it a rate"):
            gs.Model.of(reaction)
    given = held.detach()
    assert gs.Model.of(lambda u, v, b: (given - u, b - bent(v)))


def test_a_model_from_its_pickle_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gs.Model.of(switched)
    monkeypatch.setattr("gsimplicit.models.probe._require_pixels", lambda *_: pytest.fail("tried again"))
    params = pickle.loads(pickle.dumps(model.params(Du=0.1, Dv=0.2, a=0.3, b=0.6)))
    assert params.model.untraced


NET = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double().requires_grad_(False)


def network(u: Any, v: Any, a: Any) -> Any:
    made = NET(torch.stack([u, v], dim=-1))
    return a - u + made[..., 0], a - v + made[..., 1]


@pytest.mark.parametrize(
    "function",
    [
        network,
        lambda u, v, a: (a - torch.relu(u), a - torch.clamp(v, min=0.1)),
        lambda u, v, a: (a - torch.sigmoid(1e4 * (u - torch.relu(v))), a - v),
        lambda u, v, a: (a - (u > 0.5).to(u.dtype), a - v),
        lambda u, v, a: (a - torch.log(u - torch.relu(v)), a - v),  # NaN in places
    ],
)
def test_pointwise_functions_of_torch_are_taken(function: Any) -> None:
    assert gs.Model.of(function, name="mine").untraced


# ---------------------------------------------------------------------------------------------------------------------
# What was traced is what is called
# ---------------------------------------------------------------------------------------------------------------------


def swallows(u: Any, v: Any, a: Any) -> Any:
    try:
        kept = torch.clamp(u, max=0.5)
    except TypeError:
        kept = u
    return a - u + kept * v, a - v


@pytest.mark.parametrize(
    "function",
    [swallows, lambda u, v, a: (a - u + (u.clamp(max=0.5) if isinstance(u, torch.Tensor) else u) * v, a - v)],
)
def test_a_reaction_that_asks_what_it_is_given_is_called_as_with_tensors(function: Any) -> None:
    model = gs.Model.of(function)
    assert model.untraced == "with tensors it gives other values than with symbols"
    x = torch.full((1, 2, 4, 4), 0.8, dtype=torch.float64)
    found = gs.steady_state(model.params(Du=0.1, Dv=0.1, a=0.3), x, dt=0.1, tol=0.0, max_steps=1).fields
    assert found[0, 0, 0, 0].item() == pytest.approx(0.8 + 0.1 * (0.3 - 0.8 + 0.5 * 0.8), rel=1e-14)


class Counts:
    calls = 0

    def __call__(self, u: Any, v: Any, a: Any) -> Any:
        self.calls += 1
        return a - u + 0.1 * self.calls, a - v


@pytest.mark.parametrize(
    "function", [lambda u, v, a: (a - u + 0.1 * np.random.default_rng().normal(), a - v), Counts()]
)
def test_a_formula_that_draws_or_counts_is_refused(function: Any) -> None:
    with pytest.raises(ValueError, match="gives other values when it is called again: it must not draw or count"):
        gs.Model.of(function, name="mine")


def test_complex_rates_are_refused() -> None:
    with pytest.raises(TypeError, match="reaction must give real rates, got complex ones"):
        gs.Model.of(lambda u, v, a: (a - torch.relu(u) * 1j, a - v), name="mine")
