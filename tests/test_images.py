"""Pictures from files, and `gsimplicit invert` on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from helpers import PAPER, small_start
from PIL import Image as Pillow

import gsimplicit as gs
from gsimplicit import images
from gsimplicit.__main__ import main

GREY = np.random.default_rng(0).integers(0, 256, (12, 10)).astype(np.uint8)


@pytest.fixture(scope="module")
def v() -> np.ndarray[Any, np.dtype[np.float64]]:
    """A window of a certified root, shape (28, 28)."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(48, 7), max_steps=20_000, refine=True)
    assert state.has_root.all()
    return state.v[0, 10:38, 12:40].numpy()


def saved(tmp_path: Path, name: str, pixels: Any) -> str:
    file = tmp_path / name
    Pillow.fromarray(pixels).save(file)
    return str(file)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_images_come_in_their_own_levels(name: str, tmp_path: Path) -> None:
    image = images.read(saved(tmp_path, name, GREY))
    assert np.array_equal(image.values, GREY)
    assert abs(image.rounding - 12**-0.5) < 1e-12
    assert not image.told


def test_sixteen_bits_keep_all_their_levels(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 10)).astype(np.uint16)
    assert np.array_equal(images.read(saved(tmp_path, "a.png", deep)).values, deep)


def test_colours_become_luminance_and_it_is_said(tmp_path: Path) -> None:
    pixels = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)
    image = images.read(saved(tmp_path, "a.png", pixels))
    assert np.allclose(image.values, pixels @ [0.2126, 0.7152, 0.0722])
    assert "0.7152 green" in image.told
    same = images.read(saved(tmp_path, "b.png", np.stack([GREY] * 3, axis=-1)))
    assert np.array_equal(same.values, GREY)
    assert not same.told


def test_a_transparent_image_is_refused_an_opaque_one_is_not(tmp_path: Path) -> None:
    full = np.full_like(GREY, 255)
    assert np.array_equal(images.read(saved(tmp_path, "a.png", np.stack([GREY] * 3 + [full], axis=-1))).values, GREY)
    with pytest.raises(ValueError, match="must be opaque"):
        images.read(saved(tmp_path, "b.png", np.stack([GREY] * 3 + [GREY], axis=-1)))


def test_means_of_blocks_keep_coordinates_and_lower_the_rounding(tmp_path: Path) -> None:
    file = tmp_path / "a.nc"
    values = np.arange(17.0 * 16).reshape(17, 16)
    xr.Dataset({"v": (("y", "x"), values)}, {"y": np.arange(17.0), "x": np.arange(16.0)}).to_netcdf(file)
    half = images.shrunk(images.read(str(file)), 2)
    assert half.values.shape == (8, 8)
    assert half.values[0, 0] == values[:2, :2].mean()
    assert half.values["x"].values[1] == 2.5
    assert images.shrunk(images.Image(GREY[:10].repeat(2, 1), 0.3), 1).rounding == 0.3
    with pytest.raises(ValueError, match="--shrink must leave at least 8 x 8 pixels, 3 leaves 5 x 5"):
        images.shrunk(images.read(str(file)), 3)


def test_a_photograph_gives_parameters_where_one_is_known(
    v: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = 30 + 500 * v + np.random.default_rng(0).standard_normal(v.shape)
    file, out = saved(tmp_path, "a.png", np.rint(grey).astype(np.uint8)), tmp_path / "out.nc"
    known = ["--fix", "Du=0.16", "--fix", "F=0.035"]
    assert main(["invert", file, *known, "--level", "0.999", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "28 x 28 pixels, an open window: nothing is assumed of the outside" in told
    assert "their rounding is noise of at least 0.29" in told
    assert "a value of the picture is" in told
    with xr.open_dataset(out) as data:
        low, high = data["lowest"].values[0], data["highest"].values[0]
        assert ((low <= PAPER) & (high >= PAPER)).all()
        assert high[1] - low[1] < 0.02


@pytest.mark.slow
def test_a_photograph_alone_has_no_unit_of_time_and_says_so(
    v: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = saved(tmp_path, "a.png", np.rint(30 + 500 * v).astype(np.uint8))
    assert main(["invert", file]) == 1
    told = capsys.readouterr().out
    assert "0: unidentified" in told
    assert "for example --fix Du=VALUE" in told


def test_values_in_the_models_units_need_nothing_else(
    v: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", v)
    assert main(["invert", str(tmp_path / "a.npy"), "--noise", "0.0001"]) == 0
    assert "k    0.0649" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["npy", "nc"])
def test_pixels_that_hold_no_number_were_not_measured(
    kind: str, v: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, gone = tmp_path / f"v.{kind}", v + 0.001 * np.random.default_rng(0).standard_normal(v.shape)
    gone[[3, 9, 20], [4, 17, 6]] = np.nan
    if kind == "npy":
        np.save(file, gone)
    else:
        xr.Dataset({"v": (("y", "x"), gone)}).to_netcdf(file)
    assert main(["invert", str(file), "--noise", "0.001"]) == 0
    assert "3 of them hold no number" in capsys.readouterr().out
    halved = images.shrunk(images.read(str(file)), 2)
    there = images.measured(halved)
    assert there is not None
    assert (~there).sum() == 3


@pytest.mark.slow
def test_a_window_that_is_said_to_be_periodic_ends_with_1(v: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", v)
    assert main(["invert", str(tmp_path / "a.npy"), "--periodic", "--fix", "F=0.035", "--noise", "0.0001"]) == 1


@pytest.mark.parametrize(
    ("words", "name", "content", "options"),
    [
        ("there is no", "none.png", None, []),
        ("cannot be read as one", "a.png", b"hello", []),
        ("must end in .npy, .nc or .png", "a.txt", b"hello", []),
        ("must be a NumPy file of numbers", "a.npy", b"hello", []),
        ("cannot be read as one", "a.nc", b"hello", []),
        ("--variable is for .nc files", "a.npy", b"hello", ["--variable", "v"]),
        ("--fix must name one of Du, Dv, F, k, got 'Dw'", "a.png", b"", ["--fix", "Dw=1"]),
        ("--fix must name a parameter once", "a.png", b"", ["--fix", "F=1", "--fix", "F=2"]),
        ("--fix must leave a parameter", "a.png", b"", [f"--fix={n}=0.1" for n in ("Du", "Dv", "F", "k")]),
        ("--out must", "a.png", b"", ["--out", "/nowhere/at/all.nc"]),
    ],
)
def test_what_is_no_picture_ends_with_2_and_one_line(
    words: str, name: str, content: bytes | None, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["invert", str(tmp_path / name), *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_pictures_that_are_none_or_too_large_are_refused_with_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "a.npy")
    np.save(file, np.zeros((3, 8, 8)))
    assert main(["invert", file]) == 2
    assert "must be one array of numbers (rows, columns)" in capsys.readouterr().err
    np.save(file, np.zeros((600, 500)))
    assert main(["invert", file]) == 2
    assert "at most 65536 pixels, got 600 x 500: cut out a part, or take means with --shrink, 3 or more" in (
        capsys.readouterr().err
    )
    xr.Dataset({"u": (("y", "x"), np.zeros((8, 8))), "v": (("y", "x"), np.zeros((8, 8)))}).to_netcdf(tmp_path / "a.nc")
    assert main(["invert", str(tmp_path / "a.nc")]) == 2
    assert "--variable must name one of the pictures" in capsys.readouterr().err
    assert main(["invert", str(tmp_path / "a.nc"), "--variable", "v"]) == 2
    assert "v must vary" in capsys.readouterr().err
