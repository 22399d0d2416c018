"""What every study shares: scales, the order of work, and the files it leaves."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit import provenance
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.pool import processes
from studies import _constants
from studies._claims import Claim, counts
from studies._device import device_for, on_device
from studies._record import Animation, Report, code, save

OUTPUT = Path("output")
"""Folder of the files, below the folder the studies are run in."""

SCALES = ("quick", "default", "paper")
"""quick: a look; default: the figure in minutes; paper: the paper's sizes, however long."""

STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 200}

Datasets = dict[str, xr.Dataset]
"""Datasets of a study by the name of their NetCDF file, without its ending."""


def nothing_moves(_: Datasets, __: Path) -> tuple[Animation, ...]:
    """A study whose figure is all it shows."""
    return ()


@dataclass(frozen=True)
class Study:
    """One figure or question.

    Attributes:
        name: Name on the command line and of its files.
        title: One line on what it shows.
        compute: From a scale to datasets; it stores them, and finds them again where they are stored.
        plot: From the datasets to a figure.
        judge: From the datasets to claims.
        caption: What the figure shows, panel by panel.
        alt: The figure in a sentence, for who cannot see it.
        animate: From the datasets to moving pictures, which it writes into the folder.
    """

    name: str
    title: str
    compute: Callable[[str, Path], Datasets]
    plot: Callable[[Datasets], Figure]
    judge: Callable[[Datasets], list[Claim]]
    caption: str
    alt: str
    animate: Callable[[Datasets, Path], tuple[Animation, ...]] = nothing_moves


@cache
def workers() -> Executor:
    """One pool of processes for all datasets: each of its own would import and load compiled code for ten seconds."""
    return processes()


def dismiss() -> None:
    """End the workers at once, whatever they do."""
    if workers.cache_info().currsize:
        workers().shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]
        workers.cache_clear()


def on_workers(compute: Callable[[Executor | None], xr.Dataset]) -> xr.Dataset:
    """What `compute` gives, on the workers."""
    try:
        return compute(workers())
    except BrokenExecutor:  # one was killed, for memory say: what is stored stays, and a pool that heals goes on
        dismiss()
        return compute(None)


def scanned(store: Path, **settings: Any) -> xr.Dataset:
    """A scan kept in `store`: found again, resumed, or made anew where the study or the device has changed since."""
    if (device := device_for(settings)) is not None:
        return gs.scan(store=store, overwrite=True, device=device, **settings)
    # only what is of another configuration is replaced
    return on_workers(lambda pool: gs.scan(store=store, overwrite=True, executor=pool, **settings))


def filled(store: Path, scripts: tuple[str, ...], settings: dict[str, Any], prepare: Callable[[], Job]) -> xr.Dataset:
    """A dataset of a study's own, kept as a scan is: found again, resumed, or made anew where its scripts changed."""
    device_for(None)
    every = (*scripts, _constants.__file__)
    script = hashlib.sha256(b"".join(Path(file).read_bytes() for file in every)).hexdigest()
    code = {"code": provenance.code_fingerprint(leaves=True), "script": script}
    configuration = json.loads(json.dumps({**settings, **code}))  # as a file gives it back: tuples are lists there

    def job() -> Job:
        made = prepare()
        made.frame.attrs = provenance.global_attributes(
            f"Steady states of the Gray-Scott system: {store.stem}", configuration
        )
        return made

    return on_workers(lambda pool: fill(job, configuration, store=store, overwrite=True, executor=pool))


def run(study: Study, scale: str, folder: Path, device: str | None = None) -> Report:
    """Compute, plot and judge one study, and keep its claims beside its figure.

    Args:
        study: The study.
        scale: One of `SCALES`.
        folder: Of its files.
        device: Where scans march that do no more; None is the CPU, where all else runs in any case.
    """
    print(f"\n{study.name}: {study.title}", flush=True)
    begin = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with on_device(device):
        data = study.compute(scale, folder)
    figure_file = folder / f"{study.name}.png"
    with mpl.rc_context(STYLE):
        study.plot(data).savefig(figure_file)
    animations = study.animate(data, folder)
    claims = tuple(study.judge(data))
    if bare := [c.text for c in claims if c.holds is not None and not (c.bars or c.error)]:
        raise ValueError(f"{study.name}: a test that decides must say how far from its bar it lies: {bare[0]!r}")
    report = Report(
        name=study.name,
        title=study.title,
        caption=study.caption,
        alt=study.alt,
        scale=scale,
        claims=claims,
        files=(*(f"{name}.nc" for name in data), figure_file.name),
        seconds=round(time.perf_counter() - begin, 1),
        day=dt.date.today().isoformat(),
        code=code(),
        animations=animations,
    )
    save(report, folder)
    print(f"  {report.seconds:.0f} s; {len(claims)} tests: {counts(claims)}", flush=True)
    return report
