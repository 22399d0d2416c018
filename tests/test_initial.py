from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import gsimplicit as gs


def test_fields_have_the_promised_shape_and_dtype() -> None:
    fields = gs.initial_state(count=3, grid=(64, 48))
    assert fields.shape == (3, 2, 64, 48)
    assert fields.dtype == torch.float64
    assert gs.initial_state().shape == (1, 2, 128, 128)


def test_any_split_of_the_work_draws_the_same_bits() -> None:
    whole = gs.initial_state(count=5, seed=7, grid=(24, 32))
    for cut in range(1, 5):
        parts = [gs.initial_state(cut, 7, 0, (24, 32)), gs.initial_state(5 - cut, 7, cut, (24, 32))]
        assert torch.equal(torch.cat(parts), whole)


def test_fields_differ_between_indices_and_between_seeds() -> None:
    a, b = (gs.initial_state(count=3, seed=seed, grid=(24, 24)) for seed in (0, 1))
    every = torch.cat([a, b])
    assert all(not torch.equal(every[i], every[j]) for i in range(6) for j in range(i))


def test_seed_and_index_are_not_interchangeable() -> None:
    one, other = gs.initial_state(seed=1, start=0, grid=(24, 24)), gs.initial_state(seed=0, start=1, grid=(24, 24))
    assert not torch.equal(one, other)


def test_global_random_state_is_neither_read_nor_changed() -> None:
    torch.manual_seed(0)
    before, expected = torch.get_rng_state(), gs.initial_state(grid=(24, 24))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(gs.initial_state(grid=(24, 24)), expected)
    assert (np.random.get_state()[1] == np_state).all()  # noqa: NPY002


def test_default_box_is_the_papers_square() -> None:
    fields = gs.initial_state()[0]
    inside = torch.zeros(128, 128, dtype=torch.bool)
    inside[54:74, 54:74] = True
    assert (fields[0][inside] == 0.5).all()
    assert (fields[1][inside] == 0.25).all()
    assert not (fields[0][~inside] == 0.5).any()
    assert not (fields[1][~inside] == 0.25).any()


@pytest.mark.parametrize("grid", [(25, 31), (24, 33), (21, 20)])
def test_box_lies_in_the_middle_of_odd_shapes(grid: tuple[int, int]) -> None:
    v = gs.initial_state(grid=grid, noise=0.0, box=gs.Box(half=4))[0, 1]
    rows, columns = (v > 0).nonzero(as_tuple=True)
    for found, n in ((rows, grid[0]), (columns, grid[1])):
        assert sorted(set(found.tolist())) == list(range(n // 2 - 4, n // 2 + 4))
    assert int((v > 0).sum()) == 64


def test_box_wraps_around_the_edges() -> None:
    v = gs.initial_state(grid=(12, 16), noise=0.0, box=gs.Box(centre=(0, 15), half=2))[0, 1]
    expected = torch.zeros(12, 16, dtype=torch.float64)
    expected[torch.tensor([10, 11, 0, 1])[:, None], torch.tensor([13, 14, 15, 0])[None, :]] = 0.25
    assert torch.equal(v, expected)


def test_box_sets_its_own_values_and_position() -> None:
    fields = gs.initial_state(grid=(16, 16), noise=0.0, box=gs.Box(centre=(5, 9), half=1, u=0.3, v=0.7))[0]
    assert (fields[0, 4:6, 8:10] == 0.3).all()
    assert (fields[1, 4:6, 8:10] == 0.7).all()
    assert int((fields[1] != 0).sum()) == 4


def test_box_may_fill_the_grid() -> None:
    fields = gs.initial_state(grid=(8, 8), box=gs.Box(half=4))[0]
    assert (fields[0] == 0.5).all()


def test_no_box_gives_noise_alone_and_the_same_noise() -> None:
    bare, boxed = gs.initial_state(grid=(24, 24), box=None)[0], gs.initial_state(grid=(24, 24), box=gs.Box(half=3))[0]
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[9:15, 9:15] = True
    assert torch.equal(bare[:, ~inside], boxed[:, ~inside])
    assert not (bare[:, inside] == boxed[:, inside]).any()


def test_no_noise_gives_the_rest_state_exactly() -> None:
    fields = gs.initial_state(grid=(8, 9), noise=0.0, box=None)[0]
    assert torch.equal(fields[0], torch.ones(8, 9, dtype=torch.float64))
    assert torch.equal(fields[1], torch.zeros(8, 9, dtype=torch.float64))


def test_noise_has_the_given_size_and_v_is_its_positive_part() -> None:
    u, v = gs.initial_state(grid=(200, 200), noise=0.1, box=None)[0]
    assert float(u.mean()) == pytest.approx(1.0, abs=4 * 0.1 / 200)
    assert float(u.std()) == pytest.approx(0.1, rel=0.02)  # 40,000 draws: 0.35 % standard error
    assert float((v == 0).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float((v**2).mean()) == pytest.approx(0.1**2 / 2, rel=0.04)


def test_strong_noise_is_clamped_at_both_ends_of_both_fields() -> None:
    u, v = gs.initial_state(grid=(64, 64), noise=1.0, box=None)[0]
    assert (u.min().item(), u.max().item()) == (0.0, 1.5)
    assert (v.min().item(), v.max().item()) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"count": 0}, ValueError, "count must be >= 1, got 0"),
        ({"count": 1.0}, TypeError, "count must be an integer"),
        ({"count": True}, TypeError, "count must be an integer"),
        ({"seed": -1}, ValueError, "seed must be >= 0, got -1"),
        ({"seed": None}, TypeError, "seed must be an integer"),
        ({"start": -1}, ValueError, "start must be >= 0, got -1"),
        ({"start": "0"}, TypeError, "start must be an integer"),
        ({"grid": (2, 32)}, ValueError, "grid must be two integers"),
        ({"grid": (32, 32, 32)}, ValueError, "grid must be two integers"),
        ({"grid": (32.0, 32.0)}, ValueError, "grid must be two integers"),
        ({"grid": 32}, (TypeError, ValueError), "grid must be"),
        ({"noise": -0.1}, ValueError, "noise must be finite and >= 0, got -0.1"),
        ({"noise": math.nan}, ValueError, "noise must be finite"),
        ({"noise": math.inf}, ValueError, "noise must be finite"),
        ({"noise": "0.02"}, (TypeError, ValueError), "noise must be"),
        ({"box": gs.Box(half=0)}, ValueError, r"box.half must lie in 1..16"),
        ({"box": gs.Box(half=17)}, ValueError, r"box.half must lie in 1..16 on a grid of 32 x 40, got 17"),
        ({"box": gs.Box(u=math.nan)}, ValueError, "box.u must be finite"),
        ({"box": gs.Box(v=math.inf)}, ValueError, "box.v must be finite"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        gs.initial_state(**{"grid": (32, 40), **arguments})


@pytest.mark.parametrize(
    "box", ["middle", 10, gs.Box(half=2.5), gs.Box(centre=(1.5, 2.0)), gs.Box(centre=3), gs.Box(centre=(1, 2, 3))]
)  # type: ignore[arg-type]
def test_boxes_of_a_wrong_type_are_refused(box: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="box"):
        gs.initial_state(grid=(32, 32), box=box)
