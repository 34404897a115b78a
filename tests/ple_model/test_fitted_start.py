"""A model that starts from a fitted linear map: the switch, the start, and trainings that are stopped around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ple_model.config import load_config
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.fitted_start import start_as_fitted, wants_fit
from ple_model.model import PLEClusterAdaTT
from ple_model.run import load_run
from ple_model.train import Options, train
from tests.factories import random_context, random_inputs
from tests.fakes import make_dataset, tiny_config

FITTED = {"direct_path": {"enabled": True, "start": "fitted", "hidden_dims": [8], "rate": 0.0, "ridge": 0.0}}
BENT = {"direct_path": {**FITTED["direct_path"], "bends": 3, "bend_pieces": 4}}
ONE_EPOCH = {"training": {"phase1_epochs": 1, "phase2_epochs": 0}}
FAST = Options(device="cpu", sample_customers=20)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_tensors(run / "model.safetensors")[0]


def test_only_small_starts_from_a_fitted_map() -> None:
    found = {p: load_config(p).direct_path for p in ("v3_14", "v3_15", "production", "small")}
    assert {p: (d.enabled, d.start) for p, d in found.items()} == {
        "v3_14": (False, "random"), "v3_15": (False, "random"), "production": (False, "random"), "small": (True, "fitted"),
    }  # fmt: skip


def test_a_map_that_starts_at_random_has_to_learn() -> None:
    with pytest.raises(UserError, match=r"direct_path\.rate"):
        load_config("small", overrides=["direct_path.start=random", "direct_path.bends=0"])
    config = load_config("small", overrides=["direct_path.start=random", "direct_path.rate=0.5", "direct_path.bends=0"])
    assert not wants_fit(PLEClusterAdaTT(tiny_config(), random_context()))
    assert config.direct_path.start == "random"


def test_without_the_fit_nothing_of_a_model_changes() -> None:
    """A run of before this release opens: no tensor more, every start the same."""
    plain = PLEClusterAdaTT(tiny_config(), random_context())
    fitted = PLEClusterAdaTT(tiny_config(FITTED), random_context())
    assert "direct.fitted" not in plain.state_dict()
    both = plain.state_dict().keys()
    assert fitted.state_dict().keys() - both == {"direct.fitted"}
    assert all(torch.equal(plain.state_dict()[k], fitted.state_dict()[k]) for k in both)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_model_starts_with_what_the_map_says(tiny_dataset: Dataset, dtype: torch.dtype) -> None:
    model = PLEClusterAdaTT(tiny_config(FITTED), tiny_dataset.context()).to(dtype).eval()
    inputs = tiny_dataset.load("train").inputs.to(dtype=dtype)
    found = start_as_fitted(model, tiny_dataset)
    assert model.direct is not None
    with torch.no_grad():
        out, columns = model(inputs), model.direct.columns(inputs)
        said = columns @ found.weight.T.to(dtype) + found.bias.to(dtype)
        torch.testing.assert_close(out.encoded.direct, said)
        for task, where in model.direct.slices.items():
            assert not model.towers.out_bias[model.towers.slices[task]].any(), task  # the map has the offset
            if found.strengths[task] is not None and model.tasks[task].kind == "regression":
                rest = out.logits[task] - said[:, where]
                assert 0 < float(rest.std()) < float(said[:, where].std()), task
    assert torch.equal(model.direct.linear.weight, model.direct.fitted)
    assert float(model.direct.penalty()) == 0


def test_an_absent_part_leaves_the_answer_finite() -> None:
    model = PLEClusterAdaTT(tiny_config(FITTED), random_context()).eval()
    assert model.direct is not None
    model.direct.start_at(torch.ones_like(model.direct.linear.weight), torch.zeros_like(model.direct.linear.bias))
    inputs = random_inputs(8, seed=4, targets=False)
    gone = inputs.features.clone()
    gone[:, inputs.parts["overseas"]] = torch.nan
    absent = replace(inputs, features=gone, presence={"features:overseas": torch.zeros(8, dtype=torch.bool)})
    assert bool(torch.isfinite(model.direct(absent)).all())


def _trained(dataset: Dataset, run: Path, over: dict[str, Any] | None = None, **more: Any) -> Path:
    config = tiny_config({**BENT, **ONE_EPOCH, **(over or {})})
    train(dataset, run, config, options=FAST, **more)
    return run


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Rows for five steps, and enough held-out ones for bends."""
    return make_dataset(tmp_path_factory.mktemp("little") / "data", train=160, validation=32, test=32)


@pytest.fixture(scope="module")
def whole(little: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(little, tmp_path_factory.mktemp("fitted") / "run")


@pytest.mark.slow
def test_a_frozen_map_and_its_bends_stay_as_fitted_and_the_rest_learns(whole: Path, little: Dataset) -> None:
    run = load_run(whole)
    found = weights(whole)
    assert torch.equal(found["direct.linear.weight"], found["direct.fitted"])
    fresh = PLEClusterAdaTT(run.config, run.context())
    start_as_fitted(fresh, little)
    kept = ["direct.fitted", "direct.linear.bias", *(k for k in found if k.startswith("direct.bends."))]
    assert len(kept) == 5
    assert [k for k in kept if not torch.equal(fresh.state_dict()[k], found[k])] == []
    assert bool(found["direct.bends.cuts"].any())
    assert not torch.equal(fresh.state_dict()["direct.body.0.weight"], found["direct.body.0.weight"])
    lines = [e for e in run.progress() if e["event"] == "fit"]
    assert lines[0]["share"] == 0
    assert lines[-1]["share"] == 1
    events = [e["event"] for e in run.progress()]
    assert events.index("start") < events.index("fit") < events.index("phase") < events.index("epoch")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["fit", "phase"])
def test_a_training_stopped_around_the_fit_ends_with_the_same_bits(
    whole: Path, little: Dataset, tmp_path: Path, when: str
) -> None:
    """In the middle of the fit, and right after it."""
    seen: list[str] = []

    def stop() -> bool:
        return when in seen

    run = tmp_path / "run"
    _trained(little, run, progress=lambda line: seen.append(line["event"]), stop=stop)
    assert load_run(run).manifest.status == "stopped"
    _trained(little, run, resume=True)
    kept, ended = weights(whole), weights(run)
    assert [k for k, v in kept.items() if not torch.equal(v, ended[k])] == []
    events = [e["event"] for e in load_run(run).progress()]
    assert events.count("start") == 1
    assert [e["share"] for e in load_run(run).progress() if e["event"] == "fit"].count(1) == 1


@pytest.mark.slow
def test_a_map_with_a_rate_is_drawn_to_what_was_fitted(little: Dataset, tmp_path: Path) -> None:
    def moved(ridge: float) -> float:
        path = {"direct_path": {**FITTED["direct_path"], "rate": 0.5, "ridge": ridge}}
        found = weights(_trained(little, tmp_path / f"run{ridge:g}", path))
        return float((found["direct.linear.weight"] - found["direct.fitted"]).norm())

    free, held = moved(0.0), moved(1.0)
    assert 0 < held < free
