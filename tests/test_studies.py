"""The studies' front: what is there, and the closing table. The studies themselves run in CI at quick scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gsimplicit as gs
from gsimplicit import models
from gsimplicit.routes.arguments import default_target
from studies._common import Claim, Report, closing_table, verdict
from studies.fig2 import STUDY

ROOT = Path(__file__).parents[1]


def studies(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "studies", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_the_list_names_every_study() -> None:
    done = studies("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "fig2",
        "fig3",
        "routes",
        "steady",
        "gradients_at_a_cliff",
        "bifurcations",
        "basins",
    ]


def test_an_unknown_study_is_refused_with_the_choices() -> None:
    done = studies("fig99")
    assert done.returncode == 2
    assert "choose from fig2, fig3, routes, steady, gradients_at_a_cliff, bifurcations, basins" in done.stderr


@pytest.mark.parametrize(("holds", "word"), [(True, "reproduced"), (False, "refuted"), (None, "undecided")])
def test_the_closing_table_gives_claim_finding_verdict_and_files(holds: bool | None, word: str) -> None:
    report = Report(STUDY, [Claim("cliffs are sharp", "one cell", holds)], [Path("out/fig2.nc")], 12.0)
    table = closing_table([report], "default")
    assert f"[{word}] cliffs are sharp" in table
    assert "found: one cell" in table
    assert "files: out/fig2.nc" in table
    assert f"1 {word}" in table.splitlines()[-1]


def test_the_verdict_gives_each_claim_of_a_topic_with_its_uncertainty_and_what_would_have_refuted_it() -> None:
    decided = [
        Claim("the cliff is a fold", "12 of 12 rows", True, "H2", "+-0.1 cell", "under 90 % of rows"),
        Claim("it is the Hopf line", "3 of 4 rows", False, "H2", "+-0.2 cell", "under 90 % of rows"),
        Claim("beside the question", "7", True),
    ]
    lines = verdict([Report(STUDY, decided, [], 1.0)]).splitlines()
    assert "H2: in part" in lines
    at = lines.index("    no: it is the Hopf line")
    assert lines[at + 1 : at + 4] == [
        "        found: 3 of 4 rows", "        uncertainty: +-0.2 cell", "        refuted by: under 90 % of rows",
    ]  # fmt: skip
    assert not any("beside the question" in line for line in lines)


def test_a_claim_that_decides_must_say_what_would_have_refuted_it() -> None:
    with pytest.raises(ValueError, match="error and refuted_by must be given for a claim on H1"):
        Claim("the box decides", "29 cells", True, "H1")


def test_plateaus_stand_where_they_were_measured_against_the_default_target() -> None:
    """Right (u = 1, v = 0) and left (uniform) of the patterns; exactly uniform states all have one loss."""
    target = default_target((128, 128), models.gray_scott, 1.0)
    start = gs.initial_state()
    right = gs.steady_state(gs.Params(0.16, 0.08, [0.035, 0.06], 0.068), start).v
    # the stop test of the paper's letter; tested every 64 steps the last ripples die further and the loss is higher
    left = gs.steady_state(gs.Params(0.16, 0.08, [0.04, 0.05, 0.06], 0.054), start, check_every=1).v
    assert ((gs.spectrum_loss(right, target) > 255) & (gs.spectrum_loss(right, target) < 272)).all()
    assert ((gs.windowed_loss(right, target) > 225) & (gs.windowed_loss(right, target) < 242)).all()
    assert ((gs.spectrum_loss(left, target) > 200) & (gs.spectrum_loss(left, target) < 240)).all()
    uniform = torch.full((1, 128, 128), 0.25, dtype=torch.float64)
    assert gs.spectrum_loss(uniform, target).item() == pytest.approx(264, abs=1)
