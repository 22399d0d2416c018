"""Methods of `invert`, one file each. What they compute with is imported where they are called: it costs a second."""

from gsimplicit.inverse.method import Method, Question
from gsimplicit.inverse.methods.descend import Descend
from gsimplicit.inverse.methods.followed import Followed
from gsimplicit.inverse.methods.linear import Linear
from gsimplicit.inverse.methods.network import Network
from gsimplicit.inverse.methods.one_shot import OneShot
from gsimplicit.inverse.methods.variable_projection import VariableProjection
from gsimplicit.inverse.methods.weak import Weak
from gsimplicit.inverse.network.state import Ended
from gsimplicit.inverse.network.trained import Trained

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (OneShot, VariableProjection, Linear, Weak, Followed, Descend, Network)
}
"""Methods by name, each with its default settings."""

__all__ = [
    "METHODS",
    "Descend",
    "Ended",
    "Followed",
    "Linear",
    "Method",
    "Network",
    "OneShot",
    "Question",
    "Trained",
    "VariableProjection",
    "Weak",
]
