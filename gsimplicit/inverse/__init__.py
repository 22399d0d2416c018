"""Parameters from pictures of steady states."""

from gsimplicit.inverse.answer import Recovery
from gsimplicit.inverse.inversion import Inversion, NotRecovered
from gsimplicit.inverse.invert import invert

__all__ = ["Inversion", "NotRecovered", "Recovery", "invert"]
