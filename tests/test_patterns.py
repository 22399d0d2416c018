"""Measures of patterns that studies use, on fields whose wavelength, pieces and holes are known."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from studies import _apart, _patterns
from studies._apart import distance, spread
from studies._patterns import components, euler, radial_spectrum, shape, transport, wavelength


def wave(rows: int, columns: int, side: int = 128) -> np.ndarray:
    """So many waves down and across."""
    x = 2 * np.pi * np.arange(side) / side
    return np.sin(rows * x[:, None] + columns * x + 0.3)


def discs(centres: list[tuple[int, int]], radius: float = 4, side: int = 64) -> np.ndarray:
    """Discs of height 1 on the periodic grid."""
    x = np.arange(side)
    out = np.zeros((side, side))
    for row, column in centres:
        down, across = (np.minimum(abs(x - c), side - abs(x - c)) for c in (row, column))
        out[np.hypot(down[:, None], across) <= radius] = 1
    return out


def test_the_examples_of_the_measures_run() -> None:
    assert doctest.testmod(_patterns).failed == 0
    assert doctest.testmod(_apart).failed == 0


@pytest.mark.parametrize(("rows", "columns"), [(0, 8), (6, 0), (5, 5), (3, 8), (7, 9), (12, 5), (15, 1)])
def test_the_wavelength_of_one_wave_is_found_between_the_wave_numbers_of_the_grid(rows: int, columns: int) -> None:
    true = 128 / np.hypot(rows, columns)
    assert wavelength(wave(rows, columns)) == pytest.approx(true, rel=0.01)


def test_the_wavelength_of_an_oblong_grid_is_in_pixels_along_both_sides() -> None:
    long = np.tile(wave(0, 8, 64), (2, 1))
    assert wavelength(long) == pytest.approx(8, rel=0.01)
    assert wavelength(long.T) == pytest.approx(8, rel=0.01)


def test_a_short_weak_wave_does_not_hide_a_long_strong_one() -> None:
    v = wave(0, 8) + 0.5 * wave(20, 0) + 0.1 * np.random.default_rng(0).standard_normal((128, 128))
    assert wavelength(v) == pytest.approx(16, rel=0.01)


def test_power_does_not_see_the_mean_or_the_place() -> None:
    v = wave(3, 8)
    q, power = radial_spectrum(v)
    np.testing.assert_allclose(radial_spectrum(np.roll(v, (5, -9), (0, 1)) + 7)[1], power, atol=1e-15)
    assert power.shape == q.shape
    assert (power >= 0).all()


def test_drawn_spots_are_counted_also_across_the_edges() -> None:
    centres = [(0, 0), (0, 32), (20, 20), (40, 50), (63, 15)]
    v = np.stack([discs(centres), discs(centres[:2]), np.zeros((64, 64))])
    assert components(v).tolist() == [5, 2, 0]
    assert euler(v).tolist() == [5, 2, 0]


def test_holes_count_against_pieces_and_bands_around_the_torus_count_nothing() -> None:
    holes = 1 - discs([(10, 10), (40, 40), (10, 50)])
    assert (int(components(holes)), int(euler(holes))) == (1, -3)
    stripes = wave(0, 8)
    assert (int(components(stripes)), int(euler(stripes))) == (8, 0)


def test_the_shape_tells_spots_stripes_and_holes_whatever_their_scale() -> None:
    x = 2 * np.pi * np.arange(128) / 128
    for n in (4, 8):
        # three waves at 120 degrees, as nearly as the torus has them
        a, b, c = (
            np.cos(i * x[:, None] + j * x) for i, j in ((0, 2 * n), (round(n * 3**0.5), n), (round(n * 3**0.5), -n))
        )
        spots = a + b + c
        assert shape(spots) == pytest.approx(3**0.5 / 2, abs=0.06)
        assert shape(-spots) == pytest.approx(-(3**0.5) / 2, abs=0.06)
        assert shape(a) == 0


def test_measures_do_not_see_where_a_pattern_lies() -> None:
    v = discs([(8, 8), (24, 40), (50, 20), (40, 60)]) + 0.1 * wave(0, 8, 64)
    moved = np.roll(v, (13, 29), (0, 1))
    assert distance(v, moved) == pytest.approx([0, 0, 0], abs=1e-12)


def test_transport_is_a_distance_of_values_alone() -> None:
    generator = np.random.default_rng(0)
    u, v, w = generator.random((3, 16, 16))
    assert transport(u, generator.permuted(u.ravel()).reshape(16, 16)) == 0
    assert transport(u, v) == transport(v, u) > 0
    assert transport(u, w) <= transport(u, v) + transport(v, w)
    assert transport(u, u + 0.25) == pytest.approx(0.25)


def test_states_without_a_pattern_have_no_wavelength_and_are_alike_in_it() -> None:
    flat, other, striped = np.full((64, 64), 0.3), np.full((64, 64), 0.1), wave(0, 8, 64)
    assert np.isnan(wavelength(flat))
    assert np.isnan(shape(flat))
    assert distance(flat, other) == pytest.approx([0.2, 0, 0])
    assert np.isnan(distance(flat, striped)).tolist() == [False, True, True]


def test_distances_go_over_batches_and_are_told_in_units_of_the_spread() -> None:
    samples = np.stack([wave(0, 8), wave(0, 9), wave(0, 10)])
    apart = distance(samples[:, None], samples)
    assert apart.shape == (3, 3, 3)
    np.testing.assert_allclose(apart, apart.swapaxes(0, 1), atol=1e-12)
    assert spread(samples) == pytest.approx(apart.sum(axis=(0, 1)) / 6)
