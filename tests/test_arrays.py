"""One door for arrays: what loses information is refused by name, what does not comes in as the same numbers, and
nothing of the caller's is kept by reference."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import losses, models
from gsimplicit.arrays import real_array, real_tensor
from gsimplicit.bifurcation import lifetime, uniform
from gsimplicit.landscape import boundaries
from gsimplicit.refine.newton import rigid_distance
from gsimplicit.refine.tail import chebyshev
from gsimplicit.routes.arguments import default_target
from gsimplicit.testing import taylor_test

P = gs.Params(0.16, 0.08, 0.035, 0.065)
START = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
V = START[:, 1]
MASK = START.numpy() < 0.01
MASKED = np.ma.masked_array(np.where(MASK, 9.97e36, START.numpy()), mask=MASK)
PAIR = np.ma.masked_array([0.06, 9.97e36], mask=[False, True])


class VariableLike:
    """As a variable of netCDF4: an array that shows its mask only when it is read."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return PAIR


def scan(**changes: Any) -> xr.Dataset:
    given = {"axes": {"k": [0.06]}, "initial": START, "tol": 0.0, "max_steps": 3, "progress": False, **changes}
    return gs.scan(**given)


def steady(initial: Any) -> gs.SteadyState:
    return gs.steady_state(P, initial, tol=0.0, max_steps=3)


def unrolled(**changes: Any) -> gs.Gradient:
    return gs.grad(P, "unrolled", **{"initial": START, "tol": 0.0, "max_steps": 3, **changes})


NUMBERS: dict[str, Callable[[Any], object]] = {
    "Du": lambda x: gs.Params(x, 0.08, 0.035, 0.065),
    "Dv": lambda x: gs.Params(0.16, x, 0.035, 0.065),
    "F": lambda x: gs.Params(0.16, 0.08, x, 0.065),
    "k": lambda x: P.replace(k=x),
    "axis k": lambda x: scan(axes={"k": x}),
    "values": lambda x: gs.Params.stack(x),
    "raw": lambda x: gs.Params.from_unbounded(x),
    "sizes": lambda x: taylor_test(P, "unrolled", losses.log_spectrum, sizes=x, initial=START),
    "direction": lambda x: taylor_test(P, "unrolled", losses.log_spectrum, direction=x, initial=START),
    "q": lambda x: uniform.eigenvalues(0.03, 0.05, x),
    "F ": lambda x: uniform.hopf(x),
    "curve": lambda x: boundaries.curve_distance(xr.DataArray([0.1, 0.2]), x, 0.1),
}
"""Entries that take numbers, by the name their errors have."""

NO_NUMBERS: dict[str, Any] = {
    "masked": PAIR,
    "masked scalar": np.ma.masked,
    "masked in a list": [0.06, np.ma.masked],
    "masked array in a list": [PAIR],
    "masked when read": VariableLike(),
    "missing": pd.Series([0.06, pd.NA], dtype="object"),
    "boolean": [False, True],
    "boolean among numbers": [0.06, True],
    "boolean array": np.array([True]),
    "boolean tensor": torch.tensor([True]),
    "text": ["0.06"],
    "bytes": [b"0.06"],
    "dates": pd.date_range("2020", periods=2),
    "durations": np.array([1], "timedelta64[s]"),
    "complex": np.array([0.06 + 0j]),
    "complex tensor": torch.tensor([0.06 + 0j]),
    "objects": np.array([0.06, None], dtype=object),
    "fractions": [Fraction(1, 20)],
    "ragged": [[0.06], [0.06, 0.07]],
    "set": {0.06},
    "dict": {"a": 0.06},
    "generator": (x for x in [0.06]),
    "frame": pd.DataFrame({"a": [0.06]}),
    "integer beyond float64": np.array([2**53 + 1]),
    "integer beyond float64 among floats": [0.5, 2**53 + 1],
    "integer tensor beyond float64": torch.tensor([2**53 + 1]),
    "huge integer": 10**20 + 1,
    "sparse": torch.tensor([0.06]).to_sparse(),
    "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged),
    "meta": torch.zeros(2, device="meta"),
}


@pytest.mark.parametrize("entry", NUMBERS)
def test_what_would_lose_information_is_refused_by_name(entry: str) -> None:
    for what, value in NO_NUMBERS.items():
        with pytest.raises((TypeError, ValueError), match=rf"^{entry.strip()} (must|holds|requires|cannot)"):
            assert NUMBERS[entry](value) is None, what


FIELDS: dict[str, Callable[[Any], object]] = {
    "initial": steady,
    "initial ": lambda x: scan(initial=x),
    "target": lambda x: unrolled(target=x),
    "target ": lambda x: scan(target=x),
    "fields": lambda x: gs.residual_loss(P, x),
    "fields ": lambda x: lifetime.lifetime(P, x, horizon=5),
    "v": lambda x: gs.spectrum_loss(x[:, 1], V),
    "target  ": lambda x: gs.windowed_loss(V, x[:, 1]),
    "v ": lambda x: losses.log_spectrum(x[:, 1]),
    "goal": lambda x: rigid_distance(START[0], x[0]),
}
NO_FIELDS: dict[str, Any] = {
    "masked": MASKED,
    "integer": START.to(torch.int64),
    "complex": START.to(torch.complex128),
    "boolean": MASK,
    "meta": START.to("meta"),
    "labelled": xr.DataArray(START.numpy()),
}


@pytest.mark.parametrize("entry", FIELDS)
def test_fields_that_would_lose_information_are_refused_by_name(entry: str) -> None:
    for what, value in NO_FIELDS.items():
        with pytest.raises((TypeError, ValueError), match=rf"^{entry.strip()} (must|holds)"):
            assert FIELDS[entry](value) is None, what


@pytest.mark.parametrize("entry", ["initial", "target"])
def test_fields_that_are_sparse_or_attached_are_refused_by_name(entry: str) -> None:
    for wrong in (START.to_sparse(), START.clone().requires_grad_(), START.tolist()):
        with pytest.raises((TypeError, ValueError), match=entry):
            FIELDS[entry](wrong)


def test_masked_tensors_and_others_that_mean_more_than_their_numbers_are_refused() -> None:
    class Wrapped(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError("must not be read")

    class Renamed(torch.Tensor):
        pass

    wrapped = torch.Tensor._make_wrapper_subclass(Wrapped, (2,), dtype=torch.float64)
    with pytest.raises(TypeError, match=r"k must .* a Wrapped, which means more than its numbers"):
        P.replace(k=wrapped)
    assert P.replace(k=torch.tensor([0.05], dtype=torch.float64).as_subclass(Renamed)).k.tolist() == [0.05]
    assert type(P.replace(k=torch.nn.Parameter(torch.tensor(0.05))).k) is torch.Tensor


SAME: dict[str, Callable[[np.ndarray], Any]] = {
    "no entry masked": lambda a: np.ma.masked_array(a, mask=np.zeros(a.shape, bool)),
    "big-endian": lambda a: a.astype(">f8"),
    "read-only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "Fortran order": np.asfortranarray,
    "long double": lambda a: a.astype(np.longdouble),
    "tensor": lambda a: torch.from_numpy(a.copy()),
    "negative view": lambda a: (
        torch.complex(torch.zeros(a.shape, dtype=torch.float64), -torch.from_numpy(a)).conj().imag
    ),
    "strided tensor": lambda a: torch.from_numpy(np.repeat(a, 2, axis=-1))[..., ::2],
    "inference": lambda a: inferred(a),
}


def inferred(a: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return torch.from_numpy(a.copy()) + 0


@pytest.mark.parametrize("how", SAME)
def test_memory_order_and_precision_make_no_difference(how: str) -> None:
    made, plain = SAME[how], START.numpy()
    assert torch.equal(steady(made(plain)).fields, steady(START).fields)
    assert torch.equal(unrolled(target=made(plain)).loss, unrolled(target=START).loss)
    values = made(np.array([0.03, 0.04, 0.05]))
    assert P.replace(F=values).F.tolist() == [0.03, 0.04, 0.05]
    assert scan(axes={"F": values})["F"].values.tolist() == [0.03, 0.04, 0.05]
    assert torch.equal(gs.spectrum_loss(made(plain[:, 1]), 0.9 * V), gs.spectrum_loss(V, 0.9 * V))
    assert torch.equal(gs.residual_loss(P, made(plain)), gs.residual_loss(P, START))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int32])
def test_coarser_numbers_come_in_exactly(dtype: torch.dtype) -> None:
    values = torch.tensor([1, 2], dtype=dtype)
    assert real_tensor("x", values).tolist() == [1.0, 2.0]
    assert real_tensor("x", values).dtype == torch.float64
    half = np.array([0.1], np.float16)
    assert real_array("x", half).tolist() == [float(half[0])]


def test_a_repeated_element_comes_in_as_many() -> None:
    wide = np.broadcast_to(np.array([0.06]), (3,))
    params = P.replace(k=wide)
    assert params.k.tolist() == [0.06] * 3
    assert gs.Params(0.16, 0.08, 0.035, torch.tensor(0.06).expand(3)).k.stride() == (1,)


def test_lists_of_tensors_stay_attached() -> None:
    k = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    P.replace(k=[k, 0.06]).k.sum().backward()
    assert k.grad == 1
    assert gs.Params.stack([[0.16, 0.08, 0.035, k]]).k.requires_grad
    with pytest.raises(ValueError, match="axis k requires gradients"):
        scan(axes={"k": [k]})


# ---------------------------------------------------------------------------------------------------------------------
# Nothing of the caller's is kept
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["unrolled", "truncated", "tangent", "finite_difference", "implicit", "deq"])
@pytest.mark.parametrize("make", [torch.clone, lambda x: x.numpy().copy()], ids=["tensor", "array"])
def test_a_start_edited_before_backward_changes_no_gradient(route: str, make: Callable[[Any], Any]) -> None:
    def slope(edited: bool) -> float:
        k, buffer = torch.tensor(0.05, dtype=torch.float64, requires_grad=True), make(START)
        state = gs.solve(gs.Params(0.16, 0.08, 0.03, k), route, initial=buffer, tol=0.0, max_steps=20)
        if edited:
            buffer[:] = 0.3
        (state.v**2).mean().backward()
        assert k.grad is not None
        return k.grad.item()

    assert slope(True) == slope(False)


def test_an_optimiser_step_changes_no_parameters_made_before_it_and_breaks_no_backward() -> None:
    k = torch.tensor([0.05], dtype=torch.float64, requires_grad=True)
    made = [gs.Params(0.16, 0.08, 0.03, k), gs.Params.from_unbounded(torch.zeros(1, 4, dtype=torch.float64))]
    raw = P.tensor().requires_grad_()
    made += [gs.Params.stack(raw), made[0].replace(F=0.04), made[0].expand(2), made[0][0], made[0][[0, 0]]]
    before = [p.tensor().tolist() for p in made]
    with torch.no_grad():
        k.fill_(-1.0)
        raw.fill_(-1.0)
    assert [p.tensor().tolist() for p in made] == before
    made[0].k.sum().backward()  # no error of a version either
    assert k.grad is not None
    assert k.grad.tolist() == [1.0]


def test_no_view_of_parameters_passes_by_their_checks() -> None:
    values = np.array([0.03, 0.04])
    params = P.replace(F=values)
    params.tensor().fill_(-1.0)
    params.detach().tensor().fill_(-1.0)
    values[:] = -1
    assert params.F.tolist() == [0.03, 0.04]
    params.F.fill_(-1.0)  # its own memory, and still not taken at any door
    with pytest.raises(ValueError, match=r"F must be finite and >= 0, got -1\.0"):
        gs.steady_state(params, START, tol=0.0, max_steps=1)


def test_a_dataset_shares_no_memory_with_what_it_was_made_of() -> None:
    at, target = np.array([0.05, 0.06]), START.numpy().copy()
    start = START.clone()
    data = scan(axes={"k": at}, initial=start, target=target, losses=["spectrum", "residual"])
    before = data.copy(deep=True)
    at[:], target[:] = 0.0, 0.0
    start.zero_()
    xr.testing.assert_identical(data, before)
    for name, given in (("k", at), ("initial", start.numpy()), ("target", target), ("target_fields", target)):
        assert not np.shares_memory(data[name].values, given)
    again = gs.scan_arguments(data)
    again["initial"][:], again["target"][:] = 0.0, 0.0
    xr.testing.assert_identical(data, before)


def test_what_is_kept_between_calls_is_nobody_elses_to_write_into() -> None:
    first = default_target((16, 16), models.gray_scott, 1.0)
    kept = first.clone()
    first.zero_()
    assert torch.equal(default_target((16, 16), models.gray_scott, 1.0), kept)
    table = chebyshev(8, 2.0)
    kept_table = table.copy()
    table[:] = 0
    assert np.array_equal(chebyshev(8, 2.0), kept_table)
    with pytest.raises(TypeError):
        gs.Params.PRESETS["paper"] = (0.0, 0.0, 0.0, 0.0)  # type: ignore[index]


def test_a_box_keeps_no_list_of_the_callers() -> None:
    centre = [4, 5]
    box = gs.Box(centre=centre, half=2)  # type: ignore[arg-type]
    before = gs.initial_state(grid=(16, 16), box=box)
    centre[0] = 9
    assert box.centre == (4, 5)
    assert torch.equal(gs.initial_state(grid=(16, 16), box=box), before)


def test_a_surrogate_keeps_no_dataset_of_the_callers() -> None:
    data = scan(axes={"k": np.linspace(0.05, 0.06, 6)}, keep="v")
    model = gs.train_surrogate(data, members=1, epochs=2, hidden=[2], progress=False)
    route = gs.routes.Surrogate(model)
    before = route.digest
    model["weights"][:] = 0
    assert route.digest == before


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_hold_the_same_values(make: Callable[[Any], Any]) -> None:
    k = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    attached = gs.Params(0.16, 0.08, [0.03, 0.04], k)
    twin = make(attached)
    assert torch.equal(twin.tensor(), attached.tensor())
    assert twin.requires_grad == (make is copy.copy)
    settings = [gs.Box(centre=(1, 2)), gs.Refine(lattice=True), gs.Gmres(), gs.routes.Truncated(steps=4)]
    assert [make(one) for one in settings] == settings


@pytest.mark.parametrize("make", [
    lambda x, labels: pd.Series(x, index=labels),
    lambda x, labels: xr.DataArray(x, {"i": labels}, ("i",)),
])  # fmt: skip
def test_columns_are_not_paired_by_place_where_their_labels_say_otherwise(make: Any) -> None:
    F, k = make([0.03, 0.04], ["a", "b"]), make([0.06, 0.062], ["b", "a"])
    with pytest.raises(ValueError, match=r"F and k have other labels, \['a', 'b'\] and \['b', 'a'\]"):
        gs.Params(0.16, 0.08, F, k)
    assert gs.Params(0.16, 0.08, F, make([0.06, 0.062], ["a", "b"])).k.tolist() == [0.06, 0.062]
    assert gs.Params(0.16, 0.08, F, np.asarray(k)).k.tolist() == [0.06, 0.062]
