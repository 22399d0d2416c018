"""Open windows: parameters from a part of a pattern, with nothing known of the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, error

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.fits import open_step
from gsimplicit.inverse.fits.open_step import OpenStep, Window
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.method import Method
from gsimplicit.inverse.pictures.edges import OPEN, Mirrored, inner
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.refine.linear import jacobian

TRUTH = torch.tensor(PAPER, dtype=torch.float64)
MODEL = gs.models.gray_scott


@pytest.fixture(scope="module")
def window(whole: torch.Tensor) -> torch.Tensor:
    """A part of it with 1 % of noise, shape (2, 32, 32)."""
    cut = whole[:, 20:52, 13:45]
    noise = torch.randn(cut.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return cut + 0.01 * cut[1].std() * noise


def invert(*args: Any, **kwargs: Any) -> gs.Inversion:
    return gs.invert(*args, periodic=False, progress=False, **kwargs)


# ----------------------------------------------------------------------------------------------------------------------
# What is recovered
# ----------------------------------------------------------------------------------------------------------------------


def test_a_window_cut_out_of_a_pattern_gives_all_four_parameters(window: torch.Tensor, whole: torch.Tensor) -> None:
    found = invert(window[1], level=0.999)
    found.require_found()
    assert error(found) < 0.02
    low, high = found.interval[0].unbind(-1)
    assert ((low <= TRUTH) & (high >= TRUTH)).all()
    inside = (found.fields[0] - whole[:, 20:52, 13:45])[:, 4:-4, 4:-4]
    assert inside[1].abs().max() < 0.02 * whole[1].max()
    assert inside[0].abs().max() < 0.05


@pytest.mark.slow
def test_the_same_window_taken_as_periodic_is_not_explained(window: torch.Tensor) -> None:
    found = gs.invert(window[1], noise=0.01 * window[1].std().item(), progress=False)
    assert found.verdict.item() in (gs.Recovery.FAILED, gs.Recovery.MISFIT)


def test_a_clean_window_is_exact_but_for_the_belief_on_its_rim(whole: torch.Tensor) -> None:
    found = invert(whole[1, 20:52, 13:45])
    found.require_found()
    assert error(found) < 1e-4
    low, high = found.interval[0].unbind(-1)
    assert ((low <= TRUTH) & (high >= TRUTH)).all()


def test_u_and_v_of_a_window_leave_narrower_intervals(window: torch.Tensor) -> None:
    one, both = invert(window[1]), invert(window[1], window[0])
    both.require_found()
    widths = [(r.interval[0, :, 1] - r.interval[0, :, 0]) for r in (one, both)]
    assert (widths[1] < widths[0]).all()


def test_gaps_in_a_window_are_filled(window: torch.Tensor) -> None:
    mask = torch.rand(32, 32, generator=torch.Generator().manual_seed(1)) < 0.85
    found = invert(window[1], mask=mask, start=gs.Params(0.15, 0.085, 0.037, 0.063))
    found.require_found()
    assert error(found) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("told", [None, 1e-6])
def test_a_clean_window_with_gaps_is_found_whether_its_noise_is_told_or_not(
    whole: torch.Tensor, told: float | None
) -> None:
    cut = whole[1, 20:48, 13:41]
    there = torch.rand(cut.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    found = invert(cut, mask=there, noise=told, start=gs.Params(*PAPER))
    found.require_found()
    assert error(found) < 1e-4


@pytest.mark.slow
def test_a_window_whose_fit_left_rounding_alone_is_not_lost_by_another_fit() -> None:
    """Found with deviations of 2e-9 after two fits; a third one, told of more noise than that, called it a misfit."""
    start = gs.initial_state(grid=(64, 64))
    whole = gs.steady_state(gs.Params(*PAPER), start, refine=gs.Refine(max_evaluations=400_000)).v[0].numpy()
    draws = np.random.default_rng([0, 5])
    i, j = draws.integers(0, 64, 2)
    cut = np.roll(whole, (-i, -j), (0, 1))[:32, :32]
    draws.standard_normal(cut.shape)
    found = invert(cut, mask=draws.random(cut.shape) < 0.7)
    found.require_found()
    assert error(found) < 1e-6


def test_a_window_with_an_unknown_gain_tells_what_a_known_diffusion_leaves(window: torch.Tensor) -> None:
    start = gs.Params(0.16, 0.078, 0.034, 0.0645)
    found = invert(30 + 200 * window[1], gain=True, free=["Dv", "F", "k"], start=start)
    found.require_found()
    assert error(found) < 0.05
    assert abs(found.gain[0, 1].item() / 200 - 1) < 0.05


def test_a_window_of_a_model_whose_hidden_species_is_steep_is_no_bent_camera() -> None:
    """Schnakenberg's u changes by 0.5 from pixel to pixel, Gray-Scott's by less than 0.1."""
    truth = gs.models.schnakenberg.params(Du=0.5, Dv=14.0, a=0.09, b=1.0)
    start = gs.initial_state(model=truth, grid=(32, 32), noise=0.1)
    v = gs.steady_state(truth, start, dt=0.015, tol=1e-6, max_steps=40_000, refine=True).v[0, 2:30, 3:31]
    for seed in (1, 2):
        noise = torch.randn(v.shape, generator=torch.Generator().manual_seed(seed), dtype=v.dtype)
        found = invert(v + 0.01 * v.std() * noise, start=truth.replace(a=0.1), level=0.999)
        found.require_found()
        low, high = found.interval[0].unbind(-1)
        assert ((low <= truth.tensor()[0]) & (high >= truth.tensor()[0])).all()


def test_a_gain_is_not_told_by_what_is_believed_of_the_rim() -> None:
    """Gierer and Meinhardt's h on the rim, thought to be flat, had made the gain 15 % too large, by 5 of its errors."""
    truth = gs.models.gierer_meinhardt.preset("spots")
    start = gs.initial_state(model=truth, grid=(40, 40), noise=0.1)
    state = gs.steady_state(truth, start, dt=0.014, tol=1e-6, refine=True)
    a = state.observed[0]
    for seed in (0, 2):
        noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(seed), dtype=a.dtype)
        grey = 3 + 50 * (a + 0.01 * a.std() * noise)[2:38, 3:38]
        found = invert(grey, gain=True, free=["Dh", "s", "b"], start=truth, level=0.999)
        found.require_found()
        low, high = found.interval[0].unbind(-1)
        assert ((low <= truth.tensor()[0]) & (high >= truth.tensor()[0])).all()
        assert found.gain[0, 1].item() == pytest.approx(50, rel=0.06)


# ----------------------------------------------------------------------------------------------------------------------
# What is not
# ----------------------------------------------------------------------------------------------------------------------


def test_a_window_too_small_for_its_rim_is_refused_with_the_numbers(window: torch.Tensor) -> None:
    found = invert(window[1, :12, :12])
    assert found.verdict.item() == gs.Recovery.REFUSED
    assert "12 x 12 pixels has 144 values, and the unknown state on its rim up to 88" in found.reason[0]


def test_what_is_no_steady_state_is_not_found() -> None:
    x = torch.linspace(0, 17, 14, dtype=torch.float64)
    waves = 0.2 + 0.1 * torch.sin(x[:, None]) * torch.cos(2.2 * x[None, :])
    found = invert(waves + 1e-3 * torch.randn(14, 14, generator=torch.Generator().manual_seed(0)))
    assert found.verdict.item() in (gs.Recovery.FAILED, gs.Recovery.MISFIT)
    assert found.params.tensor().isnan().all()


def test_noise_alone_is_refused_as_elsewhere() -> None:
    grey = 0.2 + 0.05 * torch.randn(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert invert(grey).verdict.item() == gs.Recovery.REFUSED


def test_a_method_that_knows_no_windows_refuses_them_by_name(window: torch.Tensor) -> None:
    class Closed(Method):
        name = "closed"

        def recover(self, question: Any) -> Any:
            raise AssertionError("asked in spite of itself")

    with pytest.raises(ValueError, match=r"periodic must be True for method 'closed': open windows are for one-shot"):
        invert(window[1], method=Closed())
    with pytest.raises(TypeError, match="periodic"):
        gs.invert(window[1], periodic="no", progress=False)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------------------
# What it computes with
# ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked() -> tuple[Problem, Place]:
    draws = np.random.default_rng(0)
    X = 0.3 + 0.1 * draws.random((2, 9, 11))
    weights = np.zeros_like(X)
    weights[1] = 100.0 * (draws.random((9, 11)) < 0.8)
    snapshot = Snapshot(X + 0.01 * draws.standard_normal(X.shape), weights, 1)
    scales = Scales.of(MODEL, np.array(PAPER), ["Du", "Dv", "F", "k"])
    problem = Problem(MODEL, (snapshot,), scales, affine=True, edges=OPEN)
    return problem, Place((X,), (np.array([1e-3, -2e-3]),), np.array(PAPER), (0.1, 1.2))


def test_a_correction_of_a_window_removes_the_residual_and_is_best_for_the_data(
    asked: tuple[Problem, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_step, "FAR", np.inf)  # from far away the rim is held, and best is not asked for
    problem, place = asked
    step = OpenStep(problem, place, [np.eye(2)])
    change, (R,) = step.corrections(place)[0], problem.defects(place)
    h = 1e-6
    X = place.fields[0]
    moved = [Place((X + s * h * change.fields,), place.drifts, place.values, place.gain) for s in (1, -1)]
    slope = (problem.defects(moved[0])[0] - problem.defects(moved[1])[0]) / (2 * h)
    assert np.abs(slope + R).max() < 1e-7 * np.abs(R).max() + 1e-9
    # no change that the equations allow is better: the gradient lies in the span of their rows
    chosen = np.zeros((9, 11), dtype=bool)
    chosen[1:-1, 1:-1] = True
    J = jacobian(Equations(MODEL, place.values), X, place.drifts[0]).toarray()[np.repeat(chosen.ravel(), 2)]
    window = step.windows[0]
    gradient = window.rows.T @ (step.deviations(place) + window.along(change.fields))
    left = gradient - J.T @ np.linalg.lstsq(J.T, gradient, rcond=None)[0]
    assert np.linalg.norm(left) < 1e-7 * np.linalg.norm(window.rows.T @ step.deviations(place))


def test_of_several_windows_the_data_are_told_from_what_is_believed(asked: tuple[Problem, Place]) -> None:
    problem, place = asked
    several = replace(problem, snapshots=problem.snapshots * 2)
    there = replace(place, fields=place.fields * 2, drifts=place.drifts * 2)
    step = OpenStep(several, there, [np.eye(2)] * 2)
    assert np.array_equal(step.deviations(there)[step.measured()], several.misfit(there))


def test_columns_of_a_window_are_derivatives_along_its_steady_states(asked: tuple[Problem, Place]) -> None:
    problem, place = asked
    step = OpenStep(problem, place, [np.eye(2)])
    h = 1e-6
    for j, change in enumerate([*step.by_parameter[0], *step.by_shift[0]]):
        ends = []
        for s in (h, -h):
            values = problem.scales.moved(place.values, s * np.eye(4)[j]) if j < 4 else place.values
            moved = Place((place.fields[0] + s * change.fields,), (place.drifts[0] + s * change.speeds,), values)
            ends.append(problem.defects(moved)[0])
        assert np.abs(ends[0] - ends[1]).max() / (2 * h) < 1e-7 * max(1.0, float(np.abs(change.fields).max()))
    # what is left of each column is orthogonal to all that the rim can do, so the trace of the rim is its freedom
    exact = sum(float(w.absorbed()) for w in step.windows)
    assert 0 < exact < problem.snapshots[0].count


def test_the_freedom_that_a_rim_takes_is_the_trace(asked: tuple[Problem, Place]) -> None:
    problem, place = asked
    window = Window(
        problem, problem.snapshots[0], Equations(MODEL, place.values), place.fields[0], np.zeros(2), 1.0, 0.0
    )
    e = np.zeros((window.rows.shape[0], window.count))
    e[: window.count] = -np.eye(window.count)
    fitted = window.solve(np.zeros((window.count, 2, 7, 9)), e)
    exact = sum(window.along(x)[n] for n, x in enumerate(fitted))
    assert abs(window.absorbed() / exact - 1) < 0.15


def test_the_belief_of_a_rim_follows_a_steep_state() -> None:
    draws = np.random.default_rng(0)
    X, d = 3 * draws.random((2, 9, 11)), 1e-5 * draws.standard_normal((2, 9, 11))
    snapshot = Snapshot(X, np.stack([np.zeros((9, 11)), np.full((9, 11), 50.0)]), 1)
    scales = Scales.of(MODEL, np.array(PAPER), list(MODEL.parameters))
    problem = Problem(MODEL, (snapshot,), scales, edges=OPEN)
    window = Window(problem, snapshot, Equations(MODEL, np.array(PAPER)), X, np.zeros(2), 1.0, 0.0)
    slope = (window.beliefs(X + d) - window.beliefs(X - d)) / 2
    np.testing.assert_allclose(window.along(d)[window.count :], slope, rtol=1e-6, atol=1e-12)
    # what is left of the best change is orthogonal to all that leave the residual as it is
    e = draws.standard_normal((window.rows.shape[0], 2))
    x, other = window.solve(np.zeros((2, 2, 7, 9)), e)
    left, way = window.along(x) + e[:, 0], window.along(other)
    assert abs(left @ way) < 1e-8 * np.linalg.norm(left) * np.linalg.norm(way)


def test_a_mirrored_window_has_the_residual_of_its_periodic_copies() -> None:
    X, d = np.random.default_rng(0).random((2, 2, 5, 7))
    four = np.concatenate([X, X[:, ::-1]], axis=1)
    four = np.concatenate([four, four[:, :, ::-1]], axis=2)
    here, there = Mirrored(MODEL, np.array(PAPER)), Equations(MODEL, np.array(PAPER))
    assert np.allclose(here.residual(X), there.residual(four)[:, :5, :7], atol=1e-14)
    assert np.allclose(inner(here.residual(X)), inner(there.residual(X)), atol=1e-14)
    column = jacobian(here, X) @ d.transpose(1, 2, 0).ravel()
    assert np.allclose(column.reshape(5, 7, 2).transpose(2, 0, 1), here.product(X, d), atol=1e-14)
    assert isinstance(here.with_values(np.ones(4)), Mirrored)
