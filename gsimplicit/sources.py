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
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["loaded", "made_of", "package_sources"]


def made_of(module: ModuleType) -> bytes | None:
    """Source of a module; its byte code where there is no source, and None where there is neither."""
    spec = getattr(module, "__spec__", None)
    name, path = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    return loaded(getattr(spec, "loader", None), name, path)


def package_sources() -> dict[str, bytes]:
    """What each module of this package was made from, by its name; where that is not to be had, what equals nothing."""
    package = importlib.util.find_spec(__name__.partition(".")[0])
    assert package is not None
    specs = {spec.name: spec for spec in (package, *_inside(package))}
    return {n: loaded(specs[n].loader, n, specs[n].origin) or uuid.uuid4().bytes for n in sorted(specs)}


def _inside(package: ModuleSpec) -> Iterator[ModuleSpec]:
    """Modules of a package and of those in it. None is imported: figures need libraries that a scan does without."""
    for found in pkgutil.iter_modules(package.submodule_search_locations, f"{package.name}."):
        spec = found.module_finder.find_spec(found.name, None)
        if spec is not None:
            yield spec
            if found.ispkg:
                yield from _inside(spec)


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
