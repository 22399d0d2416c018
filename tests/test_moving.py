"""Pictures that have not come to rest: du/dt as an unknown of the weak method."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import PAPER, covered, error, invert, noise, small_start

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.answers.prepared import Prepared, prepared
from gsimplicit.inverse.fits import moving
from gsimplicit.inverse.method import Question
from gsimplicit.inverse.methods import Weak
from gsimplicit.inverse.pictures.question import as_pictures, as_wanted
from gsimplicit.inverse.starts.starts import place

MOVING = Weak(moving=True)


@pytest.fixture(scope="module")
def early() -> gs.SteadyState:
    """A pattern after 2,500 steps, that one-shot does not answer."""
    return gs.steady_state(
        gs.Params(*PAPER), gs.initial_state(grid=(32, 32)), tol=0.0, max_steps=2500, dtype=torch.float64
    )


@pytest.fixture(scope="module")
def picture(early: gs.SteadyState) -> torch.Tensor:
    return early.v + noise(early.v.shape, 0.01 * float(early.v.std()))


def verdict(found: gs.Inversion) -> gs.Recovery:
    return gs.Recovery(int(found.verdict[0]))


def test_a_picture_that_still_moves_is_found_with_the_size_of_its_change(
    early: gs.SteadyState, picture: torch.Tensor
) -> None:
    found = invert(picture, method=MOVING)
    assert verdict(found) == gs.Recovery.FOUND
    assert error(found) < 0.03
    assert covered(found)
    true = Equations(gs.models.gray_scott, np.array(PAPER)).defect(early.fields[0].numpy(), np.zeros(2)).std()
    told = float(found.reason[0].split("about ")[1].split(" per")[0])
    assert 1 / 3 < told / true < 3


@pytest.mark.slow
def test_one_shot_does_not_answer_it(picture: torch.Tensor) -> None:
    assert verdict(invert(picture)) in (gs.Recovery.MISFIT, gs.Recovery.FAILED)


@pytest.mark.slow
def test_the_weight_is_the_largest_that_leaves_noise_alone(picture: torch.Tensor) -> None:
    model = gs.models.gray_scott
    question = prepared(
        Question(model, as_pictures(model, picture, None, None), as_wanted(model, None, None, None), [None])
    )
    assert isinstance(question, Prepared)
    start = place(question.problem, question.data.guess, np.array(PAPER), 0)
    assert start is not None
    found = moving.fit(question.problem, start, iterations=30)
    assert found.low
    assert found.total > 0.9
    above = moving.at(question.problem, found.fit.place, 1.1 * found.weight, 30)
    assert above.total > 1


@pytest.mark.slow
def test_a_picture_at_rest_is_answered_as_by_one_shot() -> None:
    root = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=True).v
    seen = root + noise(root.shape, 0.01 * float(root.std()))
    found, exact = invert(seen, method=MOVING), invert(seen)
    assert verdict(found) == verdict(exact) == gs.Recovery.FOUND
    width = (exact.interval[0, :, 1] - exact.interval[0, :, 0]) / 2
    assert bool(((found.params.tensor() - exact.params.tensor()).abs()[0] < width).all())
    assert bool((found.interval[0, :, 1] - found.interval[0, :, 0] >= 2 * width).all())


@pytest.mark.slow
def test_a_picture_of_something_else_is_a_misfit_and_not_a_fast_change() -> None:
    root = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(32, 32)), refine=True).v
    other = root**2 / root.max()
    found = invert(other + noise(other.shape, 0.001), method=MOVING)
    assert verdict(found) == gs.Recovery.MISFIT
    assert "du/dt of" in found.reason[0]
    assert bool(found.params.tensor().isnan().all())


def test_moving_must_be_a_flag() -> None:
    with pytest.raises(TypeError, match="moving"):
        Weak(moving="yes")  # type: ignore[arg-type]


def test_a_clean_picture_at_rest_keeps_its_values() -> None:
    root = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=True).v
    for seen in (root, root.float()):
        found = invert(seen, method=MOVING)
        assert verdict(found) == gs.Recovery.FOUND
        assert error(found) < 1e-5
        width = (found.interval[0, :, 1] - found.interval[0, :, 0]) / found.params.tensor()[0]
        assert bool((width < 1e-3).all())


@pytest.mark.slow
def test_noise_given_twice_too_large_is_a_misfit() -> None:
    early = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(48, 48)), tol=0.0, max_steps=3000).v
    size = 0.01 * float(early.std())
    found = invert(early + noise(early.shape, size), method=MOVING, noise=2 * size, start=gs.Params(*PAPER))
    assert verdict(found) == gs.Recovery.MISFIT
    assert "too large?" in found.reason[0]


def test_a_reason_speaks_of_noise_as_given_only_where_it_was(early: gs.SteadyState) -> None:
    found = invert(early.v, method=MOVING, start=gs.Params(*PAPER))
    assert verdict(found) == gs.Recovery.MISFIT
    assert "the noise was estimated" in found.reason[0]


def test_weights_beside_moving_are_refused() -> None:
    with pytest.raises(ValueError, match="weights must not be given with moving=True"):
        Weak(moving=True, weights=(1e3,))
