"""The lock of a store: the operating system's, on a file that says who holds it. One that was killed holds nothing."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gsimplicit.landscape.refusals import StoreLockedError, unwritable
from gsimplicit.landscape.tiles import now

__all__ = ["is_lock", "lock_of", "locked"]


def lock_of(path: Path) -> Path:
    """The file of the lock beside the final file of a store."""
    return path.with_name(f"{path.name}.lock")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The lock of the operating system on a file beside the final one; it holds a note of who holds it.

    Raises:
        StoreLockedError: Another process holds it; names that process.
        OSError: The place cannot be locked.
    """
    import filelock

    name = lock_of(path)
    lock = filelock.FileLock(name, timeout=0, is_singleton=False)
    try:
        # asked first: a place that cannot be locked would look like one that another process holds
        os.close(os.open(name, os.O_RDWR | os.O_CREAT, 0o666))
        lock.acquire()
    except filelock.Timeout:
        raise StoreLockedError(
            f"{path} is being computed by {_holder(name)}; wait for it, stop it, or give another store"
        ) from None
    except OSError as error:
        raise unwritable(error, path) from error
    try:
        with suppress(OSError):  # a full disk holds no note; the lock holds all the same
            name.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now()}))
        yield
    finally:
        # while it is still held, or another's lock would go
        name.unlink(missing_ok=True)
        lock.release()


def is_lock(path: Path) -> bool:
    """Whether a file is a lock that was held here once: empty, or with the note of who holds it."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        text = path.read_text()
        return not text or "pid" in json.loads(text)
    except PermissionError:
        return True  # another user's, who may hold it
    except (OSError, ValueError, TypeError):
        return False


def _holder(lock: Path) -> str:
    for _ in range(20):  # it may not have written its note yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(lock.read_text())
            return f"process {note['pid']} on {note['host']} since {note['since']}"
        time.sleep(0.05)
    return "another process"
