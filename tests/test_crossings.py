"""Ends of patterns by bisection, with steps and pixels of other sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.bifurcation.uniform import hopf, hopf_of_steps
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _ends
from studies._claims import Verdict
from studies._crossings import HALF, QUARTER, SMALL, WHOLE, Found, Steps, cell, crossing, finer, marched
from studies._ends import ends, states
from studies._late_stop import Late, hopf_of
from studies._steps_figure import shifts
from studies.fig2 import RANGES
from studies.steps import _missing_ends, _still


@pytest.mark.parametrize("at", [0.1, 0.25, 0.5, 0.77, 0.999])
@pytest.mark.parametrize(("outside", "inside"), [(0.0, 1.0), (1.0, 0.0)])
def test_bisection_ends_around_the_place_with_the_outer_end_beyond(at: float, outside: float, inside: float) -> None:
    def beyond(x: float) -> bool:
        return x < at if outside < inside else x > at

    outer, inner, found = crossing(beyond, outside, inside, 1e-3)
    assert found is Found.FOUND
    assert beyond(outer)
    assert not beyond(inner)
    assert abs(outer - inner) <= 1e-3


def test_bisection_asks_no_more_than_it_must() -> None:
    asked = []

    def beyond(x: float) -> bool:
        asked.append(x)
        return x < 0.3

    crossing(beyond, 0.0, 1.0, 1 / 64)
    assert len(asked) == 2 + 6
    assert len(set(asked)) == len(asked)


def test_an_end_that_is_not_there_is_told_from_a_middle_without_patterns() -> None:
    assert crossing(lambda x: False, 0.0, 1.0, 0.1)[2] is Found.GONE
    nothing = crossing(lambda x: True, 0.0, 1.0, 0.1)
    assert nothing[2] is Found.NOTHING
    assert math.isnan(nothing[0])


def test_bisection_to_less_than_rounding_ends_and_no_width_is_refused() -> None:
    outer, inner, _ = crossing(lambda x: x < 0.3, 0.0, 1.0, 1e-300)
    assert inner == np.nextafter(outer, 1.0)
    with pytest.raises(ValueError, match="width must be > 0, got 0"):
        crossing(lambda x: x < 0.3, 0.0, 1.0, 0.0)


def test_equal_times_need_a_smaller_stop_and_more_steps() -> None:
    assert (QUARTER.tol, QUARTER.max_steps, QUARTER.check_every) == (2.5e-5, 200_000, 256)
    assert SMALL.dt * SMALL.finer**2 == WHOLE.dt  # dt D / dx^2


def test_the_start_on_smaller_pixels_is_the_paper_s_square_of_twice_as_many() -> None:
    fine = finer(gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=5)), 2)
    assert torch.equal(fine, gs.initial_state(grid=(64, 64), noise=0.0, box=gs.Box(half=10)))
    noisy = gs.initial_state(grid=(32, 32))
    assert torch.equal(finer(noisy, 2)[..., ::2, 1::2], noisy)


def test_a_wave_decays_alike_on_pixels_of_both_sizes() -> None:
    wave = torch.cos(2 * math.pi * (torch.arange(16, dtype=torch.float64) + 0.5) / 16)
    start = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    start[0, 0] = 1 + 0.1 * wave
    rough, fine = (marched("k", 0.065, start, steps) for steps in (QUARTER, SMALL))
    assert fine.u.shape == (1, 32, 32)
    assert int(rough.steps[0]) == int(fine.steps[0])
    assert float(fine.u.std()) == pytest.approx(float(rough.u.std()), rel=0.1)  # four times D, or ten times as much


def upper_end_along_k(job: Job) -> Values:
    return job.evaluate(next(item for item in job.items if (item.line, item.side) == ("k", "upper")))


def test_steps_of_any_length_leave_the_end_of_a_small_grid_s_patterns_in_a_cell_or_two() -> None:
    values = upper_end_along_k(ends((WHOLE, HALF), 1, 32, 1))
    assert values["found"].tolist() == [[Found.FOUND]] * 2
    assert abs(values["place"][0, 0] - values["place"][1, 0]) <= 2 * cell("k")
    assert (values["outer"] > values["inner"]).all()


def test_an_end_is_found_where_it_is_whatever_was_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(name: str, value: float, start: torch.Tensor, steps: Steps) -> gs.SteadyState:
        asked.append(value)
        return marched(name, value, start, steps)

    monkeypatch.setattr(_ends, "marched", counted)
    alone = upper_end_along_k(ends((WHOLE,), 2, 32, 4))
    without = len(asked)
    line = gs.scan({"k": np.linspace(*RANGES["k"], 12)}, initial=gs.initial_state(grid=(32, 32)), progress=False)
    asked.clear()
    known = upper_end_along_k(ends((WHOLE,), 2, 32, 4, seen={name: (states(line, "k"),) for name in RANGES}))
    assert len(asked) < without
    for values in (known, upper_end_along_k(ends((WHOLE,), 2, 32, 4, reference=far_off()))):
        assert values["found"].tolist() == alone["found"].tolist()
        assert abs(values["place"] - alone["place"]).max() <= cell("k") / 4


def far_off() -> xr.DataArray:
    """Places of another kind of steps, ten cells from where these steps have them."""
    shape = (len(RANGES), 2, 2)
    return xr.DataArray(
        np.full(shape, 0.0645), dims=("line", "side", "seed"), coords={"line": list(RANGES), "side": ["lower", "upper"]}
    )


@pytest.mark.parametrize("guess", [(0.2, 0.4), (0.0, 1.0), (0.29, 0.31), (0.8, 0.81), (0.01, 0.02), (-3.0, -2.9)])
def test_a_guess_however_wrong_leads_to_the_same_place(guess: tuple[float, float]) -> None:
    outer, inner, found = crossing(lambda x: x < 0.3, 0.0, 1.0, 1e-3, guess)
    assert found is Found.FOUND
    assert outer < 0.3 <= inner <= outer + 1e-3
    outer, inner, found = crossing(lambda x: x > 0.7, 1.0, 0.0, 1e-3, (1 - guess[0], 1 - guess[1]))
    assert found is Found.FOUND
    assert inner <= 0.7 < outer <= inner + 1e-3
    assert crossing(lambda x: True, 0.0, 1.0, 1e-3, guess)[2] is Found.NOTHING
    assert crossing(lambda x: False, 0.0, 1.0, 1e-3, guess)[2] is Found.GONE


def test_the_hopf_line_of_steps_lies_between_those_in_closed_form() -> None:
    assert hopf_of(1.0) == pytest.approx(float(hopf_of_steps(0.035)), abs=1e-9)
    assert hopf_of(1e-6) == pytest.approx(float(hopf(0.035)), abs=1e-9)
    assert hopf_of(1.0) < hopf_of(0.5) < hopf_of(0.25) < hopf(0.035)


def test_a_later_stop_is_a_thousandth_of_the_rate_and_nothing_else() -> None:
    late = Late(HALF.name, HALF.dt)
    assert late.tol == pytest.approx(HALF.tol / 1000)
    assert (late.max_steps, late.check_every) == (HALF.max_steps, HALF.check_every)


def places(kinds: tuple[str, ...], at: np.ndarray, status: int = gs.Status.SETTLED) -> xr.Dataset:
    """Ends as a job gives them, by hand: `at` over (line, side, steps, seed)."""
    over = ("line", "side", "steps", "seed")
    found = np.where(np.isnan(at), int(Found.GONE), int(Found.FOUND)).astype(np.int8)
    ended = np.where(np.isnan(at), gs.Status.SETTLED, status).astype(np.int8)
    return xr.Dataset(
        {
            "place": (over, at),
            "outer": (over, at),
            "inner": (over, at),
            "found": (over, found),
            "status": (over, ended),
        },
        {"line": ["k", "F"], "side": ["lower", "upper"], "steps": list(kinds)},
    )


def two_lines(half: float, quarter: float, pixels: float) -> tuple[xr.Dataset, xr.Dataset]:
    """Ends of two lines with three steps, and with small pixels; those of k move by so many cells."""
    by_step = np.full((2, 2, 3, 2), 0.05) + np.array([0.0, half, quarter])[:, None] * cell("k")
    by_pixel = np.full((2, 2, 1, 2), 0.05) + (quarter + pixels) * cell("k")
    return places((WHOLE.name, HALF.name, QUARTER.name), by_step), places((SMALL.name,), by_pixel)


def test_shifts_are_in_cells_each_seed_against_itself_and_those_of_pixels_at_the_same_step() -> None:
    by_step, by_pixel = two_lines(0.5, 0.75, -2.0)
    by_step["place"][{"seed": 1}] += 0.002  # another seed, elsewhere with every step
    by_pixel["place"][{"seed": 1}] += 0.002
    moved = shifts(by_step, by_pixel).sel(line="k", side="upper")
    assert moved["shift"].sel(steps=[HALF.name, QUARTER.name, SMALL.name]).values == pytest.approx([0.5, 0.75, -2.0])
    assert float(moved["limit"]) == pytest.approx(1.0)
    assert float(moved["error"].max()) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_as_uncertain_as_half_of_both_intervals_together() -> None:
    by_step, by_pixel = two_lines(0.5, 0.75, -2.0)
    by_step["outer"], by_pixel["outer"] = by_step["outer"] + cell("k") / 16, by_pixel["outer"] + cell("k") / 8
    error = shifts(by_step, by_pixel)["error"].sel(line="k", side="upper")
    assert error.sel(steps=[HALF.name, SMALL.name]).values == pytest.approx([1 / 16, 3 / 32])


@pytest.mark.parametrize(
    ("quarter", "verdict"),
    [(0.8, Verdict.HOLDS), (1.2, Verdict.REFUTED), (0.99, Verdict.OPEN), (math.nan, Verdict.OPEN)],
)
def test_a_cell_is_left_surely_or_nothing_is_decided(quarter: float, verdict: Verdict) -> None:
    by_step, by_pixel = two_lines(quarter / 2, quarter, 0.0)
    by_step["outer"] = by_step["outer"] + cell("k") / 16
    assert _still(shifts(by_step, by_pixel), "k", False).verdict == verdict


def test_an_end_at_which_v_diverges_with_long_steps_only_is_their_doing() -> None:
    kinds, at = (WHOLE.name, HALF.name, QUARTER.name), np.full((2, 2, 3, 1), np.nan)
    small = places((SMALL.name,), np.full((2, 2, 1, 1), 0.06), gs.Status.DIVERGED)
    at[0, 1, 0] = 0.05
    claim = _missing_ends({"steps_dt": places(kinds, at, gs.Status.DIVERGED), "steps_dx": small})
    assert claim.holds is False
    assert claim.ours == "1 of 1 missing ends are gone"
    assert claim.found.endswith("it diverges again beyond: k upper end 0.0600")
    at[:] = 0.05
    assert _missing_ends({"steps_dt": places(kinds, at, gs.Status.DIVERGED), "steps_dx": small}).holds is True
    assert _missing_ends({"steps_dt": places(kinds, at), "steps_dx": small}).holds is None
