"""The bound on a root's distance to the closed one, against dense singular values and polished roots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, TRIVIAL, UNIFORM, dense_jacobian, instance, mean_square, polished, small_start, weighted

import gsimplicit as gs
from gsimplicit.bifurcation.branch import follow
from gsimplicit.bifurcation.fold import fold
from gsimplicit.bifurcation.uniform import saddle_node
from gsimplicit.grid import broken_translations, slopes
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine import Refined
from gsimplicit.refine.distance import nearness
from gsimplicit.refine.least_singular import least_singular, least_singular_of_uniform
from gsimplicit.refine.linear import Bordered, BorderedJacobian, Solution
from gsimplicit.refine.newton import certify, newton
from gsimplicit.routes import Implicit

WEAK = (0.17110420489116507, 0.05646848146263947, 0.03573820162682838, 0.05567412757956796)
"""On 12 x 12 from seed 4 the lattice holds the pattern with 1e-7."""


def weak_root(tol: float = 1e-10) -> gs.SteadyState:
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3), seed=4)
    return gs.steady_state(gs.Params(*WEAK), start, refine=gs.Refine(tol=tol))


def pattern(n: int = 20) -> gs.SteadyState:
    return gs.steady_state(gs.Params(0.16, 0.08, 0.045, 0.0605), small_start(n, 5), refine=True)


def bordered(state: gs.SteadyState) -> Bordered:
    equations, fields = instance(state.params.tensor()[0].tolist()), state.fields[0].numpy()
    return Bordered(equations, fields, broken_translations(fields), np.nan_to_num(state.drift[0].numpy()))


@pytest.mark.parametrize("solver", [gs.Direct(), gs.Gmres()], ids=["direct", "gmres"])
def test_the_least_singular_value_is_that_of_a_dense_decomposition(solver: gs.LinearSolver) -> None:
    state = pattern()
    system = bordered(state)
    J = dense_jacobian(system.fields, system.parameters.tolist())
    G = np.tensordot(system.directions, slopes(system.fields), axes=1).reshape(len(system.directions), -1)
    whole = np.block([[J, G.T], [G, np.zeros((len(G), len(G)))]])
    found = least_singular(solver.prepare([system]), system, border=True)
    assert 0.94 < found / np.linalg.svd(whole, compute_uv=False)[-1] <= 1 + 1e-6
    system = replace(system, velocity=np.zeros(2))
    plain = least_singular(solver.prepare([system]), system, border=False)
    assert 0.94 < plain / np.linalg.svd(J, compute_uv=False)[-1] <= 1 + 1e-5


def test_close_singular_values_are_told_apart_from_below() -> None:
    """One beside a pair of translations, 1.02 to 3 times as large, that a start along them would show first."""
    start = small_start(8, 2)[0].numpy()
    system = Bordered(instance(PAPER), start, broken_translations(start), np.zeros(2))
    rng = np.random.default_rng(3)
    for factor in (1.02, 1.3, 1.8, 3.0):
        values = np.concatenate([[1e-3 / factor, 1e-3, 1.0001e-3], np.exp(rng.uniform(-6, 0, start.size - 3))])
        left, right = (np.linalg.qr(rng.standard_normal((start.size, start.size)))[0] for _ in range(2))
        found = least_singular(Dense((left * values) @ right.T), system, border=False)
        assert 0.94 < found / values[0] <= 1 + 1e-3


class Dense:
    """Solves with a matrix."""

    def __init__(self, matrix: np.ndarray[Any, Any]) -> None:
        self.matrix = matrix

    def solve(
        self, r: Any, q: Any = None, *, transpose: bool = False, border: bool = True, tol: float | None = None
    ) -> list[Solution]:
        A = self.matrix.T if transpose else self.matrix
        return [Solution(np.linalg.solve(A, x.ravel()).reshape(x.shape), np.zeros(0), 0.0) for x in r]


@pytest.mark.parametrize("point", [UNIFORM, TRIVIAL])
def test_at_a_uniform_state_it_is_exact(point: tuple[float, ...]) -> None:
    state = gs.steady_state(gs.Params(*point), small_start(12, 3), refine=True)
    exact = np.linalg.svd(dense_jacobian(state.fields[0].numpy(), point), compute_uv=False)[-1]
    assert state.least_singular.item() == pytest.approx(exact, rel=1e-6)
    assert least_singular_of_uniform(instance(PAPER), pattern().fields[0].numpy()) is None


def test_a_weakly_pinned_root_says_how_far_the_closed_one_may_be() -> None:
    state = weak_root()
    assert state.status[0] == gs.Status.STEADY
    assert state.residual[0] < 1e-10
    closed = polished(state.fields[0].numpy(), WEAK)
    far = np.linalg.norm(state.fields[0].numpy() - closed)
    assert far > 1e-4  # the residual alone says 1e-10
    assert 0.5 * far < state.distance.item() < 50 * far
    assert "the exact root within" in str(state)


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


def test_a_drifting_root_has_the_bound_of_its_own_jacobian() -> None:
    """Newton's factors were made 4e-4 away, where the least singular value is a quarter larger."""
    params = gs.Params(0.16, 0.08, 0.062, 0.0618333)
    state = gs.steady_state(params, gs.initial_state(grid=(32, 32)), refine=True)
    assert state.status[0] == gs.Status.DRIFTING
    again = gs.steady_state(params, state.fields, refine=True)
    assert again.evaluations.item() == 0
    assert state.least_singular.item() == pytest.approx(again.least_singular.item(), rel=0.05)
    assert state.distance.item() == pytest.approx(again.distance.item(), rel=0.1)


# ---------------------------------------------------------------------------------------------------------------------
# Folds: the residual is small on either side, with a root or without
# ---------------------------------------------------------------------------------------------------------------------


def as_root(fields: np.ndarray[Any, Any], point: list[float]) -> tuple[float, float]:
    """Least singular value and distance of fields taken for a root, and the residual must be that of one."""
    found = certify(instance(point), fields)
    assert found.raw < 1e-7
    return nearness(instance(point), Refined(fields, gs.Status.STEADY, found, 0), gs.Direct(), factorise=True)


@pytest.mark.parametrize("F", [0.01, 0.03, 0.06])
def test_beside_a_fold_of_uniform_states_a_root_is_proved_on_its_own_side_alone(F: float) -> None:
    proved = 0
    for gap in 10.0 ** -np.arange(7, 14):
        for side in (1, -1):
            k = float(saddle_node(F)) + side * gap
            at = homogeneous_states(F, k)
            roots = [x for x in (at.upper, at.lower) if x]
            assert bool(roots) == (side < 0)
            beside = 0.97 * (roots[0][1] * 2 * (F + k) / F - 1) if roots else 3e-5
            for off in (0, 1e-3, -1e-3, 1e-4, -1e-4, 1e-5, -1e-5, 1e-6, beside, -beside):
                v = F / (2 * (F + k)) * (1 + off)
                fields = np.full((2, 6, 6), v)
                fields[0] = F / (F + v * v)
                if certify(instance((0.16, 0.08, F, k)), fields).raw > 1e-7:
                    continue
                far = as_root(fields, [0.16, 0.08, F, k])[1]
                true = [np.hypot(fields[0] - u, fields[1] - v).ravel() for u, v in roots]
                assert far >= min((float(np.linalg.norm(x)) for x in true), default=np.inf)
                proved += np.isfinite(far)
    assert proved > 0


def test_a_state_in_the_ghost_of_a_fold_is_certified_with_the_words_that_no_root_is_proved() -> None:
    """1e-12 beyond the fold there is no root, and the residual there is 1e-11."""
    F = 0.03
    k = float(saddle_node(F)) + 1e-12
    v = F / (2 * (F + k)) * (1 + 1e-4)
    ghost = torch.tensor([F / (F + v * v), v], dtype=torch.float64)[None, :, None, None].expand(1, 2, 6, 6)
    state = gs.steady_state(gs.Params(0.16, 0.08, F, k), ghost, refine=True)
    assert state.status[0] == gs.Status.STEADY
    assert torch.isinf(state.distance).all()
    assert "no exact root is proved to be near" in str(state)
    out = gs.grad(state.params, "implicit", mean_square, initial=state.fields)
    assert torch.isinf(out.certificate.distance).all()
    assert "no exact root is proved to be near" in str(out).splitlines()[-1]


def test_beside_a_fold_of_patterns_no_root_is_proved_on_the_empty_side() -> None:
    """Nor hidden by the drift, along which the fold's own state is hardly held and does not bend."""
    start = gs.initial_state(grid=(12, 12), box=gs.Box(half=3))
    root = gs.steady_state(gs.Params(0.16, 0.08, 0.045, 0.0605), start, tol=1e-6, refine=gs.Refine(lattice=True))
    there = fold(follow(root, "k", max_folds=1, high=0.08))
    mode, proved = there.mode / np.linalg.norm(there.mode), 0
    for gap in (1e-9, 1e-10, 1e-11):
        for off in (0, 1e-3, 3e-4, -3e-4, 1e-4, -1e-4, 3e-5, -1e-5):
            for side in (1, -1):
                point, fields = [0.16, 0.08, 0.045, there.value + side * gap], there.fields + off * mode
                far = as_root(fields, point)[1]
                if side > 0:
                    assert np.isinf(far)
                elif np.isfinite(far):
                    assert np.linalg.norm(polished(fields, tuple(point)) - fields) <= far
                    proved += 1
    assert proved > 2


def test_a_drift_that_spoils_the_factors_makes_no_matrix_singular() -> None:
    """The factors hold it by central differences: refinement comes slowly, and used to give up at the start."""
    system = replace(bordered(pattern()), velocity=np.array([0.005, 0.0025]))
    jacobian = BorderedJacobian(system)
    weakest = system.fields
    for transpose in (False, True):
        weakest = jacobian.solve(weakest, transpose=transpose).x
        weakest = weakest / np.linalg.norm(weakest)
    assert jacobian.solve(weakest).residual < 1e-10
    assert 0 < least_singular(gs.Direct().prepare([system]), system, border=True) < 1e-3


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
    equations = instance(state.params.tensor()[0].tolist())
    root = newton(equations, state.fields[0].numpy(), 1e-15, bordered=drifts)
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
    # marched so far that it passes for a root without a step of Newton's method, which would leave nothing to see
    root = gs.steady_state(gs.Params(*point), start.double(), tol=tol / 2, max_steps=400_000, refine=gs.Refine(tol=tol))
    there = closed(root)
    for loss in (mean_square, lambda v: (v**4).mean((-2, -1)) + v.mean((-2, -1))):
        out, expected = (gs.grad(root.params, route, loss, initial=x) for x in (root.fields, there))
        far = (there - out.state.fields).norm().item()
        off = ((out.grad.tensor() - expected.grad.tensor()).norm() / out.grad.tensor().norm()).item()
        assert out.certificate.definition == expected.certificate.definition
        assert out.certificate.distance.item() == pytest.approx(far, rel=0.2)
        assert out.certificate.error.item() == pytest.approx(off, rel=0.5, abs=1e-10)
    assert "exact root" in str(out)


def test_a_root_that_no_parameter_moves_has_no_relative_error() -> None:
    """At (1, 0) the gradient is 0, and what the residual leaves of one is as large as itself."""
    root = gs.steady_state(gs.Params(*TRIVIAL), small_start(12, 3), refine=True)
    for fields in (root.fields, root.fields.round()):
        for loss in ("spectrum", mean_square, lambda v: v.mean((-2, -1))):
            target = {"target": root.v + 0.1 * torch.rand(1, 12, 12)} if loss == "spectrum" else {}
            out = gs.grad(root.params, "implicit", loss, initial=fields, **target)  # type: ignore[arg-type]
            assert out.grad.tensor().abs().max() < 1e-9
            assert torch.isnan(out.certificate.error).all()
            assert "relative error" not in str(out)


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
