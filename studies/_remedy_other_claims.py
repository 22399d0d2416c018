"""Claims of `remedies` on initial fields that are not known, and on what needs no march from one."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from studies import _paper, _remedy_rows
from studies._bars import at_least
from studies._claims import Claim, ours
from studies._remedies import NONE, TEXTURES
from studies._remedy_counts import HALF, Count, count, endings, of_case, of_times
from studies._remedy_methods import GRADIENTS
from studies._remedy_world import FIELDS


def residual(data: Mapping[str, xr.Dataset]) -> Claim:
    """Section 6.2: the residual loss has done it already."""
    one, other = of_case(data["remedies_runs"], "stop", "residual", "", NONE), _remedy_rows.best(dict(data))
    best = other.counts["known"]
    return Claim(
        _paper.HAD_ALREADY,
        f"What the remedies seek the residual loss has: descent on it at u and v of the stop, by {GRADIENTS} gradients "
        "of Adam as for the other losses, from the same starts. Asked here: it recovers half of them or more by the "
        "rule of the others, and no fewer than the best remedy.",
        f"{one.hits} of {one.of}, best remedy {best.hits}",
        f"residual loss {one.words}; best remedy: {other.words}, {best.words}",
        None if one.half is None else one.half and one.hits >= best.hits,
        bars=(one.bar, at_least("starts, against the best remedy's", one.hits, best.hits)),
    )


def unknown(runs: xr.Dataset) -> list[Claim]:
    """Not knowing the initial field: early supervision, then losses of the end."""
    course = ", ".join(f"{t:,}: {c.hits}" for t, c in of_times(runs, "least squares", "pixels", "noise"))
    noise, after = (of_case(runs, n, "least squares", "pixels", "noise") for n in ("100", "one after the other"))
    box, box_after = (of_case(runs, n, "least squares", "pixels", "box") for n in ("100", "one after the other"))
    radial = of_case(runs, "one after the other", "least squares", "radial", "noise")
    return [
        Claim(
            ours("Early supervision stands fresh noise"),
            f"v at 100 steps, marched from the target's box in other noise, by least squares. Asked here: {HALF}.",
            f"{noise.hits} of {noise.of}",
            f"at 100 steps {noise.words}, {course}; one after the other to the end {after.words}, "
            f"by radial spectrum and mean {radial.words}",
            noise.half,
            bars=(noise.bar,),
        ),
        Claim(
            ours("Early supervision stands another box"),
            "The same, with a box one pixel wider or narrower on each side. Asked here: the same.",
            f"{box.hits} of {box.of}",
            f"at 100 steps {box.words}; one after the other to the end {box_after.words}",
            box.half,
            bars=(box.bar,),
        ),
        *(_textures(runs, known) for known in FIELDS if known != "known"),
    ]


def _textures(runs: xr.Dataset, known: str) -> Claim:
    """Losses of the end, from an initial field that is not the target's."""
    found = {name: of_case(runs, "end", "adam", name, known) for name in TEXTURES}
    best = max(found, key=lambda name: found[name].hits)
    squares = count(runs, "end", "least squares", "radial", known)
    return Claim(
        ours(f"A texture loss stands {'fresh noise' if known == 'noise' else 'another box'}"),
        f"{len(TEXTURES)} losses that compare textures, of the end state, by {GRADIENTS} gradients of Adam, marched "
        f"from {'the box of the target in other noise' if known == 'noise' else 'another box in other noise'}. Asked "
        f"here: with the best {HALF}. The best of several is more easily above than one.",
        f"{best}: {found[best].hits} of {found[best].of}",
        "; ".join(f"{name}: {one.words}" for name, one in found.items())
        + (f"; radial, least squares: {squares.words}" if squares else ""),
        found[best].half,
        bars=(found[best].bar,),
    )


def still(runs: xr.Dataset) -> list[Claim]:
    """What `gs.invert` makes of the steady state: one-shot, and roots followed along their branch."""
    one, kept = (of_case(runs, "root", method, "", NONE) for method in ("one-shot", "kept"))
    return [
        Claim(
            ours("The one-shot fit needs no early times"),
            f"`gs.invert` on v of the certified state, F and k free, from the same starts. Asked here: {HALF}.",
            f"{one.hits} of {one.of}",
            f"{one.words}, {endings(runs, 'root', 'one-shot', '')}; kept at the start, without others where it leads "
            f"nowhere: {kept.words}, {endings(runs, 'root', 'kept', '')}",
            one.half,
            bars=(one.bar,),
        ),
        *(_followed(runs, loss, words) for loss, words in (("pixels", "v"), ("spectrum", "the spectrum loss"))),
    ]


def _followed(runs: xr.Dataset, loss: str, words: str) -> Claim:
    """The implicit route without a march from an initial field."""
    found: Count = of_case(runs, "root", "followed", loss, NONE)
    ended = endings(runs, "root", "followed", loss)
    return Claim(
        ours(f"A followed root suffices, with {words}"),
        f"Descent on {words} at the same state by implicit gradients, each root found by Newton's method from the one "
        f"before and the first one from the picture, {GRADIENTS} steps. Asked here: {HALF}.",
        f"{found.hits} of {found.of}",
        f"{found.words}; ended: {ended}",
        found.half,
        bars=(found.bar,),
    )
