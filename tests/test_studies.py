"""The studies' front: what is there, and what is refused. The studies themselves run in CI at quick scale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gsimplicit as gs
from gsimplicit import models
from gsimplicit.routes.arguments import default_target
from studies.__main__ import main
from studies._claims import Claim, ours
from studies._names import ORDER

ROOT = Path(__file__).parents[1]


def test_the_list_names_every_study() -> None:
    command = [sys.executable, "-m", "studies", "--list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(ORDER)


@pytest.mark.parametrize(
    ("name", "said"), [("fig99", f"choose from {', '.join(ORDER)}"), ("bifurcation", "did you mean 'bifurcations'?")]
)
def test_an_unknown_study_is_refused_with_the_choices_and_the_nearest_name(
    name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([name])
    assert said in capsys.readouterr().err


def test_a_claim_that_decides_must_say_what_would_have_refuted_it() -> None:
    with pytest.raises(ValueError, match="error and refuted_by must be given for a claim on H1"):
        Claim(ours("The box decides"), "Asked", "29 cells", "29 cells", True, "H1")


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
