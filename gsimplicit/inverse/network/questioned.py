"""What is trained for a question and settings: the same for every representation."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import fields as fields_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import provenance
from gsimplicit.descent.reparametrisation import as_bounds
from gsimplicit.identity import content
from gsimplicit.inverse.network.objective import Objective, linear
from gsimplicit.inverse.network.representation import Perceptron, Pixels, Representation, Size, Smooth
from gsimplicit.inverse.network.state import End, State
from gsimplicit.inverse.network.training import MARGIN, Plan, Training
from gsimplicit.inverse.starts.starts import Search

if TYPE_CHECKING:
    from gsimplicit.inverse.method import Question
    from gsimplicit.inverse.methods.network import Network

HIDDEN = (0.5, 0.25)
"""Offset and spread of a species that was not seen, by the model's scale."""
PARAMETER_RATE = 1e-2
"""Adam's rate for raw parameters."""
VERSION = 3
"""Of the training: raised where its numbers change, so that no state of an older one is gone on from."""


def training(settings: Network, question: Question) -> tuple[Training, State]:
    """What is trained, and the state it begins in."""
    from gsimplicit.inverse.methods.network import RATES

    model, wanted = question.model, question.wanted
    picture, there = question.pictures.values[0], question.pictures.there[0]
    offset, spread = sized(picture, there, model.scale)
    size = Size(picture.shape[1:], torch.from_numpy(offset), torch.from_numpy(spread))
    free = [model.parameters.index(n) for n in wanted.free]
    around = wanted.start if wanted.start is not None else Search.of(model, wanted.ranges).middle()
    values = torch.from_numpy(np.asarray(around, dtype=np.float64).copy())
    objective = Objective(
        model, torch.from_numpy(picture.copy()), torch.from_numpy(there.copy()), size.spread, settings.weight, values,
        free, linear(model, free),
    )  # fmt: skip
    raw = as_bounds(model, wanted.free, None)
    for j, low, high in zip(free, raw.low, raw.high, strict=True):
        values[j] = values[j].clamp(low + MARGIN, high - MARGIN)
    rate = RATES[settings.fields] if settings.rate is None else settings.rate
    closed = settings.parameters == "closed form"
    plan = Plan(closed, settings.adam, settings.lbfgs, rate, PARAMETER_RATE, settings.seconds, dtype=settings.dtype)
    digest = digest_of(settings, question, values)
    store = None if settings.store is None else _folder(settings.store) / f"{digest[:16]}.pt"
    one = Training(representation(settings, size), objective, raw, plan, store, digest)
    return one, one.start(values, settings.seed)


def trained(settings: Network, question: Question) -> End:
    """Where the training of a question ends, whatever it is worth."""
    one, begin = training(settings, question)
    return one.run(begin)


def _folder(store: str | os.PathLike[str]) -> Path:
    """The folder of a store, made before any work."""
    try:
        Path(store).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"store must be a folder, or one that can be made, got {store}: {error}") from error
    return Path(store)


def sized(picture: Any, there: Any, scale: float) -> tuple[Any, Any]:
    """Mean and standard deviation of what was seen of each species, each (S,); rough guesses for the others."""
    seen = there.any(axis=(1, 2))
    offset, spread = (np.full(len(picture), share * scale) for share in HIDDEN)
    for i in np.flatnonzero(seen):
        offset[i], spread[i] = picture[i][there[i]].mean(), picture[i][there[i]].std()
    return offset, spread


def representation(settings: Network, size: Size) -> Representation:
    """What stands for the fields."""
    if settings.fields == "pixels":
        return Pixels(size)
    if settings.fields == "smooth":
        return Smooth(size, settings.reach)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    return Perceptron(size, settings.width, settings.depth, settings.waves, settings.reach, generator)


def digest_of(settings: Network, question: Question, values: torch.Tensor) -> str:
    """Of settings, data, start and the versions of what computes: what decides the numbers."""
    told = {f.name: str(getattr(settings, f.name)) for f in fields_of(settings) if f.name not in ("store", "polish")}
    model = question.model
    code = "" if settings.store is None else content("store", "reaction", model.reaction)  # names do not tell models
    names = [VERSION, model.name, code, list(question.wanted.free), provenance.versions()]
    found = hashlib.sha256(json.dumps([told, names]).encode())
    for array in (question.pictures.values[0], question.pictures.there[0], values.numpy()):
        found.update(np.ascontiguousarray(array).tobytes() + str(array.shape).encode())
    return found.hexdigest()
