"""How much each task takes of what is added to its fitted map: the choice, what it changes, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ple_model.blend import SHARES, Rows, _behind_map, brand_losses, choose, choose_blends, lowest, standard_error
from ple_model.config import load_config
from ple_model.constants import with_training_statistics
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision
from ple_model.epochlog import validate
from ple_model.errors import UserError
from ple_model.files import load_weights, read_tensors, write_tensors
from ple_model.intervention import Intervention
from ple_model.losses import BrandTable
from ple_model.model import PLEClusterAdaTT
from ple_model.progressbar import ProgressBar
from ple_model.row_loss import yardstick
from ple_model.run import load_run
from ple_model.tasks import TASKS
from ple_model.train import Options, train
from tests.factories import random_context, random_inputs
from tests.fakes import make_dataset, tiny_config

PATH: dict[str, Any] = {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0, "blend": "none"}
OFF, ON = {"direct_path": PATH}, {"direct_path": {**PATH, "blend": "validation"}}


def models() -> tuple[PLEClusterAdaTT, PLEClusterAdaTT]:
    context = random_context()
    return PLEClusterAdaTT(tiny_config(OFF), context).eval(), PLEClusterAdaTT(tiny_config(ON), context).eval()


def rows(n: int, added: np.ndarray, *, seed: int = 0, customers: int | None = None) -> Rows:
    """Amounts whose map says 0 and whose whole says `added`; labels are what `added` knows plus noise."""
    who = np.arange(n) % (customers or n)
    rng = np.random.default_rng(seed)
    return Rows(np.zeros((n, 1)), added[:, None], added + rng.normal(size=n), who)


BRANDS = {"training": {"brand_blend": "validation"}}


def test_only_small_lets_tasks_choose() -> None:
    found = {p: load_config(p).direct_path.blend for p in ("v3_14", "v3_15", "production", "small")}
    assert found == {"v3_14": "none", "v3_15": "none", "production": "none", "small": "validation"}
    assert found == {p: load_config(p).training.brand_blend for p in found}


def test_what_helps_is_taken_and_what_is_noise_is_not() -> None:
    spec = next(s for s in TASKS.values() if s.kind == "regression" and s.out_dim == 1)
    rng = np.random.default_rng(1)
    knows = rng.normal(size=400)
    assert choose(spec, rows(400, knows)) >= 0.9
    noise = replace(rows(400, knows), label=rng.normal(size=400))
    assert choose(spec, noise) == 0.0
    half = replace(rows(4000, knows := rng.normal(size=4000)), whole=(2 * knows)[:, None])
    assert 0.3 <= choose(spec, half) <= 0.6


def test_a_gain_that_a_few_customers_make_is_chance() -> None:
    """As many rows and the same mean gain, but of few customers who are alike: the error is theirs, not the rows'."""
    values = np.repeat(np.random.default_rng(2).normal(size=40), 25)
    alone, together = np.arange(1000), np.repeat(np.arange(40), 25)
    assert standard_error(values, together) == pytest.approx(5 * standard_error(values, alone))
    assert standard_error(values, alone) == pytest.approx(values.std() / np.sqrt(1000))


def test_too_few_rows_choose_nothing() -> None:
    spec = next(s for s in TASKS.values() if s.kind == "regression" and s.out_dim == 1)
    assert choose(spec, rows(10, np.zeros(10))) == 1.0
    assert choose(spec, rows(100, np.zeros(100), customers=5)) == 1.0


def test_without_the_choice_and_with_the_whole_a_model_is_what_it_was() -> None:
    off, on = models()
    assert on.state_dict().keys() - off.state_dict().keys() == {"direct.blend"}
    assert all(torch.equal(v, on.state_dict()[k]) for k, v in off.state_dict().items())
    inputs = random_inputs(8, seed=1, targets=False)
    with torch.no_grad():
        a, b = off(inputs), on(inputs)
    assert all(torch.equal(a.logits[t], b.logits[t]) for t in off.tasks)
    assert off.direct is not None
    assert off.direct.blends() == {}


def test_a_share_is_taken_of_everything_that_is_added_and_edges_carry_what_is_said() -> None:
    _, model = models()
    direct = model.direct
    assert direct is not None
    inputs = random_inputs(8, seed=2, targets=False)
    moved = {e.target for e in model.edges}
    task = next(t for t in direct.slices if t not in moved)
    edge = next(e for e in model.edges if e.source in direct.slices)
    with torch.no_grad():
        whole, alone = model(inputs), direct.map(inputs)
        direct.set_blends({task: 0.3})
        part = model(inputs)
        by_map = alone[:, direct.slices[task]]
        torch.testing.assert_close(part.logits[task], by_map + 0.3 * (whole.logits[task] - by_map))
        direct.set_blends({edge.source: 0.0})
        none = model(inputs)
        torch.testing.assert_close(none.logits[edge.source], alone[:, direct.slices[edge.source]])
        assert not torch.equal(none.transfer[edge.key], whole.transfer[edge.key])
        for name in direct.slices:
            torch.testing.assert_close(model.answer(name, none.tower_inputs[name], none.encoded), none.predictions[name])
        # nothing that is done to an expert reaches a task that is its map alone
        expert = model.expert_names[0]
        cut = model.decode(none.encoded, Intervention(ablate={expert: "zero"}))
        assert torch.equal(cut.predictions[edge.source], none.predictions[edge.source])
        assert not torch.equal(cut.shared_concat, none.shared_concat)


def test_shares_are_kept_with_the_weights(tmp_path: Path) -> None:
    off, model = models()
    assert model.direct is not None
    model.direct.set_blends(dict.fromkeys(model.direct.slices, 0.4))
    write_tensors(tmp_path / "model.safetensors", model.state_dict())
    other = models()[1]
    load_weights(other, read_tensors(tmp_path / "model.safetensors")[0], tmp_path)
    assert other.direct is not None
    assert list(other.direct.blends().values()) == pytest.approx([0.4] * len(other.direct.slices))
    with pytest.raises(UserError, match=r"direct\.blend"):
        load_weights(off, read_tensors(tmp_path / "model.safetensors")[0], tmp_path)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("blend") / "data", train=96, validation=64, test=32)


def test_choosing_looks_at_the_whole_and_leaves_the_model_with_it(little: Dataset) -> None:
    model = PLEClusterAdaTT(tiny_config(ON), little.context()).eval()
    direct = model.direct
    assert direct is not None
    precision = Precision.choose(torch.device("cpu"), "off")
    first = choose_blends(model, little, 32, precision)
    direct.set_blends(dict.fromkeys(direct.slices, 0.0))
    assert choose_blends(model, little, 32, precision) == first
    assert set(direct.blends().values()) == {1.0}
    assert set(first.values()) <= set(SHARES)


@pytest.mark.parametrize(("source", "left"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_task_that_loses_more_with_its_sources_as_they_are_is_its_map(
    little: Dataset, monkeypatch: pytest.MonkeyPatch, source: float, left: float
) -> None:
    """It was chosen as if its source took the whole: asked again where that took less, and not where it did."""
    model = PLEClusterAdaTT(tiny_config(ON), little.context()).eval()
    edge = next(e for e in model.edges if model.tasks[e.target].kind == "binary")
    shares = {model.tasks[edge.source]: source, model.tasks[edge.target]: 1.0}
    monkeypatch.setattr("ple_model.blend.choose", lambda spec, rows, delta: shares.get(spec, 0.0 if source == 0 else 1.0))
    monkeypatch.setattr("ple_model.blend._behind_map", lambda spec, told, share, delta: spec is model.tasks[edge.target])
    found = choose_blends(model, little, 32, Precision.choose(torch.device("cpu"), "off"))
    assert found[edge.target] == left
    assert found[edge.source] == source


def test_what_loses_more_than_the_map_is_behind_it() -> None:
    spec = next(s for s in TASKS.values() if s.kind == "regression" and s.out_dim == 1)
    label, who = np.linspace(-1, 1, 50)[:, None], np.arange(50.0)[:, None]
    assert _behind_map(spec, [np.zeros((50, 1)), -label, label, who], 1.0, 1.0)
    assert not _behind_map(spec, [np.zeros((50, 1)), 0.5 * label, label, who], 1.0, 1.0)
    brands = next(s for s in TASKS.values() if s.kind == "contrastive")
    losses = np.tile(np.linspace(6, 7, len(SHARES)), (50, 1))
    losses[:, 3] = 5.9
    assert _behind_map(brands, [losses, who], 0.5, 1.0)
    assert not _behind_map(brands, [losses, who], 0.3, 1.0)


def test_an_epoch_is_judged_by_what_its_shares_were_chosen_by(little: Dataset) -> None:
    """A map whose offset is another than these rows' rate is calibrated on them, and a focal loss is no measure of it."""
    precision = Precision.choose(torch.device("cpu"), "off")
    context, _ = with_training_statistics(little.context(), little, tiny_config(ON))
    task = next(n for n, spec in PLEClusterAdaTT(tiny_config(ON), context).tasks.items() if spec.kind == "binary")
    ratios = []
    for offset in (0.0, 3.0):
        model = PLEClusterAdaTT(tiny_config(ON), context).eval()
        assert model.direct is not None
        model.direct.set_blends(dict.fromkeys(model.direct.slices, 0.0))
        with torch.no_grad():
            model.direct.linear.bias[model.direct.slices[task]] += offset
        ratios.append(validate(model, little, context, 32, precision, 1).ratio)
    assert ratios[0][task] == pytest.approx(ratios[1][task], abs=0.02)
    plain = PLEClusterAdaTT(tiny_config(OFF), context).eval()
    found = validate(plain, little, context, 32, precision, 1)
    assert found.ratio[task] == pytest.approx(found.tasks[task] / context.constant_loss[task])


def test_a_task_that_had_no_label_chooses_nothing(little: Dataset) -> None:
    context, _ = with_training_statistics(little.context(), little, tiny_config(ON))
    known = dict(list(context.constant_loss.items())[:2])
    model = PLEClusterAdaTT(tiny_config(ON), replace(context, constant_loss=known)).eval()
    found = choose_blends(model, little, 32, Precision.choose(torch.device("cpu"), "off"))
    assert set(found) == set(known) & set(model.tasks)
    model.set_blends(found)
    assert set(model.blends()) == set(found)


@pytest.mark.slow
def test_a_training_keeps_the_best_epochs_shares_and_tells_them(little: Dataset, tmp_path: Path) -> None:
    config = tiny_config({**ON, "training": {"phase1_epochs": 1, "phase2_epochs": 1}})
    seen: list[dict[str, Any]] = []
    train(little, tmp_path / "run", config, progress=seen.append, options=Options(device="cpu", sample_customers=20))
    run = load_run(tmp_path / "run")
    kept = run.model().direct
    assert kept is not None
    lines = {e["event"]: e for e in run.progress() if e["event"] == "finished" or e.get("best")}
    assert lines["finished"]["blend"] == lines["epoch"]["blend"]
    assert lines["finished"]["blend"] == pytest.approx(kept.blends(), abs=1e-4)


def test_the_terminal_says_what_is_taken() -> None:
    import io

    out = io.StringIO()
    bar = ProgressBar(out, live=False)
    bar({"event": "finished", "blend": {"ltv": 0.8, "nba": 0.0, "ctr": 1.0}})
    assert out.getvalue() == (
        "of what the network adds to the fitted linear map (of brands: to popularity), tasks take: ctr 1.0, ltv 0.8; "
        "and nothing: nba\n"
    )
    bar({"event": "finished"})
    assert out.getvalue().count("\n") == 1


def test_without_a_share_of_its_queries_the_brand_task_is_the_constant() -> None:
    """To the last bits: else it would be called harmful, or be told reasons for."""
    counts = (40, 3, 0, 7)
    table = BrandTable(4, 8, counts, 0.07, 2048, blend=True)
    query = torch.nn.functional.normalize(torch.randn(50, 8), dim=1)
    label = np.arange(50) % 4
    assert torch.equal(table.logits(query), table.similarities(query))
    table.set_share(0.0)
    judge = yardstick(TASKS["brand_prediction"], np.repeat(np.arange(4), counts), classes=4)
    assert judge is not None
    own = judge.of_probabilities(label, torch.softmax(table.logits(query).double(), dim=1).detach().numpy())
    np.testing.assert_allclose(own, judge.of_constant(label), rtol=1e-6)


def test_what_queries_know_is_taken_and_what_they_made_up_is_not() -> None:
    generator = torch.Generator().manual_seed(3)
    table = BrandTable(6, 16, (10, 10, 10, 10, 10, 10), 0.07, 2048, blend=True)
    label = torch.randint(0, 6, (600,), generator=generator)
    keys = torch.nn.functional.normalize(table.keys.detach(), dim=1)
    noise = torch.nn.functional.normalize(torch.randn(600, 16, generator=generator), dim=1)
    knows = torch.nn.functional.normalize(keys[label] + 0.5 * noise, dim=1)
    who = np.arange(600)
    with torch.no_grad():
        found = [brand_losses(table, q, label).double().numpy() for q in (knows, noise)]
    assert [lowest(x.T, who) for x in found] == [1.0, 0.0]
    np.testing.assert_allclose(found[0][:, -1], table.loss(knows, label).detach().numpy(), rtol=1e-5)


def test_brands_choose_by_themselves_or_beside_the_others(little: Dataset, tmp_path: Path) -> None:
    precision = Precision.choose(torch.device("cpu"), "off")
    found = {}
    for name, config in (("alone", tiny_config(BRANDS)), ("both", tiny_config({**ON, **BRANDS})), ("none", tiny_config(ON))):
        model = PLEClusterAdaTT(config, little.context()).eval()
        chosen = choose_blends(model, little, 32, precision)
        assert chosen.keys() == model.blends().keys()
        model.set_blends(dict.fromkeys(chosen, 0.5))
        assert set(model.blends().values()) <= {0.5}
        assert choose_blends(model, little, 32, precision) == chosen  # of the whole, whatever was taken before
        model.set_blends(chosen)
        assert model.blends() == pytest.approx(chosen)
        found[name] = model
    assert found["alone"].blends().keys() == {"brand_prediction"}
    assert found["both"].blends().keys() == found["none"].blends().keys() | {"brand_prediction"}
    extra = found["both"].state_dict().keys() - found["none"].state_dict().keys()
    assert extra == {"brands.share"}
