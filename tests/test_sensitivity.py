"""Derivatives of roots: Taylor tests, a closed form, and what they refuse."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, UNIFORM, instance, mean_square, small_start

import gsimplicit as gs
from gsimplicit.arguments import March
from gsimplicit.models.gray_scott import homogeneous_states
from gsimplicit.refine.newton import newton
from gsimplicit.routes.implicit import Implicit
from gsimplicit.routes.route import Problem

DIRECTION = torch.tensor([0.7, -0.5, 0.3, 0.4], dtype=torch.float64)


@pytest.fixture(params=["steady", "drifting"])
def root(request: pytest.FixtureRequest, lattice_root: gs.SteadyState, drifting_root: gs.SteadyState) -> gs.SteadyState:
    return lattice_root if request.param == "steady" else drifting_root


def moved(root: gs.SteadyState, h: float) -> gs.SteadyState:
    """The root carried along DIRECTION by h, its position held."""
    values = root.params.tensor() + h * DIRECTION
    bordered = root.status[0] == gs.Status.DRIFTING
    found = newton(instance(values[0].tolist()), root.fields[0].numpy(), 1e-14, bordered=bool(bordered))
    assert found.residual < 1e-12
    return root.replace(
        fields=torch.from_numpy(found.fields)[None],
        params=gs.Params.stack(values),
        drift=torch.from_numpy(found.drift)[None],
    )


def orders(remainders: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in pairwise(remainders)]


def test_fields_of_a_root_pass_a_taylor_test(root: gs.SteadyState) -> None:
    slope = torch.einsum("p,pchw->chw", DIRECTION, gs.root_derivatives(root)[0])
    base = moved(root, 0.0).fields[0]
    remainders = [float((moved(root, h).fields[0] - base - h * slope).norm()) for h in (4e-5, 2e-5, 1e-5, 5e-6)]
    assert orders(remainders) == pytest.approx([2.0] * 3, abs=0.1)


def test_root_derivatives_give_the_gradient_of_any_loss(root: gs.SteadyState) -> None:
    route = Implicit(gs.Refine(lattice=bool(root.status[0] == gs.Status.STEADY)))
    out = gs.grad(root.params, route, mean_square, initial=root.fields)
    v = root.v.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mean_square(v).sum(), v)
    expected = torch.einsum("bhw,bphw->bp", slope, gs.root_derivatives(root)[:, :, 1])
    torch.testing.assert_close(out.grad.tensor(), expected, rtol=1e-9, atol=1e-12)


def test_root_derivatives_on_the_uniform_branch_are_the_closed_form() -> None:
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(32, 5), refine=gs.Refine(tol=1e-13))
    F, k, h = UNIFORM[2], UNIFORM[3], 1e-6
    found = gs.root_derivatives(root)[0]
    for at, (dF, dk) in ((2, (h, 0.0)), (3, (0.0, h))):
        up, down = (homogeneous_states(F + s * dF, k + s * dk).upper for s in (1, -1))
        assert up is not None
        assert down is not None
        expected = (np.array(up) - np.array(down)) / (2 * h)
        np.testing.assert_allclose(found[at].mean(dim=(1, 2)).numpy(), expected, rtol=1e-7)
    assert found[:2].abs().max() < 1e-9


def test_the_hessian_passes_a_taylor_test_on_the_gradient(root: gs.SteadyState) -> None:
    H = gs.hessian(root, mean_square)[0]

    def gradient(state: gs.SteadyState) -> torch.Tensor:
        problem = Problem(state.params, state.fields, March(0.0, 1, 1))
        return Implicit().differentiate(problem, state, [mean_square]).gradient[0, 0]

    base = gradient(moved(root, 0.0))
    remainders = [float((gradient(moved(root, h)) - base - h * H @ DIRECTION).norm()) for h in (4e-5, 2e-5, 1e-5)]
    assert orders(remainders) == pytest.approx([2.0] * 2, abs=0.15)
    assert torch.equal(H, H.T)


def test_the_hessian_of_a_linear_loss_of_a_uniform_root_is_the_closed_form() -> None:
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(32, 5), refine=gs.Refine(tol=1e-13))
    H = gs.hessian(root, lambda v: v.mean(dim=(-2, -1)))[0]
    F, k, h = UNIFORM[2], UNIFORM[3], 1e-5

    def v(F: float, k: float) -> float:
        upper = homogeneous_states(F, k).upper
        assert upper is not None
        return upper[1]

    expected = (v(F + h, k + h) - v(F + h, k - h) - v(F - h, k + h) + v(F - h, k - h)) / (4 * h * h)
    assert H[2, 3].item() == pytest.approx(expected, rel=1e-4)


def test_a_root_that_is_attached_to_autograd_serves_as_well() -> None:
    F = torch.tensor(UNIFORM[2], dtype=torch.float64, requires_grad=True)
    state = gs.solve(gs.Params(*UNIFORM[:2], F, UNIFORM[3]), initial=small_start(16, 4))
    plain = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), refine=True)
    assert torch.equal(gs.root_derivatives(state), gs.root_derivatives(plain))
    assert torch.equal(gs.hessian(state, mean_square), gs.hessian(plain, mean_square))


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda v: float(v.detach().mean()), r"hessian: loss .* must give shape \(1,\).* got float"),
        (lambda v: v.detach().mean(dim=(-2, -1)), "hessian: loss .* does not depend on v for autograd"),
        (lambda v: torch.fft.fft2(v)[:, 0, 0], "hessian: loss .* must give real numbers"),
    ],
)
def test_the_hessian_refuses_losses_that_are_none(loss: Any, text: str) -> None:
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), refine=True)
    with pytest.raises(ValueError, match=text):
        gs.hessian(root, loss)


def test_a_state_that_is_no_root_is_refused() -> None:
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 8), max_steps=200)
    for call in (lambda: gs.root_derivatives(state), lambda: gs.hessian(state, mean_square)):
        with pytest.raises(gs.NotSteady, match="instance 0: unsteady"):
            call()


@pytest.mark.parametrize("changed", ["fields", "params"])
def test_a_root_that_was_changed_since_it_was_certified_is_refused(changed: str) -> None:
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), refine=True)
    if changed == "fields":
        root.v[0, 3, 3] = 0.0
    else:
        root.params.F.mul_(1.1)
    for call in (lambda: gs.root_derivatives(root), lambda: gs.hessian(root, mean_square)):
        with pytest.raises(gs.NotSteady, match="instance 0 was changed since it was certified"):
            call()


def test_a_loss_that_is_another_at_each_call_has_no_differences() -> None:
    dropout = torch.nn.Dropout(0.5)
    with pytest.raises(ValueError, match="'dropped' gives other values for the same v"):

        def dropped(v: torch.Tensor) -> torch.Tensor:
            return dropout(v).mean((-2, -1))

        gs.grad(gs.Params(*PAPER), "finite_difference", dropped, initial=small_start(16, 4), tol=0.0, max_steps=10)
