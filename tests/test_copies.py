"""What a scan and the doors copy of the user's: backends, targets, memory that is shared, locks."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from helpers import mean_square

import gsimplicit as gs
from gsimplicit.landscape.sent import copied
from gsimplicit.marching import TORCH, Marched


class InPlace(type(TORCH)):  # type: ignore[misc]
    """A backend that steps in place, and gives what it works in."""

    name = "in_place"

    def march(self, params: Any, fields: torch.Tensor, *given: Any) -> Marched:
        end = super().march(params, fields, *given)
        fields.copy_(end.fields)
        return Marched(fields, end.steps, end.change)


@pytest.mark.parametrize("route", ["unrolled", "tangent", "truncated", "finite_difference"])
def test_a_backend_that_steps_in_place_changes_nothing_of_the_packages(route: str) -> None:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    given: dict[str, Any] = {"initial": start, "tol": 0.0, "max_steps": 30}
    plain, own = (
        gs.grad(gs.Params.preset("paper"), route, mean_square, backend=by, **given) for by in (TORCH, InPlace())
    )
    assert torch.equal(plain.grad.tensor(), own.grad.tensor())


class OfAnotherShape(type(TORCH)):  # type: ignore[misc]
    name = "wide"

    def pull_back(self, *given: Any) -> Any:
        gradient, initial = super().pull_back(*given)
        return gradient[:, :1], initial


def test_a_backend_that_gives_another_shape_is_named() -> None:
    start = gs.initial_state(count=2, grid=(12, 12), box=gs.Box(half=3))
    with pytest.raises(
        ValueError, match=r"'wide': the first of pull_back must be .* shape \(1, 2, 4\), got \(1, 1, 4\)"
    ):
        gs.grad(
            gs.Params.preset("paper"), "unrolled", mean_square, initial=start, tol=0.0, max_steps=9,
            backend=OfAnotherShape(),
        )  # fmt: skip


class Plain:
    """A backend that holds one of the package's."""

    name = "plain"
    by = TORCH

    def march(self, *given: Any) -> Any:
        return TORCH.march(*given)

    def pull_back(self, *given: Any) -> Any:
        return self.by.pull_back(*given)

    def push_forward(self, *given: Any) -> Any:
        return self.by.push_forward(*given)


def test_a_backend_that_names_one_of_the_packages_goes_to_workers() -> None:
    assert pickle.loads(pickle.dumps(TORCH)) is TORCH
    sent = copied("backend", Plain())
    assert sent.by is TORCH
    assert type(sent) is not Plain  # by value, as workers have it


class Writes:
    """A feature loss that writes into what it compares."""

    name, invariant = "writes", False

    def features(self, v: torch.Tensor) -> torch.Tensor:
        return v.double()

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (b.sub_(a) ** 2).mean((-2, -1))


def test_a_distance_that_writes_into_the_target_changes_no_later_value() -> None:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    data = gs.scan(
        {"k": [0.06, 0.06, 0.061][1:]}, losses=[Writes()], target=2 * start[:, 1], initial=start, tol=0.0, max_steps=20,
        progress=False,
    )  # fmt: skip
    alone = gs.grad(
        gs.Params.preset("paper").replace(k=0.061), "unrolled", Writes(), target=2 * start[:, 1], initial=start,
        tol=0.0, max_steps=20,
    )  # fmt: skip
    assert data.loss.values.ravel()[1] == alone.loss.item()


class Pair:
    """A loss of all species with features and a target."""

    name, invariant, all_species = "pair", True, True

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((-3, -2, -1)), x.var(dim=(-3, -2, -1))], -1)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((a - b) ** 2).sum(-1)


def test_a_loss_of_all_species_with_a_target_is_scanned() -> None:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    given: dict[str, Any] = {"initial": start, "tol": 0.0, "max_steps": 20}
    data = gs.scan(
        {"k": [0.06]}, losses=[Pair(), "spectrum"], target=start, routes=["unrolled"], progress=False, **given
    )
    alone = gs.grad(gs.Params.preset("paper").replace(k=0.06), "unrolled", Pair(), target=start, **given)
    assert data.loss.sel(objective="pair").item() == alone.loss.item()
    np.testing.assert_array_equal(data.target_fields, start)


def view(kind: str) -> Any:
    if kind == "numpy":
        a = np.zeros(3)
        b = a[1:]
    elif kind == "torch":
        a = torch.zeros(3, dtype=torch.float64)
        b = a[1:]
    else:
        a = np.zeros(3)
        b = torch.from_numpy(a)[1:]

    def loss(v: torch.Tensor) -> torch.Tensor:
        a[1] = 3.0
        return (1 + float(b[0])) * v.mean((-2, -1))

    return loss


def closures(_: str) -> Any:
    n = 1.0

    def put(x: float) -> None:
        nonlocal n
        n = x

    def get() -> float:
        return n

    def again(times: int) -> float:
        return get() if times == 0 else again(times - 1)

    def loss(v: torch.Tensor) -> torch.Tensor:
        put(3.0)
        return again(2) * v.mean((-2, -1))

    return loss


@pytest.mark.parametrize(("make", "kind"), [(view, "numpy"), (view, "torch"), (view, "both"), (closures, "closures")])
def test_memory_and_variables_that_a_loss_shares_are_shared_in_its_copy(make: Any, kind: str) -> None:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3))
    given: dict[str, Any] = {"initial": start, "tol": 0.0, "max_steps": 9}
    data = gs.scan({"k": [0.06]}, losses=[make(kind)], progress=False, **given)
    alone = gs.grad(gs.Params.preset("paper").replace(k=0.06), "unrolled", make(kind), **given)
    assert data.loss.item() == alone.loss.item()


def test_events_semaphores_and_conditions_of_a_loss_are_copied_as_what_they_are() -> None:
    event, count, condition = threading.Event(), threading.Semaphore(3), threading.Condition()
    event.set()

    def loss(v: torch.Tensor) -> torch.Tensor:
        with condition:
            condition.notify_all()
        return (2.0 if event.is_set() else 1.0) * count._value * v.mean((-2, -1))

    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3))
    given: dict[str, Any] = {"initial": start, "tol": 0.0, "max_steps": 9}
    data = gs.scan({"k": [0.06]}, losses=[loss], progress=False, **given)
    assert data.loss.item() == gs.grad(gs.Params.preset("paper").replace(k=0.06), "unrolled", loss, **given).loss.item()


def test_differences_of_roots_of_a_family_are_no_gradient() -> None:
    model = gs.Model.of(lambda u, v, a=1.0: (-a * u * v + v * 0.3, a * u * v - v * 0.3), name="conserving")
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    with pytest.raises(gs.NotSteady, match="famil"):
        gs.grad(model.params(Du=0.1, Dv=0.2), gs.routes.FiniteDifference(refine=True), mean_square, initial=start)
