"""Truncated and tangent routes, routes side by side, and the public Taylor test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import OSCILLATING, PAPER, TRIVIAL, UNIFORM, mean_square, relative, small_start, weighted

import gsimplicit as gs
from gsimplicit.routes import Deq, FiniteDifference, Implicit, Tangent, Truncated, Unrolled
from gsimplicit.testing import taylor_test

FIXED: dict[str, Any] = {"tol": 0.0, "max_steps": 300}


def settings(**changes: Any) -> dict[str, Any]:
    """Arguments of `grad` at the paper's point on a small grid."""
    return {"loss": mean_square, "initial": small_start(32, 8), **FIXED, **changes}


# ---------------------------------------------------------------------------------------------------------------------
# Truncated
# ---------------------------------------------------------------------------------------------------------------------


def test_truncation_longer_than_the_march_is_unrolling() -> None:
    unrolled, truncated = (gs.grad(gs.Params(*PAPER), r, **settings()) for r in (Unrolled(), Truncated(steps=300)))
    assert torch.equal(truncated.grad.tensor(), unrolled.grad.tensor())
    assert truncated.certificate.definition == ("last marched steps",)


def test_truncation_is_unrolling_from_the_state_before_the_last_steps() -> None:
    start, params = small_start(32, 8), gs.Params(*PAPER)
    truncated = gs.grad(params, Truncated(steps=100), **settings(initial=start))
    before = gs.steady_state(params, start, tol=0.0, max_steps=200).fields
    unrolled = gs.grad(params, "unrolled", **settings(initial=before, max_steps=100))
    assert torch.equal(truncated.loss, unrolled.loss)
    assert torch.equal(truncated.grad.tensor(), unrolled.grad.tensor())
    assert truncated.certificate.products.tolist() == [100]


def test_truncation_keeps_the_share_of_a_mode_that_its_steps_let_settle() -> None:
    """On the uniform branch the bias is 1 - exp(lambda K) a mode: nothing is left of it after many steps."""
    start, params = small_start(16, 3), gs.Params(*UNIFORM)
    exact = gs.grad(params, "implicit", mean_square, initial=start).grad.tensor()
    biases = []
    for K in (20, 200, 2000):
        found = gs.grad(params, Truncated(steps=K), mean_square, initial=start, tol=0.0, max_steps=4000).grad.tensor()
        biases.append(relative(found, exact))
    assert biases[0] > 0.1
    assert biases[0] > biases[1] > biases[2]
    assert biases[2] < 1e-6


@pytest.mark.parametrize("steps", [0, -3])
def test_truncation_of_no_steps_is_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps of Truncated must be >= 1"):
        Truncated(steps=steps)


# ---------------------------------------------------------------------------------------------------------------------
# Tangent
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [mean_square, weighted((32, 32)), "spectrum"], ids=["mean v^2", "generic", "spectrum"])
@pytest.mark.parametrize("width", [32, 30])
def test_forward_and_reverse_mode_agree(loss: Any, width: int) -> None:
    start = small_start(32, 8)[..., :width].contiguous()
    loss = weighted((32, width)) if loss not in (mean_square, "spectrum") else loss
    params = gs.Params(*PAPER)
    forward, reverse = (gs.grad(params, r, loss, initial=start, **FIXED) for r in ("tangent", "unrolled"))
    assert relative(forward.grad.tensor(), reverse.grad.tensor()) < 1e-10
    assert forward.certificate.definition == ("tangents of marched steps",)


@pytest.mark.parametrize("root", ["drifting_root", "lattice_root"])
def test_tangents_at_a_root_give_the_implicit_gradient(root: str, request: pytest.FixtureRequest) -> None:
    state = request.getfixturevalue(root)
    tangent, implicit = (
        gs.grad(gs.Params(*PAPER), r, mean_square, initial=state.fields) for r in (Tangent(refine=True), Implicit())
    )
    assert relative(tangent.grad.tensor(), implicit.grad.tensor()) < 1e-8
    assert tangent.certificate.definition == ("tangents at a root",)


def test_the_tangent_route_carries_gradients_through_solve() -> None:
    k = torch.tensor(0.065, dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params(0.16, 0.08, 0.035, k), Tangent(), initial=small_start(32, 8), **FIXED)
    mean_square(state.v).sum().backward()
    assert k.grad is not None
    assert float(k.grad) == pytest.approx(gs.grad(gs.Params(*PAPER), "unrolled", **settings()).grad.k.item(), rel=1e-10)


def test_where_there_is_no_root_the_tangent_route_says_so_or_answers_at_finite_time() -> None:
    given: dict[str, Any] = {"loss": mean_square, "initial": small_start(48, 10), "max_steps": 500}
    with pytest.raises(gs.NotSteady):
        gs.grad(gs.Params(*OSCILLATING), Tangent(refine=gs.Refine(max_evaluations=1000)), **given)
    out = gs.grad(gs.Params(*OSCILLATING), "tangent", **given)
    assert out.state.status.tolist() == [gs.Status.UNSTEADY]
    assert torch.isfinite(out.grad.tensor()).all()


def test_an_instance_that_diverges_has_no_tangent_and_the_other_keeps_its_own() -> None:
    params = gs.Params(0.16, [0.08, 0.6], 0.035, 0.065)
    with pytest.warns(gs.StabilityWarning):
        out = gs.grad(params, "tangent", **settings())
    alone = gs.grad(gs.Params(*PAPER), "tangent", **settings())
    assert torch.isnan(out.grad.tensor()[1]).all()
    assert torch.equal(out.grad.tensor()[:1], alone.grad.tensor())


def test_both_routes_are_stored_by_a_scan(tmp_path: Any) -> None:
    axes, start = {"k": [0.06, 0.065]}, small_start(16, 3)
    data = gs.scan(
        axes,
        gs.Params(*PAPER),
        routes=["tangent", "truncated"],
        initial=start,
        max_steps=500,
        store=tmp_path / "line.nc",
    )
    assert data["route"].values.tolist() == ["tangent", "truncated"]
    assert np.isfinite(data["gradient"]).all()


# ---------------------------------------------------------------------------------------------------------------------
# Side by side
# ---------------------------------------------------------------------------------------------------------------------


def test_at_a_pinned_root_all_exact_routes_agree_and_the_table_says_so(lattice_root: gs.SteadyState) -> None:
    exact = [Implicit(gs.Refine(lattice=True)), Tangent(refine=True), FiniteDifference(refine=True), Unrolled()]
    table = gs.compare(
        gs.Params(*PAPER),
        [*exact, Truncated(steps=100)],
        loss=mean_square,
        initial=lattice_root.fields,
        max_steps=200_000,
    )
    reasons = [gs.Reason(int(r)) for r in table["reason"].sel(instance=0)]
    assert reasons == [gs.Reason.REFERENCE, gs.Reason.AGREES, gs.Reason.AGREES, gs.Reason.AGREES, gs.Reason.FINITE_TIME]
    assert float(table["difference"].sel(route=["tangent", "finite_difference", "unrolled"]).max()) < 1e-5
    assert 1e-5 < float(table["difference"].sel(route="truncated")[0]) < 1
    text = repr(table)
    assert all(word in text for word in ("implicit", "tangent", "unrolled", "truncated", "finite time", "agrees"))
    assert (table["seconds"] > 0).all()
    assert "<xarray" in repr(table.isel(instance=0))


def test_reasons_name_a_state_that_moved_a_dead_one_and_a_lack_of_a_gradient() -> None:
    given: dict[str, Any] = {"loss": mean_square, "share_root": False}
    moved = gs.compare(gs.Params(*PAPER), ["implicit", "unrolled"], initial=small_start(48, 10), **given)
    assert moved["reason"].values[1, 0] in (gs.Reason.OTHER_STATE, gs.Reason.DRIFT)
    lost = gs.compare(
        gs.Params(*OSCILLATING),
        ["unrolled", Implicit(gs.Refine(max_evaluations=1000))],
        initial=small_start(48, 10),
        max_steps=500,
        **given,
    )
    assert lost["reason"].values[1, 0] == gs.Reason.NO_GRADIENT
    assert np.isnan(lost["gradient"].values[1]).all()
    assert np.isfinite(lost["gradient"].values[0]).all()


def test_from_one_root_an_instance_without_a_root_has_no_gradient_by_any_route() -> None:
    params = gs.Params.stack(np.array([TRIVIAL, OSCILLATING]))
    table = gs.compare(
        params,
        [Implicit(gs.Refine(max_evaluations=1000)), "unrolled", "tangent"],
        loss=mean_square,
        initial=small_start(48, 10),
        max_steps=500,
    )
    for name in ("gradient", "route_loss"):
        assert np.isfinite(table[name].sel(instance=0)).all()
        assert np.isnan(table[name].sel(instance=1)).all()
    assert (table["definition"].sel(instance=1) == "none").all()
    assert (table["definition"].sel(instance=0) != "none").all()
    assert table["route_status"].sel(instance=1).values.tolist() == [gs.Status.UNSTEADY] * 3
    assert table["reason"].sel(instance=1).values.tolist()[1:] == [gs.Reason.NO_GRADIENT] * 2
    assert (table["reason"].sel(instance=0) != gs.Reason.NO_GRADIENT).all()


def test_a_dead_state_gives_zero_by_every_route_and_they_agree() -> None:
    table = gs.compare(gs.Params(*TRIVIAL), ["implicit", "tangent"], loss=mean_square, initial=small_start(16, 3))
    assert np.abs(table["gradient"]).max() < 1e-12


def test_the_table_is_a_dataset_that_netcdf_can_hold(tmp_path: Any) -> None:
    table = gs.compare(gs.Params(*UNIFORM), ["implicit", "tangent"], initial=small_start(16, 3), max_steps=3000)
    table.to_netcdf(tmp_path / "table.nc")
    import xarray as xr

    with xr.open_dataset(tmp_path / "table.nc") as back:
        assert np.array_equal(back["gradient"], table["gradient"])
        assert back["reason"].attrs["flag_meanings"].startswith("reference agrees")
    assert all("long_name" in table[name].attrs for name in table.data_vars)


def test_one_route_with_two_settings_has_two_names() -> None:
    table = gs.compare(
        gs.Params(*UNIFORM), [Truncated(10), Truncated(20)], loss=mean_square, initial=small_start(16, 3), max_steps=500
    )
    assert table["route"].values.tolist() == ["truncated", "truncated 2"]


def test_bad_arguments_of_compare_are_refused() -> None:
    with pytest.raises(ValueError, match="routes must name at least one route"):
        gs.compare(gs.Params(*PAPER), [])
    with pytest.raises(TypeError, match="routes must be a list"):
        gs.compare(gs.Params(*PAPER), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="share_root must be True or False"):
        gs.compare(gs.Params(*PAPER), ["implicit"], share_root="no")  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# Taylor test
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["unrolled", "tangent"])
@pytest.mark.parametrize(
    "direction", [(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)]
)
def test_exact_routes_at_finite_time_pass_a_taylor_test(route: str, direction: Any) -> None:
    sizes = tuple(2.0**-n for n in range(16, 20))
    found = taylor_test(gs.Params(*PAPER), route, mean_square, direction, sizes, initial=small_start(32, 8), **FIXED)
    assert np.abs(found.orders - 2).max() < 0.1


@pytest.mark.parametrize("route", [Implicit(), Tangent(refine=True)], ids=["implicit", "tangent"])
def test_exact_routes_at_a_root_pass_a_taylor_test(route: Any, drifting_root: gs.SteadyState) -> None:
    sizes = tuple(2.0**-n for n in range(13, 17))
    found = taylor_test(gs.Params(*PAPER), route, mean_square, sizes=sizes, initial=drifting_root.fields)
    assert np.abs(found.orders - 2).max() < 0.1


def test_a_biased_route_fails_the_taylor_test() -> None:
    found = taylor_test(gs.Params(*PAPER), Truncated(50), mean_square, initial=small_start(32, 8), **FIXED)
    assert np.abs(found.orders - 1).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sizes": (1e-3,)}, "sizes must be at least two"),
        ({"sizes": (1e-3, 0.0)}, "sizes must be at least two"),
        ({"sizes": (1e-4, 1e-3)}, "each smaller than the one before"),
        ({"sizes": (float("nan"), 1e-3)}, "sizes must be at least two"),
        ({"direction": (1.0, 0.0, 0.0)}, "direction must be 4 finite numbers"),
        ({"direction": (0.0, 0.0, 0.0, 0.0)}, "not all 0"),
        ({"initial": small_start(16, 3, count=2)}, "a Taylor test takes one instance, got 2"),
    ],
)
def test_a_taylor_test_refuses_what_it_cannot_use(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        taylor_test(gs.Params(*PAPER), "unrolled", mean_square, **{"initial": small_start(16, 3), **FIXED, **arguments})


def test_orders_do_not_need_sizes_that_halve() -> None:
    given: dict[str, Any] = {"initial": small_start(32, 8), **FIXED}
    found = taylor_test(gs.Params(*PAPER), "unrolled", mean_square, sizes=(1e-4, 3e-5, 1e-5), **given)
    assert np.abs(found.orders - 2).max() < 0.1


# ---------------------------------------------------------------------------------------------------------------------
# torchdeq
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["broyden", "anderson", "fixed_point_iter"])
@pytest.mark.parametrize("root", ["drifting_root", "lattice_root"])
def test_torchdeq_gives_the_implicit_gradient(solver: str, root: str, request: pytest.FixtureRequest) -> None:
    state = request.getfixturevalue(root)
    deq, implicit = (
        gs.grad(gs.Params(*PAPER), r, mean_square, initial=state.fields) for r in (Deq(solver=solver), Implicit())
    )
    assert relative(deq.grad.tensor(), implicit.grad.tensor()) < 1e-7
    assert deq.certificate.adjoint_residual[0] < 1e-9
    assert deq.certificate.definition == ("fixed point by torchdeq",)


WEAK = [  # diffusion and rates, side, seed: least singular values of 1e-7 to 1e-8
    ((0.17110420489116507, 0.05646848146263947, 0.03573820162682838, 0.05567412757956796), 12, 4),
    ((0.175687, 0.054649, 0.036984, 0.056892), 13, 1),
    ((0.181439, 0.047283, 0.031688, 0.05509), 12, 5),
    ((0.167228, 0.06339, 0.037125, 0.057889), 12, 7),
]


@pytest.mark.parametrize(("parameters", "n", "seed"), WEAK)
def test_at_a_weakly_pinned_root_every_route_differentiates_at_that_very_root(
    parameters: tuple[float, ...], n: int, seed: int
) -> None:
    """What is left of the residual, 1e-10 and less, would move such a root by a hundredth, and its gradient with it."""
    start, params = gs.initial_state(grid=(n, n), box=gs.Box(half=3), seed=seed), gs.Params(*parameters)
    root = gs.steady_state(params, start, refine=gs.Refine(lattice=True, max_evaluations=200_000))
    assert root.least_singular < 1e-6
    given: dict[str, Any] = {"loss": mean_square, "initial": root.fields}
    expected = gs.grad(params, "implicit", **given)
    for route, tolerance in (
        (Tangent(refine=True), 1e-11),
        (Deq(), 1e-9),
        (Deq(solver="anderson"), 1e-9),
        (FiniteDifference(refine=True), 5e-9),
    ):
        found = gs.grad(params, route, **given)
        assert torch.equal(found.state.fields, root.fields)
        assert relative(found.grad.tensor(), expected.grad.tensor()) < tolerance, route
        if isinstance(route, Deq):
            assert found.certificate.error.item() < tolerance
    phantom = gs.grad(params, Deq(phantom=2, damping=0.3), **given)
    assert relative(phantom.grad.tensor(), expected.grad.tensor()) == pytest.approx(0.49, rel=1e-6)
    assert phantom.certificate.error.item() == pytest.approx(0.49, rel=1e-6)
    values = params.tensor().requires_grad_()
    mean_square(gs.solve(gs.Params.stack(values), FiniteDifference(refine=True), initial=root.fields).v).backward()
    assert relative(values.grad, expected.grad.tensor()) < 5e-9  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_phantom_gradients_lack_the_share_that_is_stated(steps: int, drifting_root: gs.SteadyState) -> None:
    given: dict[str, Any] = {"loss": mean_square, "initial": drifting_root.fields}
    exact = gs.grad(gs.Params(*PAPER), **given).grad.tensor()
    found = gs.grad(gs.Params(*PAPER), Deq(phantom=steps, damping=0.3), **given).grad.tensor()
    assert relative(found, exact) == pytest.approx(0.7**steps, rel=1e-6)


def test_torchdeq_that_does_not_converge_is_not_believed(drifting_root: gs.SteadyState) -> None:
    short = Deq(solver="fixed_point_iter", max_iterations=5)
    with pytest.raises(gs.NotSteady, match="no gradient"):
        gs.grad(gs.Params(*PAPER), short, mean_square, initial=drifting_root.fields)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_of_the_loss_leaves_torchdeqs_relative_gradient_alone(
    scale: float, drifting_root: gs.SteadyState
) -> None:
    plain, scaled = (
        gs.grad(gs.Params(*PAPER), "deq", lambda v, s=s: s * mean_square(v), initial=drifting_root.fields).grad.tensor()
        for s in (1.0, scale)
    )
    assert relative(scaled / scale, plain) < 1e-9


def test_torchdeq_raises_where_there_is_no_root() -> None:
    with pytest.raises(gs.NotSteady):
        gs.grad(
            gs.Params(*OSCILLATING),
            Deq(refine=gs.Refine(max_evaluations=1000)),
            mean_square,
            initial=small_start(48, 10),
            max_steps=500,
        )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"solver": "newton"}, "solver of Deq must be one of"),
        ({"tol": 1.0}, "tol of Deq must be"),
        ({"damping": 0.0}, "damping must be"),
        ({"damping": 1.5}, "damping must be"),
        ({"phantom": -1}, "phantom must be >= 0"),
        ({"max_iterations": 2}, "max_iterations must be >= 3"),
    ],
)
def test_deq_settings_out_of_range_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Deq(**arguments)


# ---------------------------------------------------------------------------------------------------------------------
# Inversion
# ---------------------------------------------------------------------------------------------------------------------

AT_ROOT = [Implicit(), Deq(), Tangent(refine=True), FiniteDifference(refine=True)]
AT_FINITE_TIME = [Unrolled(), Tangent(), Truncated(400), FiniteDifference()]


@pytest.mark.parametrize("route", [*AT_ROOT, *AT_FINITE_TIME], ids=lambda r: f"{r.name}{' root' * r.needs_root}")
def test_every_route_drives_a_torch_optimiser_to_the_parameter(route: Any, drifting_root: gs.SteadyState) -> None:
    """Inside the pattern region, from k = 0.0648 to the 0.065 of the target."""
    given: dict[str, Any] = {"initial": drifting_root.fields}
    if not route.needs_root:
        given = {"initial": small_start(32, 8), "tol": 0.0, "max_steps": 800}
    target = mean_square(gs.solve(gs.Params(*PAPER), route, **given).v)
    k = torch.tensor(0.0648, dtype=torch.float64, requires_grad=True)
    scaled = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scaled], max_iter=15, tolerance_grad=1e-14, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        state = gs.solve(gs.Params(0.16, 0.08, 0.035, k.detach() + 1e-3 * scaled), route, **given)
        loss = ((mean_square(state.v) / target - 1) ** 2).sum() * 1e3
        loss.backward()
        return loss

    optimiser.step(closure)
    assert float(k.detach() + 1e-3 * scaled.detach()) == pytest.approx(0.065, abs=2e-6)
