"""What one takes away from the page: a picture, an animation, the fields, and the lines of Python that repeat it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.explorer.colours import palette
from gsimplicit.explorer.landscape import Landscape
from gsimplicit.explorer.simulation import Simulation
from gsimplicit.plotting.figures import Drawn, as_it_stands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.equations import ModelParams

__all__ = ["gif", "lines_of", "lines_of_point", "npz", "png"]

Array = np.ndarray[Any, np.dtype[np.float32]]

START_FILE = "gsimplicit_start.npz"
"""Name of the file of fields that lines of Python read where the fields were drawn into."""

_FROM_FILE = f'torch.from_numpy(np.load("{START_FILE}")["start"])'

_NEEDED = f"# no seed gives these fields: download Fields, which is {START_FILE}, to the folder this runs in\n"


def png(live: Simulation, colours: str, *, running: bool = False) -> bytes:
    """The picture that is shown, with its scale and what is to be said of it, as PNG.

    Args:
        live: The simulation.
        colours: Colour map, one of `gsimplicit.explorer.colours.MAPS`.
        running: Whether it is marched; else it is paused.
    """
    told, model = live.report(), live.params.model
    figure = Drawn(figsize=(5.6, 5), layout="constrained")
    ax = figure.subplots()
    shown = ax.imshow(live.picture(), origin="lower", cmap=colours, interpolation="nearest")
    figure.colorbar(shown, ax=ax, label=as_it_stands(model.observed), shrink=0.85)
    values = ", ".join(f"{n} {x:.5g}" for n, x in _values(live.params).items())
    title = f"{model.name}: {values}\nt = {told.time:g}, {told.word(running)}, residual {told.residual:.1e}"
    ax.set_title(as_it_stands(title), loc="left", fontsize=9)
    ax.set(xlabel="column, pixels", ylabel="row, pixels")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    return stream.getvalue()


def gif(pictures: Sequence[Array], colours: str, seconds: float = 0.05) -> bytes:
    """Pictures one after the other as an animated GIF, all on one scale, the first row at the bottom.

    Args:
        pictures: Of one shape (H, W); those of another shape than the last are left out.
        colours: Colour map.
        seconds: A picture is shown for.

    Raises:
        ValueError: There is no picture.
    """
    from PIL import Image

    if not pictures:
        raise ValueError("there is no picture yet")
    alike = np.stack([one for one in pictures if one.shape == pictures[-1].shape])
    finite = alike[np.isfinite(alike)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    levels = np.nan_to_num((alike - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    indices = np.ascontiguousarray((levels * 255).round().astype(np.uint8)[:, ::-1])
    scale = max(1, 256 // max(indices.shape[1:]))
    table = [int(colour[n : n + 2], 16) for colour in palette(colours) for n in (1, 3, 5)]
    frames = []
    for one in indices.repeat(scale, axis=1).repeat(scale, axis=2):
        frame = Image.fromarray(one)
        frame.putpalette(table)
        frames.append(frame)
    stream = io.BytesIO()
    rest = {"save_all": True, "append_images": frames[1:], "loop": 0, "duration": round(1000 * seconds)}
    frames[0].save(stream, format="GIF", optimize=False, **rest)
    return stream.getvalue()


def npz(live: Simulation) -> bytes:
    """The fields that the lines of Python begin from, and those there are now, as a file of numpy."""
    stream = io.BytesIO()
    np.savez(stream, start=live.start.numpy(), fields=live.fields.numpy(), params=live.params.tensor().numpy())
    return stream.getvalue()


def lines_of(live: Simulation) -> str:
    """Lines of Python that give the fields shown, to the bit; where they were drawn into, from the file of `npz`.

    Fields of a landscape that nothing was done to since are found again as the page found them.
    """
    if live.lines and not live.legs:
        return live.lines
    model = live.params.model
    start = _FROM_FILE if live.drawn else _start(live)
    legs = "".join(f"    ({leg.values!r}, {leg.dt!r}, {leg.steps}),\n" for leg in live.legs)
    numpy = "import numpy as np\n" if "np.load" in start else ""
    lines = f"""\
{numpy}import torch
import gsimplicit as gs

model = gs.models.{model.name}  # {", ".join(model.parameters)}
{_NEEDED if numpy else ""}fields = {start}
"""
    if not legs:
        return lines
    return f"""\
{lines}for values, dt, steps in [
{legs}]:
    params = model.params(**dict(zip(model.parameters, values)))
    state = gs.steady_state(params, fields, tol=0.0, max_steps=steps, dt=dt, dtype=torch.float32)
    fields = state.fields
    print(state)
"""


def lines_of_point(
    plane: Landscape, place: tuple[float, float], sample: int, route: str, objective: str, *, walked: bool = False
) -> str:
    """Lines of Python that take loss and gradient at a place of a landscape as the page does, and give its fields.

    Args:
        plane: The landscape.
        place: Values of the two axes.
        sample: Index of the initial field.
        route: Whose gradient is taken; empty for none.
        objective: The loss.
        walked: Whether the fields are those at which the route took its gradient, not those that the scan's march left.
    """
    values = ", ".join(f"{name}={value!r}" for name, value in zip(plane.axes, place, strict=True))
    exact = bool(route) and objective == "residual"
    lines = f"""\
{"import torch" + chr(10) if exact else ""}import gsimplicit as gs

data = gs.partial_scan({str(plane.path)!r})
how = gs.scan_arguments(data)
params = how["base"].replace({values})
march = {{name: how[name] for name in ("tol", "max_steps", "check_every", "dtype", "dt", "backend")}}
start = data["initial"].values[[{sample}]]
"""
    marched = """\
state = gs.steady_state(params, start, refine=how["refine"], **march)
print(state)
fields = state.fields.float()
"""
    if exact:
        return lines + marched + _residual_lines(plane, place, sample)
    if not route:
        return lines + marched
    target = "target" if "target" in plane.data else "target_fields"
    which, loss = plane.routes.index(route), plane.objectives.index(objective)
    asked = f"""\
route, loss = how["routes"][{which}], how["losses"][{loss}]
found = gs.grad(params, route, loss, data["{target}"].values[[{sample}]], start, **march)
print(found)
"""
    return lines + asked + "fields = found.state.fields.float()\n" if walked else lines + marched + asked


def _residual_lines(plane: Landscape, place: tuple[float, float], sample: int) -> str:
    """Lines that take the residual loss and its derivative, after those of `lines_of_point`."""
    at = ", ".join(f"{name}=at[[{n}]]" for n, name in enumerate(plane.axes))
    return f"""\
at = torch.tensor({list(place)!r}, dtype=torch.float64, requires_grad=True)
loss = gs.residual_loss(how["base"].replace({at}), data["target_fields"].values[[{sample}]])
print(loss, torch.autograd.grad(loss.sum(), at))
"""


def _start(live: Simulation) -> str:
    """An expression that draws the start again."""
    if live.initial is not None:
        return _FROM_FILE
    box = f"gs.Box(half={live.box.half})" if live.box is not None else "None"
    values = ", ".join(f"{n}={x!r}" for n, x in _values(live.began_with).items())
    model = f"model.params({values})"
    grid = tuple(live.start.shape[2:])
    return f"gs.initial_state(seed={live.seed}, grid={grid}, box={box}, model={model}).float()"


def _values(params: ModelParams) -> dict[str, float]:
    return dict(zip(params.model.parameters, params.tensor()[0].tolist(), strict=True))
