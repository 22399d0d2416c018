"""Schnakenberg's model: an activator u that consumes a substrate v (J. Theor. Biol. 81, 389, 1979)."""

from __future__ import annotations

from typing import Any

from gsimplicit.models.model import Model


def reaction(u: Any, v: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """`(a - u + u^2 v, b - u^2 v)`."""
    gain = u * u * v
    return a - u + gain, b - gain


def uniform(a: float, b: float) -> list[tuple[float, float]]:
    """The only uniform state, `u = a + b`, `v = b / (a + b)^2`; none where a + b = 0."""
    return [(a + b, b / (a + b) ** 2)] if a + b else []


schnakenberg = Model(
    name="schnakenberg",
    species=("u", "v"),
    diffusivity=("Du", "Dv"),
    rates=("a", "b"),
    reaction=reaction,
    rest=lambda a, b: (a + b, b / (a + b) ** 2),
    presets={
        # kinetics and ratio of diffusion of Dufiet and Boissonade, J. Chem. Phys. 96, 664 (1992)
        "hexagons": (0.5, 10.0, 0.14, 1.34),
        "stripes": (0.5, 10.0, 0.07, 1.61),
    },
    ranges={"a": (0.0, float("inf")), "b": (0.0, float("inf"))},
    bounds=((0.0, float("inf")), (0.0, float("inf"))),
    words={"u": "activator", "v": "substrate", "a": "supply of the activator", "b": "supply of the substrate"},
    uniform=uniform,
    equations="du/dt = Du Lap(u) + a - u + u^2 v; dv/dt = Dv Lap(v) + b - u^2 v",
    source="Schnakenberg, J. Theor. Biol. 81, 389 (1979)",
)
