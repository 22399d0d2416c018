"""Progress that cannot end what it shows: where there is nothing to draw on, nothing is drawn.

Scans have a bar of points. Calls that march or solve have a line of words, once they take longer than two seconds, on
terminals and in notebooks alone: what works leaves a note (`note`), and a thread of the line's own draws the newest
one. Where nothing is shown a note costs a look at a variable.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from gsimplicit.surroundings import own_filters

__all__ = ["LINE", "STAGE", "Bar", "Line", "drawable", "line", "note", "stage"]

PATIENCE = 2.0
"""Seconds a call may take before its line appears."""

EVERY = 0.25
"""Seconds between two drawings of a line."""


class Bar:
    """A bar of tqdm's: a widget in notebooks that have them, a moving line on a terminal, else a line now and then.

    Args:
        count: Points in all.
        done: Points that are there already.
        shown: False draws nothing and imports nothing.
        name: What stands before the bar.
        unit: What is counted.
    """

    def __init__(self, count: int, done: int, *, shown: bool, name: str = "scan", unit: str = "point") -> None:
        self._bar: Any = None
        if not shown or sys.stderr is None:
            return
        every = 0.1 if _moves(sys.stderr) else 15.0
        try:
            # every update is looked at, so that tqdm needs no thread of its own to look after slow ones
            self._bar = _tqdm()(total=count, initial=done, unit=unit, desc=name, mininterval=every, miniters=1)
        except Exception:
            self._bar = None

    def add(self, points: int, words: Mapping[str, int]) -> None:
        """Go on by some points; `words` stand behind the bar."""
        self._try("set_postfix", dict(words), refresh=False)
        self._try("update", points)

    def close(self) -> None:
        """The bar stays as it is."""
        self._try("close")
        self._bar = None

    def _try(self, method: str, *given: Any, **named: Any) -> None:
        bar = self._bar
        if bar is None:
            return
        try:
            getattr(bar, method)(*given, **named)
        except Exception:  # the stream was closed, or the notebook is gone
            self._bar = None
            bar.disable = True  # or it would try again when it is thrown away


class Line:
    """The words of a call that takes long: they appear after `PATIENCE` seconds and go with the call.

    Args:
        name: Of the call.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._note: tuple[str, tuple[Any, ...]] = ("", ())
        self._done: tuple[int, int] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="gsimplicit progress", daemon=True)
        self._thread.start()

    def note(self, words: str, given: tuple[Any, ...]) -> None:
        """Keep what is done now; whoever draws puts it into words."""
        self._note = words, given

    def count(self, done: int, of: int) -> None:
        """Keep how many instances of a batch are done."""
        self._done = (done, of) if done < of else None

    @property
    def words(self) -> str:
        """What the line says."""
        words, given = self._note
        done = "" if self._done is None else f"{self._done[0]} of {self._done[1]} instances, "
        return f"{self.name}: {done}{words.format(*given)}"

    def close(self) -> None:
        """Take the line away."""
        self._over.set()
        self._thread.join(timeout=1.0)

    def _draw(self) -> None:
        if self._over.wait(PATIENCE):
            return
        bar: Any = None
        try:
            bar = _tqdm()(total=None, desc=self.words, bar_format="{desc} [{elapsed}]", leave=False)
            bar.start_t -= PATIENCE  # it counts from the call
            while True:
                bar.set_description_str(self.words)
                if self._over.wait(EVERY):
                    break
            bar.close()
        except Exception:  # the stream was closed, or the notebook is gone
            if bar is not None:
                bar.disable = True


LINE: ContextVar[Line | None] = ContextVar("LINE", default=None)
"""The line of the call that runs, for all that runs in it."""

STAGE: ContextVar[str] = ContextVar("STAGE", default="")
"""What stands before the notes of a part of a call."""

_shown = threading.Lock()
"""Held while a line is shown: threads that call side by side do not write over each other."""


_drawing = threading.RLock()
"""Held while a bar or line of ours is drawn, where nobody else has bars."""


@contextmanager
def line(name: str, asked: bool) -> Iterator[None]:
    """Show a line while a call runs, where one is asked for and can be drawn.

    A call inside a call has no line of its own: its notes stand in the outer one's. Nor has a call in a process of a
    pool, nor one beside another thread's that has a line.
    """
    if not asked or LINE.get() is not None or not drawable() or not _shown.acquire(blocking=False):
        yield
        return
    here = Line(name)
    token = LINE.set(here)
    try:
        yield
    finally:
        LINE.reset(token)
        here.close()
        _shown.release()


def note(words: str, *given: Any) -> None:
    """Say what is done now, `words` as for `str.format`; nothing is put into words unless it is drawn."""
    here = LINE.get()
    if here is not None:
        here.note(STAGE.get() + words, given)


@contextmanager
def stage(words: str) -> Iterator[None]:
    """Words before all notes inside."""
    if LINE.get() is None:
        yield
        return
    token = STAGE.set(STAGE.get() + words.replace("{", "{{").replace("}", "}}"))
    try:
        note("")
        yield
    finally:
        STAGE.reset(token)


def drawable() -> bool:
    """Whether a line that moves can be drawn: on a terminal or in a notebook, by the main process."""
    stream = sys.stderr
    if stream is None or multiprocessing.current_process().name != "MainProcess":
        return False
    return _moves(stream) or type(stream).__module__.partition(".")[0] == "ipykernel"


def _moves(stream: Any) -> bool:
    """Whether a stream is a terminal; one that cannot say is none."""
    try:
        return bool(stream.isatty())
    except Exception:
        return False


def _tqdm() -> Any:
    """The bar that fits; in a notebook without widgets, text and no warning about it."""
    with own_filters():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    class Quiet(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0  # no thread that could meet a closed stream

        def refresh(self, nolock: bool = False, lock_args: Any = None) -> bool:  # type: ignore[override]  # its stub says None
            """As tqdm's, which keeps its lock for good where the stream breaks: every later bar would wait for it."""
            with nullcontext() if nolock else self.get_lock():  # type: ignore[no-untyped-call]
                self.display()
            return True

    if not hasattr(tqdm, "_lock"):  # tqdm would make one between processes, which fixes how those are started
        Quiet.set_lock(_drawing)
    return Quiet
