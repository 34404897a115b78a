"""DATA-OWN-ROWS on real diagnoses: silent on a healthy run, loud where training rows were fitted on, unknown on few rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import diagnose
from analysis.checks import checks
from analysis.checks.finding import Finding
from analysis.checks.registry import run_check
from analysis.checks.thresholds import Thresholds
from analysis.faults.fault import Columns, faults
from analysis.faults.measuring import statistics_of
from analysis.faults.rows import changed, rewrite
from analysis.stats.run import Statistics
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run

pytestmark = pytest.mark.slow


def judged(statistics: Statistics) -> tuple[Finding, ...]:
    return run_check(checks()["DATA-OWN-ROWS"], statistics, Thresholds())


@pytest.fixture(scope="module")
def healthy(tiny_run: Run) -> Statistics:
    return diagnose(tiny_run).statistics


def test_a_healthy_run_is_silent_on_everything_that_the_model_reads(healthy: Statistics, tiny_run: Run) -> None:
    assert [f.severity for f in judged(healthy)] == ["ok"]
    found = healthy.own_rows
    assert found is not None
    assert (found.cutoffs, found.train.tolist(), found.others.tolist()) == (("2025-04-01",), [160], [160])
    assert {f"features:{p}" for p in tiny_run.context().parts} <= set(found.inputs)
    assert {"cluster_probs", "hmm_journey", "txn_seq", "tda_short_diagrams", "collaborative_features"} <= set(found.inputs)


def test_a_column_fitted_on_training_rows_is_named_and_the_others_are_not(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    plant = faults()["fitted-on-own-rows"].plant(0.12).rows  # 0.8 of the standard deviation of these columns
    assert plant is not None
    (found,) = judged(statistics_of(tiny_run, rewrite(tiny_dataset, tmp_path / "planted", plant)))
    assert (found.severity, found.subject) == ("warning", "features:epidemic")
    assert found.verdict.startswith("`epidemic_early_adoption` alone tells training rows from others at 2025-04-01 (AUC 0.7")


def test_a_derived_input_that_is_wider_on_training_rows_is_named(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    def wider(columns: Columns, rng: np.random.Generator) -> None:
        changed(columns, "collaborative_features")[columns["split"] == "train"] *= 2

    (found,) = judged(statistics_of(tiny_run, rewrite(tiny_dataset, tmp_path / "wide", wider)))
    assert (found.severity, found.subject) == ("warning", "collaborative_features")
    assert "from its middle" in found.verdict
    assert "more columns of this input tell too" in found.verdict


def test_splits_that_were_not_drawn_at_random_are_one_finding(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    def other_people(columns: Columns, rng: np.random.Generator) -> None:
        changed(columns, "features")[columns["split"] == "train"] += 1.5

    (found,) = judged(statistics_of(tiny_run, rewrite(tiny_dataset, tmp_path / "apart", other_people)))
    assert (found.severity, found.subject) == ("warning", "run")
    assert "not drawn at random" in found.cause


def test_few_rows_one_split_and_an_older_analysis_are_unknown(healthy: Statistics) -> None:
    found = healthy.own_rows
    assert found is not None
    few = replace(found, train=np.array([40]), others=np.array([40]))
    none = replace(found, cutoffs=(), train=found.train[:0], others=found.others[:0])
    for own_rows, word in ((few, "40 training rows and 40 others at 2025-04-01"), (none, "No cut-off"), (None, "older")):
        (said,) = judged(replace(healthy, own_rows=own_rows))
        assert said.severity == "unknown"
        assert word in said.verdict
