"""Skill among the statistics: by hand, with the baselines that lie with the rows, and of another measurement once they do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from analysis import CohortFilter, diagnose
from analysis.fingerprint import fingerprint
from analysis.skill import events, skill, task_skill
from analysis.stats.skill import TaskSkill, has_skill, judged_skill
from ple_model import baseline_folder
from ple_model.baselines import measure_all
from ple_model.interval import Interval
from ple_model.run import Run, load_run
from ple_model.skill import Resamples, stored


def of(rows: int = 500, low: float = 0.1) -> TaskSkill:
    return TaskSkill("churn", "binary", "log_loss", rows, rows, {}, Interval(low + 0.1, low, low + 0.2), {}, {})


def test_a_task_has_skill_where_the_whole_interval_lies_above_zero() -> None:
    assert has_skill(of()) is True
    assert has_skill(of(low=0.0)) is False
    assert has_skill(of(low=-0.3)) is False
    assert has_skill(of(rows=99)) is None
    assert has_skill(of(low=float("nan"))) is None


@pytest.mark.parametrize(("count", "judged"), [(9, None), (10, True), (None, True)])
def test_of_too_few_positives_nothing_is_said(count: int | None, judged: bool | None) -> None:
    assert has_skill(replace(of(), events=count)) is judged


@pytest.mark.parametrize(
    ("rate", "labels", "rarer"), [(0.1, [1, 0, 0, 0], 1), (0.9, [1, 1, 1, 0], 1), (0.1, [0, 0], 0), (0.5, [1, 0] * 3, 3)]
)
def test_rows_of_the_rarer_label_are_counted_from_what_a_constant_loses(rate: float, labels: list[int], rarer: int) -> None:
    y = np.array(labels)
    assert events(-np.log(np.where(y == 1, rate, 1 - rate))) == rarer


def test_the_split_that_tells_most_is_judged() -> None:
    test, validation = of(), of(low=0.2)
    both = SimpleNamespace(skill={"validation": {"churn": validation, "ltv": validation}, "test": {"churn": test}})
    assert judged_skill(both) == {"churn": test, "ltv": validation}


def test_means_are_of_the_same_rows_and_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    n = 400
    losses = {"constant": np.ones(n), "model": rng.uniform(0.4, 1.0, n)}
    losses["linear"] = losses["model"] - 0.05
    losses["boosting"] = rng.uniform(0.4, 1.0, n)
    losses["constant"][:10] = losses["model"][:10] = losses["linear"][:10] = np.nan  # no label
    losses["boosting"][20] = np.nan  # not known of a row that has a label
    ids = np.array([f"c{i // 2}" for i in range(n)])
    found = task_skill("churn", losses, Resamples(ids), "binary", "log_loss")
    assert found is not None
    assert (found.rows, found.customers) == (390, 195)
    assert set(found.losses) == {"constant", "model", "linear"}
    assert found.losses["model"] == pytest.approx(losses["model"][10:].mean())
    assert found.skill.value == pytest.approx(1 - losses["model"][10:].mean())
    assert found.skill.low < found.skill.value < found.skill.high
    assert found.baseline_skill["linear"] == pytest.approx(found.skill.value + 0.05)
    behind = found.behind["linear"]
    assert (behind.value, behind.low, behind.high) == pytest.approx((0.05, 0.05, 0.05))
    none = {k: np.full(3, np.nan) for k in losses}
    assert task_skill("churn", none, Resamples(ids[:3]), "binary", "log_loss") is None


def test_the_baselines_of_the_rows_at_hand_stand_beside_the_model(tiny_run: Run, tmp_path: Path) -> None:
    out = Path(
        shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis", "state", "baselines"))
    )
    sample = load_run(out).sample()
    before = fingerprint(load_run(out), sample, None, 0)
    found = measure_all(sample, keep=False, quick=True)
    assert isinstance(found.source, pa.Table)
    linear = pa.array(0.5 * found.source.column("constant:churn").to_numpy(), from_pandas=True)
    rows = found.source.append_column("linear:churn", linear)
    baseline_folder.write(sample.path, replace(found, source=rows), rows)
    kept = stored(load_run(out).sample())
    assert kept is not None
    after = fingerprint(load_run(out), load_run(out).sample(), None, 0)
    assert after.name != before.name
    assert after.run == before.run
    measured = diagnose(out)
    assert set(measured.statistics.skill) == {"test", "validation"}
    churn = measured.statistics.skill["test"]["churn"]
    assert churn.losses["constant"] == pytest.approx(kept.tasks["churn"].splits["test"].loss["constant"], rel=1e-5)
    assert churn.losses["linear"] == pytest.approx(0.5 * churn.losses["constant"], rel=1e-5)
    assert churn.losses["recency"] == pytest.approx(kept.tasks["churn"].splits["test"].loss["recency"], rel=1e-5)
    assert churn.behind["linear"].value == pytest.approx(churn.losses["model"] / churn.losses["constant"] - 0.5, rel=1e-4)
    assert churn.trained_on == kept.tasks["churn"].train_rows
    north = skill(measured.store, "test", (CohortFilter("raw:region", "in", ("north",)),))["churn"]
    there = np.asarray(sample.table(["raw:region"], "test").column(0)) == "north"
    mine = kept.losses("churn", "test")["recency"][there]
    assert north.losses["recency"] == pytest.approx(np.nanmean(mine), rel=1e-5)
    assert north.rows == np.isfinite(mine).sum()
