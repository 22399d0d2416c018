"""How many starts a remedy recovers, and whether that is half of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from studies._constants import TRUTH
from studies._remedies import CLOSE, errors
from studies._shares import bounds


@dataclass(frozen=True)
class Count:
    """What a remedy recovered.

    Attributes:
        hits: Starts within `CLOSE` in F and k.
        of: Starts.
        median: Median of the larger error of the two.
        seconds: Seconds of processor time a start, median; NaN where they are not told apart.
    """

    hits: int
    of: int
    median: float
    seconds: float

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
    def half(self) -> bool | None:
        """Whether half of all starts are recovered; None where the bounds hold one half."""
        low, high = bounds(self.share, self.of)
        return True if low > 0.5 else False if high < 0.5 else None


def count(runs: xr.Dataset, name: str, method: str, objective: str, known: str) -> Count | None:
    """What a case recovered; None where it was not tried."""
    asked = {"name": name, "method": method, "objective": objective, "known": known}
    at = np.flatnonzero(np.logical_and.reduce([runs[key].values == value for key, value in asked.items()]))
    if not len(at):
        return None
    worst = errors(runs).isel(case=at[0]).values
    seconds = float(np.median(runs["seconds"].isel(case=at[0]).values))
    return Count(int((worst < CLOSE).sum()), len(worst), float(np.median(worst)), seconds)


def of_case(runs: xr.Dataset, name: str, method: str, objective: str, known: str = "known") -> Count:
    """The same for a case that is tried at every scale."""
    found = count(runs, name, method, objective, known)
    assert found is not None, (name, method, objective, known)
    return found


def network_count(net: xr.Dataset, schedule: str, drawn: str = "known", close: float = CLOSE) -> Count:
    """What descents on the network recovered."""
    at = net.sel(schedule=schedule, drawn=drawn)
    worst = np.maximum(abs(at["F"].values / TRUTH[2] - 1), abs(at["k"].values / TRUTH[3] - 1))
    worst = np.where(np.isfinite(worst), worst, np.inf)
    return Count(int((worst < close).sum()), len(worst), float(np.median(worst)), float("nan"))
