"""Work that takes seconds, on a thread beside the page, one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Background"]

Found = TypeVar("Found")


class Background:
    """A thread for one page, and what waits for it.

    Args:
        later: Runs a function on the page's own thread, soon.

    Attributes:
        busy: Whether something is being worked on.

    Examples:
        >>> from gsimplicit.explorer.background import Background
        >>> found = []
        >>> work = Background(lambda act: act())
        >>> work.ask("sum", lambda: work.start(lambda: 6 * 7, found.append, found.append))
        >>> work.close()
        >>> found
        [42]
    """

    def __init__(self, later: Callable[[Callable[[], None]], Any]) -> None:
        self.busy, self._later = False, later
        self._waiting: dict[str, Callable[[], None]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")

    def soon(self, act: Callable[[], None]) -> None:
        """Run something short on the page's thread when the page is free: a widget may call while a picture is sent."""
        self._later(act)

    def ask(self, kind: str, begin: Callable[[], None]) -> None:
        """Have something begun on the page's thread when all that was asked for before has ended.

        Args:
            kind: Such as "march": of what waits, the latest of a kind takes the place of the one before.
            begin: Looks at what there is by then, and calls `start` with what takes long.
        """
        self._waiting.pop(kind, None)
        self._waiting[kind] = begin
        self._go_on()

    def forget(self) -> None:
        """Drop what waits; what is being worked on ends."""
        self._waiting.clear()

    def start(
        self, work: Callable[[], Found], done: Callable[[Found], None], failed: Callable[[Exception], None]
    ) -> None:
        """Have something worked on, and say what came of it on the page's thread.

        Args:
            work: Runs on the thread beside.
            done: Gets what it gave.
            failed: Gets what it raised.
        """
        self.busy = True

        def ended(future: Future[Found]) -> None:
            if not future.cancelled():
                self._later(lambda: self._tell(future, done, failed))

        self._pool.submit(work).add_done_callback(ended)

    def _tell(self, future: Future[Found], done: Callable[[Found], None], failed: Callable[[Exception], None]) -> None:
        try:
            found = future.result()
        except Exception as error:  # whatever it is, the page says it and goes on
            failed(error)
        else:
            done(found)
        finally:
            self.busy = False
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and not self.busy:
            self._waiting.pop(next(iter(self._waiting)))()

    def close(self, *, wait: bool = True) -> None:
        """Take no more; and wait for what is being worked on, unless others would wait too."""
        self.forget()
        self._pool.shutdown(wait=wait, cancel_futures=True)
