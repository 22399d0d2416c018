"""Command line: `gsimplicit steady`, `grad`, `scan` and `show`."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import files
from gsimplicit.routes.arguments import ROUTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.equations import ModelParams


_LONGEST = 1_000_000
"""Values of an axis of the command line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; None takes the process's own.

    Returns:
        Exit status: 0, 1 where there is no steady state, 2 for bad arguments or files, 130 where interrupted, 143 where
        asked to end.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return int(given.run(given))
    except gs.NotSteady as error:
        print(error, file=sys.stderr)
        return 1
    except (ValueError, TypeError, OSError, MemoryError, KeyboardInterrupt, SystemExit) as error:
        ended = {KeyboardInterrupt: "interrupted", SystemExit: "asked to end"}.get(type(error), str(error))
        print(f"gsimplicit {given.command}: {'; '.join([ended, *getattr(error, '__notes__', [])])}", file=sys.stderr)
        if isinstance(error, SystemExit):
            return int(error.code or 0)
        return 130 if isinstance(error, KeyboardInterrupt) else 2


def _steady(given: argparse.Namespace) -> int:
    save = _writable("--save", given.save)
    state = gs.steady_state(
        _params(given),
        _fields(given),
        tol=given.tol,
        max_steps=given.max_steps,
        dt=given.dt,
        refine=gs.Refine(lattice=True) if given.lattice else given.refine,
    )
    print(state)
    if save is not None:
        with save.open("wb") as stream:
            np.savez(stream, fields=state.fields.cpu().numpy(), params=state.params.tensor().numpy())
        print(f"fields saved to {given.save}")
    wanted = given.refine or given.lattice
    return 1 if wanted and not bool(state.has_root.all()) else 0


def _grad(given: argparse.Namespace) -> int:
    print(
        gs.grad(
            _params(given),
            route=given.route,
            loss=given.loss,
            initial=_fields(given),
            tol=given.tol,
            max_steps=given.max_steps,
            dt=given.dt,
        )
    )
    return 0


def _scan(given: argparse.Namespace) -> int:
    data = gs.scan(
        **(_from_file(given) if given.like else _from_options(given)),
        store=given.store,
        overwrite=given.overwrite,
        tile=given.tile,
        progress=not given.quiet,
    )
    print(_summary(data))
    return 0


def _from_options(given: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `scan`."""
    if not given.axis:
        raise ValueError("give an axis with --axis, or a file to repeat with --like")
    names = [name for name, _ in given.axis]
    if len(set(names)) < len(names):
        raise ValueError(f"each axis may be given once, got {names}")
    return {
        "axes": dict(given.axis),
        "base": _params(given),
        "losses": given.losses,
        "routes": given.routes,
        "initial": _fields(given),
        "tol": given.tol,
        "max_steps": given.max_steps,
        "dt": given.dt,
        "refine": given.refine,
        "follow": given.follow,
    }


def _from_file(given: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the `scan` that made a file."""
    from gsimplicit import dataset

    plain = _parser().parse_args(["scan", "--store", given.store])
    own = ("like", "store", "overwrite", "quiet", "tile", "run")
    changed = [name for name, value in vars(given).items() if name not in own and value != getattr(plain, name)]
    if changed:
        raise ValueError(
            f"--like repeats a file as it is; leave out {', '.join('--' + n.replace('_', '-') for n in changed)}"
        )
    return gs.scan_arguments(dataset.load(files.place("--like", given.like)))


def _show(given: argparse.Namespace) -> int:
    from gsimplicit import dataset

    figure, export = _writable("--figure", given.figure), _writable("--export", given.export)
    if export is not None and export == files.place("file", given.file):
        raise ValueError(f"--export must not be the file itself, got {given.export!r}: the scan writes it when it ends")
    data = gs.partial_scan(given.file)
    print(_summary(data))
    if given.objective is not None and given.objective not in data["objective"].values:
        raise ValueError(f"objective must be one of {data['objective'].values.tolist()}, got {given.objective!r}")
    if figure is not None:
        from gsimplicit.plotting import landscape

        landscape(data, given.objective).savefig(figure, dpi=150)
        print(f"figure saved to {given.figure}")
    if export is not None:
        print(f"dataset saved to {dataset.save(data, export)}")
    return 0


def _writable(option: str, given: str | None) -> Path | None:
    """Where a file is to be written; raises before anything is computed where it could not be."""
    if given is None:
        return None
    file = files.to_write(option, given)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{option} must lie in a folder that exists, got {given!r}: there is no {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PermissionError(f"{option} must be a file that can be written, got {given!r}")
    return file


def _summary(data: object) -> str:
    """What a landscape holds: axes, statuses, and the range of each loss."""
    import xarray as xr

    from gsimplicit.landscape.cliffs import axes_of

    if not isinstance(data, xr.Dataset) or "status" not in data:
        raise ValueError("this file holds no landscape of gsimplicit")
    lines = [
        str(data.attrs.get("title", "landscape")),
        f"  made {data.attrs.get('date_created')} by {data.attrs.get('source')}",
    ]
    for axis in axes_of(data):
        at = data[axis].values
        lines.append(f"  {axis}: {len(at)} values, {at.min():g} to {at.max():g}")
    lines.append(f"  samples: {data.sizes['sample']}")
    if "done" in data:
        lines.append(f"  unfinished: {int(data['done'].sum())} of {data['done'].size} points are stored")
    for name in ("status", "route_status"):
        if name in data:
            values, counts = np.unique(data[name].values, return_counts=True)
            words = (f"{gs.Status(int(v)).name.lower()} {n}" for v, n in zip(values, counts, strict=True))
            lines.append(f"  {name}: {', '.join(words)}")
    for objective in data["objective"].values:
        loss = data["loss"].sel(objective=objective)
        lines.append(f"  {objective} loss: {float(loss.min()):.6g} to {float(loss.max()):.6g}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gsimplicit", description="Steady states of reaction-diffusion systems and their gradients"
    )
    parser.add_argument("--version", action="version", version=f"gsimplicit {gs.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        added.set_defaults(run=run)
        return added

    steady = command("steady", _steady, "find a steady state and say how good it is")
    grad = command("grad", _grad, "loss and gradient of a steady state")
    scan = command("scan", _scan, "scan a landscape into a NetCDF file")
    for one in (steady, grad, scan):
        one.add_argument("--model", default="gray_scott", choices=sorted(_models()), help="what is solved")
        one.add_argument("--preset", default=None, help="parameters to start from; the model's first by default")
        for name in gs.models.gray_scott.parameters:
            one.add_argument(f"--{name}", type=float, default=None, help=f"replaces {name} of the preset")
        one.add_argument(
            "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="replaces any parameter"
        )
        one.add_argument("--dt", type=float, default=1.0, help="length of a step, in time units")
        one.add_argument("--grid", type=int, nargs=2, default=(128, 128), metavar=("H", "W"), help="rows and columns")
        one.add_argument("--samples", type=int, default=1, help="initial fields")
        one.add_argument("--seed", type=int, default=0, help="seed of the initial fields")
        one.add_argument("--half", type=int, default=10, help="half side of the starting box, in cells")
        one.add_argument(
            "--tol", type=float, default=1e-4, help="stop below this change over a step; 0 takes max-steps"
        )
        one.add_argument("--max-steps", type=int, default=50_000, help="cap on the steps")
    for one in (steady, scan):
        one.add_argument("--refine", action="store_true", help="go on to a certified root")
    steady.add_argument("--lattice", action="store_true", help="go on to a root of the raw residual")
    steady.add_argument("--save", metavar="FILE.npz", help="save the fields")
    grad.add_argument("--route", default="implicit", help=f"one of {', '.join(ROUTES)}")
    grad.add_argument("--loss", default="spectrum", help="spectrum or windowed")
    scan.add_argument(
        "--axis", type=_axis, action="append", default=[], metavar="NAME=FROM:TO:COUNT", help="an axis; repeat for more"
    )
    scan.add_argument("--like", metavar="FILE.nc", help="the settings of this file instead, all of them")
    scan.add_argument("--losses", nargs="+", default=["spectrum"], help="spectrum, windowed, residual")
    scan.add_argument("--routes", nargs="*", default=[], help=f"any of {', '.join(ROUTES)}")
    scan.add_argument("--store", required=True, metavar="FILE.nc", help="NetCDF file; resumed where interrupted")
    scan.add_argument("--overwrite", action="store_true", help="replace another scan there")
    scan.add_argument(
        "--follow", metavar="AXIS", help="start each point from its neighbour's state along the last axis"
    )
    scan.add_argument("--tile", type=int, default=None, help="points computed and stored at a time")
    scan.add_argument("--quiet", action="store_true", help="no progress bar")
    show = command("show", _show, "what a NetCDF landscape holds")
    show.add_argument("file", help="NetCDF file of a scan, also of one that still runs")
    show.add_argument("--figure", metavar="FILE.png", help="draw it into this file")
    show.add_argument("--export", metavar="FILE.nc", help="save what there is so far into this file, marked unfinished")
    show.add_argument("--objective", default=None, help="loss to draw; all by default")
    return parser


def _models() -> dict[str, gs.Model]:
    """The models of the package by name."""
    found = (getattr(gs.models, name) for name in gs.models.__all__)
    return {one.name: one for one in found if isinstance(one, gs.Model)}


def _params(given: argparse.Namespace) -> ModelParams:
    model = _models()[given.model]
    named = {name: getattr(given, name) for name in gs.models.gray_scott.parameters}
    changes = {name: value for name, value in named.items() if value is not None} | dict(given.set)
    unknown = [name for name in changes if name not in model.parameters]
    if unknown:
        raise ValueError(f"parameters of {model.name} are {', '.join(model.parameters)}, got {', '.join(unknown)}")
    preset = next(iter(model.presets)) if given.preset is None else given.preset
    return model.preset(preset).replace(**changes)


def _fields(given: argparse.Namespace) -> torch.Tensor:
    grid, params = tuple(given.grid), _params(given)
    box = gs.Box(half=given.half) if params.model is gs.models.gray_scott else None
    return gs.initial_state(given.samples, given.seed, grid=grid, box=box, model=params)


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


if __name__ == "__main__":
    sys.exit(main())
