"""Do the remedies of section 5.2 of arXiv 2606.11258 work? Other losses, time as an input, supervision on the way.

Each is asked to recover F and k from the same starts, Du and Dv being known: with the target's own initial field, with
its box in fresh noise, and with a box of another size. A success is an error of at most 2 % in both. All have the same
number of gradients, whatever they descend, and however many times they see.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gsimplicit.landscape.fill import Job
from studies import (
    _levenberg,
    _remedies,
    _remedy_claims,
    _remedy_figure,
    _remedy_losses,
    _remedy_methods,
    _remedy_planes,
    _remedy_surrogate,
    _remedy_world,
)
from studies._common import Datasets, Study, filled
from studies._remedy_world import World

WORLDS = {"quick": World(32, 7, 600, 1), "default": World(48, 8, 3000, 8), "paper": World(128, 10, 16_000, 50)}
TIMES = {
    "quick": (50, 100, 300),
    "default": (25, 50, 100, 150, 200, 300, 400, 500, 700, 1000, 2000),
    "paper": (25, 50, 100, 150, 200, 300, 400, 500, 700, 1000, 2000, 4000, 8000),
}
"""Times of supervision before the end; not all methods are tried at all of them."""
TRIED = {
    "quick": (100, 300),
    "default": (50, 100, 200, 300, 500, 1000),
    "paper": (25, 50, 100, 200, 300, 500, 1000, 4000),
}
POINTS = {"quick": (3, 11, 16, 60), "default": (9, 61, 400, 2000), "paper": (25, 201, 2000, 10_000)}
"""Points a side of the plane, points along k, trajectories, and steps of the training on them."""


def scripts(name: str) -> tuple[str, ...]:
    """Files that a dataset depends on beside the library."""
    runs = (_remedies.__file__, _remedy_methods.__file__, _levenberg.__file__)
    own = {"runs": runs, "plane": (_remedy_planes.__file__,), "line": (_remedy_planes.__file__,)}
    return (_remedy_world.__file__, _remedy_losses.__file__, *own.get(name, (_remedy_surrogate.__file__,)))


def compute(scale: str, folder: Path) -> Datasets:
    """Descents, then what the landscapes look like, then the network."""
    world, (points, along, count, steps) = WORLDS[scale], POINTS[scale]
    times = [*TIMES[scale], world.last]
    seen = sorted({100, min(500, world.last // 2), world.last})
    asked = _remedies.cases(world.last, (*TRIED[scale], world.last), seen)
    out: Datasets = {}

    def kept(name: str, more: dict[str, object], job: Callable[[], Job]) -> None:
        settings = {"world": list(vars(world).values()), **more}
        out[f"remedies_{name}"] = filled(folder / f"remedies_{name}.nc", scripts(name), settings, job)

    kept("runs", {"cases": [str(c) for c in asked]}, partial(_remedies.job, world, asked))
    kept("plane", {"points": points, "times": seen}, partial(_remedy_planes.plane_job, world, points, seen))
    kept("line", {"points": along, "times": times}, partial(_remedy_planes.line_job, world, along, times))
    kept("trajectories", {"count": count}, partial(_remedy_surrogate.trajectories_job, world, count))
    rows = out["remedies_trajectories"]
    kept("network", {"count": count, "steps": steps}, lambda: _remedy_surrogate.networks_job(world, rows, steps))
    return out


STUDY = Study(
    "remedies",
    "what the remedies of section 5.2 recover, and how early supervision must be",
    compute,
    _remedy_figure.drawn,
    _remedy_claims.judge,
    caption=_remedy_figure.CAPTION,
    alt=_remedy_figure.ALT,
)
