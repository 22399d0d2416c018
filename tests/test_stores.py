"""Where scans are stored: paths, files of earlier versions, threads and forks, progress, and places that fail."""

from __future__ import annotations

import ast
import errno
import gzip
import io
import multiprocessing
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loky
import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import dataset, files, progress, provenance
from gsimplicit.landscape import pool, run, worker
from gsimplicit.landscape.store import Store

PACKAGE = Path(gs.__file__).parent
OLD = Path(__file__).parent / "data" / "scan_0_1_0.nc.gz"
"""Two points of commit 91de4ec, the last whose files hold text of variable length."""


def scan(store: Any = None, **changes: Any) -> xr.Dataset:
    start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    given = {"axes": {"k": [0.06, 0.065]}, "initial": start, "tol": 0.0, "max_steps": 50, "progress": False, **changes}
    return gs.scan(**given, store=store)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# files of earlier versions


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "old.nc"
    file.write_bytes(gzip.decompress(OLD.read_bytes()))
    return file


def test_a_finished_file_of_an_earlier_version_stays_readable_and_is_never_written_over(old: Path) -> None:
    before = old.read_bytes()
    with pytest.raises(gs.StoreMismatchError) as refused:
        scan(old, routes=["unrolled"])
    for words in (
        "was made by another version of this package's code (gsimplicit 0.1.0, commit 91de4ecd83c4, 20",
        "They stay readable: partial_scan gives them, and scan(**scan_arguments(data), store=...) repeats them",
        "overwrite=True computes them anew here",
    ):
        assert words in str(refused.value)
    with pytest.raises(gs.StoreMismatchError, match=r"; also marching.max_steps: 50 there, 51 asked for\)"):
        scan(old, routes=["unrolled"], max_steps=51)
    assert old.read_bytes() == before
    assert names(old.parent) == ["old.nc"]
    found = gs.partial_scan(old)
    assert found["loss"].sel(objective="spectrum", k=0.065, sample=0).item() == 0
    again = gs.scan(**gs.scan_arguments(found), progress=False)
    np.testing.assert_allclose(again["loss"], found["loss"], rtol=1e-12)
    np.testing.assert_allclose(again["gradient"], found["gradient"], rtol=1e-9)
    xr.testing.assert_identical(dataset.load(dataset.save(found, old.with_name("copy.nc"))), found)
    assert scan(old, routes=["unrolled"], overwrite=True)["route"].item() == "unrolled"
    assert old.read_bytes() != before


def test_an_unfinished_one_of_other_code_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "finish", lambda self, whole: None)
        scan(tmp_path / "a.nc")
    monkeypatch.setattr(provenance, "code_fingerprint", lambda: 64 * "0")
    with pytest.raises(gs.StoreMismatchError, match=r"a\.nc\.tiles was made by another version .*\(gsimplicit 0\."):
        scan(tmp_path / "a.nc")


def test_the_code_a_store_knows_is_all_that_a_value_can_depend_on() -> None:
    reached, waiting = set(), [PACKAGE / "landscape/scan.py", PACKAGE / "landscape/surrogate.py"]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += imported(file)
    names = {".".join(f.relative_to(PACKAGE).with_suffix("").parts) for f in reached}
    left_out = {name for name in names for leaf in provenance.LEAVES if f"{name}.".startswith(f"{leaf}.")}
    assert left_out == {"version"}
    places = [PACKAGE.joinpath(*leaf.split(".")) for leaf in provenance.LEAVES]
    assert all(place.is_dir() or place.with_suffix(".py").exists() for place in places)
    assert provenance.code_fingerprint() != provenance.code_fingerprint(leaves=True)


def imported(file: Path) -> list[Path]:
    """Files of the package that a file imports."""
    out = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in found:
            if name.startswith("gsimplicit."):
                place = PACKAGE.joinpath(*name.split(".")[1:])
                out += [f for f in (place.with_suffix(".py"), place / "__init__.py") if f.exists()]
    return out


# what the NetCDF library cannot do


LIBRARY = """
import gzip, os, sys, threading, time
import numpy as np, xarray as xr, gsimplicit as gs
from gsimplicit import dataset, files
os.chdir(sys.argv[1])
start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
def scan(store, **changes):
    return gs.scan({"k": [0.06]}, store=store, initial=start, tol=0.0, max_steps=20, progress=False, **changes)

scan("a.nc", losses=["spectrum", "windowed"], routes=["unrolled"])
held = xr.open_dataset("a.nc", engine="netcdf4")
other = xr.open_dataset("a.nc", engine="netcdf4")
for _ in range(3):
    scan("a.nc", losses=["spectrum", "windowed"], routes=["unrolled"]); gs.partial_scan("a.nc")
scan("a.nc", overwrite=True)
assert held.sel(objective="windowed", route="unrolled").gradient.size == other.sel(objective="spectrum").gradient.size
print("held")

open("old.nc", "wb").write(gzip.decompress(open(sys.argv[2], "rb").read()))
ancient = xr.open_dataset("old.nc", engine="netcdf4")
for _ in range(3):
    gs.partial_scan("old.nc"); dataset.attributes_of("old.nc")
assert ancient.loss.sel(objective="spectrum").size == 2
print("old")

def store(i):
    for n in range(6):
        scan(f"{i}_{n}.nc")
def look():
    while any(t.is_alive() for t in threads[:2]):
        for name in ("0_0.nc", "1_0.nc"):
            try: gs.partial_scan(name)
            except OSError: pass
threads = [threading.Thread(target=store, args=(i,)) for i in range(2)] + [threading.Thread(target=look)]
[t.start() for t in threads]; [t.join() for t in threads]
print("threads")

def busy():
    with files.netcdf():
        inside.set(); time.sleep(0.3)
inside = threading.Event(); t = threading.Thread(target=busy); t.start(); inside.wait()
child = os.fork()
if not child:
    dataset.load("0_0.nc")
    os._exit(0)
for _ in range(300):
    done, status = os.waitpid(child, os.WNOHANG)
    if done: break
    time.sleep(0.05)
else:
    os.kill(child, 9)
print("fork", status)
with files.netcdf():
    child = os.fork()
    if not child:
        dataset.load("0_0.nc")
        os._exit(0)
    print("fork inside", os.waitpid(child, 0)[1])
"""


def test_files_held_open_threads_and_forks_do_not_end_or_hang_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIBRARY, str(tmp_path), str(OLD)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.split("\n")[:-1] == ["held", "old", "threads", "fork 0", "fork inside 0"], (
        done.stdout + done.stderr
    )


def test_text_is_written_as_characters_of_a_fixed_width(tmp_path: Path) -> None:
    import netCDF4

    labels = np.array(["spectrum", "é日本😀", "a longer one", ""])
    data = xr.Dataset(
        {"a": ("label", np.arange(4.0)), "words": (("label", "n"), np.array([["x", ""], ["é", "zz"]] * 2, object))},
        {"label": labels, "none": ("empty", np.array([], "U3")), "one": "word"},
        {"title": "Zustände, 状態", "plain": "text", "numbers": np.arange(3)},
    )  # fmt: skip
    data["a"].attrs["long_name"] = "größe"
    given = data.copy(deep=True)
    path = dataset.save(data, tmp_path / "a.nc")
    xr.testing.assert_identical(data, given)
    back = dataset.load(path)
    xr.testing.assert_identical(back, data)
    assert back["a"].sel(label="é日本😀").item() == 1
    with netCDF4.Dataset(path) as raw:
        assert all(v.dtype is not str for v in raw.variables.values())
    xr.testing.assert_identical(dataset.load(dataset.save(back, tmp_path / "again.nc")), data)
    data.attrs["list"] = ["a", "b"]
    with pytest.raises(ValueError, match="attribute 'list' must be a number, numbers or one text"):
        dataset.save(data, tmp_path / "b.nc")
    assert names(tmp_path) == ["a.nc", "again.nc"]


def test_labels_of_any_length_and_script_are_stored_and_selected(tmp_path: Path) -> None:
    def größe(v: torch.Tensor) -> torch.Tensor:
        return v.mean((-2, -1))

    data = scan(tmp_path / "ä 日.nc", losses=["spectrum", größe])
    with xr.open_dataset(tmp_path / "ä 日.nc") as stored:
        xr.testing.assert_identical(stored.load(), data)
        assert stored["loss"].sel(objective="größe").shape == (2, 1)


# plain values


@pytest.mark.parametrize(
    ("numpy", "python"),
    [
        ({"max_steps": np.int64(50)}, {"max_steps": 50}),
        ({"check_every": np.int32(8)}, {"check_every": 8}),
        ({"tol": np.float32(0.25)}, {"tol": 0.25}),
        ({"tol": np.array(0.25)}, {"tol": 0.25}),
        ({"tol": torch.tensor(0.25)}, {"tol": 0.25}),
        ({"share_root": np.bool_(False), "overwrite": np.bool_(False), "progress": np.bool_(False)}, {}),
        ({"tile": np.int16(1)}, {}),
        ({"keep": np.str_("v"), "follow": np.str_("k")}, {"keep": "v", "follow": "k"}),
        ({"losses": [np.str_("spectrum")], "routes": [np.str_("unrolled")]}, {"routes": ["unrolled"]}),
        ({"refine": gs.Refine(max_evaluations=np.int64(500))}, {"refine": gs.Refine(max_evaluations=500)}),
        (
            {"refine": gs.Refine(lattice=np.bool_(False), max_evaluations=500)},  # type: ignore[arg-type]
            {"refine": gs.Refine(lattice=False, max_evaluations=500)},
        ),
        ({"routes": [gs.routes.Truncated(steps=np.int64(9))]}, {"routes": [gs.routes.Truncated(steps=9)]}),
        ({"axes": {np.str_("k"): np.array([0.06, 0.065])}}, {}),
        ({"base": gs.Params(*np.array([0.16, 0.08, 0.035, 0.065]))}, {"base": gs.Params(0.16, 0.08, 0.035, 0.065)}),
    ],
)  # fmt: skip
def test_numpy_scalars_are_the_numbers_they_are(tmp_path: Path, numpy: Any, python: Any) -> None:
    data = scan(np.str_(tmp_path / "a.nc"), **numpy)
    xr.testing.assert_identical(scan(tmp_path / "a.nc", **python), data)
    xr.testing.assert_equal(gs.scan(**gs.scan_arguments(data), progress=False), data)


# progress


class Log:
    """As services put in the place of the standard streams."""

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class Hostile:
    """A stream on which nothing works."""

    def __getattr__(self, name: str) -> Any:
        raise OSError(f"no {name}")


class Breaking(io.StringIO):
    """A pipe whose reader goes away."""

    left = 3

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        return super().write(text)

    def isatty(self) -> bool:
        return True


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("make", [lambda: None, closed, Log, Hostile, Breaking])
def test_a_progress_bar_never_ends_a_scan(
    make: Callable[[], Any], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", make())
    data = scan(progress=shown, axes={"k": np.linspace(0.06, 0.065, 5)}, tile=1)
    assert data.attrs["gsimplicit_complete"] == 1


def test_progress_is_shown_where_there_is_something_to_show_it_on(capsys: pytest.CaptureFixture[str]) -> None:
    scan(progress=True)
    assert "2/2" in capsys.readouterr().err


def test_without_progress_no_bar_is_imported_and_notebooks_without_widgets_are_not_warned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    scan()
    assert not [n for n in sys.modules if n.partition(".")[0] == "tqdm"]

    class Kernel:
        config: Any = {"IPKernelApp": {}}  # noqa: RUF012

    import types

    shell = types.ModuleType("IPython")
    shell.get_ipython = Kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert issubclass(progress._tqdm(), sys.modules["tqdm.std"].tqdm)
    assert not seen


# where no process can be started


@pytest.mark.parametrize("why", ["daemonic", "no semaphores", "no processes left", "no interpreter"])
def test_where_no_worker_can_be_started_threads_give_the_same_bits(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise {"no interpreter": TypeError("expected str")}.get(why, BlockingIOError(errno.EAGAIN, why))

    inline = scan(routes=["unrolled"])
    if why == "daemonic":
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    elif why == "no semaphores":
        monkeypatch.setattr(loky, "ProcessPoolExecutor", fails)
    else:
        monkeypatch.setattr(loky.ProcessPoolExecutor, "submit", fails)
    monkeypatch.setattr(run, "_INLINE_SECONDS", -1.0)
    xr.testing.assert_identical(scan(routes=["unrolled"], tile=1).drop_attrs(), inline.drop_attrs())
    with pytest.raises(
        OSError, match=r"no worker processes could be started: .*; pass executor=ThreadPoolExecutor\(\)"
    ):
        pool.processes()


# paths


def test_a_store_is_found_below_the_home_folder_and_by_every_form_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    data = scan("~/deep/a.nc")
    assert names(tmp_path) == ["home", "home/deep", "home/deep/a.nc"]
    (tmp_path / "link.nc").symlink_to("home/deep/a.nc")
    monkeypatch.setattr(worker, "evaluate_tile", None)
    for form in (
        Path("~/deep/a.nc"), "home/deep/a.nc", b"home/deep/a.nc", "./home/../home/deep/a.nc", np.str_("~/deep/a.nc"),
        tmp_path / "link.nc", str(tmp_path / "home/deep/a.nc"),
    ):  # fmt: skip
        xr.testing.assert_identical(scan(form), data)
        xr.testing.assert_identical(gs.partial_scan(form), data)
        xr.testing.assert_identical(dataset.load(form), data)
    assert dataset.save(data, "~/b.nc") == tmp_path / "home" / "b.nc"
    assert (tmp_path / "link.nc").is_symlink()
    assert files.place("store", "~odd.nc") == tmp_path / "~odd.nc"


def test_a_link_is_written_through_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link.nc").symlink_to(tmp_path / "there" / "a.nc")
    data = scan(tmp_path / "link.nc")
    assert names(tmp_path) == ["link.nc", "there", "there/a.nc"]
    xr.testing.assert_identical(dataset.load(tmp_path / "there" / "a.nc"), data)


@pytest.mark.parametrize(
    ("store", "message"),
    [
        ("", "store must name a file, got an empty path"),
        ("a\\b.nc", "store must be a path without control characters, backslashes or bytes that are no text"),
        ("a\nb.nc", "without control characters"),
        ("a\0b.nc", "without control characters"),
        ("a\ud800b.nc", "without control characters"),
        (b"a\xffb.nc", "without control characters"),
        ("sub\\folder/b.nc", "without control characters"),
        ("new/", "store must name a file, and 'new/' is the name of a folder"),
        (".", "is the name of a folder"),
        ("new/..", "is the name of a folder"),
        ("~nobody-of-this-name/a.nc", "there is no home folder '~nobody-of-this-name'"),
        ("a" * 240 + ".nc", "store must end in a name of at most 2.. bytes"),
        ("日" * 80 + ".nc", "store must end in a name of at most 2.. bytes"),
        ("pipe", "store must be a file to write, and .*pipe is a device, pipe or socket"),
    ],
)
def test_a_path_that_cannot_work_is_refused_before_anything_is_written(
    store: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    monkeypatch.setattr(worker, "evaluate_tile", None)
    with pytest.raises(ValueError, match=message):
        scan(store)
    assert names(tmp_path) == ["pipe"]
    with pytest.raises(IsADirectoryError, match="store must be a file to write, and is a folder"):
        scan(tmp_path)
    with pytest.raises(TypeError, match="store must be a path, got 3"):
        scan(3)


def test_a_relative_path_is_that_of_the_folder_the_call_was_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def wandering(v: torch.Tensor) -> torch.Tensor:
        os.chdir(tmp_path / "elsewhere")
        return v.mean((-2, -1))

    scan("a.nc", losses=[wandering])
    assert names(tmp_path) == ["a.nc", "elsewhere"]


def test_names_with_signs_of_patterns_sweep_their_own_leftovers(tmp_path: Path) -> None:
    for name in (".a[1].nc.7-aa.tmp", ".a1.nc.7-aa.tmp", ".b.nc.7-aa.tmp", ".bxnc.7-aa.tmp"):
        (tmp_path / name).touch()
    scan(tmp_path / "a[1].nc")
    scan(tmp_path / "b*nc")
    assert names(tmp_path) == [".a1.nc.7-aa.tmp", ".b.nc.7-aa.tmp", ".bxnc.7-aa.tmp", "a[1].nc", "b*nc"]


def test_the_command_line_takes_the_same_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gsimplicit.__main__ import main

    monkeypatch.setenv("HOME", str(tmp_path))
    scan("~/a.nc", axes={"F": [0.03, 0.035], "k": [0.06, 0.065]})
    assert main(["show", "~/a.nc", "--figure", "~/a.png", "--export", "~/b.nc"]) == 0
    assert main(["scan", "--like", "~/b.nc", "--store", "~/c.nc", "--quiet"]) == 0
    assert [n for n in names(tmp_path) if not n.startswith(".")] == ["a.nc", "a.png", "b.nc", "c.nc"]
    capsys.readouterr()
    assert main(["show", "~/a.nc", "--export", str(tmp_path / "a.nc")]) == 2
    assert "--export must not be the file itself" in capsys.readouterr().err
    assert main(["show", "~/a.nc", "--export", ""]) == 2
    assert "--export must name a file, got an empty path" in capsys.readouterr().err


# places that do not work


def test_a_place_that_cannot_be_locked_is_said_to_be_that() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    with pytest.raises(OSError, match=r"the store cannot be written: .*/proc/a\.nc") as error:
        scan("/proc/a.nc")
    assert not isinstance(error.value, gs.StoreLockedError)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_finished_file_that_may_not_be_read_is_never_computed_over(
    overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test may run as root, whom no mode keeps out: opening it is refused here instead."""
    scan(tmp_path / "a.nc")
    before, original = (tmp_path / "a.nc").read_bytes(), Path.open

    def guarded(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "a.nc":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return original(self, *args, **kwargs)

    owner = (tmp_path / "a.nc").owner()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", guarded)
        for look in (lambda: scan(tmp_path / "a.nc", overwrite=overwrite), lambda: gs.partial_scan(tmp_path / "a.nc")):
            with pytest.raises(PermissionError, match=f"Permission denied: it cannot be read, and belongs to {owner}"):
                look()
    assert (tmp_path / "a.nc").read_bytes() == before
    assert names(tmp_path) == ["a.nc"]


def test_where_the_first_file_cannot_be_written_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full)
    with pytest.raises(OSError, match="could not be written"):
        scan(tmp_path / "a.nc")
    assert names(tmp_path) == []


# what is said of what is there


def power(v: torch.Tensor) -> torch.Tensor:
    return scale(v**EXPONENT).mean((-2, -1))


def scale(v: torch.Tensor) -> torch.Tensor:
    return FACTOR * v


EXPONENT, FACTOR = 2.0, 1.0


class Weighted:
    def __init__(self, weight: float) -> None:
        self.weight, self.other = weight, [1, 2]

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        return self.weight * scale(v).mean((-2, -1))


def test_a_loss_that_differs_is_named_with_what_changed_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tmp_path / "a.nc", losses=[power, Weighted(1.0)])

    def refused(**changes: Any) -> str:
        with pytest.raises(gs.StoreMismatchError) as caught:
            scan(tmp_path / "a.nc", **changes)
        assert not re.search("[0-9a-f]{16}", str(caught.value))  # digests say nothing
        return str(caught.value)

    assert refused(losses=["spectrum"]).count('["power", "Weighted"] there, ["spectrum"] asked for') == 1
    told = refused(losses=[power, Weighted(2.0)])
    assert "losses: 'Weighted' is another one there" in told
    assert "of loss 'Weighted' weight changed)" in told
    assert "'power'" not in told
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    told = refused(losses=[power, Weighted(1.0)])
    assert (
        "of loss 'power' power.scale.FACTOR changed; of loss 'Weighted' Weighted.__call__.scale.FACTOR changed" in told
    )
    monkeypatch.setattr(dataset, "save", None)
    monkeypatch.setitem(globals(), "FACTOR", 1.0)
    monkeypatch.setattr(provenance, "code_fingerprint", lambda: 64 * "0")
    told = refused(losses=[power, Weighted(1.0)], routes=["unrolled"]).replace("\n", " ")
    assert "the same call with another store repeats them" in told
    assert "scan_arguments" not in told


def test_names_of_the_store_that_are_taken_are_told_and_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.nc").touch()
    (tmp_path / "a.nc.tiles").write_text("mine")
    (tmp_path / "b.nc.lock").mkdir()
    (tmp_path / "c.nc.lock").write_text("notes of mine")
    (tmp_path / "d.nc.lock").symlink_to(tmp_path / "nowhere")
    before = names(tmp_path)
    with pytest.raises(gs.StoreMismatchError, match=r"empty\.nc is an empty file, and no dataset; remove it"):
        scan(tmp_path / "empty.nc")
    with pytest.raises(OSError, match=r"empty\.nc is empty, and no NetCDF file"):
        gs.partial_scan(tmp_path / "empty.nc")
    for name, what in (("a.nc.tiles", "folder of tiles"), *((f"{n}.nc.lock", "lock") for n in "bcd")):
        with pytest.raises(FileExistsError, match=f"keeps its {what} under this name.*{re.escape(name)}"):
            scan(tmp_path / name[:4])
    assert names(tmp_path) == before
    assert (tmp_path / "a.nc.tiles").read_text() == "mine"
    assert (tmp_path / "c.nc.lock").read_text() == "notes of mine"
    assert scan(tmp_path / "empty.nc", overwrite=True).gsimplicit_complete == 1


def test_long_axes_at_fault_are_told_in_a_line() -> None:
    for axis, words in (
        (np.linspace(0.04, 0.03, 1000), r"0\.0399\d* after 0\.04 at place 1; its values in reverse order do$"),
        ([0.01, 0.02, 0.02], r"got 0\.02 after 0\.02 at place 2$"),
        ([-1.0] * 100, r"got \[-1\.0, -1\.0, -1\.0, -1\.0, -1\.0\] and 95 more$"),
    ):
        with pytest.raises(ValueError, match=words):
            gs.scan({"F": axis})


@pytest.mark.parametrize(
    "edited",
    [
        lambda data: data.isel(k=[0]),
        lambda data: data.isel(k=slice(None, None, -1)),
        lambda data: data.assign(loss=2 * data.loss),
        lambda data: data.drop_vars("loss"),
        lambda data: data.where(data.k > 0.061),
        lambda data: data.mean("k", keep_attrs=True),
    ],
    ids=["a part", "reversed", "scaled", "without the loss", "masked", "mean"],
)
def test_a_finished_store_whose_values_were_edited_is_not_returned_as_the_scan(tmp_path: Path, edited: Any) -> None:
    store = tmp_path / "a.nc"
    whole = scan(store)
    edited(whole).to_netcdf(store)
    with pytest.raises(gs.StoreMismatchError, match="edited since"):
        scan(store)
    assert scan(store, overwrite=True).loss.equals(whole.loss)
