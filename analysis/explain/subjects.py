"""All that moved a prediction, by subject: every fact is in one of a few subjects, so that subjects add up to the whole.

A law asks for the main criteria with their weights; where hundreds of small facts carry a prediction, six reasons are not that.
A subject gathers feature parts and input fields that a reviewer takes for one thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.explain.reasons import Alike, Says, always, merged, topics
from analysis.explain.sayable import RESTS_ON
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
UNNAMED = "activity"
"""Patterns over time and statistics that nobody would say to a customer."""
_OF = {group: subject for subject, groups in SUBJECTS.items() for group in groups}


@dataclass(frozen=True)
class FactSums:
    """Of all facts that could be a reason, those that say the same taken together: how many raised and lowered the prediction,
    and by how much."""

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


def fact_sums(
    features: Sequence[FeatureContribution], groups: Mapping[str, float], alike: Alike, sayable: Says = always,
    named: Says = always, own: bool = False,
) -> FactSums:  # fmt: skip
    """Over all that `reasons` chooses from, each fact under the subject of the column or input that speaks for it; a column
    without a plain name (`sayable`) is under one of its own, and `unnamed` counts inputs without one (`named`) too. `own`: each
    part of somebody's own table is a subject of its own."""
    values: list[tuple[str, float]] = []
    unnamed: list[float] = []
    for x, _, value in merged(features, alike, sayable=sayable):
        plain = sayable(x.name) or x.name in RESTS_ON
        subject = f"{OWN_SUBJECT}{x.part}" if own else subject_of(x.part, x.name)
        values.append((subject if plain else UNNAMED, value))
        unnamed += [] if plain or not value else [value]
    for topic, (members, value) in topics(groups).items():
        values.append((subject_of(members[0]), value))
        unnamed += [] if named(topic) or not value else [value]
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
    strongest = max(unnamed, key=abs, default=0.0)
    return FactSums(
        float(sum(every)), float(sum(map(abs, every))), counts, tuple(told), (len(unnamed), float(strongest))
    )  # fmt: skip


def subject_of(group: str, column: str = "") -> str:
    """Of a part or field; of a column in its own scale by its name."""
    if group == RAW_PART and column:
        return next((s for start, s in RAW_SUBJECTS.items() if column.startswith(start)), "spending")
    return _OF.get(group, group)
