"""Training networks for the surrogate route, on the states of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks, provenance
from gsimplicit.configuration import digest, parameters_of
from gsimplicit.identity import identity, label
from gsimplicit.landscape import pieces
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.settings import encoded
from gsimplicit.landscape.training import Array, Feature, Training, training_job
from gsimplicit.losses import LOSSES
from gsimplicit.results import Status
from gsimplicit.routes.objective import value_of
from gsimplicit.routes.surrogate import FEATURES
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import os
    from concurrent.futures import Executor

    import xarray as xr

    from gsimplicit.routes.objective import Loss

__all__ = ["train_surrogate"]


@own_surroundings
def train_surrogate(
    data: xr.Dataset,
    losses: Sequence[str | Loss] = ("spectrum",),
    *,
    members: int = 4,
    hidden: Sequence[int] = (64, 64),
    modes: int = 16,
    epochs: int = 2000,
    held_out: float = 0.2,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Train networks from the parameters to features of the states of a scan, for `gsimplicit.routes.Surrogate`.

    The features of all points but those held out are reduced to their leading principal components; each network maps
    the parameters, their range as -1..1, to the components (fully connected, tanh, Adam with a cosine schedule).
    Networks differ by their first weights. Points that diverged or failed are left out; those that ran into the cap of
    the march are not.

    Args:
        data: Of `scan(..., keep="v")`, over one or more parameters. Several samples are averaged over by the fit.
        losses: What the networks are to know: "spectrum", "windowed", "gram", "v" (the field, for any loss of it and
            for `solve`), or callables of v (B, H, W) giving (B,).
        members: Networks in the ensemble, >= 1; the spread of their gradients is the route's estimate of its error.
        hidden: Widths of the hidden layers, each >= 1.
        modes: Principal components kept of each feature, >= 1. The many bins of a log spectrum are mostly noise, which
            more components learn by heart.
        epochs: Steps of Adam on all points at once, >= 1.
        held_out: Share of the points kept for testing, in 0..0.9.
        seed: Of the choice of held-out points and of the first weights, >= 0.
        store: NetCDF file for the model; training resumes at the networks that are not trained yet.
        overwrite: Replace a model of other data or settings.
        executor: Any `concurrent.futures` executor.
        progress: Show a progress bar.

    Returns:
        The model: `weights` (member, weight), the components, and `held_out_error` (member, head): root mean square
        error of the features at held-out points, relative to their spread about the mean; 1 is no better than the mean.

    Raises:
        ValueError: An argument lies outside its range, or the scan holds no v or too few states.
        TypeError: An argument has a wrong type.

    Example:
        >>> import numpy as np, gsimplicit as gs
        >>> fields = gs.initial_state(grid=(16, 16), box=gs.Box(half=3))
        >>> data = gs.scan({"F": np.linspace(0.03, 0.04, 20)}, initial=fields, tol=0.0, max_steps=50, keep="v",
        ...                progress=False)
        >>> model = gs.train_surrogate(data, members=2, epochs=300, progress=False)
        >>> out = gs.grad(gs.Params.preset("paper"), gs.routes.Surrogate(model), initial=fields, tol=0.0, max_steps=50)
        >>> bool(model.held_out_error.max() < 1), out.certificate.definition
        (True, ('network',))
    """
    settings = Training(members, hidden, modes, epochs, held_out, seed)
    overwrite, progress = checks.flag("overwrite", overwrite), checks.flag("progress", progress)
    _heads(losses)
    values, fields = _states(data)
    configuration = {
        "surrogate": [_known_by(x, kept=store is not None) for x in losses],
        "states": digest(fields),
        "at": digest(values),
        "settings": settings.listed(),
        "code": provenance.code_fingerprint(),
    }
    own = {f"loss {label(loss)!r}": loss for loss in losses if callable(loss)}

    def prepare() -> Job:
        job = training_job(parameters_of(data), values, fields, _heads(_copies(losses)), settings, configuration)
        if store is not None and own:
            job.frame.attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
        return job

    return fill(
        prepare, configuration, store=store, overwrite=overwrite, executor=executor, progress=progress, tile=1,
        parts=partial(pieces.pieces, own),
    )  # fmt: skip


def _known_by(loss: str | Loss, *, kept: bool) -> Any:
    """Name and digest of a loss; where nothing is stored, one that cannot be told from others is known by its name."""
    if isinstance(loss, str):
        return encoded("losses", LOSSES[loss]) if loss == "gram" else loss
    try:
        return identity(loss)
    except ValueError:
        if kept:
            raise
        return [label(loss), ""]


def _copies(losses: Sequence[str | Loss]) -> list[str | Loss]:
    """The losses as workers would have them, so that one which counts or remembers stays the caller's as it is."""
    from gsimplicit.landscape.sent import copied

    return [loss if isinstance(loss, str) else copied(f"loss {label(loss)!r}", loss) for loss in losses]


def _heads(losses: Sequence[str | Loss]) -> dict[str, Feature]:
    """From names to features (N, Y, X) of v (N, H, W)."""
    if isinstance(losses, str) or not isinstance(losses, Sequence) or not losses:
        raise TypeError(f"losses must be a list of at least one, got {losses!r}")
    heads: dict[str, Feature] = {}
    for loss in losses:
        if isinstance(loss, str):
            if loss not in FEATURES:
                known = ", ".join(map(repr, FEATURES))
                nearest = checks.meant(loss, FEATURES)
                raise ValueError(f"losses must be among {known} or callables, got {loss!r}{nearest}")
            heads[loss] = FEATURES[loss]
        elif callable(loss):
            if label(loss) in FEATURES:
                raise ValueError(f"a callable loss must not be named {label(loss)!r}, as a built-in feature is")
            heads[label(loss)] = partial(_one_number, loss)
        else:
            raise TypeError(f"losses must hold names or callables, got {_what(loss)}")
    if len(heads) < len(losses):
        raise ValueError(f"losses must differ in name, got {[label(x) for x in losses]}")
    return heads


def _what(loss: Any) -> str:
    """What is no loss that networks can be trained for, and what to train for in its place."""
    return (
        f"{loss!r}: an object with features is a loss of v, train for 'v'" if hasattr(loss, "features") else repr(loss)
    )


def _one_number(loss: Loss, v: torch.Tensor) -> torch.Tensor:
    return value_of(loss, v)[:, None, None]


def _states(data: xr.Dataset) -> tuple[Array, Any]:
    """Parameters (P, count) and v (P, S, H, W) of the points whose states are finite."""
    import xarray as xr

    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    names = parameters_of(data)
    if "v" not in data or "status" not in data or not {*names, "sample"} <= {*data.coords}:
        raise ValueError("the scan holds no states: scan with keep='v'")
    over = [str(n) for n in data["status"].dims if n != "sample"]
    shape = tuple(data.sizes[n] for n in over)
    at = [np.broadcast_to(data[n].values.reshape([-1 if n == m else 1 for m in over] or 1), shape) for n in names]
    values = np.stack([a.reshape(-1) for a in at], axis=1).astype(np.float64)
    v = data["v"].transpose(*over, "sample", "y", "x").values.reshape(len(values), *data["v"].shape[-3:])
    status = data["status"].transpose(*over, "sample").values.reshape(len(values), -1)
    good = np.isfinite(v).all(axis=(1, 2, 3)) & ~np.isin(status, (Status.DIVERGED, Status.FAILED)).any(axis=1)
    if good.sum() < 5:
        raise ValueError(f"the scan holds {int(good.sum())} points with finite states; at least 5 are needed")
    return values[good], np.ascontiguousarray(v[good])
