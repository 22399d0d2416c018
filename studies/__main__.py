"""Run studies: `python -m studies [names] [--scale quick|default|paper] [--output DIR] [--device cuda] [--list]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from gsimplicit.arrays import as_device
from gsimplicit.checks import meant
from studies import _page, _text
from studies._common import OUTPUT, SCALES, Study, dismiss, run
from studies._names import ORDER
from studies._record import load

STUDIES: dict[str, Study] = {name: import_module(f"studies.{name}").STUDY for name in ORDER}


def main(words: Sequence[str] | None = None) -> int:
    """Run the studies asked for, leave a page and a list of all claims, and print a screenful."""
    parser = argparse.ArgumentParser(prog="studies", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="study", help=f"any of {', '.join(STUDIES)}; all by default")
    parser.add_argument("--scale", choices=SCALES, default="default")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the files")
    parser.add_argument("--device", help="where scans march that do no more, for example cuda; the CPU by default")
    parser.add_argument("--list", action="store_true", help="list the studies and stop")
    given = parser.parse_args(words)
    if given.list:
        for study in STUDIES.values():
            print(f"{study.name:20} {study.title}")
        return 0
    for name in given.names:
        if name not in STUDIES:
            parser.error(f"no study {name}: choose from {', '.join(STUDIES)}{meant(name, STUDIES)}")
    try:
        as_device(given.device)
    except ValueError as error:
        parser.error(str(error))
    folder = given.output / given.scale
    try:
        reports = [run(STUDIES[name], given.scale, folder, given.device) for name in given.names or STUDIES]
    finally:
        dismiss()
    there = load(folder, STUDIES)  # those of earlier runs as well
    (folder / "claims.txt").write_text(_text.full(there) + "\n", encoding="utf-8")
    (folder / "index.html").write_text(_page.page(there, folder), encoding="utf-8")
    print(_text.screen(reports))
    print(f"all numbers: {folder / 'claims.txt'}; with figures: {folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
