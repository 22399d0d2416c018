"""Stabilised steps: consistent, stable over their interval, and fewer than Euler's to the same root."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import PAPER, UNIFORM, instance, small_start

import gsimplicit as gs
from gsimplicit.marching import cpu
from gsimplicit.refine.tail import chebyshev, march_on


def amplification(length: int, radius: float, z: np.ndarray) -> np.ndarray:
    """What a step makes of a mode of eigenvalue z / length."""
    now, older = np.ones_like(z), np.ones_like(z)
    for a, b, c in chebyshev(length, radius):
        now, older = a * now + b * older + c * (now + z / length * now), now
    return now


@pytest.mark.parametrize("length", [1, 3, 6, 12, 24])
def test_a_step_is_first_order_and_stable_on_the_whole_interval(length: int) -> None:
    radius = 1.6
    small = np.array([-1e-3, -1e-4])
    np.testing.assert_allclose(amplification(length, radius, small), np.exp(small), rtol=1e-6)
    z = -np.linspace(1e-9, length * radius, 1000)
    assert (np.abs(amplification(length, radius, z)) <= 1 + 1e-12).all()


@pytest.mark.parametrize("length", [12, 24])
def test_a_long_step_damps_the_oscillations_that_euler_damps(length: int) -> None:
    """Spots oscillate at 0.03 and decay at 0.006, measured at the paper's point."""
    assert abs(amplification(length, 1.6, np.array([length * (-0.006 + 0.03j)]))[0]) < 1
    assert abs(1 + (-0.006 + 0.03j)) < 1


def test_a_longest_step_takes_a_third_of_eulers_evaluations() -> None:
    assert 24 / len(chebyshev(24, 1.6)) >= 3


def test_a_fixed_point_stays_and_a_single_stage_is_eulers_step() -> None:
    fields = small_start(16, 4)[0].numpy()
    equations = instance(PAPER)
    stepped, residual = cpu.stabilised(equations, fields, np.array([[0.0, 0.0, 1.0]]), 3)
    expected, _, _ = cpu.march(equations, fields, 0.0, 3, 3)
    np.testing.assert_allclose(stepped, expected, rtol=0, atol=1e-15)
    assert residual > 0
    rest = np.stack([np.ones((8, 8)), np.zeros((8, 8))])
    end, residual = cpu.stabilised(equations, rest, chebyshev(24, 1.6), 5)
    np.testing.assert_allclose(end, rest, rtol=0, atol=1e-14)
    assert residual < 1e-14


@pytest.mark.parametrize("parameters", [(0.16, 0.08, 0.05, 0.0645), (0.16, 0.08, 0.043, 0.065)])
def test_both_tails_certify_and_the_accelerated_one_takes_fewer_evaluations(parameters: tuple[float, ...]) -> None:
    params, start = gs.Params(*parameters), small_start(48, 10)
    euler, fast = (gs.steady_state(params, start, refine=gs.Refine(tail=tail)) for tail in ("euler", "chebyshev"))
    assert euler.has_root.all()
    assert fast.has_root.all()
    assert euler.kind.tolist() == fast.kind.tolist()
    assert fast.evaluations < 0.6 * euler.evaluations


def test_the_uniform_root_is_the_same_by_either_tail() -> None:
    params, start = gs.Params(*UNIFORM), small_start(32, 8)
    roots = [gs.steady_state(params, start, refine=gs.Refine(tol=1e-13, tail=t)).fields for t in ("euler", "chebyshev")]
    assert (roots[0] - roots[1]).abs().max() < 1e-11


def test_the_budget_is_kept_to_a_batch_and_the_level_is_reached() -> None:
    fields = gs.steady_state(gs.Params(*PAPER), small_start(48, 10), dtype=None).fields[0].double().numpy()
    equations = instance(PAPER)
    short = march_on(equations, fields, 1e-12, 500)
    assert 500 <= short.evaluations <= 500 + 8 * len(chebyshev(24, 1.6)) + 65
    settled = march_on(equations, fields, 1e-5, 200_000)
    assert settled.change < 1e-5
    assert settled.evaluations < 200_000


def test_fields_that_are_not_finite_end_the_march() -> None:
    fields = small_start(16, 4)[0].numpy().copy()
    fields[0, 0, 0] = np.nan
    assert np.isnan(march_on(instance(PAPER), fields, 1e-6, 1000).change)
