"""The direct path to the brand query: what its fit finds and leaves, and a model with it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.brand_query import BrandStart, fit_brand_start
from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.files import read_tensors
from ple_model.fitted_start import start_as_fitted
from ple_model.losses import BrandTable, nll
from ple_model.model import PLEClusterAdaTT
from ple_model.run import load_run
from ple_model.train import Options, train
from tests.factories import random_context, random_inputs
from tests.fakes import make_dataset, tiny_config

PATH = {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0}
ON = {"direct_path": {**PATH, "brand_query": True}}
OFF = {"direct_path": {**PATH, "brand_query": False}}
WIDTH, BRANDS, DIM = 64, 30, 16


def purchases(n: int, seed: int, told: float) -> tuple[Tensor, Tensor]:
    """Embeddings [n, 64], and brands that are drawn by their product with planted keys times `told`."""
    keys = torch.randn(BRANDS, WIDTH, generator=torch.Generator().manual_seed(99)) / math.sqrt(WIDTH)
    g = torch.Generator().manual_seed(seed)
    x = 0.1 * torch.randn(n, WIDTH, generator=g)
    popular = torch.linspace(0.0, 2.0, BRANDS)
    odds = 10 * told * x @ keys.T + popular
    return x, torch.multinomial(odds.softmax(dim=1), 1, generator=g)[:, 0]


def table(candidates: int = 2048) -> BrandTable:
    return BrandTable(BRANDS, DIM, (), 0.2, candidates)


def told(found: BrandStart, x: Tensor, y: Tensor) -> float:
    """The loss of these purchases over that of their own popularity, all of the queries' word taken."""
    query = F.normalize(x @ found.weight.T + found.bias, dim=-1)
    said = query @ F.normalize(found.keys, dim=-1).T / 0.2
    popular = torch.bincount(y, minlength=BRANDS).float().add(0.5).log()
    return float(nll(said, y).mean() / nll(popular.expand(len(y), -1), y).mean())


def watched(n: int) -> Tensor:
    return torch.arange(n) % 5 == 0


@pytest.mark.parametrize("candidates", [2048, 20])
def test_a_planted_product_is_found_and_holds_for_other_customers(candidates: int) -> None:
    x, y = purchases(4000, 1, told=1.5)
    found = fit_brand_start(x, y, watched(4000), table(candidates), 0)
    assert found is not None
    assert found.share > 0
    assert found.loss < 0.95
    assert told(found, *purchases(3000, 2, told=1.5)) < 0.95


def test_what_no_embedding_tells_is_not_fitted() -> None:
    x, y = purchases(1500, 3, told=0.0)
    assert fit_brand_start(x, y, watched(1500), table(), 0) is None


@pytest.mark.parametrize("rows", [0, 15])
def test_a_few_purchases_fit_nothing(rows: int) -> None:
    x, y = purchases(200, 4, told=1.5)
    y[rows:] = -1
    assert fit_brand_start(x, y, torch.zeros(200, dtype=torch.bool), table(), 0) is None


def test_without_anybody_to_choose_by_the_middle_rate_is_taken() -> None:
    x, y = purchases(400, 5, told=1.5)
    found = fit_brand_start(x, y, torch.zeros(400, dtype=torch.bool), table(), 0)
    assert found is not None
    assert (found.rate, found.share) == (3e-3, 1.0)
    assert math.isnan(found.loss)


def test_a_fit_is_the_same_again_and_touches_no_random_state() -> None:
    x, y = purchases(600, 6, told=1.5)
    own = table()
    kept = own.keys.clone()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = fit_brand_start(x, y, watched(600), own, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(own.keys, kept)
    second = fit_brand_start(x, y, watched(600), own, 0)
    assert first is not None
    assert second is not None
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.keys, second.keys)


def test_queries_and_keys_have_the_length_that_keys_are_drawn_with() -> None:
    x, y = purchases(800, 7, told=1.5)
    found = fit_brand_start(x, y, watched(800), table(), 0)
    assert found is not None
    torch.testing.assert_close(found.keys.norm(dim=1), torch.full((BRANDS,), math.sqrt(DIM)))
    query = x @ found.weight.T + found.bias
    assert float(query.square().sum(dim=1).mean().sqrt()) == pytest.approx(math.sqrt(DIM), rel=1e-4)


def test_only_small_has_it() -> None:
    assert {p: load_config(p).direct_path.brand_query for p in ("v3_14", "v3_15", "production", "small")} == {
        "v3_14": False, "v3_15": False, "production": False, "small": True,
    }  # fmt: skip


def test_without_it_nothing_of_a_model_changes() -> None:
    plain, with_query = (PLEClusterAdaTT(tiny_config(c), random_context(brands=9)).state_dict() for c in (OFF, ON))
    assert with_query.keys() - plain.keys() == {"direct.query.linear.weight", "direct.query.linear.bias"}
    assert all(torch.equal(value, with_query[name]) for name, value in plain.items())


def test_the_query_is_the_towers_with_the_map_of_the_embedding() -> None:
    on = PLEClusterAdaTT(tiny_config(ON), random_context(brands=9)).eval()
    off = PLEClusterAdaTT(tiny_config(OFF), random_context(brands=9)).eval()
    inputs = random_inputs(12, seed=5, targets=False)
    assert inputs.collaborative_features is not None
    assert on.direct is not None
    assert on.direct.query is not None
    with torch.no_grad():
        out, plain = on(inputs), off(inputs)
        added = on.direct.query.linear(inputs.collaborative_features)
        torch.testing.assert_close(out.logits["brand_prediction"], plain.logits["brand_prediction"] + added)
        torch.testing.assert_close(out.logits["nba"], plain.logits["nba"])
        torch.testing.assert_close(on.answer("brand_prediction", out.tower_inputs["brand_prediction"], out.encoded),
                                   out.predictions["brand_prediction"])  # fmt: skip


def test_a_customer_without_an_embedding_gets_what_all_get_whatever_stands_there() -> None:
    model = PLEClusterAdaTT(tiny_config(ON), random_context(brands=9)).eval()
    assert model.direct is not None
    assert model.direct.query is not None
    inputs = random_inputs(6, seed=6, targets=False)
    assert inputs.collaborative_features is not None
    broken = inputs.collaborative_features.clone()
    broken[:3] = torch.nan
    there = torch.arange(6) >= 3
    absent = replace(inputs, collaborative_features=broken, presence={"collaborative_features": there})
    with torch.no_grad():
        found = model.direct.query(absent)
        torch.testing.assert_close(found[:3], model.direct.query.linear.bias.expand(3, -1))
        nobody = model.direct.query(replace(inputs, collaborative_features=None))
        torch.testing.assert_close(nobody, model.direct.query.linear.bias.expand(6, -1))


@pytest.mark.parametrize("changed", ["collaborative_features", "features"])
def test_an_edit_of_what_it_reads_is_encoded_again(changed: str) -> None:
    model = PLEClusterAdaTT(tiny_config(ON), random_context(brands=9)).eval()
    inputs, other = (random_inputs(5, seed=s, targets=False) for s in (7, 8))
    edited = replace(inputs, **{changed: getattr(other, changed)})
    read = model.fields_to_encode_again([changed])
    assert "collaborative_features" in read
    few = replace(edited, **{f: None for f in ("hmm_journey", "hmm_lifecycle", "hmm_behavior") if f not in read})
    with torch.no_grad():
        again, whole = model.encode_again(few, model.encode(inputs), [changed]), model.encode(edited)
        assert again.direct is not None
        assert whole.direct is not None
        torch.testing.assert_close(again.direct, whole.direct)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("brands") / "data", train=320, validation=64, test=64)


def test_where_nothing_is_fitted_the_task_starts_as_it_would_without(
    bank: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("ple_model.fitted_start.fit_brand_start", lambda *given: None)
    model = PLEClusterAdaTT(tiny_config(ON), bank.context())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    heard: list[float] = []
    start_as_fitted(model, bank, lambda share, what: heard.append(share))
    assert model.direct is not None
    for name in ("brands.keys", "direct.query.linear.weight"):
        assert torch.equal(model.state_dict()[name], before[name])
    assert heard == sorted(heard)
    assert heard[-1] <= 1


@pytest.mark.slow
def test_a_training_starts_where_keys_and_map_were_fitted(
    bank: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    keys = bank.context().brands
    planted = BrandStart(torch.full((128, WIDTH), 0.5), torch.zeros(128), torch.ones(len(keys), 128), 1e-3, 1.0, 0.5)
    monkeypatch.setattr("ple_model.fitted_start.fit_brand_start", lambda *given: planted)
    model = PLEClusterAdaTT(tiny_config(ON), bank.context())
    start_as_fitted(model, bank)
    assert torch.equal(model.state_dict()["brands.keys"], planted.keys)
    assert torch.equal(model.state_dict()["direct.query.linear.weight"], planted.weight)
    one = {"training": {"phase1_epochs": 1, "phase2_epochs": 0}}
    train(bank, tmp_path / "run", tiny_config({**ON, **one}), options=Options(device="cpu", sample_customers=20))
    learnt = read_tensors(tmp_path / "run" / "model.safetensors")[0]["direct.query.linear.weight"]
    assert 0 < float((learnt - planted.weight).abs().max()) < 0.2  # trained on from there
    assert load_run(tmp_path / "run").model().direct is not None
