"""Fields as networks or pixels, trained with the parameters: what is learned, kept, and refused."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from helpers import PAPER, small_start

import gsimplicit as gs
from gsimplicit import provenance
from gsimplicit.inverse.asked import asked
from gsimplicit.inverse.methods import Network, Question, Trained
from gsimplicit.inverse.network import training as training_module
from gsimplicit.inverse.network.objective import linear
from gsimplicit.inverse.network.questioned import training
from gsimplicit.inverse.network.representation import FIELDS

if TYPE_CHECKING:
    from pathlib import Path

TRUTH = np.array(PAPER)
START = gs.Params(0.127, 0.1269, 0.05, 0.0501)
"""The paper's failed start."""


@pytest.fixture(scope="module")
def root() -> torch.Tensor:
    """A certified root at the paper's point, shape (1, 2, 32, 32)."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=gs.Refine(tol=1e-13))
    assert state.has_root.all()
    return state.fields


def question(root: torch.Tensor) -> Question:
    return asked(Network(), root, start=START).questions[0]


def on(settings: Network, root: torch.Tensor) -> Trained:
    return settings.train(root, start=START, progress=False)


def small(**settings: Any) -> Network:
    return Network(**{"width": 8, "depth": 1, "waves": 6, "adam": 100, "lbfgs": 40, **settings})


@pytest.mark.parametrize("parameters", ["gradient", "closed form"])
def test_a_training_gone_on_from_its_file_ends_with_the_bits_of_one_that_was_not_interrupted(
    root: torch.Tensor, parameters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_module, "ROUND", 10)
    monkeypatch.setattr(training_module, "SAVED", 0.0)
    whole = on(small(parameters=parameters), root)
    looks, last = [0], [0]

    def interrupt() -> None:
        looks[0] += 1
        if looks[0] == last[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_module, "look", interrupt)
    for last[0] in (70, 65):  # in the middle of Adam, and of a round of L-BFGS
        looks[0] = 0
        with pytest.raises(KeyboardInterrupt):
            on(small(parameters=parameters, store=tmp_path), root)
    last[0] = 0
    kept = [torch.load(path, weights_only=True) for path in tmp_path.glob("*.pt")]
    assert len(kept) == 1
    assert kept[0]["lbfgs"] > 0
    resumed = on(small(parameters=parameters, store=tmp_path), root)
    assert torch.equal(resumed.weights, whole.weights)
    assert torch.equal(resumed.params.tensor(), whole.params.tensor())
    assert resumed.record.drop_vars("seconds").identical(whole.record.drop_vars("seconds"))
    assert (resumed.adam, resumed.lbfgs, resumed.ended) == (100, 40, "steps used up")
    again = on(small(parameters=parameters, store=tmp_path), root)
    assert torch.equal(again.weights, whole.weights)
    assert again.record.identical(resumed.record)  # nothing was done


def test_a_file_that_holds_no_training_is_refused(root: torch.Tensor, tmp_path: Path) -> None:
    on(small(store=tmp_path, adam=1, lbfgs=0), root)
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="holds no training"):
        on(small(store=tmp_path, adam=1, lbfgs=0), root)


def test_other_settings_or_data_begin_anew(root: torch.Tensor, tmp_path: Path) -> None:
    for weight, fields in ((1.0, root), (2.0, root), (1.0, root + 1e-12)):
        on(small(store=tmp_path, adam=1, lbfgs=0, weight=weight), fields)
    assert len(list(tmp_path.glob("*.pt"))) == 3


def test_other_versions_of_what_computes_begin_anew(
    root: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(small(store=tmp_path, adam=1, lbfgs=1), root)
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**now, "scipy": "9.9"})  # whose L-BFGS trains
    on(small(store=tmp_path, adam=1, lbfgs=1), root)
    assert len(list(tmp_path.glob("*.pt"))) == 2


@pytest.mark.parametrize("fields", FIELDS)
def test_the_loss_has_no_slope_in_parameters_of_the_closed_form_and_its_gradient_is_exact(
    root: torch.Tensor, fields: str
) -> None:
    one, begin = training(Network(fields=fields, width=8, waves=6), question(root))
    z = begin.weights.clone().requires_grad_()
    X = one.representation.fields(z)
    values = one.objective.fitted(X).requires_grad_()
    slopes = torch.autograd.grad(one.objective.residual(X, values), values, retain_graph=True)[0]
    assert slopes.abs().max() * values.abs().max() < 1e-10
    (slope,) = torch.autograd.grad(one.objective.total(X, values.detach()), z)
    d = torch.randn(len(z), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():  # differences see the parameters move with the fields
        ends = [one.representation.fields(z + h * d) for h in (1e-5, -1e-5)]
        there = [one.objective.total(x, one.objective.fitted(x)) for x in ends]
    assert float((there[0] - there[1]) / 2e-5) == pytest.approx(float(slope @ d), rel=1e-5)


def test_a_network_sees_whole_waves_of_the_grid_only(root: torch.Tensor) -> None:
    one, _ = training(Network(waves=20), question(root))
    inputs = one.representation._inputs[torch.float64]  # type: ignore[attr-defined]
    hat = torch.fft.fft2(inputs.T.reshape(-1, 32, 32)).abs()
    assert inputs.shape == (1024, 40)
    assert ((hat > 1e-9).sum(dim=(1, 2)) == 2).all()  # a wave vector and its opposite
    assert len(np.unique(hat[:20].reshape(20, -1).argmax(dim=1))) == 20


def test_pixels_with_u_and_v_seen_lead_to_the_parameters_from_the_papers_failed_start(root: torch.Tensor) -> None:
    found = gs.invert(
        root, start=START, method=Network(fields="pixels", adam=200, lbfgs=400), noise=1e-6, progress=False
    )
    found.require_found()
    assert np.abs(found.params.tensor()[0].numpy() / TRUTH - 1).max() < 1e-3
    assert found.interval.isnan().all()
    assert "no intervals" in found.reason[0]
    assert found.method == "network"


def test_a_network_learns_fields_and_parameters_by_gradient(root: torch.Tensor) -> None:
    settings = Network(width=24, depth=2, waves=16, parameters="gradient", adam=300, lbfgs=200)
    trained = on(settings, root)
    assert np.abs(trained.params.tensor()[0].numpy() / TRUTH - 1).max() < 0.15  # from 80 %
    assert trained.data_loss < 1e-3


def test_a_training_cut_short_is_not_called_found(root: torch.Tensor) -> None:
    found = gs.invert(root[:, 1], start=START, method=small(), progress=False)
    assert found.verdict.item() == gs.Recovery.MISFIT
    assert found.params.tensor().isnan().all()
    assert "training left" in found.reason[0]


def test_a_training_that_stands_still_on_its_way_is_not_called_found() -> None:
    """Its parameters move by less than 1 % over the last fifth, and are up to half off."""
    v = gs.steady_state(gs.Params(*PAPER), gs.initial_state(grid=(32, 32)), refine=True).v
    settings = Network(fields="pixels", adam=200, lbfgs=400)
    trained = settings.train(v, progress=False)
    assert np.abs(trained.params.tensor()[0].numpy() / TRUTH - 1).max() > 0.3
    found = gs.invert(v, method=settings, progress=False)
    assert found.verdict.item() == gs.Recovery.MISFIT
    assert "would still change" in found.reason[0]


def test_what_no_picture_tells_is_not_called_found() -> None:
    # Gierer and Meinhardt's: all five parameters times one number are the same activator
    model = gs.models.gierer_meinhardt
    start = gs.initial_state(grid=(32, 32), seed=3, model=model)
    refine = gs.Refine(max_evaluations=300_000)
    state = gs.steady_state(model.preset("spots"), start, dt=0.2 / 15, tol=1e-9, max_steps=80_000, refine=refine)
    assert state.has_root.all()
    found = gs.invert(state.fields[:, 0], model=model, method=Network(fields="pixels", adam=200, lbfgs=600))
    assert found.verdict.tolist() == [gs.Recovery.UNIDENTIFIED]
    assert "Da^0.45 Dh^0.45 s^0.45 b^0.45 c^0.45" in found.reason[0]
    assert bool(found.params.tensor().isnan().all())


def test_another_reaction_of_the_same_name_begins_anew(root: torch.Tensor, tmp_path: Path) -> None:
    def wrong(u: Any, v: Any, F: Any, k: Any) -> Any:
        return F * (1 - u) - u * v * v, u * v * v - k * v

    def right(u: Any, v: Any, F: Any, k: Any) -> Any:
        return F * (1 - u) - u * v * v, u * v * v - (F + k) * v

    settings = small(parameters="gradient", store=tmp_path, adam=5, lbfgs=0)
    for reaction in (wrong, right):
        model = gs.Model.of(reaction, name="mine", presets={"paper": PAPER})
        start = model.params(**dict(zip(model.parameters, START.tensor()[0].tolist(), strict=True)))
        settings.train(root, start=start, progress=False)
    assert len(list(tmp_path.glob("*.pt"))) == 2


def test_a_store_that_is_no_folder_is_refused_before_any_work(root: torch.Tensor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(ValueError, match="store must be a folder"):
        gs.invert(root[:, 1], method=small(store=tmp_path / "file"))


def test_polished_by_one_shot_it_has_intervals_that_hold_the_truth(root: torch.Tensor) -> None:
    size = 0.01 * float(root[:, 1].std())
    noise = size * torch.randn(root.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    settings = Network(fields="smooth", adam=200, lbfgs=300, polish=True)
    found = gs.invert(root + noise, start=START, method=settings, level=0.999, progress=False)
    found.require_found()
    low, high = found.interval[0].unbind(-1)
    assert ((low <= torch.tensor(PAPER)) & (torch.tensor(PAPER) <= high)).all()


def test_other_models_are_learned_too() -> None:
    model = gs.models.schnakenberg
    params = model.params(**dict(zip(model.parameters, model.presets["hexagons"], strict=True)))
    state = gs.steady_state(
        params, gs.initial_state(grid=(24, 24), model=model), max_steps=60_000, dt=0.02, refine=True
    )
    assert state.has_root.all()
    start = model.params(Du=0.7, Dv=8.0, a=0.2, b=1.0)
    for parameters in ("closed form", "gradient"):
        settings = Network(fields="pixels", adam=200, lbfgs=300, parameters=parameters)
        trained = settings.train(state.fields, start=start, progress=False)
        values = trained.params.tensor()[0].numpy()
        assert np.abs(values / np.array(model.presets["hexagons"]) - 1).max() < 0.02


def test_the_record_has_the_way_with_labels_and_ends_where_the_training_ends(root: torch.Tensor) -> None:
    trained = on(small(), root)
    last = trained.record.isel(entry=-1)
    assert trained.record.step[[0, -1]].values.tolist() == [0, 140]
    assert (np.diff(trained.record.step) >= 0).all()
    assert (last.data_loss.item(), last.residual_loss.item()) == (trained.data_loss, trained.residual_loss)
    assert last.params.sel(parameter="k").item() == trained.params.k.item()
    assert trained.record.seconds.attrs["units"] == "s"


@pytest.mark.parametrize("parameters", ["gradient", "closed form"])
def test_fields_and_losses_are_functions_with_the_values_of_the_end(root: torch.Tensor, parameters: str) -> None:
    trained = pickle.loads(pickle.dumps(on(small(parameters=parameters), root)))
    z = trained.weights.clone().requires_grad_()
    fields = trained.fields_of(z)
    assert torch.equal(fields.detach(), trained.fields)
    data, residual = trained.losses(fields, trained.params)
    assert (data.item(), residual.item()) == (trained.data_loss, trained.residual_loss)
    assert torch.autograd.grad(data + residual, z)[0].abs().max() > 0


def test_losses_of_something_else_are_refused_by_name(root: torch.Tensor) -> None:
    trained = on(small(adam=1, lbfgs=0), root)
    with pytest.raises(ValueError, match="weights must have shape"):
        trained.fields_of(torch.zeros(3))
    with pytest.raises(ValueError, match="fields must have shape"):
        trained.losses(trained.fields[0], START)
    with pytest.raises(ValueError, match="params must be one set"):
        trained.losses(trained.fields, gs.Params(0.16, 0.08, 0.035, [0.06, 0.065]))
    with pytest.raises(TypeError, match="params must be parameters of gray_scott"):
        trained.losses(trained.fields, gs.models.schnakenberg.preset("hexagons"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mask": torch.ones(8, 8, dtype=torch.bool)}, "mask must have the shape of v"),
        ({"free": ["K"]}, "entry of free must be"),
        ({"free": ["k"], "start": None}, "start must give the values"),
        ({"v": torch.ones(32, 32)}, "v must vary"),
    ],
)
def test_a_training_alone_refuses_with_the_words_of_invert(
    root: torch.Tensor, given: dict[str, Any], words: str
) -> None:
    call = {"v": root[:, 1], "start": START, **given}
    for by in (small().train, gs.invert):
        with pytest.raises(ValueError, match=words):
            by(**call)


def test_several_pictures_are_not_trained_on_at_once(root: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="v must be one picture, got 2"):
        small().train(root[:, 1].repeat(2, 1, 1))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fields": "splines"}, "fields"),
        ({"parameters": "newton"}, "parameters"),
        ({"weight": 0.0}, "weight must be"),
        ({"width": 0}, "width must be"),
        ({"seconds": -1.0}, "seconds must be"),
        ({"seconds": float("nan")}, "seconds must be"),
        ({"weight": 1e300}, "weight must be"),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Network(**settings)


def test_what_the_method_does_not_have_is_refused_before_any_work(root: torch.Tensor) -> None:
    v = root[:, 1]
    with pytest.raises(ValueError, match="takes one picture a set"):
        gs.invert(torch.cat([v, v]), shared=True, method="network")
    with pytest.raises(ValueError, match="gain must be False"):
        gs.invert(v, gain=True, start=START, free=["Dv", "F", "k"], method="network")
    model = gs.models.fitzhugh_nagumo  # epsilon times its other rates
    assert linear(gs.models.gray_scott, [0, 1, 2, 3])
    assert not linear(model, list(range(5)))
    with pytest.raises(ValueError, match="fitzhugh_nagumo has no closed form"):
        gs.invert(v, model=model, method="network")
