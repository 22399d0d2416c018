"""A training at the paper's size, for as long as it is left alone: `python -m studies.long_training paper output/long`.

Interrupt it with Ctrl-C or a kill; the same command goes on with the same bits. `gsimplicit.partial_scan` reads what is
there meanwhile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from studies._training import Run, targets, trained

RUNS = {
    run.name: run
    for run in (
        Run("paper", (0.1270, 0.1269, 0.0500, 0.0501), 1.2e-2),
        Run("left", (0.16, 0.08, 0.05, 0.06), 1e-4),
        Run("pivot", (0.1285, 0.0734, 0.0429, 0.0682), 1e-3),
    )
}
"""The paper's start and rate (appendix D); a start beside the left cliff with the rate of the published code; and the
second leg of appendix D."""


def main() -> None:
    """Run or resume a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=9_016, help="iterations (9,016)")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--targets", type=int, default=512, help="targets in the pool (512)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    pool = targets(given.targets, 128)
    trained(given.folder / f"{given.run}.nc", RUNS[given.run], given.steps, given.samples, pool)


if __name__ == "__main__":
    main()
