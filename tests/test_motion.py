"""Unsteady states say what they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import OSCILLATING, PAPER, small_start

import gsimplicit as gs
from gsimplicit.refine.motion import motion


@pytest.mark.parametrize(
    ("parameters", "evaluations", "expected"),
    [(OSCILLATING, 20_000, gs.Motion.OSCILLATING), (PAPER, 3_000, gs.Motion.REARRANGING)],
)
def test_an_unsteady_state_is_told_by_what_it_does(
    parameters: tuple[float, ...], evaluations: int, expected: gs.Motion
) -> None:
    refine = gs.Refine(max_evaluations=evaluations)
    state = gs.steady_state(gs.Params(*parameters), small_start(48, 10), refine=refine)
    assert state.status.tolist() == [gs.Status.UNSTEADY]
    assert state.motion.tolist() == [expected]
    assert expected.name.lower() in str(state)


def test_a_rigid_drift_is_told_from_a_change_of_shape(drifting_root: gs.SteadyState) -> None:
    fields, values = drifting_root.fields[0].numpy(), drifting_root.params.tensor()[0].numpy()
    assert motion(fields, values) == gs.Motion.TRAVELLING
    bent = fields + 1e-4 * np.random.default_rng(0).standard_normal(fields.shape)
    assert motion(bent, values) == gs.Motion.REARRANGING


def test_a_state_that_diverges_or_is_a_root_has_no_motion(drifting_root: gs.SteadyState) -> None:
    assert drifting_root.motion.tolist() == [gs.Motion.UNKNOWN]
    wild = 5 * torch.ones(2, 8, 8, dtype=torch.float64).numpy()
    wild[0, 0, 0] = -5
    assert motion(wild, np.array(PAPER)) == gs.Motion.UNKNOWN
