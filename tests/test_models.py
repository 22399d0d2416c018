"""The shipped models, one by one: gradients, transposes, derivatives, uniform states, growth rates and kernels."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers import mean_square, relative

import gsimplicit as gs
from gsimplicit import equations as batches
from gsimplicit.equations import Equations
from gsimplicit.grid import along, broken_translations, laplacian
from gsimplicit.marching import KERNELS, TORCH
from gsimplicit.models.by_torch import ByTorch
from gsimplicit.refine.linear import Bordered, BorderedJacobian
from gsimplicit.refine.operator import BorderedOperator
from gsimplicit.testing import taylor_test

GRID = (16, 16)


@dataclass(frozen=True)
class Case:
    """A model at a preset that makes a pattern.

    Attributes:
        preset: Its name.
        dt: A stable step.
        jacobian: The reaction's Jacobian by hand, from the species and the rates.
        reach: Factors on the Taylor test's steps, where a parameter bends a root strongly or hardly.
        pde: The equations in py-pde's words.
    """

    preset: str
    dt: float
    jacobian: Any
    reach: dict[str, float]
    pde: dict[str, str]


CASES = {
    "gray_scott": Case(
        "karl_sims",
        1.0,
        lambda u, v, F, k: [[-v * v - F, -2 * u * v], [v * v, 2 * u * v - F - k]],
        {},
        {"u": "Du*laplace(u) - u*v**2 + F*(1 - u)", "v": "Dv*laplace(v) + u*v**2 - (F + k)*v"},
    ),
    "schnakenberg": Case(
        "hexagons",
        0.02,
        lambda u, v, a, b: [[-1 + 2 * u * v, u * u], [-2 * u * v, -u * u]],
        {},
        {"u": "Du*laplace(u) + a - u + u**2*v", "v": "Dv*laplace(v) + b - u**2*v"},
    ),
    "brusselator": Case(
        "hexagons",
        0.01,
        lambda u, v, a, b: [[-(b + 1) + 2 * u * v, u * u], [b - 2 * u * v, -u * u]],
        {},
        {"u": "Du*laplace(u) + a - (b + 1)*u + u**2*v", "v": "Dv*laplace(v) + b*u - u**2*v"},
    ),
    "gierer_meinhardt": Case(
        "spots",
        0.014,
        lambda a, h, s, b, c: [[-b + 2 * a / h, -a * a / h**2], [2 * a, -c]],
        {},
        {"a": "Da*laplace(a) + s - b*a + a**2/h", "h": "Dh*laplace(h) + a**2 - c*h"},
    ),
    "fitzhugh_nagumo": Case(
        "stripes",
        0.03,
        lambda u, v, epsilon, a1, a0: [[1 - 3 * u * u, -1], [epsilon, -epsilon * a1]],
        {"Du": 0.25, "a0": 0.05, "a1": 8.0},
        {"u": "Du*laplace(u) + u - u**3 - v", "v": "Dv*laplace(v) + epsilon*(u - a1*v - a0)"},
    ),
}
TURING = [
    ("schnakenberg", "hexagons"), ("schnakenberg", "stripes"), ("brusselator", "hexagons"),
    ("gierer_meinhardt", "spots"), ("fitzhugh_nagumo", "stripes"),
]  # fmt: skip
EVERY = pytest.mark.parametrize("name", CASES)
PRESETS = [(name, preset) for name in CASES for preset in getattr(gs.models, name).presets]


def model_of(name: str) -> gs.Model:
    return getattr(gs.models, name)


def params_of(name: str) -> Any:
    return model_of(name).preset(CASES[name].preset)


def start_of(name: str, grid: tuple[int, int] = GRID) -> torch.Tensor:
    box = gs.Box(half=5) if name == "gray_scott" else None
    return gs.initial_state(model=params_of(name), grid=grid, noise=0.1, box=box)


@lru_cache(maxsize=8)
def root_of(name: str) -> gs.SteadyState:
    """A certified pattern."""
    dt = CASES[name].dt
    state = gs.steady_state(params_of(name), start_of(name), refine=True, tol=1e-5 * dt, max_steps=100_000, dt=dt)
    state.require_steady()
    assert state.kind.item() == gs.Kind.PATTERN
    return state


@lru_cache(maxsize=8)
def equations_of(name: str, grid: tuple[int, int] = (6, 5)) -> tuple[Equations, np.ndarray, np.ndarray]:
    """An instance's equations, a drawn state around rest and three drawn directions, each (2, H, W)."""
    params = params_of(name)
    rest = gs.initial_state(model=params, grid=grid, noise=0.0, box=None)[0].numpy() if name != "gray_scott" else 0.4
    draws = np.random.default_rng(1).normal(size=(4, 2, *grid))
    return Equations(params.model, params.tensor()[0].numpy(), CASES[name].dt), rest + 0.2 * draws[0], draws[1:]


# ---------------------------------------------------------------------------------------------------------------------
# Gradients
# ---------------------------------------------------------------------------------------------------------------------


def direction(params: Any, name: str, factor: float) -> list[float]:
    """A parameter alone, in proportion to its value."""
    value = abs(getattr(params, name).item()) or 1.0
    return [factor * value if n == name else 0.0 for n in params.model.parameters]


@pytest.mark.parametrize("route", ["implicit", gs.routes.Tangent(refine=True)], ids=["implicit", "tangent at a root"])
@EVERY
def test_routes_at_a_root_are_of_second_order_in_every_parameter(name: str, route: Any) -> None:
    params, case = params_of(name), CASES[name]
    for parameter in params.model.parameters:
        along_it = direction(params, parameter, case.reach.get(parameter, 1.0))
        found = taylor_test(
            params, route, mean_square, along_it, (2.0**-10, 2.0**-11), initial=root_of(name).fields, dt=case.dt
        )
        assert 1.9 < found.orders[0] < 2.1, (parameter, found)


@pytest.mark.parametrize("route", ["unrolled", "tangent"])
@EVERY
def test_routes_at_finite_time_are_of_second_order_in_every_parameter(name: str, route: str) -> None:
    params, case = params_of(name), CASES[name]
    start = root_of(name).fields.roll(3, -1) * 0.95  # steep, so that diffusion counts, and not at rest
    for parameter in params.model.parameters:
        found = taylor_test(
            params, route, mean_square, direction(params, parameter, 1.0), (2.0**-8, 2.0**-9),
            initial=start, tol=0.0, max_steps=150, dt=case.dt,
        )  # fmt: skip
        assert 1.9 < found.orders[0] < 2.1, (parameter, found)


def dense_gradient(state: gs.SteadyState, weights: torch.Tensor) -> np.ndarray:
    """Derivative of `(weights * v^2).mean()` in the parameters: torch's Jacobian, one dense bordered solve."""
    x, p, model = state.fields[0], state.params.tensor(), state.model
    J = torch.func.jacrev(lambda f: batches.model_residual(model, f[None], p)[0].flatten())(x).reshape(x.numel(), -1)
    slopes = torch.func.jacfwd(lambda q: batches.model_residual(model, x[None], q)[0].flatten())(p)[:, 0]
    ways = [torch.fft.ifft2(torch.fft.fft2(x) * wave).real.flatten() for wave in waves(x.shape[-2:])]
    unit = torch.eye(x.numel(), dtype=torch.float64).reshape(-1, *x.shape)
    drift = state.drift[0] if bool(state.status[0] == gs.Status.DRIFTING) else torch.zeros(2, dtype=torch.float64)
    for velocity, wave in zip(drift, waves(x.shape[-2:]), strict=True):
        J = J + velocity * torch.fft.ifft2(torch.fft.fft2(unit) * wave).real.reshape(x.numel(), -1).T
    G = torch.stack(ways, dim=1)
    system = torch.cat([torch.cat([J, G], 1), torch.cat([G.T, torch.zeros(2, 2, dtype=torch.float64)], 1)])
    cotangent = torch.zeros_like(x)
    cotangent[model.seen] = 2 * weights * x[model.seen] / x[0].numel()
    right = torch.cat([cotangent.flatten(), torch.zeros(2, dtype=torch.float64)])
    adjoint = torch.linalg.lstsq(system.T, right[:, None], driver="gelsd").solution[:-2, 0]
    return -(adjoint @ slopes).numpy()


def waves(shape: Any) -> list[torch.Tensor]:
    """`i k` of each direction, without the Nyquist mode."""
    out = []
    for axis, n in enumerate(shape):
        k = 2j * math.pi * torch.fft.fftfreq(n, dtype=torch.float64)
        k[n // 2] = 0
        out.append(k[:, None] if axis == 0 else k[None, :])
    return out


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@EVERY
def test_implicit_gradients_are_those_of_an_independent_adjoint(name: str) -> None:
    state = root_of(name)
    expected = dense_gradient(state, torch.ones(GRID, dtype=torch.float64))
    for route in ("implicit", gs.routes.Tangent(refine=True)):
        found = gs.grad(state.params, route, mean_square, initial=state.fields, dt=CASES[name].dt)
        assert relative(found.grad.tensor()[0], expected) < 1e-8


# ---------------------------------------------------------------------------------------------------------------------
# Transposes
# ---------------------------------------------------------------------------------------------------------------------


@EVERY
def test_products_and_second_derivatives_pass_the_dot_product_test(name: str) -> None:
    equations, X, (a, b, w) = equations_of(name)
    assert np.sum(w * equations.product(X, a)) == pytest.approx(
        np.sum(equations.product(X, w, transpose=True) * a), rel=1e-12
    )
    left, right = np.sum(w * equations.second(X, a, b)), np.sum(equations.second_transposed(X, a, w) * b)
    assert left == pytest.approx(right, rel=1e-12)
    assert np.sum(w * equations.second(X, b, a)) == pytest.approx(left, rel=1e-12)
    params = params_of(name).expand(2)
    fields, d, e = (torch.from_numpy(np.stack([y, y[:, ::-1]])) for y in (X, a, w))
    there, back = batches.product(fields, params, d), batches.product(fields, params, e, transpose=True)
    torch.testing.assert_close((e * there).sum((1, 2, 3)), (back * d).sum((1, 2, 3)), rtol=1e-12, atol=0)
    np.testing.assert_allclose(there[0], equations.product(X, a), rtol=1e-12, atol=1e-12)


@EVERY
def test_adjoint_steps_pass_the_dot_product_test_with_tangent_steps(name: str) -> None:
    """By kernels and by torch, in the parameters and in the start."""
    params, dt, start, steps = params_of(name), CASES[name].dt, start_of(name), torch.tensor([40])
    w = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 1, 2, *GRID)))
    of_kernels = KERNELS.pull_back(params, start, steps, w, dt)
    of_torch = TORCH.pull_back(params, start, steps, w, dt)
    for gradient, initial in (of_kernels, of_torch):
        assert relative(gradient, of_kernels[0]) < 1e-11
        assert relative(initial, of_kernels[1]) < 1e-11
    for backend in (KERNELS, TORCH):
        end, tangents = backend.push_forward(params, start, steps, dt)
        assert torch.equal(end, KERNELS.march(params, start, 0.0, 40, 40, dt).fields)
        assert relative((tangents[0] * w[0]).sum((1, 2, 3)), of_kernels[0][0, 0]) < 1e-11
    d, h = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 2, *GRID))), 1e-6
    ends = [TORCH.march(params, start + s * h * d, 0.0, 40, 40, dt).fields for s in (1, -1)]
    slope = (w[0] * (ends[0] - ends[1])).sum() / (2 * h)
    assert float((of_kernels[1][0] * d).sum()) == pytest.approx(float(slope), rel=1e-6)


@EVERY
def test_bordered_operators_and_their_factors_pass_the_dot_product_test(name: str) -> None:
    state, rng = root_of(name), np.random.default_rng(4)
    i, j = (np.mgrid[:16, :16] * 2 * np.pi) / 16
    X = state.fields[0].numpy() * (1 + 0.1 * np.cos(i) + 0.05 * np.sin(j + i))  # no root, no symmetry: well posed
    equations = Equations(state.model, state.params.tensor()[0].numpy(), CASES[name].dt)
    ways, velocity = broken_translations(X), np.array([1e-3, -2e-3])
    r = len(ways)
    system = Bordered(equations, X, ways, velocity, along(ways, X) + 0.1 * rng.normal(size=(r, *X.shape)))
    factors, (x, y) = BorderedJacobian(system), rng.normal(size=(2, *X.shape))
    s, t = rng.normal(size=(2, r))
    (ax, as_), (ay, at) = factors.apply(x, s), factors.apply(y, t, transpose=True)
    assert np.sum(y * ax) + t @ as_ == pytest.approx(np.sum(ay * x) + at @ s, rel=1e-11)
    there, back = factors.solve(x, s), factors.solve(y, t, transpose=True)
    assert max(there.residual, back.residual) < 1e-9
    left, right = np.sum(y * there.x) + t @ there.s, np.sum(back.x * x) + back.s @ s
    assert left == pytest.approx(right, rel=1e-6, abs=1e-6 * np.linalg.norm(there.x) * np.linalg.norm(y))
    operator = BorderedOperator([system], torch.device("cpu"))
    closed = np.zeros(2 - r)
    z, q = (torch.from_numpy(np.concatenate([a.ravel(), b, closed]))[None] for a, b in ((x, s), (y, t)))
    for work in (operator.apply, operator.precondition):
        pair = (q * work(z, transpose=False)).sum(), (work(q, transpose=True) * z).sum()
        assert float(pair[0]) == pytest.approx(float(pair[1]), rel=1e-8)
    whole = np.concatenate([ax.ravel(), as_, closed])
    np.testing.assert_allclose(operator.apply(z, transpose=False)[0], whole, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------------------------------------------------------
# Derivatives of the reaction
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@EVERY
def test_derivatives_are_those_of_torch_by_formulas_and_without_them(name: str) -> None:
    equations, X, (a, b, w) = equations_of(name)
    model, (n, P) = equations.model, (2, len(equations.values))
    x, p = torch.from_numpy(X), torch.from_numpy(equations.values)
    directions = [torch.from_numpy(d) for d in (a, b, w)]

    def f(x: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        spread = p.unbind()
        return torch.stack(torch.broadcast_tensors(*model.reaction(*x.unbind(), *spread[n:]), x[0])[:n])

    def along_x(g: Any, d: torch.Tensor) -> Any:
        return lambda y: torch.func.jvp(g, (y,), (d,))[1]

    # pointwise: the derivatives in one pixel do not reach another, so that a tangent of ones gives a column
    ones = [torch.stack([torch.full_like(x[0], float(i == j)) for i in range(n)]) for j in range(n)]
    J = torch.stack([along_x(lambda y: f(y, p), d)(x) for d in ones], dim=1)
    slopes = lambda y: torch.func.jacfwd(lambda q: f(y, q))(p).movedim(-1, 0)  # noqa: E731
    second = along_x(along_x(lambda y: f(y, p), directions[0]), directions[1])(x)
    pulled = torch.func.vjp(along_x(lambda y: f(y, p), directions[0]), x)[1](directions[2])[0]
    mixed = along_x(slopes, directions[0])(x)
    bends = torch.func.jacfwd(torch.func.jacfwd(lambda q: f(x, q)))(p).movedim((-2, -1), (0, 1))
    expected = (J, slopes(x), second, pulled, mixed, bends)
    assert bends.shape == (P, P, *X.shape)
    values, xs = [float(v) for v in equations.values], list(X)
    for by in (model.formulas, ByTorch(model._rates_of, n, P)):
        assert by is not None
        found = (
            by.jacobian(xs, values), by.slopes(xs, values), by.second(xs, values, list(a), list(b)),
            by.second_transposed(xs, values, list(a), list(w)),
            by.mixed(xs, values, list(a)), by.second_slopes(xs, values),
        )  # fmt: skip
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.array(one), other, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(by.value(xs, values), f(x, p), rtol=1e-13, atol=1e-13)


@EVERY
def test_slopes_of_the_residual_are_those_of_autograd(name: str) -> None:
    """With what diffusion adds to them; and what a cubic gains beyond its linear part is exact."""
    equations, X, (a, _, _) = equations_of(name)
    values = torch.from_numpy(equations.values)[None].requires_grad_()
    R = batches.model_residual(equations.model, torch.from_numpy(X)[None], values)
    np.testing.assert_allclose(R[0].detach(), equations.residual(X), rtol=1e-12, atol=1e-12)
    slopes, mixed = equations.parameter_slopes(X), equations.mixed(X, a)
    w = np.random.default_rng(5).normal(size=X.shape)
    (expected,) = torch.autograd.grad((R[0] * torch.from_numpy(w)).sum(), values)
    np.testing.assert_allclose((slopes * w).sum((1, 2, 3)), expected[0], rtol=1e-11)
    h = 1e-5
    differences = (equations.parameter_slopes(X + h * a) - equations.parameter_slopes(X - h * a)) / (2 * h)
    np.testing.assert_allclose(mixed, differences, rtol=1e-6, atol=1e-6 * np.abs(mixed).max())
    if name != "gierer_meinhardt":  # no polynomial
        gained = equations.residual(X + a) - equations.residual(X) - equations.product(X, a)
        np.testing.assert_allclose(equations.beyond_linear(X, a), gained, rtol=1e-9, atol=1e-9)


@EVERY
def test_bending_bounds_the_change_of_the_jacobian(name: str) -> None:
    equations, X, (a, _, _) = equations_of(name)
    step = 0.05 * a / np.abs(a).max()
    before, after = (np.array(equations.reaction_jacobian(x)) for x in (X, X + step))
    moved = np.linalg.norm((after - before).transpose(2, 3, 0, 1), ord=2, axis=(2, 3))
    assert (moved <= equations.bending(X, 0.05) * np.linalg.norm(step, axis=0) * (1 + 1e-9)).all()


# ---------------------------------------------------------------------------------------------------------------------
# Uniform states
# ---------------------------------------------------------------------------------------------------------------------


def states_of(params: Any) -> list[np.ndarray]:
    model = params.model
    return [np.array(s) for s in model.uniform(*params.tensor()[0].tolist()[len(model.species) :])]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_lie_in_the_ranges_and_uniform_states_are_roots(name: str, preset: str) -> None:
    params = model_of(name).preset(preset)
    equations = Equations(params.model, params.tensor()[0].numpy())
    assert states_of(params)
    for state in states_of(params):
        X = np.broadcast_to(state[:, None, None], (2, 3, 4)).copy()
        assert np.abs(equations.residual(X)).max() < 1e-12 * max(1.0, np.abs(state).max() ** 2)
    for parameter in params.model.parameters:
        low, high = params.model.range_of(parameter)
        assert low <= getattr(params, parameter).item() <= high
    state = gs.initial_state(model=params, grid=(4, 4), noise=0.0, box=None)[0, :, 0, 0].numpy()
    if name != "fitzhugh_nagumo":
        assert min(np.abs(s - state).max() for s in states_of(params)) < 1e-12  # rest is a uniform state


def test_uniform_states_at_the_edges_of_the_parameters() -> None:
    fhn = gs.models.fitzhugh_nagumo
    for count, *rates in (
        (3, 0.3, 1.4, 0.0),
        (1, 0.3, 0.0, 0.2),
        (1, 0.3, 1.4, -0.1),
        (3, 1.0, 5.0, 0.01),
        (1, 0.5, 0.7, 3.0),
    ):
        states = fhn.uniform(*rates)
        assert len(states) == count
        for state in states:
            assert np.abs(fhn.reaction(*state, *rates)).max() < 1e-12
    assert gs.models.brusselator.uniform(0.0, 3.0) == []
    assert gs.models.schnakenberg.uniform(0.0, 0.0) == []
    assert gs.models.gierer_meinhardt.uniform(0.1, 0.0, 1.0) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("brusselator", {"Du": 1, "Dv": 1, "a": 0, "b": 1}),
        ("schnakenberg", {"Du": 1, "Dv": 1, "a": 0, "b": 0}),
        ("gierer_meinhardt", {"Da": 1, "Dh": 1, "s": 0.1, "b": 0, "c": 1}),
    ],
)
def test_where_a_model_has_no_rest_state_it_says_so_and_marches_all_the_same(
    name: str, values: dict[str, float]
) -> None:
    params = model_of(name).params(**values)
    with pytest.raises(ValueError, match=f"model {name} has no rest state at D. = 1, .*: pass fields of your own"):
        gs.initial_state(model=params, grid=(4, 16))
    start = 1 + torch.rand(1, 2, 4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = gs.Refine(max_evaluations=300)
    state = gs.steady_state(params, start, refine=settings, max_steps=20, dt=0.02, backend=TORCH)
    assert state.status.item() != gs.Status.DIVERGED


def growth(name: str, params: Any, state: np.ndarray, wave: tuple[int, int], grid: tuple[int, int], steps: int) -> Any:
    """Growth rates of the modes of a wave, marched and in closed form."""
    D, dt = params.tensor()[0].numpy()[:2], CASES[name].dt
    lap = laplacian(grid)[wave]
    M = np.array(CASES[name].jacobian(*state, *params.tensor()[0].tolist()[2:])) + lap * np.diag(D)
    i, j = np.mgrid[: grid[0], : grid[1]]
    angle = 2 * np.pi * (wave[0] * i / grid[0] + wave[1] * j / grid[1])
    rates, right = np.linalg.eig(M)
    found = []
    for rate, mode, way in zip(rates, np.linalg.inv(right), right.T, strict=True):
        if abs(1 + dt * rate) ** steps < 0.05:  # decays into rounding
            continue
        amplitude = 1e-8 / dt * way.real  # of this mode and its conjugate alone: another one may grow past it
        x = state[:, None, None] + amplitude[:, None, None] * np.cos(angle)
        end = TORCH.march(params, torch.from_numpy(x)[None], 0.0, steps, steps, dt).fields[0].numpy()
        share = np.cos(angle) / np.sum(np.cos(angle) ** 2)
        ratio = mode @ np.sum((end - state[:, None, None]) * share, axis=(1, 2)) / (mode @ amplitude)
        turns = np.round((steps * np.angle(1 + dt * rate) - np.angle(ratio)) / (2 * np.pi))
        per_step = np.exp((np.log(np.abs(ratio)) + 1j * (np.angle(ratio) + 2 * np.pi * turns)) / steps)
        found.append(((per_step - 1) / dt, rate, np.abs(rates).max()))
    return found


@EVERY
def test_perturbations_of_a_uniform_state_grow_as_in_closed_form(name: str) -> None:
    params = params_of(name)
    grid, measured = (9, 12), 0
    for state in states_of(params):
        for wave in ((0, 0), (1, 2), (4, 5), (2, 0)):
            for found, rate, fastest in growth(name, params, state, wave, grid, 80):
                assert abs(found - rate) < 1e-6 * fastest, (wave, found, rate)
                measured += 1
    assert measured >= 2
    p = params.tensor()[0].numpy()
    symbols = Equations(params.model, p).symbols(state, laplacian(grid))
    expected = np.array(CASES[name].jacobian(*state, *p[2:])) + laplacian(grid)[..., None, None] * np.diag(p[:2])
    np.testing.assert_allclose(symbols, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("name", "preset"), TURING)
def test_turing_presets_are_stable_without_diffusion_and_unstable_with_it(name: str, preset: str) -> None:
    params = model_of(name).preset(preset)
    rest = gs.initial_state(model=params, grid=(3, 3), noise=0.0)[0, :, 0, 0].numpy()
    p = params.tensor()[0].numpy()
    equations = Equations(params.model, p)
    without = np.array(equations.reaction_jacobian(rest[:, None, None])).squeeze()
    assert np.linalg.eigvals(without).real.max() < -1e-3
    rates = np.linalg.eigvals(equations.symbols(rest, laplacian((64, 64)))).real.max(axis=-1)
    assert rates.max() > 1e-3
    length = 64 / np.hypot(*(min(k, 64 - k) for k in np.unravel_index(rates.argmax(), rates.shape)))
    assert 4 < length < 40  # pixels a wave: neither a grid's own nor a grid wide


# ---------------------------------------------------------------------------------------------------------------------
# One step, by others and by the kernels
# ---------------------------------------------------------------------------------------------------------------------

PDE = """
import json, sys, numpy as np, pde
cases, file = json.loads(sys.stdin.read()), sys.argv[1]
grid, out = pde.UnitGrid([12, 16], periodic=True), {}
for name, (rates, constants) in cases.items():
    x = np.random.default_rng(7).random((2, 12, 16)) + 0.5
    equations = pde.PDE(rates, bc="periodic", consts=constants)
    fields = pde.FieldCollection([pde.ScalarField(grid, a) for a in x])
    out[name] = np.array(equations.evolution_rate(fields).data)
np.savez(file, **out)
"""


def test_a_step_is_that_of_py_pde(tmp_path: Any) -> None:
    """Its generic class, from text; in a process of its own, without half a minute of compilation."""
    import json

    pytest.importorskip("pde")
    cases = {
        n: (c.pde, dict(zip(model_of(n).parameters, params_of(n).tensor()[0].tolist(), strict=True)))
        for n, c in CASES.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", PDE, str(tmp_path / "rates.npz")],
        input=json.dumps(cases), capture_output=True, text=True, timeout=120,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rates = np.load(tmp_path / "rates.npz")
    x = np.random.default_rng(7).random((2, 12, 16)) + 0.5
    for name, case in CASES.items():
        expected = x + case.dt * rates[name]
        start = torch.from_numpy(x)[None]
        for backend in (KERNELS, TORCH):
            found = backend.march(params_of(name), start, 0.0, 1, 1, case.dt).fields[0].numpy()
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=2e-15 * max(1.0, case.dt * np.abs(rates[name]).max())
            )
        np.testing.assert_allclose(batches.step(start, params_of(name), case.dt)[0], expected, rtol=1e-14, atol=1e-14)


def allen_cahn(u: Any, r: Any, a: Any) -> Any:
    return r * (u - u**3) + a


def cyclic(x1: Any, x2: Any, x3: Any, c: Any, r: Any) -> Any:
    """Three species, with quotients and roots."""
    total = x1 + x2 + x3
    return (
        x1 * (1 - total) - c * x1 * x2 / (1 + x1),
        r * x2 * (1 - total) - 2 / (3 + x2 * x3),
        x3 * (1 - total**2 / 3) - c * torch.sqrt(x3 + x1) + 0.1,
    )


def curved(u: Any, v: Any, a: Any, n: Any) -> Any:
    """Every function there is."""
    gain = torch.exp(-u) + torch.tanh(v) * np.cos(a * u)
    return a - u * gain + torch.log(1 + v * v), torch.sin(u) - v ** (1.5 * n) + u**n / (1 + u**n) - 2**-v


OWN = {
    "allen_cahn": (gs.Model.of(allen_cahn, species=("u",)).params(Du=0.1, r=0.3, a=0.01), 1.0, True),
    "cyclic": (
        gs.Model.of(cyclic, species=("x1", "x2", "x3")).params(Dx1=0.2, Dx2=0.05, Dx3=0.1, c=0.7, r=1.3),
        0.1,
        True,
    ),
    "curved": (gs.Model.of(curved).params(Du=0.1, Dv=0.2, a=0.4, n=1.7), 0.05, False),
}
"""Models of one's own, a step, and whether torch and the kernels agree to the bit."""

COMBINATIONS = [(n, dtype, w) for n in (*OWN, *CASES) for dtype in (torch.float32, torch.float64) for w in (30, 32, 37)]
QUICK = [
    *((n, d, w) for n in OWN for d, w in ((torch.float32, 32), (torch.float64, 30), (torch.float64, 37))),
    *((n, torch.float64, 32) for n in CASES),
]


@pytest.mark.parametrize(
    ("name", "dtype", "width"),
    [pytest.param(*c, marks=() if c in QUICK else pytest.mark.slow, id=f"{c[0]}-{c[1]}-{c[2]}") for c in COMBINATIONS],
)
def test_kernels_and_torch_take_the_same_steps(name: str, dtype: torch.dtype, width: int) -> None:
    """To the bit with + - * /, roots and integer powers; with exp, log, tanh, sin, cos and powers to 4 ulp a step."""
    params, dt, exact = OWN[name] if name in OWN else (params_of(name), CASES[name].dt, True)
    S, steps = len(params.model.species), 20
    draws = np.random.default_rng(8).random((1, S, 9, width))
    start = torch.from_numpy(0.4 + 0.5 * draws).to(dtype)
    count = torch.tensor([steps])
    end, tangents = KERNELS.push_forward(params, start, count, dt)
    assert torch.isfinite(end).all()
    assert torch.equal(KERNELS.march(params, start, 0.0, steps, steps, dt).fields, end)
    other, others = TORCH.push_forward(params, start, count, dt)
    if exact:
        assert torch.equal(end, other)
        assert torch.equal(tangents, others)
    one, two = (b.march(params, start, 0.0, 1, 1, dt).fields for b in (KERNELS, TORCH))
    assert ((one - two).abs() <= 4 * torch.finfo(dtype).eps * two.abs().clamp(min=2**-3)).all()
    assert relative(end, other) < 20 * 4 * torch.finfo(dtype).eps
    assert relative(tangents, others) < 200 * torch.finfo(dtype).eps
    w = torch.from_numpy(np.random.default_rng(9).normal(size=(2, *start.shape))).to(dtype)
    found, expected = (b.pull_back(params, start, count, w, dt) for b in (KERNELS, TORCH))
    assert relative(found[1], expected[1]) < 300 * torch.finfo(dtype).eps
    assert relative(found[0], expected[0]) < 3000 * torch.finfo(dtype).eps


# ---------------------------------------------------------------------------------------------------------------------
# Signed fields
# ---------------------------------------------------------------------------------------------------------------------


def test_fields_may_be_negative_and_rest_at_zero() -> None:
    """FitzHugh-Nagumo from end to end: no check takes v for an amount of something."""
    model, case = gs.models.fitzhugh_nagumo, CASES["fitzhugh_nagumo"]
    assert gs.initial_state(model=model, grid=(4, 4), noise=0.0).abs().max() == 0
    start = start_of("fitzhugh_nagumo")
    assert (start < 0).any(dim=(-2, -1)).all()
    state = root_of("fitzhugh_nagumo")
    assert state.v.min() < -0.05
    assert state.v.max() > 0.05
    assert state.kind.item() == gs.Kind.PATTERN
    mirrored = gs.grad(
        state.params, "implicit", mean_square, initial=-state.fields, dt=case.dt
    )  # a0 = 0: odd equations
    found = gs.grad(state.params, "implicit", mean_square, initial=state.fields, dt=case.dt)
    assert mirrored.loss.item() == pytest.approx(found.loss.item(), rel=1e-10)
    torch.testing.assert_close(mirrored.grad.tensor()[:, :4], found.grad.tensor()[:, :4], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(mirrored.grad.a0, -found.grad.a0, rtol=1e-6, atol=1e-9)
    resting = gs.steady_state(
        model.preset("stripes"), torch.zeros(1, 2, 8, 8, dtype=torch.float64), refine=True, dt=case.dt
    )
    assert resting.status.item() == gs.Status.STEADY
    assert resting.kind.item() == gs.Kind.UNIFORM
    given = {"base": model.preset("stripes"), "losses": [mean_square], "routes": ["unrolled"], "initial": start}
    data = gs.scan({"a0": [-0.1, 0.0, 0.1]}, **given, tol=0.0, max_steps=60, dt=case.dt, progress=False, keep="v")
    assert data["loss"].notnull().all()
    assert data["gradient"].notnull().all()
    assert data["v"].min() < 0
    assert data["gradient"].sizes["parameter"] == 5
    assert data["a0"].attrs["long_name"]
