"""Tiles, the manifest and the frame of a dataset that is not finished: reading them changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import dataset, files
from gsimplicit.configuration import configuration_of, difference, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

Values = dict[str, np.ndarray[Any, Any]]
"""Variables of one point, or of some points stacked, by name."""

MAGIC = b"gsimplicit tile 1 "
DAMAGE = (ValueError, EOFError, KeyError, zipfile.BadZipFile)
"""What reading a damaged tile raises."""


def there(path: Path) -> bool:
    """Whether a file or folder is there.

    Raises:
        OSError: The folder around it may not be looked into.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def begun_since(path: Path) -> bool:
    """Whether tiles lie beside a final file that are of something else: it is being replaced."""
    try:
        manifest = manifest_of(folder_of(path))
    except PermissionError:  # they are not for us; the file is
        return False
    if manifest is None:
        return False
    asked = {key: value for key, value in manifest["configuration"].items() if key != "versions"}
    with suppress(OSError, ValueError):
        return difference(configuration_of(dataset.attributes_of(path)), asked) is not None
    return True


def stored_part(path: str | os.PathLike[str]) -> tuple[xr.Dataset, list[tuple[list[int], Values]]]:
    """Frame and tiles of a dataset that is not finished, for looking while it is computed; nothing is changed.

    Raises:
        FileNotFoundError: Nothing is stored there.
        OSError: The frame is damaged; the next run writes it again.
    """
    folder = folder_of(files.place("path", path))
    manifest = manifest_of(folder)
    if manifest is None:
        raise FileNotFoundError(f"neither {path} nor an unfinished dataset of that name is there")
    if digest_of(folder / "frame.nc") != manifest["frame"]:
        raise OSError(f"{folder / 'frame.nc'} is damaged; resuming writes it again")
    found = []
    for tile in tiles_of(folder):
        with suppress(OSError, *DAMAGE):  # damaged, or gone since it was listed
            head, indices, values = unpacked(tile)
            if head == manifest["hash"]:
                found.append((indices, values))
    return dataset.load(folder / "frame.nc"), found


def folder_of(path: Path) -> Path:
    """The folder of tiles beside a file."""
    return path.with_name(f"{path.name}.tiles")


def tiles_of(folder: Path) -> list[Path]:
    """Files of the tiles in a folder."""
    return sorted(folder.glob("tile-*.tile"))


def packed(identity: str, indices: Sequence[int], values: Values) -> bytes:
    """A tile: the SHA-256 of what follows, then points with their indices and the hash of what they belong to."""
    stream = io.BytesIO()
    np.savez(stream, **values, index=np.array(indices), hash=np.array(identity))  # type: ignore[arg-type]
    body = stream.getvalue()
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unpacked(tile: Path) -> tuple[str, list[int], Values]:
    """Hash of the configuration, indices and values of a tile; a ValueError where a bit of it is not as written."""
    head, _, body = tile.read_bytes().partition(b"\n")
    if head != MAGIC + hashlib.sha256(body).hexdigest().encode():
        raise ValueError(f"{tile} is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        values = {name: archive[name] for name in archive.files}
    return str(values.pop("hash")), values.pop("index").tolist(), values


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest; None where it is absent, or not as it was written.

    Raises:
        OSError: It is there and cannot be read now.
    """
    try:
        found = json.loads((folder / "manifest.json").read_bytes())
        whole = found["hash"] == fingerprint(found["configuration"]) and isinstance(found["frame"], str)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    except PermissionError as error:
        raise files.not_ours(error, folder) from error
    return found if whole else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def now() -> str:
    """The time, as manifests and locks note it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
