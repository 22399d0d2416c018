"""Leading eigenvalues against dense ones, and stability against what a kicked state does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import PAPER, UNIFORM, instance, small_start

import gsimplicit as gs
from gsimplicit.grid import broken_translations, interleaved, slopes
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine.eigenvalues import leading
from gsimplicit.refine.linear import jacobian


def dense(root: gs.SteadyState) -> np.ndarray:
    return jacobian(instance(root.params.tensor()[0].tolist()), root.fields[0].numpy()).toarray()


def distinct(values: np.ndarray, count: int) -> np.ndarray:
    """The leading eigenvalues, one of each conjugate pair and of each multiple."""
    kept: list[complex] = []
    for value in sorted(values, key=lambda z: -z.real):
        if value.imag >= 0 and all(abs(value - other) > 1e-7 for other in kept):
            kept.append(value)
    return np.array(kept[:count])


@pytest.mark.parametrize("parameters", [UNIFORM, PAPER])
def test_leading_eigenvalues_are_those_of_the_dense_jacobian(parameters: tuple[float, ...]) -> None:
    root = gs.steady_state(gs.Params(*parameters), small_start(24, 7), refine=gs.Refine(lattice=True))
    found = leading(instance(parameters), root.fields[0].numpy(), np.zeros((0, 2)), np.zeros(2), 4)
    expected = distinct(np.linalg.eigvals(dense(root)), 4)
    upper = distinct(np.where(found.values.imag < 0, found.values.conj(), found.values), 4)
    np.testing.assert_allclose(upper, expected[: len(upper)], atol=1e-8)
    assert found.residual < 1e-7


def test_with_the_translations_out_the_eigenvalues_are_those_of_the_projected_dynamics() -> None:
    root = gs.steady_state(gs.Params(*PAPER), small_start(24, 7), refine=True)
    equations, fields = instance(PAPER), root.fields[0].numpy()
    directions = broken_translations(fields)
    found = leading(equations, fields, directions, np.zeros(2), 3)
    G = interleaved(np.tensordot(directions, slopes(fields), axes=1))
    Q = np.linalg.qr(G)[0]
    J = jacobian(equations, fields).toarray()
    projector = np.eye(len(J)) - Q @ Q.T
    expected = np.linalg.eigvals(projector @ J @ projector)
    expected = sorted(expected[np.abs(expected) > 1e-12].real, reverse=True)
    np.testing.assert_allclose(found.values.real[:2], expected[:2], rtol=1e-5)


def test_an_unstable_uniform_state_is_called_unstable_and_leaves_at_the_predicted_rate() -> None:
    F, k = 0.03, 0.0545  # beyond the Hopf curve of the upper state
    upper = homogeneous_states(F, k).upper
    assert upper is not None
    params = gs.Params(0.16, 0.08, F, k)
    fields = torch.tensor(upper, dtype=torch.float64)[None, :, None, None].expand(1, 2, 16, 16).clone()
    state = gs.steady_state(params, fields, refine=gs.Refine(eigenvalues=4))
    assert state.status.tolist() == [gs.Status.STEADY]
    assert state.stable.tolist() == [gs.Stable.NO]
    rate = complex(state.eigenvalues[0, 0])
    # Euler's growth a step is |1 + lambda|
    kicked = fields.clone()
    kicked[:, 1] += 1e-6
    period = round(2 * math.pi / abs(np.log(1 + rate).imag))
    sizes = []
    for steps in (300, 300 + 3 * period):  # whole periods apart, so that the phase is the same
        end = gs.steady_state(params, kicked, tol=0.0, max_steps=steps)
        sizes.append(float((end.fields - fields).abs().max()))
    assert math.log(sizes[1] / sizes[0]) / (3 * period) == pytest.approx(math.log(abs(1 + rate)), rel=0.02)


def test_a_stable_root_is_called_stable_and_takes_a_kicked_state_back(lattice_root: gs.SteadyState) -> None:
    state = gs.steady_state(lattice_root.params, lattice_root.fields, refine=gs.Refine(lattice=True, eigenvalues=6))
    assert state.stable.tolist() == [gs.Stable.YES]
    assert (state.eigenvalues.real <= 1e-9).all()
    assert "stable, leading eigenvalue -" in str(state)
    smooth = torch.sin(2 * math.pi * torch.arange(48, dtype=torch.float64) / 48)
    kicked = state.fields + 1e-4 * smooth[:, None] * smooth[None, :]
    back = gs.steady_state(state.params, kicked, tol=0.0, max_steps=100_000)
    assert float((back.fields - state.fields).abs().max()) < 2e-5


def test_stability_is_unknown_where_it_was_not_asked_for_or_there_is_no_root() -> None:
    start = small_start(32, 8)
    state = gs.steady_state(gs.Params(*PAPER), start, refine=True)
    assert state.stable.tolist() == [gs.Stable.UNKNOWN]
    assert state.eigenvalues.shape == (1, 0)
    lost = gs.steady_state(gs.Params(*PAPER), start, max_steps=64, refine=gs.Refine(max_evaluations=64, eigenvalues=2))
    assert lost.status.tolist() == [gs.Status.UNSTEADY]
    assert lost.stable.tolist() == [gs.Stable.UNKNOWN]
    assert torch.isnan(lost.eigenvalues.real).all()
