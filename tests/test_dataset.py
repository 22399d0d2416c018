"""Files are whole or absent, damage is noticed, and data say what they are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import gsimplicit as gs
from gsimplicit import dataset, labels, provenance
from gsimplicit.configuration import difference, fingerprint


def example() -> xr.Dataset:
    values = np.arange(4096.0).reshape(64, 64)
    return xr.Dataset(
        {"loss": (("y", "x"), values, labels.attributes("loss")), "status": ("y", np.arange(64, dtype=np.int8))},
        attrs=provenance.global_attributes("a test", {"tol": 1e-4}),
    )


def test_a_saved_dataset_reads_back_identical_and_leaves_no_temporary(tmp_path: Path) -> None:
    data = example()
    dataset.save(data, tmp_path / "deep" / "a.nc")
    xr.testing.assert_identical(dataset.load(tmp_path / "deep" / "a.nc"), data)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.nc"]


def test_nan_survives_and_integers_stay_integers(tmp_path: Path) -> None:
    data = example()
    data["loss"][3, 4] = np.nan
    dataset.save(data, tmp_path / "a.nc")
    back = dataset.load(tmp_path / "a.nc")
    assert np.isnan(back["loss"][3, 4])
    assert back["status"].dtype == np.int8


@pytest.mark.parametrize("size", [4096, 16384])
def test_a_write_that_runs_out_of_space_leaves_no_file(tmp_path: Path, size: int) -> None:
    """A limit on the file size stands for a full disk; it must hold for the process, so it is another process."""
    code = (
        "import resource, sys; from pathlib import Path; import numpy as np, xarray as xr\n"
        "from gsimplicit import dataset\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "data = xr.Dataset({'a': ('x', np.random.default_rng(0).random(100_000))})\n"
        "try:\n    dataset.save(data, Path(sys.argv[1]) / 'a.nc')\n"
        "except OSError as error:\n    print('refused', error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert "refused" in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "a.nc").exists()


def test_a_flipped_bit_in_the_data_is_an_error_not_a_number(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random(20_000)
    path = dataset.save(xr.Dataset({"a": ("x", noise)}), tmp_path / "a.nc")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(OSError, match=r"a\.nc is damaged"):
        dataset.load(path)


def test_enumerations_carry_their_flags() -> None:
    attrs = labels.attributes("status")
    words = dict(zip(attrs["flag_values"].tolist(), attrs["flag_meanings"].split(), strict=True))
    assert words == {int(s): s.name.lower() for s in gs.Status}


def test_provenance_holds_what_reruns_it_in_types_netcdf_can_keep() -> None:
    attrs = provenance.global_attributes("a test", {"tol": 1e-4, "axes": {"F": [0.03]}})
    for key in ("Conventions", "title", "source", "references", "history", "gsimplicit_equations"):
        assert attrs[key]
    assert json.loads(attrs["gsimplicit_configuration"]) == {"tol": 1e-4, "axes": {"F": [0.03]}}
    assert all(isinstance(v, str | int | float) for v in attrs.values())


def test_the_fingerprint_sees_values_not_key_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_difference_names_the_key_and_both_values() -> None:
    assert difference({"tol": 1, "a": 0}, {"tol": 2, "a": 0}) == "tol: 1 there, 2 asked for"
    assert difference({"a": 0}, {"a": 0}) is None
