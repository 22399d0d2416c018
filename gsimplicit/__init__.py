"""Differentiate through steady states of reaction-diffusion systems, Gray-Scott first, by several routes side by side.

Find a steady state and learn how good it is (`steady_state`), take the gradient of any loss of it by any route
(`grad`, `solve`), and scan landscapes of losses and gradients into labelled NetCDF files (`scan`).
"""

from gsimplicit import forking as forking  # first: see its end
from gsimplicit import models
from gsimplicit.descent.descend import descend
from gsimplicit.descent.safeguards import Safeguards
from gsimplicit.initial import Box, initial_state
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.inversion import Inversion, NotRecovered
from gsimplicit.inverse.invert import invert
from gsimplicit.landscape.fill import partial_scan
from gsimplicit.landscape.kept import with_losses
from gsimplicit.landscape.recipe import scan_arguments
from gsimplicit.landscape.refusals import StoreLockedError, StoreMismatchError
from gsimplicit.landscape.scan import scan
from gsimplicit.landscape.store import StoreWarning
from gsimplicit.landscape.surrogate import train_surrogate
from gsimplicit.losses import residual_loss, spectrum_loss, windowed_loss
from gsimplicit.models.gray_scott import Params
from gsimplicit.models.model import Model
from gsimplicit.models.stability import StabilityWarning, UnitsWarning
from gsimplicit.refine import Direct, Gmres, LinearSolver, Refine
from gsimplicit.results import (
    Certificate,
    Gradient,
    Kind,
    Motion,
    NotSteady,
    ParameterGradient,
    PositionWarning,
    Stable,
    Status,
    SteadyState,
)
from gsimplicit.routes.compare import Reason, compare
from gsimplicit.routes.gradient import grad
from gsimplicit.routes.sensitivity import hessian, marched_derivatives, root_derivatives
from gsimplicit.routes.solving import solve
from gsimplicit.steady import steady_state
from gsimplicit.version import __version__

__all__ = [
    "Box",
    "Certificate",
    "Direct",
    "Gmres",
    "Gradient",
    "Inversion",
    "Kind",
    "LinearSolver",
    "Model",
    "Motion",
    "NotRecovered",
    "NotSteady",
    "ParameterGradient",
    "Params",
    "PositionWarning",
    "Reason",
    "Recovery",
    "Refine",
    "Safeguards",
    "StabilityWarning",
    "Stable",
    "Status",
    "SteadyState",
    "StoreLockedError",
    "StoreMismatchError",
    "StoreWarning",
    "UnitsWarning",
    "__version__",
    "compare",
    "descend",
    "grad",
    "hessian",
    "initial_state",
    "invert",
    "marched_derivatives",
    "models",
    "partial_scan",
    "residual_loss",
    "root_derivatives",
    "scan",
    "scan_arguments",
    "solve",
    "spectrum_loss",
    "steady_state",
    "train_surrogate",
    "windowed_loss",
    "with_losses",
]
