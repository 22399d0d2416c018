"""Classes, cliffs and unexplained jumps on landscapes small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.boundaries import boundaries, curve_distance
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.cliffs import edges, flat_plateau, loss_range
from gsimplicit.landscape.edge_maps import agreement, edge_map


def landscape(loss: list[float], slope: list[float], kind: list[int], status: list[int]) -> xr.Dataset:
    """One line along k with spacing 0.5."""
    k = 0.5 * np.arange(len(loss))
    gradient = np.zeros((len(loss), 1, 1, 4))
    gradient[:, 0, 0, 3] = slope
    return xr.Dataset(
        {
            "loss": (("k", "objective"), np.array(loss)[:, None]),
            "gradient": (("k", "route", "objective", "parameter"), gradient),
            "route_loss": (("k", "route", "objective"), np.array(loss)[:, None, None]),
            "kind": ("k", np.array(kind, np.int8)),
            "status": ("k", np.array(status, np.int8)),
            "route_status": (("k", "route"), np.array(status, np.int8)[:, None]),
        },
        {"k": k, "objective": ["spectrum"], "route": ["implicit"], "parameter": ["Du", "Dv", "F", "k"]},
    )


S, U, D = (int(s) for s in (gs.Status.SETTLED, gs.Status.UNSTEADY, gs.Status.DIVERGED))
LINE = landscape(
    loss=[0.0, 1.0, 2.0, 100.0, 100.0, 50.0],
    slope=[2.0, 2.0, 2.0, 0.0, 0.0, np.nan],
    kind=[3, 3, 3, 1, 1, 3],
    status=[S, S, S, S, S, U],
)


def test_classes_come_from_the_state_alone() -> None:
    data = landscape([0.0] * 5, [0.0] * 5, [1, 2, 3, 3, 0], [S, S, S, U, D])
    expected = [CellClass.TRIVIAL, CellClass.UNIFORM, CellClass.PATTERN, CellClass.UNSTEADY, CellClass.FAILED]
    assert classes(data).values.tolist() == [int(c) for c in expected]


def test_a_jump_of_a_quarter_of_the_range_between_settled_cells_is_a_cliff() -> None:
    edge = edges(LINE, "k", "spectrum")
    assert edge["cliff"].values.tolist() == [False, False, True, False, False]
    assert edge["class_edge"].values.tolist() == [False, False, True, False, False]
    assert edge["unknown"].values.tolist() == [False, False, False, False, True]
    np.testing.assert_allclose(edge["k"].values, [0.25, 0.75, 1.25, 1.75, 2.25])
    assert not edges(LINE, "k", "spectrum", share=0.99)["cliff"].any()


def test_a_gradient_explains_a_slope_and_not_a_cliff() -> None:
    edge = edges(LINE, "k", "spectrum", ["implicit"]).isel(route=0)
    R = loss_range(LINE, "spectrum")
    np.testing.assert_allclose(edge["foreseen"].values[:4], [1.0, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(edge["unexplained"].values[:4], [0.0, 0.0, 97.5 / R, 0.0], atol=1e-15)
    assert np.isnan(edge["unexplained"].values[4])
    assert edge["route_cliff"].values.tolist() == [False, False, True, False, False]


def test_flat_plateau_are_patternless_and_flat() -> None:
    assert flat_plateau(LINE, "spectrum", "implicit").values.tolist() == [False, False, False, True, True, False]
    steep = LINE.copy(deep=True)
    steep["gradient"][3] = 1.0
    assert flat_plateau(steep, "spectrum", "implicit").values.tolist() == [False, False, False, False, True, False]


def test_the_range_ignores_one_percent_at_either_end() -> None:
    assert loss_range(LINE, "spectrum") == pytest.approx(100.0 - np.quantile([0, 1, 2, 100, 100, 50], 0.01))


def test_agreement_of_a_map_with_itself_a_shifted_copy_and_nothing() -> None:
    shape = (2 * 12 - 1, 2 * 12 - 1)
    line = np.zeros(shape, bool)
    line[0::2, 11] = True  # a cliff between columns 5 and 6
    moved = np.zeros(shape, bool)
    moved[0::2, 13] = True
    none = np.zeros(shape, bool)
    same = agreement((line, none), (line, none))
    assert (same.iou, same.within_one, same.hausdorff, same.kappa) == (1, 1, 0, 1)
    assert same.null < 0.1
    beside = agreement((line, none), (moved, none))
    assert (beside.iou, beside.within_one, beside.hausdorff) == (0, 1, 1)
    assert beside.kappa < 0
    half = none.copy()
    half[: shape[0] // 2] = True  # unknown there
    assert agreement((line, half), (line, none)).first == 6
    assert np.isnan(agreement((line, none), (none, none)).hausdorff)
    assert agreement((line, none), (none, none)).iou == 0


@pytest.mark.parametrize("cells", [2, 4, 6, 7])
def test_maps_smaller_than_the_shifts_have_what_null_there_is(cells: int) -> None:
    shape = (2 * cells - 1, 2 * cells - 1)
    line, none = np.zeros(shape, bool), np.zeros(shape, bool)
    line[0::2, 1] = True
    found = agreement((line, none), (line, none))
    assert found.kappa == 1
    assert np.isnan(found.null) == (cells < 5)


def plane_of(kinds: list[list[int]]) -> xr.Dataset:
    cells = np.array(kinds, np.int8)
    axes = {"F": np.arange(cells.shape[0]) / 100, "k": np.arange(cells.shape[1]) / 100}
    status = np.where(cells == 9, gs.Status.UNSTEADY, gs.Status.SETTLED).astype(np.int8)
    kind = np.where(cells == 9, gs.Kind.PATTERN, cells).astype(np.int8)
    loss = np.where(cells == 3, 10.0, 260.0)[..., None]
    return xr.Dataset(
        {"status": (("F", "k"), status), "kind": (("F", "k"), kind), "loss": (("F", "k", "objective"), loss)},
        {**axes, "objective": ["spectrum"]},
    )


def test_boundaries_are_where_uniform_states_end_and_the_trivial_one_begins() -> None:
    uniform, pattern, trivial, unsteady = gs.Kind.UNIFORM, gs.Kind.PATTERN, gs.Kind.TRIVIAL, 9
    data = plane_of(
        [
            [uniform, uniform, pattern, pattern, trivial],
            [uniform, unsteady, pattern, trivial, trivial],
            [uniform, uniform, uniform, trivial, trivial],
            [pattern, pattern, pattern, pattern, pattern],
        ]
    )
    found = boundaries(data)
    np.testing.assert_allclose(found["left"], [0.015, 0.005, np.nan, np.nan])
    np.testing.assert_allclose(found["right"], [0.035, 0.025, np.nan, np.nan])
    away = curve_distance(found["right"], np.array([0.025, 0.02, 0.02, 0.0]), 0.01)
    assert away == pytest.approx({"median": 0.75, "least": 0.5, "most": 1.0, "within": 1.0, "spread": 0.225, "rows": 2})
    with pytest.raises(ValueError, match=r"cell must be finite and > 0, got 0"):
        curve_distance(found["right"], np.zeros(4), 0)


def test_an_edge_map_has_cliffs_on_the_doubled_lattice_and_unknown_ones_apart() -> None:
    uniform, pattern, unsteady = gs.Kind.UNIFORM, gs.Kind.PATTERN, 9
    data = plane_of([[uniform, pattern, pattern], [uniform, pattern, unsteady]])
    cliff, unknown = edge_map(data, "spectrum")
    assert np.argwhere(cliff).tolist() == [[0, 1], [2, 1]]
    assert np.argwhere(unknown).tolist() == [[1, 4], [2, 3]]
    assert np.array_equal(edge_map(data, "spectrum", "class_edge")[0], cliff)
    with pytest.raises(ValueError, match="what must be 'route_cliff' where a route is given"):
        edge_map(data, "spectrum", "route_cliff")
    with pytest.raises(ValueError, match="data must be one sample of a scan over two parameters"):
        edge_map(data.isel(F=0), "spectrum")


def test_the_table_of_the_routes_study_counts_the_edges_of_every_sample() -> None:
    from studies._route_claims import _table

    other = LINE.copy(deep=True)
    # foreseen to a twentieth: explained; the jump itself stays a cliff
    other["gradient"][3, 0, 0, 3] = other["gradient"][2, 0, 0, 3] = 196.0
    one = _table(xr.concat([LINE], "sample"), "spectrum")["implicit"]
    both = _table(xr.concat([LINE, other], "sample"), "spectrum")["implicit"]
    assert (one["cliffs"], one["inherited"], one["explained"]) == (1, 1.0, 0.0)
    assert (both["cliffs"], both["inherited"], both["explained"]) == (2, 0.5, 0.5)
    assert (both["least"], both["most"], both["samples"]) == (0.0, 1.0, 2)
    assert both["others"] == 2 * one["others"]


def test_a_jump_to_a_route_state_that_is_not_steady_is_unknown_to_the_route() -> None:
    line = landscape([0.0, 0.0, 100.0, 0.0], [0.0] * 4, [3, 3, 3, 3], [S, S, S, U])
    edge = edges(line, "k", "spectrum", ["implicit"]).isel(route=0)
    assert edge["route_unknown"].values.tolist() == [False, False, True]
    assert edge["route_cliff"].values.tolist() == [False, True, False]
    # the route's own end counts, not the march's: a root may stand beyond a march that did not settle
    settled = line.assign(route_status=(("k", "route"), np.full((4, 1), S, np.int8)))
    assert edges(settled, "k", "spectrum", ["implicit"]).isel(route=0)["route_cliff"].values.tolist()[-1]


def test_an_empty_map_is_far_from_one_that_is_not_and_shares_are_told_apart() -> None:
    one, none, unknown = (np.zeros((7, 7), bool) for _ in range(3))
    one[0, 1] = one[6, 5] = True
    part = np.zeros((7, 7), bool)
    part[0, 1] = True
    apart = agreement((one, unknown), (none, unknown))
    assert (apart.within_one, apart.first_within, apart.iou) == (0.0, 0.0, 0.0)
    assert np.isnan(agreement((none, unknown), (none, unknown)).within_one)
    half = agreement((one, unknown), (part, unknown))
    assert (half.first_within, half.second_within) == (0.5, 1.0)
