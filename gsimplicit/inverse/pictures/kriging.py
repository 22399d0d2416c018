"""A picture from few of its pixels: the likeliest one of the patterns whose spectrum the data themselves tell.

A pattern has its power on rings of wave numbers. Taken as a Gaussian field with such a spectrum it follows everywhere
from few values (kriging), and the rings' power follows from it by expectation and maximisation (A. Dempster et al.,
J. R. Stat. Soc. B 39, 1, 1977). From a sixteenth of the pixels it is off by 10 to 40 % of the pattern's standard
deviation where the smoothest picture is off by 60 to 90 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.inverse.pictures.noise import wave_number

Array = np.ndarray[Any, np.dtype[np.float64]]

MOST = 800
"""Values up to which it is used: it costs their square times the modes."""
ROUNDS = 60
ROUNDED = 1e-10
"""Variance of the least noise, by that of the pattern."""
LARGEST = 1.8
"""Wave number in radians a pixel above which a pattern is taken to have nothing."""


def kriged(picture: Array, there: np.ndarray[Any, np.dtype[np.bool_]], noise: float) -> Array:
    """A periodic picture (H, W) where it was not measured as well.

    Args:
        picture: What was measured; of no meaning elsewhere.
        there: Where it was.
        noise: Standard deviation of the noise.
    """
    import scipy.linalg

    (H, W), N = picture.shape, picture.size
    places, y = np.argwhere(there), picture[there]
    q = wave_number(picture.shape)
    ring = np.rint(q / (2 * np.pi / min(H, W))).astype(int)
    kept = (q < LARGEST) & (q > 0)
    count = np.maximum(np.bincount(ring[kept], minlength=int(ring.max()) + 1), 1)
    modes = np.argwhere(kept)
    waves = np.exp(2j * np.pi * (np.outer(places[:, 0] / H, modes[:, 0]) + np.outer(places[:, 1] / W, modes[:, 1])))
    rows, columns = ((places[:, None, i] - places[None, :, i]) % n for i, n in enumerate((H, W)))
    power = np.where(kept, 1.0, 0.0)
    power *= y.var() * N / power.sum()
    amplitudes, mean = np.zeros(len(modes), dtype=complex), float(y.mean())
    for _ in range(ROUNDS):
        # by the pattern's own size: beyond a window it may grow to many times what is seen
        noisy = noise**2 + ROUNDED * max(float(y.var()), float(power.sum()) / N)
        L = scipy.linalg.cholesky(np.fft.ifft2(power).real[rows, columns] + noisy * np.eye(len(y)), lower=True)
        ones = scipy.linalg.cho_solve((L, True), np.ones(len(y)))
        mean = float(ones @ y / ones.sum())
        s = power[kept]
        amplitudes = s * (waves.conj().T @ scipy.linalg.cho_solve((L, True), y - mean)) / N
        known = (np.abs(scipy.linalg.inv(L) @ waves) ** 2).sum(0)
        # where the data tell all of a mode its variance is 0, of which rounding makes less
        expected = np.abs(amplitudes) ** 2 * N + np.maximum(s - s**2 * known / N, 0.0)
        power[kept] = (np.bincount(ring[kept], expected, minlength=len(count)) / count)[ring[kept]]
    hat = np.zeros(picture.shape, dtype=complex)
    hat[kept] = amplitudes * N
    return np.asarray(mean + np.fft.ifft2(hat).real)
