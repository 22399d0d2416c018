"""What every study shares: scales, claims, the order of work, and the files it leaves."""

from __future__ import annotations

import hashlib
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

OUTPUT = Path("output")
"""Folder of the files, below the folder the studies are run in."""

SCALES = ("quick", "default", "paper")
"""quick: a look; default: the figure in minutes; paper: the paper's sizes, however long."""

STYLE = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 200}

Datasets = dict[str, xr.Dataset]
"""Datasets of a study by the name of their NetCDF file, without its ending."""


@dataclass(frozen=True)
class Claim:
    """A claim and what was found.

    Attributes:
        text: What is claimed, by the paper (with its section) or by us.
        found: What was found, in numbers.
        holds: True reproduced, False refuted, None undecided here.
        topic: What it decides in the verdict, "H1" say, or "implicit route".
        error: How far the numbers may be off; with a topic.
        refuted_by: What would have refuted it; with a topic.

    Raises:
        ValueError: A claim that decides something does not say how sure it is, or what would have refuted it.
    """

    text: str
    found: str
    holds: bool | None
    topic: str = ""
    error: str = ""
    refuted_by: str = ""

    def __post_init__(self) -> None:
        if self.topic and not (self.error and self.refuted_by):
            raise ValueError(f"error and refuted_by must be given for a claim on {self.topic}: {self.text!r}")

    @property
    def verdict(self) -> str:
        """One word on the claim."""
        return {True: "reproduced", False: "refuted", None: "undecided"}[self.holds]


@dataclass(frozen=True)
class Study:
    """One figure or question.

    Attributes:
        name: Name on the command line and of its files.
        title: One line on what it shows.
        compute: From a scale to datasets; it stores them, and finds them again where they are stored.
        plot: From the datasets to a figure.
        judge: From the datasets to claims.
    """

    name: str
    title: str
    compute: Callable[[str, Path], Datasets]
    plot: Callable[[Datasets], Figure]
    judge: Callable[[Datasets], list[Claim]]


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
    """A scan kept in `store`: found again, resumed, or made anew where the study has changed since."""
    # only what is of another configuration is replaced
    return on_workers(lambda pool: gs.scan(store=store, overwrite=True, executor=pool, **settings))


def filled(store: Path, scripts: tuple[str, ...], settings: dict[str, Any], prepare: Callable[[], Job]) -> xr.Dataset:
    """A dataset of a study's own, kept as a scan is: found again, resumed, or made anew where its scripts changed."""
    script = hashlib.sha256(b"".join(Path(file).read_bytes() for file in scripts)).hexdigest()
    code = {"code": provenance.code_fingerprint(leaves=True), "script": script}
    configuration = {**settings, **code}

    def job() -> Job:
        made = prepare()
        made.frame.attrs = provenance.global_attributes(
            f"Steady states of the Gray-Scott system: {store.stem}", configuration
        )
        return made

    return on_workers(lambda pool: fill(job, configuration, store=store, overwrite=True, executor=pool))


@dataclass(frozen=True)
class Report:
    """What a study left: its claims, files and seconds."""

    study: Study
    claims: list[Claim]
    files: list[Path]
    seconds: float


def run(study: Study, scale: str, folder: Path) -> Report:
    """Compute, plot and judge one study, and print its claims."""
    print(f"\n{study.name}: {study.title}", flush=True)
    begin = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    data = study.compute(scale, folder)
    figure_file = folder / f"{study.name}.png"
    with mpl.rc_context(STYLE):
        study.plot(data).savefig(figure_file)
    claims = study.judge(data)
    for claim in claims:
        print(f"  {claim.verdict:>10}: {claim.text}\n{'':12}found: {claim.found}")
    seconds = time.perf_counter() - begin
    print(f"  {seconds:.0f} s", flush=True)
    return Report(study, claims, [*(folder / f"{name}.nc" for name in data), figure_file], seconds)


def verdict(reports: list[Report]) -> str:
    """What the claims decide together, by topic: routes, cliffs and hypotheses."""
    topics: dict[str, list[Claim]] = {}
    for claim in (c for r in reports for c in r.claims if c.topic):
        topics.setdefault(claim.topic, []).append(claim)
    lines = []
    for topic in sorted(topics):
        claims = topics[topic]
        states = {c.holds for c in claims}
        words = {True: "confirmed", False: "refuted", None: "open"}
        state = words[states.pop()] if len(states) == 1 else "in part"
        lines.append(f"{topic}: {state}" if topic.startswith("H") else f"{topic}:")
        for c in claims:
            answer = "yes" if c.holds else "open" if c.holds is None else "no"
            lines += [f"    {answer}: {c.text}", f"        found: {c.found}"]
            lines += [f"        uncertainty: {c.error}", f"        refuted by: {c.refuted_by}"]
    return "\n".join(["", "verdict", "=" * 100, *lines]) if lines else ""


def closing_table(reports: list[Report], scale: str) -> str:
    """All claims of all studies, with verdicts and files."""
    lines = ["", "claims, what was found, and verdicts", "=" * 100]
    for report in reports:
        lines.append(f"{report.study.name}: {report.study.title} ({report.seconds:.0f} s)")
        for claim in report.claims:
            lines += [f"  [{claim.verdict}] {claim.text}", f"      found: {claim.found}"]
        lines.append(f"      files: {', '.join(map(str, report.files))}")
    if scale == "quick":
        lines.append("quick scale: a look on coarse grids; verdicts are those of the default scale")
    counts = {v: sum(c.verdict == v for r in reports for c in r.claims) for v in ("reproduced", "refuted", "undecided")}
    lines += ["=" * 100, ", ".join(f"{n} {v}" for v, n in counts.items())]
    return "\n".join(lines)
