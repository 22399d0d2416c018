"""Parameters from pictures of steady states, and descent by any route."""

from gsimplicit.inverse.record import Outcome
from gsimplicit.inverse.safeguards import Safeguards

__all__ = ["Outcome", "Safeguards"]
