"""What states, gradients and comparisons look like in a notebook."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.image import imread

import gsimplicit as gs
from gsimplicit.notebooks import Html, limits, picture, table

PARAMS = gs.Params(0.16, 0.08, 0.035, torch.linspace(0.06, 0.064, 10, dtype=torch.float64))
START = gs.initial_state(grid=(16, 20), box=gs.Box(half=3))


def mean_square(v: torch.Tensor) -> torch.Tensor:
    return (v**2).mean(dim=(-2, -1))


class Reader(HTMLParser):
    """Rows of cells, with all tags closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.rows[-1][-1] += "picture"
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def states() -> gs.SteadyState:
    return gs.steady_state(PARAMS, START, tol=0.0, max_steps=100)


def test_states_are_a_table_with_a_picture_and_the_parameters_of_each(states: gs.SteadyState) -> None:
    text = states._repr_html_()
    heads, *rows = Reader(text).rows
    assert heads == ["", "v", "Du", "Dv", "F", "k", "status", "kind", "steps", "residual", "stable"]
    assert len(rows) == 8
    assert rows[0][:6] == ["0", "picture", "0.16", "0.08", "0.035", "0.06"]
    assert rows[0][6:9] == ["fixed", "pattern", "100"]
    assert "10 states of gray_scott on 16 x 20 pixels" in text
    assert "and 2 more" in text
    assert 'alt="v of instance 0, pattern"' in text


def test_a_gradient_is_a_table_of_derivatives() -> None:
    out = gs.grad(PARAMS[0], "tangent", mean_square, initial=START, tol=0.0, max_steps=100)
    heads, row = Reader(out._repr_html_()).rows
    assert heads[:6] == ["", "loss", "d/dDu", "d/dDv", "d/dF", "d/dk"]
    assert row[5] == f"{out.grad.k.item():.6g}"
    assert "by tangents of marched steps" in row[-1]
    assert "Gradient of the mean_square loss by the tangent route" in out._repr_html_()


def test_a_comparison_is_a_table_of_routes_with_reasons_and_its_parts_are_datasets() -> None:
    out = gs.compare(PARAMS[:2], ["tangent", "unrolled"], False, mean_square, initial=START, tol=0.0, max_steps=100)
    rows = Reader(out._repr_html_()).rows
    assert [row[0] for row in rows] == ["route", "tangent", "unrolled"] * 2
    assert rows[2][-1] == "agrees"
    assert "Instance 1: Du 0.16, Dv 0.08, F 0.035, k 0.0604444" in out._repr_html_()
    assert "xr-wrap" in out.isel(route=0)._repr_html_()
    assert "xr-wrap" not in out._repr_html_()
    assert isinstance(out, xr.Dataset)


def test_names_of_losses_are_no_markup() -> None:
    def loss(v: torch.Tensor) -> torch.Tensor:
        return mean_square(v)

    loss.__name__ = "<script>alert(1)</script>"
    out = gs.grad(PARAMS[0], "tangent", loss, initial=START, tol=0.0, max_steps=10)
    assert "<script>" not in out._repr_html_()


def colours(html: Html) -> np.ndarray:
    (inside,) = re.findall(r"base64,([^\"]+)", html)
    return (imread(io.BytesIO(base64.b64decode(inside))) * 255).round()


def test_a_picture_is_a_png_that_is_light_where_the_field_is_high_and_grey_where_it_is_lost() -> None:
    found = colours(picture(np.array([[0.0, 1.0], [0.5, np.nan]]), "v", (0.0, 1.0)))
    assert found.shape[:2] == (2, 2)
    light = found.mean(axis=2)
    assert light[0, 0] < light[1, 0] < light[0, 1]
    assert found[1, 1].tolist() == [128, 128, 128]


def test_a_uniform_state_is_of_one_colour_whatever_is_left_of_its_ripples() -> None:
    field = 0.2 + 1e-4 * np.arange(12.0).reshape(3, 4) / 12
    assert np.ptp(colours(picture(field, "v", limits(field))), axis=(0, 1)).max() <= 1


@pytest.mark.parametrize("field", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.ones((700, 3))])
def test_a_picture_of_any_field_is_small(field: np.ndarray) -> None:
    assert max(colours(picture(field, "v", limits(field))).shape[:2]) <= 96


def test_text_of_a_table_is_escaped_and_html_is_not() -> None:
    text = table("a < b", ["<h>"], [["<i>", Html("<b>x</b>")]])
    assert "a &lt; b" in text
    assert "&lt;i&gt;" in text
    assert "<b>x</b>" in text
