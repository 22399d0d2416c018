"""Paths as arguments, files that are whole or absent, and one NetCDF call at a time.

The NetCDF library is not safe in threads, not on different files either, and crashes where a file with text of variable
length is opened a second time in a process. So every call takes one lock, and such a file is read from memory.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "held_here", "netcdf", "not_ours", "place", "readable", "rename", "sync", "temporary", "to_write", "write",
]  # fmt: skip

_LONGEST = 255
"""Bytes of a file's name where the file system does not say."""

_BESIDE = len(".name.1234567-12345678.tmp") - len("name")
"""What the longest name beside a file has more than the file's own."""

_PATIENCE = 60.0
"""Seconds a fork waits for the NetCDF call of another thread to end."""


def place(name: str, given: Any) -> Path:
    """A path given as an argument: absolute, `~` for the home folder, links followed.

    Args:
        name: Of the argument, for errors.
        given: Text, bytes or a path.

    Raises:
        TypeError: It is none of them.
        ValueError: It is empty, names a folder or the home of an unknown user, or holds what NetCDF cannot open.
    """
    if not isinstance(given, str | bytes | os.PathLike):
        raise TypeError(f"{name} must be a path, got {given!r}")
    text = str(os.fsdecode(os.fspath(given)))
    if not text:
        raise ValueError(f"{name} must name a file, got an empty path")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", text) and os.sep == "/":
        raise ValueError(f"{name} must be a path on this machine, got {text!r}, an address")
    bad = [
        c for c in text if ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 or (c == "\\" and os.sep == "/")
    ]
    if bad:
        raise ValueError(
            f"{name} must be a path without control characters, backslashes or bytes that are no text, got {text!r}"
        )
    whole = os.path.expanduser(text)
    if whole == text and text.startswith("~") and len(Path(text).parts) > 1:
        raise ValueError(f"{name} must lie in a folder that is known: there is no home folder {Path(text).parts[0]!r}")
    if text.endswith(("/", os.sep)) or os.path.basename(text) in (".", ".."):
        raise ValueError(f"{name} must name a file, and {text!r} is the name of a folder")
    return Path(os.path.realpath(whole))


def to_write(name: str, given: Any) -> Path:
    """As `place`, for a file that is to be written.

    Raises:
        TypeError: It is no path.
        ValueError: As `place`; or its name is too long, or is that of a device, pipe or socket.
        IsADirectoryError: It is a folder.
    """
    path = place(name, given)
    longest = _longest_name(path.parent) - _BESIDE
    if len(os.fsencode(path.name)) > longest:
        raise ValueError(f"{name} must end in a name of at most {longest} bytes, got {path.name!r}")
    try:
        mode = path.stat().st_mode
    except OSError:
        return path  # what cannot be looked at is told where it is written
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, f"{name} must be a file to write, and is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name} must be a file to write, and {path} is a device, pipe or socket")
    return path


def _longest_name(folder: Path) -> int:
    for one in (folder, *folder.parents):
        with suppress(OSError, ValueError, AttributeError):
            return os.pathconf(one, "PC_NAME_MAX")
    return _LONGEST


def readable(path: Path) -> None:
    """Raise unless a file can be read; of another user's, say whose it is.

    Raises:
        FileNotFoundError: It is absent.
        PermissionError: It may not be read.
        OSError: Anything else keeps it from being opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no file")
    try:
        with path.open("rb"):
            return
    except PermissionError as error:
        raise not_ours(error, path) from error


def not_ours(error: PermissionError, path: Path) -> PermissionError:
    """The error for what may not be read, with whose it is."""
    return PermissionError(error.errno, f"{error.strerror}: it cannot be read, and belongs to {owner(path)}", str(path))


def owner(path: Path) -> str:
    """Name of the user a file belongs to."""
    try:
        return path.owner()
    except (KeyError, NotImplementedError, OSError):
        with suppress(OSError):
            return f"user {path.stat().st_uid}"
    return "another user"


def write(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or absent; the temporary name starts with a point and ends with `.tmp`.

    Raises:
        OSError: It could not be written.
    """
    aside = temporary(path)
    try:
        with aside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        rename(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A new name beside a file: after a failed write the NetCDF library cannot open the same one again."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def rename(aside: Path, path: Path) -> None:
    """Put a whole file in the place of its final name."""
    aside.replace(path)
    with suppress(PermissionError):  # a folder cannot be opened everywhere
        sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def held_here(path: Path) -> bool:
    """Whether this process has a file open; False where the system does not tell."""
    with suppress(OSError):
        of = path.stat()
        for number in os.listdir("/dev/fd"):
            with suppress(OSError, ValueError):
                one = os.fstat(int(number))
                if (one.st_dev, one.st_ino) == (of.st_dev, of.st_ino):
                    return True
    return False


_lock = threading.RLock()
_taken: list[bool] = []


@contextmanager
def netcdf() -> Iterator[None]:
    """One NetCDF call at a time in this process, and no signal in the middle of one."""
    with _lock, _undisturbed():
        yield


def _before_fork() -> None:
    _taken.append(_lock.acquire(timeout=_PATIENCE))


def _after_fork() -> None:
    if _taken.pop():
        _lock.release()


def _after_fork_in_child() -> None:
    """A lock that a thread of the parent holds would never be given back here."""
    global _lock
    if _taken.pop():
        _lock.release()
    else:
        _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # a child that is forked in the middle of a call would inherit the library's own locks, taken
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C and requests to terminate until the block has ended, in the main thread.

    An exception that is raised between two lines of the NetCDF layer leaves its lock taken, and the next file waits for
    it for ever: seen in one of some sixty signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {n: signal.getsignal(n) for n in numbers}
    try:
        for n in numbers:
            if before[n] is not None:  # None was not installed from Python and could not be put back
                signal.signal(n, lambda number, _: held.append(number))
        yield
    finally:
        for n in numbers:
            if before[n] is not None:
                signal.signal(n, before[n])
        for number in held[:1]:
            signal.raise_signal(number)
