"""What a store says where it refuses: it holds another scan, another process has it, or it cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gsimplicit.configuration import difference
from gsimplicit.landscape.settings import decoded

__all__ = ["StoreLockedError", "StoreMismatchError", "another_scan", "difference_in_words", "maker", "unwritable"]


class StoreMismatchError(ValueError):
    """A store holds something else than what is asked for.

    Examples:
        >>> import os, tempfile
        >>> import gsimplicit as gs
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = os.path.join(folder, "line.nc")
        ...     data = gs.scan({"k": [0.06]}, initial=start, max_steps=10, store=store, progress=False)
        ...     try:
        ...         gs.scan({"k": [0.06]}, initial=start, max_steps=20, store=store, progress=False)
        ...     except gs.StoreMismatchError as error:
        ...         print("marching.max_steps" in str(error))
        True
    """


class StoreLockedError(OSError):
    """Another process computes into the store.

    Examples:
        >>> import gsimplicit as gs
        >>> issubclass(gs.StoreLockedError, OSError)
        True
    """


def unwritable(error: OSError, path: Path) -> OSError:
    """An error in making the files of a store, as one of the store."""
    return type(error)(error.errno, f"the store cannot be written: {error.strerror or error}", str(path))


def another_scan(why: str) -> str:
    """What is said of something else than what is asked for."""
    return f"holds another scan ({why}); give another store or overwrite=True"


def difference_in_words(
    old: Mapping[str, Any], new: Mapping[str, Any], made_by: Callable[[], str], changed: Callable[[], str]
) -> str | None:
    """What is said of two configurations that differ; where the package's code does, who made the older one."""
    key = difference(old, new)
    if key is None or not key.startswith("code: "):
        return None if key is None else another_scan(key + changed())
    also = difference({**old, "code": ""}, {**new, "code": ""})
    repeat = "scan(**scan_arguments(data), store=...)" if _can_be_repeated(old) else "the same call with another store"
    return (
        f"was made by another version of this package's code ({made_by()}), whose values may be others ({key}"
        f"{'' if also is None else f'; also {also}{changed()}'}). They stay readable: partial_scan gives them, and "
        f"{repeat} repeats them elsewhere; overwrite=True computes them anew here"
    )


def _can_be_repeated(configuration: Mapping[str, Any]) -> bool:
    """Whether a scan holds all that it was asked for: no function, route or solver of a user's, and no networks."""
    with suppress(KeyError, ValueError, TypeError):
        for setting in (*configuration["routes"], configuration["marching"], configuration["refine"]):
            decoded(setting)
        return "axes" in configuration and all(isinstance(loss, str) for loss in configuration["losses"])
    return False


def maker(attrs: Mapping[Any, Any]) -> str:
    """The version, commit and day that a file names."""
    version, commit = attrs.get("product_version", "unknown"), str(attrs.get("gsimplicit_commit", "unknown"))
    return f"gsimplicit {version}, commit {commit[:12]}, {attrs.get('date_created', 'undated')}"
