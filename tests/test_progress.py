"""The line of words of a call that takes long: where it is drawn, where not, and that it changes nothing."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
import torch

import gsimplicit as gs
from gsimplicit import progress

PARAMS = gs.Params.preset("paper")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, and no patience."""
    stream = Terminal()
    progress._tqdm()  # imported before, as the calls here are short
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "EVERY", 0.002)
    return stream


def start(count: int = 1) -> torch.Tensor:
    return gs.initial_state(count, grid=(32, 32), box=gs.Box(half=5))


def mean_square(v: torch.Tensor) -> torch.Tensor:
    time.sleep(0.02)  # so that the line has time to be drawn
    return (v**2).mean(dim=(-2, -1))


def call(name: str, **more: Any) -> torch.Tensor:
    given = {"initial": start(), "tol": 0.0, "max_steps": 20_000, **more}
    if name == "steady_state":
        return gs.steady_state(PARAMS, **given).fields
    if name == "grad":
        return gs.grad(PARAMS, "unrolled", mean_square, **given).grad.tensor()
    if name == "compare":
        return torch.from_numpy(gs.compare(PARAMS, ["tangent"], False, mean_square, **given)["gradient"].values)
    k = torch.tensor(0.065, dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params(0.16, 0.08, 0.035, k), "unrolled", **given)
    mean_square(state.v).sum().backward()
    assert k.grad is not None
    return k.grad


CALLS = {"steady_state": "steady_state: ", "grad": "grad by unrolled: ", "compare": "compare: tangent, 1 of 1, ",
         "solve": "backward by unrolled: "}  # fmt: skip


@pytest.mark.parametrize(("name", "words"), CALLS.items())
def test_a_call_that_takes_long_says_what_it_does_and_takes_the_line_away(
    name: str, words: str, terminal: Terminal
) -> None:
    with contextlib.redirect_stderr(terminal):
        call(name)
        drawn = terminal.getvalue().split("\r")
        assert any(line.startswith(words) for line in drawn)
        assert drawn[-1].strip() == ""


@pytest.mark.parametrize("name", CALLS)
def test_without_progress_nothing_is_drawn(name: str, terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        call(name, progress=False)
        assert terminal.getvalue() == ""


def test_where_output_is_no_terminal_nothing_is_drawn(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        call("steady_state")
    assert stream.getvalue() == ""


def test_a_call_shorter_than_two_seconds_draws_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.redirect_stderr(terminal):
        monkeypatch.setattr(progress, "PATIENCE", 2.0)
        call("steady_state")
        assert terminal.getvalue() == ""


@pytest.mark.parametrize("name", CALLS)
def test_what_is_computed_has_the_same_bits_with_a_line(name: str, terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        assert torch.equal(call(name), call(name, progress=False))


def test_the_line_counts_the_instances_of_a_batch_and_names_the_stages_of_a_refinement(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    kept = progress.Line.note

    def note(line: progress.Line, words: str, given: tuple[Any, ...]) -> None:
        kept(line, words, given)
        said.append(line.words)

    monkeypatch.setattr(progress.Line, "note", note)
    with contextlib.redirect_stderr(terminal):
        gs.steady_state(PARAMS, start(3), refine=gs.Refine(max_evaluations=20_000))
    assert any(words.startswith("steady_state: 2 of 3 instances, ") for words in said)
    assert "refining, 0 of 20,000 evaluations, step 0 of at most 20,000" in "".join(said)


def test_a_stream_that_fails_ends_no_call(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.redirect_stderr(terminal):

        def fail(text: str) -> int:
            raise OSError("gone")

        monkeypatch.setattr(terminal, "write", fail)
        assert torch.equal(call("steady_state"), call("steady_state", progress=False))
        assert progress.LINE.get() is None


def test_a_call_in_a_call_and_one_on_another_thread_have_no_line_of_their_own(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        inside: list[Any] = []

        def seen(v: torch.Tensor) -> torch.Tensor:
            outer = progress.LINE.get()
            with progress.line("inner", True):
                inside.append(progress.LINE.get() is outer is not None)
            other = threading.Thread(target=lambda: inside.append(_line_beside() is None))
            other.start()
            other.join()
            return mean_square(v)

        gs.grad(PARAMS, "tangent", seen, initial=start(), tol=0.0, max_steps=100)
        assert inside
        assert all(inside)
        assert "inner" not in terminal.getvalue()


def _line_beside() -> progress.Line | None:
    with progress.line("beside", True):
        return progress.LINE.get()


def _drawable_on_a_terminal() -> bool:
    sys.stderr = Terminal()
    return progress.drawable()


def test_a_process_of_a_pool_draws_nothing(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        assert progress.drawable()
        with ProcessPoolExecutor(1, mp_context=get_context("forkserver")) as pool:
            assert not pool.submit(_drawable_on_a_terminal).result()


def test_a_line_ends_with_its_call_where_that_raises(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        with pytest.raises(ValueError, match="no such thing"), progress.line("call", True):
            raise ValueError("no such thing")
        assert progress.LINE.get() is None
        for _ in range(1000):
            if "gsimplicit progress" not in [t.name for t in threading.enumerate()]:
                break
            time.sleep(0.01)
        assert "gsimplicit progress" not in [t.name for t in threading.enumerate()]
        assert _line_beside() is not None  # nothing is held


def test_what_is_noted_is_not_put_into_words_where_nothing_is_drawn() -> None:
    class Costly:
        def __format__(self, how: str) -> str:
            raise AssertionError("formatted")

    progress.note("{}", Costly())
    with progress.stage("in {braces}, "):
        progress.note("{}", Costly())


def test_words_of_a_stage_are_taken_as_they_stand(terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal), progress.line("call", True), progress.stage("in {braces}, "):
        progress.note("step {:,}", 12_000)
        line = progress.LINE.get()
        assert line is not None
        assert line.words == "call: in {braces}, step 12,000"


@pytest.mark.parametrize("name", CALLS)
def test_progress_must_be_a_flag(name: str) -> None:
    with pytest.raises(TypeError, match="progress must be True or False"):
        call(name, progress="yes")


class Broken(Terminal):
    """A terminal that has gone after some characters."""

    left = 30

    def write(self, text: str) -> int:
        self.left -= len(text)
        if self.left < 0:
            raise BrokenPipeError("gone")
        return super().write(text)


@pytest.mark.parametrize("left", [0, 1, 30, 100])
def test_a_stream_that_breaks_holds_no_later_call_up(
    left: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Broken()
    gone.left = left
    monkeypatch.setattr(sys, "stderr", gone)
    drawn = [threading.Thread(target=progress.Line("one")._draw, daemon=True)]
    drawn[0].start()
    drawn[0].join(5)
    monkeypatch.setattr(sys, "stderr", terminal)
    drawn.append(threading.Thread(target=lambda: progress.Bar(3, 0, shown=True).close(), daemon=True))
    drawn[1].start()
    drawn[1].join(5)
    assert not any(one.is_alive() for one in drawn)
    assert "0/3" in terminal.getvalue()
