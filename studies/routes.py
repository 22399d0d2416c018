"""Do all routes see the same landscape? An F-k plane of 48 x 48 fields, and what other planes say.

The paper (sec. 5.1) argues that the landscape is inherited however gradients are routed to the parameters. On 48 x 48
pixels most patterns have a steady state, so that the implicit gradient exists; at 128 x 128 it is the exception. The
implicit route is asked at the certified root, those at finite time at the marched stop, each against its own loss, and
on one more plane all at one root. The surrogate is trained on the F-k plane's own states, a fifth of them held out. At
128 x 128 the unrolled route stands alone. Paper scale marches several seeds of the noise at every point, adds the F-Dv
plane and more points on 64 x 64, and asks for roots at 128 x 128 as well.

A cliff face of a route is one over which the route's own loss jumps by a quarter of the landscape's height R. The
route inherits it where its gradients leave a jump `U = |dL - (g(p) + g(q)) (q - p) / 2| / R >= 0.25` unexplained, and
explains it where U < 0.05; where U is more than the jump, the forecast goes beyond it or has the wrong sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from studies._common import Datasets, Study, on_workers, scanned
from studies._constants import F_RANGE, K_RANGE
from studies._route_claims import judge
from studies._route_figure import DRAWN, plot

MOST = ("implicit", "tangent", "unrolled", "truncated")
ALL = ("implicit", "deq", "tangent", "unrolled", "truncated", "finite_difference")


@dataclass(frozen=True)
class Plane:
    """A plane to scan.

    Attributes:
        axis: The parameter beside F, a key of `RANGES`.
        points: Points along each axis.
        routes: Routes.
        samples: Fields of different noise at each point.
        side: Pixels along each side of the fields.
        share_root: Whether all routes are asked at one certified root; those at finite time then see the steps it takes
            to find it settled, 64 of them.
        evaluations: What the search for a root may cost; some of them go on to others if it may cost more.
    """

    axis: str
    points: int
    routes: tuple[str, ...]
    samples: int = 1
    side: int = 48
    share_root: bool = False
    evaluations: int = gs.Refine().max_evaluations

    @property
    def scan(self) -> dict[str, Any]:
        """What `scan` is asked."""
        return {
            "axes": {name: np.linspace(*RANGES[name], self.points) for name in ("F", self.axis)},
            "losses": ["spectrum", "windowed", mean_square],
            "initial": gs.initial_state(self.samples, grid=(self.side, self.side)),
            "share_root": self.share_root,
        }

    @property
    def asked(self) -> list[str | gs.routes.Implicit | gs.routes.Deq]:
        """The routes, those at a root with their search limited."""
        at_roots = {"implicit": gs.routes.Implicit, "deq": gs.routes.Deq}
        refine = gs.Refine(max_evaluations=self.evaluations)
        return [at_roots[name](refine=refine) if name in at_roots else name for name in self.routes]


RANGES = {"F": F_RANGE, "k": K_RANGE, "Dv": (0.05, 0.1)}
PLANES = {
    "quick": {
        "routes": Plane("k", 6, DRAWN),
        "routes_shared": Plane("k", 6, DRAWN, share_root=True),
        "routes_128": Plane("k", 4, ("unrolled",), side=128),
    },
    "default": {
        "routes": Plane("k", 16, MOST, evaluations=200_000),
        "routes_64": Plane("k", 6, DRAWN, side=64, evaluations=200_000),
        "routes_shared": Plane("k", 6, DRAWN, share_root=True),
        "routes_128": Plane("k", 6, ("unrolled",), side=128),
    },
    "paper": {
        "routes": Plane("k", 24, ALL, samples=4),
        "routes_F_Dv": Plane("Dv", 16, ALL, samples=2),
        "routes_64": Plane("k", 16, DRAWN, side=64),
        "routes_128": Plane("k", 8, DRAWN, side=128, evaluations=200_000),
        "routes_shared": Plane("k", 16, MOST, share_root=True),
    },
}
"""Planes of each scale by the name of their file; the surrogate learns the first."""


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2: a smooth loss of the state, beside the rough log spectrum."""
    return (v**2).mean(dim=(-2, -1))


def compute(scale: str, folder: Path) -> Datasets:
    """Scan the planes, and the first once more with a surrogate trained on it."""
    out = {}
    for name, plane in PLANES[scale].items():
        keep = "v" if name == "routes" else None
        out[name] = scanned(folder / f"{name}.nc", routes=plane.asked, keep=keep, **plane.scan)
    model = trained(out["routes"], folder / "routes_model.nc", ("spectrum", "windowed", mean_square))
    learned = [gs.routes.Surrogate(model)]
    out["routes_surrogate"] = scanned(folder / "routes_surrogate.nc", routes=learned, **PLANES[scale]["routes"].scan)
    return out | {"routes": out["routes"].drop_vars("v")}


def trained(
    states: xr.Dataset, store: Path, known: Sequence[Any] = ("spectrum", mean_square), epochs: int = 1500
) -> xr.Dataset:
    """A surrogate of these losses, kept in `store`."""
    settings: dict[str, Any] = {"epochs": epochs, "store": store, "overwrite": True, "progress": False}
    return on_workers(lambda pool: gs.train_surrogate(states, list(known), executor=pool, **settings))


STUDY = Study(
    "routes",
    "loss and gradient by every route over a plane",
    compute,
    plot,
    judge,
    caption="The F-k plane. (a): kinds of states, cliffs (black) and curves at which the uniform state changes. (d): "
    "the loss of the marched state. (b), (c): the change a gradient foresees over one face; arrows point "
    "downhill, dots are flat points of plateaus. (e), (f): the jump of the loss between two neighbouring points "
    "against the jump the gradients at its ends foresee. A route that saw the cliffs would "
    "have its red marks on the line.",
    alt="Six panels: a map of states, a map of the loss, and for the implicit and the unrolled route a map of its "
    "gradient and a scatter of actual against foreseen jumps; the jumps at cliffs lie far off the diagonal.",
)
