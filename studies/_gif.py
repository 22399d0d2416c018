"""Animations of several patterns side by side as one GIF: one palette for all frames, labels drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from studies._times import V_TOP

SHADES = 32
"""Colours of v. More look no better at this size, and the file grows with them."""

GREYS = 5
"""From white to black, for text with soft edges."""

HOLD = 2500
"""Milliseconds the last frame stands before the first comes again."""

GAP, LINE = 10, 17
"""Pixels between panels, and of a line of text."""


@dataclass(frozen=True)
class Film:
    """What is shown.

    Attributes:
        frames: v as 0 to 255, shape (panel, time, y, x).
        gone: Where there is nothing to show, because v diverged: drawn grey. Shape (panel, time).
        titles: Lines above each panel, as many for each.
        notes: A second line of each panel at each time, "stopped at 512" say; panels of times.
        heads: A line above all at each time.
        columns: Panels in a row.
        side: Side of a panel in pixels of the screen.
        pause: Milliseconds a frame stands.
    """

    frames: np.ndarray
    gone: np.ndarray
    titles: Sequence[str]
    notes: Sequence[Sequence[str]]
    heads: Sequence[str]
    columns: int
    side: int
    pause: int = 160


def write(film: Film, path: Path) -> Path:
    """Write a GIF that runs for ever; its size is some bits a pixel that changes."""
    count = film.frames.shape[1]
    images = [Image.fromarray(_canvas(film, time), "P") for time in range(count)]
    for image in images:
        image.putpalette(_palette())
    durations = [film.pause] * (count - 1) + [HOLD]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
    return path


def _palette() -> bytes:
    """Colours of v, then greys from white to black."""
    colours = mpl.colormaps["cividis"](np.linspace(0, 1, SHADES))[:, :3]
    greys = np.repeat(np.linspace(1, 0, GREYS)[:, None], 3, axis=1)
    return bytes(np.rint(255 * np.concatenate([colours, greys])).astype(np.uint8).ravel().tolist())


def _canvas(film: Film, time: int) -> np.ndarray:
    """One frame as numbers of the palette."""
    rows = -(-len(film.titles) // film.columns)
    wide = film.columns * (film.side + GAP) + GAP
    above = (1 + max(title.count("\n") for title in film.titles)) * LINE  # of the titles
    head, tall = LINE + GAP, film.side + above + LINE + GAP
    text = Image.new("L", (wide, head + rows * tall), 0)
    draw = ImageDraw.Draw(text)
    places = []
    for n, title in enumerate(film.titles):
        x, y = GAP + n % film.columns * (film.side + GAP), head + n // film.columns * tall
        for m, line in enumerate(title.split("\n")):
            draw.text((x, y + m * LINE), line, 255, _font(12 if m else 13))
        draw.text((x, y + above - 1), film.notes[n][time], 150, _font(11))
        places.append((x, y + above + LINE))
    draw.text((GAP, 6), film.heads[time], 255, _font(14))
    canvas = SHADES + np.rint(np.asarray(text) / 255 * (GREYS - 1)).astype(np.uint8)
    for (x, y), panel, gone in zip(places, film.frames[:, time], film.gone[:, time], strict=True):
        scaled = Image.fromarray(panel).resize((film.side, film.side), Image.Resampling.BICUBIC)
        shades = SHADES + 1 if gone else np.asarray(scaled).astype(int) * SHADES // 256
        canvas[y : y + film.side, x : x + film.side] = shades
    _bar(canvas, wide)
    return canvas


def _bar(canvas: np.ndarray, wide: int) -> None:
    """The colours of v at the top right, with their ends."""
    low, high = Image.new("L", (60, LINE), 0), Image.new("L", (60, LINE), 0)
    ImageDraw.Draw(low).text((59, 2), "v = 0", 255, _font(11), anchor="ra")
    ImageDraw.Draw(high).text((0, 2), f"{V_TOP:g}", 255, _font(11))
    at = wide - GAP - 2 * SHADES - 24
    canvas[8 : 8 + 11, at : at + 2 * SHADES] = np.repeat(np.arange(SHADES), 2)
    for image, x in ((low, at - 64), (high, at + 2 * SHADES + 4)):
        patch = SHADES + np.rint(np.asarray(image) / 255 * (GREYS - 1)).astype(np.uint8)
        part = canvas[5 : 5 + LINE, x : x + patch.shape[1]]
        part[...] = patch[:, : part.shape[1]]


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont("DejaVu Sans"), size)
