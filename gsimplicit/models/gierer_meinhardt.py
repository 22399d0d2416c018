"""Gierer and Meinhardt's activator a and inhibitor h (Kybernetik 12, 30, 1972), in the form of Murray's book."""

from __future__ import annotations

from typing import Any

from gsimplicit.models.model import Model


def reaction(a: Any, h: Any, s: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """`(s - b a + a^2 / h, a^2 - c h)`."""
    square = a * a
    return s - b * a + square / h, square - c * h


def uniform(s: float, b: float, c: float) -> list[tuple[float, float]]:
    """The only uniform state, `a = (s + c) / b`, `h = a^2 / c`."""
    if not (b and c):
        return []
    a = (s + c) / b
    return [(a, a * a / c)]


gierer_meinhardt = Model(
    name="gierer_meinhardt",
    species=("a", "h"),
    diffusivity=("Da", "Dh"),
    rates=("s", "b", "c"),
    reaction=reaction,
    observed="a",
    rest=lambda s, b, c: ((s + c) / b, (s + c) * (s + c) / (b * b * c)),
    presets={
        # s and b inside the Turing domain of Murray, Mathematical Biology II (2003), section 2.4
        "spots": (0.5, 15.0, 0.4, 1.0, 1.0),
    },
    ranges={name: (0.0, float("inf")) for name in ("s", "b", "c")},
    bounds=((1e-3, float("inf")), (1e-3, float("inf"))),  # the reaction divides by h
    words={
        "a": "activator",
        "h": "inhibitor",
        "s": "supply of the activator",
        "b": "decay of the activator",
        "c": "decay of the inhibitor",
    },
    uniform=uniform,
    equations="da/dt = Da Lap(a) + s - b a + a^2 / h; dh/dt = Dh Lap(h) + a^2 - c h",
    source="Gierer and Meinhardt, Kybernetik 12, 30 (1972)",
)
