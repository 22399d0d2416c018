"""What the trainings decide of where they go: how far, among what states, over which cliffs."""

from __future__ import annotations

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.descent import Outcome
from studies import _paper
from studies._bars import at_least, below
from studies._claims import Claim, between, ours
from studies._constants import PIVOT, PIVOT_2, START
from studies._training import worst_error
from studies._training_measures import cliff_widths

FACE = 0.015 / 24
"""Width of a face in k of `fig3` at its default scale."""
STRAY = 0.005
"""How far beyond the paper's records of k a training may be to count as near its path."""


def explored(of: dict[str, xr.Dataset]) -> list[Claim]:
    told, moves, cells, near = [], [], [], []
    for name in ("every_64", "every_1"):
        params = of[name]["params"].values
        later = np.abs(np.diff(params[1:], axis=0) / params[1:-1]).max(axis=1)
        first = float(np.abs(params[1] / params[0] - 1).max()) if len(params) > 1 else float("nan")
        moves.append(0.01 / max(float(np.median(later)), 1e-300) if len(later) else float("nan"))
        cells.append(len({(int(F / FACE), int(k / FACE)) for _, _, F, k in params}))
        near.append(bool(START[3] - STRAY <= params[:, 3].min() and params[:, 3].max() <= PIVOT[3] + STRAY))
        told.append(
            f"{name}: first step {first:.0%}, then {moves[-1]:.0f} iterations for 1 % (median speed); largest raw "
            f"derivative after it {_largest(of[name]):.1e}; {cells[-1]} cells in {len(params)} iterations; k "
            f"{params[:, 3].min():.4f} to {params[:, 3].max():.4f}"
        )
    enough = len(of["every_64"]["params"]) >= 100
    speeds = [
        Claim(
            _paper.EXPLORED,
            f"The paper's start and rate, its stop tested every {often}. Asked here: after the first step it takes 100 "
            "iterations or more to change any parameter by 1 %.",
            f"{speed:.0f} iterations for 1 %",
            words,
            speed >= 100 if enough else None,
            bars=(at_least("iterations for 1 %", speed, 100),),
        )
        for often, speed, words in zip(("64 steps", "step"), moves, told, strict=True)
    ]
    like = [count for count, close in zip(cells, near, strict=True) if close]
    return [
        *speeds,
        Claim(
            _paper.EXPLORED,
            "The same two. Asked here: each searched: it has been in ten cells or more of the F-k plane, a cell as "
            f"wide as one of figure 3's faces in k ({FACE:.4f}) each way. Only a training counts whose k stays between "
            f"the paper's two records ({START[3]}, and {PIVOT[3]} after 8,918 iterations), give or take {STRAY:g}; the "
            "others are not the paper's training, and decide nothing on how far that explored. This rule was made "
            "after ours had been seen to leave.",
            f"{between(min(cells), max(cells))} cells; {len(like)} of {len(cells)} near the paper's path",
            "; ".join(told),
            min(like) >= 10 if enough and like else None,
            bars=(at_least("cells", min(like), 10),) if like else (),
        ),
    ]


def _largest(record: xr.Dataset) -> float:
    """Largest raw derivative after the first step."""
    slopes = np.abs(record["raw_gradient"].values[1:])
    return float(np.nanmax(slopes)) if np.isfinite(slopes).any() else float("nan")


def confined(of: dict[str, xr.Dataset], names: tuple[str, ...], words: str) -> Claim:
    told, away, total = [], 0, 0
    for name in names:
        kind, status = of[name]["kind"].values, of[name]["status"].values
        none = (kind != gs.Kind.PATTERN) | (status == gs.Status.UNSTEADY)
        away, total = away + int(none.sum()), total + none.size
        shares = [float(np.mean(kind == one)) for one in (gs.Kind.TRIVIAL, gs.Kind.UNIFORM, gs.Kind.PATTERN)]
        told.append(f"{name}: nothing {shares[0]:.0%}, uniform {shares[1]:.0%}, pattern {shares[2]:.0%}")
    stays = float(np.mean(of["inside_fast"]["kind"].values == gs.Kind.PATTERN))
    return Claim(
        _paper.CONFINED,
        f"States at all iterations of the trainings from the paper's start, {words}. Asked here: nine of ten are "
        "uniform, empty or had not settled.",
        f"{away / total:.1%} without a settled pattern",
        f"{away} of {total} states; {'; '.join(told)}; put among patterns at the paper's rate {stays:.0%} are patterns",
        away / total >= 0.9,
        bars=(at_least("share without a settled pattern", away / total, 0.9),),
    )


def weak(one: xr.Dataset) -> list[Claim]:
    told, noisy, strong = [], [], []
    for place in ("inside", "spots"):
        at = one["gradient"].sel(place=place, parameter="k").values
        at = at[np.isfinite(at)]
        k = {"inside": 0.06, "spots": PIVOT_2[3]}[place]
        mean, spread = float(at.mean()), float(at.std(ddof=1)) if len(at) > 1 else float("nan")
        noisy.append(spread / abs(mean) if mean else float("inf"))
        raw = mean * k * (1 - k / 0.1)  # derivative in the raw parameter
        move = abs(1.2e-2 * raw) * k * (1 - k / 0.1)
        strong.append(move / FACE)
        told.append(f"{place}: {mean:.1e}, spread {spread:.1e}, a step at 1.2e-2 is {move / FACE:.1f} faces of k long")
    return [
        Claim(
            _paper.WEAK_INSIDE,
            "Derivative in k at two patterns, one a sample. Asked here: noisy: the spread over samples is as large as "
            "half of the mean or larger, at both.",
            f"spread by mean {between(min(noisy), max(noisy), '.2g')}",
            "; ".join(told),
            all(n >= 0.5 for n in noisy) if np.isfinite(noisy).all() else None,
            bars=(at_least("lesser spread by the mean", min(noisy), 0.5),),
        ),
        Claim(
            _paper.WEAK_INSIDE,
            "The same. Asked here: weak: a step at the paper's rate changes k, to first order, by less than a face of "
            "figure 3.",
            f"{between(min(strong), max(strong), '.2g')} faces",
            "; ".join(told),
            all(s < 1 for s in strong),
            bars=(below("longer step in faces", max(strong), 1),),
        ),
    ]


def one_step(moves: xr.Dataset | None) -> Claim:
    told, narrow, seen = [], 0, 0
    for n in range(moves.sizes["move"] if moves is not None else 0):
        one = moves.isel(move=n)  # type: ignore[union-attr]
        widths = cliff_widths(one["loss"].values)
        name, length = str(one["move"].values), float(one["length"])
        if widths:
            seen, narrow = seen + 1, narrow + (min(widths) <= 0.25)
            told.append(f"{name}: narrowest cliff {min(widths):.1%} of the step, {len(widths)} met; k by {length:.4f}")
        else:
            told.append(f"{name}: no cliff met; k by {length:.4f}")
    return Claim(
        _paper.ONE_STEP,
        "The first step of each training that left a pattern or made one, and the losses along it. Asked here: it "
        "crosses a cliff no wider than a quarter of the step, at all of them.",
        f"{narrow} of {seen} such steps",
        "; ".join(told) or "no training left a pattern or made one",
        narrow == seen if seen else None,
        bars=(at_least("steps over a narrow cliff", narrow, max(seen, 1)),),
    )


def one_run(name: str, rows: dict[int, xr.Dataset], seldom: xr.Dataset) -> Claim:
    told, made, stop = [], 0, name.removeprefix("leg_")
    for seed, record in rows.items():
        at = record["params"].values
        pattern = (record["kind"].values == gs.Kind.PATTERN).any(axis=1)
        half = (at[:, 3] - PIVOT[3]) / (PIVOT_2[3] - PIVOT[3]) >= 0.5
        found = np.flatnonzero(pattern & half)[:1]
        made += len(found)
        told.append(
            f"seed {seed}: " + (_met(record, int(found[0]), int(pattern.sum())) if len(found) else _none(record))
        )
    moves = min(record.sizes["step"] for record in rows.values()) - 1
    end = seldom["params"].values[-1, 3]
    return Claim(
        _paper.ONE_RUN,
        f"Its last leg: 98 iterations at a rate of 1e-3 from the first pivot, the stop at {stop}, tested at each step. "
        "Asked here: every seed makes a pattern with k half of the way to the second pivot or further. Asked so "
        "after patterns had been seen to come about with other targets; before, the stop was tested every 64 steps "
        "only, where the derivative has died away.",
        f"{made} of {len(rows)} seeds make a pattern on the way",
        f"{'; '.join(told)}; tested every 64 steps at 5e-5: k {PIVOT[3]} to {end:.6f}, first raw derivative in k "
        f"{seldom['raw_gradient'].values[0, 3]:.1e}",
        made == len(rows) if moves >= 98 else None,
        bars=(at_least("seeds that make a pattern", made, len(rows)),),
    )


def _met(record: xr.Dataset, n: int, patterns: int) -> str:
    at = ", ".join(f"{value:.4f}" for value in record["params"].values[n])
    low = int((record["loss"].values < 200).sum())
    return (
        f"first pattern at iteration {n}, ({at}), loss {record['loss'].values[n]:.1f}; a pattern at {patterns} of "
        f"{record.sizes['step']} iterations, a loss below 200 at {low}; {_first(record)}"
    )


def _none(record: xr.Dataset) -> str:
    k = record["params"].values[:, 3]
    return f"no such pattern, k {k[0]:.4f} to {k[-1]:.4f} in {len(k) - 1} iterations; {_first(record)}"


def _first(record: xr.Dataset) -> str:
    return f"first raw derivative in k {record['raw_gradient'].values[0, 3]:.2g}"


def implicit(record: xr.Dataset) -> Claim:
    slopes = np.abs(record["raw_gradient"].values)
    slope = float(np.nanmax(slopes)) if np.isfinite(slopes).any() else float("nan")
    words = Outcome(int(record["outcome"].values[-1])).name.lower()
    return Claim(
        ours("The implicit route trains no better"),
        "The paper's start and rate, with the gradient at the certified root. Asked here: a step by it changes no raw "
        "parameter by 1e-5 or more, so that 1 % takes thousands of iterations.",
        f"largest step {1.2e-2 * slope:.1e}",
        f"largest raw derivative {slope:.1e} in {record.sizes['step'] - 1} iterations, times the rate "
        f"{1.2e-2 * slope:.1e}; what moves is the weight decay; last: {words}",
        1.2e-2 * slope < 1e-5 if np.isfinite(slope) else None,
        bars=(below("largest step", 1.2e-2 * slope, 1e-5),),
    )


def residual(record: xr.Dataset) -> Claim:
    error = worst_error(record)
    reached = int(np.argmax(error < 0.01)) if (error < 0.01).any() else -1
    return Claim(
        ours("Descent of the residual loss converges"),
        "The same start, the residual loss at the target's u and v, Adam. Asked here: all four parameters within 1 % "
        "of the truth.",
        f"{error[-1]:.1e} after {len(error) - 1} iterations; 1 % after {reached}",
        f"largest relative error {error[0]:.2f} to {error[-1]:.1e}, first below 1 % at iteration {reached}; loss "
        f"{record['loss'].values[0, 0]:.1e} to {record['loss'].values[-1, 0]:.1e}",
        bool(error[-1] < 0.01),
        bars=(below("largest error at the end", error[-1], 0.01),),
    )
