"""What lies on a device: a pretended one, where mixing devices, going to numpy and forking are errors as on a real one.

Numbers are not looked at here, `test_gpu` does that: what runs through has crossed between devices where it must.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import forward_mode, mean_square, small_start

import gsimplicit as gs
from benchmarks.pretended import DEVICE, Pretended, pretended
from benchmarks.shim import COMPILER
from gsimplicit.landscape import point
from gsimplicit.marching import gpu
from studies import _common, _planes
from studies._device import on_device

pytestmark = [pytest.mark.shim, pytest.mark.skipif(COMPILER is None, reason="g++ is not there")]

PAPER = gs.Params.preset("paper")
X, GOAL = small_start(16, 3, 2), small_start(16, 4, 2)
ROOT = small_start(24, 5)
BY: dict[str, Any] = {"tol": 1e-4, "max_steps": 64, "check_every": 16}
AXES = {"F": [0.03, 0.035, 0.04], "k": [0.055, 0.06, 0.5]}
SCAN: dict[str, Any] = {"axes": AXES, "progress": False, **BY}
RELU = gs.Model.of(lambda u, v, a: (a - torch.relu(u), u - v), name="no_formula")


@pytest.fixture
def device() -> Iterator[Pretended]:
    with pretended() as machine:
        yield machine


@pytest.mark.usefixtures("device")
def test_it_is_strict() -> None:
    y, here = torch.zeros(3, 4, device="cuda") + 1, torch.ones(3, 4, requires_grad=True)
    assert y.device == DEVICE
    assert y.is_cuda
    with pytest.raises(RuntimeError, match="same device"):
        y + here
    for crossing in (torch.Tensor.numpy, np.asarray):
        with pytest.raises(TypeError, match="can't convert cuda"):
            crossing(y)
    with pytest.raises(RuntimeError, match="indices should be"):
        here[torch.zeros(2, dtype=torch.int64, device="cuda")]
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(2, device="cuda:3")
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())
    assert y.cpu().numpy().sum() == 12
    assert y[torch.tensor([0, 1])].tolist() == [[1.0] * 4] * 2
    assert torch.autograd.grad((here.to("cuda") * y).sum(), here)[0].device.type == "cpu"
    for same in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), forward_mode(torch.sin, y, y), y.new_ones(2)):
        assert same.is_cuda
    assert not torch.zeros_like(y, device="cpu").is_cuda


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
        assert found.state.fields.device == DEVICE
        repr(found)
    copy.deepcopy(pickle.loads(pickle.dumps(found)))


def _state() -> None:
    state = gs.steady_state(PAPER, X.transpose(2, 3).cuda(), refine=gs.Refine(eigenvalues=1), **BY)
    assert state.fields.device == DEVICE
    repr(copy.copy(copy.deepcopy(pickle.loads(pickle.dumps(state))))[1:])
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


WORK: dict[str, Callable[[], Any]] = {
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


@pytest.mark.usefixtures("device")
@pytest.mark.filterwarnings("ignore::gsimplicit.marching.warned.UntracedWarning")
@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize("work", WORK)
def test_what_takes_a_device_crosses_where_it_must(work: str) -> None:
    WORK[work]()


SCANS: dict[str, dict[str, Any]] = {
    "losses": {"losses": ["spectrum", "windowed", "residual", mean_square], "target": GOAL, "keep": "v"},
    "gram": {"losses": ["gram"]},
    "routes": {"losses": ["spectrum", mean_square], "target": GOAL[:, 1], "routes": ["unrolled", "tangent"]},
    "roots": {"routes": ["implicit"], "share_root": True, "refine": gs.Refine(eigenvalues=2)},
    "rows": {"follow": "k", "routes": ["truncated"]},
    "threads": {"executor": ThreadPoolExecutor(2), "tile": 2, "losses": [mean_square]},
    "a backend named": {"backend": gpu.GPU, "losses": [mean_square]},
}


@pytest.mark.usefixtures("device")
@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize("kind", SCANS)
def test_scans_cross_where_they_must(kind: str, tmp_path: Path) -> None:
    there = gs.scan(initial=X.cuda(), store=tmp_path / "a.nc", **SCAN, **SCANS[kind])
    # whichever device of its kind it is asked for: it is found again
    assert gs.scan(initial=X, device="cuda", store=tmp_path / "a.nc", **SCAN, **SCANS[kind]).identical(there)
    here = gs.scan(initial=X, **SCAN, **{k: v for k, v in SCANS[kind].items() if k not in ("executor", "backend")})
    assert here.steps.equals(there.steps)
    np.testing.assert_allclose(there.loss, here.loss, rtol=1e-2, atol=1e-6)
    if kind in ("gram", "roots", "rows"):
        assert gs.scan_arguments(there)["device"].type == "cuda"


@pytest.mark.usefixtures("device")
def test_a_plane_of_a_study_is_marched_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_common, "on_workers", lambda compute: compute(None))
    monkeypatch.setattr(_planes, "SIZES", {"quick": (2, 2)})
    drawn = gs.initial_state
    monkeypatch.setattr(gs, "initial_state", lambda samples: drawn(samples, grid=(16, 16), box=gs.Box(half=3)))
    with on_device("cuda"):
        found = _planes.losses_of_plane("fig3_F_k", ["spectrum", "windowed"], "quick", tmp_path)
    assert found.sizes["sample"] == 2
    assert bool(found.loss.notnull().all())


def _peak(device: Pretended, n: int, points: int, **more: Any) -> int:
    device.counting, device.peak = True, 0
    fields = {"initial": small_start(n, 6, 2), "device": "cuda", "max_steps": 4, "check_every": 4}
    gs.scan({"F": np.linspace(0.03, 0.04, points)}, progress=False, **fields, **more)
    return device.peak


@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize(("n", "more", "times"), [
    (32, {"losses": ["spectrum", "windowed"], "keep": "v"}, 1),
    (32, {"losses": ["residual", "spectrum"], "target": small_start(32, 5, 2)}, 1),
    (32, {"losses": ["windowed"], "routes": ["finite_difference"]}, 5),
    (64, {"losses": ["gram"]}, 1),
    (64, {"losses": ["gram"], "routes": ["unrolled"]}, 17),
], ids=["losses", "residual", "routes", "gram", "gram by a route"])  # fmt: skip
def test_a_tile_holds_no_more_than_it_is_cut_for(
    device: Pretended, n: int, more: dict[str, Any], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gsimplicit.losses.gram.TOGETHER", 2)
    each = (_peak(device, n, 3, **more) - _peak(device, n, 1, **more)) / 4  # what does not grow is left out
    assert each <= 12 * times * 2 * n * n * 8


@pytest.mark.usefixtures("device")
def test_where_memory_is_short_a_tile_is_halved() -> None:
    def greedy(v: torch.Tensor) -> torch.Tensor:
        if len(v) > 4:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return mean_square(v)

    fine = gs.scan(initial=X.cuda(), losses=[mean_square], **SCAN)
    found = gs.scan(initial=X.cuda(), losses=[greedy], **SCAN)
    np.testing.assert_array_equal(found.loss, fine.loss)


@pytest.mark.usefixtures("device")
def test_roots_beside_a_device_are_found_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    inside = point._evaluated
    monkeypatch.setattr(point, "_evaluated", lambda *a: (seen.append(torch.get_num_threads()), inside(*a))[1])
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gs.scan({"k": [0.06]}, initial=X.cuda(), progress=False, **BY)
        gs.scan({"k": [0.06]}, initial=X, progress=False, **BY)
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 1]
