"""The pictures of the README, the tutorial and the page on steady states: `python docs/pictures.py`, some minutes.

`python docs/pictures.py point` makes one: point, start, drift, or the two of the explorer, which needs Chromium. The
scans are kept in output/pictures.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.explorer.walking import least_change
from gsimplicit.plotting import cliff_lines, landscape, plane

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

HERE = Path(__file__).parent
KEPT = HERE.parent / "output" / "pictures"
SIZE = 48
POINTS = 20


def point() -> None:
    """A pattern, the landscape of its loss, and which way two routes say to go."""
    start = gs.initial_state(grid=(SIZE, SIZE))
    pattern = gs.steady_state(gs.Params.preset("paper"), start)
    data = gs.scan(
        {"F": np.linspace(0.03, 0.07, POINTS), "k": np.linspace(0.053, 0.068, POINTS)},
        routes=[gs.routes.Implicit(gs.Refine(max_evaluations=200_000)), "unrolled"],
        initial=start,
        store=KEPT / "point.nc",
    )
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=[0.8, 1, 1])
    axes[0].imshow(pattern.v[0], cmap="magma", interpolation="nearest")
    axes[0].set(xticks=[], yticks=[], title="pattern at the star")
    high = float(data["loss"].max())
    for ax, route in zip(axes[1:], ("implicit", "unrolled"), strict=True):
        loss = data["loss"].isel(sample=0, objective=0)
        plane(loss, ax, cmap="Blues", vmin=-0.15 * high, vmax=1.5 * high)
        cliff_lines(data.isel(sample=0), "spectrum", ax, color="#b2182b", width=2)
        _arrows(ax, data, route)
        ax.plot(0.065, 0.035, "*", ms=13, mfc="#ffd92f", mec="k")
        ax.set_title(f"loss, and descent by the {route} route")
    figure.savefig(HERE / "point.png", dpi=110)


def _arrows(ax: plt.Axes, data: xr.Dataset, route: str) -> None:
    """Where one step of the plane would go downhill; a dot where the gradient says nothing, as in the explorer."""
    k, F = data["k"].values, data["F"].values
    of = data["gradient"].sel(route=route).isel(sample=0, objective=0).transpose("F", "k", "parameter")
    steps = np.stack([of.sel(parameter="k").values * (k[1] - k[0]), of.sel(parameter="F").values * (F[1] - F[0])], -1)
    size = np.linalg.norm(steps, axis=-1)
    K, f = np.meshgrid(k, F)
    loss = data["loss"].isel(sample=0, objective=0).transpose("F", "k").values
    flat = size <= least_change(loss, float(np.nanmax(loss)))
    ax.plot(K[flat], f[flat], ".", ms=3, color="0.25")
    seen = ~flat & np.isfinite(size)
    along = -steps[seen] / size[seen][:, None] * np.array([k[1] - k[0], F[1] - F[0]]) * 0.8
    ax.quiver(K[seen], f[seen], along[:, 0], along[:, 1], angles="xy", scale_units="xy", scale=1, pivot="mid",
              color="k", width=0.006, headwidth=5, headlength=5)  # fmt: skip


def start() -> None:
    """The line of the tutorial, through a cliff."""
    fields = gs.initial_state(grid=(SIZE, SIZE))

    def mean_square(v: torch.Tensor) -> torch.Tensor:
        return (v**2).mean(dim=(-2, -1))

    line = gs.scan({"k": np.linspace(0.058, 0.068, 21)}, losses=["spectrum", mean_square], initial=fields)
    landscape(line).savefig(HERE / "start.png", dpi=90)


def drift() -> None:
    """Shape and position of a pattern come to rest at different times; a grid holds narrow spots, wide ones hardly."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    _shape_and_position(axes[0])
    for ax, Du, every in ((axes[1], 0.04, 25), (axes[2], 0.16, 2_000)):
        _pulled(ax, gs.Params(Du=Du, Dv=Du / 2, F=0.035, k=0.064), every)
    axes[1].set_title("(b) narrow spots are soon pinned")
    axes[2].set_title("(c) wide spots drift for long")
    figure.savefig(HERE / "drift.png", dpi=110)


def explorer() -> None:
    """The explorer's two views, as a browser shows them."""
    from playwright.sync_api import sync_playwright

    gs.scan(
        {"F": np.linspace(0.03, 0.06, 16), "k": np.linspace(0.056, 0.067, 16)},
        losses=["spectrum", "windowed"],
        routes=[gs.routes.Implicit(gs.Refine(max_evaluations=200_000)), "unrolled"],
        initial=gs.initial_state(grid=(SIZE, SIZE)),
        keep="v",
        store=KEPT / "explorer.nc",
    )
    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        with _served() as url:
            tab = browser.new_page(viewport={"width": 960, "height": 700})
            tab.goto(url)
            tab.wait_for_function(f"() => window.Bokeh?.documents[0] && {_SHOWN}.steps[0] > 6000", timeout=300_000)
            tab.get_by_role("button", name="Pause", exact=True).click()
            tab.wait_for_timeout(2_000)
            tab.screenshot(path=HERE / "explorer_live.png")
        with _served(str(KEPT / "explorer.nc")) as url:
            tab = browser.new_page(viewport={"width": 1470, "height": 690})
            tab.goto(url)
            said = tab.get_by_text("As the scan left it")
            said.wait_for(timeout=120_000)
            tab.mouse.click(220, 299)
            tab.wait_for_timeout(3_000)
            tab.get_by_label("Route").select_option("unrolled")
            for n in range(3):
                tab.get_by_role("button", name="Step downhill").click()
                tab.wait_for_function(f"() => {_MODEL}('walk').data.x.length > {n + 1}", timeout=120_000)
            tab.wait_for_timeout(1_000)
            tab.screenshot(path=HERE / "explorer_plane.png")
        browser.close()


_MODEL = "Bokeh.documents[0].get_model_by_name"
_SHOWN = f"{_MODEL}('picture').data"


@contextmanager
def _served(*words: str) -> Iterator[str]:
    """The explorer's address while it is served."""
    command = [sys.executable, "-u", "-m", "gsimplicit", "explore", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[4].rstrip(";")
        server.terminate()
        server.communicate()  # it says that it ends, to a pipe that must still be open


def _shape_and_position(ax: plt.Axes) -> None:
    params, fields = gs.Params(Du=0.16, Dv=0.08, F=0.03, k=0.06), gs.initial_state(grid=(40, 40))
    times = np.unique(np.geomspace(200, 1_000_000, 90).astype(int))
    rows, at, stop = [], 0, gs.steady_state(params, fields)
    for time in times:
        fields, at = gs.steady_state(params, fields, tol=0.0, max_steps=int(time - at)).fields, time
        rows.append(_rates(params, fields))
    whole, shape = np.array(rows).T
    ax.loglog(times, whole, color="#b2182b", lw=2, label="all of it")
    ax.loglog(times, shape, color="#2166ac", lw=2, label="the shape, a rigid drift taken out")
    ax.axhline(1e-10, color="0.4", ls=":", lw=1)
    ax.axvline(int(stop.steps[0]), color="0.4", ls="--", lw=1)
    ax.text(int(stop.steps[0]) * 1.2, 2e-3, "the stop test fires", ha="left", va="bottom", fontsize=8)
    ax.text(times[0], 1.4e-10, "certified below", fontsize=8)
    ax.set(xlabel="time", ylabel="largest rate of change", title="(a) the shape comes to rest first", ylim=(2e-11, 3))
    ax.legend(fontsize=8, loc="upper right")


def _rates(params: gs.Params, fields: torch.Tensor) -> tuple[float, float]:
    """Largest rate of change of fields, and the largest one left by the rigid drift that fits it best."""
    x = fields[0].numpy()
    around = sum(np.roll(x, by, axis) for axis in (1, 2) for by in (-1, 1))
    rate = np.stack(params.model.residual(list(x), list(around), params.tensor()[0].tolist()))
    waves = 2j * np.pi * np.fft.fftfreq(x.shape[-1])
    slopes = [np.fft.ifft(np.fft.fft(x, axis=a) * waves.reshape((-1, 1) if a == 1 else (1, -1)), axis=a).real
              for a in (1, 2)]  # fmt: skip
    basis = np.stack([s.ravel() for s in slopes], 1)
    left = rate.ravel() - basis @ np.linalg.lstsq(basis, rate.ravel(), rcond=None)[0]
    return float(np.abs(rate).max()), float(np.abs(left).max())


def _pulled(ax: plt.Axes, params: gs.Params, every: int) -> None:
    """Where a pattern goes that was put a part of a pixel beside where the grid holds it."""
    start = gs.initial_state(grid=(24, 24), box=gs.Box(half=6))
    root = gs.steady_state(params, start, refine=gs.Refine(lattice=True))
    assert int(root.status[0]) == gs.Status.STEADY
    count = 60
    for offset in (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6):
        fields, places = _shifted(root.fields, offset), [offset]
        for _ in range(count):
            fields = gs.steady_state(params, fields, tol=0.0, max_steps=every).fields
            places.append(_offset(root.v[0], fields[0, 1], places[-1]))
        ax.plot(every * np.arange(count + 1), places, color="#2166ac", lw=1.6)
    ax.set(xlabel="time", ylabel="position, pixels", ylim=(-2.05, 1.1), yticks=[-1, -0.5, 0, 0.5, 1])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    inside = ax.inset_axes((0.74, 0.02, 0.24, 0.24))
    inside.imshow(root.v[0], cmap="magma", interpolation="nearest")
    inside.set(xticks=[], yticks=[])


def _shifted(fields: torch.Tensor, by: float) -> torch.Tensor:
    waves = np.exp(-2j * np.pi * np.fft.rfftfreq(fields.shape[-1]) * by)
    return torch.from_numpy(np.fft.irfft(np.fft.rfft(fields.numpy(), axis=-1) * waves, fields.shape[-1], axis=-1))


def _offset(still: torch.Tensor, moved: torch.Tensor, near: float) -> float:
    """How far along rows a pattern lies from where it stood, in pixels, near a first guess."""
    tried = near + np.linspace(-0.3, 0.3, 601)
    apart = [float((_shifted(still[None], t)[0] - moved).abs().pow(2).sum()) for t in tried]
    return float(tried[int(np.argmin(apart))])


def main() -> None:
    """Make the pictures asked for, or both."""
    KEPT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ["point", "start", "drift"]:
        {"point": point, "start": start, "drift": drift, "explorer": explorer}[name]()


if __name__ == "__main__":
    main()
