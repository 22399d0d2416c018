"""Training networks for the surrogate route, on the states of a scan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks, dataset
from gsimplicit.identity import identity, label
from gsimplicit.landscape import pieces
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.results import Status
from gsimplicit.routes.objective import value_of
from gsimplicit.routes.surrogate import FEATURES, initial_weights, network, scaled, size_of
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import os
    from concurrent.futures import Executor

    import xarray as xr

    from gsimplicit.landscape.tiles import Values
    from gsimplicit.routes.objective import Loss

__all__ = ["train_surrogate"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_DECAY = 1e-4
"""Weight decay of the training; smooths what few points leave open."""


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
        losses: What the networks are to know: "spectrum", "windowed", "v" (the field, for any loss of it and for
            `solve`), or callables of v (B, H, W) giving (B,).
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
    members, modes = checks.integer("members", members, 1), checks.integer("modes", modes, 1)
    epochs, seed = checks.integer("epochs", epochs, 1), checks.integer("seed", seed, 0, 2**50)
    held_out = checks.real("held_out", held_out, least=0, most=0.9)
    overwrite, progress = checks.flag("overwrite", overwrite), checks.flag("progress", progress)
    widths = [checks.integer("hidden", width, 1) for width in checks.listed("hidden", hidden, "a list of widths")]
    _heads(losses)
    values, fields = _states(data)
    configuration = {
        "surrogate": [_known_by(x, kept=store is not None) if callable(x) else x for x in losses],
        "states": dataset.digest(fields),
        "at": dataset.digest(values),
        "settings": [members, widths, modes, epochs, held_out, seed],
        "code": dataset.code_fingerprint(),
    }

    own = {f"loss {label(loss)!r}": loss for loss in losses if callable(loss)}

    def prepare() -> Job:
        job = _job(
            dataset.parameters_of(data), values, fields, _heads(_copies(losses)), configuration,
            members, widths, modes, epochs, held_out, seed,
        )  # fmt: skip
        if store is not None and own:
            job.frame.attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
        return job

    return fill(
        prepare,
        configuration,
        store=store,
        overwrite=overwrite,
        executor=executor,
        progress=progress,
        tile=1,
        parts=partial(pieces.pieces, own),
    )


def _known_by(loss: Loss, *, kept: bool) -> list[str]:
    """Name and digest of a loss; where nothing is stored, one that cannot be told from others is known by its name."""
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


def _heads(losses: Sequence[str | Loss]) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """From names to features (N, Y, X) of v (N, H, W)."""
    if isinstance(losses, str) or not isinstance(losses, Sequence) or not losses:
        raise TypeError(f"losses must be a list of at least one, got {losses!r}")
    heads: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {}
    for loss in losses:
        if isinstance(loss, str):
            if loss not in FEATURES:
                raise ValueError(f"losses must be among {', '.join(map(repr, FEATURES))} or callables, got {loss!r}")
            heads[loss] = FEATURES[loss]
        elif callable(loss):
            if label(loss) in FEATURES:
                raise ValueError(f"a callable loss must not be named {label(loss)!r}, as a built-in feature is")
            heads[label(loss)] = partial(_one_number, loss)
        else:
            raise TypeError(f"losses must hold names or callables, got {loss!r}")
    if len(heads) < len(losses):
        raise ValueError(f"losses must differ in name, got {[label(x) for x in losses]}")
    return heads


def _one_number(loss: Loss, v: torch.Tensor) -> torch.Tensor:
    return value_of(loss, v)[:, None, None]


def _states(data: xr.Dataset) -> tuple[Array, Any]:
    """Parameters (P, count) and v (P, S, H, W) of the points whose states are finite."""
    import xarray as xr

    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    names = dataset.parameters_of(data)
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


def _job(
    names: tuple[str, ...],
    values: Array,
    fields: Any,
    heads: Mapping[str, Callable[[torch.Tensor], torch.Tensor]],
    configuration: Mapping[str, Any],
    members: int,
    hidden: list[int],
    modes: int,
    epochs: int,
    held_out: float,
    seed: int,
) -> Job:
    """Components of the features, and one item a network."""
    import xarray as xr

    P, S, H, W = fields.shape
    order = np.random.default_rng(seed).permutation(P)
    test = order[: int(held_out * P)]
    train = np.setdiff1d(np.arange(P), test)
    low, high = (torch.from_numpy(f(values, axis=0)) for f in (np.min, np.max))
    inputs = scaled(torch.from_numpy(values), low, high)[:, high > low]
    variables: dict[str, Any] = {}
    parts: dict[str, list[Any]] = {"train": [], "test": [], "outside": [], "spread": []}
    for name, feature in heads.items():
        of = feature(torch.from_numpy(fields).reshape(P * S, H, W)).to(torch.float64)
        rows = of.reshape(P, S, -1).numpy()
        known, unseen = rows[train].reshape(-1, rows.shape[2]), rows[test].reshape(-1, rows.shape[2])
        mean = known.mean(axis=0)
        basis = _components(known - mean, modes)
        there = (unseen - mean) @ basis.T
        spread = float(((known - mean) ** 2).sum(axis=1).mean())
        parts["train"].append((known - mean) @ basis.T)
        parts["test"].append(there)
        parts["outside"].append(((unseen - mean) ** 2).sum(axis=1) - (there**2).sum(axis=1))
        parts["spread"].append(spread or 1.0)
        shape = of.shape[1:]
        dims = ("y", "x") if shape == (H, W) else ("one", "one_x")
        variables[f"mean_{name}"] = (dims, mean.reshape(shape), _words(f"mean of the {name} feature"))
        variables[f"basis_{name}"] = (
            (f"mode_{name}", *dims), basis.reshape(-1, *shape), _words(f"principal components of the {name} feature")
        )  # fmt: skip
    sizes = [p.shape[1] for p in parts["train"]]
    layers = [int(inputs.shape[1]), *hidden, sum(sizes)]
    frame = xr.Dataset(
        {
            "weights": (("member", "weight"), np.full((members, size_of(layers)), np.nan), _words("weights")),
            "held_out_error": (
                ("member", "head"),
                np.full((members, len(heads)), np.nan),
                _words("error at held-out points, relative to the spread about the mean"),
            ),
            "low": ("parameter", low.numpy(), _words("least value trained on")),
            "high": ("parameter", high.numpy(), _words("largest value trained on")),
            **variables,
        },
        {
            "member": ("member", np.arange(members), _words("network")),
            "head": ("head", np.array(list(heads)), {"long_name": "feature"}),
            "parameter": ("parameter", np.array(names), {"long_name": "parameter"}),
            "y": ("y", np.arange(H), dataset.attributes("y")),
            "x": ("x", np.arange(W), dataset.attributes("x")),
        },
        dataset.provenance("Networks from parameters to features of steady states", configuration)
        | {
            "losses": json.dumps(configuration["surrogate"]),
            "layers": np.array(layers),
            "points_trained_on": len(train),
            "points_held_out": len(test),
        },
    )
    train_inputs, test_inputs = (inputs[rows].repeat_interleave(S, dim=0) for rows in (train, test))
    evaluate = partial(
        _trained, layers, sizes, epochs, train_inputs, np.concatenate(parts["train"], axis=1),
        test_inputs, np.concatenate(parts["test"], axis=1), np.array(parts["outside"]), np.array(parts["spread"]),
    )  # fmt: skip
    return Job(frame, ("member",), [seed * 1000 + m for m in range(members)], evaluate)


def _components(centred: Array, modes: int) -> Array:
    """Leading principal components, orthonormal rows."""
    count = min(modes, *centred.shape)
    if centred.shape[0] <= centred.shape[1]:
        squares, left = np.linalg.eigh(centred @ centred.T)
        keep = [i for i in np.argsort(squares)[::-1][:count] if squares[i] > 1e-12 * max(squares[-1], 1e-300)]
        rows = (left[:, keep] / np.sqrt(squares[keep])).T @ centred
        return np.asarray(np.linalg.qr(rows.T)[0].T)
    squares, right = np.linalg.eigh(centred.T @ centred)
    return np.asarray(right[:, np.argsort(squares)[::-1][:count]].T)


def _trained(
    layers: list[int],
    sizes: list[int],
    epochs: int,
    inputs: torch.Tensor,
    goal: Array,
    test_inputs: torch.Tensor,
    test_goal: Array,
    outside: Array,
    spread: Array,
    seed: int,
) -> Values:
    """One network: its weights, and its relative error at the held-out points."""
    weights = initial_weights(layers, seed).requires_grad_()
    # each feature counts by its own spread, and its components by their share of it
    scale = torch.from_numpy(np.repeat(np.sqrt(spread), sizes))
    wanted = torch.from_numpy(goal) / scale
    optimiser = torch.optim.AdamW([weights], lr=1e-2, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    with torch.enable_grad():
        for _ in range(epochs):
            optimiser.zero_grad()
            loss = ((network(weights, layers, inputs) - wanted) ** 2).sum(dim=1).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    trained = weights.detach().clone()
    last = size_of(layers[:-1])
    trained[last:] *= torch.cat([scale.repeat(layers[-2]), scale])  # the scale goes into the last layer
    errors = np.full(len(sizes), np.nan)
    if len(test_inputs):
        apart = ((network(trained, layers, test_inputs).numpy() - test_goal) ** 2).T
        first = np.cumsum([0, *sizes])
        for h in range(len(sizes)):
            total = apart[first[h] : first[h + 1]].sum(axis=0) + outside[h]
            errors[h] = np.sqrt(total.mean() / spread[h])
    return {"weights": trained.numpy(), "held_out_error": errors}


def _words(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
