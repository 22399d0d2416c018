"""The fields as a picture in the browser, sent no faster than the browser paints."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.events import Pan, PanEnd, PanStart, Tap
from bokeh.models import BasicTicker, ColorBar, ColumnDataSource, CustomJS, LinearColorMapper, Range1d
from bokeh.plotting import figure

from gsimplicit.explorer.colours import palette

if TYPE_CHECKING:
    from gsimplicit.explorer.report import Report
    from gsimplicit.explorer.simulation import Array

__all__ = ["FieldView"]

_PAINTED = "requestAnimationFrame(() => { painted.data = {frame: [source.data.frame[0]]} })"

_SENT = 512
"""Rows and columns of a picture that are sent at most: of larger fields each second pixel, each third ..."""

Place = tuple[float, float]


class FieldView:
    """A picture with its colour bar.

    Attributes:
        source: What is shown, under the name "picture": one row with the image, its frame number and the report.
        painted: What the browser has painted, under the name "painted".
        plot: The figure.
    """

    def __init__(self, picture: Array, report: Report, observed: str, colours: str, side: int = 480) -> None:
        self._frame, self._seen, self._sent = 0, 0, 0.0
        self._times: deque[float] = deque(maxlen=40)
        self.source = ColumnDataSource(name="picture")
        self.painted = ColumnDataSource({"frame": [0]}, name="painted")
        self.mapper = LinearColorMapper(palette=palette(colours), low=0, high=1, name="colours", nan_color="#d0d0d0")
        H, W = picture.shape
        self.plot = figure(
            frame_width=side, frame_height=round(side * min(1.5, H / W)), tools="", toolbar_location=None,
            x_range=Range1d(0, W), y_range=Range1d(0, H), x_axis_label="column, pixels", y_axis_label="row, pixels",
            output_backend="canvas", name="field",
        )  # fmt: skip
        self.show(picture, report)
        at: dict[str, Any] = {"image": "image", "x": 0, "y": 0, "dw": "dw", "dh": "dh"}
        self.plot.image(source=self.source, color_mapper=self.mapper, **at)
        self.bar = ColorBar(color_mapper=self.mapper, ticker=BasicTicker(), title=observed, width=14)
        self.plot.add_layout(self.bar, "right")
        self.plot.grid.visible = False
        code = CustomJS(args={"source": self.source, "painted": self.painted}, code=_PAINTED)
        self.source.js_on_change("data", code)
        self.painted.on_change("data", self._arrived)

    def show(self, picture: Array, report: Report) -> None:
        """Send a picture with what is to be said of it."""
        H, W = picture.shape
        self._frame += 1
        told: dict[str, Any] = {
            "time": report.time,
            "steps": report.steps,
            "least": report.least,
            "largest": report.largest,
        }
        told |= {"residual": report.residual, "status": report.status, "frame": self._frame, "dw": W, "dh": H}
        told["values"] = list(report.values)
        self._sent = time.monotonic()
        self._scale(picture)
        every = -(-max(H, W) // _SENT)  # the frame has no more pixels to show it with
        thinned = np.ascontiguousarray(picture[::every, ::every])
        self.source.data = {"image": [thinned], **{name: [value] for name, value in told.items()}}
        self.plot.x_range.end, self.plot.y_range.end = W, H

    def begin(self) -> None:
        """The browser has the page, and with it the picture there was."""
        self._seen = self._frame

    def ready(self) -> bool:
        """Whether at most one picture is on its way; half a minute of silence counts as lost."""
        return self._frame - self._seen < 2 or time.monotonic() - self._sent > 30

    def rate(self) -> float:
        """Pictures painted a second, over the last 40; NaN where there were few."""
        if len(self._times) < 2 or time.monotonic() - self._times[-1] > 2:
            return math.nan
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)

    def colour(self, name: str) -> None:
        """Take another colour map."""
        self.mapper.palette = palette(name)

    def on_draw(self, draw: Callable[[Place, Place], None]) -> None:
        """Call `draw` with two places (row, column) whenever something is drawn between them."""
        last: list[Place] = []

        def begin(event: Any) -> None:
            if event.x is not None and event.y is not None:
                last[:] = [(float(event.y) - 0.5, float(event.x) - 0.5)]
                draw(last[0], last[0])

        def go_on(event: Any) -> None:
            if last and event.x is not None and event.y is not None:
                place = float(event.y) - 0.5, float(event.x) - 0.5
                draw(last[0], place)
                last[:] = [place]

        def end(event: Any) -> None:
            last.clear()

        for kind, act in ((Tap, begin), (PanStart, begin), (Pan, go_on), (PanEnd, end)):
            self.plot.on_event(kind, act)

    def _arrived(self, name: str, old: Any, new: Any) -> None:
        self._seen = int(new["frame"][0])
        self._times.append(time.monotonic())

    def _scale(self, picture: Array) -> None:
        """The range of colours, moved where it is more than a tenth off: a bar that never rests cannot be read."""
        finite = picture[np.isfinite(picture)]
        if not finite.size:
            return
        low, high = float(finite.min()), float(finite.max())
        if high - low < 1e-6:
            low, high = low - 5e-7, high + 5e-7
        room = (high - low) * 0.1
        if not low - room <= self.mapper.low <= low:
            self.mapper.low = low
        if not high <= self.mapper.high <= high + room:
            self.mapper.high = high
