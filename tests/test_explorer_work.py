"""Work beside the explorer's page: what is asked for while something runs comes after it, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gsimplicit.explorer.background import Background


class Desk:
    """A queue whose page is this thread, and what it told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.later: list[Any] = []
        self.work = Background(self.later.append)

    def ask(self, kind: str, name: str, *, breaks: bool = False) -> None:
        def work() -> str:
            if breaks:
                raise RuntimeError(name)
            return name

        def begin() -> None:
            seen = len(self.told)
            self.work.start(
                work, lambda x: self.told.append(f"{x} after {seen}"), lambda e: self.told.append(f"no {e}")
            )

        self.work.ask(kind, begin)

    def until_idle(self) -> list[str]:
        end = time.monotonic() + 20
        while self.work.busy:
            assert time.monotonic() < end
            while self.later:
                self.later.pop(0)()
        return self.told


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.work.close()


def test_a_step_waits_behind_the_march_that_waits_and_takes_nothings_place(desk: Desk) -> None:
    desk.ask("refine", "refined")
    desk.ask("march", "marched")
    desk.ask("step", "stepped")
    assert desk.until_idle() == ["refined after 0", "marched after 1", "stepped after 2"]


def test_of_a_kind_that_waits_the_latest_is_taken_up_and_comes_last(desk: Desk) -> None:
    desk.ask("march", "first")
    desk.ask("march", "never")
    desk.ask("step", "step")
    desk.ask("march", "latest")
    assert desk.until_idle() == ["first after 0", "step after 1", "latest after 2"]


def test_what_is_forgotten_never_begins_and_what_runs_ends(desk: Desk) -> None:
    desk.ask("refine", "runs")
    desk.ask("step", "never")
    desk.work.forget()
    desk.ask("march", "another")
    assert desk.until_idle() == ["runs after 0", "another after 1"]


def test_what_fails_is_told_and_what_waits_goes_on(desk: Desk) -> None:
    desk.ask("march", "broken", breaks=True)
    desk.ask("step", "step")
    assert desk.until_idle() == ["no broken", "step after 1"]


def test_what_decides_not_to_start_lets_the_next_begin(desk: Desk) -> None:
    desk.ask("march", "first")
    desk.work.ask("refine", lambda: desk.told.append("not now"))
    desk.ask("step", "step")
    assert desk.until_idle() == ["first after 0", "not now", "step after 2"]
