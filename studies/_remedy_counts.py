"""How many starts a remedy recovers, and whether that is half of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from studies._bars import Bar, at_least
from studies._constants import TRUTH
from studies._remedies import CLOSE, NONE, errors
from studies._remedy_methods import ENDS
from studies._shares import bounds

HALF = (
    "half of the starts or more come within 2 % in F and k: yes where the lower bound of the share is above a half, no "
    "where the upper one is below, bounds one-sided 95 %"
)
"""The rule of all, fixed before the first run of this study; probes of ours had been run before."""


@dataclass(frozen=True)
class Count:
    """What a remedy recovered.

    Attributes:
        hits: Starts within `CLOSE` in F and k.
        of: Starts.
        median: Median of the larger error of the two.
        seconds: Seconds of processor time a start, median; NaN where they are not told apart.
        gradients: Derivatives of the loss a start, median; NaN where they are not counted.
    """

    hits: int
    of: int
    median: float
    seconds: float
    gradients: float = float("nan")

    @property
    def share(self) -> float:
        """Hits by starts."""
        return self.hits / self.of

    @property
    def words(self) -> str:
        """Hits, one-sided 95 % bounds of their share, and the median error."""
        low, high = bounds(self.share, self.of)
        spent = f", {self.seconds:.1f} s" if np.isfinite(self.seconds) else ""
        return f"{self.hits} of {self.of} ({low:.0%} to {high:.0%}; median error {self.median:.2g}{spent})"

    @property
    def short(self) -> str:
        """Hits and the bounds."""
        low, high = bounds(self.share, self.of)
        return f"{self.hits} of {self.of} ({100 * low:.0f} to {high:.0%})".replace("%", " %")

    @property
    def bar(self) -> Bar:
        """Half of all starts, and the bounds of their share."""
        return at_least("share of the starts", self.share, 0.5, bounds(self.share, self.of))

    @property
    def half(self) -> bool | None:
        """Whether half of all starts are recovered; None where the bounds hold one half."""
        low, high = bounds(self.share, self.of)
        return True if low > 0.5 else False if high < 0.5 else None


def place(runs: xr.Dataset, name: str, method: str, objective: str, known: str) -> np.ndarray:
    """Number of a case, shape (1,); nothing where it was not tried."""
    asked = {"name": name, "method": method, "objective": objective, "known": known}
    return np.flatnonzero(np.logical_and.reduce([runs[key].values == value for key, value in asked.items()]))


def count(runs: xr.Dataset, name: str, method: str, objective: str, known: str) -> Count | None:
    """What a case recovered; None where it was not tried."""
    at = place(runs, name, method, objective, known)
    if not len(at):
        return None
    worst = errors(runs).isel(case=at[0]).values
    seconds, gradients = (float(np.median(runs[x].isel(case=at[0]).values)) for x in ("seconds", "gradients"))
    return Count(int((worst < CLOSE).sum()), len(worst), float(np.median(worst)), seconds, gradients)


def of_case(runs: xr.Dataset, name: str, method: str, objective: str, known: str = "known") -> Count:
    """The same for a case that is tried at every scale."""
    found = count(runs, name, method, objective, known)
    assert found is not None, (name, method, objective, known)
    return found


def endings(runs: xr.Dataset, name: str, method: str, objective: str) -> str:
    """How the runs of a case that does not march ended: "6 no pattern at the start, 2 misfit"."""
    (at,) = place(runs, name, method, objective, NONE)
    ended = runs["ended"].isel(case=at).values
    told = [f"{int((ended == n).sum())} {words}" for n, words in enumerate(ENDS) if (ended == n).any()]
    none = int(np.isnan(ended).sum())
    return ", ".join([*told, *([f"{none} no certified state"] if none else [])])


def of_times(runs: xr.Dataset, method: str, objective: str, known: str) -> list[tuple[int, Count]]:
    """Counts by the time of supervision, where that is one."""
    names = {str(n): int(n) for n in runs["name"].values if str(n).isdigit()} | {"end": int(runs["last"])}
    found = [(t, count(runs, name, method, objective, known)) for name, t in names.items()]
    return sorted((t, c) for t, c in found if c is not None)


def by_network(net: xr.Dataset, schedule: str, drawn: str = "known", close: float = CLOSE) -> list[Count]:
    """What descents on each network recovered."""
    at = net.sel(schedule=schedule, drawn=drawn).transpose("network", "start", ...)
    worst = np.maximum(abs(at["F"].values / TRUTH[2] - 1), abs(at["k"].values / TRUTH[3] - 1))
    worst = np.where(np.isfinite(worst), worst, np.inf)
    return [Count(int((row < close).sum()), len(row), float(np.median(row)), float("nan")) for row in worst]


def network_count(net: xr.Dataset, schedule: str, drawn: str = "known") -> Count:
    """The same of the network in the middle."""
    return sorted(by_network(net, schedule, drawn), key=lambda c: c.hits)[net.sizes["network"] // 2]


def gathered(net: xr.Dataset, schedule: str, drawn: str = "known") -> str:
    """Starts that end within 0.5 % of where most do, over all networks: "20 of 24"."""
    at = net.sel(schedule=schedule, drawn=drawn)
    off = [abs(at[name] / at[name].median("start") - 1) for name in ("F", "k")]
    near = (off[0] < 0.005) & (off[1] < 0.005)
    return f"{int(near.sum())} of {near.size}"
