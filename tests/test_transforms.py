"""Transforms of torch around `solve`: those that work give autograd's numbers, the others say what to do instead."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import PAPER, UNIFORM, mean_square, small_start
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import gsimplicit as gs

if TYPE_CHECKING:
    from collections.abc import Callable

START = small_start(16, 4)
K = torch.tensor(0.05, dtype=torch.float64)
ROUTES = pytest.mark.parametrize("route", ["unrolled", "implicit"])


def given(route: str) -> dict[str, Any]:
    return {"route": route, "initial": START, **({} if route == "implicit" else {"tol": 0.0, "max_steps": 20})}


def fields(route: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda k: gs.solve(gs.Params(*UNIFORM[:3], k), **given(route)).v[0, 0]


def value(route: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda k: mean_square(gs.solve(gs.Params(*UNIFORM[:3], k), **given(route)).v).sum()


def plain(route: str) -> torch.Tensor:
    return gs.grad(gs.Params(*UNIFORM), loss=mean_square, **given(route)).grad.k[0]


@ROUTES
def test_gradients_by_torch_func_are_those_of_grad(route: str) -> None:
    expected = plain(route)
    torch.testing.assert_close(torch.func.grad(value(route))(K), expected, rtol=1e-13, atol=0.0)
    slope, found = torch.func.grad_and_value(value(route))(K)
    torch.testing.assert_close(slope, expected, rtol=1e-13, atol=0.0)
    torch.testing.assert_close(found, value(route)(K), rtol=0.0, atol=0.0)
    (pulled,) = torch.func.vjp(value(route), K)[1](torch.tensor(2.0, dtype=torch.float64))
    torch.testing.assert_close(pulled, 2 * expected, rtol=1e-13, atol=0.0)


@ROUTES
def test_a_jacobian_is_pulled_back_at_once_by_jacrev(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, route_type = [], type(gs.routes.Implicit() if route == "implicit" else gs.routes.Unrolled())
    before = route_type.pull_back

    def counted(self: Any, problem: Any, state: Any, cotangents: torch.Tensor) -> Any:
        calls.append(len(cotangents))
        return before(self, problem, state, cotangents)

    monkeypatch.setattr(route_type, "pull_back", counted)
    found = torch.func.jacrev(fields(route))(K)
    assert calls == [16]
    expected = torch.autograd.functional.jacobian(fields(route), K)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@ROUTES
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_hooks_and_second_calls_of_backward_work(route: str, reentrant: bool) -> None:
    expected, k = plain(route), K.clone().requires_grad_()
    checkpoint(value(route), k, use_reentrant=reentrant).backward()
    torch.testing.assert_close(k.grad, expected, rtol=1e-13, atol=0.0)
    k = K.clone().requires_grad_()
    seen: list[torch.Tensor] = []
    k.register_hook(seen.append)
    loss = value(route)(k)
    loss.backward(retain_graph=True)
    loss.backward()
    torch.testing.assert_close(k.grad, 2 * expected, rtol=1e-13, atol=0.0)
    assert len(seen) == 2


def dual(route: str) -> None:
    with forward_ad.dual_level():
        value(route)(forward_ad.make_dual(K, torch.ones_like(K)))


def batched(route: str) -> None:
    k = K.clone().requires_grad_()
    torch.autograd.grad(fields(route)(k), k, torch.eye(16, dtype=torch.float64), is_grads_batched=True)


UNSERVED: dict[str, tuple[Callable[[str], Any], str]] = {
    "vmap": (lambda r: torch.func.vmap(value(r))(K.expand(2)), "k is batched by vmap.*Params of shape"),
    "vmap of grad": (lambda r: torch.func.vmap(torch.func.grad(value(r)))(K.expand(2)), "Params of shape"),
    "vmap of residual_loss": (
        lambda r: torch.func.vmap(lambda k: gs.residual_loss(gs.Params(*UNIFORM[:3], k), START))(K.expand(2)),
        "Params of shape",
    ),
    "jvp": (lambda r: torch.func.jvp(value(r), (K,), (torch.ones_like(K),)), "no forward mode.*root_derivatives"),
    "jacfwd": (lambda r: torch.func.jacfwd(value(r))(K), "no forward mode.*jacrev"),
    "dual tensors": (dual, "no forward mode.*jacrev"),
    "grad of grad": (lambda r: torch.func.grad(torch.func.grad(value(r)))(K), "first derivatives only.*hessian"),
    "is_grads_batched": (batched, "batched by is_grads_batched.*jacrev"),
    "jacobian, vectorised": (
        lambda r: torch.autograd.functional.jacobian(fields(r), K, vectorize=True),
        "vectorize=True: use torch.func.jacrev",
    ),
    "grad inside": (
        lambda r: torch.func.grad(lambda k: gs.grad(gs.Params(*UNIFORM[:3], k), **given(r)).loss.sum())(K),
        "gsimplicit was called inside a transform",
    ),
    "steady_state inside": (
        lambda r: torch.func.grad(lambda k: k * gs.steady_state(gs.Params(*PAPER), START, max_steps=2).v.sum())(K),
        "call it outside",
    ),
}


@ROUTES
@pytest.mark.parametrize("how", UNSERVED)
def test_what_is_not_served_says_what_to_do_instead(how: str, route: str) -> None:
    call, text = UNSERVED[how]
    with warnings.catch_warnings():
        # torch 2.13 calls its own deprecated torch.jit.script the first time
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        with pytest.raises((RuntimeError, ValueError), match=text) as caught:
            call(route)
    assert "gsimplicit" in str(caught.value)


def test_residual_loss_keeps_its_forward_and_reverse_transforms() -> None:
    def loss(k: torch.Tensor) -> torch.Tensor:
        return gs.residual_loss(gs.Params(*UNIFORM[:3], k), START).sum()

    k = K.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(k), k)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        for found in (torch.func.grad(loss)(K), torch.func.jvp(loss, (K,), (torch.ones_like(K),))[1]):
            torch.testing.assert_close(found, expected, rtol=1e-13, atol=0.0)


@pytest.mark.filterwarnings("ignore")  # of torch's own parts
def test_inside_a_compiled_function_solve_and_compiled_losses_give_the_same() -> None:
    k = K.clone().requires_grad_()
    torch.compile(value("unrolled"), backend="eager")(k).backward()
    torch.testing.assert_close(k.grad, plain("unrolled"), rtol=1e-13, atol=0.0)
    loss = torch.compile(mean_square, backend="eager")
    found = gs.grad(gs.Params(*UNIFORM), loss=loss, **given("unrolled")).grad.k[0]
    torch.testing.assert_close(found, plain("unrolled"), rtol=1e-12, atol=0.0)
