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
import hashlib
import io
import json
import os
import socket
import time
import warnings
import zipfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr

__all__ = ["Store", "StoreLockedError", "StoreMismatchError", "StoreWarning", "Values", "begun_since", "stored_part"]

Values = dict[str, np.ndarray[Any, Any]]
"""Variables of one point, or of some points stacked, by name."""

_MAGIC = b"gsimplicit tile 1 "
_DAMAGE = (ValueError, EOFError, KeyError, zipfile.BadZipFile)


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

    Raises:
        StoreMismatchError: Another configuration is there and `overwrite` is False; names the differing key.
    """

    def __init__(
        self, path: str | os.PathLike[str], configuration: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.folder = _folder(self.path)
        self._configuration = dict(configuration)
        # another version of a library may change bits: a file is made with one set of versions from start to end
        self._whole = {**self._configuration, "versions": dataset.versions()}
        self._hash = dataset.fingerprint(self._whole)
        self._overwrite = overwrite
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "store must be a file to write, and is a folder", str(self.path))
        self._check()

    def finished(self) -> xr.Dataset | None:
        """The final dataset where it is there under this configuration, else None."""
        if not self.path.exists() or self._differs_finished() is not None:
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
        with self._locked():
            self._check()  # again: what is there may have changed before the lock was ours
            if self._differs_tiles() is not None:
                self.sweep()
            try:
                self.folder.mkdir(exist_ok=True)
                for place, pattern in ((self.folder, ".*.tmp"), (self.path.parent, f".{self.path.name}.*.tmp")):
                    for leftover in place.glob(pattern):
                        leftover.unlink(missing_ok=True)
            except OSError as error:
                raise self._unwritable(error) from error
            yield

    def begin(self, frame: xr.Dataset) -> None:
        """Write the manifest and the frame, where they are not there yet.

        Args:
            frame: The labelled dataset without its points; that it is written shows that the place is writable and that
                NetCDF can hold the attributes.

        Raises:
            OSError: The place cannot be written.
        """
        there, file = _manifest(self.folder), self.folder / "frame.nc"
        with suppress(OSError):
            if there is not None and _digest(file) == there["frame"]:
                return
        dataset.save(frame, file)
        manifest = {"hash": self._hash, "frame": _digest(file), "begun": _now(), "configuration": self._whole}
        dataset.write(self.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True).encode())

    def read(self) -> Iterator[tuple[list[int], Values]]:
        """Tiles stored so far, as indices and stacked values; damaged ones are deleted, with a warning."""
        damaged = 0
        for tile in _tiles(self.folder):
            try:
                head, indices, values = _unpacked(tile)
                if head != self._hash:
                    raise ValueError("a tile of something else")
            except _DAMAGE:  # and no OSError: a file that cannot be read now may be whole
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
        stream = io.BytesIO()
        np.savez(stream, **values, index=np.array(indices), hash=np.array(self._hash))  # type: ignore[arg-type]
        body = stream.getvalue()
        head = _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n"
        try:
            dataset.write(self.folder / f"tile-{indices[0]:09d}.tile", head + body)
        except OSError as error:
            raise type(error)(
                error.errno,
                f"a tile could not be written ({error.strerror}); the {len(_tiles(self.folder))} stored stay: "
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
            lock.acquire()
        except filelock.Timeout:
            raise StoreLockedError(
                f"{self.path} is being computed by {_holder(name)}; wait for it, stop it, or give another store"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with suppress(OSError):  # a full disk holds no note; the lock holds all the same
                name.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}))
            yield
        finally:
            # while it is still held, or another's lock would go
            name.unlink(missing_ok=True)
            lock.release()

    def _unwritable(self, error: OSError) -> OSError:
        return type(error)(error.errno, f"the store cannot be written: {error.strerror or error}", str(self.path))

    def _check(self) -> None:
        if self._overwrite:
            return
        for there, key in ((self.path, self._differs_finished()), (self.folder, self._differs_tiles())):
            if key is not None:
                raise StoreMismatchError(f"{there} holds another scan ({key}); give another store or overwrite=True")

    def _differs_finished(self) -> str | None:
        """What tells the final file from what is asked for; None where nothing does, or there is no file."""
        if not self.path.exists():
            return None
        try:
            found = dataset.attributes_of(self.path)
        except (OSError, ValueError) as error:
            return f"it cannot be read: {error}"
        if not found.get("gsimplicit_complete", 1):
            return "it is the export of an unfinished one"
        return dataset.difference(dataset.configuration_of(found), self._configuration)

    def _differs_tiles(self) -> str | None:
        if not self.folder.exists():
            return None
        manifest = _manifest(self.folder)
        if manifest is not None:
            return dataset.difference(manifest["configuration"], self._whole)
        # no manifest, or a damaged one: each tile names the hash of what it belongs to
        for tile in _tiles(self.folder):
            with suppress(OSError, *_DAMAGE):
                if _unpacked(tile)[0] != self._hash:
                    return "its manifest is gone and its tiles are of something else"
        return None


def begun_since(path: Path) -> bool:
    """Whether tiles lie beside a final file that are of something else: it is being replaced."""
    manifest = _manifest(_folder(path))
    if manifest is None:
        return False
    there = {key: value for key, value in manifest["configuration"].items() if key != "versions"}
    with suppress(OSError, ValueError):
        return dataset.difference(dataset.configuration_of(dataset.attributes_of(path)), there) is not None
    return True


def stored_part(path: str | os.PathLike[str]) -> tuple[xr.Dataset, list[tuple[list[int], Values]]]:
    """Frame and tiles of a dataset that is not finished, for looking while it is computed; nothing is changed.

    Raises:
        FileNotFoundError: Nothing is stored there.
        OSError: The frame is damaged; the next run writes it again.
    """
    folder = _folder(Path(path))
    manifest = _manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"neither {path} nor an unfinished dataset of that name is there")
    if _digest(folder / "frame.nc") != manifest["frame"]:
        raise OSError(f"{folder / 'frame.nc'} is damaged; resuming writes it again")
    found = []
    for tile in _tiles(folder):
        with suppress(OSError, *_DAMAGE):  # damaged, or gone since it was listed
            head, indices, values = _unpacked(tile)
            if head == manifest["hash"]:
                found.append((indices, values))
    return dataset.load(folder / "frame.nc"), found


def _folder(path: Path) -> Path:
    return path.with_name(f"{path.name}.tiles")


def _tiles(folder: Path) -> list[Path]:
    return sorted(folder.glob("tile-*.tile"))


def _unpacked(tile: Path) -> tuple[str, list[int], Values]:
    """Hash of the configuration, indices and values of a tile; a ValueError where a bit of it is not as written."""
    head, _, body = tile.read_bytes().partition(b"\n")
    if head != _MAGIC + hashlib.sha256(body).hexdigest().encode():
        raise ValueError(f"{tile} is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        values = {name: archive[name] for name in archive.files}
    return str(values.pop("hash")), values.pop("index").tolist(), values


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest; None where it is absent, or not as it was written."""
    try:
        found = json.loads((folder / "manifest.json").read_bytes())
        whole = found["hash"] == dataset.fingerprint(found["configuration"]) and isinstance(found["frame"], str)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if whole else None


def _holder(lock: Path) -> str:
    for _ in range(20):  # it may not have written its note yet
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads(lock.read_text())
            return f"process {note['pid']} on {note['host']} since {note['since']}"
        time.sleep(0.05)
    return "another process"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
