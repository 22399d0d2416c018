"""What functions are called with, as far as it is written where they are called."""

from __future__ import annotations

import dis
from types import CodeType
from typing import Any

from gsimplicit.identity.code import BY_TEXT, PASSED_OVER

Argument = tuple[str, Any]
"""How an argument is written: ("constant", value), or ("global" | "free" | "local", chain of names)."""


def arguments(code: CodeType, chain: tuple[str, ...] | None) -> list[list[Argument] | None]:
    """The arguments of each call of what a chain of names leads to, where they are constants and names.

    Args:
        code: With the functions inside it.
        chain: Names that lead to the function; None for those that end in the name of one that imports by text.

    Returns:
        For each place, None where it is no plain call with plain arguments.
    """
    out: list[list[Argument] | None] = []
    steps = [step for step in dis.get_instructions(code) if step.opname not in PASSED_OVER - {"PUSH_NULL"}]
    at = 0
    while at < len(steps):
        begin = at
        (kind, names), at = _load(steps, at)
        if kind not in ("global", "free", "local"):
            continue
        if names == chain or (chain is None and len(names) > 1 and names[-1] in BY_TEXT):
            out.append(_arguments(steps, at) if _is_called(steps, begin, at) else None)
    for one in code.co_consts:
        if isinstance(one, CodeType):
            out += arguments(one, chain)
    return out


def _is_called(steps: list[dis.Instruction], begin: int, end: int) -> bool:
    """Whether what is loaded between two places is to be called, and is no argument."""
    if any(one.opname == "PUSH_NULL" for one in (*steps[max(begin - 1, 0) : begin], *steps[end : end + 1])):
        return True
    return any(one.opname == "LOAD_METHOD" or "NULL" in one.argrepr for one in steps[begin:end])


def _load(steps: list[dis.Instruction], at: int) -> tuple[Argument, int]:
    """The chain of names or the constant that is loaded at a place, and the place behind it."""
    op, given = steps[at].opname, steps[at].argval
    at += 1
    if op in ("LOAD_CONST", "LOAD_SMALL_INT"):
        return ("constant", given) if op != "LOAD_CONST" or not isinstance(given, CodeType) else ("", ()), at
    kind = next((kind for start, kind in _LOADS if op.startswith(start)), "")
    if not kind or not isinstance(given, str):
        return ("", ()), at
    names = [given]
    while at < len(steps) and steps[at].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        names.append(steps[at].argval)
        at += 1
    return (kind, tuple(names)), at


_LOADS = (
    ("LOAD_GLOBAL", "global"), ("LOAD_NAME", "global"), ("LOAD_FROM_DICT_OR_GLOBALS", "global"),
    ("LOAD_DEREF", "free"), ("LOAD_CLASSDEREF", "free"), ("LOAD_FROM_DICT_OR_DEREF", "free"), ("LOAD_FAST", "local"),
)  # fmt: skip


def _arguments(steps: list[dis.Instruction], at: int) -> list[Argument] | None:
    """What is loaded between a function and its call; None where it is computed."""
    found: list[Argument] = []
    while at < len(steps):
        op = steps[at].opname
        if op in ("CALL", "CALL_FUNCTION_EX", "CALL_KW"):
            return found[:-1] if op == "CALL_KW" else found if op == "CALL" else None
        if op in ("PUSH_NULL", "KW_NAMES", "BUILD_LIST", "BUILD_TUPLE", "LIST_EXTEND"):
            at += 1
            continue
        argument, at = _load(steps, at)
        if not argument[0]:
            return None
        found.append(argument)
    return None
