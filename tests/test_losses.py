from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from helpers import farthest, forward_mode, random_fields, random_params, relative

import gsimplicit as gs
from gsimplicit import equations
from gsimplicit.losses import log_spectrum, residual_loss, spectrum_loss, windowed_log_spectrum, windowed_loss
from gsimplicit.models.gray_scott import homogeneous_states

if TYPE_CHECKING:
    from collections.abc import Callable


BOTH = pytest.mark.parametrize("loss", [spectrum_loss, windowed_loss], ids=["spectrum", "windowed"])


def plain_spectrum(v: np.ndarray, mean: float) -> np.ndarray:
    """Eq. 5 and 6 in numpy, the unnormalised transform written as matrices."""
    H, W = v.shape
    rows, columns = (np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) for n in (H, W))
    power = np.abs(rows @ (v - mean) @ columns) ** 2
    return np.roll(np.log(power + 1e-8), (H // 2, W // 2), (0, 1))


# ---------------------------------------------------------------------------------------------------------------------
# Spectra
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(16, 16), (12, 20), (9, 7)])
def test_log_spectrum_is_the_plain_formula(grid: tuple[int, int]) -> None:
    v = random_fields(2, grid)[:, 1]
    found = log_spectrum(v)
    for i in range(2):
        plain = plain_spectrum(v[i].numpy(), float(v[i].mean()))
        away = np.ones(grid, dtype=bool)
        away[grid[0] // 2, grid[1] // 2] = False  # the removed mean: rounding far below epsilon
        assert farthest(found[i].numpy()[away], plain[away]) < 1e-11
        assert found[i][grid[0] // 2, grid[1] // 2].item() == pytest.approx(math.log(1e-8), rel=1e-12)


def test_windowed_log_spectrum_is_the_plain_formula_in_every_window() -> None:
    v = random_fields(2, (48, 32))[:, 1]
    found = windowed_log_spectrum(v)
    for i in range(2):
        mean = float(v[i].mean())
        for row in range(0, 48, 16):
            for column in range(0, 32, 16):
                here = np.s_[row : row + 16, column : column + 16]
                assert farthest(found[i][here], plain_spectrum(v[i][here].numpy(), mean)) < 1e-11


def test_windowed_spectrum_of_one_window_is_the_spectrum() -> None:
    v = random_fields(1, (16, 16))[:, 1]
    assert torch.equal(windowed_log_spectrum(v), log_spectrum(v))


@BOTH
def test_loss_is_the_mean_squared_difference_of_the_log_spectra(loss: Callable[..., torch.Tensor]) -> None:
    spectrum = log_spectrum if loss is spectrum_loss else windowed_log_spectrum
    v, target = random_fields(3, (32, 48))[:, 1], random_fields(3, (32, 48), seed=1)[:, 1]
    expected = ((spectrum(v) - spectrum(target)).numpy() ** 2).reshape(3, -1).mean(axis=1)
    found = loss(v, target)
    assert found.shape == (3,)
    assert found.dtype == torch.float64
    assert relative(found, expected) < 1e-14


@BOTH
def test_loss_of_equal_fields_is_zero_exactly_and_of_others_positive(loss: Callable[..., torch.Tensor]) -> None:
    v = random_fields(2, (32, 32))[:, 1]
    assert loss(v, v).tolist() == [0.0, 0.0]
    assert (loss(v, v.flip(0)) > 1.0).all()


@BOTH
def test_loss_is_symmetric(loss: Callable[..., torch.Tensor]) -> None:
    a, b = random_fields(2, (32, 32))[:, 1].split(1)
    assert torch.equal(loss(a, b), loss(b, a))


@BOTH
def test_one_target_serves_a_batch(loss: Callable[..., torch.Tensor]) -> None:
    v, target = random_fields(3, (32, 32))[:, 1], random_fields(1, (32, 32), seed=1)[:, 1]
    assert relative(loss(v, target), torch.cat([loss(v[i : i + 1], target) for i in range(3)])) < 1e-14


@BOTH
def test_float32_fields_are_compared_in_float64(loss: Callable[..., torch.Tensor]) -> None:
    v, target = random_fields(2, (32, 32))[:, 1].float(), random_fields(2, (32, 32), seed=1)[:, 1].float()
    assert torch.equal(loss(v, target), loss(v.double(), target.double()))


def test_spectrum_loss_is_invariant_to_translations_and_windowed_loss_is_not() -> None:
    v, target = random_fields(1, (32, 48))[:, 1], random_fields(1, (32, 48), seed=1)[:, 1]
    for by in ((5, 0), (0, -11), (16, 7)):
        moved = v.roll(by, (-2, -1))
        assert spectrum_loss(moved, target).item() == pytest.approx(spectrum_loss(v, target).item(), rel=1e-10)
        assert abs(windowed_loss(moved, target).item() / windowed_loss(v, target).item() - 1) > 1e-3


def test_windowed_loss_is_invariant_to_translations_by_whole_windows_of_both() -> None:
    v, target = random_fields(1, (32, 48))[:, 1], random_fields(1, (32, 48), seed=1)[:, 1]
    moved = windowed_loss(v.roll((16, -16), (-2, -1)), target.roll((16, -16), (-2, -1)))
    assert moved.item() == pytest.approx(windowed_loss(v, target).item(), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.25, 0.3])
def test_uniform_field_gives_the_logarithm_of_epsilon_in_each_bin(value: float) -> None:
    v = torch.full((1, 32, 32), value, dtype=torch.float64)
    for spectrum in (log_spectrum, windowed_log_spectrum):
        assert farthest(spectrum(v), np.full((1, 32, 32), math.log(1e-8))) < 1e-13


@pytest.mark.parametrize("grid", [(24, 32), (32, 24), (15, 15)])
def test_windowed_loss_refuses_grids_that_windows_do_not_tile(grid: tuple[int, int]) -> None:
    v = torch.rand(1, *grid, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=f"multiples of 16, got a grid of {grid[0]} x {grid[1]}"):
        windowed_loss(v, v)


@BOTH
@pytest.mark.parametrize("grid", [(16, 16), (32, 32)])
def test_loss_passes_gradcheck(loss: Callable[..., torch.Tensor], grid: tuple[int, int]) -> None:
    v, target = random_fields(1, grid)[:, 1].requires_grad_(), random_fields(1, grid, seed=1)[:, 1]
    assert torch.autograd.gradcheck(lambda x: loss(x, target), v, eps=1e-7, atol=1e-6, rtol=1e-5)


@BOTH
def test_reverse_mode_of_the_loss_equals_forward_mode(loss: Callable[..., torch.Tensor]) -> None:
    v, target = random_fields(2, (32, 48))[:, 1], random_fields(2, (32, 48), seed=1)[:, 1]
    direction = random_fields(2, (32, 48), seed=2)[:, 1] - 0.3
    x = v.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(x, target).sum(), x)
    forward = forward_mode(lambda y: loss(y, target), v, direction)
    assert relative((slope * direction).sum(dim=(1, 2)), forward) < 1e-14


def test_spectrum_of_a_uniform_field_has_a_finite_gradient() -> None:
    v = torch.full((1, 16, 16), 0.25, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(spectrum_loss(v, random_fields(1, (16, 16))[:, 1]).sum(), v)
    assert torch.isfinite(slope).all()


# ---------------------------------------------------------------------------------------------------------------------
# Residual
# ---------------------------------------------------------------------------------------------------------------------


def test_residual_loss_is_the_mean_squared_residual() -> None:
    fields, params = random_fields(3, (9, 12)), random_params(3)
    expected = (equations.residual(fields, params).numpy() ** 2).reshape(3, -1).mean(axis=1)
    assert relative(residual_loss(params, fields), expected) < 1e-14


def test_residual_loss_vanishes_at_a_root() -> None:
    upper = homogeneous_states(0.03, 0.05).upper
    fields = torch.tensor(upper, dtype=torch.float64)[None, :, None, None].expand(1, 2, 8, 8)
    assert residual_loss(gs.Params(0.16, 0.08, 0.03, 0.05), fields).item() < 1e-32


def test_residual_loss_broadcasts_either_side() -> None:
    fields, params = random_fields(3, (6, 5)), random_params(3)
    for p, f in ((params[0], fields), (params, fields[:1])):
        alone = [residual_loss(p[i % len(p)], f[i % len(f)][None]).item() for i in range(3)]
        assert relative(residual_loss(p, f), np.array(alone)) < 1e-14


@pytest.mark.parametrize(("size", "shape"), [(2, (3, 2, 6, 5)), (1, (3, 6, 5)), (1, (1, 3, 6, 5))])
def test_residual_loss_refuses_what_does_not_pair(size: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not pair"):
        residual_loss(random_params(size), torch.ones(shape, dtype=torch.float64))


def test_residual_loss_is_quadratic_in_the_parameters() -> None:
    fields = random_fields(1, (9, 12))
    base, direction = random_params(1).tensor(), random_params(1, seed=1).tensor()

    def loss(t: float) -> float:
        return residual_loss(gs.Params.stack(base + t * direction), fields).item()

    values = [loss(t) for t in (0.0, 1.0, 2.0, 3.0)]
    second = values[2] - 2 * values[1] + values[0]
    third = values[3] - 3 * values[2] + 3 * values[1] - values[0]
    assert second > 1e-4
    assert abs(third) < 1e-14


def test_gradient_of_the_residual_loss_is_the_closed_form() -> None:
    """d/dp mean R^2 = 2 mean(R . dR/dp)."""
    fields, params = random_fields(2, (9, 12)), random_params(2)
    values = params.tensor().requires_grad_()
    (found,) = torch.autograd.grad(residual_loss(gs.Params.stack(values), fields).sum(), values)
    R, slopes = equations.residual(fields, params), equations.parameter_slopes(fields, params)
    assert relative(found, 2 * (R[:, None] * slopes).mean(dim=(2, 3, 4))) < 1e-15


def test_residual_loss_is_differentiable_in_the_fields() -> None:
    fields, params = random_fields(1, (6, 5)).requires_grad_(), random_params(1)
    assert torch.autograd.gradcheck(lambda x: residual_loss(params, x), fields, eps=1e-6, atol=1e-9, rtol=1e-7)
