"""What figures 1, 4 and 6 are judged by: order along lines, losses and distances of sets, quadratics."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from studies import _bowl, _cusp, _order, _seven, fig1, fig4, fig6
from studies._bowl import TRUTH, deviation, equations_at_truth, fitted, hessian, minimum


@pytest.mark.parametrize("module", [_order, _bowl])
def test_the_examples_of_the_helpers_run(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def random_fields(side: int = 16) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.stack([generator.uniform(0.2, 1, (side, side)), generator.uniform(0, 0.4, (side, side))])


def test_the_residual_loss_of_any_fields_is_the_quadratic_to_rounding() -> None:
    fields = random_fields()
    assert deviation(fields, *equations_at_truth(fields)) < 1e-13


def test_a_wrong_quadratic_is_told_from_the_loss() -> None:
    fields = random_fields()
    A, b = equations_at_truth(fields)
    assert deviation(fields, A, 1.001 * b) > 1e-6


def test_no_parameters_near_the_minimum_have_a_lower_residual_loss() -> None:
    start = gs.initial_state(grid=(32, 32), box=gs.Box(half=7))
    fields = gs.steady_state(gs.Params(**TRUTH), start, tol=0.0, max_steps=500).fields[0].double().numpy()
    A, b = equations_at_truth(fields)
    least = np.array(list(TRUTH.values())) * (1 + minimum(A, b))
    around = least + 1e-3 * np.random.default_rng(1).standard_normal((20, 4))
    losses = gs.residual_loss(gs.Params(*np.array([least, *around]).T), fields[None])
    assert losses[0] == losses.min()
    assert (np.linalg.eigvalsh(hessian(A)) > 0).all()


def test_with_the_rate_of_a_step_the_minimum_is_the_truth_wherever_the_march_is() -> None:
    start = gs.initial_state(grid=(32, 32), box=gs.Box(half=7))
    now = gs.steady_state(gs.Params(**TRUTH), start, tol=0.0, max_steps=100, dtype=torch.float64).fields
    found = fig6._quadratic(now[0].numpy())
    assert np.abs(found["miss"]).max() > 0.05
    assert np.abs(found["miss_with_rate"][0]).max() < 1e-10
    assert 1e-10 < np.abs(found["miss_with_rate"][1]).max() < np.abs(found["miss"]).max()


def test_a_surface_with_a_kink_is_no_quadratic() -> None:
    x = np.linspace(-1, 1, 9)
    assert fitted(x, x, x[:, None] ** 2 + x**2)[2] < 1e-13
    assert fitted(x, x, np.abs(x[:, None]) + x**2)[2] > 0.01


def test_order_has_a_sign_and_counts_lines_of_four_or_more() -> None:
    nan = np.nan
    falling = _order.order(np.array([[4.0, 3, 2, 1, nan], [nan, 9, 8, 7, 4], [nan, nan, 1, 2, 3]]))
    assert (falling.rho, falling.rows, falling.monotone) == (-1.0, 2, 2)
    assert falling.steepest == pytest.approx(3 / 8)


def test_no_order_in_noise_and_none_without_lines() -> None:
    noise = _order.order(np.random.default_rng(3).standard_normal((5, 6)))
    assert abs(noise.rho) < 0.8
    assert noise.p > 0.01
    empty = _order.order(np.full((3, 4), np.nan))
    assert (empty.rows, empty.p) == (0, 1.0)
    assert np.isnan(empty.rho)


def test_p_is_right_where_all_orders_can_be_counted() -> None:
    """One line of four: 2 of its 24 orders are monotone."""
    assert _order.order(np.array([[1.0, 2, 3, 4]])).p == pytest.approx(2 / 24, abs=0.01)


def seven_of(v: np.ndarray, targets: np.ndarray) -> xr.Dataset:
    """A dataset as of figure 1."""
    data = np.concatenate([v, targets[None]])
    return xr.Dataset({"v": (("pattern", "sample", "y", "x"), data)}, {"pattern": [*_seven.SEVEN, "target"]})


def waves(n: int, samples: int = 3, height: float = 0.1) -> np.ndarray:
    x = 2 * np.pi * np.arange(32) / 32
    one = height * np.cos(n * x[:, None]) * np.cos(n * x) + 0.1
    generator = np.random.default_rng(n)
    return np.stack([one + 0.01 * generator.standard_normal((32, 32)) for _ in range(samples)])


def test_the_seven_sets_are_judged_also_where_some_or_all_have_no_pattern() -> None:
    flat = np.full((3, 32, 32), 0.3)
    for seven in ([flat, flat, waves(4), waves(3), waves(4), flat, waves(5)], [flat] * 7):
        claims = fig1.judge({"fig1": seven_of(np.stack(seven), waves(3)[::-1] + 1e-4)})
        assert len(claims) == 6
        assert all(isinstance(c.holds, (bool, np.bool_)) for c in claims)


def test_losses_of_sets_are_the_package_s_and_the_uniform_level_is_that_of_any_uniform_field() -> None:
    targets = waves(3)
    loss = _seven.losses(np.stack([waves(4), targets]), targets)
    one = gs.windowed_loss(torch.from_numpy(waves(4)[1:2]), torch.from_numpy(targets[2:3]))
    assert loss.sel(objective="windowed").values[0, 1, 2] == pytest.approx(float(one))
    assert np.diagonal(loss.values[:, 1], axis1=1, axis2=2) == pytest.approx(0)
    flat = _seven.losses(np.full((1, 1, 32, 32), 0.7), targets).mean(["pattern", "sample", "target"])
    assert _seven.uniform_level(targets).values == pytest.approx(flat.values)


def test_targets_are_one_unit_from_each_other_on_average() -> None:
    targets = waves(3, 4)
    values = _seven.apart(targets[None], targets)[0, :, 0]
    assert values.mean() == pytest.approx(3 / 4)  # a quarter of the pairs is a target with itself


def test_patterns_that_do_not_fill_their_grid_have_no_numbers() -> None:
    v = np.stack([waves(1, 1), waves(4, 1), np.full((1, 32, 32), 0.3)])[None]
    kind = np.array([[[3], [3], [2]]])
    data = xr.Dataset(
        {"v": (("F", "k", "sample", "y", "x"), v), "kind": (("F", "k", "sample"), kind)}, {"F": [0.03], "k": [1, 2, 3]}
    )
    found = fig4.measured(data)["wavelength"].values.ravel()
    assert np.isfinite(found).tolist() == [False, True, False]
    assert found[1] == pytest.approx(32 / np.hypot(4, 4), rel=0.05)


def test_a_cusp_and_a_corner_are_told_apart_by_the_power_of_their_width() -> None:
    F = np.linspace(0.03, 0.07, 25)
    for power in (1.0, 1.5):
        half = 0.1 * (0.0715 - F) ** power
        end, at, found, error = _cusp.tip(F, 0.06 - half, 0.06 + half)
        assert end == pytest.approx(0.0715, abs=1e-5)
        assert at == pytest.approx(0.06, abs=1e-6)
        assert found == pytest.approx(power, abs=1e-3)
        assert error < 1e-3
    assert np.isnan(_cusp.tip(F[:3], F[:3], 2 * F[:3])[2])
