"""Where numba is switched off, or cannot compile, the torch reference steps: the same numbers, later."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numba
import numpy as np
import pytest
import torch
from helpers import PAPER, UNIFORM, farthest, instance, mean_square, random_fields, relative, small_start

import gsimplicit as gs
from gsimplicit.marching import compiled, cpu, kernels, plain
from gsimplicit.refine import eigenvalues

FIELDS, EQUATIONS = random_fields(1, (9, 16))[0].numpy(), instance(PAPER)
START = small_start(8, 2)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where numba does not compile."""
    monkeypatch.setattr(cpu, "_chosen", [plain])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("tol", "check_every"), [(0.0, 7), (0.02, 8), (0.02, 10**20)])
def test_marches_agree(dtype: type, tol: float, check_every: int) -> None:
    fields = FIELDS.astype(dtype)
    (end, steps, change), (end_, steps_, change_) = (
        engine.march(EQUATIONS, fields, tol, 100, check_every) for engine in (compiled, plain)
    )
    assert (steps, end.dtype) == (steps_, end_.dtype)
    assert np.array_equal(end, end_)
    assert change == change_


def test_a_march_that_diverges_is_seen() -> None:
    fields = FIELDS.copy()
    fields[0, 3, 4] = np.inf
    for engine in (compiled, plain):
        _, steps, change = engine.march(EQUATIONS, fields, 1e-3, 100, 8)
        assert steps == 8
        assert np.isnan(change)
        assert np.isnan(engine.stabilised(EQUATIONS, fields, np.array([[0.5, -0.25, 0.75]]), 2)[1])


@pytest.mark.parametrize("count", [0, 5])
def test_stabilised_steps_agree(count: int) -> None:
    table = np.array([[0.5, -0.25, 0.75], [0.1, 0.2, 0.7]])
    (end, change), (end_, change_) = (e.stabilised(EQUATIONS, FIELDS, table, count) for e in (compiled, plain))
    assert farthest(end, end_) < 1e-15
    assert change == pytest.approx(change_, rel=1e-12)


def test_derivatives_agree() -> None:
    cotangents = random_fields(2, (9, 16), seed=1).numpy() - 0.5
    backward = [e.pull_back(EQUATIONS, FIELDS, 60, cotangents) for e in (compiled, plain)]
    forward = [e.push_forward(EQUATIONS, FIELDS, 60) for e in (compiled, plain)]
    for pair in (*zip(*backward, strict=True), *zip(*forward, strict=True)):
        assert relative(*pair) < 1e-12
        assert pair[0].dtype == pair[1].dtype


@pytest.mark.usefixtures("without")
def test_arrays_that_torch_does_not_take_and_inference_mode_are_no_obstacle() -> None:
    fields = FIELDS[:, ::-1].copy()
    fields.setflags(write=False)
    with torch.inference_mode():
        flipped = cpu.march(EQUATIONS, fields[:, ::-1], 0.0, 10, 64)[0]
        cpu.pull_back(EQUATIONS, fields, 10, fields[None])
    assert np.array_equal(flipped, compiled.march(EQUATIONS, FIELDS, 0.0, 10, 64)[0])


def everything() -> list[torch.Tensor]:
    """Numbers of all rooms that step: marches, roots, eigenvalues, motion and gradients."""
    params = gs.Params(*UNIFORM)
    root = gs.steady_state(params, START, max_steps=500, refine=gs.Refine(eigenvalues=2, lattice=True))
    moving = gs.steady_state(gs.Params(*PAPER), START, max_steps=64, refine=gs.Refine(max_evaluations=64))
    assert bool(root.has_root.all())
    routes = ["implicit", "unrolled", "tangent", "truncated"]
    gradients = [gs.grad(params, r, mean_square, initial=START, tol=0.0, max_steps=60).grad.tensor() for r in routes]
    return [root.fields, root.eigenvalues.real, moving.fields, moving.motion, *gradients]


def test_every_room_that_steps_works_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eigenvalues, "KICK_STEPS", 200)
    expected = everything()
    monkeypatch.setattr(cpu, "_chosen", [plain])
    for found, wanted in zip(everything(), expected, strict=True):
        assert found.numpy() == pytest.approx(wanted.numpy(), rel=1e-7, abs=1e-12)


def test_with_jit_switched_off_no_word_is_said() -> None:
    code = (
        "import gsimplicit as gs; x = gs.initial_state(grid=(8, 8), box=gs.Box(half=2));"
        "p = gs.Params.preset('paper'); s = gs.steady_state(p, x, tol=0.0, max_steps=20);"
        "g = gs.grad(p, 'unrolled', lambda v: (v**2).mean(dim=(-2, -1)), initial=x, tol=0.0, max_steps=20);"
        "from gsimplicit.marching import cpu; print(cpu._engine().__name__);"
        "print(s.fields.numpy().tobytes().hex()); print(*g.grad.tensor()[0].tolist())"
    )
    # torch 2.4 warns of its own autocast, and hangs where that is an error
    said = ["-W", "error", "-W", "ignore::FutureWarning:torch.utils.checkpoint"]
    done = subprocess.run(
        [sys.executable, *said, "-c", code],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not done.returncode, done.stderr
    engine, fields, gradient = done.stdout.splitlines()
    params = gs.Params.preset("paper")
    assert engine == plain.__name__
    assert bytes.fromhex(fields) == gs.steady_state(params, START, tol=0.0, max_steps=20).fields.numpy().tobytes()
    here = gs.grad(params, "unrolled", mean_square, initial=START, tol=0.0, max_steps=20).grad.tensor()[0]
    assert [float(g) for g in gradient.split()] == pytest.approx(here.tolist(), rel=1e-12)


def test_a_kernel_that_does_not_compile_is_said_once_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(recipe, pair, *rest):  # type: ignore[no-untyped-def]
        return pair.no_such_thing

    monkeypatch.setattr(cpu, "_chosen", [compiled])
    monkeypatch.setattr(kernels, "march", kernels.Kernel(unknown))
    expected = plain.march(EQUATIONS, FIELDS, 0.0, 10, 64)[0]
    with pytest.warns(RuntimeWarning, match=r"(?s)steps are taken by torch.*no_such_thing") as said:
        assert np.array_equal(cpu.march(EQUATIONS, FIELDS, 0.0, 10, 64)[0], expected)
        assert np.array_equal(cpu.march(EQUATIONS, FIELDS, 0.0, 10, 64)[0], expected)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cpu.push_forward(EQUATIONS, FIELDS, 3)


def test_a_numba_that_does_not_load_is_said_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.warns(RuntimeWarning, match="numba cannot compile here"):
        assert cpu._first() is plain


def test_jit_switched_off_in_numbas_own_settings_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert cpu._first() is plain
