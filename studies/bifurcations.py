"""What bounds the region of patterns in the F-k plane? Cliffs beside every curve that could be one.

The paper (sec. 5.1) holds that its cliffs stand where steady states bifurcate. (a) Classes of cells as the paper
marches them, from the 20 x 20 box, with the curves of the uniform state in closed form: saddle-node, Hopf (of the
equations and of the explicit steps), Turing. (b) The same from a small box. (c) The same where each cell starts from
its neighbour's state, from the middle of the patterns outwards. (d) Signed distance of both cliffs of (a) from each
curve, from those of single patterns followed by arclength (the spot's fold and Hopf point, the folds of stripes and of
hexagons), and from where a patch of hexagons is lost, and a band of the box's values dies. (e) The spot's branch at two
F. (f) How v changes near the spot's fold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

import gsimplicit as gs
from gsimplicit.landscape.boundaries import boundaries, curve_distance
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.plotting import class_map
from studies import _cusp, _paper, _places, _single, _spots
from studies._bars import at_least, below
from studies._claims import Claim, ours
from studies._common import Datasets, Study, filled, scanned
from studies._constants import F_RANGE, K_RANGE
from studies._curves import CELL, STYLES, draw, uniform
from studies._places import FOLLOWED_TO, LOW, SIDES

SIZES = {"quick": (9, 25, 64, 1, 3), "default": (9, 50, 128, 3, 4), "paper": (50, 50, 128, 10, 9)}
"""Values of F and of k, pixels along each side, seeds for the places of the cliffs, and more F at the Hopf line."""
BRANCHES = {
    "quick": (0.035, 0.05, 0.06),
    "default": (*np.linspace(0.03, 0.06, 7), 0.07),
    "paper": tuple(np.linspace(0.03, 0.07, 17)),
}
SHOWN = (0.035, 0.05)
"""F of (e) and (f)."""


def compute(scale: str, folder: Path) -> Datasets:
    """Two planes from boxes, one that follows the pattern, the curves of single patterns, and branches in full."""
    rows, columns, side, seeds, more = SIZES[scale]
    axes = {"F": np.linspace(*F_RANGE, rows), "k": np.linspace(*K_RANGE, columns)}
    planes = {
        name: scanned(
            folder / f"bifurcations_{name}.nc",
            axes={**axes, "k": axes["k"][::every]},
            losses=["spectrum"],
            initial=gs.initial_state(grid=(side, side), box=gs.Box(half=half)),
        )
        for name, half, every in (("box", 10, 1), ("small_box", 3, 2))  # the second is only looked at
    }
    settings = {"axes": [rows, columns, side]}
    planes["followed"] = filled(
        folder / "bifurcations_followed.nc",
        (_places.__file__,),
        settings,
        lambda: _places.following(planes["box"], side),
    )
    planes["cliffs"] = filled(
        folder / "bifurcations_cliffs.nc",
        (_places.__file__,),
        {**settings, "seeds": seeds, "more": more},
        lambda: _places.cliffs(planes["box"], side, seeds, more),
    )
    curves = filled(
        folder / "bifurcations_curves.nc",
        (_single.__file__,),
        {"F": list(BRANCHES[scale])},
        lambda: _single.curves(BRANCHES[scale]),
    )
    spots = filled(
        folder / "bifurcations_spots.nc", (_single.__file__,), {"F": list(SHOWN)}, lambda: _single.spots(SHOWN)
    )
    return {f"bifurcations_{n}": d for n, d in {**planes, "curves": curves, "spots": spots}.items()}


# figure and claims


def _all_curves(data: Datasets, F: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Every curve at the rows F; those of single patterns between the F they were followed at."""
    single = data["bifurcations_curves"]
    out = uniform(F)
    for name in ("spot_fold", "spot_hopf", "stripe_fold", "hexagon_fold", "hexagon_patch", "planar_edge"):
        known = single[name].dropna("F")
        values = np.full(len(F), np.nan)
        if known.size > 1:
            values = PchipInterpolator(known["F"].values, known.values, extrapolate=False)(F)
        out[name.replace("_", " ").replace("hopf", "Hopf")] = values
    return out


def plot(data: Datasets) -> Figure:
    """Three planes with all curves, distances, branches, and the law at the fold."""
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 3)
    fine = np.linspace(*F_RANGE, 161)
    titles = {
        "box": "(a) from the paper's box",
        "small_box": "(b) from a box of 6 x 6 pixels",
        "followed": "(c) each point from its neighbour",
    }
    for ax, (name, title) in zip(panels[0], titles.items(), strict=True):
        one = data[f"bifurcations_{name}"]
        one = one.isel(sample=0) if "sample" in one.dims else one
        class_map(one, ax)
        draw(_all_curves(data, fine), fine, ax)
        if name != "box":
            for side in SIDES:
                at = data["bifurcations_cliffs"]["k"].sel(side=side).median("seed")
                ax.plot(at, at["F"], color="#d6008f", lw=2.2, label="cliffs of (a)" if side == "left" else None)
        ax.set(xlim=(K_RANGE[0], FOLLOWED_TO if name == "followed" else K_RANGE[1]), ylim=F_RANGE)
        ax.set_title(title, loc="left")
    handles, labels = panels[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    _distances(data, panels[1, 0])
    _spots.branches(data, panels[1, 1])
    _spots.law(data["bifurcations_spots"], panels[1, 2])
    return figure


def _distances(data: Datasets, ax: Axes) -> None:
    """Signed distance of both cliffs from each curve, against F."""
    places = data["bifurcations_cliffs"]["k"]
    sides, F = places.median("seed"), places["F"].values
    least, most, size = places.min("seed"), places.max("seed"), 3.0 if len(F) < 30 else 1.8
    curves = _all_curves(data, F)
    for side, marker, names in (
        ("left", "o", ("Hopf", "Hopf of the steps", "Turing", "stripe fold", "hexagon fold", "hexagon patch")),
        ("right", "s", ("saddle-node", "planar edge", "spot fold", "spot Hopf")),
    ):
        for name in names:
            colour, style = STYLES[name]
            away = (sides.sel(side=side).values - curves[name]) / CELL
            bars = [abs(end - sides.sel(side=side)) / CELL for end in (least.sel(side=side), most.sel(side=side))]
            label = f"{side} cliff - {name}"
            ax.errorbar(F, away, bars, marker=marker, ms=size, color=colour, ls=style, lw=0.9, label=label)
    ax.axhspan(-1, 1, color="0.9", zorder=0)
    ax.set_yscale("symlog", linthresh=2, linscale=1)
    ax.set_yticks((-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20), minor=False)
    ax.yaxis.set_major_formatter("{x:+.0f}")
    ax.set_yticks((), minor=True)
    ax.set(xlabel="F, feed rate", ylabel="distance in k, cells of the paper's plane")
    ax.set_title("(d) cliffs of (a) from each curve", loc="left")
    ax.legend(fontsize=6.5, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def judge(data: Datasets) -> list[Claim]:
    """What each cliff stands at, and what it does not."""
    places, single = data["bifurcations_cliffs"]["k"], data["bifurcations_curves"]
    F = places["F"].values
    left, right = (places.sel(side=side).median("seed") for side in SIDES)
    known = _all_curves(data, F)
    seeds = [float(((places.sel(side=n).max("seed") - places.sel(side=n).min("seed")) / CELL).max()) for n in SIDES]
    error = [f"+-{0.025 + s / 2:.2f} cell, by bisection and {places.sizes['seed']} seeds" for s in seeds]
    low, even = F <= LOW, np.isin(F, data["bifurcations_box"]["F"].values)
    rows = {n: k[even] for n, k in known.items()}  # the others are denser at small F
    hopf_low = {n: curve_distance(left[low], known[n][low], CELL) for n in ("Hopf of the steps", "Hopf")}
    inside = (left.values > known["stripe fold"]) & (left.values < known["Turing"]) & ~low
    ends_of = [k for n, k in rows.items() if n != "planar edge"]  # which is a threshold of a start, no bifurcation
    best = max((curve_distance(right[even], k, CELL)["within"] for k in ends_of), default=0.0)
    parallel = curve_distance(right[even], rows["planar edge"], CELL)
    high = curve_distance(right[F >= 0.06], known["planar edge"][F >= 0.06], CELL)["median"]
    hexagons = curve_distance(left[~low], known["hexagon fold"][~low], CELL)
    patches = (left[~low] - known["hexagon patch"][~low]) / CELL
    ends_at = {n: np.where(low, known[n], known["hexagon fold"]) for n in hopf_low}
    ends_at |= {"Hopf of the steps, patches above": np.where(low, known["Hopf of the steps"], known["hexagon patch"])}
    both = {n: curve_distance(left[even], k[even], CELL) for n, k in ends_at.items()}
    branches = data["bifurcations_spots"]
    powers = [_spots.power(branches.sel(F=f)) for f in branches["F"].values]
    apart = float(np.abs(single["spot_fold"] - single["spot_fold_augmented"]).max())
    followed = boundaries(data["bifurcations_followed"])
    # alive in the last cell counts as further too
    alive = classes(data["bifurcations_followed"]).isel(k=-1).isin([CellClass.PATTERN, CellClass.UNSTEADY])
    there = followed["F"].values
    right_there = places.sel(side="right", F=there).median("seed")
    further = int(((followed["right"] - right_there > 2 * CELL) | alive).sum())
    dies_at, folds_at = (
        curve_distance(followed["right"], _all_curves(data, there)[n], CELL) for n in ("spot Hopf", "spot fold")
    )
    first = np.fmin(*(_all_curves(data, there)[n] for n in ("spot Hopf", "spot fold")))
    ends = curve_distance(followed["right"], first, CELL)
    misses = "under 90 % of rows"
    best_uniform = max(curve_distance(left[even], k[even], CELL)["within"] for k in uniform(F).values())
    return [
        Claim(
            _paper.RIGHT_CLIFF,
            "The right cliff is a bifurcation of the uniform state or of a pattern. Asked here: one curve lies within "
            "a cell of it in 90 % of the rows of the plane.",
            f"best of {len(ends_of)} curves fits {best:.0%} of rows",
            _table(right[even], rows),
            best >= 0.9,
            "right cliff",
            error[1],
            misses,
        ),
        Claim(
            ours("Right cliff: a straight band dies"),
            "The right cliff is where a long band of the box's values dies, which has no corners: within a cell in "
            "90 % of rows.",
            f"{parallel['within']:.0%} of rows, {parallel['median']:+.1f} cells in the median",
            f"median {parallel['median']:+.1f}, {parallel['least']:+.1f} to {parallel['most']:+.1f} cells, "
            f"{parallel['within']:.0%} within one" + (f"; for F >= 0.06 {high:+.1f}" if np.isfinite(high) else ""),
            parallel["within"] >= 0.9,
            bars=(at_least("share of the rows", parallel["within"], 0.9),),
        ),
        Claim(
            ours("Patterns live on beyond the right cliff"),
            "A pattern that starts from its neighbour's lives on past the right cliff, by over two cells in half the "
            "rows or more.",
            f"in {further} of {len(there)} rows",
            f"in {further} of {len(there)} rows, median "
            f"{float((followed['right'] - right_there).median()) / CELL:.0f} cells",
            further >= len(there) / 2,
            "H4",
            "+-0.5 cell; slower deaths than 20000 steps a cell pass for life",
            "an end at the cliff in half the rows",
        ),
        Claim(
            ours("They end where a spot ends"),
            "Followed so, it ends where a single spot loses stability, at its Hopf point or else its fold: within two "
            "cells in 90 % of rows.",
            f"{ends['median']:+.1f} cells from there in the median",
            f"median {ends['median']:+.1f}, {ends['least']:+.1f} to {ends['most']:+.1f} cells over {int(ends['rows'])} "
            f"of {len(there)} rows; from the Hopf point {dies_at['median']:+.1f}, from the fold "
            f"{folds_at['median']:+.1f}",
            bool((np.abs(followed["right"].values - first) <= 2 * CELL).mean() >= 0.9),
            "H4",
            "+-0.5 cell",
            misses,
        ),
        Claim(
            ours("Edge states: the spot's other half"),
            "Between a faint spot, which dies, and a full one, which lives, stands an edge state. These are the "
            "unstable half of the spot's branch: largest v and rate agree within 1e-3, at half the k or more.",
            f"at {sum(_spots.lies_on(branches.sel(F=f)) for f in branches['F'].values)} of {branches.sizes['F']} F",
            "; ".join(_spots.off_branch(branches.sel(F=f)) for f in branches["F"].values),
            all(_spots.lies_on(branches.sel(F=f)) for f in branches["F"].values),
            "H1",
            "not estimated; the branch is joined by lines between its points",
            "an edge state off the branch by 1e-3",
        ),
        Claim(
            ours("Square-root law at a fold"),
            "At a fold |dv/dk| grows as the distance to the power -1/2, within 0.05.",
            "power " + ", ".join(f"{p:.2f}" for p in powers),
            ", ".join(f"{p:.3f} at F = {f:g}" for p, f in zip(powers, branches["F"].values, strict=True)),
            all(abs(p + 0.5) < 0.05 for p in powers),
            "H4",
            "not estimated; fitted from 3e-6 to 1e-4 of the fold",
            "a power off by 0.05",
        ),
        Claim(
            ours("Left cliff, small F: the Hopf line"),
            f"For F <= {LOW:g} the left cliff is the Hopf line of the explicit steps: within a cell in 90 % of rows.",
            f"{hopf_low['Hopf of the steps']['within']:.0%} of {int(hopf_low['Hopf of the steps']['rows'])} rows",
            "; ".join(
                f"{n}: median {a['median']:+.1f}, {a['least']:+.1f} to {a['most']:+.1f} cells, {a['within']:.0%} of "
                f"{int(a['rows'])} rows within one ({int(low.sum())} asked: {int((low & even).sum())} of the plane "
                f"and {int((low & ~even).sum())} more)"
                for n, a in hopf_low.items()
            ),
            hopf_low["Hopf of the steps"]["within"] >= 0.9,
            "H2",
            error[0],
            misses,
        ),
        Claim(
            ours("Left cliff, larger F: between two curves"),
            f"For F > {LOW:g} the left cliff lies between the fold of the stripes and the Turing line, in 90 % of "
            "rows.",
            f"{int(inside.sum())} of {int((~low).sum())} rows",
            f"{int(inside.sum())} of {int((~low).sum())} rows",
            bool(inside.sum() >= 0.9 * (~low).sum()),
            "H2",
            error[0],
            misses,
        ),
        *(
            Claim(
                _paper.LEFT_CLIFF,
                f"The left cliff is a bifurcation: for F <= {LOW:g} the Hopf line of {whose}, above that the fold of "
                "hexagons. Within a cell in 90 % of the rows of the plane.",
                f"Hopf of {whose} and fold fit {both[name]['within']:.1%}",
                "; ".join(
                    f"{n}: {a['within']:.1%} of {int(a['rows'])} rows ({int(even.sum())} asked), "
                    f"{a['least']:+.1f} to {a['most']:+.1f} cells"
                    for n, a in both.items()
                    if n.partition(",")[0] == name
                ),
                both[name]["within"] >= 0.9,
                "left cliff",
                f"{error[0]}; fold and patches were found after the cliff had been seen",
                misses,
            )
            for name, whose in (("Hopf", "the equations"), ("Hopf of the steps", "the steps"))
        ),
        Claim(
            _paper.LEFT_CLIFF,
            "The left cliff is one bifurcation of the uniform state: a curve within a cell of it in 90 % of rows.",
            f"best curve of the uniform state fits {best_uniform:.0%}",
            _table(left[even], {n: k[even] for n, k in uniform(F).items()}),
            best_uniform >= 0.9,
            "left cliff",
            error[0],
            misses,
        ),
        Claim(
            ours("Left cliff, larger F: fold of hexagons"),
            f"For F > {LOW:g} the left cliff is the fold of hexagons: within a cell in 90 % of rows.",
            f"{hexagons['within']:.0%} of {int(hexagons['rows'])} rows",
            f"median {hexagons['median']:+.1f}, {hexagons['least']:+.1f} to {hexagons['most']:+.1f} cells, "
            f"{hexagons['within']:.0%} of {int(hexagons['rows'])} rows within one ({int((~low).sum())} rows asked), "
            f"spread {hexagons['spread']:.1f}; all curves: {_table(left[even], rows)}",
            hexagons["within"] >= 0.9,
            "left cliff",
            error[0],
            misses,
        ),
        Claim(
            ours("Left cliff, larger F: a patch vanishes"),
            f"For F > {LOW:g} the left cliff is where a patch of hexagons vanishes into the uniform state: within half "
            "a cell in 90 % of rows.",
            f"{int((abs(patches) <= 0.5).sum())} of {patches.size} rows",
            f"median {float(patches.median()):+.2f}, {float(patches.min()):+.2f} to {float(patches.max()):+.2f} cells, "
            f"{int((abs(patches) <= 0.5).sum())} of {patches.size} rows",
            bool((abs(patches) <= 0.5).sum() >= 0.9 * patches.size),
            "left cliff",
            f"{error[0]}; a twentieth of the patch's edge",
            misses,
        ),
        *_cusp.claims(places),
        Claim(
            ours("Two ways to a fold agree"),
            "Folds found by arclength and by the minimally augmented system agree to 1e-6 in k. A check.",
            f"{apart:.0e} apart at most",
            f"largest difference {apart:.0e} at {int(single['spot_fold'].notnull().sum())} values of F",
            apart < 1e-6,
            bars=(below("largest difference", apart, 1e-6),),
        ),
    ]


def _table(cliff: xr.DataArray, known: dict[str, np.ndarray[Any, Any]]) -> str:
    """Signed distance of a cliff from every curve, in cells."""
    rows = {name: curve_distance(cliff, k, CELL) for name, k in known.items()}
    return "; ".join(
        f"{n} {a['median']:+.1f} ({a['least']:+.1f} to {a['most']:+.1f}), {a['within']:.0%} within one, spread "
        f"{a['spread']:.1f}, {int(a['rows'])} rows"
        for n, a in rows.items()
    )


STUDY = Study(
    "bifurcations",
    "what bounds the patterns: cliffs beside the curves of bifurcations",
    compute,
    plot,
    judge,
    caption="(a) to (c): the same plane from the paper's box, from a small box, and with each point started from its "
    "neighbour's state. Curves: where steady states appear, vanish or lose stability. (d): how far each cliff of (a) "
    "is from each curve, in cells of the plane; grey: within one. (e): the branch of a single spot. (f): how fast its "
    "v changes near its fold.",
    alt="Three maps of states with curves of bifurcations, and three line plots: the left cliff stays within a cell of "
    "some curves, the right cliff follows none.",
)
