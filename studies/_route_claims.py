"""What `routes` asks: where roots exist, and which cliffs each route's gradients inherit, foresee and share."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.configuration import configuration_of
from gsimplicit.landscape.cells import CellClass, axes_of, classes
from gsimplicit.landscape.cliffs import edges, flat_plateau
from gsimplicit.landscape.edge_maps import Agreement, agreement, edge_map
from studies import _paper
from studies._bars import at_least, at_most
from studies._claims import Claim, ours
from studies._common import Datasets
from studies._shares import bounds, inherits, share_bars

INHERITED, EXPLAINED = 0.25, 0.05
"""Shares of the height: a route inherits a cliff where U is so much, and explains one where it is less."""
VARIED = (0.15, 0.25, 0.35)
"""Other shares for the first of them."""
Maps = list[tuple[Any, Any]]
"""Maps of faces, one a sample."""
OBJECTIVES = ("spectrum", "windowed", "mean_square")
SHARES = (0.2, 0.25, 0.3, 0.4)
"""Thresholds of a cliff, as shares of the landscape's height."""


def samples_of(data: xr.Dataset) -> list[xr.Dataset]:
    """The samples of a scan, each a plane of its own."""
    return [data.isel(sample=n) for n in range(data.sizes["sample"])]


def _table(data: xr.Dataset, objective: str) -> dict[str, dict[str, float]]:
    """Of each route, over all samples: its cliff faces and the others, shares inherited and explained, agreement."""
    out = {}
    for route in map(str, data["route"].values):
        each = [_edges(one, objective, route) for one in samples_of(data)]
        U, forecast, cliff, lost, marched, known, inside = (np.array(part) for part in zip(*each, strict=True))
        good = cliff.any(axis=0)
        # seeds at one place are one case: each place has its share of them
        places = ((U >= INHERITED) & cliff).sum(axis=0)[good] / cliff.sum(axis=0)[good]
        other = ~cliff & ~lost
        both, either = cliff & marched & known, (cliff | marched) & known
        by_sample = [_share(u[c] >= INHERITED) for u, c in zip(U, cliff, strict=True) if c.any()] or [np.nan]
        out[route] = {
            "cliffs": int(cliff.sum()),
            "places": len(places),
            "inherited": _share(U[cliff] >= INHERITED),
            "explained": _share(U[cliff] < EXPLAINED),
            "mean": float(places.mean()) if len(places) else np.nan,
            "beyond": _share(forecast[cliff] > 1),
            "wrong": _share(forecast[cliff] < 0),
            "others": int(other.sum()),
            "smooth": _share(U[other] < EXPLAINED),
            "inside": int((other & inside).sum()),
            "smooth_inside": _share(U[other & inside] < EXPLAINED),
            "median": float(np.median(U[other])) if other.any() else np.nan,
            "agreement": float(both.sum() / either.sum()) if either.any() else np.nan,
            "marched": int((marched & ~lost).sum()),
            "there": _share(U[marched & ~lost] >= INHERITED),
            "samples": len(each),
            "least": min(by_sample),
            "most": max(by_sample),
        }
    return out


def _edges(one: xr.Dataset, objective: str, route: str) -> list[np.ndarray[Any, Any]]:
    """Of every face of a plane U, the forecast as a share of the jump, and flags.

    Flags: a cliff of the route; unknown to it; a cliff of the marched loss; known of both; between patterns.
    """
    pattern, found = classes(one) == CellClass.PATTERN, []
    for axis in axes_of(one):
        row = edges(one, axis, objective, [route]).isel(route=0)
        forecast = row["foreseen"] / row["route_jump"].where(row["route_jump"] != 0)
        ends = [pattern.isel({axis: end}).values for end in (slice(None, -1), slice(1, None))]
        lost = row["route_unknown"]
        names = ("route_cliff", "route_unknown", "cliff")
        found.append(
            [row["unexplained"], forecast, *(row[n] for n in names), ~lost & ~row["unknown"], ends[0] & ends[1]]
        )
    return [np.concatenate([np.ravel(x) for x in part]) for part in zip(*found, strict=True)]


def _inherited_at(data: xr.Dataset, route: str) -> list[float]:
    """Share of the spectrum loss's cliff faces that a route inherits, for each of the thresholds."""
    each = [_edges(one, "spectrum", route) for one in samples_of(data)]
    U, cliff = (np.concatenate([edge[n] for edge in each]) for n in (0, 2))
    return [_share(U[cliff] >= least) for least in VARIED]


def _share(where: np.ndarray[Any, Any]) -> float:
    return float(where.mean()) if len(where) else np.nan


def _roots(data: xr.Dataset, name: str) -> Claim:
    """How many cells of a plane have a steady or drifting state."""
    pattern = data["kind"] == gs.Kind.PATTERN
    status, moved = (data[x].sel(route="implicit") for x in ("route_status", "route_moved"))
    steady, drifting = status == gs.Status.STEADY, status == gs.Status.DRIFTING
    root = steady | drifting
    count = f"{int((root & pattern).sum())} of {int(pattern.sum())}"
    asked = next(r for r in configuration_of(data.attrs)["routes"] if r["type"] == "Implicit")
    return Claim(
        _paper.ALL_STEADY,
        f"{name}: every pattern at the paper's stop goes on to a steady state, or to one that drifts without changing "
        "its shape. The paper takes this for granted.",
        f"{count} patterns do, {name}",
        f"certified at 1e-10 within {asked['refine']['max_evaluations']} evaluations for "
        f"{count} patterns (steady "
        f"{int((steady & pattern).sum())}, drifting {int((drifting & pattern).sum())}), and for "
        f"{int((root & ~pattern).sum())} of {int((~pattern).sum())} others; patterns moved by "
        f"{float(moved.where(root & pattern).median()):.2f} (median max norm) on the way",
        bool((root | ~pattern).all()),
        bars=(at_least("patterns with a steady state", int((root & pattern).sum()), int(pattern.sum())),),
    )


def _asks_roots(data: xr.Dataset) -> bool:
    """Whether the implicit route went on from the marched state."""
    return "implicit" in data["route"] and not configuration_of(data.attrs)["share_root"]


TITLES = {
    "routes": "F-k plane",
    "routes_F_Dv": "F-Dv plane",
    "routes_64": "F-k plane of 64 x 64",
    "routes_128": "F-k plane of 128 x 128",
    "routes_shared": "F-k plane at one root",
}


def judge(data: Datasets) -> list[Claim]:
    """Where roots exist, and what each route inherits."""
    planes = {name: title for name, title in TITLES.items() if name in data}
    claims = [_roots(data[name], title) for name, title in planes.items() if _asks_roots(data[name])]
    for (name, title), objective in product(planes.items(), OBJECTIVES):
        scans = [data[name], *([data["routes_surrogate"]] if name == "routes" else [])]
        for route, row in {r: row for d in scans for r, row in _table(d, objective).items()}.items():
            claims.append(_inherited(title, objective, route, row))
    first, learned = data["routes"], data["routes_surrogate"]
    claims += _maps(first, learned)
    kind = first["kind"]
    for route in map(str, first["route"].values):
        flat = xr.concat([flat_plateau(one, "spectrum", route) for one in samples_of(first)], "sample")
        flat = flat.transpose(*kind.dims)
        counts = {
            word: (int((flat & (kind == which)).sum()), int((kind == which).sum()))
            for word, which in (("trivial", gs.Kind.TRIVIAL), ("uniform", gs.Kind.UNIFORM))
        }
        none, of = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
        claims.append(
            Claim(
                _paper.NO_SIGNAL,
                f"{route} route: plateaus give no gradient signal. Asked here: over 95 % of the points without a "
                "pattern the gradient foresees a change of less than 0.1 % of the height from one cell to the next.",
                f"none at {_counted(counts)}, {route}",
                " and ".join(f"{n} of {m} {word}" for word, (n, m) in counts.items()) + " points",
                none >= 0.95 * of,
                bars=(at_least("points without a signal", none, 0.95 * of),),
            )
        )
    return claims


def _counted(counts: dict[str, tuple[int, int]]) -> str:
    return f"{sum(n for n, _ in counts.values())} of {sum(m for _, m in counts.values())} points"


def _inherited(plane: str, objective: str, route: str, row: dict[str, float]) -> Claim:
    """Whether a route inherits the cliffs of a plane; windowed losses and shared roots are beside the question."""
    low, high = bounds(row["mean"], int(row["places"]))
    between = f", {row['least']:.0%} to {row['most']:.0%} between seeds" if row["samples"] > 1 else ""
    return Claim(
        _paper.ROUTES.get(route, _paper.OTHER_ROUTES),
        f"{plane}, {route} route, {objective} loss: the cliffs are inherited. Asked here: at 95 % of them the "
        "gradient misses the jump by a quarter of the landscape's height or more (U >= 0.25).",
        f"misses {row['inherited']:.0%}, foresees {row['explained']:.0%} of {row['cliffs']}, {objective}"
        if row["cliffs"]
        else f"no cliff, {objective}",
        f"missed {row['inherited']:.0%} of {row['cliffs']} cliff faces ({row['mean']:.0%} of {row['places']} places"
        f"{between}), foreseen {row['explained']:.0%}; forecast beyond the jump on {row['beyond']:.0%}, of the wrong "
        f"sign on {row['wrong']:.0%}; of {row['others']} other faces {row['smooth']:.0%} foreseen, of the "
        f"{row['inside']} between patterns {row['smooth_inside']:.0%}, median U {row['median']:.2g}; U >= 0.25 on "
        f"{row['there']:.0%} of the marched loss's {row['marched']} cliff faces, shares {row['agreement']:.0%} of both",
        inherits(row["inherited"], low, high),
        "" if "one root" in plane else f"{route} route",
        f"{low:.0%} to {high:.0%}, one-sided 95 % each, places as cases",
        "an upper bound below 95 %",
        bars=share_bars("cliffs that are missed", row["inherited"], low, high),
    )


def _maps(data: xr.Dataset, learned: xr.Dataset) -> list[Claim]:
    """H3 over all faces, maps of different losses, routes and samples against each other, and what thresholds do."""
    samples = samples_of(data)
    maps = {o: [edge_map(one, o) for one in samples] for o in OBJECTIVES}
    marched = maps["spectrum"]
    roots = [edge_map(one, "spectrum", "route_cliff", route="implicit") for one in samples]
    kinds = [edge_map(one, "spectrum", "class_edge") for one in samples]
    by_loss = {o: _pooled(marched, maps[o]) for o in OBJECTIVES[1:]}
    own, same = _pooled(marched, roots), _pooled(marched, kinds)
    counts = [sum(int(edge_map(one, "spectrum", share=s)[0].sum()) for one in samples) for s in SHARES]
    rows = {**_table(data, "spectrum"), **_table(learned, "spectrum")}
    whole = {r: (row["inherited"] >= 0.95, row["smooth"] >= 0.95) for r, row in rows.items()}
    by_share = {r: _inherited_at(d, r) for d in (data, learned) for r in map(str, d["route"].values)}
    differ = max(max(shares) - min(shares) for shares in by_share.values())
    claims = [
        Claim(
            ours("All routes: only the cliffs missed"),
            "Every route misses 95 % of the cliff faces (U >= 0.25) and foresees 95 % of the others (U < 0.05). "
            "Spectrum loss.",
            f"{sum(a and b for a, b in whole.values())} of {len(whole)} routes do",
            ", ".join(f"{r} {row['inherited']:.0%} and {row['smooth']:.0%}" for r, row in rows.items()),
            all(a and b for a, b in whole.values()),
            "H3",
            "that of the routes below",
            "any share below 95 %",
        ),
        Claim(
            _paper.OTHER_LOSSES,
            "Another loss changes the levels, not the places. Asked here: 90 % of its cliff faces lie within a cell "
            "of the spectrum loss's.",
            ", ".join(f"{o} {a.second_within:.0%}" for o, a in by_loss.items()),
            "; ".join(
                f"{o}: {a.second_within:.0%}, and {a.first_within:.0%} of the spectrum loss's within a cell of its; "
                f"{_said(a)}"
                for o, a in by_loss.items()
            ),
            all(a.second_within >= 0.9 for a in by_loss.values()),
            "H5",
            "a cell of this plane",
            "over 10 % elsewhere",
        ),
        Claim(
            _paper.IMPLICIT,
            "The landscape of certified steady states has the cliffs of the marched one. Asked here: 90 % within one "
            "cell. The implicit route needs such states.",
            f"{own.within_one:.0%} within a cell",
            _said(own),
            own.within_one >= 0.9,
            "implicit route",
            "a cell of this plane",
            "over 10 % elsewhere",
        ),
        Claim(
            ours("Cliffs: the kind of state changes"),
            "Cliffs are where the kind of the state changes: 90 % within one cell. A check of our definition of a "
            "cliff.",
            f"{same.within_one:.0%} within a cell",
            f"{_said(same)}; with thresholds {', '.join(f'{s:g}' for s in SHARES)} of R there are "
            f"{', '.join(map(str, counts))} cliff faces",
            same.within_one >= 0.9,
            bars=(at_least("share within a cell", same.within_one, 0.9),),
        ),
        Claim(
            ours("The threshold does not matter"),
            "How many cliffs are missed does not hang on the threshold: with three of them the shares of the spectrum "
            "loss's cliffs lie within 10 % of each other.",
            f"shares differ by {differ:.0%} at most",
            f"with U of {', '.join(f'{t:g}' for t in VARIED)} or more: "
            + "; ".join(f"{r} {', '.join(f'{s:.0%}' for s in shares)}" for r, shares in by_share.items()),
            differ <= 0.1,
            bars=(at_most("largest difference of shares", differ, 0.1),),
        ),
    ]
    if len(samples) > 1:
        pairs = [_pooled(*map(list, zip(*combinations(m, 2), strict=True))) for m in (marched, roots)]
        claims.append(
            Claim(
                ours("The noise moves no cliff"),
                "Cliffs stand where they stand for every noise in the start: 90 % within one cell between samples.",
                f"{pairs[0].within_one:.0%} within a cell",
                f"marched {_said(pairs[0])}; at roots {_said(pairs[1])}",
                pairs[0].within_one >= 0.9,
                bars=(at_least("share within a cell", pairs[0].within_one, 0.9),),
            )
        )
    return claims


def _pooled(first: Maps, second: Maps) -> Agreement:
    """Agreement of several pairs of maps: faces summed, the largest distance, means of the rest."""
    each = [agreement(a, b) for a, b in zip(first, second, strict=True)]

    def mean(name: str) -> float:
        return float(np.mean([x for a in each if np.isfinite(x := getattr(a, name))] or [np.nan]))

    shares = {
        n: mean(n) for n in ("iou", "within_one", "first_within", "second_within", "hausdorff95", "kappa", "null")
    }
    largest = max((a.hausdorff for a in each if np.isfinite(a.hausdorff)), default=np.nan)
    return Agreement(first=sum(a.first for a in each), second=sum(a.second for a in each), hausdorff=largest, **shares)


def _said(a: Agreement) -> str:
    return (
        f"{a.first} and {a.second} faces, IoU {a.iou:.2f}, {a.within_one:.0%} within a cell, Hausdorff "
        f"{a.hausdorff:.1f} (95 %: {a.hausdorff95:.1f}) cells, kappa {a.kappa:.2f} (shifted copies {a.null:.2f})"
    )
