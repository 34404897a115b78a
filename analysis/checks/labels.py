"""Checks of the labels: do they vary, are their classes and their unit those of training, does a column give them away?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.positives import moved
from analysis.checks.registry import NotMeasured, check
from analysis.checks.renumbered import numbered_otherwise, other_order
from analysis.checks.thresholds import Thresholds
from analysis.stats.base import Array
from analysis.stats.factor import Factor, said
from analysis.stats.factor import unit as unit_of
from analysis.stats.fit import course
from analysis.stats.labels import Scales, TaskLabels
from analysis.stats.run import Statistics
from analysis.stats.skill import TaskSkill, has_skill, judged_skill


def labels(s: Statistics, t: Thresholds) -> dict[str, TaskLabels]:
    """Tasks with enough labels."""
    if not s.labels:
        raise NotMeasured("The labels of these rows were not looked at, or there are none.")
    found = {k: v for k, v in s.labels.items() if v.n >= t.min_rows}
    if not found:
        most = max(v.n for v in s.labels.values())
        raise NotMeasured(f"Not enough labelled rows to say: {most}, {t.min_rows} needed.")
    return found


@check("LABEL-CONSTANT", "Every label varies.", None)
def constant(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One and the same label: in training, or on these rows where training knew others and chance would show them."""
    for task, v in labels(s, t).items():
        if v.kind == "contrastive":
            continue
        in_training = v.trained_values == 1
        here = v.values == 1 and _unlikely(v, t)
        if in_training or here:
            yield Finding(
                "LABEL-CONSTANT",
                "warning",
                task,
                f"All {sum(v.trained) or v.n} training labels of {task} are one and the same: there is nothing to learn."
                if in_training
                else f"All {v.n} labels of {task} on these rows are one and the same, although those of training vary.",
                (
                    Evidence("different labels on these rows", float(v.values), 2.0, v.n),
                    Evidence(
                        "different labels in training", None if v.trained_values is None else float(v.trained_values), 2.0
                    ),
                ),
                None,
                "The label's source delivers one value, or its condition is always (or never) met.",
                Fix(
                    f"task_experts.tasks.{task}.enabled", True, False, "Mend the label and build again, or switch the task off."
                ),
            )


def _unlikely(v: TaskLabels, t: Thresholds) -> bool:
    """Would these rows show a second label if they were drawn as those of training?"""
    if v.kind == "regression":
        return v.trained_values is None or v.trained_values > 1
    if not sum(v.trained):
        return False
    share = v.trained[int(np.argmax(v.counts))] / sum(v.trained)
    return v.customers * math.log(max(share, 1e-300)) < math.log(t.label_chance)


@check("LABEL-CLASS", "Every class that occurs was trained on and is known to the model.", None)
def classes(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A class without a training row, one of training that is gone, or one that the model leaves out on its own rows."""
    judged = {k: v for k, v in labels(s, t).items() if v.kind == "multiclass" and v.counts}
    if not judged:
        raise NotMeasured("No task of several classes has enough labelled rows.")
    learnt = {k for k, v in judged_skill(s).items() if has_skill(v)}
    for task, v in judged.items():
        if v.relabelled is not None and other_order(v.relabelled, t):
            yield numbered_otherwise(task, v, v.relabelled, t)
            continue
        total, trained = sum(v.counts), sum(v.trained)
        unseen = [k for k, n in enumerate(v.counts) if trained and n and not v.trained[k]]
        gone = [k for k, n in enumerate(v.counts) if not n and _would_show(v, k, t)]
        # of a task that is not learnt at all no class is: that is said elsewhere
        left_out = [k for k in range(len(v.counts)) if task in learnt and _left_out(v, k, t)]
        if gone and v.values > 1:
            yield _gone(task, v, gone)
            continue
        if not unseen and not left_out:
            continue
        listed = unseen or left_out
        n = sum(v.counts[k] for k in listed)
        # the chance that of so many rows of a class none is among the training's (Fisher's exact test)
        loud = bool(left_out) or n * math.log(total / max(total + trained, 1)) < math.log(t.label_chance)
        yield Finding(
            "LABEL-CLASS",
            "warning" if loud else "info",
            task,
            f"Class {_names(v, listed)} of {task} had no training row and is {n / total:.1%} of these rows: it cannot be "
            "predicted."
            if unseen
            else f"Class {_names(v, listed)} of {task} is {n / total:.1%} of these rows, and the model names it for none: it "
            "was never learned.",
            (
                Evidence("rows of the class", float(n), None, total),
                Evidence("training rows", float(trained) if trained else None),
                Evidence(
                    "mean probability on its own rows, over its share",
                    v.own[listed[0]] / (v.counts[listed[0]] / total) if v.own else None,
                    t.class_own,
                    v.counts[listed[0]],
                ),
            ),
            None,
            "The training rows were cut so that the class is missing, or the class was numbered differently."
            if unseen
            else "The class was numbered differently in training, or its output is damaged.",
            Fix("", None, None, "Compare the class numbers with those of training; train on rows that have the class."),
        )


def _left_out(v: TaskLabels, k: int, t: Thresholds) -> bool:
    """Is class k named for no row, and given much less than its share on its own rows?"""
    if k >= len(v.named) or v.counts[k] < t.class_rows:
        return False
    return v.named[k] == 0 and v.own[k] < t.class_own * v.counts[k] / sum(v.counts)


def _would_show(v: TaskLabels, k: int, t: Thresholds) -> bool:
    """Would customers drawn as those of training show class k?"""
    trained = sum(v.trained)
    share = v.trained[k] / trained if trained > 0 and len(v.trained) == len(v.counts) else 0.0
    return v.customers * math.log1p(-min(share, 1 - 1e-12)) < math.log(t.label_chance)


def _gone(task: str, v: TaskLabels, gone: list[int]) -> Finding:
    """Classes of training that no row has, and what became of them as the other classes' shares say."""
    now, then = np.array(v.counts) / sum(v.counts), np.array(v.trained) / sum(v.trained)
    lost = float(then[gone].sum())
    grown = int(np.argmax(now - then))
    grew = float(now[grown] - then[grown])
    if _renumbered(now, then):
        cause = "The classes were numbered from another start: their shares are those of training one place on."
    elif abs(grew - lost) <= 0.35 * lost:
        cause = "It was recorded as the class that grew by as much, or the two were merged."
    else:
        cause = "The source no longer delivers it, or the rows were chosen so that it is missing."
    return Finding(
        "LABEL-CLASS",
        "warning",
        task,
        f"Class {_names(v, gone)} of {task} was {lost:.1%} of the training labels and is none of these {sum(v.counts)}; "
        f"class {_names(v, [grown])} is {now[grown]:.1%}, {then[grown]:.1%} in training.",
        (
            Evidence("rows of the class", 0.0, None, sum(v.counts)),
            Evidence("its share of the training labels", lost, None, sum(v.trained)),
            Evidence("share of the class that grew most", float(now[grown]), float(then[grown]), sum(v.counts)),
            Evidence("customers", float(v.customers)),
        ),
        None,
        cause,
        Fix("", None, None, "Compare the labels' codes with those of training, and build again."),
    )


def _renumbered(now: Array, then: Array) -> bool:
    """Are these shares much more those of training one place on (the last takes what falls off) than those of training?"""
    places = [np.r_[0.0, then[:-1]], np.r_[then[1:], 0.0]]
    places[0][-1] += then[-1]
    places[1][0] += then[0]
    nearest = min(float(np.abs(now - p).sum()) for p in places)
    return nearest < 0.5 * float(np.abs(now - then).sum())


def _names(v: TaskLabels, classes: list[int]) -> str:
    return ", ".join(map(v.called, classes))


@check("LABEL-UNIT", "The amounts are in the unit of training.", None)
def unit(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Amounts in two heaps a whole number of powers of ten apart, or all of them so far from their predictions."""
    judged = {k: v for k, v in labels(s, t).items() if v.scales is not None or v.factor is not None}
    if not judged:
        raise NotMeasured("No task predicts amounts that have enough labelled rows.")
    for task, v in judged.items():
        if v.factor is not None and constant_factor(v.factor, t):
            yield _times(task, v.factor, t)
        elif v.scales is not None and _powers(v.scales, t):
            yield _unit(task, v.scales, round(v.scales.step), t)


def constant_factor(f: Factor, t: Thresholds) -> bool:
    """Are amounts those of training times one number that no growth explains?"""
    return f.n >= t.min_rows / 2 and abs(f.power) >= math.log10(t.unit_factor) and f.uneven <= t.unit_uneven


def other_unit(v: TaskLabels, t: Thresholds) -> bool:
    """Whether LABEL-UNIT has something to say of a task."""
    return (v.factor is not None and constant_factor(v.factor, t)) or (v.scales is not None and _powers(v.scales, t))


def _times(task: str, f: Factor, t: Thresholds) -> Finding:
    return Finding(
        "LABEL-UNIT",
        "error",
        task,
        f"The labels of {task} are about {said(f.times)} times those of training: another unit.",
        (
            Evidence("amounts over those of training", f.times, t.unit_factor, f.n),
            Evidence("largest distance of a decile from that, in powers of ten", f.uneven, t.unit_uneven, f.levels),
        ),
        None,
        unit_of(f.times),
        Fix("", None, None, "Convert the labels to the unit of training, and build again."),
    )


def _powers(v: Scales, t: Thresholds) -> bool:
    """Two heaps a whole number of powers apart, or one heap that far from the predictions and from training."""
    power = round(v.step)
    whole = abs(v.step - power) <= t.unit_whole and abs(power) >= t.unit_power
    mixed = v.apart >= t.unit_apart and v.share >= t.unit_share and v.spread >= t.unit_spread
    return whole and (mixed or (v.apart == 0 and abs(v.moved - power) <= 0.5))


def _unit(task: str, v: Scales, power: int, t: Thresholds) -> Finding:
    factor = f"{10.0**power:g}"
    return Finding(
        "LABEL-UNIT",
        "error",
        task,
        f"{v.share:.0%} of the labels of {task} are about {factor} times what the others are: two units in one label."
        if v.apart
        else f"The labels of {task} are about {factor} times those of training: another unit.",
        (
            Evidence("powers of ten between the two", v.step, float(power), v.n),
            Evidence("share of rows", v.share, t.unit_share, v.n),
            Evidence("distance of the heaps over their width (Ashman's D)", v.apart, t.unit_apart, v.n),
            Evidence("spread of the labels over that of training", v.spread if np.isfinite(v.spread) else None, t.unit_spread),
        ),
        None,
        "A part of the source delivers its amounts in another unit, for example thousands.",
        Fix("", None, None, "Find the rows by source and date, convert them, and build again."),
    )


@check("LABEL-LEAK", "No single column gives a label away.", None)
def leak(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One column (or copies of it) orders a label almost perfectly, and all others are far behind."""
    judged = {k: v for k, v in labels(s, t).items() if v.giveaway is not None}
    if not judged:
        raise NotMeasured("No task has enough labels of more than one kind to hold columns against.")
    for task, v in judged.items():
        g = v.giveaway
        assert g is not None
        if g.tells >= t.leak_tells and g.alike <= t.leak_copies and g.next_tells <= t.leak_next:
            yield Finding(
                "LABEL-LEAK",
                "warning",
                task,
                f"`{g.column}` alone tells {task} almost perfectly, far beyond every other column."
                if g.share > t.leak_share
                else f"`{g.column}` alone tells {task} almost perfectly in the {g.share:.0%} of rows that have it, far beyond "
                "every other column.",
                (
                    Evidence("how well it orders the labels, of 1", g.tells, t.leak_tells, g.n, g.column),
                    Evidence("the next best column", g.next_tells, t.leak_next, g.n, g.next),
                    Evidence("columns that tell as much", float(g.alike), t.leak_copies),
                    Evidence("share of the labelled rows in which it says something", g.share, None, g.n),
                    Evidence("its input", None, text=g.input),
                ),
                None,
                "Is it known at the cut-off? It was made from the label, or from what happened after the cut-off.",
                Fix("", None, None, "Leave the column out, or build it from events before the cut-off only, and train again."),
            )


@check("LABEL-JOIN", "The labels go with the inputs of their rows as they did in training.", None)
def join(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Neither the model nor a fit made afresh finds on these rows what it found on as many at training; or the reverse."""
    judged = {k: v for k, v in judged_skill(s).items() if has_skill(v) is not None}
    if not judged or s.training is None or not len(s.training):
        raise NotMeasured("It is not known what the training found, or what the model finds on these rows.")
    again = {k: s.labels[k].refound for k in judged if k in s.labels and s.labels[k].refound is not None}
    lost, hidden, open_ = [], [], []
    for task, r in again.items():
        assert r is not None
        if other_unit(s.labels[task], t):
            continue  # amounts in two units are told by nobody, and LABEL-UNIT says so
        share = s.labels[task].rate
        if share is not None and moved(share, t):
            continue  # LABEL-RATE says so
        if r.found >= t.join_found and judged[task].skill.high < t.join_share * r.found:
            expected = r.then - r.then_spread
            if r.fresh.high < t.join_share * expected:
                lost.append(task)
            elif not r.fresh.low >= t.join_share * expected:
                open_.append(task)
        if not any(has_skill(v) for v in judged.values()) and r.fresh.low > t.join_found and _nothing_in_training(s, judged, t):
            hidden.append(task)
    if len(lost) >= t.join_tasks:
        # of what too few rows could tell by themselves: no better than the others, and of the same table
        told = {k for k, r in again.items() if k not in lost and k not in open_ and r is not None and r.fresh.low > 0}
        lost += [k for k, v in judged_skill(s).items() if k not in lost and k not in told and not has_skill(v)]
    if lost or hidden:
        yield _not_theirs(s, lost or hidden, here=bool(lost), t=t)
    elif open_:
        names = ", ".join(open_)
        raise NotMeasured(
            f"Too few rows to tell whether the labels of {names} are those customers': on as many rows at training a fit made "
            "afresh found too little itself, or it is not known of this run what it found."
        )


def _nothing_in_training(s: Statistics, judged: dict[str, TaskSkill], t: Thresholds) -> bool:
    """Training came down to the constant and no further, and boosting fitted on the same rows found nothing either."""
    assert s.training is not None
    c = course(s.training)
    at = c.best()
    ended = at is not None and 1 - t.join_found < c.train[at] < 1 + 2 * t.join_found
    others = [v.baseline_skill["boosting"] for v in judged.values() if "boosting" in v.baseline_skill]
    return max(others) <= t.join_found if others else ended


def _not_theirs(s: Statistics, tasks: list[str], *, here: bool, t: Thresholds) -> Finding:
    first = tasks[0]
    r = s.labels[first].refound
    assert r is not None
    own = judged_skill(s)[first]
    return Finding(
        "LABEL-JOIN",
        "error",
        first if len(tasks) == 1 else "labels",
        f"The labels of {first} are not those customers': the training found a skill of {r.found:.2f}, on these rows the "
        f"model finds {own.skill.value:.2f}, and a fit made afresh tells {r.fresh.value:.2f} of their variance where it told "
        f"{r.then:.2f}."
        if here and len(tasks) == 1
        else f"The labels of {len(tasks)} tasks are not those customers': in {first} the training found a skill of "
        f"{r.found:.2f}, on these rows the model finds {own.skill.value:.2f}, and a fit made afresh tells {r.fresh.value:.2f} "
        f"of their variance where it told {r.then:.2f}."
        if here
        else "The labels of the training rows are not those customers': nothing was learnt of any task, while a fit made "
        f"afresh on these rows tells {r.fresh.value:.2f} of the variance of {first}.",
        (
            Evidence("tasks", float(len(tasks)), None, None, ", ".join(tasks)),
            Evidence("skill that the training found", r.found if np.isfinite(r.found) else None, t.join_found),
            Evidence("skill of the model on these rows", own.skill.value, t.join_share * r.found if here else None, own.rows),
            Evidence("its 95 % interval, to", own.skill.high, None, own.customers),
            Evidence("share of variance that a fit made afresh on these rows tells", r.fresh.value, None, r.n),
            Evidence("its 95 % interval, to", r.fresh.high, None, r.n),
            Evidence("the same on as many rows at training", r.then if np.isfinite(r.then) else None, None, r.n),
            Evidence("how far samples of them lay from that", r.then_spread if np.isfinite(r.then_spread) else None),
        ),
        None,
        "The labels were joined to other customers or dates: shifted by a row, sorted differently, or by another key.",
        Fix("", None, None, "Join the labels again by customer and cut-off, and compare a few customers by hand."),
    )
