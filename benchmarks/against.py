"""`python -m benchmarks.against OTHER [cases]`: is this checkout as fast as another one, a path or a git revision?

Two runs of the same case, one a checkout, follow each other on the same machine, each in a process of its own and with
the cases of its own checkout; who begins changes every round. What counts is the ratio of such a pair, ours over
theirs: what else the machine does falls on both. Printed are medians of the ratios with their spread; all numbers are
kept as JSON, with machine, versions and commits. Ends with 1 where a median is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.__main__ import ROOT, machine, once

RESULT = Path(__file__).with_name("against.json")
MAIN = (
    "forward_ours",
    "forward_ours_float64",
    "forward_ours_tested",
    "batch_one_thread",
    "gradient_ours",
    "gradient_ours_float64",
    "gradient_ours_tangents",
    "root_and_implicit_gradient",
)
"""Cases compared where none are named."""

MORE = ("batch_two_threads", "batch_uneven", "first_call", "grids")
"""Cases that can be named besides: all their numbers are times."""

Numbers = dict[str, float]


@dataclass(frozen=True)
class Ratio:
    """What the paired runs of one number say.

    Attributes:
        middle: Median of ours over theirs.
        least: Least ratio.
        largest: Largest ratio.
    """

    middle: float
    least: float
    largest: float

    def verdict(self, limit: float) -> str:
        """Whether we are slower by more than `limit` per cent; where the pairs disagree about it, that too."""
        bound = 1 + limit / 100
        said = "slower" if self.middle > bound else "within the limit"
        return said if (self.least > bound) == (self.largest > bound) else f"{said}, pairs disagree"


def ratios(pairs: Sequence[tuple[Numbers, Numbers]]) -> dict[str, Ratio]:
    """Ours over theirs, of the case's own number (`seconds`) or, where it has none, of all that both know."""
    known = set.intersection(*(set(numbers) for pair in pairs for numbers in pair))
    out = {}
    for name in ["seconds"] if "seconds" in known else sorted(known):
        each = [ours[name] / theirs[name] for ours, theirs in pairs]
        out[name] = Ratio(median(each), min(each), max(each))
    return out


def paired(
    other: Path, cases: Sequence[str], rounds: int
) -> tuple[dict[str, list[tuple[Numbers, Numbers]]], dict[str, str]]:
    """Numbers of the cases, ours and theirs, a pair a round; and why cases were left out."""
    found: dict[str, list[tuple[Numbers, Numbers]]] = {}
    left_out: dict[str, str] = {}
    for n in range(rounds):
        for case in cases:
            if case in left_out:
                continue
            order = (ROOT, other) if n % 2 == 0 else (other, ROOT)
            got = [once(case, checkout) for checkout in order]
            failed = [f"{place}: {why}" for place, why in zip(order, got, strict=True) if isinstance(why, str)]
            if failed:
                left_out[case] = "; ".join(failed)
                found.pop(case, None)
                print(f"round {n + 1} {case}: left out ({left_out[case]})", flush=True)
                continue
            first, second = (numbers for numbers in got if not isinstance(numbers, str))
            found.setdefault(case, []).append((first, second) if n % 2 == 0 else (second, first))
            shown = ratios(found[case][-1:])
            print(f"round {n + 1} {case}: " + ", ".join(f"{k} {r.middle:.3f}" for k, r in shown.items()), flush=True)
    return found, left_out


def commit(checkout: Path) -> str:
    """Commit of a checkout, and whether files differ from it."""
    try:
        told = [
            subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told[0].strip() + (" with changes" if told[1].strip() else "")


@contextmanager
def checked_out(other: str) -> Iterator[Path]:
    """The other checkout: a folder as it is, or a git revision in a worktree that is taken away afterwards.

    Raises:
        ValueError: It is neither.
    """
    path = Path(other).expanduser()
    if path.is_dir():
        if not (path / "benchmarks" / "cases.py").is_file():
            raise ValueError(f"OTHER must be a checkout of gsimplicit with its benchmarks, got {other!r}")
        yield path.resolve()
        return
    git = ["git", "-C", str(ROOT)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "other"
        done = subprocess.run(
            [*git, "worktree", "add", "--detach", str(place), other], capture_output=True, text=True, check=False
        )
        if done.returncode or not place.is_dir():
            raise ValueError(f"OTHER must be a folder or a revision of git, got {other!r}: {done.stderr.strip()}")
        try:
            yield place.resolve()
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(place)], capture_output=True, check=False)


def main(words: Sequence[str] | None = None) -> int:
    """Run the pairs, print the ratios, keep the result; 1 where we are slower by more than the limit."""
    parser = argparse.ArgumentParser(prog="benchmarks.against", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", metavar="OTHER", help="path of another checkout, or a git revision")
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(MAIN)} (all by default), {MORE}")
    parser.add_argument("--rounds", type=int, default=5, help="pairs a case, >= 1")
    parser.add_argument("--limit", type=float, default=3.0, help="per cent by which we may be slower, >= 0")
    parser.add_argument("--output", type=Path, default=RESULT, help="where the JSON goes")
    given = parser.parse_intermixed_args(words)
    unknown = [case for case in given.cases if case not in MAIN + MORE]
    if unknown:
        parser.error(f"not compared: {unknown}; cases are {', '.join(MAIN + MORE)}")
    if given.rounds < 1 or not given.limit >= 0:
        parser.error(f"--rounds must be >= 1 and --limit >= 0, got {given.rounds} and {given.limit}")
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    try:
        with checked_out(given.other) as other:
            commits = {"ours": commit(ROOT), "theirs": commit(other)}
            found, left_out = paired(other, given.cases or MAIN, given.rounds)
    except ValueError as error:
        parser.error(str(error))
    judged = {case: ratios(pairs) for case, pairs in found.items()}
    print(f"\nours ({commits['ours']}) over theirs ({commits['theirs']}), load before {load}")
    print(f"median of {given.rounds} pairs (least .. largest), limit {given.limit:g} %")
    for case, numbers in judged.items():
        for name, r in numbers.items():
            shown = f"{case}, {name}" if name != "seconds" else case
            print(f"  {shown:40s} {r.middle:7.3f} ({r.least:.3f} .. {r.largest:.3f})  {r.verdict(given.limit)}")
    kept = {
        "machine": machine(),
        "load": load,
        "commits": commits,
        "rounds": given.rounds,
        "limit": given.limit,
        "ratios": {case: {name: vars(r) for name, r in numbers.items()} for case, numbers in judged.items()},
        "cases": {c: [{"ours": ours, "theirs": theirs} for ours, theirs in pairs] for c, pairs in found.items()},
        "left_out": left_out,
    }
    given.output.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"kept in {given.output}")
    slower = any(r.middle > 1 + given.limit / 100 for numbers in judged.values() for r in numbers.values())
    return int(slower or not judged)


if __name__ == "__main__":
    sys.exit(main())
