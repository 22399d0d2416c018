"""Browser tests of the explorer: a real server, a real browser. `nox -s explore-tests` runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gsimplicit as gs

pytest.importorskip("panel")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
ROOT = Path(__file__).parents[2]

_FIND = """name => {
  for (const doc of Bokeh.documents) { const found = doc.get_model_by_name(name); if (found) return found }
  throw new Error(`no model is called ${name}`)
}"""


@pytest.fixture(scope="session")
def served() -> Iterator[Callable[..., str]]:
    """Starts `gsimplicit explore` with words, and gives the address it prints."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> str:
        command = [sys.executable, "-u", "-m", "gsimplicit", "explore", *words]
        one = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        running.append(one)
        said = ""
        for line in one.stdout or []:
            said += line
            if found := re.search(r"http://\S+(?=;)", line):
                return found.group()
        raise AssertionError(f"the server ended: {said}")

    yield start
    for one in running:
        one.terminate()
    for one in running:
        one.communicate(timeout=90)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium at hand: apt-get install chromium")
    with playwright.sync_playwright() as engine:
        opened = engine.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


class Page:
    """A page that is looked at by its data; what the console says of it and what it asks elsewhere is kept."""

    def __init__(self, browser: Any, url: str) -> None:
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        self.tab = browser.new_page(viewport={"width": 1500, "height": 1150})
        self.tab.on("console", lambda m: m.type in ("error", "warning") and self.complaints.append(m.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        host = url.split("/")[2]
        self.tab.on("request", lambda r: self._asked(r.url, host))
        self.tab.goto(url)
        self._ready()

    def load(self) -> None:
        """Load the page again."""
        self.tab.reload()
        self._ready()

    def _ready(self) -> None:
        self.tab.wait_for_function("() => window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")

    def _asked(self, url: str, host: str) -> None:
        if not url.startswith((f"http://{host}/", f"ws://{host}/", "data:", "blob:")):
            self.elsewhere.append(url)

    def data(self, name: str) -> dict[str, Any]:
        """A source's columns; images as lists."""
        code = f"""name => {{ const data = ({_FIND})(name).data, out = {{}}
          const entries = data instanceof Map ? data : Object.entries(data)
          const plain = x => ArrayBuffer.isView(x) || Array.isArray(x) ? Array.from(x, plain) : x
          for (const [key, column] of entries) out[key] = plain(column)
          return out }}"""
        return dict(self.tab.evaluate(code, name))

    def told(self) -> dict[str, Any]:
        """The report of the picture that is shown, without the picture."""
        return {name: column[0] for name, column in self.data("picture").items() if name != "image"}

    def text(self, name: str) -> str:
        return str(self.tab.evaluate(f"name => ({_FIND})(name).text", name))

    def until(self, what: str, holds: Callable[[], bool], seconds: float = 40) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"{what} did not come: {self.told()}, {self.complaints}"
            self.tab.wait_for_timeout(50)

    def press(self, label: str) -> None:
        self.tab.get_by_role("button", name=label, exact=True).click()

    def download(self, label: str) -> bytes:
        with self.tab.expect_download() as coming:
            self.tab.get_by_text(label, exact=True).click()
        return bytes(coming.value.path().read_bytes())

    def pause(self) -> dict[str, Any]:
        """Pause, and wait until nothing new comes."""
        self.press("Pause")
        self.until("Run", lambda: self.tab.get_by_role("button", name="Run", exact=True).count() == 1)
        frame = -1
        while frame != (frame := int(self.told()["frame"])):
            self.tab.wait_for_timeout(300)
        return self.told()

    def place(self, name: str, across: float, down: float) -> tuple[float, float]:
        """Where on the screen a place of a figure is, in shares of its frame from the left and from below."""
        code = f"""([name, across, down]) => {{ const model = ({_FIND})(name)
          const find = views => {{ for (const view of views) {{ if (view.model === model) return view
            const inner = find([...(view.child_views ?? [])]); if (inner) return inner }} }}
          const view = find(Object.values(Bokeh.index.roots ?? Bokeh.index))
          const box = view.canvas_view.el.getBoundingClientRect(), frame = view.frame.bbox
          return [box.left + frame.left + across * frame.width, box.top + frame.bottom - down * frame.height] }}"""
        x, y = self.tab.evaluate(code, [name, across, down])
        return float(x), float(y)

    def close(self) -> None:
        self.tab.close()
        assert not self.complaints, self.complaints
        assert not self.elsewhere, self.elsewhere


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[str], Page]]:
    """Opens pages, and asks at the end that nothing was complained of and nothing asked elsewhere."""
    opened: list[Page] = []

    def go(url: str) -> Page:
        opened.append(Page(browser, url))
        return opened[-1]

    yield go
    for page in opened:
        page.close()


@pytest.fixture(scope="session")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small plane of two samples, with the patterns kept and two routes."""
    path = tmp_path_factory.mktemp("landscape") / "plane.nc"
    start = gs.initial_state(2, grid=(32, 32), box=gs.Box(half=5))
    gs.scan(
        {"F": [0.030, 0.035, 0.040, 0.045], "k": [0.058, 0.060, 0.062, 0.064, 0.066]}, losses=["spectrum", "windowed"],
        routes=["unrolled", "tangent"], initial=start, tol=0.0, max_steps=400, keep="v", store=path, progress=False,
    )  # fmt: skip
    return path


@pytest.fixture
def shots(tmp_path: Path) -> Callable[[Page, str], None]:
    """Takes a picture of the screen; of what the browser paints something is told from nothing."""

    def take(page: Page, name: str) -> None:
        file = tmp_path / f"{name}.png"
        page.tab.screenshot(path=file)
        with Image.open(file) as shot:
            assert len(shot.convert("RGB").getcolors(2**24)) > 200

    return take
