"""Files follow CF and ACDD, by a public checker, and open without this package."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from faulty import small_scan

import gsimplicit as gs


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "a.nc"
    small_scan(path, routes=["unrolled"], losses=["spectrum", "residual"], keep="v", max_steps=20)
    return path


def checked(path: Path, standard: str) -> tuple[dict[str, Any], list[Any]]:
    """Internal errors of the checker, and all groups of results that are not perfect."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from compliance_checker.runner import CheckSuite

        suite = CheckSuite()
        suite.load_all_available_checkers()
        with suite.load_dataset(str(path)) as data:
            groups, errors = suite.run_all(data, [standard])[standard]
    return errors, [g for g in groups if g.value[0] < g.value[1]]


def test_the_cf_checker_finds_nothing(file: Path) -> None:
    errors, failed = checked(file, "cf:1.11")
    assert failed == []
    # CF knows no coordinate variables of text, and the checker subtracts them; xarray selects by them
    assert list(errors) in ([], ["check_coordinate_variables_strict_monotonicity"])


def test_the_acdd_checker_misses_only_what_has_no_meaning_here(file: Path) -> None:
    errors, failed = checked(file, "acdd:1.3")
    assert errors == {}
    messages = {message for group in failed for message in (group.msgs or [])}
    # there is no place on the Earth, no time of observation and no CF standard name; people are for the user to name
    absent = ("geospatial", "time_coverage", "standard_name", "creator", "publisher", "contributor", "institution",
              "acknowledg", "naming_authority", "processing_level", "instrument", "platform", "program", "vocabulary",
              "metadata_link", "date_issued", "date_metadata_modified")  # fmt: skip
    assert {m for m in messages if not any(word in m for word in absent)} == set()


def test_a_file_opens_with_the_netcdf_library_alone(file: Path) -> None:
    code = (
        "import json, sys, netCDF4\n"
        "with netCDF4.Dataset(sys.argv[1]) as data:\n"
        "    loss = data['loss']\n"
        "    print(json.dumps([loss.dimensions, loss.long_name, loss.units, loss.filters()['fletcher32'],\n"
        "        loss.filters()['zlib'], data['status'].flag_meanings.split(), 'gsimplicit' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        ["F", "k", "sample", "objective"], "loss of the marched state", "1", True, True,
        [s.name.lower() for s in gs.Status], False,
    ]  # fmt: skip
