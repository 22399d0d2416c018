"""A scan's values do not depend on how it is cut, in which order it runs, where, or whether it was interrupted."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from faulty import same, small_scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gsimplicit as gs

RANGES = {"Du": (0.1, 0.2), "Dv": (0.04, 0.1), "F": (0.02, 0.07), "k": (0.05, 0.07)}


class Shuffled(ThreadPoolExecutor):
    """Threads of which each waits a drawn while, so that tiles end in another order than they began."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        pause = random.Random(self._work_queue.qsize()).random() * 0.02

        def late() -> Any:
            time.sleep(pause)
            return function(*args, **kwargs)

        return super().submit(late)


@pytest.mark.parametrize("tile", [1, 7, 64, 1000])
def test_any_size_of_tile_gives_the_same_bits(tile: int) -> None:
    assert same(small_scan(tile=tile, routes=["unrolled"]), small_scan(tile=5, routes=["unrolled"]))


def test_torch_threads_around_it_do_not_matter_and_are_put_back(two_threads: None) -> None:
    with_two = small_scan(initial=gs.initial_state(grid=(64, 64)), axes={"F": [0.03, 0.04]})
    with ThreadPoolExecutor(3) as pool:
        pooled = small_scan(initial=gs.initial_state(grid=(64, 64)), axes={"F": [0.03, 0.04]}, executor=pool)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    with_one = small_scan(initial=gs.initial_state(grid=(64, 64)), axes={"F": [0.03, 0.04]})
    assert same(with_two, with_one)
    assert same(pooled, with_one)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from distributed import Client, LocalCluster

        options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None, "silence_logs": 50}
        with LocalCluster(**options) as local, Client(local) as client:
            yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Dask's own, of its workers
def test_a_dask_cluster_that_loses_workers_gives_the_same_bits(cluster: Any, tmp_path: Path) -> None:
    """Workers are killed while tiles are stored; Dask starts new ones and gives them the tiles again."""
    slow = {"max_steps": 4000, "initial": gs.initial_state(grid=(32, 32), box=gs.Box(half=5)), "routes": ["unrolled"]}
    killed: list[int] = []

    def kill() -> None:
        for tiles in (3, 20):
            while len(list((tmp_path / "a.nc.tiles").glob("*.tile"))) < tiles:
                time.sleep(0.005)
            worker = next(iter(cluster.cluster.workers.values()))
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    data = small_scan(tmp_path / "a.nc", executor=cluster.get_executor(), **slow)
    killer.join()
    assert len(killed) == 2
    assert (data["status"] == gs.Status.FIXED).all()
    assert same(data, small_scan(**slow))


def test_what_ended_is_stored_in_whatever_order_it_ends(tmp_path: Path) -> None:
    assert same(small_scan(tmp_path / "a.nc", executor=Shuffled(6)), small_scan())


axes = st.lists(st.sampled_from(sorted(RANGES)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries(
        {
            name: st.lists(
                st.floats(*RANGES[name]).map(lambda x: round(x, 6)), min_size=1, max_size=3, unique=True
            ).map(sorted)
            for name in names
        }
    )
)


def check_any_axes(axes: dict[str, list[float]], samples: int, tile: int, shape: tuple[int, int], folder: Path) -> None:
    start = gs.initial_state(samples, grid=shape, box=gs.Box(half=1))
    given = {"losses": ["spectrum", "residual"], "routes": ["unrolled"], "initial": start, "max_steps": 5}
    data = small_scan(folder / "a.nc", axes=axes, tile=tile, overwrite=True, **given)
    assert data["loss"].shape == (*(len(v) for v in axes.values()), samples, 2)
    xr.testing.assert_identical(xr.load_dataset(folder / "a.nc"), data)
    # one point alone has the bits it has among the others
    last = {name: at[-1:] for name, at in axes.items()}
    alone = small_scan(axes=last, **given)
    point = data.isel({name: slice(-1, None) for name in axes})
    for name in ("loss", "gradient", "route_loss", "status", "residual", "v_mean"):
        assert np.array_equal(point[name].values, alone[name].values, equal_nan=True), name
    # and the file makes itself again
    assert same(gs.scan(**gs.scan_arguments(data), progress=False), data)
    followed = small_scan(axes=axes, tile=tile, follow=list(axes)[-1], **given)
    assert same(gs.scan(**gs.scan_arguments(followed), progress=False, tile=1), followed)
    first = {list(axes)[-1]: slice(0, 1)}
    assert np.array_equal(followed.isel(first)["loss"].values, data.isel(first)["loss"].values)


def test_any_axes_and_shapes_hold_what_each_point_alone_holds(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    number = 200 if pytestconfig.getoption("--faults") else 15

    @settings(
        max_examples=number, deadline=None, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )  # fmt: skip
    @given(axes, st.integers(1, 3), st.integers(1, 9), st.tuples(st.integers(3, 9), st.integers(3, 9)))
    def examples(axes: dict[str, list[float]], samples: int, tile: int, shape: tuple[int, int]) -> None:
        check_any_axes(axes, samples, tile, shape, tmp_path)

    examples()
    record_property("faults: drawn axes and shapes", number)
