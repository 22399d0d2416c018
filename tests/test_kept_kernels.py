"""Kernels are kept where that is possible, are never taken damaged or from another user, and never stand in the way."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numba
import pytest
from helpers import PAPER, instance, small_start

import gsimplicit
from gsimplicit.marching import cpu, kept, kernels
from gsimplicit.models import gray_scott_equations
from gsimplicit.sources import made_of, package_sources

PACKAGE = Path(gsimplicit.__file__).parent
NOT_WINDOWS = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")
MARCH = (
    "import gsimplicit as gs; x = gs.initial_state(grid=(8, 8), box=gs.Box(half=2));"
    "s = gs.steady_state(gs.Params.preset('paper'), x, tol=0.0, max_steps=20); print(s.fields.numpy().tobytes().hex())"
)


def twice(x: float) -> float:
    return x * 2


def kernel(made: str = "this version") -> numba.core.dispatcher.Dispatcher:
    """A kernel as in a process of its own: nothing is compiled yet."""
    function = numba.njit(twice)
    function._cache = kept.Kept(twice, made)
    return function


def hits(function: numba.core.dispatcher.Dispatcher) -> int:
    """How often it was taken from what is kept, once it has run."""
    assert function(1.5) == 3.0
    return sum(function.stats.cache_hits.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place for kernels."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "there"))
    monkeypatch.setattr(kept, "_beside", lambda: None)
    monkeypatch.setattr(kept, "_users", lambda: None)
    monkeypatch.setattr(kept, "_temporary", lambda **_: None)
    return tmp_path / "there"


def one(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_a_kernel_is_compiled_once_and_then_taken_from_its_file(folder: Path) -> None:
    assert hits(kernel()) == 0
    assert one(folder).stat().st_mode & 0o022 == 0
    assert hits(kernel()) == 1


def test_a_kernel_of_other_sources_is_not_taken(folder: Path) -> None:
    assert [hits(kernel("this version")), hits(kernel("another one"))] == [0, 0]


def test_kernels_are_known_by_what_they_are_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kept kernel must not outlive a change of the equations."""
    assert kernels.fingerprint() == kernels.MADE_OF
    other = tmp_path / "gray_scott_equations.py"
    other.write_text(Path(gray_scott_equations.__file__).read_text() + "\n# changed")
    monkeypatch.setattr(gray_scott_equations, "__file__", str(other))
    assert kernels.fingerprint() != kernels.MADE_OF


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # numba's own cache would run it
    path.write_bytes(content)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


@pytest.mark.parametrize("damage", [cut, emptied, changed, replaced_by_a_folder], ids=lambda f: f.__name__)
def test_a_damaged_kernel_is_compiled_anew(damage: object, folder: Path) -> None:
    assert hits(kernel()) == 0
    damage(one(folder))  # type: ignore[operator]
    assert hits(kernel()) == 0
    assert hits(kernel()) == (damage is not replaced_by_a_folder)  # and kept again, where there is room
    assert len(list(folder.iterdir())) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_kernel_of_another_user_is_not_taken(folder: Path) -> None:
    assert hits(kernel()) == 0
    os.chown(one(folder), 12345, 12345)
    assert hits(kernel()) == 0
    assert one(folder).stat().st_uid == 0


@contextmanager
def no_room() -> Iterator[None]:
    """Files can be created and hold a thousand bytes, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@NOT_WINDOWS
def test_a_kernel_that_cannot_be_kept_runs_and_leaves_nothing_behind(folder: Path) -> None:
    with no_room():
        assert hits(kernel()) == 0
    assert list(folder.iterdir()) == []
    folder.rmdir()
    folder.touch()  # not even a folder can be made
    assert hits(kernel()) == 0
    assert folder.read_bytes() == b""


@NOT_WINDOWS
def test_the_temporary_folder_must_be_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = tmp_path / f"gsimplicit-{os.geteuid()}"
    assert kept._temporary(make=True) == place
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)
    assert kept._temporary(make=True) is None
    place.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to(tmp_path / "elsewhere")
    assert kept._temporary(make=True) is None
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere" / "nowhere"))
    assert kept._temporary(make=True) is None


def test_a_folder_that_is_asked_for_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "fresh"))
    assert list(kept.folders()) == [tmp_path / "fresh"]
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/fresh")
    assert kept._beside() in kept.folders(make=True)


@pytest.mark.parametrize("home", ["", "/", "nowhere", "~", "/dev/null/x"])
def test_without_a_home_nothing_is_written_where_one_would_be(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert kept._users() is None


def test_side_by_side_writers_leave_one_whole_file(tmp_path: Path) -> None:
    payloads = [bytes([n]) * 100_000 for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda p: kept.write(tmp_path / "k", p), payloads))
    assert kept.read(tmp_path / "k") in payloads
    assert len(list(tmp_path.iterdir())) == 1


def test_sources_are_known_by_file_by_byte_code_and_by_neither() -> None:
    assert made_of(gray_scott_equations) == Path(gray_scott_equations.__file__).read_bytes()
    sources = package_sources()
    assert len(sources) == len(list(PACKAGE.rglob("*.py")))
    assert sources["gsimplicit.models.gray_scott_equations"] == made_of(gray_scott_equations)
    assert made_of(type(sys)("nothing")) is None


def test_sources_are_read_and_nothing_is_imported_for_them() -> None:
    code = (
        "import sys; from gsimplicit.sources import package_sources; before = set(sys.modules); package_sources();"
        "print(*{n.partition('.')[0] for n in set(sys.modules) - before} & {'gsimplicit', 'matplotlib', 'panel'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_kernels_of_unknown_sources_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gray_scott_equations, "__spec__", None)
    assert kernels.fingerprint() is None


def marched(*path: str, **environment: str) -> bytes:
    """Fields of a short march in a process that finds the package on this path."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {list(path)!r}; {MARCH}"],
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return bytes.fromhex(done.stdout)


def here() -> bytes:
    fields = small_start(8, 2)[0].numpy()
    return cpu.march(instance(PAPER), fields, 0.0, 20, 64)[0].tobytes()


def test_a_zip_without_sources_and_without_a_place_to_write_marches_all_the_same(tmp_path: Path) -> None:
    import compileall

    copy = tmp_path / "copy" / "gsimplicit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(copy, quiet=1, legacy=True)
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for path in copy.rglob("*.pyc"):
            archive.write(path, path.relative_to(copy.parent))
    shutil.rmtree(copy)
    file = tmp_path / "file"
    file.touch()
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), str(file / "below"))
    # matplotlib, of which nothing is asked, would want a folder too
    assert marched(str(tmp_path / "package.zip"), **nowhere, TMPDIR=str(tmp_path)) == here()
    if hasattr(os, "geteuid"):
        assert one(tmp_path / f"gsimplicit-{os.geteuid()}").name.startswith("gsimplicit.march-")


def other_user(*command: str) -> subprocess.CompletedProcess[str]:
    """Run something as nobody, without a home."""
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "HOME=/nonexistent"]
    return subprocess.run([*drop, *command], cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None, reason="wants root and setpriv"
)
def test_a_user_who_can_write_neither_package_nor_home_marches() -> None:
    path = [p for p in sys.path if p] + [str(PACKAGE.parent)]
    if other_user(sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; import torch, gsimplicit").returncode:
        pytest.skip("this interpreter or its packages cannot be read by others")
    done = other_user(sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {path!r}; {MARCH}")
    assert not done.returncode, done.stderr
    assert bytes.fromhex(done.stdout) == here()
