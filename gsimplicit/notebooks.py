"""What results look like in a notebook: small tables in HTML, and fields as pictures of a pixel a point.

Nothing is drawn by matplotlib, and nothing is loaded: a picture is a PNG inside the page.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["MOST", "Html", "limits", "picture", "table"]

MOST = 8
"""Rows shown; of the rest the number."""

SIDE = 96
"""Points along a side of a picture, at most; larger fields are thinned."""

_RAMP = np.array([[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [254, 232, 56]])
"""Colours from low to high, those of cividis: also without colour vision, and in print, light is high."""

_CELL = "text-align:left;padding:.2em .8em .2em 0;vertical-align:top"


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], more: int = 0) -> Html:
    """A table; text is escaped, `Html` stands as it is.

    Args:
        caption: What it shows.
        heads: Heads of the columns.
        rows: Its cells.
        more: Rows left out.

    Examples:
        >>> "&lt;3" in table("States", ["loss"], [["<3"]])
        True
    """
    head = "".join(f'<th scope="col" style="{_CELL}">{_html(text)}</th>' for text in heads)
    cells = ("".join(f'<td style="{_CELL}">{_html(text)}</td>' for text in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    return Html(
        f'<table><caption style="text-align:left">{_html(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>{rest}"
    )


LEAST = 0.05
"""Range of values that a picture shows at least: a uniform state has one colour, whatever is left of its ripples."""


def limits(fields: np.ndarray[Any, Any]) -> tuple[float, float]:
    """The values that are darkest and lightest in pictures of these fields side by side.

    Examples:
        >>> limits(np.array([0.0, 0.3])), limits(np.array([0.2, 0.2]))
        ((0.0, 0.3), (0.2, 0.25))
    """
    finite = fields[np.isfinite(fields)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return low, max(high, low + LEAST)


def picture(field: np.ndarray[Any, Any], words: str, ends: tuple[float, float], width: int = 72) -> Html:
    """A field (H, W) as a picture.

    Args:
        field: Shape (H, W); what is not finite is grey.
        words: Of what it is, for who cannot see it.
        ends: The values that are darkest and lightest.
        width: In the page.

    Examples:
        >>> picture(np.zeros((3, 3)), "v", (0, 1)).startswith('<img src="data:image/png;base64,')
        True
    """
    values = np.asarray(field, dtype=np.float64)
    values = values[:: -(-values.shape[0] // SIDE), :: -(-values.shape[1] // SIDE)]
    finite = np.isfinite(values)
    share = (np.where(finite, values, ends[0]) - ends[0]) / (ends[1] - ends[0])
    places = np.linspace(0, 1, len(_RAMP))
    colours = np.stack([np.interp(share, places, _RAMP[:, c]) for c in range(3)], axis=-1)
    colours[~finite] = 128
    inside = base64.b64encode(_png(colours.round().astype(np.uint8))).decode()
    return Html(
        f'<img src="data:image/png;base64,{inside}" alt="{escape(words)}" width="{width}" '
        'style="image-rendering:pixelated">'
    )


def _png(colours: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """A PNG of colours (H, W, 3)."""
    height, width = colours.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    chunks = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _html(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)
