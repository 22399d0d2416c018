"""Run studies: `python -m studies [names] [--scale quick|default|paper] [--output folder] [--list]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from studies import basins, bifurcations, fig2, fig3, gradients_at_a_cliff, routes, steady
from studies._common import OUTPUT, SCALES, closing_table, dismiss, run, verdict

STUDIES = {
    module.STUDY.name: module.STUDY
    for module in (fig2, fig3, routes, steady, gradients_at_a_cliff, bifurcations, basins)
}


def main() -> int:
    """Run the studies asked for, print the closing table, and keep it beside the figures."""
    parser = argparse.ArgumentParser(prog="studies", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="study", help=f"any of {', '.join(STUDIES)}; all by default")
    parser.add_argument("--scale", choices=SCALES, default="default")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the files")
    parser.add_argument("--list", action="store_true", help="list the studies and stop")
    given = parser.parse_args()
    if given.list:
        for study in STUDIES.values():
            print(f"{study.name:10} {study.title}")
        return 0
    unknown = [name for name in given.names if name not in STUDIES]
    if unknown:
        parser.error(f"no study {', '.join(unknown)}: choose from {', '.join(STUDIES)}")
    folder = given.output / given.scale
    try:
        reports = [run(STUDIES[name], given.scale, folder) for name in given.names or STUDIES]
    finally:
        dismiss()
    table = closing_table(reports, given.scale) + verdict(reports)
    print(table)
    (folder / "claims.txt").write_text(table + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
