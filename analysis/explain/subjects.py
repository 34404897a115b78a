"""All that moved a prediction, by subject: every fact is in one of a few subjects, so that subjects add up to the whole.

A law asks for the main criteria with their weights; where hundreds of small facts carry a prediction, six reasons are not that.
A subject gathers feature parts and input fields that a reviewer takes for one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from analysis.explain.matters import subject_of_matter
from analysis.explain.reasons import Means, gathered, speaks, topics
from analysis.results.explanation_parts import OWN_SUBJECT, FeatureContribution, SubjectWeight, Unsaid
from ple_model.schema import RAW_PART

SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "spending": (
        "rfm", "category", "transaction_stats", "financial_behavior", "chemical", "overseas", RAW_PART, "txn_seq",
    ),
    "merchants": ("mcc_l1", "mcc_l2", "merchant_brand", "merchant_stats", "radius", "epidemic", "crime"),
    "times": ("temporal", "interference"),
    "deposits": ("deposit", "income_decomposition"),
    "holdings": ("product", "investment", "membership"),
    "credit": ("credit",),
    "insurance": ("insurance",),
    "channels": ("digital", "other_channel", "consultation", "session_seq"),
    "offers": ("campaign", "bandit"),
    "activity": (
        "tda_short", "tda_long", "tda_features", "tda_short_diagrams", "tda_long_diagrams", "tda_global_stats",
        "phase_transition", "tda_phase_transition", "hmm_summary", "hmm_journey", "hmm_lifecycle", "hmm_behavior", "lnn",
    ),
    "alike": ("gmm", "cluster_probs", "collaborative_features"),
    "person": ("coldstart_features", "anonymous_features"),
    "learned": ("mamba_temporal", "hierarchy_features"),
}  # fmt: skip
"""subject -> the parts and fields that it holds; a part of somebody's own table is a subject of its own."""
RAW_SUBJECTS: Mapping[str, str] = {
    "raw_deposit": "deposits", "raw_balance": "holdings", "raw_credit": "credit", "raw_investment": "holdings",
    "raw_insurance": "insurance", "raw_session": "channels", "raw_campaign": "offers", "raw_merchant": "merchants",
    "raw_brand": "merchants",
}  # fmt: skip
"""Amounts and counts in their own scale by how their names begin; all others are spending."""
_OF = {group: subject for subject, groups in SUBJECTS.items() for group in groups}


@dataclass(frozen=True)
class FactSums:
    """Of all that is not barred, a matter at a time, what can be said of it and what cannot each by itself: how many raised and
    lowered the prediction, and by how much."""

    told: float
    """Signed sum."""
    size: float
    """Sum of the absolute values."""
    counts: tuple[int, int]
    """Of what can be said: (matters that raised, matters that lowered)."""
    subjects: tuple[SubjectWeight, ...]
    """Greatest first; they add up to `told` and `size`."""
    unsaid: Unsaid
    """What of `told` and `size` cannot be put into words."""
    unnamed: tuple[int, float]
    """(of how many matters and inputs something cannot be said, what the strongest of that did)"""
    unnamed_key: str
    """The matter or input of that strongest one."""


def fact_sums(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], means: Means, own: bool = False
) -> FactSums:  # fmt: skip
    """Over all that `reasons` chooses from, each matter under its subject; a column of no matter under that of its part. What
    cannot be said of a matter stands apart from what can, and so do inputs that nothing can be said of (`named`, `teller`).
    `own`: each part of somebody's own table is a subject of its own."""
    said: list[tuple[str, float]] = []
    unsaid: list[tuple[str, str, float]] = []
    for g in gathered(features, means):
        first = g.facts[0].leader
        subject = f"{OWN_SUBJECT}{first.part}" if own else subject_of_matter(g.matter) or subject_of(first.part, first.name)
        can, cannot = g.parted(partial(speaks, features=features, m=means))
        said.append((subject, can.value))
        unsaid.append((g.matter or first.part, subject, cannot.value))
    for topic, (members, value) in topics(groups).items():
        if value and means.named(topic) and means.teller(topic, value) is not None:
            said.append((subject_of(members[0]), value))
        else:
            unsaid.append((members[0], subject_of(members[0]), value))
    nameless = [(subject, v) for _, subject, v in unsaid]
    every = [v for _, v in (*said, *nameless)]
    counts = sum(v > 0 for _, v in said), sum(v < 0 for _, v in said)
    key, _, strongest = max(unsaid, key=lambda x: abs(x[2]), default=("", "", 0.0))
    return FactSums(
        float(sum(every)), float(sum(map(abs, every))), counts, by_subject((*said, *nameless)), Unsaid(by_subject(nameless)),
        (sum(v != 0 for _, v in nameless), float(strongest)), key if strongest else "",
    )  # fmt: skip


def by_subject(values: Sequence[tuple[str, float]]) -> tuple[SubjectWeight, ...]:
    """(subject, effect) -> what each subject raised and lowered, the greatest first."""
    found: dict[str, list[float]] = {}
    for subject, value in values:
        found.setdefault(subject, []).append(value)
    told = [
        SubjectWeight(name, float(sum(v for v in own if v > 0)), float(sum(v for v in own if v < 0)))
        for name, own in found.items()
        if any(own)
    ]
    return tuple(sorted(told, key=lambda s: -s.size))


def subject_of(group: str, column: str = "") -> str:
    """Of a part or field; of a column in its own scale by its name."""
    if group == RAW_PART and column:
        return next((s for start, s in RAW_SUBJECTS.items() if column.startswith(start)), "spending")
    return _OF.get(group, group)
