"""What comes back: outcomes, steady states, gradients with their certificates. Pickles know these names here."""

from gsimplicit.results.gradient import Certificate, Gradient, ParameterGradient, PositionWarning
from gsimplicit.results.outcomes import Kind, Motion, Stable, Status
from gsimplicit.results.state import NotSteady, SteadyState, concatenate, copied

__all__ = [
    "Certificate",
    "Gradient",
    "Kind",
    "Motion",
    "NotSteady",
    "ParameterGradient",
    "PositionWarning",
    "Stable",
    "Status",
    "SteadyState",
    "concatenate",
    "copied",
]
