"""Vector code against rows of any width and torch, and the four tangents."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import (
    PAPER,
    farthest,
    forward_tangents,
    instance,
    march,
    mean_square,
    pull_back,
    push_forward,
    random_fields,
    random_params,
    relative,
    small_start,
)

import gsimplicit as gs
from gsimplicit import equations
from gsimplicit.marching import TORCH, compiled, cpu, lanes, rows, work, writer

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
GRIDS = [((32, 48), 60), ((3, 16), 40), ((128, 128), 10), ((17, 5), 100), ((3, 3), 40)]
"""The first three are cut into lanes on any machine, the others never."""


@DTYPES
@pytest.mark.parametrize("grid", [(3, 16), (5, 64), (4, 32)])
def test_packing_into_lanes_is_undone(grid: tuple[int, int], dtype: torch.dtype) -> None:
    fields = random_fields(1, grid)[0].to(dtype).numpy()
    packed = lanes.pack(fields)
    assert packed.ctypes.data % writer.BYTES == 0
    assert np.array_equal(lanes.unpack(packed), fields)
    # vector 1 is what lies to the east of vector 0, and the first vector turned by a lane to the east of the last
    east = lanes.pack(np.roll(fields, -1, axis=-1))
    assert np.array_equal(east[:, :, :-1], packed[:, :, 1:])
    assert np.array_equal(east[:, :, -1], np.roll(packed[:, :, 0], -1, axis=-1))


def test_which_widths_are_cut_into_lanes() -> None:
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        assert lanes.fits(128, dtype)
        assert not lanes.fits(lanes.lanes(dtype) + 1, dtype)


@DTYPES
def test_lanes_rows_and_torch_give_the_same_bits(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    fields, params = random_fields(2, (20, 48)).to(dtype), random_params(2)
    by_lanes = march(fields, params, tol=0.0, max_steps=200)
    by_torch = fields
    for _ in range(200):
        by_torch = equations.step(by_torch, params)
    monkeypatch.setattr(compiled, "_packed", rows.pack)
    by_rows = march(fields, params, tol=0.0, max_steps=200)
    assert torch.equal(by_lanes.fields, by_torch)
    assert torch.equal(by_lanes.fields, by_rows.fields)
    assert torch.equal(by_lanes.change, by_rows.change)


def test_stabilised_steps_are_the_same_in_lanes_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    fields, table = random_fields(1, (10, 32))[0].numpy(), np.array([[0.5, -0.25, 0.75], [0.1, 0.2, 0.7]])
    by_lanes = cpu.stabilised(instance(PAPER), fields, table, 5)
    monkeypatch.setattr(compiled, "_packed", rows.pack)
    by_rows = cpu.stabilised(instance(PAPER), fields, table, 5)
    assert farthest(by_lanes[0], by_rows[0]) < 1e-15
    assert by_lanes[1] == pytest.approx(by_rows[1], rel=1e-12)


@DTYPES
@pytest.mark.parametrize("width", [16, 17])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_cell_that_is_not_finite_is_seen_wherever_it_lies(dtype: torch.dtype, width: int, bad: float) -> None:
    for i, j in itertools.product((0, 2), (0, 7, width - 1)):
        fields = random_fields(1, (3, width)).to(dtype)
        fields[0, 1, i, j] = bad
        end = march(fields, gs.Params(*PAPER), tol=1e-3, max_steps=1)
        assert torch.isnan(end.change).all()


@DTYPES
def test_denormals_are_flushed_inside_the_kernels_and_nowhere_else(dtype: torch.dtype) -> None:
    fields = torch.zeros((1, 2, 8, 16), dtype=dtype)
    fields[:, 1] = tiny = torch.finfo(dtype).tiny / 4
    end = march(fields, gs.Params(0.1, 0.1, 0.03, 0.06), tol=0.0, max_steps=1).fields
    assert bool((end[:, 1] == 0).all()) == work._X86
    assert float(np.float64(tiny) / 2) > 0  # the control register is as it was


# ---------------------------------------------------------------------------------------------------------------------
# Tangents
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "steps"), GRIDS)
def test_tangent_kernel_equals_forward_mode(grid: tuple[int, int], steps: int) -> None:
    fields, params = random_fields(1, grid)[0], random_params(1)
    end, tangents = push_forward(fields, params, steps)
    assert torch.equal(end, march(fields[None], params, tol=0.0, max_steps=steps).fields[0])
    expected = forward_tangents(fields[None], params.tensor()[0].tolist(), steps)
    for j in range(4):
        assert relative(tangents[j, 1], expected[j]) < 1e-12


def test_reference_tangents_are_those_of_the_kernel() -> None:
    fields, params = random_fields(1, (9, 16))[0], random_params(1)
    (end, tangents), (end_, tangents_) = (push_forward(fields, params, 70, by=by) for by in (None, TORCH))
    assert farthest(end, end_) < 1e-14
    assert relative(tangents_, tangents) < 1e-13


@pytest.mark.parametrize("width", [32, 13])
def test_tangents_and_adjoint_pass_the_dot_product_test(width: int) -> None:
    """<y, dX/dp> = p^T y, for each parameter."""
    fields, params, y = random_fields(1, (12, width))[0], random_params(1), random_fields(1, (12, width), seed=1) - 0.5
    gradient, _ = pull_back(fields, params, 150, y)
    _, tangents = push_forward(fields, params, 150)
    assert relative((tangents * y).sum(dim=(1, 2, 3)), gradient[0]) < 1e-12


def test_tangents_pass_a_taylor_test() -> None:
    fields, steps = small_start(32, 9)[0], 300
    point, direction = torch.tensor([PAPER], dtype=torch.float64), torch.tensor([[0.3, -0.2, 0.05, 0.1]]).double()

    def loss(h: float) -> float:
        end = march(fields[None], gs.Params.stack(point + h * direction), tol=0.0, max_steps=steps).fields
        return mean_square(end[:, 1]).item()

    end, tangents = push_forward(fields, gs.Params(*PAPER), steps)
    slope = float((2 * end[1] * tangents[:, 1]).mean(dim=(1, 2)) @ direction[0])
    remainders = [abs(loss(2.0**-n) - loss(0.0) - 2.0**-n * slope) for n in range(14, 19)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(remainders)]
    assert all(abs(order - 2) < 0.01 for order in orders), orders


def test_float32_tangents_are_those_of_float64_to_float32_rounding() -> None:
    fields, params = random_fields(1, (16, 16))[0], random_params(1)
    expected, found = push_forward(fields, params, 100)[1], push_forward(fields.float(), params, 100)[1]
    assert found.dtype == torch.float32
    assert relative(found.double(), expected) < 5e-5


def test_tangents_of_no_steps_are_zero() -> None:
    fields = random_fields(1, (6, 16))[0]
    end, tangents = push_forward(fields, gs.Params(*PAPER), 0)
    assert torch.equal(end, fields)
    assert not tangents.any()
