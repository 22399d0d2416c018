"""A model, a loss, a route and a backend of one's own, through everything that the package does with its own."""

from __future__ import annotations

import dataclasses
import functools
import pickle
import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import mean_square, relative

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.landscape import run, worker
from gsimplicit.marching import TORCH, Marched
from gsimplicit.routes import Derivatives, Route
from gsimplicit.routes.route import Problem, nothing
from gsimplicit.testing import taylor_test

DT = 0.05


def reaction(u: Any, v: Any, a: Any, b: Any) -> Any:
    """Schnakenberg's, written anew."""
    return a - u + u * u * v, b - u * u * v


def rest(a: Any, b: Any) -> Any:
    """Its uniform state."""
    return a + b, b / (a + b) ** 2


def mine(function: Callable[..., Any] = reaction, **changes: Any) -> Any:
    """Parameters of a model of one's own."""
    model = gs.Model.of(function, name="mine", rest=rest)
    return model.params(**{"Du": 0.1, "Dv": 2.0, "a": 0.14, "b": 1.34, **changes})


def start(species: int = 2, grid: tuple[int, int] = (8, 16), seed: int = 0) -> torch.Tensor:
    draws = torch.rand(1, species, *grid, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.5 + draws


def cubed(v: torch.Tensor) -> torch.Tensor:
    """A loss of one's own."""
    return (v**3).mean(dim=(-2, -1))


class Contracted(Route):
    """A route of one's own: tangents of the marched steps by whatever steps, contracted by hand."""

    name: ClassVar[str] = "contracted"
    through_steps: ClassVar[bool] = True
    needs_root = False  # type: ignore[assignment]

    def solve(self, problem: Problem) -> gs.SteadyState:
        return problem.state()

    def pull_back(self, problem: Problem, state: gs.SteadyState, cotangents: torch.Tensor) -> Derivatives:
        where, (L, B) = problem.marching, cotangents.shape[:2]
        tangents = where.by.push_forward(problem.params, where.placed(problem.initial), state.steps, where.dt)[1]
        gradient = torch.einsum("lbshw,bpshw->lbp", cotangents, tangents.double())
        made = gs.Certificate(("my tangents",) * B, nothing(B), nothing(B), nothing(B), nothing(B), state.steps)
        return Derivatives(gradient, (made,) * L)


class Counting:
    """A backend of one's own: torch's, and a count of the calls in a list that is handed in."""

    name: ClassVar[str] = "counting"

    def __init__(self, calls: list[str] | None = None) -> None:
        self._calls = calls

    def _count(self, call: str) -> None:
        if self._calls is not None:
            self._calls.append(call)

    def march(
        self, params: Any, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        self._count("march")
        return TORCH.march(params, fields, tol, max_steps, check_every, dt)

    def pull_back(
        self, params: Any, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> Any:
        self._count("pull_back")
        return TORCH.pull_back(params, fields, steps, cotangents, dt)

    def push_forward(self, params: Any, fields: torch.Tensor, steps: torch.Tensor, dt: float) -> Any:
        self._count("push_forward")
        return TORCH.push_forward(params, fields, steps, dt)


GIVEN: dict[str, Any] = {"tol": 0.0, "max_steps": 30, "dt": DT}


def scan(params: Any = None, **changes: Any) -> xr.Dataset:
    given = {
        "axes": {"a": [0.1, 0.14], "b": [1.2, 1.3, 1.4]}, "base": mine() if params is None else params,
        "losses": [cubed], "routes": [Contracted(), "unrolled"], "initial": start(), **GIVEN, "progress": False,
    }  # fmt: skip
    return gs.scan(**{**given, **changes})  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------------
# All four at once
# ---------------------------------------------------------------------------------------------------------------------


def test_model_loss_route_and_backend_of_ones_own_in_single_calls() -> None:
    calls: list[str] = []
    backend, params = Counting(calls), mine()
    state = gs.steady_state(params, start(), backend=backend, **GIVEN)
    assert calls == ["march"]
    assert torch.equal(state.fields, gs.steady_state(params, start(), **GIVEN).fields)  # of the kernels
    assert state.model.name == "mine"
    out = gs.grad(params, Contracted(), cubed, initial=start(), backend=backend, **GIVEN)
    assert calls == ["march", "march", "push_forward"]
    assert out.certificate.definition == ("my tangents",)
    expected = gs.grad(params, "unrolled", cubed, initial=start(), backend=backend, **GIVEN)
    assert calls[3:] == ["march", "pull_back"]
    for name in ("Du", "Dv", "a", "b"):
        assert getattr(out.grad, name).item() == pytest.approx(getattr(expected.grad, name).item(), rel=1e-10)
    taylor = taylor_test(
        params, Contracted(), cubed, initial=start(), backend=backend, sizes=(2.0**-9, 2.0**-10), **GIVEN
    )
    assert 1.9 < taylor.orders[0] < 2.1
    table = gs.compare(
        params, ["unrolled", Contracted(), "tangent"], False, cubed, initial=start(), backend=backend, **GIVEN
    )
    assert table.reason.values.ravel().tolist() == [gs.Reason.REFERENCE, gs.Reason.AGREES, gs.Reason.AGREES]
    assert "contracted" in str(table)


def test_a_scan_of_ones_own_is_stored_interrupted_resumed_and_refused_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"backend": Counting(), "tile": 1, "store": tmp_path / "a.nc"}
    tiles, original = [], worker.evaluate_tile

    def interrupted(*work: Any) -> Any:
        tiles.append(work)
        if len(tiles) == 4:
            raise KeyboardInterrupt
        return original(*work)

    monkeypatch.setattr(run, "_INLINE_SECONDS", 1e9)  # on a busy machine too
    with monkeypatch.context() as patch:
        patch.setattr(worker, "evaluate_tile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(**given)
        part = gs.partial_scan(tmp_path / "a.nc")
        assert part["done"].values.tolist() == [[1, 1, 1], [0, 0, 0]]
        whole = scan(**given)
        assert len(tiles) == 4 + 3
    assert whole["loss"].notnull().all()
    np.testing.assert_allclose(
        whole["gradient"].sel(route="contracted"), whole["gradient"].sel(route="unrolled"), rtol=1e-9
    )
    assert whole["parameter"].values.tolist() == ["Du", "Dv", "a", "b"]
    xr.testing.assert_identical(scan(**{**given, "store": None}).drop_attrs(), whole.drop_attrs())
    xr.testing.assert_identical(scan(**given), whole)

    def other(u: Any, v: Any, a: Any, b: Any) -> Any:
        return a - u + u * u * v, b - u * u * v + 1e-9

    with pytest.raises(gs.StoreMismatchError, match=r"model\.reaction"):
        scan(mine(other), **given)
    with pytest.raises(gs.StoreMismatchError, match=r'model\.name: "mine" there, "yours" asked for'):
        scan(gs.Model.of(reaction, name="yours").params(Du=0.1, Dv=2.0, a=0.14, b=1.34), **given)
    with pytest.raises(gs.StoreMismatchError, match="backend"):
        scan(**{**given, "backend": None})
    with pytest.raises(ValueError, match="a function, which a file does not hold"):
        gs.scan_arguments(whole)


def test_the_same_formula_is_the_same_model_wherever_it_is_written(tmp_path: Path) -> None:
    """A store knows a reaction by its operations in their order, and not by its text, its file or local names."""

    def again(x: Any, y: Any, a: Any, b: Any) -> Any:
        supply = a - x  # said otherwise
        gain = x * x * y
        return supply + gain, b - gain

    given: dict[str, Any] = {"routes": [], "losses": [cubed], "store": tmp_path / "a.nc"}
    whole = scan(**given)
    xr.testing.assert_identical(scan(mine(again), **given), whole)
    xr.testing.assert_identical(scan(mine(lambda u, v, a, b: (a - u + u * u * v, b - u * u * v)), **given), whole)


def test_subclasses_of_model_are_known_by_what_they_override(tmp_path: Path) -> None:
    class Slower(gs.Model):
        """Overrides its kinds."""

        def kinds(self, fields: torch.Tensor) -> torch.Tensor:
            return torch.full((len(fields),), 3)

    plain = mine()
    names: dict[str, Any] = {"name": "mine", "species": ("u", "v"), "diffusivity": ("Du", "Dv"), "rates": ("a", "b")}
    own = Slower(**names, reaction=reaction).params(Du=0.1, Dv=2.0, a=0.14, b=1.34)
    assert type(pickle.loads(pickle.dumps(plain)).model) is gs.Model
    data = scan(own, routes=[], store=tmp_path / "a.nc")
    assert (data["kind"] == 3).all()
    with pytest.raises(gs.StoreMismatchError, match=r"model\.class"):
        scan(plain, routes=[], store=tmp_path / "a.nc")


# ---------------------------------------------------------------------------------------------------------------------
# Models of other kinds
# ---------------------------------------------------------------------------------------------------------------------


def all_of(params: Any, fields: torch.Tensor, **changes: Any) -> None:
    """Every route at finite time, and at a root, and a scan of one axis."""
    given = {**GIVEN, "initial": fields, **changes}
    exact = gs.grad(params, "unrolled", mean_square, **given).grad.tensor()
    for route in ("tangent", "finite_difference"):
        assert relative(gs.grad(params, route, mean_square, **given).grad.tensor(), exact) < 1e-6
    state = gs.steady_state(params, fields, refine=True, dt=given["dt"], max_steps=20_000, backend=given.get("backend"))
    state.require_steady()
    roots = {"initial": state.fields, "dt": given["dt"]}
    implicit = gs.grad(params, "implicit", mean_square, **roots).grad.tensor()
    for route in (gs.routes.Tangent(refine=True), gs.routes.FiniteDifference(refine=True), "deq"):
        assert relative(gs.grad(params, route, mean_square, **roots).grad.tensor(), implicit) < 1e-5
    name = params.model.rates[-1]
    at = getattr(params, name).item()
    data = gs.scan({name: [at, at + 0.01]}, params, [mean_square], ["implicit", "unrolled"], progress=False, **given)
    np.testing.assert_array_equal(data["gradient"].sel(route="unrolled").isel({name: 0}).values.ravel(), exact[0])
    assert data["gradient"].sizes["parameter"] == len(params.model.parameters)
    assert data["component"].values.tolist() == list(params.model.species)


def test_one_species() -> None:
    """Allen-Cahn with a bias, whose rates come back without a tuple."""
    model = gs.Model.of(lambda u, r, a: r * (u - u**3) + a, name="allen_cahn", species=["u"])
    assert (model.observed, model.parameters) == ("u", ("Du", "r", "a"))
    all_of(model.params(Du=0.1, r=0.3, a=0.05), start(1), dt=1.0)


def test_three_species() -> None:
    """A front of three: each eats the next."""

    def cyclic(x1: Any, x2: Any, x3: Any, c: Any, r: Any) -> Any:
        total = x1 + x2 + x3
        return [r * (1 - total) * x + 0.1 - c * x * y for x, y in ((x1, x2), (x2, x3), (x3, x1))]

    model = gs.Model.of(cyclic, species=("x1", "x2", "x3"), observed="x2")
    assert model.parameters == ("Dx1", "Dx2", "Dx3", "c", "r")
    state = gs.steady_state(model.params(Dx1=0.1, Dx2=0.1, Dx3=0.1, c=0.3, r=1.1), start(3), dt=0.1, max_steps=10)
    assert torch.equal(state.observed, state.species("x2"))
    assert torch.equal(state.v, state.fields[:, 1])
    with pytest.raises(ValueError, match=r"species must be .*'x1', 'x2', 'x3'"):
        state.species("v")
    all_of(model.params(Dx1=0.1, Dx2=0.2, Dx3=0.3, c=0.3, r=1.1), start(3), dt=0.1)


@pytest.mark.filterwarnings("ignore::gsimplicit.marching.cpu.UntracedWarning")
def test_what_cannot_be_traced(tmp_path: Path) -> None:
    """A reaction with a threshold: told in a store by its code."""

    def threshold(u: Any, v: Any, a: Any, b: Any) -> Any:
        return a - u + v * torch.where(u > 0.2, u * u, 0.2 * u), b - u * v

    params = gs.Model.of(threshold).params(Du=0.1, Dv=0.2, a=0.3, b=0.6)
    assert "compares" in params.model.untraced
    all_of(params, start(2, (4, 5)), dt=0.1)
    given: dict[str, Any] = {
        "axes": {"a": [0.3, 0.4]},
        "initial": start(2, (4, 5)),
        "store": tmp_path / "a.nc",
        "routes": [],
    }
    data = scan(params, **given)
    xr.testing.assert_identical(scan(params, **given), data)

    def threshold(u: Any, v: Any, a: Any, b: Any) -> Any:  # type: ignore[no-redef]
        return a - u + v * torch.where(u > 0.25, u * u, 0.2 * u), b - u * v

    with pytest.raises(gs.StoreMismatchError, match=r"model\.reaction"):
        scan(gs.Model.of(threshold).params(Du=0.1, Dv=0.2, a=0.3, b=0.6), **given)


def test_no_rates_and_defaults_and_presets() -> None:
    bare = gs.Model.of(lambda u: u - u * u * u, species=("u",))
    assert bare.parameters == ("Du",)
    assert gs.grad(bare.params(Du=0.1), "unrolled", mean_square, initial=start(1), **GIVEN).grad.Du.shape == (1,)

    def kept(u: Any, v: Any, a: Any, b: Any = 0.9, *, _: None = None) -> Any:
        return a - u, b - v

    with pytest.raises(TypeError, match="by position, one by one, got _"):
        gs.Model.of(kept)
    model = gs.Model.of(
        lambda u, v, a, b=0.9: (a - u, b - v), presets={"one": (0.1, 0.2, 0.3, 0.4)}, ranges={"a": (0, 1)}
    )
    assert model.params(Du=0.1, Dv=0.2, a=0.3).b.item() == 0.9
    assert model.preset("one").b.item() == 0.4
    assert model.params(Du=0.1, Dv=0.2, a=[0.1, 0.2], b=1).tensor().tolist() == [
        [0.1, 0.2, 0.1, 1.0],
        [0.1, 0.2, 0.2, 1.0],
    ]
    state = gs.steady_state(model.params(Du=0.1, Dv=0.2, a=[0.1, 0.2]), start(), **GIVEN)
    assert [p.a.item() for p in state.params] == [0.1, 0.2]
    with pytest.raises(ValueError, match=r"preset must be .*'one'"):
        model.preset("two")


def test_parameters_of_ones_own_are_attached_through_solve() -> None:
    a = torch.tensor(0.14, dtype=torch.float64, requires_grad=True)
    first = start().requires_grad_()
    state = gs.solve(mine(a=a), "unrolled", initial=first, **GIVEN)
    mean_square(state.species("u")).sum().backward()
    plain = [
        mean_square(gs.steady_state(mine(a=0.14 + h), start(), **GIVEN).species("u")).item() for h in (1e-5, -1e-5)
    ]
    assert a.grad is not None
    assert a.grad.item() == pytest.approx((plain[0] - plain[1]) / 2e-5, rel=1e-6)
    assert first.grad is not None
    assert first.grad.shape == (1, 2, 8, 16)


def test_division_by_a_species_that_rests_at_zero_is_no_error() -> None:
    model = gs.Model.of(lambda a, h, mu: (a * a / h - mu * a + 0.1, a * a - h), species=("a", "h"), observed="a")
    params = model.params(Da=0.1, Dh=1.0, mu=1.0)
    state = gs.steady_state(params, start(), dt=0.05, tol=0.0, max_steps=20, backend=TORCH)  # the step is looked at
    assert torch.isfinite(state.fields).all()
    assert model.frequencies([0.1, 1.0, 1.0], list(start()[0].numpy())) == pytest.approx([0.993], abs=1e-3)


# ---------------------------------------------------------------------------------------------------------------------
# Workers and pickles
# ---------------------------------------------------------------------------------------------------------------------


MODULE = "GAIN = 1.0\n\ndef reaction(u, v, a, b):\n    return a - u + GAIN * u * u * v, b - GAIN * u * u * v\n"


def test_a_reaction_goes_as_it_is_and_not_as_its_file_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that imports the module has another value of what was set in it since."""
    (tmp_path / "own_reaction.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_reaction  # type: ignore[import-not-found]

    own_reaction.GAIN = 1.7
    params = mine(own_reaction.reaction)
    given: dict[str, Any] = {"losses": ["spectrum"], "routes": [], "initial": start(grid=(16, 16)), "tile": 1}
    here = scan(params, **given)
    anywhere = mine(lambda u, v, a, b: (a - u + 1.7 * u * u * v, b - 1.7 * u * u * v))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for one in (params, anywhere):
            there = scan(one, **given, executor=pool)
            xr.testing.assert_identical(there.drop_attrs(), here.drop_attrs())
    sent = pickle.dumps(params)
    assert pickle.loads(sent).tensor().equal(params.tensor())
    own_reaction.GAIN = 2.5  # traced with 1.7: no scan mixes the two
    with pytest.raises(ValueError, match="the reaction of mine is another one here"):
        pickle.loads(sent)
    with pytest.raises(TypeError, match=r"model 'mine' cannot be sent to workers: .* is another one here"):
        scan(params, **given, executor=ProcessPoolExecutor(1))
    del sys.modules["own_reaction"]


def test_states_of_shipped_models_pickle_by_name_and_of_ones_own_with_their_function() -> None:
    shipped = gs.models.schnakenberg.preset("stripes")
    assert pickle.loads(pickle.dumps(shipped)).model is gs.models.schnakenberg
    found = pickle.loads(pickle.dumps(gs.Model.of(reaction)))
    assert found.reaction is reaction
    assert found.same(gs.Model.of(reaction))
    assert not found.same(gs.Model.of(reaction, name="other"))


# ---------------------------------------------------------------------------------------------------------------------
# At the door
# ---------------------------------------------------------------------------------------------------------------------

TAKEN = (
    "model",
    "tensor",
    "loss",
    "gradient",
    "status",
    "mode",
    "component",
    "initial",
    "target",
    "v_mean",
    "stable",
    "x",
)


def function_of(*names: str) -> Any:
    space: dict[str, Any] = {}
    exec(f"def f({', '.join(names)}): return u, v", {}, space)
    return space["f"]


@pytest.mark.parametrize("name", [*TAKEN, "self", "done", "of_values"])
def test_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"name in rates must not be '{name}', which means something else"):
        gs.Model.of(function_of("u", "v", name))
    names: dict[str, Any] = {
        "name": name if name != "self" else "me",
        "species": ("u",),
        "diffusivity": ("D",),
        "rates": (),
    }
    assert gs.Model(**names, reaction=lambda u: -u).parameters == ("D",)  # the model's own name is nobody else's


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: gs.Model.of(function_of("u", "v", "Du")), ValueError, "different names, got Du twice"),
        (lambda: gs.Model.of(function_of("u", "v", "u2"), species=("u", "u")), ValueError, "names, got Du, u"),
        (lambda: gs.Model.of(lambda u: u), ValueError, "must take the 2 species and its rates, got 1 arguments"),
        (lambda: gs.Model.of(lambda u, v, *rest: (u, v)), TypeError, "by position, one by one, got rest"),
        (lambda: gs.Model.of(lambda u, v, a: (u, v, a)), TypeError, "one rate a species, 2 of them, got 3"),
        (lambda: gs.Model.of(lambda u, v, a: u), TypeError, "one rate a species, 2 of them, got Symbol"),
        (lambda: gs.Model.of(3), TypeError, "reaction must be a function of the species and rates, got 3"),
        (lambda: gs.Model.of(reaction, species="uv"), TypeError, "species must be a sequence of names, got 'uv'"),
        (lambda: gs.Model.of(reaction, species=()), ValueError, "species must hold at least 1 name, got none"),
        (lambda: gs.Model.of(reaction, species=("u", "2")), ValueError, "name in species must be .* got '2'"),
        (lambda: gs.Model.of(reaction, name="my model"), ValueError, "name must be .* got 'my model'"),
        (lambda: gs.Model.of(reaction, name=3), TypeError, "name must be text, got 3"),
        (lambda: gs.Model.of(reaction, diffusivity=("D",)), ValueError, "coefficient a species, 2 of them, got .*'D'"),
        (lambda: gs.Model.of(reaction, observed="w"), ValueError, "observed must be .*'u', 'v', got 'w'"),
        (lambda: gs.Model.of(reaction, rest=(0.0,)), ValueError, "rest must hold 2 numbers"),
        (lambda: gs.Model.of(reaction, presets={"p": (1, 2)}), ValueError, "preset 'p' must hold 4 numbers"),
        (lambda: gs.Model.of(reaction, ranges={"c": (0, 1)}), ValueError, "entry of ranges must be .* got 'c'"),
        (lambda: gs.Model.of(reaction, ranges={"a": 3}), ValueError, "range of a must be a lowest .* value, got 3"),
        (lambda: gs.Model.of(reaction, ranges={"a": (1, 0)}), ValueError, r"range of a must be .* got \(1, 0\)"),
        (lambda: gs.Model.of(lambda u, v, a="x": (u, v)), TypeError, "default of a must be a real number, got 'x'"),
        (lambda: mine(a=float("nan")), ValueError, "a must be finite, got nan at instance 0"),
        (lambda: mine(Du=-0.1), ValueError, "Du must be finite and >= 0, got -0.1 at instance 0"),
        (lambda: mine(c=1.0), TypeError, "parameters of mine are Du, Dv, a, b: got c"),
        (lambda: gs.Model.of(reaction, name="mine").params(Du=1, a=1), TypeError, "Du, Dv, a, b: Dv, b missing"),
        (lambda: scan(axes={"c": [1.0]}), ValueError, "axes must be among 'Du', 'Dv', 'a', 'b', got 'c'"),
        (lambda: gs.steady_state(mine(), start(3)), ValueError, r"initial must have shape \(B, 2, H, W\)"),
        (lambda: gs.steady_state(mine(), start(), backend="cpu"), TypeError, "backend must have the methods"),
        (lambda: gs.steady_state(mine(), start(), dt=0.0), ValueError, "dt must be finite and > 0, got 0.0"),
        (lambda: gs.grad(mine(), initial=start(grid=(16, 16)), dt=DT), ValueError, "target must be given .* of mine"),
    ],
)  # fmt: skip
def test_mistakes_are_told_at_the_door(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("states", [[(1.0,)], (1.0, 0.5), [(1.0, 0.5, 0.2)]])
def test_uniform_states_of_another_shape_are_named(states: Any) -> None:
    model = gs.Model(
        name="mine", species=("u", "v"), diffusivity=("Du", "Dv"), rates=("a", "b"), reaction=reaction,
        uniform=lambda a, b: states,
    )  # fmt: skip
    with pytest.raises(ValueError, match="uniform must give a list of states, each of one value a species, 2; got"):
        gs.steady_state(model.params(Du=0.1, Dv=0.1, a=0.1, b=0.9), torch.rand(1, 2, 8, 8), dt=DT, max_steps=5)


def test_a_range_is_a_bound_of_parameters_and_axes() -> None:
    model = gs.Model.of(reaction, ranges={"a": (0.0, 1.0), "b": (float("-inf"), 2.0)})
    with pytest.raises(ValueError, match=r"a must be finite and lie in \[0, 1\], got 1.5 at instance 1"):
        model.params(Du=0.1, Dv=1.0, a=[0.5, 1.5], b=1.0)
    with pytest.raises(ValueError, match=r"b must be finite and <= 2, got 3.0 at instance 0"):
        model.params(Du=0.1, Dv=1.0, a=0.5, b=3.0)
    base = model.params(Du=0.1, Dv=1.0, a=0.5, b=1.0)
    with pytest.raises(ValueError, match=r"axis a must hold finite values in \[0, 1\], got \[1.5\]"):
        scan(base, axes={"a": [0.5, 1.5]})
    with pytest.raises(TypeError, match="reaction must take u, v, a, one by one and no more: missing a required"):
        gs.Model(name="m", species=("u", "v"), diffusivity=("Du", "Dv"), rates=("a",), reaction=reaction)
    with pytest.raises(ValueError, match="bounds must hold a pair or None a species, 1 of them"):
        gs.Model("m", ("u",), ("D",), (), lambda u: -u, bounds=((0.0, 1.0), None))


def test_an_explicit_step_that_is_too_long_is_warned_of_for_any_model() -> None:
    with pytest.warns(
        gs.StabilityWarning, match="the explicit step is unstable: 1 .*|the explicit step is unstable: the fastest"
    ):
        gs.steady_state(mine(), start(), max_steps=1)
    assert Equations(mine().model, mine().tensor()[0].numpy(), DT).steps is not None


PAGE = Path(__file__).parents[1] / "docs" / "models.md"


@pytest.mark.filterwarnings("ignore::gsimplicit.marching.cpu.UntracedWarning")
def test_every_block_of_the_page_on_models_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in blocks[0].splitlines()) <= 30
    space: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), space)
    assert space["state"].has_root.all()
    assert np.abs(space["found"].orders - 2).max() < 0.1
    assert space["data"]["gradient"].notnull().all()
    printed = capsys.readouterr().out
    assert "agrees" in printed
    assert "another scan (model.reaction" in printed
    shipped = PAGE.read_text().split("## ")[2]
    rows = re.findall(r"^\| `(\w+)` \|.*?\|.*?\| (.*?) \|", shipped, re.MULTILINE)
    assert {name for name, _ in rows} == {n for n, one in vars(gs.models).items() if isinstance(one, gs.Model)}
    for name, presets in rows:
        model = getattr(gs.models, name)
        for preset, dt in re.findall(r"`(\w+)`[^`]*?\(([\d.]+)\)", presets):
            start = gs.initial_state(model=model, grid=(16, 16), noise=0.1, box=None)
            end = gs.steady_state(model.preset(preset), start, tol=0.0, max_steps=50, dt=float(dt), backend=TORCH)
            assert torch.isfinite(end.fields).all()


@pytest.mark.parametrize("name", ["gray_scott", "Schnakenberg"])
def test_a_model_of_ones_own_has_no_shipped_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"name must not be that of one of the package's models, .*; got '{name}'"):
        gs.Model.of(lambda u, v, F, k: (F - u, k - v), name=name)
    shipped = gs.models.schnakenberg
    assert dataclasses.replace(shipped, presets={}).same(shipped)  # its own reaction may keep its name


def test_a_file_of_a_changed_shipped_model_is_told_from_the_model(tmp_path: Path) -> None:
    model = dataclasses.replace(gs.models.gray_scott, trivial=0.5)
    start = torch.full((1, 2, 4, 4), 0.5, dtype=torch.float64)
    given: dict[str, Any] = {"losses": [], "tol": 0.0, "max_steps": 2, "progress": False, "initial": start}
    given |= {"losses": ["spectrum"], "target": start}
    data = gs.scan({"k": [0.06]}, base=model.preset("paper"), **given, store=tmp_path / "a.nc")
    with pytest.raises(ValueError, match="base: the model 'gray_scott' is a function, which a file does not hold"):
        gs.scan_arguments(data)


def test_arguments_that_a_partial_fixes_are_no_rates() -> None:
    def reaction(u: Any, v: Any, a: Any, b: Any) -> Any:
        return a - u, b - v

    model = gs.Model.of(functools.partial(reaction, b=2.0), name="mine")
    assert model.rates == ("a",)
    assert model.residual([0.5, 0.5], [2.0, 2.0], [0.1, 0.1, 0.3]) == pytest.approx([-0.2, 1.5])
    with pytest.raises(TypeError, match="got b: of a partial what follows a is one no more"):
        gs.Model.of(functools.partial(reaction, a=2.0), name="mine")


def test_errors_name_the_parameters_and_presets_there_are() -> None:
    model = gs.Model.of(lambda a, b, Q: (Q - a, Q - b), name="mine", species=("a", "b"))
    with pytest.raises(TypeError, match="parameters of mine are Da, Db, Q, given by name; got 2 without one"):
        model.params(1.0, 2.0)
    with pytest.raises(ValueError, match="preset must be one of mine's, which has none: use params, got 'x'"):
        model.preset("x")
    with pytest.raises(ValueError, match=r"must not be 'step', which means something else .* as do change, component"):
        gs.Model.of(lambda u, v, step: (u, v))
    with pytest.warns(gs.StabilityWarning, match=r"take dt below 0\.23\. Da, Db are D / dx\^2 of pixels dx wide"):
        gs.steady_state(model.params(Da=0.9, Db=0.2, Q=0.1), torch.rand(1, 2, 4, 4), max_steps=2)


def sized(size: float, scale: float) -> gs.ModelParams:
    """Schnakenberg's model in other units: the same fields, times a size."""

    def reaction(u: Any, v: Any, a: Any, b: Any) -> Any:
        return size * a - u + (u / size) ** 2 * v, size * b - (u / size) ** 2 * v

    model = gs.Model.of(
        reaction, name="sized", rest=lambda a, b: (size * (a + b), size * b / (a + b) ** 2), scale=scale
    )
    return model.params(Du=0.25, Dv=5.0, a=0.1, b=1.34)


def test_fields_of_any_size_are_judged_by_their_scale() -> None:
    start = gs.initial_state(model=sized(1.0, 1.0), grid=(12, 12), noise=0.1).double()
    found = {}
    for size in (1e-4, 1.0, 100.0):
        params = sized(size, size)
        refine = gs.Refine(eigenvalues=1)
        state = gs.steady_state(params, size * start, dt=0.04, tol=1e-6 * size, refine=refine)
        out = gs.grad(params, "implicit", mean_square, initial=state.fields, dt=0.04)
        found[size] = state, out.grad.tensor() / size**2
    expected, gradient = found[1.0]
    for size, (state, derivatives) in found.items():
        assert (state.status, state.kind) == (gs.Status.DRIFTING, gs.Kind.PATTERN)
        assert float(state.bordered_residual) < 1e-10 * size
        assert float(state.least_singular) == pytest.approx(float(expected.least_singular), rel=1e-3)
        assert float(state.distance) / size == pytest.approx(float(expected.distance), rel=2)
        assert torch.allclose(state.eigenvalues, expected.eigenvalues, rtol=1e-3)
        assert torch.allclose(derivatives, gradient, rtol=1e-3)


def test_the_noise_of_a_start_is_a_share_of_the_scale() -> None:
    for scale in (1e-5, 1.0, 1e4):
        model = gs.Model.of(lambda u, a: a - u, species=("u",), name="mine", scale=scale, rest=(0.0,))
        noise = gs.initial_state(grid=(16, 16), model=model).std().item()
        assert noise == pytest.approx(0.02 * scale, rel=0.2)


def test_fields_that_miss_their_scale_are_named() -> None:
    for size in (1e-4, 1e3):
        start = size * torch.full((1, 2, 4, 4), 1.0, dtype=torch.float64)
        with pytest.warns(gs.UnitsWarning, match="fields of sized are of size .* at instance 0, its scale is 1: "):
            gs.steady_state(sized(size, 1.0), start, dt=0.04, tol=1e9)
    with pytest.raises(ValueError, match=r"scale must be finite and > 0, got 0\.0"):
        sized(1.0, 0.0)
    assert not sized(1.0, 1.0).model.same(sized(1.0, 2.0).model)
