"""That most of the spend went to one category, and how much went to that category, is one fact with the category's name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis.explain.origin.teller import TOP_SHARE, Teller
from analysis.explain.origin.told import Columns
from analysis.explain.reasons import Subject, reasons
from analysis.results.explanation_parts import FeatureContribution
from ple_model.schema import load_schema

SCHEMA = load_schema()
TRAVEL, HEALTH = "category_share_travel_90d", "category_share_health_90d"
SUBJECT = Subject("spending_bucket", "", "", False, "percentile")


def teller(own: dict[str, float], typical: dict[str, float] | None = None, unknown: tuple[str, ...] = ()) -> Teller:
    """Of a customer of whom nothing but some columns is known."""
    found: Any = Teller.__new__(Teller)
    n = len(SCHEMA.columns)
    values, usual, known = np.zeros(n), np.zeros(n), np.ones(n, dtype=bool)
    for name, value in own.items():
        values[SCHEMA.index[name]] = value
    for name, value in (typical or {}).items():
        usual[SCHEMA.index[name]] = value
    known[[SCHEMA.index[name] for name in unknown]] = False
    found.schema, found._alike, found.columns = SCHEMA, {}, Columns(SCHEMA, values, usual, known)
    found.explainer = SimpleNamespace(peers=SimpleNamespace(order=lambda column: np.zeros(n), shared=np.ones(n, dtype=bool)))
    found.empty, found.similar, found.cell = None, None, lambda name: "value"
    return found  # type: ignore[no-any-return]


def told(t: Teller, share: float, top: float) -> list[tuple[str, tuple[str, ...], float, str]]:
    features = [
        FeatureContribution(
            c.name, c.part, c.group, c.unit, float(t.columns.own[c.index]), float(t.columns.typical[c.index]), value,
            c.sentence_en, c.sentence_ko,
        )
        for c, value in ((SCHEMA.column(TRAVEL), share), (SCHEMA.column(TOP_SHARE), top))
    ]  # fmt: skip
    means = t.means(lambda n: ("health", "건강") if n == HEALTH else None)
    found = [r for sign in (1.0, -1.0) for r in reasons(t.worded(features), {}, SUBJECT, sign, means=means)]
    return [(r.matter, r.told, round(r.contribution, 6), r.facts[0]) for r in found]


def test_both_columns_of_one_fact_are_one_reason_with_their_sum() -> None:
    t = teller({TRAVEL: 0.742, TOP_SHARE: 0.742}, {TRAVEL: 0.08, TOP_SHARE: 0.41})
    assert t.biggest == TRAVEL
    assert set(t.alike(TRAVEL)) >= {TRAVEL, TOP_SHARE} <= set(t.alike(TOP_SHARE))
    ((matter, spoken, effect, said),) = told(t, 12.5, -7.2)
    assert (matter, spoken, effect) == ("category:travel", (TRAVEL,), 5.3)
    assert said.startswith("Share of spend on travel in the last 90 days: 74.2% (all customers: 8.0%")
    ((matter, spoken, effect, said),) = told(t, 1.0, -7.2)
    assert (matter, spoken, effect) == ("category:travel", (TOP_SHARE,), -6.2)
    assert said.startswith("Share of the biggest category, travel, in the spend of the last 90 days: 74% (all customers: 41%")


def test_on_other_sides_of_what_is_usual_they_are_two_facts_of_one_reason() -> None:
    t = teller({TRAVEL: 0.3, TOP_SHARE: 0.3}, {TRAVEL: 0.08, TOP_SHARE: 0.41})
    assert TOP_SHARE not in t.alike(TRAVEL)
    assert [(m, n, e) for m, n, e, _ in told(t, 3.0, 2.0)] == [("category:travel", (TRAVEL,), 5.0)]
    assert [(m, n, e) for m, n, e, _ in told(t, 2.0, -3.0)] == [("category:travel", (TOP_SHARE,), -1.0)]


@pytest.mark.parametrize(
    ("own", "unknown"),
    [({TRAVEL: 0.5, HEALTH: 0.5, TOP_SHARE: 0.5}, ()), ({TRAVEL: 0.7, TOP_SHARE: 0.7}, (TRAVEL,)),
     ({TRAVEL: 0.7, TOP_SHARE: 0.7}, (TOP_SHARE,))],
)  # fmt: skip
def test_of_equals_and_of_what_is_not_known_or_barred_no_name_is_told(own: dict[str, float], unknown: tuple[str, ...]) -> None:
    t = teller(own, {TRAVEL: 0.08, TOP_SHARE: 0.41}, unknown)
    assert t.biggest == ""
    assert t.matter(TOP_SHARE) == "mix"
    assert [m for m, *_ in told(t, 0.0, 1.0)] == ["mix"]


def test_a_biggest_category_that_may_be_sensitive_is_marked() -> None:
    t = teller({HEALTH: 0.8, TOP_SHARE: 0.8}, {HEALTH: 0.1, TOP_SHARE: 0.4})
    kind = t.means(lambda n: ("health", "건강") if n == HEALTH else None).sensitive
    assert kind(TOP_SHARE) == ("health", "건강")
    assert kind(TRAVEL) is None
    assert t.matter(TOP_SHARE) == "category:health"
