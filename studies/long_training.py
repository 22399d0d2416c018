"""A training at the paper's size, for as long as it is left alone.

Start it by `python -m studies.long_training every_64 output/long`. Interrupt it with
Ctrl-C or a kill; the same command goes on with the same bits. `gsimplicit.partial_scan` reads what is there meanwhile.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from studies._training import RUNS, targets, trained


def main() -> None:
    """Run or resume a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=[run.name for run in RUNS])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=9_016, help="iterations (9,016)")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--targets", type=int, default=512, help="targets in the pool (512)")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    pool = targets(given.targets, 128)
    (run,) = (run for run in RUNS if run.name == given.run)
    trained(given.folder / f"{given.run}.nc", run, given.steps, given.samples, pool)


if __name__ == "__main__":
    main()
