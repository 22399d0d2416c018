"""The smallest grids there are: three pixels a side."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import UNIFORM, mean_square

import gsimplicit as gs

ROUTES = ["implicit", "deq", "unrolled", "truncated", "tangent", "finite_difference"]
AT_A_ROOT = [gs.routes.Deq(), gs.routes.Tangent(refine=True), gs.routes.FiniteDifference(refine=True)]


@pytest.mark.parametrize("grid", [(3, 3), (3, 16), (16, 3), (4, 3), (5, 7), (3, 128)])
def test_every_route_answers_for_a_named_loss_without_a_target(grid: tuple[int, int]) -> None:
    start = gs.initial_state(grid=grid, box=gs.Box(half=1))
    for route in ROUTES:
        out = gs.grad(gs.Params(*UNIFORM), route, initial=start, tol=0.0, max_steps=50)
        assert np.isfinite(out.grad.tensor().numpy()).all(), route


@pytest.mark.parametrize("grid", [(3, 3), (3, 16), (16, 3)])
def test_routes_at_a_root_agree(grid: tuple[int, int]) -> None:
    start = gs.initial_state(grid=grid, box=gs.Box(half=1))
    wanted = gs.grad(gs.Params(*UNIFORM), "implicit", mean_square, initial=start).grad.tensor().numpy()
    for route in AT_A_ROOT:
        found = gs.grad(gs.Params(*UNIFORM), route, mean_square, initial=start).grad.tensor().numpy()
        assert np.abs(found - wanted).max() < 1e-6, route


def test_a_scan_and_a_comparison_of_three_cells_are_whole() -> None:
    start = gs.initial_state(grid=(3, 3), box=gs.Box(half=1))
    data = gs.scan({"k": [0.05, 0.06]}, base=gs.Params(*UNIFORM), routes=["implicit"], initial=start, progress=False)
    assert np.isfinite(data["loss"]).all()
    table = gs.compare(gs.Params(*UNIFORM), ["implicit", "tangent"], initial=start, max_steps=50)
    assert np.isfinite(table["gradient"]).all()
