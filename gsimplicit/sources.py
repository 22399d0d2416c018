"""What the package's modules were made from: so that what is kept of one version is not taken for another's.

Modules come from files, from archives (zipimport), and without their source (byte code alone), so their loaders are
asked, never the file system.
"""

from __future__ import annotations

import importlib.util
import marshal
import pkgutil
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["loaded", "made_of", "package_sources"]


def made_of(module: ModuleType) -> bytes | None:
    """Source of a module; its byte code where there is no source, and None where there is neither."""
    spec = getattr(module, "__spec__", None)
    name, path = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    return loaded(getattr(spec, "loader", None), name, path)


def package_sources() -> dict[str, bytes]:
    """What each module of this package was made from, by its name; where that is not to be had, what equals nothing."""
    root = __name__.partition(".")[0]
    package = importlib.util.find_spec(root)
    assert package is not None
    folders = list(package.submodule_search_locations or [])
    names = [root, *(found.name for found in pkgutil.walk_packages(folders, f"{root}."))]
    specs = {name: importlib.util.find_spec(name) for name in sorted(names)}
    return {n: loaded(s.loader, n, s.origin) or uuid.uuid4().bytes for n, s in specs.items() if s is not None}


def loaded(loader: Any, name: str, path: str | None) -> bytes | None:
    """A module's source or byte code as its loader has it."""
    try:
        return bytes(loader.get_data(path))
    except Exception:  # loaders raise what they like; not all have data
        pass
    try:
        return marshal.dumps(loader.get_code(name))
    except Exception:
        return None
