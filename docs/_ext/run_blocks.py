"""Run the Python blocks of the pages, and compare what they print with the text block that follows.

A page is run from top to bottom, with names of its own, in an empty folder; two processes share the pages. A fenced
block ``python`` runs; a fenced block ``text`` right after it is what it must print. In such a text three dots stand
for anything, white space counts as one space, and a number with a decimal point is met within half a unit of its last
digit. A block after the comment ``<!-- not run: why -->`` is left out. What differs is a warning, so that a build with
``-W`` fails.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

_FENCE = re.compile(
    r"(?P<skip><!-- not run:[^\n]*-->\n\n?)?^```python\n(?P<code>.*?)^```\n(?:\n?^```text\n(?P<want>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ANY_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"

_LONGEST = 600
"""Seconds after which a page's process is ended."""

_CHILD = """
import contextlib, io, json, os, sys, tempfile, time, traceback
import matplotlib
matplotlib.use("Agg")
for page, blocks in json.load(sys.stdin):
    space, out, begin = {"__name__": "__main__"}, [], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for at, code in blocks:
            printed, wrong = io.StringIO(), None
            try:
                with contextlib.redirect_stdout(printed):
                    exec(compile(code, f"{page}:{at}", "exec"), space)
            except BaseException:
                wrong = traceback.format_exc()
            out.append((printed.getvalue(), wrong))
            if wrong:
                break
        os.chdir("/")
    sys.__stdout__.write(json.dumps([page, out, time.perf_counter() - begin]) + "\\n")
    sys.__stdout__.flush()
"""


@dataclass(frozen=True)
class Block:
    """A block of a page: its first line's number, its code, and what it must print, if the page says so."""

    line: int
    code: str
    want: str | None


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page that run."""
    return [
        Block(text[: m.start("code")].count("\n") + 1, m["code"], m["want"])
        for m in _FENCE.finditer(text)
        if not m["skip"]
    ]


def same(want: str, got: str) -> bool:
    """Whether what was printed is what the page says."""
    parts, numbers = [], []
    for word in re.split(rf"(\.\.\.|{_NUMBER}|\s+)", want.strip()):
        if word == "...":
            parts.append(".*?")
        elif word.isspace():
            parts.append(r"\s+")
        elif re.fullmatch(_NUMBER, word):
            parts.append(_ANY_NUMBER)
            numbers.append(word)
        else:
            parts.append(re.escape(word))
    found = re.fullmatch("".join(parts), got.strip(), re.DOTALL)
    return found is not None and all(
        abs(float(a) - float(b)) <= _half_unit(a) for a, b in zip(numbers, found.groups(), strict=True)
    )


def _half_unit(number: str) -> float:
    digits, _, power = number.lower().partition("e")
    return 0.5000001 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _run(pages: list[Path]) -> list[tuple[Path, list[tuple[int, str]], float]]:
    """Run pages one after the other; of each what went wrong, as lines and words, and the seconds it took."""
    blocks = {str(page): blocks_of(page.read_text()) for page in pages}
    given = json.dumps([(page, [(b.line, b.code) for b in these]) for page, these in blocks.items()])
    env = {**os.environ, "PYTHONPATH": str(ROOT.parent)}
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=given,
            capture_output=True,
            text=True,
            env=env,
            check=False,
            timeout=_LONGEST,
        )
        told, ended = child.stdout, f"its process ended with {child.returncode}: {child.stderr[-2000:]}"
    except subprocess.TimeoutExpired as error:
        told, ended = (error.stdout or b"").decode(), f"its blocks were not through after {_LONGEST} s"
    answers = {page: (out, seconds) for page, out, seconds in map(json.loads, told.splitlines())}
    return [
        (page, *((_wrong(blocks[str(page)], *answers[str(page)])) if str(page) in answers else ([(0, ended)], 0.0)))
        for page in pages
    ]


def _wrong(
    blocks: list[Block], out: list[tuple[str, str | None]], seconds: float
) -> tuple[list[tuple[int, str]], float]:
    found = []
    for block, (printed, error) in zip(blocks, out, strict=False):
        if error:
            found.append((block.line, f"the block fails:\n{error}"))
        elif block.want is not None and not same(block.want, printed):
            found.append((block.line, f"the block prints\n{printed}where the page says\n{block.want}"))
    return found, seconds


ROOT = Path(__file__).parents[1]


def run_pages(app: Any) -> None:
    """Run all pages that are asked for, two at a time; `-D run_pages=` asks for none."""
    from sphinx.util import logging  # not at the top: the tests read this file without sphinx

    log = logging.getLogger(__name__)
    pages = [ROOT / f"{name}.md" for name in app.config.run_pages if name]
    with ThreadPoolExecutor(2) as pool:
        for path, wrong, seconds in chain.from_iterable(pool.map(_run, [pages[::2], pages[1::2]])):
            log.info("ran the blocks of %s in %.0f s", path.name, seconds)
            for line, text in wrong:
                log.warning("%s", text, location=f"{path}:{line}")


def setup(app: Any) -> dict[str, Any]:
    """Register with sphinx."""
    app.add_config_value("run_pages", [], "env")
    app.connect("builder-inited", run_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
