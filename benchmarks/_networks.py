"""Physics-informed networks of two packages, as `benchmarks.inversion` trains them: DeepXDE 1.15.0 and anypinn 0.25.8.

Both are made to do the same. Networks for u and v have three layers of 32, tanh, and get the place as sines and cosines
of six waves a side, so they are periodic. The parameters are factors of their start, learned as logs. The loss is that
of the data over their variance, and that of both steady residuals over the present F and F + k; in a fixed unit
anypinn's four went to zero where v alone was data. The first fifth of the seconds is Adam's at 1e-3, the rest is
L-BFGS's.

The Laplacian is the grid's own, of the networks' values one pixel away. The packages' examples differentiate the
network instead, which is an equation in continuous space: another row does that.

The rest is as each package has it. DeepXDE, backend pytorch: one network of two outputs, and all pixels in every step.
anypinn, on torch: a network for each, in its loop without Lightning; Adam in batches of 64 data and 192 collocation
points, L-BFGS, with the settings of its LBFGSConfig, on all pixels. Its own example of Gray-Scott learns from a movie,
by Adam, so here it gets one as well: residuals in time, and L-BFGS on 2,048 points drawn once.

We tried a few layers, units of the residuals and shares of Adam on this very picture, and searched through nothing.

anypinn imports `typing.override`, which Python has from 3.12; before, it is lent the one of typing_extensions.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
Tensor = torch.Tensor
Answer = tuple[Array, float, str]
"""Parameters, seconds of the process, and a note."""

WAVES = 6
"""Waves a side that the networks get as inputs."""
LAYERS = [32, 32, 32]
ADAM = 0.2
"""The share of the seconds that Adam has before L-BFGS."""
RATE = 1e-3
BATCH, DATA = 256, 64
"""Points in anypinn's batches, and how many of them are data."""
DRAWN = 2048
"""Points of a movie that L-BFGS has."""
INNER = 20
"""Iterations of L-BFGS between two looks at the clock."""


@dataclass(frozen=True)
class Shown:
    """What the networks are shown.

    Attributes:
        points: places as angles of 2 pi a side, shape (n, 2), or with the time from 0 to 1, shape (n, 3).
        fields: u and v there, shape (n, 2).
        seen: the columns of them that are data.
        side: pixels a side.
        start: the parameters to start at.
        lattice: whether the Laplacian is the grid's, not that of continuous space.
        span: steps that a movie takes.
    """

    points: Tensor
    fields: Tensor
    seen: tuple[int, ...]
    side: int
    start: Array
    lattice: bool = True
    span: float = 0.0

    @property
    def pixel(self) -> float:
        """The angle of one pixel."""
        return 2 * np.pi / self.side

    def scales(self) -> Tensor:
        """Standard deviation of each seen column."""
        return self.fields[:, list(self.seen)].std(0)

    def parameters(self, logs: list[Tensor]) -> list[Tensor]:
        """Du, Dv, F, k from the logs of their factors."""
        return [float(x) * torch.exp(log) for x, log in zip(self.start, logs, strict=True)]

    def around(self, at: Tensor) -> Tensor:
        """The four neighbours of each place, one after the other."""
        steps = torch.zeros(4, 1, at.shape[1])
        for i, (axis, sign) in enumerate(((0, 1), (0, -1), (1, 1), (1, -1))):
            steps[i, 0, axis] = sign * self.pixel
        return (at + steps).reshape(-1, at.shape[1])

    def change_u(self, u: Tensor, v: Tensor, laplacian: Tensor, p: list[Tensor]) -> Tensor:
        """The change of u a step, over the present F."""
        return (p[0] * laplacian - u * v**2 + p[2] * (1 - u)) / p[2]

    def change_v(self, u: Tensor, v: Tensor, laplacian: Tensor, p: list[Tensor]) -> Tensor:
        """The change of v a step, over the present F + k."""
        return (p[1] * laplacian + u * v**2 - (p[2] + p[3]) * v) / (p[2] + p[3])


def of_picture(u: Array, v: Array, seen: tuple[int, ...], start: Array, *, lattice: bool = True) -> Shown:
    """A steady picture: v alone (1,), or u and v (0, 1)."""
    side = len(u)
    angles = torch.arange(side) * (2 * np.pi / side)
    points = torch.cartesian_prod(angles, angles).float()
    fields = torch.as_tensor(np.stack([u.ravel(), v.ravel()], axis=1)).float()
    return Shown(points, fields, seen, side, start, lattice)


def of_movie(movie: Array, span: float, start: Array) -> Shown:
    """A movie of u and v, shape (rows, columns, times, 2)."""
    side, _, times, _ = movie.shape
    angles = torch.arange(side) * (2 * np.pi / side)
    points = torch.cartesian_prod(angles, angles, torch.linspace(0, 1, times)).float()
    return Shown(points, torch.as_tensor(movie.reshape(-1, 2)).float(), (0, 1), side, start, span=span)


def _warm() -> None:
    """Make an optimiser: with the first one torch imports for a second, which is not training."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


def _answer(shown: Shown, logs: list[Tensor], begin: float, note: str) -> Answer:
    found = np.array([float(x.detach()) for x in shown.parameters(logs)])
    return found, time.process_time() - begin, note


def by_deepxde(shown: Shown, seconds: float) -> Answer:
    """Train DeepXDE's network. Raises ImportError where the package is not installed."""
    os.environ["DDE_BACKEND"] = "pytorch"
    with contextlib.redirect_stderr(io.StringIO()):  # it tells its backend there
        import deepxde as dde

    _warm()
    dde.config.set_random_seed(0)
    dde.optimizers.LBFGS_options.update(iter_per_step=INNER, fun_per_step=2 * INNER, maxiter=10**9)
    begin, counts = time.process_time(), []
    logs = [dde.Variable(0.0) for _ in range(4)]
    model = _deepxde_model(dde, shown, logs)
    weights = [1.0, 1.0, *(1 / float(x) ** 2 for x in shown.scales())]
    for name, how, share in (("adam", {"lr": RATE}, ADAM), ("L-BFGS", {}, 1.0)):
        before = model.train_state.iteration
        with contextlib.redirect_stdout(io.StringIO()):  # it says how long it compiled
            model.compile(name, external_trainable_variables=logs, loss_weights=weights, **how)
            clock = _deepxde_clock(dde, begin + share * seconds)
            model.train(iterations=10**9, display_every=10**9, callbacks=[clock], verbose=0)
        counts.append(f"{model.train_state.iteration - before} of {name.replace('adam', 'Adam')}")
    return _answer(shown, logs, begin, ", ".join([*counts, "backend pytorch"]))


def _deepxde_clock(dde: Any, end: float) -> Any:
    class Clock(dde.callbacks.Callback):  # type: ignore[misc, name-defined]
        """Stops the training when its seconds are over."""

        def on_epoch_end(self) -> None:
            self.model.stop_training = time.process_time() > end

    return Clock()


def _deepxde_model(dde: Any, shown: Shown, logs: list[Tensor]) -> Any:
    net = dde.nn.FNN([4 * WAVES, *LAYERS, 2], "tanh", "Glorot uniform")
    net.apply_feature_transform(_waves)
    points, columns = shown.points.numpy(), [shown.fields[:, i : i + 1].numpy() for i in shown.seen]
    data = dde.data.PDE(
        dde.geometry.Rectangle([0, 0], [2 * np.pi, 2 * np.pi]),
        _deepxde_residuals(dde, net, shown, logs),
        [dde.icbc.PointSetBC(points, x, component=i) for i, x in zip(shown.seen, columns, strict=True)],
        anchors=points,
    )
    return dde.Model(data, net)


def _waves(at: Tensor) -> Tensor:
    return torch.cat([f(j * at) for j in range(1, WAVES + 1) for f in (torch.sin, torch.cos)], dim=1)


def _deepxde_residuals(dde: Any, net: Any, shown: Shown, logs: list[Tensor]) -> Callable[..., list[Tensor]]:
    def laplacian(at: Tensor, fields: Tensor) -> Tensor:
        if shown.lattice:
            return net(shown.around(at)).reshape(4, -1, 2).sum(0) - 4 * fields
        parts = [[dde.grad.hessian(fields, at, component=c, i=i, j=i) for i in (0, 1)] for c in (0, 1)]
        return shown.pixel**2 * torch.cat([x + y for x, y in parts], dim=1)

    def residuals(at: Tensor, fields: Tensor) -> list[Tensor]:
        p, curved = shown.parameters(logs), laplacian(at, fields)
        u, v = fields[:, :1], fields[:, 1:]
        return [shown.change_u(u, v, curved[:, :1], p), shown.change_v(u, v, curved[:, 1:], p)]

    return residuals


def by_anypinn(shown: Shown, seconds: float) -> Answer:
    """Train anypinn's networks. Raises ImportError where the package is not installed."""
    if not hasattr(typing, "override"):
        import typing_extensions

        typing.override = typing_extensions.override  # type: ignore[attr-defined, unused-ignore]
    from anypinn import core
    from anypinn.core.dataset import PINNDataset

    _warm()
    torch.manual_seed(0)
    begin = time.process_time()
    problem = _anypinn_problem(shown)
    values = (shown.fields[:, list(shown.seen)] / shown.scales())[..., None]
    batches = _forever(PINNDataset(shown.points, values, shown.points, BATCH, DATA))
    adam, steps = torch.optim.Adam(problem.parameters(), lr=RATE), 0
    while time.process_time() - begin < ADAM * seconds:
        _step(adam, problem, next(batches))
        steps += 1
    some = torch.randperm(len(values))[:DRAWN] if shown.span else torch.arange(len(values))
    batch, how = ((shown.points[some], values[some]), shown.points[some]), core.LBFGSConfig(max_iter=INNER)
    names = ("lr", "max_iter", "history_size", "line_search_fn")
    lbfgs = torch.optim.LBFGS(problem.parameters(), **{name: getattr(how, name) for name in names})
    while time.process_time() - begin < seconds:
        _step(lbfgs, problem, batch)
    done = lbfgs.state[lbfgs.param_groups[0]["params"][0]]["n_iter"]
    logs = [x.value for x in problem.params.values()]
    return _answer(shown, logs, begin, f"{steps} of Adam, {done} of L-BFGS, torch")


def _forever(batches: Any) -> Iterator[Any]:
    while True:
        yield from (batches[i] for i in range(len(batches)))


def _step(optimizer: torch.optim.Optimizer, problem: Any, batch: Any) -> None:
    def loss() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = problem.training_loss(batch)
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type, unused-ignore]


def _anypinn_problem(shown: Shown) -> Any:
    from anypinn import core
    from anypinn.problems import DataConstraint, PDEResidualConstraint

    places, times = core.FourierEncoding(WAVES, include_input=False), core.FourierEncoding(WAVES)

    def encode(at: Tensor) -> Tensor:
        return torch.cat([places(at[:, :2]), *([times(at[:, 2:])] if shown.span else [])], dim=1)

    width = encode(shown.points[:1]).shape[1]
    how = core.MLPConfig(in_dim=width, out_dim=1, hidden_layers=LAYERS, activation="tanh", encode=encode)
    fields = {name: core.Field(how) for name in ("u", "v")}
    logs = {name: core.Parameter(core.ScalarConfig(init_value=0.0)) for name in ("Du", "Dv", "F", "k")}
    scales, seen = shown.scales()[:, None], [("u", "v")[i] for i in shown.seen]

    def predicted(at: Tensor, fields: Any, _: Any) -> Tensor:
        return torch.stack([fields[name](at) for name in seen], dim=1) / scales

    constraints = [
        PDEResidualConstraint(fields, logs, _anypinn_residual(shown, name), log_key=f"loss/{name}") for name in fields
    ]
    data = DataConstraint(fields, logs, predicted, weight=float(len(seen)))  # a mean over what is seen: now the sum
    return core.Problem([*constraints, data], core.build_criterion("mse"), fields, logs)


def _anypinn_residual(shown: Shown, name: str) -> Callable[[Tensor, Any, Any], Tensor]:
    from anypinn.lib.diff import partial

    def residual(at: Tensor, fields: Any, logs: Any) -> Tensor:
        here = {key: field(at) for key, field in fields.items()}
        if shown.lattice:
            laplacian = fields[name](shown.around(at)).reshape(4, -1, 1).sum(0) - 4 * here[name]
        else:
            laplacian = shown.pixel**2 * sum(partial(here[name], at, dim=i, order=2) for i in (0, 1))
        p = shown.parameters([x.value for x in logs.values()])
        change, rate = (shown.change_u, p[2]) if name == "u" else (shown.change_v, p[2] + p[3])
        rest = change(here["u"], here["v"], laplacian, p)
        return rest - partial(here[name], at, dim=2) / (shown.span * rate) if shown.span else rest

    return residual
