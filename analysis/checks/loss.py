"""Checks of the losses, from the epoch lines of the training (reference, "Loss problems")."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from analysis.stats.training import TrainingStats

LOSSES = "training.losses"


def training_of(s: Statistics, epochs: int = 1) -> TrainingStats:
    """The training record, or `NotMeasured` when it has fewer epochs."""
    if s.training is None or len(s.training) < epochs:
        have = 0 if s.training is None else len(s.training)
        raise NotMeasured(f"Not enough epochs to say: {have} recorded, {epochs} needed.")
    return s.training


@check("LOSS-NAN", "Every recorded loss is finite.", LOSSES)
def loss_nan(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN or Inf in the total or a task's loss, or steps that were skipped because of it."""
    h = training_of(s, 0)
    if not len(h) and not h.event("failed"):
        raise NotMeasured("Not enough epochs to say: 0 recorded, 1 needed.")
    skipped = sum(int(e.get("nonfinite_steps", 0) or 0) for e in h.epochs)
    said = [e for e in h.events if e.get("event") in ("warning", "failed")]
    warned = [e for e in said if "finite" in str(e.get("message", e.get("text", e.get("reason", ""))))]
    for name, steps in _onlooker_steps(h).items():
        yield _onlooker(name, steps, len(h))
    bad = _not_finite(h)
    if bad or skipped or warned:
        gave_up = any(e.get("event") == "failed" for e in warned)
        yield _main_path(s, h, bad, skipped, len(warned), gave_up=gave_up)


def _onlooker_steps(h: TrainingStats) -> dict[str, int]:
    """Steps in which an onlooker alone was not finite, by onlooker."""
    alone: dict[str, int] = {}
    for e in h.epochs:
        for name, steps in (e.get("onlooker_nonfinite") or {}).items():
            alone[name] = alone.get(name, 0) + int(steps)
    return alone


def _not_finite(h: TrainingStats) -> list[tuple[str, float]]:
    """(loss, epoch) of every recorded loss that is no number: Inf in a series, an empty total, NaN in a line."""
    bad: list[tuple[str, float]] = []
    for name, values in {"total": h.series("train", "total"), **h.table("train", "tasks"), **h.table("valid", "tasks")}.items():
        raw = np.isinf(values)
        if raw.any():
            bad.append((name, float(h.epoch[int(raw.argmax())])))
    nulls = [e for e in h.epochs if isinstance(e.get("train"), dict) and e["train"].get("total") is None]
    bad += [("total", float(e["epoch"])) for e in nulls]
    explicit = [e for e in h.epochs if _is_nan(e.get("train", {}).get("total"))]
    bad += [("total", float(e["epoch"])) for e in explicit]
    for e in h.epochs:
        bad += [(task, float(e["epoch"])) for task, v in (e.get("train", {}).get("tasks") or {}).items() if _is_nan(v)]
    return bad


def _main_path(
    s: Statistics, h: TrainingStats, bad: Sequence[tuple[str, float]], skipped: int, warnings: int, *, gave_up: bool
) -> Finding:
    """Losses that were not finite, or the steps that were skipped for one."""
    stepped = h.event("skipped")
    first = stepped[0] if stepped else {}
    named = [str(task) for task in first.get("tasks") or ()]
    name, epoch = bad[0] if bad else ("total", 1.0)
    if not bad and named:
        name = named[0] if len(named) == 1 else "tasks"
    at = first.get("step")
    where = (
        f"The loss of {name} is not finite in epoch {epoch:.0f}."
        if bad
        else f"{skipped or len(stepped)} steps were skipped, the first in epoch {first.get('epoch')}, step {at}."
        if first
        else f"{skipped or warnings} steps had a loss that is not finite."
    )
    often = skipped > 0.01 * sum(int(e.get("steps", 0) or 0) for e in h.epochs)
    return Finding(
        "LOSS-NAN",
        "error" if bad or gave_up or often else "warning",
        name,
        where,
        (
            Evidence("epochs with NaN or Inf", float(len({e for _, e in bad})), 0.0, len(h)),
            Evidence("skipped steps", float(skipped), 0.0),
            *((Evidence("tasks of the first", float(len(named)), text=", ".join(named)),) if first else ()),
        ),
        LOSSES,
        *_why_not_finite(s, first),
    )


def _onlooker(which: str, steps: int, epochs: int) -> Finding:
    """An onlooker that did not train: the model is not touched by it."""
    return Finding(
        "LOSS-NAN",
        "warning",
        which,
        f"The loss or gradient of {which} alone was not finite in {steps} steps: it stayed as it was there.",
        (Evidence("steps", float(steps), 0.0, epochs),),
        LOSSES,
        "Its weights or its loss overflowed; the main path does not read it.",
        Fix("", None, None, "Train again: what it says of this run is not to be used."),
    )


def _why_not_finite(s: Statistics, first: Mapping[str, Any]) -> tuple[str, Fix]:
    """Cause and fix: what the first skipped step read, else half precision, else too high a learning rate, else the rows."""
    held = ", ".join(f"`{k}`" for k in first.get("inputs") or ())
    if held:
        return (
            f"Training rows hold values that are no numbers in {held}.",
            Fix("", None, None, "`ple validate` on the dataset names rows and customers; repair the feed and build again."),
        )
    rate = float(s.facts.get("training.learning_rate", 5e-4))
    amp = s.facts.get("training.amp", "auto")
    if amp != "off" and s.facts.run.get("device") != "cpu":
        return (
            "Half precision underflows in the focal loss, or the learning rate is too high for the first steps.",
            Fix("training.amp", amp, "off", "Compute the loss in float32 on clamped probabilities."),
        )
    if rate > 5e-2:
        return (
            "The learning rate is too high: the weights ran away.",
            Fix("training.learning_rate", rate, 5e-4, "Go back to the reference's learning rate."),
        )
    return (
        "Training rows hold values that are not numbers, or the weights overflowed.",
        Fix("", None, None, "Look for NaN among the training rows with `ple validate`, then lower training.learning_rate."),
    )


def _is_nan(value: object) -> bool:
    return (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, str) and value.lower() == "nan")


def skipped_epochs(h: TrainingStats) -> NDArray[np.bool_]:
    """[E] epochs of which every step was skipped because its loss was not finite."""
    return np.asarray(h.series("nonfinite_steps") >= np.maximum(h.series("steps"), 1))


def unlabelled(s: Statistics) -> tuple[str, ...]:
    """Tasks that had no label in training: none in any recorded epoch (where steps were taken), or none by the run's own word.
    What is said of their gates, edges and heads would be of chance alone: LOSS-TASK-ZERO says so, the other checks pass by."""
    stepped = s.training is not None and not skipped_epochs(s.training).all()
    counts = s.training.table("train", "n") if s.training is not None and stepped else {}
    return tuple(t for t in s.facts.tasks if t in s.facts.unlearned or (t in counts and np.nansum(counts[t]) == 0))


def _several_unlabelled(tasks: tuple[str, ...], s: Statistics, epochs: int) -> Finding:
    return Finding(
        "LOSS-TASK-ZERO",
        "warning",
        "tasks",
        f"{len(tasks)} of {len(s.facts.tasks)} tasks had no label in training: their losses are 0, their towers never learned.",
        (
            Evidence("tasks without labels", float(len(tasks)), 0.0, epochs, text=", ".join(tasks)),
            Evidence("tasks", float(len(s.facts.tasks))),
        ),
        LOSSES,
        "All their targets are missing (-1 or NaN), which the loss masks out as it should; the data lack these labels.",
        Fix(
            "task_experts.tasks",
            {k: {"enabled": True} for k in tasks},
            {k: {"enabled": False} for k in tasks},
            "Build the labels, or switch these tasks off.",
        ),
    )


@check("LOSS-TASK-ZERO", "Every task has labels and a loss.", LOSSES)
def task_zero(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A task's loss is 0 because all its targets are missing."""
    h = training_of(s)
    if skipped_epochs(h).all():
        raise NotMeasured("No step of this training had a finite loss.")
    counts = h.table("train", "n")
    losses = h.table("train", "tasks")
    none = unlabelled(s)
    if len(none) > 1:
        yield _several_unlabelled(none, s, len(h))
    for task in s.facts.tasks:
        if task in none and len(none) > 1:
            continue
        n = float(np.nansum(counts.get(task, np.array([np.nan]))))
        seen = losses.get(task, np.array([np.nan]))
        finite = seen[np.isfinite(seen)]
        empty = task in counts and n == 0
        flat = len(finite) > 0 and bool((np.abs(finite) <= t.task_loss_zero).all()) and s.facts.kinds.get(task) != "contrastive"
        if empty or flat:
            yield Finding(
                "LOSS-TASK-ZERO",
                "warning",
                task,
                f"{task} had no label in training: its loss is 0 and its tower never learned."
                if empty
                else f"The loss of {task} is 0 although it has labels.",
                (
                    Evidence("labels over all epochs", n, 1.0, len(h)),
                    Evidence("largest loss", float(finite.max()) if len(finite) else 0.0, t.task_loss_zero),
                ),
                LOSSES,
                "All targets are missing (-1 or NaN), which the loss masks out as it should; the data lack the label.",
                Fix(f"task_experts.tasks.{task}.enabled", True, False, "Build the label, or switch the task off."),
            )


@check("LOSS-UW-CLAMP", "No uncertainty weight sits at its limit.", "training.log_vars")
def uw_clamp(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """s_k at its clamp."""
    h = training_of(s)
    limit = float(s.facts.get("training.log_var_limit", 4.0))
    for task, values in h.table("s").items():
        finite = values[np.isfinite(values)]
        if len(finite) and abs(finite[-1]) >= limit - t.log_var_margin:
            yield Finding(
                "LOSS-UW-CLAMP",
                "warning",
                task,
                f"s of {task} sits at its limit ({finite[-1]:+.2f} of {limit:.0f}): its weight is no longer learned.",
                (
                    Evidence("s", float(finite[-1]), limit, len(finite)),
                    Evidence("epochs at the limit", float((np.abs(finite) >= limit - t.log_var_margin).sum())),
                ),
                "training.log_vars",
                "The task's loss is far from the scale of the others, or its labels are (nearly) constant.",
                Fix("training.log_var_limit", limit, limit + 2, "Widen the limit, or look at the task's label scale."),
            )


@check("LOSS-KL-JUMP", "The evidential KL ramp does not lift the total loss.", LOSSES)
def kl_jump(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Total loss rises with the KL ramp while task losses do not."""
    h = training_of(s, max(3, t.min_epochs))
    total, kl = h.series("train", "total"), h.series("train", "evidential_kl")
    ok = np.isfinite(total) & np.isfinite(kl)
    if ok.sum() < 3:
        raise NotMeasured("The evidential KL was not recorded.")
    total, kl = total[ok], kl[ok]
    low = int(total.argmin())
    rise = float(total[-1] - total[low])
    share = float(kl[-1] - kl[low]) / rise if rise > 0 else 0.0
    tasks = np.array([v[ok] for v in h.table("train", "tasks").values()])
    change = (
        tasks[:, -1] / np.where(np.abs(tasks[:, low]) > 1e-12, tasks[:, low], np.nan) - 1 if len(tasks) else np.array([0.0])
    )
    moved = float(np.nanmedian(change)) if np.isfinite(change).any() else 0.0
    if rise > t.kl_jump * max(abs(total[low]), 1e-9) and share > 0.5 and moved < 0.02:
        weight, old = float(s.facts.get("evidential.kl_lambda", 0.01)), s.facts.get("evidential.annealing_epochs", 10)
        # 1 is the weight of the term in Sensoy et al. 2018; beyond it a longer ramp only puts the jump off
        heavy = Fix("evidential.kl_lambda", weight, 1.0, "Go back to the weight that the term was published with.")
        yield Finding(
            "LOSS-KL-JUMP",
            "warning",
            "evidential",
            f"The total loss rose by {rise:.3g}, {share:.0%} of it from the evidential KL, while task losses did not.",
            (
                Evidence("rise of the total", rise, t.kl_jump * max(abs(float(total[low])), 1e-9), len(total)),
                Evidence("share of the KL", share, 0.5),
                Evidence("median change of task losses", moved),
            ),
            LOSSES,
            "The KL term ramped up: this is regularisation, not a worse model.",
            heavy if weight > 1 else Fix("evidential.annealing_epochs", old, 2 * int(old), "Stretch the ramp."),
        )


@check("LOSS-ADATT-JUMP", "The losses did not jump when adaTT started.", LOSSES)
def adatt_jump(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Task losses jump in the first epoch in which adaTT acts."""
    warmup = int(s.facts.get("adatt.warmup_epochs", 0))
    if warmup < 1 or not s.facts.get("adatt.enabled", True):
        return  # adaTT acted from the first step, or never: there is no before and after
    h = training_of(s, warmup + 1)
    epochs = h.epoch
    if warmup not in epochs or warmup + 1 not in epochs:
        raise NotMeasured("The epochs around the start of adaTT were not recorded.")
    before, after = int(np.argmax(epochs == warmup)), int(np.argmax(epochs == warmup + 1))
    ratios = []
    for values in h.table("train", "tasks").values():
        if np.isfinite(values[[before, after]]).all() and values[before] > 1e-9:
            ratios.append(values[after] / values[before])
    if not ratios:
        raise NotMeasured("No task has a loss in both epochs around the start of adaTT.")
    rise = float(np.mean(ratios) - 1)
    if rise > t.adatt_jump:
        old = float(s.facts.get("adatt.negative_transfer_threshold", -0.1))
        conflicts = h.series("adatt", "conflict_share")
        yield Finding(
            "LOSS-ADATT-JUMP",
            "warning",
            "adatt",
            f"Task losses rose by {rise:.0%} in epoch {warmup + 1}, the first in which adaTT acts.",
            (
                Evidence("mean rise of task losses", rise, t.adatt_jump, len(ratios)),
                Evidence("conflicting pairs", float(conflicts[after])),
            ),
            LOSSES,
            "Negative transfer: tasks that pull in different directions reinforce each other.",
            Fix("adatt.negative_transfer_threshold", old, min(0.0, old / 2), "Cut pairs off at a higher affinity."),
        )
