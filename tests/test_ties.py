"""Parameters that are a factor times another one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, invert, small_start

import gsimplicit as gs
from gsimplicit.inverse.method import Method


@pytest.fixture(scope="module")
def v() -> torch.Tensor:
    """A noisy picture of a certified root at the paper's point, where Dv is half of Du, shape (32, 32)."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=gs.Refine(tol=1e-13))
    noise = torch.randn(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return state.v[0] + 0.01 * state.v[0].std() * noise


def test_a_tie_is_kept_exactly_and_narrows_the_others(v: torch.Tensor) -> None:
    free, tied = invert(v), invert(v, tied={"Dv": ("Du", 0.5)})
    tied.require_found()
    assert tied.params.Dv.item() == 0.5 * tied.params.Du.item()
    assert (tied.params.tensor() / torch.tensor(PAPER, dtype=torch.float64) - 1).abs().max() < 0.02
    widths = [(r.interval[0, :, 1] - r.interval[0, :, 0]) for r in (free, tied)]
    assert (widths[1] < widths[0]).all()
    assert np.isclose(widths[1][1], 0.5 * widths[1][0])
    assert abs(tied.correlation[0, 0, 1].item() - 1) < 1e-9


def test_a_tie_of_an_open_window(v: torch.Tensor) -> None:
    window = invert(v[:28, :28], tied={"Dv": ("Du", 0.5)}, periodic=False)
    window.require_found()
    assert window.params.Dv.item() == 0.5 * window.params.Du.item()


@pytest.mark.slow
def test_a_tie_that_is_wrong_is_not_explained(v: torch.Tensor) -> None:
    wrong = invert(v, tied={"k": ("F", 1.0)}, noise=0.01 * v.std().item())
    assert wrong.verdict.item() in (gs.Recovery.MISFIT, gs.Recovery.FAILED)


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("entry of tied must be one of", {"tied": {"Dw": ("Du", 0.5)}}),
        ("tied Dv must be one of", {"tied": {"Dv": ("Dx", 0.5)}}),
        ("tied Dv must be another parameter and a factor", {"tied": {"Dv": ("Du",)}}),
        ("tied Dv must follow a parameter that is not tied itself, got Dv", {"tied": {"Dv": ("Dv", 0.5)}}),
        ("tied Dv must follow a parameter that is not", {"tied": {"Dv": ("Du", 0.5), "Du": ("F", 3.0)}}),
        ("factor of tied Dv must be finite and > 0, got -0.5", {"tied": {"Dv": ("Du", -0.5)}}),
        ("free must not name what is tied: Dv is 0.5 Du", {"tied": {"Dv": ("Du", 0.5)}, "free": ["Du", "Dv"]}),
        (
            "tied must follow what is free: Dv follows Du, which stays at start",
            {"tied": {"Dv": ("Du", 0.5)}, "free": ["F", "k"], "start": gs.Params(*PAPER)},
        ),
        (
            "start must keep what is tied: Dv is 0.08 there, 0.6 Du is 0.096",
            {"tied": {"Dv": ("Du", 0.6)}, "start": gs.Params(*PAPER)},
        ),
    ],
)
def test_ties_that_contradict_are_refused_by_name(words: str, given: dict[str, Any], v: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=words):
        invert(v, **given)


def test_a_method_without_ties_and_no_mapping_are_refused(v: torch.Tensor) -> None:
    class Free(Method):
        name = "free"

        def recover(self, question: Any) -> Any:
            raise AssertionError("asked in spite of itself")

    with pytest.raises(ValueError, match="tied must be None for method 'free': ties are for one-shot"):
        invert(v, method=Free(), tied={"Dv": ("Du", 0.5)})
    with pytest.raises(TypeError, match="tied must be a mapping"):
        invert(v, tied=[("Dv", "Du", 0.5)])
