"""The gallery: from the studies' quick-scale results where a run has left them; else its page says how to make them.

Nothing is computed here. `output/quick` is what `python -m nox -s studies -- --scale quick` leaves.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from run_blocks import ROOT
from sphinx.util import logging

from studies import _gallery
from studies._record import Report, load

LOG = logging.getLogger(__name__)

MARK = "<!-- where there are results, all of them stand here instead of what follows -->"

FOLDER = ROOT / "gallery"
"""Written by the build, and removed where there are no results."""


def pages(app: Any) -> None:
    """Write a page of each study."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    results = Path(app.config.gallery_results)
    try:
        reports = load(results, _gallery.ORDER)
    except FileNotFoundError as error:
        LOG.info("the gallery has the kept figures alone: %s", error)
        return
    _gallery.studies(reports, results, FOLDER)


def index(app: Any, name: str, source: list[str]) -> None:
    """The results in place of the kept figures."""
    if name == "gallery" and FOLDER.exists():
        reports: list[Report] = load(Path(app.config.gallery_results), _gallery.ORDER)
        source[0] = source[0].partition(MARK)[0] + _gallery.overview(reports, "gallery/")


def outdated(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """The gallery is read anew at each build: results may have come or gone."""
    return ["gallery"]


def setup(app: Any) -> dict[str, Any]:
    """Register with sphinx."""
    app.add_config_value("gallery_results", str(ROOT.parent / "output" / "quick"), "env")
    app.connect("builder-inited", pages)
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
