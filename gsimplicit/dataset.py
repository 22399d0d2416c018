"""Labelled data: names, units and flags of variables, provenance, and NetCDF files that are whole or absent.

Plain functions on `xarray.Dataset`. A killed write leaves no file under the final name, and a file read back wrong is
never renamed to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.results import Kind, Stable, Status
from gsimplicit.version import __version__

if TYPE_CHECKING:
    import xarray as xr

COORDINATES: dict[str, tuple[str, str]] = {
    "Du": ("diffusion coefficient of u", "1"),
    "Dv": ("diffusion coefficient of v", "1"),
    "F": ("feed rate", "1"),
    "k": ("kill rate", "1"),
    "sample": ("index of the initial field", "1"),
    "objective": ("loss function", ""),
    "route": ("gradient route", ""),
    "parameter": ("parameter differentiated in", ""),
    "mode": ("index of the eigenvalue, by falling real part", "1"),
    "component": ("concentration", ""),
    "y": ("row of the grid", "1"),
    "x": ("column of the grid", "1"),
}
"""Long name and units of every coordinate; units are empty for labels."""

VARIABLES: dict[str, tuple[str, str]] = {
    "loss": ("loss of the marched state", "1"),
    "gradient": ("derivative of the loss in a parameter, by route", "1"),
    "route_loss": ("loss at the state where the route took its gradient", "1"),
    "route_status": ("how the solve of the route ended", "1"),
    "route_definition": ("what the route differentiated", "1"),
    "route_moved": ("largest distance of the route's state from the marched one", "1"),
    "status": ("how the march ended", "1"),
    "kind": ("what the state looks like", "1"),
    "steps": ("explicit steps marched", "1"),
    "change": ("largest change of u or v over the last step", "1"),
    "residual": ("largest steady residual", "1"),
    "v_mean": ("mean of v over the grid", "1"),
    "v_std": ("standard deviation of v over the grid", "1"),
    "stable": ("whether the root is linearly stable", "1"),
    "eigenvalue_real": ("growth rate of a mode of the root, per unit time", "1"),
    "eigenvalue_imag": ("angular frequency of a mode of the root, per unit time", "1"),
    "v": ("concentration v", "1"),
    "initial": ("initial concentrations", "1"),
    "target": ("target concentration v", "1"),
    "target_fields": ("target concentrations, where the residual loss is taken", "1"),
}
"""Long name and units of every variable of a scan."""

FLAGS: dict[str, type[IntEnum]] = {"status": Status, "route_status": Status, "kind": Kind, "stable": Stable}
"""Variables that hold the integers of an enumeration."""

EQUATIONS = (
    "du/dt = Du Lap(u) - u v^2 + F (1 - u); dv/dt = Dv Lap(v) + u v^2 - (F + k) v; "
    "periodic grid, unit spacing, five-point Laplacian, explicit Euler with unit time step"
)


def attributes(name: str) -> dict[str, Any]:
    """Attributes of a variable or coordinate: `long_name`, `units`, and the flags of an enumeration."""
    long_name, units = {**COORDINATES, **VARIABLES}[name]
    attrs: dict[str, Any] = {"long_name": long_name}
    if units:
        attrs["units"] = units
    if name in VARIABLES:
        attrs["coverage_content_type"] = "modelResult"  # a word of ISO 19115-1
    if name in FLAGS:
        members = list(FLAGS[name])
        attrs["flag_values"] = np.array([int(m) for m in members], dtype=np.int8)
        attrs["flag_meanings"] = " ".join(m.name.lower() for m in members)
    return attrs


def provenance(title: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Global attributes after CF 1.11 and ACDD 1.3: what made this, with which settings and versions.

    Args:
        title: One line on what the data are.
        configuration: All settings, of JSON types.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    used = {**versions(), **{name: version_of(name) for name in ("xarray", "netCDF4")}}
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": title,
        "summary": "Steady states of the Gray-Scott reaction-diffusion system over its parameters.",
        "source": f"gsimplicit {__version__}",
        "references": "arXiv:2606.11258",
        "keywords": "reaction-diffusion, Gray-Scott, steady state, loss landscape, gradient",
        "license": "MIT",
        "id": fingerprint(configuration),
        "comment": "All quantities are dimensionless: the cell is the unit of length, the step the unit of time.",
        "history": f"{now} computed by gsimplicit {__version__}",
        "date_created": now,
        "date_modified": now,
        "project": "gsimplicit",
        "product_version": __version__,
        "gsimplicit_equations": EQUATIONS,
        "gsimplicit_configuration": json.dumps(configuration, sort_keys=True),
        "gsimplicit_configuration_hash": fingerprint(configuration),
        "gsimplicit_commit": _commit(),
        "gsimplicit_versions": json.dumps(used),
    }


def fingerprint(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration of JSON types, independent of the order of its keys.

    Example:
        >>> from gsimplicit.dataset import fingerprint
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """SHA-256 of the package's source: stored results of other code are other results."""
    root = Path(__file__).parent
    files = sorted(root.rglob("*.py"))
    return hashlib.sha256(b"".join(f.relative_to(root).as_posix().encode() + f.read_bytes() for f in files)).hexdigest()


def digest(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's shape, dtype and bytes."""
    head = f"{array.shape} {array.dtype.str} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first key in which two configurations differ, with both values; None where they agree."""
    for key in sorted({*old, *new}):
        there, here = old.get(key), new.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            inner = difference(there, here)
            if inner is not None:
                return f"{key}.{inner}"
        elif there != here:
            return f"{key}: {_short(there)} there, {_short(here)} asked for"
    return None


def configuration_of(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """The configuration among the global attributes of a dataset; empty where there is none."""
    try:
        found = json.loads(attrs.get("gsimplicit_configuration", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def versions() -> dict[str, str]:
    """What computes: this package, Python, the libraries whose versions may change bits, and the kind of machine."""
    names = ("numpy", "scipy", "torch", "torchdeq", "numba", "llvmlite")
    return {
        "gsimplicit": __version__,
        "python": platform.python_version(),
        **{name: version_of(name) for name in names},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def save(dataset: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to NetCDF so that the file is whole or absent.

    Written under a temporary name beside it, flushed to disk, read back and compared, then renamed. Variables are
    compressed and carry checksums (fletcher32).

    Args:
        dataset: Variables of numbers or text.
        path: Final name; a file there is replaced.

    Returns:
        The final path.

    Raises:
        OSError: The folder cannot be written, the disk is full, or the file did not read back as written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    encoding = {
        str(name): {"zlib": True, "complevel": 4, "fletcher32": True, "_FillValue": None}
        for name, variable in dataset.variables.items()
        if variable.ndim and variable.dtype.kind in "fiu"
    }
    try:
        try:
            with _undisturbed():
                dataset.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
        except (RuntimeError, OSError) as error:  # of a full disk the library says "HDF error" or "permission denied"
            free = f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB of space are free"
            raise OSError(f"{path} could not be written: {error}; {free}, and nothing was kept") from error
        _flush(temporary)
        if not load(temporary).identical(dataset.load()):
            raise OSError(f"{path} did not read back as it was written; nothing was kept")
        _rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or absent; the temporary name starts with a point and ends with `.tmp`.

    Raises:
        OSError: It could not be written.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a NetCDF file whole and close it.

    Raises:
        OSError: The file is absent, damaged or no NetCDF file.
    """
    import xarray as xr

    try:
        with _undisturbed(), xr.open_dataset(path, engine="netcdf4") as dataset:
            return dataset.load()
    except RuntimeError as error:  # how the library reports a failed checksum
        raise OSError(f"{path} is damaged: {error}") from error


def attributes_of(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Global attributes of a NetCDF file.

    Raises:
        OSError: The file is absent, damaged or no NetCDF file.
    """
    import xarray as xr

    try:
        with _undisturbed(), xr.open_dataset(path, engine="netcdf4") as dataset:
            return dict(dataset.attrs)
    except RuntimeError as error:
        raise OSError(f"{path} is damaged: {error}") from error


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


def _temporary(path: Path) -> Path:
    # a new name each time: after a failed write the NetCDF library cannot open the same one again
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _rename(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    with suppress(PermissionError):  # a folder cannot be opened everywhere
        _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def version_of(name: str) -> str:
    """Installed version of a package, "unknown" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    """The commit of the package's own checkout; "unknown" where it is installed without one."""
    root = Path(__file__).resolve().parents[1]
    if (root / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            command = ["git", "-C", str(root), "rev-parse", "HEAD"]
            commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            changed = subprocess.run(["git", "-C", str(root), "diff", "--quiet", "HEAD"], check=False, timeout=10)
            return commit + ("-dirty" if changed.returncode else "")
    return "unknown"
