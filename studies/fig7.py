"""Figure 7 of arXiv 2606.11258: the spectrum loss over a larger part of the F-k plane, 30 x 30 points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.cliffs import loss_range
from gsimplicit.plotting import plane
from studies import _paper
from studies._bars import at_least, at_most
from studies._claims import Claim
from studies._common import Datasets, Study, scanned
from studies._faces import share_of
from studies._regions import Array, at, border, connected
from studies._surface import CMAP, surface

RANGES = {"F": (0.005, 0.09), "k": (0.03, 0.075)}
"""The first we tried: the region of patterns lies inside."""

TRUTH = {"F": 0.035, "k": 0.065}
SIZES = {"quick": 10, "default": 30, "paper": 30}
"""Points along each axis."""

CLOSER = {
    "fig7_corner": ({"F": (0.0075, 0.0175), "k": (0.03, 0.045)}, {"quick": (5, 7), "default": (21, 31)}),
    "fig7_tip": ({"F": (0.0078, 0.0114), "k": (0.03, 0.0355)}, {"quick": (5, 7), "default": (13, 23)}),
}
"""Where a band of patterns, narrower than the plane's spacing, leaves it at low F: marched with closer points, and its
end with still closer ones. Ranges, and points along F and k. Chosen after we had seen a single pattern on the rim."""

CLIFF = 0.25
"""Share of the landscape's height that a cliff takes."""


def compute(scale: str, folder: Path) -> Datasets:
    """Three scans; F falls so low that states oscillate, or die everywhere."""
    planes = {"fig7": (RANGES, (SIZES[scale],) * 2)}
    planes |= {name: (ends, counts.get(scale, counts["default"])) for name, (ends, counts) in CLOSER.items()}
    return {
        name: scanned(
            folder / f"{name}.nc",
            axes={axis: np.linspace(*ends[axis], count) for axis, count in zip(("F", "k"), counts, strict=True)},
            losses=["spectrum"],
            initial=gs.initial_state(1),
        )
        for name, (ends, counts) in planes.items()
    }


def regions(one: xr.Dataset) -> dict[str, Any]:
    """The low region and that of patterns, each as far as it is connected with the truth over faces or corners."""
    loss, R = one["loss"].sel(objective="spectrum").values, loss_range(one, "spectrum")
    moving = _moving(one)
    there = tuple(int(abs(one[name].values - value).argmin()) for name, value in TRUTH.items())
    high = np.nanmin(loss) + R / 2
    near = (slice(max(there[0] - 1, 0), there[0] + 2), slice(max(there[1] - 1, 0), there[1] + 2))
    patch = np.where(np.isfinite(loss[near]), loss[near], np.inf)
    row, column = np.unravel_index(
        int(patch.argmin()), patch.shape
    )  # the point next to the truth may lie on the plateau
    start = (near[0].start + int(row), near[1].start + int(column))
    low = connected(loss < high, start, corners=True)
    return {
        "low": low,
        "patterns": connected(moving, start, corners=True),
        "apart": int(((loss < high) & ~low).sum()),
        "height": R,
        "half": high,
    }


def _moving(one: xr.Dataset) -> Array:
    return np.asarray(classes(one).isin([CellClass.PATTERN, CellClass.UNSTEADY]).values)


def onwards(data: Datasets, name: str) -> list[Array]:
    """Points of each of the closer planes that go on a region of `regions`, over faces or corners.

    A region enters a plane where the nearest point of the plane before is of it.
    """
    before = data["fig7"].isel(sample=0)
    found = regions(before)
    region, out = found[name], []
    for closer in CLOSER:
        one = data[closer].isel(sample=0)
        here = one["loss"].sel(objective="spectrum").values < found["half"] if name == "low" else _moving(one)
        rows, columns = (abs(before[n].values[:, None] - one[n].values).argmin(axis=0) for n in ("F", "k"))
        region, before = connected(here, region[np.ix_(rows, columns)] & here, corners=True), one
        out.append(region)
    return out


def on_rim(region: Array, corner: xr.Dataset) -> Array:
    """Which of the finer points lie on the rim of the plane."""
    edges = [np.isin(corner[name].values, RANGES[name]) for name in ("F", "k")]
    return np.asarray(region & (edges[0][:, None] | edges[1][None, :]))


def plot(data: Datasets) -> Figure:
    """The surface, and the plane from above with the border of the low region."""
    one = data["fig7"].isel(sample=0)
    loss, found = one["loss"].sel(objective="spectrum"), regions(one)
    figure = Figure(figsize=(10.5, 4.6))
    left = figure.add_axes((0.04, 0.04, 0.42, 0.86), projection="3d")
    surface(loss, left, "spectrum loss", top=280.0, view=(38, -120))
    left.set_title("(a) spectrum loss", loc="left")
    right = figure.add_axes((0.56, 0.13, 0.42, 0.76))
    plane(loss, right, colorbar="spectrum loss", cmap=CMAP, vmin=0, vmax=270)
    _closer_drawn(data, right)
    _faces_drawn(one, found, right)
    right.plot(TRUTH["k"], TRUTH["F"], marker="*", ms=9, mfc="w", mec="k", ls="none")
    right.set_title("(b) from above", loc="left")
    right.legend(loc="upper right", fontsize=7, framealpha=1, facecolor="0.65")
    return figure


def _closer_drawn(data: Datasets, ax: Any) -> None:
    """The closer points over the plane, framed, and where the region of patterns reaches the rim."""
    marks: list[Any] = []
    for closer in CLOSER:
        F, k = (data[closer][name].values for name in ("F", "k"))
        loss = data[closer]["loss"].isel(sample=0).sel(objective="spectrum").transpose("F", "k").values
        ax.pcolormesh(k, F, loss, cmap=CMAP, vmin=0, vmax=270, shading="nearest")
        word = None if marks else "closer points"
        marks += ax.plot(k[[0, -1, -1, 0, 0]], F[[0, 0, -1, -1, 0]], color="k", lw=0.7, label=word)
    out = np.argwhere(on_rim(onwards(data, "patterns")[-1], data[closer]))  # by the closest points
    where = (k[out[:, 1]], F[out[:, 0]])
    ax.plot(*where, ls="none", marker="D", ms=4, mfc="w", mec="k", zorder=5, clip_on=False, label="patterns on the rim")


def _faces_drawn(one: xr.Dataset, found: dict[str, Any], ax: Any) -> None:
    """The border of the low region: cliffs as full lines, other faces dotted."""
    loss, F, k = one["loss"].sel(objective="spectrum").values, one["F"].values, one["k"].values
    edge, half = border(found["low"]), (np.diff(F).mean() / 2, np.diff(k).mean() / 2)
    cliff = abs(at(loss, edge.inside) - at(loss, edge.outside)) >= CLIFF * found["height"]
    labels = {True: "border of the low region, a cliff", False: "border, no cliff"}
    for (i, j), (a, b), steep in zip(edge.inside, edge.outside, cliff, strict=True):
        middle = ((F[i] + F[a]) / 2, (k[j] + k[b]) / 2)
        if i == a:
            x, y = [middle[1]] * 2, [middle[0] - half[0], middle[0] + half[0]]
        else:
            x, y = [middle[1] - half[1], middle[1] + half[1]], [middle[0]] * 2
        ax.plot(
            x, y, color="w" if steep else "k", lw=1.8, ls="-" if steep else ":", label=labels.pop(bool(steep), None)
        )
    lost = np.argwhere(classes(one).values == CellClass.UNSTEADY)
    ax.plot(k[lost[:, 1]], F[lost[:, 0]], ls="none", marker=".", ms=3.5, color="k", label="not settled")
    gone = np.argwhere(~np.isfinite(loss))
    if len(gone):
        ax.plot(k[gone[:, 1]], F[gone[:, 0]], ls="none", marker="x", ms=4, color="k", label="diverged")


def judge(data: Datasets) -> list[Claim]:
    """Whether cliffs surround the low region, and the region of patterns, on all sides."""
    one = data["fig7"].isel(sample=0)
    found = regions(one)
    words = {"low": "the region of low loss", "patterns": "the region of patterns"}
    return [claim for name, what in words.items() for claim in (_walls(one, found, name, what), _rim(data, name, what))]


def _asks(words: str) -> str:
    return (
        f"Over F {RANGES['F'][0]:g} to {RANGES['F'][1]:g} and k {RANGES['k'][0]:g} to {RANGES['k'][1]:g}, {words} is "
        "surrounded by cliffs on all sides. Points are connected over faces and corners. Asked here: "
    )


def _walls(one: xr.Dataset, found: dict[str, Any], name: str, words: str) -> Claim:
    """Whether the border of a region of the plane is made of cliffs."""
    cells, loss, edge = classes(one).values, one["loss"].sel(objective="spectrum").values, border(found[name])
    jump = (at(loss, edge.outside) - at(loss, edge.inside)) / found["height"]
    lost = [int(CellClass.UNSTEADY), int(CellClass.FAILED)]
    settled = ~(np.isin(at(cells, edge.inside), lost) | np.isin(at(cells, edge.outside), lost))
    up = jump >= CLIFF
    share, of_settled = share_of(up), share_of(up[settled])
    return Claim(
        _paper.ENCLOSED,
        _asks(words) + "over 95 % of the faces of its border the loss rises by a quarter of the landscape's height.",
        f"{share:.0%} of {len(jump)} faces of the border of {words}",
        f"{int(found[name].sum())} of {cells.size} points; the loss rises by a quarter of the height over {share:.0%} "
        f"of {len(jump)} faces of its border, over {of_settled:.0%} of the {int(settled.sum())} between two that "
        f"had settled; the least rise {jump.min(initial=np.inf):.0%}; {found['apart']} points of low loss lie apart; "
        f"not settled {int((cells == CellClass.UNSTEADY).sum())}, diverged {int((~np.isfinite(loss)).sum())} points",
        bool(share >= 0.95) if len(jump) else None,
        bars=(at_least("share of the border", share, 0.95),),
    )


def _rim(data: Datasets, name: str, words: str) -> Claim:
    """Whether a region reaches the rim of the plane, by the plane's points or by closer ones."""
    region = regions(data["fig7"].isel(sample=0))[name]
    rim, reached, said = border(region).rim, [], []
    for closer, further in zip(CLOSER, onwards(data, name), strict=True):
        F, k = (data[closer][axis].values for axis in ("F", "k"))
        out = np.argwhere(on_rim(further, data[closer]))
        reached += [f" at F {F[i]:.4g}, k {k[j]:.4g}" for i, j in out]
        where = f"F {F[0]:g} to {F[-1]:g}, k {k[0]:g} to {k[-1]:g}, {len(F)} x {len(k)} points"
        said.append(f"{where}: {int(further.sum())} of it, {len(out)} on the rim")
    return Claim(
        _paper.ENCLOSED,
        _asks(words) + "it does not reach the rim of the plane, neither by the plane's points nor by closer ones at "
        "low F and k. These were added after we had seen a pattern on the rim there.",
        f"{words} {'reaches' if rim or reached else 'does not reach'} the rim{(reached or [''])[0]}",
        f"{rim} of its points on the rim of the plane; closer points, {'; '.join(said)}{(reached or [''])[0]}",
        bool(rim == 0 and not reached) if region.any() else None,
        bars=(at_most("points on the rim", rim + len(reached), 0),),
    )


STUDY = Study(
    "fig7",
    "the spectrum loss over a larger part of the F-k plane (figure 7)",
    compute,
    plot,
    judge,
    caption="(a): the spectrum loss over a larger part of the plane of F and k as a surface; the pole with a star "
    "stands at the truth. (b): from above. Lines: the border of the region of low loss around the truth, full where "
    "the loss rises by a quarter of its height over the face, dotted where it does not. Dots: the march was stopped at "
    "its last step. Crosses: v diverged. Framed: closer points; diamonds: where the "
    "region of patterns reaches the rim of the plane.",
    alt="A surface and a map: a narrow valley of low loss, bent like a sickle, in the middle of a high plateau, with a "
    "line of cliffs around it; from its lower end a thin band of low loss runs on to the left rim.",
)
