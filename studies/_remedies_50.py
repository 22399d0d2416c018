"""`python -m studies._remedies_50 [folder]`: what `remedies` leaves undecided with eight starts, from fifty.

The grid and the gradients are those of the default scale, the first eight starts are its own. `cases` were listed
before its run, `textures` added after it. It takes 23 minutes of processor time, can be interrupted, and prints a
table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import xarray as xr

from studies import _remedies, _remedy_table
from studies._common import Datasets, dismiss, filled
from studies._remedies import Case, at, one_after_the_other
from studies._remedy_world import FIELDS
from studies.remedies import WORLDS, scripts

STARTS = 50


def cases(last: int) -> Iterator[Case]:
    """Those of the default scale that decide something."""
    for known in ("known", "noise"):
        yield from (at(t, last, "least squares", "pixels", known) for t in (100, 500, last))
        yield at(last, last, "least squares", "radial", known)
        yield one_after_the_other(last, "pixels", known)
        yield one_after_the_other(last, "radial", known)
    yield at(100, last, "least squares", "pixels", "box")
    yield one_after_the_other(last, "pixels", "box")
    yield from (c for c in _remedies.cases(last, (), ()) if c.name in ("late, together", "up, against the end"))
    yield from (at(t, last, "adam", "pixels") for t in (500, 1000, last))
    yield from (at(last, last, "adam", loss, known) for loss in ("spectrum", "radial") for known in FIELDS)
    yield from (c for c in _remedies.still() if c.method != "followed")


def textures(last: int) -> list[Case]:
    """The Gram loss of the end in fresh noise, which takes three times as long as the others."""
    return [at(last, last, "adam", "gram", "noise")]


def compute(folder: Path) -> Datasets:
    """All runs as one dataset."""
    world, runs = replace(WORLDS["default"], starts=STARTS), []
    folder.mkdir(parents=True, exist_ok=True)
    for name, asked in (("runs", list(cases(world.last))), ("textures", textures(world.last))):
        settings = {"world": list(vars(world).values()), "cases": [str(c) for c in asked]}
        job = partial(_remedies.job, world, asked)
        runs.append(filled(folder / f"remedies_{name}.nc", scripts("runs"), settings, job))
    return {"remedies_runs": xr.concat(runs, "case")}


def main(folder: Path) -> None:
    """Compute what is not there yet, and print it."""
    try:
        data = compute(folder)
    finally:
        dismiss()
    print(*_remedy_table.lines(data), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/remedies_50"))
