"""What short trainings may decide, by the rules of the study, and what the kept record holds."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import gsimplicit as gs
from studies import _training_claims, _training_paths, _training_record
from studies._constants import PIVOT, PIVOT_2


def losses(length: int, drop: int) -> dict[str, xr.Dataset]:
    """A training on the plateau with one drop of so many iterations."""
    values = np.full(length, 264.0)
    values[50 : 50 + drop] = 8.0
    return {"one": xr.Dataset({"loss": ("step", values)})}


def leg(at: int | None) -> xr.Dataset:
    """A last leg of 98 iterations with a pattern at the second pivot at one of them, or none."""
    params, kind, loss = np.tile(PIVOT, (99, 1)), np.full((99, 2), int(gs.Kind.TRIVIAL)), np.full(99, 264.0)
    if at is not None:
        params[at], kind[at], loss[at] = PIVOT_2, int(gs.Kind.PATTERN), 7.0
    return xr.Dataset(
        {
            "params": (("step", "parameter"), params),
            "kind": (("step", "sample"), kind),
            "loss": ("step", loss),
            "raw_gradient": (("step", "free"), np.ones((99, 4))),
        }
    )


@pytest.mark.parametrize(("length", "drop", "holds"), [(400, 1, None), (1_000, 1, True), (1_000, 90, False)])
def test_drops_are_judged_from_a_thousand_iterations_on(length: int, drop: int, holds: bool | None) -> None:
    assert _training_claims._excursions(losses(length, drop), "words", True).holds is holds


def test_trainings_without_a_drop_decide_nothing_on_drops() -> None:
    assert _training_claims._excursions(losses(2_000, 0), "words", True).holds is None


@pytest.mark.parametrize(("second", "holds"), [(30, True), (None, False)])
def test_the_last_leg_comes_about_where_every_seed_makes_a_pattern(second: int | None, holds: bool) -> None:
    assert _training_paths.one_run("leg_1e-4", {100: leg(23), 101: leg(second)}, leg(None)).holds is holds


def test_a_last_leg_cut_short_decides_nothing() -> None:
    short = leg(23).isel(step=slice(40))
    assert _training_paths.one_run("leg_1e-4", {100: short}, leg(None)).holds is None


def test_the_kept_record_has_9016_iterations_in_the_band_and_ends_far_from_the_truth() -> None:
    record = _training_record.long_record()
    assert record.loss.shape == (9_017,)
    assert np.isfinite(record.end).all()
    assert _training_record.no_convergence(record).holds is True
    assert _training_record.band(record, *_training_claims.BAND).holds is True
    assert _training_record.excursions(record).holds is None
