"""A progress bar that cannot end what it shows: where there is nothing to draw on, nothing is drawn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any


class Bar:
    """A bar of tqdm's: a widget in notebooks that have them, a moving line on a terminal, else a line now and then.

    Args:
        count: Points in all.
        done: Points that are there already.
        shown: False draws nothing and imports nothing.
    """

    def __init__(self, count: int, done: int, *, shown: bool) -> None:
        self._bar: Any = None
        if not shown or sys.stderr is None:
            return
        every = 0.1 if _moves(sys.stderr) else 15.0
        try:
            # every update is looked at, so that tqdm needs no thread of its own to look after slow ones
            self._bar = _tqdm()(total=count, initial=done, unit="point", desc="scan", mininterval=every, miniters=1)
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


def _moves(stream: Any) -> bool:
    """Whether a stream is a terminal; one that cannot say is none."""
    try:
        return bool(stream.isatty())
    except Exception:
        return False


def _tqdm() -> Any:
    """The bar that fits; in a notebook without widgets, text and no warning about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    class Quiet(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0  # no thread that could meet a closed stream

    return Quiet
