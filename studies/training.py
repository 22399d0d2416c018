"""Training as in sections 2, 3, 5.1 and appendix D of arXiv 2606.11258: does descent through the steps get anywhere?

The paper trains on 128 x 128 pixels, with eight samples a step and targets out of 512, for 8,918 iterations and more.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.plotting import class_map
from studies import _training, _training_claims, _training_measures
from studies._common import Datasets, Study, filled, scanned
from studies._constants import TRUTH
from studies._training import RUNS, ran, worst_error

SIZES = {
    "quick": {
        "grid": 64, "samples": 2, "targets": 4, "cells": 7, "points": 9, "rows": 3, "wild": 5, "residual": 300,
        "every_64": 40, "slow_64": 10, "every_1": 10, "windowed_64": 40, "implicit": 2, "inside": 1, "inside_fast": 2,
        "pivot_64": 20, "leg": 5, "visited": 1,
    },
    "default": {
        "grid": 128, "samples": 4, "targets": 16, "cells": 13, "points": 33, "rows": 8, "wild": 20, "residual": 400,
        "every_64": 300, "slow_64": 60, "every_1": 150, "windowed_64": 300, "implicit": 8, "inside": 4,
        "inside_fast": 60, "pivot_64": 98, "leg": 98, "visited": 1,
    },
    "paper": {
        "grid": 128, "samples": 8, "targets": 512, "cells": 25, "points": 65, "rows": 32, "wild": 100, "residual": 400,
        "every_64": 9016, "slow_64": 9016, "every_1": 9016, "windowed_64": 9016, "implicit": 50, "inside": 100,
        "inside_fast": 9016, "pivot_64": 98, "leg": 98, "visited": 1,
    },
}  # fmt: skip
"""Pixels a side, samples a step, targets in the pool, cells of the plane, points along a move; steps of each run."""

SCRIPTS = (_training.__file__, _training_measures.__file__)
"""What the measured datasets depend on: not on how they are drawn."""
LOOKS = {
    "every_64": ("paper's start, 1.2e-2", "#08306b", "-"),
    "windowed_64": ("same, windowed loss", "#9ecae1", "-"),
    "slow_64": ("same, 1e-4", "#d95f02", "-"),
    "every_1": ("same, each step", "#7570b3", "-"),
    "leg": ("pivot 1, each step", "#8c510a", "-"),
    "inside": ("patterns, 1e-4", "#000000", "--"),
    "inside_fast": ("patterns, 1.2e-2", "#737373", "--"),
    "implicit": ("paper's start, implicit", "#41ab5d", ":"),
    "residual": ("paper's start, residual loss", "#e7298a", "-."),
}
"""Words, colour and line of each run."""


def compute(scale: str, folder: Path) -> Datasets:
    """Descents one after the other, then what is measured along them."""
    size = SIZES[scale]
    grid, samples = size["grid"], size["samples"]
    pool = _training.targets(size["targets"], grid)
    records = {
        run: _training.trained(folder / f"training_{run.name}.nc", run, size[run.name], samples, pool) for run in RUNS
    }
    legs = {
        f"training_{_training.leg_name(tol)}": _training.last_leg(
            folder / f"training_{_training.leg_name(tol)}.nc", tol, size["leg"], pool
        )
        for tol in _training.LEG_TOLS
    }
    moves = _training_measures.moves_of(records, 4)
    jobs = {
        "gradients": partial(_training_measures.gradients_job, grid, samples),
        "adjoint": partial(_training_measures.adjoint_job, grid),
        "moves": partial(_training_measures.moves_job, moves, grid, size["points"]),
    }
    settings = {  # of JSON types: lists, no tuples
        "gradients": {"grid": grid, "samples": samples},
        "adjoint": {"grid": grid},
        "moves": {"grid": grid, "points": size["points"], "moves": [list(move) for move in moves]},
    }
    if not moves:
        del jobs["moves"]
    return {
        **{f"training_{run.name}": record for run, record in records.items()},
        **legs,
        "training_residual": _training.by_residual(folder / "training_residual.nc", grid, size["residual"]),
        **{
            f"training_{name}": _training.wild(folder / f"training_{name}.nc", guard, size["rows"], size["wild"])
            for name, guard in (("guarded", gs.Safeguards()), ("unguarded", None))
        },
        "training_plane": scanned(
            folder / "training_plane.nc",
            axes={"F": np.linspace(0.02, 0.08, size["cells"]), "k": np.linspace(0.045, 0.075, size["cells"])},
            losses=["spectrum"],
            initial=gs.initial_state(grid=(grid, grid)),
        ),
        **{f"training_{n}": filled(folder / f"training_{n}.nc", SCRIPTS, settings[n], job) for n, job in jobs.items()},
    }


def plot(data: Datasets) -> Figure:
    """Losses, where they were, adjoint norms, and how far from the truth."""
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    losses, plane, adjoint, errors = figure.subplots(2, 2).flat
    _losses(data, losses)
    _plane(data, plane)
    _adjoint(data, adjoint)
    _errors(data, errors)
    return figure


def _losses(data: Datasets, ax: Axes) -> None:
    ax.axhspan(245, 270, color="0.9", lw=0)
    ax.text(0.98, 279, "grey: paper's band", ha="right", va="center", fontsize=7, transform=ax.get_yaxis_transform())
    for name, (words, colour, line) in LOOKS.items():
        if name in ("implicit", "residual"):
            continue
        record = ran(data[_file(name)])
        ax.plot(
            record["step"] + 1, record["loss"], line, color=colour, label=words, lw=1, marker=_dot(record.sizes["step"])
        )
    ax.set(xscale="log", ylim=(0, 290), xlabel="iteration, from 1", ylabel="loss, mean of the samples")
    ax.set_title("(a) losses", loc="left")
    ax.legend(fontsize=6.5, loc="center right")


def _file(name: str) -> str:
    """Its dataset: of the last legs, that with the stop at 1e-4."""
    return f"training_{_training.leg_name(1e-4) if name == 'leg' else name}"


def _dot(steps: int) -> str | None:
    """Short runs have a mark at each step."""
    return "." if steps < 12 else None


def _plane(data: Datasets, ax: Axes) -> None:
    class_map(data["training_plane"].isel(sample=0), ax)
    for name, (_, colour, line) in LOOKS.items():
        record = _of_run(data, name)
        for width, shade in ((3, "w"), (1.2, colour)):
            ax.plot(record.sel(parameter="k"), record.sel(parameter="F"), line, color=shade, lw=width)
        ax.plot(
            record.sel(parameter="k")[-1],
            record.sel(parameter="F")[-1],
            "s",
            color=colour,
            mec="w",
            ms=5,
            clip_on=False,
        )
    ax.plot(TRUTH[3], TRUTH[2], marker="*", ms=11, mfc="w", mec="k", ls="none")
    ax.set(xlim=(-0.002, 0.104), ylim=(0.015, 0.103))
    ax.set_title("(b) where they went; squares: ends", loc="left")


def _of_run(data: Datasets, name: str):  # type: ignore[no-untyped-def]
    return ran(data[_file(name)])["params"]


def _adjoint(data: Datasets, ax: Axes) -> None:
    marks = dict(zip(_training_measures.PLACES, "osv^D", strict=True))
    words = {"start": "paper's start (uniform)", "inside": "holes (0.05, 0.06)", "pivot": "pivot 1 (nothing)",
             "spots": "pivot 2 (spots)", "visited": "visited (spots)"}  # fmt: skip
    shades = {"start": "#440154", "inside": "#31688e", "pivot": "#35b779", "spots": "#e0b000", "visited": "#d95f02"}
    one = data["training_adjoint"]
    for name, mark in marks.items():
        at = one.sel(place=name)
        ax.plot(at["back"], at["norm"], marker=mark, ms=4, color=shades[name], label=words[name], lw=1)
    ax.axhspan(1e-3, 1e3, color="0.92", lw=0)
    ax.set(xscale="log", yscale="log", xlabel="steps before the end", ylabel="norm of the adjoint, by that at the end")
    ax.set_ylim(bottom=max(1e-24, ax.get_ylim()[0]))
    ax.set_title("(c) backwards through the steps; grey: within 1,000", loc="left")
    ax.legend(fontsize=7)


def _errors(data: Datasets, ax: Axes) -> None:
    for name, (words, colour, line) in LOOKS.items():
        error = worst_error(data[_file(name)])
        ax.plot(np.arange(1, len(error) + 1), error, line, color=colour, label=words, lw=1.2, marker=_dot(len(error)))
    ax.set(xscale="log", yscale="log", xlabel="iteration, from 1", ylabel="largest relative error of Du, Dv, F, k")
    ax.set_title("(d) distance from the truth", loc="left")
    ax.legend(fontsize=7, loc="lower left")


STUDY = Study(
    "training",
    "descent through the steps, as the paper trains (sections 2, 3, appendix D)",
    compute,
    plot,
    _training_claims.judge,
    caption="(a) The loss of each training, a mean over fresh fields and random targets at every iteration; the "
    "windowed loss has a level of its own. Names give start and rate; the stop is tested every 64 steps, and "
    "at each step where the name says so. From pivot 1, the paper's, the rate is 1e-3, the stop 1e-4, the seed"
    " 100. (b) The trainings over the F-k plane; squares are their ends, the star is the truth. The kinds are "
    "those at the truth's diffusion coefficients; the trainings have others. (c) Norm of the derivative of the"
    " loss in the fields so many steps before the end, by that at the end. (d) Largest relative error of the "
    "four parameters.",
    alt="Losses that stay at one height, but for drops of one to three iterations and one that falls and stays "
    "low; lines over a map of kinds of states that leave the patterns at once; adjoint norms against steps "
    "back; and errors that stay, except that of the residual loss, which falls to 1e-5.",
)
