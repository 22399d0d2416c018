"""The Brusselator (Prigogine and Lefever, J. Chem. Phys. 48, 1695, 1968)."""

from __future__ import annotations

from typing import Any

from gsimplicit.models.model import Model


def reaction(u: Any, v: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """`(a - (b + 1) u + u^2 v, b u - u^2 v)`."""
    gain = u * u * v
    return a - (b + 1) * u + gain, b * u - gain


def uniform(a: float, b: float) -> list[tuple[float, float]]:
    """The only uniform state, `u = a`, `v = b / a`; none where a = 0."""
    return [(a, b / a)] if a else []


brusselator = Model(
    name="brusselator",
    species=("u", "v"),
    diffusivity=("Du", "Dv"),
    rates=("a", "b"),
    reaction=reaction,
    rest=lambda a, b: (a, b / a),
    presets={
        # a and the ratio of diffusion of Pena and Perez-Garcia, Phys. Rev. E 64, 056213 (2001): onset at b = 6.71
        "hexagons": (2.0, 16.0, 4.5, 7.0),
    },
    ranges={"a": (0.0, float("inf")), "b": (0.0, float("inf"))},
    bounds=((0.0, float("inf")), (0.0, float("inf"))),
    words={"u": "activator", "v": "inhibitor", "a": "supply of the activator", "b": "conversion of u into v"},
    uniform=uniform,
    equations="du/dt = Du Lap(u) + a - (b + 1) u + u^2 v; dv/dt = Dv Lap(v) + b u - u^2 v",
    source="Prigogine and Lefever, J. Chem. Phys. 48, 1695 (1968)",
)
