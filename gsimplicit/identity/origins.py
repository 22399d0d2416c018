"""Where code comes from: installed packages are told by name and version, a user's own modules by what is in them."""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sys
import sysconfig
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

_BY_NAME = {"torch", "numpy", "scipy", "numba", "llvmlite", "torchdeq"}
"""Packages told by name alone: every file names their versions (`provenance.versions`)."""

_CODE = re.compile(r"\.(py|so|pyd),sha256")
"""Lines on files of code in the list of an installed package."""

_OURS = str(Path(__file__).resolve().parents[1])


def origin(module: str) -> str | None:
    """How a module is told where it is installed, "scipy" or "attrs 25.1 <digest>"; None where it is a user's own."""
    top = module.partition(".")[0]
    if top in ("__main__", "__mp_main__", ""):
        return None
    if top in sys.builtin_module_names:
        return top
    place = _place(module) or _place(top)
    return None if place is None else home_of(top, place)


def origin_of(value: FunctionType | type) -> str | None:
    """As `origin`, of the module a function or class was written in.

    Of a function that is the module whose globals it sees: a name it was given by `wraps` does not count. A class that
    holds a user's functions is a user's, whatever module it says it is of.
    """
    if not isinstance(value, type):
        space = value.__globals__
        name = space.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        return origin(name) if module is not None and module.__dict__ is space and isinstance(name, str) else None
    name = value.__module__
    home = origin(name) if isinstance(name, str) else None
    if home is None or found_by_name(name, value.__qualname__, value):
        return home
    made = [one for one in vars(value).values() if type(one) is FunctionType]
    return None if any(one.__module__ == name and foreign(one) for one in made) else home


def of_user(module: str) -> bool:
    """Whether a module is a user's own, by where it lies alone: quicker than `origin`."""
    top = module.partition(".")[0]
    if top in sys.builtin_module_names:
        return False
    place = _place(module) or _place(top)
    return top in ("__main__", "__mp_main__", "") or (place is not None and not _in_library(place))


def origin_of_module(module: ModuleType) -> str | None:
    """As `origin`, of a module itself: one made of a user's file may have the name of an installed one."""
    name = module.__name__
    if type(module) is not ModuleType:  # of a library, which keeps no file for it
        return origin(str(type(module).__module__))
    if sys.modules.get(name) is module:
        return origin(name)
    file = getattr(module, "__file__", None)
    return home_of(name.partition(".")[0], resolved(file)) if isinstance(file, str) else None


def foreign(function: FunctionType) -> bool:
    """Whether a function was written in a user's file, cell or text; not so where a library wrote it as text."""
    file = function.__code__.co_filename
    if not file.startswith("<") or file.startswith("<frozen"):
        return not _in_library(file)
    if file.startswith("<ipython"):
        return True
    name = function.__globals__.get("__name__")
    if isinstance(name, str) and name in sys.modules:
        return of_user(name)
    return file in ("<string>", "<stdin>") and not (isinstance(name, str) and name.startswith("namedtuple_"))


def found_by_name(module: str, qualname: str, value: object) -> bool:
    """Whether a name leads to this very object, so that the name tells it."""
    at: Any = sys.modules.get(module)
    for part in qualname.split("."):
        at = getattr(at, part, None)
    return at is value


def home_of(top: str, place: str) -> str | None:
    """How what lies at a resolved path is told, as `origin` does."""
    if place in ("built-in", "frozen") or place == _OURS or place.startswith(_OURS + os.sep):
        return top
    if _standard(place):
        return top
    if top in _BY_NAME and "site-packages" in place + os.sep:
        return top
    return _installed(top, place)


def spec_of(name: str) -> ModuleSpec | None:
    """Where a module would be imported from; no package around it is imported to find that out."""
    folders: Any = None
    found = None
    parts = name.split(".")
    for n in range(1, len(parts) + 1):
        full = ".".join(parts[:n])
        found = _asked(full, folders)
        if found is None:
            return None
        folders = getattr(sys.modules.get(full), "__path__", None) or found.submodule_search_locations
        if folders is None and n < len(parts):
            return None
    return found


def _asked(name: str, folders: Any) -> ModuleSpec | None:
    """What the finders of the process say of a module."""
    there = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(there, ModuleSpec):
        return there
    for finder in sys.meta_path:
        with suppress(ImportError, ValueError, AttributeError, OSError):
            found = finder.find_spec(name, folders, None)
            if found is not None:
                return found
    return None


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


def texts() -> list[str]:
    """Sources of all modules of the user's, and of the cells of a notebook."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())} | {*linecache.cache}
    own = [one for one in files if isinstance(one, str) and not one.endswith((".so", ".pyd")) and not _in_library(one)]
    return ["".join(linecache.getlines(one)) for one in own]


def _place(module: str) -> str | None:
    """Resolved path of a module's file or folder; "built-in" or "frozen" where it has none; None where unknown."""
    there = sys.modules.get(module)
    spec = getattr(there, "__spec__", None) if there is not None else spec_of(module.partition(".")[0])
    file = getattr(there, "__file__", None) or getattr(spec, "origin", None)
    if file in ("built-in", "frozen"):
        return str(file)
    if not isinstance(file, str):
        folders = list(getattr(there, "__path__", None) or getattr(spec, "submodule_search_locations", None) or [])
        file = folders[0] if folders and isinstance(folders[0], str) else None
    return None if file is None else resolved(file)


@lru_cache(maxsize=4096)
def resolved(path: str) -> str:
    """A path without links."""
    return os.path.realpath(path)


@lru_cache(maxsize=4096)
def _in_library(file: str) -> bool:
    """Whether a file of code is of Python, of an installed package, or of this one."""
    place = resolved(file)
    if (
        file in ("built-in", "frozen")
        or file.startswith("<frozen")
        or place == _OURS
        or place.startswith(_OURS + os.sep)
        or _standard(place)
    ):
        return True
    return any(f"{os.sep}{name}{os.sep}" in place for name in ("site-packages", "dist-packages"))


@lru_cache(maxsize=1)
def _standard_folders() -> tuple[str, ...]:
    return tuple({os.path.realpath(sysconfig.get_path(name)) + os.sep for name in ("stdlib", "platstdlib")})


def _standard(place: str) -> bool:
    inside = place.startswith(_standard_folders())
    return inside and "site-packages" not in place and "dist-packages" not in place


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return {top: list(names) for top, names in packages_distributions().items()}


@lru_cache(maxsize=4096)
def _installed(top: str, place: str) -> str | None:
    """Name, version and digest of the listed files of the distribution that a file belongs to."""
    for name in dict.fromkeys(_distributions().get(top, [])):
        with suppress(PackageNotFoundError, OSError):
            found = distribution(name)
            if not place.startswith(os.path.realpath(str(found.locate_file(""))) + os.sep):
                continue  # installed as a link to a user's own folder
            record = [line for line in (found.read_text("RECORD") or "").splitlines() if _CODE.search(line)]
            # a package that was changed and installed again under the same version has other files
            return f"{name} {found.version} {hashlib.sha256(chr(10).join(record).encode()).hexdigest()[:16]}"
    return None
