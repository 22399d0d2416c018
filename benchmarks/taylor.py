"""Taylor tests of every exact route in extended precision: `python -m benchmarks.taylor` (three minutes, one core).

The log spectrum is so rough that no step is both small enough for its third derivative and large enough for rounding in
float64. So the gradient is the route's, in float64, and the losses at p + h d are computed here in 80-bit numbers, by
numpy: roots by Newton's method on a residual in extended precision, marches step by step, transforms by scipy. It is
also an oracle that shares no code with the package but the factors it preconditions with.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

import numpy as np
import scipy.fft
import torch

import gsimplicit as gs
from benchmarks.agreement import EXACT, SIDE, roots
from gsimplicit.equations import instances
from gsimplicit.losses import log_spectrum
from gsimplicit.refine.linear import SparseLU, jacobian
from gsimplicit.routes import Deq, Tangent, Unrolled
from studies.oracle import GRIDS

Long = np.ndarray[Any, np.dtype[np.longdouble]]
EPSILON = np.longdouble(1e-8)
STEPS = 2000


def laplacian(w: Long) -> Long:
    """Five-point stencil on the periodic grid."""
    return sum(np.roll(w, s, axis) for axis in (0, 1) for s in (1, -1)) - 4 * w


def residual(fields: Long, p: Long) -> Long:
    """Right-hand side of the equations."""
    (u, v), (Du, Dv, F, k) = fields, p
    reaction = u * v * v
    return np.stack([Du * laplacian(u) - reaction + F * (1 - u), Dv * laplacian(v) + reaction - (F + k) * v])


def carried(root: Long, p: Long, factors: SparseLU) -> Long:
    """The root at parameters p next to one whose Jacobian was factorised, to the last digit."""
    fields = root
    for _ in range(12):
        r = residual(fields, p)
        if np.abs(r).max() < 1e-19:
            break
        step = factors.solve(r.astype(np.float64).transpose(1, 2, 0).ravel())
        fields = fields - step.reshape(*fields.shape[1:], 2).transpose(2, 0, 1)
    return fields


def marched(start: Long, p: Long) -> Long:
    """Explicit Euler steps of length 1."""
    fields = start
    for _ in range(STEPS):
        fields = fields + residual(fields, p)
    return fields


def mean_square(v: Long) -> np.longdouble:
    """Mean of v^2."""
    return np.longdouble((v * v).mean())


def log_power(v: Long) -> Long:
    """Log power spectrum."""
    hat = scipy.fft.fft2(v - v.mean())
    return scipy.fft.fftshift(np.log(hat.real**2 + hat.imag**2 + EPSILON))


def tiles(v: Long) -> Long:
    """Log power spectra of the 16 x 16 windows, the mean removed over the whole field."""
    H, W = v.shape
    windows = (v - v.mean()).reshape(H // 16, 16, W // 16, 16).transpose(0, 2, 1, 3)
    hat = scipy.fft.fft2(windows)
    return np.log(hat.real**2 + hat.imag**2 + EPSILON)


def torch_mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def spectrum_mean(v: torch.Tensor) -> torch.Tensor:
    """Mean of the log power spectrum."""
    return log_spectrum(v).flatten(1).mean(dim=1)


def losses(target: Long) -> dict[str, tuple[Any, Callable[[Long], np.longdouble], range]]:
    """A loss as a route takes it, as a function here, and its window: steps 2^-n."""
    there, windows = log_power(target), tiles(target)
    return {
        "mean v^2": (torch_mean_square, mean_square, range(16, 21)),
        "mean log spectrum": (spectrum_mean, lambda v: log_power(v).mean(), range(22, 27)),
        "spectrum": ("spectrum", lambda v: ((log_power(v) - there) ** 2).mean(), range(22, 27)),
        "windowed": ("windowed", lambda v: ((tiles(v) - windows) ** 2).mean(), range(19, 24)),
    }


class Nearby:
    """States at p + 2^-n d, each computed once: roots carried from a root, and marches from a start."""

    def __init__(self, root: gs.SteadyState, start: Long, directions: Any) -> None:
        (equations,), fields = instances(root.params), root.fields[0].numpy()
        self.p, self.start, self.directions = equations.values.astype(np.longdouble), start, directions
        self.factors = SparseLU(jacobian(equations, fields))
        self.root = carried(fields.astype(np.longdouble), self.p, self.factors)
        self.known: dict[tuple[int | None, int, bool], Long] = {}

    def v(self, n: int | None, d: int, at_root: bool) -> Long:
        """Field v at step 2^-n along direction d; n None is p itself."""
        if (n, d, at_root) not in self.known:
            p = self.p if n is None else self.p + np.longdouble(2.0) ** -n * self.directions[d]
            fields = carried(self.root, p, self.factors) if at_root else marched(self.start, p)
            self.known[n, d, at_root] = fields[1]
        return self.known[n, d, at_root]

    def orders(
        self, function: Callable[[Long], Any], slope: float, window: range, d: int, at_root: bool
    ) -> list[float]:
        """Powers of h by which the remainders of neighbouring steps fall."""
        base = function(self.v(None, 0, at_root))
        rest = [abs(function(self.v(n, d, at_root)) - base - np.longdouble(2.0) ** -n * slope) for n in window]
        return [float(np.log2(a / b)) for a, b in pairwise(rest)]


def main() -> None:
    """Print the orders of each route and loss over four roots, five random directions and the four parameters."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", gs.PositionWarning)
    scale = np.array([0.3, 0.2, 0.05, 0.1])
    directions = np.concatenate([np.random.default_rng(0).standard_normal((5, 4)) * scale, np.diag(scale)])
    routes = {
        "implicit": (EXACT["implicit"], True),
        "tangent at the root": (Tangent(refine=True), True),
        "deq": (Deq(), True),
        "unrolled": (Unrolled(), False),
        "tangent": (Tangent(), False),
    }
    box = gs.Box(half=GRIDS[SIDE])
    start, other = (gs.initial_state(seed=s, grid=(SIDE, SIDE), box=box) for s in (0, 1))
    target = gs.steady_state(gs.Params.preset("paper"), other).v
    measured = losses(target[0].numpy().astype(np.longdouble))
    found: dict[tuple[str, str], list[float]] = {(name, what): [] for name in routes for what in measured}
    for root in roots()[:4]:
        near = Nearby(root, start[0].numpy().astype(np.longdouble), directions)
        closed = torch.from_numpy(near.root.astype(np.float64))[None]
        for (name, (route, at_root)), (what, (loss, function, window)) in product(routes.items(), measured.items()):
            where: dict[str, Any] = {"initial": start, "tol": 0.0, "max_steps": STEPS}
            goal = target if isinstance(loss, str) else None
            out = gs.grad(root.params, route, loss, goal, **({"initial": closed} if at_root else where))
            slopes = directions @ out.grad.tensor()[0].numpy()
            for d, slope in enumerate(slopes):
                found[name, what] += near.orders(function, float(slope), window, d, at_root)
        print("a root is done", flush=True)
    for (name, what), values in found.items():
        least, most, middle = min(values), max(values), np.median(values)
        print(f"{name}, {what}: orders {least:.3f}..{most:.3f}, median {middle:.3f} of {len(values)}")


if __name__ == "__main__":
    main()
