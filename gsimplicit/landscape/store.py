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
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsimplicit import dataset, files, provenance
from gsimplicit.configuration import configuration_of, fingerprint
from gsimplicit.landscape import pieces
from gsimplicit.landscape.lock import is_lock, lock_of, locked
from gsimplicit.landscape.refusals import (
    StoreMismatchError,
    another_scan,
    difference_in_words,
    maker,
    unwritable,
)  # fmt: skip
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

__all__ = ["Store", "StoreWarning"]


class StoreWarning(UserWarning):
    """Damaged tiles were found and are computed again.

    Examples:
        >>> import warnings
        >>> import gsimplicit as gs
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", gs.StoreWarning)  # a scan of damaged tiles now ends instead
    """


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
        self._whole = {**self._configuration, "versions": provenance.versions()}
        self._hash = fingerprint(self._whole)
        self._overwrite, self._parts = overwrite, parts
        self._check()

    def finished(self) -> xr.Dataset | None:
        """The final dataset where it is there under this configuration, else None.

        Raises:
            OSError: It is there and cannot be read: nothing is computed over it.
            StoreMismatchError: It was edited since it was written.
        """
        if not there(self.path) or self._differs_finished() is not None:
            return None
        try:
            found = dataset.load(self.path)
        except OSError as error:
            if self._overwrite:
                return None
            raise OSError(f"{error}; overwrite=True computes it again") from error
        if found.attrs.get(dataset.CONTENT, dataset.content_of(found)) == dataset.content_of(found):
            return found
        if self._overwrite:
            return None
        raise StoreMismatchError(
            f"{self.path} holds other values than the scan that was written there: it was edited since, by a program "
            "that kept its attributes; give another store or overwrite=True"
        )

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
            raise unwritable(error, self.path) from error
        self._require_free_names()
        with locked(self.path):
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
                raise unwritable(error, self.path) from error
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

    def _require_free_names(self) -> None:
        """Raise where something that is not the store's has the name of its folder or of its lock.

        Raises:
            FileExistsError: It has; names it.
        """
        lock = lock_of(self.path)
        for place, free, what in (
            (self.folder, not os.path.lexists(self.folder) or self.folder.is_dir(), "folder of tiles"),
            (lock, not os.path.lexists(lock) or is_lock(lock), "lock"),
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
            return another_scan(f"it cannot be read: {error}")
        if not found.get("gsimplicit_complete", 1):
            return another_scan("it is the export of an unfinished one")
        here = self._configuration
        return difference_in_words(configuration_of(found), here, lambda: maker(found), lambda: self._changed(found))

    def _differs_tiles(self) -> str | None:
        """What tells the tiles from what is asked for; None where nothing does, or there are none."""
        if not there(self.folder):
            return None
        manifest = manifest_of(self.folder)
        if manifest is not None:
            return difference_in_words(
                manifest["configuration"],
                self._whole,
                lambda: _beginner(self.folder, manifest),
                lambda: self._changed(_frame_attributes(self.folder)),
            )
        # no manifest, or a damaged one: each tile names the hash of what it belongs to
        for tile in tiles_of(self.folder):
            with suppress(OSError, *DAMAGE):
                if unpacked(tile)[0] != self._hash:
                    return another_scan("its manifest is gone and its tiles are of something else")
        return None

    def _changed(self, attrs: Mapping[Any, Any]) -> str:
        """What changed of the user's own since a dataset was made or begun."""
        there = attrs.get(pieces.ATTRIBUTE)
        return "" if there is None or self._parts is None else pieces.changed(there, self._parts())


def _frame_attributes(folder: Path) -> dict[Any, Any]:
    with suppress(OSError, ValueError):
        return dataset.attributes_of(folder / "frame.nc")
    return {}


def _beginner(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Who made a dataset that is not finished; when, where that is all that is known."""
    attrs = _frame_attributes(folder)
    return maker(attrs) if attrs else f"begun {manifest.get('begun', 'undated')}"
