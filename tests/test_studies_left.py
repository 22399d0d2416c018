"""What a run of studies leaves: a screenful, a list, a page that stands alone, and the gallery."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from studies import _gallery, _page, _paper, _record, _text
from studies.__main__ import STUDIES
from studies._bars import at_least, at_most, below
from studies._claims import HYPOTHESES, Claim, Statement, Verdict, lines, ours
from studies._shares import bounds, inherits

ROOT = Path(__file__).parents[1]
SHARP = Statement("sec. 4.1, fig. 2", "Sharp cliffs along each parameter")


def a_claim(about: Statement = SHARP, holds: bool | None = True, **more: Any) -> Claim:
    return Claim(about, "Asked: one step < 25 %.", "90 % of range", "k 94%, F 91% & <Dv> 100%", holds, **more)


def a_report(folder: Path, *claims: Claim, name: str = "fig2", **more: object) -> _record.Report:
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    figure.savefig(folder / f"{name}.png")
    given = {"title": "the loss", "caption": "Lines.", "alt": "A line plot.", "scale": "default", "seconds": 2.0}
    report = _record.Report(
        name=name, claims=claims, files=(f"{name}.nc", f"{name}.png"), day="2026-01-02", code="x", **{**given, **more}
    )
    _record.save(report, folder)
    return report


@pytest.mark.parametrize(
    ("each", "verdict"),
    [([True, True], Verdict.HOLDS), ([False], Verdict.REFUTED), ([True, None], Verdict.PARTLY), ([None], Verdict.OPEN)],
)
def test_a_hypothesis_holds_only_where_all_its_tests_do(
    each: list[bool | None], verdict: Verdict, tmp_path: Path
) -> None:
    claims = [a_claim(holds=h, topic="H4", error="1", refuted_by="a no") for h in each]
    ((name, words, found, tests),) = _text.hypotheses([a_report(tmp_path, *claims)])
    assert (name, words, found) == ("H4", HYPOTHESES["H4"], verdict)
    assert tests == f"{each.count(True)} of {len(each)} tests hold"


@pytest.mark.parametrize(
    ("each", "together"),
    [
        ([True], Verdict.HOLDS), ([True, True], Verdict.HOLDS), ([False, False], Verdict.REFUTED),
        ([True, False], Verdict.PARTLY), ([None, None], Verdict.OPEN), ([True, None], Verdict.HOLDS),
        ([False, None], Verdict.REFUTED), ([None, False, True], Verdict.PARTLY),
    ],
)  # fmt: skip
def test_tests_of_one_statement_give_one_verdict(each: list[bool | None], together: Verdict) -> None:
    (line,) = lines([("fig2", a_claim(holds=h)) for h in each])
    assert line.verdict == together


def test_the_screen_has_one_line_for_each_claim_of_the_paper_in_its_order(tmp_path: Path) -> None:
    claims = [a_claim(), a_claim(holds=False), a_claim(_paper.STEADY_STOP, None), a_claim(ours("Beside it"))]
    out = _text.screen([a_report(tmp_path, *claims)]).strip().splitlines()
    assert [line.split("  ")[0] for line in out[1:3]] == ["not decided", "partly"]
    assert "sec. 2.1" in out[1]
    assert "sec. 4.1, fig. 2  Sharp cliffs along each parameter  90 % of range; 1 of 2 tests hold" in out[2]
    assert out[3] == "besides, of 1 claims of our own: 1 hold"
    assert len(out) == 4


def test_a_full_run_fits_on_a_screen(tmp_path: Path) -> None:
    report = a_report(tmp_path, *(a_claim(s) for s in _paper.TESTED))
    out = _text.screen([report]).strip().splitlines()
    assert len(out) <= len(_paper.PAPER) + 4  # a tall screen
    assert max(map(len, out)) <= 120


def test_the_list_holds_every_claim_with_all_it_has(tmp_path: Path) -> None:
    decided = a_claim(ours("Beside it"), False, topic="H2", error="+-0.1 cell", refuted_by="under 90 %")
    text = _text.full([a_report(tmp_path, a_claim(_paper.HEIGHT), decided)])
    parts = [
        "[holds] High plateau",
        "paper: 245 to 270",
        "ours: 90 % of range",
        "k 94%",
        "between two curves above: refuted",
        "+-0.1 cell",
    ]
    parts += ["refuted by: under 90 %", "files: fig2.nc, fig2.png", "2 tests: 1 hold, 1 refuted", "not tested yet"]
    for part in parts:
        assert part in text


def test_reports_come_back_from_their_files_as_they_were(tmp_path: Path) -> None:
    first = a_report(tmp_path, a_claim(topic="H1", error="none", refuted_by="a no"), name="basins")
    second = a_report(tmp_path, a_claim(holds=None), name="fig2")
    assert _record.load(tmp_path, ["fig2", "basins"]) == [second, first]


def test_a_test_says_what_was_asked_how_sure_it_is_and_how_far_off_it_lies(tmp_path: Path) -> None:
    bars = (at_least("share", 0.2, 0.5, (0.1, 0.4)), at_most("error", 3e-13, 1e-12), below("miss", float("nan"), 1.0))
    report = a_report(tmp_path, a_claim(holds=False, bars=bars))
    (claim,) = _record.load(tmp_path)[0].claims
    assert claim.bars == bars
    assert [bar.met for bar in claim.bars] == [False, True, False]
    assert [bar.distance for bar in claim.bars] == pytest.approx([0.4, 0.3, None])
    words = "share 0.2 (0.1 to 0.4), at least 0.5 asked: 0.4 times that"
    assert words in _text.full([report])
    assert words in _page.page([report], tmp_path)
    assert '"distance": 0.4' in (tmp_path / "fig2.claims.json").read_text()


def test_a_verdict_that_its_own_numbers_contradict_is_refused() -> None:
    with pytest.raises(ValueError, match="the verdict holds is not that of its bars: share"):
        a_claim(bars=(at_least("share", 0.2, 0.5),))
    assert a_claim(holds=None, bars=(at_least("share", 0.2, 0.5),)).verdict == Verdict.OPEN


def test_a_folder_without_reports_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m studies --scale quick"):
        _record.load(tmp_path)


class Reader(html.parser.HTMLParser):
    """What a browser would load, which tags are open, and what can be linked to."""

    EMPTY = frozenset({"meta", "img", "br", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.places: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag in ("script", "link", "iframe"):
            self.loads.append(tag)
        self.loads += [
            v
            for k, v in attrs
            if k in ("src", "srcset") and not str(v).startswith(("data:image/png", "data:image/gif"))
        ]
        if tag == "img":
            self.images.append(given)
        self.places += [str(given["id"])] if "id" in given else []
        self.links += [str(given["href"])] if "href" in given else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_is_well_formed_and_has_words_for_each_image(tmp_path: Path) -> None:
    later = a_claim(ours("Beside it"), False, topic="H2", error="1 cell", refuted_by="a < b")
    reports = [a_report(tmp_path, a_claim(), later), a_report(tmp_path, a_claim(holds=None), name="fig3")]
    text = _page.page(reports, tmp_path)
    page = Reader()
    page.feed(text)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"url\(|@import", text)
    assert [bool(i["alt"]) and int(str(i["width"])) > 0 for i in page.images] == [True, True]
    assert len(set(page.places)) == len(page.places)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.places)
    assert text.index("What the paper claims") < text.index("<img")
    assert "k 94%, F 91% &amp; &lt;Dv&gt; 100%" in text
    assert "H2: The left cliff is the Hopf line" in text
    assert "Made by an earlier state of the code: fig2, fig3" in text
    for part in ('lang="en"', 'name="viewport"', "@media print", "@media (max-width"):
        assert part in text


def test_colours_of_the_page_can_be_read_on_white() -> None:
    colours = re.findall(r"--(?:ink|soft|holds|partly|refuted|open): (#[0-9a-f]{6})", _page.STYLE)
    assert len(colours) == 6
    for colour in colours:
        r, g, b = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
        lightness = sum(
            w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for w, c in ((0.2126, r), (0.7152, g), (0.0722, b))
        )
        assert 1.05 / (lightness + 0.05) >= 4.5, colour


def test_the_gallery_is_made_of_what_is_there(tmp_path: Path) -> None:
    a_report(tmp_path / "run", a_claim(), name="fig2")
    a_report(tmp_path / "run", a_claim(ours("Beside it"), False), name="basins", scale="quick")
    pages = _gallery.write(tmp_path / "run", tmp_path / "gallery")
    assert [p.name for p in pages] == ["index.md", "fig2.md", "basins.md"]
    index = pages[0].read_text()
    assert "\nfig2\nbasins\n" in index
    assert "| **holds** | Sharp cliffs along each parameter | sec. 4.1, fig. 2 |" in index
    assert (tmp_path / "gallery" / "fig2.png").read_bytes() == (tmp_path / "run" / "fig2.png").read_bytes()
    assert ":alt: A line plot." in pages[1].read_text()
    assert "Found: k 94%, F 91% & \\<Dv\\> 100%" in pages[1].read_text()
    assert "python -m studies basins --scale default" in pages[2].read_text()


def test_the_overview_leads_into_the_folder_of_the_pages(tmp_path: Path) -> None:
    text = _gallery.overview([a_report(tmp_path, a_claim())], "gallery/")
    assert "\ngallery/fig2\n" in text
    assert "[fig2](gallery/fig2.md)" in text
    assert "{figure} gallery/fig2.png" in text
    assert "Made by an earlier state of the code: `fig2`." in text


def test_the_gallery_of_no_run_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "studies._gallery", str(tmp_path), str(tmp_path / "gallery")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 2
    assert "no study was run in" in done.stderr


def test_every_statement_of_the_paper_is_short_and_stands_once() -> None:
    every = [*_paper.TESTED, *_paper.NOT_YET]
    assert len({s.words for s in every}) == len(every)
    assert max(len(s.words.split()) for s in every) <= 7
    named = {s for s in vars(_paper).values() if isinstance(s, Statement)}
    assert named == set(_paper.PAPER)


def test_every_study_says_what_its_figure_shows() -> None:
    for study in STUDIES.values():
        assert len(study.alt) > 40
        assert len(study.caption) > 80
    assert tuple(STUDIES) == _gallery.ORDER


def test_a_claim_keeps_what_it_was_given() -> None:
    assert dataclasses.asdict(a_claim())["about"] == {**dataclasses.asdict(SHARP)}


@pytest.mark.parametrize(
    ("missed", "of", "verdict"),
    [(14, 14, True), (13, 13, None), (2, 2, None), (1, 2, None), (0, 2, False), (99, 106, None), (86, 120, False)],
)
def test_one_rule_says_whether_cliffs_are_inherited(missed: int, of: int, verdict: bool | None) -> None:
    share = missed / of
    assert inherits(share, *bounds(share, of)) is verdict


def test_few_or_no_cliffs_decide_nothing() -> None:
    assert bounds(float("nan"), 0) == (0.0, 1.0)
    assert inherits(float("nan"), 0.0, 1.0) is None
