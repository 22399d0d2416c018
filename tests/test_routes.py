from __future__ import annotations

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse
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
    forward_mode,
    forward_tangents,
    instance,
    march,
    mean_square,
    polished,
    random_fields,
    relative,
    small_start,
    weighted,
)

import gsimplicit as gs
from gsimplicit import equations, models
from gsimplicit.arguments import March
from gsimplicit.losses import spectrum_loss, windowed_loss
from gsimplicit.marching import reference
from gsimplicit.models.gray_scott import PARAMETERS, homogeneous_states
from gsimplicit.refine.linear import jacobian
from gsimplicit.refine.newton import newton
from gsimplicit.routes import FiniteDifference, Implicit, Problem, Unrolled
from gsimplicit.routes.arguments import default_target

if TYPE_CHECKING:
    from collections.abc import Callable

# the windowed loss sees the position, and is meant to here
pytestmark = pytest.mark.filterwarnings("ignore::gsimplicit.PositionWarning")

ROUTES = ("implicit", "unrolled", "finite_difference")
LOSSES = pytest.mark.parametrize(
    "loss", ["spectrum", "windowed", mean_square], ids=["spectrum", "windowed", "mean_square"]
)
TIGHT = gs.Refine(tol=1e-12)
LATTICE = gs.Refine(tol=1e-12, lattice=True)


def as_function(loss: str | Callable[..., torch.Tensor], target: torch.Tensor) -> Callable[..., torch.Tensor]:
    """The loss as a function of v alone, from the losses' own module."""
    if callable(loss):
        return loss
    return functools.partial({"spectrum": spectrum_loss, "windowed": windowed_loss}[loss], target=target)


def table(out: gs.Gradient) -> torch.Tensor:
    """The gradient of the first instance, shape (4,)."""
    return out.grad.tensor()[0]


@functools.lru_cache
def marched_target(n: int) -> torch.Tensor:
    """The paper's point marched to 1e-4 on n x n from another field."""
    fields = gs.initial_state(seed=1, grid=(n, n), box=gs.Box(half=n // 4))
    return march(fields, gs.Params(*PAPER), tol=1e-4, max_steps=50_000).fields[:, 1]


@functools.lru_cache
def root_of(n: int, half: int, parameters: tuple[float, ...], lattice: bool) -> gs.SteadyState:
    """A certified root, certified more tightly than the routes ask for, so that they recognise it."""
    return gs.steady_state(gs.Params(*parameters), small_start(n, half), refine=LATTICE if lattice else TIGHT)


# ---------------------------------------------------------------------------------------------------------------------
# Unrolled against forward mode and differences: the steps of the paper's point at the paper's size
# ---------------------------------------------------------------------------------------------------------------------

STEPS = 2000
MARCHED = pytest.mark.parametrize(
    ("grid", "seed"),
    [
        pytest.param((128, 128), 0, id="128x128"),
        pytest.param((96, 64), 0, id="96x64", marks=pytest.mark.slow),
    ],
)


@functools.lru_cache
def oracle(grid: tuple[int, int], seed: int) -> torch.Tensor:
    """Tangents of v in the four parameters after 2,000 steps, by forward mode: about 5 s at 128 x 128."""
    return forward_tangents(gs.initial_state(seed=seed, grid=grid), PAPER, STEPS)


@functools.lru_cache
def reference_end(grid: tuple[int, int], seed: int) -> torch.Tensor:
    """v after 2,000 steps by the torch reference, shape (1, H, W)."""
    return reference.march(
        models.gray_scott, gs.initial_state(seed=seed, grid=grid), gs.Params(*PAPER).tensor(), 0.0, STEPS, STEPS, 1.0
    )[0][:, 1]


def unrolled(grid: tuple[int, int], seed: int, loss: str | Callable[..., torch.Tensor], route: str = "unrolled") -> Any:
    return gs.grad(
        gs.Params(*PAPER), route, loss, initial=gs.initial_state(seed=seed, grid=grid), tol=0.0, max_steps=STEPS
    )


def forward_gradient(
    loss: str | Callable[..., torch.Tensor], v: torch.Tensor, tangents: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """Forward mode of the loss at v along the tangents, shape (4,)."""
    return forward_mode(as_function(loss, default_target(grid, models.gray_scott, 1.0)), v.repeat(4, 1, 1), tangents)


@MARCHED
@LOSSES
def test_unrolled_gradient_equals_forward_mode(
    grid: tuple[int, int], seed: int, loss: str | Callable[..., torch.Tensor]
) -> None:
    found = unrolled(grid, seed, loss)
    expected = forward_gradient(loss, reference_end(grid, seed), oracle(grid, seed), grid)
    assert found.state.steps.tolist() == [STEPS]
    assert torch.equal(found.state.v, reference_end(grid, seed))  # the log spectrum would see the last bits
    assert relative(table(found), expected) < 1e-10


@MARCHED
def test_central_differences_of_the_marched_steps_agree_with_forward_mode(grid: tuple[int, int], seed: int) -> None:
    found = unrolled(grid, seed, mean_square, "finite_difference")
    expected = forward_gradient(mean_square, reference_end(grid, seed), oracle(grid, seed), grid)
    assert found.state.steps.tolist() == [STEPS]
    assert relative(table(found), expected) < 1e-8
    assert found.certificate.error[0] < 1e-7


def test_unrolled_gradient_is_that_of_the_steps_to_the_stop() -> None:
    """With a stop test the number of steps is held constant."""
    fields = small_start(32, 8)
    stopped = gs.grad(gs.Params(*PAPER), "unrolled", mean_square, initial=fields, tol=1e-4)
    steps = int(stopped.state.steps[0])
    assert 64 < steps < 50_000
    fixed = gs.grad(gs.Params(*PAPER), "unrolled", mean_square, initial=fields, tol=0.0, max_steps=steps)
    assert torch.equal(stopped.grad.tensor(), fixed.grad.tensor())
    differences = gs.grad(gs.Params(*PAPER), "finite_difference", mean_square, initial=fields, tol=1e-4)
    assert differences.state.steps.tolist() == [steps]
    assert relative(table(differences), table(fixed)) < 5e-8


# ---------------------------------------------------------------------------------------------------------------------
# Implicit against independent oracles
# ---------------------------------------------------------------------------------------------------------------------


def sparse_adjoint(fields: np.ndarray, parameters: tuple[float, ...], cotangent: np.ndarray) -> np.ndarray:
    """dL/dp = -lambda . dR/dp with J^T lambda = dL/dX, J from Kronecker products, all of u before all of v."""
    Du, Dv, F, k = parameters
    _, H, W = fields.shape
    u, v = fields.reshape(2, -1)

    def ring(n: int) -> scipy.sparse.csc_array:
        shift = scipy.sparse.csc_array(np.roll(np.eye(n), 1, axis=0))
        return shift + shift.T - 2 * scipy.sparse.eye_array(n)

    lap = scipy.sparse.kron(ring(H), scipy.sparse.eye_array(W)) + scipy.sparse.kron(scipy.sparse.eye_array(H), ring(W))
    J = scipy.sparse.block_array(
        [
            [Du * lap - scipy.sparse.diags_array(v**2 + F), scipy.sparse.diags_array(-2 * u * v)],
            [scipy.sparse.diags_array(v**2), Dv * lap + scipy.sparse.diags_array(2 * u * v - F - k)],
        ]
    )
    adjoint = scipy.sparse.linalg.splu(J.T.tocsc()).solve(np.concatenate([np.zeros(u.size), cotangent.ravel()]))
    a, b = adjoint.reshape(2, -1)
    return -np.array([a @ (lap @ u), b @ (lap @ v), a @ (1 - u) - b @ v, -b @ v])


@LOSSES
def test_implicit_gradient_equals_an_independent_sparse_adjoint(
    lattice_root: gs.SteadyState, loss: str | Callable[..., torch.Tensor]
) -> None:
    target = None if callable(loss) else marched_target(48)
    out = gs.grad(lattice_root.params, "implicit", loss, target=target, initial=lattice_root.fields)
    assert out.certificate.definition == ("full jacobian",)
    assert torch.equal(out.state.fields, lattice_root.fields)
    v = lattice_root.v.clone().requires_grad_()
    (cotangent,) = torch.autograd.grad(as_function(loss, marched_target(48))(v).sum(), v)
    expected = sparse_adjoint(lattice_root.fields[0].numpy(), PAPER, cotangent.numpy())
    assert relative(table(out), expected) < 1e-10
    assert out.certificate.adjoint_residual[0] < 1e-10


def test_bordered_implicit_gradient_equals_a_dense_bordered_solve() -> None:
    """The shape's derivative: [J + c . grad, grad X; grad X^T, 0] [X', c'] = [-dR/dp, 0], solved densely."""
    root = root_of(32, 8, PAPER, False)
    fields, drift = root.fields[0].numpy(), root.drift[0].numpy()
    out = gs.grad(root.params, "implicit", mean_square, initial=root.fields)
    assert out.certificate.definition == ("bordered jacobian",)
    n = 32
    q = 2j * np.pi * np.fft.fftfreq(n)
    q[n // 2] = 0
    D = np.fft.ifft(q[:, None] * np.fft.fft(np.eye(n), axis=0), axis=0).real
    slopes = [np.kron(np.eye(2), np.kron(*pair)) for pair in ((D, np.eye(n)), (np.eye(n), D))]
    G = np.stack([S @ fields.ravel() for S in slopes], axis=1)
    A = dense_jacobian(fields, PAPER) + sum(c * S for c, S in zip(drift, slopes, strict=True))
    M = np.block([[A, G], [G.T, np.zeros((2, 2))]])
    R = equations.parameter_slopes(root.fields, root.params)[0].reshape(4, -1).numpy()
    tangents = np.linalg.solve(M, np.vstack([-R.T, np.zeros((2, 4))]))[: 2 * n * n]
    expected = np.concatenate([np.zeros(n * n), 2 * fields[1].ravel() / n**2]) @ tangents
    assert relative(table(out), expected) < 1e-13


HOMOGENEOUS = [UNIFORM, (0.16, 0.08, 0.035, 0.04), (0.1, 0.05, 0.02, 0.035)]


@pytest.mark.parametrize("parameters", HOMOGENEOUS)
@pytest.mark.parametrize("branch", ["upper", "lower"])
@pytest.mark.parametrize("route", ["implicit", FiniteDifference(refine=True)], ids=["implicit", "finite_difference"])
def test_gradient_on_the_homogeneous_branch_is_the_closed_form(
    parameters: tuple[float, ...], branch: str, route: Any
) -> None:
    """(F + k) v^2 - F v + F (F + k) = 0, differentiated; the unstable lower branch has a gradient all the same."""
    _, _, F, k = parameters
    u, v = getattr(homogeneous_states(F, k), branch)
    fields = torch.tensor([u, v], dtype=torch.float64)[None, :, None, None].expand(1, 2, 12, 10)
    out = gs.grad(gs.Params(*parameters), route, mean_square, initial=fields)
    assert out.state.status.tolist() == [gs.Status.STEADY]
    assert out.state.steps.tolist() == [0]
    slope = 2 * (F + k) * v - F
    expected = [0.0, 0.0, -2 * v * (v**2 - v + 2 * F + k) / slope, -2 * v * (v**2 + F) / slope]
    assert out.loss.item() == pytest.approx(v**2, rel=1e-13)
    assert relative(table(out), np.array(expected)) < (1e-13 if route == "implicit" else 1e-10)


def test_gradient_at_the_trivial_state_is_zero() -> None:
    fields = gs.initial_state(grid=(12, 10), noise=0.0, box=None)
    out = gs.grad(gs.Params(*TRIVIAL), "implicit", mean_square, initial=fields)
    assert out.state.kind.tolist() == [gs.Kind.TRIVIAL]
    assert out.grad.tensor().tolist() == [[0.0] * 4]


# ---------------------------------------------------------------------------------------------------------------------
# Unrolled to implicit: the rate of the slowest mode
# ---------------------------------------------------------------------------------------------------------------------


def test_unrolled_gradient_converges_to_the_implicit_one_as_the_powers_of_the_step() -> None:
    """From the root itself the Jacobian J of every step is the same, and the error after T steps is
    `g^T (1 + J)^T J^-1 dR/dp`. The parameters do not excite the two translations of this symmetric pattern, so that
    the slowest mode met is the third.
    """
    n, parameters = 16, (0.16, 0.08, 0.05, 0.06)
    root = torch.from_numpy(polished(root_of(n, 4, parameters, True).fields[0].numpy(), parameters))[None]
    loss, params = weighted((n, n)), gs.Params(*parameters)
    J = dense_jacobian(root[0].numpy(), parameters)
    slowest = np.sort(np.linalg.eigvals(J).real)[::-1][2]
    implicit = table(gs.grad(params, "implicit", loss, initial=root))
    v = root[:, 1].clone().requires_grad_()
    (cotangent,) = torch.autograd.grad(loss(v).sum(), v)
    g = np.concatenate([np.zeros(n * n), cotangent.numpy().ravel()])
    tangents = np.linalg.solve(J, equations.parameter_slopes(root, params)[0].reshape(4, -1).numpy().T)
    errors = []
    for T in (1000, 2000):
        out = gs.grad(params, "unrolled", loss, initial=root, tol=0.0, max_steps=T)
        assert farthest(out.state.fields, root) < 1e-12
        errors.append((table(out) - implicit).numpy())
        assert relative(errors[-1], g @ np.linalg.matrix_power(np.eye(2 * n * n) + J, T) @ tangents) < 1e-8
    rate = math.log(np.linalg.norm(errors[1]) / np.linalg.norm(errors[0])) / 1000
    assert rate == pytest.approx(math.log1p(slowest), rel=1e-3)


def test_unrolled_gradient_converges_to_the_implicit_one_at_the_rate_of_the_slowest_mode(
    lattice_root: gs.SteadyState,
) -> None:
    """An asymmetric pattern: the slowest mode is a translation, held by the lattice at a rate of 6e-5."""
    fields = newton(instance(PAPER), lattice_root.fields[0].numpy(), 1e-15, bordered=False).fields
    leading = scipy.sparse.linalg.eigs(
        jacobian(instance(PAPER), fields), k=4, sigma=1e-5, return_eigenvectors=False, v0=np.ones(2 * 48**2)
    )
    given: dict[str, Any] = {"loss": weighted((48, 48)), "initial": torch.from_numpy(fields)[None]}
    implicit = gs.grad(lattice_root.params, "implicit", **given)
    errors = [
        relative(table(gs.grad(lattice_root.params, "unrolled", tol=0.0, max_steps=T, **given)), table(implicit))
        for T in (100_000, 200_000)
    ]
    assert math.log(errors[1] / errors[0]) / 100_000 == pytest.approx(math.log1p(leading.real.max()), rel=5e-3)
    assert errors[1] < 1e-6


# ---------------------------------------------------------------------------------------------------------------------
# Differences of roots
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lattice", [False, True], ids=["bordered", "full"])
@pytest.mark.parametrize(("n", "half"), [(32, 8), (48, 10)])
@LOSSES
def test_differences_of_roots_agree_with_the_implicit_gradient(
    n: int, half: int, lattice: bool, loss: str | Callable[..., torch.Tensor]
) -> None:
    """Log spectra are so rough on 48 x 48 that their differences need a quarter of the default step.

    The windowed loss sees the position, which the lattice holds by a rate of 1e-5 alone: rounding moves it most.
    """
    root, settings = root_of(n, half, PAPER, lattice), gs.Refine(lattice=lattice)
    given: dict[str, Any] = {"loss": loss, "initial": root.fields}
    if not callable(loss):
        given["target"] = marched_target(n)
    implicit = gs.grad(root.params, Implicit(refine=settings), **given)
    step = 2.0**-22 if n == 48 and not callable(loss) else None
    differences = gs.grad(root.params, FiniteDifference(refine=settings, step=step), **given)
    assert implicit.certificate.definition == (("full" if lattice else "bordered") + " jacobian",)
    assert differences.certificate.definition == ("differences of roots",)
    assert torch.equal(differences.state.fields, implicit.state.fields)
    assert relative(table(differences), table(implicit)) < (1e-5 if loss == "windowed" else 1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# What comes back
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("route", ROUTES)
def test_batch_of_gradients_equals_a_loop_bitwise(route: str) -> None:
    params, fields = gs.Params(0.16, 0.08, [0.035, 0.036, 0.034], 0.065), small_start(32, 8, count=3)
    given: dict[str, Any] = {"target": marched_target(32), "tol": 1e-3 if route != "implicit" else 1e-4}
    together = gs.grad(params, route, initial=fields, **given)
    for i in range(3):
        alone = gs.grad(params[i], route, initial=fields[i : i + 1], **given)
        assert torch.equal(together.loss[i : i + 1], alone.loss)
        assert torch.equal(together.grad.tensor()[i : i + 1], alone.grad.tensor())
        assert torch.equal(together.state.fields[i : i + 1], alone.state.fields)


@pytest.mark.parametrize("route", ROUTES)
def test_one_set_of_parameters_serves_a_batch_of_fields_and_the_other_way_round(route: str) -> None:
    fields = small_start(32, 8, count=2)
    given: dict[str, Any] = {"route": route, "loss": mean_square, "tol": 1e-3 if route != "implicit" else 1e-4}
    by_fields = gs.grad(gs.Params(*PAPER), initial=fields, **given)
    by_params = gs.grad(gs.Params(*PAPER).expand(2), initial=fields[:1], **given)
    assert by_fields.grad.tensor().shape == (2, 4)
    assert torch.equal(by_params.grad.tensor()[0], by_params.grad.tensor()[1])
    assert torch.equal(by_params.grad.tensor()[0], by_fields.grad.tensor()[0])


@pytest.mark.parametrize("route", ROUTES)
def test_loss_and_gradient_are_float64_of_one_entry_an_instance(route: str) -> None:
    out = gs.grad(gs.Params(*UNIFORM).expand(2), route, mean_square, initial=small_start(24, 5), max_steps=2000)
    assert (out.loss.dtype, tuple(out.loss.shape)) == (torch.float64, (2,))
    for name in PARAMETERS:
        value = getattr(out.grad, name)
        assert (value.dtype, tuple(value.shape)) == (torch.float64, (2,))
    assert relative(out.loss, mean_square(out.state.v)) < 1e-15
    assert (out.route, out.objective) == (route, "mean_square")


def test_marching_is_float32_for_the_implicit_route_and_float64_where_steps_are_differentiated() -> None:
    fields, params = small_start(24, 5), gs.Params(*UNIFORM)
    assert gs.steady_state(params, fields, max_steps=64).fields.dtype == torch.float32
    assert gs.steady_state(params, fields, tol=0.0, max_steps=64).fields.dtype == torch.float64
    assert gs.steady_state(params, fields, refine=True).fields.dtype == torch.float64
    for route in ("unrolled", "finite_difference"):
        out = gs.grad(params, route, mean_square, initial=fields, max_steps=64)
        assert out.state.fields.dtype == torch.float64
    implicit = gs.grad(params, "implicit", mean_square, initial=fields)
    assert implicit.state.steps.tolist() == gs.steady_state(params, fields).steps.tolist()
    assert implicit.state.change.tolist() == gs.steady_state(params, fields).change.tolist()


def test_unrolled_gradient_may_be_asked_for_in_float32() -> None:
    fields, params = small_start(32, 8), gs.Params(*PAPER)
    given: dict[str, Any] = {"loss": mean_square, "initial": fields, "tol": 0.0, "max_steps": 50}
    found = gs.grad(params, "unrolled", dtype=torch.float32, **given)
    assert found.state.fields.dtype == torch.float32
    assert found.grad.F.dtype == torch.float64
    assert relative(table(found), table(gs.grad(params, "unrolled", **given))) < 5e-5


def test_default_target_is_the_papers_point_marched_from_seed_one() -> None:
    fields = gs.initial_state(seed=2, grid=(32, 48))
    given: dict[str, Any] = {"route": "unrolled", "initial": fields, "tol": 0.0, "max_steps": 50}
    target = gs.steady_state(gs.Params(*PAPER), gs.initial_state(seed=1, grid=(32, 48)), dtype=torch.float64).v
    assert torch.equal(
        gs.grad(gs.Params(*PAPER), **given).loss, gs.grad(gs.Params(*PAPER), target=target, **given).loss
    )
    assert gs.grad(gs.Params(*PAPER), **given).loss[0] > 1.0


@pytest.mark.parametrize("form", ["v", "u and v", "numpy", "float32"])
def test_target_may_be_v_or_u_and_v_as_tensor_or_array(form: str) -> None:
    v = small_start(32, 8, count=2)[1:, 1].float().double()
    fields = torch.stack([1 - v, v], dim=1)
    target = {"v": v, "u and v": fields, "numpy": fields.numpy(), "float32": v.float()}[form]
    given: dict[str, Any] = {"route": "unrolled", "initial": small_start(32, 8), "tol": 0.0, "max_steps": 5}
    expected = spectrum_loss(gs.solve(gs.Params(*PAPER), **given).v, v)
    assert torch.equal(gs.grad(gs.Params(*PAPER), target=target, **given).loss, expected)


@pytest.mark.parametrize("form", ["float32", "column order", "reversed", "read-only"])
def test_initial_fields_may_be_any_array_of_floats(form: str) -> None:
    fields = small_start(32, 8).float().double()
    array = fields.numpy().copy()
    if form == "read-only":
        array.setflags(write=False)
    given = {
        "float32": array.astype(np.float32),
        "column order": np.asfortranarray(array),
        "reversed": array[..., ::-1].copy()[..., ::-1],
        "read-only": array,
    }[form]
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch warns of read-only arrays once a process
    try:
        found = gs.steady_state(gs.Params(*PAPER), given, tol=0.0, max_steps=5)
    finally:
        torch.set_warn_always(always)
    assert torch.equal(found.fields, gs.steady_state(gs.Params(*PAPER), fields, tol=0.0, max_steps=5).fields)


def test_fields_and_parameters_given_are_left_alone() -> None:
    fields = small_start(32, 8)
    values = torch.tensor([PAPER], dtype=torch.float64, requires_grad=True)
    before = fields.clone()
    for route in ("unrolled", "finite_difference"):
        gs.grad(gs.Params.stack(values), route, mean_square, initial=fields, tol=0.0, max_steps=20)
    gs.grad(gs.Params.stack(values), "implicit", mean_square, initial=fields)
    assert torch.equal(fields, before)
    assert values.grad is None


def test_certificates_say_what_was_differentiated_and_what_it_cost() -> None:
    root = root_of(32, 8, PAPER, True)
    given: dict[str, Any] = {"loss": mean_square, "initial": root.fields}
    implicit = gs.grad(root.params, "implicit", **given).certificate
    assert implicit.definition == ("full jacobian",)
    assert implicit.other_definition[0] < 1e-6  # a symmetric pattern: both agree
    assert implicit.adjoint_residual[0] < 1e-11
    assert implicit.seconds > 0
    drifting = root_of(32, 8, PAPER, False)
    bordered = gs.grad(drifting.params, "implicit", loss=mean_square, initial=drifting.fields).certificate
    assert bordered.definition == ("bordered jacobian",)
    assert math.isnan(bordered.other_definition[0])
    steps = gs.grad(root.params, "unrolled", tol=0.0, max_steps=70, **given).certificate
    assert (steps.definition, steps.products.tolist()) == (("marched steps",), [70])
    differences = gs.grad(root.params, "finite_difference", tol=0.0, max_steps=70, **given).certificate
    assert (differences.definition, differences.products.tolist()) == (("differences of marched states",), [16 * 70])


def test_error_estimate_of_differences_is_that_of_the_plain_difference() -> None:
    """|D(h) - D(2h)| / 3: with a coarse step it falls by four when the step is halved."""
    given: dict[str, Any] = {"loss": mean_square, "initial": small_start(28, 9), "tol": 0.0, "max_steps": 200}
    exact = table(gs.grad(gs.Params(*PAPER), "unrolled", **given))
    outs = [gs.grad(gs.Params(*PAPER), FiniteDifference(step=h), **given) for h in (5e-6, 2.5e-6)]
    coarse, fine = (out.certificate.error[0].item() for out in outs)
    assert coarse / fine == pytest.approx(4.0, rel=0.01)
    errors = [relative(table(out), exact) for out in outs]
    assert errors[0] / errors[1] == pytest.approx(16.0, rel=0.01)  # the extrapolated difference is of fourth order
    assert errors[0] < coarse


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e3, 1e8])
@pytest.mark.parametrize("route", [Implicit(), Unrolled()], ids=["implicit", "unrolled"])
@pytest.mark.parametrize("lattice", [False, True], ids=["drifting", "steady"])
def test_scale_of_the_cotangent_leaves_the_relative_gradient_alone(lattice: bool, route: Any, scale: float) -> None:
    root = root_of(32, 8, PAPER, lattice)
    problem = Problem(root.params, root.fields, March(tol=0.0, max_steps=100, check_every=64))
    state = route.solve(problem)
    cotangents = (random_fields(2, (32, 32), seed=3) - 0.3)[:, None]
    plain, scaled = (route.pull_back(problem, state, s * cotangents).gradient for s in (1.0, scale))
    assert plain.shape == (2, 1, 4)
    assert relative(scaled / scale, plain) < 1e-12


def test_route_objects_are_taken_with_their_settings() -> None:
    root = root_of(32, 8, PAPER, False)
    out = gs.grad(root.params, Implicit(refine=LATTICE), mean_square, initial=root.fields)
    assert out.state.status.tolist() == [gs.Status.STEADY]
    assert out.certificate.definition == ("full jacobian",)


# ---------------------------------------------------------------------------------------------------------------------
# solve
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route",
    [*ROUTES, Implicit(refine=LATTICE), FiniteDifference(refine=True)],
    ids=lambda r: r if isinstance(r, str) else repr(r),
)
def test_solve_carries_the_gradient_of_grad_through_autograd(route: Any) -> None:
    name = route if isinstance(route, str) else route.name
    given: dict[str, Any] = {"route": route, "initial": small_start(32, 8), "tol": 1e-3 if name == "unrolled" else 1e-4}
    values = torch.tensor([PAPER], dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params.stack(values), **given)
    expected = gs.grad(gs.Params(*PAPER), loss=mean_square, **given)
    assert torch.equal(state.fields.detach(), expected.state.fields)
    mean_square(state.v).sum().backward()
    assert values.grad is not None
    tolerance = 1e-7 if name == "finite_difference" else 1e-13  # differences of the fields against those of the loss
    assert relative(values.grad[0], table(expected)) < tolerance


@pytest.mark.parametrize("route", ROUTES)
def test_solve_differentiates_losses_of_u_and_only_the_parameters_that_ask(route: str) -> None:
    F = torch.tensor(UNIFORM[2], dtype=torch.float64, requires_grad=True)
    k = torch.tensor(UNIFORM[3], dtype=torch.float64, requires_grad=True)
    upper = homogeneous_states(*UNIFORM[2:]).upper
    assert upper is not None
    fields = torch.tensor(upper, dtype=torch.float64)[None, :, None, None].expand(1, 2, 10, 12)
    state = gs.solve(gs.Params(0.16, 0.08, F, k.detach()), route, initial=fields, tol=0.0, max_steps=6000)
    state.u.mean().backward()
    u, v = upper
    dv = -(v**2 - v + 2 * F.item() + k.item()) / (2 * (F.item() + k.item()) * v - F.item())
    assert F.grad is not None
    assert F.grad.item() == pytest.approx(1 / v - u * dv / v, rel=1e-6 if route == "finite_difference" else 1e-9)
    assert k.grad is None


def test_scalar_parameters_sum_their_gradient_over_the_batch() -> None:
    F = torch.tensor(0.035, dtype=torch.float64, requires_grad=True)
    given: dict[str, Any] = {"route": "unrolled", "initial": small_start(32, 8, count=2), "tol": 0.0, "max_steps": 50}
    mean_square(gs.solve(gs.Params(0.16, 0.08, F, 0.065), **given).v).sum().backward()
    assert F.grad is not None
    assert F.grad.item() == pytest.approx(
        gs.grad(gs.Params(*PAPER), loss=mean_square, **given).grad.F.sum().item(), rel=1e-13
    )


def test_solve_of_detached_parameters_is_detached() -> None:
    state = gs.solve(gs.Params(*PAPER), "unrolled", initial=small_start(32, 8), tol=0.0, max_steps=5)
    assert not state.fields.requires_grad


def test_gradient_through_solve_passes_an_optimiser_step() -> None:
    """One step of descent in unbounded coordinates lowers the loss."""
    raw = gs.Params(*UNIFORM).to_unbounded().requires_grad_()

    def loss() -> torch.Tensor:
        state = gs.solve(gs.Params.from_unbounded(raw), "implicit", initial=small_start(24, 5))
        return ((state.v.mean(dim=(1, 2)) - 0.3) ** 2).sum()

    before = loss()
    optimiser = torch.optim.SGD([raw], lr=1.0)
    before.backward()
    optimiser.step()
    assert loss() < 0.99 * before


@pytest.mark.parametrize("loss", [mean_square, weighted((16, 16))], ids=["mean_square", "linear"])
@pytest.mark.parametrize("how", ["backward twice", "grad of grad", "hessian"])
def test_second_derivatives_through_solve_raise(how: str, loss: Callable[..., torch.Tensor]) -> None:
    F = torch.tensor(0.035, dtype=torch.float64, requires_grad=True)

    def value(F: torch.Tensor) -> torch.Tensor:
        state = gs.solve(gs.Params(0.16, 0.08, F, 0.065), "unrolled", initial=small_start(16, 4), tol=0.0, max_steps=10)
        return loss(state.v).sum()

    with pytest.raises(RuntimeError):
        if how == "hessian":
            torch.autograd.functional.hessian(value, F)
        else:
            (slope,) = torch.autograd.grad(value(F), F, create_graph=True)
            if how == "backward twice":
                slope.backward()
            else:
                torch.autograd.grad(slope, F)


# ---------------------------------------------------------------------------------------------------------------------
# Where there is no gradient
# ---------------------------------------------------------------------------------------------------------------------

SMALL_BUDGET = Implicit(refine=gs.Refine(max_evaluations=2000))


@pytest.mark.parametrize("call", [functools.partial(gs.grad, loss=mean_square), gs.solve], ids=["grad", "solve"])
def test_unsteady_instance_raises_not_steady_under_the_implicit_route(call: Any) -> None:
    params = gs.Params.stack(torch.tensor([UNIFORM, OSCILLATING], dtype=torch.float64))
    with pytest.raises(gs.NotSteady, match=r"1 of 2 instances have no steady state:\n  instance 1: unsteady") as caught:
        call(params, route=SMALL_BUDGET, initial=small_start(48, 10), max_steps=3000)
    assert caught.value.state.status.tolist() == [gs.Status.STEADY, gs.Status.UNSTEADY]
    assert caught.value.state.fields.shape == (2, 2, 48, 48)
    assert "Refine(max_evaluations=" in str(caught.value)


def test_not_steady_lists_eight_instances_and_counts_the_rest() -> None:
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 8, count=11), max_steps=10)
    with pytest.raises(gs.NotSteady, match="11 of 11 instances") as caught:
        state.require_steady()
    assert str(caught.value).count("instance ") == 8
    assert "and 3 more" in str(caught.value)


def test_unrefined_states_are_told_to_refine() -> None:
    state = gs.steady_state(gs.Params(*TRIVIAL), small_start(24, 5))
    with pytest.raises(gs.NotSteady, match=r"settled .*refine=True"):
        state.require_steady()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("route", ["unrolled", "finite_difference"])
def test_diverged_instance_has_nan_and_leaves_the_bits_of_the_other(route: str) -> None:
    params = gs.Params.stack(torch.tensor([DIVERGING, PAPER], dtype=torch.float64))
    given: dict[str, Any] = {
        "route": route,
        "loss": mean_square,
        "initial": small_start(32, 8),
        "tol": 0.0,
        "max_steps": 300,
    }
    with pytest.warns(gs.StabilityWarning):
        out = gs.grad(params, **given)
    assert out.state.status.tolist() == [gs.Status.DIVERGED, gs.Status.FIXED]
    assert torch.isnan(out.loss).tolist() == [True, False]
    assert torch.isnan(out.grad.tensor()).tolist() == [[True] * 4, [False] * 4]
    assert out.certificate.definition[0] == "none"
    alone = gs.grad(params[1], **given)
    assert torch.equal(out.loss[1:], alone.loss)
    assert torch.equal(out.grad.tensor()[1:], alone.grad.tensor())


def test_diverged_instance_leaves_the_gradient_of_the_other_through_solve() -> None:
    values = torch.tensor([DIVERGING, PAPER], dtype=torch.float64, requires_grad=True)
    given: dict[str, Any] = {"route": "unrolled", "initial": small_start(32, 8), "tol": 0.0, "max_steps": 300}
    with pytest.warns(gs.StabilityWarning):
        state = gs.solve(gs.Params.stack(values), **given)
    mean_square(state.v[1:]).sum().backward()
    assert values.grad is not None
    expected = gs.grad(gs.Params(*PAPER), loss=mean_square, **given)
    assert relative(values.grad[1], table(expected)) < 1e-13


def test_diverged_instance_raises_not_steady_under_the_implicit_route() -> None:
    params = gs.Params.stack(torch.tensor([DIVERGING, UNIFORM], dtype=torch.float64))
    with pytest.warns(gs.StabilityWarning), pytest.raises(gs.NotSteady, match="instance 0: diverged"):
        gs.grad(params, "implicit", mean_square, initial=small_start(24, 5))


# ---------------------------------------------------------------------------------------------------------------------
# Arguments
# ---------------------------------------------------------------------------------------------------------------------


def call(entry: str, **changes: Any) -> Any:
    """One entry point with good arguments but for `changes`."""
    given: dict[str, Any] = {"params": gs.Params(*PAPER), "initial": small_start(32, 8), "tol": 0.0, "max_steps": 5}
    if entry != "steady_state":
        given["route"] = "unrolled"
    if entry == "grad":
        given["target"] = small_start(32, 8)[:, 1]
    return getattr(gs, entry)(**{**given, **changes})


ENTRIES = pytest.mark.parametrize("entry", ["grad", "solve", "steady_state"])
SPOILT = small_start(32, 8, count=3)
SPOILT[2, 1, 3, 4] = math.nan
INFINITE = small_start(32, 8, count=2)
INFINITE[1, 0, 0, 0] = math.inf
FIELDS = small_start(32, 8)


@ENTRIES
def test_good_arguments_pass(entry: str) -> None:
    call(entry)


@ENTRIES
@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"params": PAPER}, TypeError, "params must be gsimplicit.Params, .*got tuple"),
        ({"params": {"F": 0.03}}, TypeError, "params must be gsimplicit.Params, .*got dict"),
        ({"initial": FIELDS[0]}, ValueError, r"initial must have shape \(B, 2, H, W\).*got \(2, 32, 32\)"),
        ({"initial": FIELDS[:, :1]}, ValueError, r"initial must have shape .*got \(1, 1, 32, 32\)"),
        ({"initial": FIELDS[:0]}, ValueError, "initial must have shape .*B >= 1"),
        ({"initial": FIELDS[:, :, :2]}, ValueError, "initial must have shape .*H, W >= 3"),
        ({"initial": SPOILT}, ValueError, "initial must be finite, got NaN or infinity in instance 2"),
        ({"initial": INFINITE.numpy()}, ValueError, "initial must be finite, got NaN or infinity in instance 1"),
        ({"initial": FIELDS.long()}, TypeError, "initial must hold floats, got torch.int64"),
        ({"initial": FIELDS.numpy().astype(int)}, TypeError, "initial must hold floats"),
        ({"initial": FIELDS.tolist()}, TypeError, "initial must be a torch tensor or numpy array, got list"),
        (
            {"params": gs.Params(*PAPER).expand(2), "initial": SPOILT.nan_to_num()},
            ValueError,
            "2 parameters .* 3 initial",
        ),
        ({"tol": -1e-4}, ValueError, "tol must be finite and >= 0, got -0.0001"),
        ({"tol": math.nan}, ValueError, "tol must be finite and >= 0, got nan"),
        ({"tol": math.inf}, ValueError, "tol must be finite and >= 0, got inf"),
        ({"tol": "1e-4"}, (ValueError, TypeError), "tol must be"),
        ({"tol": None}, (ValueError, TypeError), "tol must be"),
        ({"max_steps": 0}, ValueError, "max_steps must be >= 1, got 0"),
        ({"max_steps": 5.0}, TypeError, "max_steps must be an integer, got 5.0"),
        ({"max_steps": True}, TypeError, "max_steps must be an integer, got True"),
        ({"check_every": 0}, ValueError, "check_every must be >= 1, got 0"),
        ({"check_every": 2.5}, TypeError, "check_every must be an integer, got 2.5"),
        ({"check_every": None}, TypeError, "check_every must be an integer, got None"),
        ({"dtype": torch.float16}, ValueError, "dtype must be torch.float32 or torch.float64, got torch.float16"),
        ({"dtype": "float64"}, (ValueError, TypeError), "dtype must be"),
        ({"device": "nonsense"}, (ValueError, TypeError), "device"),
    ],
    ids=lambda x: ", ".join(x) if isinstance(x, dict) else "",
)
def test_bad_arguments_are_refused_at_every_entry(entry: str, changes: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call(entry, **changes)


@pytest.mark.parametrize("entry", ["grad", "steady_state"])
def test_a_start_that_requires_gradients_is_refused_where_none_would_come(entry: str) -> None:
    with pytest.raises(ValueError, match=r"initial requires gradients.*initial.detach"):
        call(entry, initial=FIELDS.clone().requires_grad_())


@pytest.mark.parametrize("route", ["implicit", "deq", "finite_difference", gs.routes.Tangent(refine=True)])
def test_solve_refuses_a_start_that_requires_gradients_by_routes_without_a_derivative_in_it(route: Any) -> None:
    with pytest.raises(ValueError, match=r"initial must not require gradients for the \w+ route"):
        call("solve", route=route, initial=FIELDS.clone().requires_grad_())


@pytest.mark.parametrize("route", ["unrolled", "tangent", gs.routes.Truncated(steps=40)])
def test_solve_differentiates_in_the_start_by_routes_at_finite_time(route: Any) -> None:
    start, again = (FIELDS.clone().requires_grad_() for _ in range(2))
    state = call("solve", route=route, initial=start, max_steps=40, dtype=torch.float64)
    end = reference.unroll(models.gray_scott, again, gs.Params(*PAPER).tensor(), 40)
    mean_square(state.v).sum().backward()
    mean_square(end[:, 1]).sum().backward()
    assert start.grad is not None
    assert again.grad is not None
    assert relative(start.grad, again.grad) < 1e-12


@pytest.mark.parametrize("entry", ["grad", "solve"])
@pytest.mark.parametrize(
    ("route", "error", "text"),
    [
        (
            "implicitt",
            ValueError,
            r"route must be one of 'implicit', 'deq', 'unrolled', .*got 'implicitt'",
        ),
        ("", ValueError, "route must be one of"),
        (None, TypeError, "route must be a name"),
        (3, TypeError, "route must be a name"),
        (Implicit, TypeError, "route must be a name"),
        (["unrolled"], TypeError, "route must be a name"),
    ],
)
def test_unknown_routes_are_refused(entry: str, route: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(entry, route=route)


@pytest.mark.parametrize(
    ("loss", "error", "text"),
    [
        ("spectrumm", ValueError, r"loss must be one of 'spectrum', 'windowed', 'gram' or a callable, got 'spectrumm'"),
        ("residual", ValueError, "residual_loss"),
        (None, TypeError, "loss must be a name or a callable"),
        (3, TypeError, "loss must be a name or a callable"),
        (torch.ones(1), TypeError, "loss must be a name or a callable"),
    ],
)
def test_unknown_losses_are_refused(loss: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call("grad", loss=loss)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda v: v.mean(), r"got \(\)"),
        (lambda v: v, r"got \(2, 32, 32\)"),
        (lambda v: v.mean(dim=(1, 2))[:1], r"got \(1,\)"),
        (lambda v: 1.0, "got float"),
        (lambda v: None, "got NoneType"),
    ],
    ids=["scalar", "field", "too few", "float", "nothing"],
)
def test_losses_of_a_wrong_shape_are_refused(route: str, loss: Any, found: str) -> None:
    with pytest.raises(ValueError, match=rf"must give shape \(2,\) for v of shape \(2, 32, 32\), {found}"):
        gs.grad(gs.Params(*UNIFORM), route, loss, initial=small_start(32, 8, count=2), max_steps=1000)


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (FIELDS[0, 1], ValueError, r"target must be v of shape \(B, H, W\) or u and v.*got \(32, 32\)"),
        (FIELDS[:, :1], ValueError, r"target must have shape \(B, 2, H, W\).*got \(1, 1, 32, 32\)"),
        (FIELDS[:0, 1], ValueError, "target must be v of shape"),
        (FIELDS[:, 1, :16], ValueError, r"grid of the fields, 32 x 32, got \(16, 32\)"),
        (FIELDS[:, :, :16], ValueError, r"grid of the fields, 32 x 32, got \(16, 32\)"),
        (FIELDS[:, 1].expand(3, -1, -1), ValueError, "a target of 3 instances does not pair with 1"),
        (SPOILT[:, 1], ValueError, "target must be finite, got NaN or infinity in instance 2"),
        (SPOILT, ValueError, "target must be finite, got NaN or infinity in instance 2"),
        (FIELDS[:, 1].long(), (ValueError, TypeError), "target must"),
        (FIELDS.long(), (ValueError, TypeError), "target must"),
        (FIELDS[:, 1].tolist(), TypeError, "target must be a torch tensor or numpy array, got list"),
        ("paper", TypeError, "target must be a torch tensor or numpy array, got str"),
    ],
    ids=lambda x: str(tuple(x.shape)) if isinstance(x, torch.Tensor) else "",
)
def test_bad_targets_are_refused(target: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        call("grad", target=target)


@pytest.mark.parametrize("grid", [(24, 32), (32, 40)])
@pytest.mark.parametrize("given", [True, False], ids=["target given", "default target"])
def test_windowed_loss_on_a_grid_it_cannot_tile_is_refused(grid: tuple[int, int], given: bool) -> None:
    fields = gs.initial_state(grid=grid, box=gs.Box(half=5))
    with pytest.raises(ValueError, match=f"multiples of 16, got a grid of {grid[0]} x {grid[1]}"):
        call("grad", loss="windowed", initial=fields, target=fields[:, 1] if given else None)


def test_default_target_exists_on_grids_smaller_than_the_papers_box() -> None:
    out = call("grad", loss="windowed", initial=small_start(16, 4), target=None)
    assert torch.isfinite(out.loss).all()


@pytest.mark.parametrize("refine", ["yes", 1, None, {"tol": 1e-10}])
def test_refine_must_be_a_bool_or_settings(refine: Any) -> None:
    with pytest.raises(TypeError, match=r"refine must be a bool or gsimplicit\.Refine"):
        gs.steady_state(gs.Params(*PAPER), small_start(32, 8), refine=refine)


@pytest.mark.parametrize("step", [0.0, -1e-6, math.nan, math.inf])
def test_steps_of_differences_out_of_range_are_refused(step: float) -> None:
    with pytest.raises(ValueError, match=r"step of FiniteDifference must be finite and > 0"):
        FiniteDifference(step=step)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Implicit, {"refine": True}), (FiniteDifference, {"refine": "yes"}), (FiniteDifference, {"step": "1e-6"})],
)
def test_route_settings_of_a_wrong_type_are_refused(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(settings))):
        gs.grad(gs.Params(*UNIFORM), kind(**settings), mean_square, initial=small_start(24, 5))


def test_differences_next_to_zero_are_refused_with_the_bound() -> None:
    with pytest.raises(ValueError, match=r"k must be >= 2 h = 3\.7e-09 for central differences, got 0\.0"):
        call("grad", params=gs.Params(0.16, 0.08, 0.03, 0.0), route="finite_difference")
    with pytest.raises(ValueError, match="Dv must be >= 2 h"):
        call("grad", route=FiniteDifference(step=0.05))


# ---------------------------------------------------------------------------------------------------------------------
# Printing, indexing
# ---------------------------------------------------------------------------------------------------------------------


def test_steady_state_prints_status_and_residual_of_each_instance() -> None:
    params = gs.Params.stack(torch.tensor([TRIVIAL, UNIFORM], dtype=torch.float64))
    text = repr(gs.steady_state(params, small_start(24, 5), refine=True))
    lines = text.splitlines()
    assert lines[0] == "SteadyState of 2 on 24 x 24, float64"
    assert "0: steady (trivial) after" in lines[1]
    assert "1: steady (uniform) after" in lines[2]
    assert all("residual" in line and "drift" in line and "moved" in line for line in lines[1:])


def test_marched_state_prints_its_change_and_no_drift() -> None:
    text = repr(gs.steady_state(gs.Params(*PAPER), small_start(32, 8, count=10), max_steps=100))
    assert text.startswith("SteadyState of 10 on 32 x 32, float32\n  0: unsteady (pattern) after 100 steps, change ")
    assert "drift" not in text
    assert text.endswith("and 2 more")


@pytest.mark.parametrize("route", ROUTES)
def test_gradient_prints_route_loss_derivatives_state_and_certificate(route: str) -> None:
    text = repr(gs.grad(gs.Params(*UNIFORM), route, mean_square, initial=small_start(24, 5), max_steps=2000))
    assert text.startswith(f"Gradient of the mean_square loss by the {route} route")
    for name in PARAMETERS:
        assert f"d/d{name} " in text
    assert "residual" in text
    assert ("steady (uniform)" if route == "implicit" else "settled (uniform)") in text
    expected = {
        "implicit": "by full jacobian",
        "unrolled": "by marched steps",
        "finite_difference": "by differences of marched states",
    }
    assert expected[route] in text


def test_states_are_indexed_like_their_fields() -> None:
    params = gs.Params.stack(torch.tensor([TRIVIAL, UNIFORM, PAPER], dtype=torch.float64))
    state = gs.steady_state(params, small_start(32, 8), max_steps=500)
    assert len(state) == 3
    for index, rows in ((1, [1]), ([2, 0], [2, 0]), (slice(1, None), [1, 2])):
        part = state[index]
        assert torch.equal(part.fields, state.fields[rows])
        assert torch.equal(part.params.tensor(), params.tensor()[rows])
        assert torch.equal(part.steps, state.steps[rows])
    assert torch.equal(state.u, state.fields[:, 0])
    assert torch.equal(state.v, state.fields[:, 1])


def test_kinds_follow_their_thresholds() -> None:
    stripe = torch.cos(2 * math.pi * torch.arange(8, dtype=torch.float64) / 8).expand(8, 8)
    cases = [(0.0099, 0.0, 1), (0.0101, 0.0, 2), (0.3, 1.4e-3, 2), (0.3, 1.5e-3, 3), (0.3, 0.1, 3), (math.nan, 0.0, 0)]
    v = torch.stack([mean + size * stripe for mean, size, _ in cases])  # its standard deviation is size / sqrt(2)
    assert models.gray_scott.kinds(torch.stack([1 - v, v], dim=1)).tolist() == [kind for _, _, kind in cases]


def test_stored_integers_of_the_enums_are_the_contracts() -> None:
    assert [s.name.lower() for s in sorted(gs.Status)] == [
        "not_run",
        "fixed",
        "settled",
        "steady",
        "drifting",
        "unsteady",
        "diverged",
        "failed",
    ]
    assert [k.name.lower() for k in sorted(gs.Kind)] == ["unknown", "trivial", "uniform", "pattern"]
    assert [s.name.lower() for s in sorted(gs.Stable)] == ["unknown", "yes", "no"]
    assert [int(s) for s in gs.Status] == list(range(8))


def test_a_loss_that_sees_the_position_is_warned_of_and_an_invariant_one_is_not(drifting_root: gs.SteadyState) -> None:
    given: dict[str, Any] = {"initial": drifting_root.fields, "target": marched_target(48)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = gs.grad(drifting_root.params, "implicit", "spectrum", **given)
        assert out.certificate.position.item() < 1e-12
        gs.grad(drifting_root.params, "unrolled", "windowed", **given)
    with pytest.warns(gs.PositionWarning, match="the windowed loss sees the position") as caught:
        out = gs.grad(drifting_root.params, "implicit", "windowed", **given)
    assert 1e-6 < out.certificate.position.item() < 1
    assert caught[0].filename == __file__


@pytest.mark.gpu
@pytest.mark.parametrize("given", ["initial", "device"])
@pytest.mark.parametrize("route", [*ROUTES, "deq", "truncated", "tangent", gs.routes.Tangent(refine=True)], ids=str)
def test_on_a_gpu_fields_lie_there_and_gradients_are_those_of_the_cpu(route: Any, given: str) -> None:
    """The loss holds a tensor there, as one that is used to it does."""
    fields = small_start(32, 8, count=2)
    weights = torch.rand(32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings: dict[str, Any] = {"route": route, "tol": 0.0, "max_steps": 64, "dtype": torch.float64}
    where: dict[str, Any] = {"initial": fields.cuda()} if given == "initial" else {"initial": fields, "device": "cuda"}
    there = gs.grad(gs.Params(*UNIFORM), loss=lambda v: (weights.cuda() * v**2).mean((-2, -1)), **settings, **where)
    here = gs.grad(gs.Params(*UNIFORM), loss=lambda v: (weights * v**2).mean((-2, -1)), initial=fields, **settings)
    assert there.state.fields.device.type == "cuda"
    assert farthest(there.state.fields.cpu(), here.state.fields) < 1e-8
    assert relative(there.grad.tensor(), here.grad.tensor()) < 1e-6
    values = torch.tensor([UNIFORM], dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params.stack(values), **settings, **where)
    (weights.cuda() * state.v**2).mean().backward()
    assert values.grad is not None
    assert relative(values.grad[0], here.grad.tensor().mean(dim=0)) < 1e-6


@pytest.mark.gpu
def test_on_a_gpu_roots_and_what_is_derived_from_them_lie_there() -> None:
    fields, params = small_start(32, 8), gs.Params(*UNIFORM)
    there, here = (gs.steady_state(params, x, refine=True) for x in (fields.cuda(), fields))
    assert there.fields.device.type == "cuda"
    assert gs.root_derivatives(there).device.type == "cuda"
    assert relative(gs.root_derivatives(there).cpu(), gs.root_derivatives(here)) < 1e-8
    assert relative(gs.hessian(there, mean_square), gs.hessian(here, mean_square)) < 1e-6
    tables = [
        gs.compare(params, ["implicit", "tangent"], loss=mean_square, initial=x, max_steps=100)
        for x in (fields.cuda(), fields)
    ]
    np.testing.assert_allclose(*(table["gradient"] for table in tables), rtol=1e-6)
