"""A small scan that meets faults: a server that forks runs of it and kills them, and what the fault tests share.

Run as a program it reads one JSON object a line, forks a run of the scan, harms it as asked, and answers with one line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import dataset
from gsimplicit.landscape import run

POINTS = 64
LOG = "GSIMPLICIT_TEST_LOG"
EVENTS = 4 + 3 + 3 * POINTS + 4
"""Flushes, renames and NetCDF writes of a whole run: frame, manifest and tiles, and the final file at the end."""
COMBINE = 4
"""How many of them, the last ones, belong to the final file."""


def logged(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2; each evaluation leaves one byte in a file, if one is named in the environment."""
    if LOG in os.environ:
        # Not by Path: runs replace one of its methods, which would make this another loss.
        log = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, b".")
        os.close(log)
    return (v**2).mean(dim=(-2, -1))


def small_scan(store: Path | None = None, **changes: Any) -> xr.Dataset:
    """64 points on 16 x 16, each a tile of its own; a third of a second."""
    settings = {
        "axes": {"F": np.linspace(0.03, 0.06, 8), "k": np.linspace(0.055, 0.068, 8)},
        "losses": ["spectrum", logged],
        "initial": gs.initial_state(grid=(16, 16), box=gs.Box(half=3)),
        "tol": 0.0,
        "max_steps": 200,
        "tile": 1,
        "progress": False,
        **changes,
    }
    return gs.scan(store=store, **settings)


def kill() -> None:
    """End this process as the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_event(number: int, act: Callable[[], None], *, late: bool, during: float = 0.0) -> None:
    """Call `act` at one flush, rename or NetCDF write, counted from the start: before it, or late, after it.

    With `during` a NetCDF write meets it that many seconds after it begins.
    """
    count = 0

    def counted(function: Callable[..., Any], *, inside: bool) -> Callable[..., Any]:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            now = count == number
            count += 1
            if now and inside and during:
                threading.Timer(during, act).start()
            elif now and not late:
                act()
            out = function(*args, **kwargs)
            if now and late:
                act()
            return out

        return replacement

    os.fsync = counted(os.fsync, inside=False)
    Path.replace = counted(Path.replace, inside=False)  # type: ignore[method-assign]
    xr.Dataset.to_netcdf = counted(xr.Dataset.to_netcdf, inside=True)  # type: ignore[method-assign]


def _run(order: dict[str, Any]) -> None:
    if "log" in order:
        os.environ[LOG] = order["log"]
    # in the pool all but the first tile; inline none, on a busy machine too
    run._INLINE_SECONDS = 0.0 if order["engine"] == "pool" else 1e9
    if "event" in order:
        at_event(order["event"], kill, late=order["late"], during=order["during"])
    if "gate" in order:
        while time.time() < order["gate"]:
            pass
    try:
        small_scan(Path(order["store"]))
    except gs.StoreLockedError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(3)


def _fork(order: dict[str, Any]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(errors, 2)
        os.dup2(errors, 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _run(order)
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _waited(child: int, patience: float = 60.0) -> int:
    """Exit status of a child; one that hangs is killed, and its status is 99."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 99


def _serve() -> None:
    with TemporaryDirectory() as folder:
        small_scan(Path(folder) / "a.nc")  # all is imported and compiled once, before the forks
    for line in sys.stdin:
        orders = json.loads(line)
        children = [_fork(order) for order in orders]
        ends = []
        for child, order in zip(children, orders, strict=True):
            begin = time.monotonic()
            if "signal" in order:
                time.sleep(order["after"])
                begin = time.monotonic()
                # to the whole group for Ctrl-C, as a terminal does; to the one process else
                (os.killpg if order["signal"] == signal.SIGINT else os.kill)(child, order["signal"])
            ends.append({"pid": child, "status": _waited(child), "seconds": time.monotonic() - begin})
        print(json.dumps(ends), flush=True)


def same(data: xr.Dataset, reference: xr.Dataset) -> bool:
    """Whether all variables and coordinates are equal to the bit."""
    plain, other = data.drop_attrs(), reference.drop_attrs()
    return plain.identical(other) and all(
        np.asarray(plain[name].values).tobytes() == np.asarray(other[name].values).tobytes()
        for name in plain.variables
        if plain[name].dtype.kind in "fiu"
    )


def fill_disk(folder: Path) -> Path:
    """A file that leaves no space on the file system of `folder`."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as stream:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue
    return filler


def disk_full(folder: Path, event: int) -> None:
    """On a small file system: the disk is full from one event on; then there is space again. Prints one JSON object."""
    store, reference = folder / "a.nc", small_scan()
    original = (os.fsync, Path.replace, xr.Dataset.to_netcdf)
    at_event(event, lambda: fill_disk(folder) and None, late=False)
    try:
        small_scan(store)
        message = ""
    except OSError as error:
        message = str(error)
    os.fsync, Path.replace, xr.Dataset.to_netcdf = original  # type: ignore[method-assign]
    after = sorted(p.name for p in folder.rglob("*") if p.name.endswith((".tmp", ".lock")) or p.name == "a.nc")
    (folder / "filler").unlink()
    whole = same(small_scan(store), reference)
    stored = dataset.load(store)
    print(json.dumps({"message": message, "left": after, "same": whole and same(stored, reference)}))


def read_only(folder: Path) -> None:
    """Print how the scan ends in a folder that cannot be written."""
    try:
        small_scan(folder / "a.nc")
    except OSError as error:
        print(error)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        read_only(Path(sys.argv[1]))
    elif len(sys.argv) == 3:
        disk_full(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        _serve()
