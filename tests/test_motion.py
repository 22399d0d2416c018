"""Unsteady states say what they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import OSCILLATING, PAPER, UNIFORM, dense_jacobian, instance, mean_square, random_fields, small_start

import gsimplicit as gs
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine.modes import step_factor
from gsimplicit.refine.motion import motion, overshoots


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
    equations, fields = instance(PAPER), drifting_root.fields[0].numpy()
    assert motion(equations, fields) == gs.Motion.TRAVELLING
    bent = fields + 1e-4 * np.random.default_rng(0).standard_normal(fields.shape)
    assert motion(equations, bent) == gs.Motion.REARRANGING


def test_a_state_that_diverges_or_is_a_root_has_no_motion(drifting_root: gs.SteadyState) -> None:
    assert drifting_root.motion.tolist() == [gs.Motion.UNKNOWN]
    wild = 5 * torch.ones(2, 8, 8, dtype=torch.float64).numpy()
    wild[0, 0, 0] = -5
    assert motion(instance(PAPER), wild) == gs.Motion.UNKNOWN


CATALOGUE = (0.2097, 0.105, 0.06, 0.03)
"""A catalogue's diffusion: the upper uniform state is stable for the equations, and a step of 1 multiplies its
chequerboard by 1.006."""


@pytest.mark.parametrize("refine", [False, gs.Refine(max_evaluations=20_000)], ids=["marched", "refined"])
def test_a_state_that_the_step_throws_back_and_forth_is_told_from_one_that_rearranges(
    refine: bool | gs.Refine,
) -> None:
    with pytest.warns(gs.StabilityWarning) as said:
        state = gs.steady_state(gs.Params(*CATALOGUE), small_start(16, 4), max_steps=5_000, refine=refine)
    assert all("8 Du + F + v^2" in str(w.message) for w in said)
    assert state.status.tolist() == [gs.Status.UNSTEADY]
    assert state.motion.tolist() == [gs.Motion.OVERSHOOTING]
    assert state.step_factor.item() == pytest.approx(1.00568, abs=1e-4)
    with pytest.raises(gs.NotSteady, match="explicit step is itself unstable") as caught:
        state.require_steady()
    assert "more max_steps" not in str(caught.value)


def test_a_root_that_the_step_cannot_hold_says_so() -> None:
    u, v = homogeneous_states(*CATALOGUE[2:]).upper or (0.0, 0.0)
    fields = torch.tensor([u, v], dtype=torch.float64)[None, :, None, None].repeat(1, 1, 16, 16)
    with pytest.warns(gs.StabilityWarning) as said:
        state = gs.steady_state(gs.Params(*CATALOGUE), fields, refine=gs.Refine(eigenvalues=1))
    assert "itself unstable" in str(said[-1].message)
    assert state.status.tolist() == [gs.Status.STEADY]
    assert state.stable.tolist() == [gs.Stable.YES]  # of the equations
    assert state.step_factor.item() > 1.005


@pytest.mark.parametrize("n", [15, 16])
def test_the_step_factor_is_that_of_the_dense_jacobian(n: int) -> None:
    for point in (CATALOGUE, PAPER, UNIFORM):
        for fields in (random_fields(1, (n, n))[0], torch.full((2, n, n), 0.3, dtype=torch.float64)):
            values = np.linalg.eigvals(dense_jacobian(fields.numpy(), point))
            fastest = abs(1 + values.real.min())
            damped = np.abs(1 + values[values.real < 0]).max()
            found = step_factor(instance(point), fields.numpy())
            uniform = bool((fields == fields[:, :1, :1]).all())
            # of a pattern from below: the fast end of the spectrum is crowded where the grid has no chequerboard
            assert found == pytest.approx(damped if uniform else fastest, abs=1e-9 if uniform else 0.015)


def test_float32_rounding_that_alternates_is_no_overshooting() -> None:
    """At Du = 0.24 the chequerboard is damped by 0.97 a step only, and rounding keeps it alive at 1e-6."""
    state = gs.steady_state(gs.Params(0.24, 0.12, 0.05, 0.065), small_start(16, 4), tol=1e-9, max_steps=20_000)
    assert state.status.tolist() == [gs.Status.UNSTEADY]
    assert state.motion.tolist() == [gs.Motion.UNKNOWN]


def test_what_shorter_steps_bring_to_rest_overshoots_and_what_they_do_not_does_not() -> None:
    wave = gs.steady_state(gs.Params(*OSCILLATING), small_start(32, 7), max_steps=5_000, tol=1e-9)
    assert not overshoots(instance(OSCILLATING), wave.fields[0].double().numpy())
    annealing = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), max_steps=3_000, tol=1e-9)
    assert not overshoots(instance(PAPER), annealing.fields[0].double().numpy())


@pytest.mark.parametrize("call", ["grad", "solve", "compare"])
def test_gradients_through_steps_that_are_at_fault_come_with_a_warning(call: str) -> None:
    params, fields = gs.Params(*CATALOGUE), small_start(16, 4)
    settings = {"initial": fields, "max_steps": 3_000}
    with pytest.warns(gs.StabilityWarning) as said:
        if call == "grad":
            gs.grad(params, "unrolled", mean_square, **settings)
        elif call == "solve":
            gs.solve(params, "unrolled", **settings)
        else:
            gs.compare(params, ["unrolled"], False, mean_square, **settings)
    assert "itself unstable" in str(said[-1].message)
    assert all(w.filename == __file__ for w in said)
