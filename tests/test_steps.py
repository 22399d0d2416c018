"""How long the steps of Newton's method are made."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from helpers import PAPER, instance, march

import gsimplicit as gs
from gsimplicit.refine.newton import Root, newton, rigid_distance
from gsimplicit.refine.solvers import Prepared

if TYPE_CHECKING:
    from gsimplicit.refine.linear import Solution

TOL = 1e-10


class Counting:
    """Sparse LU that counts its factorisations and solves."""

    name, factorises = "counting", True

    def __init__(self) -> None:
        self.prepared = self.solves = 0

    def prepare(self, systems: Any, before: Prepared | None = None) -> Any:
        self.prepared += 1
        inner = gs.Direct().prepare(systems, before)

        def solve(*given: Any, **more: Any) -> list[Solution]:
            self.solves += 1
            return inner.solve(*given, **more)

        return SimpleNamespace(solve=solve)


@pytest.fixture(scope="module")
def slow() -> dict[float, np.ndarray]:
    """The paper's pattern on 128 x 128 pixels, marched until it changes as slowly as said."""
    fields, states = gs.initial_state().double(), {}
    for level in (1e-5, 1e-7):
        fields = march(fields, gs.Params(*PAPER), tol=level, max_steps=400_000).fields
        states[level] = fields[0].numpy()
    return states


@pytest.fixture(scope="module")
def small() -> np.ndarray:
    """A root on 32 x 32 pixels."""
    state = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(32, 32)), refine=True)
    return np.asarray(state.fields[0])


def closed(fields: np.ndarray, *, hurry: bool = False) -> tuple[Root, int]:
    solver = Counting()
    return newton(instance(PAPER), fields, TOL, linear=solver, hurry=hurry), solver.prepared


def test_slow_modes_are_stepped_along_whole(slow: dict[float, np.ndarray]) -> None:
    """A residual would cut the first step to an eighth, and six to nine factorisations were needed."""
    root, factorisations = closed(slow[1e-7])
    assert root.converged
    assert factorisations <= 3
    further = march(torch.from_numpy(slow[1e-7])[None], gs.Params(*PAPER), tol=1e-9, max_steps=400_000).fields
    there, _ = closed(further[0].numpy())
    assert there.converged
    # a drifting pattern's shape hangs on where on the lattice it is, by parts of a thousand
    assert rigid_distance(root.fields, there.fields) < 1e-2 * np.abs(further[0].numpy() - slow[1e-7]).max() + 1e-4


def test_in_a_hurry_it_gives_up_after_one_factorisation_where_steps_must_be_short(
    slow: dict[float, np.ndarray],
) -> None:
    solver = Counting()
    root = newton(instance(PAPER), slow[1e-5], TOL, linear=solver, hurry=True)
    assert not root.converged
    assert solver.prepared == 1
    assert solver.solves == 2  # the step, and the next one from its end: no share below the shortest is tried
    assert (root.fields == slow[1e-5]).all()


def test_without_a_hurry_it_goes_on_where_steps_must_be_short(small: np.ndarray) -> None:
    """From a root with noise of 1e-2."""
    root = small
    noise = 1e-2 * np.random.default_rng(3).standard_normal(root.shape)
    hurried, few = closed(root + noise, hurry=True)
    found, many = closed(root + noise)
    assert found.converged
    assert many > 1
    assert rigid_distance(found.fields, root) < 1e-2
    assert few <= many
    assert hurried.residual <= np.abs(instance(PAPER).residual(root + noise)).max()


def test_a_root_is_not_left(slow: dict[float, np.ndarray]) -> None:
    """From a root nothing is solved for, and the fields are its own."""
    root, _ = closed(slow[1e-7])
    again, factorisations = closed(root.fields)
    assert again.converged
    assert factorisations == 0
    assert (again.fields == root.fields).all()


class Lying:
    """Sparse LU whose kept factors give the same for everything, and call it solved."""

    name, factorises = "lying", True

    def __init__(self, value: float) -> None:
        self.value, self.solves = value, 0

    def prepare(self, systems: Any, before: Prepared | None = None) -> Any:
        inner, fresh = gs.Direct().prepare(systems), True

        def solve(r: Any, q: Any = None, **given: Any) -> list[Solution]:
            nonlocal fresh
            self.solves += 1
            assert self.solves < 1000, "it goes on for ever"
            found = inner.solve(r, q, **given)
            if not fresh:
                found = [replace(s, x=np.full_like(s.x, self.value), residual=0.0) for s in found]
            fresh = False
            return found

        return SimpleNamespace(solve=solve)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_it_ends_where_a_solver_lies(small: np.ndarray, value: float) -> None:
    start = small + 1e-4 * np.random.default_rng(3).standard_normal(small.shape)
    assert not newton(instance(PAPER), start, 1e-20, linear=Lying(value)).converged
