"""One training for fields of any representation and parameters: Adam, then L-BFGS.

Parameters are learned by gradient beside the weights, as raw numbers without bounds, or follow in closed form from the
fields at every evaluation. In the second case the gradient in the weights is that at fixed parameters: they are where
the residual loss has no slope in them (variable projection; G. Golub and V. Pereyra, Inverse Problems 19, R1, 2003).

Adam: D. Kingma and J. Ba, 2015, its rate along half a cosine. L-BFGS: J. Nocedal and S. Wright, Numerical Optimization,
2006, section 7.2, scipy's, in float64.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from gsimplicit import progress
from gsimplicit.descent.reparametrisation import Reparametrisation
from gsimplicit.inverse.network.objective import Objective
from gsimplicit.inverse.network.representation import Representation
from gsimplicit.inverse.network.state import End, Ended, State
from gsimplicit.threads import look

Array = np.ndarray[Any, np.dtype[np.float64]]

ROUND = 500
"""Iterations of L-BFGS before it begins anew."""
KEPT = 30
"""Pairs that L-BFGS remembers."""
LOOKS = 50
"""Evaluations between two that go into the history."""
SAVED = 5.0
"""CPU seconds of work that a kill may cost."""
STANDS = 1e-6
"""Relative decrease of the loss over a round below which L-BFGS has converged."""
MARGIN = 1e-6
"""Nearest that parameters in closed form come to an end of their range."""
LAST_RATE = 0.02
"""Rate of Adam's last step, by that of its first."""


@dataclass(frozen=True)
class Plan:
    """How long, how fast and how exactly.

    Attributes:
        closed: Whether parameters follow in closed form; else by gradient.
        adam: Steps of Adam.
        lbfgs: Iterations of L-BFGS at most.
        rate: Adam's rate for the weights.
        parameter_rate: Its rate for raw parameters.
        seconds: CPU seconds at most; infinite leaves the steps to decide.
        adam_share: Share of the seconds after which Adam gives way.
        dtype: Of Adam's arithmetic.
    """

    closed: bool
    adam: int
    lbfgs: int
    rate: float
    parameter_rate: float
    seconds: float = math.inf
    adam_share: float = 0.25
    dtype: torch.dtype = torch.float64


@dataclass(frozen=True, eq=False)
class Training:
    """All that a training is of.

    Attributes:
        representation: What stands for the fields.
        objective: What is made small.
        raw: How parameters are made of raw numbers.
        plan: How long, how fast and how exactly.
        store: File of the state; None keeps nothing.
        digest: Of everything that decides the numbers.
    """

    representation: Representation
    objective: Objective
    raw: Reparametrisation
    plan: Plan
    store: Path | None = None
    digest: str = ""

    def parts(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fields (S, H, W) and parameters (P,) of weights, with raw parameters behind them where there are any."""
        if self.plan.closed:
            fields = self.representation.fields(z)
            return fields, self._inside(self.objective.fitted(fields))
        m = len(self.objective.free)
        values = self.objective.values.to(z.dtype).clone()
        values[self.objective.free] = self.raw.values(z[-m:])
        return self.representation.fields(z[:-m]), values

    def start(self, values: torch.Tensor, seed: int) -> State:
        """The state before the first step, from parameters (P,) and a seed."""
        weights = self.representation.start(torch.Generator().manual_seed(seed))
        if not self.plan.closed:
            weights = torch.cat([weights, self.raw.raw(values[self.objective.free])])
        return State(weights)

    def run(self, begin: State) -> End:
        """Train from a state, or from what the store has, to the end."""
        state = (State.load(self.store, self.digest) if self.store is not None else None) or begin
        torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first of a process imports for a second
        clock = _Clock(state)
        if not state.ended:
            with torch.enable_grad():
                if not state.lbfgs:
                    self._adam(state, clock)
                if not state.ended:
                    self._lbfgs(state, clock)
            with torch.no_grad():
                self._loss(state.weights, state, clock, "end", state.adam + state.lbfgs)
            self._save(state, clock, now=True)
        with torch.no_grad():
            fields, values = self.parts(state.weights)
            losses = self.objective.data(fields), self.objective.residual(fields, values)
        return End(
            weights=state.weights, values=values.numpy(), fields=fields.numpy(), data=float(losses[0]),
            residual=float(losses[1]), ended=Ended(state.ended), adam=state.adam, lbfgs=state.lbfgs,
            seconds=state.seconds, history=torch.tensor(state.history, dtype=torch.float64).numpy(),
        )  # fmt: skip

    def _adam(self, state: State, clock: _Clock) -> None:
        plan, m = self.plan, 0 if self.plan.closed else len(self.objective.free)
        z = state.weights.to(plan.dtype)
        weights, raw = (part.clone().requires_grad_() for part in (z[: len(z) - m], z[len(z) - m :]))
        groups = [{"params": [weights], "lr": plan.rate}, {"params": [raw], "lr": plan.parameter_rate}]
        optimiser = torch.optim.Adam(groups[: 1 + (m > 0)])
        if state.optimiser is not None:
            optimiser.load_state_dict(state.optimiser)
        limit = plan.adam_share * plan.seconds
        while state.adam < plan.adam and clock.seconds() < limit:
            look()
            done = max(state.adam / plan.adam, clock.seconds() / limit)
            share = LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
            for group, rate in zip(optimiser.param_groups, (plan.rate, plan.parameter_rate), strict=False):
                group["lr"] = rate * share
            optimiser.zero_grad(set_to_none=True)
            at = state.adam if state.adam % LOOKS == 0 else None
            loss = self._loss(torch.cat([weights, raw]), state, clock, "Adam", at)
            if not bool(torch.isfinite(loss)):
                state.ended = Ended.DIVERGED
                return
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            state.adam += 1
            if state.adam % LOOKS == 0:
                state.weights, state.optimiser = torch.cat([weights, raw]).detach().double(), optimiser.state_dict()
                self._save(state, clock)
        state.weights, state.optimiser = torch.cat([weights, raw]).detach().double(), None

    def _lbfgs(self, state: State, clock: _Clock) -> None:
        """Rounds that depend on nothing but where they begin, so that a training goes on from between two of them."""

        def loss_and_slope(x: Array) -> tuple[float, Array]:
            z = torch.from_numpy(x.copy()).requires_grad_()
            at = state.adam + state.lbfgs + done[0] if told[0] % LOOKS == 0 else None
            loss = self._loss(z, state, clock, "L-BFGS", at)
            told[0] += 1
            return loss.item(), torch.autograd.grad(loss, z)[0].numpy()

        def between(intermediate_result: object) -> None:
            look()
            done[0] += 1
            if clock.seconds() >= self.plan.seconds:
                raise StopIteration

        while not state.ended:
            told, done, left = [0], [0], self.plan.lbfgs - state.lbfgs
            if left <= 0 or clock.seconds() >= self.plan.seconds:
                state.ended = Ended.STEPS if left <= 0 else Ended.SECONDS
                return
            most = min(ROUND, left)
            options: Any = {"maxcor": KEPT, "maxiter": most, "maxfun": 20 * ROUND, "ftol": 0.0, "gtol": 0.0}
            asked: Any = {"jac": True, "method": "L-BFGS-B", "callback": between, "options": options}
            found = minimize(loss_and_slope, state.weights.numpy(), **asked)
            if not (math.isfinite(found.fun) and np.isfinite(found.x).all()):
                state.ended = Ended.DIVERGED
                return
            state.weights = torch.from_numpy(found.x.copy())
            state.lbfgs += done[0]
            if clock.seconds() < self.plan.seconds and state.loss - found.fun <= STANDS * abs(found.fun):
                state.ended = Ended.CONVERGED
            state.loss = float(found.fun)
            self._save(state, clock)

    def _loss(self, z: torch.Tensor, state: State, clock: _Clock, words: str, at: int | None) -> torch.Tensor:
        """The total loss; where steps done are told, its parts go into the history and the progress."""
        fields, values = self.parts(z)
        data, residual = self.objective.data(fields), self.objective.residual(fields, values)
        if at is not None:
            losses = data.item(), residual.item()
            state.history.append([at, clock.seconds(), *losses, *values.tolist()])
            progress.note("{} {}, data {:.2g}, residual {:.2g}", words, at, *losses)
        return data + self.objective.weight * residual

    def _inside(self, values: torch.Tensor) -> torch.Tensor:
        """Parameters within the bounds of those that are learned by gradient."""
        out = values.clone()
        for j, low, high in zip(self.objective.free, self.raw.low, self.raw.high, strict=True):
            out[j] = out[j].clamp(low + MARGIN, high - MARGIN)
        return out

    def _save(self, state: State, clock: _Clock, *, now: bool = False) -> None:
        state.seconds = clock.seconds()
        if self.store is not None and (now or state.seconds - clock.saved >= SAVED):
            state.save(self.store, self.digest)
            clock.saved = state.seconds


class _Clock:
    """CPU seconds of this thread, on from those that a state has spent."""

    def __init__(self, state: State) -> None:
        self._before, self._begin, self.saved = state.seconds, time.thread_time(), state.seconds

    def seconds(self) -> float:
        return self._before + time.thread_time() - self._begin
