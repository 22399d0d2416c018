"""`python -m studies._remedy_table [folder]`: the table of docs/remedies.md from the datasets of a finished run.

The folder is that of a scale, `output/default` say; what is printed is to be pasted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from studies import _remedy_planes
from studies._common import Datasets
from studies._remedies import NONE
from studies._remedy_counts import by_network, count
from studies._remedy_losses import LOSSES
from studies._remedy_world import FIELDS

HEAD = ("seen", "loss", "method", *FIELDS.values(), "flat, cliffs, downhill", "gradients", "CPU seconds")
NOTHING = "-"
WORDS = {
    "one after the other": "100, then later to the end",
    "late, together": "500 and later, together",
    "up, against the end": "100, then later, against the end",
    "up, own targets": "100, then later to the end",
    "stop": "u and v of the stop",
    "root": "v of the steady state",
    "pixels": "v",
    "": "residual",
    "kept": "one-shot, kept at its start",
    "residual": "Adam",
    "adam": "Adam",
}


def lines(data: Datasets) -> list[str]:
    """The table: losses at one time, from the end on; several times; networks; what does not march."""
    runs = data["remedies_runs"]
    last = int(runs["last"])
    every = dict.fromkeys(zip(*(runs[n].values.tolist() for n in ("name", "objective", "method")), strict=True))
    cases = sorted(every, key=lambda case: _order(case, last))
    told = [_told(data, *case) for case in cases if case[0] not in ("stop", "root")]
    told += network(data["remedies_network"]) if "remedies_network" in data else []
    told += [_told(data, *case) for case in cases if case[0] in ("stop", "root")]
    return [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(one) for one in told)]


def _line(cells: object) -> str:
    return "| " + " | ".join(cells) + " |"  # type: ignore[arg-type]


def _order(case: tuple[str, str, str], last: int) -> tuple[int, int, int]:
    """The end first, then earlier times, then what sees several."""
    name, loss, method = case
    time = last if name == "end" else int(name) if name.isdigit() else 0
    return -time, list(LOSSES).index(loss) if loss in LOSSES else 9, method != "adam"


def _told(data: Datasets, name: str, loss: str, method: str) -> list[str]:
    """Cells of one remedy."""
    found = {known: count(data["remedies_runs"], name, method, loss, known) for known in (*FIELDS, NONE)}
    counts = [c for c in found.values() if c is not None]
    fields = [c.short if (c := found[known]) else NOTHING for known in FIELDS]
    if still := found[NONE]:
        fields = [still.short, *[NONE] * (len(FIELDS) - 1)]
    of = "residual" if method == "residual" else "none" if not loss else WORDS.get(loss, loss)
    return [
        WORDS.get(name, name), of, WORDS.get(method, method), *fields, _shape(data, name, loss),
        _spread([c.gradients for c in counts], ".0f"), _spread([c.seconds for c in counts], ".2g"),
    ]  # fmt: skip


def _shape(data: Datasets, name: str, loss: str) -> str:
    """Shares of the plane of a loss at one time: flat, faces that are cliffs, leading nearer to the truth."""
    plane = data.get("remedies_plane")
    time = int(data["remedies_runs"]["last"]) if name == "end" else int(name) if name.isdigit() else 0
    if plane is None or time not in plane["time"].values or loss not in LOSSES:
        return NOTHING
    measures = (_remedy_planes.flat_share, _remedy_planes.cliff_faces, _remedy_planes.downhill)
    shares = (measure(plane, loss, time) for measure in measures)
    return ", ".join(f"{100 * x:.0f}" for x in shares) + " %"


def _spread(values: list[float], digits: str) -> str:
    """Least to largest median of the initial fields, one number where they print alike."""
    good = [x for x in values if np.isfinite(x)]
    told = [format(x, digits) for x in (min(good), max(good))] if good else [NOTHING]
    return " to ".join(dict.fromkeys(told))


def network(net: xr.Dataset) -> list[list[str]]:
    """Descents on a network; of its loss no plane was mapped."""
    out = []
    starts, schedules = net.sizes["start"], [str(s) for s in net["schedule"].values]
    for schedule in schedules:
        each = [by_network(net, schedule, drawn) for drawn in ("known", "noise")]
        _, spent = net["seconds"].mean(["drawn", "network"]).values
        fields = [*(f"{', '.join(str(c.hits) for c in one)} of {starts}" for one in each), NOTHING]
        seconds = f"{spent / starts / len(schedules):.2g}"
        seen = WORDS.get(schedule, schedule)
        out.append([seen, "v, 16 x 16", "network", *fields, NOTHING, "600 of the network", seconds])
    return out


def main(folder: Path) -> None:
    """Print the table, and what the training of a network took."""
    names = ("runs", "plane", "network")
    data = {f"remedies_{name}": xr.load_dataset(folder / f"remedies_{name}.nc") for name in names}
    print(*lines(data), sep="\n")
    training = data["remedies_network"]["seconds"].sel(part="training").values.ravel()
    print(f"\ntraining of a network: {', '.join(f'{x:.0f}' for x in training)} CPU seconds")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/default"))
