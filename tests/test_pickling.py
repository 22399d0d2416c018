"""Results and errors travel: pickled, copied, sent between processes, and computed in forked children."""

from __future__ import annotations

import copy
import gzip
import os
import pickle
import subprocess
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
import torch
from helpers import PAPER, mean_square, small_start

import gsimplicit as gs
from gsimplicit import results

if TYPE_CHECKING:
    from collections.abc import Callable

START = small_start(16, 4)
SHORT: dict[str, Any] = {"initial": START, "tol": 0.0, "max_steps": 10}
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "cloudpickle": lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
    **{f"protocol {n}": partial(lambda n, x: pickle.loads(pickle.dumps(x, n)), n) for n in (2, 4, 5)},
}


def unsteady() -> gs.NotSteady:
    """The error of a state that is none, with a note and an attribute of the caller's."""
    try:
        gs.steady_state(gs.Params(*PAPER), START, max_steps=10).require_steady()
    except gs.NotSteady as error:
        error.add_note("while looking for spots")
        error.at = 3  # type: ignore[attr-defined]
        return error
    raise AssertionError


def fail(_: int = 0) -> None:
    raise unsteady()


def marched(_: int = 0) -> gs.SteadyState:
    return gs.steady_state(gs.Params(*PAPER), START, max_steps=10)


@pytest.mark.parametrize("way", WAYS)
def test_not_steady_travels_with_its_state_and_notes(way: str) -> None:
    error = unsteady()
    found = WAYS[way](error)
    assert type(found) is gs.NotSteady
    assert (str(found), found.__notes__, found.at) == (str(error), error.__notes__, 3)
    assert torch.equal(found.state.fields, error.state.fields)
    assert found.state.status.tolist() == error.state.status.tolist()


@pytest.mark.parametrize("way", WAYS)
def test_results_travel_attached_to_autograd_or_not(way: str) -> None:
    k = torch.tensor(0.065, dtype=torch.float64, requires_grad=True)
    params = gs.Params(0.16, 0.08, 0.035, k)
    state, out = gs.solve(params, "unrolled", **SHORT), gs.grad(params, "unrolled", mean_square, **SHORT)
    table = gs.compare(params, ["unrolled"], share_root=False, loss=mean_square, **SHORT)
    for one in (params, state, out, out.grad, out.certificate, table, gs.Params(*PAPER).expand(3)):
        found = WAYS[way](one)
        assert type(found) is type(one)
        assert repr(found) == repr(one)
    there = WAYS[way](state)
    assert torch.equal(there.fields, state.fields)
    assert there.fields.requires_grad == (way == "copy")  # a shallow copy is of the same tensors
    if way != "copy":
        there.fields.zero_()
        assert state.fields.detach().abs().max() > 0


def test_a_state_and_its_error_outlive_the_process_they_come_from() -> None:
    """multiprocessing would send tensors as shared memory, which ends with the process; and wait for ever for an error
    that cannot be unpickled."""
    with get_context("spawn").Pool(1) as pool:
        with pytest.raises(gs.NotSteady, match="1 of 1 instances") as caught:
            pool.apply_async(fail, (0,)).get(60)
        found = pool.apply_async(marched, (0,)).get(60)
    assert caught.value.state.status.tolist() == [gs.Status.UNSTEADY]
    assert caught.value.__notes__ == ["while looking for spots"]
    assert torch.equal(found.fields, marched().fields)


OLD = pickle.loads(gzip.decompress((Path(__file__).parent / "data" / "results_0_1_0.pickle.gz").read_bytes()))
"""One pickle a result, written by version 0.1.0."""


@pytest.mark.parametrize("name", OLD)
def test_results_of_the_version_before_load_and_print(name: str) -> None:
    found = pickle.loads(OLD[name])
    assert repr(pickle.loads(pickle.dumps(found))) == repr(found)
    assert repr(copy.deepcopy(found)) == repr(found)


def test_what_the_version_before_did_not_measure_is_unknown() -> None:
    """A result of today beside it: what both hold is the same, what is new is NaN."""
    state, gradient = (pickle.loads(OLD[name]) for name in ("state", "unrolled"))
    for name in ("least_singular", "distance", "step_factor"):
        assert torch.isnan(getattr(state, name)).tolist() == [True, True]
    assert torch.isnan(gradient.certificate.distance).tolist() == [True, True]
    now = gs.steady_state(state.params, state.fields, refine=True)
    both = results.concatenate([state, now])
    assert len(both[[0, 3]].replace(steps=torch.zeros(2))) == 2
    assert torch.equal(now.fields, state.fields)
    assert pickle.loads(OLD["error"]).state.status.tolist() == [gs.Status.UNSTEADY]
    assert pickle.loads(OLD["refine"]) == gs.Refine(tol=1e-9, lattice=True, linear=gs.Gmres(cycle=50))


FORKING = """
import multiprocessing as mp, os, sys
import torch, gsimplicit as gs
fields = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
P = gs.Params(0.16, 0.08, 0.03, 0.05)
def gradients(_):
    outs = [gs.grad(P, r, initial=fields, tol=0.0, max_steps=50).grad.k.item() for r in ("unrolled", "tangent")]
    root = gs.grad(P, "implicit", lambda v: (v**2).mean((-2, -1)), initial=fields).grad.k.item()
    data = gs.scan({"k": [0.05, 0.051]}, initial=fields, routes=["implicit"], progress=False)
    return [*outs, root, data.loss.values.tolist(), torch.get_num_threads()]
torch.set_num_threads(2)
gs.grad(gs.Params.preset("paper"), "unrolled", initial=gs.initial_state(2, grid=(128, 128)), tol=0.0, max_steps=5)
before = gradients(0)
with mp.get_context("fork").Pool(1) as pool:
    inside = pool.apply_async(gradients, (0,)).get(30)
assert inside[:-1] == before[:-1], (inside, before)
pid = os.fork()
if not pid:
    os._exit(0 if gradients(0)[:-1] == before[:-1] else 1)
assert os.waitpid(pid, 0)[1] == 0
print(torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork")
def test_forked_children_compute_what_their_parent_does() -> None:
    """torch's threads are not forked: a child that wanted them would wait for ever in its first large FFT."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=100, check=False
    )
    assert (found.returncode, found.stdout.strip()) == (0, "2"), found.stderr


BUSY = """
import os, sys, threading, time
import gsimplicit as gs
fields = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
P = gs.Params(0.16, 0.08, 0.03, 0.05)
def work():
    return gs.steady_state(P, fields, tol=0.0, max_steps=5).v.sum().item()
found = []
thread = threading.Thread(target=lambda: found.append(work()))
thread.start()
children = []
for pause in (0.05, 0.5):
    time.sleep(pause)
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    children.append(pid)
thread.join()
end = time.monotonic() + 60
while children and time.monotonic() < end:
    children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
    time.sleep(0.05)
for pid in children:
    os.kill(pid, 9)
print(len(children), len(found))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork")
def test_a_fork_waits_for_a_thread_that_imports_or_compiles_first(tmp_path: Path) -> None:
    """The child would wait for ever for the locks of a thread it does not have."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUSY],
        capture_output=True, text=True, timeout=150, check=False, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (found.returncode, found.stdout.strip()) == (0, "0 1"), found.stderr
