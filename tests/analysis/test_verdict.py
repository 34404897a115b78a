"""The verdict on a run: healthy only where the mechanics pass and what can be learnt is learnt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from analysis.checks import run_checks
from analysis.checks.finding import Finding
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill
from analysis.verdict import verdict
from ple_model.interval import Interval
from tests.analysis.planted import healthy

TASKS = ("churn", "ctr", "ltv")


def of(task: str, value: float, boosting: float | None = 0.3, rows: int = 1000) -> TaskSkill:
    """A task with this skill (an interval of 0.1 to either side), and boosting's on the same rows."""
    known = {} if boosting is None else {"boosting": boosting}
    behind = {k: Interval(v - value, v - value - 0.05, v - value + 0.05) for k, v in known.items()}
    losses = {"constant": 1.0, "model": 1 - value} | {k: 1 - v for k, v in known.items()}
    return TaskSkill(task, "binary", "log_loss", rows, rows, losses, Interval(value, value - 0.1, value + 0.1), known, behind)


@cache
def calm() -> tuple[Statistics, tuple[Finding, ...]]:
    """A healthy run's statistics, and its findings without any alarm."""
    s = healthy()
    return s, tuple(f for f in run_checks(s) if not f.alarm)


def said(*skill: TaskSkill, alarms: tuple[Finding, ...] = ()) -> tuple[str, str]:
    s, found = calm()
    made = verdict((*alarms, *found), replace(s, skill={"test": {x.task: x for x in skill}}))
    return made.word, made.said()


LEARNT = tuple(of(t, 0.3) for t in TASKS)
DEAD = Finding("EXP-DEAD", "error", "temporal", "said")
DRIFTED = Finding("DATA-DRIFT", "warning", "features:rfm", "said")
UNTOLD = " (not told by these inputs: 1)"
HARMFUL = Finding("SKILL-HARMFUL", "error", "ltv", "said")
BEHIND = replace(HARMFUL, id="SKILL-BEHIND", severity="warning")


@pytest.mark.parametrize(
    ("skill", "alarms", "word", "words"),
    [
        (LEARNT, (), "healthy", "Healthy: 3 of 3 tasks learnt"),
        (LEARNT, (DRIFTED,), "works", "Works, with warnings: 3 of 3 tasks learnt"),
        (LEARNT, (DEAD,), "broken", "Broken: 3 of 3 tasks learnt"),
        ((*LEARNT[:2], of("ltv", 0.05)), (), "learnt_little", "Works, learnt little: 2 of 3 tasks learnt"),
        ((*LEARNT[:2], of("ltv", -0.3)), (HARMFUL,), "learnt_little", "Works, learnt little: 2 of 3 tasks learnt"),
        (LEARNT, (BEHIND,), "learnt_little", "Works, learnt little: 2 of 3 tasks learnt"),
        (tuple(of(t, 0.0) for t in TASKS), (), "broken", "Broken: 0 of 3 tasks learnt"),
        # what no baseline tells either is not held against the run; where none was measured, it is
        ((*LEARNT[:2], of("ltv", 0.0, boosting=0.01)), (), "healthy", "Healthy: 2 of 2 tasks learnt" + UNTOLD),
        ((*LEARNT[:2], of("ltv", 0.0, boosting=None)), (), "learnt_little", "Works, learnt little: 2 of 3 tasks learnt"),
        # better than a constant may be little where nothing else was measured
        (tuple(of(t, 0.3, boosting=None) for t in TASKS), (), "unknown",
         "Unknown: 3 of 3 tasks better than a constant (not compared with simpler models on these rows)"),
        # and an alarm on the rows makes nothing of it known
        (tuple(of(t, 0.3, boosting=None) for t in TASKS), (DRIFTED,), "unknown",
         "Unknown: 3 of 3 tasks better than a constant (not compared with simpler models on these rows)"),
        ((*LEARNT[:2], of("ltv", 0.0, rows=20)), (), "healthy", "Healthy: 2 of 2 tasks learnt"),
        ((), (), "unknown", "Unknown"),
    ],
)  # fmt: skip
def test_the_word_is_of_mechanics_and_learning(
    skill: tuple[TaskSkill, ...], alarms: tuple[Finding, ...], word: str, words: str
) -> None:
    assert said(*skill, alarms=alarms) == (word, words)


def test_a_task_with_skill_is_trusted_until_an_alarm_is_on_it() -> None:
    s, found = calm()
    skilled = replace(s, skill={"test": {x.task: x for x in (*LEARNT[:2], of("ltv", 0.0))}})
    assert verdict(found, skilled).trusted == ("churn", "ctr")
    assert verdict((Finding("LABEL-UNIT", "warning", "churn", "said"), *found), skilled).trusted == ("ctr",)


def test_a_run_of_too_few_rows_is_not_called_healthy() -> None:
    s, found = calm()
    few = replace(s, n=40, skill={"test": {x.task: x for x in LEARNT}})
    assert verdict(found, few).word == "unknown"
