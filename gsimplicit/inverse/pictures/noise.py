"""Noise of a picture: how much there is, and what the picture is without it."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

CORNER = 3.4
"""Wave number above which a pattern has next to nothing of its own: the corners of the square of modes."""


def wave_number(shape: tuple[int, ...]) -> Array:
    """Size of the wave vector of every mode, radians a pixel, shape (H, W)."""
    qy, qx = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.asarray(np.hypot(qy, qx))


def smoothed(fields: Array, width: float) -> Array:
    """Fields (..., H, W) through a Gauss filter of a width in pixels; 0 is none."""
    if not width:
        return fields
    share = np.exp(-0.5 * (width * wave_number(fields.shape[-2:])) ** 2)
    return np.asarray(np.fft.ifft2(np.fft.fft2(fields) * share).real)


def noise_of(picture: Array) -> float:
    """Standard deviation of white noise on a periodic picture (H, W), from the corner of its spectrum.

    Examples:
        >>> import numpy as np
        >>> from gsimplicit.inverse.pictures.noise import noise_of
        >>> x = np.sin(2 * np.pi * np.arange(64) / 16)[:, None] * np.ones(64)
        >>> round(noise_of(x + 0.01 * np.random.default_rng(0).standard_normal((64, 64))), 3)
        0.01
    """
    power = np.abs(np.fft.fft2(picture)) ** 2 / picture.size
    return float(np.sqrt(power[wave_number(picture.shape) > CORNER].mean()))


def denoised(picture: Array, noise: float) -> Array:
    """A periodic picture (H, W) by a Wiener filter: each mode by its share of signal, from its neighbours in the plane.

    The power of a mode's signal is that of the 3 x 3 modes around it less the noise's, and nothing where the ring of
    its wave number has none.
    """
    hat = np.fft.fft2(picture)
    power = np.abs(hat) ** 2 / picture.size
    ring = np.rint(wave_number(picture.shape) / (2 * np.pi / min(picture.shape))).astype(int)
    count = np.bincount(ring.ravel())
    radial = (np.bincount(ring.ravel(), power.ravel()) / count)[ring] - noise**2
    near = sum(np.roll(power, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9 - noise**2
    signal = np.maximum(near, 0) * (radial > 0.5 * noise**2 * np.sqrt(9 / np.maximum(count[ring], 9)))
    share = signal / (signal + max(noise**2, 1e-300))
    share[0, 0] = 1.0
    return np.asarray(np.fft.ifft2(hat * share).real)


def filled(picture: Array, there: np.ndarray[Any, np.dtype[np.bool_]], noise: float) -> Array:
    """A periodic picture (H, W) where it was not measured as well: the smoothest one that is within the noise.

    Minimises the squared Laplacian beside the squared deviations; the weight between them is raised until the
    deviations are as large as the noise, in half decades. Within its data it is smoothed, so it needs no filter.

    Args:
        picture: What was measured; of no meaning elsewhere.
        there: Where it was.
        noise: Standard deviation of the noise; 0 keeps the data as they are, up to rounding.
    """
    values = np.where(there, picture, 0.0)
    mean = float(picture[there].mean())
    bending = (2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(len(picture))))[:, None] + (
        2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(picture.shape[1]))
    )

    def bent(x: Array) -> Array:
        return np.asarray(np.fft.ifft2(np.fft.fft2(x) * bending**2).real)

    best = np.full_like(values, mean)
    for weight in 10.0 ** np.arange(-4, 2.6, 0.5):
        found = _conjugate(lambda x, w=weight: there * x + w * bent(x), values, best)
        if weight > 1e-4 and float(np.sqrt(((found - picture)[there] ** 2).mean())) > noise:
            break
        best = found
    return best


def _conjugate(operator: Any, b: Array, start: Array, steps: int = 300) -> Array:
    """Conjugate gradients for a symmetric operator on pictures, to 1e-6."""
    x = start.copy()
    r = b - operator(x)
    p, rr, first = r, float((r * r).sum()), max(float((b * b).sum()), 1e-300)
    for _ in range(steps):
        if rr <= 1e-12 * first:
            break
        Ap = operator(p)
        a = rr / float((p * Ap).sum())
        x, r = x + a * p, r - a * Ap
        rr, old = float((r * r).sum()), rr
        p = r + rr / old * p
    return x
