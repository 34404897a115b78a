"""What a page shows of a run's predictions is measured on the rows and with the weights in front of the reader."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import CohortFilter, Diagnosis, diagnose
from analysis.performance import performance, rows_performance
from analysis.record import fingerprint
from analysis.skill import skill
from analysis.stats.skill import has_skill
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.evaluate import Evaluation, evaluate
from ple_model.files import read_tensors, write_tensors
from ple_model.metrics import CLAMP, regression_metrics
from ple_model.run import Run, load_run
from tests.factories import random_context
from tests.fakes import BRANDS, make_batch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tiny run without its dataset: `evaluate` and the pages both read its sample."""
    out = tmp_path_factory.mktemp("performance") / "tiny"
    return Path(shutil.copytree(tiny_run.path, out, ignore=shutil.ignore_patterns("analysis", "state")))


@pytest.fixture(scope="module")
def found(path: Path) -> Diagnosis:
    return diagnose(path)


def same(found: Diagnosis, expected: Evaluation) -> None:
    """Every metric, constant, base rate and count that `ple evaluate` prints is what was recorded."""
    split = found.statistics.performance[expected.split]
    assert set(split.tasks) == {t.task for t in expected.tasks}
    for task in expected.tasks:
        mine = split.tasks[task.task]
        assert (mine.kind, mine.n) == (task.kind, task.n)
        assert mine.base_rate == pytest.approx(task.base_rate)
        assert set(mine.metrics) == set(task.metrics), task.task
        for name, value in task.metrics.items():
            assert mine.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (task.task, name)
        judged, told = found.statistics.skill[expected.split][task.task], task.skill
        assert told is not None
        assert (judged.loss, judged.rows) == (told.loss, task.n)
        assert set(judged.losses) == set(told.losses)
        for name in judged.losses:
            assert judged.losses[name] == pytest.approx(told.losses[name], rel=1e-4, abs=1e-6), (task.task, name)
        assert judged.skill.value == pytest.approx(told.skill.value, abs=1e-4)
        constant = task.baselines.get("constant", {})
        assert set(mine.constant) == set(constant), task.task
        for name, value in constant.items():
            assert mine.constant[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (task.task, name)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_what_is_recorded_is_what_evaluate_prints(path: Path, found: Diagnosis, split: str) -> None:
    same(found, evaluate(load_run(path), None, split, bootstrap_rounds=0, boosting=False))
    assert found.statistics.performance[split].rows == load_run(path).sample().rows(split)


def test_rows_of_another_dataset_are_measured_themselves(path: Path, found: Diagnosis, tmp_path: Path) -> None:
    batch = make_batch(90, "test", ("2025-06-01",), 77)
    targets = {k: v.clone() for k, v in (batch.inputs.targets or {}).items()}
    targets["brand_prediction"][:9] = BRANDS + 5  # a brand that the model never saw
    batch = replace(batch, inputs=replace(batch.inputs, targets=targets))
    other = write_dataset(tmp_path / "other", [batch], context=random_context(0, brands=BRANDS))
    there = diagnose(path, other)
    same(there, evaluate(load_run(path), other, bootstrap_rounds=0, boosting=False))
    assert set(there.statistics.performance) == {"test"}
    before, after = (d.statistics.performance["test"].tasks["churn"] for d in (found, there))
    assert after.n < before.n
    assert after.metrics["auc"] != before.metrics["auc"]


def test_other_weights_give_other_metrics(path: Path, found: Diagnosis, tmp_path: Path) -> None:
    out = Path(shutil.copytree(path, tmp_path / "run"))
    stored, meta = read_tensors(out / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, value in stored.items():
        if name.startswith("towers."):
            value.copy_(value[..., rng.permutation(value.shape[-1])])
    write_tensors(out / "model.safetensors", stored, meta)
    kept = (out / "metrics.json").read_bytes()
    there = diagnose(out)
    assert (out / "metrics.json").read_bytes() == kept
    same(there, evaluate(load_run(out), bootstrap_rounds=0, boosting=False))
    before, after = (d.statistics.performance["test"].tasks for d in (found, there))
    assert after["churn"].metrics["log_loss"] != pytest.approx(before["churn"].metrics["log_loss"], abs=1e-3)
    assert after["ltv"].metrics["r2"] != pytest.approx(before["ltv"].metrics["r2"], abs=1e-3)
    assert after["churn"].constant == before["churn"].constant


def test_another_calibration_is_another_analysis(path: Path, found: Diagnosis, tmp_path: Path) -> None:
    out = Path(shutil.copytree(path, tmp_path / "run"))
    assert fingerprint(load_run(out), load_run(out).sample(), None, 0).name == found.store.fingerprint
    file = out / "preprocess" / "calibration.json"
    maps = json.loads(file.read_text())
    maps["churn"]["b"] += 2.0
    file.write_text(json.dumps(maps))
    assert fingerprint(load_run(out), load_run(out).sample(), None, 0).name != found.store.fingerprint


def test_a_prediction_that_is_no_number_is_a_miss(path: Path, found: Diagnosis, tmp_path: Path) -> None:
    out = Path(shutil.copytree(path, tmp_path / "run"))
    stored, meta = read_tensors(out / "model.safetensors")
    for name, value in stored.items():
        if name.startswith("towers.") or name == "brands.keys":
            value.fill_(float("nan"))
    write_tensors(out / "model.safetensors", stored, meta)
    lost = diagnose(out)
    tasks = lost.statistics.performance["test"].tasks
    assert tasks["churn"].metrics["auc"] == tasks["life_stage"].metrics["accuracy"] == 0.0
    assert tasks["brand_prediction"].metrics["recall_at_10"] == tasks["brand_prediction"].metrics["mrr"] == 0.0
    assert np.isnan(tasks["ltv"].metrics["r2"])
    assert tasks["churn"].n == found.statistics.performance["test"].tasks["churn"].n
    skills = lost.statistics.skill["test"]
    for task in ("churn", "life_stage", "brand_prediction"):
        assert skills[task].losses["model"] == pytest.approx(-np.log(CLAMP), rel=1e-4)
    assert skills["ltv"].losses["model"] > skills["ltv"].losses["constant"]
    assert {t: x.rows for t, x in skills.items()} == {t: x.rows for t, x in found.statistics.skill["test"].items()}
    assert not any(has_skill(x) for x in skills.values())


def test_a_cohort_has_metrics_of_its_own_rows(path: Path, found: Diagnosis, tmp_path: Path) -> None:
    north = performance(found.store, "test", (CohortFilter("raw:region", "in", ("north",)),))
    whole = found.statistics.performance["test"]
    assert 0 < north.rows < whole.rows
    sample = load_run(path).sample()
    region = np.asarray(sample.table(["raw:region"]).column(0))
    keep = np.flatnonzero((region == "north") | (np.asarray(sample.table(["split"]).column(0)) == "train"))
    few = write_dataset(tmp_path / "north", [sample.take(keep)], context=sample.context())
    expected = {t.task: t for t in evaluate(load_run(path), few, bootstrap_rounds=0, boosting=False).tasks}
    assert set(north.tasks) == set(expected)
    skills = skill(found.store, "test", (CohortFilter("raw:region", "in", ("north",)),))
    assert set(skills) == set(expected)
    for task, mine in north.tasks.items():
        assert mine.n == expected[task].n
        for name, value in expected[task].metrics.items():
            assert mine.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (task, name)
        told, mean = expected[task].skill, skills[task].losses
        assert told is not None
        assert mean["model"] == pytest.approx(told.losses["model"], rel=1e-4, abs=1e-6), task
        assert mean["constant"] == pytest.approx(told.losses["constant"], rel=1e-4, abs=1e-6), task
        for name, value in expected[task].baselines["constant"].items():
            assert mine.constant[name] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), (task, name)
    nobody = performance(found.store, "test", (CohortFilter("raw:region", "in", ("nowhere",)),))
    assert (nobody.rows, nobody.tasks) == (0, {})


def test_a_task_of_several_outputs_is_measured_by_output(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label, told = rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    label[5, 2] = np.nan
    columns = {f"{k}:uplift:{i}": x[:, i] for k, x in (("l", label), ("z", told)) for i in range(3)}
    ids = [str(i // 2) for i in range(40)]
    rows = {"row": range(40), "customer_id": ids, "split": ["test"] * 40, "y:uplift": label.mean(1), **columns}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    facts: Any = SimpleNamespace(tasks=("uplift",), kinds={"uplift": "regression"}, log_scale=(), amount_means=())
    found = rows_performance(tmp_path / "rows.parquet", facts)["test"].tasks["uplift"]
    kept = np.arange(40) != 5
    assert found.metrics == pytest.approx(regression_metrics(label[kept], told[kept]))
    assert (found.n, found.customers, found.constant) == (39, 20, {})
