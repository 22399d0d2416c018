"""Losses: pure functions of v (or, for the residual loss, of parameters and fields), one value an instance."""

from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.losses.residual import residual_loss
from gsimplicit.losses.spectrum import (
    Spectrum,
    Windowed,
    log_spectrum,
    spectrum_loss,
    windowed_log_spectrum,
    windowed_loss,
)

LOSSES: dict[str, FeatureLoss] = {"spectrum": Spectrum(), "windowed": Windowed()}
"""Losses of a state by name: the only list of them."""

__all__ = [
    "LOSSES",
    "FeatureLoss",
    "log_spectrum",
    "residual_loss",
    "spectrum_loss",
    "windowed_log_spectrum",
    "windowed_loss",
]
