"""Scans: what they hold, that they agree with `grad`, that nothing is lost, and what they refuse."""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import OSCILLATING, small_start

import gsimplicit as gs
from gsimplicit import provenance
from gsimplicit.identity import identity
from gsimplicit.landscape import run as running

GRID = (32, 32)
AXES = {"F": [0.03, 0.035], "k": [0.06, 0.065, 0.07]}


def fields(count: int = 1) -> torch.Tensor:
    return gs.initial_state(count, grid=GRID, box=gs.Box(half=5))


def mean_square(v: torch.Tensor) -> torch.Tensor:
    return (v**2).mean(dim=(-2, -1))


def scan(**changes: Any) -> xr.Dataset:
    given = {"axes": AXES, "initial": fields(), "tol": 0.0, "max_steps": 150, "progress": False, **changes}
    return gs.scan(**given)


def test_dimensions_variables_and_labels_are_those_of_the_contract() -> None:
    data = scan(
        losses=["spectrum", "windowed", "residual", mean_square], routes=["unrolled"], initial=fields(2), keep="v"
    )
    assert dict(data.sizes) == {
        "F": 2, "k": 3, "sample": 2, "objective": 4, "route": 1, "parameter": 4, "component": 2, "y": 32, "x": 32,
    }  # fmt: skip
    assert data["loss"].dims == ("F", "k", "sample", "objective")
    assert data["gradient"].dims == ("F", "k", "sample", "route", "objective", "parameter")
    assert data["route_loss"].dims == ("F", "k", "sample", "route", "objective")
    assert data["v"].dims == ("F", "k", "sample", "y", "x")
    for name in ("status", "kind", "steps", "change", "residual", "v_mean", "v_std"):
        assert data[name].dims == ("F", "k", "sample")
    for name in data.variables:
        assert "long_name" in data[name].attrs, name
        if data[name].dtype.kind in "fiu":
            assert "units" in data[name].attrs, name
    assert data["Du"].item() == 0.16
    assert data["objective"].values.tolist() == ["spectrum", "windowed", "residual", "mean_square"]
    assert data.attrs["gsimplicit_complete"] == 1


def test_the_loss_is_exactly_zero_at_base_sample_by_sample() -> None:
    data = scan(losses=["spectrum", "windowed"], initial=fields(3))
    at_base = data["loss"].sel(F=0.035, k=0.065)
    assert (at_base == 0).all()
    assert (data["loss"].sel(F=0.03) > 0).all()


def test_a_point_holds_what_grad_gives_there() -> None:
    start = fields(2)
    target = gs.steady_state(gs.Params.preset("paper"), start, tol=0.0, max_steps=150).v
    data = scan(losses=["spectrum", "windowed"], routes=["unrolled", "finite_difference"], initial=start)
    for route in ("unrolled", "finite_difference"):
        for loss in ("spectrum", "windowed"):
            out = gs.grad(
                gs.Params(0.16, 0.08, 0.03, 0.07), route, loss, target=target, initial=start, tol=0.0, max_steps=150
            )
            point = data.sel(F=0.03, k=0.07, objective=loss)
            np.testing.assert_array_equal(point["loss"].values, out.loss.numpy())
            found = point["gradient"].sel(route=route).values
            np.testing.assert_allclose(found, out.grad.tensor().numpy(), rtol=1e-12)


def test_residual_loss_is_taken_at_the_target_without_marching() -> None:
    start = fields()
    data = scan(losses=["residual"], routes=["implicit"], initial=start)
    state = gs.steady_state(gs.Params.preset("paper"), start, tol=0.0, max_steps=150)
    values = torch.tensor([[0.16, 0.08, 0.03, 0.07]], dtype=torch.float64, requires_grad=True)
    loss = gs.residual_loss(gs.Params.stack(values), state.fields)
    loss.sum().backward()
    point = data.sel(F=0.03, k=0.07)
    assert point["loss"].item() == pytest.approx(loss.item(), rel=1e-14)
    np.testing.assert_allclose(point["gradient"].values.ravel(), values.grad.numpy().ravel(), rtol=1e-12)
    assert (data["status"] == gs.Status.NOT_RUN).all()
    assert (data["steps"] == 0).all()


def test_bad_points_stay_in_the_data_with_their_status_and_leave_others_alone() -> None:
    axes = {"Du": [0.16, 0.4], "k": [0.06, 0.075]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        data = scan(axes=axes, routes=["implicit", "unrolled"], tol=1e-4, max_steps=512)
    alone = scan(axes={"Du": [0.16], "k": [0.06, 0.075]}, routes=["implicit", "unrolled"], tol=1e-4, max_steps=512)
    xr.testing.assert_equal(data.isel(Du=[0]).drop_attrs(), alone.drop_attrs())
    assert (data["status"].sel(Du=0.4) == gs.Status.DIVERGED).all()
    assert data["loss"].sel(Du=0.4).isnull().all()
    assert data["gradient"].sel(Du=0.4).isnull().all()
    assert (data["route_status"].sel(Du=0.4) == gs.Status.DIVERGED).all()
    assert data["status"].sel(Du=0.16, k=0.06).item() == gs.Status.UNSTEADY
    assert data["status"].sel(Du=0.16, k=0.075).item() == gs.Status.SETTLED
    assert data["route_status"].sel(Du=0.16, k=0.075, route="implicit").item() == gs.Status.STEADY


def test_a_point_without_a_steady_state_is_a_status_in_a_scan_and_an_error_in_grad() -> None:
    route = gs.routes.Implicit(refine=gs.Refine(max_evaluations=200))
    given = {"initial": fields(), "tol": 1e-4, "max_steps": 128}
    data = gs.scan({"k": [0.06]}, routes=[route, "unrolled"], progress=False, **given)
    assert data["route_status"].sel(route="implicit").item() == gs.Status.UNSTEADY
    assert data["gradient"].sel(route="implicit").isnull().all()
    assert data["gradient"].sel(route="unrolled").notnull().all()
    with pytest.raises(gs.NotSteady, match="instance 0: unsteady"):
        gs.grad(gs.Params(0.16, 0.08, 0.035, 0.06), route, **given)


def test_routes_that_refine_alike_share_one_root_and_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    from gsimplicit import states

    calls: list[Any] = []

    def counted(*args: Any) -> Any:
        calls.append(args)
        return real(*args)

    real = states.refine
    monkeypatch.setattr(states, "refine", counted)
    other = gs.routes.Deq(refine=gs.Refine(eigenvalues=3))
    given: dict[str, Any] = {"axes": {"k": [0.06]}, "tol": 1e-4, "max_steps": 50_000, "dtype": torch.float64}
    together = scan(routes=["implicit", "deq", gs.routes.Tangent(refine=True)], **given)
    assert len(calls) == 1
    alone = [scan(routes=[r], **given) for r in ("implicit", "deq")]
    assert len(calls) == 3
    for n, data in enumerate(alone):
        np.testing.assert_array_equal(together["gradient"].isel(route=[n]), data["gradient"])
    scan(routes=["implicit", other], **given)
    assert len(calls) == 5


def test_share_root_starts_every_route_from_one_certified_root() -> None:
    data = scan(axes={"k": [0.06]}, routes=["implicit", "unrolled"], share_root=True, tol=1e-4, max_steps=50_000)
    losses = data["route_loss"].isel(k=0, sample=0, objective=0)
    assert data["route_status"].sel(route="implicit").item() in (gs.Status.STEADY, gs.Status.DRIFTING)
    # the unrolled route marches 64 steps from the root, which hardly moves
    assert losses.sel(route="unrolled").item() == pytest.approx(losses.sel(route="implicit").item(), rel=1e-3)
    assert data["loss"].item() != losses.sel(route="implicit").item()


def test_share_root_leaves_a_point_without_a_root_without_a_gradient_as_compare_does() -> None:
    start = small_start(48, 10)
    refine = gs.Refine(max_evaluations=1000)
    given: dict[str, Any] = {"tol": 1e-4, "max_steps": 500}
    data = gs.scan(
        {"k": [OSCILLATING[3]]},
        gs.Params(*OSCILLATING),
        losses=[mean_square],
        routes=["implicit", "unrolled"],
        initial=start,
        refine=refine,
        share_root=True,
        progress=False,
        **given,
    )
    assert np.isnan(data["gradient"]).all()
    assert np.isnan(data["route_loss"]).all()
    table = gs.compare(
        gs.Params(*OSCILLATING), [gs.routes.Implicit(refine), "unrolled"], loss=mean_square, initial=start, **given
    )
    assert data["route_status"].values.ravel().tolist() == table["route_status"].values.ravel().tolist()
    assert (data["route_definition"] == 0).all()


def test_a_refined_scan_keeps_the_eigenvalues_it_was_asked_for(tmp_path: Path) -> None:
    given: dict[str, Any] = {"axes": {"k": [0.06, 0.08]}, "tol": 1e-4, "max_steps": 20_000}
    data = scan(refine=gs.Refine(eigenvalues=2), store=tmp_path / "roots.nc", **given)
    root = gs.steady_state(gs.Params(0.16, 0.08, 0.035, 0.08), fields(), refine=gs.Refine(eigenvalues=2))
    assert data["eigenvalue_real"].dims == data["eigenvalue_imag"].dims == ("k", "sample", "mode")
    np.testing.assert_array_equal(data["eigenvalue_real"].sel(k=0.08), root.eigenvalues.real)
    trivial = [-0.035, -0.035 - 0.16 * (2 - 2 * np.cos(2 * np.pi / 32))]  # -F, and one wave of u across the grid
    np.testing.assert_allclose(data["eigenvalue_real"].sel(k=0.08, sample=0), trivial, rtol=1e-9)
    assert data["stable"].sel(k=0.08).item() == gs.Stable.YES == root.stable.item()
    assert data["stable"].attrs["flag_meanings"] == "unknown yes no"
    stored = xr.open_dataset(tmp_path / "roots.nc")
    xr.testing.assert_equal(stored.load(), data)
    assert gs.scan_arguments(stored)["refine"] == gs.Refine(eigenvalues=2)
    assert "stable" not in scan(refine=True, **given)


def test_refine_takes_the_loss_at_the_certified_root() -> None:
    start = fields()
    data = scan(axes={"k": [0.06]}, losses=[mean_square], initial=start, refine=True, tol=1e-4, max_steps=50_000)
    root = gs.steady_state(gs.Params(0.16, 0.08, 0.035, 0.06), start, refine=True)
    assert data["status"].item() == int(root.status[0])
    assert data["loss"].item() == mean_square(root.v).item()
    assert data["residual"].item() <= 1e-5


def test_every_executor_gives_the_same_bits() -> None:
    inline = scan(losses=["spectrum", "windowed"], routes=["unrolled"])
    with ThreadPoolExecutor(2) as pool:
        threads = scan(losses=["spectrum", "windowed"], routes=["unrolled"], executor=pool)
    xr.testing.assert_identical(inline.drop_attrs(), threads.drop_attrs())


def test_the_pool_of_processes_gives_the_same_bits_and_takes_functions_defined_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def local(v: torch.Tensor) -> torch.Tensor:
        return (v**3).mean(dim=(-2, -1))

    inline = scan(losses=["spectrum", local])
    monkeypatch.setattr(running, "_INLINE_SECONDS", 0.0)  # send all but the first tile to the processes
    xr.testing.assert_identical(inline.drop_attrs(), scan(losses=["spectrum", local]).drop_attrs())


@pytest.mark.parametrize("stored", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_pool_of_multiprocessing_gives_the_same_bits_in_every_variable(stored: bool, tmp_path: Path) -> None:
    """Its pickling moves tensors to shared memory; fields and targets of the dataset must not be views of those."""
    given: dict[str, Any] = {"losses": ["spectrum", "residual"], "routes": ["unrolled"], "initial": fields(2)}
    store = tmp_path / "a.nc" if stored else None
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = scan(**given, executor=pool, store=store, tile=1)
    xr.testing.assert_identical(found.drop_attrs(), scan(**given).drop_attrs())
    np.testing.assert_array_equal(found["initial"].values, fields(2).numpy())


def test_a_finished_store_is_returned_and_opens_as_the_same_data(tmp_path: Path) -> None:
    data = scan(store=tmp_path / "a.nc", routes=["unrolled"])
    with xr.open_dataset(tmp_path / "a.nc") as opened:
        xr.testing.assert_identical(opened.load(), data)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]
    before = (tmp_path / "a.nc").stat().st_mtime_ns
    xr.testing.assert_identical(scan(store=tmp_path / "a.nc", routes=["unrolled"]), data)
    assert (tmp_path / "a.nc").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"max_steps": 100}, "marching"),
        ({"losses": ["windowed"]}, "losses"),
        ({"initial": gs.initial_state(1, 5, grid=GRID)}, "initial"),
        ({"axes": {"F": [0.03], "k": [0.06]}}, "axes"),
        ({"base": gs.Params.preset("paper_start")}, "base"),
        ({"routes": ["unrolled"]}, "routes"),
        ({"refine": True}, "refine"),
        ({"keep": "v"}, "keep"),
        ({"target": torch.rand(1, *GRID, dtype=torch.float64)}, "target"),
    ],
)
def test_another_configuration_is_an_error_naming_the_key_unless_overwritten(
    tmp_path: Path, change: dict[str, Any], key: str
) -> None:
    scan(store=tmp_path / "a.nc")
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises(gs.StoreMismatchError, match=rf"{key}[.\w]*: .* there, .* asked for"):
        scan(store=tmp_path / "a.nc", **change)
    assert (tmp_path / "a.nc").read_bytes() == before
    if key == "axes":
        assert dict(scan(store=tmp_path / "a.nc", overwrite=True, **change)["status"].sizes) == {
            "F": 1,
            "k": 1,
            "sample": 1,
        }


class Power:
    """A loss with a setting of its own."""

    __name__ = "power"

    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        return (v**self.power).mean(dim=(-2, -1))


def power(v: torch.Tensor, power: float) -> torch.Tensor:
    return (v**power).mean(dim=(-2, -1))


def closure(exponent: float) -> Any:
    def loss(v: torch.Tensor) -> torch.Tensor:
        return (v**exponent).mean(dim=(-2, -1))

    return loss


def named(loss: Any) -> Any:
    loss.__name__ = "named"
    return loss


@pytest.mark.parametrize(
    "make", [Power, closure, lambda p: named(partial(power, power=p))], ids=["object", "closure", "partial"]
)
def test_a_callable_that_holds_another_value_is_another_configuration(tmp_path: Path, make: Any) -> None:
    first = scan(losses=[make(2.0)], store=tmp_path / "a.nc")
    xr.testing.assert_identical(scan(losses=[make(2.0)], store=tmp_path / "a.nc"), first)
    with pytest.raises(gs.StoreMismatchError, match="losses"):
        scan(losses=[make(4.0)], store=tmp_path / "a.nc")


POWER = 2.0


def of_global(v: torch.Tensor) -> torch.Tensor:
    return (v**POWER).mean(dim=(-2, -1))


def test_a_global_a_loss_uses_is_part_of_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(losses=[of_global], store=tmp_path / "a.nc")
    monkeypatch.setitem(globals(), "POWER", 3.0)
    with pytest.raises(gs.StoreMismatchError, match="losses"):
        scan(losses=[of_global], store=tmp_path / "a.nc")


def test_functions_without_source_are_told_by_their_code_and_recursion_ends() -> None:
    spaces: list[dict[str, Any]] = [{}, {}]
    for power, space in zip((2, 3), spaces, strict=True):
        exec(f"def loss(v):\n    return (v**{power}).mean((-2, -1))", space)
    assert identity(spaces[0]["loss"]) != identity(spaces[1]["loss"])

    def again(v: torch.Tensor, depth: int = 1) -> torch.Tensor:
        return again(v, depth - 1) if depth else mean_square(v)

    assert identity(again) == identity(again)


def test_a_callable_with_something_untold_cannot_be_stored_and_built_in_names_are_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="which a store cannot tell from another"):
        scan(losses=[closure(iter([1]))], store=tmp_path / "a.nc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be named 'spectrum'"):
        loss = closure(2.0)
        loss.__name__ = "spectrum"
        scan(losses=[loss])


def test_other_code_of_the_package_is_another_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(store=tmp_path / "a.nc")
    monkeypatch.setattr(provenance, "code_fingerprint", lambda: "another")
    with pytest.raises(gs.StoreMismatchError, match="code"):
        scan(store=tmp_path / "a.nc")


def test_overwriting_with_a_scan_that_fails_keeps_what_was_there(tmp_path: Path) -> None:
    scan(store=tmp_path / "a.nc")
    before = (tmp_path / "a.nc").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        with pytest.raises(ValueError, match="base diverges"):
            scan(base=gs.Params(0.6, 0.08, 0.035, 0.065), store=tmp_path / "a.nc", overwrite=True)
    assert (tmp_path / "a.nc").read_bytes() == before


def test_a_point_next_to_zero_has_no_central_difference_and_the_others_have() -> None:
    data = scan(axes={"F": [0.0, 0.035]}, routes=["finite_difference"])
    assert data["route_status"].values.ravel().tolist() == [gs.Status.FAILED, gs.Status.FIXED]
    assert data["gradient"].isel(F=0).isnull().all()
    assert data["gradient"].isel(F=1).notnull().all()


def test_following_starts_each_point_from_its_neighbours_state(tmp_path: Path) -> None:
    axes, given = {"F": [0.03, 0.035], "k": [0.06, 0.062, 0.064]}, {"max_steps": 120, "losses": [mean_square]}
    up, down = (scan(axes=axes, follow=f, **given) for f in ("k", "-k"))
    for F in axes["F"]:
        for data, order in ((up, axes["k"]), (down, axes["k"][::-1])):
            state = fields()
            for k in order:
                state = gs.steady_state(gs.Params(0.16, 0.08, F, k), state, tol=0.0, max_steps=120).fields
                assert data["loss"].sel(F=F, k=k).item() == mean_square(state[:, 1]).item()
    stored = scan(axes=axes, follow="k", store=tmp_path / "a.nc", tile=1, **given)
    xr.testing.assert_identical(stored.drop_attrs(), up.drop_attrs())
    line = scan(axes={"k": axes["k"]}, base=gs.Params(0.16, 0.08, 0.035, 0.065), follow="k", **given)
    np.testing.assert_array_equal(line["loss"], up["loss"].sel(F=0.035))
    with pytest.raises(ValueError, match="follow must be the last axis, 'k' or '-k', got 'F'"):
        scan(axes=axes, follow="F")


def test_followed_a_pattern_lives_beyond_where_its_start_dies() -> None:
    axes = {"k": np.linspace(0.063, 0.071, 9)}
    given = {"axes": axes, "tol": 1e-4, "max_steps": 20_000, "losses": [mean_square]}
    own, followed = (scan(follow=f, **given)["kind"].isel(sample=0).values for f in (None, "k"))
    assert own[0] == followed[0] == gs.Kind.PATTERN
    assert own[-1] == gs.Kind.TRIVIAL
    assert followed[-1] == gs.Kind.PATTERN


def test_a_followed_scan_passes_a_diverged_point_by() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        data = scan(axes={"Du": [0.1, 0.16, 0.9]}, follow="-Du", losses=[mean_square])
    alone = scan(axes={"Du": [0.1, 0.16]}, follow="-Du", losses=[mean_square])
    assert data["status"].isel(Du=2).item() == gs.Status.DIVERGED
    np.testing.assert_array_equal(data["loss"].isel(Du=slice(2)), alone["loss"])


def test_definitions_say_what_each_route_differentiated() -> None:
    axes = {"k": [0.06, 0.075]}
    data = scan(axes=axes, routes=["implicit", "unrolled"], tol=1e-4, max_steps=50_000).isel(sample=0, objective=0)
    words = data["route_definition"].attrs["flag_meanings"].split()
    found = [[words[i] for i in row] for row in data["route_definition"].values]
    assert found == [["bordered_jacobian", "marched_steps"], ["full_jacobian", "marched_steps"]]
    assert (data["route_moved"].sel(route="unrolled") == 0).all()
    assert (data["route_moved"].sel(route="implicit") > 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"axes": {}}, ValueError, "axes must name at least one"),
        ({"axes": {"q": [1.0]}}, ValueError, "axes must be among 'Du', 'Dv', 'F', 'k', got 'q'"),
        ({"axes": {"F": []}}, ValueError, "axis F must be one-dimensional"),
        ({"axes": {"F": [[0.03]]}}, ValueError, "axis F must be one-dimensional"),
        ({"axes": {"F": [0.03, np.nan]}}, ValueError, "axis F must hold finite values >= 0, got"),
        ({"axes": {"F": [-0.03]}}, ValueError, r"axis F must hold finite values >= 0, got \[-0.03\]"),
        ({"axes": {"F": [0.03, np.inf]}}, ValueError, r"axis F must hold finite values >= 0, got \[inf\]"),
        ({"axes": {"F": [0.04, 0.03]}}, ValueError, "axis F must be strictly increasing"),
        ({"axes": [0.03]}, TypeError, "axes must map parameters to values"),
        ({"share_root": "no"}, TypeError, "share_root must be True or False"),
        ({"overwrite": 1}, TypeError, "overwrite must be True or False"),
        ({"routes": ["finite_difference"], "dtype": torch.float32}, ValueError, "dtype must be torch.float64 for the"),
        ({"axes": {"F": [0.03, 0.03]}}, ValueError, "axis F must be strictly increasing"),
        ({"base": 0.035}, TypeError, r"base must be gsimplicit.Params, .*got float"),
        ({"base": gs.Params(0.16, 0.08, [0.03, 0.04], 0.06)}, ValueError, "base must be one instance, got 2"),
        ({"losses": []}, ValueError, "losses must name at least one"),
        ({"losses": "spectrum"}, TypeError, "losses must be a list"),
        ({"losses": ["spectrumm"]}, ValueError, "loss must be one of 'spectrum', 'windowed', 'gram'"),
        ({"losses": ["spectrum", "spectrum"]}, ValueError, "losses must differ in name"),
        ({"losses": [3]}, TypeError, "loss must be a name or a callable"),
        ({"routes": ["implicitt"]}, ValueError, "route must be one of"),
        ({"routes": "implicit"}, TypeError, "routes must be a list"),
        ({"routes": ["implicit", "implicit"]}, ValueError, "routes must differ in name"),
        ({"initial": torch.rand(2, 32, 32)}, ValueError, r"initial must have shape \(B, 2, H, W\)"),
        ({"initial": torch.full((1, 2, 32, 32), torch.nan)}, ValueError, "initial must be finite, got .* instance 0"),
        ({"initial": [1.0]}, TypeError, "initial must be a torch tensor or numpy array"),
        ({"target": torch.rand(1, 16, 16)}, ValueError, "target must live on the grid"),
        ({"target": torch.rand(1, 32, 32), "losses": ["residual"]}, ValueError, "needs all species of the target"),
        ({"tol": -1.0}, ValueError, "tol must be finite and >= 0, got -1.0"),
        ({"max_steps": 0}, ValueError, "max_steps must be >= 1, got 0"),
        ({"check_every": 1.5}, TypeError, "check_every must be an integer, got 1.5"),
        ({"dtype": torch.float16}, ValueError, "dtype must be torch.float32 or torch.float64"),
        ({"keep": "u"}, ValueError, "keep must be 'v' or None"),
        ({"refine": "yes"}, TypeError, "refine must be a bool or gsimplicit.Refine"),
        ({"losses": ["windowed"], "initial": torch.rand(1, 2, 30, 32)}, ValueError, "multiples of 16"),
    ],
)
def test_bad_arguments_are_refused_at_the_door(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        scan(**change)


def test_a_lambda_cannot_be_stored_but_can_be_scanned(tmp_path: Path) -> None:
    loss = lambda v: (v**2).mean(dim=(-2, -1))  # noqa: E731
    assert scan(losses=[loss])["loss"].notnull().all()
    with pytest.raises(ValueError, match="a lambda has no name"):
        scan(losses=[loss], store=tmp_path / "a.nc")
