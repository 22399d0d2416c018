"""Options of the command line: the words that are understood, and what they stand for."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import checks, files
from gsimplicit.explorer.guard import MOST_VISITORS
from gsimplicit.losses import LOSSES
from gsimplicit.routes.arguments import ROUTES

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams

__all__ = ["fields_of", "live_options", "model_of", "params_of", "parser", "start_of", "writable"]

_LONGEST = 1_000_000
"""Values of an axis of the command line."""


def parser() -> argparse.ArgumentParser:
    """What the command line understands."""
    made = argparse.ArgumentParser(
        prog="gsimplicit", description="Steady states of reaction-diffusion systems and their gradients"
    )
    made.add_argument("--version", action="version", version=f"gsimplicit {gs.__version__}")
    commands = made.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )

    steady = command("steady", "find a steady state and say how good it is")
    grad = command("grad", "loss and gradient of a steady state")
    scan = command("scan", "scan a landscape into a NetCDF file")
    for one in (steady, grad, scan):
        _add_problem(one)
    for one in (steady, scan):
        one.add_argument("--refine", action="store_true", help="go on to a certified root")
    steady.add_argument("--lattice", action="store_true", help="go on to a root of the raw residual")
    steady.add_argument("--save", metavar="FILE.npz", help="save the fields")
    grad.add_argument("--route", default="implicit", help=f"one of {', '.join(ROUTES)}")
    grad.add_argument("--loss", default="spectrum", help=f"one of {', '.join(LOSSES)}")
    _add_scan(scan)
    _add_show(command("show", "what a NetCDF landscape holds"))
    _add_invert(command("invert", "parameters of a model from a picture of its steady state"))
    _add_explore(command("explore", "a page to play with: a live simulation, or a NetCDF landscape to walk on"))
    return made


def _add_model(one: argparse.ArgumentParser, default: str = "gray_scott", text: str = "what is solved") -> None:
    """Options on what is solved."""
    one.add_argument("--model", default=default, choices=sorted(_models()), help=text)
    one.add_argument("--preset", default=None, help="parameters to start from; the model's first by default")
    for name in gs.models.gray_scott.parameters:
        one.add_argument(f"--{name}", type=float, default=None, help=f"replaces {name} of the preset")
    one.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="replaces any parameter"
    )


def _add_problem(one: argparse.ArgumentParser) -> None:
    """Options on what is solved, from where, and how it is marched."""
    _add_model(one)
    one.add_argument("--dt", type=float, default=1.0, help="length of a step, in time units")
    one.add_argument("--grid", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="rows and columns")
    one.add_argument("--samples", type=int, default=1, help="initial fields")
    one.add_argument("--seed", type=int, default=0, help="seed of the initial fields")
    one.add_argument("--half", type=int, default=None, help="half side of Gray-Scott's starting box, in pixels (10)")
    one.add_argument("--tol", type=float, default=1e-4, help="stop below this change over a step; 0 takes max-steps")
    one.add_argument("--max-steps", type=int, default=50_000, help="cap on the steps")
    one.add_argument("--device", default=None, help="where to march, for example cuda; the CPU by default")


def _add_scan(scan: argparse.ArgumentParser) -> None:
    """Options on what is scanned, and where it is kept."""
    scan.add_argument(
        "--axis", type=_axis, action="append", default=[], metavar="NAME=FROM:TO:COUNT", help="an axis; repeat for more"
    )
    scan.add_argument("--like", metavar="FILE.nc", help="the settings of this file instead, all of them")
    scan.add_argument("--losses", nargs="+", default=["spectrum"], help="spectrum, windowed, gram, residual")
    scan.add_argument("--routes", nargs="*", default=[], help=f"any of {', '.join(ROUTES)}")
    scan.add_argument("--store", required=True, metavar="FILE.nc", help="NetCDF file; resumed where interrupted")
    scan.add_argument("--overwrite", action="store_true", help="replace another scan there")
    scan.add_argument(
        "--follow", metavar="AXIS", help="start each point from its neighbour's state along the last axis"
    )
    scan.add_argument("--tile", type=int, default=None, help="points computed and stored at a time")
    scan.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_show(show: argparse.ArgumentParser) -> None:
    show.add_argument("file", help="NetCDF file of a scan, also of one that still runs")
    show.add_argument("--figure", metavar="FILE.png", help="draw it into this file")
    show.add_argument("--export", metavar="FILE.nc", help="save what there is so far into this file, marked unfinished")
    show.add_argument("--objective", default=None, help="loss to draw; all by default")


def _add_invert(invert: argparse.ArgumentParser) -> None:
    """Options on a picture, what is known of it, and what is kept."""
    invert.add_argument("picture", help="grey or colour image, or .npy or .nc of values in the model's units")
    invert.add_argument("--model", default="gray_scott", choices=sorted(_models()), help="whose steady state it shows")
    invert.add_argument("--variable", default=None, help="variable of a .nc file; needed where it has several")
    invert.add_argument(
        "--fix", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a known parameter; repeatable"
    )
    invert.add_argument("--periodic", action="store_true", help="the picture repeats; else nothing is known outside")
    invert.add_argument(
        "--gain",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="offset and gain of the values are unknown; yes by default for images, no for .npy and .nc",
    )
    invert.add_argument("--noise", type=float, default=None, help="its standard deviation; estimated by default")
    invert.add_argument("--shrink", type=int, default=1, metavar="N", help="take means of N x N pixels first")
    invert.add_argument("--level", type=float, default=0.95, help="of the intervals")
    invert.add_argument("--out", metavar="FILE.nc", help="keep parameters, intervals and fields in this file")


def start_of(given: argparse.Namespace) -> tuple[ModelParams | None, list[str] | None]:
    """Known parameters as a start, with the names of those that are sought; None and None where none is known."""
    model, known = _models()[given.model], dict(given.fix)
    unknown = [name for name in known if name not in model.parameters]
    if unknown:
        nearest = checks.meant(unknown[0], model.parameters)
        raise ValueError(f"--fix must name one of {', '.join(model.parameters)}, got {unknown[0]!r}{nearest}")
    if len(given.fix) > len(known):
        raise ValueError(f"--fix must name a parameter once, got {', '.join(name for name, _ in given.fix)}")
    if not known:
        return None, None
    free = [name for name in model.parameters if name not in known]
    if not free:
        raise ValueError("--fix must leave a parameter to be found, it names all")
    return model.preset(next(iter(model.presets))).replace(**known), free


def model_of(given: argparse.Namespace) -> gs.Model:
    """The model that is named."""
    return _models()[given.model]


def _add_explore(one: argparse.ArgumentParser) -> None:
    """Options on what the page shows and who may see it."""
    one.add_argument("file", nargs="?", default=None, help="NetCDF landscape of two axes; without it a live simulation")
    unsaid = argparse.SUPPRESS  # what is given beside a landscape must be told from what is not
    _add_model(one, unsaid, "what is solved; gray_scott by default")
    one.add_argument(
        "--grid", type=int, nargs=2, default=unsaid, metavar=("H", "W"), help="rows and columns; 128 128 by default"
    )
    one.add_argument("--seed", type=int, default=unsaid, help="seed of the initial fields; 0 by default")
    one.add_argument("--host", default="127.0.0.1", help="address to listen at; one that others reach needs a token")
    one.add_argument("--port", type=int, default=0, help="port to listen at; 0 takes a free one")
    one.add_argument("--token", default=None, help="16 letters, digits, - or _ or more; made where needed")
    one.add_argument("--visitors", type=int, default=MOST_VISITORS, help="pages that may be open at a time")
    one.add_argument("--open", action="store_true", help="open the page in a browser")


def live_options(given: argparse.Namespace) -> list[str]:
    """Options of `explore` on its live simulation that were given: a landscape has all of that itself."""
    names = ("model", "preset", *gs.models.gray_scott.parameters, "set", "grid", "seed")
    return [f"--{name}" for name in names if getattr(given, name, None) not in (None, [])]


def params_of(given: argparse.Namespace) -> ModelParams:
    """The model and its parameters."""
    model = _models()[given.model]
    named = {name: getattr(given, name) for name in gs.models.gray_scott.parameters}
    changes = {name: value for name, value in named.items() if value is not None} | dict(given.set)
    unknown = [name for name in changes if name not in model.parameters]
    if unknown:
        nearest = checks.meant(unknown[0], model.parameters)
        known = ", ".join(model.parameters)
        raise ValueError(f"parameters of {model.name} are {known}, got {', '.join(unknown)}{nearest}")
    preset = next(iter(model.presets)) if given.preset is None else given.preset
    return model.preset(preset).replace(**changes)


def fields_of(given: argparse.Namespace) -> torch.Tensor:
    """The initial fields."""
    grid, params = tuple(given.grid), params_of(given)
    if params.model is gs.models.gray_scott:
        box = gs.Box() if given.half is None else gs.Box(half=given.half)
    elif given.half is None:
        box = None
    else:
        raise ValueError(f"--half is of Gray-Scott's starting box, {params.model.name} has none; got {given.half}")
    return gs.initial_state(given.samples, given.seed, grid=grid, box=box, model=params)


def writable(option: str, given: str | None) -> Path | None:
    """Where a file is to be written; raises before anything is computed where it could not be."""
    if given is None:
        return None
    file = files.to_write(option, given)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{option} must lie in a folder that exists, got {given!r}: there is no {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{option} must be a file that can be written, got {given!r}")
    return file


def _models() -> dict[str, gs.Model]:
    """The models of the package by name."""
    found = (getattr(gs.models, name) for name in gs.models.__all__)
    return {one.name: one for one in found if isinstance(one, gs.Model)}


def _setting(text: str) -> tuple[str, float]:
    """NAME=VALUE as a name and a number."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a parameter reads NAME=VALUE, for example a=0.1; got {text!r}") from None


def _axis(text: str) -> tuple[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """NAME=FROM:TO:COUNT as a name and values."""
    try:
        name, rest = text.split("=")
        start, stop, count = rest.split(":")
        first, last, number = float(start), float(stop), int(count)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"an axis reads NAME=FROM:TO:COUNT, for example F=0.03:0.07:25; got {text!r}"
        ) from None
    if not (math.isfinite(first) and math.isfinite(last)):
        raise argparse.ArgumentTypeError(f"FROM and TO of an axis must be finite; got {text!r}")
    if not 1 <= number <= _LONGEST:
        raise argparse.ArgumentTypeError(f"COUNT of an axis must lie in 1..{_LONGEST}; got {text!r}")
    return name, np.linspace(first, last, number)
