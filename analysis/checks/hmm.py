"""Checks of HMM triple-mode routing: who lives on the default embedding, and do the modes learn (reference, "HMM problems")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.hmm import HmmStats
from analysis.stats.inputs import CAUSE_TEXT
from analysis.stats.run import Statistics
from ple_model.tasks import HMM_MODES, TASKS

DEFAULTS = "hmm.default_rate"


def _hmm(s: Statistics, t: Thresholds) -> HmmStats:
    if s.hmm is None:
        raise NotMeasured("HMM projections were not measured.")
    need_rows(s.hmm.n, t)
    return s.hmm


@check("HMM-ALL-DEFAULT", "Most rows have real HMM vectors that differ from each other.", DEFAULTS)
def all_default(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Projections identical: every row is on the default embedding, or the real vectors are all the same."""
    h = _hmm(s, t)
    if _without(s):
        yield Finding(
            "HMM-ALL-DEFAULT",
            "info",
            "hmm",
            "No row has HMM vectors: expected, the run was trained on a table of its own columns.",
            (Evidence("default rate", float(h.default_rate.min()), t.hmm_all_default, h.n),),
            DEFAULTS,
            "States of behaviour need events, and a table of columns has none.",
            Fix("", None, None, "Nothing to do: every row shares the default embeddings, so they add a constant."),
        )
        return
    for i, mode in enumerate(h.modes):
        rate = float(h.default_rate[i])
        spread = float(h.spread[i] / h.real_norm[i]) if h.real[i] and h.real_norm[i] > 0 else float("nan")
        if rate >= t.hmm_all_default:
            cause = CAUSE_TEXT.get(s.inputs.cause(f"hmm_{mode}"), "") if s.inputs is not None else ""
            yield Finding(
                "HMM-ALL-DEFAULT",
                "error",
                mode,
                f"{rate:.0%} of rows have no {mode} HMM vector and share one default embedding.",
                (Evidence("default rate", rate, t.hmm_all_default, h.n), Evidence("cause", None, text=cause)),
                DEFAULTS,
                "The HMM step of the dataset build produced nothing for this mode.",
                Fix("", None, None, f"Build `hmm_{mode}` (its sequences may be too short or its source absent)."),
                (f"hmm.{mode}=zero",),
            )
        elif h.real[i] >= t.min_rows and spread < t.hmm_spread:
            yield Finding(
                "HMM-ALL-DEFAULT",
                "error",
                mode,
                f"All real {mode} projections are the same vector (spread {spread:.4f} of their norm).",
                (Evidence("spread over norm", spread, t.hmm_spread, int(h.real[i])), Evidence("default rate", rate, None, h.n)),
                DEFAULTS,
                "The HMM vectors carry no difference between customers, or the projector is dead.",
                Fix("", None, None, f"Look at the values of `hmm_{mode}` in the dataset."),
                (f"hmm.{mode}=zero",),
            )


def _without(s: Statistics) -> bool:
    """Are there no HMM vectors by the nature of the data?"""
    return s.facts.own and s.hmm is not None and bool((s.hmm.default_rate >= 1.0).all())


def _reference_routing(s: Statistics) -> Fix:
    """Back to the reference's tasks by mode; where the run has them already, moving tasks is a decision of its own."""
    given = s.facts.get("hmm_triple_mode.modes") or {}
    old = {m: {"target_tasks": list((given[m] or {}).get("target_tasks", []))} for m in given}
    named = {*s.facts.tasks, *(t for m in old.values() for t in m["target_tasks"])}
    new = {m: {"target_tasks": [t.name for t in TASKS.values() if t.hmm_mode == m and t.name in named]} for m in HMM_MODES}
    if old == new:
        return Fix("", None, None, "Move tasks to the weaker mode (hmm_triple_mode.modes).")
    return Fix("hmm_triple_mode.modes", old, new, "Give each mode the tasks that the reference gives it.")


@check("HMM-MODE-IMBALANCE", "All HMM modes receive gradients of similar size.", "hmm.gradients")
def mode_imbalance(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Only one mode learns."""
    if _without(s):
        return
    tasks = {m: [k for k, v in s.facts.hmm_modes.items() if v == m] for m in (s.facts.get("hmm_triple_mode.modes") or {})}
    for mode, names in tasks.items():
        if not names:
            yield Finding(
                "HMM-MODE-IMBALANCE",
                "warning",
                mode,
                f"No enabled task reads the {mode} HMM: its projector never learns.",
                (Evidence("target tasks", 0.0, 1.0),),
                "hmm.gradients",
                "The mode has no target task.",
                _reference_routing(s),
            )
    if s.training is None or not s.training.table("hmm_grad"):
        raise NotMeasured("Gradients by HMM mode were not recorded.")
    medians = {
        m: float(np.nanmedian(v))
        for m, v in s.training.table("hmm_grad").items()
        if np.isfinite(v).any() and tasks.get(m, ["?"])
    }
    if len(medians) < 2:
        raise NotMeasured("Gradients of fewer than two HMM modes were recorded.")
    strongest, weakest = max(medians, key=lambda m: medians[m]), min(medians, key=lambda m: medians[m])
    ratio = medians[strongest] / medians[weakest] if medians[weakest] > 0 else float("inf")
    if ratio > t.hmm_imbalance:
        rate = float(s.hmm.default_rate[s.hmm.modes.index(weakest)]) if s.hmm is not None and weakest in s.hmm.modes else None
        yield Finding(
            "HMM-MODE-IMBALANCE",
            "warning",
            weakest,
            f"The {strongest} HMM gets {ratio:.0f} times the gradient of {weakest}: {weakest} hardly learns.",
            (
                Evidence("gradient ratio", min(ratio, 1e9), t.hmm_imbalance, len(s.training)),
                Evidence("target tasks", float(len(tasks.get(weakest, ())))),
                Evidence("default rate", rate),
            ),
            "hmm.gradients",
            "Few target tasks read the weaker mode, or few rows have its vectors.",
            _reference_routing(s),
        )


@check("HMM-DEFAULT-UNTRAINED", "Default embeddings that are needed have learned something.", "hmm.map")
def default_untrained(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The default embedding did not move: expected when few rows use it."""
    h = _hmm(s, t)
    if _without(s):
        return
    for i, mode in enumerate(h.modes):
        moved, rate = float(h.default_norm[i]), float(h.default_rate[i])
        if moved >= t.hmm_untrained:
            continue
        expected = rate < t.hmm_few_default
        yield Finding(
            "HMM-DEFAULT-UNTRAINED",
            "info" if expected else "warning",
            mode,
            f"The default embedding of {mode} has not moved from 0"
            + (f": expected, only {rate:.1%} of rows use it." if expected else f", although {rate:.0%} of rows use it."),
            (
                Evidence("distance from its start", moved, t.hmm_untrained, h.n),
                Evidence("default rate", rate, t.hmm_few_default, h.n),
            ),
            "hmm.map",
            "Few rows use it, so it gets no gradient." if expected else "It gets no gradient although it is needed.",
            None if expected else Fix("", None, None, "Check that the default embeddings are in the optimizer."),
            (f"hmm.{mode}=default",),
        )
