"""FitzHugh and Nagumo's model with two diffusing species, in the form of Hagberg and Meron. Its fields are signed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.models.model import Model


def reaction(u: Any, v: Any, epsilon: Any, a1: Any, a0: Any) -> tuple[Any, Any]:
    """`(u - u^3 - v, epsilon (u - a1 v - a0))`."""
    return u - u * u * u - v, epsilon * (u - a1 * v - a0)


def uniform(epsilon: float, a1: float, a0: float) -> list[tuple[float, float]]:
    """One or three uniform states: `u^3 + (1 / a1 - 1) u = a0 / a1`, `v = u - u^3`, by rising u."""
    if not epsilon:
        return []
    if not a1:
        return [(a0, a0 - a0**3)]
    roots = np.roots([1.0, 0.0, 1 / a1 - 1, -a0 / a1])
    real = sorted(float(r.real) for r in roots if abs(r.imag) < 1e-9 * max(1.0, abs(r)))
    return [(u, u - u**3) for u in real]


fitzhugh_nagumo = Model(
    name="fitzhugh_nagumo",
    species=("u", "v"),
    diffusivity=("Du", "Dv"),
    rates=("epsilon", "a1", "a0"),
    reaction=reaction,
    rest=(0.0, 0.0),
    presets={
        # inside the Turing domain: u = v = 0 is stable without diffusion
        "stripes": (0.25, 5.0, 4.0, 0.5, 0.0),
        # Hagberg and Meron, Phys. Rev. Lett. 72, 2494 (1994): labyrinths from fronts between two stable states
        "labyrinth": (0.5, 1.0, 0.3, 1.4, 0.0),
    },
    words={
        "u": "activator",
        "v": "inhibitor",
        "epsilon": "ratio of time scales",
        "a1": "decay of the inhibitor",
        "a0": "excitation",
    },
    uniform=uniform,
    equations="du/dt = Du Lap(u) + u - u^3 - v; dv/dt = Dv Lap(v) + epsilon (u - a1 v - a0)",
    source="FitzHugh, Biophys. J. 1, 445 (1961); Hagberg and Meron, Phys. Rev. Lett. 72, 2494 (1994)",
)
