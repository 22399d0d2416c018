"""What lies on a device: a pretended one, where mixing devices, going to numpy and forking are errors as on a real one.

Numbers are not looked at here, `test_gpu` does that: what runs through has crossed between devices where it must.
"""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import forward_mode, small_start

import gsimplicit as gs
from benchmarks.doors import BY, DOORS, SCAN, SCANS, X, mean_square, scanned
from benchmarks.pretended import DEVICE, Pretended, pretended
from benchmarks.shim import COMPILER
from gsimplicit.landscape import point
from studies import _common, _planes, fig3
from studies._device import on_device

pytestmark = [pytest.mark.shim, pytest.mark.skipif(COMPILER is None, reason="g++ is not there")]


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


@pytest.mark.usefixtures("device")
@pytest.mark.filterwarnings("ignore::gsimplicit.marching.warned.UntracedWarning")
@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize("work", DOORS)
def test_what_takes_a_device_crosses_where_it_must(work: str) -> None:
    DOORS[work]()


@pytest.mark.usefixtures("device")
@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize("kind", SCANS)
def test_scans_cross_where_they_must(kind: str, tmp_path: Path) -> None:
    there, here = scanned(kind, tmp_path)
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
        monkeypatch.setattr(fig3, "SIZES", {"paper": (2, 4)})
        monkeypatch.setattr(fig3, "TARGETS", 3)
        many = fig3.compute("paper", tmp_path / "paper")
    assert found.sizes["sample"] == 2
    assert [data.sizes["sample"] for data in many.values()] == [3, 3]
    assert all(bool(data.loss.notnull().all()) for data in (found, *many.values()))


def _peak(device: Pretended, n: int, points: int, **more: Any) -> int:
    device.counting, device.peak = True, 0
    fields = {"initial": small_start(n, 6, 2), "device": "cuda", "max_steps": 4, "check_every": 4}
    gs.scan({"F": np.linspace(0.03, 0.04, points)}, progress=False, **fields, **more)
    return device.peak


@pytest.mark.filterwarnings("ignore::gsimplicit.losses.WeightsWarning")
@pytest.mark.parametrize(("more", "times", "gram"), [
    ({"losses": ["spectrum", "windowed"], "keep": "v"}, 1, 0),
    ({"losses": ["residual", "spectrum"], "target": small_start(32, 5, 2)}, 1, 0),
    ({"losses": ["windowed"], "routes": ["finite_difference"]}, 5, 0),
    ({"losses": ["gram"]}, 1, 1),
    ({"losses": ["gram"], "routes": ["unrolled"]}, 17, 1),
], ids=["losses", "residual", "routes", "gram", "gram by a route"])  # fmt: skip
def test_a_tile_holds_no_more_than_it_is_cut_for(
    device: Pretended, more: dict[str, Any], times: int, gram: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gsimplicit.losses.gram.TOGETHER", 1)  # their convolutions would hide what grows
    each = (_peak(device, 32, 4, **more) - _peak(device, 32, 2, **more)) / 4  # what does not grow is left out
    # as `_together` in gsimplicit/landscape/scan.py has it
    assert each <= 12 * times * 2 * 32 * 32 * 8 + gram * 4 * 256**2 * 8


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


def _bench(file: Path, *words: str) -> dict[str, Any]:
    """What `python -m benchmarks.gpu` finds in a dry run."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--dry", "--output", str(file), *words],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_the_next_run_on_a_device_runs_dry(tmp_path: Path) -> None:
    found = _bench(tmp_path / "gpu.json", "--only", "mended", "doors", "study", "gradients", "peers")
    assert found["door grad unrolled"]["lies on"] == "cuda:0"
    assert found["plane of a study"]["finite losses"] == 1.0
    assert found["adjoint of 40 steps at once and by stretches, apart"]["finite"]


def test_what_there_is_no_time_for_is_left_out_and_said(tmp_path: Path) -> None:
    found = _bench(tmp_path / "gpu.json", "--seconds", "9", "--long")
    assert sum(name.endswith(" left out") for name in found) >= 12
    assert found["long_plane left out"].startswith("180 s wanted")


@pytest.mark.slow
def test_all_of_the_next_run_on_a_device_runs_dry(tmp_path: Path) -> None:
    found = _bench(tmp_path / "gpu.json", "--long")
    assert not [name for name in found if "failed" in name or "left out" in name]
    assert all(isinstance(one, dict) for name, one in found.items() if name.startswith(("door ", "scan ")))
