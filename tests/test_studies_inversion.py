"""What the study of inversion makes of wrong starts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from studies import _from_starts
from studies._from_starts_claims import claims


def fits(error: dict[str, float]) -> xr.Dataset:
    """Every start with the same error by each way; NaN where there was no answer."""
    kinds, values = _from_starts.starts("quick")
    shape = (len(kinds), len(_from_starts.WAYS))
    far = np.isin(kinds, ["random", "the paper's"])
    asked = np.array([[f == (w == "variable projection") or w == "one-shot" for w in _from_starts.WAYS] for f in far])
    return xr.Dataset(
        {
            "error": (("start", "way"), np.where(asked, [error[w] for w in _from_starts.WAYS], np.nan)),
            "seconds": (("start", "way"), np.ones(shape)),
            "calls": (("start", "way"), np.ones(shape, int)),
            "asked": (("start", "way"), asked.astype(int)),
        },
        {"kind": ("start", kinds), "way": list(_from_starts.WAYS), "k": ("start", values[:, 3])},
    )


def test_verdicts_follow_the_counts() -> None:
    good = {"one-shot": 1e-10, "followed": 0.01, "re-marched": 30.0, "variable projection": 1e-10}
    assert [c.holds for c in claims(fits(good))] == [True, True, True, True]
    bad = {"one-shot": np.nan, "followed": np.nan, "re-marched": 0.01, "variable projection": 1e-3}
    assert [c.holds for c in claims(fits(bad))] == [False, False, False, False]


def test_starts_are_those_of_the_line_the_plane_the_random_ones_and_the_papers() -> None:
    kinds, values = _from_starts.starts("default")
    assert {k: kinds.count(k) for k in kinds} == {"line": 20, "plane": 36, "random": 50, "the paper's": 1}
    assert (values[:56, :2] == _from_starts.TRUTH[:2]).all()
    assert values[-1].tolist() == [0.127, 0.1269, 0.05, 0.0501]


@pytest.mark.slow
def test_a_re_marched_descent_beside_the_truth_comes_nearer() -> None:
    picture = _from_starts.root(32)
    start = _from_starts.TRUTH + np.array([0, 0, 0, 1e-4])
    values, calls = _from_starts._remarched(start, picture.v, 32)
    assert calls > 1
    assert np.abs(values / _from_starts.TRUTH - 1).max() < 0.5 * 1e-4 / 0.065
