"""Kernels, roots and routes give what they gave when the net of `golden.py` was recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden import KERNELS, ROOTS, described, gradients, kernels, recorded, root_of

from gsimplicit.marching import writer

PROMISED = {
    "implicit at the root": 1e-10,
    "deq at the root": 1e-9,
    "tangent at the root": 1e-10,
    "finite_difference at the root": 1e-7,
    "unrolled over 300 steps": 1e-11,
    "truncated over 300 steps": 1e-11,
    "tangent over 300 steps": 1e-11,
    "finite_difference over 300 steps": 1e-6,
}
"""Relative difference of a gradient, in the 2-norm. On one machine under three BLAS kernels the exact routes moved by
1e-14, differences of roots by 3e-10, of steps by 4e-9."""

FLOOR = 1e-30
"""What counts as no gradient: the trivial root's are rounding of 1e-67."""


@pytest.mark.parametrize(("width", "dtype", "layout"), KERNELS)
def test_kernels_give_the_bits_recorded(width: int, dtype: str, layout: str) -> None:
    kept = recorded()["kernels"][f"{width} {dtype} {layout}"]
    found = kernels(width, dtype, layout)
    assert found == {name: kept.get(name) for name in found}
    # the sums of the adjoint are recorded for every length of vectors there is
    assert layout == "loops" or f"pull_back sums, {writer.BYTES}" in found


@pytest.mark.parametrize("name", ROOTS)
def test_roots_and_gradients_are_those_recorded(name: str) -> None:
    kept: dict[str, Any] = recorded()["roots"][name]
    state = root_of(name)
    found = described(state)
    assert (found["status"], found["kind"]) == (kept["status"], kept["kind"])
    assert found["moments"] == pytest.approx(kept["moments"], rel=1e-11, abs=1e-11)
    assert found["largest"] == pytest.approx(kept["largest"], rel=1e-11, abs=1e-11)
    for route, gradient in gradients(state).items():
        expected = kept["gradients"][route]
        apart, size = np.linalg.norm(np.subtract(gradient, expected)), np.linalg.norm(expected)
        assert apart <= PROMISED[route] * size + FLOOR, (route, gradient, expected)
