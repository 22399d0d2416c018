"""Figure 3 of arXiv 2606.11258: the loss over the F-k and the F-Dv plane, the other parameters at the truth.

The paper's planes have 50 x 50 points and a batch of 4; on a device paper scale takes its 512 targets as samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.cliffs import edges, loss_range
from gsimplicit.landscape.edge_maps import agreement, edge_map
from gsimplicit.plotting import class_map, cliff_lines, plane
from studies import _paper
from studies._bars import at_least, at_most
from studies._claims import Claim, between
from studies._common import Datasets, Study, scanned
from studies._constants import F_RANGE, K_RANGE
from studies._device import with_device
from studies._planes import SIZES, losses_of_plane
from studies._widths import widths

TARGETS = 512
"""Size of the paper's batch of targets: samples at paper scale on a device."""
COMPARED = 8
"""Samples that are compared with each other at most."""
PLANES = {"k": K_RANGE, "Dv": (0.05, 0.10)}
"""Second axis of each plane; the first is F."""


def compute(scale: str, folder: Path) -> Datasets:
    """A plane of which `fig5` takes other losses, and a scan of the other."""
    (points, samples), many, both = SIZES[scale], scale == "paper" and with_device(), ["spectrum", "windowed"]
    fields = gs.initial_state(TARGETS if many else samples)

    def plane_of(other: str) -> xr.Dataset:
        axes = {"F": np.linspace(*F_RANGE, points), other: np.linspace(*PLANES[other], points)}
        return scanned(folder / f"fig3_F_{other}.nc", axes=axes, losses=both, initial=fields)

    # so many states are not kept for other losses: they are 84 GB
    first = plane_of("k") if many else losses_of_plane("fig3_F_k", both, scale, folder)
    return {"fig3_F_k": first, "fig3_F_Dv": plane_of("Dv")}


def plot(data: Datasets) -> Figure:
    """A row a plane: loss with cliff faces, and the class of every cell."""
    figure = Figure(figsize=(8, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    truth = {"k": 0.065, "Dv": 0.08}
    for (name, row), letters in zip(zip(PLANES, panels, strict=True), ("ab", "cd"), strict=True):
        one = data[f"fig3_F_{name}"].isel(sample=0)
        plane(one["loss"].sel(objective="spectrum"), row[0], colorbar="spectrum loss", cmap="cividis", vmin=0, vmax=270)
        cliff_lines(one, "spectrum", row[0], color="w")
        class_map(one, row[1])
        for ax, title, letter in zip(
            row, ("loss; cliffs white, dotted where unsteady", "kind of state"), letters, strict=True
        ):
            ax.plot(truth[name], 0.035, marker="*", ms=9, mfc="w", mec="k", ls="none")
            ax.set_title(f"({letter}) F and {name}: {title}", loc="left", fontsize=9)
    return figure


def judge(data: Datasets) -> list[Claim]:
    """Plateaus, cliff widths, and how much of the plane is neither; ranges are over samples."""
    sides = (
        ("right", "dead states, u = 1 and v = 0", gs.Kind.TRIVIAL),
        ("left", "uniform, as stopped", gs.Kind.UNIFORM),
    )
    return [
        *(_cliffs(data[f"fig3_F_{name}"], name) for name in PLANES),
        *(_level(data["fig3_F_k"], *side) for side in sides),
    ]


def _cliffs(plane: xr.Dataset, name: str) -> Claim:
    """How wide the cliffs of one plane are, how many there are, and what its points are."""
    each = [_Numbers.of(plane.isel(sample=s), name) for s in range(plane.sizes["sample"])]
    middle = [n.widths[0] for n in each]
    count = {axis: between(*_range([n.faces[axis] for n in each])) for axis in ("F", name)}
    per_row = np.concatenate([n.per_row for n in each])
    rows = ", ".join(f"{int(c)} in {int((per_row == c).sum())}" for c in np.unique(per_row))
    shares = ", ".join(
        f"{between(*_range([n.shares[c] for n in each]), '.0%')} {word}"
        for c, word in _WORDS.items()
        if any(n.shares[c] for n in each)
    )
    return Claim(
        _paper.PLANE_CLIFFS,
        f"F-{name} plane: sharp cliffs bound the plateaus. Asked here: a cliff is two faces of the plane "
        "wide at most (median; from the last loss below a quarter of the height to the first above three quarters).",
        f"cliffs {between(*_range(middle), '.1f')} faces wide",
        f"cliff faces along F {count['F']}, along {name} {count[name]}; cliffs of a row along {name}: {rows} of "
        f"{len(per_row)} rows; "
        f"median cliff width {between(*_range(middle), '.1f')} faces, "
        f"90 % within {between(*_range([n.widths[1] for n in each]), '.1f')}, "
        f"all within {between(*_range([n.widths[2] for n in each]), '.0f')}; points: {shares}{_between_samples(plane)}",
        None if any(np.isnan(middle)) else max(middle) <= 2,
        bars=(at_most("median width in faces", max(middle), 2),),
    )


_WORDS = {
    CellClass.TRIVIAL: "without v",
    CellClass.UNIFORM: "uniform",
    CellClass.PATTERN: "patterns",
    CellClass.UNSTEADY: "not settled",
    CellClass.FAILED: "diverged",
}


@dataclass(frozen=True)
class _Numbers:
    """Of one sample: cliff faces by axis and by row, widths (median, 90th percentile, largest), shares of kinds."""

    faces: dict[str, int]
    per_row: np.ndarray
    widths: tuple[float, float, float]
    shares: dict[CellClass, float]

    @staticmethod
    def of(one: xr.Dataset, name: str) -> _Numbers:
        steep = {axis: edges(one, axis, "spectrum")["cliff"] for axis in ("F", name)}
        width, cells = _widths(one, loss_range(one, "spectrum")), classes(one)
        lengths = [float(np.quantile(width, q)) if len(width) else np.nan for q in (0.5, 0.9, 1.0)]
        return _Numbers(
            {axis: int(e.sum()) for axis, e in steep.items()},
            steep[name].sum(name).values,
            (lengths[0], lengths[1], lengths[2]),
            {c: float((cells == c).mean()) for c in CellClass},
        )


def _range(values: Iterable[float]) -> tuple[float, float]:
    values = list(values)
    return min(values), max(values)


def _between_samples(plane: xr.Dataset) -> str:
    """How alike two samples' planes are; nothing where there is one."""
    pairs = list(combinations([plane.isel(sample=s) for s in range(min(COMPARED, plane.sizes["sample"]))], 2))
    if not pairs:
        return ""
    cells = [(classes(a), classes(b)) for a, b in pairs]
    kinds = [float((a != b).mean()) for a, b in cells]
    late = sum(int(((a == CellClass.UNSTEADY) ^ (b == CellClass.UNSTEADY)).sum()) for a, b in cells)
    differ = sum(int((a != b).sum()) for a, b in cells)
    near = [agreement(edge_map(a, "spectrum"), edge_map(b, "spectrum")).within_one for a, b in pairs]
    return (
        f"; two samples: another kind at {between(*_range(kinds), '.1%')} of points, in "
        f"{late} of {differ} cases since one of them had not settled; "
        f"{between(*_range(near), '.0%')} of both's cliff faces within one face"
    )


def _level(plane: xr.Dataset, side: str, words: str, kind: gs.Kind) -> Claim:
    """The height of one plateau of the F-k plane."""
    there = plane["loss"].where((plane["kind"] == kind) & (plane["status"] == gs.Status.SETTLED))
    high, windowed = (there.sel(objective=o).quantile([0.1, 0.9]).values for o in ("spectrum", "windowed"))
    count = int(there.sel(objective="spectrum").notnull().sum())
    return Claim(
        _paper.HEIGHT,
        f"The {side} plateau ({words}) stands at 245 to 270, that of the windowed loss near 230. Measured over the F-k "
        "plane: 10th to 90th percentile, windowed 220 to 245. A test for each plateau; until we had seen both, only "
        "the right one was asked.",
        f"{side} {between(high[0], high[1], '.0f')}; windowed {between(windowed[0], windowed[1], '.0f')}",
        f"{side} {high[0]:.0f}..{high[1]:.0f}, windowed {windowed[0]:.0f}..{windowed[1]:.0f}, of {count} points "
        "(10th to 90th percentile)",
        bool(high[0] >= 245 and high[1] <= 270 and windowed[0] >= 220 and windowed[1] <= 245) if count else None,
        bars=(
            at_least("10th percentile", high[0], 245),
            at_most("90th", high[1], 270),
            at_least("windowed, 10th", windowed[0], 220),
            at_most("windowed, 90th", windowed[1], 245),
        ),
    )


def _widths(one: xr.Dataset, height: float) -> np.ndarray:
    """Of the cliffs along the second axis, where a row goes from the plateau into the patterns or back."""
    return np.concatenate([widths(row, 0.0, height) for row in one["loss"].sel(objective="spectrum").values])


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
