"""The GPU's kernels: the same source on threads of the CPU, against plain torch, and compiled for three devices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from benchmarks.doors import Fails, mean_square
from benchmarks.shim import ALONE, COMPILER, ThreadsMachine, built, text_for
from gsimplicit.landscape.point import Together, evaluate
from gsimplicit.marching import TORCH, cuda, gpu, layouts
from gsimplicit.marching.backend import backend_for, by_name
from gsimplicit.marching.warned import UntracedWarning
from gsimplicit.threads import STOP, Stopped

on_threads = pytest.mark.skipif(COMPILER is None, reason="g++ is not there")
by_nvrtc = pytest.mark.skipif(
    find_spec("cuda") is None or find_spec("nvidia") is None, reason="cuda-bindings and NVRTC are not there"
)
GRAY_SCOTT = gs.Params(Du=[0.16, 0.15, 0.2], Dv=[0.08, 0.07, 0.1], F=[0.035, 0.03, 0.04], k=[0.06, 0.055, 0.065])
GIERER = gs.models.gierer_meinhardt.preset("spots")[[0, 0]]
THREE = gs.Model.of(
    lambda u, v, w, a: (a - u * v, u * v - w, v - w * w / (1 + w)), name="three", species=("u", "v", "w")
)
BENT = gs.Model.of(
    lambda u, v, a: (a - abs(u - v) * np.maximum(v, a) + np.exp(-u), np.minimum(u * v, 0.3) - v / np.sqrt(1 + u)),
    name="bent",
)
SMALL = 2000
"""Bytes of shared memory that hold no grid of these tests."""

CASES: dict[str, tuple[gs.ModelParams, tuple[int, int], float, int]] = {
    "registers": (GRAY_SCOTT, (16, 16), 1.0, 227 * 1024),
    "registers, idle lanes": (GRAY_SCOTT, (12, 50), 1.0, 227 * 1024),
    "registers, one row a warp": (GRAY_SCOTT, (3, 24), 1.0, 227 * 1024),
    "shared memory": (GRAY_SCOTT, (7, 41), 1.0, 227 * 1024),
    "global memory": (GRAY_SCOTT, (7, 41), 0.5, SMALL),
    "a model that divides": (GIERER, (16, 12), 0.01, 227 * 1024),
    "a model with kinks": (BENT.params(Du=0.1, Dv=0.2, a=0.4), (8, 16), 0.05, 227 * 1024),
    "three species": (THREE.params(Du=0.1, Dv=0.2, Dw=0.1, a=0.4), (8, 16), 0.05, 227 * 1024),
}


def start(params: gs.ModelParams, grid: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """Fields around the middle of what the models hold."""
    shape = (len(params), len(params.model.species), *grid)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (0.4 + 0.2 * noise).to(dtype)


@pytest.mark.shim
@on_threads
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("case", CASES)
def test_the_kernels_do_what_torch_does(case: str, dtype: torch.dtype) -> None:
    params, grid, dt, shared = CASES[case]
    there, x = gpu.Gpu(ThreadsMachine(shared)), start(params, grid, dtype)
    near = {"rtol": 1e-13, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 2e-6}
    ours, theirs = (one.march(params, x, 0.0, 37, 5, dt) for one in (there, TORCH))
    torch.testing.assert_close(ours.fields, theirs.fields, **near)
    torch.testing.assert_close(ours.change, theirs.change, rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-6)
    assert ours.steps.tolist() == theirs.steps.tolist() == [37] * len(params)
    steps = torch.tensor([9, 6, 0])[: len(params)]
    c = torch.randn((2, *x.shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    for one, other in zip(
        there.pull_back(params, x, steps, c, dt), TORCH.pull_back(params, x, steps, c, dt), strict=True
    ):
        scale = float(other.abs().max())
        torch.testing.assert_close(one / scale, other / scale, **near)
    for one, other in zip(
        there.push_forward(params, x, steps, dt), TORCH.push_forward(params, x, steps, dt), strict=True
    ):
        torch.testing.assert_close(one, other, **near)


@pytest.mark.shim
@on_threads
@pytest.mark.parametrize("grid", [(16, 16), (7, 41)], ids=["registers", "shared memory"])
def test_each_instance_stops_by_itself_and_one_that_is_not_finite_changes_no_other(grid: tuple[int, int]) -> None:
    there, x = gpu.Gpu(ThreadsMachine()), start(GRAY_SCOTT, grid, torch.float64)
    x[1] = torch.tensor([1.0, 0.0], dtype=torch.float64)[:, None, None]  # at rest
    ours, theirs = (one.march(GRAY_SCOTT, x, 1e-2, 40, 7, 1.0) for one in (there, TORCH))
    assert ours.steps.tolist() == theirs.steps.tolist()
    assert ours.steps[1] == 7
    assert ours.status(1e-2).tolist() == theirs.status(1e-2).tolist()
    hurt = x.clone()
    hurt[2, 0, 5, 5] = torch.nan
    found = there.march(GRAY_SCOTT, hurt, 1e-2, 40, 7, 1.0)
    assert torch.isnan(found.change[2])
    assert found.steps[2] == 7
    assert found.status(1e-2)[2] == gs.Status.DIVERGED
    assert torch.equal(found.fields[:2], ours.fields[:2])
    alone = there.march(GRAY_SCOTT[2], x[2:], 1e-2, 40, 7, 1.0)
    assert torch.equal(alone.fields[0], ours.fields[2])


@pytest.mark.shim
@on_threads
def test_a_long_march_is_cut_into_launches_that_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    there, x = gpu.Gpu(ThreadsMachine()), start(GRAY_SCOTT, (16, 16), torch.float32)
    whole = there.march(GRAY_SCOTT, x, 0.0, 37, 5, 1.0)
    monkeypatch.setattr(gpu, "LAUNCH", 10 * 256)  # ten steps
    cut = there.march(GRAY_SCOTT, x, 0.0, 37, 5, 1.0)
    assert torch.equal(cut.fields, whole.fields)
    assert torch.equal(cut.change, whole.change)
    assert cut.steps.tolist() == [37] * 3
    tangents = there.push_forward(GRAY_SCOTT, x, torch.tensor([3, 8, 0]), 1.0)
    monkeypatch.undo()
    for one, other in zip(tangents, there.push_forward(GRAY_SCOTT, x, torch.tensor([3, 8, 0]), 1.0), strict=True):
        assert torch.equal(one, other)
    stop = threading.Event()
    stop.set()
    token = STOP.set(stop)
    try:
        with pytest.raises(Stopped):
            there.march(GRAY_SCOTT, x, 0.0, 37, 5, 1.0)
    finally:
        STOP.reset(token)


@pytest.mark.shim
@on_threads
def test_an_adjoint_that_lacks_memory_goes_by_stretches_and_then_by_halves_of_the_batch() -> None:
    x, steps = start(GRAY_SCOTT, (16, 16), torch.float64), torch.tensor([23, 30, 2])
    c = torch.randn((1, *x.shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = gpu.Gpu(ThreadsMachine()).pull_back(GRAY_SCOTT, x, steps, c, 1.0)
    state = 3 * 2 * 256 * 8
    for states in (14, 8, 3):  # two stretches and more; halves; no room at all
        short = gpu.Gpu(ThreadsMachine(free=int(states * state / gpu.HISTORY)))
        assert short.pull_back(GRAY_SCOTT, x, 0 * steps, c, 1.0)[0].abs().max() == 0
        for one, other in zip(short.pull_back(GRAY_SCOTT, x, steps, c, 1.0), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.shim
@on_threads
def test_the_doors_take_it_as_a_backend() -> None:
    params, x = gs.Params(*(0.16, 0.08, 0.035, 0.06)), start(GRAY_SCOTT[0], (16, 16), torch.float64)
    by = {"initial": x, "loss": mean_square, "tol": 0.0, "max_steps": 12, "check_every": 4}
    for route in ("unrolled", "tangent", "truncated"):
        ours, theirs = (
            gs.grad(params, route=route, **by, **more) for more in ({"backend": gpu.Gpu(ThreadsMachine())}, {})
        )
        for name in params.model.parameters:
            assert getattr(ours.grad, name).item() == pytest.approx(getattr(theirs.grad, name).item(), rel=1e-11)
    assert by_name("gpu") is gpu.GPU


def test_a_model_that_is_no_formula_is_stepped_by_torch_and_that_is_said() -> None:
    model = gs.Model.of(lambda u, v, a: (a - torch.relu(u), u - v), name="no_formula_here")
    params, x = model.params(Du=0.1, Dv=0.1, a=0.3), torch.full((1, 2, 8, 8), 0.5, dtype=torch.float64)
    with pytest.warns(UntracedWarning, match="no_formula_here is no formula"):
        found = gpu.GPU.march(params, x, 0.0, 4, 2, 0.1)
    assert torch.equal(found.fields, TORCH.march(params, x, 0.0, 4, 2, 0.1).fields)


def test_layouts_keep_to_the_registers_and_cover_the_grid() -> None:
    for H, W in [(128, 128), (64, 64), (50, 50), (96, 64), (16, 16), (3, 3), (128, 64), (512, 8)]:
        for species in (1, 2, 3):
            for size in (4, 8):
                found = layouts.in_registers(species, H, W, size)
                if found is not None:
                    assert (found.rows * found.warps, found.cols * found.lanes) == (H, W)
                    assert (
                        found.threads * found.blocks * (species * (found.rows + 1) * found.cols * size // 4 + 80)
                        <= 65536
                    )
    assert layouts.in_registers(2, 128, 128, 4) is not None
    assert layouts.in_registers(2, 128, 128, 8) is None
    assert layouts.in_registers(2, 127, 127, 4) is None
    assert layouts.in_memory(2, 127, 127, 4, 10**6).shared == 4 * 127 * 127 * 4
    assert layouts.in_memory(2, 127, 127, 4, 10**5).shared == 0


def test_stretches_fit_into_the_states_there_is_room_for() -> None:
    for steps in (1, 10, 1000, 12345):
        for states in range(1, 300, 7):
            found = gpu.stretch_of(steps, states)
            if found is None:
                assert states**2 < 2 * steps
            else:
                assert -(-min(found, steps) // 2) + -(-steps // found) - 1 <= states


def test_without_a_device_of_cudas_it_is_said_why_there_are_no_kernels() -> None:
    if torch.version.cuda is None:
        assert cuda.missing(torch.device("cuda")) == "this torch is not built for CUDA"
    assert backend_for(torch.device("meta")) is TORCH


@pytest.mark.shim
@on_threads
@pytest.mark.parametrize("kernel", ["march", "advance", "adjoint"])
@pytest.mark.parametrize("grid", [(16, 16), (7, 41)], ids=["registers", "shared memory"])
def test_threads_do_not_race_and_would_without_the_barrier_of_a_step(kernel: str, grid: tuple[int, int]) -> None:
    layout = layouts.in_registers(2, *grid, 4) or layouts.in_memory(2, *grid, 4, 227 * 1024)
    text = text_for(kernel, gpu.text_of(gs.models.gray_scott, *grid, torch.float32, 1.0, layout)) + ALONE
    if layout.rows:
        without = re.sub(r"(publish\(const Rows.*?)__syncthreads\(\);", r"\1", text, flags=re.DOTALL)
    else:
        place = "to[s * CELLS + p] = next[s]" if kernel != "adjoint" else "a.then[s * CELLS + p] = next[s]"
        head, tail = text.split(place)
        without = head + place + tail.replace("__syncthreads();", "", 1)
    assert without != text
    for source, clean in ((text, True), (without, False)):
        ran = subprocess.run(
            [str(built(source, "-fsanitize=thread", "-g", "-DON_THREADS"))], capture_output=True, text=True, check=False
        )
        assert ("WARNING: ThreadSanitizer: data race" not in ran.stderr) == clean, ran.stderr[:2000]
        assert (ran.returncode == 0) == clean


@pytest.mark.shim
@by_nvrtc
@pytest.mark.parametrize("arch", [(8, 0), (9, 0), (10, 0)])
@pytest.mark.parametrize(("name", "grid"), [("gray_scott", (128, 128)), ("gray_scott", (64, 64)),
                                            ("gierer_meinhardt", (64, 64))])  # fmt: skip
def test_nvrtc_compiles_them_within_the_registers(name: str, grid: tuple[int, int], arch: Any) -> None:
    layout = layouts.in_registers(2, *grid, 4)
    assert layout is not None
    most = min(255, layouts.REGISTERS // (layout.threads * layout.blocks))
    model = getattr(gs.models, name)
    text = gpu.text_of(model, *grid, torch.float32, 1.0 if name == "gray_scott" else 0.01, layout)
    for kernel, spilled in (("march", 80), ("advance", 80), ("adjoint", 160)):
        code, words = cuda.code_of(kernel, text, *arch)
        assert len(code) > 1000
        assert int(re.findall(r"Used (\d+) registers", words)[0]) <= most
        assert int(re.findall(r"(\d+) bytes spill stores", words)[0]) <= spilled


@pytest.mark.shim
@by_nvrtc
def test_for_a_device_newer_than_nvrtc_it_is_ptx_of_the_newest_it_knows_and_for_an_older_one_an_error() -> None:
    layout = layouts.in_registers(2, 16, 16, 4)
    assert layout is not None
    text = gpu.text_of(gs.models.gray_scott, 16, 16, torch.float32, 1.0, layout)
    assert cuda.target_of(9, 0) == "sm_90"
    known = cuda.target_of(99, 0)
    code, _ = cuda.code_of("march", text, 99, 0)
    assert f".target sm_{known.removeprefix('compute_')}".encode() in code
    assert b".entry march(" in code
    with pytest.raises(cuda.CannotCompileError, match=r"NVRTC compiles for .* and later, .* compute capability 3\.5"):
        cuda.code_of("march", text, 3, 5)


def test_what_nvrtc_refuses_is_an_error_with_its_words() -> None:
    pytest.importorskip("cuda.bindings")
    pytest.importorskip("nvidia")
    with pytest.raises(cuda.CannotCompileError, match="NVRTC: "):
        cuda.code_of("march", "nonsense", 9, 0)


def test_a_point_whose_route_fails_leaves_the_others_of_its_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {
        "axes": {"k": [0.06, 0.062, 0.065]}, "losses": [mean_square], "routes": [Fails()], "tol": 0.0, "max_steps": 9,
        "initial": gs.initial_state(count=2, grid=(16, 16), box=gs.Box(half=3)), "progress": False,
    }  # fmt: skip
    alone = gs.scan(**given)
    scan = sys.modules["gsimplicit.landscape.scan"]

    def chosen(work: Any, *own: Any, **named: Any) -> Any:
        return Together(*own) if work is evaluate else partial(work, *own, **named)

    monkeypatch.setattr(scan, "partial", chosen)
    together = gs.scan(**given, tile=3)
    xr.testing.assert_equal(together, alone)
    assert together.gradient.notnull().all(("sample", "route", "objective", "parameter")).values.tolist() == [
        True,
        True,
        False,
    ]


def test_the_gpus_kernels_are_not_given_fields_of_the_cpu() -> None:
    with pytest.raises(ValueError, match="the backend 'gpu' needs fields on a device of CUDA's, got cpu"):
        gs.steady_state(gs.Params.preset("paper"), start(GRAY_SCOTT[0], (16, 16), torch.float64), backend=gpu.GPU)


def test_the_settings_of_a_scan_on_a_gpu_are_read_without_one() -> None:
    given = {"initial": gs.initial_state(grid=(16, 16), box=gs.Box(half=3)), "tol": 0.0, "max_steps": 9}
    data = gs.scan({"k": [0.06]}, progress=False, **given)
    known = json.loads(data.attrs["gsimplicit_configuration"])
    known["marching"] |= {"device": {"torch": "cuda:0"}, "backend": {"backend": "gpu"}}
    data.attrs["gsimplicit_configuration"] = json.dumps(known)
    found = gs.scan_arguments(data)
    assert found["device"] == torch.device("cuda:0")
    assert found["backend"] is gpu.GPU


def test_points_of_a_tile_as_one_batch_hold_what_each_holds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fills a device, here on the CPU: all variables of all points, and tiles that do not come out even."""
    given: dict[str, Any] = {
        "axes": {"F": [0.03, 0.035, 0.04], "k": [0.055, 0.06, 0.5]},
        "losses": ["spectrum", "residual", mean_square],
        "routes": ["unrolled", "implicit"],
        "initial": gs.initial_state(count=2, grid=(16, 16), box=gs.Box(half=3)),
        "target": gs.initial_state(count=2, grid=(16, 16), box=gs.Box(half=4), seed=3),
        "max_steps": 64,
        "tol": 1e-5,
        "refine": gs.Refine(eigenvalues=1),
        "keep": "v",
        "progress": False,
    }
    alone = gs.scan(**given)
    scan = sys.modules["gsimplicit.landscape.scan"]  # the package's name for it is the function

    def chosen(work: Any, *given: Any, **named: Any) -> Any:
        return Together(*given) if work is evaluate else partial(work, *given, **named)

    monkeypatch.setattr(scan, "partial", chosen)
    together = gs.scan(**given, tile=4)
    xr.testing.assert_equal(together, alone)
