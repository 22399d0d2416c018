"""The documentation's gallery from a folder of results: `python -m studies._gallery output/quick docs/gallery`.

Each study becomes `<name>.md` beside its figure, in MyST; `index.md` has all verdicts. Sphinx needs `myst_parser` with
`colon_fence` among its extensions. Nothing is computed here. The site makes its gallery of `output/quick`, where a run
has left it.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from studies._bars import told
from studies._claims import Claim, Line
from studies._names import ORDER
from studies._paper import NOT_YET
from studies._record import Report, code, load, statements
from studies._text import COARSE, found, hypotheses, source


def write(results: Path, folder: Path) -> list[Path]:
    """Write the gallery of the results in a folder.

    Args:
        results: Folder a run left, `output/quick` say.
        folder: Folder for the pages and figures; made if need be, files of the same names are replaced.

    Returns:
        The pages, the index first.

    Raises:
        FileNotFoundError: No study was run there.
    """
    reports = load(results, ORDER)
    index = folder / "index.md"
    pages = studies(reports, results, folder)
    index.write_text("# Gallery\n\n" + overview(reports), encoding="utf-8")
    return [index, *pages]


def studies(reports: Sequence[Report], results: Path, folder: Path) -> list[Path]:
    """Write a page of each study beside its figure, and give their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        for file in (report.figure, *(a.file for a in report.animations)):
            shutil.copyfile(results / file, folder / file)
        (folder / f"{report.name}.md").write_text(_study(report), encoding="utf-8")
    return [folder / f"{report.name}.md" for report in reports]


def overview(reports: Sequence[Report], under: str = "") -> str:
    """All verdicts, then all figures; the studies' pages and figures lie in the folder `under`, as "gallery/"."""
    paper, own = statements(reports)
    scale = reports[0].scale
    old = [r.name for r in reports if r.code != code()]
    out = [
        "Every study with its figure, what it asks and what it found.",
        f"Made at {scale} scale: {COARSE.partition(': ')[2]}." if scale == "quick" else f"Made at {scale} scale.",
        f"Run all of them yourself: `python -m nox -s studies -- --scale {scale}`.",
        *([f"Made by an earlier state of the code: {', '.join(f'`{name}`' for name in old)}."] if old else []),
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *(under + r.name for r in reports),
        "```",
    ]
    if paper:
        out += ["", "## What the paper claims", "", *_table(paper, under, paper=True)]
    if own:
        held = hypotheses(reports)
        rows = [f"| **{verdict}** | {name}: {_text(words)} | {tests} |" for name, words, verdict, tests in held]
        heads = ["Hypotheses we made before the studies:", "", "| verdict | hypothesis | here |", "| --- | --- | --- |"]
        out += ["", "## What we claim besides", "", *([*heads, *rows, ""] if rows else [])]
        out += _table(own, under, paper=False)
    for report in reports:
        out += ["", f"## [{_capital(report.title)}]({under}{report.name}.md)", "", *_image(report, under=under)]
    out += ["", "## What is not tested yet", "", "| claim | where |", "| --- | --- |"]
    out += [f"| {_text(s.words)} | {_text(s.source)} |" for s in NOT_YET]
    return "\n".join(out) + "\n"


def _study(report: Report) -> str:
    out = [f"# {_capital(report.title)}", "", *_image(report, _text(report.caption)), ""]
    for one in report.animations:  # closed until asked for: what moves by itself must be possible to stop
        out += [*_html(f"<details><summary>Animation: {escape(one.caption)}</summary>"), ""]
        out += [f"```{{figure}} {one.file}", f":alt: {one.alt}", "```", "", *_html("</details>"), ""]
    out += ["| verdict | claim | the paper | here |", "| --- | --- | --- | --- |"]
    out += [
        f"| **{c.verdict}** | {_text(c.about.words)} ({_text(source(c))}) | {_text(c.about.paper)} | {_text(c.ours)} |"
        for c in report.claims
    ]
    out += ["", f"Run it larger: `{report.larger}`. At {report.scale} scale it took {report.seconds:.0f} seconds."]
    out += ["", "## Each test in full"]
    for claim in report.claims:
        out += ["", *_test(claim)]
    return "\n".join(out) + "\n"


def _test(claim: Claim) -> list[str]:
    out = [f"**{_text(claim.about.words)}: {claim.verdict}.** {_text(claim.text)}", "", f"Found: {_text(claim.found)}"]
    if claim.topic:
        out += ["", f"Uncertainty: {_text(claim.error)}. Refuted by: {_text(claim.refuted_by)}."]
    if claim.bars:
        out += ["", f"Distance: {_text(told(claim.bars))}."]
    return out


def _image(report: Report, caption: str = "", under: str = "") -> list[str]:
    options = [f":alt: {report.alt}", f":target: {under}{report.figure}"]
    return [f"```{{figure}} {under}{report.figure}", *options, "", *([caption] if caption else []), "```"]


def _html(text: str) -> list[str]:
    return ["```{raw} html", text, "```"]


def _table(lines: Iterable[Line], under: str, *, paper: bool) -> list[str]:
    heads = ["verdict", "claim", *(["where", "the paper"] if paper else []), "here", "study"]
    out = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for line in lines:
        row = [f"**{line.verdict}**", _text(line.about.words)]
        row += [_text(line.about.source), _text(line.about.paper)] if paper else []
        row += [_text(found(line)), ", ".join(f"[{name}]({under}{name}.md)" for name in line.studies)]
        out.append(f"| {' | '.join(row)} |")
    return out


def _text(text: str) -> str:
    """Text whose signs mean themselves."""
    for sign in "\\`*_{}[]<>|$#~":
        text = text.replace(sign, f"\\{sign}")
    return text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def main() -> None:
    """Write the gallery of a folder of results."""
    parser = argparse.ArgumentParser(prog="studies._gallery", description=__doc__)
    parser.add_argument("results", type=Path, help="folder a run left, output/quick say")
    parser.add_argument("folder", type=Path, help="folder for the pages")
    given = parser.parse_args()
    try:
        print("\n".join(map(str, write(given.results, given.folder))))
    except FileNotFoundError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
