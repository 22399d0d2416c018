"""Where the scans of studies run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import small_start

import gsimplicit as gs
from studies import _common
from studies.__main__ import main
from studies._common import scanned
from studies._device import device_for, on_device

GIVEN: dict[str, Any] = {"axes": {"k": [0.06, 0.062]}, "initial": small_start(16, 4), "tol": 0.0, "max_steps": 20}
ABSENT = "cuda:99"
"""No machine of ours has so many."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on workers runs in this process."""
    monkeypatch.setattr(_common, "on_workers", lambda compute: compute(None))


def asked(device: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The device is taken for one that is there, until a scan is given it."""
    monkeypatch.setattr("studies._device.as_device", lambda _: torch.device(device))
    return on_device(device)


@pytest.mark.usefixtures("here")
def test_without_a_device_a_store_is_what_it_was(tmp_path: Path) -> None:
    plain = gs.scan(**GIVEN, progress=False)
    for device in (None, "cpu"):
        with on_device(device):
            found = scanned(tmp_path / f"{device}.nc", **GIVEN)
        assert found.attrs["gsimplicit_configuration"] == plain.attrs["gsimplicit_configuration"]


@pytest.mark.usefixtures("here")
def test_a_scan_that_marches_is_given_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with asked(ABSENT, monkeypatch), pytest.raises(ValueError, match=f"device must be one torch can use.*{ABSENT}"):
        scanned(tmp_path / "a.nc", **GIVEN)
    assert device_for(GIVEN) is None  # it is over


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("more", [{"routes": ["unrolled"]}, {"losses": ["residual"], "target": small_start(16, 4)}])
def test_what_does_more_runs_on_the_cpu_and_it_is_said_once(
    more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with asked(ABSENT, monkeypatch):
        for name in ("a", "b"):
            scanned(tmp_path / f"{name}.nc", **GIVEN, **more)
    said = capsys.readouterr().out
    assert said.count("on the CPU: 2 of the datasets") == said.count("on the CPU") == 1


def test_a_device_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fig2", "--scale", "quick", "--device", ABSENT, "--output", str(tmp_path / "output")])
    assert "device must be one torch can use" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()
