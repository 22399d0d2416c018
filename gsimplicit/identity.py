"""What tells functions and the values they hold apart, as JSON types.

So that stored results of one are not taken for another's. Nothing is unpickled, and nothing is executed.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from gsimplicit import dataset

_LIBRARIES = {"torch", "numpy", "scipy", "gsimplicit", "builtins", *sys.stdlib_module_names} - {"__main__"}
"""Packages whose functions are told by name: their versions are told elsewhere."""


def label(loss: str | Callable[..., Any]) -> str:
    """Name of a loss: its own, or that of the function."""
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def identity(loss: Callable[..., Any]) -> list[Any]:
    """A callable by name, source, the globals it uses and what it holds.

    Raises:
        ValueError: It is a lambda, or holds something that cannot be told apart.
    """
    name = label(loss)
    if name == "<lambda>":
        raise ValueError("losses: a lambda has no name to store it under; define it with def")
    return [name, content(name, loss)]


def content(name: str, value: Any, seen: frozenset[int] = frozenset()) -> Any:
    """What tells a value apart: source, globals and closure of functions, entries of objects, bytes of arrays.

    Args:
        name: Of the callable it belongs to, for the error.
        value: Anything.
        seen: Of the objects around it, which are not followed again.

    Raises:
        ValueError: There is a value in it that cannot be told apart.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value if not isinstance(value, complex | bytes) else repr(value)
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return dataset.digest(np.asarray(torch.as_tensor(value).detach().cpu()))
    if isinstance(value, ModuleType):
        return value.__name__
    if id(value) in seen:
        return "itself"
    seen = seen | {id(value)}
    if isinstance(value, Mapping):
        return {str(key): content(name, one, seen) for key, one in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, Sequence | set | frozenset):
        parts = [content(name, one, seen) for one in value]
        return parts if isinstance(value, Sequence) else sorted(parts, key=repr)
    if isinstance(value, partial):
        return ["partial", *(content(name, part, seen) for part in (value.func, list(value.args), value.keywords))]
    if isinstance(value, type) or inspect.isroutine(value):
        # what was executed from text has code and no module
        module = getattr(value, "__module__", None) or ("" if hasattr(value, "__code__") else "builtins")
        if module.partition(".")[0] in _LIBRARIES:
            return f"{module}.{value.__qualname__}"
        if isinstance(value, type):
            methods = {k: m for k, m in vars(value).items() if isinstance(m, FunctionType)}
            return [_source(value), content(name, methods, seen)]
        return _function(name, value, seen)
    if hasattr(value, "__dict__"):
        return [content(name, type(value), seen), content(name, vars(value), seen)]
    raise ValueError(f"losses: {name!r} holds a {type(value).__name__}, which a store cannot tell from another")


def _function(name: str, value: Any, seen: frozenset[int]) -> list[Any]:
    """Source, defaults, closure and the globals that the code names."""
    function = getattr(value, "__func__", value)
    held = [getattr(value, "__self__", None), getattr(function, "__defaults__", None)]
    held += [getattr(function, "__kwdefaults__", None)]
    held += [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    code, space = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    used = {n: space[n] for n in sorted(_names(code)) if n in space} if isinstance(code, CodeType) else {}
    return [_source(function), *(content(name, one, seen) for one in held), content(name, used, seen)]


def _names(code: CodeType) -> set[str]:
    """Names a function's code looks up, those of the functions inside it too."""
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))


def _source(value: Any) -> str:
    """Digest of the source of a function or class; of its byte code where there is no source."""
    try:
        text = inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        text = _bytecode(code) if isinstance(code, CodeType) else f"{value.__module__}.{value.__qualname__}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, constants, code.co_names))
