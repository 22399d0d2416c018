"""Section 6.3: the spectrum loss of a re-marched state in place of the residual, with a network beside it.

The network's v is the target of the loss that the parameters see. The loss along k is looked at on the way of the
training, and F and k descend from starts around the truth, alone against the true picture, and with the network.
"""

from __future__ import annotations

import warnings

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
    side = fields.shape[-1]
    begin = np.log(TRUTH[2:]) + np.random.default_rng([n, 19]).uniform(np.log(0.6), np.log(1.4), 2)
    logs = torch.from_numpy(begin.copy()).requires_grad_()
    by = torch.optim.Adam([logs], lr=RATE)
    one, state = training(Network(**SHAPES[side]), question(fields, np.ones(fields.shape[1:], dtype=bool), both=False))
    z = state.weights.clone().requires_grad_()
    of_fields = torch.optim.Adam([z], lr=2e-3)
    target, last = torch.from_numpy(fields[None, 1]), np.nan
    for _ in range(STEPS):
        at = gs.Params(0.16, 0.08, *logs.detach().exp().clamp(max=0.0999).tolist())
        if mode != "alone":
            v = _marched(at.tensor().numpy(), side)
            target = _moved(one, z, of_fields, v)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = gs.grad(at, "unrolled", target=target, initial=start_of(side), max_steps=6000, progress=False)
        last = float(out.loss[0])
        slope = torch.stack([out.grad.F[0], out.grad.k[0]]) * logs.detach().exp()
        if not bool(torch.isfinite(slope).all()):
            break
        logs.grad = slope
        by.step()
    start = np.abs(np.exp(begin) / TRUTH[2:] - 1).max()
    return {
        "first": np.float64(start),
        "error": np.float64(np.abs(logs.detach().exp().numpy() / TRUTH[2:] - 1).max()),
        "loss": np.float64(last),
    }


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
