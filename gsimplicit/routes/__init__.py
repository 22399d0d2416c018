"""Gradient routes: one file a route behind one small contract, and `grad` and `solve` in front of them."""

from gsimplicit.routes.deq import Deq
from gsimplicit.routes.finite_difference import FiniteDifference
from gsimplicit.routes.gradient import grad
from gsimplicit.routes.implicit import Implicit
from gsimplicit.routes.route import Derivatives, Problem, Route, cotangents
from gsimplicit.routes.solving import solve
from gsimplicit.routes.surrogate import Surrogate
from gsimplicit.routes.tangent import Tangent
from gsimplicit.routes.truncated import Truncated
from gsimplicit.routes.unrolled import Unrolled

Pulled = Derivatives
"""What `Derivatives` was called up to version 0.1: users' own routes have it."""

__all__ = [
    "Deq",
    "Derivatives",
    "FiniteDifference",
    "Implicit",
    "Problem",
    "Pulled",
    "Route",
    "Surrogate",
    "Tangent",
    "Truncated",
    "Unrolled",
    "cotangents",
    "grad",
    "solve",
]
