"""The F-k plane, marched once: its states are kept, and every loss of it is taken of them.

The states lie in files beside the figures, found again by their configuration. At paper scale they take 655 MB, so that
they are marched and kept in strips of a few values of F, of which one is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit import dataset
from studies import _constants
from studies._common import on_workers, scanned
from studies._constants import F_RANGE, K_RANGE

TRUTH = dict(zip(("F", "k"), _constants.TRUTH[2:], strict=True))

SIZES = {"quick": (9, 1), "default": (25, 1), "paper": (50, 4)}
"""Points along each axis, and samples."""

STRIPS = {"quick": 1, "default": 1, "paper": 10}
"""Files that the states are kept in."""


def axis(name: str, scale: str) -> np.ndarray[Any, Any]:
    """Values of F or k."""
    return np.linspace(*{"F": F_RANGE, "k": K_RANGE}[name], SIZES[scale][0])


def losses_of_plane(name: str, losses: Sequence[Any], scale: str, folder: Path) -> xr.Dataset:
    """Losses over the F-k plane, kept in the file of a name; states are marched where they are not there yet.

    The target of a sample is the truth marched from its own start.
    """
    parts = []
    for n, values in enumerate(np.array_split(axis("F", scale), STRIPS[scale])):
        number = f"_{n:02}" if STRIPS[scale] > 1 else ""
        states = folder / f"states_F_k{number}.nc"
        axes, start = {"F": values, "k": axis("k", scale)}, gs.initial_state(SIZES[scale][1])
        scanned(states, axes=axes, losses=["spectrum"], initial=start, keep="v")
        parts.append(_taken(states, losses, folder / f"{name}{number}.nc"))
    return parts[0] if len(parts) == 1 else _joined(parts, folder / f"{name}.nc")


def _taken(states: Path, losses: Sequence[Any], store: Path) -> xr.Dataset:
    return on_workers(lambda pool: gs.with_losses(states, losses, store=store, overwrite=True, executor=pool))


def _joined(parts: Sequence[xr.Dataset], store: Path) -> xr.Dataset:
    """Strips as one plane, in a file of its own beside theirs."""
    whole = xr.concat(parts, "F", data_vars="minimal", coords="minimal", compat="override", combine_attrs="override")
    dataset.save(whole, store)
    return whole
