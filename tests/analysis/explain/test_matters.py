"""Every column is about something that has a name, and a reason stands for all columns that are about the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from analysis.explain.matters import CATEGORY, MATTERS, matter_in, matter_of, subject_of_matter
from analysis.explain.origin.told import OriginSentence
from analysis.explain.reasons import Means, Subject, gathered, reasons
from analysis.explain.sayable import RESTS_ON, sayable
from analysis.explain.subjects import SUBJECTS, fact_sums
from analysis.i18n import section
from analysis.results.explanation_parts import FeatureContribution, matter_said
from analysis.wording import OPAQUE
from ple_model.schema import load_schema
from ple_model.tasks import SPENDING_CATEGORIES

SCHEMA = load_schema()
SPEAKING = [c for c in SCHEMA.columns if c.part not in OPAQUE]
SUBJECT = Subject("churn", "Churn", "", True, "")


def about(name: str) -> str:
    return matter_in(SCHEMA, name)


MEANS = Means(
    sayable=lambda n: sayable(SCHEMA, n), matter=about, rests=lambda n: OriginSentence("The pause", "공백", spoken=(n,)),
    sensitive=lambda n: ("health", "건강") if "health" in n else None,
)  # fmt: skip


def fact(name: str, contribution: float, own: float = 3.0, typical: float = 9.0) -> FeatureContribution:
    c = SCHEMA.column(name)
    return FeatureContribution(c.name, c.part, c.group, c.unit, own, typical, contribution, c.sentence_en, c.sentence_ko)


def told(features: Sequence[FeatureContribution], sign: float = 1.0) -> list[tuple[str, ...]]:
    return [r.told for r in reasons(features, {}, SUBJECT, sign, means=MEANS)]


def test_every_column_that_speaks_for_itself_is_about_something_with_a_name() -> None:
    keys = {about(c.name) for c in SPEAKING}
    assert keys == {*MATTERS, *(f"{CATEGORY}:{c}" for c in SPENDING_CATEGORIES)}
    assert all(subject_of_matter(k) in SUBJECTS for k in keys)
    for language in ("en", "ko"):
        names = [matter_said(k, language) for k in keys]
        assert len(set(names)) == len(names)
        assert set(section("matter", language)) == {*MATTERS, CATEGORY}


@pytest.mark.parametrize(
    ("name", "matter"),
    [
        ("category_share_travel_365d", "category:travel"),
        ("raw_max_ticket_fuel_and_transport_365d", "category:fuel and transport"),
        ("raw_max_ticket_90d", "ticket"), ("recency_days", "pause"), ("recency_to_usual_gap", "pause"),
        ("brand_favourite_recency_days", "places"), ("monthly_spend_slope_13m", "course"), ("monthly_spend_mean_13m", "spend"),
        ("month_02_spend_ratio", "course"), ("month_start_share_90d", "month"), ("category_top_share_90d", "mix"),
        ("membership_lapses_365d", "pace"), ("membership_tenure_days", "belonging"), ("deposit_inflow_28d", "pay_in"),
        ("deposit_net_flow_28d", "balance"), ("raw_deposit_largest_outflow_365d", "pay_out"), ("raw_spend_90d", "spend"),
        ("credit_utilisation", "credit_use"), ("credit_headroom", "credit_lines"), ("insurance_claim_90d", "claims"),
        ("weekend_share_28d", "weekdays"), ("weekend_ticket_ratio_365d", "ticket"), ("session_app_share_90d", "channels"),
    ],
)  # fmt: skip
def test_a_column_is_where_a_reader_would_look_for_it(name: str, matter: str) -> None:
    assert matter_of(name, SCHEMA.column(name).part) == matter


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_matters_part_the_columns_and_add_up(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, len(SPEAKING)).tolist()
    order = np.random.default_rng(seed).permutation(len(SPEAKING))
    features = [fact(SPEAKING[i].name, values[i]) for i in order]
    found = gathered(features, Means(matter=about))
    assert sorted(n for g in found for n in g.names) == sorted(c.name for c in SPEAKING)
    assert all({about(n) for n in g.names} == {g.matter} for g in found)
    assert sum(g.value for g in found) == pytest.approx(sum(values), abs=1e-9)
    sums = fact_sums(features, {}, MEANS)
    assert sums.told == pytest.approx(sum(values), abs=1e-9)
    assert sum(s.size for s in sums.subjects) == pytest.approx(sums.size)
    parts = [p.value for g in found for p in g.parted(lambda f: sayable(SCHEMA, f.leader.name))]
    assert sum(parts) == pytest.approx(sum(values), abs=1e-9)
    assert sums.size >= sum(abs(g.value) for g in found) - 1e-9  # two parts of a matter may pull against each other


def test_a_reason_counts_all_of_its_matter_and_says_so() -> None:
    features = [fact("category_count_travel_90d", 0.3), fact("category_share_travel_365d", -0.1), fact("recency_days", 0.05)]
    travel, pause = reasons(features, {}, SUBJECT, 1.0, means=MEANS)
    assert travel.contribution == pytest.approx(0.2)
    assert (travel.matter, travel.told) == ("category:travel", ("category_count_travel_90d",))
    assert travel.sources == ("category_count_travel_90d", "category_share_travel_365d")
    assert travel.en == (
        "Number of purchases in travel in the last 90 days: 3 (all customers: 9); with the other facts on purchases in "
        "'travel', this raises the probability of churn by 20.0 points."
    )
    assert "여행 구매 관련 사실을 모두 합하여 이탈 확률을 20.0%p 높입니다." in travel.ko
    assert "other facts" not in pause.en


def test_what_pulls_against_its_own_matter_is_not_named() -> None:
    features = [fact("category_count_travel_90d", 0.3), fact("category_share_travel_365d", -0.4)]
    assert told(features) == []
    assert told(features, -1.0) == [("category_share_travel_365d",)]


def test_a_second_fact_is_named_where_the_first_is_less_than_half() -> None:
    first, second, third = (f"category_{x}_travel" for x in ("count", "share", "recency"))
    names = (f"{first}_90d", f"{second}_365d", third)
    assert told([fact(n, v) for n, v in zip(names, (0.5, 0.3, 0.2), strict=True)]) == [names[:1]]
    less = [fact(n, v) for n, v in zip(names, (0.4, 0.35, 0.25), strict=True)]
    agreeing = replace(MEANS, agrees=lambda name, effect: True)
    assert [r.told for r in reasons(less, {}, SUBJECT, 1.0, means=agreeing)] == [names[:2]]
    for verdict in (None, False):  # a fact that customers did not go by does not stand beside one that speaks
        alone = replace(MEANS, agrees=lambda name, effect, verdict=verdict: verdict)
        assert [r.told for r in reasons(less, {}, SUBJECT, 1.0, means=alone)] == [names[:1]]


def test_a_reason_is_worth_what_can_be_said_of_its_matter_and_the_rest_stands_apart() -> None:
    plain, statistic = "gap_mean_90d", "gap_cv_90d"
    for a, b in ((0.1, 0.3), (0.3, 0.1), (0.1, -0.3)):
        (one,) = reasons([fact(plain, a), fact(statistic, b)], {}, SUBJECT, 1.0, means=MEANS)
        assert (one.contribution, one.told, one.sources) == (a, (plain,), (plain,))
        sums = fact_sums([fact(plain, a), fact(statistic, b)], {}, MEANS)
        assert (sums.unsaid.value, sums.unsaid.size) == pytest.approx((b, abs(b)))
        assert (sums.told, sums.size, sums.counts) == (pytest.approx(a + b), pytest.approx(a + abs(b)), (1, 0))
        assert [s.key for s in sums.unsaid.subjects] == ["times"]
    assert told([fact(statistic, 0.3), fact(plain, -0.1)]) == []
    assert told([fact(statistic, 0.3), fact(plain, -0.1)], -1.0) == [(plain,)]  # what cannot be said does not outvote it
    sums = fact_sums([fact(statistic, 0.3), fact(plain, -0.1)], {}, MEANS)
    assert (sums.unnamed, sums.unnamed_key) == ((1, pytest.approx(0.3)), "pace")


def test_reasons_stand_in_the_order_of_what_they_can_say() -> None:
    features = [fact("gap_mean_90d", 0.1), fact("gap_cv_90d", 0.9), fact("category_count_travel_90d", 0.2)]
    assert told(features) == [("category_count_travel_90d",), ("gap_mean_90d",)]


def test_an_input_that_nothing_can_be_said_of_is_no_other_matter() -> None:
    means = replace(MEANS, teller=lambda topic, value: None if topic == "txn_seq" else OriginSentence("Visits", "접속"))
    sums = fact_sums([], {"txn_seq": 0.2, "session_seq": -0.1}, means)
    assert (sums.counts, sums.unsaid.value) == ((0, 1), pytest.approx(0.2))
    assert [(s.key, s.raised) for s in sums.unsaid.subjects] == [("spending", pytest.approx(0.2))]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_reasons_other_matters_and_what_cannot_be_said_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = [fact(c.name, v) for c, v in zip(SPEAKING, rng.uniform(-1, 1, len(SPEAKING)), strict=True)]
    groups = {"txn_seq": float(rng.uniform(-1, 1)), "lnn": float(rng.uniform(-1, 1))}
    means = replace(MEANS, named=lambda topic: topic != "lnn")
    sums = fact_sums(features, groups, means)
    every = [r for sign in (1.0, -1.0) for r in reasons(features, groups, SUBJECT, sign, len(features), means)]
    assert sum(r.contribution for r in every) + sums.unsaid.value == pytest.approx(sums.told, abs=0.02 * sums.size)
    assert sums.told == pytest.approx(sum(f.contribution for f in features) + sum(groups.values()))
    assert sums.size - sums.unsaid.size >= sum(abs(r.contribution) for r in every) - 1e-9
    assert all(
        sayable(SCHEMA, n) for r in every for n in r.sources if n in SCHEMA.index and n not in RESTS_ON and "hour_mean" not in n
    )
    by = {s.key: s for s in sums.subjects}
    assert all(by[s.key].raised >= s.raised - 1e-9 and by[s.key].lowered <= s.lowered + 1e-9 for s in sums.unsaid.subjects)


def test_only_a_matter_that_speaks_of_health_is_marked() -> None:
    features = [fact("essential_share_90d", 0.1), fact("category_count_health_90d", 0.3)]
    assert [r.sensitive for r in reasons(features, {}, SUBJECT, 1.0, means=MEANS)] == [True, False]
