"""Compiled kernels kept on disk, wherever that is possible, and never in the way where it is not.

numba's own cache needs a place it can write when a kernel is defined, needs the source as a file, and fails with what
it finds there: a full disk, a file cut short, another user's folder. Here a kernel that cannot be read, or that is not
to be trusted, is compiled; one that cannot be written is compiled again in the next process.

A kernel is one file, named by all that goes into it, with a digest of its content, and put there in one move: no index,
no locks, so processes may compile side by side. It holds machine code, so it is only taken from a file that belongs to
this user, to root or to whom the package belongs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llvmlite
import numba.core.compiler
import numba.core.serialize
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_numba: Any = numba  # stubs come with some versions, and lack these names

_OPTIONS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
"""Settings of numba that change the code it writes."""


class Kept:
    """What numba asks for a kernel that it compiled before, and gives one that it has compiled.

    Args:
        function: The kernel.
        made_of: Fingerprint of the source of all that is compiled into it.
    """

    cache_path = None

    def __init__(self, function: Callable[..., Any], made_of: str) -> None:
        self._name = function.__name__
        self._made_of = made_of

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The kernel for these types; None where it is not there, or is damaged, or not to be trusted."""
        try:
            context.refresh()
            name = self._file(signature, context.codegen())
            for folder in folders():
                payload = read(folder / name)
                if payload is not None:
                    return _numba.core.compiler.CompileResult._rebuild(context, *pickle.loads(payload))
        except Exception:  # whatever is wrong with what was kept: it can be compiled
            return None
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a kernel in the first folder that takes it; nowhere if none does."""
        if result.lifted or result.library.has_dynamic_globals:  # bound to this process
            return
        with contextlib.suppress(Exception):  # it works all the same
            name, payload = self._file(signature, result.codegen), _numba.core.serialize.dumps(result._reduce())
            for folder in folders(make=True):
                if write(folder / name, payload):
                    return

    def enable(self) -> None:
        """Part of numba's interface; there is no switch."""

    def disable(self) -> None:
        """Part of numba's interface; there is no switch."""

    def flush(self) -> None:
        """Part of numba's interface; files of other versions do no harm."""

    def _file(self, signature: Any, codegen: Any) -> str:
        """Name of the file: of the kernel, the types, the code, the machine and what compiles."""
        options = [(option, getattr(_numba.config, option, None)) for option in _OPTIONS]
        versions = (_numba.__version__, llvmlite.__version__, np.__version__, sys.implementation.cache_tag)
        what = repr((self._name, str(signature), self._made_of, codegen.magic_tuple(), options, versions))
        return f"gsimplicit.{self._name}-{hashlib.sha256(what.encode()).hexdigest()[:32]}.kernel"


def folders(*, make: bool = False) -> Iterator[Path]:
    """Where kernels may lie, in this order; those that exist, or can be made.

    NUMBA_CACHE_DIR where it is set, and then no other if it can be written; beside this file, in the user's cache, and
    in a folder of the user's own below the system's temporary one.
    """
    if _numba.config.CACHE_DIR:
        chosen = Path(_numba.config.CACHE_DIR).absolute()
        if _made(chosen):
            yield chosen
            if os.access(chosen, os.W_OK | os.X_OK):
                return
    for folder in (_beside(), _users()):
        if folder is not None and (_made(folder) if make else os.path.isdir(folder)):
            yield folder
    temporary = _temporary(make=make)
    if temporary is not None:
        yield temporary


def _made(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


def _beside() -> Path | None:
    """The folder of byte code next to this file, unless it lies in an archive."""
    folder = Path(__file__).absolute().parent
    return folder / "__pycache__" if os.path.isdir(folder) else None


def _users() -> Path | None:
    """The user's cache, where there is a home."""
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "")
    if os.path.isabs(named):
        return Path(named, "gsimplicit")
    home = os.path.expanduser("~")  # stays "~" for a user without one, and is the root where HOME is empty
    caches = Path("Library", "Caches") if sys.platform == "darwin" else Path(".cache")
    has_home = os.path.isabs(home) and os.path.isdir(home) and os.path.dirname(home) != home
    return Path(home, caches, "gsimplicit") if has_home else None


def _temporary(*, make: bool) -> Path | None:
    """A folder below the temporary one that nobody else can write to or read; None where there is no such folder."""
    if not hasattr(os, "geteuid"):  # on Windows the temporary folder is the user's own: that of the cache has failed
        return None
    try:
        folder = Path(tempfile.gettempdir(), f"gsimplicit-{os.geteuid()}")
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if ours else None


def read(path: Path) -> bytes | None:
    """What a file keeps; None where it cannot be read, is damaged, or belongs to somebody else."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            if not _trusted(os.fstat(stream.fileno())):
                return None
            digest, payload = stream.read(32), stream.read()
    except OSError:
        return None
    return payload if hashlib.sha256(payload).digest() == digest else None


def _trusted(found: os.stat_result) -> bool:
    """Whether a file belongs to one who could change the package itself, or is this user."""
    if not hasattr(os, "geteuid"):
        return True
    owners = {os.geteuid(), 0}
    with contextlib.suppress(OSError):  # in an archive there is no such file
        owners.add(Path(__file__).stat().st_uid)
    return found.st_uid in owners


def write(path: Path, payload: bytes) -> bool:
    """Put a file in its place in one move; False where that cannot be done, and then nothing is left behind."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:16]}")
    try:
        # readable to others, for a cache that is filled once and shared; writable to this user alone
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with open(os.open(unfinished, flags, 0o644), "wb") as stream:
            stream.write(hashlib.sha256(payload).digest() + payload)
        os.replace(unfinished, path)
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return True
