"""`descend`: gradient descent in the parameters, recorded step by step."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from gsimplicit import checks, dataset
from gsimplicit.descent.asked import UNROLLED, Asked, as_asked
from gsimplicit.descent.drawn import BOX, NOISE
from gsimplicit.descent.kept import Keeper
from gsimplicit.descent.record import Outcome, frame_of, names_of
from gsimplicit.descent.row import OptimizerFactory, Row
from gsimplicit.descent.safeguards import Safeguards
from gsimplicit.descent.walk import Entry, Walk
from gsimplicit.equations import ModelParams
from gsimplicit.identity import label
from gsimplicit.initial import Box
from gsimplicit.landscape import pieces
from gsimplicit.landscape.fill import terminable
from gsimplicit.landscape.settings import is_ours
from gsimplicit.landscape.store import Store
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.progress import Bar, drawable
from gsimplicit.provenance import global_attributes
from gsimplicit.routes.arguments import Fields
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Route
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["descend"]

_SAFEGUARDS = Safeguards()


@own_surroundings
def descend(
    params: ModelParams,
    target: Fields | None = None,
    route: str | Route = UNROLLED,
    loss: str | Loss | FeatureLoss = "spectrum",
    initial: Fields | None = None,
    steps: int = 100,
    store: str | os.PathLike[str] | None = None,
    *,
    optimizer: OptimizerFactory | None = None,
    safeguards: Safeguards | None = _SAFEGUARDS,
    free: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    samples: int | None = None,
    targets: Fields | None = None,
    seed: int | Sequence[int] = 0,
    grid: tuple[int, int] | None = None,
    noise: float = NOISE,
    box: Box | None = BOX,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
    keep: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Descend a loss in the parameters by the gradients of any route, and record every step.

    The training of arXiv 2606.11258, sections 2.1, 2.2 and appendix D. Each row of `params` is a descent of its own,
    with an optimiser of its own; its loss and gradient are means over its samples. What moves are raw numbers without
    bounds, from which the parameters are made (`bounds`). A row that cannot go on stops, and `outcome` says why; the
    others go on, with the same bits.

    Args:
        params: Where B descents start.
        target: The observed species (v), shape (1 or samples, H, W), or all species, shape (1 or samples, S, H, W).
            None is that of `grad`. A callable loss has none.
        route: By which gradients are taken: a name as for `grad`, or an object of `gsimplicit.routes`.
        loss: As for `grad`; or "residual", which is evaluated at the target's own species without marching, and
            has no route.
        initial: Fields of the samples, the same at every step and for every row, shape (samples, S, H, W). None is one
            field of seed 0, or fresh ones where `samples` is given.
        steps: Steps of the optimiser, >= 0. The record has one entry more, the last evaluated without a gradient.
        store: NetCDF file to write. An interrupted descent (Ctrl-C, a kill) goes on from where it was, with the same
            bits, by the same call; a finished one is returned.
        optimizer: Makes an optimiser of torch's from a list of tensors, such as `torch.optim.Adam` or
            `functools.partial(torch.optim.SGD, lr=1e-3)`. None is the paper's, SGD with a learning rate of 1.2e-2 and
            weight decay 5e-4, both in the raw parameters.
        safeguards: How the next parameters are tried before they are taken; None takes them as they come.
        free: Parameters that move; None is all.
        bounds: (low, high) by parameter, of those that move: `low + (high - low) sigmoid(raw)`, or `low +
            softplus(raw)` where high is infinite. The default is the model's range; for Gray-Scott F and k lie in
            (0, 0.1), as in the paper.
        samples: Fresh fields a step, >= 1: step n of a row has `initial_state(samples, seed, start=n * samples)`.
        targets: Pool of targets, shape (N, H, W) or (N, S, H, W): each step draws one a sample, keyed by seed and step.
        seed: Of fresh fields and drawn targets, >= 0: one, so that all rows have the same, or one a row.
        grid: Of fresh fields; None is that of the targets, or 128 x 128.
        noise: Of fields that are drawn, as for `initial_state`; left out beside `initial`.
        box: Of fields that are drawn, as for `initial_state`; left out beside `initial`.
        tol: Bound on the change over a marched step, as for `grad`; the paper trains with 5e-5.
        max_steps: Cap on the marching stage, >= 1; the paper trains with 40,000.
        check_every: Steps between tests, >= 1.
        dtype: Of the marching, as for `grad`.
        device: Where to march.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.
        keep: "v" keeps the observed species of every step and sample.
        overwrite: Replace a store of another configuration.
        progress: Show a progress bar, on terminals and in notebooks alone.

    Returns:
        A plain `xarray.Dataset` over `step` (0 .. steps), `row`, `sample` and `parameter`: `loss`, `params`,
        `gradient`, `raw`, `raw_gradient`, `rate`, `tries`, `outcome`, and of each sample `sample_loss`, `status`,
        `kind`, `steps`, `change`, `residual`, `v_mean`, `v_std`.

    Raises:
        StoreMismatchError: The store holds another descent; names the key that differs.
        ValueError: An argument lies outside its range, or two do not go together.
        TypeError: An argument has a wrong type.

    Example:
        >>> import functools, torch, gsimplicit as gs
        >>> truth, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> goal = gs.steady_state(truth, start, tol=0.0, max_steps=300).v
        >>> adam = functools.partial(torch.optim.Adam, lr=0.002)
        >>> record = gs.descend(truth.replace(k=0.0645), goal, initial=start, steps=10, optimizer=adam, free=["k"],
        ...                     tol=0.0, max_steps=300, progress=False)
        >>> record.loss.dims, bool(record.loss[-1] < record.loss[0])
        (('step', 'row'), True)
    """
    asked = as_asked(
        params=params, target=target, route=route, loss=loss, initial=initial, steps=steps, optimizer=optimizer,
        safeguards=safeguards, free=free, bounds=bounds, samples=samples, targets=targets, seed=seed, grid=grid,
        noise=noise, box=box, tol=tol, max_steps=max_steps, check_every=check_every, dtype=dtype, device=device, dt=dt,
        backend=backend, keep=keep,
    )  # fmt: skip
    overwrite, progress = checks.flag("overwrite", overwrite), checks.flag("progress", progress)
    configuration = json.loads(json.dumps(asked.configuration(kept=store is not None)))  # as a file gives it back
    if store is None:
        return _descended(asked, configuration, None, progress=progress)
    kept = Store(store, configuration, overwrite=overwrite, parts=partial(pieces.pieces, _own(asked)))
    if (whole := kept.finished()) is not None:
        return whole
    with terminable(), kept.held():
        if (whole := kept.finished()) is None:
            return _descended(asked, configuration, kept, progress=progress)
        kept.sweep()
        return whole


def _own(asked: Asked) -> dict[str, object]:
    """What is the user's own, by the name it has in errors."""
    own: dict[str, object] = {} if isinstance(asked.loss, str) else {f"loss {label(asked.loss)!r}": asked.loss}
    return own if is_ours(asked.route) else own | {"the route": asked.route}


def _descended(asked: Asked, configuration: Mapping[str, object], store: Store | None, *, progress: bool) -> xr.Dataset:
    """The record of a descent, stored where it is to be."""
    frame = _frame(asked, configuration, store is not None)
    at = [asked.model.parameters.index(name) for name in asked.how.names]
    rows = [Row(raw, asked.optimizer) for raw in asked.how.raw(asked.params.tensor()[:, at])]
    if store is not None:
        store.begin(frame)
    keeper = Keeper(frame, store, rows)
    first, outcomes = keeper.restored()
    bar = Bar(asked.steps + 1, first, shown=progress and drawable(), name="descend", unit="step")

    def keep(step: int, entry: Entry) -> None:
        keeper.keep(step, entry, outcomes)
        bar.add(1, Counter(Outcome(int(o)).name.lower() for o in entry["outcome"]))

    try:
        _walk(asked, frame).run(rows, outcomes, first, asked.steps, keep)
    except BaseException as error:
        keeper.flush()
        if store is not None:
            error.add_note(f"the steps done are stored in {store.folder}; the same call goes on there")
        raise
    finally:
        bar.close()
    frame.attrs["gsimplicit_complete"] = 1
    if store is not None:
        keeper.flush()
        frame.attrs[dataset.CONTENT] = dataset.content_of(frame)
        store.finish(frame)
    return frame


def _frame(asked: Asked, configuration: Mapping[str, object], stored: bool) -> xr.Dataset:
    """The record with nothing in it."""
    attrs = global_attributes("Descent in the parameters of a reaction-diffusion system", configuration, asked.model)
    attrs |= {
        "summary": "Losses, gradients and parameters of a gradient descent, step by step.",
        "gsimplicit_points_over": "step",
        "gsimplicit_complete": 0,
    }
    own = _own(asked)
    if stored and own:
        attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
    names = names_of(marched=asked.route is not None, pool=asked.draws.pool is not None, keep=asked.keep is not None)
    return frame_of(names, asked.model, asked.how, asked.draws, len(asked.params), asked.steps, attrs)


def _walk(asked: Asked, frame: xr.Dataset) -> Walk:
    """The walk of a descent whose record is `frame`."""
    names = [str(name) for name in frame.data_vars if frame[name].dims[:1] == ("step",)]
    return Walk(
        model=asked.model,
        start=asked.params.tensor(),
        how=asked.how,
        evaluation=asked.evaluation(),
        safeguards=asked.safeguards,
        dt=asked.marching.dt,
        sizes={str(name): size for name, size in frame.sizes.items()},
        names=names,
        indices=asked.draws.indices if asked.draws.pool is not None else None,
    )
