"""The model from Python: labels that a task does not have, an empty batch, float64, and regressions of several outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ple_model import constants
from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.evaluate import evaluate
from ple_model.metrics import regression_metrics
from ple_model.model import PLEClusterAdaTT
from ple_model.run import load_run
from ple_model.train import train
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config

ALL = {t: {"enabled": True} for t in ("uplift", "category_uplift")}


@pytest.fixture(scope="module")
def model() -> PLEClusterAdaTT:
    """All 18 tasks."""
    return PLEClusterAdaTT(tiny_config({"task_experts": {"tasks": ALL}}), random_context(brands=30)).eval()


@pytest.fixture(scope="module")
def batch() -> PLEClusterInput:
    return random_inputs(6, brands=30)


def loss(model: PLEClusterAdaTT, batch: PLEClusterInput, **labels: Tensor) -> Tensor:
    return model.losses(model(batch), {**(batch.targets or {}), **labels}, epoch=1).total


@pytest.mark.parametrize(
    ("task", "value", "said"),
    [("nba", 12, "no class 12, valid: 0 to 11"), ("nba", -2, "no class -2"), ("ctr", 2, "no class 2, valid: 0 to 1"),
     ("brand_prediction", 30, "no brand 30, valid: 0 to 29"), ("timing", 10**6, "no class 1000000, valid: 0 to 27")],
)  # fmt: skip
def test_a_label_that_a_task_does_not_have(
    model: PLEClusterAdaTT, batch: PLEClusterInput, task: str, value: int, said: str
) -> None:
    assert batch.targets is not None
    label = batch.targets[task].clone()
    label[3] = value
    with pytest.raises(UserError, match=f"task '{task}', row 3: {said}"):
        loss(model, batch, **{task: label})


def test_the_last_class_and_a_missing_label_are_taken(model: PLEClusterAdaTT, batch: PLEClusterInput) -> None:
    assert torch.isfinite(loss(model, batch, nba=torch.full((6,), 11), brand_prediction=torch.full((6,), 29)))
    assert torch.isfinite(loss(model, batch, nba=torch.full((6,), -1), brand_prediction=torch.full((6,), -1)))


@pytest.mark.parametrize(("task", "shape", "expected"), [("category_uplift", (6,), r"\(6, 12\)"), ("ltv", (6, 12), r"\(6,\)")])
def test_labels_of_another_shape(
    model: PLEClusterAdaTT, batch: PLEClusterInput, task: str, shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(UserError, match=f"labels of task '{task}' have shape .*, expected {expected}"):
        loss(model, batch, **{task: torch.zeros(shape)})


def test_an_empty_batch_is_said_to_be_empty(model: PLEClusterAdaTT, batch: PLEClusterInput) -> None:
    with pytest.raises(UserError, match="the batch is empty"):
        model(batch.rows(slice(0, 0)))


def test_a_float64_model_is_its_own_reference(model: PLEClusterAdaTT, batch: PLEClusterInput) -> None:
    wide = PLEClusterAdaTT(model.config, model.context)
    wide.load_state_dict(model.state_dict())
    wide.double().eval()
    inputs = batch.to(dtype=torch.float64)
    with torch.no_grad():
        one, two = model(batch), wide(inputs)
    for task, value in two.predictions.items():
        assert value.dtype == torch.float64, task
        torch.testing.assert_close(value.float(), one.predictions[task], rtol=2e-3, atol=2e-3)
    total = loss(wide, inputs)
    assert total.dtype == torch.float64
    torch.testing.assert_close(total.detach().float(), loss(model, batch).detach(), rtol=2e-3, atol=2e-3)
    wide.train()
    loss(wide, inputs).backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(p.grad).all() for p in wide.parameters() if p.grad is not None)


def test_a_batch_of_another_precision_is_named(model: PLEClusterAdaTT, batch: PLEClusterInput) -> None:
    with pytest.raises(UserError, match=r"the batch is torch.float64, the model torch.float32: use inputs.to\(dtype="):
        model(batch.to(dtype=torch.float64))


def test_metrics_of_several_outputs_are_means_over_them() -> None:
    g = np.random.default_rng(0)
    y = g.normal(size=(50, 3))
    p = y + g.normal(size=(50, 3)) * [0.1, 1.0, 2.0]
    w = g.integers(0, 3, 50).astype(float)
    for weight in (None, w):
        found = regression_metrics(y, p, weight)
        for name in ("mae", "rmse", "r2", "spearman"):
            each = [regression_metrics(y[:, k], p[:, k], weight)[name] for k in range(3)]
            assert found[name] == pytest.approx(np.mean(each))
    p[0, 0] = np.nan
    assert np.isnan(list(regression_metrics(y, p).values())).all()


def test_uplift_tasks_train_to_the_end(tiny_dataset: Dataset, tmp_path: Path) -> None:
    names = [t for t in tiny_config().tasks if t not in ("ctr", "cvr")]
    over = {"task_experts": {"tasks": {**ALL, **{t: {"enabled": False} for t in names}}}}
    short = {"training": {"phase1_epochs": 1, "phase2_epochs": 1}}
    train(tiny_dataset, tmp_path / "run", tiny_config({**over, **short}), preset="small", device="cpu")
    run = load_run(tmp_path / "run")
    assert run.manifest.status == "finished"
    stored = run.metrics()["splits"]["test"]
    assert {"uplift", "category_uplift"} <= set(stored)
    assert np.isfinite(stored["category_uplift"]["metrics"]["rmse"])
    found = evaluate(run, tiny_dataset, bootstrap_rounds=20, boosting=False)
    (task,) = [t for t in found.tasks if t.task == "category_uplift"]
    assert task.metrics["rmse_low"] <= task.metrics["rmse"] <= task.metrics["rmse_high"]
    assert "category_uplift" in found.table()


def test_training_says_what_a_label_of_uplift_needs(tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config({"task_experts": {"enabled_tasks": ["ltv", "uplift"]}})
    told = constants.task_labels
    monkeypatch.setattr(constants, "task_labels", lambda data, task: told(data, task)[: 0 if task == "uplift" else None])
    context, warnings = constants.with_training_statistics(tiny_dataset.context(), tiny_dataset, config)
    assert not context.learned("uplift")
    assert warnings == [
        "task 'uplift' has no labels in the training split: it is not trained (a label needs customers who were shown a "
        "campaign in the week from a cut-off on, and others who were not)"
    ]


def test_rows_of_a_batch_keep_their_labels_when_others_are_refused(model: PLEClusterAdaTT, batch: PLEClusterInput) -> None:
    """A task that the model does not have on is not judged."""
    off = PLEClusterAdaTT(tiny_config({"task_experts": {"tasks": {"nba": {"enabled": False}}}}), model.context).eval()
    assert torch.isfinite(loss(off, replace(batch, targets={"nba": torch.full((6,), 99), "ltv": torch.ones(6)})))
