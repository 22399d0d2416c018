"""Figures carry labels with names, show every point, and refuse what they cannot show."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from helpers import mean_square
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.bifurcation.branch import Branch, Fold, Instability
from gsimplicit.plotting import (
    branch,
    class_map,
    cliff_lines,
    comparison,
    label,
    landscape,
    plane,
    states,
)
from gsimplicit.plotting.figures import MARKERS, SERIES
from gsimplicit.plotting.landscapes import CLASS_COLOURS

START = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))


def test_a_plane_is_drawn_with_its_points_in_the_middle_of_their_cells(tmp_path: Path) -> None:
    data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07, 0.08]}, initial=START, max_steps=200, progress=False)
    figure = landscape(data)
    figure.savefig(tmp_path / "a.png")
    ax = figure.axes[0]
    assert ax.get_xlabel() == "k, kill rate"
    assert ax.get_ylabel() == "F, feed rate"
    assert ax.get_xlim() == pytest.approx((0.055, 0.085))


def test_maps_and_cliff_lines_draw_into_the_given_axes() -> None:
    data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07, 0.08]}, initial=START, max_steps=200, progress=False)
    ax = Figure().subplots()
    one = data.isel(sample=0)
    assert class_map(one, ax) is ax
    assert cliff_lines(one, "spectrum", ax) is ax
    assert plane(one["v_std"], ax) is ax


def test_a_line_shows_where_the_march_did_not_settle() -> None:
    data = gs.scan({"k": [0.06, 0.075]}, initial=START, max_steps=200, progress=False)
    figure = landscape(data, "spectrum")
    assert [t.get_label() for t in figure.axes[0].get_lines() if not t.get_label().startswith("_")] == ["unsteady"]


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


@pytest.fixture(scope="module")
def plane_of_losses() -> xr.Dataset:
    axes = {"F": [0.03, 0.04], "k": [0.06, 0.07]}
    data = gs.scan(axes, losses=["spectrum", mean_square], initial=START, max_steps=50, progress=False)
    return data.assign_coords(objective=["spectrum", "a_$_$"])  # a name of the user's own


def png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def test_nothing_is_kept_in_pyplot_and_no_setting_is_changed(plane_of_losses: xr.Dataset) -> None:
    figures, settings = plt.get_fignums(), dict(mpl.rcParams)
    for _ in range(3):
        figure = landscape(plane_of_losses)
    assert plt.get_fignums() == figures
    assert dict(mpl.rcParams) == settings
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


def test_a_figure_of_ones_own_is_drawn_into(plane_of_losses: xr.Dataset) -> None:
    figure = Figure()
    assert landscape(plane_of_losses, "spectrum", figure) is figure
    parts = Figure().subfigures(1, 2)
    assert landscape(plane_of_losses, figure=parts[0]) is parts[0]
    assert [len(part.axes) for part in (figure, *parts)] == [2, 4, 0]


def test_figures_may_be_drawn_side_by_side_on_threads(plane_of_losses: xr.Dataset) -> None:
    with ThreadPoolExecutor(3) as pool:
        drawn = set(pool.map(lambda _: png(landscape(plane_of_losses, "spectrum")), range(3)))
    assert drawn == {png(landscape(plane_of_losses, "spectrum"))}


@pytest.mark.parametrize(
    "settings",
    [
        {"figure.constrained_layout.use": True},
        {"figure.autolayout": True},
        {"axes.grid": True, "text.parse_math": False},
        {"backend": "template", "savefig.bbox": "tight", "axes.xmargin": 0.2},
        {"image.cmap": "gray", "pcolor.shading": "gouraud"},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_settings_of_the_user_do_no_harm(settings: dict[str, object], plane_of_losses: xr.Dataset) -> None:
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        assert png(landscape(plane_of_losses)).startswith(b"\x89PNG")


def test_names_are_shown_as_they_stand(plane_of_losses: xr.Dataset) -> None:
    assert landscape(plane_of_losses, "a_$_$").axes[0].get_title() == r"a_\$_\$ loss"
    with mpl.rc_context({"text.usetex": True}):
        assert landscape(plane_of_losses, "a_$_$").axes[0].get_title() == r"a\_\$\_\$ loss"
        assert label(xr.DataArray(0.0, name="a_b", attrs={"long_name": "50 %"})) == r"a\_b, 50 \%"


def test_a_loss_that_is_not_there_is_named_with_those_that_are(plane_of_losses: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"objective must be one of \['spectrum', 'a_\$_\$'\], got 'v'"):
        landscape(plane_of_losses, "v")


def test_neither_the_package_nor_a_study_imports_pyplot() -> None:
    package = Path(gs.__file__).parent
    files = [*package.rglob("*.py"), *(package.parent / "studies").glob("*.py")]
    assert [f.name for f in files if "matplotlib.pyplot" in f.read_text()] == []


def test_states_are_drawn_on_one_scale_each_with_what_it_is(tmp_path: Path) -> None:
    found = gs.steady_state(gs.Params(0.16, 0.08, 0.035, [0.06, 0.075]), START)
    figure = states(found)
    figure.savefig(tmp_path / "a.png")
    first, second, bar = figure.axes
    assert [ax.get_title() for ax in (first, second)] == [
        "k = 0.06: settled, pattern",
        "k = 0.075: settled, trivial",
    ]
    assert (
        first.images[0].get_clim()
        == second.images[0].get_clim()
        == pytest.approx((0.0, float(found.v.max())), abs=1e-3)
    )
    assert bar.get_ylabel() == "v"
    assert states(found, species="u").axes[-1].get_ylabel() == "u"


def test_of_many_states_the_first_twelve_are_drawn_and_the_rest_is_told() -> None:
    found = gs.steady_state(gs.Params.preset("paper").expand(14), START, tol=0.0, max_steps=1)
    figure = states(found)
    assert len([ax for ax in figure.axes if ax.images]) == 12
    assert figure.get_supxlabel() == "the first 12 of 14 states"


def test_states_that_diverged_are_drawn_all_the_same() -> None:
    with pytest.warns(gs.StabilityWarning):
        found = gs.steady_state(gs.Params(0.6, 0.5, 0.035, 0.06), START, max_steps=2000)
    assert gs.Status(int(found.status[0])) == gs.Status.DIVERGED
    assert states(found).axes[0].get_title() == "0: diverged, unknown"


def test_a_branch_is_solid_where_stable_dotted_where_not_and_marks_folds_and_instabilities() -> None:
    n = np.arange(5.0)
    fields = np.stack([np.zeros((5, 3, 3)), np.broadcast_to((0.2 + n / 10)[:, None, None], (5, 3, 3))], axis=1)
    found = Branch(
        "k",
        np.stack([np.full(5, 0.16), np.full(5, 0.08), np.full(5, 0.035), 0.06 + n / 1000], axis=1),
        fields,
        np.zeros((5, 2)),
        np.ones(5),
        np.array([[-1.0], [-1.0], [-1.0], [1.0], [1.0]], dtype=complex),
        np.zeros(5),
        (Fold(0.064, fields[4], fields[4], 0.0),),
        (Instability(0.0625, 1j, fields[2]), Instability(0.063, 0j, fields[3])),
        "range",
    )
    ax = branch(found, Figure().subplots(), label="one")
    stable, unstable, fold, hopf, stationary = ax.get_lines()
    assert [line.get_linestyle() for line in (stable, unstable)] == ["-", ":"]
    assert np.isfinite(stable.get_ydata()).tolist() == [True, True, True, False, False]
    assert np.isfinite(unstable.get_ydata()).tolist() == [False, False, True, True, True]
    assert [line.get_marker() for line in (fold, hopf, stationary)] == [">", "D", "D"]
    assert hopf.get_markerfacecolor() != stationary.get_markerfacecolor()
    assert [text.get_text() for text in ax.legend().get_texts()] == ["one"]


def lightness(colour: str) -> float:
    r, g, b = mpl.colors.to_rgb(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_kinds_of_states_differ_in_grey() -> None:
    greys = sorted(lightness(colour) for colour in CLASS_COLOURS.values())
    assert min(np.diff(greys)) > 0.08


def test_series_of_a_comparison_differ_in_their_markers() -> None:
    assert len(set(MARKERS)) == len(SERIES) == len(set(SERIES))
