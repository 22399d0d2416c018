"""The studies' front: what is there, and the closing table. The studies themselves run in CI at quick scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from studies._common import Claim, Report, closing_table
from studies.fig2 import STUDY

ROOT = Path(__file__).parents[1]


def studies(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studies", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_the_list_names_every_study() -> None:
    done = studies("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["fig2", "fig3", "routes"]


def test_an_unknown_study_is_refused_with_the_choices() -> None:
    done = studies("fig99")
    assert done.returncode == 2
    assert "choose from fig2, fig3, routes" in done.stderr


@pytest.mark.parametrize(("holds", "word"), [(True, "reproduced"), (False, "refuted"), (None, "undecided")])
def test_the_closing_table_gives_claim_finding_verdict_and_files(holds: bool | None, word: str) -> None:
    report = Report(STUDY, [Claim("cliffs are sharp", "one cell", holds)], [Path("out/fig2.nc")], 12.0)
    table = closing_table([report], "default")
    assert f"[{word}] cliffs are sharp" in table
    assert "found: one cell" in table
    assert "files: out/fig2.nc" in table
    assert f"1 {word}" in table.splitlines()[-1]
