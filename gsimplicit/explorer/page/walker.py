"""The plane on the page: a click shows a point's pattern, and steps along a route's descent are followed."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.events import Tap
from bokeh.models import Div

import gsimplicit as gs
from gsimplicit.explorer import export, walking
from gsimplicit.explorer.background import Background
from gsimplicit.explorer.colours import MAPS
from gsimplicit.explorer.landscape import Point
from gsimplicit.explorer.page.plane_view import PlaneView, words_of
from gsimplicit.explorer.simulation import Simulation

if TYPE_CHECKING:
    from gsimplicit.explorer.landscape import Landscape
    from gsimplicit.explorer.page.controls import Controls
    from gsimplicit.explorer.simulation import Array

__all__ = ["Walker"]


class Walker:
    """A landscape beside a simulation.

    Attributes:
        plane: The landscape.
        view: Its map.
        point: The point that was chosen.
        stops: Places walked to from there.
    """

    def __init__(self, plane: Landscape, beside: Controls, work: Background) -> None:
        self.plane, self._beside, self._work = plane, beside, work
        self.stops: list[walking.Stop] = []
        self._walked_by = "", ""
        names = plane.objectives
        self._objective = pn.widgets.Select(name="Loss", options=names, width=130)
        self._sample = pn.widgets.Select(name="Start", options=list(range(plane.samples)), width=70)
        self._route = pn.widgets.Select(name="Route", options=plane.routes, width=130)
        self._colours = pn.widgets.Select(name="Colours", options=list(MAPS), width=110)
        self._length = pn.widgets.FloatSlider(name="Cells a step", start=0.1, end=3.0, step=0.1, value=1.0, width=180)
        self.view = PlaneView(plane, names[0], 0, MAPS[0])
        self.view.plot.on_event(Tap, self._tapped)
        self._told = Div(name="point", width=500)
        self._walked = Div(name="walked", width=500)
        self.point = plane.point((len(plane.values(0)) // 2, len(plane.values(1)) // 2), 0)
        for widget in (self._objective, self._sample):
            widget.param.watch(lambda event: work.soon(self._looked), "value")
        self._colours.param.watch(lambda event: work.soon(lambda: self.view.colour(event.new)), "value")
        self.choose(self.point)

    def layout(self) -> pn.Column:
        """The map with its widgets."""
        step = pn.widgets.Button(
            name="Step downhill", width=120, disabled=not self.plane.routes or bool(self.plane.unknown)
        )
        step.on_click(lambda event: self._work.soon(self.step))
        lines = pn.widgets.Button(name="Lines of this point", width=140, disabled=bool(self.plane.unknown))
        lines.on_click(lambda event: self._work.soon(self._lines))
        stored, points = self.plane.stored
        said = f"{stored:,} of {points:,} points are stored. Load the page again to see what has come since."
        return pn.Column(
            pn.Row(self._objective, self._sample, self._route, self._colours),
            *([pn.pane.Bokeh(Div(text=said, name="stored", width=500))] if stored < points else []),
            pn.pane.Bokeh(self.view.plot), pn.pane.Bokeh(self._told),
            pn.Row(step, self._length, lines), pn.pane.Bokeh(self._walked),
        )  # fmt: skip

    def choose(self, point: Point) -> None:
        """Show a point: what the file holds of it at once, and its fields when they have been marched again."""
        self._work.forget()
        self.point, self.stops = point, []
        self.view.choose(point, str(self._objective.value))
        self._told.text = self._heading(point.place) + words_of(point, str(self._objective.value), self.plane)
        self._walked.text = ""
        self._show_state(point.place, None)

    def step(self) -> None:
        """One step along the descent of the chosen route; the gradient is taken where one stands."""
        if self._work.busy:  # where one stands is not known yet
            self._say("Still at work: the step comes after it.")
        self._work.ask("step", self._begin_step)

    def _begin_step(self) -> None:
        route, objective = str(self._route.value), str(self._objective.value)
        length, sample, point = float(self._length.value), int(self._sample.value), self.point
        here = self.stops[-1] if self.stops else walking.begin(self.plane, point, route, objective)
        by = route, objective
        there = by == self._walked_by if self.stops else point.stored

        def walk() -> walking.Stop:
            known = here if there else walking.look(self.plane, here.place, *by, sample)
            return walking.look(self.plane, walking.step(self.plane, known, length), *by, sample)

        def done(stop: walking.Stop) -> None:
            if self.point is not point:
                return
            self.stops.append(stop)
            self._walked_by = by
            self.view.walked(self.stops, point.place, point.losses[objective])
            slope = ", ".join(f"d/d{n} {x:.4g}" for n, x in zip(self.plane.axes, stop.slope, strict=True))
            said = f" {html.escape(stop.said)}" if stop.said else ""
            self._walked.text = (
                f"Step {len(self.stops)} by {html.escape(route)}: {self._heading(stop.place)}"
                f"{html.escape(objective)} loss {stop.loss:.6g}, {slope}, {stop.status}.{said}"
            )
            self._show_state(stop.place, stop, by)

        self._work.start(walk, done, lambda error: self._say(f"No step: {error}"))
        self._say("Taking the gradient ...")

    def _show_state(
        self, place: tuple[float, float], stop: walking.Stop | None, by: tuple[str, str] = ("", "")
    ) -> None:
        """The simulation at a place, with the fields that the scan's own march comes to, or those of a stop."""
        sample = int(self._sample.value)
        kept = self.plane.kept(self.point) if stop is None else None
        if self.plane.unknown:
            self._show_kept(kept)
            return
        try:
            live = Simulation(self.plane.params(place), self.plane.start(sample), dt=self.plane.dt())
        except ValueError as error:
            self._beside.say(str(error))
            return
        if stop is not None and stop.state is not None:
            found = math.isfinite(stop.loss)
            lines = export.lines_of_point(self.plane, place, sample, *by, walked=True) if found else ""
            live.adopt(stop.state, marched=True, lines=lines)
        self._beside.take(live, running=False)
        if stop is not None:
            return
        self._beside.say("Marching as the scan did ...")
        if kept is not None:
            self._beside.view.show(kept, live.report())
        self._work.ask("march", lambda: self._begin_march(live, place, sample))

    def _begin_march(self, live: Simulation, place: tuple[float, float], sample: int) -> None:
        """March as the scan did; shown unless the fields are changed meanwhile."""
        params = live.params

        def done(found: gs.SteadyState) -> None:
            if self._beside.live is not live:
                return
            if live.steps == 0 and not live.drawn and live.params is params:
                live.adopt(found, marched=True, lines=export.lines_of_point(self.plane, place, sample, "", ""))
                self._beside.say(f"As the scan left it: {found.description(0)}.")
            else:
                self._beside.say("Marched, and not shown: fields or parameters were changed meanwhile.")

        def march() -> gs.SteadyState:
            return walking.state_at(self.plane, place, sample)

        self._work.start(march, done, lambda error: self._beside.say(f"No state: {error}"))

    def _show_kept(self, kept: Array | None) -> None:
        """The pattern that the file holds, which cannot be marched again; grey where it holds none."""
        said = "As the file has it" if kept is not None else "The file has no pattern of this point"
        grey = np.full(self.plane.data["initial"].shape[2:], np.nan, dtype=np.float32)
        shown = grey if kept is None else kept
        self._beside.show_kept(shown, f"{said}. {self.plane.path.name} can only be looked at: {self.plane.unknown}")

    def _looked(self) -> None:
        """Another loss or another start."""
        objective, sample = str(self._objective.value), int(self._sample.value)
        self.view.show(objective, sample)
        self.choose(self.plane.point(self.point.index, sample))

    def _tapped(self, event: Any) -> None:
        if event.x is not None and event.y is not None:
            index = self.plane.nearest(float(event.y), float(event.x))
            self.choose(self.plane.point(index, int(self._sample.value)))

    def _lines(self) -> None:
        place = self.stops[-1].place if self.stops else self.point.place
        route = str(self._route.value or "")
        lines = export.lines_of_point(self.plane, place, int(self._sample.value), route, str(self._objective.value))
        self._beside.show_lines(lines)

    def _say(self, text: str) -> None:
        self._walked.text = html.escape(text)

    def _heading(self, place: tuple[float, float]) -> str:
        return ", ".join(f"{n} = {x:.6g}" for n, x in zip(self.plane.axes, place, strict=True)) + ": "
