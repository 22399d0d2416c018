"""Settings keep plain Python values, whatever numbers they were given as: a stored scan knows them again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gsimplicit as gs
from gsimplicit.arguments import March
from gsimplicit.landscape.settings import decoded, encoded
from gsimplicit.routes import Deq, FiniteDifference, Implicit, Tangent, Truncated

i, f, b, s = np.int64, np.float32, np.bool_, np.str_
PAIRS: list[tuple[Any, Any]] = [
    (March(f(0.25), i(3), np.array(4), device="cpu"), March(0.25, 3, 4)),  # type: ignore[arg-type]
    (March(np.array(0.25), torch.tensor(3), np.uint8(4)), March(0.25, 3, 4)),  # type: ignore[arg-type]
    (gs.Refine(f(2.0**-30), i(9), b(True), s("euler"), i(2)), gs.Refine(2.0**-30, 9, True, "euler", 2)),
    (gs.Gmres(f(2.0**-30), i(90), i(9), i(7), i(2), s("cpu")), gs.Gmres(2.0**-30, 90, 9, 7, 2)),  # type: ignore[arg-type]
    (gs.Box([i(3), i(4)], i(2), f(0.5), np.array(0.25)), gs.Box((3, 4), 2, 0.5, 0.25)),  # type: ignore[arg-type]
    (gs.Box(np.array([3, 4]), i(2), 1, 0), gs.Box((3, 4), 2, 1.0, 0.0)),  # type: ignore[arg-type]
    (Truncated(i(9), s("every")), Truncated(9, "every")),
    (FiniteDifference(f(0.25), b(True)), FiniteDifference(0.25, True)),
    (Tangent(b(False)), Tangent(False)),
    (
        Deq(gs.Refine(), s("anderson"), f(2.0**-30), i(9), f(0.5), i(3)),
        Deq(gs.Refine(), "anderson", 2.0**-30, 9, 0.5, 3),
    ),
    (Implicit(gs.Refine(max_evaluations=i(5))), Implicit(gs.Refine(max_evaluations=5))),
]


def leaves(settings: Any) -> list[Any]:
    if dataclasses.is_dataclass(settings):
        return [one for field in dataclasses.fields(settings) for one in leaves(getattr(settings, field.name))]
    return [one for value in settings for one in leaves(value)] if isinstance(settings, tuple | list) else [settings]


@pytest.mark.parametrize(("given", "plain"), PAIRS, ids=lambda x: type(x).__name__)
def test_settings_are_plain_values(given: Any, plain: Any) -> None:
    assert given == plain
    allowed = (int, float, bool, str, type(None), torch.dtype, torch.device)
    assert [type(one) for one in leaves(given)] == [type(one) for one in leaves(plain)]
    assert all(type(one) in allowed for one in leaves(given))
    if not isinstance(given, gs.Box):
        assert encoded("routes", given) == encoded("routes", plain)
        assert decoded(encoded("routes", given)) == plain


def test_a_number_of_single_precision_is_kept_as_the_number_it_is() -> None:
    assert March(np.float32(0.1), 1, 1).tol == float(np.float32(0.1))  # type: ignore[arg-type]


def test_a_flag_of_numpy_asks_for_no_root_where_it_is_false() -> None:
    assert not Tangent(np.bool_(False)).needs_root  # type: ignore[arg-type]
    assert FiniteDifference(refine=np.bool_(True)).needs_root  # type: ignore[arg-type]


def test_a_scan_of_numpy_settings_is_known_again_and_rerun(tmp_path: Path) -> None:
    start = gs.initial_state(np.int64(1), np.int64(0), np.int64(0), np.array([16, 16]), f(0.0), gs.Box(half=i(4)))  # type: ignore[arg-type]
    assert torch.equal(start, gs.initial_state(grid=(16, 16), noise=0.0, box=gs.Box(half=4)))
    given: dict[str, Any] = {
        "tol": f(0.0),
        "max_steps": i(50),
        "check_every": np.array(8),
        "refine": np.True_,
        "share_root": b(False),
        "keep": s("v"),
        "follow": s("k"),
        "losses": [s("spectrum")],
        "routes": [s("implicit")],
        "tile": i(1),
        "overwrite": np.False_,
        "progress": np.False_,
    }
    plain = {name: getattr(value, "item", lambda value=value: value)() for name, value in given.items()}
    plain |= {"losses": ["spectrum"], "routes": ["implicit"], "follow": "k", "keep": "v"}
    first = gs.scan({np.str_("k"): [0.06]}, initial=start, store=tmp_path / "a.nc", **given)
    again = gs.scan({"k": [0.06]}, initial=start, store=tmp_path / "a.nc", **plain)
    assert first.equals(again)
    rerun = gs.scan(**gs.scan_arguments(again), progress=False)
    assert rerun.equals(first)
