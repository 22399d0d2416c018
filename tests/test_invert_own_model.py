"""Parameters of a model of one's own from a picture: a plain formula, with neither presets nor a rest state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import error, invert, noise

import gsimplicit as gs

RATES = {"Du": 0.25, "Dv": 5.0, "a": 0.1, "b": 1.34}
RANGES = {"Du": (0.1, 0.5), "Dv": (2.0, 10.0), "a": (0.05, 0.2), "b": (1.0, 2.0)}


def reaction(u: Any, v: Any, a: Any, b: Any) -> Any:
    made = u * u * v
    return a - u + made, b - made


MINE = gs.Model.of(reaction, name="mine")
PARAMS = MINE.params(**RATES)
TRUTH = PARAMS.tensor()[0]


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """v of a root of the same equations with 1 % of noise, shape (24, 24)."""
    shipped = gs.models.schnakenberg.params(**RATES)
    start = gs.initial_state(model=shipped, grid=(24, 24), noise=0.1)
    state = gs.steady_state(shipped, start, dt=0.04, max_steps=20_000, refine=True)
    state.require_steady()
    v = state.v[0]
    return v + noise(v.shape, 0.01 * float(v.std()))


def test_a_hidden_species_whose_equation_is_flat_at_rest_is_found(
    picture: torch.Tensor, recwarn: pytest.WarningsRecorder
) -> None:
    """u^2 v does not tell u from where u is 0, which is where a model rests that does not say otherwise."""
    for asked in ({"start": PARAMS}, {"model": MINE, "ranges": RANGES}):
        found = invert(picture, **asked)
        found.require_found()
        assert error(found, TRUTH) < 0.02
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_a_start_that_leads_nowhere_is_one_among_others_where_ranges_say_where_to_look(picture: torch.Tensor) -> None:
    far = MINE.params(Du=0.45, Dv=3.0, a=0.06, b=1.9)
    found = invert(picture, start=far, ranges=RANGES)
    found.require_found()
    assert error(found, TRUTH) < 0.02
    assert invert(picture, start=far).verdict.item() == gs.Recovery.FAILED


def test_an_unknown_gain_is_found_from_a_start_without_presets(picture: torch.Tensor) -> None:
    resting = gs.Model.of(reaction, name="resting", rest=lambda a, b: (a + b, b / (a + b) ** 2))
    for model in (MINE, resting):
        found = invert(5 + 3 * picture, start=model.params(**RATES), free=["Du", "Dv", "b"], gain=True)
        found.require_found()
        assert error(found, TRUTH) < 0.03
        assert torch.allclose(found.gain, torch.tensor([[5.0, 3.0]], dtype=torch.float64), rtol=0.05)


@pytest.mark.parametrize("told", [np.array(1e-3), torch.tensor(1e-3), np.float32(1e-3)])
def test_noise_may_be_an_array_without_dimensions(picture: torch.Tensor, told: Any) -> None:
    invert(picture, start=PARAMS, noise=told).require_found()


def test_a_dataset_holds_all_that_an_inversion_says(picture: torch.Tensor) -> None:
    found = invert(picture, start=PARAMS)
    data = found.to_dataset()
    for name in ("correlation", "gain", "starts", "met", "condition", "misfit", "noise"):
        assert np.array_equal(data[name].values, getattr(found, name).numpy(), equal_nan=True)
    assert data.others.sizes == {"set": 1, "other": 0, "parameter": 4}
