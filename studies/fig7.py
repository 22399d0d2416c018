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
from studies._claims import Claim
from studies._common import Datasets, Study, scanned
from studies._faces import share_of
from studies._regions import at, border, connected
from studies._surface import CMAP, surface

RANGES = {"F": (0.005, 0.09), "k": (0.03, 0.075)}
"""The first we tried: the region of patterns lies inside."""

TRUTH = {"F": 0.035, "k": 0.065}
SIZES = {"quick": 10, "default": 30, "paper": 30}
"""Points along each axis."""

CLIFF = 0.25
"""Share of the landscape's height that a cliff takes."""


def compute(scale: str, folder: Path) -> Datasets:
    """One scan; F falls so low that states oscillate, or die everywhere."""
    axes = {name: np.linspace(*ends, SIZES[scale]) for name, ends in RANGES.items()}
    return {"fig7": scanned(folder / "fig7.nc", axes=axes, losses=["spectrum"], initial=gs.initial_state(1))}


def regions(one: xr.Dataset) -> dict[str, Any]:
    """The low region and that of patterns, each as far as it is connected with the truth."""
    loss, R = one["loss"].sel(objective="spectrum").values, loss_range(one, "spectrum")
    moving = classes(one).isin([CellClass.PATTERN, CellClass.UNSTEADY]).values
    there = tuple(int(abs(one[name].values - value).argmin()) for name, value in TRUTH.items())
    high = np.nanmin(loss) + R / 2
    near = (slice(max(there[0] - 1, 0), there[0] + 2), slice(max(there[1] - 1, 0), there[1] + 2))
    patch = np.where(np.isfinite(loss[near]), loss[near], np.inf)
    row, column = np.unravel_index(
        int(patch.argmin()), patch.shape
    )  # the point next to the truth may lie on the plateau
    start = (near[0].start + int(row), near[1].start + int(column))
    return {
        "low": connected(loss < high, start),
        "patterns": connected(moving, start),
        "apart": int(((loss < high) & ~connected(loss < high, start)).sum()),
        "height": R,
    }


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
    _faces_drawn(one, found, right)
    right.plot(TRUTH["k"], TRUTH["F"], marker="*", ms=9, mfc="w", mec="k", ls="none")
    right.set_title("(b) from above", loc="left")
    right.legend(loc="upper right", fontsize=7, framealpha=1, facecolor="0.65")
    return figure


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
    found, cells = regions(one), classes(one).values
    loss = one["loss"].sel(objective="spectrum").values
    claims = []
    for name, words in (("low", "the region of low loss"), ("patterns", "the region of patterns")):
        edge = border(found[name])
        jump = (at(loss, edge.outside) - at(loss, edge.inside)) / found["height"]
        lost = [int(CellClass.UNSTEADY), int(CellClass.FAILED)]
        settled = ~(np.isin(at(cells, edge.inside), lost) | np.isin(at(cells, edge.outside), lost))
        up = jump >= CLIFF
        share, of_settled = share_of(up), share_of(up[settled])
        claims.append(
            Claim(
                _paper.ENCLOSED,
                f"Over F {RANGES['F'][0]:g} to {RANGES['F'][1]:g} and k {RANGES['k'][0]:g} to {RANGES['k'][1]:g}, "
                f"{words} is surrounded by cliffs on all sides. Asked here: it does not reach the rim of the plane, "
                "and over 95 % of the faces of its border the loss rises by a quarter of the landscape's height.",
                f"{share:.0%} of {len(jump)} faces of the border of {words}",
                f"{int(found[name].sum())} of {cells.size} points, {edge.rim} of them on the rim; the loss rises by a "
                f"quarter of the height over {share:.0%} of {len(jump)} faces of its border, over {of_settled:.0%} of "
                f"the {int(settled.sum())} between two states that had settled; the least rise "
                f"{jump.min(initial=np.inf):.0%}; {found['apart']} points of low loss lie apart; not settled "
                f"{int((cells == CellClass.UNSTEADY).sum())}, diverged {int((~np.isfinite(loss)).sum())} points",
                bool(edge.rim == 0 and share >= 0.95) if len(jump) else None,
            )
        )
    return claims


STUDY = Study(
    "fig7",
    "the spectrum loss over a larger part of the F-k plane (figure 7)",
    compute,
    plot,
    judge,
    caption="(a): the spectrum loss over a larger part of the plane of F and k as a surface; the pole with a star "
    "stands at the truth. (b): from above. Lines: the border of the region of low loss around the truth, full where "
    "the loss rises by a quarter of its height over the face, dotted where it does not. Dots: the march was stopped at "
    "its last step. Crosses: v diverged.",
    alt="A surface and a map: a narrow valley of low loss, bent like a sickle, in the middle of a high plateau, with a "
    "closed line of cliffs around it.",
)
