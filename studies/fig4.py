"""Figure 4 of arXiv 2606.11258: the patterns over the F-k plane, 7 x 7, and whether they change gradually.

The paper calls the change on the pattern side of the cliffs gradual and regular, by eye. Here each pattern gets
numbers that do not see where it lies, and each number is asked two things: whether it orders along k and along F
(regular), and whether it does so without a large step (gradual). What counts as regular was fixed before the
numbers were seen.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

import gsimplicit as gs
from gsimplicit.plotting import label
from studies import _order, _paper
from studies._bars import at_least, at_most
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, scanned
from studies._constants import F_RANGE, K_RANGE
from studies._order import Order
from studies._patterns import shape, wavelength

RANGES = {"F": F_RANGE, "k": K_RANGE}
POINTS = 7
SIZES = {"quick": (64, 10, 1), "default": (128, 10, 4), "paper": (128, 10, 16)}
"""Side of the grid, half of the square, and starts."""
TOP = 0.4
"""Upper end of the colours of v. The paper clips at 0.1, where most of a pattern is above."""
ORDERED, RARE = 0.8, 0.01
"""What counts as regular: mean rank correlation and its p."""
FILLS = 1 / 4
"""Longest wavelength of a pattern that fills its grid, as a share of the side: beyond are fronts, single spots and slow
waves, whose wavelength is that of the grid. Chosen after a first run had shown four such fields."""

MEASURES = {
    "mean": ("mean of v", lambda v: v.mean(axis=(-2, -1))),
    "wavelength": ("wavelength, pixels", wavelength),
    "shape": ("shape: 0.87 spots, 0 stripes", shape),
}
"""Label and function of each number."""


def compute(scale: str, folder: Path) -> Datasets:
    """One scan that keeps v."""
    side, half, samples = SIZES[scale]
    return {
        "fig4": scanned(
            folder / "fig4.nc",
            axes={name: np.linspace(*ends, POINTS) for name, ends in RANGES.items()},
            losses=["spectrum", "windowed"],
            initial=gs.initial_state(samples, grid=(side, side), box=gs.Box(half=half)),
            keep="v",
        )
    }


def measured(data: xr.Dataset) -> xr.Dataset:
    """Every number of every pattern that fills its grid, over F, k and sample; NaN elsewhere."""
    dims = ("F", "k", "sample")
    v = data["v"].transpose(*dims, "y", "x").values
    there = (data["kind"] == gs.Kind.PATTERN).transpose(*dims).values & (wavelength(v) < FILLS * v.shape[-1])
    values = {name: (dims, np.where(there, of(v), np.nan)) for name, (_, of) in MEASURES.items()}
    return xr.Dataset(values, {name: data[name] for name in RANGES})


def plot(data: Datasets) -> Figure:
    """The matrix, and the numbers along k, a line for each F."""
    one = data["fig4"]
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.75, 1))
    _matrix(one, left)
    numbers = measured(one)
    for ax, name, letter in zip(right.subplots(3, 1, sharex=True), MEASURES, "bcd", strict=True):
        _lines(numbers[name], ax, MEASURES[name][0], letter)
    ax.set_xlabel(label(one["k"]))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(fontsize=6.5, ncols=4, frameon=False, loc="upper center", bbox_to_anchor=(0.45, -0.3))
    return figure


def _matrix(data: xr.Dataset, figure: SubFigure) -> None:
    """Fields of the first start at every point, k across and F up."""
    v, settled = data["v"].isel(sample=0), (data["status"] == gs.Status.SETTLED).isel(sample=0)
    panels = figure.subplots(POINTS, POINTS)
    for row, F in enumerate(v["F"].values[::-1]):
        for column, k in enumerate(v["k"].values):
            ax = panels[row, column]
            image = ax.imshow(v.sel(F=F, k=k).transpose("y", "x"), cmap="cividis", vmin=0, vmax=TOP)
            ax.set(xticks=[], yticks=[])
            still = bool(settled.sel(F=F, k=k))
            for spine in ax.spines.values():
                spine.set(visible=True, color="k", ls="-" if still else ":", lw=0.8 if still else 1.8)
            if column == 0:
                ax.set_ylabel(f"{F:.4g}", fontsize=8)
            if row == POINTS - 1:
                name = f"\n{label(data['k'])}" if column == POINTS // 2 else ""
                ax.set_xlabel(f"{k:.4g}{name}", fontsize=8)
    figure.supylabel(label(data["F"]), fontsize=8)
    figure.colorbar(image, ax=panels, location="bottom", shrink=0.5, aspect=40, pad=0.02, label="v", extend="max")
    figure.suptitle("(a) v where the march stopped; dashed: at its last step", fontsize=10, x=0.02, ha="left")


def _lines(values: xr.DataArray, ax: Axes, word: str, letter: str) -> None:
    """One number against k, a line for each F: mean over starts, and their range."""
    colours = mpl.colormaps["cividis"](np.linspace(0, 0.9, POINTS))
    for n, F in enumerate(values["F"].values):
        one = values.sel(F=F)
        middle = one.mean("sample")
        if not bool(middle.notnull().any()):  # a row without a pattern has no line
            continue
        ax.fill_between(one["k"], one.min("sample"), one.max("sample"), color=colours[n], alpha=0.25, lw=0)
        ax.plot(one["k"], middle, "osD^vPX"[n] + "-", ms=3.5, lw=1, color=colours[n], label=f"F {F:.3g}")
    ax.set_ylabel(word, fontsize=8)
    ax.set_title(f"({letter}) {word.split(':')[0].split(',')[0]} along k", loc="left")


def judge(data: Datasets) -> list[Claim]:
    """Regular and gradual, number by number; then the paper's two by two."""
    numbers = measured(data["fig4"])
    found = {name: {axis: along(numbers[name].mean("sample"), axis) for axis in ("k", "F")} for name in MEASURES}
    claims = [
        _regular(numbers[name], name, axis, found[name][axis]) for name in ("mean", "wavelength") for axis in ("k", "F")
    ]
    return [
        *claims,
        *(_gradual(numbers[name], name, found[name]) for name in WORDS),
        _polarized(data["fig4"]),
        _separates(data["fig4"]),
        _shape(numbers["shape"], found["shape"]),
    ]


def along(values: xr.DataArray, axis: str) -> Order:
    """How a number orders along k, or along F."""
    return _order.order(values.transpose("F", "k").values if axis == "k" else values.transpose("k", "F").values)


WORDS = {"mean": "mean of v", "wavelength": "dominant wavelength"}
"""The two numbers that the paper's sentence is tested on."""


def _regular(values: xr.DataArray, name: str, axis: str, found: Order) -> Claim:
    single = [along(values.isel(sample=n), axis).rho for n in range(values.sizes["sample"])]
    return Claim(
        _paper.GRADUAL,
        "Patterns change regularly on their side of the cliff. Asked here of patterns that fill their grid (wavelength "
        f"below a quarter of the side, a bound set after a first run), and of the {WORDS[name]} along {axis}: its rank "
        f"correlation with the place in the line, mean over lines of {_order.LEAST} patterns or more, is at least "
        f"{ORDERED} in size, with p below {RARE} against random orders within lines; with a larger p it "
        "is not decided (since we had seen it).",
        f"{WORDS[name]} along {axis}: {found.rho:+.2f}",
        f"{found.text}; single starts {between(min(single), max(single), '+.2f')}",
        _is_regular(found),
        bars=(at_least("rank correlation in size", abs(found.rho), ORDERED),),
    )


def _is_regular(one: Order) -> bool | None:
    """None where the order is no more than chance would give: so few patterns do not tell."""
    return bool(abs(one.rho) >= ORDERED) if one.rows and one.p < RARE else None


def _gradual(values: xr.DataArray, name: str, found: dict[str, Order]) -> Claim:
    there = values.mean("sample").notnull()
    longest = {axis: int(there.sum(axis).max()) for axis in found}
    bars = {axis: 2 / max(count - 1, 1) for axis, count in longest.items()}
    steps = {axis: one.steepest for axis, one in found.items()}
    return Claim(
        _paper.GRADUAL,
        f"The change is gradual. Asked here: between neighbouring patterns the {WORDS[name]} takes no step of over "
        "twice an even one, for the longest line of patterns along that axis, as a share of its range over the plane. "
        "Until we had seen that no line has seven patterns, it was a third of the range.",
        f"largest step of {WORDS[name]} {max(steps.values()):.0%} of range",
        ", ".join(
            f"largest step along {axis} {step:.0%} of the range, allowed {bars[axis]:.0%} ({longest[axis]} patterns)"
            for axis, step in steps.items()
        ),
        all(step <= bars[axis] for axis, step in steps.items()) if np.isfinite(list(steps.values())).all() else None,
        bars=tuple(at_most(f"largest step along {axis}", step, bars[axis]) for axis, step in steps.items()),
    )


def _height(data: xr.Dataset, objective: str) -> xr.DataArray:
    """A loss as a share of its level where v is gone."""
    loss = data["loss"].sel(objective=objective)
    return loss / loss.where(data["kind"] == gs.Kind.TRIVIAL).mean()


def _polarized(data: xr.Dataset) -> Claim:
    """Of the plane's points what `studies.fig1` asks of its seven."""
    height = _height(data, "windowed").where(data["kind"] == gs.Kind.PATTERN)
    points = int(((height > 0.25) & (height < 0.75)).any("sample").sum())
    share = height.values[np.isfinite(height.values)]
    low, high = ((share <= 0.25).mean(), (share >= 0.75).mean()) if len(share) else (np.nan, np.nan)
    return Claim(
        _paper.POLARIZED,
        "The windowed loss is low or high. Asked here of the plane's patterns: at most 5 % of the points and starts "
        "with one lie in the middle half of the height from 0 to the level where v is gone. Points without a pattern "
        "counted, too, until we had seen that they are most.",
        f"{1 - low - high:.0%} of the plane's patterns in between",
        f"{1 - low - high:.1%} of {len(share)} between 25 and 75 % of the height, {low:.0%} below, {high:.0%} above; "
        f"those between are at {points} points",
        bool(1 - low - high <= 0.05) if len(share) else None,
        bars=(at_most("share in between", 1 - low - high, 0.05),),
    )


def _separates(data: xr.Dataset) -> Claim:
    """The same over the plane, since the paper does not give its seven points."""
    a, b = (_height(data, o).where(data["kind"] == gs.Kind.PATTERN) for o in ("spectrum", "windowed"))
    known = np.isfinite(a).any("sample")
    more = (b.min("sample") > 1.1 * a.max("sample")) & known & (b.min("sample") > 0.1)
    less = (a.min("sample") > 1.1 * b.max("sample")) & known & (a.min("sample") > 0.1)
    where = []
    for F, k in product(data["F"].values, data["k"].values):
        if more.sel(F=F, k=k):
            shares = [float(one.sel(F=F, k=k).mean()) for one in (a, b)]
            where.append(f"F {F:.4g}, k {k:.4g}: {shares[0]:.0%} and {shares[1]:.0%}")
    return Claim(
        _paper.SEPARATES,
        "The windowed loss tells some wrong patterns better from the right one. Asked here, over the plane: for one "
        "pattern or more, from every start, it is over a tenth of its height and larger by 10 % or more than the "
        "spectrum loss, both as shares of the level where v is gone.",
        f"{int(more.sum())} of {int(known.sum())} patterns better, by share",
        f"better at {int(more.sum())} of {int(known.sum())} points with a pattern, worse at {int(less.sum())}"
        + (f"; spectrum and windowed at {'; '.join(where)}" if where else ""),
        bool(more.any()),
        bars=(at_least("patterns told better", int(more.sum()), 1),),
    )


def _shape(values: xr.DataArray, found: dict[str, Order]) -> Claim:
    rows = values.mean("sample")
    last = [float(row[np.isfinite(row)][-1]) for row in rows.values if np.isfinite(row).any()]
    first = [float(row[np.isfinite(row)][0]) for row in rows.values if np.isfinite(row).any()]
    return Claim(
        ours("From holes over stripes to spots with k"),
        "The Euler characteristic per squared wavelength grows along k: holes, stripes, spots. Asked as above, along k "
        "alone.",
        f"{found['k'].rho:+.2f} along k",
        f"along k: {found['k'].text}; along F: {found['F'].text}; first pattern of a row {min(first):+.2f} to "
        f"{max(first):+.2f}, last {min(last):+.2f} to {max(last):+.2f}",
        None if _is_regular(found["k"]) is None else bool(_is_regular(found["k"]) and found["k"].rho > 0),
        bars=(at_least("rank correlation", found["k"].rho, ORDERED),),
    )


STUDY = Study(
    "fig4",
    "patterns over the F-k plane (figure 4)",
    compute,
    plot,
    judge,
    caption="(a) v at 7 x 7 points of the plane of F and k, Du and Dv at the truth, one start. Colours go from 0 to "
    "0.4; the paper clips them at 0.1. Dashed frames: the march was stopped at its last step. (b) to (d): mean of v, "
    "dominant wavelength and shape along k of the patterns that fill their grid, a line for each F; mean and range "
    "over starts.",
    alt="A matrix of patterns: holes and labyrinths on the left, spots on the right, nothing beyond. Beside it the "
    "mean, the wavelength and the shape of the patterns as lines along k.",
)
