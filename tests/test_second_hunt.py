"""Siblings of faults that a second hunt found: each was a wrong number, or ordinary use refused."""

from __future__ import annotations

import enum
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
import pytest
import torch
from helpers import UNIFORM, mean_square, small_start

import gsimplicit as gs
from gsimplicit.identity import identity

T = TypeVar("T")


@pytest.fixture(scope="module")
def root() -> gs.SteadyState:
    return gs.steady_state(gs.Params(*UNIFORM), small_start(12, 3), refine=True)


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(v)
        return v**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return 2 * ctx.saved_tensors[0] * g


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: torch.Tensor) -> torch.Tensor:
        return v.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g.clamp(-1e-4, 1e-4)


def test_hessian_refuses_a_curved_loss_that_torch_differentiates_once(root: gs.SteadyState) -> None:
    with pytest.raises(ValueError, match=r"loss 'once' is curved"):
        gs.hessian(root, once)
    gs.hessian(root, lambda v: v.mean((-2, -1)))  # linear: its second derivative is zero


def once(v: torch.Tensor) -> torch.Tensor:
    return OnceOnly.apply(v).mean((-2, -1))


def test_hessian_refuses_derivatives_that_are_not_finite(root: gs.SteadyState) -> None:
    v0 = root.v.clone()
    for loss in (lambda v: (v - v0).abs().pow(1.5).mean((-2, -1)), lambda v: torch.sqrt((v * 0).sum((-2, -1)))):
        with pytest.raises(ValueError, match="not finite"):
            gs.hessian(root, loss)


@pytest.mark.parametrize("route", ["unrolled", "implicit"])
@pytest.mark.parametrize("wild", [float("inf"), float("nan")])
def test_a_loss_that_is_not_finite_has_no_certified_gradient(route: str, wild: float) -> None:
    with pytest.raises(ValueError, match="itself is not finite"):
        gs.grad(gs.Params(*UNIFORM), route, lambda v: v.mean((-2, -1)) + wild, initial=small_start(12, 3))
    data = gs.scan({"k": [0.05]}, losses=[wild_loss(wild), mean_square], routes=[route], base=gs.Params(*UNIFORM),
                   initial=small_start(12, 3), progress=False)  # fmt: skip
    assert data.gradient.sel(objective="wild").isnull().all()
    assert data.gradient.sel(objective="mean_square").notnull().all()


def wild_loss(value: float) -> Any:
    def wild(v: torch.Tensor) -> torch.Tensor:
        return v.mean((-2, -1)) + value

    return wild


def test_a_backward_that_clips_mixes_no_instances_and_a_shared_mean_does() -> None:
    params, starts = gs.Params(0.16, 0.08, 0.035, 0.06), small_start(12, 3, count=2)
    settings = {"initial": starts, "tol": 0.0, "max_steps": 30}
    out = gs.grad(params, "unrolled", lambda v: (Clipped.apply(v) ** 2).mean((-2, -1)), **settings)
    assert torch.isfinite(out.grad.k).all()
    with pytest.raises(ValueError, match="mixes instances"):
        gs.grad(params, "unrolled", lambda v: (v**2).mean().expand(len(v)), **settings)


def test_methods_and_members_of_an_enumeration_belong_to_a_loss() -> None:
    def made(weight: float) -> list[Any]:
        class Kind(enum.Enum):
            MEAN = 1

            def __call__(self, v: torch.Tensor) -> torch.Tensor:
                return weight * v.mean((-2, -1))

        def loss(v: torch.Tensor) -> torch.Tensor:
            return Kind.MEAN(v)

        return identity(loss)

    assert made(1.0) != made(10.0)
    assert made(1.0) == made(1.0)


def test_a_subscripted_class_is_told_by_the_class() -> None:
    def made(weight: float) -> list[Any]:
        class Scaled(Generic[T]):
            w = weight

            def __call__(self, v: torch.Tensor) -> torch.Tensor:
                return self.w * v.mean((-2, -1))

        alias = Scaled[float]

        def loss(v: torch.Tensor) -> torch.Tensor:
            return alias()(v)

        return identity(loss)

    assert made(1.0) != made(10.0)
    assert made(1.0) == made(1.0)


def test_a_parametrised_network_is_told_by_its_parameters() -> None:
    def made(scale: float) -> list[Any]:
        torch.manual_seed(0)
        layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 1))
        with torch.no_grad():
            layer.parametrizations.weight.original0.mul_(scale)

        def loss(v: torch.Tensor) -> torch.Tensor:
            return layer(v[:, 0, :4].float())[:, 0]

        return identity(loss)

    assert made(1.0) != made(2.0)
    assert made(1.0) == made(1.0)


def test_the_order_of_a_table_counts_as_a_loss_may_go_through_it() -> None:
    def made(table: dict[str, float]) -> list[Any]:
        def loss(v: torch.Tensor) -> torch.Tensor:
            return next(iter(table.values())) * v.mean((-2, -1))

        return identity(loss)

    assert made({"a": 1.0, "b": 2.0}) != made({"b": 2.0, "a": 1.0})


def test_functions_of_numpy_imported_by_name_are_told_by_it() -> None:
    from numpy.fft import rfft2
    from numpy.linalg import norm

    def loss(v: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor([norm(rfft2(x)) for x in v.detach().numpy()])

    assert identity(loss) == identity(loss)


def test_threads_of_a_scan_work_on_copies_of_a_loss_that_keeps_an_array() -> None:
    class Working:
        __name__ = "working"

        def __init__(self) -> None:
            self.work = np.zeros((24, 24))

        def __call__(self, v: torch.Tensor) -> torch.Tensor:
            out = []
            for x in v.detach().numpy():
                np.copyto(self.work, x)
                for _ in range(20):
                    np.sin(self.work, out=self.work)
                out.append(float(self.work.mean()))
            return torch.tensor(out, dtype=torch.float64)

    settings = {"losses": [Working()], "initial": small_start(24, 5), "tol": 0.0, "max_steps": 2, "progress": False}
    axes = {"k": np.linspace(0.05, 0.06, 60)}
    with ThreadPoolExecutor(4) as pool:
        assert gs.scan(axes, executor=pool, tile=1, **settings).equals(gs.scan(axes, **settings))


def test_an_address_is_no_path_of_a_store() -> None:
    with pytest.raises(ValueError, match="store must be a path on this machine"):
        gs.scan({"k": [0.05]}, store="s3://bucket/a.nc", initial=small_start(12, 3), progress=False)


def test_an_integer_that_wraps_around_is_another_than_pythons() -> None:
    def made(weight: Any) -> list[Any]:
        def loss(v: torch.Tensor) -> torch.Tensor:
            return float(weight + 100) * v.mean((-2, -1))

        return identity(loss)

    assert made(200) != made(np.uint8(200))
    assert made(200) == made(np.int64(200))


def test_masks_of_dask_arrays_are_seen_and_plain_ones_are_numbers() -> None:
    da = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="masked"):
        gs.Params(0.16, 0.08, 0.03, da.ma.masked_array(np.array([0.05, 9e36]), mask=[False, True]))
    assert gs.Params(0.16, 0.08, 0.03, da.from_array(np.array([0.05, 0.06]))).k.tolist() == [0.05, 0.06]


def test_an_index_is_integers_flags_or_a_slice() -> None:
    params = gs.Params(0.16, 0.08, 0.03, [0.05, 0.06])
    for index in (1, np.int64(1), np.array(1), torch.tensor(1), [1], np.array([False, True]), slice(1, 2), range(1, 2)):
        assert params[index].k.tolist() == [0.06]
    for wrong in (params, [0.9], "1", None, (0, 1), 1.0, True):
        with pytest.raises(TypeError, match="index must be"):
            params[wrong]


def test_what_a_labelled_array_says_of_units_is_no_obstacle() -> None:
    xr = pytest.importorskip("xarray")
    assert gs.Params(xr.DataArray(0.16, attrs={"units": "cells2/step"}), 0.08, 0.03, 0.05).Du.item() == 0.16


def test_names_may_come_as_an_array_as_a_scan_hands_them_back() -> None:
    settings = {"initial": small_start(12, 3), "tol": 0.0, "max_steps": 5, "progress": False}
    data = gs.scan({"k": [0.05]}, losses=np.array(["spectrum"]), routes=np.array(["unrolled"]), **settings)
    assert gs.scan({"k": [0.05]}, routes=data.route.values, losses=data.objective.values, **settings).equals(data)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, the first time
def test_forward_mode_of_fields_and_targets_is_refused() -> None:
    import torch.autograd.forward_ad as forward

    fields = small_start(12, 3)
    with forward.dual_level(), pytest.raises(ValueError, match="initial"):
        gs.steady_state(gs.Params(*UNIFORM), forward.make_dual(fields, fields), tol=0.0, max_steps=2)
