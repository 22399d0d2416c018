"""The simulation on the page: its picture, what moves it, what is said of it and what one takes away."""

from __future__ import annotations

import html
import io
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import panel as pn
from bokeh.models import Div

import gsimplicit as gs
from gsimplicit.explorer import export
from gsimplicit.explorer.background import Background
from gsimplicit.explorer.colours import MAPS
from gsimplicit.explorer.page.field_view import FieldView, Place
from gsimplicit.explorer.report import Report
from gsimplicit.explorer.simulation import Array, Simulation, span_of

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams

__all__ = ["Controls"]

_WIDTH = 280

_MOVED = "moved by hand"
"""Shown for a preset where a parameter has another value than in any."""

_LONGEST = 0.1
"""Seconds of marching between two pictures: what is pressed meanwhile waits."""

_WORDS = 8
"""Pictures between two reports in words: a text that changes makes the browser lay out the page anew."""


def models() -> dict[str, gs.Model]:
    """The package's models by name."""
    found = (getattr(gs.models, name) for name in gs.models.__all__)
    return {one.name: one for one in found if isinstance(one, gs.Model)}


class Controls:
    """A simulation with its picture and widgets.

    Attributes:
        live: The simulation that is shown.
        view: Its picture.
        running: Whether it is marched.
    """

    def __init__(self, live: Simulation, work: Background, *, choose_model: bool, running: bool) -> None:
        self.live, self.running, self._work, self._quiet = live, running, work, False
        self._said, self._ticks, self._within = "", 0, 8
        self._ended = False  # whether it ran until it diverged
        model = live.params.model
        self.view = FieldView(live.picture(), live.report(), model.observed, MAPS[0])
        self.view.on_draw(self._draw)
        self._report = Div(name="report", width=580)
        self._colours = pn.widgets.Select(name="Colours", options=list(MAPS), width=_WIDTH // 2 - 10)
        self._steps = pn.widgets.DiscreteSlider(
            name="Steps a picture", options=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512], value=64, width=_WIDTH
        )
        self._radius = pn.widgets.IntSlider(name="Brush, pixels", start=1, end=30, value=6, width=_WIDTH)
        self._brush = pn.widgets.RadioButtonGroup(options=["draw", "erase"], width=_WIDTH)
        self._model = pn.widgets.Select(name="Model", options=list(models()), value=model.name, width=_WIDTH // 2 - 10)
        self._preset = pn.widgets.Select(name="Preset", width=_WIDTH // 2 - 10)
        self._sliders = pn.Column(width=_WIDTH + 20)
        self._lines = pn.pane.HTML("", width=580)
        self._choose_model = choose_model
        self._buttons = self._make_buttons()
        self.follow()
        self._colours.param.watch(lambda event: work.soon(lambda: self.view.colour(event.new)), "value")
        self._model.param.watch(lambda event: work.soon(lambda: self._switch_model(event)), "value")
        self._preset.param.watch(self._switch_preset, "value")

    def layout(self) -> pn.Row:
        """The widgets beside the picture."""
        choice = [pn.Row(self._model, self._preset)] if self._choose_model else []
        left = pn.Column(
            self._buttons, *choice, self._sliders, self._steps, self._brush, self._radius,
            self._colours, width=_WIDTH + 40,
        )  # fmt: skip
        return pn.Row(left, pn.Column(pn.pane.Bokeh(self.view.plot), pn.pane.Bokeh(self._report), self._take_away()))

    def picture_alone(self) -> pn.Column:
        """The picture with what is said of it, where there is nothing to march."""
        return pn.Column(self._colours, pn.pane.Bokeh(self.view.plot), pn.pane.Bokeh(self._report))

    def tick(self) -> None:
        """March on and show what came, if the browser keeps up."""
        if self.running and self.view.ready():
            steps, began = min(int(self._steps.value), self._within), time.perf_counter()
            self.live.advance(steps)
            self._within = max(1, math.floor(steps * _LONGEST / (time.perf_counter() - began)))
            self._ticks += 1
            told = self.live.report()
            if told.status == "diverged":
                self._set_running(False)
                self._ended = True
                self.show()
            elif self._ticks % _WORDS:
                self.view.show(self.live.picture(), told)
            else:
                self.show()

    def show(self) -> None:
        """Show the fields as they are, with what is to be said of them."""
        told = self.live.report()
        self.view.show(self.live.picture(), told)
        rate = self.view.rate()
        parts = [f"t = {told.time:,.6g}", f"{told.steps:,} steps of {told.dt:g}"]
        parts += [f"refined with {told.evaluations:,} evaluations"] if told.evaluations else []
        parts += [f"<b>{told.word(self.running)}</b>"]
        if told.status == "diverged":
            parts += ["press Reset or choose a preset"]
        else:
            parts += [f"{self.live.params.model.observed} from {told.least:.4g} to {told.largest:.4g}"]
        parts += [f"residual {told.residual:.2e}"] if math.isfinite(told.residual) else []
        parts += [f"{rate:.0f} pictures a second"] if self.running and math.isfinite(rate) else []
        warning = f"<br><span style='color:#a33'>{html.escape(told.warning)}</span>" if told.warning else ""
        said = f"<br><span style='color:#555'>{html.escape(self._said)}</span>" if self._said else ""
        self._report.text = " &middot; ".join(parts) + warning + said

    def show_kept(self, picture: Array, text: str) -> None:
        """Show a picture that no simulation stands behind, and a sentence under it."""
        nan, finite = math.nan, picture[np.isfinite(picture)]
        least, largest = (float(finite.min()), float(finite.max())) if finite.size else (nan, nan)
        self.view.show(picture, Report(nan, 0, nan, least, largest, nan, "", 0, "", ()))
        self._report.text = html.escape(text)

    def say(self, text: str) -> None:
        """Put a sentence under the picture; none takes it away."""
        self._said = text
        self.show()

    def take(self, live: Simulation, *, running: bool) -> None:
        """Show another simulation."""
        self.live, self._said = live, ""
        self.follow()
        self._set_running(running)
        self.show()

    def follow(self) -> None:
        """Sliders as the simulation's parameters are."""
        params, made = self.live.params, []
        self._name_preset()
        for name in params.model.parameters:
            value = float(getattr(params, name)[0])
            low, high = span_of(params, name)
            words = params.model.words.get(name, "")
            slider = pn.widgets.FloatSlider(
                name=f"{name}, {words}" if words else name, start=low, end=high, step=(high - low) / 400, value=value,
                format="0.0000[0000]", width=_WIDTH, margin=(2, 10),
            )  # fmt: skip
            slider.param.watch(lambda event, name=name: self._work.soon(lambda: self._move(name, event.new)), "value")
            made.append(slider)
        self._sliders.objects = made
        self.view.bar.title = params.model.observed

    def _name_preset(self) -> None:
        """The preset that has the parameters there are; with none of them chosen, each can be chosen."""
        presets, values = self.live.params.model.presets, tuple(self.live.params.tensor()[0].tolist())
        named = [name for name, known in presets.items() if tuple(known) == values]
        chosen = str(self._preset.value) if self._preset.value in named else (named or [_MOVED])[0]
        self._quiet = True
        self._preset.param.update(options=[*presets, *([] if named else [_MOVED])], value=chosen)
        self._quiet = False

    def _make_buttons(self) -> pn.Row:
        made = []
        for name, act in (
            ("Pause", self._pause),
            ("Step", self._step),
            ("Reset", self._reset),
            ("Refine", self._refine),
        ):
            button = pn.widgets.Button(name=name, width=66, margin=(5, 3))
            button.on_click(lambda event, act=act: self._work.soon(act))
            made.append(button)
        self._toggle = made[0]
        self._toggle.name = "Pause" if self.running else "Run"
        return pn.Row(*made)

    def _take_away(self) -> pn.Column:
        """Files to download, and the lines of Python."""
        kinds: tuple[tuple[str, str, Callable[[], bytes]], ...] = (
            ("Picture", "gsimplicit.png", self._png),
            ("Animation", "gsimplicit.gif", lambda: export.gif(list(self.live.recent), str(self._colours.value))),
            ("Fields", export.START_FILE, lambda: export.npz(self.live)),
            ("Python", "gsimplicit_repeat.py", lambda: export.lines_of(self.live).encode()),
        )
        made = [
            pn.widgets.FileDownload(
                callback=lambda make=make: io.BytesIO(make()), filename=file, label=name, width=100, margin=(5, 3)
            )
            for name, file, make in kinds
        ]
        show = pn.widgets.Button(name="Show the lines", width=110, margin=(5, 3))
        show.on_click(lambda event: self._work.soon(lambda: self.show_lines(export.lines_of(self.live))))
        return pn.Column(pn.Row(*made, show), self._lines)

    def _png(self) -> bytes:
        return export.png(self.live, str(self._colours.value), running=self.running)

    def show_lines(self, lines: str) -> None:
        """Show lines of Python under the picture."""
        self._lines.object = f"<pre style='font-size:11px;overflow:auto'>{html.escape(lines)}</pre>"

    def _set_running(self, running: bool) -> None:
        self.running, self._ended = running, False
        self._toggle.name = "Pause" if running else "Run"

    def _pause(self) -> None:
        if not self.running and self.live.report().status == "diverged":
            self.live.reset()
        self._set_running(not self.running)
        self.show()

    def _step(self) -> None:
        self._set_running(False)
        self.live.advance(int(self._steps.value))
        self.show()

    def _reset(self) -> None:
        self.live.reset()
        self._said, self._ended = "", False
        self.show()

    def _refine(self) -> None:
        """A certified root, from the fields that there are when all that was asked for before has ended."""
        self._set_running(False)
        if self._work.busy:
            self.say("Still at work: refining comes after it.")
        self._work.ask("refine", self._begin_refining)

    def _begin_refining(self) -> None:
        """Begin from the fields there are; shown unless they are changed meanwhile."""
        self._set_running(False)
        asked, fields, params = self.live, self.live.fields, self.live.params

        def done(state: gs.SteadyState) -> None:
            if self.live is not asked:
                return
            if self.live.fields is fields and self.live.params is params:
                self.live.adopt(state)
                self.say(f"Refined: {state.description(0)}. These steps and evaluations are counted above.")
            else:
                self.say("Refined, and not shown: fields or parameters were changed meanwhile.")

        self._work.start(asked.refined, done, lambda error: self.say(f"Not refined: {error}"))
        self.say("Refining: marching on until Newton's method closes ...")

    def _draw(self, begin: Place, end: Place) -> None:
        self.live.draw_line(begin, end, float(self._radius.value), erase=self._brush.value == "erase")
        if not self.running:
            self.show()

    def _move(self, name: str, value: float) -> None:
        try:
            self.live.move(name, value)
            self._name_preset()
        except ValueError as error:
            self.say(str(error))
        if not self.running:
            self.show()

    def _switch_model(self, event: Any) -> None:
        self._switch(models()[event.new].preset(next(iter(models()[event.new].presets))))

    def _switch_preset(self, event: Any) -> None:
        if not self._quiet and event.new != _MOVED:
            self._work.soon(lambda: self._switch(models()[self._model.value].preset(event.new)))

    def _switch(self, params: ModelParams) -> None:
        self.live.switch(params)
        self._said = ""
        if self._ended:
            self._set_running(True)
        self.follow()
        self.show()
