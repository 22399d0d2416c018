"""The pages: what they link to is there, and how the site compares outputs. `nox -s docs` runs their examples."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from public_modules import MODULES  # noqa: E402
from run_blocks import blocks_of, same  # noqa: E402

PAGES = [
    ROOT / "README.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if not {"_build", "gallery"} & set(p.parts)),
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_and_headings(page: Path) -> None:
    for file, anchor in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        there = (page.parent / file).resolve() if file else page
        assert there.is_file(), f"{page.name} links to {file}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor[1:] in slugs, f"{page.name} links to {file}{anchor}"


def test_pictures_are_shown_on_a_page() -> None:
    text = "".join(p.read_text() for p in PAGES)
    assert {p.name for p in (ROOT / "docs").glob("*.png")} <= set(re.findall(r"([\w]+\.png)\)", text))


@pytest.mark.parametrize(
    ("want", "got", "equal"),
    [
        ("a  b\nc", "a b c\n", True),
        ("loss 0.02", "loss 0.0222004", True),
        ("loss 0.02", "loss 0.03", False),
        ("k 1.5e-3", "k 0.00151", True),
        ("steps ... end", "steps 12, of 13\nend", True),
        ("12 steps", "13 steps", False),
        ("[0.0]", "[-0.04]", True),
    ],
)
def test_outputs_are_compared_to_the_digits_shown(want: str, got: str, equal: bool) -> None:
    assert same(want, got) is equal


def test_blocks_are_found_with_their_outputs() -> None:
    text = (
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\n<!-- not run: slow -->\n```python\nx\n```\n```python\ny\n```\n"
    )
    first, second = blocks_of(text)
    assert (first.line, first.code, first.want) == (2, "print(1)\n", "1\n")
    assert (second.code, second.want) == ("y\n", None)


NAMES = [(module, name) for module in MODULES for name in import_module(module).__all__]
REFERENCE = "\n".join(
    block.code
    for page in (ROOT / "docs" / "reference").glob("*.md")
    for block in blocks_of(page.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda part: part)
def test_every_public_class_and_function_has_an_example_that_runs(module: str, name: str) -> None:
    thing = getattr(import_module(module), name)
    if isinstance(thing, type) or callable(thing):
        assert ">>>" in (inspect.getdoc(thing) or ""), f"the docstring of {module}.{name} has no example"
    elif name != "__version__":
        assert re.search(rf"\b{name}\b", REFERENCE), f"no page of the reference has an example of {module}.{name}"
