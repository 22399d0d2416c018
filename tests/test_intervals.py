"""Intervals of weakly held parameters: ends by fits, where the linear model's ellipsoid is too short or too long."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, noise

import gsimplicit as gs
from gsimplicit.inverse.answers import profile
from gsimplicit.inverse.answers.judge import Answer, firm
from gsimplicit.inverse.asked import asked
from gsimplicit.inverse.fits import one_shot
from gsimplicit.inverse.fits.problem import Ended, Place, Problem
from gsimplicit.inverse.methods import OneShot

NOTHING: dict[str, Any] = dict.fromkeys(("noise", "model", "free", "ranges", "tied"))
T2 = 1.962**2
"""Square of Student's t at 95 % for the 1,000 or so degrees of freedom of these pictures."""


@pytest.fixture(scope="module")
def weak(whole: torch.Tensor) -> torch.Tensor:
    """A window that holds its parameters weakly: 32 x 32 pixels, 10 % of noise."""
    cut = whole[1, 20:52, 13:45]
    return cut + noise(cut.shape, 0.1 * float(cut.std()), 1)


def answered(v: torch.Tensor, *, start: Any = None, **given: Any) -> Answer:
    """One-shot's answer to a window, before its intervals."""
    by = OneShot()
    what = asked(by, v, None, None, start, **(NOTHING | given), shared=False, gain=False, periodic=False)
    return by.recover(what.questions[0])


def rise(answer: Answer, i: int, change: float) -> float:
    """By how much the sum of squares rises where a coordinate is held beside the answer and all else is fitted."""
    assert answer.asked is not None
    problem, fit = answer.asked
    rest = np.delete(problem.scales.directions, i, axis=0)
    held = replace(problem, scales=replace(problem.scales, directions=rest))
    values = problem.scales.moved(fit.place.values, change * np.eye(len(problem.scales.directions))[i])
    found = one_shot.fit(held, replace(fit.place, values=values))
    assert found.ended == Ended.CONVERGED
    return float((found.weighed**2).sum() - (fit.weighed**2).sum())


def descended(problem: Problem, place: Place) -> tuple[Place, float]:
    """Where steps lead that are halved until they go down, and the sum of squares there."""
    left = np.inf
    for _ in range(15):
        step = one_shot.linearised(problem, place)
        share, left = step.longest(), step.level(step.place, step.zeroth)
        while share > 1e-3 and step.level(step.moved(share), step.corrections(step.moved(share))) > left:
            share /= 2
        place = step.moved(share)
    return place, left


@pytest.fixture(scope="module")
def answer(weak: torch.Tensor) -> Answer:
    return answered(weak)


@pytest.fixture(scope="module")
def ends(answer: Answer) -> Any:
    assert answer.asked is not None
    assert answer.certainty is not None
    assert answer.certainty.spread > profile.BENT
    return profile.ends(*answer.asked, answer.certainty, 0.95)


@pytest.mark.parametrize("i", range(4))
@pytest.mark.parametrize("side", [0, 1], ids=["low", "high"])
def test_at_an_end_the_best_of_all_else_is_as_much_worse_as_the_level_asks(
    answer: Answer, ends: Any, i: int, side: int
) -> None:
    assert answer.certainty is not None
    assert rise(answer, i, ends[i, side]) == pytest.approx(T2 * answer.certainty.unit, rel=0.05)


@pytest.mark.parametrize(("corner", "seed"), [pytest.param((20, 13), 1, marks=pytest.mark.slow), ((30, 5), 3)])
def test_intervals_of_higher_levels_hold_those_of_lower_ones(
    whole: torch.Tensor, corner: tuple[int, int], seed: int
) -> None:
    cut = whole[1, corner[0] : corner[0] + 32, corner[1] : corner[1] + 32]
    found = answered(cut + noise(cut.shape, 0.12 * float(cut.std()), seed))
    assert found.asked is not None
    assert found.certainty is not None
    widths = np.sqrt(np.diag(found.certainty.covariance))
    before = np.zeros((4, 2))
    for level in (0.5, 0.8, 0.95, 0.99):
        now = profile.ends(*found.asked, found.certainty, level)
        assert now is not None
        assert (now[:, 0] <= before[:, 0] + 0.05 * widths).all()
        assert (now[:, 1] >= before[:, 1] - 0.05 * widths).all()
        before = now
    assert profile.ends(*found.asked, found.certainty, 1e-6) is None


def test_an_end_beside_a_fold_is_where_the_sum_of_squares_rises_as_a_wall(whole: torch.Tensor) -> None:
    cut = whole[1, 2:34, 30:62]
    found = answered(cut + noise(cut.shape, 0.12 * float(cut.std()), 357))
    assert found.asked is not None
    assert found.certainty is not None
    ends = profile.ends(*found.asked, found.certainty, 0.95)
    assert ends is not None
    assert np.isfinite(ends).all()
    room, end = T2 * found.certainty.unit, ends[3, 1]
    assert end < 0.8 * np.sqrt(T2 * found.certainty.covariance[3, 3])  # the ellipsoid knows nothing of the wall
    problem, fit = found.asked
    held = replace(problem, scales=replace(problem.scales, directions=np.eye(4)[:3]))
    place, at = fit.place, 0.0
    for share in (0.5, 0.7, 0.8, 0.9, 1.0):  # a fit from further back does not converge here
        values = problem.scales.moved(place.values, (share * end - at) * np.eye(4)[3])
        place, left = descended(held, replace(place, values=values))
        at = share * end
    assert left - float((fit.weighed**2).sum()) == pytest.approx(room, rel=0.1)


def test_an_answer_is_the_least_of_all_where_what_is_usual_on_the_rim_follows_the_state() -> None:
    model = gs.models.gierer_meinhardt
    truth = model.params(Da=0.5, Dh=20.0, s=0.3, b=1.0, c=1.0)
    start = gs.initial_state(grid=(32, 32), seed=3, model=model)
    root = gs.steady_state(truth, start, dt=0.01, tol=1e-9, max_steps=80000, refine=gs.Refine(max_evaluations=300_000))
    assert root.has_root.all()
    cut = root.fields[0, 0, 2:30, 2:30]
    free = ["Da", "Dh", "s", "b"]
    found = answered(cut + noise(cut.shape, 0.01 * float(cut.std()), 1), model=model, free=free, start=truth)
    assert found.certainty is not None
    width = np.sqrt(T2 * np.diag(found.certainty.covariance))
    for i, side in product(range(4), (-1, 1)):
        assert rise(found, i, 0.3 * side * width[i]) == pytest.approx(0.09 * T2 * found.certainty.unit, rel=0.2)


def test_a_fit_of_the_ellipsoids_ends_would_be_better_or_worse_than_that(answer: Answer, ends: Any) -> None:
    assert answer.certainty is not None
    width = np.sqrt(T2 * np.diag(answer.certainty.covariance))
    shares = ends / width[:, None]
    assert np.abs(np.abs(shares) - 1).max() > 0.1
    i, side = np.unravel_index(np.argmax(np.abs(np.abs(shares) - 1)), shares.shape)
    there = rise(answer, int(i), float((-1, 1)[side] * width[i]))
    assert abs(there / (T2 * answer.certainty.unit) - 1) > 0.1


def test_where_the_linear_model_is_good_the_ends_are_those_of_its_ellipsoid(
    whole: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = whole[1, 20:52, 13:45]
    held = answered(cut + noise(cut.shape, 0.001 * float(cut.std()), 1))
    assert held.asked is not None
    assert held.certainty is not None
    assert profile.ends(*held.asked, held.certainty, 0.95) is None
    monkeypatch.setattr(profile, "BENT", 0.0)
    found = profile.ends(*held.asked, held.certainty, 0.95)
    assert found is not None
    width = np.sqrt(T2 * np.diag(held.certainty.covariance))
    np.testing.assert_allclose(found, width[:, None] * [-1, 1], rtol=0.02)


def test_intervals_are_from_these_ends(weak: torch.Tensor, ends: Any) -> None:
    found = gs.invert(weak, periodic=False, progress=False)
    assert found.verdict.item() == gs.Recovery.FOUND
    values = found.params.tensor()[0].numpy()
    np.testing.assert_allclose(found.interval[0].numpy(), values[:, None] * np.exp(ends), rtol=1e-6)


@pytest.mark.slow
def test_they_do_not_depend_on_the_camera(weak: torch.Tensor) -> None:
    given: dict[str, Any] = {
        "gain": True, "free": ["Dv", "F", "k"], "start": gs.Params(*PAPER).replace(Dv=0.078), "periodic": False,
        "progress": False,
    }  # fmt: skip
    own, grey = gs.invert(weak, **given), gs.invert(30 + 500 * weak, **given)
    assert own.verdict.item() == grey.verdict.item() == gs.Recovery.FOUND
    torch.testing.assert_close(own.interval, grey.interval, rtol=1e-3, atol=0)


def test_a_parameter_that_is_not_free_is_its_own_interval_and_a_tied_one_has_that_of_the_other(
    weak: torch.Tensor,
) -> None:
    found = gs.invert(
        weak, periodic=False, free=["Du", "F", "k"], tied={"Dv": ("Du", 0.5)}, start=gs.Params(*PAPER), progress=False
    )
    torch.testing.assert_close(found.interval[0, 1], 0.5 * found.interval[0, 0])
    given = gs.invert(weak, periodic=False, free=["Du", "F"], start=gs.Params(*PAPER), progress=False)
    assert given.interval[0, 1].tolist() == [PAPER[1]] * 2


def test_where_steps_do_not_end_fits_with_the_parameter_held_find_the_same_ends(
    answer: Answer, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer.asked is not None
    assert answer.certainty is not None
    monkeypatch.setattr(profile, "STEPS", 1)
    held = profile.ends(*answer.asked, answer.certainty, 0.95)
    assert held is not None
    np.testing.assert_allclose(held, ends, rtol=0.05)


def test_an_end_that_no_step_reaches_is_open_and_the_combination_hardly_seen(
    weak: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "STEPS", 1)
    monkeypatch.setattr(profile, "HELD", 1)
    found = gs.invert(weak, periodic=False, progress=False)
    assert found.verdict.item() == gs.Recovery.UNIDENTIFIED
    assert "is hardly seen" in found.reason[0]
    assert "no end was found of the interval of Du, Dv, F, k" in found.reason[0]
    assert found.params.tensor().isfinite().all()
    assert found.interval[0].tolist() == [[0.0, np.inf]] * 4


@pytest.mark.parametrize(
    ("once", "spread", "verdict"),
    [(True, 0.15, gs.Recovery.UNIDENTIFIED), (False, 0.15, gs.Recovery.FOUND), (True, 0.09, gs.Recovery.FOUND)],
)
def test_an_uncertain_answer_that_one_start_of_many_led_to_is_hardly_seen(
    answer: Answer, once: bool, spread: float, verdict: gs.Recovery
) -> None:
    assert answer.certainty is not None
    given = replace(answer, once=once, starts=(8, 1), certainty=replace(answer.certainty, spread=spread))
    found = firm(gs.models.gray_scott, given, 0.95)
    assert found.verdict == verdict
    assert ("met from 1 of 8 starts" in found.reason) == (verdict == gs.Recovery.UNIDENTIFIED)


def test_steps_that_go_to_and_fro_are_mixed_to_their_fixed_point() -> None:
    matrix, goal = np.array([[2.5, 0.4], [-0.3, 1.8]]), np.array([0.3, -0.2])
    place, tried = np.zeros(2), profile.Mixture()
    for _ in range(8):
        place = place + tried.step(place, matrix @ (goal - place), mixed=True)
    np.testing.assert_allclose(place, goal, rtol=1e-6)
