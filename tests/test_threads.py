"""Inside `each` torch and BLAS use one thread, and afterwards everything is as it was."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.linalg  # with a BLAS of its own
import torch
from helpers import PAPER, instance, random_fields
from threadpoolctl import threadpool_info, threadpool_limits

import gsimplicit as gs
from gsimplicit.equations import instability_expected
from gsimplicit.grid import broken_translations
from gsimplicit.inverse.starts.gains import patterns
from gsimplicit.refine.linear import Bordered
from gsimplicit.surroundings import own_filters
from gsimplicit.threads import each, one_blas_thread

assert scipy.linalg.blas


def counts(_: Any = None) -> tuple[int, set[int]]:
    """Threads of torch here, and those of the BLAS libraries."""
    return torch.get_num_threads(), {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


@pytest.fixture
def several() -> Iterator[None]:
    """Two threads for torch and three for BLAS, whatever the machine has."""
    before = torch.get_num_threads()
    with threadpool_limits(3, user_api="blas"):
        torch.set_num_threads(2)
        yield
        torch.set_num_threads(before)


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("items", [1, 2, 5])
def test_inside_there_is_one_thread_and_after_it_what_was_set(items: int) -> None:
    assert counts() == (2, {3})
    assert each(counts, range(items)) == [(1, {1})] * items
    assert counts() == (2, {3})


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("items", [1, 4])
def test_an_error_leaves_what_was_set(items: int) -> None:
    def fails(_: int) -> None:
        assert counts() == (1, {1})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        each(fails, range(items))
    assert counts() == (2, {3})


@pytest.mark.usefixtures("several")
def test_a_call_inside_another_stays_on_its_thread() -> None:
    def inner(_: int) -> tuple[int, tuple[int, set[int]]]:
        return threading.get_ident(), counts()

    def outer(_: int) -> bool:
        return each(inner, range(3)) == [inner(0)] * 3

    assert each(outer, range(4)) == [True] * 4
    assert counts() == (2, {3})


@pytest.mark.usefixtures("several")
def test_off_the_main_thread_it_is_the_same() -> None:
    def caller() -> list[Any]:
        torch.set_num_threads(2)
        return [counts(), each(counts, range(3)), each(counts, [0]), counts()]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(caller).result() == [(2, {3}), [(1, {1})] * 3, [(1, {1})], (2, {3})]
    assert counts() == (2, {3})


@pytest.mark.usefixtures("several")
def test_threads_that_begin_afterwards_are_not_limited() -> None:
    each(counts, range(3))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(counts).result() == (2, {3})


@pytest.mark.usefixtures("several")
def test_limits_that_overlap_on_two_threads_end_with_the_last() -> None:
    first, second = one_blas_thread(), one_blas_thread()
    with ThreadPoolExecutor(1) as pool:
        first.__enter__()
        pool.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert counts()[1] == {1}
        pool.submit(second.__exit__, None, None, None).result()
    assert counts()[1] == {3}


@pytest.mark.usefixtures("several")
def test_gmres_gives_the_same_bits_with_any_number_of_threads() -> None:
    fields = random_fields(3, (64, 64)).numpy()  # large enough for torch to cut its sums
    systems = [Bordered(instance(PAPER), f, broken_translations(f), np.zeros(2)) for f in fields]
    right = list(random_fields(3, (64, 64), seed=1).numpy())

    def solved(threads: int, some: slice) -> list[np.ndarray[Any, Any]]:
        torch.set_num_threads(threads)
        solver = gs.Gmres(max_products=40).prepare(systems[some])
        return [s.x for s in solver.solve(right[some], transpose=True)]

    expected = solved(1, slice(None))
    for threads, some in ((2, slice(None)), (3, slice(None)), (2, slice(1))):
        assert all(np.array_equal(a, b) for a, b in zip(solved(threads, some), expected[some], strict=True))


def test_instances_on_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    """They are the process's: a batch of roots once left every RuntimeWarning of the caller's ignored."""
    before, threads = list(warnings.filters), torch.get_num_threads()
    params = gs.Params(*PAPER).replace(k=torch.linspace(0.062, 0.064, 16, dtype=torch.float64))
    start = gs.initial_state(grid=(24, 24), box=gs.Box(half=4))
    torch.set_num_threads(4)
    try:
        for _ in range(3):
            gs.steady_state(params, start, refine=True, max_steps=2000)
    finally:
        torch.set_num_threads(threads)
    assert list(warnings.filters) == before


def test_inversions_on_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    before, values = list(warnings.filters), np.array(PAPER)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: patterns(gs.models.gray_scott, [values] * 2), range(8)))) == 8
    assert list(warnings.filters) == before


def test_a_warning_that_one_thread_expects_is_given_to_another() -> None:
    params, start = gs.Params(0.3, 0.1, 0.035, 0.06), gs.initial_state(grid=(32, 32))
    with instability_expected(), ThreadPoolExecutor(1) as pool, pytest.warns(gs.StabilityWarning):
        gs.steady_state(params, start, max_steps=5)  # here nothing is said
        pool.submit(gs.steady_state, params, start, max_steps=5).result()
    with warnings.catch_warnings(), instability_expected():
        warnings.simplefilter("error")
        gs.steady_state(params, start, max_steps=5)


def test_filters_that_two_threads_change_are_those_of_before_at_the_end() -> None:
    """The second waits for the first, which would else restore its own last."""
    before, first, entered = list(warnings.filters), threading.Event(), []

    def second() -> None:
        with own_filters():
            entered.append(first.is_set())
            warnings.simplefilter("ignore")

    with own_filters():
        warnings.simplefilter("ignore")
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        assert not entered
        first.set()
    other.join()
    assert entered == [True]
    assert list(warnings.filters) == before
