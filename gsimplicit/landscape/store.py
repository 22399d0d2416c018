"""Where numbered points of a dataset are kept while they are computed, so that whatever interrupts it can be resumed.

Beside the final file `plane.nc` stands a folder `plane.nc.tiles`. In it:

- `manifest.json`: the configuration, the versions and the hash of both;
- `frame.nc`: the labelled dataset with no point in it yet, so that a part can be looked at while the rest runs;
- `tile-<first index>.tile`: one line with the SHA-256 of what follows, then an npz archive of some points.

Every file is written under a temporary name, flushed to disk and renamed. One process at a time holds the store; the
lock is the operating system's, so that one that was killed holds nothing. The folder goes once the final file is whole.
Nothing is unpickled.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import socket
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsimplicit import dataset, files
from gsimplicit.landscape import pieces
from gsimplicit.landscape.settings import decoded
from gsimplicit.landscape.tiles import (
    DAMAGE,
    Values,
    digest_of,
    folder_of,
    manifest_of,
    now,
    packed,
    there,
    tiles_of,
    unpacked,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import xarray as xr

__all__ = ["Store", "StoreLockedError", "StoreMismatchError", "StoreWarning", "Values"]


class StoreMismatchError(ValueError):
    """A store holds something else than what is asked for."""


class StoreLockedError(OSError):
    """Another process computes into the store."""


class StoreWarning(UserWarning):
    """Damaged tiles were found and are computed again."""


class Store:
    """The files of one dataset.

    Args:
        path: Final NetCDF file.
        configuration: What is computed, of JSON types.
        overwrite: Whether what was stored there under another configuration may go.
        parts: Of what is the user's own, as `pieces` tells them, to say what changed.

    Raises:
        StoreMismatchError: Another configuration is there and `overwrite` is False; names the differing key.
        ValueError: The path is one that cannot be written.
        OSError: What is there may not be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        configuration: Mapping[str, Any],
        *,
        overwrite: bool = False,
        parts: Callable[[], str] | None = None,
    ) -> None:
        self.path = files.to_write("store", path)  # absolute: the working directory may change before it is written
        self.folder = folder_of(self.path)
        self._configuration = dict(configuration)
        # another version of a library may change bits: a file is made with one set of versions from start to end
        self._whole = {**self._configuration, "versions": dataset.versions()}
        self._hash = dataset.fingerprint(self._whole)
        self._overwrite, self._parts = overwrite, parts
        self._check()

    def finished(self) -> xr.Dataset | None:
        """The final dataset where it is there under this configuration, else None.

        Raises:
            OSError: It is there and cannot be read: nothing is computed over it.
        """
        if not there(self.path) or self._differs_finished() is not None:
            return None
        try:
            return dataset.load(self.path)
        except OSError as error:
            if self._overwrite:
                return None
            raise OSError(f"{error}; overwrite=True computes it again") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the store for computing: lock and folder; leftovers of killed writers are swept.

        Raises:
            StoreMismatchError: Another configuration has come there since.
            StoreLockedError: Another process holds it; names that process.
            OSError: The place cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        self._require_free_names()
        with self._locked():
            self._check()  # again: what is there may have changed before the lock was ours
            if self._differs_tiles() is not None:
                self.sweep()
            try:
                self.folder.mkdir(exist_ok=True)
                own = f".{glob.escape(self.path.name)}.*.tmp"
                for place, pattern in ((self.folder, ".*.tmp"), (self.path.parent, own)):
                    for leftover in place.glob(pattern):
                        leftover.unlink(missing_ok=True)
            except OSError as error:
                raise self._unwritable(error) from error
            try:
                yield
            finally:
                with suppress(OSError):  # where nothing could be stored nothing is left behind
                    self.folder.rmdir()

    def begin(self, frame: xr.Dataset) -> None:
        """Write the manifest and the frame, where they are not there yet.

        Args:
            frame: The labelled dataset without its points; that it is written shows that the place is writable and that
                NetCDF can hold the attributes.

        Raises:
            OSError: The place cannot be written.
        """
        there, file = manifest_of(self.folder), self.folder / "frame.nc"
        with suppress(OSError):
            if there is not None and digest_of(file) == there["frame"]:
                return
        dataset.save(frame, file)
        manifest = {"hash": self._hash, "frame": digest_of(file), "begun": now(), "configuration": self._whole}
        files.write(self.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())

    def read(self) -> Iterator[tuple[list[int], Values]]:
        """Tiles stored so far, as indices and stacked values; damaged ones are deleted, with a warning."""
        damaged = 0
        for tile in tiles_of(self.folder):
            try:
                head, indices, values = unpacked(tile)
                if head != self._hash:
                    raise ValueError("a tile of something else")
            except DAMAGE:  # and no OSError: a file that cannot be read now may be whole
                tile.unlink(missing_ok=True)
                damaged += 1
                continue
            yield indices, values
        if damaged:
            warnings.warn(f"{damaged} damaged tiles of {self.path} are computed again", StoreWarning, stacklevel=2)

    def add(self, indices: Sequence[int], values: Values) -> None:
        """Store one tile.

        Raises:
            OSError: It could not be written; what was stored before is kept.
        """
        try:
            files.write(self.folder / f"tile-{indices[0]:09d}.tile", packed(self._hash, indices, values))
        except OSError as error:
            raise type(error)(
                error.errno,
                f"a tile could not be written ({error.strerror}); the {len(tiles_of(self.folder))} stored stay: "
                "when there is space again the same call goes on from them",
                str(self.folder),
            ) from error

    def finish(self, whole: xr.Dataset) -> None:
        """Write the final file, then let the tiles go."""
        dataset.save(whole, self.path)
        self.sweep()

    def sweep(self) -> None:
        """Let the tiles go; files that are not the store's stay."""
        for pattern in ("tile-*.tile", "manifest.json", "frame.nc", ".*.tmp"):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of the operating system on a file beside the final one; it holds a note of who holds it."""
        import filelock

        name = self.path.with_name(f"{self.path.name}.lock")
        lock = filelock.FileLock(name, timeout=0, is_singleton=False)
        try:
            # asked first: a place that cannot be locked would look like one that another process holds
            os.close(os.open(name, os.O_RDWR | os.O_CREAT, 0o666))
            lock.acquire()
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self.path} is being computed by {_holder(name)}; wait for it, stop it, or give another store"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with suppress(OSError):  # a full disk holds no note; the lock holds all the same
                name.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": now()}))
            yield
        finally:
            # while it is still held, or another's lock would go
            name.unlink(missing_ok=True)
            lock.release()

    def _unwritable(self, error: OSError) -> OSError:
        return type(error)(error.errno, f"the store cannot be written: {error.strerror or error}", str(self.path))

    def _require_free_names(self) -> None:
        """Raise where something that is not the store's has the name of its folder or of its lock.

        Raises:
            FileExistsError: It has; names it.
        """
        lock = self.path.with_name(f"{self.path.name}.lock")
        for place, free, what in (
            (self.folder, not os.path.lexists(self.folder) or self.folder.is_dir(), "folder of tiles"),
            (lock, not os.path.lexists(lock) or _is_lock(lock), "lock"),
        ):
            if not free:
                message = f"the store keeps its {what} under this name, and something else is there; give another store"
                raise FileExistsError(errno.EEXIST, message, str(place))

    def _check(self) -> None:
        """Raise for what is there and is something else, unless it may go."""
        for path, differs in ((self.path, self._differs_finished), (self.folder, self._differs_tiles)):
            told = differs()
            if told is not None and not self._overwrite:
                raise StoreMismatchError(f"{path} {told}")

    def _differs_finished(self) -> str | None:
        """What tells the final file from what is asked for; None where nothing does, or there is no file.

        Raises:
            OSError: It may not be read, so that nobody knows.
        """
        if not there(self.path):
            return None
        files.readable(self.path)
        if not self.path.stat().st_size:
            return "is an empty file, and no dataset; remove it, give another store or overwrite=True"
        try:
            found = dataset.attributes_of(self.path)
        except (OSError, ValueError) as error:
            return _another(f"it cannot be read: {error}")
        if not found.get("gsimplicit_complete", 1):
            return _another("it is the export of an unfinished one")
        here = self._configuration
        return _difference(dataset.configuration_of(found), here, lambda: _maker(found), lambda: self._changed(found))

    def _differs_tiles(self) -> str | None:
        """What tells the tiles from what is asked for; None where nothing does, or there are none."""
        if not there(self.folder):
            return None
        manifest = manifest_of(self.folder)
        if manifest is not None:
            return _difference(
                manifest["configuration"],
                self._whole,
                lambda: _beginner(self.folder, manifest),
                lambda: self._changed(_frame_attributes(self.folder)),
            )
        # no manifest, or a damaged one: each tile names the hash of what it belongs to
        for tile in tiles_of(self.folder):
            with suppress(OSError, *DAMAGE):
                if unpacked(tile)[0] != self._hash:
                    return _another("its manifest is gone and its tiles are of something else")
        return None

    def _changed(self, attrs: Mapping[Any, Any]) -> str:
        """What changed of the user's own since a dataset was made or begun."""
        there = attrs.get(pieces.ATTRIBUTE)
        return "" if there is None or self._parts is None else pieces.changed(there, self._parts())


def _frame_attributes(folder: Path) -> dict[Any, Any]:
    with suppress(OSError, ValueError):
        return dataset.attributes_of(folder / "frame.nc")
    return {}


def _another(why: str) -> str:
    return f"holds another scan ({why}); give another store or overwrite=True"


def _difference(
    old: Mapping[str, Any], new: Mapping[str, Any], maker: Callable[[], str], changed: Callable[[], str]
) -> str | None:
    """What is said of two configurations that differ; where the package's code does, who made the older one."""
    key = dataset.difference(old, new)
    if key is None or not key.startswith("code: "):
        return None if key is None else _another(key + changed())
    also = dataset.difference({**old, "code": ""}, {**new, "code": ""})
    repeat = "scan(**scan_arguments(data), store=...)" if _can_be_repeated(old) else "the same call with another store"
    return (
        f"was made by another version of this package's code ({maker()}), whose values may be others ({key}"
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


def _is_lock(path: Path) -> bool:
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


def _maker(attrs: Mapping[Any, Any]) -> str:
    """The version, commit and day that a file names."""
    version, commit = attrs.get("product_version", "unknown"), str(attrs.get("gsimplicit_commit", "unknown"))
    return f"gsimplicit {version}, commit {commit[:12]}, {attrs.get('date_created', 'undated')}"


def _beginner(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The same of a dataset that is not finished."""
    attrs = _frame_attributes(folder)
    return _maker(attrs) if attrs else f"begun {manifest.get('begun', 'undated')}"


def _holder(lock: Path) -> str:
    for _ in range(20):  # it may not have written its note yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(lock.read_text())
            return f"process {note['pid']} on {note['host']} since {note['since']}"
        time.sleep(0.05)
    return "another process"
