"""The landscape as a map in the browser: loss by colour, arrows of descent at the point chosen, the walk as a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.models import Arrow, BasicTicker, ColorBar, ColumnDataSource, LinearColorMapper, VeeHead
from bokeh.plotting import figure

from gsimplicit.explorer.colours import palette
from gsimplicit.explorer.walking import NOTHING, begin, downhill
from gsimplicit.plotting.figures import SERIES
from gsimplicit.plotting.landscapes import edges_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.explorer.landscape import Landscape, Point
    from gsimplicit.explorer.walking import Stop

__all__ = ["PlaneView", "colour_of"]

_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")

_LENGTH = 1.6
"""Cells that an arrow is long, on a plane of few cells an eighth of it: beyond the rim there is room for one."""

_DECADES = 3
"""Positive losses that span more are coloured by their logarithm."""


def colour_of(route: str, routes: Sequence[str]) -> str:
    """The colour of a route's arrow, "#rrggbb"."""
    return SERIES[list(routes).index(route) % len(SERIES)]


class PlaneView:
    """A plane of two parameters.

    Attributes:
        cells: The cells and their losses, under the name "plane".
        arrows: By route the ends of its arrow, under the name "arrow_" and the route; empty where it has no gradient.
        dots: By route its dot, under the name "dot_" and the route, where its gradient says nothing.
        walk: Places of the walk, under the name "walk"; the first is the point that was chosen.
        plot: The figure.
    """

    def __init__(self, plane: Landscape, objective: str, sample: int, colours: str, side: int = 420) -> None:
        self.plane = plane
        rows, columns = (edges_of(plane.values(n)) for n in (0, 1))
        bottom, left = np.meshgrid(rows[:-1], columns[:-1], indexing="ij")
        top, right = np.meshgrid(rows[1:], columns[1:], indexing="ij")
        sides = {"left": left, "right": right, "bottom": bottom, "top": top}
        data = {name: values.ravel() for name, values in sides.items()}
        blank = np.zeros(left.size)
        self.cells = ColumnDataSource({**data, "loss": blank, "shade": blank}, name="plane")
        self._length = min(_LENGTH, min(left.shape) / 8)
        down_pad, across_pad = (max(0.0, self._length - 0.4) * h for h in plane.cell())
        self.mapper = LinearColorMapper(palette=palette(colours), nan_color="#d0d0d0")
        down, across = (f"{n}, {plane.data[n].attrs.get('long_name', '')}".rstrip(", ") for n in plane.axes)
        self.plot = figure(
            width=side + 90, height=side, tools="", toolbar_location=None, x_axis_label=across, y_axis_label=down,
            x_range=(columns[0] - across_pad, columns[-1] + across_pad),
            y_range=(rows[0] - down_pad, rows[-1] + down_pad), name="landscape",
        )  # fmt: skip
        fill = {"field": "shade", "transform": self.mapper}
        self.plot.quad(**{name: name for name in data}, source=self.cells, fill_color=fill, line_color=fill)
        self.bar = ColorBar(color_mapper=self.mapper, ticker=BasicTicker(), width=14)
        self.plot.add_layout(self.bar, "right")
        self.plot.grid.visible = False
        self.walk = ColumnDataSource({"x": [], "y": [], "loss": []}, name="walk")
        self.plot.line("x", "y", source=self.walk, color="white", width=4)
        self.plot.line("x", "y", source=self.walk, color="black", width=1.5)
        self.plot.scatter("x", "y", source=self.walk, size=8, fill_color="white", line_color="black", line_width=1.5)
        self.arrows = {route: self._arrow(n, route) for n, route in enumerate(plane.routes)}
        self.dots = {route: self._dot(n, route) for n, route in enumerate(plane.routes)}
        self.show(objective, sample)

    def show(self, objective: str, sample: int) -> None:
        """Show a loss of a sample; where its values span many decades, by their logarithm."""
        loss = self.plane.loss(objective, sample)
        shade, logarithm = shade_of(loss)
        finite = shade[np.isfinite(shade)]
        self.mapper.low, self.mapper.high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        self.bar.title = f"log10 of {objective} loss" if logarithm else f"{objective} loss"
        self.cells.data = {**self.cells.data, "loss": loss.ravel(), "shade": shade.ravel()}

    def choose(self, point: Point, objective: str) -> None:
        """Put the arrows and the start of a walk at a point."""
        cell, (down, across) = self.plane.cell(), point.place
        for route, source in self.arrows.items():
            stop = begin(self.plane, point, route, objective)
            way = downhill(stop.slope, cell, stop.least)
            end = down + self._length * way[0] * cell[0], across + self._length * way[1] * cell[1]
            row = {"x0": across, "y0": down, "x1": end[1], "y1": end[0]}
            source.data = {name: [x] if way != (0.0, 0.0) else [] for name, x in row.items()}
            flat = stop.said == NOTHING
            self.dots[route].data = {"x": [across] if flat else [], "y": [down] if flat else []}
        self.walked([], point.place, point.losses[objective])

    def walked(self, stops: Sequence[Stop], begin: tuple[float, float], loss: float) -> None:
        """Show a walk from a place."""
        places, losses = [begin, *(stop.place for stop in stops)], [loss, *(stop.loss for stop in stops)]
        self.walk.data = {"x": [p[1] for p in places], "y": [p[0] for p in places], "loss": losses}

    def colour(self, name: str) -> None:
        """Take another colour map."""
        self.mapper.palette = palette(name)

    def _arrow(self, n: int, route: str) -> ColumnDataSource:
        """An arrow of a route: a white one beneath, so that it is seen on any colour."""
        source = ColumnDataSource({name: [] for name in ("x0", "y0", "x1", "y1")}, name=f"arrow_{route}")
        ends = {"x_start": "x0", "y_start": "y0", "x_end": "x1", "y_end": "y1"}
        colour = colour_of(route, self.plane.routes)
        for line, width, dash, head in (("white", 6, "solid", 16), (colour, 3, _DASHES[n % len(_DASHES)], 12)):
            vee = VeeHead(size=head, fill_color=line, line_color=line)
            style = {"line_color": line, "line_width": width, "line_dash": dash}
            self.plot.add_layout(Arrow(end=vee, source=source, **ends, **style))
        return source

    def _dot(self, n: int, route: str) -> ColumnDataSource:
        """A dot of a route, smaller for each that lies on others."""
        source = ColumnDataSource({"x": [], "y": []}, name=f"dot_{route}")
        colour, size = colour_of(route, self.plane.routes), max(4, 13 - 5 * n)
        self.plot.scatter("x", "y", source=source, size=size, fill_color=colour, line_color="white")
        return source


def shade_of(loss: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], bool]:
    """What losses are coloured by, and whether that is their logarithm to base 10."""
    positive = loss[np.isfinite(loss) & (loss > 0)]
    if not positive.size or (loss < 0).any() or positive.max() < 10**_DECADES * positive.min():
        return loss, False
    return np.log10(np.maximum(loss, positive.min())), True


def words_of(point: Point, objective: str, plane: Landscape) -> str:
    """What a file holds of a point, as HTML."""
    import html

    head = f"<b>{point.status}</b>, {point.kind}" if point.stored else "<b>not stored yet</b>"
    losses = ", ".join(
        f"{html.escape(n)} {x:.5g}" if math.isfinite(x) else f"{html.escape(n)} none" for n, x in point.losses.items()
    )
    rows, dotted = [], False
    for route in plane.routes:
        status, slopes = point.gradients[route]
        swatch = f"<span style='color:{colour_of(route, plane.routes)}'>&#9632;</span>"
        if begin(plane, point, route, objective).said == NOTHING:
            status, dotted = f"{status}, flat", True
        slope = [f"{x:.4g}" if math.isfinite(x) else "none" for x in slopes[objective]]
        cells = "".join(f"<td>{text}</td>" for text in (f"{swatch} {html.escape(route)}", status, *slope))
        rows.append(f"<tr>{cells}</tr>")
    heads = ("route", "ended", *(f"d {objective} / d {name}" for name in plane.axes))
    head_of = "".join(f"<th align='left'>{html.escape(text)}</th>" for text in heads)
    table = f"<table cellpadding='3'><tr>{head_of}</tr>{''.join(rows)}</table>" if rows else "The scan has no routes."
    return f"{head} &middot; losses: {losses}{table}{f'Flat, a dot: {NOTHING}.' if dotted else ''}"
