"""Descent on the parameters by any route, with every step kept."""

from gsimplicit.descent.record import Outcome
from gsimplicit.descent.safeguards import Safeguards

__all__ = ["Outcome", "Safeguards"]
