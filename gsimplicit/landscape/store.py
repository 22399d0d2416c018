"""Where a scan keeps its points while it runs, so that an interrupted one resumes.

Beside the final file `plane.nc` stands a folder `plane.nc.tiles` with a manifest (the configuration) and one file a
tile of points. A tile is written under a temporary name and renamed; its archive carries checksums, so that a damaged
one is noticed and computed again. The folder goes once the final file is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from gsimplicit.landscape.point import Values


class StoreMismatchError(ValueError):
    """A store holds a scan of another configuration."""


class Store:
    """The files of one scan.

    Args:
        path: Final NetCDF file.
        configuration: What the scan computes, of JSON types.
        overwrite: Whether what was stored there under another configuration may go.

    Raises:
        StoreMismatchError: Another configuration is there and `overwrite` is False; names the differing key.
    """

    def __init__(
        self, path: str | os.PathLike[str], configuration: Mapping[str, Any], *, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.tiles = self.path.with_name(f"{self.path.name}.tiles")
        self._configuration = dict(configuration)
        # nothing is deleted here: what is there goes when its replacement is whole
        self._other = {there: self._differs(found) for there, found in self._found()}
        for there, key in self._other.items():
            if key and not overwrite:
                raise StoreMismatchError(f"{there} holds another scan ({key}); give another store or overwrite=True")

    def finished(self) -> xr.Dataset | None:
        """The final dataset where it is there, else None."""
        return dataset.load(self.path) if self.path.exists() and not self._other[self.path] else None

    def open(self) -> None:
        """Make the folder of tiles and sweep what killed writers left."""
        if self._other[self.tiles]:
            shutil.rmtree(self.tiles, ignore_errors=True)
        self.tiles.mkdir(parents=True, exist_ok=True)
        for leftover in self.tiles.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        self._write("manifest.json", json.dumps(self._configuration, sort_keys=True).encode())

    def read(self) -> dict[int, Values]:
        """Points stored so far by index; damaged tiles are dropped."""
        points: dict[int, Values] = {}
        for tile in sorted(self.tiles.glob("tile-*.npz")):
            try:
                with tile.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                tile.unlink(missing_ok=True)
                continue
            for n, index in enumerate(arrays.pop("index").tolist()):
                points[index] = {name: values[n] for name, values in arrays.items()}
        return points

    def add(self, indices: Sequence[int], points: Sequence[Values]) -> None:
        """Store one tile of points."""
        temporary = self.tiles / f"tile-{indices[0]:08d}.{os.getpid()}.tmp"
        arrays = {name: np.stack([p[name] for p in points]) for name in points[0]}
        with temporary.open("wb") as stream:
            np.savez(stream, index=np.array(indices), **arrays)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.tiles / f"tile-{indices[0]:08d}.npz")

    def finish(self, whole: xr.Dataset) -> None:
        """Write the final file, then let the tiles go."""
        dataset.save(whole, self.path)
        shutil.rmtree(self.tiles, ignore_errors=True)

    def _found(self) -> list[tuple[Path, dict[str, Any] | None]]:
        return [(self.path, self._finished()), (self.tiles, self._manifest())]

    def _differs(self, found: dict[str, Any] | None) -> str | None:
        return None if found is None else dataset.difference(found, self._configuration)

    def _finished(self) -> dict[str, Any] | None:
        import xarray as xr

        if not self.path.exists():
            return None
        with xr.open_dataset(self.path, engine="netcdf4") as found:
            return dataset.configuration_of(found)

    def _manifest(self) -> dict[str, Any] | None:
        manifest = self.tiles / "manifest.json"
        if not manifest.exists():
            return None
        found = json.loads(manifest.read_text())
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, content: bytes) -> None:
        temporary = self.tiles / f"{name}.{os.getpid()}.tmp"
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.tiles / name)
