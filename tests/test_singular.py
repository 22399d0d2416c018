"""A Jacobian without inverse is named for what makes it so, and gives no gradient."""

from __future__ import annotations

import pytest
import torch
from helpers import instance, mean_square, small_start

import gsimplicit as gs
from gsimplicit.bifurcation import uniform
from gsimplicit.refine.singular import reason


def reason_at(state: gs.SteadyState) -> str:
    return reason(instance(state.params.tensor()[0].tolist()), state.fields[0].numpy())


def at_a_fold() -> gs.SteadyState:
    k = float(uniform.saddle_node(0.05)) - 1e-13
    fields = torch.tensor([float(x) for x in uniform.upper_state(0.05, k)], dtype=torch.float64)
    return gs.steady_state(
        gs.Params(0.16, 0.08, 0.05, k), fields[None, :, None, None].repeat(1, 1, 8, 8) + 1e-12, refine=True
    )


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((0.1, 0.05, 0.0, 0.0), r"conserve the mean of u \+ v"),
        ((0.16, 0.08, 0.0, 0.05), r"one of a family: moved by \(1, 0\)"),
    ],
    ids=["conservation law", "family"],
)
@pytest.mark.parametrize("route", ["implicit", "deq", gs.routes.Tangent(refine=True)])
def test_a_root_that_is_one_of_a_family_has_no_gradient_and_says_why(
    point: tuple[float, ...], words: str, route: str | gs.routes.Route
) -> None:
    root = gs.steady_state(gs.Params(*point), small_start(12, 3), refine=True)
    assert root.status.tolist() == [gs.Status.STEADY]
    assert root.least_singular.item() < 1e-13
    assert "singular" in str(root)
    with pytest.raises(gs.NotSteady, match=words):
        gs.grad(root.params, route, mean_square, initial=root.fields)


def test_one_root_of_a_family_does_not_harm_the_others_of_its_batch() -> None:
    data = gs.scan({"F": [0.0, 0.03]}, gs.Params(0.16, 0.08, 0.03, 0.05), [mean_square], ["implicit"],
                   initial=small_start(12, 3), progress=False)  # fmt: skip
    assert data.route_status.values.ravel().tolist() == [gs.Status.FAILED, gs.Status.STEADY]
    alone = gs.grad(gs.Params(0.16, 0.08, 0.03, 0.05), "implicit", mean_square, initial=small_start(12, 3))
    assert data.gradient.sel(F=0.03, parameter="k").item() == pytest.approx(alone.grad.k.item(), rel=1e-9)


def test_a_fold_and_a_pattern_that_is_free_to_move_are_told_apart() -> None:
    fold = at_a_fold()
    assert "a fold" in reason_at(fold)
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    weak = gs.Params(0.17110420489116507, 0.05646848146263947, 0.03573820162682838, 0.05567412757956796)
    assert "position of the pattern" in reason_at(gs.steady_state(weak, start, refine=True))
    # beside the fold the distance says what the residual does not
    assert fold.residual.item() < 1e-12
    assert fold.distance.item() > 1e-7
