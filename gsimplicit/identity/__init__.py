"""What tells functions and the values they hold apart, so that stored results of one are not taken for another's.

Code is followed wherever it is reached: through modules, classes and their bases, wrappers, closures and attributes.
What cannot be followed is refused. Nothing of the caller's is called and nothing is unpickled. What stays unseen is
what only running would show: files, the environment, generators of the process, and values that a cache still holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from gsimplicit.identity.values import Walk

__all__ = ["content", "identity", "label"]


def label(loss: str | Callable[..., Any]) -> str:
    """Name of a loss: its own, or that of the function."""
    if isinstance(loss, str):
        return loss
    named = getattr(loss, "name", None) if hasattr(loss, "features") else None
    return named if isinstance(named, str) else str(getattr(loss, "__name__", type(loss).__name__))


def identity(loss: Callable[..., Any]) -> list[str]:
    """A callable by its name and the digest of its code and of all that the code reaches.

    Raises:
        ValueError: It is a lambda, or holds something that cannot be told apart.
    """
    name = label(loss)
    if name == "<lambda>":
        raise ValueError("losses: a lambda has no name to store it under; define it with def")
    return [name, content("losses", name, loss)]


def content(argument: str, name: str, value: Any) -> str:
    """Digest of what tells a value apart: code, and the numbers, arrays and objects it reaches.

    Args:
        argument: Name of the argument it was given as, for the error.
        name: Of the function or object, for the error.
        value: Anything.

    Raises:
        ValueError: There is something in it that cannot be told apart; says where it is and what to do.
    """
    try:
        told = Walk(argument, name).tell(value)
    except RecursionError:
        raise ValueError(
            f"{argument}: {name!r} holds objects nested too deeply to be told from others; leave out store="
        ) from None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
