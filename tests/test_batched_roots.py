"""Roots of a batch refined together are those that each instance has alone."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers import DIVERGING, OSCILLATING, PAPER, TRIVIAL, UNIFORM, farthest, mean_square, random_fields, small_start

import gsimplicit as gs
from gsimplicit.equations import instances
from gsimplicit.grid import broken_translations
from gsimplicit.marching import KERNELS, Marched
from gsimplicit.refine import batched, newton
from gsimplicit.refine.asking import together
from gsimplicit.refine.batched import Batch
from gsimplicit.refine.gmres import _Cycle, gmres
from gsimplicit.refine.linear import Bordered
from gsimplicit.refine.operator import BORDER, BorderedOperator
from gsimplicit.testing import taylor_test

CPU = torch.device("cpu")
STRIPES = (0.16, 0.08, 0.04, 0.06)
BUDGET = 60_000
SETTINGS = {"together": gs.Gmres(batch=8), "alone": None}


def points(*chosen: tuple[float, ...]) -> gs.Params:
    """One instance a point."""
    return gs.Params(*np.array(chosen).T.copy())


MIXED = points(PAPER, STRIPES, UNIFORM, TRIVIAL, OSCILLATING, DIVERGING, (0.16, 0.08, 0.05, 0.062))


@lru_cache
def states(n: int, linear: str) -> gs.SteadyState:
    """All points, refined together or each alone by sparse LU."""
    with pytest.warns(gs.StabilityWarning):  # of the one that diverges
        return gs.steady_state(
            MIXED,
            small_start(n, n // 4),
            tol=1e-5,
            max_steps=20_000,
            refine=gs.Refine(linear=SETTINGS[linear], max_evaluations=BUDGET),
        )


@pytest.mark.parametrize("n", [32, 64])
def test_a_batch_has_the_roots_and_verdicts_that_each_instance_has_alone(n: int) -> None:
    found, alone = states(n, "together"), states(n, "alone")
    for name in ("status", "kind", "motion", "steps"):
        assert getattr(found, name).tolist() == getattr(alone, name).tolist()
    unsteady = {gs.Status.UNSTEADY} if n == 64 else set()  # on the smaller grid its waves die out
    assert set(found.status.tolist()) == {gs.Status.STEADY, gs.Status.DRIFTING, gs.Status.DIVERGED} | unsteady
    assert {gs.Kind.TRIVIAL, gs.Kind.UNIFORM, gs.Kind.PATTERN} <= set(found.kind.tolist())
    for i in found.has_root.nonzero().reshape(-1).tolist():
        certified = found.residual[i] if found.status[i] == gs.Status.STEADY else found.bordered_residual[i]
        again = newton.certify(list(instances(MIXED))[i], found.fields[i].numpy())
        assert certified <= 1e-10
        assert certified.item() == (again.raw if found.status[i] == gs.Status.STEADY else again.bordered)
        apart = float((found.fields[i] - alone.fields[i]).norm())
        assert apart <= found.distance[i] + alone.distance[i]
        assert found.least_singular[i] == pytest.approx(alone.least_singular[i].item(), rel=0.1)
        assert found.evaluations[i] == pytest.approx(alone.evaluations[i].item(), abs=2000)


def test_an_instance_of_a_batch_is_what_it_is_alone_to_rounding() -> None:
    whole = states(32, "together")
    refine = gs.Refine(linear=SETTINGS["together"], max_evaluations=BUDGET)
    for i in (0, 1, 2, 6):
        alone = gs.steady_state(MIXED[i], small_start(32, 8), tol=1e-5, max_steps=20_000, refine=refine)
        assert alone.status[0] == whole.status[i]
        assert alone.evaluations[0] == whole.evaluations[i]
        # what rounding changes in an inexact Newton step is far below what the certificate leaves open
        assert farthest(alone.fields[0], whole.fields[i]) <= 1e-12 + 1e-2 * whole.distance[i].item()
        assert farthest(alone.fields[0], whole.fields[i]) < 1e-9


def test_one_that_is_not_a_number_ends_alone() -> None:
    params = points(PAPER, PAPER, STRIPES)
    fields = states(32, "alone").fields[[0, 0, 1]] + 1e-6 * random_fields(3, (32, 32))
    settings = gs.Refine(linear=gs.Gmres(batch=3))
    batch = Batch(list(instances(params)), settings, CPU)
    whole = batch.roots(fields)
    hurt = fields.clone()
    hurt[1, 0, 5, 5] = torch.nan
    found = batch.roots(hurt)
    assert found[1].status == gs.Status.DIVERGED
    for i in (0, 2):
        assert found[i].status == whole[i].status
        assert farthest(found[i].fields, whole[i].fields) < 1e-12
    bounds = batch.bounds(found, factorise=True)
    assert np.isnan(bounds[1]).all()
    assert np.isfinite([bounds[0], bounds[2]]).all()


@pytest.mark.parametrize("transpose", [False, True], ids=["forward", "transposed"])
def test_a_linear_solve_does_not_depend_on_its_batch(transpose: bool) -> None:
    """One converges at once, one is not a number, one is asked for less; each has the products it has alone."""
    chosen = [0, 0, 1, 6]
    equations, fields = list(instances(MIXED[chosen])), states(32, "alone").fields[chosen].numpy()
    directions = [broken_translations(x) for x in fields]
    fields[1, 0, 3, 3] = np.nan
    systems = [Bordered(e, x, d, np.zeros(2)) for e, x, d in zip(equations, fields, directions, strict=True)]
    r = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 2048 + BORDER)))
    tol, spaces = np.array([1e-3, 1e-10, 1e-10, 1e-12]), r[2:] + 0.0
    given: dict[str, Any] = {"transpose": transpose, "cycle": 80, "deflate": 20, "max_products": 1000}
    kept = [None, None, spaces, None]
    whole = gmres(BorderedOperator(systems, CPU), r, tol=tol, spaces=list(kept), **given)
    for i in range(4):
        one = gmres(BorderedOperator([systems[i]], CPU), r[i : i + 1], tol=tol[i : i + 1], spaces=[kept[i]], **given)
        assert one.products[0] == whole.products[i]
        if i == 1:
            assert np.isinf([one.residual[0], whole.residual[i]]).all()
        else:
            assert whole.residual[i] <= tol[i]
            assert farthest(one.x[0], whole.x[i]) < 1e-8 * float(whole.x[i].abs().max())


def test_what_gmres_does_not_solve_sparse_lu_does() -> None:
    """Five products are too few for any pattern; and where one ends without a root, it is tried alone once more."""
    alone = states(32, "alone")
    refine = gs.Refine(linear=gs.Gmres(batch=2, max_products=5), max_evaluations=BUDGET)
    found = gs.steady_state(MIXED[[0, 1]], small_start(32, 8), tol=1e-5, max_steps=20_000, refine=refine)
    assert found.status.tolist() == alone.status[:2].tolist()
    for i in range(2):
        assert float((found.fields[i] - alone.fields[i]).norm()) <= found.distance[i] + alone.distance[i]


def test_what_ends_without_a_root_though_it_is_slow_is_tried_once_more_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone, whole = states(32, "alone"), together

    def failing(works: Any, march: Any, solve: Any) -> Any:
        found = whole(works, march, solve)
        failed = [replace(one, status=gs.Status.FAILED) for one in found]
        return [failed[0], replace(failed[1], certified=replace(failed[1].certified, bordered=1e-4))]

    monkeypatch.setattr(batched, "together", failing)
    batch = Batch(list(instances(MIXED[[0, 1]])), gs.Refine(linear=gs.Gmres(batch=2), max_evaluations=5000), CPU)
    found = batch.roots(alone.fields[:2])
    assert [one.status for one in found] == [alone.status[0], gs.Status.FAILED]


def test_roots_are_pinned_together() -> None:
    params, start = points(PAPER, STRIPES), states(32, "alone").fields[:2]
    found, alone = (
        gs.steady_state(params, start, refine=gs.Refine(lattice=True, linear=linear))
        for linear in (gs.Gmres(batch=2), None)
    )
    assert found.status.tolist() == alone.status.tolist()
    for i in range(2):
        assert float((found.fields[i] - alone.fields[i]).norm()) <= found.distance[i] + alone.distance[i]


class Device:
    """A device's kernels: those of the CPU, which count their batches."""

    name = "device"

    def __init__(self) -> None:
        self.batches: list[tuple[int, float]] = []

    def march(
        self, params: gs.Params, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        self.batches.append((len(fields), tol))
        return KERNELS.march(params, fields, tol, max_steps, check_every, dt)


def test_the_tail_is_marched_as_a_batch_by_the_kernels_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    monkeypatch.setattr(batched, "backend_for", lambda _: device)
    refine, whole = gs.Refine(linear=SETTINGS["together"], max_evaluations=BUDGET), states(32, "together")
    some = [0, 1, 2, 4]
    found = gs.steady_state(MIXED[some], small_start(32, 8), tol=1e-5, max_steps=20_000, refine=refine)
    assert device.batches[0] == (4, 1e-6)
    assert found.status.tolist() == whole.status[some].tolist()
    assert found.motion.tolist() == whole.motion[some].tolist()
    assert found.evaluations.tolist() == whole.evaluations[some].tolist()
    assert farthest(found.fields, whole.fields[some]) < 1e-11


def test_the_implicit_gradient_at_such_a_root_passes_a_taylor_test() -> None:
    root, route = states(32, "together"), gs.routes.Implicit(gs.Refine(linear=gs.Gmres(batch=4, tol=1e-12)))
    for i in (0, 2):
        found = taylor_test(MIXED[i], route, mean_square, initial=root.fields[i : i + 1])
        assert np.abs(found.orders - 2).max() < 0.1
    several = gs.grad(MIXED[[0, 1, 2]], route, mean_square, initial=small_start(32, 8), tol=1e-5, max_steps=20_000)
    direct = gs.grad(MIXED[[0, 1, 2]], "implicit", mean_square, initial=several.state.fields)
    torch.testing.assert_close(several.grad.tensor(), direct.grad.tensor(), rtol=1e-4, atol=1e-8)


def test_operators_and_cycles_stay_on_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On "meta", which computes nothing and refuses tensors of elsewhere; what comes to the CPU is ones."""
    fields, meta, bring = states(32, "alone").fields[[0, 2]].numpy(), torch.device("meta"), torch.Tensor.cpu
    systems = [
        Bordered(e, x, broken_translations(x), np.array([1e-3, 0.0]))
        for e, x in zip(instances(MIXED[[0, 2]]), fields, strict=True)
    ]
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: torch.ones(x.shape, dtype=x.dtype) if x.is_meta else bring(x))
    operator = BorderedOperator(systems, meta)
    z = torch.zeros((2, 2048 + BORDER), dtype=torch.float64, device=meta)
    for transpose in (False, True):
        cycle = _Cycle(operator, transpose, [z[:1].expand(4, -1), None], 10)
        step, spent, spaces = cycle.run(z, np.full(2, 1e-9), np.full(2, 25))
        assert step.is_meta
        assert spent.tolist() == [25, 25]
        assert all(space is not None and space.is_meta and space.shape == (10, 2048 + BORDER) for space in spaces)
    assert operator.part([1]).apply(z[:1], transpose=False).is_meta
