"""Objects: their class, what they hold as a number, array or container, and their attributes."""

from __future__ import annotations

import copyreg
import functools
import gc
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit.identity import arrays, origins, parts, patches

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk

_HEAP = 1 << 9
HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
_EMPTY = vars(torch.nn.Module())


def tell(walk: Walk, value: Any) -> Any:
    """An object that is told by its parts."""
    known = parts.known(walk, value)
    if known is not None:
        return known
    cls = type(value)
    state = arrays.state(walk, value)
    if origins.origin_of(cls) is not None and not is_network(value):
        if state is None:
            name = _name(value)
            if name is not None:
                return ["named", name]
            return ["object", walk.tell(cls), of_library(walk, value)]
        return ["object", walk.tell(cls), state, walk.mapping(attributes(value))]
    if state is None:
        state = _inner(walk, value)
    return ["object", walk.tell(cls), state, walk.mapping(attributes(value))]


def is_network(value: Any) -> bool:
    """Whether it is a module of torch, whose attributes tell it."""
    return issubclass(type(value), torch.nn.Module)


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes and slots of an object, in their order.

    What a cached property remembers is not told, its code is; but a value that the code of its module gives to an
    attribute of that name is.
    """
    cls = type(value)
    cached = _cached(cls)
    held = cached and cached & {name for name, _ in parts.plain_attributes(value)}
    without = {name for name in held if not _is_assigned(name)}
    network, tensor = is_network(value), issubclass(cls, torch.Tensor)
    for name, one in parts.plain_attributes(value, without):
        if tensor and name.startswith("_dynamo"):
            continue
        if not network:
            yield name, one
        elif isinstance(one, torch.fx.Graph):  # its nodes are a chain as long as the program
            yield name, [(node.op, node.target, str(node.args), str(node.kwargs)) for node in one.nodes]
        elif name.endswith("_hooks") and isinstance(one, dict):
            yield name, list(one.values())  # their keys count all hooks of the process
        elif isinstance(one, dict) and name.startswith("_") and "_hooks_" in name:
            keys = [
                key for hooks in (n for n in vars(value) if n.endswith("_hooks")) for key in vars(value)[hooks] or ()
            ]
            yield name, [keys.index(key) if key in keys else -1 for key in one]
        elif not (name in _EMPTY and (one is None or one is False or (isinstance(one, dict | set) and not one))):
            yield name, one
    if tensor:
        for name in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            with torch._C.DisableTorchFunctionSubclass():
                hooks = getattr(value, name, None)
            if hooks:
                yield name, list(hooks.values())
    for c in cls.__mro__:
        if not c.__flags__ & _HEAP:
            continue
        for name, slot in vars(c).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield name, slot.__get__(value)
                except AttributeError:
                    continue


def _cached(cls: type) -> set[str]:
    """Names of the cached properties of a class."""
    return {n for c in cls.__mro__ for n, a in vars(c).items() if type(a) is functools.cached_property}


def _is_assigned(name: str) -> bool:
    """Whether a user's code gives a value to an attribute of a name."""
    pattern = re.compile(rf"\.{name}\s*(:[^=\n]+)?=(?!=)|setattr\([^)]*['\"]{name}['\"]")
    return any(pattern.search(text) for text in origins.texts())


def _name(value: Any) -> str | None:
    """The name of an object in the installed module that its class was written in, as of `os.environ`."""
    module = str(type(value).__module__)
    space = getattr(sys.modules.get(module), "__dict__", {})
    found = [name for name, one in space.items() if one is value]
    return f"{module}.{found[0]}" if found else None


def _inner(walk: Walk, value: Any) -> Any:
    """What the installed classes hold that a user's class is derived from."""
    bases = [c for c in type(value).__mro__[1:] if c is not object and origins.origin_of(c) is not None]
    if all(_holds_nothing(c) for c in bases):
        return None
    own = [c for c in type(value).__mro__ if origins.origin_of(c) is None]
    if any(hook in vars(c) for c in own for hook in HOOKS):
        raise walk.refuse(
            f"a {type(value).__name__}, derived from {bases[0].__name__} with a way of its own to be copied,"
        )
    return of_library(walk, value)


def _holds_nothing(cls: type) -> bool:
    """Installed classes whose objects hold attributes and nothing else."""
    top = cls.__module__.partition(".")[0]
    network = issubclass(torch.nn.Module, cls) or (top == "torch" and issubclass(cls, torch.nn.Module))
    return top in ("gsimplicit", "typing", "abc", "collections") or network or _is_plain(cls)


def _is_plain(cls: type) -> bool:
    """A class without slots and without a way of its own to be copied: its objects hold what is in `__dict__`."""
    own = any(hook in vars(c) for c in cls.__mro__[:-1] for hook in HOOKS)
    return not own and cls.__basicsize__ <= object.__basicsize__ + 16 and _copier(cls) is None


def _copier(cls: type) -> Callable[[Any], Any] | None:
    """What the library of a class has put down for copying its objects; None where it has put down nothing.

    What others put down for it counts for nothing, as dask does for all errors: it is not there in every process.
    """
    found = copyreg.dispatch_table.get(cls)
    by = str(getattr(found, "__module__", "")).partition(".")[0]
    return found if by in ("copyreg", str(cls.__module__).partition(".")[0]) else None


def of_library(walk: Walk, value: Any) -> Any:
    """What an installed class says its object is made of, as for copying it; nothing of a user's is called."""
    try:
        copied = _copier(type(value))
        made = value.__reduce_ex__(2) if copied is None else copied(value)
    except Exception as error:
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            return ["wrapped", walk.tell(wrapped)]
        raise walk.refuse(f"a {type(value).__name__}") from error
    if isinstance(made, str):
        # what numpy's own decorators make has the module it is found in
        for place in (getattr(value, "__module__", None), type(value).__module__):
            if place and origins.origin(str(place)) and origins.found_by_name(str(place), made, value):
                return ["named", f"{place}.{made}"]
        raise walk.refuse(f"a {type(value).__name__}")
    function, given, *rest = made
    held, listed, paired = (*rest[:3], None, None, None)[:3]
    if type(held) is dict:  # without what it remembers of what it worked out
        held = {name: one for name, one in held.items() if name not in _cached(type(value))} or None
    told = [walk.tell(function), walk.tell(given), walk.tell(held)]
    told += [[walk.tell(one) for one in listed or ()], walk.mapping(paired or ())]
    return [*told, *_unsaid(walk, value)]


def _unsaid(walk: Walk, value: Any) -> list[Any]:
    """A user's code that an object holds and does not speak of where it says what it is made of."""
    cls = type(value)
    if all(getattr(cls, hook, None) is getattr(object, hook, None) for hook in HOOKS):
        return []
    seen, found = {id(value)}, []
    ring: list[Any] = [value]
    for _ in range(4):
        ring = [one for outer in ring for one in gc.get_referents(outer) if id(one) not in seen]
        ring = list({id(one): one for one in ring}.values())[:5000]
        seen |= {id(one) for one in ring}
        found += [one for one in ring if _is_code(one) and patches.foreign(one, 0) and not walk.met(one)]
        ring = [one for one in ring if not isinstance(one, type | types.ModuleType | types.CodeType | types.FrameType)]
        ring = [one for one in ring if type(one) is not types.FunctionType or one.__closure__]
        ring = [one for one in (_without_globals(one) for one in ring) if one is not None]
    found.sort(key=lambda one: str(getattr(one, "__qualname__", type(one).__qualname__)))
    return [walk.tell(one) for one in found]


def _is_code(value: Any) -> bool:
    return isinstance(value, types.FunctionType | type) or callable(value)


def _without_globals(value: Any) -> Any:
    return value.__closure__ if type(value) is types.FunctionType else value
