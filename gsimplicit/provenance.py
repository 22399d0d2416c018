"""What made a dataset: the global attributes of its file, the versions of what computes, and the package's own code."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsimplicit.configuration import fingerprint
from gsimplicit.equations import DEFAULT
from gsimplicit.sources import package_sources
from gsimplicit.version import __version__

if TYPE_CHECKING:
    from gsimplicit.equations import Model

__all__ = ["LEAVES", "code_fingerprint", "global_attributes", "versions"]

NUMERICS = "periodic grid, unit spacing, five-point Laplacian, explicit Euler"


def global_attributes(title: str, configuration: Mapping[str, Any], model: Model = DEFAULT) -> dict[str, Any]:
    """Global attributes after CF 1.11 and ACDD 1.3: what made this, with which settings and versions.

    Args:
        title: One line on what the data are.
        configuration: All settings, of JSON types.
        model: What was solved.
    """
    name = "Gray-Scott" if model is DEFAULT else model.name
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    used = {**versions(), **{name: _version_of(name) for name in ("xarray", "netCDF4")}}
    return {
        "Conventions": "CF-1.11, ACDD-1.3",
        "title": title,
        "summary": f"Steady states of the {name} reaction-diffusion system over its parameters.",
        "source": f"gsimplicit {__version__}",
        "references": "arXiv:2606.11258",
        "keywords": f"reaction-diffusion, {name}, steady state, loss landscape, gradient",
        "license": "MIT",
        "id": fingerprint(configuration),
        "comment": "All quantities are dimensionless: the pixel is the unit of length, and rates are per unit of time, "
        "of which a step takes dt, 1 unless the configuration says otherwise.",
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


LEAVES = (
    "__main__", "bifurcation", "descent", "explorer", "images", "inverse", "landscape.boundaries", "landscape.cells",
    "landscape.cliffs", "landscape.edge_maps", "options", "plotting", "routes.compare", "routes.comparison",
    "testing", "version",
)  # fmt: skip
"""Modules of the package that no value of a scan depends on: they look at results, or make others."""


@lru_cache(maxsize=4)
def code_fingerprint(*, leaves: bool = False, room: str = "") -> str:
    """SHA-256 of the package's source: stored results of other code are other results.

    Args:
        leaves: Take in the modules that no scan depends on (`LEAVES`), as what is computed with them does.
        room: Take in this one of them, as what is computed with it alone does.
    """
    found = hashlib.sha256()
    for name, source in sorted(package_sources().items()):
        inside = name.partition(".")[2]  # empty for the package itself, which only hands names on
        left_out = [leaf for leaf in LEAVES if leaf != room]
        if leaves or (inside and not any(f"{inside}.".startswith(f"{leaf}.") for leaf in left_out)):
            found.update(f"{name} {len(source)} ".encode() + source)
    return found.hexdigest()


def versions() -> dict[str, str]:
    """What computes: this package, Python, the libraries whose versions may change bits, and the kind of machine."""
    names = ("numpy", "scipy", "torch", "torchdeq", "numba", "llvmlite")
    return {
        "gsimplicit": __version__,
        "python": platform.python_version(),
        **{name: _version_of(name) for name in names},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _version_of(name: str) -> str:
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
