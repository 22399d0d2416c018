"""Study `pinn` over weights, in space-time, and where a loss is repaired: what is measured, and how it is judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import PAPER, small_start

import gsimplicit as gs
from studies import _ill_posed, _pinn_bowl, _pinn_claims, _repairs, _space_time, _weights_claims
from studies._network_weights import CURVED, LOOKS, PARTS, looks_frame


def test_a_valley_that_winds_has_the_minima_of_its_floor_wherever_it_lies_in_k() -> None:
    a = _pinn_bowl.ALONG[:, None]
    plane = np.cos(4 * np.pi * a) + 30 * (_pinn_bowl.OF_K - 1 - 0.5 * a) ** 2
    floor, bottom, off = _pinn_bowl.valley(plane)
    assert _pinn_bowl.minima(floor) == 2
    assert np.allclose(bottom, 1 + 0.5 * a[:, 0])
    assert off < 1e-12
    assert _pinn_bowl.valley(plane**2)[2] > 1e-3


def test_stages_of_a_training_in_time_are_of_one_run_and_its_total_is_the_sum_of_its_parts() -> None:
    film = _space_time.Film(10, 0)
    kept = film.trained("forward", 4)
    assert list(kept) == list(_space_time.STAGES)
    start = film.network.inner.start(torch.Generator().manual_seed(0))
    moved = [float((kept[stage] - start).abs().max()) for stage in kept]
    assert 0 < moved[0] < 1.01 * _space_time.RATE  # Adam's first step
    assert moved[0] < moved[1] < moved[2]
    assert torch.equal(_space_time.Film(10, 0).trained("forward", 4)["trained"], kept["trained"])
    data, residual, total = film.forward(start, film.shown)
    assert float(total) == pytest.approx(float(data + residual))
    assert film.frames.shape == (11, 2, 16, 16)
    assert film.shown.max() == 9
    assert float(film._rest(film.frames[:-1], film.frames[1:]).abs().max()) < 1e-12
    assert 0 < film.early(start) < 1
    assert film.wrong(start, 0) != film.wrong(start)


def _looks(two: int, least: float) -> xr.Dataset:
    """Looks with so many random lines that have two minima in each loss, and so low a curvature."""
    look = LOOKS["default"]
    frame = looks_frame({"time": 2, "seed": 2}, ["begun", "half-way", "trained"], look).assign_coords(time=[20, 80])
    count = np.zeros((2, 2, 3, look.random), dtype=int)
    count.flat[:two] = 1
    frame["minima"][..., : look.random] = 1 + count[:, :, :, None]
    frame["minima"][..., look.random :] = 3
    frame["curvature"][..., 0], frame["curvature"][..., 1] = least, 1.0
    return frame


@pytest.mark.parametrize(("two", "holds"), [(0, True), (2, True), (3, None), (9, False)])
def test_curved_directions_do_not_count_as_random_lines_and_few_decide_nothing(two: int, holds: bool | None) -> None:
    assert LOOKS["default"].lines[-2:] == list(CURVED)
    found, bars, words, more = _weights_claims._lines(_looks(two, 0.0))
    assert found is holds
    assert all(bar.met for bar in bars) is (holds is True)
    assert words == ", ".join(f"{p} {48 - two} of 48" for p in PARTS)
    assert "data 3, residual 3, total 3" in more


def test_the_verdict_of_space_time_is_the_final_error_whatever_lines_and_curvatures_say() -> None:
    errors = xr.DataArray(np.ones((2, 2, 2)), dims=("time", "seed", "fit"), coords={"fit": ["forward", "supervised"]})
    names = ("error", "first", "early", "loss")
    for forward, error in ((1.5, True), (3.0, False)):
        errors.loc[{"fit": "forward"}] = forward
        for two, least, lines, curved in ((0, -0.001, True, True), (9, -0.3, False, False)):
            first, *beside = _weights_claims._space_time(_looks(two, least).assign(dict.fromkeys(names, errors)))
            assert first.holds is error
            assert first.about.source != "ours"
            assert [claim.holds for claim in beside] == [lines, curved]
            assert {claim.about.source for claim in beside} == {"ours"}


def test_a_loss_repairs_where_more_than_half_come_home_and_what_diverged_did_not() -> None:
    modes = list(_repairs.MODES)
    runs = xr.Dataset({"error": (("start", "mode"), np.full((10, len(modes)), 0.5))}, {"mode": modes})
    trained, early, v = (
        "residual loss with a network, L-BFGS",
        "spectrum loss at 100 steps, Adam",
        "v at 100 steps, Adam",
    )
    for mode, hits in ((trained, 9), (early, 1), (v, 5)):
        runs["error"].loc[{"mode": mode}][:hits] = 0.01
    runs["error"].loc[{"mode": trained}][9] = np.nan
    claims = _pinn_claims._repaired(runs)
    assert [claim.holds for claim in claims] == [True, False, False, None, False]
    assert [claim.ours for claim in claims] == ["9 of 10", "0 of 10", "1 of 10", "5 of 10", "0 of 10"]
    assert all(modes[0] in claim.found for claim in claims)


def test_a_network_mends_nothing_only_where_so_few_come_home_that_half_can_not_be() -> None:
    over = ("start", "mode")
    for n, hits, verdict in ((10, 0, True), (10, 5, None), (10, 10, False), (1, 0, None)):
        runs = xr.Dataset({"error": (over, np.full((n, 2), 0.5))}, {"mode": list(_ill_posed.MODES)})
        runs["error"][:hits, 1] = 0.01
        claim = _pinn_claims._descents(runs)
        assert claim.holds is verdict
        assert claim.bars[0].found == hits / n


def test_the_residual_of_true_fields_brings_a_start_home_without_a_network() -> None:
    fields = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=True).fields[0].numpy()
    begin = _ill_posed.start(0)
    assert _ill_posed.off(begin) > 0.3
    assert _ill_posed.off(_repairs.MODES["residual loss of the true u and v, Adam"](fields, begin, 50)) < 0.05
    by_squares = _repairs.MODES["residual loss of the true u and v, least squares"]
    assert _ill_posed.off(by_squares(fields, begin, 0)) < 1e-6


def test_a_network_avoids_the_faults_only_if_every_seed_arrives() -> None:
    long = xr.Dataset({n: ("seed", [v, v]) for n, v in (("error", 0.5), ("within", 20.0), ("seconds", 30.0))})
    assert _pinn_claims._avoids(long).holds is True
    long["error"][1], long["within"][1] = 7.0, np.nan
    assert _pinn_claims._avoids(long).holds is False
    assert "with 1 of them" in _pinn_claims._avoids(long).found


def test_planes_count_as_one_valley_where_95_percent_have_one_minimum_and_k_is_a_parabola() -> None:
    per = ("seed", "stage", "way")
    shape = (2, 5, 3)
    whole = {"minima": 1.0, "on_grid": 1.0, "lowest": 1.02}
    stages = xr.Dataset({n: (per, np.full(shape, v)) for n, v in whole.items()})
    stages["bend"] = (per[:2], np.full(shape[:2], 1e-14))
    assert _pinn_claims._valley(stages).holds is True
    stages["minima"][0, :2] = 2
    assert _pinn_claims._valley(stages).holds is False
    stages["minima"][:], stages["bend"][0, 0] = 1, 1e-3
    assert _pinn_claims._valley(stages).holds is False


def test_parameters_stop_where_a_slope_is_not_finite_and_descend_a_bowl() -> None:
    begin = _ill_posed.start(3)
    assert 0 < _ill_posed.off(begin) < 0.4
    stopped, last = _ill_posed.walked(begin, lambda at: (7.0, torch.tensor([float("nan"), 0.0])))
    assert np.allclose(stopped, begin)
    assert last == 7.0

    def bowl(at: gs.Params) -> tuple[float, torch.Tensor]:
        away = torch.stack([at.F[0], at.k[0]]) / torch.from_numpy(_ill_posed.TRUTH[2:]) - 1
        return float(away @ away), 2 * away / torch.from_numpy(_ill_posed.TRUTH[2:])

    found, last = _ill_posed.walked(begin, bowl)
    assert last < 1e-2
    assert _ill_posed.off(found) < 0.5 * _ill_posed.off(begin)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, the first time
def test_least_squares_at_100_steps_come_home_from_a_start_of_the_study() -> None:
    fields = np.zeros((2, 32, 32))  # the early state is marched: the pattern is not looked at
    assert _ill_posed.off(_repairs._early_by_squares("pixels", fields, _ill_posed.start(0), 0)) < 1e-4
