"""Command line: `gsimplicit steady`, `grad`, `scan`, `show`, `invert` and `explore`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import gsimplicit as gs
from gsimplicit import checks, files
from gsimplicit.options import fields_of, live_options, model_of, params_of, parser, start_of, writable

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; None takes the process's own.

    Returns:
        Exit status: 0, 1 where there is no steady state or parameters were not found, 2 for bad arguments or files, 130
        where interrupted, 143 where asked to end.
    """
    given = parser().parse_args(arguments)
    try:
        return _COMMANDS[given.command](given)
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
    save = writable("--save", given.save)
    state = gs.steady_state(
        params_of(given),
        fields_of(given),
        tol=given.tol,
        max_steps=given.max_steps,
        dt=given.dt,
        device=given.device,
        refine=gs.Refine(lattice=True) if given.lattice else given.refine,
    )
    print(state)
    if save is not None:
        with save.open("wb") as stream:
            np.savez(stream, fields=state.fields.cpu().numpy(), params=state.params.tensor().numpy())
        print(f"fields saved to {given.save}")
    if given.refine or given.lattice:
        return 0 if bool(state.has_root.all()) else 1
    return 1 if {gs.Status(n) for n in state.status.tolist()} & {gs.Status.DIVERGED, gs.Status.UNSTEADY} else 0


def _grad(given: argparse.Namespace) -> int:
    print(
        gs.grad(
            params_of(given),
            route=given.route,
            loss=given.loss,
            initial=fields_of(given),
            tol=given.tol,
            max_steps=given.max_steps,
            dt=given.dt,
            device=given.device,
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
        "base": params_of(given),
        "losses": given.losses,
        "routes": given.routes,
        "initial": fields_of(given),
        "tol": given.tol,
        "max_steps": given.max_steps,
        "dt": given.dt,
        "device": given.device,
        "refine": given.refine,
        "follow": given.follow,
    }


def _from_file(given: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the `scan` that made a file."""
    from gsimplicit import dataset

    plain = parser().parse_args(["scan", "--store", given.store])
    own = ("like", "store", "overwrite", "quiet", "tile", "device")
    changed = [name for name, value in vars(given).items() if name not in own and value != getattr(plain, name)]
    if changed:
        raise ValueError(
            f"--like repeats a file as it is; leave out {', '.join('--' + n.replace('_', '-') for n in changed)}"
        )
    device = {} if given.device is None else {"device": given.device}
    return gs.scan_arguments(dataset.load(files.place("--like", given.like))) | device


def _show(given: argparse.Namespace) -> int:
    from gsimplicit import dataset

    figure, export = writable("--figure", given.figure), writable("--export", given.export)
    if export is not None and export == files.place("file", given.file):
        raise ValueError(f"--export must not be the file itself, got {given.export!r}: the scan writes it when it ends")
    data = gs.partial_scan(given.file)
    print(_summary(data))
    if given.objective is not None and given.objective not in data["objective"].values:
        there = data["objective"].values.tolist()
        nearest = checks.meant(given.objective, there)
        raise ValueError(f"objective must be one of {there}, got {given.objective!r}{nearest}")
    if figure is not None:
        from gsimplicit.plotting import landscape

        landscape(data, given.objective).savefig(figure, dpi=150)
        print(f"figure saved to {given.figure}")
    if export is not None:
        print(f"dataset saved to {dataset.save(data, export)}")
    return 0


def _invert(given: argparse.Namespace) -> int:
    from gsimplicit import dataset, images

    out = writable("--out", given.out)
    start, free = start_of(given)
    image = images.shrunk(images.read(given.picture, given.variable), checks.integer("--shrink", given.shrink, 1))
    images.require_small(image)
    gain = image.photograph if given.gain is None else given.gain
    print("\n".join(images.told(image, gain=gain, periodic=given.periodic)))
    found = gs.invert(
        image.values,
        mask=images.measured(image),
        start=start,
        noise=images.noise(image, given.noise, periodic=given.periodic),
        model=model_of(given),
        free=free,
        gain=gain,
        periodic=given.periodic,
        level=given.level,
    )
    print(found)
    for line in images.advice(found, gain=gain, known=bool(given.fix), periodic=given.periodic):
        print(line)
    if out is not None:
        print(f"dataset saved to {dataset.save(found.to_dataset(), out)}")
    return 0 if int(found.verdict[0]) == gs.Recovery.FOUND else 1


def _explore(given: argparse.Namespace) -> int:
    import importlib.util

    from gsimplicit.explorer.landscape import LARGEST_GRID, opened

    if importlib.util.find_spec("panel") is None:
        raise ValueError('the page needs panel and bokeh: pip install "gsimplicit[explore]"')
    from gsimplicit.explorer.page.server import serve
    from gsimplicit.explorer.page.visit import Asked

    said = live_options(given)
    if given.file is not None and said:
        raise ValueError(f"a landscape has its own model, parameters, grid and start: leave out {', '.join(said)}")
    plane = None if given.file is None else opened(given.file)
    given.model, rows_and_columns = getattr(given, "model", "gray_scott"), getattr(given, "grid", (128, 128))
    grid = (checks.integer("--grid", rows_and_columns[0], 3), checks.integer("--grid", rows_and_columns[1], 3))
    if grid[0] * grid[1] > LARGEST_GRID:
        raise ValueError(f"--grid must have at most {LARGEST_GRID:,} pixels, got {grid[0]:,} x {grid[1]:,}")
    asked = Asked(params_of(given), grid, checks.integer("--seed", getattr(given, "seed", 0), 0, None), plane)
    served = serve(asked, given.host, given.port, given.token, given.visitors)
    others = f"; from other machines at {served.others}" if served.others else ""
    print(f"the page is at {served.url}{others}; end with Ctrl-C", flush=True)
    if given.open:
        import webbrowser

        webbrowser.open(served.url)
    served.run()
    return 0


def _summary(data: object) -> str:
    """What a landscape holds: axes, statuses, and the range of each loss."""
    import xarray as xr

    from gsimplicit.landscape.cells import axes_of

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


_COMMANDS = {
    "steady": _steady, "grad": _grad, "scan": _scan, "show": _show, "invert": _invert, "explore": _explore,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
