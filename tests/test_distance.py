"""The bound on a root's distance to the closed one, against dense singular values and polished roots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import PAPER, TRIVIAL, UNIFORM, dense_jacobian, mean_square, polished, small_start, weighted

import gsimplicit as gs
from gsimplicit.refine.distance import least_singular, least_singular_of_uniform
from gsimplicit.refine.linear import Bordered, gradient
from gsimplicit.refine.newton import broken_translations, newton
from gsimplicit.routes import Implicit

WEAK = (0.17110420489116507, 0.05646848146263947, 0.03573820162682838, 0.05567412757956796)
"""On 12 x 12 from seed 4 the lattice holds the pattern with 1e-7."""


def weak_root(tol: float = 1e-10) -> gs.SteadyState:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    return gs.steady_state(gs.Params(*WEAK), start, refine=gs.Refine(tol=tol))


def pattern(n: int = 20) -> gs.SteadyState:
    return gs.steady_state(gs.Params(0.16, 0.08, 0.045, 0.0605), small_start(n, 5), refine=True)


def bordered(state: gs.SteadyState) -> Bordered:
    fields, values = state.fields[0].numpy(), state.params.tensor()[0].numpy()
    return Bordered(fields, values, broken_translations(fields), np.nan_to_num(state.drift[0].numpy()))


@pytest.mark.parametrize("solver", [gs.Direct(), gs.Gmres()], ids=["direct", "gmres"])
def test_the_least_singular_value_is_that_of_a_dense_decomposition(solver: gs.LinearSolver) -> None:
    state = pattern()
    system = bordered(state)
    J = dense_jacobian(system.fields, system.parameters.tolist())
    G = np.tensordot(system.directions, gradient(system.fields), axes=1).reshape(len(system.directions), -1)
    whole = np.block([[J, G.T], [G, np.zeros((len(G), len(G)))]])
    found = least_singular(solver.prepare([system]), [system], border=True)[0]
    assert found == pytest.approx(np.linalg.svd(whole, compute_uv=False)[-1], rel=0.1)
    system = replace(system, velocity=np.zeros(2))
    plain = least_singular(solver.prepare([system]), [system], border=False)[0]
    assert plain == pytest.approx(np.linalg.svd(J, compute_uv=False)[-1], rel=0.1)


@pytest.mark.parametrize("point", [UNIFORM, TRIVIAL])
def test_at_a_uniform_state_it_is_exact(point: tuple[float, ...]) -> None:
    state = gs.steady_state(gs.Params(*point), small_start(12, 3), refine=True)
    exact = np.linalg.svd(dense_jacobian(state.fields[0].numpy(), point), compute_uv=False)[-1]
    assert state.least_singular.item() == pytest.approx(exact, rel=1e-6)
    assert least_singular_of_uniform(pattern().fields[0].numpy(), np.array(PAPER)) is None


def test_a_weakly_pinned_root_says_how_far_the_closed_one_may_be() -> None:
    state = weak_root()
    assert state.status[0] == gs.Status.STEADY
    assert state.residual[0] < 1e-10
    closed = polished(state.fields[0].numpy(), WEAK)
    far = np.linalg.norm(state.fields[0].numpy() - closed)
    assert far > 1e-4  # the residual alone says 1e-10
    assert 0.5 * far < state.distance.item() < 50 * far
    assert "from the closed root" in str(state)


def test_the_bound_holds_at_roots_of_any_tolerance() -> None:
    for tol in (1e-7, 1e-9, 1e-11):
        state = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), tol=1e-6, refine=gs.Refine(tol=tol))
        far = np.linalg.norm(state.fields[0].numpy() - polished(state.fields[0].numpy(), UNIFORM))
        assert far <= 1.1 * state.distance.item() + 1e-14
    best, worse = (weak_root(tol) for tol in (1e-13, 1e-10))
    assert best.distance.item() < 0.1 * worse.distance.item()


def test_a_root_that_is_recognised_has_a_bound_too() -> None:
    state = weak_root()
    again = gs.steady_state(state.params, state.fields, refine=True)
    assert again.evaluations.item() == 0
    assert again.least_singular.item() == pytest.approx(state.least_singular.item(), rel=0.1)
    assert again.distance.item() == pytest.approx(state.distance.item(), rel=0.2)


def test_without_a_root_there_is_no_bound() -> None:
    states = [
        gs.steady_state(gs.Params(*PAPER), small_start(16, 4)),
        gs.steady_state(gs.Params(*PAPER), small_start(32, 7), max_steps=100, refine=gs.Refine(max_evaluations=10)),
    ]
    for state in states:
        assert torch.isnan(state.distance).all()
        assert torch.isnan(state.least_singular).all()


# ---------------------------------------------------------------------------------------------------------------------
# Gradients
# ---------------------------------------------------------------------------------------------------------------------


def closed(state: gs.SteadyState) -> torch.Tensor:
    """The root whose residual is rounding, from a certified one, in the same phase."""
    drifts = bool(state.status[0] == gs.Status.DRIFTING)
    root = newton(state.fields[0].numpy(), state.params.tensor()[0].numpy(), 1e-15, bordered=drifts, patience=20)
    return torch.from_numpy(root.fields)[None]


@pytest.mark.parametrize(
    ("point", "n", "half", "seed", "tol"),
    [
        (WEAK, 12, 3, 4, 1e-7),
        ((0.16, 0.08, 0.045, 0.0605), 32, 7, 0, 1e-7),
        (UNIFORM, 16, 4, 0, 1e-7),
    ],
    ids=["weakly pinned", "drifting", "uniform"],
)
def test_the_certificate_says_how_far_state_and_gradient_are_from_those_of_the_closed_root(
    point: tuple[float, ...], n: int, half: int, seed: int, tol: float
) -> None:
    start, route = gs.initial_state(grid=(n, n), box=gs.Box(half=half), seed=seed), Implicit(refine=gs.Refine(tol=tol))
    root = gs.steady_state(gs.Params(*point), start, tol=1e-6, max_steps=100_000, refine=gs.Refine(tol=tol))
    there = closed(root)
    for loss in (mean_square, lambda v: (v**4).mean((-2, -1)) + v.mean((-2, -1))):
        out, expected = (gs.grad(root.params, route, loss, initial=x) for x in (root.fields, there))
        far = (there - out.state.fields).norm().item()
        off = ((out.grad.tensor() - expected.grad.tensor()).norm() / out.grad.tensor().norm()).item()
        assert out.certificate.definition == expected.certificate.definition
        assert out.certificate.distance.item() == pytest.approx(far, rel=0.2)
        assert out.certificate.error.item() == pytest.approx(off, rel=0.5, abs=1e-10)
    assert "closed root" in str(out)


def test_every_loss_of_a_batch_has_its_own_error() -> None:
    params = gs.Params(*zip(WEAK, UNIFORM, strict=True))
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    both = gs.grad(params, "implicit", mean_square, initial=start).certificate
    for i in range(2):
        alone = gs.grad(params[i], "implicit", mean_square, initial=start).certificate
        assert both.distance[i].item() == pytest.approx(alone.distance.item(), rel=1e-3)
        assert both.error[i].item() == pytest.approx(alone.error.item(), rel=1e-2)


def test_routes_at_finite_time_claim_no_distance() -> None:
    out = gs.grad(gs.Params(*UNIFORM), "unrolled", mean_square, initial=small_start(12, 3), tol=0.0, max_steps=20)
    assert out.certificate.distance.shape == (1,)
    assert torch.isnan(out.certificate.distance).all()


def test_a_batch_in_which_one_root_has_no_full_adjoint_has_errors_by_both_jacobians() -> None:
    """The lattice holds the first pattern with 4e-12: random weights have an adjoint by the bordered Jacobian alone."""
    points, start = ((0.18, 0.07, 0.04, 0.062), PAPER), small_start(32, 7)
    roots = [
        gs.steady_state(gs.Params(*p), start, tol=1e-6, max_steps=100_000, refine=gs.Refine(lattice=True))
        for p in points
    ]
    fields = torch.cat([root.fields for root in roots])
    with pytest.warns(gs.PositionWarning):
        both = gs.grad(gs.Params(*zip(*points, strict=True)), loss=weighted((32, 32)), initial=fields).certificate
    assert both.definition == ("bordered jacobian", "full jacobian")
    for i, root in enumerate(roots):
        with pytest.warns(gs.PositionWarning):
            alone = gs.grad(root.params, loss=weighted((32, 32)), initial=root.fields).certificate
        assert both.error[i].item() == pytest.approx(alone.error.item(), rel=1e-2)
        assert both.distance[i].item() == pytest.approx(alone.distance.item(), rel=1e-2)
