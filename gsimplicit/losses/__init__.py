"""Losses: pure functions of v (or, for the residual loss, of parameters and fields), one value an instance."""

from gsimplicit.losses.gram import Gram
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
from gsimplicit.losses.weights import WeightsWarning

LOSSES: dict[str, FeatureLoss] = {"spectrum": Spectrum(), "windowed": Windowed(), "gram": Gram()}
"""Losses of a state by name: the only list of them."""


def settled(loss: FeatureLoss) -> FeatureLoss:
    """The loss; one that reads a file with the file's place and digest, so that it is the same one from then on."""
    return loss.settled() if isinstance(loss, Gram) else loss


__all__ = [
    "LOSSES",
    "FeatureLoss",
    "Gram",
    "WeightsWarning",
    "log_spectrum",
    "residual_loss",
    "spectrum_loss",
    "windowed_log_spectrum",
    "windowed_loss",
]
