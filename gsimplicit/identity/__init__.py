"""What tells functions and the values they hold apart, so that stored results of one are not taken for another's.

Code is followed wherever it is reached: through modules, classes and their bases, wrappers, closures and attributes,
and where a user's code or value stands in an installed package. What cannot be followed is refused. Nothing of the
caller's is called or imported and nothing is unpickled. What stays unseen is what only running would show: files, the
environment, generators of the process, and values that a cache still holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["content", "identity", "label"]


def label(loss: Any) -> str:
    """Name of a loss: its own, or that of the function."""
    if isinstance(loss, str):
        return loss
    named = getattr(loss, "name", None) if hasattr(loss, "features") else None
    return named if isinstance(named, str) else str(getattr(loss, "__name__", type(loss).__name__))


def identity(loss: Callable[..., Any]) -> list[str]:
    """A callable by its name and the digest of its code and of all that the code reaches.

    Raises:
        ValueError: It is a lambda.
        UntoldError: It holds something that cannot be told apart; a TypeError and a ValueError.
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
        UntoldError: There is something in it that cannot be told apart; says where it is and what to do.
    """
    from gsimplicit.identity.values import UntoldError, Walk  # the rest of this room, where it is needed

    walk = Walk(argument, name)
    try:
        return walk.digest(value)
    except UntoldError:
        raise
    except RecursionError:
        raise UntoldError(
            f"{argument}: {name!r} holds objects nested too deeply to be told from others; leave out store="
        ) from None
    except Exception as error:  # objects raise what they like where they are looked into
        raise walk.refuse(f"something that raises {type(error).__name__} ({error}) where it is looked into,") from error
