"""The page: a simulation, and beside it a landscape where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import panel as pn

from gsimplicit.explorer.background import Background
from gsimplicit.explorer.page.controls import Controls
from gsimplicit.explorer.page.walker import Walker
from gsimplicit.explorer.simulation import Simulation

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams
    from gsimplicit.explorer.landscape import Landscape

__all__ = ["Asked", "page"]

_EVERY = 20
"""Milliseconds between two looks at whether another picture is due: 50 a second at most."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a page is to show.

    Attributes:
        params: Parameters of the live simulation, one instance; not looked at where there is a plane.
        grid: Rows and columns of its fields.
        seed: Of the fields it starts from.
        plane: A landscape, or None for the live simulation alone.
    """

    params: ModelParams
    grid: tuple[int, int] = (128, 128)
    seed: int = 0
    plane: Landscape | None = None


def page(asked: Asked) -> pn.Row:
    """A page for one visitor, with a simulation of its own."""
    document: Any = pn.state.curdoc
    work = Background(document.add_next_tick_callback)
    if asked.plane is None:
        live = Simulation(asked.params, grid=asked.grid, seed=asked.seed)
        controls = Controls(live, work, choose_model=True, running=True)
        controls.show()
        made = controls.layout()
    else:
        plane = asked.plane.now()
        live = Simulation(asked.params, grid=(plane.data.sizes["y"], plane.data.sizes["x"]))  # never seen
        if plane.arguments is not None:
            live = Simulation(plane.params((plane.values(0)[0], plane.values(1)[0])), plane.start(0), dt=plane.dt())
        controls = Controls(live, work, choose_model=False, running=False)
        beside = controls.picture_alone if plane.unknown else controls.layout
        made = pn.Row(Walker(plane, controls, work).layout(), beside())

    def loaded() -> None:
        controls.view.begin()
        document.add_periodic_callback(controls.tick, _EVERY)

    pn.state.onload(loaded)
    document.on_session_destroyed(lambda context: work.close(wait=False))  # other visitors' pages go on
    return made
