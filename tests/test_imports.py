"""Data flows one way, and `import gsimplicit` costs little more than torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gsimplicit

PACKAGE = Path(gsimplicit.__file__).parent
ROOMS = [
    "version",
    "forking",
    "checks",
    "pickling",
    "arrays",
    "surroundings",
    "transforms",
    "progress",
    "threads",
    "sources",
    "models",
    "grid",
    "equations",
    "gray_scott",
    "initial",
    "notebooks",
    "results",
    "labels",
    "files",
    "configuration",
    "provenance",
    "dataset",
    "identity",
    "marching",
    "refine",
    "arguments",
    "states",
    "steady",
    "losses",
    "routes",
    "testing",
    "bifurcation",
    "landscape",
    "descent",
    "inverse",
    "plotting",
    "images",
    "explorer",
    "options",
    "__main__",
]
FRONT_DOOR = "gsimplicit itself"
"""`import gsimplicit` or a name of it that is no room: for the leaves alone, everything else would import upward."""
LEAVES = ("plotting", "explorer", "options", "__main__")


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Rooms that a module imports anywhere in it, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are banned"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "gsimplicit":
                room = rest.partition(".")[0]
                found.add(room if room in ROOMS else FRONT_DOOR)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_upward(path: Path) -> None:
    room = room_of(path)
    assert room in ROOMS, f"{room} has no place in the order of rooms"
    allowed = {*ROOMS[: ROOMS.index(room) + 1], *([FRONT_DOOR] if room in LEAVES else [])}
    assert imported(ast.parse(path.read_text())) <= allowed


INNER = ["pictures", "fits", "starts", "answers"]
"""Rooms of `inverse`, in their order."""


@pytest.mark.parametrize("room", INNER)
def test_no_room_of_inverse_imports_one_above_it(room: str) -> None:
    above = [f"gsimplicit.inverse.{other}" for other in INNER[INNER.index(room) + 1 :]]
    files = sorted((PACKAGE / "inverse" / room).glob("*.py"))
    assert len(files) > 3
    for path in files:
        lines = [line.strip() for line in path.read_text().splitlines()]
        assert not [x for x in lines for name in above if x.startswith((f"from {name}", f"import {name}"))], path


@pytest.mark.parametrize(
    ("text", "rooms"),
    [
        ("import gsimplicit", {FRONT_DOOR}),
        ("import gsimplicit as gs", {FRONT_DOOR}),
        ("from gsimplicit import Params", {FRONT_DOOR}),
        ("from gsimplicit import gray_scott", {"gray_scott"}),
        ("from gsimplicit import equations, grid", {"equations", "grid"}),
        ("from gsimplicit.models.gray_scott import gray_scott", {"models"}),
        ("import gsimplicit.refine.newton", {"refine"}),
        ("def f():\n    from gsimplicit.routes.implicit import Implicit", {"routes"}),
        ("if TYPE_CHECKING:\n    from gsimplicit.arguments import March", {"arguments"}),
        ("import torch\nfrom numpy import gsimplicit", set()),
    ],
)
def test_walk_sees_every_form_of_import(text: str, rooms: set[str]) -> None:
    assert imported(ast.parse(text)) == rooms


def test_import_loads_nothing_heavier_than_torch() -> None:
    heavy = ["numba", "scipy.sparse", "xarray", "matplotlib", "netCDF4", "loky"]
    code = f"import sys, gsimplicit; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_public_name_exists_and_is_documented() -> None:
    assert sorted(gsimplicit.__all__) == list(gsimplicit.__all__)
    for name in gsimplicit.__all__:
        assert getattr(gsimplicit, name).__doc__, name
