"""What a run says in text: a screenful at its end, and all claims with their numbers in `claims.txt`."""

from __future__ import annotations

from collections.abc import Sequence

from studies._bars import told
from studies._claims import HYPOTHESES, OURS, Claim, Line, Verdict, counts
from studies._paper import NOT_YET
from studies._record import Report, statements

COARSE = "quick scale: a look on coarse grids; the verdicts that count are those of the default scale"


def screen(reports: Sequence[Report]) -> str:
    """One line a claim of the paper: verdict, section or figure, the claim, what was found; then our own in sum."""
    paper, own = statements(reports)
    rows = [(str(x.verdict), x.about.source, x.about.words, found(x)) for x in paper]
    wide = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
    out = ["", "The paper, claim by claim" + (f" ({COARSE})" if _coarse(reports) else "")]
    out += ["  ".join([*(cell.ljust(w) for cell, w in zip(row, wide, strict=False)), row[3]]).rstrip() for row in rows]
    if own:
        out.append(f"besides, of {len(own)} claims of our own: {counts_of(own)}")
    return "\n".join(out)


def found(line: Line) -> str:
    """Our number of a statement's first test, and how many of several hold."""
    return line.claims[0].ours + (f"; {line.tests}" if line.tests else "")


def counts_of(lines: Sequence[Line]) -> str:
    """How many statements came out how."""
    verdicts = [x.verdict for x in lines]
    words = {Verdict.HOLDS: "hold", Verdict.PARTLY: "hold partly"}
    return ", ".join(f"{verdicts.count(v)} {words.get(v, v)}" for v in Verdict if v in verdicts)


def full(reports: Sequence[Report]) -> str:
    """All claims of all studies with what was found, then what they decide together, then what is not tested yet."""
    out = [screen(reports).strip()]
    for report in reports:
        out += ["", f"{report.name}: {report.title} ({report.seconds:.0f} s, {report.day})"]
        for claim in report.claims:
            out += [f"  [{claim.verdict}] {claim.about.words} ({claim.about.source}): {claim.text}"]
            if claim.about.paper:
                out.append(f"      paper: {claim.about.paper}")
            out += [f"      ours: {claim.ours}", f"      found: {claim.found}"]
            out += [f"      distance: {told(claim.bars)}"] * bool(claim.bars)
        out.append(f"      files: {', '.join([*report.files, *(a.file for a in report.animations)])}")
    out += ["", f"{len(every(reports))} tests: {counts(every(reports))}"]
    return "\n".join([*out, *_together(reports), "", "not tested yet", *(f"  {s.source}: {s.words}" for s in NOT_YET)])


def every(reports: Sequence[Report]) -> list[Claim]:
    """All claims."""
    return [c for r in reports for c in r.claims]


def topics(reports: Sequence[Report]) -> dict[str, list[Claim]]:
    """Claims by what they decide together: routes, cliffs and hypotheses."""
    out: dict[str, list[Claim]] = {}
    for claim in every(reports):
        if claim.topic:
            out.setdefault(claim.topic, []).append(claim)
    return {name: out[name] for name in sorted(out)}


def together(claims: Sequence[Claim]) -> Verdict:
    """What a topic's claims say together: all of them must hold, or be refuted."""
    verdicts = {c.verdict for c in claims}
    return verdicts.pop() if len(verdicts) == 1 else Verdict.PARTLY


def hypotheses(reports: Sequence[Report]) -> list[tuple[str, str, Verdict, str]]:
    """Our hypotheses that were tested: name, words, verdict, and how many of its tests hold."""
    out = []
    for name, claims in topics(reports).items():
        if name in HYPOTHESES:
            hold = sum(c.verdict == Verdict.HOLDS for c in claims)
            out.append((name, HYPOTHESES[name], together(claims), f"{hold} of {len(claims)} tests hold"))
    return out


def _together(reports: Sequence[Report]) -> list[str]:
    out: list[str] = []
    for topic, claims in topics(reports).items():
        words = f", {HYPOTHESES[topic][0].lower()}{HYPOTHESES[topic][1:]}" if topic in HYPOTHESES else ""
        out += ["", f"{topic}{words}: {together(claims)}"]
        for c in claims:
            out += [f"    {c.verdict}: {c.text}", f"        found: {c.found}"]
            out += [f"        uncertainty: {c.error}", f"        refuted by: {c.refuted_by}"]
    return out


def _coarse(reports: Sequence[Report]) -> bool:
    return any(r.scale == "quick" for r in reports)


def source(claim: Claim) -> str:
    """Whose claim it is."""
    return "our own" if claim.about.source == OURS else f"the paper, {claim.about.source}"
