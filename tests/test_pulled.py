"""Pictures with gaps: what marches while it is pulled towards the data, and open windows' linear systems."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers import covered, invert, noise

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.fits.linearised import CLOSED
from gsimplicit.inverse.fits.open_step import Window
from gsimplicit.inverse.fits.problem import Problem
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import OPEN, PERIODIC, Edges, around_mirrored
from gsimplicit.inverse.pictures.question import as_pictures
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.inverse.starts.nudging import PULL, STABLE, Nudged, marched
from gsimplicit.inverse.starts.starts import marched as march_of_start
from gsimplicit.refine.linear import SparseLU

UNTRACED = gs.Model.of(lambda u, v, a: (a - torch.erf(u), u * u - v), name="untraced", observed="v")


def _two_faced(u: Any, v: Any, a: Any) -> Any:
    """With tensors another reaction than with symbols, so that its trace is not it."""
    return a - (u if isinstance(u, torch.Tensor) else 2 * u), u * u - v


TWO_FACED = gs.Model.of(_two_faced, name="two_faced", observed="v")
STEEP = (0.5, 14.0, 0.09, 1.0)
"""Parameters of Schnakenberg's model far from its onset."""
MODELS = {
    "gray_scott": (gs.models.gray_scott, [0.16, 0.08, 0.035, 0.065]),
    "schnakenberg": (gs.models.schnakenberg, [1.0, 40.0, 0.1, 0.9]),
    "untraced": (UNTRACED, [0.1, 0.2, 0.4]),
    "two-faced": (TWO_FACED, [0.1, 0.2, 0.4]),
}


@pytest.fixture(scope="module")
def steep() -> torch.Tensor:
    """v of a root of Schnakenberg's model, shape (32, 32)."""
    params = gs.models.schnakenberg.params(**dict(zip(("Du", "Dv", "a", "b"), STEEP, strict=True)))
    start = gs.initial_state(model=params, grid=(32, 32), noise=0.1)
    state = gs.steady_state(params, start, dt=0.015, tol=1e-6, max_steps=40_000, refine=True)
    assert state.has_root.all()
    return state.v[0]


def _nudged(name: str, edges: Edges) -> Nudged:
    model, values = MODELS[name]
    rng = np.random.default_rng(3)
    shape = (2, 12, 15)
    weights = np.stack([np.zeros(shape[1:]), 50.0 * (rng.random(shape[1:]) < 0.4)])
    snapshot = Snapshot(np.where(weights > 0, rng.random(shape), np.nan), weights, 1)
    rows = np.array(values) * np.array([[1.0], [1.05]])
    return Nudged(model, snapshot, rows, rng.random((2, 2, *shape[1:])), np.zeros((1, 1)), edges)


def _by_hand(state: Nudged, steps: int) -> np.ndarray[Any, Any]:
    """The same march in numpy: a step of the model and a pull, both from the same state."""
    around = around_mirrored if state.edges.open else PERIODIC.around
    x, snap = state.fields.copy(), state.snapshot
    p = [column[:, None, None] for column in state.values.T]
    dt = min(1.0, STABLE / state.values[:, :2].max())
    share, data = PULL / (1 - PULL) * (snap.weights > 0), np.nan_to_num(snap.values)
    for _ in range(steps):
        rates = np.stack(state.model.residual(list(x), [around(f) for f in x], p))
        x = x + dt * rates + share[:, None] * (data[:, None] - x)
    return x


@pytest.mark.filterwarnings("ignore::gsimplicit.marching.warned.UntracedWarning")
@pytest.mark.parametrize("edges", [PERIODIC, OPEN], ids=["periodic", "open"])
@pytest.mark.parametrize("name", MODELS)
def test_kernels_march_a_pulled_state_as_numpy_does(name: str, edges: Edges) -> None:
    state = _nudged(name, edges)
    found, expected = marched(state, 20), _by_hand(state, 20)
    np.testing.assert_allclose(found.fields, expected, rtol=1e-10, atol=1e-12)


def test_deviations_are_those_after_a_step_without_a_pull() -> None:
    state = _nudged("gray_scott", PERIODIC)
    found, snap = marched(state, 20), state.snapshot
    p = [column[:, None, None] for column in state.values.T]
    rates = state.model.residual(list(found.fields), [PERIODIC.around(f) for f in found.fields], p)
    off = (found.fields[1] + rates[1] - np.nan_to_num(snap.values[1]))[:, snap.there[1]]
    for one, other in zip(found.deviations, off, strict=True):  # but for their unit
        np.testing.assert_allclose(one / np.linalg.norm(one), other / np.linalg.norm(other), rtol=1e-10)


@pytest.mark.parametrize("name", ["untraced", "two-faced"])
def test_a_slow_pulled_march_is_told_of_the_users_model(name: str) -> None:
    state = _nudged(name, PERIODIC)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        marched(state, 2)
    assert not [w for w in told if "pulled" in str(w.message)]


def test_what_was_not_measured_pulls_nothing() -> None:
    state = _nudged("gray_scott", PERIODIC)
    other = Snapshot(np.where(state.snapshot.there, state.snapshot.values, 7.0), state.snapshot.weights, 1)
    again = Nudged(state.model, other, state.values, state.fields, state.deviations)
    assert np.array_equal(marched(state, 10).fields, marched(again, 10).fields)


@pytest.mark.parametrize("method", ["one-shot", "weak"])
@pytest.mark.parametrize("missing", ["one pixel", "half"])
def test_gaps_do_not_hide_a_species_that_a_pull_drives_away(steep: torch.Tensor, missing: str, method: str) -> None:
    """Schnakenberg's u runs away where v is held at the data: with one pixel missing none of eight starts led on."""
    there = torch.rand(steep.shape, generator=torch.Generator().manual_seed(3)) < 0.5
    if missing == "one pixel":
        there = torch.ones_like(there)
        there[5, 5] = False
    picture = steep + noise(steep.shape, 0.01 * float(steep.std()))
    found = invert(picture, mask=there, model=gs.models.schnakenberg, level=0.999, method=method)
    found.require_found()
    assert covered(found, torch.tensor(STEEP, dtype=torch.float64))


def test_one_instance_that_diverges_leaves_the_others_and_has_an_infinite_misfit() -> None:
    state = _nudged("gray_scott", PERIODIC)
    wild = Nudged(state.model, state.snapshot, state.values, state.fields.copy(), state.deviations)
    wild.fields[:, 1] = 1e200
    found = marched(wild, 10)
    assert np.array_equal(found.fields[:, 0], marched(state, 10).fields[:, 0])
    assert np.isfinite(found.misfit[0])
    assert found.misfit[1] == np.inf


@pytest.mark.parametrize("size", [1e30, 1e60, 1e90])
def test_an_instance_on_its_way_to_infinity_has_an_infinite_misfit_and_warns_nobody(size: float) -> None:
    """Its reaction is of infinite size, by which deviations of any size were none: the best instance of all."""
    state = _nudged("gray_scott", PERIODIC)
    snapshot = Snapshot(np.nan_to_num(state.snapshot.values), state.snapshot.weights, 1)
    wild = Nudged(state.model, snapshot, state.values, state.fields.copy(), state.deviations)
    wild.fields[:, 1] = size
    found = marched(wild, 1)
    assert np.isfinite(found.fields).all()
    assert np.isfinite(found.misfit[0])
    assert found.misfit[1] == np.inf


def test_a_start_in_an_open_window_marches_between_mirrors() -> None:
    fields = np.random.default_rng(0).random((2, 10, 13))
    equations = OPEN.equations(gs.models.gray_scott, np.array(MODELS["gray_scott"][1]))
    expected = fields.copy()
    for _ in range(15):
        expected = expected + equations.residual(expected)
    np.testing.assert_allclose(march_of_start(equations, fields, 15, OPEN), expected, rtol=1e-11)


def _window() -> Window:
    """A window of a pattern of the paper, v seen with 1 % noise."""
    values = np.array(MODELS["gray_scott"][1])
    state = gs.steady_state(gs.Params(*values), gs.initial_state(grid=(32, 32)), refine=True)
    X = np.ascontiguousarray(state.fields[0].numpy()[:, 4:24, 6:28])
    weights = np.stack([np.zeros(X.shape[1:]), np.full(X.shape[1:], 1 / (0.01 * X[1].std()))])
    snapshot = Snapshot(X, weights, 1)
    model = gs.models.gray_scott
    problem = Problem(model, (snapshot,), Scales.of(model, values, list(model.parameters)), edges=OPEN)
    return Window(problem, snapshot, Equations(model, values), X, np.zeros(2), 1.0, 0.0)


def test_a_window_without_pivoting_solves_what_it_solves_with_pivoting() -> None:
    window = _window()
    rng = np.random.default_rng(1)
    r, e = rng.standard_normal((3, 2, 18, 20)), rng.standard_normal((window.rows.shape[0], 3))
    quick = window.solve(r, e)
    assert not window._lu.robust
    window._lu = SparseLU(window._K, robust=True)
    slow = window.solve(r, e)
    np.testing.assert_allclose(quick, slow, rtol=0, atol=1e-6 * np.abs(slow).max())


def test_a_window_with_spoilt_factors_is_factorised_again_with_pivoting() -> None:
    window = _window()
    r = np.random.default_rng(2).standard_normal((1, 2, 18, 20))
    right = window.solve(r)

    class Spoilt:
        robust = False

        def solve(self, b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.zeros_like(b)

    window._lu = Spoilt()  # type: ignore[assignment]
    np.testing.assert_allclose(window.solve(r), right, rtol=0, atol=1e3 * CLOSED * np.abs(right).max())
    assert window._lu.robust


def test_what_a_masked_array_masks_was_not_measured() -> None:
    draws = np.random.default_rng(4)
    u, v = draws.random((2, 2, 16, 16))
    gone, lost = draws.random((2, *v.shape)) < 0.2
    model = gs.models.gray_scott
    by_mask = as_pictures(model, v, u, ~(gone | lost))
    masked = as_pictures(model, np.ma.masked_array(v, gone), np.ma.masked_array(u, lost), None)
    both = as_pictures(model, np.ma.masked_array(v, gone), u, ~lost)
    every = np.stack([u, v], axis=1)
    together = as_pictures(model, np.ma.masked_array(every, np.stack([lost, gone], axis=1)), None, None)
    for other in (masked, both, together):
        assert np.array_equal(by_mask.there, other.there)
        assert np.array_equal(by_mask.values, other.values)


def test_a_masked_array_without_a_pixel_left_is_refused() -> None:
    with pytest.raises(ValueError, match="mask must leave some pixels of v in picture 0"):
        gs.invert(np.ma.masked_all((16, 16)))
