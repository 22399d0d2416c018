"""Other starts, earlier times and animations: their measures, their files, and that they resume."""

from __future__ import annotations

import base64
import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

import gsimplicit as gs
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.tiles import Values
from studies import _gallery, _gif, _likeness, _page, _record, _regular, _starts, _times, animations
from studies._apart import GROWING, distance


def a_film(times: int = 5) -> _gif.Film:
    """Two panels that change; the second is gone at the last time."""
    frames = np.zeros((2, times, 16, 16), np.uint8)
    for time in range(times):
        frames[:, time, : 2 + time] = 40 * (time + 1)
    gone = np.zeros((2, times), bool)
    gone[1, -1] = True
    heads = [f"step {10**n:,}" for n in range(times)]
    return _gif.Film(frames, gone, ["k = 0.06\nF = 0.03", "k = 0.07\nF = 0.03"], [[""] * times] * 2, heads, 2, 64)


def shades(image: Image.Image) -> np.ndarray:
    """The open frame as colours."""
    return np.asarray(image.convert("RGB")).astype(int)


def test_an_animation_opens_with_all_its_frames_and_times(tmp_path: Path) -> None:
    film = a_film()
    with Image.open(_gif.write(film, tmp_path / "a.gif")) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 5, 0)
        durations = []
        for n in range(image.n_frames):
            image.seek(n)
            durations.append(image.info["duration"])
        assert durations == [film.pause] * 4 + [_gif.HOLD]


def test_every_frame_of_an_animation_shows_its_patterns_in_one_palette(tmp_path: Path) -> None:
    film = a_film()
    allowed = {tuple(c) for c in np.frombuffer(_gif._palette(), np.uint8).reshape(-1, 3).tolist()}
    with Image.open(_gif.write(film, tmp_path / "a.gif")) as image:
        for n in range(image.n_frames):
            image.seek(n)
            seen = shades(image)
            assert {tuple(c) for c in seen.reshape(-1, 3).tolist()} <= allowed
            assert np.array_equal(seen, shades_of(_gif._canvas(film, n)))


def shades_of(canvas: np.ndarray) -> np.ndarray:
    return np.frombuffer(_gif._palette(), np.uint8).reshape(-1, 3).astype(int)[canvas]


def test_labels_and_steps_are_drawn_and_a_diverged_panel_is_grey() -> None:
    film = a_film()
    first, last = _gif._canvas(film, 0), _gif._canvas(film, 4)
    head, titles = slice(0, _gif.LINE + _gif.GAP), slice(_gif.LINE + _gif.GAP, 3 * _gif.LINE + _gif.GAP)
    black = _gif.SHADES + _gif.GREYS - 1
    assert (first[titles] == black).any()
    assert np.array_equal(first[titles], last[titles])
    assert not np.array_equal(first[head], last[head])  # the step
    assert (last[-64:, -64 - _gif.GAP : -_gif.GAP] >= _gif.SHADES).mean() > 0.8


def test_frames_are_even_in_the_logarithm_of_the_steps_from_the_start_to_the_cap() -> None:
    times = animations.times_of(24)
    assert (times[0], times[1], times[-1]) == (0, 10, _times.LAST)
    assert np.ptp(np.diff(np.log(times[1:]))) < 0.1
    assert (np.diff(times) > 0).all()


def test_a_film_stands_still_from_its_stop_on() -> None:
    film = animations._film(((0.16, 0.08, 0.035, 0.068), (0, 100, 5000, 50_000)))
    stop = gs.steady_state(gs.Params(0.16, 0.08, 0.035, 0.068), gs.initial_state())
    assert (int(film["steps"]), int(film["status"])) == (int(stop.steps[0]), gs.Status.SETTLED)
    assert film["v"].shape == (4, 128, 128)
    assert np.array_equal(film["v"][0], _times.levels(gs.initial_state()[0, 1]))
    assert np.array_equal(film["v"][2], film["v"][3])
    assert film["v"][1].max() > film["v"][2].max()


KILLS = (0.0668, 0.0672, 0.0676, 0.068)


def films(refused: tuple[float, ...], error: type[BaseException]) -> Job:
    """Frames of four evolutions; some are refused."""
    made = animations._films("k", KILLS, [(0.16, 0.08, 0.035, k) for k in KILLS], 5)

    def evaluate(item: tuple[tuple[float, ...], tuple[int, ...]]) -> Values:
        if item[0][3] in refused:
            raise error
        return animations._film(item)

    return dataclasses.replace(made, evaluate=evaluate)


def test_frames_of_an_interrupted_run_are_taken_from_its_store(tmp_path: Path) -> None:
    first, last = KILLS[:2], KILLS[2:]
    with ThreadPoolExecutor(1) as pool:
        whole = fill(lambda: films((), ValueError), {"frames": 5}, executor=pool, progress=False)
        given = {"store": tmp_path / "k.nc", "executor": pool, "progress": False, "tile": 1}
        with pytest.raises(KeyboardInterrupt):
            fill(lambda: films(last, KeyboardInterrupt), {"frames": 5}, **given)
        rest = fill(lambda: films(first, ValueError), {"frames": 5}, **given)  # the first are not asked for again
    assert np.array_equal(rest["v"].values, whole["v"].values)
    assert np.array_equal(rest["steps"].values, whole["steps"].values)


def test_marching_on_gives_the_bits_of_marching_at_once() -> None:
    params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32), box=gs.Box(half=7))
    *_, last = _times.states_at(params, start, (0, 100, 250))
    once = gs.steady_state(params, start, tol=0.0, max_steps=250, dtype=torch.float32).fields
    assert torch.equal(last, once)


def test_random_boxes_have_the_sizes_and_places_that_are_told() -> None:
    sizes, middles = [], []
    for number in range(40):
        inside = (_starts.boxed(number)[0, 1] == 0.25).numpy()
        sizes.append(int(np.sqrt(inside.sum())) // 2)
        middles.append(np.argwhere(inside).mean(axis=0))
    assert min(sizes) >= _starts.HALVES[0]
    assert max(sizes) <= _starts.HALVES[1]
    assert len(set(sizes)) > 8
    assert np.std(middles, axis=0).min() > 15  # all over the grid
    assert torch.equal(_starts.boxed(3), _starts.boxed(3))


def test_noise_of_other_starts_is_six_times_the_papers_within_its_bounds() -> None:
    outside = np.s_[:40]
    assert float(_starts.noisy(0)[0, 0][outside].std() / _starts.paper(0)[0, 0][outside].std()) == pytest.approx(
        6, rel=0.05
    )
    assert _starts.bare(0).amin() >= 0
    assert not (_starts.bare(0)[0, 1] == 0.25).any()


@pytest.fixture(scope="module")
def waves() -> np.ndarray:
    """Four samples of two waves each, of wavelength 16, with some noise."""
    x = 2 * np.pi * np.arange(128) / 16
    random = np.random.default_rng(0)
    return np.stack([np.cos(x + a)[:, None] + np.cos(x + b) + 0.05 * random.normal(size=(128, 128)) for a, b in
                     random.uniform(0, 6, (4, 2))])  # fmt: skip


def test_samples_of_one_pattern_are_alike_and_those_of_another_scale_or_level_are_not(waves: np.ndarray) -> None:
    assert _likeness.likeness(waves[:2], waves[2:]).alike
    assert not _likeness.likeness(waves[:2], waves[2:] + 0.5).alike
    assert not _likeness.likeness(waves[:2], np.tile(waves[2:, ::2, ::2], (1, 2, 2))).alike
    flat = _likeness.likeness(waves[:2], np.zeros_like(waves[2:]))
    assert (flat.ratio, flat.alike) == (np.inf, False)


def test_distances_do_not_see_where_a_pattern_lies(waves: np.ndarray) -> None:
    moved = np.roll(waves, (5, 17), (-2, -1))
    assert distance(waves, moved, GROWING) == pytest.approx(0, abs=1e-9)
    assert (distance(waves, 2 * waves, GROWING)[:, 0] > 0.1).all()


def a_plane(loss: np.ndarray, mean: np.ndarray) -> xr.Dataset:
    """Left half uniform, right half pattern, two times, one sample: loss and mean of v of shape (F, k, time)."""
    kind = np.full((*loss.shape[:2], 1, 2), gs.Kind.PATTERN, np.int8)
    kind[:, :5] = gs.Kind.UNIFORM
    dims = ("F", "k", "sample", "time")
    coords = {"F": np.arange(len(loss)), "k": np.arange(loss.shape[1]), "time": ["500", "stop"]}
    return xr.Dataset(
        {"loss": (dims, loss[:, :, None]), "v_mean": (dims, mean[:, :, None]), "kind": (dims, kind)}, coords
    )


def test_a_cliff_is_measured_at_its_faces_and_regular_change_along_its_lines() -> None:
    k, random = np.arange(10.0), np.random.default_rng(1)
    slope, step = np.tile(k, (6, 1)), np.tile(9.0 * (k >= 5), (6, 1))
    plane = a_plane(np.stack([slope, step], -1), np.stack([slope, random.normal(size=(6, 10))], -1))
    jumps = _regular.cliff_jumps(plane, "left")
    assert jumps.sel(time="500").item() == pytest.approx(1 / 9)
    assert jumps.sel(time="stop").item() == 1
    assert np.isnan(_regular.cliff_jumps(plane, "right")).all()
    rank = _regular.ranked(plane, "patterns", "v_mean")
    assert rank.sel(time="stop").item() < 0.9
    assert np.isnan(_regular.ranked(plane, "right", "v_mean")).all()
    still = plane.assign(v_mean=0 * plane["v_mean"])
    assert (_regular.ranked(still, "left", "v_mean") == 0).all()


def test_a_page_holds_animations_closed_and_links_those_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _gif.write(a_film(), tmp_path / "a.gif")
    Figure(figsize=(2, 1)).savefig(tmp_path / "moves.png")
    moving = _record.Animation("a.gif", "Twelve values.", "Patterns that form.")
    report = _record.Report(
        "moves", "it moves", "Lines.", "A plot.", "quick", (), ("a.nc", "moves.png"), 2.0, "2026-01-02", "x", (moving,)
    )
    _record.save(report, tmp_path)
    assert _record.load(tmp_path) == [report]
    page = _page.page([report], tmp_path)
    (inside,) = re.findall(r'src="data:image/gif;base64,([^"]+)"', page)
    assert base64.b64decode(inside) == (tmp_path / "a.gif").read_bytes()
    assert '<details class="moving"><summary>Animation: Twelve values.' in page
    assert "<details open" not in page.partition("data:image/gif")[0].rpartition("<figure")[0].rpartition("moving")[2]
    monkeypatch.setattr(_page, "EMBEDDED", 10)
    page = _page.page([report], tmp_path)
    assert "data:image/gif" not in page
    assert '<a href="a.gif">a.gif</a>' in page
    pages = _gallery.write(tmp_path, tmp_path / "gallery")
    assert (tmp_path / "gallery" / "a.gif").read_bytes() == (tmp_path / "a.gif").read_bytes()
    assert "{figure} a.gif\n:alt: Patterns that form." in pages[1].read_text()
