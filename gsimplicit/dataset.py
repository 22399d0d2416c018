"""NetCDF files that are whole or absent, and the digest by which an edited one is known.

Plain functions on `xarray.Dataset`. A killed write leaves no file under the final name, and a file read back wrong is
never renamed to it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import files

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["CONTENT", "attributes_of", "content_of", "load", "names_of", "opened_without", "part", "save"]

CONTENT = "gsimplicit_content"
"""Attribute of a stored dataset: the digest of its values."""


def content_of(data: xr.Dataset) -> str:
    """SHA-256 of all values of a dataset with their names and dimensions; attributes do not count."""
    found = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        variable = data[name].variable
        values = np.asarray(variable.values)
        if values.dtype.kind in "UOST":
            values = np.array([str(one) for one in values.ravel()]).reshape(values.shape)
        else:
            values = values.astype(values.dtype.newbyteorder("="), copy=False)
        found.update(f"{name} {variable.dims} {values.shape} ".encode())
        found.update(
            np.ascontiguousarray(values).tobytes() if values.dtype.kind != "U" else repr(values.tolist()).encode()
        )
    return found.hexdigest()


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to NetCDF so that the file is whole or absent.

    Written under a temporary name beside it, flushed to disk, read back and compared, then renamed. Variables are
    compressed and carry checksums (fletcher32). Text is written as characters of a fixed width: files with text of
    variable length crash the library where they are opened twice.

    Args:
        dataset: Variables of numbers or text.
        path: Final name, `~` for the home folder; a file there is replaced.

    Returns:
        The final path.

    Raises:
        ValueError: The path is one that cannot be written, or an attribute is a list of texts.
        OSError: The folder cannot be written, the disk is full, or the file did not read back as written.
    """
    path = files.to_write("path", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = files.temporary(path)
    try:
        try:
            with files.netcdf():
                _written(dataset).to_netcdf(aside, engine="netcdf4", encoding=_encoding(dataset))
        except (RuntimeError, OSError) as error:  # of a full disk the library says "HDF error" or "permission denied"
            free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB of space are free"
            raise OSError(f"{path} could not be written: {error}; {free}, and nothing was kept") from error
        files.sync(aside)
        if not load(aside).identical(dataset.load()):
            raise OSError(f"{path} did not read back as it was written; nothing was kept")
        files.rename(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    """How variables are written: numbers compressed and with checksums, text as characters."""
    out: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "UOT":
            out[str(name)] = {"dtype": "S1"}
        elif variable.ndim and variable.dtype.kind in "fiu":
            out[str(name)] = {"zlib": True, "complevel": 4, "fletcher32": True, "_FillValue": None}
    return out


def _written(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with texts of its attributes as bytes, which are read as text again; others have a variable length.

    How the variables were kept in a file they came from is left out: it is not how they are to be written.
    """
    out = dataset.drop_encoding()
    for attrs in (out.attrs, *(variable.attrs for variable in out.variables.values())):
        for name, value in attrs.items():
            if isinstance(value, str) and not value.isascii():
                attrs[name] = np.array(value.encode())  # xarray 2024.7 takes no bare bytes
            elif np.ndim(value) and np.asarray(value).dtype.kind in "UO":
                raise ValueError(f"attribute {name!r} must be a number, numbers or one text, got {value!r}")
    return out


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a NetCDF file whole and close it.

    Raises:
        ValueError: The path is one that NetCDF cannot open.
        OSError: The file is absent, damaged, no NetCDF file, or may not be read.
    """
    with _opened(path) as dataset:
        return dataset.load()


def attributes_of(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Global attributes of a NetCDF file.

    Raises:
        ValueError: The path is one that NetCDF cannot open.
        OSError: The file is absent, damaged, no NetCDF file, or may not be read.
    """
    with _opened(path) as dataset:
        return dict(dataset.attrs)


def names_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names of the variables of a NetCDF file; raises as `load`."""
    with _opened(path) as dataset:
        return tuple(map(str, dataset.data_vars))


def opened_without(path: str | os.PathLike[str], names: tuple[str, ...]) -> xr.Dataset:
    """A NetCDF file without some of its variables, read and closed; raises as `load`."""
    with _opened(path) as dataset:
        return dataset.drop_vars(names, errors="ignore").load()


def part(path: str | os.PathLike[str], name: str, place: Mapping[str, int]) -> xr.DataArray:
    """A part of one variable of a NetCDF file; the rest is not read. Raises as `load`."""
    with _opened(path) as dataset:
        return dataset[name].isel(place).load()


@contextmanager
def _opened(given: str | os.PathLike[str]) -> Iterator[xr.Dataset]:
    """A NetCDF file, read from memory where this process has it open already.

    Files of earlier versions hold text of variable length, and a second opening of such a one is a crash.
    """
    import xarray as xr

    path = files.place("path", given)
    files.readable(path)
    if not path.stat().st_size:
        raise OSError(f"{path} is empty, and no NetCDF file")
    try:
        with files.netcdf():
            if not files.held_here(path):
                with xr.open_dataset(path, engine="netcdf4") as dataset:
                    yield dataset
                return
            import netCDF4

            memory = netCDF4.Dataset(path.name, memory=path.read_bytes())
            with xr.open_dataset(xr.backends.NetCDF4DataStore(memory)) as dataset:  # type: ignore[no-untyped-call]
                yield dataset
    except RuntimeError as error:  # how the library reports a failed checksum
        raise OSError(f"{path} is damaged: {error}") from error
