"""Where code comes from: installed packages are told by name and version, a user's own modules by what is in them."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import os
import sys
import sysconfig
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_BY_NAME = {"torch", "numpy", "scipy", "numba", "llvmlite", "torchdeq"}
"""Packages told by name alone: every file names their versions (`dataset.versions`)."""

_OURS = str(Path(__file__).resolve().parents[1])


def origin(module: str) -> str | None:
    """How a module is told where it is installed, "scipy" or "attrs 25.1 <digest>"; None where it is a user's own."""
    top = module.partition(".")[0]
    if top in ("__main__", "__mp_main__", ""):
        return None
    if top in sys.builtin_module_names:
        return top
    place = _place(module) or _place(top)
    if place is None:
        return None
    if place in ("built-in", "frozen") or place == _OURS or place.startswith(_OURS + os.sep):
        return top
    if _standard(place):
        return top
    if top in _BY_NAME and "site-packages" in place + os.sep:
        return top
    return _installed(top, place)


def origin_of(function: FunctionType) -> str | None:
    """As `origin`, of the module whose globals a function sees; a name it was given by `wraps` does not count."""
    space = function.__globals__
    name = space.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return origin(name) if module is not None and module.__dict__ is space and isinstance(name, str) else None


def found_by_name(module: str, qualname: str, value: object) -> bool:
    """Whether a name leads to this very object, so that the name tells it."""
    at: Any = sys.modules.get(module)
    for part in qualname.split("."):
        at = getattr(at, part, None)
    return at is value


def reached_module(name: str) -> ModuleType | str:
    """A module that a function imports: the module where it is a user's own, else how it is told.

    A user's module is imported, as calling the function would do; one that is absent is told as that.
    """
    if name in sys.modules:
        return sys.modules[name]
    if _spec(name.partition(".")[0]) is None:
        return f"{name} is absent"
    told = origin(name)
    if told is not None:
        return f"{told}:{name}"
    try:
        return importlib.import_module(name)
    except Exception as error:
        return f"{name} cannot be imported: {type(error).__name__}"


def importable(name: str) -> bool:
    """Whether a name that is not imported yet leads to a module; of a name with points, its first part."""
    return _spec(name.partition(".")[0]) is not None


def text_of(module: ModuleType) -> str:
    """Digest of a module's source, or of its compiled file; of nothing where it was made in memory."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return ""
    linecache.checkcache(file)
    lines = [] if file.endswith((".so", ".pyd", ".pyc")) else linecache.getlines(file, module.__dict__)
    data = "".join(lines).encode(errors="surrogatepass")
    if not lines:
        with suppress(OSError):
            data = Path(file).read_bytes()
    return hashlib.sha256(data).hexdigest()


def _place(module: str) -> str | None:
    """Resolved path of a module's file or folder; "built-in" or "frozen" where it has none; None where unknown."""
    there = sys.modules.get(module)
    spec = getattr(there, "__spec__", None) if there is not None else _spec(module.partition(".")[0])
    file = getattr(there, "__file__", None) or getattr(spec, "origin", None)
    if file in ("built-in", "frozen"):
        return str(file)
    if not isinstance(file, str):
        folders = list(getattr(there, "__path__", None) or getattr(spec, "submodule_search_locations", None) or [])
        file = folders[0] if folders and isinstance(folders[0], str) else None
    return None if file is None else os.path.realpath(file)


def _spec(top: str) -> ModuleSpec | None:
    try:
        return find_spec(top)  # of a name without a point: nothing is imported
    except (ImportError, ValueError, AttributeError):
        return None


@lru_cache(maxsize=1)
def _standard_folders() -> tuple[str, ...]:
    return tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")})


def _standard(place: str) -> bool:
    inside = place.startswith(_standard_folders())
    return inside and "site-packages" not in place and "dist-packages" not in place


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in packages_distributions().items()}


@lru_cache(maxsize=256)
def _installed(top: str, place: str) -> str | None:
    """Name, version and digest of the listed files of the distribution that a file belongs to."""
    for name in dict.fromkeys(_distributions().get(top, [])):
        with suppress(PackageNotFoundError, OSError):
            found = distribution(name)
            if not place.startswith(os.path.realpath(str(found.locate_file(""))) + os.sep):
                continue  # installed as a link to a user's own folder
            record = [line for line in (found.read_text("RECORD") or "").splitlines() if ".py,sha256" in line]
            # a package that was changed and installed again under the same version has other files
            return f"{name} {found.version} {hashlib.sha256(chr(10).join(record).encode()).hexdigest()[:16]}"
    return None
