"""What stands for the fields while they are trained: a network of periodic waves, free pixels, or smooth pixels.

All three map a flat vector of weights to fields (S, H, W) on the periodic grid. They are brought to one size, so that
one training serves them all and nothing differs but what stands for the fields.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

FIELDS = ("network", "pixels", "smooth")
"""What can stand for the fields."""

BEGUN = 0.1
"""Standard deviation of the first weights of pixels, by that of the fields."""


@dataclass(frozen=True, eq=False)
class Size:
    """What fields are brought to.

    Attributes:
        grid: Rows and columns, (H, W).
        offset: About what each species varies, float64, shape (S,).
        spread: By how much, shape (S,).
    """

    grid: tuple[int, int]
    offset: torch.Tensor
    spread: torch.Tensor

    def fields(self, x: torch.Tensor) -> torch.Tensor:
        """Fields (S, H, W) of numbers about 0 and of size 1."""
        offset, spread = (s.to(x.dtype)[:, None, None] for s in (self.offset, self.spread))
        return offset + spread * x


class Representation(ABC):
    """Fields by weights.

    Args:
        size: What fields are brought to.
    """

    def __init__(self, size: Size) -> None:
        self.size = size

    @abstractmethod
    def start(self, generator: torch.Generator) -> torch.Tensor:
        """First weights, float64, shape (weights,)."""

    @abstractmethod
    def fields(self, weights: torch.Tensor) -> torch.Tensor:
        """Fields (S, H, W), differentiable in the weights, in their dtype."""

    @abstractmethod
    def filters(self) -> list[tuple[int, int, int]]:
        """Where weights that work together lie: first, past the last, and by how many they go together."""


class Perceptron(Representation):
    """Layers of tanh over sines and cosines of integer wave vectors: periodic by construction.

    Wave vectors are drawn without replacement, near 0 the more often: as a normal distribution of a standard deviation
    would have them.

    Args:
        size: What fields are brought to.
        width: Units of each hidden layer.
        depth: Hidden layers.
        waves: Wave vectors at most, each with its sine and cosine.
        reach: Standard deviation of the wave vectors, radians a pixel.
        generator: Draws them.
    """

    def __init__(
        self, size: Size, width: int, depth: int, waves: int, reach: float, generator: torch.Generator
    ) -> None:
        super().__init__(size)
        phase = 2 * math.pi * self._waves(size.grid, waves, reach, generator)
        inputs = torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)
        self._inputs = {dtype: inputs.to(dtype) for dtype in (torch.float32, torch.float64)}
        self.layers = [inputs.shape[1], *[width] * depth, len(size.offset)]

    @staticmethod
    def _waves(grid: tuple[int, int], waves: int, reach: float, generator: torch.Generator) -> torch.Tensor:
        """Phases in turns, pixels by wave vectors."""
        H, W = grid
        rows, columns = np.meshgrid(np.arange(-((H - 1) // 2), (H + 1) // 2), np.arange((W + 1) // 2), indexing="ij")
        half = (columns > 0) | (rows > 0)  # a vector and its opposite are one wave
        m, n = rows[half], columns[half]
        size = 2 * math.pi * np.hypot(m / H, n / W)
        share = torch.from_numpy(np.exp(-0.5 * (size / reach) ** 2) + 1e-12)
        chosen = torch.multinomial(share, min(waves, len(share)), generator=generator).sort().values.numpy()
        y, x = np.meshgrid(np.arange(H) / H, np.arange(W) / W, indexing="ij")
        turns = y.ravel()[:, None] * m[chosen] + x.ravel()[:, None] * n[chosen]
        return torch.from_numpy(turns - np.rint(turns))

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Normal weights of X. Glorot and Y. Bengio's size (2010), half of it in the last layer; no offsets."""
        made = []
        for n, (a, b) in enumerate(pairwise(self.layers)):
            size = math.sqrt(2 / (a + b)) * (0.5 if n == len(self.layers) - 2 else 1.0)
            made += [size * torch.randn(a * b, generator=generator, dtype=torch.float64), torch.zeros(b).double()]
        return torch.cat(made)

    def fields(self, weights: torch.Tensor) -> torch.Tensor:
        """Fields (S, H, W)."""
        x, at = self._inputs[weights.dtype], 0
        for n, (a, b) in enumerate(pairwise(self.layers)):
            x = torch.addmm(weights[at + a * b : at + a * b + b], x, weights[at : at + a * b].view(a, b))
            at += a * b + b
            if n < len(self.layers) - 2:
                x = torch.tanh(x)
        return self.size.fields(x.T.reshape(-1, *self.size.grid))

    def filters(self) -> list[tuple[int, int, int]]:
        """What each input feeds, and each layer's offsets."""
        found, at = [], 0
        for a, b in pairwise(self.layers):
            found += [(at, at + a * b, b), (at + a * b, at + a * b + b, b)]
            at += a * b + b
        return found


class Pixels(Representation):
    """The values themselves."""

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Small noise."""
        count = len(self.size.offset) * math.prod(self.size.grid)
        return BEGUN * torch.randn(count, generator=generator, dtype=torch.float64)

    def fields(self, weights: torch.Tensor) -> torch.Tensor:
        """Fields (S, H, W)."""
        return self.size.fields(weights.view(-1, *self.size.grid))

    def filters(self) -> list[tuple[int, int, int]]:
        """Each species by itself."""
        count = math.prod(self.size.grid)
        return [(i * count, (i + 1) * count, count) for i in range(len(self.size.offset))]


class Smooth(Pixels):
    """The values through a low pass `1 / (1 + (q / reach)^2)`: what descends first is smooth.

    Args:
        size: What fields are brought to.
        reach: Wave number that passes to a half, radians a pixel.
    """

    def __init__(self, size: Size, reach: float) -> None:
        super().__init__(size)
        H, W = size.grid
        rows, columns = np.meshgrid(np.fft.fftfreq(H), np.fft.rfftfreq(W), indexing="ij")
        share = torch.from_numpy(1 / (1 + (2 * math.pi * np.hypot(rows, columns) / reach) ** 2))
        self._share = {dtype: share.to(dtype) for dtype in (torch.float32, torch.float64)}

    def fields(self, weights: torch.Tensor) -> torch.Tensor:
        """Fields (S, H, W)."""
        hat = torch.fft.rfft2(weights.view(-1, *self.size.grid)) * self._share[weights.dtype]
        return self.size.fields(torch.fft.irfft2(hat, s=self.size.grid))
