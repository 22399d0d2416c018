"""Planes of the studies: states kept in strips, regions and their borders, where descent ends, faces by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import gsimplicit as gs
from studies import _planes, fig5, fig7, fig8
from studies._faces import PATTERN, TRIVIAL, faces, median, share_of
from studies._regions import at, border, connected, descended


def test_a_plane_of_strips_is_the_plane_of_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_planes, "on_workers", lambda compute: compute(None))
    monkeypatch.setattr(
        _planes, "scanned", lambda store, **given: gs.scan(store=store, max_steps=300, progress=False, **given)
    )
    monkeypatch.setattr(_planes, "SIZES", {"quick": (3, 1)})
    found = {}
    for strips in (1, 2):
        monkeypatch.setattr(_planes, "STRIPS", {"quick": strips})
        folder = tmp_path / str(strips)
        folder.mkdir()
        found[strips] = _planes.losses_of_plane("some", ["spectrum", "windowed"], "quick", folder)
    assert found[2].equals(found[1])
    assert sorted(p.name for p in folder.glob("states*")) == ["states_F_k_00.nc", "states_F_k_01.nc"]
    with xr.open_dataset(folder / "some.nc") as kept:
        assert kept["loss"].equals(found[1]["loss"])


def test_a_region_ends_where_no_face_leads_on() -> None:
    inside = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 1]], bool)
    assert connected(inside, (0, 0)).tolist() == [[True, True, False], [False] * 3, [False] * 3]
    assert not connected(inside, (1, 1)).any()
    assert connected(inside, (0, 0), corners=True).sum() == 4
    assert connected(inside, np.eye(3, dtype=bool)).sum() == 4  # of either part one point is given


def test_the_border_of_a_square_has_eight_faces_and_the_rim_is_counted() -> None:
    region = np.zeros((5, 5), bool)
    region[1:3, 1:3] = True
    found = border(region)
    assert (len(found.inside), found.rim) == (8, 0)
    assert at(region, found.inside).all()
    assert not at(region, found.outside).any()
    assert (abs(found.inside - found.outside).sum(axis=1) == 1).all()
    region[0, 1] = True
    assert border(region).rim == 1


def test_descent_goes_to_the_lowest_of_eight_neighbours_and_stays_in_a_dip() -> None:
    loss = np.array([[5.0, 4.0, 9.0, 1.0], [5.0, 3.0, 9.0, 2.0], [0.0, 6.0, np.nan, 9.0]])
    ends = descended(loss)
    assert ends[0, 0].tolist() == [2, 0]
    assert ends[0, 1].tolist() == [2, 0]
    assert ends[1, 3].tolist() == [0, 3]
    assert ends[0, 2].tolist() == [0, 3]
    assert ends[2, 2].tolist() == [0, 3]
    assert descended(np.zeros((2, 2)))[1, 1].tolist() == [1, 1]  # on the flat it stays


def plane(gram: np.ndarray[Any, Any], kind: np.ndarray[Any, Any], spectrum: np.ndarray[Any, Any]) -> xr.Dataset:
    """A dataset as a scan of the F-k plane leaves it, with given values."""
    n, m = kind.shape
    loss = np.stack([spectrum, spectrum, gram], axis=-1)
    return xr.Dataset(
        {
            "loss": (("F", "k", "sample", "objective"), loss[:, :, None]),
            "kind": (("F", "k", "sample"), kind[:, :, None]),
            "status": (("F", "k", "sample"), np.full((n, m, 1), int(gs.Status.SETTLED))),
        },
        {
            "F": np.linspace(0.03, 0.07, n), "k": np.linspace(0.053, 0.068, m), "sample": [0],
            "objective": ["spectrum", "windowed", "gram"],
        },
        {"gsimplicit_weights": "gram: random weights"},
    )  # fmt: skip


def test_faces_are_told_by_what_stands_on_both_sides() -> None:
    kind = np.array([[3, 3, 1], [3, 3, 1]])
    data = plane(np.array([[0.0, 1.0, 5.0], [0.0, 1.0, 5.0]]), kind, np.zeros((2, 3))).isel(sample=0)
    found = faces(data, "gram")
    np.testing.assert_allclose(found.between(PATTERN, TRIVIAL) * found.height, [4, 4])
    np.testing.assert_allclose(sorted(found.between(PATTERN, PATTERN) * found.height), [0, 0, 1, 1])
    assert np.isnan(median(found.between(TRIVIAL, TRIVIAL)[:0]))
    assert np.isnan(share_of(np.array([])))


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_plane_of_one_kind_decides_what_it_can_and_breaks_nothing(kind: int) -> None:
    value = np.arange(16.0).reshape(4, 4)
    data = plane(value, np.full((4, 4), kind), value + 1)
    for claim in [*fig5.judge({"fig5": data, "fig5_bright": data}), *fig8.judge({"fig5": data})]:
        assert claim.holds in (True, False, None)
    assert len(fig7.judge({"fig7": data, "fig7_corner": data, "fig7_tip": data})) == 4


def test_only_the_papers_own_network_decides_on_levels() -> None:
    value, kind = np.arange(16.0).reshape(4, 4), np.array([[1, 2, 3, 3]] * 4)
    data = plane(value, kind, value + 1)
    other = [claim.holds for claim in fig5.judge({"fig5": data, "fig5_bright": data}) if "own weights" in claim.text]
    data.attrs["gsimplicit_weights"] = "gram: VGG-19 up to relu3_4, SHA-256 dcbb9e9d"
    own = [claim.holds for claim in fig5.judge({"fig5": data, "fig5_bright": data}) if "own weights" in claim.text]
    assert other == [None, None, None]
    assert None not in own


def test_a_valley_with_walls_is_enclosed_and_one_that_runs_out_of_the_plane_is_not() -> None:
    loss = np.full((8, 8), 260.0)
    loss[1:5, 5:7] = 5.0
    kind = np.where(loss < 100, 3, 1)
    corner = plane(np.full((8, 8), 260.0), np.ones((8, 8), int), loss)
    walled = fig7.judge({"fig7": plane(loss, kind, loss), "fig7_corner": corner, "fig7_tip": corner})
    assert [claim.holds for claim in walled] == [True] * 4
    loss[:, 6], kind[:, 6] = 5.0, 3
    open_ended = fig7.judge({"fig7": plane(loss, kind, loss), "fig7_corner": corner, "fig7_tip": corner})
    assert [claim.holds for claim in open_ended] == [True, False] * 2


def test_a_band_too_narrow_for_the_plane_is_followed_to_its_rim_over_corners() -> None:
    loss, kind = np.full((8, 8), 260.0), np.ones((8, 8), int)
    loss[2:5, 2:7], kind[2:5, 2:7] = 5.0, 3
    coarse, fine = plane(loss, kind, loss), np.full((9, 9), 260.0)
    fine[range(9), range(9)] = 5.0
    F, k = coarse["F"].values, coarse["k"].values
    corner = plane(fine, np.where(fine < 100, 3, 1), fine)
    corner = corner.assign_coords(F=np.linspace(0.005, F[4], 9), k=np.linspace(0.03, k[4], 9))
    reaches = fig7.judge({"fig7": coarse, "fig7_corner": corner, "fig7_tip": corner})
    assert [claim.holds for claim in reaches] == [True, False] * 2
    fine[4, 4] = 260.0  # a gap, and the near part ends before the rim
    cut = plane(fine, np.where(fine < 100, 3, 1), fine).assign_coords(F=corner["F"], k=corner["k"])
    assert [claim.holds for claim in fig7.judge({"fig7": coarse, "fig7_corner": cut, "fig7_tip": cut})] == [True] * 4
