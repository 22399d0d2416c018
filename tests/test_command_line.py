"""The command line: each command does its work, and errors are one line with exit status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import gsimplicit as gs
from gsimplicit.__main__ import main
from gsimplicit.landscape import worker

SMALL = ["--grid", "32", "32", "--half", "5"]


def test_steady_prints_the_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["steady", *SMALL, "--k", "0.075", "--refine", "--save", str(tmp_path / "a.npz")]) == 0
    assert "steady (trivial)" in capsys.readouterr().out
    assert (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    ("words", "ended"),
    [
        (["--k", "0.075"], 0),
        (["--max-steps", "64"], 1),
        (["--max-steps", "64", "--tol", "0"], 0),
        (["--Du", "0.9", "--Dv", "0.9"], 1),
    ],
    ids=["settled", "unsteady", "as many steps as asked", "diverged"],
)
@pytest.mark.filterwarnings("ignore::gsimplicit.StabilityWarning")
def test_steady_ends_with_1_where_the_march_came_to_nothing(words: list[str], ended: int) -> None:
    assert main(["steady", *SMALL, *words]) == ended


def test_half_is_refused_where_the_start_has_no_box(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["steady", "--model", "schnakenberg", "--grid", "16", "16", "--half", "3"]) == 2
    assert "--half is of Gray-Scott's starting box, schnakenberg has none; got 3" in capsys.readouterr().err


def test_grad_prints_loss_and_four_derivatives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grad", *SMALL, "--route", "unrolled", "--tol", "0", "--max-steps", "100"]) == 0
    out = capsys.readouterr().out
    assert all(f"d/d{name}" in out for name in ("Du", "Dv", "F", "k"))


def test_grad_without_a_steady_state_ends_with_1_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grad", "--grid", "48", "48", "--F", "0.014", "--k", "0.04", "--max-steps", "200"]) == 1
    assert "instance 0: unsteady" in capsys.readouterr().err


def test_scan_writes_a_file_that_show_describes_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, picture = tmp_path / "a.nc", tmp_path / "a.png"
    axes = ["--axis", "F=0.03:0.04:2", "--axis", "k=0.06:0.07:3"]
    assert main(["scan", *SMALL, *axes, "--tol", "0", "--max-steps", "50", "--store", str(file), "--quiet"]) == 0
    with xr.open_dataset(file) as data:
        assert dict(data["loss"].sizes) == {"F": 2, "k": 3, "sample": 1, "objective": 1}
    assert main(["show", str(file), "--figure", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "k: 3 values, 0.06 to 0.07" in out
    assert "status: fixed 6" in out
    assert picture.stat().st_size > 10_000


def test_scan_like_makes_a_file_again_from_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first, again = tmp_path / "a.nc", tmp_path / "b.nc"
    words = ["--axis", "k=0.06:0.07:3", "--routes", "unrolled", "--losses", "spectrum", "residual", "--samples", "2"]
    assert main(["scan", *SMALL, *words, "--tol", "0", "--max-steps", "50", "--store", str(first), "--quiet"]) == 0
    assert main(["scan", "--like", str(first), "--store", str(again), "--quiet", "--tile", "2"]) == 0
    with xr.open_dataset(first) as one, xr.open_dataset(again) as two:
        assert one.drop_attrs().identical(two.drop_attrs())
        hashes = [data.attrs["gsimplicit_configuration_hash"] for data in (one, two)]
    assert hashes[0] == hashes[1]
    capsys.readouterr()
    assert main(["scan", "--like", str(first), "--store", str(again), "--tol", "0.1", "--F", "0.03"]) == 2
    assert "--like repeats a file as it is; leave out --F, --tol" in capsys.readouterr().err


def test_show_describes_draws_and_exports_what_is_there_of_a_scan_that_was_interrupted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = []

    def interrupted(evaluate: object, items: list[object]) -> object:
        evaluated.append(len(items))
        if len(evaluated) == 3:
            raise KeyboardInterrupt
        return original(evaluate, items)  # type: ignore[arg-type]

    original = worker.evaluate_tile
    monkeypatch.setattr(worker, "evaluate_tile", interrupted)
    axes = ["--axis", "F=0.03:0.04:2", "--axis", "k=0.06:0.07:3", "--tol", "0", "--max-steps", "50"]
    words = ["scan", *SMALL, *axes, "--store", str(tmp_path / "a.nc"), "--quiet"]
    assert main(words) == 130
    error = capsys.readouterr().err
    assert "gsimplicit scan: interrupted; 2 of 6 points are stored in" in error
    assert "the same call goes on there" in error
    show = ["show", str(tmp_path / "a.nc"), "--figure", str(tmp_path / "a.png"), "--export", str(tmp_path / "part.nc")]
    assert main(show) == 0
    out = capsys.readouterr().out
    assert "Unfinished: " in out
    assert "2 of 6 points are stored" in out
    assert "status: not_run 4, fixed 2" in out
    with xr.open_dataset(tmp_path / "part.nc") as part:
        assert part.attrs["gsimplicit_complete"] == 0
        assert part["done"].values.tolist() == [[1, 1, 0], [0, 0, 0]]
        assert part["loss"].isnull().sum() == 4
    assert main(["show", str(tmp_path / "a.nc"), "--export", str(tmp_path / "a.nc")]) == 2
    assert "--export must not be the file itself" in capsys.readouterr().err
    assert main(words) == 0
    assert sum(evaluated) == 3 + 4  # the one that was interrupted, and the four that were left


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scan", "--store", "never.nc"], "give an axis with --axis, or a file to repeat with --like"),
        (["scan", "--like", "absent.nc", "--store", "never.nc"], "absent.nc"),
        (["steady", "--Du", "-1"], "Du must be finite and >= 0, got -1.0"),
        (["grad", "--route", "implicitt"], "route must be one of"),
        (["scan", "--axis", "q=0:1:2", "--store", "never.nc"], "axes must be among"),
        (["show", "absent.nc"], "absent.nc"),
    ],
)
def test_bad_values_end_with_2_and_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"gsimplicit {words[0]}: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("words", [["steady", "--save"], ["show", "a.nc", "--figure"], ["show", "a.nc", "--export"]])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("must not be called")

    monkeypatch.setattr(gs, "steady_state", never)
    monkeypatch.setattr(gs, "partial_scan", never)
    for path, message in (
        (tmp_path / "absent" / "a.npz", f"there is no {tmp_path / 'absent'}"),
        (tmp_path, "must be a file"),
    ):
        assert main([*words, str(path)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert words[-1] in error


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("k=0:1:100000000000", "COUNT of an axis must lie in 1..1000000; got 'k=0:1:100000000000'"),
        ("k=0:1:0", "COUNT of an axis must lie in 1..1000000"),
        ("k=0:1:-3", "COUNT of an axis must lie in 1..1000000"),
        ("k=0:1:1e11", "NAME=FROM:TO:COUNT"),
        ("k=nan:1:3", "FROM and TO of an axis must be finite"),
        ("k=0:inf:3", "FROM and TO of an axis must be finite"),
    ],
)
def test_an_axis_no_machine_holds_is_refused(capsys: pytest.CaptureFixture[str], axis: str, message: str) -> None:
    with pytest.raises(SystemExit):
        main(["scan", "--axis", axis, "--store", "never.nc"])
    assert message in capsys.readouterr().err


def test_a_grid_no_machine_holds_ends_with_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["steady", "--grid", "10000000", "10000000"]) == 2
    assert "count and grid must make at most" in capsys.readouterr().err


def test_a_file_that_is_no_landscape_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "a.nc")
    assert main(["show", str(tmp_path / "a.nc")]) == 2
    assert "holds no landscape" in capsys.readouterr().err


def test_a_malformed_axis_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["scan", "--axis", "F=0.03", "--store", "never.nc"])
    assert "NAME=FROM:TO:COUNT" in capsys.readouterr().err


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gsimplicit", "--version"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == f"gsimplicit {gs.__version__}"
