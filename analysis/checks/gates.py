"""Checks of the CGC gates: collapse, uniformity, unmoved priors, late shifts, dilution, experts that nobody reads.

Reference, section "CGC attention analysis".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.loss import unlabelled
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.base import jensen_shannon
from analysis.stats.gate import GateStats
from analysis.stats.run import Statistics
from analysis.stats.skill import behind_simpler, has_skill, judged_skill

HEATMAP = "gates.heatmap"
REMEDY = 0.02
"""Entropy weight that the reference gives against a collapse; a larger one is suspect by itself where gates are even."""


def _gates(s: Statistics, t: Thresholds) -> GateStats:
    if s.gates is None:
        raise NotMeasured("Gate weights were not measured.")
    need_rows(s.gates.n, t)
    return s.gates


def _learned(s: Statistics, g: GateStats) -> list[int]:
    """Numbers of the tasks that had labels: the gate of another is moved by nothing but the entropy term."""
    silent = unlabelled(s)
    return [i for i, task in enumerate(g.tasks) if task not in silent]


def no_say(s: Statistics, task: str) -> tuple[Evidence, ...]:
    """That nothing of this reaches the prediction, of a task that is its linear map alone."""
    return (Evidence("share of what the network adds that this task takes", 0.0),) if task in s.facts.linear else ()


def _lambda(s: Statistics) -> float:
    return float(s.facts.get("cgc.entropy_lambda", 0.01))


@check("CGC-COLLAPSE", "No task's attention has collapsed onto one expert.", HEATMAP)
def collapse(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One expert holds nearly all of a task's weight: an error, or information where training itself chose the task's own
    domain expert and the task is learnt and behind no simpler model."""
    g = _gates(s, t)
    if len(g.experts) < 2:
        return
    old = _lambda(s)
    for i in _learned(s, g):
        task = g.tasks[i]
        j = int(g.mean[i].argmax())
        weight = float(g.mean[i, j])
        if weight < t.gate_collapse:
            continue
        numbers = (
            Evidence("mean weight", weight, t.gate_collapse, g.n),
            Evidence("normalised entropy", float(g.normalised_entropy[i]), None, g.n),
            Evidence("effective experts", float(g.effective_experts[i]), None, g.n),
            *no_say(s, task),
        )
        # a pin tests it whatever saturated the softmax; a temperature would only halve its logits
        remedy = (f"pin_gate.{task}.{g.experts[j]}={1 / len(g.experts):.3g}",)
        own = g.experts[j]
        if _chosen(s, t, g, i, own):
            yield Finding(
                "CGC-COLLAPSE",
                "info",
                f"{task}:{own}",
                f"{task} puts {weight:.0%} of its attention on its own {own}, as training chose; nothing simpler is ahead.",
                numbers,
                HEATMAP,
                "What this task goes by is in that expert's input alone. Where that input fails, the task has nothing else.",
                None,
                remedy,
            )
        else:
            yield Finding(
                "CGC-COLLAPSE",
                "error",
                f"{task}:{g.experts[j]}",
                f"{task} puts {weight:.0%} of its attention on {g.experts[j]} alone.",
                numbers,
                HEATMAP,
                *_why_collapsed(s, task, g.experts[j], old),
                remedy,
            )


def _chosen(s: Statistics, t: Thresholds, g: GateStats, i: int, expert: str) -> bool:
    """Whether training itself put a task on this expert, one of its domain's and not by a bias of the config, and the task is
    learnt and behind no simpler model."""
    task = g.tasks[i]
    bias = s.facts.get(f"task_experts.tasks.{task}.gate_bias", None) or {}
    skill = judged_skill(s).get(task)
    if task in s.facts.linear or expert in bias or expert not in s.facts.domain_experts.get(task, ()) or skill is None:
        return False
    return (
        has_skill(skill) is True and behind_simpler(skill) == 0 and abs(_then(s, task) - g.mean_top[i]) <= t.gate_uniform_spread
    )


def _then(s: Statistics, task: str) -> float:
    """The mean weight of each row's first expert when training ended; NaN where that is not known."""
    return s.written.gate_top.get(task, np.nan) if s.written is not None and not s.written.reason else np.nan


def _why_collapsed(s: Statistics, task: str, expert: str, entropy_lambda: float) -> tuple[str, Fix]:
    """Cause and fix: a bias given in the config saturates the softmax, else the entropy term is too weak."""
    bias = s.facts.get(f"task_experts.tasks.{task}.gate_bias", None) or {}
    if expert in bias:
        return (
            f"The config starts this gate with a bias of {bias[expert]:g} on {expert}: a saturated softmax has no gradient.",
            Fix(
                f"task_experts.tasks.{task}.gate_bias",
                bias,
                dict.fromkeys(bias),
                "Start from the domain experts' bias instead.",
            ),
        )
    return (
        "Expert collapse: the gate stopped looking at the other experts.",
        Fix(
            "cgc.entropy_lambda",
            entropy_lambda,
            round(max(REMEDY, 2 * entropy_lambda), 6),
            "Raise the entropy term, so that weight spreads.",
        ),
    )


@check("CGC-UNIFORM", "No task spreads its attention evenly over all experts.", HEATMAP)
def uniform(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """All weights at 1/N. Not of a task that is its linear map alone (FIT-LINEAR): there the gate has nothing to choose for.

    A warning where it costs something or was done to the run: most gates are even (what they have in common evened them; of a
    run most of whose tasks are their map alone that is said only beside an entropy weight beyond the reference's remedy), this
    one was not when training ended, or a task that lacks skill or is behind is lost where the gate mixes. Else an even mix is
    what training left, which is information, as is that nothing on these rows says what it costs.
    """
    g = _gates(s, t)
    n = len(g.experts)
    if n < 2:
        return
    learned = _learned(s, g)
    judged = [i for i in learned if g.tasks[i] not in s.facts.linear]
    off = np.abs(g.mean - 1 / n).max(1)
    even = [i for i in judged if g.normalised_entropy[i] > t.gate_uniform and off[i] < t.gate_uniform_spread]
    most = len(even) > len(judged) / 2 and (len(judged) > len(learned) / 2 or _lambda(s) > REMEDY)
    for i in even:
        task = g.tasks[i]
        numbers = (
            Evidence("normalised entropy", float(g.normalised_entropy[i]), t.gate_uniform, g.n),
            Evidence("largest distance from 1/N", float(off[i]), t.gate_uniform_spread, g.n),
            Evidence("even gates", float(len(even)), len(judged) / 2, len(judged)),
        )
        costs = _costs(s, task)
        if not most and not costs and _left_even(s, t, g, i):
            yield Finding(
                "CGC-UNIFORM",
                "info",
                task,
                f"{task} weighs all {n} experts alike, as at the end of training, and its gate is not where it is lost."
                if costs is False
                else f"{task} weighs all {n} experts alike, as at the end of training; these rows do not say what it costs.",
                numbers,
                HEATMAP,
                "For this task one mix of the experts is as good as another; the other gates do choose."
                if costs is False
                else "No linear model or boosting was measured on these very rows, or too few of them have a label.",
                None,
                (f"gate_temperature.{task}=0.5",),
            )
            continue
        old = _lambda(s)
        yield Finding(
            "CGC-UNIFORM",
            "warning",
            task,
            f"{task} weighs all {n} experts alike (each about {1 / n:.3f}): its gate chooses nothing.",
            numbers,
            HEATMAP,
            "The entropy term is too strong, the temperature too high, or the gate did not learn.",
            # from far above the reference's value, half of it is still too much
            Fix("cgc.entropy_lambda", old, old / 2 if old <= REMEDY else 0.01, "Lower the entropy term."),
            (f"gate_temperature.{task}=0.5",),
        )


def _left_even(s: Statistics, t: Thresholds, g: GateStats, i: int) -> bool:
    """Whether training is known to have left this gate as even."""
    return bool(_then(s, g.tasks[i]) - float(g.mean_top[i]) <= t.gate_uniform_spread)


def _costs(s: Statistics, task: str) -> bool | None:
    """Whether the task is lost where its gate mixes the experts; None where these rows do not say. Tasks are probed that lack
    skill or are behind a simpler model, the worst of them; of one that is neither nothing is lost."""
    probe, skill = s.probes.get(task), judged_skill(s).get(task)
    if probe is not None:
        return probe.lost == "gate"
    simpler, has = (None, None) if skill is None else (behind_simpler(skill), has_skill(skill))
    return None if simpler is None or has is None else simpler > 0 or not has


@check("CGC-UNMOVED", "The gates have moved away from their prior.", "gates.prior")
def unmoved(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Gates still at the softmax of their initial biases."""
    g = _gates(s, t)
    if len(g.experts) < 2:
        return
    distance = g.distance_to(s.facts.prior())
    # a row-dependent gate has learned, even where its mean is still the prior
    judged = _learned(s, g)
    still = [i for i in judged if distance[i] < t.gate_unmoved and g.std[i].max() < t.gate_unmoved]
    if not judged or len(still) <= len(judged) / 2:
        return
    freeze = int(s.facts.get("adatt.freeze_epoch", 1))
    epochs = len(s.training) if s.training is not None else 0
    expected = freeze <= 1 or (0 < epochs <= 2)
    learning_rate = float(s.facts.get("training.learning_rate", 5e-4))
    fix = (
        Fix("adatt.freeze_epoch", freeze, 7, "Freeze the gates later, so that they can learn.")
        if freeze <= 2
        # from far below the reference's value, twice as much is still nothing
        else Fix(
            "training.learning_rate",
            learning_rate,
            2 * learning_rate if learning_rate >= 1e-4 else 5e-4,
            "Raise the learning rate or train longer.",
        )
    )
    strongest = float(g.mean[judged].max())
    yield Finding(
        "CGC-UNMOVED",
        "info" if expected else "warning",
        "gates",
        f"{len(still)} of {len(judged)} gates are still at their prior (largest mean weight {strongest:.2f}"
        + (f"): expected, they are frozen at the end of epoch {freeze}." if expected else ")."),
        (
            Evidence("median distance to the prior (Jensen-Shannon)", float(np.median(distance[judged])), t.gate_unmoved, g.n),
            Evidence("freeze epoch", float(freeze)),
            Evidence("epochs trained", float(epochs)),
        ),
        "gates.prior",
        "The gates did not learn: frozen at once, or the learning rate is too small.",
        fix,
    )


@check("CGC-OFF-DOMAIN", "Attention stays mostly within each task's domain experts.", HEATMAP)
def off_domain(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """High weight on an expert outside domain_experts: information, often a real cross-domain pattern."""
    g = _gates(s, t)
    for i in _learned(s, g):
        task = g.tasks[i]
        domain = s.facts.domain_experts.get(task, ())
        for j, expert in enumerate(g.experts):
            weight = float(g.mean[i, j])
            if domain and expert not in domain and weight >= t.off_domain:
                yield Finding(
                    "CGC-OFF-DOMAIN",
                    "info",
                    f"{task}:{expert}",
                    f"{task} gives {weight:.0%} to {expert}, which is outside its domain experts.",
                    (
                        Evidence("mean weight", weight, t.off_domain, g.n),
                        Evidence("domain experts", None, text=", ".join(domain)),
                    ),
                    HEATMAP,
                    "The gate overcame its prior: it may well be a cross-domain transfer that helps.",
                    None,
                    (f"ablate.{expert}=mean",),
                )


@check("CGC-LATE-SHIFT", "The gates settled before the end of training.", "gates.history")
def late_shift(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Gates move sharply late in training."""
    if s.training is None or len(s.training) < max(4, t.min_epochs):
        raise NotMeasured("Not enough epochs to say: a late shift needs at least 4.")
    epochs = s.training.epoch
    freeze = s.facts.get("adatt.freeze_epoch", 1)
    start = int(np.ceil(t.late_share * len(epochs)))
    worst, where, task_of = 0.0, 0.0, ""
    restarts = {int(k) + 1 for k in np.flatnonzero(np.diff(s.training.phase()))}
    silent = unlabelled(s)
    for task in (k for k in s.facts.tasks if k not in silent):
        history = s.training.gates(task)
        for k in range(max(1, start), len(history)):
            if np.isfinite(history[k - 1 : k + 1]).all() and history.shape[1]:
                if k in restarts:  # a phase starts from the best weights of the one before: a step back, not a late shift
                    continue
                step = float(jensen_shannon(history[k], history[k - 1]))
                if step > worst:
                    worst, where, task_of = step, float(epochs[k]), task
    if worst > t.late_shift:
        yield Finding(
            "CGC-LATE-SHIFT",
            "warning",
            task_of,
            f"The gate of {task_of} still moved sharply in epoch {where:.0f} of {epochs[-1]:.0f}.",
            (
                Evidence("Jensen-Shannon step", worst, t.late_shift, len(epochs)),
                Evidence("epoch", where),
                Evidence("freeze epoch", float(freeze)),
            ),
            "gates.history",
            "The gates were not frozen in time, so the towers learned on moving ground.",
            Fix(
                "adatt.freeze_epoch",
                freeze,
                max(1, int(t.late_share * epochs[-1])),
                "Freeze the gates before the last third of training.",
            ),
        )


@check("CGC-DILUTION", "Little attention is spent on empty inputs.", "gates.dilution")
def dilution(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """High weight on an expert that falls back to zero: the rest of the representation shrinks."""
    g = _gates(s, t)
    judged = _learned(s, g)
    if not judged:
        return
    for j, expert in enumerate(g.experts):
        share = float(g.fallback[j]) / g.n
        i = judged[int(g.dilution[judged, j].argmax())]
        weight = float(g.dilution[i, j])
        if weight >= t.dilution:
            tasks = [g.tasks[k] for k in judged if g.dilution[k, j] >= t.dilution]
            yield Finding(
                "CGC-DILUTION",
                "warning",
                expert,
                f"{len(tasks)} task(s) spend up to {weight:.0%} of their attention on {expert}, zero in {share:.0%} of rows.",
                (
                    Evidence("weight on zero fallback", weight, t.dilution, g.n),
                    Evidence("zero fallback share", share, None, g.n),
                    Evidence("tasks", float(len(tasks)), text=", ".join(tasks)),
                ),
                "gates.dilution",
                "The gate's bias prefers an expert without input; the task's representation is diluted by zeros.",
                Fix("", None, None, f"Fill the inputs of {expert}, or take it out of these tasks' domain_experts."),
                (f"pin_gate.{g.tasks[i]}.{expert}=0",),
            )


@check("CGC-DEAD-EXPERT", "Every expert is used by some task.", HEATMAP)
def dead_expert(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """An expert that no task weighs."""
    g = _gates(s, t)
    judged = _learned(s, g)
    if len(g.experts) < 2 or not judged:
        return
    for j, expert in enumerate(g.experts):
        best = float(g.mean[judged, j].max())
        if best < t.dead_importance:
            effect = (
                float(np.nanmax(s.effects.of(f"ablate.{expert}=mean"))) if s.effects is not None and _ran(s, expert) else None
            )
            yield Finding(
                "CGC-DEAD-EXPERT",
                "warning",
                expert,
                f"No task gives {expert} more than {best:.1%} of its attention.",
                (
                    Evidence("largest mean weight", best, t.dead_importance, g.n),
                    Evidence("largest effect of ablating it", effect),
                ),
                HEATMAP,
                "A dead expert: its bias is low and nothing pulled it up, or its input is empty.",
                Fix(
                    "cgc.entropy_lambda",
                    _lambda(s),
                    round(max(0.02, 2 * _lambda(s)), 6),
                    "Raise the entropy term, or drop the expert.",
                ),
                (f"ablate.{expert}=mean",),
            )


def _ran(s: Statistics, expert: str) -> bool:
    return s.effects is not None and f"ablate.{expert}=mean" in s.effects.interventions


@check("CGC-NONFINITE", "Every gate weight is finite.", HEATMAP)
def nonfinite(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN in the gates: one bad expert poisons every task through shared_concat."""
    if s.gates is None:
        raise NotMeasured("Gate weights were not measured.")
    g = s.gates
    rows = int(g.nonfinite.max(initial=0))
    if rows:
        culprits = (
            [e for e, bad in zip(s.experts.names, s.experts.nonfinite, strict=True) if bad] if s.experts is not None else []
        )
        yield Finding(
            "CGC-NONFINITE",
            "error",
            "gates",
            f"Gate weights are NaN in {rows} rows.",
            (
                Evidence("rows", float(rows), 0.0, g.n + rows),
                Evidence("experts with NaN", float(len(culprits)), text=", ".join(culprits)),
            ),
            HEATMAP,
            "NaN in shared_concat or in the gate's weights reaches every task.",
            Fix("", None, None, f"Repair {culprits[0]} first." if culprits else "Look at the gate's weights."),
            (f"ablate.{culprits[0]}=zero",) if culprits else (),
        )
