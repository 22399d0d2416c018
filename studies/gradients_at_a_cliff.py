"""What does each route say along a line through each cliff? Two lines in k on 48 x 48 fields.

Right cliff at F = 0.035, left cliff at F = 0.05. Every route stands at its own state with its own loss: the marched
stop for those at finite time, the certified root for the implicit one and torchdeq's. Over each face of the line the
actual jump of the route's loss is set against the one its two gradients foresee, `(g(p) + g(q)) (q - p) / 2`. The
surrogate is trained on the states of the same line's finer scan. Losses: the log spectrum, and mean v^2, which is
smooth. The leading eigenvalues of the certified roots say how near each is to a bifurcation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import gsimplicit as gs
from gsimplicit.landscape.cliffs import edges, loss_range
from studies import _paper
from studies._bars import below
from studies._claims import Claim, ours
from studies._common import Datasets, Study, scanned
from studies._shares import bounds, inherits
from studies.routes import mean_square, trained

LINES = {"right": (0.035, (0.0600, 0.0680)), "left": (0.05, (0.0580, 0.0630))}
"""F and the range of k of each line."""
SIZES = {"quick": (8, 32, ("implicit", "unrolled")), "default": (25, 48, None), "paper": (49, 64, None)}
"""Points of a line, pixels along each side of the fields, and routes where not all."""
ROUTES = {
    "implicit": gs.routes.Implicit(),
    "deq": gs.routes.Deq(),
    "tangent": gs.routes.Tangent(),
    "unrolled": gs.routes.Unrolled(),
    "truncated": gs.routes.Truncated(),
    "finite_difference": gs.routes.FiniteDifference(),
}
MODES = 4
"""Eigenvalues of each root."""
OBJECTIVES = ("spectrum", "mean_square")
STYLES = {
    "implicit": {"color": "#1f5a8a", "lw": 3.0, "alpha": 0.5},
    "deq": {"color": "#1f5a8a", "lw": 0.9, "ls": "--"},
    "unrolled": {"color": "#c0392b", "lw": 3.5, "alpha": 0.4},
    "tangent": {"color": "#c0392b", "lw": 1.0, "ls": "--"},
    "finite_difference": {"color": "k", "lw": 1.0, "ls": ":"},
    "truncated": {"color": "#d98c5f", "lw": 1.0},
    "surrogate": {"color": "#3f8f5a", "lw": 1.2, "marker": "o", "ms": 2.5},
}
"""Routes that agree lie on each other: the first of them is broad, the others thin on it."""


def compute(scale: str, folder: Path) -> Datasets:
    """A scan of each line by all routes, one of its roots, and one by a surrogate trained on a finer scan."""
    points, side, names = SIZES[scale]
    start = gs.initial_state(grid=(side, side))
    out = {}
    for name, (F, ends) in LINES.items():
        k = np.linspace(*ends, points)
        line = {"base": gs.Params(0.16, 0.08, F, 0.0625), "losses": ["spectrum", mean_square], "initial": start}
        out[f"gradients_{name}"] = scanned(
            folder / f"gradients_{name}.nc",
            axes={"k": k},
            routes=[r for n, r in ROUTES.items() if n in (names or ROUTES)],
            **line,
        )
        roots = gs.Refine(eigenvalues=MODES)
        out[f"gradients_{name}_roots"] = scanned(
            folder / f"gradients_{name}_roots.nc", axes={"k": k}, refine=roots, **line
        )
        fine = scanned(
            folder / f"gradients_{name}_fine.nc", axes={"k": np.linspace(*ends, 4 * points - 3)}, keep="v", **line
        )
        model = trained(fine, folder / f"gradients_{name}_model.nc")
        out[f"gradients_{name}_surrogate"] = scanned(
            folder / f"gradients_{name}_surrogate.nc", axes={"k": k}, routes=[gs.routes.Surrogate(model)], **line
        )
        out[f"gradients_{name}_surrogate"].attrs["held_out_error"] = model["held_out_error"].mean("member").values
    return out


def _lines(data: Datasets, name: str) -> list[tuple[str, xr.Dataset]]:
    """Each route of a line with the dataset it is in, one sample."""
    one, other = (data[f"gradients_{name}{end}"].isel(sample=0) for end in ("", "_surrogate"))
    return [(str(r), one) for r in one["route"].values] + [("surrogate", other)]


def plot(data: Datasets) -> Figure:
    """Loss, gradients, what each route leaves unexplained, and the roots' leading eigenvalues, along both lines."""
    figure = Figure(figsize=(10, 11.5), layout="constrained")
    panels = figure.subplots(4, 2, sharex="col")
    for column, (name, (F, _)) in enumerate(LINES.items()):
        loss, slope, rest, modes = panels[:, column]
        one = data[f"gradients_{name}"].isel(sample=0)
        R = loss_range(one, "spectrum")
        loss.plot(one["k"], one["loss"].sel(objective="spectrum"), "k.-", lw=0.8, label="marched stop")
        certified = one["route_loss"].sel(objective="spectrum", route="implicit")
        loss.plot(one["k"], certified, "o", mfc="none", color="#1f5a8a", ms=5, label="certified root")
        loss.set(ylabel="spectrum loss")
        loss.set_title(f"({'ab'[column]}) the {name} cliff, F = {F:g}", loc="left")
        loss.legend(fontsize=7, frameon=False)
        for route, there in sorted(_lines(data, name), key=lambda pair: list(STYLES).index(pair[0])):
            at = there.sel(route=route, objective="spectrum")
            g = abs(at["gradient"].sel(parameter="k"))
            slope.plot(there["k"], g.where(g > 0, 1e-30).clip(min=1e-2), label=route, **STYLES[route])
            U = edges(there, "k", "spectrum", [route]).isel(route=0)["unexplained"]
            rest.plot(U["k"], U.clip(1e-4, 1e3), label=route, **STYLES[route])
        needed = R / float(one["k"].diff("k").mean())
        slope.axhline(needed, color="0.5", ls="--", lw=0.8)
        slope.annotate("R over one cell", (float(one["k"][0]), needed), fontsize=7, va="bottom", color="0.4")
        slope.set(yscale="log", ylabel="|dL/dk| (floor 1e-2)")
        rest.axhspan(0.25, 1e3, color="0.93", zorder=0)
        rest.set(yscale="log", ylabel="unexplained jump U (grey: inherited)")
        _modes(data[f"gradients_{name}_roots"].isel(sample=0), modes)
    panels[1, 1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _modes(roots: xr.Dataset, ax: Axes) -> None:
    """Leading growth rate of each root, filled where it is stable."""
    rate = roots["eigenvalue_real"].isel(mode=0)
    for kind, colour in ((gs.Kind.UNIFORM, "#5b7fb5"), (gs.Kind.PATTERN, "#3f8f5a"), (gs.Kind.TRIVIAL, "#b08d57")):
        for stable, fill in ((gs.Stable.YES, colour), (gs.Stable.NO, "none"), (gs.Stable.UNKNOWN, "0.8")):
            there = rate.where((roots["kind"] == kind) & (roots["stable"] == stable)).dropna("k")
            words = {gs.Stable.YES: "stable", gs.Stable.NO: "unstable", gs.Stable.UNKNOWN: "changes with its place"}
            if there.size:
                label = f"{kind.name.lower()}, {words[stable]}"
                ax.plot(there["k"], there, "o", ms=4, color=colour, mfc=fill, label=label)
    ax.axhline(0, color="k", lw=0.6)
    ax.set_yscale("symlog", linthresh=1e-6)
    ax.set_ylim(-0.1, max(1e-5, 3 * float(rate.max())))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(xlabel="k, kill rate", ylabel="leading growth rate of the root")
    ax.legend(fontsize=7, frameon=False)


def _shares(data: Datasets, objective: str, route: str) -> dict[str, float]:
    """Over both lines: cliff faces of the route's own loss and how it does at them and at the others."""
    U, cliff, foreseen, jump = [], [], [], []
    for name in LINES:
        there = dict(_lines(data, name)).get(route)
        if there is None:
            continue
        edge = edges(there, "k", objective, [route]).isel(route=0)
        good = edge["unexplained"].notnull().values
        R = loss_range(there, objective)
        U.append(edge["unexplained"].values[good])
        cliff.append(edge["route_cliff"].values[good])
        foreseen.append(edge["foreseen"].values[good] / R)
        jump.append(edge["route_jump"].values[good] / R)
    u, c, f, j = (np.concatenate(x) for x in (U, cliff, foreseen, jump))
    return {
        "edges": float(len(u)), "cliffs": float(c.sum()), "inherited": float((u[c] >= 0.25).sum()),
        "explained": float((u[c] < 0.05).sum()), "smooth": float((u[~c] < 0.05).mean()) if (~c).any() else float("nan"),
        "share": float(np.median(f[c] / j[c])) if c.any() else float("nan"),
    }  # fmt: skip


def _beside(data: Datasets, name: str) -> list[xr.Dataset]:
    """The roots on either side of the largest jump of a line's marched loss."""
    one, roots = (data[f"gradients_{name}{end}"].isel(sample=0) for end in ("", "_roots"))
    at = int(abs(edges(one, "k", "spectrum")["jump"]).argmax("k"))
    return [roots.isel(k=at), roots.isel(k=at + 1)]


def _described(root: xr.Dataset) -> str:
    kind, stable = gs.Kind(int(root["kind"])).name.lower(), gs.Stable(int(root["stable"]))
    word = {gs.Stable.YES: "stable", gs.Stable.NO: "unstable", gs.Stable.UNKNOWN: "unknown"}[stable]
    return f"{kind} at k = {float(root['k']):.5f}, leading rate {float(root['eigenvalue_real'][0]):.1e}, {word}"


def judge(data: Datasets) -> list[Claim]:
    """Per route and loss: is the cliff foreseen?"""
    claims = []
    routes = [route for route, _ in _lines(data, "right")]
    for objective in OBJECTIVES:
        for route in routes:
            row = _shares(data, objective, route)
            share = row["inherited"] / row["cliffs"] if row["cliffs"] else np.nan
            low, high = bounds(share, int(row["cliffs"]))
            claims.append(
                Claim(
                    _paper.ROUTES.get(route, _paper.OTHER_ROUTES),
                    f"Two lines in k, {route} route, {objective} loss: the cliffs are inherited. Asked here: at 95 % "
                    "of them the gradient misses the jump by a quarter of the landscape's height or more.",
                    f"misses {row['inherited']:.0f} of {row['cliffs']:.0f} on two lines, {objective}",
                    f"missed {row['inherited']:.0f} of {row['cliffs']:.0f} cliff faces (U >= 0.25), foreseen "
                    f"{row['explained']:.0f}; foreseen share of the jump, median {row['share']:.2g}; of "
                    f"{row['edges'] - row['cliffs']:.0f} other faces {row['smooth']:.0%} foreseen",
                    inherits(share, low, high),
                    f"{route} route",
                    f"{low:.0%} to {high:.0%}, one-sided 95 % each; two lines, one seed",
                    "an upper bound below 95 %",
                )
            )
    for name, (F, _) in LINES.items():
        beside = _beside(data, name)
        stable = [int(root["stable"]) for root in beside]
        claims.append(
            Claim(
                _paper.LEFT_CLIFF if name == "left" else _paper.RIGHT_CLIFF,
                f"{name.capitalize()} cliff, F = {F:g}: a steady state loses stability there. Asked here: a certified "
                "state beside the cliff is not stable.",
                f"stable on {sum(s == gs.Stable.YES for s in stable)} of 2 sides, F = {F:g}",
                " and ".join(_described(root) for root in beside),
                gs.Stable.NO in stable if gs.Stable.UNKNOWN not in stable else None,
                f"{name} cliff",
                "one F; a root a cell of this line from the cliff",
                "both roots stable",
            )
        )
    errors = {
        name: ", ".join(f"{x:.2f}" for x in np.ravel(data[f"gradients_{name}_surrogate"].attrs["held_out_error"]))
        for name in LINES
    }
    worst = max(float(x) for e in errors.values() for x in e.split(", "))
    claims.append(
        Claim(
            ours("A surrogate knows unseen states"),
            "A surrogate knows the states it was not trained on: its relative error there is below 0.1.",
            f"error {worst:.2f} at worst",
            "; ".join(f"{name} line: held-out error {e} (spectrum, mean v^2)" for name, e in errors.items()),
            worst < 0.1,
            bars=(below("largest held-out error", worst, 0.1),),
        )
    )
    return claims


STUDY = Study(
    "gradients_at_a_cliff",
    "what each route says along a line through each cliff",
    compute,
    plot,
    judge,
    caption="Two lines in k, one through each cliff. From top to bottom: the loss of the marched state and of the "
    "certified one; the size of each route's gradient, beside the slope that would foresee the cliff (dashed); what "
    "the gradients leave unexplained of each jump (grey: a cliff is missed); how fast small changes of the certified "
    "state grow, negative where it is stable.",
    alt="Four rows of line plots for two cliffs: the loss jumps, the gradients do not foresee it, and steady states "
    "on both sides are judged by their growth rate.",
)
