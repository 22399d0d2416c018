"""Figures carry labels with names, show every point, and refuse what they cannot show."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

import gsimplicit as gs
from gsimplicit.plotting import class_map, cliff_lines, comparison, landscape, plane

mpl.use("Agg")
START = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))


def test_a_plane_is_drawn_with_its_points_in_the_middle_of_their_cells(tmp_path: Path) -> None:
    data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07, 0.08]}, initial=START, max_steps=200, progress=False)
    figure = landscape(data)
    figure.savefig(tmp_path / "a.png")
    ax = figure.axes[0]
    assert ax.get_xlabel() == "k, kill rate"
    assert ax.get_ylabel() == "F, feed rate"
    assert ax.get_xlim() == pytest.approx((0.055, 0.085))
    mpl.pyplot.close(figure)


def test_maps_and_cliff_lines_draw_into_the_given_axes() -> None:
    data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07, 0.08]}, initial=START, max_steps=200, progress=False)
    figure, ax = mpl.pyplot.subplots()
    one = data.isel(sample=0)
    assert class_map(one, ax) is ax
    assert cliff_lines(one, "spectrum", ax) is ax
    assert plane(one["v_std"], ax) is ax
    mpl.pyplot.close(figure)


def test_a_line_shows_where_the_march_did_not_settle() -> None:
    data = gs.scan({"k": [0.06, 0.075]}, initial=START, max_steps=200, progress=False)
    figure = landscape(data, "spectrum")
    assert [t.get_label() for t in figure.axes[0].get_lines() if not t.get_label().startswith("_")] == ["unsteady"]
    mpl.pyplot.close(figure)


def test_three_axes_are_refused_with_what_to_do() -> None:
    axes = {"F": [0.03], "k": [0.06], "Du": [0.16]}
    data = gs.scan(axes, initial=START, tol=0.0, max_steps=10, progress=False)
    with pytest.raises(ValueError, match="select a slice first"):
        landscape(data)


def test_a_comparison_is_drawn_with_every_route_named() -> None:
    table = gs.compare(
        gs.Params(0.16, 0.08, 0.03, 0.05),
        ["implicit", "tangent"],
        loss=lambda v: (v**2).mean(dim=(-2, -1)),
        initial=gs.initial_state(grid=(16, 16), box=gs.Box(half=3)),
        max_steps=500,
    )
    figure = comparison(table)
    far = figure.axes[0]
    assert [t.get_text() for t in far.get_yticklabels()] == ["implicit", "tangent"]
    assert far.get_xlabel() == "relative difference to implicit"
    plt.close(figure)
