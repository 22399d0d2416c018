"""Methods of `invert`, one file each. What they compute with is imported where they are called: it costs a second."""

from gsimplicit.inverse.method import Method, Question
from gsimplicit.inverse.methods.network import Network
from gsimplicit.inverse.methods.one_shot import OneShot

METHODS: dict[str, type[Method]] = {OneShot.name: OneShot, Network.name: Network}
"""Methods by name, each with its default settings."""

__all__ = ["METHODS", "Method", "Network", "OneShot", "Question"]
