"""Training with numbers that are no numbers: a batch is skipped, counted and explained; onlookers never touch the main path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analysis.faults.planter import built_wrong
from analysis.faults.rows import changed, rewrite
from ple_model.data.dataset.reader import Dataset
from ple_model.epochlog import EpochSums
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.finish import calibrate
from ple_model.finite import bad_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sae import SparseAutoencoder
from ple_model.scoring import score
from ple_model.train import Options, train
from tests.fakes import tiny_config

pytestmark = pytest.mark.slow

FAST = Options(device="cpu", sample_customers=20)
ONE_EPOCH: dict[str, Any] = {"training": {"phase1_epochs": 1, "phase2_epochs": 0}}
TWO_EPOCHS: dict[str, Any] = {"training": {"phase1_epochs": 2, "phase2_epochs": 0}}


@pytest.fixture(scope="module")
def data(small_dataset: Dataset) -> Dataset:
    return small_dataset


def poisoned(data: Dataset, out: Path, field: str, split: str, rows: int, value: float = float("nan")) -> Dataset:
    """The same with `value` in the first `rows` rows of a split."""

    def change(columns: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        hit = np.flatnonzero(columns["split"] == split)[:rows]
        if len(hit):
            changed(columns, field)[hit] = value

    return rewrite(data, out, change)


def trained(data: Dataset, run: Path, over: dict[str, Any]) -> Run:
    return train(data, run, tiny_config(over), device="cpu", options=FAST)


def weights(run: Run) -> dict[str, Tensor]:
    return read_tensors(run.path / "model.safetensors")[0]


def events(run: Run, name: str) -> list[dict[str, Any]]:
    return [e for e in run.progress() if e["event"] == name]


@pytest.mark.parametrize(
    ("field", "value"), [("hmm_behavior", float("nan")), ("features", float("inf")), ("y_ltv", float("inf"))]
)
def test_one_bad_row_costs_one_step_an_epoch_and_is_explained(data: Dataset, tmp_path: Path, field: str, value: float) -> None:
    run = trained(poisoned(data, tmp_path / "data", field, "train", 1, value), tmp_path / "run", TWO_EPOCHS)
    assert run.manifest.status == "finished"
    assert bad_tensors(weights(run).items()) == {}
    assert [e["nonfinite_steps"] for e in events(run, "epoch")] == [1, 1]
    first = events(run, "skipped")[0]
    named = {"y_ltv": "label ltv"}.get(field, field)
    assert first["inputs"] == {named: 1}
    assert first["epoch"] == 1
    assert 1 <= first["step"] <= 3
    assert first["tasks"]
    warned = [w for w in run.manifest.warnings if w.startswith("epoch 1: 1 steps were skipped")]
    assert len(warned) == 1
    assert f"NaN or Inf in the batch: '{named}' in 1 of 32 rows" in warned[0]
    assert f"the first at step {first['step']}" in warned[0]


def poison_sae(model: PLEClusterAdaTT) -> None:
    assert model.sae is not None
    model.sae.w_enc.data[0, 0] = float("nan")


def poison_statistics(model: PLEClusterAdaTT) -> None:
    assert model.sae is not None
    model.sae.mean[0] = float("nan")


def poison_heads(model: PLEClusterAdaTT) -> None:
    assert model.evidential is not None
    model.evidential.bias.data[0] = float("nan")


@pytest.fixture(scope="module")
def healthy(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(data, tmp_path_factory.mktemp("runs") / "healthy", ONE_EPOCH)


@pytest.mark.parametrize("change", [poison_sae, poison_statistics, poison_heads])
def test_a_poisoned_onlooker_leaves_the_main_path_as_it_would_be_without_it(
    data: Dataset, healthy: Run, tmp_path: Path, change: Any
) -> None:
    with built_wrong(change):
        run = trained(data, tmp_path / "run", ONE_EPOCH)
    assert run.manifest.status == "finished"
    own, other = weights(run), weights(healthy)
    main = [k for k in own if not k.startswith(("sae.", "evidential."))]
    assert len(main) > 100
    assert [k for k in main if not torch.equal(own[k], other[k])] == []
    one, two = (events(r, "epoch")[0] for r in (run, healthy))
    assert one["nonfinite_steps"] == 0
    assert one["train"]["tasks"] == two["train"]["tasks"]
    assert one["valid"] == two["valid"]
    assert one["train"]["total"] is not None
    assert any("no prediction depends on them" in w and w.startswith("epoch 1") for w in run.manifest.warnings)


def test_the_autoencoder_forgets_a_batch_that_is_no_number() -> None:
    config = tiny_config().sae
    torch.manual_seed(0)
    sae = SparseAutoencoder(8, config).train()
    x = torch.randn(64, 8)
    sae(x)
    before = {k: v.clone() for k, v in sae.state_dict().items()}
    bad = x.clone()
    bad[3, 2] = float("nan")
    sae(bad)
    assert all(torch.equal(before[k], v) for k, v in sae.state_dict().items())
    sae(x)
    assert int(sae.batches) == 2


def test_validation_rows_that_are_no_numbers_do_not_stop_the_choice_of_the_best_epoch(data: Dataset, tmp_path: Path) -> None:
    run = trained(poisoned(data, tmp_path / "data", "txn_seq", "validation", 2), tmp_path / "run", ONE_EPOCH)
    (epoch,) = events(run, "epoch")
    assert epoch["best"]
    assert epoch["valid"]["mean_ratio"] is not None
    assert epoch["nonfinite_steps"] == 0
    assert [w for w in run.manifest.warnings if w.startswith("validation: ") and "'txn_seq' in 3.12% of 64 rows" in w]
    assert [w for w in run.manifest.warnings if "such predictions count as misses" in w and "'txn_seq'" in w]
    assert all(np.isfinite(m.a) for m in run.calibration.values())


def test_calibration_of_outputs_that_are_all_no_numbers_is_one_sentence(data: Dataset, healthy: Run, tmp_path: Path) -> None:
    bad = poisoned(data, tmp_path / "data", "features", "validation", 64)
    with pytest.raises(UserError, match=r"task 'ctr': no calibration can be fitted.*'features' in 100\.00% of 64 rows"):
        calibrate(score(healthy.model(), bad, "validation"))


def test_a_training_without_one_finite_batch_gives_up_with_field_epoch_and_step(data: Dataset, tmp_path: Path) -> None:
    bad = poisoned(data, tmp_path / "data", "hmm_journey", "train", 96)
    over = {"training": {"phase1_epochs": 9, "phase2_epochs": 0, "batch_size": 4}}
    with pytest.raises(UserError, match=r"epoch 2, step 1: .* for 25 steps; .*'hmm_journey' in 4 of 4 rows \(it reached"):
        trained(bad, tmp_path / "run", over)


def test_sums_of_a_checkpoint_from_before_onlookers_were_counted_apart_go_on(healthy: Run, data: Dataset) -> None:
    model = healthy.model()
    inputs = data.load("train", limit=16).inputs
    losses = model.losses(model(inputs), inputs.targets or {}, epoch=1)
    new = EpochSums()
    for _ in range(2):
        new.add(losses, {}, 16, True)
    old, first = EpochSums(), EpochSums()
    first.add(losses, {}, 16, True)
    kept = [n for n in first.names if not n.startswith("steps:")]
    values = first.state()["values"][[first.names.index(n) for n in kept]]
    old.restore(kept, {"values": values}, torch.device("cpu"))
    old.add(losses, {}, 16, True)
    assert old.means() == new.means()


def test_a_training_stopped_after_a_skipped_step_goes_on_to_the_same_end(data: Dataset, tmp_path: Path) -> None:
    bad = poisoned(data, tmp_path / "data", "hmm_behavior", "train", 1)
    over = {"training": {**ONE_EPOCH["training"], "seed": 3}}  # in whose order that row is not in the epoch's last batch
    whole = trained(bad, tmp_path / "whole", over)
    step = events(whole, "skipped")[0]["step"]
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == step

    config = tiny_config(over)
    train(bad, tmp_path / "run", config, device="cpu", options=FAST, stop=stop)
    resumed = train(bad, tmp_path / "run", config, device="cpu", options=FAST, resume=True)
    assert events(resumed, "resumed")[0]["step"] == step < 3
    assert [k for k, v in weights(whole).items() if not torch.equal(v, weights(resumed)[k])] == []
    assert resumed.manifest.warnings == whole.manifest.warnings
    assert len(events(resumed, "skipped")) == 1
