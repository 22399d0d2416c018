"""What a study leaves of its claims: one JSON file beside its figure, from which every page and list is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gsimplicit import files, provenance
from studies import _bars
from studies._claims import OURS, Claim, Line, Statement, lines
from studies._paper import TESTED

ENDING = ".claims.json"


@dataclass(frozen=True)
class Animation:
    """A moving picture beside a study's figure.

    Attributes:
        file: Name of its GIF file, in the folder of the figure.
        caption: What it shows.
        alt: The same in a sentence, for who cannot see it.
    """

    file: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Report:
    """A study that was run.

    Attributes:
        name: Name of the study.
        title: One line on what it shows.
        caption: What its figure shows, panel by panel.
        alt: The figure in a sentence, for who cannot see it.
        scale: Scale it was run at.
        claims: Its claims.
        files: Names of its files in its folder; the last one is the figure.
        seconds: What this run took; less where datasets were there already.
        day: The day, as 2026-06-30.
        code: Fingerprint of the package and the studies.
        animations: Moving pictures beside the figure.
    """

    name: str
    title: str
    caption: str
    alt: str
    scale: str
    claims: tuple[Claim, ...]
    files: tuple[str, ...]
    seconds: float
    day: str
    code: str
    animations: tuple[Animation, ...] = ()

    @property
    def figure(self) -> str:
        """Name of the figure's file."""
        return self.files[-1]

    @property
    def larger(self) -> str:
        """The command that runs it at the next larger scale."""
        scale = {"quick": "default", "default": "paper"}.get(self.scale, self.scale)
        return f"python -m studies {self.name} --scale {scale}"


@cache
def code() -> str:
    """Fingerprint of the package and the studies as they are now."""
    found = hashlib.sha256(provenance.code_fingerprint(leaves=True).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def save(report: Report, folder: Path) -> Path:
    """Write a report beside its figure, whole or not at all."""
    path = folder / f"{report.name}{ENDING}"
    files.write(path, json.dumps(asdict(report), indent=1, default=bool).encode())  # a numpy truth is one
    return path


def load(folder: Path, order: Iterable[str] = ()) -> list[Report]:
    """The reports in a folder, those of `order` first and in that order.

    Raises:
        FileNotFoundError: There are none.
    """
    there = {path.name.removesuffix(ENDING): path for path in sorted(folder.glob(f"*{ENDING}"))}
    if not there:
        raise FileNotFoundError(f"no study was run in {folder}: `python -m studies --scale quick` runs all")
    names = [name for name in order if name in there]
    return [_read(there[name]) for name in [*names, *(n for n in there if n not in names)]]


def _read(path: Path) -> Report:
    given: dict[str, Any] = json.loads(path.read_text())
    claims = tuple(map(_claim, given.pop("claims")))
    animations = tuple(Animation(**a) for a in given.pop("animations", ()))
    return Report(**{**given, "claims": claims, "files": tuple(given["files"]), "animations": animations})


def _claim(given: dict[str, Any]) -> Claim:
    bars = tuple(map(_bars.read, given.get("bars", ())))
    return Claim(**{**given, "about": Statement(**given["about"]), "bars": bars})


def statements(reports: Iterable[Report]) -> tuple[list[Line], list[Line]]:
    """The paper's statements in the paper's order, and our own in the studies' order."""
    every = lines((r.name, c) for r in reports for c in r.claims)
    place = {about: n for n, about in enumerate(TESTED)}
    paper = sorted((x for x in every if x.about.source != OURS), key=lambda x: place.get(x.about, len(place)))
    return paper, [x for x in every if x.about.source == OURS]
