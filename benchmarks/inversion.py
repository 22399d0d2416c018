"""`python -m benchmarks.inversion [seconds] [pixels]`: four parameters from one clean picture, against other packages.

The picture is v of the steady state at the paper's point, from the initial field of seed 0. Each way starts at the
parameters where the paper's training began and may use so many seconds of one core:

- gs.invert by one-shot and by variable projection;
- cma, an evolution strategy (pip install cma), on the spectrum loss of states marched from that very initial field, in
  a box around both; it is told the field, which nobody would know;
- PySINDy's weak form (pip install pysindy) on u and v. It fits du/dt = ..., and a steady state has du/dt = 0, which it
  fits with no terms at all; so it gets a movie instead: u and v at 101 times between 200 and 2,200 steps, clean, which
  is much more, and a library with no other terms than Gray-Scott's and their neighbours;
- the networks of DeepXDE (pip install deepxde==1.15.0) and anypinn (pip install anypinn[lib]==0.25.8), on v, on u and
  v, and anypinn's on PySINDy's movie too, since its own example has one (`benchmarks._networks`). "Continuous" is with
  derivatives of continuous space, and the line before it says where exact ones of the true u and v would end.

What is not installed is left out, and said to be.
"""

from __future__ import annotations

import sys
import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks._networks import by_anypinn, by_deepxde, of_movie, of_picture
from gsimplicit.losses import spectrum_loss

Array = np.ndarray[Any, Any]

TRUTH = np.array([0.16, 0.08, 0.035, 0.065])
START = np.array([0.127, 0.1269, 0.05, 0.0501])
LOW, HIGH = np.array([0.08, 0.03, 0.02, 0.045]), np.array([0.25, 0.13, 0.07, 0.07])
EVERY, FRAMES = 20, 101
"""Steps between frames of the movie, and how many frames it has."""


def main(seconds: float = 60.0, side: int = 64) -> None:
    """Print one line a way."""
    torch.set_num_threads(1)
    field = gs.initial_state(grid=(side, side))
    root = gs.steady_state(gs.Params(*TRUTH), field, refine=gs.Refine(tol=1e-12, lattice=True))
    for method in ("one-shot", "variable-projection"):
        begin = time.process_time()
        found = gs.invert(root.v, start=gs.Params(*START), method=method, progress=False)
        _told(f"gs.invert, {method}", found.params.tensor()[0].numpy(), time.process_time() - begin)
    _evolved(field, root.v, seconds)
    movie = _movie(field)
    _sindy(movie)
    _trained(root, movie, seconds)


def _told(name: str, values: Array, seconds: float, note: str = "") -> None:
    error = 100 * np.abs(values / TRUTH - 1).max()
    print(f"{name:<32} error {error:9.3g} %  {seconds:6.1f} s  {note}", flush=True)


def _evolved(field: torch.Tensor, v: torch.Tensor, seconds: float) -> None:
    try:
        import cma
    except ImportError:
        print("cma is not installed: left out")
        return
    warnings.simplefilter("ignore", gs.StabilityWarning)  # where a step is unstable the loss is not finite
    begin, calls = time.process_time(), 0

    def loss(shares: Array) -> float:
        nonlocal calls
        calls += 1
        state = gs.steady_state(gs.Params(*(LOW + (HIGH - LOW) * np.clip(shares, 0, 1))), field, progress=False)
        value = float(spectrum_loss(state.v.double(), v)[0])
        return value if np.isfinite(value) else 1e4

    way = cma.CMAEvolutionStrategy(
        (START - LOW) / (HIGH - LOW), 0.3, {"bounds": [0, 1], "seed": 1, "verbose": -9, "maxfevals": 10**6}
    )
    while time.process_time() - begin < seconds and not way.stop():
        many = way.ask()
        way.tell(many, [loss(x) for x in many])
    best = LOW + (HIGH - LOW) * np.clip(way.result.xbest, 0, 1)
    note = f"{calls} marches, loss {way.result.fbest:.3g}, {'stopped' if way.stop() else 'out of time'}"
    _told("cma on the spectrum loss", best, time.process_time() - begin, note)


def _movie(field: torch.Tensor) -> Array:
    params = gs.Params(*TRUTH)
    frames = [gs.steady_state(params, field, tol=0.0, max_steps=200, dtype=torch.float64).fields]
    for _ in range(FRAMES - 1):
        frames.append(gs.steady_state(params, frames[-1], tol=0.0, max_steps=EVERY, dtype=torch.float64).fields)
    return torch.cat(frames).numpy().transpose(2, 3, 0, 1)  # rows, columns, time, species


def _sindy(movie: Array) -> None:
    try:
        import pysindy as ps
    except ImportError as error:
        print(f"pysindy is not installed, or something it needs is not ({error}): left out")
        return
    begin, side = time.process_time(), movie.shape[0]
    grid = np.stack(
        np.meshgrid(np.arange(side), np.arange(side), EVERY * np.arange(float(FRAMES)), indexing="ij"), axis=-1
    )
    functions = ps.CustomLibrary(
        library_functions=[lambda u, v: u * v**2, lambda u: u], function_names=[lambda u, v: f"{u} {v}^2", lambda u: u]
    )
    library = ps.WeakPDELibrary(
        functions,
        derivative_order=2,
        spatiotemporal_grid=grid,
        K=400,
        H_xt=[6, 6, 200],
        include_bias=True,
        include_interaction=False,
        is_uniform=True,
    )
    model = ps.SINDy(feature_library=library, optimizer=ps.STLSQ(threshold=1e-2, alpha=1e-12))
    model.fit(movie, t=float(EVERY))
    names, rows = model.get_feature_names(), model.coefficients()

    def part(row: int, name: str) -> float:
        return float(sum(c for c, n in zip(rows[row], names, strict=True) if n == name))

    F = part(0, "1")
    values = np.array([(part(0, "x0_11") + part(0, "x0_22")) / 2, (part(1, "x1_11") + part(1, "x1_22")) / 2, F, 0.0])
    values[3] = -part(1, "x1") - F
    _told("PySINDy, weak, on a movie", values, time.process_time() - begin, f"u and v, {FRAMES} frames")


def _trained(root: gs.SteadyState, movie: Array, seconds: float) -> None:
    u, v = root.u[0].numpy(), root.v[0].numpy()
    _told("exact, u and v, continuous", _continuous(u, v), 0.0, "linear least squares")
    shown = {
        "v": of_picture(u, v, (1,), START),
        "u and v": of_picture(u, v, (0, 1), START),
        "u and v, continuous": of_picture(u, v, (0, 1), START, lattice=False),
        "a movie": of_movie(movie, EVERY * (FRAMES - 1.0), START),
    }
    for package, way in (("DeepXDE", by_deepxde), ("anypinn", by_anypinn)):
        try:
            for what, sight in shown.items():
                if package == "anypinn" or not sight.span:
                    values, used, note = way(sight, seconds)
                    _told(f"{package} on {what}", values, used, f"{note}, version {version(package)}")
        except ImportError as error:
            print(f"{package} is not installed, or something it needs is not ({error}): left out")


def _continuous(u: Array, v: Array) -> Array:
    """The parameters that fit u and v best where the Laplacian is that of continuous space, exactly."""
    waves = 2 * np.pi * np.fft.fftfreq(len(u))
    curved = [np.fft.ifft2(-np.add.outer(waves**2, waves**2) * np.fft.fft2(x)).real for x in (u, v)]
    (Du, F), (Dv, both) = (
        np.linalg.lstsq(np.stack([x.ravel() for x in columns], axis=1), sign * (u * v**2).ravel(), rcond=None)[0]
        for columns, sign in (((curved[0], 1 - u), 1), ((curved[1], -v), -1))
    )
    return np.array([Du, Dv, F, both - F])


if __name__ == "__main__":
    main(*(kind(x) for kind, x in zip((float, int), sys.argv[1:], strict=False)))
