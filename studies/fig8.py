"""Figure 8 of arXiv 2606.11258: the Gram loss over the F-k plane from the opposite side, and from above.

The plane is that of `fig5`. Its one slope is looked for by steepest descent over the points of the plane: each goes to
the lowest of its eight neighbours while that is lower. It is what the best of optimisers could do that sees one face
far.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.cliffs import loss_range
from gsimplicit.plotting import plane
from gsimplicit.plotting.landscapes import edges_of
from studies import _paper, fig5
from studies._bars import above, at_least, below
from studies._claims import Claim
from studies._common import Datasets, Study
from studies._faces import share_of
from studies._planes import TRUTH, losses_of_plane
from studies._regions import Array, at, border, descended
from studies._surface import CMAP, surface


def compute(scale: str, folder: Path) -> Datasets:
    """The plane of `fig5`, found again where it is there."""
    return {"fig5": losses_of_plane("fig5", fig5.LOSSES, scale, folder)}


@dataclass(frozen=True)
class Descent:
    """Where steepest descent over a plane ends.

    Attributes:
        reaches: Points from which it ends within a face of the truth, shape (n, m).
        nears: The same within three faces.
        pattern: Points with a pattern, settled or not.
        ends: Number of points where it ends among the patterns.
        steep: Share of the border of `reaches` that is a cliff, a quarter of the landscape's height.
        edge: Faces of that border.
    """

    reaches: Array
    nears: Array
    pattern: Array
    ends: int
    steep: float
    edge: int


def descent(one: xr.Dataset, objective: str) -> Descent:
    """Steepest descent over the plane from every point."""
    loss = one["loss"].sel(objective=objective).transpose("F", "k").values
    ends = descended(loss)
    away = np.zeros(loss.shape)  # from the truth, in faces
    for n, name in enumerate(("F", "k")):
        spacing = float(np.diff(one[name].values).mean())
        away = np.maximum(away, abs(one[name].values[ends[..., n]] - TRUTH[name]) / spacing)
    near = away <= 1.0001
    pattern = classes(one).transpose("F", "k").isin([CellClass.PATTERN, CellClass.UNSTEADY]).values
    stops = {(int(i), int(j)) for i, j in ends.reshape(-1, 2) if pattern[i, j]}
    edge = border(near)
    jump = abs(at(loss, edge.inside) - at(loss, edge.outside)) / loss_range(one, objective)
    return Descent(near, away <= 3.0001, pattern, len(stops), share_of(jump >= 0.25), len(jump))


def plot(data: Datasets) -> Figure:
    """The surface from the other side, cut as in fig5, and from above with where descent leads to the truth."""
    one = data["fig5"].isel(sample=0)
    gram = one["loss"].sel(objective="gram")
    cut = fig5.CUT * fig5.trivial_level(one)
    short = fig5.network(data["fig5"]).partition(" ")[0].partition(",")[0]
    figure = Figure(figsize=(10.5, 4.7))
    left = figure.add_axes((0.06, 0.06, 0.41, 0.84), projection="3d")
    surface(gram, left, "loss", top=cut, view=(28, 55))
    left.set_title(f"(a) Gram loss of {short}, cut at {cut:.0f}", loc="left")
    right = figure.add_axes((0.55, 0.14, 0.42, 0.75))
    colours = mpl.colormaps[CMAP].copy()
    colours.colorbar_extend = "max"
    plane(gram, right, colorbar="Gram loss", cmap=colours, norm=Normalize(0, cut))  # as in (a)
    _reaches_drawn(one, right)
    right.plot(TRUTH["k"], TRUTH["F"], marker="*", ms=10, mfc="w", mec="k", ls="none")
    right.set_title("(b) from above", loc="left")
    right.legend(loc=(0.02, 0.6), fontsize=7, framealpha=0.9)
    figure.text(0.5, 0.012, f"Gram loss: {fig5.network(data['fig5'])}", ha="center", fontsize=7)
    return figure


def _reaches_drawn(one: xr.Dataset, ax: Any) -> None:
    """Points from which descent ends at the truth, and the points where it ends elsewhere."""
    F, k = one["F"].values, one["k"].values
    found = descent(one, "gram")
    # two plateaus of about the same loss: colour alone does not tell patterns from dead states
    around = _outline(found.pattern, edges_of(k), edges_of(F))
    for colour, width in (("k", 2.4), ("w", 1.0)):
        ax.add_collection(LineCollection(around, colors=colour, lw=width, capstyle="projecting"))
    there = np.argwhere(found.reaches)
    ax.plot(k[there[:, 1]], F[there[:, 0]], ls="none", marker="o", ms=3, mfc="w", mec="k", mew=0.5,
            label="descent ends\nat the truth")  # fmt: skip
    ends = descended(one["loss"].sel(objective="gram").transpose("F", "k").values).reshape(-1, 2)
    stops = np.unique(ends[~found.reaches.ravel()], axis=0)
    stops = stops[found.pattern[stops[:, 0], stops[:, 1]]]  # on a flat plateau it ends everywhere
    ax.plot(
        k[stops[:, 1]],
        F[stops[:, 0]],
        ls="none",
        marker="x",
        ms=4,
        mew=1.0,
        color="r",
        path_effects=[withStroke(linewidth=2.5, foreground="w")],
        label="it ends here,\namong patterns",
    )


def _outline(region: Array, across: Array, up: Array) -> list[list[tuple[float, float]]]:
    """Lines between the points of a region and others, from the edges of cells along both axes of the picture."""
    found = []
    edge = border(region)
    for (i, j), (a, b) in zip(edge.inside.tolist(), edge.outside.tolist(), strict=True):
        if i == a:
            at = across[max(j, b)]
            found.append([(at, up[i]), (at, up[i + 1])])
        else:
            at = up[max(i, a)]
            found.append([(across[j], at), (across[j + 1], at)])
    return found


def judge(data: Datasets) -> list[Claim]:
    """From where steepest descent reaches the truth, for the Gram loss and the spectrum loss."""
    one = data["fig5"].isel(sample=0)
    found = {objective: descent(one, objective) for objective in ("gram", "spectrum")}
    said = {}
    for objective, d in found.items():
        inside, outside = (share_of(d.reaches[where]) for where in (d.pattern, ~d.pattern))
        inside_3, outside_3 = (share_of(d.nears[where]) for where in (d.pattern, ~d.pattern))
        said[objective] = (
            f"from {inside:.0%} of {int(d.pattern.sum())} points with a pattern and {outside:.0%} of "
            f"{int((~d.pattern).sum())} without (within three faces: {inside_3:.0%} and {outside_3:.0%}); it ends at "
            f"{d.ends} points among the patterns; {d.steep:.0%} of the {d.edge} faces around where it reaches the "
            "truth are cliffs"
        )
    gram = found["gram"]
    inside, outside = share_of(gram.reaches[gram.pattern]), share_of(gram.reaches[~gram.pattern])
    further = share_of(gram.nears[gram.pattern])
    known = bool(gram.pattern.any()) and not bool(gram.pattern.all())
    return [
        Claim(
            _paper.GRAM_SLOPE,
            "Among patterns one slope leads to the truth. Asked here: from a tenth of the points with a pattern or "
            "more steepest descent over the plane ends within a face of it. Not decided where three faces would decide "
            "otherwise (since we had seen that they would).",
            f"from {inside:.0%} of the patterns{fig5.others(one)}",
            f"Gram loss {said['gram']}. Spectrum loss {said['spectrum']}. {fig5.network(data['fig5'])}",
            inside >= 0.1 if known and (inside >= 0.1) == (further >= 0.1) else None,
            bars=(at_least("share of the patterns", inside, 0.1),),
        ),
        Claim(
            _paper.GRAM_SLOPE,
            "The slope is cut off from the rest. Asked here: from less than a tenth of the points without a pattern "
            "does steepest descent end within a face of the truth.",
            f"from {outside:.0%} of the others{fig5.others(one)}",
            f"Gram loss {said['gram']}",
            outside < 0.1 if known else None,
            bars=(below("share of the others", outside, 0.1),),
        ),
        Claim(
            _paper.GRAM_SLOPE,
            "What cuts it off are cliffs. Asked here: over most faces around the points from which descent reaches the "
            "truth the loss jumps by a quarter of its height. Asked after we had seen the number. The paper has ridges "
            "on one side, so that fewer decide nothing.",
            f"{gram.steep:.0%} of {gram.edge} faces{fig5.others(one)}",
            f"{gram.steep:.0%} of the {gram.edge} faces",
            True if gram.edge and gram.steep > 0.5 else None,
            bars=(above("share of the faces around", gram.steep, 0.5),),
        ),
    ]


STUDY = Study(
    "fig8",
    "the Gram loss from the other side and from above (figure 8)",
    compute,
    plot,
    judge,
    caption="The Gram loss of figure 5. (a): from the opposite side; what is "
    "higher than three times the plateau without v "
    "is left out. "
    "(b): from above, colours up to the same height. White line: border of the patterns, and of what had not settled. "
    "White dots: steepest descent over the plane's points ends at the "
    "truth (star). Red crosses: the points among the patterns where it ends elsewhere.",
    alt="A surface and a map of the Gram loss. Among the patterns are many dips; descent from few points ends at the "
    "truth.",
)
