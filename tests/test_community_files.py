"""Files for people: how to cite, how to contribute, how to report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from test_imports import ROOMS

import gsimplicit as gs

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_citation_has_what_the_format_asks_and_the_version_there_is() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["version"] == gs.__version__
    assert found["license"] == "MIT"


def test_the_house_drawn_has_rooms_that_exist_each_below_what_uses_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawing = text.split("## The house")[1].split("```")[1]
    drawn = [re.split(r" {4,}", line.strip())[0].split() for line in drawing.splitlines() if line.strip(" -")]
    rooms = [room for floor in reversed(drawn) for room in floor]
    assert set(rooms) <= set(ROOMS)
    floors = [max(ROOMS.index(room) for room in floor) for floor in reversed(drawn)]
    assert floors == sorted(floors)


def test_files_that_the_guide_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:tests|studies|gsimplicit|docs)/[\w/.]+)`|\]\((docs/[\w.]+)\)", text)
    assert len(named) > 5
    for first, second in named:
        assert (ROOT / (first or second)).exists(), first or second


@pytest.mark.parametrize("path", [p for p in TEMPLATES if p.stem != "config"], ids=lambda p: p.stem)
def test_a_template_has_fields_with_labels_and_asks_for_something(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    assert all(field["attributes"]["label"] for field in form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert len({field["id"] for field in form["body"]}) == len(form["body"])
