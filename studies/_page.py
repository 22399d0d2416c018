"""One page that stands alone: verdicts first, then every figure with its claims and numbers."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import gsimplicit as gs
from studies._bars import told
from studies._claims import Claim, Line, Verdict
from studies._paper import NOT_YET
from studies._record import Animation, Report, code, statements
from studies._text import COARSE, counts_of, found, hypotheses, source

PAPER = "https://arxiv.org/abs/2606.11258"
MARKS = {Verdict.HOLDS: "✓", Verdict.PARTLY: "◐", Verdict.REFUTED: "✗", Verdict.OPEN: "?"}
"""Beside the word, so that nothing hangs on colour."""

EMBEDDED = 3_000_000
"""Bytes of animations that are put into the page; those beyond are linked, so that the page opens on a phone."""

GLOSSARY = {
    "pixel": "One of the values of a field, a square of width 1.",
    "cell": "The patch of a plane of parameters around one point, as wide as the step to the next point. Lengths in a "
    "plane are counted in cells.",
    "face": "What lies between two neighbouring points of such a plane.",
    "row": "All points of a plane with the same F.",
    "cliff": "A face over which the loss jumps by a quarter of its range (its height R) or more.",
    "plateau": "Points without a pattern: the loss hardly changes there.",
    "stop": "Where the paper's march ends: no pixel changes by 1e-4 in a step.",
    "certified": "Shown to solve the equations to 1e-10; a rigid drift of the whole pattern is allowed.",
    "route": "A way to take the gradient: through the steps (unrolled), at the steady state (implicit), by a trained "
    "network (surrogate), and others.",
    "inherits": "A route inherits a cliff if its gradient misses the jump: forecast and jump differ by a quarter of "
    "the height or more (U ≥ 0.25). It foresees a change if they differ by less than a twentieth (U < 0.05).",
    "box": "The square in the middle of the start, with other values than around it.",
    "edge state": "A state between two fates: a little less and the pattern dies, a little more and it lives.",
}
"""Words of the page."""

STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #4a5563; --line: #c9d0d9; --holds: #14603a; --partly: #7a4a00;
  --refuted: #9c1f24; --open: #414b5a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1rem 1.25rem 4rem; max-width: 68rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.3rem; line-height: 1.25; margin: 2.5rem 0 .5rem; padding-top: .75rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: #0b4a8f; }
a:focus-visible, summary:focus-visible { outline: 3px solid #0b4a8f; outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: #fff; padding: .5rem; }
.soft, figcaption, .more { color: var(--soft); font-size: .9rem; }
nav ul { list-style: none; padding: 0; margin: .75rem 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .94rem; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; font-weight: normal; }
thead th { color: var(--soft); font-size: .85rem; border-bottom: 1px solid var(--ink); }
tbody th { font-weight: 600; }
.v { display: inline-block; white-space: nowrap; font-weight: 600; padding: 0 .45rem; border: 1.5px solid;
  border-radius: .3rem; font-size: .85rem; }
.holds { color: var(--holds); } .partly { color: var(--partly); border-style: dashed; }
.refuted { color: var(--refuted); } .open { color: var(--open); border-style: dotted; }
td:first-child { width: 8.5rem; }
figure { margin: 1rem 0; }
.wide { overflow-x: auto; border: 1px solid var(--line); width: fit-content; max-width: 100%; }
.wide:focus-visible { outline: 3px solid #0b4a8f; }
img { display: block; width: calc(.55 * var(--w)); max-width: 100%; height: auto; }
figcaption { margin-top: .4rem; max-width: 52rem; }
ol.tests { list-style: none; margin: 0; padding: 0; }
ol.tests > li { padding: .6rem 0; border-bottom: 1px solid var(--line); display: grid;
  grid-template-columns: 8.5rem 1fr; column-gap: 0; break-inside: avoid; }
ol.tests p { margin: 0 0 .2rem; max-width: 52rem; }
summary { cursor: pointer; padding: .35rem 0; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em;
  background: #f1f3f6; padding: .05rem .3rem; border-radius: .2rem; overflow-wrap: anywhere; }
dl.words { display: grid; grid-template-columns: 7rem 1fr; gap: .2rem .75rem; margin: .5rem 0; max-width: 52rem; }
dl.words dt { font-weight: 600; } dl.words dd { margin: 0; }
@media (max-width: 40rem) {
  body { padding: .5rem .9rem 3rem; }
  h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; }
  thead { position: absolute; left: -99rem; }
  table, tbody, tr, th, td { display: block; width: 100%; }
  caption { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  th, td, td:first-child { border: 0; padding: .08rem 0; width: 100%; }
  td[data-head]::before { content: attr(data-head) ": "; color: var(--soft); }
  td:empty { display: none; }
  img { width: calc(.42 * var(--w)); max-width: none; }
  .wide.tall img { width: 100%; }
  figure:not(:has(.tall))::before { content: "The figure scrolls sideways \\2192"; font-size: .85rem;
    color: var(--soft); }
  td:first-child { float: right; width: auto; padding-left: .5rem; }
  ol.tests > li { display: block; } ol.tests .v { margin-bottom: .25rem; }
  dl.words { display: block; } dl.words dd { margin-bottom: .4rem; }
}
@media print {
  html { font-size: 8.5pt; } body { max-width: none; padding: 0; }
  nav, .skip, .again { display: none; }
  a { color: inherit; text-decoration: none; }
  h2, h3, caption, thead, summary { break-after: avoid; }
  figure, tr, li { break-inside: avoid; }
  .wide { overflow: visible; } img { width: auto; max-width: 100%; max-height: 16cm; }
  summary { list-style: none; } summary::-webkit-details-marker { display: none; }
  .moving { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def page(reports: Sequence[Report], folder: Path) -> str:
    """The page of the reports in a folder, with their figures inside."""
    paper, own = statements(reports)
    scale = ", ".join(dict.fromkeys(r.scale for r in reports))
    old = [r.name for r in reports if r.code != code()]
    body = [
        '<a class="skip" href="#paper">Skip to the verdicts</a>',
        "<header><h1>The loss landscape of Gray-Scott inversion, claim by claim</h1>",
        f'<p>A paper (<a href="{PAPER}">arXiv 2606.11258</a>) seeks the parameters of a pattern by gradient descent, '
        "finds plateaus and cliffs in the loss, and says why. This page tests what it says. "
        f"Of {len(paper)} of its claims {escape(counts_of(paper))}.</p>"
        if paper
        else "",
        f'<p class="soft">Scale: {escape(scale)}. gsimplicit {escape(gs.__version__)}. '
        f"Run on {escape(', '.join(sorted({r.day for r in reports})))}."
        + (f" {escape(COARSE.capitalize())}." if "quick" in scale else "")
        + (f" Made by an earlier state of the code: {escape(', '.join(old))}." if old else "")
        + "</p></header>",
        '<nav aria-label="Contents"><ul><li><a href="#paper">The paper</a></li>'
        + ('<li><a href="#ours">Our own claims</a></li>' if own else "")
        + "".join(f"<li>{_link(r.name)}</li>" for r in reports)
        + '<li><a href="#later">Not tested yet</a></li><li><a href="#words">Words</a></li></ul></nav><main>',
    ]
    if paper:
        body += ['<h2 id="paper">What the paper claims</h2>', _table(paper, "In the order of the paper", paper=True)]
    if own:
        words = f"Not claimed by the paper: {counts_of(own)}"
        body += ['<h2 id="ours">What we claim besides</h2>', _hypotheses(reports), _table(own, words, paper=False)]
    sizes = iter(_held([(folder / a.file).stat().st_size for r in reports for a in r.animations]))
    for r in reports:
        body.append(_section(r, folder, [_moving(a, folder, inside=next(sizes)) for a in r.animations]))
    body += [_later(), _words(), "</main>"]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>gsimplicit studies, {escape(scale)} scale</title><style>{STYLE}</style></head>\n<body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _badge(verdict: Verdict) -> str:
    kind = "open" if verdict == Verdict.OPEN else str(verdict)
    return f'<span class="v {kind}"><span aria-hidden="true">{MARKS[verdict]} </span>{verdict}</span>'


def _table(lines: Iterable[Line], words: str, *, paper: bool) -> str:
    """A row a statement, verdict first; blocks on a phone."""
    heads = ["Verdict", "Claim", *(["Where", "Paper's number"] if paper else []), "Found here", "Study"]
    rows = []
    for line in lines:
        about = line.about
        cells = [f"<td>{_badge(line.verdict)}</td>", f'<th scope="row">{escape(about.words)}</th>']
        if paper:
            cells += [_cell("Where", about.source), _cell("Paper's number", about.paper)]
        links = ", ".join(_link(name) for name in line.studies)
        cells += [_cell("Found here", found(line)), f'<td data-head="Study">{links}</td>']
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th scope="col">{h}</th>' for h in heads)
    return (
        f"<table><caption>{escape(words)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _link(study: str) -> str:
    """A link to a study's section; a long name may break after its underscores."""
    return f'<a href="#{study}">{escape(study).replace("_", "_<wbr>")}</a>'


def _hypotheses(reports: Sequence[Report]) -> str:
    rows = "".join(
        f"<tr><td>{_badge(verdict)}</td><th scope='row'>{name}: {escape(words)}</th>{_cell('Found here', tests)}</tr>"
        for name, words, verdict, tests in hypotheses(reports)
    )
    if not rows:
        return ""
    return (
        "<table><caption>Hypotheses we made before the studies</caption><thead><tr><th scope='col'>Verdict</th>"
        f"<th scope='col'>Hypothesis</th><th scope='col'>Found here</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _cell(head: str, text: str) -> str:
    return f'<td data-head="{escape(head)}">{escape(text)}</td>' if text else "<td></td>"


def _held(sizes: Sequence[int]) -> list[bool]:
    """Which animations the page holds: in their order, as long as there is room."""
    total, out = 0, []
    for size in sizes:
        out.append(total + size <= EMBEDDED)
        total += size * out[-1]
    return out


def _moving(animation: Animation, folder: Path, *, inside: bool) -> str:
    """An animation, closed until it is asked for: what moves by itself must be possible to stop."""
    content = (folder / animation.file).read_bytes()
    size = f"{len(content) / 1e6:.1f} MB"
    if not inside:
        return (
            f'<p class="moving">Animation: {escape(animation.caption)} It lies beside this page: '
            f'<a href="{escape(animation.file)}">{escape(animation.file)}</a> ({size}).</p>'
        )
    width, height = struct.unpack("<HH", content[6:10])  # of a GIF
    return (
        f'<details class="moving"><summary>Animation: {escape(animation.caption)} '
        f'<span class="soft">({size}, closing it stops it)</span></summary><figure><div class="wide" tabindex="0" '
        f'role="region" aria-label="Animation, may scroll sideways"><img '
        f'src="data:image/gif;base64,{base64.b64encode(content).decode()}" alt="{escape(animation.alt)}" '
        f'width="{width}" height="{height}" loading="lazy" style="--w: {width / 0.55:.0f}px"></div></figure></details>'
    )


def _section(report: Report, folder: Path, animations: Sequence[str]) -> str:
    """A study: figure, caption, animations, its claims one by one."""
    seconds = f"{report.seconds:.0f} seconds" if report.seconds < 90 else f"{report.seconds / 60:.0f} minutes"
    return (
        f'<section aria-labelledby="{report.name}"><h2 id="{report.name}">{escape(_capital(report.title))}</h2>'
        f"{_figure(report, folder)}{''.join(animations)}"
        f"<details open><summary><strong>{len(report.claims)} tests</strong> "
        '<span class="soft">with all numbers</span></summary>'
        f'<ol class="tests">{"".join(map(_test, report.claims))}</ol></details>'
        f'<p class="more">Study <code>{report.name}</code>, {seconds}, data in '
        f"{', '.join(f'<code>{escape(f)}</code>' for f in report.files[:-1])}. "
        f"Larger: <code>{escape(report.larger)}</code></p>"
        '<p class="more again"><a href="#paper">Back to the verdicts</a></p></section>'
    )


def _figure(report: Report, folder: Path) -> str:
    content = (folder / report.figure).read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of a PNG: no text jumps while it is read
    inside = base64.b64encode(content).decode()
    shape = "wide tall" if height > width else "wide"  # a tall one fits a phone as it is
    return (
        f'<figure><div class="{shape}" tabindex="0" role="region" aria-label="Figure, may scroll sideways">'
        f'<img src="data:image/png;base64,{inside}" alt="{escape(report.alt)}" width="{width}" height="{height}" '
        f'style="--w: {width}px"></div><figcaption>{escape(report.caption)}</figcaption></figure>'
    )


def _test(claim: Claim) -> str:
    extra = f"<p class='more'>Found: {escape(claim.found)}</p>"
    if claim.topic:
        sure = f"Uncertainty: {claim.error}. Refuted by: {claim.refuted_by}."
        extra += f"<p class='more'>{escape(sure)}</p>"
    if claim.bars:
        extra += f"<p class='more'>Distance: {escape(told(claim.bars))}.</p>"
    number = f" Paper: {claim.about.paper}." if claim.about.paper else ""
    return (
        f"<li><div>{_badge(claim.verdict)}</div><div><p><strong>{escape(claim.about.words)}:</strong> "
        f"{escape(claim.ours)} <span class='soft'>({escape(source(claim))}).{escape(number)}</span></p>"
        f"<p>{escape(claim.text)}</p>{extra}</div></li>"
    )


def _later() -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(s.words)}</th>{_cell('Where', s.source)}{_cell('Paper', s.paper)}</tr>"
        for s in NOT_YET
    )
    return (
        '<h2 id="later">What is not tested yet</h2><table><caption>Claims of the paper that no study decides</caption>'
        '<thead><tr><th scope="col">Claim</th><th scope="col">Where</th><th scope="col">Paper\'s number</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _words() -> str:
    entries = "".join(f"<dt>{escape(w)}</dt><dd>{escape(t)}</dd>" for w, t in GLOSSARY.items())
    return f'<h2 id="words">Words used here</h2><dl class="words">{entries}</dl>'


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
