"""What a step of each shipped model costs: by our kernels, in hand-written C and in plain torch.

128 x 128 in float32, a preset's parameters, from fields that were marched for a while. All five models are timed in one
process by turns, so that what else the machine does falls on all of them. An operation is an addition, multiplication
or division of a step's formulas; to them come the three additions a species of the neighbour sum.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.marching import KERNELS, reference
from gsimplicit.models import Model, ModelParams

SIDE = 128
NEIGHBOURS = 3
"""Additions of a neighbour sum."""

SETTINGS: dict[str, tuple[str, float, int]] = {
    "gray_scott": ("paper", 1.0, 12),
    "schnakenberg": ("hexagons", 0.02, 0),
    "brusselator": ("hexagons", 0.01, 0),
    "fitzhugh_nagumo": ("stripes", 0.04, 0),
    "gierer_meinhardt": ("spots", 0.01, 0),
}
"""Preset, dt and, where the step is gathered by hand, its operations; in the order of `MODEL` in peer.c."""

POLYNOMIAL = ("schnakenberg", "brusselator", "fitzhugh_nagumo")
"""Models without a division."""

Work = Callable[[], object]


def model_of(name: str) -> Model:
    """The model."""
    found: Model = getattr(gs.models, name)
    return found


def params_of(name: str) -> ModelParams:
    """Its parameters."""
    return model_of(name).preset(SETTINGS[name][0])


def operations(name: str) -> int:
    """Arithmetic operations a pixel and step."""
    model, (_, dt, counted) = model_of(name), SETTINGS[name]
    steps: Any = model.steps(dt)
    return (counted or steps.forward.operations) + NEIGHBOURS * len(model.species)


@cache
def start_of(name: str) -> torch.Tensor:
    """Fields to march from, float32, shape (1, 2, 128, 128)."""
    params = params_of(name)
    start = gs.initial_state(grid=(SIDE, SIDE), model=params)
    return KERNELS.march(params, start, 0.0, 3000, 3000, SETTINGS[name][1]).fields.float()


def quickest(works: Mapping[str, Work], runs: int = 7) -> dict[str, float]:
    """Least CPU seconds of each work, the works by turns, after a run of each that warms up."""
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            begin = time.process_time()
            work()
            seconds[name].append(time.process_time() - begin)
    return {name: min(found) for name, found in seconds.items()}


def models_ours(steps: int = 4000) -> dict[str, float]:
    """Our kernels: nanoseconds a pixel and step, operations, and the price of one against Gray-Scott's."""

    def march(name: str) -> Work:
        params, start, dt = params_of(name), start_of(name), SETTINGS[name][1]
        return lambda: KERNELS.march(params, start, 0.0, steps, steps, dt)

    found = quickest({name: march(name) for name in SETTINGS})
    out = {name: seconds / steps / SIDE**2 * 1e9 for name, seconds in found.items()}
    out |= {f"{name}_operations": float(operations(name)) for name in SETTINGS}
    each = {name: out[name] / operations(name) for name in SETTINGS}
    return out | {f"{name}_operation": price / each["gray_scott"] for name, price in each.items()}


def models_torch(steps: int = 20) -> dict[str, float]:
    """Plain torch: nanoseconds a pixel and step."""

    def march(name: str) -> Work:
        model, values, start, dt = model_of(name), params_of(name).tensor(), start_of(name), SETTINGS[name][1]
        return lambda: reference.march(model, start, values, 0.0, steps, steps, dt)

    found = quickest({name: march(name) for name in SETTINGS}, runs=5)
    return {name: seconds / steps / SIDE**2 * 1e9 for name, seconds in found.items()}


def models_c(steps: int = 4000) -> dict[str, float]:
    """The best of two vector widths and two schedules in C without contraction: nanoseconds a pixel and step."""
    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for name in SETTINGS:
            for size in (32, 64):
                call = _compiled(name, size, Path(folder))
                for how in ((0, 0), (16, 8)):
                    _check(name, call, how)
                    start = start_of(name)[0].numpy().copy()
                    works[f"{name} {size} {how}"] = lambda c=call, h=how, n=name, x=start: c(x, steps, h, _constants(n))
        found = quickest(works)
    return {
        name: min(s for work, s in found.items() if work.startswith(f"{name} ")) / steps / SIDE**2 * 1e9
        for name in SETTINGS
    }


def _compiled(name: str, size: int, folder: Path) -> Callable[..., None]:
    """The C march of a model in vectors of `size` bytes."""
    library = folder / f"{name}{size}.so"
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-Wno-psabi", f"-DBYTES={size}"]
    flags.append(f"-DMODEL={list(SETTINGS).index(name)}")
    source = Path(__file__).with_name("peer.c")
    subprocess.run([os.environ.get("CC", "gcc"), *flags, str(source), "-o", str(library)], check=True)
    march = ctypes.CDLL(str(library)).march

    def call(fields: Any, steps: int, how: tuple[int, int], constants: Any) -> None:
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (fields, constants)]
        march(pointers[0], ctypes.c_int(steps), *map(ctypes.c_int, how), pointers[1])

    return call


def _constants(name: str) -> np.ndarray[Any, Any]:
    """What the C march needs of the parameters, formed in float64 and rounded once."""
    (Du, Dv, *rates), dt = params_of(name).tensor()[0].tolist(), SETTINGS[name][1]
    if name == "gray_scott":
        F, k = rates
        formed = [Du, Dv, 1 - 4 * Du - F, 1 - 4 * Dv - F - k, F]
    else:
        more = [rates[1] + 1] if name == "brusselator" else []
        formed = [dt * Du, dt * Dv, 1 - 4 * (dt * Du), 1 - 4 * (dt * Dv), dt, *rates, *more]
    return np.array(formed + [0.0] * (8 - len(formed)), np.float32)


def _check(name: str, march: Callable[..., None], how: tuple[int, int]) -> None:
    """Raise where C does not march as our kernels do, to the bit."""
    fields = start_of(name)[0].numpy().copy()
    march(fields, 100, how, _constants(name))
    ours = KERNELS.march(params_of(name), start_of(name), 0.0, 100, 100, SETTINGS[name][1]).fields[0].numpy()
    if not np.array_equal(fields, ours):
        raise RuntimeError(f"C marches {name} otherwise: it is off by {np.abs(fields - ours).max():.1e}")
