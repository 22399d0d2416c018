"""Routes and solvers of a user's own in a scan: stored, resumed, told by their code, and never a worker's end."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape import run, worker
from gsimplicit.landscape.settings import decoded, encoded
from gsimplicit.routes import Derivatives, Route
from gsimplicit.routes.route import Problem, nothing

AXES = {"F": [0.03, 0.035], "k": [0.06, 0.062, 0.065]}


class Slope(Route):
    """A route whose gradient is its weight, and which says what it did in words of its own."""

    name: ClassVar[str] = "slope"
    through_steps: ClassVar[bool] = False
    needs_root = False  # type: ignore[assignment]

    def __init__(self, weight: float = 1.0, words: tuple[str, ...] = ("slope of my own",), per: float = 1e3) -> None:
        self.weight, self.words, self.per = weight, words, per

    def solve(self, problem: Problem) -> gs.SteadyState:
        return problem.state()

    def pull_back(self, problem: Problem, state: gs.SteadyState, cotangents: torch.Tensor) -> Derivatives:
        L, B = cotangents.shape[:2]
        at = round(float(problem.params.k[0]) * self.per) % len(self.words)
        made = gs.Certificate((self.words[at],) * B, nothing(B), nothing(B), nothing(B), nothing(B), torch.zeros(B))
        return Derivatives(torch.full((L, B, 4), self.weight, dtype=torch.float64), (made,) * L)


def scan(**changes: Any) -> xr.Dataset:
    start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    return gs.scan(**{"axes": AXES, "initial": start, "tol": 0.0, "max_steps": 20, "progress": False, **changes})


def words_of(data: xr.Dataset, route: str = "slope") -> list[str]:
    meanings = data["route_definition"].attrs["flag_meanings"].split()
    assert len(meanings) == len(data["route_definition"].attrs["flag_values"])
    return [meanings[n] for n in data["route_definition"].sel(route=route).values.ravel()]


def test_a_users_route_is_scanned_and_its_definitions_are_kept_in_words(tmp_path: Path) -> None:
    given: dict[str, Any] = {"routes": [Slope(3.0), "unrolled"], "store": tmp_path / "a.nc"}
    data = scan(**given)
    assert (data["gradient"].sel(route="slope") == 3.0).all()
    assert words_of(data) == ["slope_of_my_own"] * 6
    assert words_of(data, "unrolled") == ["marched_steps"] * 6
    np.testing.assert_array_equal(
        data["gradient"].sel(route="unrolled"), scan(routes=["unrolled"])["gradient"].sel(route="unrolled")
    )
    xr.testing.assert_identical(scan(**given), data)
    with pytest.raises(gs.StoreMismatchError, match="routes"):
        scan(routes=[Slope(4.0), "unrolled"], store=tmp_path / "a.nc")
    with pytest.raises(ValueError, match="Slope' are not gsimplicit's and cannot be made again from a file; pass them"):
        gs.scan_arguments(data)


def test_words_get_the_same_numbers_however_the_points_come(tmp_path: Path) -> None:
    route = Slope(words=("zeta", "alpha", "none", "mean of é"))
    whole = scan(routes=[route])
    assert words_of(whole) == 2 * ["zeta", "none", "alpha"]  # 60, 62 and 65 modulo 4
    for tile in (1, 2, 6):
        xr.testing.assert_identical(scan(routes=[route], tile=tile, axes=AXES).drop_attrs(), whole.drop_attrs())
    backwards = scan(routes=[route], follow="-k", store=tmp_path / "b.nc", tile=1)
    assert words_of(backwards) == words_of(whole)
    assert backwards["route_definition"].attrs["flag_meanings"] == whole["route_definition"].attrs["flag_meanings"]


def test_a_part_of_a_scan_of_a_users_route_can_be_looked_at_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"routes": [Slope(words=("zeta", "alpha", "none", "beta"))], "tile": 1}
    tiles, original = [], worker.evaluate_tile

    def interrupted(*work: Any) -> Any:
        tiles.append(work)
        if len(tiles) == 4:
            raise KeyboardInterrupt
        return original(*work)

    monkeypatch.setattr(worker, "evaluate_tile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan(**given, store=tmp_path / "a.nc")
    part = gs.partial_scan(tmp_path / "a.nc")
    assert part["done"].values.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert words_of(part) == ["zeta", "none", "alpha", "none", "none", "none"]
    whole = scan(**given, store=tmp_path / "a.nc")
    assert len(tiles) == 4 + 3
    xr.testing.assert_identical(whole.drop_attrs(), scan(**given).drop_attrs())
    assert words_of(whole) == 2 * ["zeta", "none", "alpha"]


def test_very_many_words_become_one() -> None:
    route = Slope(words=tuple(f"word {n}" for n in range(1000)), per=1e5)
    data = scan(routes=[route], axes={"k": np.linspace(0.06, 0.062, 200)}, max_steps=1)
    assert words_of(data) == ["other"] * 200


class Failing(Slope):
    """Raises what it is told to."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self.error = error

    def solve(self, problem: Problem) -> gs.SteadyState:
        if float(problem.params.k[0]) == 0.062:
            raise self.error()
        return super().solve(problem)


class OwnError(Exception):
    """An error that pickle cannot make again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("a failure of my own")


def test_an_error_in_a_users_route_ends_the_scan_with_its_place_and_not_the_worker() -> None:
    route = Failing(lambda: OwnError(1, 2))
    with pytest.raises(OwnError, match="a failure of my own") as caught:
        scan(routes=[route])
    assert caught.value.__notes__ == ["in route 'slope'", "at Du = 0.16, Dv = 0.08, F = 0.03, k = 0.062"]
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(RuntimeError, match="OwnError: a failure of my own") as sent,
    ):
        scan(routes=[route], executor=pool)
    assert sent.value.__notes__[:2] == caught.value.__notes__
    assert "in solve" in sent.value.__notes__[2]


def test_numerical_failures_of_a_users_route_are_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_INLINE_SECONDS", 1e9)  # on a busy machine too, and then nothing is said of workers
    with pytest.raises(gs.NotSteady) as unsteady:
        gs.steady_state(gs.Params(0.16, 0.08, 0.03, 0.06), max_steps=1).require_steady()
    for error, status in [
        (lambda: np.linalg.LinAlgError("singular"), gs.Status.FAILED),
        (lambda: ZeroDivisionError("division by zero"), gs.Status.FAILED),
        (lambda: unsteady.value, gs.Status.UNSTEADY),
    ]:
        data = scan(routes=[Failing(error)])  # type: ignore[arg-type]
        assert (data["route_status"].sel(k=0.062) == status).all()
        assert data["gradient"].sel(k=0.062).isnull().all()
        assert data["gradient"].sel(k=0.06).notnull().all()


class Scribbling(Slope):
    """Writes into all it is given."""

    def solve(self, problem: Problem) -> gs.SteadyState:
        problem.initial.zero_()
        state = problem.state()
        state.fields.mul_(0.5)
        return problem.state()


def test_a_route_that_writes_into_what_it_is_given_changes_nothing_for_others() -> None:
    data = scan(routes=[Scribbling(), "unrolled"], keep="v")
    alone = scan(routes=["unrolled"], keep="v")
    xr.testing.assert_equal(data.sel(route=["unrolled"]).drop_attrs(), alone.drop_attrs())


@dataclass(frozen=True)
class Implicit(Route):
    """A user's route with the name of one of the package's."""

    name: ClassVar[str] = "implicit"
    through_steps: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False  # type: ignore[assignment]

    def solve(self, problem: Problem) -> gs.SteadyState:
        return problem.state()

    def pull_back(self, problem: Problem, state: gs.SteadyState, cotangents: torch.Tensor) -> Derivatives:
        return Slope().pull_back(problem, state, cotangents)


def test_a_users_class_of_the_name_of_one_of_the_packages_is_not_taken_for_it() -> None:
    told = encoded("routes", Implicit())
    assert told["type"] == f"{__name__}.Implicit"
    with pytest.raises(ValueError, match="cannot be made again from a file"):
        decoded(told)
    assert decoded(encoded("routes", gs.routes.Implicit())) == gs.routes.Implicit()

    class Own(gs.routes.Truncated):
        pass

    assert encoded("routes", Own())["type"].endswith("Own")
    assert encoded("routes", Own(), kept=False) == {"type": encoded("routes", Own())["type"]}


SOLVER = """
from dataclasses import dataclass
from typing import ClassVar
from gsimplicit import Direct

@dataclass(frozen=True)
class Mine:
    name: ClassVar[str] = "mine"
    factorises: ClassVar[bool] = True
    scale: float = 1.0

    def prepare(self, systems, before=None):
        return Direct().prepare(systems, before) if {x} else None
"""


def test_the_code_of_a_users_solver_is_part_of_what_a_scan_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    told = []
    for x in ("1", "1", "2"):
        (tmp_path / "own_solver.py").write_text(SOLVER.replace("{x}", x))
        monkeypatch.delitem(sys.modules, "own_solver", raising=False)
        importlib.invalidate_caches()
        module = importlib.import_module("own_solver")
        told.append(encoded("refine", gs.Refine(linear=module.Mine())))
    assert told[0] == told[1] != told[2]
    assert encoded("refine", gs.Refine(linear=module.Mine(2.0))) != told[2]
    given: dict[str, Any] = {"axes": {"k": [0.08]}, "refine": gs.Refine(linear=module.Mine()), "tol": 1e-4}
    data = scan(**given, max_steps=20_000, store=tmp_path / "a.nc")
    assert data["status"].item() == gs.Status.STEADY
    xr.testing.assert_identical(scan(**given, max_steps=20_000, store=tmp_path / "a.nc"), data)


def test_another_process_finds_the_store_of_a_users_route(tmp_path: Path) -> None:
    """By the module that holds it here, and by pickle in a worker."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import cloudpickle, test_own_routes as t\n"
        "route = cloudpickle.loads(cloudpickle.dumps(t.Slope(3.0)))\n"
        "t.gs.landscape.worker.evaluate_tile = None\n"
        "print(t.scan(routes=[route], store=sys.argv[2]).gradient.max().item())\n"
    )
    scan(routes=[Slope(3.0)], store=tmp_path / "a.nc")
    words = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "a.nc")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "3.0", done.stderr


def test_the_former_name_of_derivatives_stays() -> None:
    assert gs.routes.Pulled is Derivatives
