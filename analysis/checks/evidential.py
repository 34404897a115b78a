"""Checks of the evidential heads and of calibration: is the uncertainty there, is it honest, does it point at errors?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.loss import unlabelled
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.evidence import TaskEvidence
from analysis.stats.run import RowQuality, Statistics


def _tasks(s: Statistics, t: Thresholds) -> Iterator[tuple[str, TaskEvidence]]:
    if not s.evidence:
        raise NotMeasured("The model has no evidential heads, or they were not measured.")
    silent = unlabelled(s)
    enough = [(k, e) for k, e in s.evidence.items() if e.n >= t.min_rows and k not in silent]
    if not enough and any(e.n >= t.min_rows for e in s.evidence.values()):
        raise NotMeasured("No task with an evidential head had a label in training.")
    if not enough:
        raise NotMeasured(f"Not enough rows to say: {max(e.n for e in s.evidence.values())}, {t.min_rows} needed.")
    yield from enough


def too_few(s: Statistics, t: Thresholds) -> dict[str, int]:
    """Tasks whose probabilities no check holds against what came, and their labelled rows: too few. A green page says so.
    Amounts have no probability."""
    silent = unlabelled(s)
    return {
        k: e.labelled for k, e in s.evidence.items() if e.kind != "regression" and e.labelled < t.ece_rows and k not in silent
    }


@check("EVI-ZERO-EVIDENCE", "The evidential heads have evidence.", "evidence.uncertainty")
def zero_evidence(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """(Nearly) all rows of a task have vacuity 1."""
    for task, e in _tasks(s, t):
        if e.zero_share >= t.zero_evidence:
            old = float(s.facts.get("evidential.kl_lambda", 0.01))
            yield Finding(
                "EVI-ZERO-EVIDENCE",
                "warning",
                task,
                f"The evidential head of {task} has no evidence in {e.zero_share:.0%} of rows: it never learned.",
                (
                    Evidence("rows without evidence", e.zero_share, t.zero_evidence, e.n),
                    Evidence("mean uncertainty", e.mean_uncertainty, None, e.n),
                ),
                "evidence.uncertainty",
                "The KL term drove all evidence to zero, or the task has no labels.",
                Fix("evidential.kl_lambda", old, old / 10, "Weaken the KL term."),
            )


@check("EVI-MISCALIBRATED", "Shown probabilities match observed frequencies.", "evidence.reliability")
def miscalibrated(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """ECE of the shown probability, on rows that did not train the model."""
    judged = [(k, e) for k, e in _tasks(s, t) if e.labelled >= t.ece_rows]
    if not judged:
        most = max((e.labelled for e in s.evidence.values()), default=0)
        raise NotMeasured(f"Not enough labelled rows outside training to judge calibration: {most}, {t.ece_rows} needed.")
    for task, e in judged:
        q = s.quality.get(task)
        limit = t.ece if e.kind == "binary" else t.ece_multiclass
        if e.stated_ece > limit:
            yield Finding(
                "EVI-MISCALIBRATED",
                "warning",
                task,
                f"Probabilities of {task} are off by {e.stated_ece:.1%} on average.",
                (
                    Evidence("ECE, 15 equal-width bins", e.stated_ece, limit, e.labelled),
                    Evidence("ECE, adaptive bins", q.adaptive_ece if q else None, limit, e.labelled),
                    Evidence("Brier score", e.brier, None, e.labelled),
                ),
                "evidence.reliability",
                "The calibration map does not fit these rows, or the model is overconfident.",
                Fix("", None, None, "Refit the calibration on recent validation rows."),
            )


@check("EVI-UNINFORMATIVE", "Uncertainty is higher where the model errs.", "evidence.risk_coverage")
def uninformative(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Uncertainty does not rank errors: a warning where it clearly points the wrong way, else information where it is worse
    than chance beyond its own noise, which heads of healthy runs can be, since evidence counts observations."""
    silent = unlabelled(s)
    judged = {
        k: q
        for k, q in s.quality.items()
        if k not in silent and q.n >= t.ece_rows and np.isfinite(q.error_auroc) and s.facts.kinds.get(k) == "multiclass"
    }
    if not judged:
        raise NotMeasured("Not enough labelled rows outside training to hold uncertainty against errors.")
    for task, q in judged.items():
        wrong_way = q.error_auroc < t.uninformative
        chance = 0.5 - t.chance_deviations * _auroc_noise(q)
        if wrong_way or q.error_auroc < chance:
            yield Finding(
                "EVI-UNINFORMATIVE",
                "warning" if wrong_way else "info",
                task,
                f"The uncertainty of {task} points the wrong way: it is lower where the model errs."
                if wrong_way
                else f"The uncertainty of {task} is worse than chance at telling errors: do not withhold predictions by it.",
                (
                    Evidence("AUROC for errors", q.error_auroc, t.uninformative if wrong_way else chance, q.n),
                    Evidence("excess AURC", q.excess_aurc, None, q.n),
                ),
                "evidence.risk_coverage",
                "The head's evidence follows something else than difficulty.",
                Fix(
                    "evidential.loss_weight",
                    s.facts.get("evidential.loss_weight", 0.1),
                    2 * float(s.facts.get("evidential.loss_weight", 0.1)),
                    "Give the heads more weight.",
                ),
            )


def _auroc_noise(q: RowQuality) -> float:
    """Standard deviation of the AUROC of a score that knows nothing (Mann & Whitney 1947); infinite without both outcomes."""
    wrong = q.n * (1 - q.accuracy)
    right = q.n - wrong
    return math.sqrt((q.n + 1) / (12 * wrong * right)) if wrong > 0 and right > 0 else math.inf
