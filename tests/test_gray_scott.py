from __future__ import annotations

import dataclasses
import importlib
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    DIVERGING,
    PAPER,
    dense_jacobian,
    farthest,
    forward_mode,
    instance,
    mean_square,
    random_fields,
    random_params,
    small_start,
)

import gsimplicit as gs
from gsimplicit import equations
from gsimplicit.grid import neighbour_sum
from gsimplicit.models import stability
from gsimplicit.models.gray_scott import PARAMETERS, homogeneous_states
from gsimplicit.models.gray_scott_equations import (
    adjoint_step_u,
    adjoint_step_v,
    residual_u,
    residual_v,
    step_coefficients,
    step_u,
    step_v,
)
from gsimplicit.models.stability import _fastest_of_upper, warn_if_unstable

# ---------------------------------------------------------------------------------------------------------------------
# Params
# ---------------------------------------------------------------------------------------------------------------------


def test_scalars_give_one_instance() -> None:
    params = gs.Params(0.16, np.float32(0.08), torch.tensor(0.035), 0)
    assert len(params) == 1
    assert all(getattr(params, name).shape == (1,) for name in PARAMETERS)


def test_values_broadcast_to_one_batch() -> None:
    params = gs.Params(0.16, [0.08], np.array([0.03, 0.04, 0.05]), torch.tensor([0.06, 0.061, 0.062]))
    assert len(params) == 3
    assert params.Du.tolist() == [0.16] * 3
    assert params.Dv.tolist() == [0.08] * 3
    assert params.F.tolist() == [0.03, 0.04, 0.05]


def test_values_become_float64_and_float32_keeps_its_value() -> None:
    params = gs.Params(torch.tensor(0.16, dtype=torch.float32), np.float32(0.08), np.array([0, 1]), torch.tensor(1))
    assert all(getattr(params, name).dtype == torch.float64 for name in PARAMETERS)
    assert params.Du[0].item() == float(np.float32(0.16))
    assert params.Dv[0].item() == float(np.float32(0.08))


def test_tensors_stay_attached_to_autograd() -> None:
    F = torch.tensor(0.035, dtype=torch.float64, requires_grad=True)
    k = torch.tensor([0.06, 0.065], dtype=torch.float32, requires_grad=True)
    params = gs.Params(0.16, 0.08, F, k)
    assert params.requires_grad
    (params.tensor() * torch.tensor([[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 10.0, 20.0]])).sum().backward()
    assert F.grad is not None
    assert F.grad.item() == 11.0
    assert k.grad is not None
    assert k.grad.dtype == torch.float32
    assert k.grad.tolist() == [2.0, 20.0]


def test_sequence_of_tensors_stays_attached_to_autograd() -> None:
    F = [torch.tensor(0.035 + i / 100, dtype=torch.float64, requires_grad=True) for i in range(2)]
    params = gs.Params(0.16, 0.08, F, 0.065)
    assert params.F.tolist() == pytest.approx([0.035, 0.045], rel=1e-15)
    assert params.requires_grad


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("paper", (0.16, 0.08, 0.035, 0.065)),
        ("paper_start", (0.1270, 0.1269, 0.0500, 0.0501)),
        ("paper_pivot_1", (0.1285, 0.0734, 0.0429, 0.0682)),
        ("paper_pivot_2", (0.1343, 0.0679, 0.0429, 0.0653)),
    ],
)
def test_presets_hold_the_papers_numbers(name: str, values: tuple[float, ...]) -> None:
    assert gs.Params.preset(name).tensor().tolist() == [list(values)]


def test_unknown_preset_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match=r"'paper'.*got 'papr'"):
        gs.Params.preset("papr")


def test_stack_is_the_inverse_of_tensor() -> None:
    params = random_params(5)
    assert torch.equal(gs.Params.stack(params.tensor()).tensor(), params.tensor())
    for j, name in enumerate(PARAMETERS):
        assert torch.equal(params.tensor()[:, j], getattr(params, name))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_stack_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 4\)"):
        gs.Params.stack(torch.ones(shape))


def test_detach_keeps_values_and_cuts_autograd() -> None:
    params = gs.Params(0.16, 0.08, torch.tensor(0.035, requires_grad=True), 0.065)
    assert not params.detach().requires_grad
    assert torch.equal(params.detach().tensor(), params.tensor().detach())


def test_replace_changes_one_parameter_and_checks_it() -> None:
    params = gs.Params.preset("paper").replace(F=[0.03, 0.04])
    assert params.F.tolist() == [0.03, 0.04]
    assert params.k.tolist() == [0.065, 0.065]
    with pytest.raises(ValueError, match="F must be finite"):
        params.replace(F=-1.0)


def test_expand_repeats_one_instance_and_keeps_a_batch() -> None:
    assert gs.Params(*PAPER).expand(3).tensor().tolist() == [list(PAPER)] * 3
    params = random_params(3)
    assert torch.equal(params.expand(3).tensor(), params.tensor())


def test_expand_refuses_a_size_that_does_not_pair() -> None:
    with pytest.raises(ValueError, match="3"):
        random_params(2).expand(3)


def test_indexing_and_iteration_choose_instances() -> None:
    params = random_params(4)
    table = params.tensor()
    assert torch.equal(params[2].tensor(), table[2:3])
    assert torch.equal(params[-1].tensor(), table[3:])
    assert torch.equal(params[1:3].tensor(), table[1:3])
    assert torch.equal(params[[3, 0]].tensor(), table[[3, 0]])
    assert torch.equal(torch.cat([one.tensor() for one in params]), table)
    with pytest.raises(IndexError):
        params[4]


def test_params_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        gs.Params(*PAPER).F = torch.ones(1)  # type: ignore[misc]


def test_repr_shows_scalars_and_batches() -> None:
    assert repr(gs.Params(*PAPER)) == "Params(Du=0.16, Dv=0.08, F=0.035, k=0.065)"
    assert repr(gs.Params(0.16, 0.08, [0.03, 0.04], 0.065)).endswith("F=[0.03, 0.04], k=[0.065, 0.065])")


def test_bounded_coordinates_are_softplus_and_scaled_sigmoid() -> None:
    raw = torch.tensor([[-2.0, 1.0, 0.5, -3.0]], dtype=torch.float64)
    found = gs.Params.from_unbounded(raw).tensor()[0].tolist()
    expected = [math.log1p(math.exp(-2)), math.log1p(math.e), 0.1 / (1 + math.exp(-0.5)), 0.1 / (1 + math.exp(3))]
    assert found == pytest.approx(expected, rel=1e-15)


def test_bounded_coordinates_round_trip_both_ways() -> None:
    params = random_params(50)
    there = gs.Params.from_unbounded(params.to_unbounded()).tensor()
    assert float((there / params.tensor() - 1).abs().max()) < 1e-14
    raw = 3 * torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert farthest(gs.Params.from_unbounded(raw).to_unbounded(), raw) < 1e-11


def test_bounded_coordinates_take_one_row_and_keep_autograd() -> None:
    raw = torch.zeros(4, requires_grad=True)
    params = gs.Params.from_unbounded(raw)
    assert len(params) == 1
    params.tensor().sum().backward()
    assert raw.grad is not None
    assert raw.grad.tolist() == pytest.approx([0.5, 0.5, 0.025, 0.025], rel=1e-7)


@pytest.mark.parametrize(("name", "value"), [("Du", 0.0), ("Dv", 0.0), ("F", 0.0), ("F", 0.1), ("k", 0.0), ("k", 0.2)])
def test_unbounded_coordinates_refuse_what_they_do_not_reach(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must lie strictly between"):
        gs.Params(*PAPER).replace(**{name: value}).to_unbounded()


def test_unbounded_coordinates_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="Du must be finite"):
        gs.Params.from_unbounded(torch.tensor([math.nan, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("shape", [(3,), (2, 8), (2, 2, 4)])
def test_unbounded_coordinates_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 4\)"):
        gs.Params.from_unbounded(torch.zeros(shape))


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1e-300])
def test_non_finite_and_negative_values_are_refused_by_name(name: str, value: float) -> None:
    given: dict[str, Any] = dict(zip(PARAMETERS, PAPER, strict=True))
    given[name] = torch.tensor([0.01, value], dtype=torch.float64)
    with pytest.raises(ValueError, match=rf"{name} must be finite and >= 0, got .* at instance 1"):
        gs.Params(**given)


@pytest.mark.parametrize("value", [[[0.1]], np.full((2, 2), 0.1), torch.ones(1, 1), [], torch.ones(0)])
def test_shapes_other_than_one_batch_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Du must have shape \(\) or \(B,\)"):
        gs.Params(value, 0.08, 0.035, 0.065)


def test_ragged_sequences_are_refused() -> None:
    with pytest.raises((ValueError, TypeError)):
        gs.Params([[0.1], [0.1, 0.2]], 0.08, 0.035, 0.065)


def test_sizes_that_do_not_broadcast_are_refused_with_all_shapes() -> None:
    with pytest.raises(ValueError, match=r"F \(2,\), k \(3,\)"):
        gs.Params(0.16, 0.08, [0.03, 0.04], [0.06, 0.061, 0.062])


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.array([True, False]),
        torch.tensor(True),
        "0.16",
        ["a", "b"],
        0.1 + 0j,
        np.array([0.1 + 0j]),
        torch.tensor(0.1 + 0j),
        None,
        object(),
    ],
)
def test_values_that_are_no_real_numbers_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="Du must be"):
        gs.Params(value, 0.08, 0.035, 0.065)


# ---------------------------------------------------------------------------------------------------------------------
# Stability limit
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "text"), [(DIVERGING, "8 Du"), ((0.1, 0.3, 0.035, 0.065), r"8 Dv \+ F \+ k")])
def test_step_above_the_stability_limit_warns_and_ends_diverged(parameters: tuple[float, ...], text: str) -> None:
    params = gs.Params.stack(torch.tensor([PAPER, parameters], dtype=torch.float64))
    with pytest.warns(gs.StabilityWarning, match=f"{text}.* > 2 at instance 1"):
        state = gs.steady_state(params, small_start(24, 4), max_steps=4000, tol=0.0)
    assert state.status.tolist() == [gs.Status.FIXED, gs.Status.DIVERGED]


def test_step_below_the_stability_limit_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gs.steady_state(gs.Params(0.245, 0.08, 0.035, 0.065), small_start(24, 4), max_steps=10, tol=0.0)


@pytest.mark.parametrize("entry", ["steady_state", "grad", "solve"])
def test_stability_warning_points_at_the_callers_line(entry: str) -> None:
    params, start = gs.Params(*DIVERGING), small_start(24, 4)
    with pytest.warns(gs.StabilityWarning) as caught:
        if entry == "steady_state":
            gs.steady_state(params, start, max_steps=2, tol=0.0)
        elif entry == "grad":
            gs.grad(params, "unrolled", mean_square, initial=start, max_steps=2, tol=0.0)
        else:
            gs.solve(params, "unrolled", initial=start, max_steps=2, tol=0.0)
    assert [warning.filename for warning in caught] == [__file__]


def test_stability_limit_is_the_amplification_of_the_checkerboard() -> None:
    sign = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(4, 4)
    for c, damping in ((0, 8 * 0.16 + 0.035), (1, 8 * 0.08 + 0.035 + 0.065)):
        fields = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])[None].double()
        fields[0, c] += 1e-3 * sign
        grown = equations.step(fields, gs.Params(*PAPER))[0, c] - (1.0 - c)
        linear = grown if c == 0 else grown - 1e-6  # u v^2 at u = 1
        assert farthest(linear, (1 - damping) * 1e-3 * sign) < 1e-15


# ---------------------------------------------------------------------------------------------------------------------
# Equations
# ---------------------------------------------------------------------------------------------------------------------


def test_factored_step_equals_state_plus_residual_to_rounding() -> None:
    fields, params = random_fields(3, (9, 12)), random_params(3)
    assert farthest(equations.step(fields, params), fields + equations.residual(fields, params)) < 1e-15


def test_residual_is_the_papers_equation() -> None:
    fields, params = random_fields(1, (6, 7))[0].numpy(), PAPER
    u, v = fields
    Du, Dv, F, k = params

    def lap(f: np.ndarray) -> np.ndarray:
        return sum(np.roll(f, by, axis) for axis in (0, 1) for by in (1, -1)) - 4 * f

    expected = np.stack([Du * lap(u) - u * v**2 + F * (1 - u), Dv * lap(v) + u * v**2 - (F + k) * v])
    found = equations.residual(torch.from_numpy(fields)[None], gs.Params(*params))[0]
    assert farthest(found, expected) < 1e-15


def test_numpy_arrays_pass_through_the_pointwise_equations() -> None:
    u, v, S = random_fields(2, (5, 5)).reshape(4, 5, 5)[:3]
    Du, Dv, F, k = PAPER
    cu, cv = step_coefficients(Du, Dv, F, k)
    for function, arguments in (
        (step_u, (S, Du, F, cu)),
        (step_v, (S, Dv, cv)),
        (residual_u, (S, Du, F)),
        (residual_v, (S, Dv, F, k)),
    ):
        found = function(u.numpy(), v.numpy(), arguments[0].numpy(), *arguments[1:])
        assert farthest(found, function(u, v, *arguments)) < 1e-15


def test_jacobian_product_equals_forward_mode() -> None:
    fields, params, direction = random_fields(3, (8, 5)), random_params(3), random_fields(3, (8, 5), seed=1) - 0.5
    expected = forward_mode(lambda f: equations.residual(f, params), fields, direction)
    assert farthest(equations.product(fields, params, direction), expected) < 1e-15


def test_jacobian_transpose_product_equals_reverse_mode() -> None:
    fields, params, direction = random_fields(3, (8, 5)), random_params(3), random_fields(3, (8, 5), seed=1) - 0.5
    expected = torch.func.vjp(lambda f: equations.residual(f, params), fields)[1](direction)[0]
    assert farthest(equations.product(fields, params, direction, transpose=True), expected) < 1e-15


def test_jacobian_transpose_passes_the_dot_product_test() -> None:
    fields, params = random_fields(1, (8, 5)), random_params(1)
    x, y = (random_fields(1, (8, 5), seed=s) - 0.5 for s in (1, 2))
    forward = (equations.product(fields, params, x) * y).sum().item()
    backward = (x * equations.product(fields, params, y, transpose=True)).sum().item()
    assert forward == pytest.approx(backward, rel=1e-13)


def test_adjoint_step_equals_reverse_mode_of_the_step() -> None:
    fields, params, cotangent = random_fields(2, (6, 7)), random_params(2), random_fields(2, (6, 7), seed=1) - 0.5
    expected = torch.func.vjp(lambda f: equations.step(f, params), fields)[1](cotangent)[0]
    (u, v), (a, b) = fields.unbind(1), cotangent.unbind(1)
    Du, Dv, F, k = (p[:, None, None] for p in params.tensor().unbind(1))
    cu, cv = step_coefficients(Du, Dv, F, k)
    S = neighbour_sum(cotangent)
    found = [
        adjoint_step_u(a, b, S[:, 0], v, Du, cu),
        adjoint_step_v(a, b, S[:, 1], u, v, Dv, cv),
    ]
    assert farthest(torch.stack(found, dim=1), expected) < 1e-15


def test_parameter_derivatives_equal_autograd_and_do_not_depend_on_the_parameters() -> None:
    fields = random_fields(1, (6, 5))
    different = (random_params(1, seed=1), random_params(1, seed=2))
    found = equations.parameter_slopes(fields, different[0])
    assert found.shape == (1, 4, 2, 6, 5)
    for params in different:
        assert torch.equal(equations.parameter_slopes(fields, params), found)
        values = params.tensor()
        jacobian = torch.autograd.functional.jacobian(
            lambda p: equations.residual(fields, gs.Params.stack(p))[0], values
        )
        assert farthest(found[0], jacobian[..., 0, :].permute(3, 0, 1, 2)) < 1e-15


# ---------------------------------------------------------------------------------------------------------------------
# Homogeneous states
# ---------------------------------------------------------------------------------------------------------------------

HOMOGENEOUS = [(0.03, 0.05), (0.035, 0.04), (0.01, 0.03), (0.05, 0.06), (0.02, 0.0)]


def constant(state: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(state, dtype=torch.float64)[None, :, None, None].expand(1, 2, 4, 4)


@pytest.mark.parametrize(("F", "k"), HOMOGENEOUS)
def test_homogeneous_states_solve_the_steady_equations(F: float, k: float) -> None:
    states = homogeneous_states(F, k)
    assert states.trivial == (1.0, 0.0)
    assert states.upper is not None
    assert states.lower is not None
    assert states.upper[1] > states.lower[1] > 0
    for u, v in (states.upper, states.lower):
        assert abs((F + k) * v**2 - F * v + F * (F + k)) < 1e-17
        assert abs(u * v - (F + k)) < 1e-16
        residual = equations.residual(constant((u, v)), gs.Params(0.16, 0.08, F, k))
        assert float(residual.abs().max()) < 1e-15


@pytest.mark.parametrize(("F", "k"), [(0.06, 0.065), (0.04, 0.06), (0.01, 0.06), (0.0, 0.05), (0.0, 0.0)])
def test_only_the_trivial_state_exists_beyond_the_fold(F: float, k: float) -> None:
    states = homogeneous_states(F, k)
    assert 4 * (F + k) ** 2 >= F or F == 0
    assert (states.trivial, states.upper, states.lower) == ((1.0, 0.0), None, None)


@pytest.mark.parametrize(("F", "k"), HOMOGENEOUS)
def test_closed_form_slopes_of_the_homogeneous_states_agree_with_differences(F: float, k: float) -> None:
    """The slopes used as oracle in the tests of the routes."""

    def v(F: float, k: float, branch: str) -> float:
        return getattr(homogeneous_states(F, k), branch)[1]

    h = 1e-6
    for branch in ("upper", "lower"):
        at = v(F, k, branch)
        slope = 2 * (F + k) * at - F
        dF, dk = -(at**2 - at + 2 * F + k) / slope, -(at**2 + F) / slope
        assert (v(F + h, k, branch) - v(F - h, k, branch)) / (2 * h) == pytest.approx(dF, rel=1e-7)
        k0 = max(k, h)  # stay at k >= 0
        at0 = v(F, k0, branch)
        dk = -(at0**2 + F) / (2 * (F + k0) * at0 - F)
        assert (v(F, k0 + h, branch) - v(F, k0 - h, branch)) / (2 * h) == pytest.approx(dk, rel=1e-7)


@pytest.mark.parametrize("preset", sorted(gs.Params.PRESETS))
def test_rest_state_is_a_fixed_point_of_the_step_to_its_last_digit(preset: str) -> None:
    rest = constant((1.0, 0.0))
    for fields in (rest, rest.float()):
        moved = farthest(equations.step(fields, gs.Params.preset(preset)), fields)
        assert moved <= (0 if preset.startswith("paper") else torch.finfo(fields.dtype).eps)


def test_residual_of_the_rest_state_is_zero_exactly_for_any_parameters() -> None:
    params = random_params(100)
    assert not equations.residual(constant((1.0, 0.0)).expand(100, -1, -1, -1), params).any()


# ---------------------------------------------------------------------------------------------------------------------
# Symmetries
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [equations.step, equations.residual], ids=["step", "residual"])
def test_translation_of_the_fields_translates_the_result_bitwise(function: Any) -> None:
    fields, params = random_fields(2, (9, 12)), random_params(2)
    moved = function(fields.roll((4, -5), (-2, -1)), params)
    assert torch.equal(moved, function(fields, params).roll((4, -5), (-2, -1)))


@pytest.mark.parametrize("function", [equations.step, equations.residual], ids=["step", "residual"])
def test_rotation_and_transposition_of_the_fields_commute_with_the_equations(function: Any) -> None:
    fields, params = random_fields(2, (9, 12)), random_params(2)
    for turn in (lambda x: x.rot90(1, (-2, -1)), lambda x: x.transpose(-2, -1), lambda x: x.flip(-1)):
        assert farthest(function(turn(fields), params), turn(function(fields, params))) < 1e-15


def test_batch_of_equations_equals_a_loop_bitwise() -> None:
    fields, params = random_fields(3, (9, 12)), random_params(3)
    for function in (equations.step, equations.residual):
        alone = torch.cat([function(fields[i : i + 1], params[i]) for i in range(3)])
        assert torch.equal(function(fields, params), alone)


def test_the_transposed_second_derivative_passes_the_dot_product_test() -> None:
    """<c, R''(a, b)> = <R''(a, .)^T c, b>."""
    X, a, b, c = (random_fields(1, (5, 7), seed=n)[0].numpy() - 0.3 for n in range(4))
    at = instance(PAPER)
    there = (c * at.second(X, a, b)).sum()
    back = (at.second_transposed(X, a, c) * b).sum()
    assert there == pytest.approx(back, rel=1e-13)


# ---------------------------------------------------------------------------------------------------------------------
# Units and the limit of the step
# ---------------------------------------------------------------------------------------------------------------------


def test_presets_of_other_programs_are_their_diffusion_over_the_square_of_their_spacing() -> None:
    for name, (D, dx) in {"pearson_mu": (2e-5, 2.5 / 256), "the_well_maze": (2e-5, 2 / 128)}.items():
        params = gs.Params.preset(name)
        assert params.Du.item() == pytest.approx(D / dx**2)
        assert params.Dv.item() == pytest.approx(D / 2 / dx**2)
    # nine points of weights 0.2 and 0.05 see 0.3 of the second derivative, and pixels are sqrt(2) times as wide
    x = torch.arange(-1.0, 2.0, dtype=torch.float64)
    weights = torch.tensor([[0.05, 0.2, 0.05], [0.2, -1.0, 0.2], [0.05, 0.2, 0.05]], dtype=torch.float64)
    seen = (weights * x**2).sum().item() / 2
    assert gs.Params.preset("karl_sims").Du.item() == pytest.approx(1.0 * seen / 2)
    for name in gs.Params.PRESETS:
        assert (8 * gs.Params.preset(name).Du).item() < 2


def test_a_preset_taken_over_as_it_stands_is_told_how_to_translate() -> None:
    fields = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    with pytest.warns(gs.StabilityWarning, match=r"D / dx\^2"):
        gs.steady_state(gs.Params(1.0, 0.5, 0.055, 0.062), fields, max_steps=10)
    with pytest.warns(gs.UnitsWarning, match=r"D / dx\^2"):
        gs.steady_state(gs.Params(2e-5, 1e-5, 0.037, 0.06), fields, max_steps=10)


def test_the_limit_of_the_step_at_the_upper_uniform_state_is_the_dense_jacobians() -> None:
    grid = (8, 8)
    for Du in (0.18, 0.19, 0.2, 0.21):
        point = (Du, 0.105, 0.06, 0.03)
        upper = homogeneous_states(*point[2:]).upper
        assert upper is not None
        fields = torch.tensor(upper, dtype=torch.float64)[:, None, None].expand(2, *grid).contiguous().numpy()
        fastest = np.linalg.eigvals(dense_jacobian(fields, point)).real.min()
        assert _fastest_of_upper(*point) == pytest.approx(fastest, rel=1e-12)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            warn_if_unstable(gs.Params(*point))
        assert bool(said) == bool(fastest < -2)


def test_no_diffusion_at_all_is_no_mistake_of_units() -> None:
    warn_if_unstable(gs.Params(0.0, 0.0, 0.03, 0.05))


# ---------------------------------------------------------------------------------------------------------------------
# The former home
# ---------------------------------------------------------------------------------------------------------------------


def test_what_stood_in_the_former_home_works_with_a_warning() -> None:
    from gsimplicit import gray_scott as former

    X, params, d, w = (
        random_fields(2, (5, 7)),
        random_params(2),
        random_fields(2, (5, 7), 1),
        random_fields(2, (5, 7), 2),
    )
    at = [instance(values) for values in params.tensor().tolist()]

    def of_each(name: str, *arguments: torch.Tensor) -> torch.Tensor:
        rows = zip(*(argument.numpy() for argument in arguments), strict=True)
        return torch.stack([torch.from_numpy(getattr(e, name)(*row)) for e, row in zip(at, rows, strict=True)])

    moved: dict[str, tuple[Any, ...]] = {
        "step": (equations.step(X, params), X, params),
        "residual": (equations.residual(X, params), X, params),
        "jacobian_product": (equations.product(X, params, d), X, params, d),
        "jacobian_transpose_product": (equations.product(X, params, d, transpose=True), X, params, d),
        "parameter_derivatives": (equations.parameter_slopes(X, params), X),
        "mixed_derivative": (of_each("mixed", X, d), d),
        "second_derivative": (of_each("second", X, d, w), X, d, w),
        "second_derivative_transposed": (of_each("second_transposed", X, d, w), X, d, w),
        "neighbour_sum": (neighbour_sum(X), X),
    }
    for name, (expected, *arguments) in moved.items():
        with pytest.warns(DeprecationWarning, match=f"gray_scott.{name} is .* now"):
            function = getattr(former, name)
        assert farthest(function(*arguments), expected) < 1e-15, name
    pointwise = {
        "gray_scott": ("homogeneous_states",),
        "gray_scott_equations": (
            *("step_u", "step_v", "residual_u", "residual_v", "adjoint_step_u", "adjoint_step_v", "step_coefficients"),
            *("tangent_step_u", "tangent_step_v", "parameter_forces", "reaction_jacobian", "bending"),
        ),
    }
    for place, names in pointwise.items():
        home = importlib.import_module(f"gsimplicit.models.{place}")
        for name in names:
            with pytest.warns(DeprecationWarning, match=f"gsimplicit.models.{place}.{name} now"):
                assert getattr(former, name) is getattr(home, name)
    home = importlib.import_module("gsimplicit.models.gray_scott")
    for name in ("warn_if_unstable", "NOT_FELT"):
        with pytest.warns(DeprecationWarning, match=f"gsimplicit.models.stability.{name} now"):
            assert getattr(former, name) is getattr(stability, name)
    # classes and names stay importable without a word
    assert (former.Params, former.PARAMETERS, former.StabilityWarning) == (gs.Params, PARAMETERS, gs.StabilityWarning)
    assert (former.UnitsWarning, former.Homogeneous) == (gs.UnitsWarning, home.Homogeneous)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        former.nothing  # noqa: B018
