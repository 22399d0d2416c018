"""`python -m benchmarks.explorer [--seconds 10]`: pictures a second of the explorer's page, painted by Chromium.

A server and a headless browser run beside each other, as on a user's machine; the browser draws without a GPU. Counted
are the pictures that the browser acknowledges as painted. CPU seconds are those of the server's and of the browser's
processes: on a machine that does other work too they tell more than the clock. Kept in results/explorer.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.__main__ import machine

KEPT = Path(__file__).parent / "results" / "explorer.json"
TARGET = 30
TICK = os.sysconf("SC_CLK_TCK")
FRAME = "() => window.Bokeh?.documents[0]?.get_model_by_name('painted').data.frame[0] ?? 0"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


def processes_of(root: int) -> list[int]:
    """A process and all that it started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [root]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_of(processes: list[int]) -> float:
    """CPU seconds of processes."""
    total = 0
    for one in processes:
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def painted(tab: Any, server: int, seconds: float) -> dict[str, float]:
    """Pictures painted in some seconds, by the clock and by CPU."""
    own = [one for one in processes_of(os.getpid()) if one not in (server, os.getpid())]
    before = int(tab.evaluate(FRAME)), time.perf_counter(), cpu_of([server]), cpu_of(own)
    tab.wait_for_timeout(1000 * seconds)
    after = int(tab.evaluate(FRAME)), time.perf_counter(), cpu_of([server]), cpu_of(own)
    count, clock, served, browsed = (b - a for a, b in zip(before, after, strict=True))
    return {
        "pictures_a_second": count / clock,
        "server_ms_of_cpu": 1000 * served / count,
        "browser_ms_of_cpu": 1000 * browsed / count,
        "cpu_bound": 2 * count / (served + browsed),
    }


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="benchmarks.explorer")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, >= 1")
    parser.add_argument("--grid", type=int, default=128, help="side of the fields, pixels")
    parser.add_argument("--output", type=Path, default=KEPT, help="where the JSON goes")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-u", "-m", "gsimplicit", "explore", "--grid", str(given.grid), str(given.grid)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    load = os.getloadavg()[0]
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+(?=;)", server.stdout.readline())
        assert found, "the server did not start"
        with sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path="/usr/bin/chromium", args=list(FLAGS))
            tab = browser.new_page(viewport={"width": 1200, "height": 800})
            tab.goto(found.group())
            tab.wait_for_function(f"() => ({FRAME})() > 50", timeout=120_000)
            rounds = [painted(tab, server.pid, given.seconds) for _ in range(given.rounds)]
            version = browser.version
            browser.close()
    finally:
        server.terminate()
        server.communicate()
    ends = {name: median(one[name] for one in rounds) for name in rounds[0]}
    for name, value in ends.items():
        print(f"{name:20s} {value:8.1f}  ({min(r[name] for r in rounds):.1f} .. {max(r[name] for r in rounds):.1f})")
    verdict = "met" if ends["pictures_a_second"] >= TARGET else "missed"
    print(f"target: {TARGET} pictures a second of 128 x 128 on two cores: {verdict}; load before: {load:.1f}")
    kept = {"machine": machine() | {"chromium": version}, "grid": given.grid, "load_before": load, "rounds": rounds}
    given.output.write_text(json.dumps(kept | {"median": ends}, indent=1) + "\n")
    print(f"kept in {given.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
