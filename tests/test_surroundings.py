"""Torch's and numpy's settings around a call change nothing of what it gives, and are as they were after it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from inspect import isclass, isfunction, signature
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers import mean_square

import gsimplicit as gs
from gsimplicit import losses, testing
from gsimplicit.bifurcation import branch, edge, fold, lifetime, uniform
from gsimplicit.models.gray_scott import Params
from gsimplicit.surroundings import is_door

START = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
V = START[:, 1]
ROOT = gs.steady_state(gs.Params(0.16, 0.08, 0.03, 0.05), START, refine=True)
FLAT = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
CURVED = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), FLAT, refine=True)
SPOT = gs.initial_state(grid=(16, 16), noise=0.0, box=gs.Box(half=3))
SCAN = gs.scan(
    {"F": np.linspace(0.03, 0.04, 6)}, initial=START, tol=0.0, max_steps=5, keep="v", progress=False
)  # fmt: skip
SHORT: dict[str, Any] = {"initial": START, "tol": 0.0, "max_steps": 8}
ROUTES: list[gs.routes.Route] = [  # type: ignore[name-defined]
    *(make() for make in (gs.routes.Implicit, gs.routes.Unrolled, gs.routes.Truncated, gs.routes.FiniteDifference)),
    *(gs.routes.Deq(solver=name) for name in ("broyden", "anderson")),
    gs.routes.Deq(phantom=3),
    gs.routes.Tangent(),
    gs.routes.Tangent(refine=True),
    gs.routes.FiniteDifference(refine=True),
    gs.routes.Implicit(gs.Refine(linear=gs.Gmres())),
]


def params() -> gs.Params:
    return gs.Params(0.16, 0.08, 0.03, 0.05)


def weighted(v: torch.Tensor) -> torch.Tensor:
    """A loss that makes a tensor of its own, which must lie where v does."""
    return (v * torch.linspace(0, 1, v.shape[-1], dtype=torch.float64)).mean((-2, -1))


def solved(route: gs.routes.Route) -> torch.Tensor:  # type: ignore[name-defined]
    with torch.enable_grad():
        k = torch.tensor(0.05, dtype=torch.float64, device="cpu", requires_grad=True)
        gs.solve(gs.Params(0.16, 0.08, 0.03, k), route, **SHORT).v.square().mean().backward()
    assert k.grad is not None
    return k.grad


def scanned(**changes: Any) -> torch.Tensor:
    given: dict[str, Any] = {"losses": [weighted, "spectrum", "residual"], "routes": ["implicit", "unrolled"]}
    data = gs.scan({"k": [0.05, 0.06]}, progress=False, **{**SHORT, **given, **changes})
    return torch.from_numpy(data["gradient"].values)


def threaded() -> torch.Tensor:
    with ThreadPoolExecutor(2) as pool:
        return scanned(losses=[weighted], executor=pool)


def trained() -> torch.Tensor:
    model = gs.train_surrogate(SCAN, members=1, epochs=3, hidden=[3], progress=False)
    return gs.grad(gs.Params.preset("paper"), gs.routes.Surrogate(model), **SHORT).grad.F


CALLS: dict[str, Callable[[], Any]] = {
    "Params": lambda: gs.Params.from_unbounded(params().to_unbounded()).expand(2)[[0, 1]].tensor(),
    "initial_state": lambda: gs.initial_state(grid=(8, 8), box=gs.Box(half=2)),
    "steady_state": lambda: gs.steady_state(params(), **SHORT).fields,
    "refine": lambda: gs.steady_state(params(), START, refine=gs.Refine(tail="chebyshev", eigenvalues=2)).eigenvalues,
    "residual_loss": lambda: gs.residual_loss(params(), START),
    "spectrum_loss": lambda: gs.spectrum_loss(V, 0.9 * V),
    "windowed_loss": lambda: gs.windowed_loss(V, 0.9 * V),
    "default target": lambda: gs.grad(params(), "unrolled", **SHORT).loss,
    **{f"grad {r}": lambda r=r: gs.grad(params(), r, weighted, **SHORT).grad.tensor() for r in ROUTES},
    **{f"solve {r}": lambda r=r: solved(r) for r in ROUTES},
    "hessian": lambda: gs.hessian(ROOT, mean_square),
    "root_derivatives": lambda: gs.root_derivatives(ROOT),
    "marched_derivatives": lambda: gs.marched_derivatives(params(), START, 5)[1],
    "compare": lambda: gs.compare(params(), ["implicit", "tangent"], loss=weighted, **SHORT)["gradient"].values,
    "scan": scanned,
    "scan on threads": threaded,
    "scan_arguments": lambda: gs.scan(**gs.scan_arguments(SCAN), progress=False)["loss"].values,
    "train_surrogate": trained,
    "taylor_test": lambda: testing.taylor_test(params(), "unrolled", mean_square, **SHORT).remainders,
    "follow": lambda: branch.follow(CURVED, "k", low=0.05, max_points=3).values,
    "lifetime": lambda: lifetime.lifetime(gs.Params(0.16, 0.08, 0.035, 0.08), SPOT, 500),
    "turing": lambda: uniform.turing([0.02, 0.05, 0.3]),
    "hopf": lambda: uniform.hopf_of_steps([0.02, 0.05, 0.3]),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return {name: np.asarray(call()) for name, call in CALLS.items()}


@contextmanager
def default_device() -> Iterator[None]:
    """As a machine with a GPU has it, where every tensor made without a device is made elsewhere."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def warnings_as_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default device": default_device,
    "with a device": lambda: torch.device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "numpy raises": lambda: np.errstate(all="raise"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": deterministic,
    "warnings as errors": warnings_as_errors,
}


@pytest.mark.parametrize("around", SURROUNDINGS)
def test_a_call_gives_the_same_bits_in_any_surroundings(around: str, expected: dict[str, np.ndarray]) -> None:
    for name, call in CALLS.items():
        if around == "inference_mode" and name.startswith("solve"):
            continue  # nothing can be attached there: see below
        seeds = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
        with SURROUNDINGS[around]():
            found = call()
            outside = settings()
        with SURROUNDINGS[around]():
            assert settings() == outside, name
        assert np.array_equal(np.asarray(found), expected[name], equal_nan=True), name
        assert torch.equal(torch.get_rng_state(), seeds[0])
        assert np.array_equal(np.random.get_state()[1], seeds[1])  # type: ignore[index]  # noqa: NPY002


def settings() -> tuple[Any, ...]:
    """What is around here."""
    flags = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    return *flags, torch.empty(0).device, torch.get_default_dtype(), sorted(np.geterr().items())


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_without_gradients_recorded_solve_gives_a_state_that_is_not_attached(around: Callable[[], Any]) -> None:
    k = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    with around():
        state = gs.solve(gs.Params(0.16, 0.08, 0.03, k), "unrolled", **SHORT)
        assert not gs.Params(0.16, 0.08, 0.03, k).requires_grad
    assert not state.fields.requires_grad
    assert torch.equal(state.fields, gs.steady_state(params(), dtype=torch.float64, **SHORT).fields)


def test_what_was_made_in_inference_mode_serves_outside_and_the_other_way_round() -> None:
    with torch.inference_mode():
        point, fields, target = params(), START.clone(), V.clone()
        route = gs.routes.Surrogate(gs.train_surrogate(SCAN, members=1, epochs=3, hidden=[3], progress=False))
        root = gs.steady_state(point, fields, refine=True)
    k = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    state = gs.solve(point.replace(k=k), "implicit", initial=fields, max_steps=8)
    gs.spectrum_loss(state.v, target).sum().backward()
    assert k.grad is not None
    gs.grad(gs.Params.preset("paper"), route, **SHORT)
    gs.grad(point, "implicit", initial=root.fields, target=target)
    assert torch.equal(gs.hessian(root, mean_square), gs.hessian(ROOT, mean_square))
    raw = point.to_unbounded().requires_grad_()
    gs.residual_loss(gs.Params.from_unbounded(raw), fields).sum().backward()
    assert raw.grad is not None


def test_backward_works_in_other_surroundings_than_solve() -> None:
    k = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    loss = gs.solve(gs.Params(0.16, 0.08, 0.03, k), "implicit", **SHORT).v.square().mean()
    with np.errstate(all="raise"), torch.autocast("cpu", dtype=torch.bfloat16), default_device():
        loss.backward()
    assert k.grad is not None
    assert k.grad.item() == solved(gs.routes.Implicit()).item()


def test_threads_with_different_surroundings_do_not_see_each_other() -> None:
    found: dict[str, list[bool]] = {}
    right = scanned().numpy()

    def work(name: str) -> None:
        with SURROUNDINGS[name]():
            before = settings()
            found[name] = [np.array_equal(scanned().numpy(), right) and settings() == before for _ in range(3)]

    names = ["with a device", "numpy raises", "no_grad", "inference_mode", "autocast"]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [True] * 3 for name in names}


def test_an_error_leaves_the_surroundings_as_they_were() -> None:
    with torch.inference_mode(), np.errstate(all="raise"), default_device():
        before = settings()
        with pytest.raises(ValueError, match="max_steps"):
            gs.steady_state(params(), START, max_steps=0)
        assert settings() == before


def test_a_loss_that_holds_a_tensor_of_inference_mode_is_told_so() -> None:
    with torch.inference_mode():
        weights = torch.ones(16, 16, dtype=torch.float64)
        with pytest.raises(RuntimeError, match=r"[Ii]nference"):
            gs.grad(params(), "unrolled", lambda v: (weights * v).mean((-2, -1)), **SHORT)


def test_a_warning_names_the_line_that_called() -> None:
    unstable = gs.Params(0.3, 0.08, 0.035, 0.065)
    for call in (
        lambda: gs.steady_state(unstable, **SHORT),
        lambda: gs.grad(unstable, "unrolled", mean_square, **SHORT),
        lambda: gs.solve(unstable, "unrolled", **SHORT),
        lambda: gs.compare(unstable, ["unrolled"], share_root=False, loss=mean_square, **SHORT),
        lambda: gs.scan({"k": [0.06]}, base=unstable, progress=False, **SHORT),
    ):
        for around in (torch.enable_grad, torch.inference_mode):
            with pytest.warns(gs.StabilityWarning) as caught, around():
                call()
            assert [one.filename for one in caught] == [__file__]


# ---------------------------------------------------------------------------------------------------------------------
# Every door
# ---------------------------------------------------------------------------------------------------------------------

DECORATED_METHODS = {"Params": ("__init__", "stack", "from_unbounded", "to_unbounded", "tensor", "expand", "_named")}

NO_DOORS = {
    "Box Refine Direct Gmres Safeguards": "settings: plain values, no tensors",
    "Model models": "formulas; parameters of a model are made behind the doors of Params",
    "LinearSolver": "a protocol",
    "Certificate Gradient Inversion ParameterGradient SteadyState": "results: what they hold was made behind a door",
    "Kind Motion Reason Recovery Stable Status": "enumerations",
    "NotRecovered NotSteady StoreLockedError StoreMismatchError": "errors",
    "PositionWarning StabilityWarning StoreWarning UnitsWarning": "warnings",
    "__version__": "text",
}


def test_every_public_function_is_a_door_or_needs_none() -> None:
    exempt = {name for names in NO_DOORS for name in names.split()}
    for name in gs.__all__:
        if name in DECORATED_METHODS:
            for method in DECORATED_METHODS[name]:
                assert is_door(getattr(gs.Params, method)), method
        else:
            assert is_door(getattr(gs, name)) != (name in exempt), name


@pytest.mark.parametrize("module", [losses, testing, branch, edge, fold, uniform], ids=lambda m: m.__name__)
def test_every_public_function_of_a_room_is_a_door(module: ModuleType) -> None:
    for name in module.__all__:
        one = getattr(module, name)
        assert is_door(one) or isclass(one) or not callable(one), name


def test_doors_keep_name_signature_and_documentation() -> None:
    for door in (gs.grad, gs.scan, gs.spectrum_loss, uniform.turing):
        assert isfunction(door)
        assert door.__doc__
        assert "args" not in signature(door).parameters
    assert signature(gs.Params).parameters.keys() == {"Du", "Dv", "F", "k"}
    assert Params is gs.Params
