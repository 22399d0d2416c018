"""Losses between log power spectra of v: the whole field's, and that of 16 x 16 windows."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch

from gsimplicit.arrays import real_fields
from gsimplicit.surroundings import own_surroundings

V: TypeAlias = torch.Tensor | np.ndarray[Any, Any]
"""Concentrations v: a tensor, which stays attached to autograd, or a numpy array of floats."""

EPSILON = 1e-8
"""Floor inside the logarithm (arXiv 2606.11258, eq. 5; value from its published code)."""

WINDOW = 16
"""Side of a window in pixels (arXiv 2606.11258, section 2.1)."""


@own_surroundings
def log_spectrum(v: V) -> torch.Tensor:
    """Logarithm of the 2D power spectrum, zero frequency in the middle (arXiv 2606.11258, eq. 5 and 6).

    `S = log(fftshift(|FFT(v - mean v)|^2 + 1e-8))` with the unnormalised transform.

    Args:
        v: Shape (..., H, W), a tensor or numpy array of floats. Computed in float64.

    Returns:
        Shape (..., H, W), dimensionless. An exactly uniform v gives log(1e-8) = -18.4 in every bin.

    Raises:
        ValueError: It has no H and W, or is masked.
        TypeError: It holds no floats.

    Examples:
        >>> import torch
        >>> from gsimplicit.losses import log_spectrum
        >>> log_spectrum(torch.ones(4, 4)).unique().item()
        -18.4
    """
    return _spectrum(_centred(_given("v", v)))


@own_surroundings
def windowed_log_spectrum(v: V) -> torch.Tensor:
    """The same in each 16 x 16 window, put back side by side; the mean is removed over the whole field.

    Args:
        v: Shape (..., H, W), H and W multiples of 16.

    Returns:
        Shape (..., H, W), dimensionless.

    Raises:
        ValueError: The grid is no multiple of the window, or v is masked.
        TypeError: It holds no floats.

    Examples:
        >>> import torch
        >>> from gsimplicit.losses import windowed_log_spectrum
        >>> windowed_log_spectrum(torch.rand(2, 32, 48)).shape
        torch.Size([2, 32, 48])
    """
    return _windowed(_given("v", v))


def _windowed(v: torch.Tensor) -> torch.Tensor:
    """The same of a tensor that was looked at."""
    H, W = v.shape[-2:]
    if H % WINDOW or W % WINDOW:
        raise ValueError(f"the windowed loss needs H and W to be multiples of {WINDOW}, got a grid of {H} x {W}")
    windows = _centred(v).reshape(*v.shape[:-2], H // WINDOW, WINDOW, W // WINDOW, WINDOW)
    return _spectrum(windows.transpose(-2, -3)).transpose(-2, -3).reshape(v.shape)


@own_surroundings
def spectrum_loss(v: V, target: V) -> torch.Tensor:
    """Mean squared difference of the log power spectra of v and a target (arXiv 2606.11258, section 2.1).

    Invariant to translations of either. It is rough: bins whose amplitude passes through zero dominate its curvature,
    so central differences of it need steps of 1e-7 or less.

    Args:
        v: Shape (B, H, W).
        target: The target's v, shape (B, H, W) or (1, H, W).

    Returns:
        Shape (B,), float64, >= 0.

    Raises:
        ValueError: The shapes do not pair, or an array is masked.
        TypeError: One holds no floats.

    Example:
        >>> import torch
        >>> from gsimplicit.losses import spectrum_loss
        >>> v = torch.rand(2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> spectrum_loss(v, v).tolist()
        [0.0, 0.0]
    """
    v, target = _checked(v, target)
    return _mean_square(_spectrum(_centred(v)), _spectrum(_centred(target)))


@own_surroundings
def windowed_loss(v: V, target: V) -> torch.Tensor:
    """Mean squared difference of the windowed log power spectra of v and a target; not invariant to translations.

    Args:
        v: Shape (B, H, W), H and W multiples of 16.
        target: The target's v, shape (B, H, W) or (1, H, W).

    Returns:
        Shape (B,), float64, >= 0.

    Raises:
        ValueError: The grid is no multiple of the window, the shapes do not pair, or an array is masked.
        TypeError: One holds no floats.

    Examples:
        >>> import torch
        >>> import gsimplicit as gs
        >>> v = torch.rand(1, 32, 32)
        >>> gs.windowed_loss(v, v).item(), bool(gs.windowed_loss(v.roll(3, -1), v) > 0)
        (0.0, True)
    """
    v, target = _checked(v, target)
    return _mean_square(_windowed(v), _windowed(target))


def _given(name: str, value: V) -> torch.Tensor:
    """V as float64 of shape (..., H, W), attached as it was and where it was."""
    v = real_fields(name, value)
    if v.ndim < 2 or not v.numel():
        raise ValueError(f"{name} must have shape (..., H, W) with at least one value, got {tuple(v.shape)}")
    return v


def _checked(v: V, target: V) -> tuple[torch.Tensor, torch.Tensor]:
    """V and target as tensors, or a clear error where they do not pair."""
    v, target = real_fields("v", v), real_fields("target", target)
    for name, value in (("v", v), ("target", target)):
        if not value.numel():
            raise ValueError(f"{name} must have shape (..., H, W) with at least one value, got {tuple(value.shape)}")
    if v.ndim != 3 or target.ndim != 3 or target.shape[1:] != v.shape[1:] or len(target) not in (1, len(v)):
        raise ValueError(
            f"target must be of v's own shape (B, H, W), or (1, H, W): v is {tuple(v.shape)}, got {tuple(target.shape)}"
        )
    return v, target.to(v.device)


def _centred(v: torch.Tensor) -> torch.Tensor:
    return v - v.mean(dim=(-2, -1), keepdim=True)


def _spectrum(v: torch.Tensor) -> torch.Tensor:
    hat = torch.fft.fft2(v)
    return torch.log(torch.fft.fftshift(hat.real**2 + hat.imag**2 + EPSILON, dim=(-2, -1)))


def _mean_square(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((a - b) ** 2).mean(dim=(-2, -1))


class Spectrum:
    """The loss "spectrum": mean squared difference of log power spectra, see `spectrum_loss`."""

    name: ClassVar[str] = "spectrum"
    invariant: ClassVar[bool] = True

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Log power spectrum, shape (B, H, W)."""
        return _spectrum(_centred(_given("v", v)))

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Mean squared difference, shape (B,)."""
        return _mean_square(a, b)


class Windowed:
    """The loss "windowed": the same in 16 x 16 windows, see `windowed_loss`."""

    name: ClassVar[str] = "windowed"
    invariant: ClassVar[bool] = False

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Windowed log power spectra side by side, shape (B, H, W)."""
        return _windowed(_given("v", v))

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Mean squared difference, shape (B,)."""
        return _mean_square(a, b)
