"""The recipe of a scan: the configuration by which it is known, and the arguments that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit import provenance
from gsimplicit.arguments import March
from gsimplicit.configuration import configuration_of, digest
from gsimplicit.equations import DEFAULT, Model
from gsimplicit.identity import identity, label
from gsimplicit.landscape.arguments import Arguments, shipped_model
from gsimplicit.landscape.settings import decoded, encoded
from gsimplicit.losses import Gram
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["device_recipe", "loss_recipe", "model_recipe", "recipe_of", "scan_arguments", "weights_of"]


def recipe_of(asked: Arguments, *, kept: bool) -> dict[str, Any]:
    """The configuration of a scan, of JSON types: all that decides its values.

    Args:
        asked: What it is asked for.
        kept: Whether it is to be told from others; else what is the user's own is told by its name.

    Raises:
        ValueError: Something of the user's cannot be told from others.
    """
    return {
        "axes": [[name, at.tolist()] for name, at in asked.axes.items()],  # in the order of the dimensions
        "base": asked.base.tensor()[0].tolist(),
        "losses": [loss_recipe(loss, kept=kept) for loss in asked.losses],
        "routes": [encoded("routes", route, kept=kept) for route in asked.routes],
        "initial": digest(asked.initial.numpy()),
        "target": "base" if asked.target is None else digest(asked.target.numpy()),
        "marching": encoded("marching", asked.marching),
        "refine": encoded("refine", asked.refine, kept=kept),
        "share_root": asked.share_root,
        "keep": asked.keep,
        "follow": asked.follow,
        "code": provenance.code_fingerprint(),
        **model_recipe(asked.model, kept=kept),
        **device_recipe(asked.marching),
    }


def weights_of(losses: Sequence[Any]) -> dict[str, str]:
    """A global attribute that says which network a loss compares features of; none where none does."""
    told = [f"{loss.name}: {loss.network}" for loss in losses if isinstance(loss, Gram)]
    return {"gsimplicit_weights": "; ".join(told)} if told else {}


def device_recipe(marching: March) -> dict[str, Any]:
    """The kind of device besides, where it is not the CPU: bits are those of it, and of what steps there."""
    if marching.device.type == "cpu":
        return {}
    name = torch.cuda.get_device_name(marching.device) if marching.device.type == "cuda" else marching.device.type
    return {"device": {"name": name, "steps": marching.by.name}}


@own_surroundings
def scan_arguments(data: xr.Dataset) -> dict[str, Any]:
    """The arguments with which `scan` makes a dataset again, from what the dataset itself holds.

    Args:
        data: Of `scan`, or read back from its file.

    Returns:
        Keywords of `scan`, all but those on storing and running.

    Raises:
        ValueError: It is not of `scan`, or a loss or route is not this package's: those cannot be made from a file.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> data = gs.scan({"F": [0.03]}, initial=fields, tol=0.0, max_steps=10, progress=False)
        >>> gs.scan(**gs.scan_arguments(data), progress=False).equals(data)
        True
    """
    import xarray as xr

    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    found = configuration_of(data.attrs)
    if "marching" not in found or "axes" not in found:
        raise ValueError("the dataset holds no settings of a scan of gsimplicit")
    for loss in found["losses"]:
        if not isinstance(loss, str | Mapping):
            raise ValueError(f"losses: {loss[0]!r} is a function, which a file does not hold; pass it to scan")
    # the file may come from a machine that has another device
    marching, device = decoded(found["marching"] | {"device": {"torch": "cpu"}}), decoded(found["marching"]["device"])
    target = None
    if found["target"] != "base":
        target = data["target_fields" if "target_fields" in data else "target"].values.copy()
    model = _model_of(found)
    return {
        "axes": dict(found["axes"]),
        "base": model.params(**dict(zip(model.parameters, found["base"], strict=True))),
        "losses": [decoded(loss) for loss in found["losses"]],
        "routes": [decoded(route) for route in found["routes"]],
        "initial": data["initial"].values.copy(),
        "target": target,
        "tol": marching.tol,
        "max_steps": marching.max_steps,
        "check_every": marching.check_every,
        "dtype": marching.dtype,
        "refine": decoded(found["refine"]) or False,
        "share_root": found["share_root"],
        "keep": found["keep"],
        "follow": found["follow"],
        "dt": marching.dt,
        "backend": marching.backend,
        "device": device,
    }


def loss_recipe(loss: Any, *, kept: bool) -> Any:
    """A loss by its name, its settings, or its name and the code and values that it reaches."""
    if isinstance(loss, str):
        return loss
    if isinstance(loss, Gram):
        return encoded("losses", loss)
    return identity(loss) if kept else label(loss)


def model_recipe(model: Model, *, kept: bool) -> dict[str, Any]:
    """What a scan is known by besides, where the model is not Gray-Scott: names and formulas, or the code of one."""
    if model is DEFAULT:
        return {}
    told: dict[str, Any] = {n: list(getattr(model, n)) for n in ("species", "diffusivity", "rates")}
    steps = model.steps(0.5)
    reaction = steps.key if steps is not None else identity(model.reaction) if kept else label(model.reaction)
    told |= {"observed": model.observed, "reaction": reaction}
    if model.trivial is not None:
        told["trivial"] = model.trivial
    if model.scale != 1:
        told["scale"] = model.scale
    if type(model) is not Model:  # what a subclass overrides
        told["class"] = identity(type(model)) if kept else type(model).__qualname__
    return {"model": {"name": model.name, **told}}


def _model_of(configuration: Mapping[str, Any]) -> Model:
    """The model of a scan: one of the package's, told by its name and formulas.

    Raises:
        ValueError: It is another, which a file does not hold.
    """
    told = configuration.get("model")
    if told is None:
        return DEFAULT
    found = shipped_model(told["name"])
    if found is None or model_recipe(found, kept=True).get("model") != told:
        raise ValueError(f"base: the model {told['name']!r} is a function, which a file does not hold; pass its params")
    return found
