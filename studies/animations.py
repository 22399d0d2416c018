"""Animations of patterns as they form (appendices D and E of arXiv 2606.11258).

Four evolutions of the paper's one run that came near the target, side by side, and twelve values of each parameter, the
others at the truth. Frames are spaced evenly in the logarithm of the steps, so that the first growth is seen as well as
the slow end. A march that has stopped stands still.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _constants, _gif, _paper, _times
from studies._bars import at_most
from studies._claims import Claim
from studies._common import Datasets, Study, filled
from studies._constants import PIVOT, PIVOT_2, START
from studies._likeness import BAR, likeness
from studies._record import Animation

RUN = {
    "initial": START,
    "after 8,918 iterations": PIVOT,
    "after 98 more": PIVOT_2,
    "target": _constants.TRUTH,
}
"""Du, Dv, F and k of the paper's run (appendix D)."""
TRUTH = dict(zip(("Du", "Dv", "F", "k"), _constants.TRUTH, strict=True))
SWEEPS = {"k": (0.055, 0.066), "Du": (0.15, 0.25), "Dv": (0.03134, 0.083), "F": (0.030, 0.059)}
"""Ends of the sweeps (appendix E); those of F are ours."""
SIZES = {"quick": (4, 24, 3), "default": (12, 48, 4), "paper": (12, 96, 8)}
"""Values of a sweep, frames, and samples of the run's ends."""
STILLS = (0, 100, 500, 1000, 2000, 5000, 50_000)
"""Steps of the columns of the figure, as near as there are frames."""
SCRIPTS = (__file__, _times.__file__)


def times_of(frames: int) -> np.ndarray:
    """The start, then steps evenly spaced in their logarithm from 10 to the paper's cap."""
    steps = np.rint(np.geomspace(10, _times.LAST, frames - 1)).astype(int)
    return np.concatenate([[0], steps])


def compute(scale: str, folder: Path) -> Datasets:
    """A dataset of frames for the run and for each sweep, and samples of the run's states at the stop."""
    values, frames, samples = SIZES[scale]
    settings = {"frames": frames}
    out = {
        "animations_run": filled(
            folder / "animations_run.nc", SCRIPTS, settings, partial(_films, "state", list(RUN), RUN.values(), frames)
        ),
        "animations_samples": filled(
            folder / "animations_samples.nc", SCRIPTS, {"samples": samples}, partial(_samples, samples)
        ),
    }
    for name, ends in SWEEPS.items():
        along = np.linspace(*ends, values)
        params = [tuple({**TRUTH, name: float(value)}.values()) for value in along]
        file = f"animations_{name}"
        out[file] = filled(
            folder / f"{file}.nc", SCRIPTS, {**settings, "values": values}, partial(_films, name, along, params, frames)
        )
    return out


def _films(name: str, along: Any, params: Any, frames: int) -> Job:
    """Frames of every evolution along one dimension; where and how each march stopped."""
    times, every = times_of(frames), list(params)
    attrs = labels.attributes(name) if name in TRUTH else {"long_name": "parameters of the paper's run"}
    count = len(every)
    frame = xr.Dataset(
        {
            "v": (
                (name, "time", "y", "x"),
                np.zeros((count, frames, 128, 128), np.uint8),
                _words(f"v in 255ths of {_times.V_TOP}, cut at both ends; from its stop on a march stands still"),
            ),
            "steps": (name, np.zeros(count, np.int64), _words("steps until the march stopped")),
            "status": (name, np.zeros(count, np.int8), _words("how the march ended")),
        },
        {name: (name, np.array(along), attrs), "time": ("time", times, _words("steps of each frame"))},
    )
    return Job(frame, (name,), [(p, tuple(times.tolist())) for p in every], _film)


def _film(item: tuple[tuple[float, ...], tuple[int, ...]]) -> Values:
    """The frames of one evolution."""
    values, times = item
    params, start = gs.Params(*values), gs.initial_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)  # the sweep of Du ends where v diverges
        stop = gs.steady_state(params, start)
        steps = int(stop.steps[0])
        moving = [t for t in times if t < steps]
        states = [*_times.states_at(params, start, moving), *[stop.fields] * (len(times) - len(moving))]
    return {
        "v": np.stack([_times.levels(s[0, 1]) for s in states]),
        "steps": np.int64(steps),
        "status": np.int8(int(stop.status[0])),
    }


def _samples(samples: int) -> Job:
    """States at the stop of every stage of the run, from several starts."""
    frame = xr.Dataset(
        {
            "v": (
                ("state", "sample", "y", "x"),
                np.full((len(RUN), samples, 128, 128), np.nan, np.float32),
                _words("v at the stop"),
            ),
            "kind": (("state", "sample"), np.zeros((len(RUN), samples), np.int8), _words("kind of state")),
            "loss": (
                ("state", "sample"),
                np.full((len(RUN), samples), np.nan),
                _words("spectrum loss against the target from the same start"),
            ),
        },
        {
            "state": ("state", list(RUN), {"long_name": "parameters of the paper's run"}),
            "sample": ("sample", np.arange(samples), _words("index of the start")),
        },
    )
    return Job(frame, ("state", "sample"), [(p, n) for p in RUN.values() for n in range(samples)], _sample)


def _sample(item: tuple[tuple[float, ...], int]) -> Values:
    values, number = item
    start = gs.initial_state(start=number)
    stop = gs.steady_state(gs.Params(*values), start)
    target = gs.steady_state(gs.Params(*RUN["target"]), start)
    return {
        "v": stop.v[0].numpy().astype(np.float32),
        "kind": np.int8(int(stop.kind[0])),
        "loss": np.float64(gs.spectrum_loss(stop.v.to(torch.float64), target.v.to(torch.float64)).item()),
    }


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}


# figure, animations, claims


def plot(data: Datasets) -> Figure:
    """Rows: stages of the run. Columns: steps."""
    one = data["animations_run"]
    at = [int(abs(one["time"].values - t).argmin()) for t in STILLS]
    figure = Figure(figsize=(9.5, 5.2), layout="constrained")
    panels = figure.subplots(len(RUN), len(at))
    for row, (name, values) in zip(panels, RUN.items(), strict=True):
        steps = int(one["steps"].sel(state=name))
        for ax, n in zip(row, at, strict=True):
            time = int(one["time"][n])
            shown = ax.imshow(
                one["v"].sel(state=name)[n].values * (_times.V_TOP / 255), cmap="cividis", vmin=0, vmax=_times.V_TOP
            )
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if name == next(iter(RUN)):
                ax.set_title(f"{time:,} steps", fontsize=8)
            if time >= steps:
                ax.set_xlabel(_ending(one.sel(state=name)), fontsize=7)
        words = "\n".join(f"{p} = {x:g}" for p, x in zip(TRUTH, values, strict=True))
        row[0].set_ylabel(f"{name}\n{words}", rotation=0, ha="right", va="center", fontsize=8)
    figure.colorbar(shown, ax=panels, shrink=0.4, label="v", extend="max")
    return figure


def _ending(one: xr.Dataset) -> str:
    """How a march ended, in some words."""
    word = {gs.Status.SETTLED: "stopped", gs.Status.DIVERGED: "diverged"}.get(gs.Status(int(one["status"])), "cut off")
    return f"{word} at {int(one['steps']):,}"


def animate(data: Datasets, folder: Path) -> tuple[Animation, ...]:
    """The run, then a sweep of each parameter."""
    run = data["animations_run"]
    titles = [f"{name}\nDu {a:.4f}  Dv {b:.4f}\nF {c:.4f}  k {d:.4f}" for name, (a, b, c, d) in RUN.items()]
    made = [_moving(run, "state", titles, folder / "animations_run.gif", "the paper's one run (appendix D)", 4, 208)]
    for name in SWEEPS:
        one = data[f"animations_{name}"]
        values = [f"{name} = {x:.4f}" for x in one[name].values]
        words = f"{len(values)} values of {name} (appendix E)"
        made.append(_moving(one, name, values, folder / f"animations_{name}.gif", words, min(6, len(values)), 132))
    return tuple(made)


def _moving(
    one: xr.Dataset, name: str, titles: list[str], path: Path, words: str, columns: int, side: int
) -> Animation:
    """One GIF with the words that go with it."""
    times = one["time"].values
    ends = [(int(one["steps"][n]), _ending(one.isel({name: n}))) for n in range(len(titles))]
    notes = [[end if t >= steps else "" for t in times] for steps, end in ends]
    heads = [f"step {t:,}" for t in times]
    gone = (one["status"] == gs.Status.DIVERGED).values[:, None] & (times >= one["steps"].values[:, None])
    _gif.write(_gif.Film(one["v"].values, gone, titles, notes, heads, columns, side), path)
    return Animation(
        path.name,
        f"{words}, v from the start to the stop or to step {_times.LAST:,}; steps grow by a constant factor a frame.",
        f"{len(titles)} patterns of v that form side by side: {_first(titles[0])} to {_first(titles[-1])}.",
    )


def _first(title: str) -> str:
    return title.partition("\n")[0]


def judge(data: Datasets) -> list[Claim]:
    """Whether the run's last pattern looks like the target's."""
    samples = data["animations_samples"]
    target = samples["v"].sel(state="target").values
    alike = {name: likeness(target, samples["v"].sel(state=name).values) for name in RUN}
    near = alike["after 98 more"]
    shape = near.ratios[2]
    off = {p: a / b - 1 for p, a, b in zip(TRUTH, RUN["after 98 more"], RUN["target"], strict=True)}
    loss = {name: float(samples["loss"].sel(state=name).mean()) for name in RUN}
    return [
        Claim(
            _paper.ONE_RUN,
            "After 8,918 and 98 more iterations the run's pattern matches the target's. Asked here: patterns of the "
            "run's last parameters are at most 2 times as far from the target's as the target's samples are from "
            "one another, in values, wavelength and shape (means over pairs; fixed beforehand).",
            f"{near.ratio:.1f} times the target's own spread",
            f"distance over spread: {near}; "
            f"spectrum loss {', '.join(f'{n} {x:.1f}' for n, x in loss.items())}; the last parameters are off by "
            + ", ".join(f"{p} {x:+.0%}" for p, x in off.items())
            + f"; {target.shape[0]} starts",
            near.alike,
            bars=(at_most("largest distance by the target's own spread", near.ratio, BAR),),
        ),
        Claim(
            _paper.ONE_RUN,
            "The same for the shape alone, whatever the scale and the values of v: spots, stripes or holes. Asked "
            f"after we had seen that the three sides differ: at most {BAR:g} times as far.",
            f"shape alone {shape:.1f} times",
            f"distance of shapes {near.apart[2]:.2f}, spread {near.own[2]:.2f}",
            bool(shape <= BAR),
            bars=(at_most("distance of shapes by the spread", shape, BAR),),
        ),
    ]


STUDY = Study(
    "animations",
    "patterns as they form: the paper's one run and sweeps of each parameter (appendices D, E)",
    compute,
    plot,
    judge,
    caption="Each row is a stage of the paper's one run: first parameters, after 8,918 iterations, after 98 more, and "
    "the target. Each column is a number of steps from the same start; below a panel stands where the march stopped, "
    "if it had by then. The animations show the same and twelve values of each parameter.",
    alt="Four rows of patterns of v against steps. The first two stages end without a pattern, the third and the "
    "target in spots.",
    animate=animate,
)
