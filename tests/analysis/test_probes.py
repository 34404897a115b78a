"""Probes: what a representation still tells, and the stage at which it is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.checks.registry import checks, run_check
from analysis.checks.thresholds import Thresholds
from analysis.readers import readable
from analysis.record import record
from analysis.refound import in_doubt
from analysis.stats.labels import Giveaway, TaskLabels
from analysis.stats.probes import TaskProbe, explained, halves, target, where_lost
from analysis.stats.run import SplitPerformance, Statistics, TaskPerformance
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run
from tests.analysis.planted import healthy, task_skill

RNG = np.random.default_rng(5)


def test_a_representation_tells_what_is_in_it_and_nothing_else() -> None:
    x = RNG.normal(size=(600, 8))
    y = (x[:, :2].sum(1) > 0).astype(float)
    half = halves([f"c{i // 2}" for i in range(600)])
    assert half.sum() == pytest.approx(300, abs=2)
    assert (half[::2] == half[1::2]).all()
    whole = readable(x, target("binary", y), half)
    assert whole > 0.5
    assert readable(x[:, 2:], target("binary", y), half) < 0.02
    assert readable(np.ones((600, 3)), target("binary", y), half) < 0.01
    small = np.concatenate([1e-4 * x[:, :2], x[:, 2:]], axis=1)
    assert readable(small, target("binary", y), half) == pytest.approx(whole, abs=0.01)
    assert readable(small, target("binary", y), half, alike=True) < 0.1


def test_classes_are_read_one_by_one() -> None:
    x = RNG.normal(size=(400, 3))
    y = x.argmax(1).astype(float)
    wanted = target("multiclass", y)
    assert wanted.shape == (400, 3)
    assert readable(x, wanted, halves([str(i) for i in range(400)])) > 0.4
    assert explained(wanted, wanted) == 1
    assert explained(wanted, np.full((400, 3), 1 / 3)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("stages", "lost"),
    [
        ((0.5, 0.48, 0.47, 0.46, 0.45, 0.0), "head"),
        ((0.5, 0.1, 0.1, 0.09, 0.08, 0.05), "expert"),
        ((0.5, 0.1, 0.1, 0.09, 0.49, 0.0), "head"),  # what a later stage reads was not lost before
        ((0.5, 0.48, 0.12, 0.1, 0.1, 0.1), "gate"),
        ((0.5, 0.48, 0.47, 0.1, 0.1, 0.1), "encoder"),
        ((0.1, 0.2, 0.2, 0.2, 0.2, 0.2), ""),
        ((0.001, 0.001, 0.001, 0.001, 0.001, -0.1), ""),  # nothing was there to lose
        ((0.5, 0.4, 0.3, 0.2, 0.1, 0.0), ""),
    ],
)
def test_the_stage_at_which_most_goes_is_named(stages: tuple[float, ...], lost: str) -> None:
    names = ("inputs", "experts", "gate", "encoder", "task_layer", "prediction")
    assert where_lost(dict(zip(names, stages, strict=True))) == lost


def test_a_run_that_is_behind_has_probes_of_every_stage(tiny_run: Run, tiny_dataset: Dataset) -> None:
    probes = record(tiny_run, tiny_dataset).statistics.probes
    for one in probes.values():
        assert set(one.stages) == {"inputs", "experts", "gate", "encoder", "task_layer", "prediction"}
        assert len(one.experts) == 8


def test_a_fresh_fit_is_asked_only_where_the_model_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.refound.TASKS", 4)
    told = TaskLabels("binary", 300, 300, 2, giveaway=Giveaway("a", "features:rfm", 0.4, 1, "b", 0.2, 300))
    labels = dict.fromkeys(("ctr", "churn", "retention"), told)
    learnt = {t: task_skill(t, "binary", 300) for t in labels}
    nothing = {t: task_skill(t, "binary", 300, model=0.0) for t in labels}
    assert in_doubt(learnt, {"churn": 0.3}, labels) == []
    assert in_doubt({**learnt, "churn": nothing["churn"]}, {"churn": 0.3}, labels) == ["churn"]
    assert in_doubt({**learnt, "churn": nothing["churn"]}, {"churn": 0.01}, labels) == []
    assert set(in_doubt(nothing, {}, labels)) == set(labels)


def _skill(s: Statistics) -> dict[tuple[str, str], str]:
    found = [f for i in ("SKILL-NONE", "SKILL-HARMFUL", "SKILL-BEHIND") for f in run_check(checks()[i], s, Thresholds())]
    return {(f.id, f.subject): f.severity for f in found if f.severity != "ok"}


def test_what_nobody_can_tell_is_a_note_and_what_is_not_known_is_unknown() -> None:
    s = healthy()
    skill = dict(s.skill["test"])
    skill["nba"] = task_skill("nba", "multiclass", 300, model=0.01, boosting=0.0, linear=0.0)
    object.__setattr__(s, "skill", {"test": skill})
    assert _skill(s) == {("SKILL-NONE", "nba"): "info"}
    bare = skill["nba"]
    object.__setattr__(bare, "baseline_skill", {})
    object.__setattr__(bare, "behind", {})
    assert _skill(s) == {("SKILL-NONE", "nba"): "unknown"}


def test_a_task_that_boosting_alone_seems_to_learn_is_an_alarm_beyond_chance_only() -> None:
    s = healthy()
    for by, severity in ((0.06, "warning"), (0.08, "info"), (0.11, "info")):
        late = task_skill("churn", "binary", 300, model=0.0, boosting=0.1, linear=0.0, by=by)
        object.__setattr__(s, "skill", {"test": {**s.skill["test"], "churn": late}})
        assert _skill(s) == {("SKILL-NONE", "churn"): severity}
    assert "nor by boosting" in next(f for f in run_check(checks()["SKILL-NONE"], s, Thresholds())).verdict


@pytest.mark.parametrize(
    ("by", "harmful", "behind"),
    [(0.06, "error", "warning"), (0.065, "error", "info"), (0.08, "info", "info"), (0.11, None, None)],
)
def test_one_comparison_among_many_is_an_alarm_only_beyond_what_many_do_by_chance(
    by: float, harmful: str | None, behind: str | None
) -> None:
    """A skill of -0.1 and a gap of 0.1, `by` about certain: alone they leave 0 out up to 0.1, among sixteen tasks
    and thirty-two comparisons up to 0.0663 and 0.0620."""
    s = healthy()
    worse = task_skill("ltv", "regression", 300, model=-0.1, boosting=-0.1, linear=-0.1, by=by)
    late = task_skill("churn", "binary", 300, model=0.3, boosting=0.4, by=by)
    object.__setattr__(s, "skill", {"test": {**s.skill["test"], "ltv": worse, "churn": late}})
    found = _skill(s)
    assert (len(s.skill["test"]), found.get(("SKILL-HARMFUL", "ltv"))) == (16, harmful)
    assert found.get(("SKILL-BEHIND", "churn")) == behind


@pytest.mark.parametrize(
    ("id", "skill"), [("SKILL-NONE", (0.01, 0.3)), ("SKILL-HARMFUL", (-0.2, 0.3)), ("SKILL-BEHIND", (0.1, 0.3))]
)
def test_a_finding_says_in_a_sentence_of_its_own_where_it_is_lost(id: str, skill: tuple[float, float]) -> None:
    s = healthy()
    one = task_skill("churn", "binary", 300, *skill)
    object.__setattr__(s, "skill", {"test": {**s.skill["test"], "churn": one}})
    object.__setattr__(s, "probes", {"churn": TaskProbe(300, {"inputs": 0.5, "prediction": 0.0}, lost="head")})
    found = [f for f in run_check(checks()[id], s, Thresholds()) if f.alarm]
    assert [f.subject for f in found] == ["churn"]
    assert found[0].verdict.endswith(". It is lost in the task's head.")


@pytest.mark.parametrize(("auc", "positives", "said"), [(0.09, 5, True), (0.2, 5, False), (0.0, 1, False)])
def test_an_order_is_told_by_fewer_positives_than_a_loss_but_not_by_one(auc: float, positives: int, said: bool) -> None:
    """Of 300 customers, sixteen tasks at once: the rank sum's test asks an AUC below 0.5 - 2.95 * 0.13 of five positives."""
    s = healthy()
    one = TaskPerformance("binary", 300, 300, positives / 300, {"auc": auc}, {})
    object.__setattr__(s, "performance", {"test": SplitPerformance("test", 300, 300, {"churn": one})})
    skill = {**s.skill["test"], "churn": replace(task_skill("churn", "binary", 300, model=-0.4), events=positives)}
    object.__setattr__(s, "skill", {"test": skill})
    assert (("SKILL-HARMFUL", "churn") in _skill(s)) is said


def test_an_order_that_is_upside_down_is_called_inverted() -> None:
    s = healthy()
    one = TaskPerformance("binary", 300, 300, 0.2, {"auc": 0.19}, {})
    object.__setattr__(s, "performance", {"test": SplitPerformance("test", 300, 300, {"churn": one})})
    skill = {**s.skill["test"], "churn": task_skill("churn", "binary", 300, model=-0.4)}
    object.__setattr__(s, "skill", {"test": skill})
    found = [f for f in run_check(checks()["SKILL-HARMFUL"], s, Thresholds()) if f.alarm]
    assert [f.subject for f in found] == ["churn"]
    assert "inverted" in found[0].verdict
    assert "label" in found[0].cause
