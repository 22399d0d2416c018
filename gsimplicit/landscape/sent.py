"""What workers get of losses, routes and solvers: copies made in one way, and known to be what was handed in.

A worker that imports a user's module has the values of its file, and not those that were set in it since. So what is
the user's own is sent by value: functions, classes and modules with what they reach. Where that cannot be done it is
sent by name, as pickle does it. Either way the copy is told from others as the original is (`identity`), here when it
is made and again in each worker when it arrives; a worker where it is another refuses. Here, too, a copy is
evaluated: a loss that counts or remembers changes nothing of the caller's.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from gsimplicit.identity import objects
from gsimplicit.identity.values import Walk
from gsimplicit.landscape.by_value import by_name, by_value, by_value_and_hooks, loads
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
        return Parcel(by_name(whole), {}, (), home)
    known = {name: told(name, one) for name, one in given.items()}
    why: Exception | None = None
    for dumps in (by_value, by_value_and_hooks, by_name):
        try:
            data = dumps(whole)
            found = loads(data)[1]
        except Exception as error:  # whatever a user's object raises where it is pickled
            why = error
            continue
        other = [n for n, one in found.items() if known[n] is not None and told(n, one) != known[n]]
        if not other:
            unknown = [n for n, one in known.items() if one is None] if dumps is by_name else []
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
    evaluate, given = cast("tuple[Evaluate, dict[str, Any]]", loads(sent.data))
    if away:
        other = [n for n, one in sent.known.items() if one is not None and told(n, given[n]) != one]
        if other:
            raise WorkerDiffersError(
                f"{_listed(other)} is another one in a worker than in the process that asked: something it reaches "
                "was changed since it was imported, and a worker imports it anew (a value or function set in a module "
                f"that is imported inside the function, say: import it outside); {_REMEDY}"
            )
    return evaluate


def copied(name: str, value: Any) -> Any:
    """A copy of something of the user's, as workers have it; itself where it cannot be copied."""
    try:
        return loads(parcel(_nothing, {name: value}).data)[1][name]
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
        before, after = dict(objects.attributes(given[one])), dict(objects.attributes(found[one]))
        names += [n for n in before if n not in after or told(one, before[n]) != told(one, after[n])]
    return f" (its {', '.join(map(repr, names))})" if names else ""


# told apart


def told(name: str, value: Any) -> str | None:
    """Digest of what a value is to run; None where nothing tells it from another."""
    try:
        return Walk("workers", name, sources=False).digest(value)
    except (ValueError, RecursionError):
        return None


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
        return cast("BaseException", loads(self.data))


def can_be_sent(error: Exception) -> bool:
    """Whether an error comes back from pickling as what it was."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def carried(error: Exception, words: str) -> CarriedError | None:
    """The error in a form that can be sent; None where there is none."""
    try:
        data = by_name(error)
        return CarriedError(words, data) if type(loads(data)) is type(error) else None
    except Exception:
        return None
