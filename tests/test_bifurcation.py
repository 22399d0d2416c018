"""Closed forms against eigenvalues, branches against closed forms and each other, edges of basins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gsimplicit as gs
from gsimplicit import gray_scott
from gsimplicit.bifurcation.branch import fold, follow
from gsimplicit.bifurcation.edge import basin_edge, edge_state, lifetime
from gsimplicit.bifurcation.uniform import (
    eigenvalues,
    hopf,
    hopf_of_steps,
    saddle_node,
    turing,
    turing_on_grid,
    upper_state,
)
from gsimplicit.refine.linear import jacobian

FEEDS = np.linspace(0.02, 0.06, 9)


def spot(F: float, k: float, half: int = 3) -> gs.SteadyState:
    """One spot in the middle of 32 x 32 cells, symmetric since there is no noise."""
    start = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=half))
    return gs.steady_state(gs.Params(0.16, 0.08, F, k), start, refine=True)


# closed forms


def test_the_upper_state_is_the_one_of_the_equations() -> None:
    for F in FEEDS:
        k = 0.9 * float(saddle_node(F))
        u, v = upper_state(F, k)
        exact = gray_scott.homogeneous_states(F, k).upper
        assert exact is not None
        assert (float(u), float(v)) == pytest.approx(exact, rel=1e-14)
        fields = torch.stack([torch.full((4, 4), float(x), dtype=torch.float64) for x in (u, v)])[None]
        assert gray_scott.residual(fields, gs.Params(0.16, 0.08, F, k)).abs().max() < 1e-16


def test_the_eigenvalues_are_those_of_the_assembled_jacobian() -> None:
    F, k, grid = 0.05, 0.058, (8, 12)
    u, v = upper_state(F, k)
    fields = np.stack([np.full(grid, float(u)), np.full(grid, float(v))])
    dense = np.sort_complex(np.linalg.eigvals(jacobian(fields, np.array([0.16, 0.08, F, k])).toarray()))
    a, b = (2 * np.pi * np.arange(n) / n for n in grid)
    q = 4 - 2 * np.cos(a)[:, None] - 2 * np.cos(b)[None, :]
    closed = np.sort_complex(eigenvalues(F, k, q).ravel())
    np.testing.assert_allclose(closed, dense, atol=1e-12)


def test_at_each_curve_its_eigenvalue_vanishes_to_rounding() -> None:
    """1e-12, but at the saddle-node, where eigenvalues go with the root of the distance."""
    k = hopf(FEEDS)
    values = eigenvalues(FEEDS, k)
    assert np.abs(values.real).max() < 1e-12
    assert np.abs(values.imag).min() > 1e-4
    np.testing.assert_allclose((FEEDS + k) ** 2, FEEDS * np.sqrt(k), rtol=1e-12)
    steps = 1 + eigenvalues(FEEDS, hopf_of_steps(FEEDS))
    assert np.abs(np.abs(steps) - 1).max() < 1e-12
    k, q = turing(FEEDS)
    at = eigenvalues(FEEDS, k, q)
    assert np.abs(at[..., 0]).max() < 1e-7  # a double root in q: 1e-12 in k is 1e-7 here
    x = np.sqrt(upper_state(FEEDS, k)[1] ** 2 / FEEDS)
    np.testing.assert_allclose(
        np.sqrt(FEEDS), 2 * x * (np.sqrt(2) * x - np.sqrt(x**2 - 1)) ** 2 / (1 + x**2) ** 3, rtol=1e-12
    )
    np.testing.assert_allclose(FEEDS, 4 * (FEEDS + saddle_node(FEEDS)) ** 2, rtol=1e-12)


def test_on_a_grid_the_turing_line_is_where_the_first_of_its_modes_grows() -> None:
    grid = (16, 16)
    k = turing_on_grid(FEEDS, grid)
    assert (k >= turing(FEEDS)[0] - 1e-12).all()
    a = 2 * np.pi * np.arange(16) / 16
    q = (4 - 2 * np.cos(a)[:, None] - 2 * np.cos(a)[None, :]).ravel()[1:]
    for F, at in zip(FEEDS, k, strict=True):
        grown = [eigenvalues(F, at + h, q).real.max() for h in (-1e-7, 1e-7)]
        if at < float(hopf(F)):  # beyond it everything grows by oscillating
            assert grown[0] < 0 < grown[1]


def test_curves_end_where_they_do() -> None:
    assert np.isnan(hopf(0.07))
    assert np.isnan(hopf_of_steps(0.07))
    assert float(saddle_node(1 / 16)) == pytest.approx(1 / 16)
    assert float(hopf(1 / 16 - 1e-12)) == pytest.approx(1 / 16, abs=1e-6)
    assert np.isnan(saddle_node(0.3))
    assert hopf(np.array([[0.03, 0.05]])).shape == (1, 2)


# branches


def test_the_fold_of_the_uniform_state_is_the_saddle_node_in_every_parameter() -> None:
    start = torch.full((1, 2, 4, 4), 0.3, dtype=torch.float64)
    state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
    up = follow(state, "k", low=0.05)
    assert up.folds[0].value == pytest.approx(float(saddle_node(0.05)), abs=1e-10)
    along_F = follow(state, "F", low=0.0, direction=-1, max_points=80)
    F = along_F.folds[0].value
    assert float(saddle_node(F)) == pytest.approx(0.055, abs=1e-8)
    u, v = upper_state(0.05, up.values[:3])
    np.testing.assert_allclose(up.fields[:3, 1, 0, 0], v, rtol=1e-10)
    np.testing.assert_allclose(up.fields[:3, 0, 0, 0], u, rtol=1e-10)


@pytest.mark.parametrize(
    ("F", "k", "half", "known"), [(0.035, 0.0705, 3, 0.07574), (0.05, 0.068, 3, 0.07454), (0.06, 0.064, 4, 0.0726)]
)
def test_folds_of_the_spot_agree_between_arclength_and_the_augmented_system(
    F: float, k: float, half: int, known: float
) -> None:
    """To 1e-6 in k, which is asked; they meet to rounding. `known` is from another code on a quarter of the spot."""
    branch = follow(spot(F, k, half), "k", low=k - 1e-3, high=0.08)
    assert len(branch.folds) == 1
    again = fold(branch)
    assert branch.folds[0].value == pytest.approx(again.value, abs=1e-10)
    assert again.value == pytest.approx(known, abs=3e-5)
    assert branch.residual.max() < 1e-12
    assert abs((again.mode * branch.folds[0].mode).sum()) == pytest.approx(1, abs=1e-4)
    assert branch.values.max() <= again.value + 1e-9


def test_near_its_fold_a_branch_goes_as_the_square_root() -> None:
    coarse = follow(spot(0.05, 0.068), "k", low=0.067, high=0.08)
    at = coarse.folds[0].value
    last = int(np.flatnonzero((coarse.slope > 0) & (at - coarse.values > 2e-4))[-1])
    start = torch.from_numpy(coarse.fields[last : last + 1])
    state = gs.steady_state(gs.Params(*coarse.params[last]), start, refine=True)
    branch = follow(state, "k", low=0.067, step=1e-3, max_step=1e-3, max_points=120)
    turn = int(np.flatnonzero(branch.slope < 0)[0])
    distance = at - branch.values[:turn]
    slope = np.gradient(branch.fields[:turn, 1].mean(axis=(1, 2)), branch.values[:turn])
    near = (distance > 3e-6) & (distance < 1e-4)
    assert near.sum() >= 8
    power = np.polyfit(np.log(distance[near]), np.log(np.abs(slope[near])), 1)[0]
    assert power == pytest.approx(-0.5, abs=0.02)


def test_the_spot_starts_to_oscillate_before_its_fold() -> None:
    branch = follow(spot(0.035, 0.0725), "k", low=0.07, high=0.0745, eigenvalues=3)
    (found,) = branch.instabilities
    assert found.value == pytest.approx(0.0735, abs=1e-4)
    assert abs(found.eigenvalue.real) < 1e-6
    assert abs(found.eigenvalue.imag) == pytest.approx(0.0337, abs=1e-3)
    # marched on either side of it a small kick dies, or grows
    (before, after) = (np.flatnonzero(branch.values < 0.0733)[-1], np.flatnonzero(branch.values > 0.0737)[0])
    for at, grows in ((before, False), (after, True)):
        fields = torch.from_numpy(branch.fields[at] * np.array([1.0, 1.001])[:, None, None])[None]
        kick = gs.steady_state(gs.Params(*branch.params[at]), fields, tol=0.0, max_steps=4000)
        apart = np.abs(kick.fields[0].numpy() - branch.fields[at]).max()
        assert (apart > 1e-3) == grows


def test_bad_branches_are_refused() -> None:
    state = spot(0.05, 0.068)
    for change, message in (
        ({"parameter": "q"}, "parameter must be one of 'Du', 'Dv', 'F', 'k', got 'q'"),
        ({"direction": 0}, "direction must be 1 or -1, got 0"),
        ({"step": 0.0}, r"step must be finite and > 0, got 0\.0"),
        ({"max_points": 1}, "max_points must be >= 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            follow(state, **change)  # type: ignore[arg-type]
    with pytest.raises(gs.NotSteady):
        follow(gs.steady_state(gs.Params.preset("paper"), tol=0.0, max_steps=10))
    with pytest.raises(ValueError, match=r"number must lie in 0\.\.0, the folds that were met, got 1"):
        fold(follow(state, "k", low=0.067, high=0.08), 1)


# edges of basins


def test_the_edge_between_a_faint_and_a_full_spot_has_one_unstable_direction_and_sets_the_lifetime() -> None:
    params = gs.Params(0.16, 0.08, 0.035, 0.07)
    full = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3))
    faint = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
    edge = edge_state(params, faint, full)
    assert edge.unstable == 1
    assert edge.residual < 1e-10
    rate = edge.eigenvalues[0]
    assert rate.imag == 0
    # a start a factor e nearer to the edge lives 1 / rate steps longer
    mode_sized = [torch.from_numpy(edge.fields * np.array([1.0, 1 - e])[:, None, None])[None] for e in (1e-2, 1e-5)]
    lives = [lifetime(params, fields) for fields in mode_sized]
    assert None not in lives
    steps_per_e_fold = (lives[1] - lives[0]) / np.log(1e3)  # type: ignore[operator]
    assert steps_per_e_fold == pytest.approx(1 / np.log1p(rate.real), rel=0.2)
    assert lifetime(params, torch.from_numpy(edge.fields * np.array([1.0, 1.01])[:, None, None])[None]) is None


def test_the_outer_edge_of_the_spot_is_the_branch_beyond_its_fold() -> None:
    """The edge state is the unstable spot: one branch, two solvers."""
    params = gs.Params(0.16, 0.08, 0.05, 0.069)
    full = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=4))
    faint = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
    edge = edge_state(params, faint, full)
    branch = follow(spot(0.05, 0.068), "k", low=0.0675, high=0.08)
    beyond = branch.slope < 0
    mean = np.interp(0.069, branch.values[beyond][::-1], branch.fields[beyond, 1].max(axis=(1, 2))[::-1])
    assert edge.fields[1].max() == pytest.approx(mean, rel=2e-3)


def test_a_basin_edge_is_bisected_between_values_that_are_checked() -> None:
    start = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=5))
    edge = basin_edge(gs.Params.preset("paper"), start, dies=0.072, survives=0.06, tol=1e-6)
    assert 0 < edge.dies - edge.survives <= 1e-6
    assert lifetime(gs.Params.preset("paper").replace(k=edge.dies), start) is not None
    assert lifetime(gs.Params.preset("paper").replace(k=edge.survives), start) is None
    with pytest.raises(ValueError, match=r"dies must be a value of k at which the start dies, got 0\.06: it survives"):
        basin_edge(gs.Params.preset("paper"), start, dies=0.06, survives=0.055)
    with pytest.raises(
        ValueError, match=r"survives must be a value of k at which the start lives, got 0\.072: it dies"
    ):
        basin_edge(gs.Params.preset("paper"), start, dies=0.08, survives=0.072)
