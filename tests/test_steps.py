"""How long the steps of Newton's method are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, instance, march

import gsimplicit as gs
from gsimplicit.refine.newton import Root, newton, rigid_distance
from gsimplicit.refine.solvers import Prepared

TOL = 1e-10


class Counting:
    """Sparse LU that counts its factorisations."""

    name, factorises = "counting", True

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self, systems: Any, before: Prepared | None = None) -> Prepared:
        self.prepared += 1
        return gs.Direct().prepare(systems, before)


@pytest.fixture(scope="module")
def slow() -> dict[float, np.ndarray]:
    """The paper's pattern on 128 x 128 pixels, marched until it changes as slowly as said."""
    fields, states = gs.initial_state().double(), {}
    for level in (1e-5, 1e-7):
        fields = march(fields, gs.Params(*PAPER), tol=level, max_steps=400_000).fields
        states[level] = fields[0].numpy()
    return states


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
    root, factorisations = closed(slow[1e-5], hurry=True)
    assert not root.converged
    assert factorisations == 1
    assert (root.fields == slow[1e-5]).all()


def test_without_a_hurry_it_goes_on_where_steps_must_be_short() -> None:
    """From a root with noise of 1e-2."""
    params = gs.Params(*PAPER)
    state = gs.steady_state(params, gs.initial_state(grid=(32, 32)), refine=True)
    root = state.fields[0].numpy()
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
