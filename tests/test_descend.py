"""Descents: gradients, safeguards, draws, rows that share nothing, and stores that go on with the same bits."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.descent import Outcome

TRUTH = gs.Params.preset("paper")
SHORT: dict[str, Any] = {"tol": 0.0, "max_steps": 120, "progress": False}
SLOW = partial(torch.optim.SGD, lr=1e-4, weight_decay=5e-4)


def small(count: int = 1, seed: int = 0) -> torch.Tensor:
    return gs.initial_state(count, seed, grid=(16, 16), box=gs.Box(half=4))


def mean_square(v: torch.Tensor) -> torch.Tensor:
    return (v**2).mean(dim=(-2, -1))


@pytest.fixture(scope="module")
def goal() -> torch.Tensor:
    return gs.steady_state(TRUTH, small(2, 1), tol=0.0, max_steps=120).v


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    assert a.drop_attrs().identical(b.drop_attrs())


def test_the_gradient_in_raw_parameters_is_that_of_autograd_through_solve(goal: torch.Tensor) -> None:
    record = gs.descend(gs.Params(0.15, 0.07, 0.04, 0.06), goal, initial=small(2), steps=1, optimizer=SLOW, **SHORT)
    raw = torch.from_numpy(record.raw.values[0, 0]).requires_grad_()
    D, rates = torch.nn.functional.softplus(raw[:2]), 0.1 * torch.sigmoid(raw[2:])
    params = gs.Params(D[0], D[1], rates[0], rates[1]).expand(2)
    v = gs.solve(params, "unrolled", initial=small(2), tol=0.0, max_steps=120).v
    loss = gs.spectrum_loss(v, goal).mean()
    (gradient,) = torch.autograd.grad(loss, raw)
    assert record.loss.values[0, 0] == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(record.raw_gradient.values[0, 0], gradient.numpy(), rtol=1e-9)
    moved = raw.detach() - 1e-4 * (gradient + 5e-4 * raw.detach())
    np.testing.assert_allclose(record.raw.values[1, 0], moved.numpy(), rtol=1e-12)


def test_the_gradient_in_the_parameters_is_that_of_grad() -> None:
    start = gs.Params(0.15, 0.07, 0.04, [0.06, 0.055])
    record = gs.descend(start, loss=mean_square, initial=small(), steps=1, **SHORT)
    out = gs.grad(start, "unrolled", mean_square, initial=small(), tol=0.0, max_steps=120)
    np.testing.assert_allclose(record.gradient.values[0], out.grad.tensor().numpy(), rtol=1e-9)


ROUTES = ("implicit", "deq", "unrolled", "truncated", "tangent", "finite_difference")


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_drives_a_descent(route: str) -> None:
    params = gs.Params(0.16, 0.08, 0.05, 0.05)  # the upper uniform state, which has a root
    record = gs.descend(params, loss=mean_square, route=route, initial=small(), steps=2, optimizer=SLOW, progress=False)
    assert record.outcome.values[:, 0].tolist() == [Outcome.MOVED, Outcome.MOVED, Outcome.ENDED]
    assert np.isfinite(record.gradient.values[:2]).all()
    assert record.loss.values[2, 0] < record.loss.values[0, 0]


@pytest.fixture(scope="module")
def network() -> xr.Dataset:
    data = gs.scan({"k": np.linspace(0.062, 0.066, 12)}, base=TRUTH, initial=small(), keep="v", tol=0.0, max_steps=50,
                   progress=False)  # fmt: skip
    return gs.train_surrogate(data, ["v"], members=1, epochs=100, progress=False)


def test_a_network_is_not_asked_outside_the_range_it_was_trained_in(network: xr.Dataset) -> None:
    record = gs.descend(
        TRUTH.replace(k=0.0645), loss=mean_square, route=gs.routes.Surrogate(network), initial=small(), steps=3,
        free=["k"], optimizer=partial(torch.optim.SGD, lr=10.0), tol=0.0, max_steps=50, progress=False,
    )  # fmt: skip
    went = record.params.sel(parameter="k").values[record.outcome.values[:, 0] > 0]
    assert len(went) > 1
    assert ((went >= 0.062) & (went <= 0.066)).all()
    assert Outcome.SHRUNK in record.outcome.values


def test_a_route_of_settings_and_any_optimiser_of_torch_do(goal: torch.Tensor) -> None:
    record = gs.descend(
        TRUTH.replace(k=0.0645), goal[:1], gs.routes.Truncated(steps=60), initial=small(1, 1), steps=8, free=["k"],
        optimizer=partial(torch.optim.Adam, lr=0.003), **SHORT,
    )  # fmt: skip
    assert record.loss.values[-1, 0] < record.loss.values[0, 0]
    np.testing.assert_array_equal(record.params.sel(parameter="F"), 0.035)
    assert record.free.values.tolist() == ["k"]


def test_a_rate_that_would_diverge_is_shrunk_and_everything_stays_finite(goal: torch.Tensor) -> None:
    wild = partial(torch.optim.SGD, lr=0.1)
    start = gs.Params(0.15, 0.07, 0.04, 0.06)
    guarded = gs.descend(start, goal[:1], initial=small(), steps=3, optimizer=wild, **SHORT)
    loose = gs.descend(start, goal[:1], initial=small(), steps=3, optimizer=wild, safeguards=None, **SHORT)
    assert Outcome.DIVERGED in loose.outcome.values
    ran = guarded.outcome.values != Outcome.NOT_RUN
    assert np.isfinite(guarded.loss.values[ran]).all()
    assert Outcome.DIVERGED not in guarded.outcome.values
    shrunk = guarded.outcome.values == Outcome.SHRUNK
    assert shrunk.any()
    np.testing.assert_allclose(guarded.rate.values[shrunk], 0.1 * 0.1 ** (guarded.tries.values[shrunk] - 1))


def test_rates_are_tried_as_the_papers_code_does_and_a_row_without_one_stops() -> None:
    first: list[torch.Tensor] = []

    def only_the_start(v: torch.Tensor) -> torch.Tensor:
        first.append(v.detach().clone())
        return mean_square(v) * (1.0 if torch.equal(v, first[0]) else torch.nan)

    record = gs.descend(TRUTH, loss=only_the_start, initial=small(), steps=3, optimizer=SLOW, **SHORT)
    assert record.outcome.values[0, 0] == Outcome.NO_RATE
    assert record.tries.values[0, 0] == len(gs.Safeguards().factors) == 7
    np.testing.assert_array_equal(record.outcome.values[1:], Outcome.NOT_RUN)


def test_a_larger_rate_is_tried_where_no_smaller_one_will_do() -> None:
    seen: list[int] = []

    def refuses_four(v: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and v.requires_grad:
            return mean_square(v)
        seen.append(0)
        return mean_square(v) * (torch.nan if 2 <= len(seen) <= 5 else 1.0)

    record = gs.descend(TRUTH, loss=refuses_four, initial=small(), steps=1, optimizer=SLOW, **SHORT)
    assert record.outcome.values[0, 0] == Outcome.JUMPED
    assert record.rate.values[0, 0] == pytest.approx(1.2e-4)


def test_cfl_refuses_a_diffusion_above_a_quarter() -> None:
    grows = partial(torch.optim.SGD, lr=10.0)
    start = TRUTH.replace(Du=0.24)

    def less_diffusion(v: torch.Tensor) -> torch.Tensor:
        return -mean_square(v)

    sizes = [
        gs.descend(start, loss=less_diffusion, initial=small(), steps=1, free=["Du"], optimizer=grows,
                   safeguards=gs.Safeguards(cfl=cfl), tol=0.0, max_steps=30, progress=False)
        for cfl in (False, True)
    ]  # fmt: skip
    free, held = (one.params.sel(parameter="Du").values[1, 0] for one in sizes)
    assert held <= 0.25 < free


def test_rows_share_nothing_and_one_that_cannot_go_on_stops_alone(goal: torch.Tensor) -> None:
    settings: dict[str, Any] = {"target": goal[:1], "initial": small(), "steps": 3, "optimizer": SLOW, **SHORT}
    with pytest.warns(gs.StabilityWarning):
        both = gs.descend(gs.Params([0.6, 0.15], 0.07, 0.04, 0.06), **settings)
    alone = gs.descend(gs.Params(0.15, 0.07, 0.04, 0.06), **settings)
    assert both.outcome.values[:, 0].tolist() == [Outcome.DIVERGED, 0, 0, 0]
    for name in ("loss", "params", "gradient", "raw", "rate", "outcome", "v_mean"):
        np.testing.assert_array_equal(both[name].values[:, 1], alone[name].values[:, 0])


def test_where_the_route_has_no_gradient_the_row_stops() -> None:
    record = gs.descend(
        TRUTH, route=gs.routes.Implicit(gs.Refine(max_evaluations=1)), loss=mean_square, initial=small(), steps=3,
        max_steps=40, progress=False,
    )  # fmt: skip
    assert record.outcome.values[0, 0] == Outcome.NO_GRADIENT
    assert record.answered.values[0, 0] == 0


def test_fields_and_targets_are_keyed_by_seed_and_step(goal: torch.Tensor) -> None:
    settings: dict[str, Any] = {"targets": goal, "samples": 2, "box": gs.Box(half=4), "optimizer": SLOW, **SHORT}
    once = gs.descend(TRUTH, seed=7, steps=3, **settings)
    twice = gs.descend(TRUTH.expand(2), seed=[7, 8], steps=2, **settings)
    np.testing.assert_array_equal(once.sample_loss.values[:2, 0], twice.sample_loss.values[:2, 0])
    assert (once.sample_loss.values[:2, 0] != twice.sample_loss.values[:2, 1]).all()
    fields = gs.initial_state(2, 7, start=2, grid=(16, 16), box=gs.Box(half=4))  # those of step 1
    params = gs.Params(*once.params.values[1, 0]).expand(2)
    v = gs.steady_state(params, fields, tol=0.0, max_steps=120).v
    drawn = goal[once.target_index.values[1, 0]]
    np.testing.assert_allclose(once.sample_loss.values[1, 0], gs.spectrum_loss(v, drawn).numpy(), rtol=1e-12)
    assert len(np.unique(once.target_index.values)) == 2


def test_the_noise_asked_for_is_that_of_the_one_field_that_is_drawn() -> None:
    record = gs.descend(TRUTH, loss=mean_square, grid=(16, 16), noise=0.1, steps=0, **SHORT)
    expected = gs.initial_state(grid=(16, 16), noise=0.1, box=gs.Box(half=4))
    np.testing.assert_array_equal(record.initial.values, expected.numpy())


@pytest.mark.parametrize("name", ["brusselator", "schnakenberg", "gierer_meinhardt", "fitzhugh_nagumo"])
def test_every_model_descends_within_its_ranges(name: str) -> None:
    model = getattr(gs.models, name)
    params = model.preset(next(iter(model.presets)))
    record = gs.descend(
        params, loss=mean_square, samples=2, grid=(12, 12), steps=2, dt=0.01, tol=0.0, max_steps=20, progress=False,
        optimizer=partial(torch.optim.SGD, lr=1e-3),
    )  # fmt: skip
    assert list(record.parameter.values) == list(model.parameters)
    assert record.outcome.values[:, 0].tolist() == [Outcome.MOVED, Outcome.MOVED, Outcome.ENDED]
    model.params(**dict(zip(model.parameters, record.params.values[-1, 0], strict=True)))


def test_the_residual_loss_goes_from_the_papers_start_to_the_truth_without_a_march() -> None:
    root = gs.steady_state(TRUTH, gs.initial_state(1, 1, grid=(32, 32), box=gs.Box(half=7)), refine=True).fields
    record = gs.descend(
        gs.Params.preset("paper_start"), root, loss="residual", steps=400, progress=False,
        optimizer=partial(torch.optim.Adam, lr=0.1),
    )  # fmt: skip
    np.testing.assert_allclose(record.params.values[-1, 0], [0.16, 0.08, 0.035, 0.065], rtol=1e-3)
    assert "status" not in record
    assert "initial" not in record


def counted(calls: int) -> Any:
    """The loss `mean_square`, which is interrupted at one of its calls."""
    left = [calls]

    def interrupted(v: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return mean_square(v)

    return interrupted


def test_an_interruption_at_any_evaluation_is_resumed_to_the_bit(tmp_path: Path, monkeypatch: Any) -> None:
    """Adam has moments: a state that is not kept whole would show."""
    settings: dict[str, Any] = {
        "samples": 1, "box": gs.Box(half=4), "grid": (16, 16), "steps": 3, "tol": 0.0, "max_steps": 20,
        "optimizer": partial(torch.optim.Adam, lr=0.01), "progress": False,
    }  # fmt: skip
    whole = gs.descend(TRUTH, loss=mean_square, **settings)
    from gsimplicit.descent import asked

    # the two losses count as one: what is kept of the first is gone on from with the second
    monkeypatch.setattr(asked, "loss_recipe", lambda loss, kept: "mean_square")
    stopped = 0
    for calls in itertools.count(1):
        store = tmp_path / f"{calls}.nc"
        try:
            gs.descend(TRUTH, loss=counted(calls), store=store, **settings)
        except KeyboardInterrupt:
            stopped += 1
        else:
            break
        same(gs.descend(TRUTH, loss=mean_square, store=store, **settings), whole)
    assert stopped > 2 * 3


def test_a_killed_process_leaves_what_is_gone_on_from(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys, torch, gsimplicit as gs
        from functools import partial
        from gsimplicit.descent import kept
        kept.EVERY = 0.0  # every step is written
        write = kept.Keeper.flush
        def flush(self):
            write(self)
            if len(list(self._store.folder.glob("tile-*.tile"))) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        kept.Keeper.flush = flush
        gs.descend(gs.Params.preset("paper"), samples=1, box=gs.Box(half=4), grid=(16, 16), steps=4, tol=0.0,
                   max_steps=20, optimizer=partial(torch.optim.Adam, lr=0.01), progress=False, store=sys.argv[1])
        """
    )
    file = tmp_path / "one.nc"
    done = subprocess.run([sys.executable, "-c", script, str(file), "2"], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    part = gs.partial_scan(file)
    assert part.done.values.tolist() == [1, 1, 0, 0, 0]
    settings: dict[str, Any] = {
        "samples": 1, "box": gs.Box(half=4), "grid": (16, 16), "steps": 4, "tol": 0.0, "max_steps": 20,
        "optimizer": partial(torch.optim.Adam, lr=0.01), "progress": False,
    }  # fmt: skip
    same(gs.descend(TRUTH, store=file, **settings), gs.descend(TRUTH, **settings))
    assert not file.with_name("one.nc.tiles").exists()


def test_a_store_of_another_descent_is_refused_by_the_key_that_differs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "loss": mean_square,
        "initial": small(),
        "steps": 1,
        "store": tmp_path / "d.nc",
        **SHORT,
    }
    first = gs.descend(TRUTH, optimizer=SLOW, **settings)
    same(gs.descend(TRUTH, optimizer=SLOW, **settings), first)
    with pytest.raises(gs.StoreMismatchError, match=r"optimizer.lr"):
        gs.descend(TRUTH, optimizer=partial(torch.optim.SGD, lr=2e-4, weight_decay=5e-4), **settings)
    with pytest.raises(gs.StoreMismatchError, match=r"safeguards"):
        gs.descend(TRUTH, optimizer=SLOW, safeguards=None, **settings)
    again = gs.descend(TRUTH, optimizer=SLOW, safeguards=None, overwrite=True, **settings)
    assert again.sizes["step"] == 2


def clipped(tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
    """Plain gradient descent whose gradients are clipped."""
    made = torch.optim.SGD(tensors, lr=1e-4, weight_decay=5e-4)
    plain = made.step

    def step(closure: None = None) -> None:
        for tensor in tensors:
            assert tensor.grad is not None
            tensor.grad.clamp_(-1e-3, 1e-3)
        plain(closure)

    made.step = step  # type: ignore[method-assign, assignment]
    return made


def moved(tensors: list[torch.Tensor]) -> torch.optim.Optimizer:
    """Plain gradient descent whose maker moves the tensors first."""
    for tensor in tensors:
        tensor.data.mul_(1.01)
    return SLOW(tensors)


@pytest.mark.parametrize("other", [clipped, moved, lambda tensors: clipped(tensors)])
def test_a_function_that_makes_torchs_optimiser_is_not_taken_for_it(other: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"loss": mean_square, "initial": small(), "steps": 1, "store": tmp_path / "d.nc"}
    gs.descend(TRUTH, optimizer=SLOW, **settings, **SHORT)
    with pytest.raises(gs.StoreMismatchError, match="optimizer"):
        gs.descend(TRUTH, optimizer=other, **settings, **SHORT)
    made = gs.descend(TRUTH, optimizer=other, overwrite=True, **settings, **SHORT)
    same(gs.descend(TRUTH, optimizer=other, **settings, **SHORT), made)


def test_a_record_says_what_made_it() -> None:
    record = gs.descend(TRUTH, loss=mean_square, initial=small(), steps=1, keep="v", **SHORT)
    assert record.attrs["Conventions"].startswith("CF")
    assert '"lr": 0.012' in record.attrs["gsimplicit_configuration"]
    for name in record.variables:
        assert "long_name" in record[name].attrs, name
    assert record.outcome.attrs["flag_meanings"].split()[1] == "moved"
    assert record.v.dims == ("step", "row", "sample", "y", "x")


LONG: dict[str, Any] = {"tol": 1e-4, "max_steps": 50_000}
RESIDUAL: dict[str, Any] = {"loss": "residual", "target": small(), "initial": None, **LONG}
OTHER: dict[str, Any] = {"params": gs.models.schnakenberg.preset("stripes"), "initial": None, "samples": 1, "dt": 0.01}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": -1}, "steps must be >= 0"),
        ({"params": gs.Params(0.16, 0.08, 0.12, 0.06)}, "F must lie strictly between 0 and 0.1"),
        ({"free": ["kk"]}, "free must be one of"),
        ({"free": []}, "free must name"),
        ({"bounds": {"k": (0.1, 0.0)}}, "bounds of k"),
        ({"free": ["k"], "bounds": {"F": (0.0, 0.05)}}, "bounds must be of parameters that move"),
        ({"noise": 0.1}, "noise must be left out beside initial"),
        ({"box": gs.Box(half=3)}, "box must be left out beside initial"),
        ({"box": None}, "box must be left out beside initial"),
        ({"noise": -1.0}, "noise must be finite and >= 0"),
        ({**RESIDUAL, "noise": 0.1}, "noise must be left out with the residual loss"),
        ({**RESIDUAL, "box": None}, "box must be left out with the residual loss"),
        ({**RESIDUAL, "route": "nonsense"}, "route must be left out with the residual loss"),
        ({**RESIDUAL, "route": "implicit"}, "route must be left out with the residual loss"),
        ({**RESIDUAL, "route": gs.routes.Unrolled()}, "route must be left out with the residual loss"),
        ({**OTHER, "box": gs.Box(half=3)}, "box is Gray-Scott's square"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS asks for a closure"),
        ({"optimizer": "adam"}, "optimizer must make an optimiser"),
        ({"safeguards": True}, "safeguards must be"),
        ({"samples": 0, "initial": None}, "samples must be >= 1"),
        ({**RESIDUAL, "max_steps": 10}, "max_steps must be left out with the residual loss"),
        ({**RESIDUAL, "dtype": torch.float32}, "dtype must be left out with the residual loss"),
        ({**RESIDUAL, "seed": 3}, "seed must be left out where neither"),
        ({"seed": 3}, "seed must be left out where neither"),
        ({"samples": 2}, "samples must be None beside initial"),
        ({"seed": [1, 2]}, "seed must be one integer or 1"),
        ({"target": torch.zeros(1, 16, 16)}, "target has no meaning for a callable"),
        ({"loss": "spectrum", "target": torch.zeros(3, 16, 16)}, "target must be of 1 or 1"),
        ({"loss": "spectrum", "targets": torch.zeros(16, 16)}, "targets must be"),
        ({"loss": "residual", "initial": None, **LONG}, "target must be all species"),
        ({"route": "implicitt"}, "did you mean 'implicit'"),
        ({"keep": "u"}, "keep must be"),
        ({"grid": (8, 8)}, "grid must be that of what is given"),
        ({"progress": 1}, "progress must be True or False"),
    ],
)
def test_what_is_wrong_is_told_at_the_door(wrong: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"params": TRUTH, "loss": mean_square, "initial": small(), "steps": 1, **SHORT, **wrong}
    with pytest.raises((ValueError, TypeError), match=words):
        gs.descend(**settings)
