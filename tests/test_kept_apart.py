"""Losses, routes and solvers of the user's get copies: what they write changes nothing of anybody else's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import UNIFORM, mean_square, small_start

import gsimplicit as gs
from gsimplicit.routes import Deq, Derivatives, FiniteDifference, Implicit, Problem, Route, Tangent, Truncated, Unrolled
from gsimplicit.routes.objective import value_of
from gsimplicit.testing import taylor_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import Prepared

PARAMS = gs.Params(0.16, 0.08, [0.03, 0.031], 0.05)
START = small_start(16, 4, count=2)
SHORT: dict[str, Any] = {"initial": START, "tol": 0.0, "max_steps": 60}
KEPT: list[torch.Tensor] = []


def masked(v: torch.Tensor) -> torch.Tensor:
    """Writes into v, as a threshold does."""
    v[v < 0.1] = 0.0
    return (v**2).mean(dim=(-2, -1))


def centred(v: torch.Tensor) -> torch.Tensor:
    v -= v.mean(dim=(-2, -1), keepdim=True)
    return (v**2).mean(dim=(-2, -1))


def keeping(v: torch.Tensor) -> torch.Tensor:
    """Keeps v, and spoils what it kept the time before."""
    for one in KEPT:
        one.data.fill_(7.0)
    KEPT[:] = [v]
    return (v**2).mean(dim=(-2, -1))


def behind(v: torch.Tensor) -> torch.Tensor:
    """Writes past autograd."""
    value = (v.clone() ** 2).mean(dim=(-2, -1))
    v.data.zero_()
    return value


class Buffered:
    """Gives the same memory each time where it needs no gradient."""

    __name__ = "buffered"

    def __init__(self) -> None:
        self.out = torch.zeros(2, dtype=torch.float64)

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        value = mean_square(v)
        self.out[:] = value.detach()
        return value if value.requires_grad else self.out


WRITING = [masked, centred, keeping, behind, Buffered()]
ALL = ["implicit", "deq", "unrolled", "truncated", "tangent", "finite_difference"]


@pytest.mark.parametrize("loss", WRITING, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("route", ALL)
def test_a_loss_that_writes_into_v_changes_no_state_and_no_other_loss(route: str, loss: Any) -> None:
    given = SHORT if route not in ("implicit", "deq") else {"initial": START}
    state = (
        gs.steady_state(PARAMS, START, refine=True)
        if route in ("implicit", "deq")
        else gs.steady_state(PARAMS, **SHORT)
    )
    out = gs.grad(PARAMS, route, loss, **given)
    assert torch.equal(out.state.fields, state.fields)
    assert torch.equal(out.loss, value_of(loss, state.v))


@pytest.mark.parametrize("loss", WRITING, ids=lambda loss: loss.__name__)
def test_in_a_scan_a_loss_that_writes_into_v_leaves_all_else_alone(loss: Any) -> None:
    axes = {"k": [0.05, 0.051, 0.052]}
    given: dict[str, Any] = {**SHORT, "routes": ["unrolled"], "keep": "v", "follow": "k", "progress": False}
    alone = gs.scan(axes, losses=[mean_square], **given)
    beside = gs.scan(axes, losses=[loss, mean_square], **given)
    for name in ("loss", "gradient", "route_loss"):
        at = beside[name].sel(objective="mean_square"), alone[name].sel(objective="mean_square")
        assert np.array_equal(*(x.values for x in at)), name
    for name in ("v", "v_mean", "v_std"):
        assert np.array_equal(beside[name], alone[name])


def test_writing_losses_leave_compare_hessian_taylor_test_and_training_alone() -> None:
    one = {**SHORT, "initial": START[:1]}
    params = PARAMS[0]
    before = gs.compare(params, ["unrolled", "tangent"], loss=centred, share_root=False, **one)
    assert before["reason"].values[1, 0] == gs.Reason.AGREES
    root = gs.steady_state(params, START[:1], refine=True)
    fields = root.fields.clone()
    gs.hessian(root, masked)
    assert torch.equal(root.fields, fields)
    assert np.abs(taylor_test(params, "unrolled", masked, **one).orders - 2).max() < 0.1
    axes = {"F": np.linspace(0.03, 0.035, 6)}
    data = gs.scan(axes, tol=0.0, max_steps=20, initial=START[:1], keep="v", progress=False)
    given: dict[str, Any] = {"members": 1, "epochs": 5, "progress": False}
    clean, spoilt = (gs.train_surrogate(data, [*first, mean_square], **given) for first in ([], [masked]))
    assert np.array_equal(clean["mean_mean_square"], spoilt["mean_mean_square"])


@pytest.mark.parametrize("grads", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("route", ALL)
def test_a_loss_may_differentiate_inside_whatever_the_callers_grad_mode(route: str, grads: bool) -> None:
    def penalty(v: torch.Tensor) -> torch.Tensor:
        (slope,) = torch.autograd.grad((v**3).sum(), v, create_graph=True)
        return (slope**2).mean(dim=(-2, -1))

    def backwards(v: torch.Tensor) -> torch.Tensor:
        (v.detach().requires_grad_() ** 2).sum().backward()
        (v**2).sum().backward(retain_graph=True)
        assert v.grad is not None
        return (9 * v**4).mean(dim=(-2, -1))

    given = SHORT if route not in ("implicit", "deq") else {"initial": START}
    with torch.set_grad_enabled(grads):
        expected = gs.grad(PARAMS, route, lambda v: (9 * v**4).mean(dim=(-2, -1)), **given)
        for loss in (penalty, backwards):
            found = gs.grad(PARAMS, route, loss, **given)
            torch.testing.assert_close(found.loss, expected.loss, rtol=1e-13, atol=0.0)
            tolerance = 1e-12 if route != "finite_difference" else 1e-6
            torch.testing.assert_close(found.grad.tensor(), expected.grad.tensor(), rtol=tolerance, atol=1e-12)
        if route == "unrolled":
            data = gs.scan({"k": [0.05]}, losses=[penalty], routes=[route], progress=False, **SHORT)
            assert np.isfinite(data["gradient"]).all()


def test_a_loss_that_leaves_torch_has_values_in_scans_and_differences() -> None:
    def by_numpy(v: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy((v.numpy() ** 2).mean(axis=(1, 2)))

    data = gs.scan({"k": [0.05]}, losses=[by_numpy, mean_square], progress=False, **SHORT)
    np.testing.assert_allclose(*(data["loss"].sel(objective=n) for n in ("by_numpy", "mean_square")), rtol=1e-14)
    found, expected = (gs.grad(PARAMS, "finite_difference", x, **SHORT) for x in (by_numpy, mean_square))
    torch.testing.assert_close(found.grad.tensor(), expected.grad.tensor(), rtol=1e-6, atol=1e-9)
    with pytest.raises(RuntimeError, match="numpy") as caught:
        gs.grad(PARAMS, "unrolled", by_numpy, **SHORT)
    assert caught.value.__notes__ == ["raised by the loss 'by_numpy'"]


def test_what_a_loss_raises_comes_through_with_its_name() -> None:
    def broken(v: torch.Tensor) -> torch.Tensor:
        raise KeyError("mine")

    def overwritten(v: torch.Tensor) -> torch.Tensor:
        return v.mul_(v).sum(dim=(-2, -1))  # autograd wants the v it has multiplied

    for loss, error, note in (
        (broken, KeyError, "raised by the loss 'broken'"),
        (overwritten, RuntimeError, "raised by the derivative of the loss 'overwritten'"),
    ):
        with pytest.raises(error) as caught:
            gs.grad(PARAMS, "unrolled", loss, **SHORT)
        assert note in caught.value.__notes__


@pytest.mark.parametrize("route", ALL)
def test_a_complex_loss_is_refused_by_name(route: str) -> None:
    def spectral(v: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft2(v)[:, 1, 0]

    with pytest.raises(ValueError, match=r"loss 'spectral' must give real numbers, got torch\.complex128"):
        gs.grad(PARAMS, route, spectral, **SHORT)


def test_losses_in_which_small_differences_do_not_show_are_refused_by_differences() -> None:
    def single(v: torch.Tensor) -> torch.Tensor:
        return mean_square(v).float()

    def counted(v: torch.Tensor) -> torch.Tensor:
        return (v > 0.1).sum(dim=(-2, -1))

    assert gs.scan({"k": [0.05]}, losses=[counted], progress=False, **SHORT)["loss"].values.min() > 0
    for loss, dtype in ((single, "float32"), (counted, "int64")):
        with pytest.raises(ValueError, match=rf"must give float64 for central differences, got torch\.{dtype}"):
            gs.grad(PARAMS, "finite_difference", loss, **SHORT)


@pytest.mark.parametrize("route", ["unrolled", "implicit", "finite_difference"])
def test_a_loss_that_mixes_instances_is_refused_and_one_with_its_own_targets_is_not(route: str) -> None:
    target = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def own(v: torch.Tensor) -> torch.Tensor:
        return ((v - target) ** 2).mean(dim=(-2, -1))

    def mixing(v: torch.Tensor) -> torch.Tensor:
        return mean_square(v - v.mean(dim=0))

    given = {"initial": START} if route == "implicit" else SHORT
    assert torch.isfinite(gs.grad(PARAMS, route, own, **given).grad.tensor()).all()
    with pytest.raises(ValueError, match=r"loss 'mixing' mixes instances: .* depends on v of instances \[0, 1\]"):
        gs.grad(PARAMS, route, mixing, **given)


def test_a_loss_that_stumbles_over_nan_does_not_take_a_good_instance_with_a_diverged_one() -> None:
    def strict(v: torch.Tensor) -> torch.Tensor:
        assert torch.isfinite(v).all()
        return mean_square(v)

    params = gs.Params([0.16, 0.6], 0.08, 0.035, 0.065)
    with pytest.warns(gs.StabilityWarning):
        out = gs.grad(params, "unrolled", strict, initial=START, tol=0.0, max_steps=300)
    alone = gs.grad(params[0], "unrolled", strict, initial=START[:1], tol=0.0, max_steps=300)
    assert torch.equal(out.loss[:1], alone.loss)
    assert torch.equal(out.grad.tensor()[:1], alone.grad.tensor())
    assert torch.isnan(out.loss[1])
    assert out.certificate.definition == ("marched steps", "none")


# ---------------------------------------------------------------------------------------------------------------------
# What is not finite is certified by no route
# ---------------------------------------------------------------------------------------------------------------------


def kinked(v: torch.Tensor) -> torch.Tensor:
    """Finite, without a finite derivative."""
    return torch.sqrt((v * 0).sum(dim=(-2, -1)))


def steep(v: torch.Tensor) -> torch.Tensor:
    """No finite derivative in one pixel of the second instance, of a finite value."""
    at = v[1:, 0, 0]
    return mean_square(v) + torch.cat([0 * v[:1, 0, 0], torch.sqrt((at - at.detach()).abs())])


EVERY = [Implicit(), Deq(), Unrolled(), Truncated(20), Tangent(), Tangent(refine=True), FiniteDifference()]
EVERY += [FiniteDifference(refine=True)]


@pytest.mark.parametrize("route", EVERY, ids=repr)
def test_a_gradient_that_is_not_finite_is_an_error_that_names_the_loss(route: Route) -> None:
    given = {"initial": START} if route.needs_root else SHORT
    for loss, lost in ((kinked, r"\[0, 1\]"), (steep, r"\[1\]")):
        with pytest.raises(ValueError, match=rf"at instances {lost} .* derivative of the loss '{loss.__name__}'"):
            gs.grad(PARAMS, route, loss, **given)


@pytest.mark.parametrize("route", EVERY, ids=repr)
def test_in_a_scan_one_loss_or_sample_without_a_derivative_leaves_the_others_theirs(route: Route) -> None:
    given: dict[str, Any] = {
        "routes": [route],
        "progress": False,
        **({"initial": START} if route.needs_root else SHORT),
    }
    axes, base = {"k": [0.05]}, gs.Params(*UNIFORM)
    both = gs.scan(axes, base, losses=[mean_square, steep, kinked], **given).isel(k=0, route=0)
    alone = gs.scan(axes, base, losses=[mean_square], **given).isel(k=0, route=0)
    assert np.array_equal(both["gradient"].sel(objective="mean_square"), alone["gradient"].sel(objective="mean_square"))
    assert np.isfinite(both["gradient"].sel(objective="steep", sample=0)).all()
    assert np.isnan(both["gradient"].sel(objective="steep", sample=1)).all()
    assert np.isnan(both["gradient"].sel(objective="kinked")).all()
    assert (both["route_definition"].sel(objective="kinked") == 0).all()
    assert (both["route_definition"].sel(objective="mean_square") > 0).all()


@pytest.mark.parametrize("route", [Implicit(), Unrolled(), Tangent(), FiniteDifference(refine=True)], ids=repr)
def test_through_solve_nan_of_one_instance_stays_with_it(route: Route) -> None:
    values = PARAMS.tensor().clone().requires_grad_()
    state = gs.solve(gs.Params.stack(values), route, **({"initial": START} if route.needs_root else SHORT))
    steep(state.v).sum().backward()
    assert values.grad is not None
    assert torch.isnan(values.grad[1]).all()
    alone = PARAMS.tensor().clone().requires_grad_()
    state = gs.solve(gs.Params.stack(alone), route, **({"initial": START} if route.needs_root else SHORT))
    mean_square(state.v)[0].backward()
    assert alone.grad is not None
    torch.testing.assert_close(values.grad[0], alone.grad[0], rtol=1e-12, atol=1e-14)


def test_compare_says_that_there_is_no_gradient() -> None:
    table = gs.compare(PARAMS, ["unrolled", "tangent", "finite_difference"], loss=steep, share_root=False, **SHORT)
    assert table["reason"].values[1:].tolist() == [[gs.Reason.AGREES, gs.Reason.NO_GRADIENT]] * 2
    assert table["definition"].values[:, 1].tolist() == ["none"] * 3


# ---------------------------------------------------------------------------------------------------------------------
# Routes and solvers of the user's, and what backward reads
# ---------------------------------------------------------------------------------------------------------------------


class Vandal(Route):
    """Unrolls, and spoils all it is handed."""

    name: ClassVar[str] = "vandal"
    through_steps: ClassVar[bool] = True

    @property
    def needs_root(self) -> bool:
        return False

    def solve(self, problem: Problem) -> gs.SteadyState:
        problem.state().fields.zero_()
        state = problem.state()
        self.mine = state
        return state

    def pull_back(self, problem: Problem, state: gs.SteadyState, cotangents: torch.Tensor) -> Derivatives:
        pulled = Unrolled().pull_back(problem, state, cotangents)
        self._spoil(problem, state, cotangents, self.mine.fields)
        return Derivatives(
            pulled.gradient, tuple(replace(c, definition=("my own",) * len(state)) for c in pulled.certificates)
        )

    def _spoil(self, problem: Problem, state: gs.SteadyState, *more: torch.Tensor) -> None:
        problem.state().fields.fill_(3.0)
        for tensor in (problem.initial, problem.params.k, state.fields, state.steps, state.status, *more):
            tensor.zero_()


def test_a_route_of_the_users_can_change_nothing_and_is_named_as_it_says() -> None:
    plain = gs.grad(PARAMS, "unrolled", mean_square, **SHORT)
    out = gs.grad(PARAMS, Vandal(), mean_square, **SHORT)
    assert torch.equal(out.grad.tensor(), plain.grad.tensor())
    assert torch.equal(out.state.fields, plain.state.fields)
    assert out.state.steps.tolist() == [60, 60]
    assert out.certificate.definition == ("my own",) * 2
    table = gs.compare(PARAMS, [Vandal(), "unrolled", "tangent"], loss=mean_square, share_root=False, **SHORT)
    assert table["reason"].values[1:].tolist() == [[gs.Reason.AGREES] * 2] * 2
    values = PARAMS.tensor().clone().requires_grad_()
    state = gs.solve(gs.Params.stack(values), Vandal(), **SHORT)
    loss = mean_square(state.v).sum()
    for _ in range(2):
        values.grad = None
        loss.backward(retain_graph=True)
        torch.testing.assert_close(values.grad, plain.grad.tensor(), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize(
    ("gradient", "certificates"), [(torch.zeros(1, 2, 3), 1), (torch.zeros(1, 2, 4), 0), (torch.zeros(2, 4), 1)]
)
def test_a_route_that_breaks_the_contract_is_named(gradient: torch.Tensor, certificates: int) -> None:
    class Broken(Vandal):
        name = "broken"

        def pull_back(self, problem: Problem, state: gs.SteadyState, cotangents: torch.Tensor) -> Derivatives:
            return Derivatives(gradient, Unrolled().pull_back(problem, state, cotangents).certificates[:certificates])

    with pytest.raises(TypeError, match="route 'broken' must give Derivatives with a gradient of shape"):
        gs.grad(PARAMS, Broken(), mean_square, **SHORT)


class SpoilingSolver:
    """Sparse LU that spoils its systems and right-hand sides, and gives the same memory each time."""

    name, factorises = "spoiling", True

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        inner = gs.Direct().prepare([replace(s, fields=s.fields.copy()) for s in systems])

        class Spoiling:
            given: np.ndarray | None = None

            def solve(self, r: Any, q: Any = None, **settings: Any) -> list[Solution]:
                found = inner.solve([a.copy() for a in r], q, **settings)
                for a in r:
                    a[:] = np.nan
                if self.given is not None:
                    self.given[:] = np.nan
                self.given = found[0].x
                return found

        for s in systems:
            s.fields[:] = np.nan
            s.parameters[:] = np.nan
        return Spoiling()


def test_a_solver_of_the_users_can_change_nothing() -> None:
    own = gs.Refine(linear=SpoilingSolver())  # type: ignore[arg-type]
    start, params = small_start(32, 8), gs.Params(0.16, 0.08, 0.035, 0.065)
    plain = gs.steady_state(params, start, refine=True)
    assert torch.equal(gs.steady_state(params, start, refine=own).fields, plain.fields)
    given: dict[str, Any] = {"loss": mean_square, "initial": plain.fields}
    for one, two in (
        (Implicit(own), Implicit()),
        (Tangent(refine=own), Tangent(refine=True)),
        (Deq(own), Deq()),
        (FiniteDifference(refine=own), FiniteDifference(refine=True)),
    ):
        assert torch.equal(gs.grad(params, one, **given).grad.tensor(), gs.grad(params, two, **given).grad.tensor())
    assert torch.equal(gs.hessian(plain, mean_square, own.linear), gs.hessian(plain, mean_square))


def test_a_solver_that_does_not_answer_every_system_is_named() -> None:
    class Silent(SpoilingSolver):
        def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Any:
            return type("Nothing", (), {"solve": lambda self, r, q=None, **settings: []})()

    route = Implicit(gs.Refine(linear=Silent()))  # type: ignore[arg-type]
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), refine=True)
    with pytest.raises(TypeError, match="linear 'spoiling' must give one Solution a system"):
        gs.grad(root.params, route, mean_square, initial=root.fields)


def test_differences_and_taylor_tests_use_the_solver_of_their_settings() -> None:
    class Counting(SpoilingSolver):
        prepared = 0

        def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
            Counting.prepared += 1
            return gs.Direct().prepare(systems)

    settings = gs.Refine(linear=Counting())  # type: ignore[arg-type]
    root = gs.steady_state(gs.Params(*UNIFORM), small_start(16, 4), refine=True)
    gs.grad(root.params, FiniteDifference(refine=settings), mean_square, initial=root.fields)
    assert Counting.prepared >= 8  # differences in F and k; Du and Dv leave a uniform state where it is
    before = Counting.prepared
    taylor_test(root.params, Implicit(settings), mean_square, initial=root.fields)
    assert Counting.prepared >= before + 5


@pytest.mark.parametrize("route", EVERY, ids=repr)
def test_nothing_edited_after_solve_changes_what_backward_gives(route: Route) -> None:
    plain = PARAMS.tensor().clone().requires_grad_()
    state = gs.solve(gs.Params.stack(plain), route, **({"initial": START} if route.needs_root else SHORT))
    cotangent = torch.ones_like(state.fields)
    edited = PARAMS.tensor().clone().requires_grad_()
    initial = START.clone()
    other = gs.solve(
        gs.Params.stack(edited), route, **({"initial": initial} if route.needs_root else {**SHORT, "initial": initial})
    )
    initial.zero_()
    other.params.k.zero_()
    for name in ("status", "kind", "steps", "drift", "residual", "bordered_residual", "moved", "change"):
        getattr(other, name).zero_()
    other.fields.data.zero_()
    state.fields.backward(cotangent)
    other.fields.backward(cotangent)
    assert torch.equal(cotangent, torch.ones_like(cotangent))
    assert torch.equal(edited.grad, plain.grad)  # type: ignore[arg-type]
