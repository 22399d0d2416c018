"""The remedies of section 5.2: losses, least squares, and what is counted of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from studies import (
    _levenberg,
    _remedies,
    _remedy_claims,
    _remedy_counts,
    _remedy_methods,
    _remedy_planes,
    _remedy_table,
    _remedy_world,
)
from studies._remedy_losses import LOSSES

WORLD = _remedy_world.World(32, 7, 200, 2)


def test_tangents_of_a_march_are_its_central_differences() -> None:
    params, start = gs.Params.preset("paper"), WORLD.fields(0, "known")
    fields, slopes = gs.marched_derivatives(params, start, 60)
    for place, name in enumerate(("Du", "Dv", "F", "k")):
        ends = []
        for sign in (1, -1):
            value = float(getattr(params, name)) + sign * 1e-6
            ends.append(gs.steady_state(params.replace(**{name: value}), start, tol=0.0, max_steps=60).fields)
        torch.testing.assert_close((ends[0] - ends[1])[0] / 2e-6, slopes[0, place], rtol=1e-5, atol=1e-6)
    assert torch.equal(fields, gs.steady_state(params, start, tol=0.0, max_steps=60).fields)


def test_tangents_of_a_march_refuse_no_steps_and_what_are_no_parameters() -> None:
    with pytest.raises(ValueError, match="steps"):
        gs.marched_derivatives(gs.Params.preset("paper"), WORLD.fields(0, "known"), 0)
    with pytest.raises(TypeError, match="params must be"):
        gs.marched_derivatives(3, WORLD.fields(0, "known"))  # type: ignore[arg-type]


def test_the_radial_loss_sees_neither_place_nor_direction_but_the_mean() -> None:
    v = torch.rand(1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = LOSSES["radial"]
    there = loss.features(v)
    for same in (v.roll((3, -5), (-2, -1)), v.mT):
        assert float(loss.distance(loss.features(same), there)) < 1e-20
    assert float(loss.distance(loss.features(v + 0.03), there)) == pytest.approx(15 / 16)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, the first time
def test_least_squares_at_an_early_time_find_the_truth() -> None:
    phases = [[(60, _remedy_world.target(WORLD, 0, 60))]]
    start = WORLD.fields(0, "known")
    found = _levenberg.fitted((0.05, 0.058), phases, LOSSES["pixels"], start, 20, _remedy_world.HELD)
    assert found.values == pytest.approx((0.035, 0.065), rel=1e-6)
    assert found.loss < 1e-12
    assert not found.unseen
    assert 0 < found.gradients < found.marches


def test_every_case_has_as_many_gradients() -> None:
    adam = _remedy_methods.by_adam(WORLD, 0, (60, _remedy_world.target(WORLD, 0, 60)), "pixels", "known")
    still = _remedy_methods.by_residual(WORLD, 0)
    assert adam.gradients == still.gradients == _remedy_methods.GRADIENTS
    assert adam.rate in _remedy_methods.RATES
    for case in _remedies.cases(3000, (50, 100, 3000), (100, 3000)):
        assert not case.phases or _remedy_methods.GRADIENTS % len(case.phases) == 0


def test_a_loss_without_a_slope_ends_after_the_first_trial() -> None:
    level = {"tol": 0.0, "max_steps": 1, "initial": WORLD.fields(0, "known"), "loss": lambda v: 0 * v.mean((-2, -1))}
    found = _remedy_methods._adam((0.05, 0.06), level)
    assert found.unseen
    assert (found.F, found.k) == pytest.approx((0.05, 0.06))
    assert found.gradients == _remedy_methods.TRIAL


def test_the_start_is_the_targets_own_or_its_box_in_fresh_noise_or_another_box() -> None:
    known, noise, box = (WORLD.fields(0, name) for name in ("known", "noise", "box"))
    inside = (known[0, 0] == 0.5).sum(), (noise[0, 0] == 0.5).sum(), (box[0, 0] == 0.5).sum()
    assert [int(n) for n in inside] == [14**2, 14**2, 12**2]
    assert not torch.equal(known, noise)
    assert torch.equal(known, gs.initial_state(grid=(32, 32), box=gs.Box(half=7)))


@pytest.mark.parametrize(
    ("verdict", "reason", "words"),
    [
        (gs.Recovery.FOUND, "one set of parameters explains the data", "answered"),
        (gs.Recovery.FAILED, "no root near the picture was found at the start, F = 0.04", "no pattern at the start"),
        (gs.Recovery.FAILED, "the branch was lost after 3 steps at F = 0.04: no root", "branch lost"),
        (gs.Recovery.FAILED, "60 steps along the branch ended at F = 0.04 with a loss of 3, not at a", "no minimum"),
        (gs.Recovery.MISFIT, "the nearest steady state found leaves deviations of 0.2, the noise is 0.1", "misfit"),
        (gs.Recovery.SEVERAL, "two do", "otherwise"),
    ],
)
def test_how_an_inversion_ended_is_told_from_its_reason(verdict: int, reason: str, words: str) -> None:
    assert _remedy_methods.ENDS[_remedy_methods.end_of(verdict, reason)] == words


def test_the_table_has_a_line_for_each_remedy() -> None:
    asked = [
        _remedies.at(100, 200, "adam", "pixels"),
        _remedies.at(100, 200, "adam", "pixels", "noise"),
        *_remedies.still()[:1],
    ]
    runs = _remedies.job(WORLD, asked).frame
    runs["F"][:], runs["k"][:], runs["seconds"][:], runs["gradients"][:] = 0.035, 0.065, 1.5, 60
    net = xr.Dataset(
        {"F": (("drawn", "network", "schedule", "start"), np.full((2, 3, 1, 2), 0.035)),
         "k": (("drawn", "network", "schedule", "start"), np.full((2, 3, 1, 2), 0.065)),
         "seconds": (("drawn", "network", "part"), np.ones((2, 3, 2)))},
        {"drawn": ["known", "noise"], "schedule": ["end"], "part": ["training", "all descents"]},
    )  # fmt: skip
    lines = _remedy_table.lines({"remedies_runs": runs, "remedies_network": net})
    assert lines[2] == "| 100 | v | Adam | 2 of 2 (22 to 100 %) | 2 of 2 (22 to 100 %) | - | - | 60 | 1.5 |"
    assert [line.count("|") for line in lines] == [10] * 5
    assert "residual | Adam | 2 of 2 (22 to 100 %) | not asked | not asked" in lines[-1]


def test_minima_along_k_are_counted() -> None:
    k = np.linspace(0, 1, 41)
    waves = np.stack([(k - 0.5) ** 2, np.cos(6 * np.pi * k)])[..., None]
    line = xr.Dataset({"loss": (("time", "k", "objective"), waves)}, {"objective": ["pixels"]})
    assert _remedy_planes.minima(line, "pixels").tolist() == [1, 3]


@pytest.mark.parametrize(("hits", "verdict"), [(8, True), (7, True), (6, None), (4, None), (2, None), (1, False)])
def test_half_of_the_starts_is_decided_only_where_the_bounds_do(hits: int, verdict: bool | None) -> None:
    assert _remedy_counts.Count(hits, 8, 0.1, 1.0).half is verdict


def test_a_difference_of_shares_is_told_from_none() -> None:
    one, none = _remedy_counts.Count(8, 8, 0.0, 1.0), _remedy_counts.Count(0, 8, 1.0, 1.0)
    assert _remedy_claims._difference(one, none)[0] > 0.4
    low, high = _remedy_claims._difference(none, none)
    assert low < 0 < high
