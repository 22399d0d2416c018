"""Linear solvers of steady states: sparse LU and deflated GMRES behind one interface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, UNIFORM, farthest, instance, mean_square, random_fields, random_params, relative, weighted
from test_refine import BOTH, CASES, NONE, TRANSPOSE, dense_bordered, example

import gsimplicit as gs
from gsimplicit.grid import broken_translations, slopes
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine.linear import Bordered
from gsimplicit.refine.newton import newton
from gsimplicit.refine.operator import BORDER, BorderedOperator
from gsimplicit.refine.solvers import Prepared, solver_for

Array = np.ndarray
CPU = torch.device("cpu")
SHARP = gs.Gmres(tol=1e-12, cycle=40, deflate=10)
SOLVERS = pytest.mark.parametrize("linear", [gs.Direct(), SHARP], ids=["direct", "gmres"])


def system_of(root: gs.SteadyState, border: bool = True) -> Bordered:
    """The linear system of a root of the paper's point."""
    fields = root.fields[0].numpy()
    return Bordered(instance(PAPER), fields, broken_translations(fields) if border else NONE, root.drift[0].numpy())


def random_systems(grid: tuple[int, int]) -> list[Bordered]:
    """Three states with a border of none, one and two translations, moving differently."""
    fields, equations = random_fields(3, grid).numpy(), [instance(p) for p in random_params(3).tensor().tolist()]
    phase = np.tensordot(BOTH, slopes(fields[2]), axes=1) + 0.01
    return [
        Bordered(equations[0], fields[0], NONE, np.zeros(2)),
        Bordered(equations[1], fields[1], np.array([[0.6, 0.8]]), np.array([2e-4, 1e-4])),
        Bordered(equations[2], fields[2], BOTH, np.array([-1e-4, 3e-4]), phase),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The operator and its preconditioner
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(6, 5), (5, 6), (7, 9), (8, 8)])
@pytest.mark.parametrize("part", ["apply", "precondition"])
def test_operator_and_preconditioner_pass_the_dot_product_test(grid: tuple[int, int], part: str) -> None:
    operator = BorderedOperator(random_systems(grid), CPU)
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.standard_normal((3, operator.unknowns + BORDER))) for _ in range(2))
    act = getattr(operator, part)
    forward, backward = (act(x, transpose=False) * y).sum(dim=1), (x * act(y, transpose=True)).sum(dim=1)
    assert (forward.abs() > 1e-3).all()
    assert relative(forward, backward) < 1e-11


@CASES
@TRANSPOSE
def test_operator_equals_a_dense_product(directions: Array, velocity: tuple[float, float], transpose: bool) -> None:
    equations, fields = example((6, 5))
    phase = np.tensordot(directions, slopes(fields), axes=1).reshape(-1, 2, 6, 5) + 0.01
    operator = BorderedOperator([Bordered(equations, fields, directions, np.array(velocity), phase)], CPU)
    dense, r = dense_bordered(equations, fields, directions, np.array(velocity), phase), len(directions)
    z = np.random.default_rng(0).standard_normal(60 + BORDER)
    found = operator.apply(torch.from_numpy(z)[None], transpose=transpose)[0].numpy()
    assert relative(found[: 60 + r], (dense.T if transpose else dense) @ z[: 60 + r]) < 1e-14
    assert (found[60 + r :] == z[60 + r :]).all()  # slots without a translation are closed by a one


@TRANSPOSE
def test_preconditioner_of_a_uniform_state_is_the_inverse(transpose: bool) -> None:
    u, v = homogeneous_states(*UNIFORM[2:]).upper or (0.0, 0.0)
    fields = np.stack([np.full((8, 6), u), np.full((8, 6), v)])
    operator = BorderedOperator([Bordered(instance(UNIFORM), fields, NONE, np.array([1e-3, 2e-3]))], CPU)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 96 + BORDER)))
    there = operator.precondition(operator.apply(z, transpose=transpose), transpose=transpose)
    assert relative(there, z) < 1e-12


def test_operators_of_some_instances_are_those_of_the_batch() -> None:
    operator = BorderedOperator(random_systems((6, 5)), CPU)
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 60 + BORDER)))
    for act in ("apply", "precondition"):
        whole, part = getattr(operator, act)(z, transpose=True), getattr(operator.part([2, 0]), act)
        assert relative(part(z[[2, 0]], transpose=True), whole[[2, 0]]) < 1e-14


# ---------------------------------------------------------------------------------------------------------------------
# Solves
# ---------------------------------------------------------------------------------------------------------------------


@SOLVERS
@TRANSPOSE
@pytest.mark.parametrize("border", [True, False], ids=["bordered", "plain"])
def test_a_batch_solves_to_the_dense_solutions(linear: gs.LinearSolver, transpose: bool, border: bool) -> None:
    systems = random_systems((6, 5))
    r = list(random_fields(3, (6, 5), seed=1).numpy() - 0.3)
    q = [np.arange(1.0, 1 + len(s.directions)) for s in systems] if border else None
    found = linear.prepare(systems).solve(r, q, transpose=transpose, border=border)
    for i, s in enumerate(systems):
        directions = s.directions if border else NONE
        columns = np.tensordot(directions, slopes(s.fields), axes=1).reshape(-1, 2, 6, 5)
        phase = columns if s.phase is None or not border else s.phase
        dense = dense_bordered(s.equations, s.fields, directions, s.velocity, phase)
        right = np.concatenate([r[i].ravel(), q[i] if q else []])
        expected = np.linalg.solve(dense.T if transpose else dense, right)
        assert relative(np.concatenate([found[i].x.ravel(), found[i].s]), expected) < 1e-8
        assert found[i].residual < 1e-11


@SOLVERS
def test_solutions_pass_the_dot_product_test(linear: gs.LinearSolver) -> None:
    systems = random_systems((8, 7))
    prepared = linear.prepare(systems)
    x, y = (list(random_fields(3, (8, 7), seed=s).numpy() - 0.3) for s in (1, 2))
    forward, backward = prepared.solve(x), prepared.solve(y, transpose=True)
    for i in range(3):
        assert (forward[i].x * y[i]).sum() == pytest.approx((backward[i].x * x[i]).sum(), rel=1e-8)


def adjoints(prepared: Prepared, root: gs.SteadyState, scale: float = 1.0) -> list[Any]:
    """Adjoints of mean v^2 at one root."""
    v = root.fields[0, 1].numpy()
    return prepared.solve([scale * np.stack([np.zeros_like(v), 2 * v / v.size])], transpose=True)


def test_gmres_agrees_with_lu_on_a_pattern_for_both_kinds_of_loss(drifting_root: gs.SteadyState) -> None:
    system = system_of(drifting_root)
    v, generic = drifting_root.fields[0, 1].numpy(), np.random.default_rng(0).standard_normal((48, 48))
    for cotangent in (2 * v / v.size, generic):
        right = [np.stack([np.zeros_like(v), cotangent])]
        exact, found = (s.prepare([system]).solve(right, transpose=True)[0] for s in (gs.Direct(), gs.Gmres(tol=1e-11)))
        assert found.residual <= 1e-11
        assert relative(found.x, exact.x) < 1e-7


def test_reported_residual_of_gmres_is_the_true_one(drifting_root: gs.SteadyState) -> None:
    operator = BorderedOperator([system_of(drifting_root)], CPU)
    r = np.random.default_rng(0).standard_normal((2, 48, 48))
    for tol in (1e-3, 1e-9):
        found = gs.Gmres().prepare([system_of(drifting_root)]).solve([r], transpose=True, tol=tol)[0]
        z = torch.from_numpy(np.concatenate([found.x.ravel(), found.s]))[None]
        right = torch.from_numpy(np.concatenate([r.ravel(), np.zeros(2)]))
        true = float((right - operator.apply(z, transpose=True)[0]).norm() / right.norm())
        assert found.residual <= tol
        assert found.residual == pytest.approx(true, rel=1e-3, abs=1e-14)


def test_deflation_halves_the_products_of_restarted_gmres(drifting_root: gs.SteadyState) -> None:
    restarted, deflated = (
        adjoints(gs.Gmres(deflate=k, cycle=20).prepare([system_of(drifting_root)]), drifting_root)[0] for k in (0, 6)
    )
    assert max(restarted.residual, deflated.residual) <= 1e-10
    assert deflated.products < 0.6 * restarted.products


def test_a_second_right_hand_side_reuses_the_slow_modes(drifting_root: gs.SteadyState) -> None:
    prepared = gs.Gmres(cycle=40, deflate=12).prepare([system_of(drifting_root)])
    first, second = adjoints(prepared, drifting_root)[0], adjoints(prepared, drifting_root, scale=3.0)[0]
    assert second.products < 0.8 * first.products
    assert relative(second.x, 3 * first.x) < 1e-7


def test_the_budget_of_products_is_kept_and_what_was_reached_is_reported(drifting_root: gs.SteadyState) -> None:
    found = adjoints(gs.Gmres(max_products=30, deflate=5, cycle=20).prepare([system_of(drifting_root)]), drifting_root)
    assert 1e-10 < found[0].residual < 1
    assert found[0].products <= 30 + 20


@SOLVERS
@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e-3, 1e3, 1e8, 1e200])
def test_scale_of_the_cotangent_leaves_the_relative_result_alone(
    drifting_root: gs.SteadyState, linear: gs.LinearSolver, scale: float
) -> None:
    plain, scaled = (
        adjoints(linear.prepare([system_of(drifting_root)]), drifting_root, scale=s)[0] for s in (1.0, scale)
    )
    assert max(plain.residual, scaled.residual) < 2e-12
    assert relative(scaled.x / scale, plain.x) < 1e-8


@SOLVERS
@pytest.mark.parametrize("batch", [1, 4])
def test_an_instance_with_nan_or_a_singular_one_leaves_the_others_alone(linear: gs.LinearSolver, batch: int) -> None:
    linear = gs.Gmres(tol=1e-12, cycle=40, deflate=10, batch=batch) if isinstance(linear, gs.Gmres) else linear
    good, _, other = random_systems((6, 5))
    rest = np.stack([np.ones((6, 5)), np.zeros((6, 5))])
    still = Bordered(instance((0.1, 0.1, 0.0, 0.0)), rest, NONE, np.zeros(2))  # singular: u may be any constant
    r = list(random_fields(4, (6, 5), seed=1).numpy() - 0.3)
    r[1] = r[1] * np.nan
    found = linear.prepare([good, good, still, other]).solve(r, transpose=True)
    assert np.isinf(found[1].residual)
    assert np.isnan(found[1].x).all()
    assert not found[2].residual < 1e-8
    for i, s in ((0, good), (3, other)):
        alone = linear.prepare([s]).solve([r[i]], transpose=True)[0]
        assert found[i].residual < 1e-11
        assert relative(found[i].x, alone.x) < 1e-8


def test_right_hand_side_zero_has_the_solution_zero(drifting_root: gs.SteadyState) -> None:
    found = gs.Gmres().prepare([system_of(drifting_root)]).solve([np.zeros((2, 48, 48))])[0]
    assert (found.residual, np.abs(found.x).max(), found.products) == (0.0, 0.0, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Newton's method and routes through either solver
# ---------------------------------------------------------------------------------------------------------------------


def test_inexact_newton_finds_the_root_of_the_direct_one(drifting_root: gs.SteadyState) -> None:
    fields = drifting_root.fields[0].numpy()
    y, x = np.meshgrid(*[2 * np.pi * np.arange(48) / 48] * 2, indexing="ij")
    start = fields + 1e-3 * np.stack([np.sin(2 * y) * np.cos(x), np.cos(3 * x + y)])
    direct, inexact = (newton(instance(PAPER), start, 1e-11, linear=s) for s in (gs.Direct(), gs.Gmres()))
    assert direct.converged
    assert inexact.converged
    assert farthest(inexact.fields, direct.fields) < 1e-7
    assert farthest(inexact.drift, direct.drift) < 1e-9


def test_forcing_terms_save_products(drifting_root: gs.SteadyState, monkeypatch: pytest.MonkeyPatch) -> None:
    from gsimplicit.refine import steps as module

    fields = drifting_root.fields[0].numpy()
    start = fields + 1e-3 * np.random.default_rng(0).standard_normal(fields.shape)
    inexact = newton(instance(PAPER), start, 1e-10, linear=gs.Gmres())
    monkeypatch.setattr(module, "FORCING", 1e-10)
    exact = newton(instance(PAPER), start, 1e-10, linear=gs.Gmres())
    assert inexact.converged
    assert exact.converged
    assert inexact.evaluations < 0.75 * exact.evaluations


@pytest.mark.parametrize("loss", [mean_square, weighted((48, 48))], ids=["mean v^2", "generic"])
@pytest.mark.parametrize("root", ["drifting_root", "lattice_root"])
@pytest.mark.filterwarnings("ignore::gsimplicit.PositionWarning")
def test_implicit_gradients_by_gmres_and_lu_agree(root: str, loss: Any, request: pytest.FixtureRequest) -> None:
    state = request.getfixturevalue(root)
    direct, krylov = (
        gs.grad(
            gs.Params(*PAPER),
            loss=loss,
            route=gs.routes.Implicit(gs.Refine(linear=linear)),
            initial=state.fields,
        )
        for linear in (gs.Direct(), gs.Gmres(tol=1e-12))
    )
    assert krylov.certificate.definition == direct.certificate.definition
    assert krylov.certificate.adjoint_residual[0] < 1e-8
    assert relative(krylov.grad.tensor(), direct.grad.tensor()) < 1e-5
    assert torch.allclose(
        krylov.certificate.other_definition, direct.certificate.other_definition, rtol=1e-3, equal_nan=True
    )


def test_root_derivatives_by_gmres_and_lu_agree(drifting_root: gs.SteadyState) -> None:
    a, b = (gs.root_derivatives(drifting_root, linear) for linear in (gs.Direct(), gs.Gmres(tol=1e-11)))
    assert relative(b, a) < 1e-7


@SOLVERS
def test_at_a_fold_the_gradient_is_refused_and_the_root_is_not(linear: gs.LinearSolver) -> None:
    """F = 4 (F + k)^2: upper and lower uniform state meet, and the Jacobian is singular."""
    fields = torch.tensor([0.5, 0.2], dtype=torch.float64)[None, :, None, None].expand(1, 2, 16, 16)
    fold, route = gs.Params(0.16, 0.08, 0.04, 0.06), gs.routes.Implicit(gs.Refine(linear=linear))
    state = gs.steady_state(fold, fields, refine=True)
    assert state.status.tolist() == [gs.Status.STEADY]
    with pytest.raises(gs.NotSteady, match="a fold or another bifurcation"):
        gs.grad(fold, loss=mean_square, route=route, initial=fields)
    with pytest.raises(np.linalg.LinAlgError, match="near singular"):
        gs.root_derivatives(state, linear)


def test_solver_is_chosen_by_size_and_device_and_overridden_by_object() -> None:
    assert solver_for(None, 128 * 128, CPU) == gs.Direct()
    assert solver_for(None, 4096 * 4096, CPU) == gs.Gmres(device=CPU)
    assert solver_for(None, 128 * 128, torch.device("meta")) == gs.Direct()
    assert solver_for(None, 4096 * 4096, torch.device("meta")) == gs.Gmres(device=torch.device("meta"))
    assert solver_for(SHARP, 128 * 128, CPU) is SHARP


def test_a_solver_of_ones_own_is_used(drifting_root: gs.SteadyState) -> None:
    class Counting:
        name, factorises = "counting", True

        def __init__(self) -> None:
            self.prepared = 0

        def prepare(self, systems: Any, before: Prepared | None = None) -> Prepared:
            self.prepared += 1
            return gs.Direct().prepare(systems, before)

    own = Counting()
    gs.grad(
        gs.Params(*PAPER),
        loss=mean_square,
        route=gs.routes.Implicit(gs.Refine(linear=own)),
        initial=drifting_root.fields,
    )
    assert own.prepared == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tol": 1e-15}, "tol of Gmres must be finite and >= 1e-13 and <= 1e-08"),
        ({"tol": 1e-3}, "<= 1e-08, got 0.001"),
        ({"device": "nowhere"}, "device of Gmres must be one torch can use"),
        ({"device": 3.5}, "device of Gmres must be one torch can use"),
        ({"cycle": 19}, "cycle must be >= 20, got 19"),
        ({"deflate": -1}, "deflate must be >= 0, got -1"),
        ({"deflate": 91}, "deflate must be at most cycle - 10 = 90, got 91"),
        ({"max_products": 0}, "max_products must be >= 1, got 0"),
        ({"batch": 0}, "batch must be >= 1, got 0"),
    ],
)
def test_gmres_settings_out_of_range_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        gs.Gmres(**arguments)


def test_a_linear_solver_without_the_methods_is_refused() -> None:
    for wrong in ("lu", gs.Direct, type("Half", (), {"prepare": print})()):
        with pytest.raises(TypeError, match="linear must be"):
            gs.Refine(linear=wrong)


def test_a_device_may_be_given_by_name() -> None:
    assert gs.Gmres(device="cpu") == gs.Gmres()  # type: ignore[arg-type]
