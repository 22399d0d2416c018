"""Work that takes seconds, on a thread beside the page, one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Background"]

Found = TypeVar("Found")


class Background:
    """A thread for one page.

    Args:
        later: Runs a function on the page's own thread, soon.

    Attributes:
        busy: Whether something is being worked on.

    Examples:
        >>> from gsimplicit.explorer.background import Background
        >>> found = []
        >>> work = Background(lambda act: act())
        >>> work.ask(lambda: 6 * 7, found.append, found.append)
        >>> work.close()
        >>> found
        [42]
    """

    def __init__(self, later: Callable[[Callable[[], None]], Any]) -> None:
        self.busy, self._later = False, later
        self._next: Callable[[], None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")

    def soon(self, act: Callable[[], None]) -> None:
        """Run something short on the page's thread when the page is free: a widget may call while a picture is sent."""
        self._later(act)

    def ask(
        self, work: Callable[[], Found], done: Callable[[Found], None], failed: Callable[[Exception], None]
    ) -> None:
        """Have something worked on, and say what came of it on the page's thread.

        While another piece is there it waits; of those that wait only the latest is taken up.

        Args:
            work: Runs on the thread beside.
            done: Gets what it gave.
            failed: Gets what it raised.
        """
        if self.busy:
            self.then(lambda: self.ask(work, done, failed))
            return
        self.busy = True

        def ended(future: Future[Found]) -> None:
            if not future.cancelled():
                self._later(lambda: self._tell(future, done, failed))

        self._pool.submit(work).add_done_callback(ended)

    def then(self, act: Callable[[], None]) -> None:
        """Run something short on the page's thread when what is being worked on has ended: it begins from its result.

        Of what waits only the latest is taken up.
        """
        if self.busy:
            self._next = act
        else:
            act()

    def _tell(self, future: Future[Found], done: Callable[[Found], None], failed: Callable[[Exception], None]) -> None:
        self.busy = False
        try:
            found = future.result()
        except Exception as error:  # whatever it is, the page says it and goes on
            failed(error)
        else:
            done(found)
        if self._next is not None and not self.busy:
            following, self._next = self._next, None
            following()

    def close(self, *, wait: bool = True) -> None:
        """Take no more; and wait for what is being worked on, unless others would wait too."""
        self._pool.shutdown(wait=wait, cancel_futures=True)
