"""All that takes a device, at toy size: what must cross between it and the CPU. Numbers are looked at elsewhere.

On a real device by `python -m benchmarks.gpu`, on a pretended one by `tests/test_device.py`.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.marching import gpu

if TYPE_CHECKING:
    import xarray as xr


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def _start(n: int, half: int, count: int) -> torch.Tensor:
    return gs.initial_state(count=count, grid=(n, n), box=gs.Box(half=half))


PAPER = gs.Params.preset("paper")
X, GOAL = _start(16, 3, 2), _start(16, 4, 2)
ROOT = _start(24, 5, 1)
BY: dict[str, Any] = {"tol": 1e-4, "max_steps": 64, "check_every": 16}
AXES = {"F": [0.03, 0.035, 0.04], "k": [0.055, 0.06, 0.5]}
SCAN: dict[str, Any] = {"axes": AXES, "progress": False, **BY}
RELU = gs.Model.of(lambda u, v, a: (a - torch.relu(u), u - v), name="no_formula")


class Fails(gs.routes.Unrolled):
    """A route that fails where k is large."""

    name = "fails"

    def pull_back(self, problem: Any, state: Any, cotangents: torch.Tensor) -> Any:
        """As its parent, or an error."""
        if bool((state.params.k > 0.0645).any()):
            raise np.linalg.LinAlgError("singular")
        return super().pull_back(problem, state, cotangents)


def _solved(route: str, initial: torch.Tensor, **more: Any) -> None:
    rate = torch.tensor([0.035], dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params(0.16, 0.08, rate, 0.058), initial=initial, route=route, **BY, **more)
    mean_square(state.observed).sum().backward()
    assert rate.grad is not None
    assert rate.grad.device.type == "cpu"
    if initial.requires_grad:
        assert initial.grad is not None
        assert initial.grad.device == initial.device


def _gradients(route: str) -> None:
    for loss, target in ((mean_square, None), ("spectrum", GOAL[:, 1]), ("windowed", GOAL.cuda())):
        found = gs.grad(PAPER, route=route, loss=loss, target=target, initial=X.cuda(), **BY)
        assert found.grad.F.device.type == "cpu"
        assert found.state.fields.is_cuda
        str(found)
    copy.deepcopy(pickle.loads(pickle.dumps(found)))


def _state() -> None:
    state = gs.steady_state(PAPER, X.transpose(2, 3).cuda(), refine=gs.Refine(eigenvalues=1), **BY)
    assert state.fields.is_cuda
    str(copy.copy(copy.deepcopy(pickle.loads(pickle.dumps(state))))[1:])
    there = gs.Params(Du=torch.tensor([0.16]).cuda(), Dv=0.08, F=torch.tensor(0.035).cuda(), k=0.065)
    gs.steady_state(there, X, device="cuda", tol=0.0, max_steps=20)
    gs.residual_loss(there, X.cuda())
    gs.spectrum_loss(X[:, 1].cuda(), GOAL[:, 1].cuda())
    gs.windowed_loss(X[:, 1].cuda(), GOAL[:, 1].cuda())


def _by_gmres() -> None:
    there = gs.Refine(linear=gs.Gmres(device="cuda"), max_evaluations=200_000)
    gs.grad(PAPER, route=gs.routes.Implicit(there), loss=mean_square, initial=X.cuda(), **BY)
    state = gs.steady_state(PAPER, ROOT.cuda(), refine=there)
    for linear in (None, gs.Gmres(device="cuda")):
        gs.hessian(state, mean_square, linear)
        gs.root_derivatives(state, linear)
    gs.marched_derivatives(PAPER, X.cuda(), 20)


def _no_formula() -> None:
    params, start = RELU.params(Du=0.1, Dv=0.1, a=0.3), torch.full((1, 2, 8, 8), 0.5).cuda()
    for route in ("unrolled", "tangent"):
        gs.grad(params, route=route, loss=mean_square, initial=start, dt=0.1, tol=0.0, max_steps=20)


def _descents() -> None:
    by: dict[str, Any] = {"steps": 2, "progress": False, **BY}
    for route in ("unrolled", "implicit", "truncated"):
        gs.descend(PAPER, GOAL[:, 1], route, initial=X, device="cuda", **by)
    drawn = {"samples": 2, "grid": (16, 16), "box": gs.Box(half=3), "targets": GOAL[:, 1].cuda(), "keep": "v"}
    gs.descend(PAPER, route="unrolled", device="cuda", optimizer=torch.optim.Adam, **drawn, **by)
    gs.descend(PAPER, GOAL.cuda(), loss="residual", steps=2, progress=False)


def _inverted() -> None:
    root = gs.steady_state(PAPER, ROOT, refine=gs.Refine(lattice=True)).fields.cuda()
    for method in ("one-shot", "linear", "weak", "descend"):
        gs.invert(root, method=method, progress=False)


def _surrogate() -> None:
    axes = {"F": np.linspace(0.03, 0.04, 4), "k": np.linspace(0.055, 0.066, 4)}
    kept = gs.scan(axes, initial=X.cuda(), keep="v", progress=False, **BY)
    network = gs.train_surrogate(kept, epochs=20, progress=False)
    gs.grad(PAPER, route=gs.routes.Surrogate(network), target=GOAL[:, 1].cuda(), initial=X.cuda(), **BY)


DOORS: dict[str, Callable[[], Any]] = {
    "state": _state,
    **{f"grad {name}": lambda name=name: _gradients(name)
       for name in ("implicit", "deq", "unrolled", "truncated", "tangent", "finite_difference")},
    "gram": lambda: gs.grad(PAPER, "unrolled", "gram", GOAL.cuda(), initial=X.cuda(), tol=0.0, max_steps=5),
    **{f"solve {name}": lambda name=name: _solved(name, X, device="cuda") for name in ("implicit", "tangent")},
    "solve from a start there": lambda: _solved("unrolled", X.cuda().requires_grad_()),
    "solve from a start here": lambda: _solved("unrolled", X.clone().requires_grad_(), device="cuda"),
    "compare": lambda: gs.compare(PAPER, loss="spectrum", target=GOAL.cuda(), initial=X.cuda(), tol=1e-4, max_steps=64),
    "GMRES": _by_gmres,
    "no formula": _no_formula,
    "descents": _descents,
    "inversion": _inverted,
    "surrogate": _surrogate,
}  # fmt: skip


SCANS: dict[str, dict[str, Any]] = {
    "losses": {"losses": ["spectrum", "windowed", "residual", mean_square], "target": GOAL, "keep": "v"},
    "gram": {"losses": ["gram"]},
    "routes": {"losses": ["spectrum", mean_square], "target": GOAL[:, 1], "routes": ["unrolled", "tangent"]},
    "roots": {"routes": ["implicit"], "share_root": True, "refine": gs.Refine(eigenvalues=2)},
    "rows": {"follow": "k", "routes": ["truncated"]},
    "threads": {"losses": [mean_square], "tile": 2},
    "a route that fails": {"losses": [mean_square], "routes": [Fails()]},
    "a backend named": {"backend": gpu.GPU, "losses": [mean_square]},
}


def scanned(kind: str, folder: Path) -> tuple[xr.Dataset, xr.Dataset]:
    """A scan on the device and on the CPU.

    Raises:
        ValueError: The two differ in their steps, or the one of the device is not found again.
    """
    given, store = SCANS[kind], folder / f"{kind.replace(' ', '_')}.nc"
    with ThreadPoolExecutor(2) as threads:
        more = {"executor": threads} if kind == "threads" else {}
        there = gs.scan(initial=X.cuda(), store=store, **SCAN, **given, **more)
    # whichever device of its kind it is asked for: it is found again
    if not gs.scan(initial=X, device="cuda", store=store, **SCAN, **given).identical(there):
        raise ValueError(f"{kind}: another one is found in the store")
    here = gs.scan(initial=X, **SCAN, **{name: one for name, one in given.items() if name != "backend"})
    if "route_status" in here and not here.route_status.equals(there.route_status):
        raise ValueError(f"{kind}: routes end otherwise than on the CPU")
    if not here.steps.equals(there.steps):
        raise ValueError(f"{kind}: other steps than on the CPU")
    return there, here
