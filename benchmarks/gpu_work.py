"""Parameters and fields that are stepped on a GPU, and how far two results are apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.models import ModelParams

MODELS = {"gray_scott": ("paper", 1.0), "schnakenberg": ("hexagons", 0.02), "gierer_meinhardt": ("spots", 0.01)}
"""Preset and length of a step."""


def fields_of(name: str, params: ModelParams, grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Fields of different noise, one a parameter instance, float64."""
    if name == "gray_scott":
        return gs.initial_state(count=len(params), grid=grid, box=gs.Box(half=max(grid[0] // 8, 1)), seed=seed)
    return gs.initial_state(count=len(params), grid=grid, model=params[0], seed=seed)


def some(name: str, count: int) -> ModelParams:
    """Instances around a preset, one a field."""
    model = getattr(gs.models, name)
    preset = model.preset(MODELS[name][0])
    noise = np.random.default_rng(1).uniform(0.97, 1.0, (count, len(model.parameters)))
    values = preset.tensor()[0].numpy() * noise
    return model.params(**dict(zip(model.parameters, values.T.copy(), strict=True)))  # type: ignore[no-any-return]


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference over the largest entry."""
    b = b.double()
    return float((a.cpu().double() - b).abs().max() / b.abs().max())


def repeated(params: ModelParams, many: int) -> ModelParams:
    """All instances several times."""
    return params[[i for _ in range(many) for i in range(len(params))]]


@contextmanager
def replaced(where: Any, name: str, by: Any) -> Iterator[None]:
    """Another value of an attribute, for what runs inside."""
    before = getattr(where, name)
    setattr(where, name, by)
    try:
        yield
    finally:
        setattr(where, name, before)
