"""The measures of study `pinn`: minima of lines, ends of spectra, weights by held-out pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from studies import _ablation, _lanczos, _network_weights, _pinn_bowl, _pinn_data, weight_rules


@pytest.fixture(scope="module")
def fields() -> np.ndarray:
    y, x = np.meshgrid(*[2 * np.pi * np.arange(32) / 32] * 2, indexing="ij")
    return np.stack([0.6 + 0.2 * np.cos(3 * x), 0.2 + 0.1 * np.cos(3 * y)])


@pytest.mark.parametrize(
    ("line", "count"),
    [([2.0, 1.0, 2.0], 1), ([1.0, 2.0, 3.0], 1), ([3.0, 0.0, 2.0, 1.0, 4.0], 2), ([9.0, 0.0, 5.0, 4.99, 9.0], 1)],
)
def test_minima_are_counted_with_the_ends_and_without_ripples(line: list[float], count: int) -> None:
    assert _network_weights.minima(np.array(line)) == count


def test_lanczos_finds_the_ends_of_a_losss_spectrum() -> None:
    A = np.random.default_rng(0).standard_normal((40, 40))
    H = torch.from_numpy(A + A.T - 5 * np.eye(40))
    product = _lanczos.products(lambda z: 0.5 * z @ H @ z + z.sum(), torch.ones(40, dtype=torch.float64))
    values, vectors = _lanczos.ends(product, 40, 40)
    true = np.linalg.eigvalsh(H.numpy())
    assert values == pytest.approx(true[[0, -1]], rel=1e-10)
    assert np.abs(H.numpy() @ vectors[0] - values[0] * vectors[0]).max() < 1e-8


def test_a_direction_is_as_long_as_the_weights_filter_by_filter(fields: np.ndarray) -> None:
    asked = _pinn_data.question(fields, np.ones((32, 32), dtype=bool), both=False)
    one, begin = training(Network(width=5, depth=2, waves=4), asked)
    d = _pinn_bowl.direction(one.representation, begin.weights, 0)
    covered = np.zeros(len(begin.weights), dtype=int)
    for first, last, by in one.representation.filters():
        covered[first:last] += 1
        w, r = (part[first:last].view(-1, by).norm(dim=1) for part in (begin.weights, d))
        assert torch.allclose(w, r)
    assert (covered == 1).all()


def test_pictures_show_the_share_that_is_told_with_noise_of_the_size_that_is_told(fields: np.ndarray) -> None:
    picture, there = _pinn_data.pictured(fields, "1/16 of v", 5.0, 0)
    assert there.sum() == 64
    assert (picture - fields).std(axis=(1, 2)) / fields.std(axis=(1, 2)) == pytest.approx([0.05, 0.05], rel=0.1)
    again, same = _pinn_data.pictured(fields, "1/16 of v", 5.0, 0)
    assert np.array_equal(picture, again)
    assert np.array_equal(there, same)


def test_the_weight_is_the_one_whose_trial_leaves_least_of_deviation_and_residual_together() -> None:
    over = ("case", "way", "weight")
    trials = xr.Dataset(
        {  # one fits by far but solves nothing, one solves what nobody saw, one diverged
            "deviation": (over, [[[0.1, 0.5, 46.0], [np.nan, 2.0, 30.0]]]),
            "residual": (over, [[[9.0, 0.5, 0.1], [np.nan, 8.0, 0.7]]]),
        },
        {"weight": [0.1, 1.0, 10.0]},
    )
    assert _ablation.chosen(trials).values.tolist() == [[1.0, 1.0]]


def test_what_passes_for_noise_is_the_pictures_own_where_it_tells_and_a_tenth_in_gaps(fields: np.ndarray) -> None:
    told = []
    for seen, noise in (("v", 0.0), ("v", 5.0), ("half of v", 5.0)):
        picture, there = _pinn_data.pictured(fields, seen, noise, 0)
        told.append(_ablation.noise_like(picture, there, both=False))
    assert told == pytest.approx([0.01, 0.05, 0.1], rel=0.4)


def test_each_rule_for_the_weight_takes_what_it_says() -> None:
    over = ("case", "way", "weight")
    tried = xr.Dataset(
        {
            "held_out": (over, [[[3.0, 2.0, 2.5, 1.0]]]),
            "deviation": (over, [[[0.1, 0.9, 1.0, 46.0]]]),
            "residual": (over, [[[9.0, 0.5, 0.1, 0.1]]]),
            "noise_like": (over, np.full((1, 1, 4), 1.2)),
        },
        {"weight": [0.1, 1.0, 10.0, 100.0]},
    )
    found = {name: float(tried.weight[place].item()) for name, place in weight_rules.rules(tried).items()}
    assert list(found.values()) == [10.0, 1.0, 1.0, 1.0, 100.0]
