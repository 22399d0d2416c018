"""Scans that meet faults: after each, the resumed dataset equals the uninterrupted one to the bit.

A small share runs by default; `--faults` (`nox -s faults`) runs the full counts and prints them.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faulty
import numpy as np
import pytest
import torch
import xarray as xr
from faulty import COMBINE, EVENTS, POINTS, same, small_scan

import gsimplicit as gs
from gsimplicit import dataset, provenance
from gsimplicit.landscape import run, worker

Record = Callable[[str, int], None]


@pytest.fixture(scope="module")
def reference() -> xr.Dataset:
    return small_scan()


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Record:
    """Counts faults survived; they are summed over all tests and printed at the end."""
    return lambda name, number: record_property(f"faults: {name}", number)


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[[list[dict[str, Any]]], list[dict[str, Any]]]]:
    """Runs of the small scan in processes of their own, forked from one that has everything loaded."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, faulty.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
            stdin.write(json.dumps(orders) + "\n")
            stdin.flush()
            ends: list[dict[str, Any]] = json.loads(stdout.readline())
            return ends

        yield ask
        stdin.close()


def number(config: pytest.Config, few: int, many: int) -> int:
    """How often a fault is tried: few by default, many with --faults."""
    return many if config.getoption("--faults") else few


def stored_points(store: Path, reference: xr.Dataset) -> int:
    """How many points are stored, each checked against the reference to the bit."""
    try:
        part = gs.partial_scan(store)
    except FileNotFoundError:
        return 0
    if "done" not in part:
        assert same(part, reference)
        return POINTS
    done = part["done"].values == 1
    for name in ("loss", "status", "steps"):
        assert part[name].values[done].tobytes() == reference[name].values[done].tobytes(), name
    assert (part["status"].values[~done] == gs.Status.NOT_RUN).all()
    assert part.attrs["gsimplicit_complete"] == 0
    return int(done.sum())


def resumes(store: Path, reference: xr.Dataset, **changes: Any) -> None:
    """The same call goes on to the same bits, and leaves the final file alone."""
    assert same(small_scan(store, **changes), reference)
    with xr.open_dataset(store) as opened:
        assert same(opened.load(), reference)
        assert opened.attrs["gsimplicit_complete"] == 1
    assert [p.name for p in store.parent.iterdir() if p.name.startswith((store.name, f".{store.name}"))] == [store.name]


# whatever kills a run


@pytest.mark.parametrize("where", ["any time", "write or rename", "combine", "any time in a pool"])
def test_a_killed_run_resumes_to_the_same_bits(
    where: str, server: Any, tmp_path: Path, reference: xr.Dataset, count: Record, pytestconfig: pytest.Config
) -> None:
    many = {"any time": 80, "write or rename": 60, "combine": 40, "any time in a pool": 20}
    times = number(pytestconfig, 1 if "pool" in where else 4, many[where])
    generator, killed, trial = random.Random(where), 0, 0
    while killed < times:
        trial += 1
        assert trial < 10 * times, "the kills come too late"
        store, log = tmp_path / f"{trial}.nc", tmp_path / f"{trial}.log"
        order = {"store": str(store), "log": str(log), "errors": str(tmp_path / "errors"), "engine": "inline"}
        if where == "any time":
            order |= {"signal": signal.SIGKILL, "after": generator.random() * 0.4}
        elif where == "any time in a pool":
            order |= {"engine": "pool", "signal": signal.SIGKILL, "after": 0.2 + generator.random() * 4}
        elif where == "combine":
            order |= {"event": EVENTS - 1 - generator.randrange(COMBINE), "late": generator.random() < 0.5}
            order["during"] = generator.random() * 0.02
        else:
            order |= {"event": generator.randrange(EVENTS - COMBINE), "late": generator.random() < 0.5}
            order["during"] = generator.random() * 0.02
        (end,) = server([order])
        assert end["status"] in (0, -signal.SIGKILL), (tmp_path / "errors").read_text()
        killed += end["status"] != 0
        stored = stored_points(store, reference)
        evaluated = log.stat().st_size if log.exists() else 0
        # a tile a worker may be lost: one that runs, and in a pool one that waits to be stored
        assert evaluated - stored <= (1 if order["engine"] == "inline" else 1 + 2 * (os.cpu_count() or 1))
        resumes(store, reference)
    count("SIGKILL" + ("" if where == "any time" else f" at {where}"), killed)


@pytest.mark.parametrize("engine", ["inline", "pool"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_run_asked_to_end_ends_in_order_and_resumes(
    name: str, engine: str, server: Any, tmp_path: Path, reference: xr.Dataset, count: Record, pytestconfig: Any
) -> None:
    times = number(pytestconfig, 1, 10)
    generator, ended, trial = random.Random(name + engine), 0, 0
    while ended < times:
        trial += 1
        assert trial < 10 * times, "the signals come too late"
        store, errors = tmp_path / f"{trial}.nc", tmp_path / f"{trial}.err"
        late = 0.05 + generator.random() * 0.25 if engine == "inline" else 0.3 + generator.random() * 2
        order = {"store": str(store), "errors": str(errors), "engine": engine, "after": late}
        (end,) = server([{**order, "signal": getattr(signal, name)}])
        ended += end["status"] != 0
        assert end["status"] in (0, 143 if name == "SIGTERM" else 130, -signal.SIGTERM), errors.read_text()
        assert end["seconds"] < 5
        assert not list(tmp_path.rglob("*.tmp"))
        stored_points(store, reference)
        resumes(store, reference)
    count("Ctrl-C" if name == "SIGINT" else name, ended)


def test_a_pool_that_loses_workers_goes_on(tmp_path: Path, reference: xr.Dataset, count: Record) -> None:
    """As where the system kills a worker for memory: the tile is computed again by a new one."""
    flag = tmp_path / "killed"

    def deadly(v: torch.Tensor) -> torch.Tensor:
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), 9)
        return faulty.logged(v)

    deadly.__name__ = "logged"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_inline", lambda evaluate, items, tiles, keep: tiles)
        found = small_scan(tmp_path / "a.nc", losses=["spectrum", deadly], tile=8)
    assert same(found, reference)
    count("worker of the pool killed", 1)


def test_studies_that_are_killed_resume_to_the_same_bits(tmp_path: Path, count: Record, pytestconfig: Any) -> None:
    if not pytestconfig.getoption("--faults"):
        pytest.skip("two minutes: runs with --faults")
    root = Path(faulty.__file__).parents[1]

    def studies(folder: str, seconds: float | None) -> None:
        words = [sys.executable, "-m", "studies", "fig2", "--scale", "quick", "--output", str(tmp_path / folder)]
        with subprocess.Popen(words, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                assert process.wait(seconds) == 0
            except subprocess.TimeoutExpired:
                process.kill()

    studies("whole", None)
    for seconds in (5.0, 7.0, 9.0, 6.0):
        studies("killed", seconds)
        count("SIGKILL of the studies", 1)
    studies("killed", None)
    for name in ("k", "F", "Dv", "Du"):
        one, other = (dataset.load(tmp_path / f / "quick" / f"fig2_{name}.nc") for f in ("whole", "killed"))
        assert same(one, other)
    assert not list((tmp_path / "killed" / "quick").glob("*.tiles"))


# disks


def in_namespace(options: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the fault program with a file system of its own on `folder`."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("a file system of its own needs user namespaces (unshare -rm)")
    program = f"mount -t tmpfs -o {options} none {folder} && exec {sys.executable} {faulty.__file__} {folder} "
    command = ["unshare", "-rm", "sh", "-c", program + " ".join(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_a_full_disk_is_an_error_that_says_what_to_do_and_nothing_is_lost(
    tmp_path: Path, count: Record, pytestconfig: pytest.Config
) -> None:
    levels = np.linspace(0, EVENTS - COMBINE, 10).astype(int).tolist()
    for event in levels if pytestconfig.getoption("--faults") else [levels[5]]:
        done = in_namespace("size=2m", tmp_path, str(event))
        found = json.loads(done.stdout.splitlines()[-1])
        assert "space" in found["message"], found
        assert found["left"] == []
        assert found["same"]
        count("disk full", 1)


def test_a_disk_too_small_is_refused_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    monkeypatch.setattr(worker, "evaluate_tile", None)
    with pytest.raises(IsADirectoryError, match="store must be a file to write, and is a folder"):
        small_scan(tmp_path)
    with pytest.raises(OSError, match=r"the dataset needs .* MB while it is made, and 0.1 MB are free"):
        small_scan(tmp_path / "a.nc")


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(tmp_path: Path, count: Record) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(OSError, match=r"the store cannot be written: .*a file"):
        small_scan(tmp_path / "a file" / "a.nc")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere but on a file system that is read-only
        done = in_namespace("ro", folder)
    else:
        words = [sys.executable, faulty.__file__, str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert f"the store cannot be written: Read-only file system: '{folder / 'a.nc'}'" in done.stdout.replace(
        "Permission denied", "Read-only file system"
    )
    assert not list(folder.iterdir())
    count("read-only folder", 1)


# two at a time


def test_of_two_processes_on_one_store_one_runs_and_the_other_names_it(
    server: Any, tmp_path: Path, reference: xr.Dataset, count: Record, pytestconfig: pytest.Config
) -> None:
    times = number(pytestconfig, 3, 50)
    met, trial = 0, 0
    while met < times:
        trial += 1
        assert trial < 3 * times, "the two miss each other"
        store, log = tmp_path / f"{trial}.nc", tmp_path / f"{trial}.log"
        gate = time.time() + 0.05
        both = {"store": str(store), "log": str(log), "engine": "inline", "gate": gate}
        orders = [{**both, "errors": str(tmp_path / f"{trial}.{n}")} for n in range(2)]
        ends = server(orders)
        statuses = sorted(end["status"] for end in ends)
        assert statuses in ([0, 0], [0, 3])
        assert log.stat().st_size == POINTS  # each point was computed once, by one of them
        if statuses == [0, 3]:
            met += 1
            runner, refused = sorted(ends, key=lambda end: end["status"])
            message = (tmp_path / f"{trial}.{ends.index(refused)}").read_text()
            assert f"{store} is being computed by process {runner['pid']} on " in message, message
        resumes(store, reference)
    count("two processes on one store", met)


def test_the_lock_of_a_dead_process_holds_nothing(tmp_path: Path, reference: xr.Dataset, count: Record) -> None:
    (tmp_path / "a.nc.lock").write_text(json.dumps({"pid": 1, "host": "elsewhere", "since": "2020-01-01T00:00:00Z"}))
    resumes(tmp_path / "a.nc", reference)
    count("stale lock", 1)


# damage


@pytest.fixture(scope="module")
def all_tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with every tile and no final file: killed just before it was combined."""
    store = tmp_path_factory.mktemp("tiles") / "a.nc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gs.landscape.store.Store, "finish", lambda self, whole: None)
        small_scan(store)
    return store


def damaged(store: Path, to: Path, harm: Callable[[Path], None]) -> Path:
    """A copy of a store with one tile harmed."""
    shutil.copytree(store.with_name("a.nc.tiles"), to.with_name(f"{to.name}.tiles"))
    harm(to.with_name(f"{to.name}.tiles"))
    return to


def test_every_flipped_bit_and_every_cut_of_a_tile_is_noticed(
    all_tiles: Path, tmp_path: Path, reference: xr.Dataset, count: Record, pytestconfig: Any, monkeypatch: Any
) -> None:
    generator = random.Random(0)
    log = tmp_path / "log"
    monkeypatch.setenv(faulty.LOG, str(log))

    def flip(folder: Path) -> None:
        tile = generator.choice(sorted(folder.glob("*.tile")))
        content = bytearray(tile.read_bytes())
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        tile.write_bytes(content)

    def cut(folder: Path) -> None:
        tile = generator.choice(sorted(folder.glob("*.tile")))
        tile.write_bytes(tile.read_bytes()[: generator.randrange(tile.stat().st_size)])

    for name, harm, few, many in (("flipped bit", flip, 5, 200), ("truncation", cut, 3, 20)):
        for trial in range(number(pytestconfig, few, many)):
            store = damaged(all_tiles, tmp_path / f"{harm.__name__}{trial}.nc", harm)
            log.unlink(missing_ok=True)
            with pytest.warns(gs.StoreWarning, match="1 damaged tiles of"):
                resumes(store, reference)
            assert log.stat().st_size == 1  # only the damaged point was computed again
            count(name, 1)


@pytest.mark.parametrize("harm", ["deleted", "flipped", "empty"])
def test_without_its_manifest_a_store_resumes_what_is_its_own_and_refuses_what_is_not(
    harm: str, all_tiles: Path, tmp_path: Path, reference: xr.Dataset, count: Record
) -> None:
    def spoil(folder: Path) -> None:
        manifest = folder / "manifest.json"
        content = manifest.read_bytes()
        at = content.index(b'"F"') + 1
        manifest.write_bytes({"flipped": content[:at] + b"G" + content[at + 1 :], "empty": b""}.get(harm, b""))
        if harm == "deleted":
            manifest.unlink()

    store = damaged(all_tiles, tmp_path / "a.nc", spoil)
    with pytest.raises(gs.StoreMismatchError, match="its manifest is gone and its tiles are of something else"):
        small_scan(store, max_steps=100)
    resumes(store, reference)
    count(f"{harm} manifest", 1)


def test_a_tile_that_cannot_be_read_now_is_an_error_and_stays(
    all_tiles: Path, tmp_path: Path, reference: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of file handles, say: the tile is whole, and must not be taken for damaged."""
    store = damaged(all_tiles, tmp_path / "a.nc", lambda folder: None)
    original = Path.read_bytes

    def failing(self: Path) -> bytes:
        if self.name == "tile-000000005.tile":
            raise OSError(errno.EMFILE, "Too many open files", str(self))
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        with pytest.raises(OSError, match="Too many open files"):
            small_scan(store)
    assert len(list(store.with_name("a.nc.tiles").glob("*.tile"))) == POINTS
    resumes(store, reference)


def test_a_store_that_another_process_finished_in_between_is_returned(
    tmp_path: Path, reference: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, held = tmp_path / "a.nc", gs.landscape.store.Store.held

    def later(self: Any) -> Any:
        monkeypatch.setattr(gs.landscape.store.Store, "held", held)
        small_scan(store)  # the other one
        monkeypatch.setattr(worker, "evaluate_tile", None)  # and nothing is left to compute
        return held(self)

    monkeypatch.setattr(gs.landscape.store.Store, "held", later)
    assert same(small_scan(store), reference)


def test_while_a_file_is_replaced_the_part_of_the_new_one_is_shown(tmp_path: Path) -> None:
    store = tmp_path / "a.nc"
    small_scan(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gs.landscape.store.Store, "finish", lambda self, whole: None)
        small_scan(store, max_steps=100, overwrite=True)
    part = gs.partial_scan(store)
    assert part.attrs["gsimplicit_complete"] == 0
    assert (part["steps"] == 100).all()


def test_a_tile_of_another_scan_is_not_taken(all_tiles: Path, tmp_path: Path, reference: xr.Dataset) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gs.landscape.store.Store, "finish", lambda self, whole: None)
        small_scan(tmp_path / "other.nc", max_steps=100)
    alien = tmp_path / "other.nc.tiles" / "tile-000000005.tile"
    store = damaged(all_tiles, tmp_path / "a.nc", lambda folder: shutil.copy(alien, folder) and None)
    with pytest.warns(gs.StoreWarning, match="1 damaged"):
        resumes(store, reference)


def test_a_tile_under_another_name_is_still_its_own_points(
    all_tiles: Path, tmp_path: Path, reference: xr.Dataset
) -> None:
    def swap(folder: Path) -> None:
        first, second = folder / "tile-000000003.tile", folder / "tile-000000040.tile"
        first.rename(folder / "aside")
        second.rename(first)
        (folder / "aside").rename(second)

    resumes(damaged(all_tiles, tmp_path / "a.nc", swap), reference)


def test_nothing_is_unpickled_from_a_tile(all_tiles: Path, tmp_path: Path, reference: xr.Dataset) -> None:
    import hashlib
    import io

    mark = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (mark,)

    stream = io.BytesIO()
    np.savez(stream, index=np.array([0]), hash=np.array("x"), loss=np.array([Payload()], dtype=object))
    body = stream.getvalue()
    head = b"gsimplicit tile 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n"
    store = damaged(
        all_tiles, tmp_path / "a.nc", lambda folder: (folder / "tile-000000000.tile").write_bytes(head + body) and None
    )
    with pytest.warns(gs.StoreWarning):
        resumes(store, reference)
    assert not mark.exists()


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "other"])
def test_a_damaged_final_file_is_an_error_and_can_be_made_again(
    harm: str, tmp_path: Path, reference: xr.Dataset
) -> None:
    small_scan(tmp_path / "a.nc")
    content = (tmp_path / "a.nc").read_bytes()
    if harm == "other":
        dataset.save(xr.Dataset({"a": 1}), tmp_path / "a.nc")
    elif harm == "flip":  # in the bytes of the loss, which are compressed, so found by trial
        for at in range(len(content) // 2, len(content)):
            (tmp_path / "a.nc").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            try:
                dataset.load(tmp_path / "a.nc")
            except OSError:
                break
    else:
        (tmp_path / "a.nc").write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    before = (tmp_path / "a.nc").read_bytes()
    with pytest.raises((gs.StoreMismatchError, OSError), match=r"a\.nc"):
        small_scan(tmp_path / "a.nc")
    assert (tmp_path / "a.nc").read_bytes() == before
    resumes(tmp_path / "a.nc", reference, overwrite=True)


def test_an_exported_part_is_not_taken_for_the_whole(all_tiles: Path, tmp_path: Path, reference: xr.Dataset) -> None:
    store = damaged(all_tiles, tmp_path / "a.nc", lambda folder: (folder / "tile-000000007.tile").unlink())
    part = gs.partial_scan(store)
    assert int(part["done"].sum()) == POINTS - 1
    assert part.attrs["title"].startswith("Unfinished: ")
    dataset.save(part, tmp_path / "part.nc")
    with pytest.raises(gs.StoreMismatchError, match="it is the export of an unfinished one"):
        small_scan(tmp_path / "part.nc")
    resumes(store, reference)


def test_other_versions_cannot_go_on_from_what_one_set_of_them_began(
    all_tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = damaged(all_tiles, tmp_path / "a.nc", lambda folder: (folder / "tile-000000007.tile").unlink())
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**now, "torch": "9.9"})
    with pytest.raises(gs.StoreMismatchError, match=r"versions\.torch: .* there, \"9\.9\" asked for"):
        small_scan(store)


def test_a_bad_point_stays_beside_the_others(tmp_path: Path, reference: xr.Dataset, count: Record) -> None:
    """A diffusion that diverges, in the tile of points that do not: their bits stay."""
    axes = {"Du": [0.16, 0.9], "F": np.linspace(0.03, 0.06, 8), "k": np.linspace(0.055, 0.068, 8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        data = small_scan(tmp_path / "a.nc", axes=axes, tile=16)
    assert (data["status"].sel(Du=0.9) == gs.Status.DIVERGED).all()
    assert data["loss"].sel(Du=0.9).isnull().all()
    for name in ("loss", "status", "residual"):
        assert data[name].sel(Du=0.16).values.tobytes() == reference[name].values.tobytes()
    count("bad point in a tile", 64)
