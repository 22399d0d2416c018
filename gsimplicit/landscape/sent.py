"""What workers get of losses, routes and solvers: copies made in one way, and known to be what was handed in.

A worker that imports a user's module has the values of its file, and not those that were set in it since. So what is
the user's own is sent by value: functions, classes and modules with what they reach. Where that cannot be done it is
sent by name, as pickle does it. Either way the copy is told from others as the original is (`identity`), here when it
is made and again in each worker when it arrives; a worker where it is another refuses. Here, too, a copy is
evaluated: a loss that counts or remembers changes nothing of the caller's.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib
import io
import json
import pickle
import threading
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cloudpickle
from cloudpickle import cloudpickle as inner

from gsimplicit.identity import code, origins, parts
from gsimplicit.identity.values import Walk
from gsimplicit.landscape.home import Home, here
from gsimplicit.landscape.tiles import Values

__all__ = [
    "CannotBeSentError",
    "CarriedError",
    "Parcel",
    "WorkerDiffersError",
    "can_be_sent",
    "carried",
    "opened",
    "parcel",
]

Evaluate = Callable[[Any], Values]

_REMEDY = (
    "let it hold what varies itself, as an argument (functools.partial) or attribute, or pass "
    "executor=ThreadPoolExecutor(), whose threads share this process"
)


class CannotBeSentError(TypeError):
    """Something cannot be copied to workers as it is."""


class WorkerDiffersError(RuntimeError):
    """A worker has another loss, route or solver than the process that asked: its numbers would be others."""


@dataclass(frozen=True)
class Parcel:
    """What is sent to every worker.

    Attributes:
        data: Pickle of the evaluation and of what is the user's own in it, by name.
        known: What those are known by; None where nothing tells them apart.
        unchecked: Those that were sent by name and are not known.
        home: Settings of the process that asked.
    """

    data: bytes
    known: Mapping[str, str | None]
    unchecked: tuple[str, ...]
    home: Home


def parcel(evaluate: Evaluate, given: Mapping[str, Any]) -> Parcel:
    """Pack an evaluation.

    Args:
        evaluate: From an item to the variables of its point.
        given: What is the user's own in it, by the name it has in errors.

    Raises:
        CannotBeSentError: It cannot be pickled, or what comes back is something else.
    """
    whole, home = (evaluate, dict(given)), Home.now()
    if not given:
        return Parcel(cloudpickle.dumps(whole), {}, (), home)
    known = {name: told(name, one) for name, one in given.items()}
    why: Exception | None = None
    for dumps in (_by_value, _by_value_and_hooks, cloudpickle.dumps):
        try:
            data = dumps(whole)
            found = _loaded(data)[1]
        except Exception as error:  # whatever a user's object raises where it is pickled
            why = error
            continue
        other = [n for n, one in found.items() if known[n] is not None and told(n, one) != known[n]]
        if not other:
            unknown = [n for n, one in known.items() if one is None] if dumps is cloudpickle.dumps else []
            return Parcel(data, known, tuple(unknown), home)
        why = ValueError(f"{_listed(other)} comes back from pickling as something else{_lost(given, found, other)}")
    raise CannotBeSentError(f"{_listed(given)} cannot be sent to workers: {type(why).__name__}: {why}") from why


def opened(sent: Parcel) -> Evaluate:
    """Unpack an evaluation: a new copy of it.

    Raises:
        WorkerDiffersError: This process has other values than the one that asked.
    """
    away = here() != sent.home.place
    if away and sent.unchecked:
        raise WorkerDiffersError(
            f"{_listed(sent.unchecked)} can neither be sent by value nor be told from another, so that a worker may "
            f"have another one; {_REMEDY}"
        )
    evaluate, given = cast("tuple[Evaluate, dict[str, Any]]", _loaded(sent.data))
    if away:
        other = [n for n, one in sent.known.items() if one is not None and told(n, given[n]) != one]
        if other:
            raise WorkerDiffersError(
                f"{_listed(other)} is another one in a worker than in the process that asked: something it reaches "
                "was changed since it was imported, and a worker imports it anew (a value or function set in a module "
                f"that is imported inside the function, say); {_REMEDY}"
            )
    return evaluate


def copied(name: str, value: Any) -> Any:
    """A copy of something of the user's, as workers have it; itself where it cannot be copied."""
    try:
        return _loaded(parcel(_nothing, {name: value}).data)[1][name]
    except CannotBeSentError:
        return value


def _nothing(_: Any) -> Values:
    return {}


def _listed(names: Any) -> str:
    return ", ".join(names)


def _lost(given: Mapping[str, Any], found: Mapping[str, Any], other: list[str]) -> str:
    """Attributes that are not what they were, as far as objects hold them themselves."""
    names: list[str] = []
    for one in other:
        before, after = dict(parts.attributes(given[one])), dict(parts.attributes(found[one]))
        names += [n for n in before if n not in after or told(one, before[n]) != told(one, after[n])]
    return f" (its {', '.join(map(repr, names))})" if names else ""


# told apart


class _Alike(Walk):
    """What two processes with one version of Python tell alike, with and without the files of the sources."""

    def _told(self, value: Any) -> Any:
        if type(value) is types.CodeType:
            return ["instructions", code._instructions(value)]
        return super()._told(value)

    def _function(self, function: types.FunctionType) -> Any:
        found = super()._function(function)
        if found[0] == "function":
            found[1] = code._instructions(function.__code__)
        return found

    def _through(self, module: types.ModuleType, chain: tuple[str, ...]) -> Any:
        return _without_text(super()._through(module, chain))

    def _module(self, module: types.ModuleType) -> Any:
        return _without_text(super()._module(module))


def _without_text(found: list[Any]) -> list[Any]:
    """What was told of a module, without the digest of its file: code is told as what runs."""
    if found[0] == "module":
        return [found[0], "", *found[2:]]
    return [["module", ""], *found[1:]] if isinstance(found[0], list) and found[0][:1] == ["module"] else found


def told(name: str, value: Any) -> str | None:
    """Digest of what a value is to run; None where nothing tells it from another."""
    try:
        found = _Alike("workers", name).tell(value)
    except (ValueError, RecursionError):
        return None
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


# by value


class _ByValue(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends a user's functions, classes and modules by value; cloudpickle does so where they have no module."""

    hooks = False
    """Whether objects are copied in the way that their class has for it, which may leave out what counts."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.CodeType:  # with the file it is from, for tracebacks and for what a library wrote
            made = inner._code_reduce(obj)
            return made[0], tuple(obj.co_filename if one == "<dynamic-code>" else one for one in made[1])
        if kind is types.ModuleType and origins.origin(obj.__name__) is None:
            return types.ModuleType, (obj.__name__,), _names(vars(obj)), None, None, _fill
        if kind is types.FunctionType and (_of_user(obj) or not _by_its_name(obj)):
            return self._function(obj)
        if issubclass(kind, type) and obj.__flags__ & 1 << 9 and _of_user(obj):
            return _class(obj)
        if kind is functools._lru_cache_wrapper and _of_user(obj):  # pickle knows it by its name alone
            given = obj.cache_parameters()
            inside = {name: one for name, one in vars(obj).items() if name != "__wrapped__"}
            return _cached, (obj.__wrapped__, given["maxsize"], given["typed"]), inside
        if kind in parts._LOCKS:
            return (threading.Lock if kind is parts._LOCKS[0] else threading.RLock), ()
        if not self.hooks and _has_hooks(kind):
            return copyreg.__newobj__, (kind,), dict(parts.attributes(obj)), None, None, _set_attributes  # type: ignore[attr-defined]
        return super().reducer_override(obj)

    def _function(self, function: types.FunctionType) -> Any:
        """A function; one that a library made around a user's sees the library's module, there as here."""
        if origins.origin_of(function) is None:
            made = self._dynamic_function_reduce(function)
            if code.reach(function.__code__).namespace:  # it may look up any name
                made[2][1]["__globals__"] = _names(function.__globals__)
            return made
        self.globals_ref[id(function.__globals__)] = _Space(function.__globals__["__name__"])
        made = self._dynamic_function_reduce(function)
        made[2][1]["__globals__"] = {}
        return made


class _ByValueAndHooks(_ByValue):
    """The same for objects that hold what cannot be pickled, and know how to do without."""

    hooks = True


def _names(space: Mapping[str, Any]) -> dict[str, Any]:
    """Names of a module, without what its import put there."""
    return {name: one for name, one in space.items() if name not in _OF_IMPORTS}


_OF_IMPORTS = ("__builtins__", "__loader__", "__spec__", "__cached__")


def _has_hooks(cls: type) -> bool:
    """Whether a class of plain attributes has a way of its own to be copied."""
    own = [c for c in cls.__mro__ if c is not object]
    return all(map(parts.users, own)) and any(hook in vars(c) for c in own for hook in parts._HOOKS)


def _set_attributes(value: Any, held: Mapping[str, Any]) -> None:
    """Slots too, and those of frozen classes."""
    for name, one in held.items():
        if any(name in vars(c) and isinstance(vars(c)[name], types.MemberDescriptorType) for c in type(value).__mro__):
            object.__setattr__(value, name, one)
        else:
            value.__dict__[name] = one


def _class(cls: type) -> Any:
    """A class; what its objects are named by is put into it from the start: set later, it would be its own name."""
    made = inner._dynamic_class_reduce(cls)
    if made[0] is inner._make_skeleton_class and "__name__" in made[2][0]:
        made[1][3]["__name__"] = made[2][0].pop("__name__")
    return made


class _Space:
    """The names of an installed module, in a pickle."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> Any:
        return _space, (self._module,)


def _space(module: str) -> dict[str, Any]:
    return importlib.import_module(module).__dict__


def _of_user(value: Any) -> bool:
    """Whether it is a user's, or was made by a library around a user's and stands in the user's module."""
    return parts.users(value) or origins.origin(str(getattr(value, "__module__", ""))) is None


def _by_its_name(function: types.FunctionType) -> bool:
    """Whether the name of a function leads to it."""
    return origins.found_by_name(str(function.__module__), function.__qualname__, function)


def _fill(module: types.ModuleType, space: Mapping[str, Any]) -> None:
    module.__dict__.update(space)


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    return functools.lru_cache(maxsize, typed)(function)


def _by_value(whole: Any, pickler: type[_ByValue] = _ByValue) -> bytes:
    stream = io.BytesIO()
    pickler(stream).dump(whole)
    return stream.getvalue()


def _by_value_and_hooks(whole: Any) -> bytes:
    return _by_value(whole, _ByValueAndHooks)


class _Unpickler(pickle.Unpickler):
    """Makes classes anew: cloudpickle would give the caller's own class, and set its attributes to the values sent.

    Classes of errors are the same in all copies, so that `except` knows them.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._found: set[type] = set()

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if module.startswith("cloudpickle") and name in ("_make_skeleton_class", "_make_skeleton_enum"):
            return functools.partial(self._class, found)
        if module.startswith("cloudpickle") and name == "_class_setstate":
            return self._filled
        return found

    def _class(self, make: Callable[..., Any], *given: Any) -> Any:
        tracker = given[-2]
        known = inner._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
        if known is not None and issubclass(known, BaseException):
            self._found.add(known)
            return known
        made = make(*given[:-2], None, given[-1])
        if issubclass(made, BaseException) and tracker is not None:
            inner._lookup_class_or_track(tracker, made)
        return made

    def _filled(self, cls: Any, state: Any) -> Any:
        return cls if cls in self._found else inner._class_setstate(cls, state)


def _loaded(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


# errors


class CarriedError(RuntimeError):
    """An error of a class that was sent by value: pickled, for the process that knows the class."""

    def __init__(self, words: str, data: bytes) -> None:
        super().__init__(words, data)
        self.data = data

    def __str__(self) -> str:
        return str(self.args[0])

    def opened(self) -> BaseException:
        """The error itself."""
        return cast("BaseException", _loaded(self.data))


def can_be_sent(error: Exception) -> bool:
    """Whether an error comes back from pickling as what it was."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def carried(error: Exception, words: str) -> CarriedError | None:
    """The error in a form that can be sent; None where there is none."""
    try:
        data = cloudpickle.dumps(error)
        return CarriedError(words, data) if type(_loaded(data)) is type(error) else None
    except Exception:
        return None
