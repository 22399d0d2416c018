"""The remedies one beside the other: what each is called, and what it recovered."""

from __future__ import annotations

from dataclasses import dataclass

from studies._common import Datasets
from studies._remedies import NONE
from studies._remedy_counts import Count, count, network_count
from studies._remedy_world import FIELDS


@dataclass(frozen=True)
class Row:
    """One remedy.

    Attributes:
        words: What it is.
        counts: What it recovered, by the initial field it marches from: of `FIELDS`, or `NONE`.
    """

    words: str
    counts: dict[str, Count]


MARCHED = (
    ("end, spectrum loss (Adam)", "end", "adam", "spectrum"),
    ("end, windowed loss (Adam)", "end", "adam", "windowed"),
    ("end, Gram loss (Adam)", "end", "adam", "gram"),
    ("end, radial spectrum and mean (Adam)", "end", "adam", "radial"),
    ("end, the same (least squares)", "end", "least squares", "radial"),
    ("end, v (Adam)", "end", "adam", "pixels"),
    ("end, v (least squares)", "end", "least squares", "pixels"),
    ("v at 500 and later, together", "late, together", "least squares", "pixels"),
    ("t moved up, end's target", "up, against the end", "least squares", "radial"),
    ("v at 100", "100", "least squares", "pixels"),
    ("v at 100, then later", "one after the other", "least squares", "pixels"),
)
"""Words, name, method and loss."""
NETWORK = (
    ("network, t at the end", "end"),
    ("network, t moved up, end's target", "up, against the end"),
    ("network, t = 100", "100"),
    ("network, t = 500", "500"),
)
STILL = (
    ("root followed, spectrum loss", "root", "followed", "spectrum"),
    ("root followed, v", "root", "followed", "pixels"),
    ("residual loss, u and v at the stop", "stop", "residual", ""),
    ("one-shot, v at the steady state", "root", "one-shot", ""),
)


def rows(data: Datasets) -> list[Row]:
    """Losses of the end, networks, supervision on the way, and what does not march."""
    runs, net = data["remedies_runs"], data["remedies_network"]
    marched = [Row(words, _counts(data, *case)) for words, *case in MARCHED]
    networks = [
        Row(words, {"known": network_count(net, schedule), "noise": network_count(net, schedule, "noise")})
        for words, schedule in NETWORK
    ]
    still = [Row(words, {NONE: c}) for words, *case in STILL if (c := count(runs, *case, NONE)) is not None]
    return [*marched[:7], *networks, *marched[7:], *still]


def _counts(data: Datasets, name: str, method: str, objective: str) -> dict[str, Count]:
    found = {known: count(data["remedies_runs"], name, method, objective, known) for known in FIELDS}
    return {known: c for known, c in found.items() if c is not None}


def best(data: Datasets) -> Row:
    """The remedy that recovers the most with the initial field known."""
    return max((row for row in rows(data) if "known" in row.counts), key=lambda row: row.counts["known"].hits)
