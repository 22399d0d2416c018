"""What workers get: a user's code as it is now, copies that change nothing of the caller's, and its settings."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers import mean_square, small_start

import gsimplicit as gs
from gsimplicit.landscape import pool, run, sent, worker
from gsimplicit.landscape.by_value import by_name, by_value, loads
from gsimplicit.landscape.home import Home, here

MINE = """
import abc, collections, contextlib, dataclasses, enum, functools, logging, os, threading, typing
import numpy as np, torch
import {other}
import {other} as shorter
from {package} import inside
W, LOG, lock, array = 1.0, logging.getLogger("mine"), threading.Lock(), np.full(2, 1.0)
ENV = os.environ.get("NOT_SET_ANYWHERE", "1")
tensor, net = torch.ones(1, dtype=torch.float64), torch.nn.Linear(1, 1, dtype=torch.float64)
torch.nn.init.constant_(net.weight, 1.0), torch.nn.init.constant_(net.bias, 0.0)
made = []
class OwnError(Exception):
    def __init__(self, first, second):
        super().__init__(first + second)
def mean(v): return (v**2).mean((-2, -1))
def plain(v): return W * mean(v)
def through_module(v): return {other}.W * shorter.twice(mean(v))
def of_package(v): return inside.f() * mean(v)
def of_array(v): return float(array.sum()) * float(ENV) * mean(v)
def of_tensor(v): return tensor * mean(v)
def of_network(v): return net(mean(v)[:, None])[:, 0]
def locked(v):
    with lock:
        LOG.debug("once")
        return W * mean(v)
def counted(v):
    made.append(v.shape)
    return W * mean(v)
@torch.no_grad()
def decorated(v): return W * mean(v)
@functools.lru_cache
def width(): return W
def cached(v): return width() * mean(v)
@functools.singledispatch
def dispatched(x): return x
@dispatched.register
def _(x: torch.Tensor): return W * x
def single(v): return dispatched(mean(v))
def by_text(v): return globals()["W"] * mean(v)
class Colour(enum.Enum):
    RED = 2.0
    @property
    def w(self): return self.value * W
def of_member(v): return Colour.RED.w * mean(v)
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: float
    def __call__(self, v): return self.w * W * mean(v)
class Row(typing.NamedTuple):
    w: float = 2.0
    def go(self, v): return self.w * W * mean(v)
def of_row(v): return Row().go(v)
class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return W * x
    @staticmethod
    def backward(ctx, g): return W * g
def of_step(v): return Step.apply(mean(v))
class Base(abc.ABC):
    __name__ = "based"
    count, w = 0, 1.0
    def __init__(self): super().__init__(); self.calls = 0; self.cache = {{}}
    def __call__(self, v):
        type(self).count += 1; self.calls += 1; self.cache[self.calls] = v
        return self.scale() * mean(v)
    @abc.abstractmethod
    def scale(self): ...
class Derived(Base):
    @functools.cached_property
    def seen(self): return self.w
    def scale(self): return self.seen * W
class Reduced:
    def __init__(self, w=1.0): self.w = w
    def __reduce__(self): return Reduced, ()
    def __call__(self, v): return self.w * W * mean(v)
class Forgetful:
    def __init__(self): self.w, self.cache = 2.0, {{1: 2}}
    def __getstate__(self): return {{"w": self.w}}
    def __call__(self, v): return self.w * len(self.cache) * W * mean(v)
class Registry:
    known = {{}}
    def __init_subclass__(cls): Registry.known[cls.__name__] = cls
class Registered(Registry):
    def __call__(self, v): return len(Registry.known) * W * mean(v)
def failing(v): raise OwnError("a", "b")
class Abort(BaseException):
    def __init__(self, first, second):
        super().__init__(first + second)
        self.lock = threading.Lock()
def aborting(v): raise Abort("c", "d")
def late(v):
    import {other}
    return {other}.W * mean(v)
def late_relative(v):
    from {package} import inside
    return inside.W * mean(v)
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of a user's own, whose values were set since it was imported."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    other, package = f"{name}_other", f"{name}_package"
    (tmp_path / package).mkdir()
    (tmp_path / f"{name}.py").write_text(MINE.format(other=other, package=package))
    (tmp_path / f"{other}.py").write_text(f"import {other}\nW = 1.0\ndef twice(x): return 2 * W * x\n")
    (tmp_path / package / "__init__.py").write_text("from . import inside\n")
    (tmp_path / package / "inside.py").write_text("W = 1.0\ndef f():\n    from . import inside\n    return W\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(name)


def changed(mine: ModuleType) -> None:
    """Set values in the module, as a session does."""
    mine.W, mine.ENV, mine.shorter.W, mine.Base.w = 3.0, "5", 7.0, 11.0
    mine.array[:], mine.tensor[:] = 13.0, 17.0
    torch.nn.init.constant_(mine.net.weight, 19.0)
    mine.mean = lambda v: (v**4).mean((-2, -1))


def scan(losses: list[Any], **settings: Any) -> Any:
    given = {"initial": small_start(16, 3), "tol": 0.0, "max_steps": 1, "progress": False}
    return gs.scan({"F": [0.03, 0.035, 0.04]}, losses=losses, **(given | settings))


def losses_of(mine: ModuleType) -> dict[str, tuple[Any, float]]:
    """Losses, and how many times the mean of v^4 they are once `changed`."""
    return {
        "plain": (mine.plain, 3.0),
        "through_module": (mine.through_module, 7 * 14.0),
        "of_package": (mine.of_package, 1.0),
        "of_array": (mine.of_array, 130.0),
        "of_tensor": (mine.of_tensor, 17.0),
        "of_network": (mine.of_network, 19.0),
        "locked": (mine.locked, 3.0),
        "counted": (mine.counted, 3.0),
        "decorated": (mine.decorated, 3.0),
        "cached": (mine.cached, 3.0),
        "single": (mine.single, 3.0),
        "of_member": (mine.of_member, 6.0),
        "Frozen": (mine.Frozen(2.0), 6.0),
        "of_row": (mine.of_row, 6.0),
        "of_step": (mine.of_step, 3.0),
        "based": (mine.Derived(), 33.0),
        "Reduced": (mine.Reduced(5.0), 15.0),
        "Forgetful": (mine.Forgetful(), 6.0),
        "Registered": (mine.Registered(), 3.0),
    }


def test_what_was_set_in_a_users_module_holds_wherever_a_point_is_evaluated(
    mine: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here, on the package's processes, on a given pool and on threads; and nothing of the caller's changes."""
    changed(mine)
    given = losses_of(mine)
    losses = [loss for loss, _ in given.values()]
    monkeypatch.setattr(run, "_INLINE_SECONDS", 1e9)
    inline = scan(losses)
    assert list(inline.objective.values) == list(given)
    state = gs.steady_state(gs.Params.preset("paper").replace(F=0.03), small_start(16, 3), tol=0.0, max_steps=1)
    quartic = float((state.v.double() ** 4).mean())
    for name, (_, times) in given.items():
        assert inline.loss.sel(F=0.03, objective=name).item() == pytest.approx(times * quartic, rel=1e-6), name
    monkeypatch.setattr(run, "_INLINE_SECONDS", 0.0)
    assert scan(losses).equals(inline)
    with ThreadPoolExecutor(2) as threads:
        assert scan(losses, executor=threads).equals(inline)
    with pytest.raises(mine.OwnError, match="ab"):  # of the class that the caller knows
        scan([mine.failing])
    mine.inside.W = 23.0
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        assert scan(losses[:2] + losses[3:], executor=processes).equals(
            inline.isel(objective=[0, 1, *range(3, len(losses))])
        )
        with pytest.raises(RuntimeError, match="Abort: cd"):  # neither an Exception nor one that can be pickled
            scan([mine.aborting], executor=processes)
        for loss in (mine.late, mine.late_relative):  # a worker imports by itself what is not as it is here
            with pytest.raises(RuntimeError, match=f"loss '{loss.__name__}' is another one in a worker.*import it out"):
                scan([loss], executor=processes, store=tmp_path / "refused.nc", overwrite=True)
            assert list((tmp_path / "refused.nc.tiles").glob("tile-*")) == []
    based = given["based"][0]
    assert (mine.made, mine.Base.count, mine.Derived.count, based.calls, based.cache) == ([], 0, 0, 0, {})
    assert "seen" not in vars(based)
    assert mine.Registry.known == {"Registered": mine.Registered}


def test_a_pool_waits_for_the_next_scan_and_is_not_asked_where_it_is_out_of_date(
    mine: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_INLINE_SECONDS", 0.0)
    first = scan([mine.late])
    (workers, timer) = pool._waiting[0]
    assert timer.daemon
    assert scan([mine.late], routes=["unrolled"]).loss.equals(first.loss)
    assert pool._waiting[0][0] is workers
    other = mine.shorter
    Path(str(other.__file__)).write_text("W = 30.0\ndef twice(x): return 2 * W * x\n")
    importlib.reload(other)
    assert np.allclose(scan([mine.late]).loss, 30 * first.loss, rtol=1e-12)
    assert pool._waiting[0][0] is not workers
    monkeypatch.setenv("SET_SINCE", "1")
    for _ in range(2):
        new, used = pool.borrowed()
        assert not used
        pool.dismissed(new)
    assert pool._waiting == []


def test_a_loss_that_counts_and_remembers_is_the_same_at_the_second_call(mine: ModuleType, tmp_path: Path) -> None:
    loss = mine.Derived()
    first = scan([loss, mine.counted], store=tmp_path / "a.nc")
    assert scan([loss, mine.counted], store=tmp_path / "a.nc").identical(first)
    states = gs.scan(
        {"F": np.linspace(0.03, 0.04, 8)}, initial=small_start(16, 3), tol=0.0, max_steps=1, keep="v", progress=False
    )
    training = {"members": 1, "epochs": 2, "progress": False, "store": tmp_path / "model.nc"}
    model = gs.train_surrogate(states, [loss], **training)
    assert gs.train_surrogate(states, [loss], **training).identical(model)
    assert (loss.calls, loss.cache, mine.made, mine.Base.count) == (0, {}, [], 0)


def test_what_cannot_be_copied_is_computed_here_and_refused_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = scan([mean_square])
    with (tmp_path / "log.txt").open("w") as log:

        def logged(v: torch.Tensor) -> torch.Tensor:
            log.write("once\n")
            return mean_square(v)

        monkeypatch.setattr(run, "_INLINE_SECONDS", 0.0)
        with pytest.warns(RuntimeWarning, match="loss 'logged' cannot be sent to workers.*one at a time"):
            found = scan([logged])
        assert found.loss.values.tolist() == expected.loss.values.tolist()
        with ThreadPoolExecutor(1) as threads, pytest.raises(TypeError, match=r"'logged' cannot .* without executor="):
            scan([logged], executor=threads)
        monkeypatch.setattr(run, "_INLINE_SECONDS", 1e9)
        states = gs.scan(
            {"F": np.linspace(0.03, 0.04, 8)},
            initial=small_start(16, 3),
            tol=0.0,
            max_steps=1,
            keep="v",
            progress=False,
        )
        model = gs.train_surrogate(states, [logged], members=1, epochs=2, progress=False)
        assert model["head"].values.tolist() == ["logged"]


def test_what_can_neither_be_sent_by_value_nor_told_is_refused_by_workers(mine: ModuleType) -> None:
    mine.hidden = (one for one in [1])
    packed = sent.parcel(worker.evaluate_tile, {"loss 'by_text'": mine.by_text})
    assert packed.unchecked == ("loss 'by_text'",)
    sent.opened(packed)
    with pytest.raises(RuntimeError, match="'by_text' can neither be sent by value nor be told"):
        sent.opened(replace(packed, home=replace(packed.home, place=("elsewhere", 1))))


def test_code_is_told_alike_with_and_without_its_source(mine: ModuleType) -> None:
    """The file may be edited while a scan runs, and other machines do not have it."""
    losses = [loss for loss, _ in losses_of(mine).values()]
    before = [sent.told("x", loss) for loss in losses]
    assert None not in before
    assert [sent.told("x", loads(by_value(loss))) for loss in losses] == before
    for module in (mine, mine.shorter):
        Path(str(module.__file__)).write_text("# edited\n")
    assert [sent.told("x", loss) for loss in losses] == before
    mine.W = 2.0
    again = [sent.told("x", loss) for loss in losses]
    assert sum(a != b for a, b in zip(before, again, strict=True)) == len(losses) - 5
    assert sent.told("x", loads(by_name(mine.plain))) == again[0]


@dataclass
class Seen:
    """What is set where it is unpickled or called."""

    def __call__(self, _: object) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            small = torch.full((), 2.0**-1060, dtype=torch.float64).mul(0.5) != 0
        return {
            "dtype": np.array(str(torch.get_default_dtype())),
            "grad": np.array(torch.is_grad_enabled()),
            "precision": np.array(torch.get_float32_matmul_precision()),
            "deterministic": np.array(torch.are_deterministic_algorithms_enabled()),
            "errors": np.array(np.geterr()["divide"]),
            "small": np.array(bool(small)),
        }


def test_a_point_is_evaluated_with_the_settings_of_the_process_that_asked() -> None:
    def seen(home: Home) -> dict[str, Any]:
        packed = replace(sent.parcel(Seen(), {}), home=home)
        return {name: one.item() for name, one in (worker.work_on("", sent.pickle.dumps(packed), [0]) or {}).items()}

    plain = seen(Home.now())
    shared = {"dtype": torch.float64, "precision": "medium", "deterministic": (True, True), "mkldnn": False}
    away = Home(("elsewhere", 1), shared, grad=False, errors={**np.geterr(), "divide": "ignore"}, tiny=False)
    flushes = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    assert seen(away) == {
        "dtype": "torch.float64",
        "grad": False,
        "precision": "medium",
        "deterministic": True,
        "errors": "ignore",
        "small": not flushes,
    }
    assert seen(Home.now()) == plain
    # threads of this process share its settings and have their own about gradients
    assert seen(replace(away, place=here())) == plain | {"grad": False, "errors": "ignore", "small": not flushes}


def test_a_large_loss_is_sent_once_to_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    big = np.full(200_000, 2.0)

    def of_big(v: torch.Tensor) -> torch.Tensor:
        return big.mean() * mean_square(v)

    monkeypatch.setattr(worker, "_large", {})
    received: list[bool] = []

    class Counted(ThreadPoolExecutor):
        def submit(self, function: Any, /, key: str, work: bytes | None, items: Any) -> Any:
            received.append(work is not None)
            return super().submit(function, key, work, items)

    expected = scan([mean_square]).loss * 2.0
    with Counted(1) as threads:
        assert (scan([of_big], executor=threads, tile=1).loss.values == expected.values).all()
    assert received.count(True) in (1, 2)  # two are in flight where nobody has it
    assert received.count(False) == 3


SCRIPT = """
import enum, sys, threading, time
import gsimplicit as gs
from gsimplicit.landscape import run

class Scale(enum.Enum):
    TWO = 2.0

class Loss:
    __name__ = "mine"
    w = 1.0
    def __call__(self, v):
        return self.w * weight * Scale.TWO.value * (v**2).mean((-2, -1))

weight = 1.0
Loss.w, weight = 3.0, 5.0
settings = dict(initial=gs.initial_state(grid=(16, 16), box=gs.Box(half=3)), tol=0.0, max_steps=1, progress=False)
run._INLINE_SECONDS = 1e9
here = gs.scan({"F": [0.03, 0.035, 0.04]}, losses=[Loss()], **settings)
run._INLINE_SECONDS = 0.0
assert gs.scan({"F": [0.03, 0.035, 0.04]}, losses=[Loss()], **settings).equals(here)
print("ends", flush=True)
"""


def test_classes_of_a_script_are_as_they_are_there_and_a_pool_that_waits_keeps_no_process_alive(
    tmp_path: Path,
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error::UserWarning", "script.py"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(gs.__file__).parents[1]), *sys.path])}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        ended = threading.Timer(60, process.kill)
        ended.start()
        out, errors = process.communicate()
        ended.cancel()
    assert (process.returncode, out, errors) == (0, "ends\n", "")
