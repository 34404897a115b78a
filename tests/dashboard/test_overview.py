"""The overview: metrics of the weights and rows at hand, of the chosen rows where some are chosen; a run without alarms."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from dashboard import background
from dashboard.i18n import catalogue
from ple_model.evaluate import evaluate
from ple_model.files import read_tensors, write_tensors
from ple_model.run import Run, load_run
from tests.dashboard.test_views import opened, text

EN = catalogue("en")


@pytest.fixture(scope="module")
def runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, and `other` with the same files but for the weights of its towers, which were replaced."""
    folder = tmp_path_factory.mktemp("overview")
    for name in ("tiny", "other"):
        shutil.copytree(tiny_run.path, folder / name, ignore=shutil.ignore_patterns("analysis", "state"))
    file = folder / "other" / "model.safetensors"
    stored, meta = read_tensors(file)
    for name, value in stored.items():
        if name.startswith("towers.out"):
            value.neg_()
    write_tensors(file, stored, meta)
    for name in ("tiny", "other"):
        diagnose(folder / name)
    return folder


def values(app: AppTest) -> pd.DataFrame:
    """The table of metrics, by task and metric."""
    found = next(d.value for d in app.dataframe if {EN["overview.ece"], EN["overview.n"]} <= set(d.value.columns))
    return found.set_index([EN["overview.task"], EN["overview.metric"]])


def test_metrics_follow_the_weights(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (runs / "tiny" / "metrics.json").read_bytes() == (runs / "other" / "metrics.json").read_bytes()
    mine, theirs = (values(opened(runs, monkeypatch, "overview", run=name)) for name in ("tiny", "other"))
    auc = ("churn", EN["metric.auc"])
    assert abs(mine.loc[auc, EN["overview.value"]] - theirs.loc[auc, EN["overview.value"]]) > 0.05
    for name, table in (("tiny", mine), ("other", theirs)):
        found = {t.task: t.metrics for t in evaluate(load_run(runs / name), bootstrap_rounds=0, boosting=False).tasks}
        assert table.loc[auc, EN["overview.value"]] == pytest.approx(found["churn"]["auc"], rel=1e-4)
        assert table.loc[auc, EN["overview.ece"]] == pytest.approx(found["churn"]["ece"], abs=1e-5)
    both = values(opened(runs, monkeypatch, "overview", run="tiny", compare="other"))
    assert both.loc[auc, "other"] == theirs.loc[auc, EN["overview.value"]]


def test_it_says_which_rows_they_are_of(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = load_run(runs / "tiny").sample()
    app = opened(runs, monkeypatch, "overview", run="tiny")
    customers = len(set(sample.table(["customer_id"], "test").column(0).to_pylist()))
    assert f"**{sample.rows('test'):,} rows of {customers:,} customers**" in text(app)
    assert EN["overview.measured"] in text(app)
    assert EN["overview.flattered"] not in text(app)
    app.session_state["split"] = "train"
    app.run()
    assert EN["overview.flattered"] in text(app)
    assert f"**{sample.rows('train'):,} rows of " in text(app)


def test_a_chosen_segment_has_metrics_of_its_own(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = values(opened(runs, monkeypatch, "overview", run="tiny"))
    app = opened(runs, monkeypatch, "overview", run="tiny", segment="warm_start")
    warm = values(app)
    store = diagnose(runs / "tiny").store
    rows = store.rows(["y:churn", "split", "segment"])
    here = (rows["split"] == "test") & (rows["segment"] == "warm_start")
    auc = ("churn", EN["metric.auc"])
    assert EN["overview.measured_cohort"] in text(app)
    assert f"**{here.sum():,} rows of " in text(app)
    assert warm.loc[auc, EN["overview.n"]] == np.isfinite(rows["y:churn"][here].astype(float)).sum()
    assert warm.loc[auc, EN["overview.n"]] < whole.loc[auc, EN["overview.n"]]
    assert warm.loc[auc, EN["overview.value"]] != whole.loc[auc, EN["overview.value"]]


def test_logarithms_and_amounts_are_both_there_and_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(runs, monkeypatch, "overview", run="tiny")
    shown = values(app)
    performance = diagnose(runs / "tiny").statistics.performance["test"].tasks["ltv"].metrics
    for metric, name in (("r2", "r2_log"), ("r2_amount", "r2_amount"), ("sum_ratio", "sum_ratio")):
        assert shown.loc[("ltv", EN[f"metric.{name}"]), EN["overview.value"]] == pytest.approx(performance[metric])
    assert EN["metric.r2_log"] != EN["metric.r2_amount"] != EN["metric.r2"]
    assert ("merchant_affinity", EN["metric.r2"]) in shown.index
    metric = EN["overview.metric"]
    every = next(d.value for d in app.dataframe if metric in d.value.columns and EN["metric.log_loss"] in set(d.value[metric]))
    assert len(every) > len(shown)


def test_without_alarms_it_is_healthy_and_carries_no_card(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnose(runs / "tiny")
    kept = replace(found, findings=tuple(f for f in found.findings if not f.alarm and f.severity != "unknown"))
    monkeypatch.setattr(background, "diagnose", lambda run, **options: kept)
    background._measurements.clear()
    try:
        app = opened(runs, monkeypatch, "overview", run="tiny")
    finally:
        background._measurements.clear()
    (verdict,) = [s.value for s in app.success]
    assert verdict == f"**{EN['overview.verdict_ok'].format(passed=len(kept.by_severity()['ok']), unknown=0)}**"
    assert not [*app.warning, *app.error, *app.info]
    said = text(app)
    assert EN["card.none"] not in said
    assert not any(f"**{f.subject}**" in said for f in kept.findings)
