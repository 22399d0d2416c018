"""Losses: pure functions of v (or, for the residual loss, of parameters and fields), one value an instance."""

from gsimplicit.losses.residual import residual_loss
from gsimplicit.losses.spectrum import log_spectrum, spectrum_loss, windowed_log_spectrum, windowed_loss

__all__ = ["log_spectrum", "residual_loss", "spectrum_loss", "windowed_log_spectrum", "windowed_loss"]
