"""What an inversion gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gsimplicit.equations import ModelParams
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.pictures.axes import Axes
from gsimplicit.notebooks import MOST, table
from gsimplicit.pickling import ByValue

if TYPE_CHECKING:
    import xarray as xr


class NotRecovered(RuntimeError):  # noqa: N818 (a state of things, as NotSteady)
    """Parameters were asked for where an inversion has none.

    Examples:
        >>> import torch
        >>> import gsimplicit as gs
        >>> grey = 0.3 + 1e-6 * torch.rand(16, 16, dtype=torch.float64)
        >>> try:
        ...     gs.invert(grey).require_found()
        ... except gs.NotRecovered as error:
        ...     print(str(error)[:51])
        1 of 1 sets were not found: 0: refused, picture 0 i
    """


@dataclass(frozen=True, eq=False)
class Inversion(ByValue):
    """Parameters recovered from pictures, N sets from B pictures: N = B, or N = 1 where all are of one set.

    Attributes:
        params: The N sets; NaN where there is no answer.
        interval: Lowest and highest value of each parameter at the level asked for, float64, shape (N, P, 2). NaN
            where there is no answer; of a parameter that was not free its value twice. One-shot's are
            profile likelihoods where the worst seen combination is uncertain by more than 3 %, and not symmetric there.
        covariance: Of the parameters, to first order, float64, shape (N, P, P).
        correlation: The same scaled to 1 on the diagonal, shape (N, P, P); NaN for those that were not free.
        fields: The steady states of these parameters nearest to the pictures: completed and denoised, float64,
            shape (B, S, H, W).
        drift: Their drift, pixels per unit time, shape (B, 2).
        residual: Max norm of their bordered residual per unit time, shape (B,).
        noise: Standard deviation of what the states leave of the observed species, shape (N,).
        misfit: Sum of squared deviations over the noise assumed, by degrees of freedom, shape (N,): near 1 where that
            noise explains them.
        condition: Ratio between the best and the worst determined combination of relative changes, shape (N,).
        gain: Offset and gain of the picture, shape (N, 2); 0 and 1 where they were not asked for.
        starts: Starts tried, int64, shape (N,).
        met: How many of them led to the answer, int64, shape (N,).
        verdict: How it ended, int64 of `gsimplicit.Recovery`, shape (N,).
        reason: Why, N sentences.
        others: Other parameters that explain the data alike, N sets of rows (., P).
        method: Name of the method.
        level: Level of the intervals.
        seconds: Wall time of the whole call.
        axes: Coordinates of the pictures, where they had some.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> v = gs.steady_state(params, start, refine=True).v
        >>> result = gs.invert(v)
        >>> result.verdict.item() == gs.Recovery.FOUND, round(result.params.k.item(), 6)
        (True, 0.065)
    """

    params: ModelParams
    interval: torch.Tensor
    covariance: torch.Tensor
    correlation: torch.Tensor
    fields: torch.Tensor
    drift: torch.Tensor
    residual: torch.Tensor
    noise: torch.Tensor
    misfit: torch.Tensor
    condition: torch.Tensor
    gain: torch.Tensor
    starts: torch.Tensor
    met: torch.Tensor
    verdict: torch.Tensor
    reason: tuple[str, ...]
    others: tuple[torch.Tensor, ...]
    method: str
    level: float = 0.95
    seconds: float = field(default=float("nan"))
    axes: Axes = field(default_factory=Axes)

    def __len__(self) -> int:
        return len(self.verdict)

    @property
    def physical(self) -> torch.Tensor:
        """The parameters in the unit of length that the pictures' coordinates have, shape (N, P).

        Diffusion coefficients are those of `params` times the square of the spacing; the others have no length in them.
        Equal to the values of `params` for pictures without coordinates.

        Examples:
            >>> import gsimplicit as gs
            >>> import xarray as xr
            >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v[0]
            >>> mm = 0.5 * torch.arange(32, dtype=torch.float64).numpy()
            >>> result = gs.invert(xr.DataArray(v.numpy(), {"y": mm, "x": mm}, ("y", "x")))
            >>> round(result.params.Du.item(), 6), round(result.physical[0, 0].item(), 6)
            (0.16, 0.04)
        """
        return self.params.tensor() * self._lengths()

    @property
    def physical_interval(self) -> torch.Tensor:
        """Lowest and highest value of each parameter in that unit, shape (N, P, 2): `interval` as `physical` is."""
        return self.interval * self._lengths()[:, None]

    def _lengths(self) -> torch.Tensor:
        """What turns pixels into the unit of the coordinates, a factor a parameter, shape (P,)."""
        scale = torch.ones(len(self.params.model.parameters), dtype=torch.float64)
        scale[: len(self.params.model.species)] = self.axes.spacing**2
        return scale

    def require_found(self) -> None:
        """Do nothing if every set was found.

        Raises:
            NotRecovered: One was not, with its reason.
        """
        bad = [n for n in range(len(self)) if int(self.verdict[n]) != Recovery.FOUND]
        if bad:
            told = "; ".join(f"{n}: {Recovery(int(self.verdict[n])).name.lower()}, {self.reason[n]}" for n in bad[:8])
            raise NotRecovered(f"{len(bad)} of {len(self)} sets were not found: {told}")

    def __repr__(self) -> str:
        lines = [f"Inversion by {self.method}, {self.seconds:.2g} s, intervals of {self.level:.0%}"]
        for n in range(min(len(self), MOST)):
            lines.append(f"  {n}: {Recovery(int(self.verdict[n])).name.lower()}: {self.reason[n]}")
            lines += [f"     {name:<4} {self._told(n, j)}" for j, name in enumerate(self.params.model.parameters)]
        if self.axes.rows is not None:
            lines.append(
                f"  pixels are {self.axes.spacing:.6g} {self.axes.unit}".rstrip()
                + " wide; values are in pixels, those of .physical in the unit of the coordinates"
            )
        if len(self) > MOST:
            lines.append(f"  and {len(self) - MOST} more")
        return "\n".join(lines)

    def _told(self, n: int, j: int) -> str:
        value = float(self.params.tensor()[n, j])
        low, high = self.interval[n, j].tolist()
        return f"{value:.6g}  ({low:.6g} to {high:.6g})"

    def _repr_html_(self) -> str:
        names = self.params.model.parameters
        rows = []
        for n in range(min(len(self), MOST)):
            values = [self._told(n, j) for j in range(len(names))]
            rows.append([str(n), *values, Recovery(int(self.verdict[n])).name.lower(), self.reason[n]])
        title = f"Inversion by {self.method}, {self.seconds:.2g} s, intervals of {self.level:.0%}"
        return table(title, ["", *names, "verdict", "reason"], rows, len(self) - MOST)

    def to_dataset(self) -> xr.Dataset:
        """Everything as a labelled dataset."""
        from gsimplicit.inverse.labelled import dataset

        return dataset(self)
