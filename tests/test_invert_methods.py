"""The other methods of `invert`: what each recovers, what its derivatives are, and what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from helpers import PAPER, covered, error, invert, noise, small_start

import gsimplicit as gs
from gsimplicit.inverse.answers.equation_error import noise_draws
from gsimplicit.inverse.answers.linear_fit import nonlinear
from gsimplicit.inverse.answers.prepared import Prepared, prepared
from gsimplicit.inverse.fits import branch, variable_projection, weak
from gsimplicit.inverse.fits.following import by_bfgs, by_deviations, by_loss
from gsimplicit.inverse.fits.problem import Ended, Place
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.method import Question
from gsimplicit.inverse.methods import METHODS, Descend, Followed, Linear, OneShot, VariableProjection, Weak
from gsimplicit.inverse.pictures.question import as_pictures, as_wanted
from gsimplicit.inverse.starts.own_equation import at_rest
from gsimplicit.inverse.starts.starts import place

TRUTH = torch.tensor(PAPER, dtype=torch.float64)
FAILED = gs.Params(0.127, 0.1269, 0.05, 0.0501)
"""Where the paper's training began."""
NEAR = gs.Params(0.16, 0.08, 0.035, 0.0645)


@pytest.fixture(scope="module")
def root() -> torch.Tensor:
    """A lattice root at the paper's point, shape (1, 2, 32, 32)."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=gs.Refine(tol=1e-13, lattice=True))
    assert state.has_root.all()
    return state.fields


@pytest.fixture(scope="module")
def noisy(root: torch.Tensor) -> torch.Tensor:
    return root + noise(root.shape, 0.01 * float(root[:, 1].std()))


def verdict(found: gs.Inversion) -> gs.Recovery:
    return gs.Recovery(int(found.verdict[0]))


def ready(fields: torch.Tensor, start: gs.Params | None = None) -> Prepared:
    model = gs.models.gray_scott
    found = prepared(
        Question(model, as_pictures(model, fields[:, 1], None, None), as_wanted(model, start, None, None), [None])
    )
    assert isinstance(found, Prepared)
    return found


# ----------------------------------------------------------------------------------------------------------------------
# Variable projection


def test_variable_projection_reaches_the_truth_from_the_papers_failed_start(root: torch.Tensor) -> None:
    found = invert(root[:, 1], start=FAILED, method=VariableProjection(elsewhere=False))
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < 1e-8
    assert found.starts.item() == 1


def test_variable_projection_reaches_the_truth_from_random_starts(root: torch.Tensor) -> None:
    low, high = np.array([0.08, 0.03, 0.02, 0.045]), np.array([0.25, 0.10, 0.07, 0.07])
    for start in low + (high - low) * np.random.default_rng(5).random((10, 4)):
        found = invert(root[:, 1], start=gs.Params(*start), method=VariableProjection(elsewhere=False))
        assert error(found) < 1e-8, start


@pytest.mark.slow
def test_variable_projection_says_how_much_noise_ruins_it(noisy: torch.Tensor) -> None:
    found = invert(noisy[:, 1], method="variable-projection")
    assert verdict(found) == gs.Recovery.MISFIT
    told = float(found.reason[0].split(",")[1].split()[0])
    assert 0.008 < told < 0.012
    assert bool(found.params.tensor().isnan().all())


@pytest.mark.slow
def test_one_shot_goes_on_from_where_noise_ruined_variable_projection(noisy: torch.Tensor) -> None:
    assert verdict(invert(noisy[:, 1], method=VariableProjection(polish=True))) == gs.Recovery.FOUND


@pytest.mark.slow
def test_intervals_of_variable_projection_hold_the_truth_at_its_little_noise(root: torch.Tensor) -> None:
    held = []
    for seed in range(10):
        found = invert(root[:, 1] + noise(root[:, 1].shape, 1e-5, seed), start=NEAR, method="variable-projection")
        assert verdict(found) == gs.Recovery.FOUND
        low, high = found.interval[0].unbind(-1)
        held.append(((low <= TRUTH) & (high >= TRUTH)).double().mean().item())
    assert np.mean(held) > 0.8


def test_the_reduced_residual_has_the_derivatives_it_names(root: torch.Tensor) -> None:
    model, values, free = gs.models.gray_scott, np.array(PAPER) * 1.02, ["Du", "Dv", "F", "k"]
    fields = at_rest(model, values, root[0].numpy(), [0])
    picture = variable_projection.Picture(model, fields, [1], [], Scales.of(model, values, free))
    draws = np.random.default_rng(0)
    data = np.zeros_like(fields)
    data[1] = draws.standard_normal(data[1].shape)

    def residual(t: float, way: np.ndarray[Any, Any], along_data: float) -> np.ndarray[Any, Any]:
        from gsimplicit.equations import Equations
        from gsimplicit.inverse.fits.elimination import eliminated

        equations = Equations(model, picture.outer.moved(values, t * way))
        moved = eliminated(equations, fields + t * along_data * data, [0], tol=1e-14)
        return np.asarray(equations.residual(moved)[1].ravel())

    from gsimplicit.equations import Equations
    from gsimplicit.inverse.fits.elimination import eliminated

    at = Equations(model, values)
    reduced = variable_projection.Reduced(picture, at, eliminated(at, fields, [0], tol=1e-14))
    columns = reduced.columns(picture.outer.slopes(values))
    for j in range(4):
        way = np.eye(4)[j]
        central = (residual(1e-4, way, 0.0) - residual(-1e-4, way, 0.0)) / 2e-4
        np.testing.assert_allclose(columns[j], central, atol=1e-6 * np.abs(central).max())
    none = np.zeros(4)
    central = (residual(1e-5, none, 1.0) - residual(-1e-5, none, 1.0)) / 2e-5
    np.testing.assert_allclose(reduced.by_data(data), central, atol=1e-5 * np.abs(central).max())


# ----------------------------------------------------------------------------------------------------------------------
# Linear


def test_the_linear_fit_is_exact_for_clean_pictures_of_both_species(root: torch.Tensor) -> None:
    for width in (0.0, 2.5):
        found = invert(root[:, 1], root[:, 0], method=Linear(width=width))
        assert verdict(found) == gs.Recovery.FOUND
        assert error(found) < 1e-8


def test_the_filtered_linear_fit_stands_noise_and_its_intervals_hold(root: torch.Tensor) -> None:
    size = 0.01 * float(root[:, 1].std())
    many = root + noise((20, *root.shape[1:]), size)
    found = invert(many[:, 1], many[:, 0], method="linear")
    assert (found.verdict == gs.Recovery.FOUND).all()
    assert (found.params.tensor() / TRUTH - 1).abs().max() < 0.01
    low, high = found.interval.unbind(-1)
    assert 0.87 < ((low <= TRUTH) & (high >= TRUTH)).double().mean() <= 1


def test_the_pointwise_linear_fit_is_drawn_off_by_noise_and_says_so(root: torch.Tensor) -> None:
    strong = root + noise(root.shape, 0.1 * float(root[:, 1].std()))
    found = invert(strong[:, 1], strong[:, 0], method=Linear(width=0.0))
    assert verdict(found) == gs.Recovery.FAILED
    assert "draws" in found.reason[0]
    assert bool(found.params.tensor().isnan().all())


def test_linear_models_are_found_by_trying() -> None:
    for model in (gs.models.schnakenberg, gs.models.gray_scott):
        assert nonlinear(model, list(range(len(model.parameters))), {}) == []


def test_a_state_that_is_not_steady_is_no_answer_of_the_linear_fit() -> None:
    early = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), tol=0.0, max_steps=500)
    found = invert(early.v, early.u, method="linear", noise=1e-6)
    assert verdict(found) == gs.Recovery.MISFIT
    assert "steady" in found.reason[0]


def test_drawn_noise_has_the_size_that_was_assumed(noisy: torch.Tensor) -> None:
    question = ready(noisy)
    drawn = np.stack([d[0] for d in noise_draws(question, 8)])
    assert abs(drawn[:, 1].std() / question.data.noise - 1) < 0.05
    assert not drawn[:, 0].any()


# ----------------------------------------------------------------------------------------------------------------------
# Weak


def test_the_weak_method_finds_all_four_from_the_papers_failed_start(root: torch.Tensor, noisy: torch.Tensor) -> None:
    by = Weak(elsewhere=False)
    clean = invert(root[:, 1], start=FAILED, method=by)
    assert verdict(clean) == gs.Recovery.FOUND
    assert error(clean) < 1e-8
    found = invert(noisy[:, 1], start=FAILED, method=by)
    assert error(found) < 0.02
    assert covered(found)


def test_the_weak_methods_answer_becomes_one_shots_as_the_weight_grows(noisy: torch.Tensor) -> None:
    exact = invert(noisy[:, 1], start=NEAR).params.tensor()
    off = [
        float((invert(noisy[:, 1], start=NEAR, method=Weak(weights=(w,))).params.tensor() / exact - 1).abs().max())
        for w in (1e3, 1e5)
    ]
    assert off[1] < 1e-4 < off[0]


@pytest.mark.slow
def test_the_weak_method_takes_pictures_with_gaps(noisy: torch.Tensor) -> None:
    mask = torch.rand((32, 32), generator=torch.Generator().manual_seed(3)) < 0.5
    found = invert(noisy[:, 1], mask=mask, start=NEAR, method="weak")
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < 0.05


def test_the_weak_cost_has_no_slope_at_its_minimum(noisy: torch.Tensor) -> None:
    question = ready(noisy, NEAR)
    problem = question.problem
    start = place(problem, question.data.guess, np.array(PAPER), 0)
    assert start is not None
    fit, _ = weak.fit(problem, start, (1e3,))
    assert fit.ended == Ended.CONVERGED
    draws, at = np.random.default_rng(1), fit.place
    least = weak.cost(problem, at, 1e3)
    way, change = draws.standard_normal(4), 1e-3 * draws.standard_normal(at.fields[0].shape)

    def moved(t: float) -> float:
        there = Place((at.fields[0] + t * change,), at.drifts, problem.scales.moved(at.values, 1e-3 * t * way))
        return weak.cost(problem, there, 1e3) - least

    # a minimum: what is left is of second order
    assert min(moved(0.1), moved(-0.1)) > 0
    assert abs(moved(0.1) - moved(-0.1)) < 0.05 * moved(0.1)


def test_the_weak_information_is_that_of_the_profile(noisy: torch.Tensor) -> None:
    question = ready(noisy, NEAR)
    problem = question.problem
    start = place(problem, question.data.guess, np.array(PAPER), 0)
    assert start is not None
    fit, _ = weak.fit(problem, start, (1e4,))
    A = fit.columns
    # the least cost with k held beside its best value rises by what the information says
    step, best = 2e-3, weak.cost(problem, fit.place, 1e4)
    rest = [j for j in range(4) if j != 3]
    whole = A.T @ A
    told = whole[3, 3] - whole[3, rest] @ np.linalg.solve(whole[np.ix_(rest, rest)], whole[rest, 3])
    from dataclasses import replace

    held = replace(problem, scales=Scales.of(problem.model, fit.place.values, ["Du", "Dv", "F"]))
    values = fit.place.values.copy()
    values[3] *= np.exp(step)
    beside, _ = weak.fit(held, replace(fit.place, values=values), (1e4,))
    assert abs((weak.cost(held, beside.place, 1e4) - best) / (told * step**2) - 1) < 0.15


# ----------------------------------------------------------------------------------------------------------------------
# Followed


@pytest.fixture(scope="module")
def followed_root(root: torch.Tensor) -> tuple[Prepared, branch.Root]:
    question = ready(root, NEAR)
    start = place(question.problem, question.data.guess, NEAR.tensor()[0].numpy(), 0)
    assert start is not None
    return question, branch.first(question.problem, start)


@pytest.mark.parametrize(
    "by",
    [Followed(), Followed(optimizer="bfgs"), pytest.param(Followed(loss="spectrum"), marks=pytest.mark.slow)],
    ids=str,
)
def test_a_followed_root_leads_to_the_truth_by_any_loss(root: torch.Tensor, by: Followed) -> None:
    found = invert(root[:, 1], start=NEAR, method=by)
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < (1e-3 if by.loss == "spectrum" else 1e-6)
    assert bool(found.interval.isnan().all()) == (by.loss == "spectrum")


def test_a_torch_function_can_be_followed(noisy: torch.Tensor) -> None:
    target = noisy[:, 1]

    def squares(v: torch.Tensor) -> torch.Tensor:
        return ((v - target) ** 2).mean((-1, -2))

    found = invert(target, start=NEAR, method=Followed(loss=squares))
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < 0.02
    assert bool(found.interval.isnan().all())


def test_a_start_without_a_root_near_the_picture_is_named(root: torch.Tensor) -> None:
    found = invert(root[:, 1], start=FAILED, method=Followed(elsewhere=False))
    assert verdict(found) == gs.Recovery.FAILED
    assert "Du = 0.127" in found.reason[0]


@pytest.mark.slow
def test_where_the_branch_was_lost_is_said(root: torch.Tensor) -> None:
    def away(v: torch.Tensor) -> torch.Tensor:
        return v.mean((-1, -2))  # less of v: towards where spots die

    found = invert(root[:, 1], start=NEAR, free=["k"], method=Followed(loss=away, elsewhere=False))
    assert verdict(found) == gs.Recovery.FAILED
    assert "branch was lost" in found.reason[0]
    k = float(found.reason[0].split("k = ")[1].split(":")[0])
    assert 0.0750 < k < 0.0756  # the fold of these two spots


def test_the_derivatives_along_a_branch_are_those_of_the_root(followed_root: tuple[Prepared, branch.Root]) -> None:
    question, at = followed_root
    problem = question.problem

    def squares(v: torch.Tensor) -> torch.Tensor:
        return (v**3).mean((-1, -2))

    for value in (by_loss(problem, squares), by_deviations(problem)):
        _, g = value(at)
        way = np.random.default_rng(2).standard_normal(4 + len(at.moves))
        far = [value(branch.followed(problem, at, t * way[:4], t * way[4:]))[0] for t in (1e-5, -1e-5)]
        assert abs((far[0] - far[1]) / 2e-5 / float(g @ way) - 1) < 1e-5


def test_bfgs_finds_the_same_minimum_as_least_squares(followed_root: tuple[Prepared, branch.Root]) -> None:
    question, at = followed_root
    walked = by_bfgs(question.problem, at, by_deviations(question.problem), 100)
    assert walked.ended == Ended.CONVERGED
    np.testing.assert_allclose(walked.root.place.values, PAPER, rtol=1e-6)


# ----------------------------------------------------------------------------------------------------------------------
# Descent, and what is refused


def test_descent_ends_with_a_number_that_says_it_is_no_answer(root: torch.Tensor) -> None:
    adam = functools.partial(torch.optim.Adam, lr=0.01)
    by = Descend(initial=small_start(32, 7), steps=2, optimizer=adam)
    found = invert(root[:, 1], start=NEAR, free=["k"], method=by)
    assert verdict(found) == gs.Recovery.MISFIT
    assert "took the loss from" in found.reason[0]


def test_descent_that_begins_at_the_truth_is_found(root: torch.Tensor) -> None:
    by = Descend(initial=small_start(32, 7), steps=1)
    found = invert(root[:, 1], start=gs.Params(*PAPER), method=by)
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < 1e-12


@pytest.mark.slow
def test_one_shot_can_be_kept_at_its_start(root: torch.Tensor) -> None:
    far = gs.Params(0.3, 0.01, 0.2, 0.01)
    alone, free = (invert(root[:, 1], start=far, method=OneShot(elsewhere=e)) for e in (False, True))
    assert alone.starts.item() <= 2
    assert verdict(free) == gs.Recovery.FOUND


V = torch.rand((12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HALF = torch.arange(144).reshape(12, 12) % 2 == 0


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("mask must be None", {"mask": HALF, "method": "variable-projection"}),
        ("shared must be False", {"v": torch.stack([V, V]), "shared": True, "method": "variable-projection"}),
        ("gain must be False", {"gain": True, "method": "variable-projection"}),
        ("all species must have been seen .* u was not", {"method": "linear"}),
        ("mask must be None", {"u": V, "mask": HALF, "method": "linear"}),
        ("gain must be False", {"gain": True, "method": "weak"}),
        ("shared must be False", {"v": torch.stack([V, V]), "shared": True, "method": "followed"}),
        ("mask must be None", {"mask": HALF, "method": Followed(loss="spectrum")}),
        ("gain must be False", {"gain": True, "method": "followed"}),
        ("mask must be None", {"mask": HALF, "method": "descend"}),
        ("initial must have shape", {"method": Descend(initial=torch.ones(1, 2, 16, 16))}),
        ("weights must be at least one time and rise", lambda: Weak(weights=(10.0, 1.0))),
        ("optimizer must be 'bfgs'", lambda: Followed(loss="spectrum", optimizer="gauss-newton")),
        ("optimizer must be", lambda: Followed(optimizer="newton")),
        ("loss must be one of", lambda: Followed(loss="spectrums")),
        ("route must be one of", lambda: Descend(route="implicitly")),
        ("limit must be", lambda: VariableProjection(limit=0.0)),
        ("width must be", lambda: Linear(width=-1.0)),
        ("method must be", {"method": "two-shot"}),
    ],
)
def test_what_a_method_cannot_take_is_refused_by_name(words: str, call: Any) -> None:
    with pytest.raises(ValueError, match=words):
        call() if callable(call) else invert(**{"v": V, **call})


def test_a_model_that_is_not_linear_is_refused_by_the_names_of_its_parameters() -> None:
    def reaction(a: Any, h: Any, mu: Any) -> Any:
        return mu * mu - a * h, a - h

    model = gs.Model.of(reaction, name="mine", species=("a", "h"), diffusivity=("Da", "Dh"))
    with pytest.raises(ValueError, match="mine is not in mu"):
        invert(V, V + 0.1, model=model, start=model.params(Da=0.1, Dh=0.2, mu=1.0), method="linear")


@pytest.mark.parametrize("name", [n for n in METHODS if n != "one-shot"])
def test_every_method_refuses_what_holds_no_pattern(name: str) -> None:
    flat = 0.2 + noise((1, 32, 32), 0.01)
    found = invert(flat, flat + 0.3 if name == "linear" else None, method=name)
    assert verdict(found) == gs.Recovery.REFUSED
    assert "picture 0 is" in found.reason[0]
