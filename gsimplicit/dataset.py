"""Labelled data: names, units and flags of variables, provenance, and NetCDF files that are whole or absent.

Plain functions on `xarray.Dataset`. A killed write leaves no file under the final name, and a file read back wrong is
never renamed to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import files
from gsimplicit.equations import DEFAULT
from gsimplicit.results import Kind, Stable, Status
from gsimplicit.sources import package_sources
from gsimplicit.version import __version__

if TYPE_CHECKING:
    import xarray as xr

    from gsimplicit.equations import Model


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

NUMERICS = "periodic grid, unit spacing, five-point Laplacian, explicit Euler"


def attributes(name: str, model: Model = DEFAULT) -> dict[str, Any]:
    """Attributes of a variable or coordinate: `long_name`, `units`, and the flags of an enumeration.

    Parameters are named in the model's words.
    """
    if name in model.parameters:
        words = model.words.get(name, f"parameter {name}")
        long_name, units = COORDINATES[name] if model is DEFAULT else (words, "1")
    else:
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


def provenance(title: str, configuration: Mapping[str, Any], model: Model = DEFAULT) -> dict[str, Any]:
    """Global attributes after CF 1.11 and ACDD 1.3: what made this, with which settings and versions.

    Args:
        title: One line on what the data are.
        configuration: All settings, of JSON types.
        model: What was solved.
    """
    name = "Gray-Scott" if model is DEFAULT else model.name
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    used = {**versions(), **{name: version_of(name) for name in ("xarray", "netCDF4")}}
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": title,
        "summary": f"Steady states of the {name} reaction-diffusion system over its parameters.",
        "source": f"gsimplicit {__version__}",
        "references": "arXiv:2606.11258",
        "keywords": f"reaction-diffusion, {name}, steady state, loss landscape, gradient",
        "license": "MIT",
        "id": fingerprint(configuration),
        "comment": "All quantities are dimensionless: the cell is the unit of length, the step the unit of time.",
        "history": f"{now} computed by gsimplicit {__version__}",
        "date_created": now,
        "date_modified": now,
        "project": "gsimplicit",
        "product_version": __version__,
        "gsimplicit_equations": f"{model.equations or model}; {NUMERICS}",
        "gsimplicit_configuration": json.dumps(configuration, sort_keys=True),
        "gsimplicit_configuration_hash": fingerprint(configuration),
        "gsimplicit_commit": _commit(),
        "gsimplicit_versions": json.dumps(used),
    }


def parameters_of(data: xr.Dataset) -> tuple[str, ...]:
    """Names of the parameters of the model that a scan is of."""
    told = configuration_of(data.attrs).get("model")
    return DEFAULT.parameters if told is None else (*told["diffusivity"], *told["rates"])


def fingerprint(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration of JSON types, independent of the order of its keys.

    Example:
        >>> from gsimplicit.dataset import fingerprint
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


LEAVES = (
    "__main__", "bifurcation", "landscape.cliffs", "plotting", "routes.compare", "routes.comparison", "testing",
    "version",
)  # fmt: skip
"""Modules of the package that no value of a scan depends on: they look at results, or make others."""


@lru_cache(maxsize=2)
def code_fingerprint(*, leaves: bool = False) -> str:
    """SHA-256 of the package's source: stored results of other code are other results.

    Args:
        leaves: Take in the modules that no scan depends on (`LEAVES`), as what is computed with them does.
    """
    found = hashlib.sha256()
    for name, source in sorted(package_sources().items()):
        inside = name.partition(".")[2]  # empty for the package itself, which only hands names on
        if leaves or (inside and not any(f"{inside}.".startswith(f"{leaf}.") for leaf in LEAVES)):
            found.update(f"{name} {len(source)} ".encode() + source)
    return found.hexdigest()


def digest(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's shape, dtype and bytes."""
    head = f"{array.shape} {array.dtype.str} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


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


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first key in which two configurations differ, with both values; None where they agree."""
    for key in sorted({*old, *new}):
        there, here = old.get(key), new.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            inner = difference(there, here)
            if inner is not None:
                return f"{key}.{inner}"
        elif there != here:
            return f"{key}: {_told(there, here)}"
    return None


def _told(there: Any, here: Any) -> str:
    """What tells two settings apart; functions and objects of a user's are known by digests, which say nothing."""
    if isinstance(there, list) and isinstance(here, list):
        names = [[_name(one) for one in some] for some in (there, here)]
        if names[0] == names[1] and any(name is not None for name in names[0]):
            apart = [n for n, (a, b) in enumerate(zip(there, here, strict=True)) if a != b]
            return "; ".join(_changed(str(names[0][n]), there[n], here[n]) for n in apart)
        if any(name is not None for name in names[0] + names[1]):
            there, here = ([one if name is None else name for name, one in zip(*pair, strict=True)]
                           for pair in ((names[0], there), (names[1], here)))  # fmt: skip
    elif _name(there) is not None and _name(there) == _name(here):
        return _changed(str(_name(there)), there, here)
    if all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in (there, here)):
        return f"{there[:12]}... there, {here[:12]}... asked for, the digests of what they hold"
    return f"{_short(there)} there, {_short(here)} asked for"


def _name(value: Any) -> str | None:
    """Name of a function or object that is known by a digest; None for others."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value):
        return str(value[0])
    return str(value["type"]) if isinstance(value, Mapping) and "type" in value else None


def _changed(name: str, there: Any, here: Any) -> str:
    """What is said of two of one name."""
    if isinstance(there, Mapping) and isinstance(here, Mapping) and "content" not in {**there, **here}:
        return f"{name}.{difference(there, here)}"
    return f"{name!r} is another one there: its code, or a value or function that it reaches, is not the same"


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
                attrs[name] = value.encode()
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
