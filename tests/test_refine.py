from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from helpers import (
    DIVERGING,
    OSCILLATING,
    PAPER,
    TRIVIAL,
    UNIFORM,
    dense_jacobian,
    farthest,
    instance,
    march,
    random_fields,
    random_params,
    relative,
    small_start,
)

import gsimplicit as gs
from gsimplicit.equations import Equations, residual
from gsimplicit.grid import broken_translations, shifted, slopes
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine import recognise, refine
from gsimplicit.refine.asking import Solving
from gsimplicit.refine.linear import Bordered, BorderedJacobian, SparseLU, jacobian
from gsimplicit.refine.newton import Root, certify, newton

Array = np.ndarray
GRIDS = pytest.mark.parametrize("grid", [(6, 5), (5, 6), (3, 4)])
NONE = np.zeros((0, 2))
BOTH = np.eye(2)


def example(grid: tuple[int, int], seed: int = 0) -> tuple[Equations, Array]:
    """Equations at random parameters and random fields (2, H, W)."""
    return instance(random_params(1, seed).tensor()[0].tolist()), random_fields(1, grid, seed)[0].numpy()


def interleaved(grid: tuple[int, int]) -> Array:
    """Position in (2, H, W) order of each unknown of the interleaved order."""
    cells = grid[0] * grid[1]
    return np.arange(2 * cells).reshape(2, cells).T.ravel()


def derivative_matrix(n: int) -> Array:
    """Spectral derivative of a periodic sequence as a dense matrix, the Nyquist mode dropped."""
    q = np.arange(-((n - 1) // 2), (n - 1) // 2 + 1)
    x = np.arange(n)
    waves = np.exp(2j * np.pi * np.outer(x, q) / n)
    return ((waves * (2j * np.pi * q / n)) @ waves.conj().T / n).real


def dense_bordered(equations: Equations, fields: Array, directions: Array, velocity: Array, phase: Array) -> Array:
    """The bordered Jacobian in (2, H, W) order, by torch and explicit Fourier sums."""
    _, H, W = fields.shape
    rows, columns = np.kron(derivative_matrix(H), np.eye(W)), np.kron(np.eye(H), derivative_matrix(W))
    along = [np.kron(np.eye(2), D) for D in (rows, columns)]
    A = dense_jacobian(fields, equations.values.tolist()) + sum(c * D for c, D in zip(velocity, along, strict=True))
    r, n = len(directions), len(A)
    C = np.array([sum(d[i] * along[i] @ fields.ravel() for i in (0, 1)) for d in directions]).reshape(r, n)
    return np.block([[A, C.T], [phase.reshape(r, n), np.zeros((r, r))]])


# ---------------------------------------------------------------------------------------------------------------------
# Jacobian and derivatives
# ---------------------------------------------------------------------------------------------------------------------


@GRIDS
def test_sparse_jacobian_equals_torch_with_the_unknowns_of_a_cell_side_by_side(grid: tuple[int, int]) -> None:
    equations, fields = example(grid)
    order = interleaved(grid)
    expected = dense_jacobian(fields, equations.values.tolist())[np.ix_(order, order)]
    assert farthest(jacobian(equations, fields).toarray(), expected) < 1e-15


@GRIDS
def test_velocity_term_of_the_sparse_jacobian_is_central_differences(grid: tuple[int, int]) -> None:
    equations, fields = example(grid)
    velocity = np.array([0.3, -0.7])
    term = (jacobian(equations, fields, velocity) - jacobian(equations, fields)).toarray()
    x = random_fields(1, grid, seed=1)[0].numpy()
    order = interleaved(grid)
    found = np.empty(x.size)
    found[order] = term @ x.ravel()[order]
    expected = sum(
        c * (np.roll(x, -1, axis) - np.roll(x, 1, axis)) / 2 for c, axis in zip(velocity, (-2, -1), strict=True)
    )
    assert farthest(found.reshape(x.shape), expected) < 1e-15


def test_sparse_jacobian_keeps_the_five_point_pattern() -> None:
    equations, fields = example((6, 5))
    for velocity in (None, np.array([0.1, 0.2])):
        assert jacobian(equations, fields, velocity).nnz == 2 * 30 * 6


@pytest.mark.parametrize("grid", [(8, 6), (7, 9), (8, 9)])
def test_spectral_gradient_is_antisymmetric(grid: tuple[int, int]) -> None:
    x, y = (random_fields(1, grid, seed=s)[0].numpy() - 0.3 for s in (0, 1))
    for axis in (0, 1):
        forward, backward = (slopes(x)[axis] * y).sum(), (x * slopes(y)[axis]).sum()
        assert abs(forward) > 1e-3
        assert abs(forward + backward) < 1e-14


@pytest.mark.parametrize("grid", [(16, 12), (9, 15)])
def test_spectral_gradient_is_exact_on_sines(grid: tuple[int, int]) -> None:
    y, x = (2 * np.pi * np.arange(n) / n for n in grid)
    for p, q in ((1, 0), (0, 2), (3, -2), (4, 5)):
        phase = p * y[:, None] + q * x[None, :] + 0.3
        fields = np.stack([np.sin(phase), np.cos(phase)])
        slope = np.stack([np.cos(phase), -np.sin(phase)])
        expected = np.stack([2 * np.pi * p / grid[0] * slope, 2 * np.pi * q / grid[1] * slope])
        assert farthest(slopes(fields), expected) < 1e-13


def test_spectral_gradient_drops_mean_and_nyquist_mode() -> None:
    sign = (-1.0) ** np.arange(8)
    assert farthest(slopes(np.stack([0.3 + np.outer(sign, sign), np.outer(sign, np.ones(8))])), 0.0) < 1e-15


# ---------------------------------------------------------------------------------------------------------------------
# Linear systems
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("robust", [False, True])
def test_sparse_lu_solves_with_matrix_and_transpose(robust: bool) -> None:
    matrix = jacobian(*example((6, 5)))
    lu = SparseLU(matrix, robust=robust)
    b = np.random.default_rng(0).standard_normal((60, 3))
    assert relative(matrix @ lu.solve(b), b) < 1e-10
    assert relative(matrix.T @ lu.solve(b, transpose=True), b) < 1e-10
    assert relative(lu.solve(b[:, 0]), lu.solve(b)[:, 0]) < 1e-10


def test_singular_jacobian_is_an_error() -> None:
    _, fields = example((6, 5))
    with pytest.raises(np.linalg.LinAlgError, match="factorised"):
        BorderedJacobian(Bordered(instance([0.0] * 4), fields, NONE, np.zeros(2)))


def test_singular_jacobian_that_rounding_hides_is_reported_by_its_residual() -> None:
    rest = np.stack([np.ones((6, 5)), np.zeros((6, 5))])
    system = BorderedJacobian(Bordered(instance((0.1, 0.1, 0.0, 0.0)), rest, NONE, np.zeros(2)))
    assert system.solve(np.ones_like(rest)).residual == 1.0


CASES = pytest.mark.parametrize(
    ("directions", "velocity"),
    [
        (NONE, (0.0, 0.0)),
        (np.array([[1.0, 0.0]]), (2e-4, 0.0)),
        (np.array([[0.6, 0.8]]), (0.0, 0.0)),
        (BOTH, (1e-5, -2e-5)),
    ],
    ids=["none", "rows", "oblique", "both"],
)
TRANSPOSE = pytest.mark.parametrize("transpose", [False, True], ids=["forward", "transpose"])


@CASES
@TRANSPOSE
@pytest.mark.parametrize("own_phase", [False, True], ids=["default phase", "own phase"])
def test_bordered_solve_equals_a_dense_solve(
    directions: Array, velocity: tuple[float, float], transpose: bool, own_phase: bool
) -> None:
    equations, fields = example((6, 5))
    columns = np.tensordot(directions, slopes(fields), axes=1).reshape(-1, 2, 6, 5)
    phase = columns + 0.01 * random_fields(len(directions), (6, 5), seed=3).numpy() if own_phase else columns
    system = BorderedJacobian(Bordered(equations, fields, directions, np.array(velocity), phase if own_phase else None))
    r, q = random_fields(1, (6, 5), seed=1)[0].numpy(), np.arange(1.0, 1 + len(directions))
    dense = dense_bordered(equations, fields, directions, np.array(velocity), phase)
    expected = np.linalg.solve(dense.T if transpose else dense, np.concatenate([r.ravel(), q]))
    found = system.solve(r, q, transpose=transpose)
    assert found.residual < 1e-12
    assert relative(np.concatenate([found.x.ravel(), found.s]), expected) < 1e-12


@CASES
@TRANSPOSE
def test_bordered_operator_equals_a_dense_product(
    directions: Array, velocity: tuple[float, float], transpose: bool
) -> None:
    equations, fields = example((6, 5))
    system = BorderedJacobian(Bordered(equations, fields, directions, np.array(velocity)))
    x, s = random_fields(1, (6, 5), seed=1)[0].numpy(), np.arange(1.0, 1 + len(directions))
    dense = dense_bordered(equations, fields, directions, np.array(velocity), system.phase)
    expected = (dense.T if transpose else dense) @ np.concatenate([x.ravel(), s])
    found = system.apply(x, s, transpose=transpose)
    assert relative(np.concatenate([found[0].ravel(), found[1]]), expected) < 1e-14


@CASES
def test_bordered_operator_and_solver_pass_the_dot_product_test(
    directions: Array, velocity: tuple[float, float]
) -> None:
    equations, fields = example((8, 7))
    phase = np.tensordot(directions, slopes(fields), axes=1).reshape(-1, 2, 8, 7) + 0.01
    system = BorderedJacobian(Bordered(equations, fields, directions, np.array(velocity), phase))
    (x, y), m = random_fields(2, (8, 7), seed=1).numpy() - 0.3, len(directions)
    s, q = np.arange(1.0, 1 + m), np.arange(2.0, 2 + m)
    a, a_border = system.apply(x, s)
    b, b_border = system.apply(y, q, transpose=True)
    assert (a * y).sum() + a_border @ q == pytest.approx((b * x).sum() + b_border @ s, rel=1e-13)
    forward, backward = system.solve(x, s), system.solve(y, q, transpose=True)
    left = (forward.x * y).sum() + forward.s @ q
    assert left == pytest.approx((backward.x * x).sum() + backward.s @ s, rel=1e-10)


@TRANSPOSE
def test_reported_residual_of_a_solve_is_the_true_one(transpose: bool) -> None:
    equations, fields = example((8, 7))
    system = BorderedJacobian(Bordered(equations, fields, BOTH, np.array([2e-5, 1e-5])))
    r, q = random_fields(1, (8, 7), seed=1)[0].numpy(), np.array([0.1, 0.2])
    for tol in (1e-2, 1e-12):
        found = system.solve(r, q, transpose=transpose, tol=tol)
        a, b = system.apply(found.x, found.s, transpose=transpose)
        true = math.hypot(np.linalg.norm(r - a), np.linalg.norm(q - b)) / math.hypot(
            np.linalg.norm(r), np.linalg.norm(q)
        )
        assert found.residual <= tol
        assert abs(found.residual - true) < 1e-15


def test_solution_for_a_zero_right_hand_side_is_zero() -> None:
    equations, fields = example((6, 5))
    found = BorderedJacobian(Bordered(equations, fields, BOTH, np.zeros(2))).solve(np.zeros_like(fields))
    assert (found.residual, np.abs(found.x).max(), np.abs(found.s).max()) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e3, 1e8])
@TRANSPOSE
def test_scale_of_the_right_hand_side_leaves_the_relative_solution_alone(
    drifting_root: gs.SteadyState, scale: float, transpose: bool
) -> None:
    equations, fields = instance(PAPER), drifting_root.fields[0].numpy()
    system = BorderedJacobian(Bordered(equations, fields, broken_translations(fields), drifting_root.drift[0].numpy()))
    r = random_fields(1, (48, 48), seed=1)[0].numpy() - 0.3
    plain, scaled = system.solve(r, transpose=transpose), system.solve(scale * r, transpose=transpose)
    assert plain.residual < 1e-11
    assert scaled.residual < 1e-11
    assert relative(scaled.x / scale, plain.x) < 5e-12


# ---------------------------------------------------------------------------------------------------------------------
# Translations
# ---------------------------------------------------------------------------------------------------------------------


def waves(n: int, *vectors: tuple[int, int]) -> Array:
    """Fields (2, n, n): a sum of plane waves."""
    y, x = np.meshgrid(*[2 * np.pi * np.arange(n) / n] * 2, indexing="ij")
    v = sum(0.1 * np.cos(p * y + q * x) for p, q in vectors) + np.full((n, n), 0.2)
    return np.stack([1 - v, v])


@pytest.mark.parametrize("grid", [(8, 9), (12, 10)])
@pytest.mark.parametrize("shift", [(1, 0), (0, -3), (5, 7), (-2, 100)])
def test_shift_by_whole_cells_is_a_roll(grid: tuple[int, int], shift: tuple[int, int]) -> None:
    _, fields = example(grid)
    assert farthest(shifted(fields, np.array(shift)), np.roll(fields, shift, (-2, -1))) < 1e-13


def test_shift_by_a_fraction_is_exact_on_sines_and_undone_by_its_opposite() -> None:
    fields, by = waves(16, (2, 1), (0, 3)), np.array([0.37, -1.6])
    y, x = np.meshgrid(*[2 * np.pi * np.arange(16) / 16] * 2, indexing="ij")
    a, b = 2 * np.pi * by / 16
    v = 0.2 + 0.1 * np.cos(2 * (y - a) + (x - b)) + 0.1 * np.cos(3 * (x - b))
    assert farthest(shifted(fields, by)[1], v) < 1e-14
    assert farthest(shifted(shifted(fields, by), -by), fields) < 1e-14


def test_small_shift_is_minus_the_spectral_gradient() -> None:
    _, fields = example((9, 11))
    d, h = np.array([0.6, 0.8]), 1e-4
    slope = (shifted(fields, h * d) - shifted(fields, -h * d)) / (2 * h)
    assert relative(slope, -np.tensordot(d, slopes(fields), axes=1)) < 1e-7


@pytest.mark.parametrize(
    ("vectors", "normals"),
    [
        ([], []),
        ([(0, 3)], [(0, 1)]),
        ([(2, 0)], [(1, 0)]),
        ([(2, 2)], [(1, 1)]),
        ([(3, -3)], [(1, -1)]),
        ([(1, 2)], [(1, 2)]),
        ([(0, 3), (0, 5)], [(0, 1)]),
        ([(2, 0), (0, 2)], [(1, 0), (0, 1)]),
        ([(3, 1), (1, -2)], [(1, 0), (0, 1)]),
    ],
    ids=["uniform", "columns", "rows", "diagonal", "antidiagonal", "oblique", "harmonics", "spots", "oblique spots"],
)
def test_broken_translations_are_none_for_uniform_one_for_stripes_two_for_spots(
    vectors: list[tuple[int, int]], normals: list[tuple[int, int]]
) -> None:
    found = broken_translations(waves(16, *vectors))
    assert found.shape == (len(normals), 2)
    assert farthest(found @ found.T, np.eye(len(normals))) < 1e-14 if len(normals) else not found.size
    if len(normals) == 1:
        normal = np.array(normals[0]) / np.linalg.norm(normals[0])
        assert abs(found[0] @ normal) == pytest.approx(1.0, abs=1e-14)


def test_broken_translations_overlook_rounding() -> None:
    noise = 1e-9 * np.random.default_rng(0).standard_normal((2, 16, 16))
    assert broken_translations(waves(16) + noise).shape == (0, 2)
    assert broken_translations(waves(16, (0, 2)) + noise).shape == (1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Certificates and Newton's method
# ---------------------------------------------------------------------------------------------------------------------


def test_certificate_of_any_state_holds_its_raw_residual_and_the_best_drift() -> None:
    equations, fields = example((8, 9))
    found = certify(equations, fields)
    R = residual(torch.from_numpy(fields)[None], gs.Params(*equations.values))[0].numpy()
    assert found.raw == np.abs(R).max()
    assert found.bordered == pytest.approx(
        np.abs(R + np.tensordot(found.drift, slopes(fields), axes=1)).max(), rel=1e-12
    )
    least = np.linalg.norm(R + np.tensordot(found.drift, slopes(fields), axes=1))
    for off in ((1e-3, 0.0), (0.0, 1e-3), (-1e-3, 1e-3)):
        assert np.linalg.norm(R + np.tensordot(found.drift + np.array(off), slopes(fields), axes=1)) > least


@pytest.mark.parametrize("velocity", [(3e-4, -2e-4), (0.0, 1e-6)])
def test_certificate_finds_a_manufactured_drift(monkeypatch: pytest.MonkeyPatch, velocity: tuple[float, float]) -> None:
    fields, c = waves(16, (2, 1), (0, 3)), np.array(velocity)
    monkeypatch.setattr(Equations, "residual", lambda self, X: -np.tensordot(c, slopes(X), axes=1))
    found = certify(instance(PAPER), fields)
    assert farthest(found.drift, c) < 1e-18
    assert found.bordered < 1e-17
    assert found.raw == pytest.approx(np.abs(np.tensordot(c, slopes(fields), axes=1)).max(), rel=1e-14)


def test_certificate_of_stripes_drifts_along_their_normal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = waves(16, (2, 2))
    monkeypatch.setattr(Equations, "residual", lambda self, X: -1e-3 * slopes(X)[0])
    assert farthest(certify(instance(PAPER), fields).drift, [5e-4, 5e-4]) < 1e-17


def test_certificate_of_a_uniform_state_has_no_drift() -> None:
    found = certify(instance(PAPER), waves(8))
    assert found.drift.tolist() == [0.0, 0.0]
    assert found.raw == found.bordered


@pytest.fixture(scope="module")
def small_drifting() -> gs.SteadyState:
    """A drifting pattern on 32 x 32."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 8), refine=True)
    assert state.status.tolist() == [gs.Status.DRIFTING]
    return state


def test_certified_drift_is_the_velocity_of_the_marched_pattern(small_drifting: gs.SteadyState) -> None:
    """The lattice changes the drift as the pattern moves: over 5 steps by a quarter of a hundredth."""
    root, drift = small_drifting.fields, small_drifting.drift[0].numpy()
    marched = march(root, small_drifting.params, tol=0.0, max_steps=5).fields[0].numpy()
    moved = farthest(marched, root[0].numpy())
    assert moved > 1e-6
    assert farthest(marched, shifted(root[0].numpy(), 5 * drift)) < 0.01 * moved


@pytest.mark.parametrize("size", [1e-5, 1e-3, 1e-2])
def test_newton_converges_from_a_perturbed_root(small_drifting: gs.SteadyState, size: float) -> None:
    root = small_drifting.fields[0].numpy()
    start = root + size * np.random.default_rng(0).standard_normal(root.shape)
    found = newton(instance(PAPER), start, 1e-12)
    assert found.converged
    R = instance(PAPER).residual(found.fields) + np.tensordot(found.drift, slopes(found.fields), axes=1)
    assert found.residual == np.abs(R).max()
    assert found.residual <= 1e-12
    assert farthest(found.fields, root) < 5 * size
    phase = np.tensordot(slopes(start), found.fields - start, axes=3)
    assert np.abs(phase).max() < 1e-13


def test_newton_without_border_closes_the_raw_residual(lattice_root: gs.SteadyState) -> None:
    root = lattice_root.fields[0].numpy()
    start = root + 1e-7 * np.random.default_rng(0).standard_normal(root.shape)
    found = newton(instance(PAPER), start, 1e-13, bordered=False)
    assert found.converged
    assert found.drift.tolist() == [0.0, 0.0]
    assert np.abs(instance(PAPER).residual(found.fields)).max() <= 1e-13
    assert farthest(found.fields, root) < 1e-5


@pytest.mark.parametrize("bordered", [True, False])
def test_newton_that_does_not_converge_says_so_with_its_true_residual(
    lattice_root: gs.SteadyState, bordered: bool
) -> None:
    """Rounding keeps the residual above 1e-20."""
    found = newton(instance(PAPER), lattice_root.fields[0].numpy(), 1e-20, bordered=bordered)
    assert not found.converged
    R = instance(PAPER).residual(found.fields) + np.tensordot(found.drift, slopes(found.fields), axes=1)
    assert found.residual == np.abs(R).max()
    assert 1e-20 < found.residual < 1e-14


# ---------------------------------------------------------------------------------------------------------------------
# Refinement
# ---------------------------------------------------------------------------------------------------------------------


def raw_residual(state: gs.SteadyState) -> list[float]:
    return residual(state.fields, state.params).abs().flatten(1).amax(dim=1).tolist()


def test_papers_point_is_certified_as_a_drifting_pattern(drifting_root: gs.SteadyState) -> None:
    state = drifting_root
    assert state.status.tolist() == [gs.Status.DRIFTING]
    assert state.kind.tolist() == [gs.Kind.PATTERN]
    assert state.fields.dtype == torch.float64
    assert state.residual.tolist() == pytest.approx(raw_residual(state), rel=1e-12)
    assert state.bordered_residual[0] <= 1e-10 < state.residual[0]
    fields, drift = state.fields[0].numpy(), state.drift[0].numpy()
    R = instance(PAPER).residual(fields) + np.tensordot(drift, slopes(fields), axes=1)
    assert np.abs(R).max() <= 1e-10
    state.require_steady()


def test_lattice_refinement_closes_the_raw_residual(lattice_root: gs.SteadyState) -> None:
    state = lattice_root
    assert state.status.tolist() == [gs.Status.STEADY]
    assert state.kind.tolist() == [gs.Kind.PATTERN]
    assert raw_residual(state)[0] <= 1e-10
    assert state.residual.tolist() == pytest.approx(raw_residual(state), rel=1e-9)


def test_lattice_root_attracts(lattice_root: gs.SteadyState) -> None:
    root = newton(instance(PAPER), lattice_root.fields[0].numpy(), 1e-15, bordered=False).fields
    leading = scipy.sparse.linalg.eigs(
        jacobian(instance(PAPER), root), k=4, sigma=1e-5, return_eigenvectors=False, v0=np.ones(2 * 48**2)
    )
    assert leading.real.max() < -1e-5
    start = torch.from_numpy(root)[None] + 1e-6 * (random_fields(1, (48, 48), seed=5) - 0.3)
    assert farthest(march(start, lattice_root.params, tol=0.0, max_steps=60_000).fields[0], root) < 1e-8


def test_moved_is_the_distance_from_the_marched_state(drifting_root: gs.SteadyState) -> None:
    marched = gs.steady_state(gs.Params(*PAPER), small_start(48, 10))
    assert drifting_root.moved[0].item() == farthest(drifting_root.fields, marched.fields.double())
    assert drifting_root.steps.tolist() == marched.steps.tolist()
    assert drifting_root.change.tolist() == marched.change.tolist()
    assert marched.moved.tolist() == [0.0]


def test_uniform_state_is_certified_at_its_closed_form() -> None:
    state = gs.steady_state(gs.Params(*UNIFORM), small_start(32, 8), refine=gs.Refine(tol=1e-14))
    assert state.status.tolist() == [gs.Status.STEADY]
    assert state.kind.tolist() == [gs.Kind.UNIFORM]
    assert state.drift.tolist() == [[0.0, 0.0]]
    upper = homogeneous_states(*UNIFORM[2:]).upper
    assert upper is not None
    expected = np.broadcast_to(np.array(upper)[:, None, None], (2, 32, 32))
    assert farthest(state.fields[0], expected) < 1e-13


def test_trivial_state_is_certified() -> None:
    state = gs.steady_state(gs.Params(*TRIVIAL), small_start(32, 8), refine=True)
    assert state.status.tolist() == [gs.Status.STEADY]
    assert state.kind.tolist() == [gs.Kind.TRIVIAL]
    assert farthest(state.fields[0, 0], np.ones((32, 32))) < 1e-14
    assert farthest(state.fields[0, 1], np.zeros((32, 32))) < 1e-14


def test_pattern_that_cannot_be_pinned_is_certified_only_to_the_residual_it_has(
    monkeypatch: pytest.MonkeyPatch, small_drifting: gs.SteadyState
) -> None:
    """Where sliding ends at a state that is no root, it must not be called drifting."""

    def lost(equations: Equations, root: Root, tol: float, *, keep: bool) -> Solving[Root]:
        fields = root.fields + 1e-4 * random_fields(1, (32, 32), seed=4)[0].numpy()
        yield from ()
        return Root(fields, root.drift, 1e-4, root.evaluations + 10, False)

    monkeypatch.setattr("gsimplicit.refine.pinning.pinning", lost)
    found = refine(instance(PAPER), small_drifting.fields[0].numpy(), gs.Refine(lattice=True))
    assert found.certified.bordered <= 1e-10 or found.status not in (gs.Status.STEADY, gs.Status.DRIFTING)


@pytest.mark.parametrize("max_evaluations", [1, 2000])
def test_exhausted_budget_gives_unsteady(max_evaluations: int) -> None:
    state = gs.steady_state(gs.Params(*PAPER), small_start(48, 10), refine=gs.Refine(max_evaluations=max_evaluations))
    assert state.status.tolist() == [gs.Status.UNSTEADY]
    assert state.kind.tolist() == [gs.Kind.PATTERN]
    assert max_evaluations <= state.evaluations[0] <= max_evaluations + 100
    assert state.residual.tolist() == pytest.approx(raw_residual(state), rel=1e-12)
    assert state.residual[0] > 1e-10


def test_point_that_never_settles_gives_unsteady() -> None:
    state = gs.steady_state(
        gs.Params(*OSCILLATING), small_start(48, 10), max_steps=5000, refine=gs.Refine(max_evaluations=20_000)
    )
    assert state.status.tolist() == [gs.Status.UNSTEADY]
    assert state.kind.tolist() == [gs.Kind.PATTERN]
    assert state.residual[0] > 1e-4
    with pytest.raises(gs.NotSteady, match="instance 0: unsteady"):
        state.require_steady()


def test_unsteady_state_is_the_one_marched_furthest() -> None:
    fields = gs.steady_state(gs.Params(*PAPER), small_start(48, 10), tol=0.0, max_steps=1000).fields
    found = refine(instance(PAPER), fields[0].numpy(), gs.Refine(max_evaluations=500))
    assert found.status == gs.Status.UNSTEADY
    assert farthest(found.fields, march(fields, gs.Params(*PAPER), tol=0.0, max_steps=500).fields[0]) == 0.0


def test_tolerance_below_rounding_gives_failed_with_what_was_reached() -> None:
    """The march is as slow as it gets, and Newton's method does not close: never called a root."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(16, 3), refine=gs.Refine(tol=1e-19))
    assert state.status.tolist() == [gs.Status.FAILED]
    assert not state.has_root[0]
    assert 1e-19 < state.residual[0] < 1e-15
    with pytest.raises(gs.NotSteady):
        state.require_steady()


def test_refinement_that_diverges_gives_diverged() -> None:
    found = refine(instance(DIVERGING), small_start(32, 8)[0].numpy(), gs.Refine())
    assert found.status == gs.Status.DIVERGED
    assert math.isnan(found.certified.raw)


def test_recognised_lattice_root_is_kept_bitwise_without_a_step(lattice_root: gs.SteadyState) -> None:
    for settings in (True, gs.Refine(lattice=True)):
        again = gs.steady_state(lattice_root.params, lattice_root.fields, refine=settings)
        assert torch.equal(again.fields, lattice_root.fields)
        assert again.status.tolist() == [gs.Status.STEADY]
        assert (again.steps.item(), again.evaluations.item(), again.moved.item()) == (0, 0, 0.0)
        assert again.residual.tolist() == pytest.approx(raw_residual(lattice_root), rel=1e-9)


def test_recognised_drifting_root_is_kept_bitwise_without_a_step(drifting_root: gs.SteadyState) -> None:
    again = gs.steady_state(drifting_root.params, drifting_root.fields, refine=True)
    assert torch.equal(again.fields, drifting_root.fields)
    assert again.status.tolist() == [gs.Status.DRIFTING]
    assert (again.steps.item(), again.evaluations.item(), again.moved.item()) == (0, 0, 0.0)
    assert torch.equal(again.drift, drifting_root.drift)


def test_drifting_root_is_not_taken_for_a_lattice_root(drifting_root: gs.SteadyState) -> None:
    fields = drifting_root.fields[0].numpy()
    assert recognise(instance(PAPER), fields, gs.Refine()) is not None
    assert recognise(instance(PAPER), fields, gs.Refine(lattice=True)) is None


def test_recognised_root_does_not_share_memory_with_the_fields_given(drifting_root: gs.SteadyState) -> None:
    given = drifting_root.fields.clone()
    again = gs.steady_state(drifting_root.params, given, refine=True)
    given.zero_()
    assert torch.equal(again.fields, drifting_root.fields)


def test_marched_states_are_not_taken_for_roots() -> None:
    marched = gs.steady_state(gs.Params(*PAPER), small_start(48, 10), dtype=torch.float64)
    assert recognise(instance(PAPER), marched.fields[0].numpy(), gs.Refine()) is None


@pytest.mark.usefixtures("two_threads")
def test_batch_of_refinements_equals_a_loop_bitwise(lattice_root: gs.SteadyState) -> None:
    """A root that is recognised, one to be found, and one that is never found."""
    params = gs.Params.stack(torch.tensor([PAPER, UNIFORM, OSCILLATING], dtype=torch.float64))
    fields = torch.cat([lattice_root.fields, small_start(48, 10), small_start(48, 10)])
    settings = gs.Refine(max_evaluations=3000)
    together = gs.steady_state(params, fields, max_steps=3000, refine=settings)
    assert together.status.tolist() == [gs.Status.STEADY, gs.Status.STEADY, gs.Status.UNSTEADY]
    for i in range(3):
        alone = gs.steady_state(params[i], fields[i : i + 1], max_steps=3000, refine=settings)
        for name in ("fields", "status", "kind", "steps", "change", "residual", "moved", "evaluations"):
            assert torch.equal(getattr(together[i], name), getattr(alone, name)), name


@pytest.mark.usefixtures("two_threads")
def test_diverging_instance_leaves_the_refined_bits_of_the_other() -> None:
    params = gs.Params.stack(torch.tensor([[0.6, 0.08, 0.035, 0.065], UNIFORM], dtype=torch.float64))
    with pytest.warns(gs.StabilityWarning):
        state = gs.steady_state(params, small_start(32, 8), refine=True)
    assert state.status.tolist() == [gs.Status.DIVERGED, gs.Status.STEADY]
    assert state.kind.tolist() == [gs.Kind.UNKNOWN, gs.Kind.UNIFORM]
    assert torch.equal(state.fields[1:], gs.steady_state(params[1], small_start(32, 8), refine=True).fields)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tol": 0.0}, r"tol of Refine must be finite and > 0 and <= 1e-06, got 0.0"),
        ({"tol": -1e-10}, "tol of Refine"),
        ({"tol": 1e-5}, "tol of Refine"),
        ({"tol": math.nan}, "tol of Refine"),
        ({"max_evaluations": 0}, "max_evaluations must be >= 1, got 0"),
        ({"tail": "rkc"}, "tail must be one of 'euler'.*got 'rkc'"),
    ],
)
def test_refine_settings_out_of_range_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        gs.Refine(**arguments)


@pytest.mark.parametrize(
    ("name", "value"), [("tol", "1e-10"), ("max_evaluations", 1e4), ("max_evaluations", True), ("lattice", "yes")]
)
def test_refine_settings_of_a_wrong_type_are_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        gs.Refine(**{name: value})


@pytest.mark.parametrize("grid", [(3, 3), (3, 16), (33, 20)])
def test_the_residual_of_newtons_method_has_the_bits_of_the_equations(grid: tuple[int, int]) -> None:
    fields, params = random_fields(1, grid), random_params(1)
    expected = residual(fields, params)[0].numpy()
    assert np.array_equal(instance(params.tensor()[0].tolist()).residual(fields[0].numpy()), expected)
