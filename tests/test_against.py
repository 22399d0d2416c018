"""Two checkouts are compared by paired runs, and what is timed is theirs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.__main__ import ROOT, once
from benchmarks.against import Ratio, checked_out, main, ratios


def test_what_counts_is_the_median_of_the_paired_ratios() -> None:
    pairs = [({"seconds": a, "MiB": 1.0}, {"seconds": b, "MiB": 9.0}) for a, b in ((1, 1), (3, 2), (40, 50))]
    assert ratios(pairs) == {"seconds": Ratio(1.0, 0.8, 1.5)}
    assert ratios([({"a": 3.0, "b": 1.0}, {"a": 2.0})]) == {"a": Ratio(1.5, 1.5, 1.5)}


def test_a_verdict_says_where_the_pairs_disagree() -> None:
    assert Ratio(1.02, 1.0, 1.02).verdict(3) == "within the limit"
    assert Ratio(1.05, 1.04, 1.2).verdict(3) == "slower"
    assert Ratio(1.05, 0.9, 1.2).verdict(3) == "slower, pairs disagree"
    assert Ratio(1.02, 0.9, 1.2).verdict(3) == "within the limit, pairs disagree"


@pytest.mark.parametrize("other", ["no-such-revision", "--help", "/"])
def test_what_is_no_checkout_is_refused(other: str) -> None:
    with pytest.raises(ValueError, match="OTHER must be"), checked_out(other):
        pass


@pytest.mark.parametrize("words", [["."], ["--rounds", "0"], ["--limit", "nan"], ["forward_jax"]])
def test_bad_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["/", *words])
    assert "error" in capsys.readouterr().err


def test_a_revision_is_checked_out_and_taken_away() -> None:
    def worktrees() -> str:
        command = ["git", "-C", str(ROOT), "worktree", "list"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    if subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, check=False).returncode:
        pytest.skip("not a git checkout")
    with checked_out("HEAD") as place:
        assert (place / "gsimplicit" / "__init__.py").is_file()
        assert str(place) in worktrees()
    assert not place.exists()
    assert str(place) not in worktrees()


@pytest.mark.slow
def test_a_checkout_is_as_fast_as_itself(tmp_path: Path) -> None:
    assert main([str(ROOT), "forward_ours", "--rounds", "2", "--limit", "400", "--output", str(tmp_path / "a")]) == 0
    kept = json.loads((tmp_path / "a").read_text())
    assert len(kept["cases"]["forward_ours"]) == 2
    assert kept["left_out"] == {}
    assert kept["commits"]["ours"] == kept["commits"]["theirs"]
    assert {"processor", "python", "numba"} <= kept["machine"].keys()


@pytest.mark.slow
def test_a_run_that_finds_another_package_gives_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "cases.py").touch()
    assert str(once("forward_ours", tmp_path)).startswith(("AssertionError: gsimplicit is that of", "ModuleNotFound"))
