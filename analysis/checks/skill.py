"""Checks of whether the model has learnt each task: better than a constant, level with simpler models, and if not, where on the
way through the model it is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.loss import unlabelled
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.probes import TaskProbe
from analysis.stats.run import Statistics
from analysis.stats.skill import ROUNDING, SIMPLER, TaskSkill, has_skill, judged_skill
from ple_model.interval import Interval

TWO_SIDED = 1.96
"""Standard deviations of a 95 % interval."""
WHERE = {
    "expert": "inside the experts",
    "gate": "where the gate mixes the experts",
    "encoder": "in the group encoder",
    "task_layer": "in the task's own layer",
    "head": "in the task's head",
}
"""Where the information of a task is lost, in words."""
CHANCE = "One of the comparisons that are made of each run: by itself beyond chance, among so many not."


def _judged(s: Statistics, t: Thresholds) -> dict[str, TaskSkill]:
    """Tasks that learned from labels and have enough rows, with their skill."""
    if not s.skill:
        raise NotMeasured("The skill of this run was not measured, or no row has a label.")
    silent = unlabelled(s)
    enough = {k: v for k, v in judged_skill(s).items() if has_skill(v) is not None and k not in silent}
    if not enough:
        raise NotMeasured("Not enough labelled rows to say whether anything was learnt.")
    return enough


def _evidence(v: TaskSkill, t: Thresholds) -> tuple[Evidence, ...]:
    """The model's skill with its interval, and what simpler answers reach."""
    numbers = [
        Evidence("skill (1 - loss over the constant's)", v.skill.value, 0.0, v.rows),
        Evidence("its 95 % interval, from", v.skill.low, 0.0, v.customers),
        Evidence("its 95 % interval, to", v.skill.high, 0.0, v.customers),
    ]
    numbers += [
        Evidence(f"skill of {k}", v.baseline_skill[k], None, v.rows) for k in ("boosting", "linear") if k in v.baseline_skill
    ]
    return tuple(numbers)


def _comparisons(judged: Mapping[str, TaskSkill]) -> int:
    """Tasks times simpler models that they are held against."""
    return sum(k in SIMPLER for v in judged.values() for k in v.behind)


def _at_once(x: Interval, comparisons: int, end: Literal["from", "to"], customers: int) -> Evidence:
    """The end of the interval that holds for all comparisons of a check at once."""
    wide = x.among(comparisons)
    return Evidence(
        f"its interval for all comparisons at once, {end}", wide.low if end == "from" else wide.high, 0.0, customers
    )


def _lost(p: TaskProbe | None) -> str:
    """Where it is lost, in words, where the probes can say."""
    return "" if p is None or not p.lost else WHERE[p.lost]


def _on_the_way(p: TaskProbe | None) -> tuple[Evidence, ...]:
    if p is None:
        return ()
    return tuple(Evidence(f"readable from {name}", value, None, p.rows) for name, value in p.stages.items())


@check("SKILL-NONE", "Every task that can be learnt is better than a constant.", None)
def none(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The interval of the skill holds 0: a warning where boosting shows that it could be learnt, beyond what chance does among
    as many comparisons."""
    judged = _judged(s, t)
    comparisons = _comparisons(judged)
    for task, v in judged.items():
        if has_skill(v) or v.skill.high < -ROUNDING:
            continue
        reach = v.baseline_skill.get("boosting", v.baseline_skill.get("linear"))
        gap = v.behind.get("boosting", v.behind.get("linear"))
        if reach is None or gap is None:
            yield Finding(
                "SKILL-NONE",
                "unknown",
                task,
                f"{task} is not predicted better than by a constant; what could be reached is not known.",
                _evidence(v, t),
                fix=Fix("", None, None, "`ple baselines` on the dataset measures what simpler models reach."),
            )
        elif reach > 0 and gap.low > 0:
            p = s.probes.get(task)
            beyond_chance = gap.among(comparisons).low > 0
            yield Finding(
                "SKILL-NONE",
                "warning" if beyond_chance else "info",
                task,
                f"{task} is not predicted better than by a constant, although boosting reaches a skill of {reach:.2f}: it can "
                "be learnt and was not." + (f" It is lost {_lost(p)}." if _lost(p) else "")
                if beyond_chance
                else f"{task} is not predicted better than by a constant; boosting reaches a skill of {reach:.2f} on these "
                "rows.",
                (*_evidence(v, t), _at_once(gap, comparisons, "from", v.customers), *_on_the_way(p)),
                None,
                "The training did not reach this task, or a part of the model that it needs is damaged."
                if beyond_chance
                else CHANCE,
                _learn_more(s, task, p),
            )
        else:
            yield Finding(
                "SKILL-NONE",
                "info",
                task,
                f"{task} is not predicted better than by a constant, nor by boosting: these inputs do not tell it.",
                _evidence(v, t),
                None,
                "What decides this label is not among the inputs.",
                Fix("", None, None, "Bring inputs that bear on it, or do not use this task."),
            )


def _learn_more(s: Statistics, task: str, p: TaskProbe | None) -> Fix:
    """What a task that can be learnt and was not is advised: more weight, or where it is lost in one place, a look there."""
    if p is not None and p.lost in ("encoder", "gate"):
        old = s.facts.get("task_experts.group_output_dim", 32)
        return Fix("task_experts.group_output_dim", old, 2 * int(old), "Let more of the experts through to the tasks.")
    old = int(s.facts.get("training.phase1_epochs", 15))
    return Fix("training.phase1_epochs", old, 2 * old, "Train for longer, and look at the label and the weight of this task.")


@check("SKILL-HARMFUL", "No task is predicted worse than by a constant.", None)
def harmful(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The whole interval of the skill lies below 0, or the order of a binary task is upside down. An alarm by an interval that
    holds for all tasks at once: of sixteen independent ones that are as good as a constant chance takes one for worse every
    third time."""
    judged = _judged(s, t)
    silent = unlabelled(s)
    for task, v in judged_skill(s).items():
        # an order is told by fewer positives than a loss: its test counts them
        upside_down = None if task in silent else _inverted(s, task, v, len(judged))
        if upside_down is not None:
            yield _upside_down(task, v, upside_down, t)
        elif task in judged and v.skill.high < -ROUNDING:
            p = s.probes.get(task)
            beyond_chance = v.skill.among(len(judged)).high < -ROUNDING
            yield Finding(
                "SKILL-HARMFUL",
                "error" if beyond_chance else "info",
                task,
                f"{task} is predicted worse than by a constant: a skill of {v.skill.value:.2f}, at most {v.skill.high:.2f}."
                + (f" It is lost {_lost(p)}." if _lost(p) else ""),
                (*_evidence(v, t), _at_once(v.skill, len(judged), "to", v.customers), *_on_the_way(p)),
                None,
                "The predictions follow something else than these labels: other customers' labels, another unit, or a damaged "
                "part of the model."
                if beyond_chance
                else CHANCE,
                Fix("", None, None, "Do not use this task's predictions; check how its labels are joined, then train again."),
            )


def _inverted(s: Statistics, task: str, v: TaskSkill, tasks: int) -> tuple[float, float] | None:
    """(AUC, upper end of its 95 % interval, which holds for so many tasks at once) of a binary task that is wrong in its order
    too; else None."""
    if v.kind != "binary":
        return None
    for split in ("test", "validation", "train"):
        found = s.performance.get(split)
        one = None if found is None else found.tasks.get(task)
        if one is None:
            continue
        area, rate = one.metrics.get("auc", math.nan), one.base_rate
        if rate is None or not 0 < rate < 1 or not np.isfinite(area):
            return None
        # Hanley & McNeil 1982; as many independent rows as there are customers
        n, m = rate * one.customers, (1 - rate) * one.customers
        a = 1 - area
        q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
        variance = (a * (1 - a) + (n - 1) * (q1 - a * a) + (m - 1) * (q2 - a * a)) / (n * m)
        by_chance = (n + m + 1) / (12 * n * m)  # of an order that tells nothing (Mann & Whitney 1947)
        far = TWO_SIDED * math.sqrt(max(variance, by_chance))
        high = Interval(area, area - far, area + far).among(tasks).high
        return (area, high) if high < 0.5 else None
    return None


def _upside_down(task: str, v: TaskSkill, area: tuple[float, float], t: Thresholds) -> Finding:
    return Finding(
        "SKILL-HARMFUL",
        "error",
        task,
        f"The order of {task} is inverted: an AUC of {area[0]:.2f}, where 0.5 is chance.",
        (
            Evidence("AUC", area[0], 0.5, v.rows),
            Evidence("its interval for all comparisons at once, to", area[1], 0.5, v.customers),
            *_evidence(v, t),
        ),
        None,
        "The label means the opposite of what it meant in training: 0 and 1 are exchanged in these rows, or were there.",
        Fix(
            "",
            None,
            None,
            "Compare the label with that of training and turn it round; do not refit the calibration.",
        ),
    )


@check("SKILL-BEHIND", "Every task that has skill is level with simpler models.", None)
def behind(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Behind the linear model or boosting by more than the interval of the difference: an alarm by one that holds for all
    comparisons at once, since in thirty independent ones between equals chance finds one behind every other time."""
    judged = _judged(s, t)
    known = {k: v for k, v in judged.items() if v.behind}
    if not known:
        raise NotMeasured("What simpler models reach on these rows is not known: `ple baselines` measures it.")
    comparisons = _comparisons(judged)
    for task, v in known.items():
        if v.skill.high <= 0 or not has_skill(v):
            continue  # SKILL-NONE and SKILL-HARMFUL say so
        gaps = {k: g for k, g in v.behind.items() if k in SIMPLER and g.low > 0}
        if not gaps:
            continue
        sure = {k: g for k, g in gaps.items() if g.among(comparisons).low > 0}
        large = {k: g for k, g in sure.items() if g.value >= t.skill_behind}
        worst = max(large or sure or gaps, key=lambda k: gaps[k].value)
        p = s.probes.get(task)
        yield Finding(
            "SKILL-BEHIND",
            "warning" if large else "info",
            task,
            f"{task} reaches a skill of {v.skill.value:.2f}, {worst} {v.baseline_skill[worst]:.2f} on the same rows."
            + (f" It is lost {_lost(p)}." if _lost(p) else ""),
            (
                Evidence(f"behind {worst}, over the constant's loss", gaps[worst].value, t.skill_behind, v.rows),
                Evidence("its 95 % interval, from", gaps[worst].low, 0.0, v.customers),
                _at_once(gaps[worst], comparisons, "from", v.customers),
                *_evidence(v, t),
                *_on_the_way(p),
            ),
            None,
            "The inputs tell more of this task than the model takes from them." if sure else CHANCE,
            _learn_more(s, task, p),
        )
