"""A name that is nearly one of a fixed set is answered with the nearest; one that is far from all is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import gsimplicit as gs
from gsimplicit.bifurcation.branch import follow
from gsimplicit.checks import meant

PARAMS = gs.Params.preset("paper")
START = gs.initial_state(grid=(16, 16), box=gs.Box(half=3))


def state() -> gs.SteadyState:
    return gs.steady_state(PARAMS, START, tol=0.0, max_steps=10)


CASES: list[tuple[Callable[[], Any], str]] = [
    (lambda: gs.grad(PARAMS, "implicet"), "implicit"),
    (lambda: gs.grad(PARAMS, "finite-difference"), "finite_difference"),
    (lambda: gs.solve(PARAMS, "Unrolled"), "unrolled"),
    (lambda: gs.compare(PARAMS, ["tangents"]), "tangent"),
    (lambda: gs.grad(PARAMS, loss="spectrun"), "spectrum"),
    (lambda: gs.scan({"k": [0.06]}, losses=["window"], progress=False), "windowed"),
    (lambda: gs.Params.preset("papers"), "paper"),
    (lambda: gs.models.schnakenberg.preset("Stripe"), "stripes"),
    (lambda: gs.models.brusselator.params(aa=1.0), "a"),
    (lambda: PARAMS.replace(du=0.1), "Du"),
    (lambda: gs.Refine(tail="chebishev"), "chebyshev"),
    (lambda: state().species("V"), "v"),
    (lambda: follow(state(), "K"), "k"),
]


@pytest.mark.parametrize(("call", "name"), CASES, ids=[name for _, name in CASES])
def test_a_name_misspelt_is_answered_with_the_nearest(call: Callable[[], Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"; did you mean '{name}'\?$"):
        call()


def test_a_parameter_of_a_gradient_misspelt_is_answered_with_the_nearest() -> None:
    out = gs.grad(PARAMS, "tangent", lambda v: (v**2).mean((-2, -1)), initial=START, tol=0.0, max_steps=10)
    with pytest.raises(AttributeError, match=r"did you mean 'Du'\?$"):
        _ = out.grad.du


def test_a_name_far_from_all_is_answered_with_the_choices_alone() -> None:
    with pytest.raises(ValueError, match=r"got 'adjoint'$"):
        gs.grad(PARAMS, "adjoint")


@pytest.mark.parametrize("given", [None, 3, ["implicit"]])
def test_what_is_no_name_has_no_nearest_one(given: Any) -> None:
    assert meant(given, ["implicit"]) == ""
