"""The network from patterns to parameters of study `pinn`: what it is shown, and how it is judged."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from studies import _backward
from studies._backward import Sizes
from studies._claims import Claim

SMALL = Sizes(side=32, trained=8, steps=2, truths=4, starts=2, seeds=1)


def test_shifts_of_a_picture_by_a_stride_do_not_change_the_answer() -> None:
    torch.manual_seed(0)
    v = torch.rand(3, 1, 16, 16)
    answer = _backward._Answer(torch.rand(3, 4, dtype=torch.float64), v)
    assert torch.allclose(answer(v), answer(v.roll((4, 8), (2, 3))), rtol=1e-4)


def test_one_start_shows_the_same_field_of_all_truths_and_fresh_starts_do_not() -> None:
    goal, once = _backward._drawn(SMALL, 4, 2, False, 0)
    same, fresh = _backward._drawn(SMALL, 4, 2, True, 0)
    assert goal.shape == same.shape == (4, 2, 4)
    assert torch.equal(once[:, 0], once[:, 1])
    assert not torch.isclose(fresh[:, 0], fresh[:, 1]).all((1, 2, 3)).any()
    assert bool((goal.exp() > torch.from_numpy(_backward.LOW)).all())


def test_training_brings_the_answer_nearer_than_a_constant() -> None:
    goal = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None].expand(64, 4)
    v = (1 + goal[:, :1, None, None]).float() * torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = _backward._trained(goal, v, 60, 0)
    with torch.no_grad():
        assert (answer(v) - goal).square().mean() < 0.25 * goal.var()


def _judged(one: float, fresh: float, patterns: int = 1000) -> dict[str, Claim]:
    error = np.full((2, 2, 6, 3, 4), np.nan)
    error[0, :, :, 0] = np.log1p(one)
    error[1] = np.log1p(fresh) * (1 + 0.01 * np.arange(3)[:, None])
    over = ("trained", "seed", "truth", "start", "parameter")
    fits = xr.Dataset(
        {"error": (over, error), "constant": (("trained", "seed", "truth", "parameter"), np.full((2, 2, 6, 4), 0.25))},
        {"trained": list(_backward.SEEN), "patterns": patterns},
    )
    return {claim.about.words: claim for claim in _backward.judge(fits)}


def test_fresh_starts_harm_only_where_they_make_the_error_larger() -> None:
    words = "Mixing starts up makes it worse"
    assert _judged(0.05, 0.1)[words].holds is True
    assert _judged(0.07, 0.07)[words].holds is False
    assert _judged(0.05, 0.1, patterns=100)[words].holds is None


def test_an_answer_as_bad_as_a_constant_needs_no_landscape_in_vain_and_one_within_2_percent_is_not_coarse() -> None:
    assert _judged(0.2, 0.2)["From patterns back, no landscape"].holds is False
    assert _judged(0.07, 0.07)["From patterns back, no landscape"].holds is True
    assert _judged(0.01, 0.01)["Such a network is coarse"].holds is False
