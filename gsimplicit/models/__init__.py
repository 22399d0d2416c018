"""Reaction-diffusion models: one file a model, and what follows from a reaction by differentiation."""

from gsimplicit.models.brusselator import brusselator
from gsimplicit.models.fitzhugh_nagumo import fitzhugh_nagumo
from gsimplicit.models.gierer_meinhardt import gierer_meinhardt
from gsimplicit.models.gray_scott import gray_scott
from gsimplicit.models.model import Model
from gsimplicit.models.params import ModelParams
from gsimplicit.models.schnakenberg import schnakenberg

__all__ = ["Model", "ModelParams", "brusselator", "fitzhugh_nagumo", "gierer_meinhardt", "gray_scott", "schnakenberg"]
