"""Figure 6 of arXiv 2606.11258: the residual loss over the F-k plane, at fields of the truth.

The residual of the steady equations is linear in the parameters, so its mean square is a quadratic: that is arithmetic,
and what is measured here is that it comes out so to rounding. What is not arithmetic is where the minimum lies and how
narrow the bowl is: at the paper's stop, at certified roots, for many starts, and at states on their way, where the
equations lack du/dt and dv/dt. There the same loss is asked with the rate of change put in, taken from a later frame.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _bowl, _paper
from studies._bars import above, below
from studies._bowl import BOX, TRUTH, deviation, equations_at_truth, fitted, minimum, relative_hessian
from studies._bowl_figure import plot
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, filled, scanned

SIZES = {"quick": (64, 16, 4, 1, 2), "default": (128, 50, 20, 2, 6), "paper": (128, 50, 20, 20, 20)}
"""Side of the grid, points along each axis, starts as the paper's, certified ones of them, starts of other kinds."""
LOOKS = 125 * 2 ** np.arange(7)
"""Steps at which a state on its way is looked at."""
LATER = (1, 10)
"""Steps to the frame from which the rate of change is taken."""
STATES = ("stopped", "certified")
Item = tuple[str, int, np.ndarray | None]
"""Family and index of a start, and its root where it was looked for."""


def compute(scale: str, folder: Path) -> Datasets:
    """States of the truth, the plane at the first two of them, and the minimum for every start and time."""
    side, points, starts, certified, others = SIZES[scale]
    files = (__file__, _bowl.__file__)
    fields = filled(
        folder / "fig6_fields.nc", files, {"side": side, "count": certified}, lambda: _fields(side, certified)
    )
    roots = fields["fields"].sel(state="certified").values
    plane = scanned(
        folder / "fig6_plane.nc",
        axes={name: np.linspace(*BOX[name], points) for name in ("F", "k")},
        base=gs.Params(**TRUTH),
        losses=["residual"],
        initial=gs.initial_state(2, grid=(side, side)),  # two samples; nothing is marched
        target=fields["fields"].isel(start=0).values,
    )
    minima = filled(
        folder / "fig6_minima.nc",
        files,
        {"side": side, "starts": starts, "certified": certified, "others": others},
        lambda: _minima(side, starts, others, roots),
    )
    return {"fig6_fields": fields, "fig6_plane": plane, "fig6_minima": minima}


def _fields(side: int, count: int) -> Job:
    """Stopped and certified fields of the first starts."""
    shape = (count, 2, 2, side, side)
    dims = ("start", "state", "component", "y", "x")
    frame = xr.Dataset(
        {"fields": (dims, np.full(shape, np.nan), {"long_name": "u and v", "units": "1"})},
        {
            "start": ("start", np.arange(count), {"long_name": "index of the start", "units": "1"}),
            "state": ("state", list(STATES), {"long_name": "how the march ended"}),
            "component": ("component", ["u", "v"], {"long_name": "species"}),
        },
    )
    return Job(frame, ("start",), range(count), partial(_stop_and_root, side))


def _stop_and_root(side: int, index: int) -> Values:
    """Fields at the stop and at the root, NaN where there is none."""
    params = gs.Params(**TRUTH)
    stop = gs.steady_state(params, _start(side, "paper", index), dtype=torch.float64)
    root = gs.steady_state(params, stop.fields, refine=True)
    found = root.status[0] in (gs.Status.STEADY, gs.Status.DRIFTING)
    return {"fields": np.stack([stop.fields[0], root.fields[0] if found else np.nan * root.fields[0]])}


def _start(side: int, family: str, index: int) -> torch.Tensor:
    """One field of the paper's family (square and noise), or of one with six times the noise or another square."""
    grid, box = (side, side), gs.Box(half=10 * side // 128 + (side < 128) * 2)
    if family == "paper":
        return gs.initial_state(1, 0, index, grid, box=box)
    if index % 2:
        return gs.initial_state(1, 1, index, grid, noise=0.12, box=box)
    generator = np.random.default_rng(index)
    half, row, column = generator.integers((8, 0, 0), (20, side, side))
    return gs.initial_state(1, 1, index, grid, box=gs.Box(centre=(int(row), int(column)), half=int(half)))


WORDS = {
    "miss": "minimum's distance from the truth, as a share of it",
    "miss_of_plane": "the same where Du and Dv are known",
    "miss_with_rate": "the same with the rate of change put in",
    "curvature": "eigenvalues of the Hessian in relative parameters, ascending",
    "steps": "steps to the stop",
    "deviation": "largest deviation of the loss from its quadratic, as a share of its range",
}


def _minima(side: int, starts: int, others: int, roots: np.ndarray) -> Job:
    """An item a start; its states on the way, its stop, and its root where there is one."""
    items: list[Item] = [("paper", n, roots[n] if n < len(roots) else None) for n in range(starts)]
    items += [("other", n, None) for n in range(others)]
    sizes = {"start": len(items), "state": len(LOOKS) + 2, "parameter": 4, "later": len(LATER)}
    per = ("start", "state")
    dims = {
        "miss": (*per, "parameter"), "miss_of_plane": (*per, "parameter"), "curvature": (*per, "parameter"),
        "miss_with_rate": (*per, "later", "parameter"), "deviation": per, "steps": ("start",),
    }  # fmt: skip
    frame = xr.Dataset(
        {
            name: (over, np.full([sizes[d] for d in over], np.nan), {"long_name": WORDS[name], "units": "1"})
            for name, over in dims.items()
        },
        {
            "family": ("start", [item[0] for item in items], {"long_name": "how the start was made"}),
            "state": ("state", [*map(str, LOOKS), *STATES], {"long_name": "steps marched, or how the march ended"}),
            "parameter": ("parameter", list(TRUTH), {"long_name": "parameter"}),
            "later": ("later", list(LATER), {"long_name": "steps to the frame that gives the rate", "units": "1"}),
        },
    )
    return Job(frame, ("start",), items, partial(_of_start, side))


def _of_start(side: int, item: Item) -> Values:
    """The residual loss's quadratic at every state of one start."""
    family, index, root = item
    start = _start(side, family, index)
    states, now = [], start
    for steps in np.diff(LOOKS, prepend=0):
        now = _on(now, int(steps))
        states.append(_quadratic(now[0].numpy()))
    stop = gs.steady_state(gs.Params(**TRUTH), start, dtype=torch.float64)
    states.append(_quadratic(stop.fields[0].numpy()))
    missing = {name: np.full_like(value, np.nan) for name, value in states[0].items()}
    states.append(missing if root is None or np.isnan(root).any() else _quadratic(root))
    return {name: np.array([s[name] for s in states]) for name in states[0]} | {"steps": np.float64(stop.steps[0])}


def _on(fields: torch.Tensor, steps: int) -> torch.Tensor:
    """Fields so many steps later at the truth."""
    return gs.steady_state(gs.Params(**TRUTH), fields, tol=0.0, max_steps=steps, dtype=torch.float64).fields


def _quadratic(fields: np.ndarray) -> Values:
    """Minimum, curvatures and exactness at one state, and the minimum with the rate from later frames."""
    A, b = equations_at_truth(fields)
    rates = [((_on(torch.from_numpy(fields[None]), n)[0].numpy() - fields) / n).ravel() for n in LATER]
    return {
        "miss": minimum(A, b),
        "miss_of_plane": minimum(A, b, (2, 3)),
        "miss_with_rate": np.array([minimum(A, b - rate) for rate in rates]),
        "curvature": np.linalg.eigvalsh(relative_hessian(A)),
        "deviation": np.float64(deviation(fields, A, b)),
    }


def _plane(data: xr.Dataset, sample: int) -> xr.DataArray:
    """The loss over F and k at one of the two states."""
    return data["loss"].isel(sample=sample, objective=0)


def judge(data: Datasets) -> list[Claim]:
    """A bowl, its minimum, every start, and states on their way."""
    plane, minima = data["fig6_plane"], data["fig6_minima"]
    return [_quadratic_claim(plane, minima), _minimum_claim(plane, minima), _starts_claim(minima), *_way_claims(minima)]


def _quadratic_claim(plane: xr.Dataset, minima: xr.Dataset) -> Claim:
    loss = [_plane(plane, n) for n in range(2)]
    fits = [fitted(one["F"].values, one["k"].values, one.values) for one in loss]
    off = [fit[2] for fit in fits]
    relative = [H * np.outer([TRUTH["F"], TRUTH["k"]], [TRUTH["F"], TRUTH["k"]]) for _, H, _ in fits]
    (lowest, highest), tilt = np.linalg.eigvalsh(relative[0]), np.linalg.eigh(fits[0][1])[1][:, 0]
    ends = minima.sel(state=list(STATES)).where(minima["family"] == "paper", drop=True)
    elsewhere, curvature = float(ends["deviation"].max()), ends["curvature"].stack(all=("start", "state")).dropna("all")
    condition = (curvature.isel(parameter=-1) / curvature.isel(parameter=0)).values
    return Claim(
        _paper.BOWL,
        "The residual loss over F and k is quadratic, a bowl. Asked here, of the stopped and of the certified truth: "
        "no point of the plane is further from the best quadratic than 1e-10 of the range; nor is any of 16 random "
        "points in all four parameters, for any start; and all curvatures are positive.",
        f"off by {max(off):.0e} of the range",
        f"off the best quadratic by {off[0]:.1e} (stopped) and {off[1]:.1e} (certified) of the range; in four "
        f"parameters by {elsewhere:.1e} at most. Condition of the Hessian, of relative parameters: "
        f"{highest / lowest:.1f} in F and k, {between(condition.min(), condition.max(), '.0f')} in all four; the "
        f"valley runs along (F, k) = ({tilt[0]:+.2f}, {tilt[1]:+.2f})",
        bool(max(*off, elsewhere) < 1e-10 and curvature.min() > 0),
        bars=(
            below("largest deviation by the range", max(*off, elsewhere), 1e-10),
            above("least curvature", curvature.min(), 0),
        ),
    )


def _minimum_claim(plane: xr.Dataset, minima: xr.Dataset) -> Claim:
    truth = np.array([TRUTH["F"], TRUTH["k"]])
    places = [fitted(*(_plane(plane, n)[x].values for x in "Fk"), _plane(plane, n).values)[0] for n in range(2)]
    miss = [float(np.abs(place / truth - 1).max()) for place in places]
    worst = [_worst(minima.where(minima["family"] == "paper", drop=True), state) for state in STATES]
    return Claim(
        _paper.BOWL,
        "Its minimum is at the truth. Asked here: F and k of the plane's minimum are within 0.1 % of it at the stopped "
        "and at the certified state.",
        f"off by {miss[0]:.0e} stopped, {miss[1]:.0e} certified",
        f"F and k off by {miss[0]:.1e} (stopped) and {miss[1]:.1e} (certified); all four, largest of "
        f"{len(worst[0])} starts, by {_most(worst[0])} (stopped), and of {len(worst[1])}, by {_most(worst[1])} "
        "(certified)",
        max(miss) < 1e-3,
        bars=(below("larger miss", max(miss), 1e-3),),
    )


def _starts_claim(minima: xr.Dataset) -> Claim:
    found = {
        family: _worst(minima.where(minima["family"] == family, drop=True), "stopped") for family in ("paper", "other")
    }
    every, early = np.concatenate(list(found.values())), (minima["steps"] < 1000).values
    late = np.append(_worst(minima.isel(start=~early), "stopped"), 0.0)
    return Claim(
        _paper.ALL_STARTS,
        "The residual loss compares with the whole dynamics, from every start at once. Asked here: at the stop its "
        "minimum is within 1 % of the truth in all four parameters whatever the start was: as the paper's, with six "
        "times the noise, or with squares of other places and sizes.",
        f"off by {_most(every)} at most",
        f"largest error of the four: {len(found['paper'])} starts as the paper's {_most(found['paper'])}, "
        f"{len(found['other'])} others {_most(found['other'])}; {int(early.sum())} of all stop within 1,000 steps, "
        f"before their pattern fills the grid, and the rest are within {float(late.max()):.0e}",
        bool(len(every) and (every < 0.01).all()),
        bars=(below("largest error", every.max(initial=0.0) if len(every) else np.inf, 0.01),),
    )


def _way_claims(minima: xr.Dataset) -> list[Claim]:
    looks = {int(n): _worst(minima, str(n)) for n in LOOKS}
    within = [n for n in looks if (np.concatenate([looks[m] for m in looks if m >= n]) < 0.05).all()]
    rate = np.abs(minima["miss_with_rate"].isel(state=slice(len(LOOKS)))).max(["parameter", "start", "state"]).values
    listed = ", ".join(f"{n} steps {np.median(m):.2%} ({m.max():.2%})" for n, m in looks.items())
    return [
        Claim(
            ours("It misses while the pattern changes"),
            "At states on their way the steady equations lack du/dt, so the minimum lies elsewhere. Asked here: at 500 "
            "steps and at 1,000 it is over 5 % off in half of the starts. We chose 5 % after one start had been seen.",
            f"off by {np.median(looks[500]):.1%} at 500 steps",
            f"median (largest) of the four parameters' largest error: {listed}; below 5 % for all starts from "
            f"{within[0] if within else 'no'} steps on",
            bool(np.median(looks[500]) > 0.05 and np.median(looks[1000]) > 0.05),
            bars=tuple(above(f"median error at {n} steps", np.median(looks[n]), 0.05) for n in (500, 1000)),
        ),
        Claim(
            ours("With du/dt it misses nowhere"),
            "With the rate of change put in, the minimum is the truth on the way as well. Asked here: within 1e-8 with "
            "the difference to the next step, which is exact for explicit steps; it is rounding that is measured.",
            f"off by {rate[0]:.0e}",
            ", ".join(f"frame {n} later: largest error {x:.1e}" for n, x in zip(LATER, rate, strict=True)),
            bool(rate[0] < 1e-8),
            bars=(below("largest error", rate[0], 1e-8),),
        ),
    ]


def _worst(minima: xr.Dataset, state: str) -> np.ndarray:
    """Largest relative error of the four parameters for each start; of starts without such a state none."""
    worst = np.abs(minima["miss"].sel(state=state)).max("parameter", skipna=False).values
    return worst[np.isfinite(worst)]


def _most(errors: np.ndarray) -> str:
    return f"{errors.max():.0e}" if len(errors) else "none"


STUDY = Study(
    "fig6",
    "the residual loss at fields of the truth (figure 6)",
    compute,
    plot,
    judge,
    caption="(a) The root of the residual loss over F and k at the stopped state of the truth (star), Du and Dv known. "
    "White contours: the loss itself, in equal ratios. Lines through the minimum: the directions of least and of most "
    "curvature. (b) The loss along F and along k through the points of the plane next to the truth, at the stopped and "
    "at the certified state, with parabolas fitted. (c) Distance of the minimum in all four parameters from the truth, "
    "every start beside the others: on the way, at the stop and at certified roots. (d) The largest of these four "
    "against steps marched: median over starts and the range of the middle 80 %, without du/dt and with du/dt from a "
    "later frame.",
    alt="A contour map of a bowl with its minimum at the truth, parabolas through it, distances of minima from the "
    "truth on a logarithmic scale, and how these fall with time.",
)
