"""Section 6.3: the spectrum loss of a re-marched state in place of the residual, with a network beside it.

The network's v is the target of the loss that the parameters see. The loss along k is looked at on the way of the
training, and F and k descend from starts around the truth, alone against the true picture, and with the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._pinn_data import SHAPES, TRUTH, Array, question, start_of, trained_on, words

STAGES = {"not trained": (1, 0), "20 steps": (20, 0), "300 steps": (300, 0), "trained": (300, 400)}
ALONG = np.linspace(0.055, 0.075, 41)
"""Values of k."""
STEPS, BETWEEN, RATE = 50, 10, 0.03
"""Steps of the parameters, steps of the network between two of them, Adam's rate for their logarithms."""
NETWORK_RATE = 2e-3
"""Adam's rate for the network."""
HIGHEST = 0.0999
"""Of F and k where the state is marched."""
NEAR = 0.02
"""Relative error of F and k that counts as recovered."""
MODES = ("alone", "with a network")
WEIGHT = 1e-4
"""Of the spectrum loss in the network's own: 250 on a plateau is then a fortieth."""


def lines(fields: Array) -> Job:
    """The loss along k over stages of the training."""
    frame = xr.Dataset(
        {"loss": (("stage", "k"), np.full((len(STAGES), len(ALONG)), np.nan), words("spectrum loss"))},
        {"stage": list(STAGES), "k": ("k", ALONG, words("feed and kill rate", "1"))},
    )
    return Job(frame, ("stage",), [(fields, stage) for stage in STAGES], _line)


def descents(fields: Array, starts: int) -> Job:
    """Where F and k end from starts within 40 % of the truth, over start and mode."""
    shape, over = (starts, len(MODES)), ("start", "mode")
    frame = xr.Dataset(
        {
            "first": (over, np.full(shape, np.nan), words("largest relative error of F and k at the start")),
            "error": (over, np.full(shape, np.nan), words("the same at the end")),
            "loss": (over, np.full(shape, np.nan), words("last spectrum loss")),
        },
        {"start": np.arange(starts), "mode": list(MODES)},
    )
    return Job(frame, over, [(fields, n, mode) for n in range(starts) for mode in MODES], _descended)


def _marched(values: Array, side: int) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gs.steady_state(
            gs.Params(*values.T), start_of(side), max_steps=20_000, dtype=torch.float64, progress=False
        ).v


def _line(item: tuple[Array, str]) -> Values:
    fields, stage = item
    adam, lbfgs = STAGES[stage]
    settings = Network(adam=adam, lbfgs=lbfgs, **SHAPES[fields.shape[-1]])
    trained = trained_on(settings, fields, np.ones(fields.shape[1:], dtype=bool), both=False)
    values = np.repeat(TRUTH[None], len(ALONG), axis=0)
    values[:, 3] = ALONG
    v = _marched(values, fields.shape[-1])
    return {"loss": gs.spectrum_loss(v, trained.fields[:, 1]).numpy()}


def _descended(item: tuple[Array, int, str]) -> Values:
    fields, n, mode = item
    side, begin = fields.shape[-1], start(n)
    one, state = training(Network(**SHAPES[side]), question(fields, np.ones(fields.shape[1:], dtype=bool), both=False))
    z = state.weights.clone().requires_grad_()
    of_fields = torch.optim.Adam([z], lr=NETWORK_RATE)

    def look(at: gs.Params) -> tuple[float, torch.Tensor]:
        target = torch.from_numpy(fields[None, 1])
        if mode != "alone":
            target = _moved(one, z, of_fields, _marched(at.tensor().numpy(), side))
        return of_state(at, target, side)

    found, last = walked(begin, look)
    return {"first": np.float64(off(begin)), "error": np.float64(off(found)), "loss": np.float64(last)}


def start(number: int) -> Array:
    """F and k of a start within 40 % of the truth."""
    return np.asarray(TRUTH[2:] * np.exp(np.random.default_rng([number, 19]).uniform(np.log(0.6), np.log(1.4), 2)))


def off(values: Array) -> float:
    """Largest relative error of F and k."""
    return float(np.abs(values / TRUTH[2:] - 1).max())


def params(values: Array) -> gs.Params:
    """F and k in the march's range beside the true Du and Dv."""
    return gs.Params(*TRUTH[:2], *np.minimum(values, HIGHEST).tolist())


def of_state(at: gs.Params, target: torch.Tensor, side: int, **march: Any) -> tuple[float, torch.Tensor]:
    """The spectrum loss of the re-marched state against a v, or another loss, and its slopes in F and k."""
    asked: dict[str, Any] = {"max_steps": 6000, **march}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = gs.grad(at, "unrolled", target=target, initial=start_of(side), progress=False, **asked)
    return float(out.loss[0]), torch.stack([out.grad.F[0], out.grad.k[0]])


def walked(
    begin: Array, look: Callable[[gs.Params], tuple[float, torch.Tensor]], steps: int = STEPS
) -> tuple[Array, float]:
    """F and k after Adam's steps on their logarithms, and the last loss; they stop where a slope is not finite."""
    logs = torch.from_numpy(np.log(begin)).requires_grad_()
    by, last = torch.optim.Adam([logs], lr=RATE), np.nan
    for _ in range(steps):
        values = logs.detach().exp()
        last, slopes = look(params(values.numpy()))
        logs.grad = slopes * values
        if not bool(torch.isfinite(logs.grad).all()):
            break
        by.step()
    return logs.detach().exp().numpy(), last


def _moved(one: object, z: torch.Tensor, by: torch.optim.Optimizer, v: torch.Tensor) -> torch.Tensor:
    """The network's v after some steps on its data loss and the spectrum loss against the marched state."""
    for _ in range(BETWEEN):
        with torch.enable_grad():
            by.zero_grad(set_to_none=True)
            X = one.representation.fields(z)  # type: ignore[attr-defined]
            loss = one.objective.data(X) + WEIGHT * gs.spectrum_loss(X[None, 1], v)[0]  # type: ignore[attr-defined]
            loss.backward()
            by.step()
    with torch.no_grad():
        return one.representation.fields(z)[None, 1].clone()  # type: ignore[attr-defined, no-any-return]
