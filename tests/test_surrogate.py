"""The surrogate route: what networks learn of states, and how its derivative compares with what is known exactly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape import worker

GRID = (16, 16)
F, K = np.linspace(0.03, 0.04, 7), np.linspace(0.045, 0.05, 7)
QUICK: dict[str, Any] = {"tol": 0.0, "max_steps": 400, "progress": False}


def mean_square(v: torch.Tensor) -> torch.Tensor:
    return (v**2).mean(dim=(-2, -1))


def uniform_start() -> torch.Tensor:
    """Near the upper uniform state, so that every state of the scan is that one."""
    return torch.stack([torch.full(GRID, 0.3), torch.full(GRID, 0.3)])[None].to(torch.float64)


def uniform(at: torch.Tensor) -> torch.Tensor:
    """Mean v^2 of the upper uniform state in closed form: (F+k) v^2 - F v + F (F+k) = 0."""
    feed, s = at[2], at[2] + at[3]
    return ((feed + (feed**2 - 4 * feed * s**2).sqrt()) / (2 * s)) ** 2


@pytest.fixture(scope="module")
def states() -> xr.Dataset:
    return gs.scan({"F": F, "k": K}, initial=uniform_start(), keep="v", losses=["spectrum", mean_square], **QUICK)


@pytest.fixture(scope="module")
def model(states: xr.Dataset) -> xr.Dataset:
    return gs.train_surrogate(states, [mean_square, "v"], members=3, hidden=(32, 32), epochs=1500, progress=False)


def test_trained_on_uniform_states_its_derivative_is_that_of_the_closed_form(model: xr.Dataset) -> None:
    """Mean v^2 directly, and through the networks' own v; both with the error the ensemble admits."""
    assert model["held_out_error"].max() < 0.02
    params = gs.Params(0.16, 0.08, [0.033, 0.037], [0.0465, 0.0485])
    route = gs.routes.Surrogate(model)

    def another(v: torch.Tensor) -> torch.Tensor:
        return mean_square(v)

    for loss in (mean_square, another):
        out = gs.grad(params, route, loss, initial=uniform_start(), tol=0.0, max_steps=400)
        for i, at in enumerate(params.tensor()):
            exact = torch.autograd.functional.jacobian(uniform, at)[2:]
            found = out.grad.tensor()[i, 2:]
            assert (found - exact).norm() < 0.05 * exact.norm()
        assert (out.certificate.error < 0.1).all()
        assert out.certificate.definition == ("network", "network")
        assert out.grad.Du.isnan().all()  # the scan did not vary it


def predicted(model: xr.Dataset, at: np.ndarray[Any, Any]) -> float:
    """Mean over the ensemble of mean v^2, by numpy from the model's file alone."""
    low, high = model["low"].values, model["high"].values
    varied = high > low
    x = (2 * (at - low) / np.where(varied, high - low, 1) - 1)[varied]
    values = []
    for weights in model["weights"].values:
        out, first, widths = x, 0, model.attrs["layers"].tolist()
        for n, (a, b) in enumerate(pairwise(widths)):
            out = out @ weights[first : first + a * b].reshape(a, b) + weights[first + a * b : first + a * b + b]
            out = np.tanh(out) if n < len(widths) - 2 else out
            first += a * b + b
        values.append(model["mean_mean_square"].item() + out[0] * model["basis_mean_square"].item())
    return float(np.mean(values))


def test_its_gradient_is_the_slope_of_what_the_networks_predict(model: xr.Dataset) -> None:
    at = np.array([0.16, 0.08, 0.0345, 0.0475])
    found = gs.grad(gs.Params(*at), gs.routes.Surrogate(model), mean_square, initial=uniform_start(), tol=0.0).grad
    for i, slope in ((2, found.F), (3, found.k)):
        h = np.zeros(4)
        h[i] = 1e-6
        assert slope.item() == pytest.approx((predicted(model, at + h) - predicted(model, at - h)) / 2e-6, rel=1e-7)


def test_solve_with_it_recovers_a_parameter(model: xr.Dataset) -> None:
    truth = gs.steady_state(gs.Params(0.16, 0.08, 0.036, 0.047), uniform_start(), tol=0.0, max_steps=400).v
    k = torch.tensor(0.0495, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([k], lr=1e-3)
    for _ in range(60):
        optimiser.zero_grad()
        params = gs.Params(0.16, 0.08, 0.036, k)
        v = gs.solve(params, gs.routes.Surrogate(model), uniform_start(), tol=0.0, max_steps=400).v
        ((v - truth) ** 2).mean().backward()
        optimiser.step()
    assert k.item() == pytest.approx(0.047, abs=2e-5)


def test_a_scan_holds_it_beside_other_routes_and_nothing_outside_its_range(model: xr.Dataset) -> None:
    route = gs.routes.Surrogate(model)
    axes = {"F": [0.035, 0.05]}
    base = gs.Params(0.16, 0.08, 0.035, 0.0475)
    data = gs.scan(axes, base, [mean_square], [route, "unrolled"], initial=uniform_start(), **QUICK)
    inside, outside = (data.isel(F=i, sample=0, objective=0) for i in (0, 1))
    assert inside["route_status"].sel(route="surrogate") == gs.Status.FIXED
    found = inside["gradient"].sel(parameter=["F", "k"])
    np.testing.assert_allclose(found.sel(route="surrogate"), found.sel(route="unrolled"), rtol=0.1)
    assert outside["route_status"].sel(route="surrogate") == gs.Status.FAILED
    assert outside["gradient"].sel(route="surrogate").isnull().all()
    with pytest.raises(ValueError, match="cannot be made again from the file of a scan: pass its model to scan"):
        gs.scan_arguments(gs.scan(axes, base, ["spectrum"], [gs.routes.Surrogate(model)], uniform_start(), **QUICK))


def test_it_says_what_it_was_not_trained_for(model: xr.Dataset, states: xr.Dataset) -> None:
    route, start = gs.routes.Surrogate(model), uniform_start()
    with pytest.raises(ValueError, match=r"F must lie in 0\.03\.\.0\.04, where the surrogate was trained, got 0\.05"):
        gs.grad(gs.Params(0.16, 0.08, 0.05, 0.047), route, mean_square, initial=start)
    with pytest.raises(ValueError, match=r"Du must lie in 0\.16\.\.0\.16, where the surrogate was trained"):
        gs.grad(gs.Params(0.17, 0.08, 0.035, 0.047), route, mean_square, initial=start)
    only = gs.routes.Surrogate(gs.train_surrogate(states, [mean_square], members=1, epochs=10, progress=False))
    at = gs.Params(0.16, 0.08, 0.035, 0.047)
    with pytest.raises(ValueError, match="loss must be one the surrogate was trained for, 'mean_square', got 'spec"):
        gs.grad(at, only, initial=start)
    with pytest.raises(ValueError, match="the surrogate has no derivative of v itself: train it with losses="):
        gs.solve(gs.Params(0.16, 0.08, 0.035, torch.tensor(0.047, requires_grad=True)), only, start).v.sum().backward()
    with pytest.raises(ValueError, match="the surrogate route needs a trained model: scan with keep='v'"):
        gs.grad(at, "surrogate", initial=start)


def test_a_loss_of_the_same_name_a_model_of_other_weights_and_another_grid_are_not_taken(
    model: xr.Dataset, states: xr.Dataset, tmp_path: Path
) -> None:
    def other(v: torch.Tensor) -> torch.Tensor:
        return 100 * v.mean(dim=(-2, -1))

    other.__name__ = "mean_square"
    at, start = gs.Params(0.16, 0.08, 0.035, 0.047), uniform_start()
    only = gs.routes.Surrogate(gs.train_surrogate(states, [mean_square], members=1, epochs=10, progress=False))
    with pytest.raises(ValueError, match="loss must be one the surrogate was trained for, 'mean_square', got 'mean"):
        gs.grad(at, only, other, initial=start)
    assert gs.grad(at, only, mean_square, initial=start).certificate.error.isnan().all()  # no spread of one
    with pytest.raises(ValueError, match=r"losses must differ in name, got \['mean_square', 'mean_square'\]"):
        gs.train_surrogate(states, [mean_square, other])
    axes, base = {"F": [0.035]}, gs.Params(0.16, 0.08, 0.035, 0.0475)
    gs.scan(axes, base, [mean_square], [gs.routes.Surrogate(model)], start, store=tmp_path / "a.nc", **QUICK)
    with pytest.raises(gs.StoreMismatchError, match="routes"):
        part = gs.routes.Surrogate(model.isel(member=[0]))
        gs.scan(axes, base, [mean_square], [part], start, store=tmp_path / "a.nc", **QUICK)
    with pytest.raises(
        ValueError, match=r"the surrogate was trained on a grid of \(16, 16\), got fields on \(32, 32\)"
    ):
        gs.grad(at, only, mean_square, initial=gs.initial_state(grid=(32, 32)))
    with pytest.raises(ValueError, match="model of Surrogate must be whole"):
        gs.routes.Surrogate(model.assign_attrs(gsimplicit_complete=0))


def test_compare_sets_it_beside_others_in_the_parameters_both_answer_for(model: xr.Dataset) -> None:
    at = gs.Params(0.16, 0.08, 0.035, 0.047)
    routes = ["implicit", gs.routes.Surrogate(model)]
    table = gs.compare(at, routes, loss=mean_square, initial=uniform_start())
    assert table["cosine"].values[1, 0] > 0.99
    assert table["difference"].values[1, 0] < 0.1
    assert table["reason"].values[1, 0] == gs.Reason.BIASED


def test_the_spectrum_is_learned_from_patterns_and_the_held_out_error_says_how_well(tmp_path: Path) -> None:
    start = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
    data = gs.scan(
        {"F": np.linspace(0.034, 0.038, 6), "k": np.linspace(0.058, 0.068, 8)},
        initial=start, tol=0.0, max_steps=3000, keep="v", progress=False,
    )  # fmt: skip
    model = gs.train_surrogate(data, members=2, epochs=1500, progress=False, store=tmp_path / "model.nc")
    errors = model["held_out_error"].sel(head="spectrum").values
    assert ((errors > 0.05) & (errors < 1)).all()  # better than the mean, and no more is claimed
    out = gs.grad(
        gs.Params(0.16, 0.08, 0.035, 0.06), gs.routes.Surrogate(xr.load_dataset(tmp_path / "model.nc")), initial=start
    )
    assert out.grad.tensor()[0, 2:].isfinite().all()
    assert out.certificate.error.item() > 0


def test_training_that_is_interrupted_resumes_at_the_networks_that_are_left(
    states: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"losses": [mean_square], "members": 3, "epochs": 50, "progress": False}
    whole = gs.train_surrogate(states, **given)
    original, trained = worker.evaluate_tile, []

    def interrupted(evaluate: Any, items: Any) -> Any:
        trained.append(items)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return original(evaluate, items)

    monkeypatch.setattr(worker, "evaluate_tile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gs.train_surrogate(states, store=tmp_path / "model.nc", **given)
    resumed = gs.train_surrogate(states, store=tmp_path / "model.nc", **given)
    assert len(trained) == 4
    assert resumed.drop_attrs().identical(whole.drop_attrs())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"losses": "spectrum"}, TypeError, "losses must be a list of at least one, got 'spectrum'"),
        (
            {"losses": ["texture"]},
            ValueError,
            "losses must be among 'spectrum', 'windowed', 'gram', 'v' or callables, got 'texture'",
        ),
        (
            {"losses": [gs.losses.Gram("random")]},
            TypeError,
            r"callables, got Gram\(.*\): an object with features is a loss",
        ),
        ({"members": 0}, ValueError, "members must be >= 1, got 0"),
        ({"held_out": 1.0}, ValueError, r"held_out must be finite and >= 0 and <= 0\.9, got 1\.0"),
        ({"hidden": (0,)}, ValueError, "hidden must be >= 1, got 0"),
        ({"data": xr.Dataset()}, ValueError, "the scan holds no states: scan with keep='v'"),
    ],
)
def test_bad_training_is_refused(states: xr.Dataset, change: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        gs.train_surrogate(**{"data": states, "progress": False, **change})


def test_a_dataset_that_is_no_model_is_refused(states: xr.Dataset) -> None:
    with pytest.raises(ValueError, match="model of Surrogate holds no networks"):
        gs.routes.Surrogate(states)
    with pytest.raises(TypeError, match=r"model of Surrogate must be a dataset of train_surrogate, got 'model\.nc'"):
        gs.routes.Surrogate("model.nc")  # type: ignore[arg-type]
