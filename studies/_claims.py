"""What a claim is: who makes it, what was found, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from studies._bars import Bar, told


class Verdict(StrEnum):
    """How a claim came out."""

    HOLDS = "holds"
    PARTLY = "partly"
    REFUTED = "refuted"
    OPEN = "not decided"


OURS = "ours"
"""Source of what the paper does not claim."""


@dataclass(frozen=True)
class Statement:
    """What is claimed, in a few words.

    Attributes:
        source: Section or figure of the paper, or `OURS`.
        words: The claim in about five words.
        paper: The paper's own number; empty where it gives none.
    """

    source: str
    words: str
    paper: str = ""


def ours(words: str) -> Statement:
    """A statement of our own."""
    return Statement(OURS, words)


@dataclass(frozen=True)
class Claim:
    """One test of a statement.

    Attributes:
        about: The statement. Several claims may test one.
        text: What is asked here, and what counts as a yes.
        ours: Our number beside the paper's, in a few words.
        found: What was found, with all numbers.
        holds: True it holds, False refuted, None not decided here.
        topic: What it decides together with others, "H1" say, or "implicit route".
        error: How far the numbers may be off; with a topic.
        refuted_by: What would have refuted it; with a topic.
        bars: The numbers that decide it, each with what was asked of it and its distance from that.

    Raises:
        ValueError: A claim that decides something does not say how sure it is, or what would have refuted it; or its
            verdict is not that of its bars.
    """

    about: Statement
    text: str
    ours: str
    found: str
    holds: bool | None
    topic: str = ""
    error: str = ""
    refuted_by: str = ""
    bars: tuple[Bar, ...] = ()

    def __post_init__(self) -> None:
        if self.bars and self.holds not in (None, all(bar.met for bar in self.bars)):
            raise ValueError(f"the verdict {self.verdict} is not that of its bars: {told(self.bars)}")
        if self.topic and not (self.error and self.refuted_by):
            raise ValueError(f"error and refuted_by must be given for a claim on {self.topic}: {self.text!r}")

    @property
    def verdict(self) -> Verdict:
        """The verdict of this one test."""
        return {True: Verdict.HOLDS, False: Verdict.REFUTED, None: Verdict.OPEN}[self.holds]


@dataclass(frozen=True)
class Line:
    """A statement with all that was asked about it.

    Attributes:
        about: The statement.
        claims: Its tests, the most telling one first.
        studies: Names of the studies they are of.
    """

    about: Statement
    claims: tuple[Claim, ...]
    studies: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """Together: partly where some hold and some are refuted; what is not decided does not count beside others."""
        known = {c.verdict for c in self.claims} - {Verdict.OPEN}
        if not known:
            return Verdict.OPEN
        return known.pop() if len(known) == 1 else Verdict.PARTLY

    @property
    def tests(self) -> str:
        """How many of several tests hold; empty for a single one."""
        if len(self.claims) == 1:
            return ""
        count = {v: sum(c.verdict == v for c in self.claims) for v in Verdict}
        still = f", {count[Verdict.OPEN]} not decided" if count[Verdict.OPEN] else ""
        return f"{count[Verdict.HOLDS]} of {len(self.claims)} tests hold{still}"


HYPOTHESES = {
    "H1": "The right cliff is the edge of the start's basin",
    "H2": "The left cliff is the Hopf line for small F, and lies between two curves above",
    "H3": "Every route misses the cliffs and foresees the rest",
    "H4": "Followed patterns end at the spot's fold or Hopf point, with the square-root law at a fold",
    "H5": "The loss changes levels, not places",
}
"""What we held before the studies were made."""


def lines(claims: Iterable[tuple[str, Claim]]) -> list[Line]:
    """Claims by statement, each with the name of its study, in the order of their first test."""
    by_statement: dict[Statement, list[tuple[str, Claim]]] = {}
    for study, claim in claims:
        by_statement.setdefault(claim.about, []).append((study, claim))
    return [
        Line(about, tuple(c for _, c in tests), tuple(dict.fromkeys(s for s, _ in tests)))
        for about, tests in by_statement.items()
    ]


def counts(claims: Iterable[Claim]) -> str:
    """How many came out how, for example "3 holds, 1 refuted"."""
    found = [c.verdict for c in claims]
    return ", ".join(f"{found.count(v)} {'hold' if v == Verdict.HOLDS else v}" for v in Verdict if v in found)


def between(low: float, high: float, form: str = "g") -> str:
    """A range of numbers, or the number where both look the same.

    Examples:
        >>> between(263.8, 264.4, ".0f"), between(0, 0.25)
        ('264', '0 to 0.25')
    """
    first, last = format(low, form), format(high, form)
    return first if first == last else f"{first} to {last}"
