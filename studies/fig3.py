"""Figure 3 of arXiv 2606.11258: the loss over the F-k and the F-Dv plane, the other parameters at the truth.

The paper's planes have 50 x 50 points and a batch of 4.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.cliffs import edges, loss_range
from gsimplicit.plotting import class_map, cliff_lines, plane
from studies import _paper
from studies._claims import Claim, between
from studies._common import Datasets, Study, scanned
from studies._planes import F_RANGE, K_RANGE, SIZES, losses_of_plane

PLANES = {"k": K_RANGE, "Dv": (0.05, 0.10)}
"""Second axis of each plane; the first is F."""


def compute(scale: str, folder: Path) -> Datasets:
    """A plane of which `fig5` takes other losses, and a scan of the other."""
    points, samples = SIZES[scale]
    axes = {"F": np.linspace(*F_RANGE, points), "Dv": np.linspace(*PLANES["Dv"], points)}
    both, fields = ["spectrum", "windowed"], gs.initial_state(samples)
    return {
        "fig3_F_k": losses_of_plane("fig3_F_k", both, scale, folder),
        "fig3_F_Dv": scanned(folder / "fig3_F_Dv.nc", axes=axes, losses=both, initial=fields),
    }


def plot(data: Datasets) -> Figure:
    """A row a plane: loss with cliff faces, and the class of every cell."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    truth = {"k": 0.065, "Dv": 0.08}
    for (name, row), letters in zip(zip(PLANES, panels, strict=True), ("ab", "cd"), strict=True):
        one = data[f"fig3_F_{name}"].isel(sample=0)
        plane(one["loss"].sel(objective="spectrum"), row[0], colorbar="spectrum loss", cmap="viridis", vmin=0, vmax=270)
        cliff_lines(one, "spectrum", row[0], color="w")
        class_map(one, row[1])
        for ax, title, letter in zip(
            row, ("loss; cliffs white, dotted where not settled", "kind of state"), letters, strict=True
        ):
            ax.plot(truth[name], 0.035, marker="*", ms=9, mfc="w", mec="k", ls="none")
            ax.set_title(f"({letter}) {title}", loc="left")
    return figure


def judge(data: Datasets) -> list[Claim]:
    """Plateaus, cliff widths, and how much of the plane is neither."""
    claims = []
    for name in PLANES:
        one = data[f"fig3_F_{name}"].isel(sample=0)
        height, cells = loss_range(one, "spectrum"), classes(one)
        steep = {axis: edges(one, axis, "spectrum") for axis in ("F", name)}
        count = {axis: int(e["cliff"].sum()) for axis, e in steep.items()}
        width = _widths(one, height)
        flat = float(cells.isin([CellClass.TRIVIAL, CellClass.UNIFORM]).mean())
        unsteady = float((cells == CellClass.UNSTEADY).mean())
        failed = float((cells == CellClass.FAILED).mean())
        claims.append(
            Claim(
                _paper.PLANE_CLIFFS,
                f"F-{name} plane: sharp cliffs bound the plateaus. Asked here: a cliff is two cells of the plane "
                "wide at most (median).",
                f"cliffs {np.median(width) if len(width) else np.nan:.1f} cells wide",
                f"cliff faces along F {count['F']}, along {name} {count[name]}; "
                f"median cliff width {np.median(width) if len(width) else np.nan:.1f} cells, "
                f"90 % within {np.quantile(width, 0.9) if len(width) else np.nan:.1f}; "
                f"{flat:.0%} of points without a pattern, {unsteady:.0%} not settled, {failed:.0%} diverged",
                bool(len(width)) and bool(np.median(width) <= 2),
            )
        )
    one = data["fig3_F_k"].isel(sample=0)
    trivial = one["loss"].where(one["kind"] == gs.Kind.TRIVIAL)
    uniform = one["loss"].where((one["kind"] == gs.Kind.UNIFORM) & (one["status"] == gs.Status.SETTLED))
    levels = {
        (side, o): values.sel(objective=o).quantile([0.1, 0.9]).values
        for side, values in (("right", trivial), ("left", uniform))
        for o in ("spectrum", "windowed")
    }
    right, windowed, left = levels["right", "spectrum"], levels["right", "windowed"], levels["left", "spectrum"]
    claims.append(
        Claim(
            _paper.HEIGHT,
            "The plateaus stand at 245 to 270, those of the windowed loss near 230. Measured over the F-k plane.",
            f"{between(*right, '.0f')}; windowed {between(*windowed, '.0f')}",
            f"right (u = 1, v = 0) {right[0]:.0f}..{right[1]:.0f}, windowed {windowed[0]:.0f}..{windowed[1]:.0f}; "
            f"left (uniform, as stopped) {left[0]:.0f}..{left[1]:.0f} (10th to 90th percentile)",
            bool(right[0] >= 245 and right[1] <= 270 and windowed[0] >= 220 and windowed[1] <= 245),
        )
    )
    return claims


def _widths(one: xr.Dataset, height: float) -> np.ndarray:
    """Cells a cliff takes: from the last loss below a quarter of the range to the first above three quarters.

    Measured along the second axis, where a row goes from the plateau into the patterns or back.
    """
    out = []
    for row in one["loss"].sel(objective="spectrum").values:
        side = np.where(row < 0.25 * height, -1, np.where(row > 0.75 * height, 1, 0))
        at = np.flatnonzero(side)
        out += [b - a for a, b in pairwise(at) if side[a] != side[b]]
    return np.array(out)


STUDY = Study(
    "fig3",
    "the loss over the F-k and F-Dv planes (figure 3)",
    compute,
    plot,
    judge,
    caption="(a), (c): the spectrum loss over two planes of parameters. White lines: cliffs, where the loss jumps by a "
    "quarter of its range between two neighbouring points. Dotted: one of the two had not settled. (b), (d): what "
    "stands at each point: nothing (trivial), a uniform state, a pattern, or none that settled. Star: the truth.",
    alt="Two maps of the loss and two of the kind of state. A low valley of patterns lies between two high plateaus, "
    "with cliffs along its border.",
)
