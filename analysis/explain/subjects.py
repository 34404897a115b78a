"""All that moved a prediction, by subject: every fact is in one of a few subjects, so that subjects add up to the whole.

A law asks for the main criteria with their weights; where hundreds of small facts carry a prediction, six reasons are not that.
A subject gathers feature parts and input fields that a reviewer takes for one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.explain.matters import subject_of_matter
from analysis.explain.reasons import Means, gathered, says, topics
from analysis.results.explanation_parts import OWN_SUBJECT, FeatureContribution, SubjectWeight
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
    """Of all that could be a reason, a matter at a time: how many raised and lowered the prediction, and by how much."""

    told: float
    """Signed sum."""
    size: float
    """Sum of the absolute values."""
    counts: tuple[int, int]
    """(facts that raised, facts that lowered)"""
    subjects: tuple[SubjectWeight, ...]
    """Greatest first; they add up to `told` and `size`."""
    unnamed: tuple[int, float] = (0, 0.0)
    """(how many of them nobody can say in plain words, what the strongest of those did)"""
    unnamed_key: str = ""
    """The matter or input of the strongest of those."""


def fact_sums(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], means: Means, own: bool = False
) -> FactSums:  # fmt: skip
    """Over all that `reasons` chooses from, each matter under its subject; a column of no matter under that of its part. Of no
    plain name are matters of which no fact that goes the way of their sum can be said, and inputs without one (`named`). `own`:
    each part of somebody's own table is a subject of its own."""
    values: list[tuple[str, float]] = []
    unnamed: list[tuple[str, float]] = []
    for g in gathered(features, means.alike, means.matter, means.cell, means.sayable):
        first = g.facts[0].leader
        plain = any(says(f, means) for f in g.pulling)
        subject = f"{OWN_SUBJECT}{first.part}" if own else subject_of_matter(g.matter) or subject_of(first.part, first.name)
        values.append((subject, g.value))
        unnamed += [] if plain or not g.value else [(g.matter or first.part, g.value)]
    for topic, (members, value) in topics(groups).items():
        values.append((subject_of(members[0]), value))
        unnamed += [] if means.named(topic) or not value else [(members[0], value)]
    found: dict[str, list[float]] = {}
    for subject, value in values:
        found.setdefault(subject, []).append(value)
    told = [
        SubjectWeight(name, sum(v for v in own if v > 0), sum(v for v in own if v < 0))
        for name, own in found.items()
        if any(own)
    ]
    told.sort(key=lambda s: -s.size)
    every = [v for _, v in values]
    counts = sum(v > 0 for v in every), sum(v < 0 for v in every)
    key, strongest = max(unnamed, key=lambda x: abs(x[1]), default=("", 0.0))
    return FactSums(
        float(sum(every)), float(sum(map(abs, every))), counts, tuple(told), (len(unnamed), float(strongest)), key
    )  # fmt: skip


def subject_of(group: str, column: str = "") -> str:
    """Of a part or field; of a column in its own scale by its name."""
    if group == RAW_PART and column:
        return next((s for start, s in RAW_SUBJECTS.items() if column.startswith(start)), "spending")
    return _OF.get(group, group)
