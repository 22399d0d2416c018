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

from glossary_links import PLACES, WORDS, hints  # noqa: E402
from phone_tables import stacked  # noqa: E402
from public_modules import MODULES  # noqa: E402
from run_blocks import blocks_of, same  # noqa: E402

import gsimplicit as gs  # noqa: E402
from studies import _paper  # noqa: E402
from studies._claims import Verdict  # noqa: E402

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


def test_tables_of_words_name_the_column_of_each_cell_and_tables_of_numbers_do_not() -> None:
    head = '<table class="docutils align-default"><tr><th>a</th><th>b &lt; c</th><th>d</th></tr>'
    rows = "<tr><td>1</td><td>2</td><td>3</td></tr></table>"
    assert stacked(head + rows) == head + rows
    out = stacked(head + rows.replace("2", "two " * 20))
    assert 'class="stacked docutils' in out
    assert '<td data-head="b &lt; c">two ' in out


def test_every_section_and_figure_of_the_paper_is_on_the_page_of_claims() -> None:
    rows = [line for line in (ROOT / "docs" / "claims.md").read_text().splitlines() if line.startswith("| ")]
    where = "\n".join(row.split("|")[1] for row in rows)
    for number in range(1, 11):
        assert re.search(rf"Fig\. (\d+,? ?[a-c]?, )*{number}\b", where.replace(" a, b", "").replace(" c", "")), number
    for section in ("2.1", "2.2", "3.1", "3.2", "4.1", "4.2", "5.1", "5.2", "6.1", "6.2", "6.3", "6.4", "7"):
        assert re.search(rf"^ {re.escape(section)}\b|, {re.escape(section)}\b", where, re.MULTILINE), section
    words = {str(verdict) for verdict in Verdict} | {"not yet"}
    for row in rows:
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        if len(cells) == 5 and cells[0] not in ("where", "---"):
            assert cells[3] in words or cells[3].startswith("("), row
            assert cells[4] or cells[3].startswith(("not yet", "(")), row


def test_verdicts_of_the_other_pages_are_the_same_words() -> None:
    words = {str(verdict) for verdict in Verdict}
    for page, head in (("results.md", "| | what was held | verdict |"), ("cliffs.md", "| | what was held | verdict |")):
        table = (ROOT / "docs" / page).read_text().partition(head)[2].partition("\n\n")[0]
        found = [row.split("|")[3].strip() for row in table.splitlines()[2:]]
        assert len(found) == 5
        assert set(found) <= words, page


def test_what_the_studies_do_not_test_is_not_yet_on_the_page_of_claims_and_the_rest_has_a_verdict() -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "claims.md").read_text().splitlines() if line.startswith("| ")]
    limit = [row[4].strip() for row in rows if "up to 1/4" in row[2]]
    truth = [row[4].strip() for row in rows if "loss at the truth is 0" in row[2]]
    assert (limit, truth) == (["refuted"], ["holds"])
    assert {_paper.STEP_LIMIT, _paper.TRUTH_ZERO} <= set(_paper.TESTED)


def test_units_and_models_list_the_presets_there_are() -> None:
    text = (ROOT / "docs" / "units.md").read_text().partition("## Presets")[2]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in text.splitlines() if row.startswith("| `")]
    assert [name.strip("`") for name, _, _ in rows] == list(gs.Params.PRESETS)
    for name, diffusion, rates in rows:
        given = [float(x) for x in f"{diffusion}, {rates}".split(",")]
        assert given == pytest.approx(gs.Params.PRESETS[name.strip("`")], abs=6e-5)
    table = (ROOT / "docs" / "models.md").read_text().partition("## What is shipped")[2]
    assert f"`paper` and {len(gs.Params.PRESETS) - 1} more" in table
    for name in ("schnakenberg", "brusselator", "gierer_meinhardt", "fitzhugh_nagumo"):
        (row,) = [line for line in table.splitlines() if line.startswith(f"| `{name}`")]
        assert set(re.findall(r"`(\w+)`", row.split("|")[4])) == set(getattr(gs.models, name).presets)


def test_every_hint_of_the_glossary_has_its_entry() -> None:
    there = hints()
    assert {PLACES.get(word, word) for word in WORDS} <= set(there)


QUESTIONS = [
    ("claims hold", "claims.md"), ("figure 3", "results.md"), ("edges", "models.md"),
    ("certified", "steady.md"), ("pinned", "steady.md"), ("no implicit gradient", "steady.md"),
    ("bifurcation", "cliffs.md"), ("add a loss", "losses.md"), ("model of my own", "models.md"),
    ("in R", "files.md"), ("cluster", "scans.md"), ("certificate", "routes.md"), ("recovered", "recovery.md"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "page"), QUESTIONS)
def test_a_newcomers_question_is_one_click_from_the_start(question: str, page: str) -> None:
    lines = (ROOT / "docs" / "index.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith("| ") and question in line.split("|")[1]]
    assert page in row
