"""Closed forms against eigenvalues, branches against closed forms and each other, edges of basins."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from helpers import instance

import gsimplicit as gs
from gsimplicit import equations
from gsimplicit.bifurcation.branch import follow
from gsimplicit.bifurcation.curve import UNIT, Curve, Point
from gsimplicit.bifurcation.edge import basin_edge, edge_state
from gsimplicit.bifurcation.fold import _singular, fold
from gsimplicit.bifurcation.lifetime import lifetime
from gsimplicit.bifurcation.uniform import (
    eigenvalues,
    hopf,
    hopf_of_steps,
    saddle_node,
    turing,
    turing_on_grid,
    upper_state,
)
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine import eigenvalues as eigenvalues_of
from gsimplicit.refine.linear import SparseLU, jacobian

FEEDS = np.linspace(0.02, 0.06, 9)


def spot(F: float, k: float, half: int = 3) -> gs.SteadyState:
    """One spot in the middle of 32 x 32 pixels, symmetric since there is no noise."""
    start = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=half))
    return gs.steady_state(gs.Params(0.16, 0.08, F, k), start, refine=True)


# closed forms


def test_the_upper_state_is_the_one_of_the_equations() -> None:
    for F in FEEDS:
        k = 0.9 * float(saddle_node(F))
        u, v = upper_state(F, k)
        exact = homogeneous_states(F, k).upper
        assert exact is not None
        assert (float(u), float(v)) == pytest.approx(exact, rel=1e-14)
        fields = torch.stack([torch.full((4, 4), float(x), dtype=torch.float64) for x in (u, v)])[None]
        assert equations.residual(fields, gs.Params(0.16, 0.08, F, k)).abs().max() < 1e-16


def test_the_eigenvalues_are_those_of_the_assembled_jacobian() -> None:
    F, k, grid = 0.05, 0.058, (8, 12)
    u, v = upper_state(F, k)
    fields = np.stack([np.full(grid, float(u)), np.full(grid, float(v))])
    dense = np.sort_complex(np.linalg.eigvals(jacobian(instance((0.16, 0.08, F, k)), fields).toarray()))
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
    # rounding of k moves the eigenvalue by its root, and more where the other one is small too
    assert np.abs(eigenvalues(FEEDS, saddle_node(FEEDS) * (1 - 1e-15))).min(axis=-1).max() < 1e-6
    assert np.abs(eigenvalues(FEEDS, saddle_node(FEEDS) * 0.999)).min(axis=-1).min() > 1e-4


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
    with pytest.raises(ValueError, match="Dv must be finite and > 0, got 0"):
        turing(0.05, 0.16, 0.0)
    with pytest.raises(ValueError, match=r"grid must have more than one pixel, got \(1, 1\)"):
        turing_on_grid(0.05, (1, 1))


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


def test_the_test_function_of_a_fold_has_the_derivatives_it_is_said_to_have(drifting_root: gs.SteadyState) -> None:
    """By central differences, at a drifting pattern, with all terms of the drift; the augmented system needs them."""
    fields, params = drifting_root.fields[0].numpy(), drifting_root.params.tensor()[0].numpy()
    curve = Curve(instance(params), "k", fields)
    assert len(curve.directions) == 2
    draw = np.random.default_rng(0)
    b, d = (draw.standard_normal(fields.shape) for _ in range(2))
    phase = curve.translations(fields)
    c = np.array([3e-3, -2e-3])  # far faster than it drifts, so that its terms weigh

    def test(X: Any, speeds: Any, p: Any) -> Any:
        return _singular(curve, Point(X, speeds, p), SparseLU(jacobian(instance(p), X, speeds)), phase, b, d)

    at, h = test(fields, c, params), 1e-6
    terms = at.g_X + instance(params).second_transposed(fields, at.w, at.psi)  # those of the drift
    dX = terms / np.abs(terms).max()  # along which they weigh most
    slope = (test(fields + h * dX, c, params).g - test(fields - h * dX, c, params).g) / (2 * h)
    assert abs((terms * dX).sum()) > 0.03 * abs(slope)
    assert (at.g_X * dX).sum() == pytest.approx(slope, rel=1e-5)
    up, down = (params + sign * h * np.array([0, 0, 0, 1]) for sign in (1, -1))
    assert at.g_p == pytest.approx(UNIT * (test(fields, c, up).g - test(fields, c, down).g) / (2 * h), rel=1e-4)
    for i, e in enumerate(curve.directions):
        slope = (test(fields, c + h * e, params).g - test(fields, c - h * e, params).g) / (2 * h)
        assert at.g_c[i] == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("step", [0.012, 0.02, 0.035])
def test_a_crossing_branch_is_not_called_a_fold(step: float) -> None:
    """Stripes end on the uniform state at its Turing point: there the parameter may turn, and nothing folds."""
    wave = np.cos(2 * np.pi * np.arange(12) / 12)
    start = np.stack([np.full((3, 12), 0.5) - 0.2 * wave, np.full((3, 12), 0.2) + 0.15 * wave])[None]
    state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.0613), start, refine=True)
    branch = follow(state, "k", direction=-1, step=step, max_points=200)
    assert branch.folds[0].value == pytest.approx(0.0594162, abs=1e-6)
    crossing = float(turing_on_grid(0.05, (3, 12)))
    for n, found in enumerate(branch.folds):
        assert abs(found.value - crossing) > 1e-4
        assert fold(branch, n).value == pytest.approx(found.value, abs=1e-8)


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
    for low, high in ((0.07, 0.08), (np.nan, 0.08), (0.05, 0.06), (-1.0, 0.08)):
        with pytest.raises(ValueError, match=r"low and high must enclose the state's k, 0 <= low <= 0\.068 <= high"):
            follow(state, low=low, high=high)
    with pytest.raises(ValueError, match="number must count one of the 1 folds that were met, from 0, got 1"):
        fold(follow(state, "k", low=0.067, high=0.08), 1)


# models with another step, and of another size


def allen_cahn(size: float = 1.0) -> gs.Model:
    def reaction(u: Any, r: Any, h: Any) -> Any:
        return r * (u - u * (u / size) ** 2) + h

    return gs.Model.of(reaction, name="allen_cahn", species=("u",), scale=size)


@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_a_branch_is_the_same_for_fields_of_any_size(size: float) -> None:
    model = allen_cahn(size)
    start = torch.full((1, 1, 4, 4), size, dtype=torch.float64)
    state = gs.steady_state(model.params(Du=0.1, r=0.3, h=0.0), start, refine=True)
    h = 0.2 / 3**0.5 * size
    branch = follow(state, "h", direction=-1, low=-2 * h, high=2 * h, unit=0.3 * size, max_folds=1)
    assert len(branch.values) < 40
    assert branch.folds[0].value == pytest.approx(-h, rel=1e-5)
    assert fold(branch).value == pytest.approx(-h, rel=1e-9)


def test_the_unit_of_a_parameter_goes_with_its_value_unless_told() -> None:
    start = torch.ones((1, 1, 4, 4), dtype=torch.float64)
    state = gs.steady_state(allen_cahn().params(Du=0.1, r=0.3, h=0.0), start, refine=True)
    assert follow(state, "r", low=0.1, high=1.0, max_points=2).unit == pytest.approx(0.03)
    assert follow(state, "h", low=-1.0, high=1.0, max_points=2).unit == UNIT
    assert follow(spot(0.05, 0.068), "k", low=0.067, high=0.08, max_points=2).unit == UNIT
    for change in ({"unit": 0.0}, {"dt": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be finite and > 0"):
            follow(state, "h", low=-1.0, high=1.0, **change)


def test_eigenvalues_take_few_marches_whatever_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 1 blows up every wave of this model: it was taken 20,000 times a point."""
    model, marches = gs.models.schnakenberg, []
    march = eigenvalues_of.cpu.march
    monkeypatch.setattr(eigenvalues_of.cpu, "march", lambda *given: marches.append(1) or march(*given))
    params = model.params(Du=0.25, Dv=5.0, a=0.1, b=1.34)
    fields = np.broadcast_to(np.array([1.44, 1.34 / 1.44**2])[:, None, None], (2, 12, 12)).copy()
    exact = max(np.linalg.eigvals(jacobian(next(equations.instances(params)), fields).toarray()).real)
    assert exact > 0
    for dt in (1.0, 0.02):
        marches.clear()
        found = eigenvalues_of.leading(
            next(equations.instances(params, dt)), fields, np.zeros((0, 2)), np.zeros(2), count=2
        )
        assert found.values[0].real == pytest.approx(exact, rel=1e-8)
        assert len(marches) <= 2 * eigenvalues_of.MOST_STRETCHES


# edges of basins


def test_what_diverges_has_not_died() -> None:
    model = dataclasses.replace(gs.models.gray_scott, presets={})
    start = gs.initial_state(grid=(32, 32), noise=0.01, box=gs.Box(half=8))
    params = model.params(Du=0.4, Dv=0.2, F=0.035, k=0.06)
    wide = {"horizon": 6000, "every": 500}
    with pytest.raises(
        ValueError, match=r"dt must be short enough .*, got 1: the fields diverge at Du = 0.4, Dv = 0.2"
    ):
        lifetime(params, start)
    with pytest.raises(ValueError, match="dt must be short enough"):
        basin_edge(params, start, dies=0.4, survives=0.16, parameter="Du")
    assert lifetime(params, start, dt=0.25, **wide) is None
    dying = params.replace(k=0.075)
    steps = lifetime(dying, start, dt=0.25, every=1)
    whole = lifetime(dying.replace(Du=0.2, Dv=0.1), start, every=1)
    assert steps is not None
    assert whole is not None
    assert steps > 2 * whole  # counted in steps, which are a quarter as long


def test_a_death_at_the_horizon_is_seen_whatever_the_looks() -> None:
    params, start = gs.Params.preset("paper").replace(k=0.07), gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
    exact = lifetime(params, start, every=1)
    assert exact is not None
    for every in (1, 20, 1000):
        assert lifetime(params, start, horizon=exact, every=every) == exact
        assert lifetime(params, start, horizon=exact - 1, every=every) is None


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
    faint = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
    paper = gs.Params.preset("paper")
    for call, message in (
        (lambda: edge_state(paper.replace(k=0.06), start, faint), "dying must be a start that dies; it survives"),
        (lambda: edge_state(paper, faint.expand(2, -1, -1, -1), start), "dying must be one instance, got 2"),
        (lambda: edge_state(paper, faint, start, leap=0), "leap must be >= 1, got 0"),
        (lambda: edge_state(paper, faint[..., :16, :16], start), "surviving must be on the grid of dying"),
        (lambda: lifetime(paper, start, every=0), "every must be >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=r"dies must be a value of k at which the start dies, got 0\.06: it survives"):
        basin_edge(gs.Params.preset("paper"), start, dies=0.06, survives=0.055)
    with pytest.raises(
        ValueError, match=r"survives must be a value of k at which the start lives, got 0\.072: it dies"
    ):
        basin_edge(gs.Params.preset("paper"), start, dies=0.08, survives=0.072)
