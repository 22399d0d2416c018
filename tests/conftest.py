"""Options of the suite and the roots that several modules share."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers import PAPER, small_start

import gsimplicit as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption("--shim", action="store_true", help="also run the GPU's kernels on threads (`nox -s gpu`)")
    parser.addoption("--faults", action="store_true", help="try faults as often as a release asks for")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The faults survived, summed over the tests that passed."""
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            if name.startswith("faults: "):
                counts[name[8:]] = counts.get(name[8:], 0) + int(number)  # type: ignore[call-overload]
    if counts and terminalreporter.config.getoption("--faults"):
        terminalreporter.section("faults survived")
        for name, number in counts.items():
            terminalreporter.write_line(f"{number:5} {name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for name in ("slow", "shim"):
        if not config.getoption(f"--{name}"):
            left = [item for item in items if item.get_closest_marker(name)]
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]
    if not torch.cuda.is_available() and not config.getoption("--shim"):
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch on one thread: on a busy machine threads that wait for each other made two seconds a minute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _pretended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where there is no device, `--shim` runs what needs one on a pretended one."""
    if request.node.get_closest_marker("gpu") is None or torch.cuda.is_available():
        yield
        return
    from benchmarks.pretended import pretended

    with pretended():
        yield


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads for what must not depend on them: batches are spread over as many as torch may use."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lattice_root() -> gs.SteadyState:
    """The paper's point on 48 x 48, the raw residual closed."""
    return gs.steady_state(gs.Params(*PAPER), small_start(48, 10), refine=gs.Refine(lattice=True))


@pytest.fixture(scope="session")
def drifting_root() -> gs.SteadyState:
    """The paper's point on 48 x 48, the bordered residual closed."""
    return gs.steady_state(gs.Params(*PAPER), small_start(48, 10), refine=True)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Runs a script beside its modules as a fresh process would, and returns its loss."""
    patched = (torch.Tensor, torch.nn.Module, torch.fft)
    before = [dict(vars(one)) for one in patched]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(module: str, text: str, name: str = "mine.py", others: dict[str, str] | None = None, **_: Any) -> Any:
        for known in [n for n in sys.modules if n.partition(".")[0] in ("mine", "other", "pkg", "script")]:
            monkeypatch.delitem(sys.modules, known)
        files = {name: module, "script.py": text, **(others or {}), **({"pkg/__init__.py": ""} if "/" in name else {})}
        for file, written in files.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(written)
        importlib.invalidate_caches()
        return importlib.import_module("script").loss

    yield run
    for one, had in zip(patched, before, strict=True):  # what the script put there would stay for all other tests
        for name in set(vars(one)) - set(had):
            delattr(one, name)


@pytest.fixture(scope="session")
def whole() -> torch.Tensor:
    """A certified root at the paper's point, shape (2, 64, 64)."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(64, 7), max_steps=20_000, refine=True)
    assert state.has_root.all()
    return state.fields[0]
