"""What every method begins with: noise, refusals, the problem, and starts; and what it must be able to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.judge import Answer
from gsimplicit.inverse.answers.recover import as_problem, recover
from gsimplicit.inverse.fits.problem import Problem
from gsimplicit.inverse.method import Question
from gsimplicit.inverse.starts.measured import Measured, measured, refusal
from gsimplicit.inverse.starts.starts import Search, guessed

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A question whose data may tell.

    Attributes:
        question: The question.
        data: What was measured, with its noise.
        problem: What a fit is asked.
        accept: Sum of squares by degrees of freedom up to which noise explains the deviations.
    """

    question: Question
    data: Measured
    problem: Problem
    accept: float

    @property
    def free(self) -> list[int]:
        """Places of the parameters that are sought."""
        return [int(np.argmax(row)) for row in self.problem.scales.directions]

    @property
    def spread(self) -> float:
        """Standard deviation of the observed species, or of the first that was seen, over all pictures."""
        seen = self.data.guess.seen
        i = self.problem.model.seen if self.problem.model.seen in seen else seen[0]
        there = self.question.pictures.there[:, i]
        return float(self.question.pictures.values[:, i][there].std())

    def parameters(self, *, elsewhere: bool = True) -> Iterator[Array]:
        """Parameters to begin at: the start where there is one, then first guesses from the pictures.

        Args:
            elsewhere: Whether guesses follow a start.
        """
        wanted, model = self.question.wanted, self.problem.model
        if wanted.start is not None:
            yield wanted.start
            if not elsewhere or not Search.told(model, wanted.ranges):
                return
        yield from guessed(self.problem, self.data.guess, Search.of(model, wanted.ranges), wanted.fixed)

    def polished(self, values: Array) -> Answer:
        """One-shot's answer from some parameters, or from starts of its own where they lead nowhere."""
        q = self.question
        return recover(q.model, q.pictures, replace(q.wanted, start=values), q.noise, affine=False)


def answered(question: Question, by: Callable[[Prepared], Answer], *, polish: bool = False) -> Answer:
    """What a method makes of a question whose data may tell; else the refusal of its data.

    Args:
        question: The question.
        by: The method.
        polish: Whether one-shot goes on from the method's answer.
    """
    ready = prepared(question)
    if isinstance(ready, Answer):
        return ready
    found = by(ready)
    return ready.polished(found.fit.place.values) if polish and found.fit is not None else found


def prepared(question: Question) -> Prepared | Answer:
    """A question made ready, or the refusal of its data."""
    q = question
    data = measured(q.model, q.pictures, q.noise)
    why = refusal(q.model, q.pictures, data, affine=False)
    if why:
        return Answer(Recovery.REFUSED, why, noise=data.noise)
    problem, accept = as_problem(q.model, data, q.wanted, q.noise, affine=False)
    return Prepared(q, data, problem, accept)


def require(name: str, question: Question, *, whole: bool = False, one: bool = False) -> None:
    """Refuse what a method cannot take.

    Args:
        name: Of the method.
        question: What it is asked.
        whole: Whether every pixel must have been measured.
        one: Whether there must be one picture.

    Raises:
        ValueError: The question asks for something else; the message says for what, and which method has it.
    """
    pictures = question.pictures
    if question.affine:
        raise ValueError(f"gain must be False for the method {name!r}: 'one-shot' finds gain and offset")
    if whole and not pictures.whole:
        gaps = int((~pictures.there[:, pictures.seen]).sum())
        raise ValueError(
            f"mask must be None for the method {name!r}, which needs every pixel ({gaps} are missing): "
            "'one-shot' and 'weak' take pictures with gaps"
        )
    if one and len(pictures) > 1:
        raise ValueError(
            f"shared must be False for the method {name!r}, which takes one picture a set, got {len(pictures)}: "
            "'one-shot' and 'weak' fit several together"
        )
