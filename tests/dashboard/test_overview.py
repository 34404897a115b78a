"""The overview: metrics of the weights and rows at hand, of the chosen rows where some are chosen; a run without alarms."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from analysis import diagnose
from analysis.checks.finding import Finding
from analysis.results.explanation_parts import Standing
from analysis.stats.skill import judged_skill
from analysis.verdict import State
from dashboard import background, dataset_folders, running, state
from dashboard.i18n import catalogue
from dashboard.server import READ_ONLY_VARIABLE
from dashboard.state import answers
from ple_model.data.dataset.reader import Dataset
from ple_model.evaluate import evaluate
from ple_model.files import read_tensors, write_tensors
from ple_model.note import read_note
from ple_model.run import Run, load_run
from tests.analysis.test_verdict import of
from tests.dashboard.test_views import opened, text

pytestmark = pytest.mark.slow

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
    assert abs(mine.loc[auc, EN["overview.value"]] - theirs.loc[auc, EN["overview.value"]]) > 0.01
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
    learnt = {t: of(t, 0.3) for t in ("churn", "ltv")}
    kept = replace(
        found,
        findings=tuple(f for f in found.findings if not f.alarm and f.severity != "unknown"),
        statistics=replace(found.statistics, skill={"test": learnt}),
    )
    monkeypatch.setattr(state, "split_skill", lambda *_: learnt)
    monkeypatch.setattr(running, "read_back", lambda *args: kept)
    background._measurements.clear()
    try:
        app = opened(runs, monkeypatch, "overview", run="tiny")
    finally:
        background._measurements.clear()
    (verdict,) = [s.value for s in app.success]
    assert verdict.startswith("**Healthy: 2 of 2 tasks learnt.**")
    assert f"passed {len(kept.by_severity()['ok'])}" in verdict
    assert not [*app.warning, *app.error, *app.info]
    said = text(app)
    assert EN["card.none"] not in said
    assert not any(f"**{f.subject}**" in said for f in kept.findings)


def test_it_opens_with_skill_and_the_verdict_of_mechanics_and_learning(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(runs, monkeypatch, "overview", run="other")
    found = diagnose(runs / "other")
    boxes = [b.value for kind in (app.error, app.warning, app.success, app.info) for b in kind]
    assert any(b.startswith(f"**{found.verdict.said().partition(' (')[0]}") for b in boxes)
    trust = next(d.value for d in app.dataframe if EN["skill.trust"] in d.value.columns).set_index(EN["overview.task"])
    judged = judged_skill(found.statistics)
    for task, shown in trust[EN["skill.skill"]].items():
        assert shown == pytest.approx(judged[task].skill.value)
    assert {s.split(" ", 1)[1] for s in trust[EN["skill.trust"]]} <= {EN[f"skill.state_{s}"] for s in get_args(State)}
    assert EN["skill.missing"] in text(app), "the baselines of this run are those that cost nothing"


def test_what_follows_from_a_cause_is_folded_beneath_it_and_missing_baselines_are_offered(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = diagnose(runs / "tiny")
    cause = Finding("FIT-RATE", "warning", "learning_rate", "The first steps diverged.")
    effects = [
        Finding("CGC-COLLAPSE", "error", f"{t}:deepfm", f"{t} collapsed.", follows="FIT-RATE learning_rate") for t in "ab"
    ]
    known = {"churn": of("churn", 0.3, boosting=None)}
    kept = replace(found, findings=(*effects, cause), statistics=replace(found.statistics, skill={"test": known}))
    monkeypatch.setattr(state, "split_skill", lambda *_: known)
    monkeypatch.setattr(running, "read_back", lambda *args: kept)
    background._measurements.clear()
    try:
        app = opened(runs, monkeypatch, "overview", run="tiny")
        gates = opened(runs, monkeypatch, "cgc_gates", run="tiny")
    finally:
        background._measurements.clear()
    folded = [e for e in app.expander if e.label == EN["card.followers"].format(n=2)]
    assert ["a collapsed." in m.value for m in folded[0].markdown].count(True) == 1
    assert not any("a collapsed." in m.value for m in app.main.markdown if m not in list(folded[0].markdown))
    # what simpler models reach is not known, and can be measured here
    assert EN["skill.missing"] in text(app)
    assert [b.label for b in app.button if b.key == "measure-baselines"] == [EN["skill.measure"]]
    # on a page that does not show the cause they stand for themselves, and name it
    assert EN["card.follows"].format(id="FIT-RATE", subject="learning_rate") in text(gates)


def test_any_dataset_at_hand_can_be_shown_and_left_again(
    runs: Path, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_folders, "datasets", lambda: [str(tiny_dataset.path), str(runs / "tiny" / "sample")])
    diagnose(runs / "tiny", tiny_dataset)
    app = opened(runs, monkeypatch, "overview", run="tiny", data=tiny_dataset.path.name)
    assert f"`{tiny_dataset.path}`" in text(app)
    rows = tiny_dataset.rows("test")
    assert f"**{rows:,} rows of " in text(app)
    app.button(key="own-sample").click().run()
    assert f"`{tiny_dataset.path}`" not in text(app)
    assert f"**{load_run(runs / 'tiny').sample().rows('test'):,} rows of " in text(app)
    refused = opened(runs, monkeypatch, "overview", run="tiny", data="/etc")
    assert any("`/etc`" in e.value for e in refused.error)


def test_a_task_without_skill_is_not_explained(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the checks of the explanation say: nothing green, no reasons, and where to ask instead."""
    none = Standing(0.01, -0.02, 0.03, 400, has_skill=False)
    monkeypatch.setattr(import_module("analysis.explain.customer"), "standing", lambda *_: none)
    answers._explanation.clear()
    try:
        app = opened(runs, monkeypatch, "why_recommended", run="tiny", why_task="churn")
    finally:
        answers._explanation.clear()
    assert [e.value for e in app.error] == [
        "**Do not act on this alone: a person must decide. "
        'This model does not predict "Churn" better than its average; a reason for it would mean nothing.**'
    ]
    assert not app.success
    said = text(app)
    assert "400 labelled rows" in said
    for key in ("why.for", "why.against", "why.raises", "why.lowers", "why.counterfactual", "why.groups", "edit.title"):
        assert EN[key] not in said
    assert any(EN["skill.trust"] in d.value.columns for d in app.dataframe)


def test_a_note_is_kept_with_the_run_and_nothing_is_measured_anew(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(measured, tmp_path / "runs")
    app = opened(tmp_path / "runs", monkeypatch, "overview")
    app.text_area(key="run_note").set_value("worse than the last").run()
    assert [e.message for e in app.exception] == []
    assert read_note(tmp_path / "runs" / "tiny") == "worse than the last"
    assert app.text_area(key="run_note").value == "worse than the last"
    assert app.subheader  # the stored analysis still is the run's
    monkeypatch.setenv(READ_ONLY_VARIABLE, "1")
    app = opened(tmp_path / "runs", monkeypatch, "overview")
    assert not [a for a in app.text_area if a.key == "run_note"]
    assert "worse than the last" in text(app)
