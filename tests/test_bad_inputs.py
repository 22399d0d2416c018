"""What the public entry points refuse: each error names the argument, the value and the bound, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.bifurcation.branch import follow
from gsimplicit.bifurcation.fold import fold
from gsimplicit.bifurcation.lifetime import lifetime
from gsimplicit.bifurcation.uniform import turing_on_grid, upper_state
from gsimplicit.landscape.cells import classes
from gsimplicit.losses import log_spectrum
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.testing import taylor_test

nan, inf = float("nan"), float("inf")
V = torch.zeros(1, 32, 32, dtype=torch.float64)
UV = torch.zeros(1, 2, 32, 32, dtype=torch.float64)


def params(**changes: Any) -> gs.Params:
    return gs.Params(**{"Du": 0.16, "Dv": 0.08, "F": 0.035, "k": 0.065, **changes})


def start(**changes: Any) -> torch.Tensor:
    return gs.initial_state(**{"grid": (32, 32), "box": gs.Box(half=5), **changes})


def spoiled(value: float) -> torch.Tensor:
    fields = start().expand(2, -1, -1, -1).clone()
    fields[1, 0, 3, 4] = value
    return fields


def steady(**changes: Any) -> object:
    return gs.steady_state(**{"params": params(), "initial": start(), **changes})


def grad(**changes: Any) -> object:
    return gs.grad(**{"params": params(), "initial": start(), **changes})


def solve(**changes: Any) -> object:
    return gs.solve(**{"params": params(), "initial": start(), **changes})


def compare(**changes: Any) -> object:
    return gs.compare(**{"params": params(), "initial": start(), **changes})


def scan(**changes: Any) -> object:
    return gs.scan(**{"axes": {"F": [0.03]}, "initial": start(), "progress": False, **changes})


CASES: list[tuple[Callable[..., object], dict[str, Any], type[Exception], str]] = [
    (params, {"Du": -0.1}, ValueError, r"Du must be finite and >= 0, got -0\.1"),
    (params, {"F": nan}, ValueError, "F must be finite and >= 0, got nan"),
    (params, {"k": inf}, ValueError, "k must be finite and >= 0, got inf"),
    (params, {"Dv": "a"}, TypeError, "Dv must .* 'a'"),
    (params, {"Du": None}, TypeError, "Du must .* None"),
    (params, {"F": [0.1, 0.2], "k": [0.1, 0.2, 0.3]}, ValueError, "F .*2.* k .*3"),
    (params, {"F": [0.1, -0.2]}, ValueError, r"F must be finite and >= 0, got .*-0\.2"),
    (params, {"F": torch.tensor([[0.1]])}, ValueError, r"F must .*\(1, 1\)"),
    (params, {"F": []}, ValueError, "F must"),
    (params, {"F": True}, TypeError, "F must .* True"),
    (gs.Params.preset, {"name": "papper"}, ValueError, "'papper'"),
    (start, {"box": gs.Box(half=0)}, ValueError, r"box\.half must lie in 1\.\.16 on a grid of 32 x 32, got 0"),
    (start, {"box": gs.Box(half=2.5)}, TypeError, r"box\.half must be an integer, got 2\.5"),
    (start, {"box": gs.Box(u=nan)}, ValueError, r"box\.u must be finite, got nan"),
    (start, {"box": 10}, TypeError, r"box must be gsimplicit\.Box or None, got 10"),
    (start, {"count": 0}, ValueError, "count must be .* got 0"),
    (start, {"seed": -1}, ValueError, "seed must be .* got -1"),
    (start, {"seed": 0.5}, TypeError, r"seed must be an integer.* got 0\.5"),
    (start, {"noise": -1.0}, ValueError, r"noise must be .* got -1\.0"),
    (start, {"grid": (32,)}, ValueError, r"grid must .* \(32,\)"),
    (start, {"grid": (32, 0)}, ValueError, "grid.* 0"),
    (start, {"grid": (8, 8)}, ValueError, "box"),
    (steady, {"params": (0.16, 0.08, 0.035, 0.065)}, TypeError, "params must be .*Params"),
    (steady, {"tol": -1e-4}, ValueError, "tol must be finite and >= 0, got -0.0001"),
    (steady, {"tol": nan}, ValueError, "tol must .* got nan"),
    (steady, {"max_steps": 0}, ValueError, "max_steps must be >= 1, got 0"),
    (steady, {"max_steps": 1.5}, TypeError, r"max_steps must be an integer.* got 1\.5"),
    (steady, {"check_every": 0}, ValueError, "check_every must be >= 1, got 0"),
    (
        steady,
        {"dtype": torch.float16},
        ValueError,
        r"dtype must be torch\.float32 or torch\.float64, got torch\.float16",
    ),
    (steady, {"device": "nowhere"}, (RuntimeError, ValueError), "nowhere"),
    (steady, {"refine": "yes"}, TypeError, "refine must be .* got 'yes'"),
    (steady, {"initial": V}, ValueError, r"initial must .*\(B, 2, H, W\).* \(1, 32, 32\)"),
    (steady, {"initial": [[0.0]]}, TypeError, "initial must be a torch tensor or numpy array"),
    (steady, {"initial": spoiled(nan)}, ValueError, "initial .*instance 1"),
    (steady, {"initial": spoiled(inf)}, ValueError, "initial .*instance 1"),
    (steady, {"initial": UV.int()}, TypeError, "initial must hold floats"),
    (steady, {"params": params(F=[0.03, 0.04, 0.05]), "initial": start(count=2)}, ValueError, "2.*3|3.*2"),
    (steady, {"check_every": 10**20}, ValueError, "check_every must be <= 9223372036854775807, got 1000"),
    (steady, {"max_steps": 10**20}, ValueError, "max_steps must be <= 9223372036854775807, got 1000"),
    (steady, {"max_steps": True}, TypeError, "max_steps must be an integer, got True"),
    (steady, {"max_steps": np.timedelta64(3)}, TypeError, "max_steps must be an integer, got"),
    (steady, {"tol": 10**400}, ValueError, "tol must be finite and >= 0, got 1000"),
    (steady, {"tol": np.ma.masked}, TypeError, "tol must be a real number, got masked"),
    (steady, {"device": "meta"}, ValueError, "device must hold values, got 'meta', which has none"),
    (steady, {"device": 3.5}, ValueError, r"device must be one torch can use, got 3\.5"),
    (steady, {"dtype": False}, ValueError, r"dtype must be torch\.float32 or torch\.float64, got False"),
    (steady, {"initial": UV.to("meta")}, ValueError, "initial must hold values, got a tensor on device meta"),
    (steady, {"initial": UV.to_sparse()}, TypeError, "initial must .* layout torch.sparse_coo"),
    (start, {"count": 10**12}, ValueError, "count and grid must make at most .* got 1000000000000 fields of 32 x 32"),
    (start, {"grid": {32, 33}}, ValueError, "grid must be two integers"),
    (start, {"box": gs.Box(centre=(1, 2.5))}, ValueError, r"box\.centre must be two integers \(row, column\)"),
    (gs.Gmres(device=torch.device("meta")).prepare, {"systems": []}, ValueError, "device of Gmres must hold values"),
    (gs.Refine, {"linear": "lu"}, TypeError, "linear must be a gsimplicit.Direct"),
    (gs.Refine, {"lattice": None}, TypeError, "lattice must be True or False, got None"),
    (gs.Refine, {"tail": np.array(["euler", "euler"])}, ValueError, "tail must be one of"),
    (gs.Refine, {"tol": 0.0}, ValueError, r"tol of Refine must be .* got 0\.0"),
    (gs.Refine, {"max_evaluations": 0}, ValueError, "max_evaluations must be >= 1, got 0"),
    (gs.Refine, {"tail": "eulr"}, ValueError, "tail must be .* got 'eulr'"),
    (gs.Refine, {"eigenvalues": -1}, ValueError, "eigenvalues must be >= 0, got -1"),
    (gs.Refine, {"lattice": 1}, TypeError, "lattice must be True or False, got 1"),
    (gs.Gmres, {"tol": 2.0}, ValueError, r"tol of Gmres must be .* got 2\.0"),
    (gs.Gmres, {"cycle": 0}, ValueError, "cycle must be .* got 0"),
    (grad, {"route": "implicitt"}, ValueError, "route must be one of .* got 'implicitt'"),
    (grad, {"route": 3}, TypeError, "route must be a name or a gsimplicit.routes object, got 3"),
    (grad, {"loss": "spectral"}, ValueError, "loss must be one of .* got 'spectral'"),
    (grad, {"loss": "residual"}, ValueError, "'residual' is no loss of the steady state"),
    (grad, {"loss": 3}, TypeError, "loss must be a name or a callable .* got 3"),
    (grad, {"loss": "windowed", "initial": start(grid=(40, 40))}, ValueError, "16.*40|40.*16"),
    (grad, {"target": V[0]}, ValueError, r"target must be v of shape .* got \(32, 32\)"),
    (grad, {"target": V[:, :16]}, ValueError, "target must live on the grid of the fields, 32 x 32, got"),
    (grad, {"target": V.expand(2, -1, -1) * nan}, ValueError, "target .*instance 0"),
    (grad, {"target": V.expand(3, -1, -1)}, ValueError, "a target of 3 instances does not pair with 1"),
    (grad, {"target": "paper"}, TypeError, "target must be a torch tensor or numpy array, got str"),
    (grad, {"route": "finite_difference", "dtype": torch.float32}, ValueError, r"dtype must be torch\.float64 for the"),
    (gs.routes.Truncated, {"steps": 0}, ValueError, "steps of Truncated must be >= 1, got 0"),
    (gs.routes.FiniteDifference, {"step": 0.0}, ValueError, r"step of FiniteDifference must be .* got 0\.0"),
    (gs.routes.Deq, {"damping": 0.0}, ValueError, r"damping must be .* got 0\.0"),
    (gs.routes.Deq, {"solver": "newton"}, ValueError, "solver of Deq must be .* got 'newton'"),
    (gs.routes.Tangent, {"refine": None}, TypeError, "refine must be a bool or gsimplicit.Refine, got None"),
    (gs.routes.Truncated, {"detach": "first"}, ValueError, "detach of Truncated must be one of 'last', 'every'"),
    (solve, {"route": "unroled"}, ValueError, "route must be one of .* got 'unroled'"),
    (solve, {"max_steps": -3}, ValueError, "max_steps must be >= 1, got -3"),
    (solve, {"initial": spoiled(nan)}, ValueError, "initial .*instance 1"),
    (compare, {"routes": []}, ValueError, "routes must"),
    (compare, {"routes": ["implicit", "explicit"]}, ValueError, "route must be one of .* got 'explicit'"),
    (compare, {"share_root": "no"}, TypeError, "share_root must be True or False, got 'no'"),
    (scan, {"axes": {}}, ValueError, "axes must name at least one parameter, got none"),
    (scan, {"axes": {"G": [0.1]}}, ValueError, "axes must be among .* got 'G'"),
    (scan, {"axes": {"F": [0.04, 0.03]}}, ValueError, r"axis F must be strictly increasing, got 0.03 after 0.04"),
    (scan, {"axes": {"F": [0.03, 0.03]}}, ValueError, "axis F must be strictly increasing"),
    (scan, {"axes": {"F": [nan]}}, ValueError, r"axis F must hold finite values >= 0, got \[nan\]"),
    (scan, {"losses": []}, ValueError, "losses must name at least one, got none"),
    (scan, {"losses": "spectrum"}, TypeError, "losses must be a list, got 'spectrum'"),
    (scan, {"routes": ["implicit", "implicit"]}, ValueError, "routes must differ in name"),
    (scan, {"keep": "u"}, ValueError, "keep must be 'v' or None, got 'u'"),
    (scan, {"base": params(F=[0.03, 0.04])}, ValueError, "base must be one instance, got 2"),
    (scan, {"target": V.expand(3, -1, -1)}, ValueError, "target must be of 1 or 1 instances.* got 3"),
    (scan, {"target": V, "losses": ["residual"]}, ValueError, "the residual loss needs all species of the target"),
    (scan, {"axes": {"k": {0.06}}}, TypeError, "axis k must be a sequence or array of real numbers"),
    (scan, {"axes": {"k": torch.tensor([0.06], requires_grad=True)}}, ValueError, "axis k requires gradients"),
    (scan, {"axes": {"k": ["0.06"]}}, TypeError, "axis k must be a sequence or array of real numbers"),
    (scan, {"axes": {"k": [False, True]}}, TypeError, "axis k must be a sequence or array of real numbers"),
    (scan, {"axes": {3: [0.1]}}, ValueError, "axes must be among .* got 3"),
    (scan, {"axes": [("k", [0.06])]}, TypeError, "axes must map parameters to values"),
    (scan, {"routes": {"implicit"}}, TypeError, "routes must be a list"),
    (scan, {"keep": True}, ValueError, "keep must be 'v' or None, got True"),
    (scan, {"dtype": "float64"}, ValueError, "dtype must be torch.float32 or torch.float64, got 'float64'"),
    (scan, {"tile": 0}, ValueError, "tile must be >= 1, got 0"),
    (scan, {"progress": "yes"}, TypeError, "progress must be True or False, got 'yes'"),
    (scan, {"executor": "dask"}, TypeError, "executor must be .* got 'dask'"),
    (scan, {"store": 3}, TypeError, "store must be a path, got 3"),
    (gs.partial_scan, {"path": "absent.nc"}, FileNotFoundError, "absent.nc"),
    (gs.scan_arguments, {"data": xr.Dataset()}, ValueError, "holds no settings of a scan"),
    (
        gs.residual_loss,
        {"params": params(), "fields": V},
        ValueError,
        r"fields of shape \(1, 32, 32\): give \(B, 2, H, W\)",
    ),
    (
        gs.spectrum_loss,
        {"v": V, "target": V[:, :16]},
        ValueError,
        r"target must be of v's own shape .* got \(1, 16, 32\)",
    ),
    (gs.windowed_loss, {"v": V[:, :20], "target": V[:, :20]}, ValueError, "16"),
    (
        gs.residual_loss,
        {"params": 3, "fields": UV},
        TypeError,
        "params must be gsimplicit.Params, or another model's params, got int",
    ),
    (
        gs.residual_loss,
        {"params": params(), "fields": [0.0]},
        TypeError,
        "fields must be a torch tensor or numpy array",
    ),
    (gs.spectrum_loss, {"v": V, "target": V.numpy().astype(int)}, TypeError, "target must hold floats, got int64"),
    (gs.spectrum_loss, {"v": [0.0], "target": V}, TypeError, "v must be a torch tensor or numpy array, got list"),
    (log_spectrum, {"v": V[0, 0]}, ValueError, r"v must have shape \(..., H, W\)"),
    (gs.Params.stack, {"values": np.zeros((1, 3))}, ValueError, r"values must have shape \(B, 4\) with B >= 1"),
    (gs.Params.stack, {"values": "paper"}, TypeError, "values must be a real number"),
    (gs.Params.from_unbounded, {"raw": [0.0] * 3}, ValueError, r"raw must have shape \(B, 4\) or \(4,\), got \(3,\)"),
    (params().expand, {"size": 2.0}, TypeError, r"size must be an integer, got 2\.0"),
    (params().__getitem__, {"index": "k"}, TypeError, "index must be an integer, a slice or a list of integers"),
    (homogeneous_states, {"F": np.array([0.03, 0.04]), "k": 0.05}, TypeError, "F of homogeneous_states must be"),
    (homogeneous_states, {"F": 0.03, "k": -0.05}, ValueError, r"k of homogeneous_states must be finite and >= 0"),
    (upper_state, {"F": [0.03, 0.04], "k": [0.05] * 3}, ValueError, r"must broadcast, got F \(2,\), k \(3,\)"),
    (turing_on_grid, {"F": 0.03, "grid": (8, 0)}, ValueError, r"grid must be two integers \(H, W\), each >= 1"),
    (follow, {"state": UV}, TypeError, "state must be of gsimplicit.steady_state, got Tensor"),
    (fold, {"branch": UV}, TypeError, "branch must be of gsimplicit.bifurcation.branch.follow, got Tensor"),
    (lifetime, {"params": params(F=[0.03, 0.04]), "fields": UV}, ValueError, "params must be one instance, got 2"),
    (classes, {"data": UV}, TypeError, "data must be a dataset of gsimplicit.scan, got Tensor"),
    (gs.scan_arguments, {"data": None}, TypeError, "data must be a dataset of gsimplicit.scan, got NoneType"),
    (gs.partial_scan, {"path": 3}, TypeError, "path must be a path, got 3"),
    (gs.train_surrogate, {"data": None}, TypeError, "data must be a dataset of gsimplicit.scan, got NoneType"),
    (gs.train_surrogate, {"data": None, "hidden": 64}, TypeError, "hidden must be a list of widths, got 64"),
    (gs.hessian, {"state": UV, "loss": "spectrum"}, TypeError, "state must be"),
    (gs.root_derivatives, {"state": UV}, TypeError, "state must be"),
    (gs.marched_derivatives, {"params": UV}, TypeError, "params must be"),
    (taylor_test, {"function": 3, "x": 0.0, "derivative": 1.0}, (TypeError, ValueError), "function"),
]


@pytest.mark.parametrize(
    ("entry", "given", "error", "message"), CASES, ids=[f"{e.__name__} {list(g)}" for e, g, _, _ in CASES]
)
def test_a_bad_argument_is_refused_by_name_value_and_bound(
    entry: Callable[..., object],
    given: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        entry(**given)
    assert not list(tmp_path.iterdir())
    record_property("faults: bad input", 1)


def test_one_bad_instance_leaves_the_bits_of_the_others(record_property: Callable[[str, object], None]) -> None:
    good = gs.steady_state(params(), start(), tol=0.0, max_steps=200)
    with pytest.warns(gs.StabilityWarning):
        both = gs.steady_state(params(Du=[0.9, 0.16]), start(), tol=0.0, max_steps=200)
    assert both.status.tolist() == [gs.Status.DIVERGED, gs.Status.FIXED]
    assert np.array_equal(both.fields[1].numpy(), good.fields[0].numpy())
    record_property("faults: bad point in a batch", 1)


# ---------------------------------------------------------------------------------------------------------------------
# Arrays of objects; transforms that would lose values; advice
# ---------------------------------------------------------------------------------------------------------------------


def test_arrays_of_objects_hold_real_numbers_or_the_first_other_one_is_named() -> None:
    import pandas as pd

    for good in ([0.06, 0.061], [np.float32(0.0625), 0.061], [0, 0.061], [np.int64(0), 0.5]):
        for given in (np.array(good, dtype=object), pd.Series(good, dtype=object)):
            assert gs.Params(0.16, 0.08, 0.035, given).k.tolist() == [float(x) for x in good]
    wrong: list[tuple[object, str]] = [
        (None, "None"), ("a", "'a'"), (True, "True"), (1j, "1j"), (pd.NA, "<NA>"), (pd.Timestamp(0), "Timestamp.*"),
        ([0.1], r"\[0.1\]"),
    ]  # fmt: skip
    for bad, text in wrong:
        given = np.empty(2, dtype=object)
        given[:] = [0.06, None]
        given[1] = bad
        with pytest.raises(TypeError, match=f"k must be a real number.*{text} at entry 1 of objects"):
            gs.Params(0.16, 0.08, 0.035, given)
    with pytest.raises(ValueError, match="float64 cannot hold"):
        gs.Params(0.16, 0.08, 0.035, np.array([2**53 + 1], dtype=object))
    with pytest.raises(ValueError, match="k must be finite"):
        gs.Params(0.16, 0.08, 0.035, np.array([np.nan], dtype=object))


def test_what_vmap_batches_is_named() -> None:
    fields, two = gs.initial_state(2, grid=(8, 8), box=None), torch.tensor([0.1, 0.2], dtype=torch.float64)
    params = gs.Params(0.16, 0.08, 0.035, 0.065)
    for name, call, given in (
        ("initial", lambda x: gs.steady_state(params, x[None], tol=0.0, max_steps=2).v, fields),
        ("initial", lambda x: gs.grad(params, "unrolled", initial=x[None], tol=0.0, max_steps=2).loss, fields),
        ("target", lambda x: gs.grad(params, target=x[:1], initial=fields[:1], tol=0.0, max_steps=2).loss, fields),
    ):
        with pytest.raises(ValueError, match=f"{name} is batched by torch.vmap"):
            torch.vmap(call)(given)
    with pytest.raises(TypeError, match="tol must be a real number"):
        torch.vmap(lambda x: gs.steady_state(params, fields[:1], tol=x, max_steps=2).v)(two)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.*deprecated")
def test_a_trace_would_keep_a_constant_and_is_refused() -> None:
    fields, k = gs.initial_state(grid=(8, 8), box=None), torch.tensor(0.065, dtype=torch.float64)
    short: dict[str, Any] = {"tol": 0.0, "max_steps": 2}
    params = gs.Params(0.16, 0.08, 0.035, 0.065)
    for call, given in (
        (lambda x: gs.steady_state(gs.Params(0.16, 0.08, 0.035, x), fields, **short).v, k),
        (lambda x: gs.solve(gs.Params(0.16, 0.08, 0.035, x), "unrolled", fields, **short).v, k),
        (lambda x: gs.grad(gs.Params(0.16, 0.08, 0.035, x), "unrolled", initial=fields, **short).loss, k),
        (lambda x: gs.steady_state(params, x, **short).v, fields),
    ):
        with pytest.raises(ValueError, match=r"cannot be traced by torch\.jit\.trace"):
            torch.jit.trace(call, (given,))
    loss = torch.jit.trace(lambda v: (v**2).mean((-2, -1)), (fields[:, 1],))
    assert gs.grad(params, "unrolled", loss, initial=fields, **short).loss > 0


def test_a_state_that_diverged_for_want_of_diffusion_is_told_a_larger_one() -> None:
    start = gs.initial_state(grid=(8, 8), box=gs.Box(half=2))
    state = gs.steady_state(gs.Params(0.16, 1e-5, 0.035, 0.065), start, max_steps=500)
    with pytest.raises(gs.NotSteady, match=r"single pixels.*a larger Dv, or a smaller Du or F"):
        state.require_steady()
