"""The one training of ours that was as long as the paper's, kept as a table: what it decides, and what it cannot."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studies import _paper
from studies._bars import above, at_least
from studies._claims import Claim
from studies._constants import TRUTH

TABLE = Path(__file__).with_name("iterations_9016.csv")
"""Made by `python -m studies.long_training every_64 output/long --targets 64`."""
WORDS = (
    "A record kept in studies/iterations_9016.csv, not computed in this run: the paper's start and rate, 9,016 "
    "iterations at 128 x 128 pixels, eight samples, 64 targets and not 512, the stop tested every 64 steps. Its first "
    "step takes k to 0.0999, where the paper's training was at 0.0682 after 8,918 iterations; so it is not that one."
)
"""What it is, for each claim that rests on it."""


@dataclass(frozen=True)
class LongRecord:
    """Losses and ends of the long training.

    Attributes:
        loss: At each iteration, the first one before any step; shape (9017,).
        end: Du, Dv, F, k at the last; shape (4,).
    """

    loss: np.ndarray[tuple[int], np.dtype[np.float64]]
    end: np.ndarray[tuple[int], np.dtype[np.float64]]


def long_record() -> LongRecord:
    """The table, read."""
    with TABLE.open() as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    return LongRecord(
        np.array([float(row["loss"]) for row in rows]), np.array([float(rows[-1][n]) for n in ("Du", "Dv", "F", "k")])
    )


def no_convergence(record: LongRecord) -> Claim:
    """Whether it came near the truth."""
    error = float(np.abs(record.end / np.array(TRUTH) - 1).max())
    place = ", ".join(f"{value:.4f}" for value in record.end)
    return Claim(
        _paper.NO_CONVERGENCE,
        f"{WORDS} Asked here: it does not end with all four parameters within 5 % of the truth.",
        f"{error:.0%} off after {len(record.loss) - 1:,} iterations",
        f"ends at {place} (Du, Dv, F, k); largest relative error {error:.0%}",
        error >= 0.05,
        bars=(at_least("error at the end", error, 0.05),),
    )


def excursions(record: LongRecord) -> Claim:
    """Drops in it, as of the trainings of a run; without one it decides nothing."""
    drops = int((record.loss < 200).sum())
    return Claim(
        _paper.EXCURSIONS,
        f"{WORDS} Asked here: its loss falls below 200 somewhere. Where it does not it decides nothing on how long a "
        "drop lasts.",
        f"{drops or 'none'} in {len(record.loss) - 1:,} iterations",
        f"{drops} of {len(record.loss)} losses below 200, the least {record.loss.min():.1f}",
        None,
        bars=(at_least("drops", drops, 1),),
    )


def band(record: LongRecord, low: float, high: float) -> Claim:
    """Whether its losses stayed in the paper's band, without a trend."""
    from scipy import stats

    loss = record.loss
    inside = float(np.mean((loss >= low) & (loss <= high)))
    p = float(stats.kendalltau(np.arange(len(loss) - 1), loss[1:]).pvalue)  # the first one is where it was put
    return Claim(
        _paper.BAND,
        f"{WORDS} Asked here: nine of ten losses lie in {low:g} to {high:g}, and there is no trend (Mann-Kendall, "
        "p > 0.05).",
        f"{inside:.0%} in the band; trend p = {p:.2f}",
        f"{loss.min():.1f} to {loss.max():.1f} over {len(loss) - 1:,} iterations, {inside:.0%} in the band; "
        f"p = {p:.2g}",
        inside >= 0.9 and p > 0.05,
        bars=(at_least("share in the band", inside, 0.9), above("p of a trend", p, 0.05)),
    )
