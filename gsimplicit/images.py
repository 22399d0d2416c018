"""Pictures from files: photographs, arrays and labelled arrays, as numbers with what is known of their rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gsimplicit import checks, dataset, files
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.inversion import Inversion
from gsimplicit.inverse.pictures.edges import OPEN, PERIODIC

__all__ = ["Image", "advice", "noise", "read", "require_small", "shrunk", "told"]

Array = np.ndarray[Any, np.dtype[np.float64]]

PHOTOGRAPHS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of red, green and blue in what is bright (Recommendation ITU-R BT.709)."""
MOST = 256 * 256
"""Pixels of a picture that is still taken: an open window of so many takes minutes."""
ALIKE = 1e-9
"""Difference of colours, by the largest value, that counts as grey."""


@dataclass(frozen=True, eq=False)
class Image:
    """A picture as it was read.

    Attributes:
        values: Array (H, W), or a labelled one with its coordinates.
        rounding: Standard deviation of the rounding to grey levels; 0 where values are not rounded.
        told: What was done to it, in words; empty where nothing was.
    """

    values: Any
    rounding: float = 0.0
    told: str = ""

    @property
    def photograph(self) -> bool:
        """Whether the values are grey levels, whose gain nobody knows."""
        return self.rounding > 0


def read(given: str, variable: str | None = None) -> Image:
    """A picture from a file: grey levels of a photograph, or the values of a .npy or .nc file.

    Raises:
        ValueError: It is no picture.
        OSError: It cannot be read.
    """
    file = files.place("picture", given)
    if not file.is_file():
        raise FileNotFoundError(f"picture must be a file, there is no {given!r}")
    kind = file.suffix.lower()
    if variable is not None and kind != ".nc":
        raise ValueError(f"--variable is for .nc files, got {given!r}")
    if kind in PHOTOGRAPHS:
        return _photograph(file, given)
    if kind == ".npy":
        return Image(_plain(given, _array(file, given)))
    if kind == ".nc":
        return Image(_labelled(file, given, variable))
    raise ValueError(f"picture must end in .npy, .nc or {', '.join(PHOTOGRAPHS)}, got {given!r}")


def _photograph(file: Path, given: str) -> Image:
    from matplotlib.image import imread

    try:
        raw = np.asarray(imread(file))
    except Exception as error:  # Pillow raises what it likes for files that are broken
        raise ValueError(f"picture must be an image, {given!r} cannot be read as one: {error}") from error
    levels = _levels(raw)
    values, told = levels[..., :3] if levels.ndim == 3 and levels.shape[2] > 2 else levels, []
    if values.ndim == 3:
        if values.shape[2] == 3 and np.ptp(values, axis=2).max() > ALIKE * max(float(values.max()), 1.0):
            values = values @ LUMINANCE
            told.append("colours were weighed by how bright they are (0.2126 red, 0.7152 green, 0.0722 blue)")
        else:
            values = values[..., 0]
    if levels.ndim == 3 and levels.shape[2] in (2, 4) and levels[..., -1].min() < levels[..., -1].max():
        raise ValueError(f"picture must be opaque, parts of {given!r} are transparent")
    if file.suffix.lower() in (".jpg", ".jpeg"):
        told.append("JPEG leaves deviations that are not independent: intervals may be too narrow")
    return Image(np.ascontiguousarray(values, dtype=np.float64), 1 / math.sqrt(12), "; ".join(told))


def _levels(raw: np.ndarray[Any, Any]) -> Array:
    """Grey levels: matplotlib scales those of a PNG file to 0 to 1."""
    if raw.dtype.kind != "f":
        return raw.astype(np.float64)
    for most in (255.0, 65535.0):
        levels = np.rint(raw.astype(np.float64) * most)
        if np.abs(levels - raw.astype(np.float64) * most).max() < 1e-7 * most:
            return np.asarray(levels)
    return raw.astype(np.float64)


def _array(file: Path, given: str) -> Any:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"picture must be a NumPy file of numbers, {given!r} is not: {error}") from error


def _labelled(file: Path, given: str, variable: str | None) -> Any:
    try:
        data = dataset.load(file)
    except (ValueError, OSError) as error:
        raise ValueError(f"picture must be a NetCDF file, {given!r} cannot be read as one: {error}") from error
    there = [str(name) for name, one in data.data_vars.items() if one.ndim >= 2 and one.dtype.kind in "fiu"]
    if variable is None and len(there) != 1:
        raise ValueError(
            f"--variable must name one of the pictures in {given!r}: {', '.join(there) or 'there is none'}"
        )
    name = there[0] if variable is None else variable
    if name not in there:
        raise ValueError(f"--variable must be one of {', '.join(there)}, got {name!r}{checks.meant(name, there)}")
    return _plain(given, data[name].squeeze())


def _plain(given: str, values: Any) -> Any:
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise ValueError(
            f"picture must be one array of numbers (rows, columns), {given!r} holds {values.dtype} of shape "
            f"{values.shape}"
        )
    return values


def shrunk(image: Image, factor: int) -> Image:
    """Means of blocks of factor x factor pixels; rows and columns that fill no block are left out.

    Raises:
        ValueError: Fewer than 8 x 8 blocks are left.
    """
    if factor == 1:
        return image
    H, W = (n // factor for n in image.values.shape)
    if min(H, W) < 8:
        raise ValueError(f"--shrink must leave at least 8 x 8 pixels, {factor} leaves {H} x {W}")
    cut = image.values[: H * factor, : W * factor]
    if hasattr(cut, "coarsen"):
        values = cut.coarsen(dict.fromkeys(cut.dims, factor)).reduce(np.mean)  # not without what is missing
    else:
        values = np.asarray(cut, dtype=np.float64).reshape(H, factor, W, factor).mean((1, 3))
    told = f"{image.told}; " if image.told else ""
    return Image(values, image.rounding / factor, f"{told}each pixel is the mean of {factor} x {factor}")


def require_small(image: Image) -> None:
    """Refuse what would take hours.

    Raises:
        ValueError: More than 256 x 256 pixels.
    """
    H, W = image.values.shape
    if H * W > MOST:
        factor = math.ceil(math.sqrt(H * W / MOST))
        raise ValueError(
            f"picture must have at most {MOST} pixels, got {H} x {W}: cut out a part, or take means with --shrink, "
            f"{factor} or more"
        )


def measured(image: Image) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Where a pixel was measured: not where a file holds NaN, as that of a missing value. None where all were."""
    there = ~np.isnan(np.asarray(image.values, dtype=np.float64))
    return None if there.all() else there


def noise(image: Image, given: float | None, *, periodic: bool) -> float | None:
    """The noise to be assumed: at least the rounding; None leaves the estimate, where that is more.

    Raises:
        ValueError: What is given is not above 0.
    """
    given = None if given is None else checks.real("--noise", given, above=0)
    if not image.rounding:
        return given
    if given is not None:
        return max(given, image.rounding)
    estimate = (PERIODIC if periodic else OPEN).noise_of(np.asarray(image.values, dtype=np.float64))
    return image.rounding if estimate < image.rounding else None


def told(image: Image, *, gain: bool, periodic: bool) -> list[str]:
    """What a picture is taken for, in lines."""
    H, W = image.values.shape
    lines = [f"{H} x {W} pixels, {'periodic' if periodic else 'an open window: nothing is assumed of the outside'}"]
    there = measured(image)
    if there is not None:
        lines.append(f"{int((~there).sum())} of them hold no number: nothing was measured there")
    if image.told:
        lines.append(image.told)
    if image.photograph:
        lines.append(f"in grey levels; their rounding is noise of at least {image.rounding:.2g}")
    if gain:
        lines.append("offset and gain of the values are unknown")
    return [f"  {line}" for line in lines]


def advice(found: Inversion, *, gain: bool, known: bool, periodic: bool) -> list[str]:
    """What can be done where a picture did not tell, in lines; what its gain was where it did."""
    verdict = int(found.verdict[0])
    if verdict == Recovery.FOUND:
        offset, size = found.gain[0].tolist()
        told = [f"  a value of the picture is {offset:.5g} + {size:.5g} {found.params.model.observed}"] if gain else []
        if not periodic:
            told.append(
                "  This holds of a pattern at rest: one that still changes can be taken for another one at rest."
            )
        return told
    if verdict == Recovery.UNIDENTIFIED and gain and not known:
        return [
            "  With an unknown gain the unit of time is unknown too: parameters are known up to one number.",
            f"  Give one of them, for example --fix {found.params.model.parameters[0]}=VALUE.",
        ]
    if verdict == Recovery.FAILED:
        return [
            "  Parameters are sought near the model's presets, in pixels: waves of 8 to 20 of them.",
            "  Where they are longer, take means with --shrink.",
        ]
    return []
