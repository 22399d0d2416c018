"""What `gs.invert` must not call found: answers that other answers, motion or the camera explain as well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import PAPER, invert, noise

import gsimplicit as gs
from gsimplicit.inverse.pictures.edges import PERIODIC

MODEL = gs.models.schnakenberg


def stripes(preset: str, waves: tuple[int, int]) -> torch.Tensor:
    """Stripes of one wave vector on 40 x 40 pixels near the onset, shape (1, 2, 40, 40)."""
    params = MODEL.preset(preset)
    y, x = torch.meshgrid(*(2 * torch.pi * torch.arange(40, dtype=torch.float64) / 40,) * 2, indexing="ij")
    wave = torch.cos(waves[0] * y + waves[1] * x)
    a, b = params.tensor()[0, 2:]
    rest = torch.stack([a + b, b / (a + b) ** 2])
    start = rest[None, :, None, None] + torch.tensor([0.5, -0.1])[None, :, None, None] * wave
    state = gs.steady_state(params, start, dt=0.02, max_steps=5000, refine=True)
    assert state.has_root.all()
    assert state.fields[0, 0].std() > 0.3
    return state.fields


def seen(state: torch.Tensor, seed: int) -> torch.Tensor:
    v = state[0, MODEL.seen]
    return v + noise(v.shape, 0.01 * float(v.std()), seed)


@pytest.fixture(scope="module")
def onset() -> torch.Tensor:
    return stripes("hexagons", (2, 5))


def test_noise_does_not_let_stripes_drift_along_themselves(onset: torch.Tensor) -> None:
    fields = np.stack([x.numpy() + noise(x.shape, 5e-4, i).numpy() for i, x in enumerate(onset[0])])
    [way] = PERIODIC.moves(fields, MODEL.scale)
    assert abs(way @ np.array([2, 5]) / np.hypot(2, 5)) > 0.999


def test_a_valley_of_answers_is_not_called_found(onset: torch.Tensor) -> None:
    found = invert(seen(onset, 1), model=MODEL)
    assert found.verdict.item() == gs.Recovery.UNIDENTIFIED
    assert "family" in found.reason[0]
    assert found.params.tensor().isnan().all()


@pytest.fixture(scope="module")
def whole() -> torch.Tensor:
    """A root at the paper's point, shape (64, 64) of v."""
    state = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(64, 64)), refine=True)
    assert state.has_root.all()
    return state.v[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_clean_picture_of_a_root_is_found_and_its_intervals_hold(dtype: torch.dtype) -> None:
    """Its residual of 1e-10 is an error alike in all pixels, as rounding nearly is: no camera that bends v."""
    state = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(32, 32), seed=3), refine=True)
    found = gs.invert(state.v.to(dtype), progress=False)
    assert found.verdict.item() == gs.Recovery.FOUND, found.reason
    low, high = found.interval[0].unbind(-1)
    truth = torch.tensor(PAPER, dtype=torch.float64)
    assert ((low <= truth) & (truth <= high)).all()
    assert ((high - low) < 1e-5 * truth).all()


@pytest.mark.parametrize("gamma", [0.9, 1.1])
def test_a_camera_that_bends_v_is_named(whole: torch.Tensor, gamma: float) -> None:
    """The parameters would be 26 to 43 % off, with deviations that pass for noise."""
    picture = whole[5:37, 9:41] ** gamma
    found = invert(picture + noise(picture.shape, 0.01 * float(picture.std())), periodic=False)
    assert found.verdict.item() == gs.Recovery.MISFIT
    assert "does not show v as it is" in found.reason[0]


def test_a_window_of_a_pattern_that_moves_is_not_called_found() -> None:
    """It would be 9 % off."""
    v = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(64, 64)), tol=0.0, max_steps=1000).v[0]
    picture = v[5:53, 9:57]
    found = invert(picture + noise(picture.shape, 0.01 * float(picture.std())), periodic=False)
    assert found.verdict.item() == gs.Recovery.MISFIT
    assert "is the pattern at rest?" in found.reason[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize(("preset", "waves"), [("hexagons", (2, 5)), ("stripes", (4, -4))])
def test_no_draw_of_a_weak_pattern_is_called_found_with_a_wrong_number(
    preset: str, waves: tuple[int, int], seed: int
) -> None:
    found = invert(seen(stripes(preset, waves), seed), model=MODEL)
    truth = MODEL.preset(preset).tensor()[0]
    low, high = found.interval[0].unbind(-1)
    if found.verdict.item() == gs.Recovery.FOUND:
        assert ((low <= truth) & (truth <= high)).all()
    assert found.verdict.item() in (gs.Recovery.FOUND, gs.Recovery.SEVERAL, gs.Recovery.UNIDENTIFIED)
