"""A column of one's own table may become several features (an indicator a category, an amount twice). People know the one.

Reasons and counterfactuals take them together: their contributions add up, and a category moves as a whole, so that no customer
is of two categories or of none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.i18n import phrase
from analysis.results.explanation_parts import FeatureContribution
from ple_model.schema import FeatureSchema

CATEGORY = "category"
"""The unit of the contribution of a whole category: its sentences hold the values."""


def columns_of(schema: FeatureSchema, name: str) -> list[int]:
    """The numbers of all feature columns that come from the same source column."""
    i = schema.index[name]
    return [c.index for c in schema.columns if c.how == schema.columns[i].how] if schema.own else [i]


def by_source(schema: FeatureSchema, features: Sequence[FeatureContribution]) -> tuple[FeatureContribution, ...]:
    """One contribution a source column, the strongest first; those of the package's columns as they are."""
    if not schema.own:
        return tuple(features)
    together: dict[str, list[FeatureContribution]] = {}
    for f in features:
        together.setdefault(schema.columns[schema.index[f.name]].how, []).append(f)
    found = [_one(schema, fs) for fs in together.values()]
    return tuple(sorted(found, key=lambda f: -abs(f.contribution)))


def _one(schema: FeatureSchema, features: list[FeatureContribution]) -> FeatureContribution:
    first = min(features, key=lambda f: schema.index[f.name])  # the column itself before its raw copy
    total = sum(f.contribution for f in features)
    if len(columns_of(schema, first.name)) == 1 or first.unit != "flag":
        return replace(first, contribution=total)
    own = next((f for f in features if f.value >= 0.5), None)
    typical = next((f for f in features if f.typical >= 0.5 and f is not own), None)
    shown = own or max(features, key=lambda f: abs(f.contribution))
    if own is None:
        return replace(shown, contribution=total)
    en, ko = own.sentence_en.rstrip("."), own.sentence_ko.rstrip(".")
    if typical is not None:
        en += phrase("reason.typical", "en", value=typical.sentence_en.rstrip(".").rpartition(": ")[2])
        ko += phrase("reason.typical", "ko", value=typical.sentence_ko.rstrip(".").rpartition(": ")[2])
    return replace(own, contribution=total, unit=CATEGORY, sentence_en=f"{en}.", sentence_ko=f"{ko}.")
