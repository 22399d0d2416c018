"""Section 6.3, turned round: what brings home the starts that the spectrum loss of the end state does not.

The starts, the known start field and the bar are those of `studies/_ill_posed.py`. The spectrum loss looks early, at
100 steps, or v itself does, by Adam and by least squares; the residual loss at a network's fields stands in its place,
the network trained along; the one-shot fit is asked. The residual loss of the true u and v tells what the loss does
without a network, and network and parameters together by Adam what the optimiser does. Beside them the spectrum loss
of the end state is descended by L-BFGS, so that no one takes a better optimiser for a better loss. The spectrum loss by
least squares and v by Adam were added when the spectrum loss by Adam had brought none home and v by least squares all;
the true u and v, and Adam together, when Adam at a network's fields had brought none home and L-BFGS all.
"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
import xarray as xr
from scipy.optimize import minimize

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.method import Question
from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.inverse.pictures.question import as_pictures, as_wanted
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _levenberg
from studies._ill_posed import BETWEEN, HIGHEST, NETWORK_RATE, of_state, off, params, start, walked
from studies._pinn_data import SHAPES, TRUTH, Array, question, start_of, words
from studies._remedy_losses import LOSSES

EARLY = 100
"""Steps after which the state is compared."""
ADAM, LBFGS = 4, 6
"""Steps of Adam and iterations of L-BFGS that move network and parameters together, a step of the parameters by
themselves: 10, as the network has between two of these."""
ACCEPTED = 20
"""Steps of least squares accepted at most, as in study `remedies`."""


def repairs(fields: Array, starts: int, steps: int) -> Job:
    """Where F and k end after so many steps of the parameters, over start and mode."""
    shape, over = (starts, len(MODES)), ("start", "mode")
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), words("largest relative error of F and k at the end")),
            "seconds": (over, np.full(shape, np.nan), words("CPU time", "s")),
        },
        {"start": np.arange(starts), "mode": list(MODES)},
    )
    return Job(frame, over, [(fields, n, mode, steps) for n in range(starts) for mode in MODES], _repaired)


def _repaired(item: tuple[Array, int, str, int]) -> Values:
    fields, n, mode, steps = item
    begin = time.thread_time()
    error = off(MODES[mode](fields, start(n), steps))
    return {"error": np.float64(error), "seconds": np.float64(time.thread_time() - begin)}


def _end_by_lbfgs(fields: Array, begin: Array, steps: int) -> Array:
    """F and k by L-BFGS on the loss that is not repaired, with as many gradients."""
    target, side = torch.from_numpy(fields[None, 1]), fields.shape[-1]

    def look(logs: Array) -> tuple[float, Array]:
        loss, slopes = of_state(params(np.exp(logs)), target, side)
        return loss, slopes.numpy() * np.exp(logs)

    around = [(np.log(1e-3), np.log(HIGHEST))] * 2
    found = minimize(look, np.log(begin), jac=True, method="L-BFGS-B", bounds=around, options={"maxfun": steps})
    return np.asarray(np.exp(found.x))


def _early(side: int) -> torch.Tensor:
    """The true v at `EARLY` steps."""
    return gs.steady_state(gs.Params(*TRUTH), start_of(side), tol=0.0, max_steps=EARLY, progress=False).v


def _early_by_adam(loss: str, fields: Array, begin: Array, steps: int) -> Array:
    target, side, of = _early(fields.shape[-1]), fields.shape[-1], LOSSES[loss]
    return walked(begin, lambda at: of_state(at, target, side, loss=of, tol=0.0, max_steps=EARLY), steps)[0]


def _early_by_squares(loss: str, fields: Array, begin: Array, _: int) -> Array:
    side, held = fields.shape[-1], {"Du": TRUTH[0], "Dv": TRUTH[1]}
    at = tuple(np.minimum(begin, HIGHEST).tolist())
    found = _levenberg.fitted(at, [[(EARLY, _early(side))]], LOSSES[loss], start_of(side), ACCEPTED, held)
    return np.array(found.values)


def _residual_by_adam(fields: Array, begin: Array, steps: int) -> Array:
    """F and k on the residual loss at the network's fields; between two of their steps the network descends both."""
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=False)
    one, state = training(Network(**SHAPES[fields.shape[-1]]), asked)
    z = state.weights.clone().requires_grad_()
    of_fields = torch.optim.Adam([z], lr=NETWORK_RATE)

    def look(at: gs.Params) -> tuple[float, torch.Tensor]:
        values = at.tensor()[0].clone()
        with torch.enable_grad():
            for _ in range(BETWEEN):
                of_fields.zero_grad()
                one.objective.total(one.representation.fields(z), values).backward()  # type: ignore[no-untyped-call]
                of_fields.step()
            values.requires_grad_()
            loss = one.objective.residual(one.representation.fields(z.detach()), values)
            (slopes,) = torch.autograd.grad(loss, values)
        return float(loss.detach()), slopes[2:]

    return walked(begin, look, steps)[0]


def _residual_together(adam: int, lbfgs: int, fields: Array, begin: Array, steps: int) -> Array:
    """Network and parameters by gradient together, as the package trains them: so many moves for one of `steps`."""
    settings = Network(parameters="gradient", adam=adam * steps, lbfgs=lbfgs * steps, **SHAPES[fields.shape[-1]])
    model = gs.models.gray_scott
    pictures = as_pictures(model, fields[None, 1], None, np.ones((1, *fields.shape[1:]), dtype=bool))
    wanted = as_wanted(model, params(begin), ["F", "k"], None)
    one, state = training(settings, Question(model, pictures, wanted, [None] * len(pictures.seen)))
    return one.run(state).values[2:]


def _residual_of(fields: Array) -> tuple[Array, Array]:
    """The residual at the true parameters, shape (N,), and its derivatives in F and k, shape (N, 2)."""
    equations = Equations(gs.models.gray_scott, TRUTH)
    return equations.residual(fields).ravel(), equations.parameter_slopes(fields)[2:].reshape(2, -1).T


def _true_by_adam(fields: Array, begin: Array, steps: int) -> Array:
    b, A = _residual_of(fields)

    def look(at: gs.Params) -> tuple[float, torch.Tensor]:
        left = b + A @ (at.tensor()[0, 2:].numpy() - TRUTH[2:])
        return float(np.mean(left**2)), torch.from_numpy(2 * A.T @ left / len(left))

    return walked(begin, look, steps)[0]


def _true_by_squares(fields: Array, _: Array, __: int) -> Array:
    b, A = _residual_of(fields)
    return np.asarray(TRUTH[2:] - np.linalg.lstsq(A, b, rcond=None)[0])


def _one_shot(fields: Array, begin: Array, _: int) -> Array:
    found = gs.invert(fields[None, 1], start=params(begin), free=["F", "k"], progress=False)
    return found.params.tensor()[0, 2:].numpy()


MODES = {
    "spectrum loss of the end, L-BFGS": _end_by_lbfgs,
    "residual loss with a network, Adam": _residual_by_adam,
    "residual loss with a network, L-BFGS": partial(_residual_together, ADAM, LBFGS),
    "residual loss with a network, Adam together": partial(_residual_together, ADAM + LBFGS, 0),
    "residual loss of the true u and v, Adam": _true_by_adam,
    "residual loss of the true u and v, least squares": _true_by_squares,
    "spectrum loss at 100 steps, Adam": partial(_early_by_adam, "spectrum"),
    "spectrum loss at 100 steps, least squares": partial(_early_by_squares, "spectrum"),
    "v at 100 steps, Adam": partial(_early_by_adam, "pixels"),
    "v at 100 steps, least squares": partial(_early_by_squares, "pixels"),
    "one-shot": _one_shot,
}
"""What is tried, in words."""
