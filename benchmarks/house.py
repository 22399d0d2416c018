"""`python -m benchmarks.house [folder] [--room NAME] [--limits N N N]`: how the house is kept, in three counts.

Files that import the models room, `gsimplicit.models`, from outside of it: what a second kind of model may touch. Files
of more than 300 lines and functions of more than 40: what is hard to read. Ends with 1 where a count is above its
limit. Docstrings do not count towards a function.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gsimplicit"
ROOM = "models"
LINES, FUNCTION = 300, 40
LIMITS = (12, 11, 13)
"""Most files that import the room, files too long and functions too long."""


@dataclass(frozen=True)
class House:
    """What was counted, each as lines of text.

    Attributes:
        importers: Files outside the room that import it, and whether only inside functions or for types.
        files: Files over 300 lines.
        functions: Functions over 40 lines.
    """

    importers: list[str]
    files: list[str]
    functions: list[str]


def imports(tree: ast.AST, room: str) -> Iterator[tuple[str, int]]:
    """Full names of the modules of the room that are imported anywhere in a file, and the lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name == room or name.startswith(f"{room}."))


def _at_once(tree: ast.Module) -> set[int]:
    """Lines of the imports that run with the module: neither in a function nor for types alone."""
    return {node.lineno for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring and decorators not counted."""
    docstring = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
    spared = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - spared


def counted(package: Path = PACKAGE, room: str = ROOM) -> House:
    """Count in a package's folder."""
    house = House([], [], [])
    for file in sorted(package.rglob("*.py")):
        text, name = file.read_text(encoding="utf-8"), file.relative_to(package)
        tree = ast.parse(text)
        at_once = _at_once(tree)
        found = list(imports(tree, f"{package.name}.{room}"))
        if found and name.parts[0] not in (room, f"{room}.py"):
            how = "" if any(line in at_once for _, line in found) else " (in a function or for types)"
            modules = sorted({module.removeprefix(f"{package.name}.{room}.") for module, _ in found})
            house.importers.append(f"{name}{how}: {', '.join(modules)}")
        if len(text.splitlines()) > LINES:
            house.files.append(f"{name}: {len(text.splitlines())}")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > FUNCTION:
                house.functions.append(f"{name}:{node.lineno} {node.name}: {_length(node)}")
    return house


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a count is above its limit."""
    parser = argparse.ArgumentParser(prog="benchmarks.house", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PACKAGE, help="folder of the package")
    parser.add_argument("--room", default=ROOM, help="module of the package whose importers are counted")
    parser.add_argument("--limits", nargs=3, type=int, default=LIMITS, help="most of each", metavar="N")
    given = parser.parse_args(words)
    house, over = counted(given.folder, given.room), 0
    whats = (f"files import {given.room}", f"files over {LINES} lines", f"functions over {FUNCTION} lines")
    for what, found, most in zip(whats, (house.importers, house.files, house.functions), given.limits, strict=True):
        over += len(found) > most
        print(f"{what}: {len(found)}, at most {most}{'' if len(found) <= most else ', too many'}")
        print("".join(f"  {line}\n" for line in found), end="")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
