"""Which facts a person can say, how their numbers are written, which are marked as sensitive, and why something is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.engine.population import Population
from analysis.explain.counterfactual import _Search
from analysis.explain.lacking import lacking
from analysis.explain.linked import held_columns
from analysis.explain.origin import teller
from analysis.explain.origin.clusters import Trait
from analysis.explain.origin.told import OriginSentence, beside_said, pair_of
from analysis.explain.reasons import Means, Subject, reasons
from analysis.explain.sayable import RESTS_ON, UNNAMED_TOPICS, counted, sayable, told_against, value_said, values_said
from analysis.explain.sensitive import sensitive_columns
from analysis.explain.subjects import fact_sums
from analysis.results.explanation_parts import FeatureChange, FeatureContribution
from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.own_schema import own_schema
from ple_model.presence import part_key
from ple_model.schema import PART_SLICES, FeatureColumn, load_schema

SCHEMA = load_schema()
SUBJECT = Subject("churn", "Churn", "", True, "")
RIDDLES = re.compile(r"hjorth|wave|entropy|logarithm|from -1|coefficient|percentile|skew|stage of|phase", re.IGNORECASE)


def fact(name: str, own: float, typical: float, contribution: float = 0.1) -> FeatureContribution:
    c = SCHEMA.column(name)
    return FeatureContribution(
        c.name, c.part, c.group, c.unit, own, typical, contribution, c.sentence_en, c.sentence_ko
    )  # fmt: skip


def told(name: str, own: float, other: float) -> tuple[str, str]:
    c = SCHEMA.column(name)
    said = [
        beside_said(name, s, c.unit, own, other, None, "value", x) for x, s in (("en", c.sentence_en), ("ko", c.sentence_ko))
    ]
    return said[0], said[1]


def test_no_column_that_a_reason_can_be_made_of_is_a_riddle() -> None:
    names = [c.name for c in SCHEMA.columns if sayable(SCHEMA, c.name)]
    for name in names:
        said, _ = told(name, 0.5, 0.25)
        assert not RIDDLES.search(said), said
    assert 300 < len(names) < 560
    assert not sayable(SCHEMA, "lnn_complexity")
    assert not sayable(SCHEMA, "gap_cv_365d")
    assert set(RESTS_ON) < set(SCHEMA.index)


@pytest.mark.parametrize(
    ("name", "own", "other", "en", "ko"),
    [
        ("recency_to_usual_gap", 13.1, 0.75, "13.1 times (all customers: 0.8 times)", "13.1배(전체 고객 0.8배)"),
        ("credit_utilisation_change_84d", -0.38, 0.001, "-38.0 points (all customers: 0.1 points)",
         "-38.0%p(전체 고객 0.1%p)"),
        ("raw_max_ticket_health_365d", 0.0, 52.8, "none (all customers: 52.8)", "없음(전체 고객 52.8)"),
        ("category_trend_travel_90d", 0.5, -1.0, "3 times (all customers: some before, none in the later days)",
         "3배(전체 고객 이전에는 있었으나 나중 기간에는 없음)"),
        ("category_trend_travel_90d", 0.0, -1.0, "as much as before (all customers: some before, none in the later days)",
         "이전과 같은 수준(전체 고객 이전에는 있었으나 나중 기간에는 없음)"),
        ("category_trend_travel_90d", 0.98, -0.9, "more than 10 times (all customers: less than 1/10)",
         "10배 초과(전체 고객 10분의 1 미만)"),
        ("session_active_days_90d", 62.0, 36.5, "62 days (all customers: 36.5 days)", "62일(전체 고객 36.5일)"),
        ("raw_max_ticket_health_365d", 0.003, 52.8, "none (all customers: 52.8)", "없음(전체 고객 52.8)"),
        ("session_count_7d", 0.0, 1.0, "0 (all customers: 1)", "0회(전체 고객 1회)"),
        ("product_opened_90d", 4.0, 0.0, "4 (all customers: 0)", "4개(전체 고객 0개)"),
        ("category_share_clothing_365d", 0.48, 0.037, "48.0% (all customers: 3.7%)", "48.0%(전체 고객 3.7%)"),
        ("channel_app_share_365d", 0.94, 0.47, "94% (all customers: 47%)", "94%(전체 고객 47%)"),
        ("category_recency_travel", 365.0, 79.0, "none in a year (all customers: 79 days)", "1년간 없음(전체 고객 79일)"),
        ("purchase_count_28d", 3.0, 3.0, ": 3", ": 3건"),
        ("gap_mean_365d", 386.4, 52.0, ": 16.1 days (all customers: 2.2 days)", ": 16.1일(전체 고객 2.2일)"),
        ("gap_mean_365d", 40.0, 36.0, ": 40 hours (all customers: 36 hours)", ": 40시간(전체 고객 36시간)"),
        ("recency_days", 1.0, 3.0, ": 1 day (all customers: 3 days)", ": 1일(전체 고객 3일)"),
        ("credit_oldest_line_days", 272.0, 1506.0, "oldest credit line: 272 days (all customers: 1,506 days)",
         ": 272일(전체 고객 1,506일)"),
    ],
)  # fmt: skip
def test_values_are_written_as_a_person_says_them(name: str, own: float, other: float, en: str, ko: str) -> None:
    said = told(name, own, other)
    assert said[0].endswith(en)
    assert said[1].endswith(ko)


def test_a_median_of_those_who_have_a_value_is_not_called_that_of_all() -> None:
    c = SCHEMA.column("credit_limit_total")
    said = [
        beside_said(c.name, s, "USD", 900.0, 3400.0, similar, "value", x, shared=False)
        for x, s in (("en", c.sentence_en), ("ko", c.sentence_ko)) for similar in (None, 3100.0)
    ]  # fmt: skip
    assert said[0].endswith("$900.00 (customers who have any: $3,400.00)")
    assert said[1].endswith("$900.00 (customers who have any: $3,400.00; similar customers: $3,100.00)")
    assert said[2].endswith("US$900.00(값이 있는 고객 US$3,400.00)")
    assert said[3].endswith("US$900.00(값이 있는 고객 US$3,400.00 / 유사 고객 US$3,100.00)")


def test_a_comparison_is_told_only_where_it_is_one() -> None:
    trend = "category_trend_travel_90d"
    assert [told_against(trend, v, kept=True) for v in (0.0, 1.0, -1.0, 3.0, -1.2)] == [True, True, True, False, False]
    assert [told_against(trend, v, kept=False) for v in (0.0, 0.5, -1.0)] == [False, True, True]
    assert told_against("recency_days", 0.0, kept=False)
    assert value_said(trend, 3.0, "ratio", "", "en") == "no clear comparison"


def test_a_customers_comparison_is_sayable_where_its_value_is_one() -> None:
    trend = "category_trend_travel_90d"

    def said(value: float, empty: bool) -> bool:
        own = np.full(len(SCHEMA.columns), value)
        kept = np.zeros(len(own), bool) if empty else None
        who = SimpleNamespace(schema=SCHEMA, columns=SimpleNamespace(own=own), empty=kept)
        return teller.Teller.sayable(who, trend)  # type: ignore[arg-type]

    assert [said(v, True) for v in (0.0, 0.5, 3.0)] == [True, True, False]
    assert [said(v, False) for v in (0.0, 0.5, 3.0)] == [False, True, False]


def test_a_change_names_nothing_that_could_be_no_reason() -> None:
    search = SimpleNamespace(schema=SCHEMA, columns=SimpleNamespace(own=np.zeros(len(SCHEMA.columns))))
    after = np.full(len(SCHEMA.columns), 0.5)
    names = ("avg_ticket_90d", "gap_cv_365d", "lnn_complexity", "category_share_travel_365d")
    told = [_Search._readable(search, SCHEMA.index[n], after) for n in names]  # type: ignore[arg-type]
    assert told == [True, False, False, True]


def test_a_reason_is_weak_beside_what_is_told_and_not_beside_what_nobody_can_say() -> None:
    features = [fact("lnn_complexity", 1.5, 1.2, 0.9), fact("recency_days", 3, 9, 0.005), fact("spend_28d", 3, 9, 0.00001)]
    found = reasons(features, {}, SUBJECT, 1.0, means=Means(sayable=lambda n: sayable(SCHEMA, n)))
    assert [r.sources for r in found] == [("recency_days",)]


def test_a_part_of_ones_own_is_no_subject_of_the_packages() -> None:
    own = FeatureContribution("activity", "activity", "own", "count", 1.0, 0.0, 0.2, "Activity.", "활동.")
    (subject,) = fact_sums([own], {}, Means(), own=True).subjects
    assert (subject.named("en"), subject.named("ko")) == ("activity", "activity")


def test_a_change_is_said_in_the_words_of_reasons() -> None:
    said = {n: pair_of(SCHEMA.column(n), a, b, "en") for n, a, b in (
        ("category_trend_travel_90d", -0.33, 0.5), ("credit_utilisation_change_84d", -0.38, 0.1),
        ("category_recency_travel", 365.0, 20.0))}  # fmt: skip
    assert list(said.values()) == [("0.5 times", "3.0 times"), ("-38 points", "10 points"), ("none in a year", "20 days")]
    change = FeatureChange("x", 3.0, 5.0, "count", "Purchases.", "구매 건수입니다.", words=(("3", "5"), ("3건", "5건")))
    assert change.said("en") == "purchases: 5 instead of 3"
    assert "5건" in change.said("ko")
    assert change.shown("ko") == ("3건", "5건")
    assert replace(change, words=()).shown("en") == ("3", "5")


def test_both_numbers_of_a_sentence_have_equally_many_decimals() -> None:
    assert values_said("gap_mean_90d", (12.0, 6.3), "hours", "", "en") == ("12.0 hours", "6.3 hours")
    assert values_said("gap_mean_90d", (12.0, 6.0, 7.25), "hours", "", "en") == ("12.0 hours", "6.0 hours", "7.2 hours")
    assert values_said("recency_days", (12.0, 34.0), "days", "", "en") == ("12 days", "34 days")
    assert value_said("recency_days", 12.0, "days", "", "ko") == "12일"
    said = [
        counted(3, SCHEMA.column(n).sentence_ko, "ko") for n in ("merchant_count_90d", "active_week_streak", "brand_new_90d")
    ]
    assert said == ["3곳", "3주", "3개"]
    assert counted(3, SCHEMA.column("merchant_count_90d").sentence_en, "en") == "3"


def test_what_has_no_plain_name_is_no_reason_and_an_estimate_is_told_by_what_it_rests_on() -> None:
    features = [fact("lnn_complexity", 1.5, 1.2, 0.5), fact("gap_cv_365d", 4.1, 1.0, 0.4), fact("probability_alive", 0.2, 0.5)]
    features.append(fact("recency_days", 3, 9, 0.05))
    means = Means(
        sayable=lambda n: sayable(SCHEMA, n), rests=lambda n: OriginSentence("The pause", "공백", spoken=RESTS_ON[n]),
        named=lambda topic: topic != "shape",
    )  # fmt: skip
    found = reasons(features, {"tda_features": 0.9}, SUBJECT, 1.0, means=means)
    assert [r.sources for r in found] == [("probability_alive",), ("recency_days",)]
    assert found[0].fact("en") == "The pause"


def test_a_reason_that_may_be_sensitive_is_marked_beside_its_sentence_and_no_other_is() -> None:
    names = sensitive_columns(SCHEMA, load_config("small").explanations.sensitive)
    assert {"category_count_health_90d", "raw_max_ticket_health_365d", "insurance_claim_90d"} < names.keys()
    assert not names.keys() & {"essential_share_90d", "crime_unusual_place_share_28d", "insurance_premium_28d", "spend_28d"}
    means = Means(sensitive=names.get)
    marked, plain = reasons(
        [fact("category_count_health_90d", 8, 3), fact("recency_days", 3, 9)], {}, SUBJECT, 1.0, means=means
    )
    assert (marked.sensitive, plain.sensitive) == (True, False)
    assert marked.kind == ("health", "건강")
    assert marked.said("en").endswith("points. [may be sensitive: health]")
    assert marked.fact("ko").endswith("[민감정보일 수 있음: 건강]")
    assert all("sensitive" not in r.en and "민감" not in r.ko for r in (marked, plain))  # a customer may be sent it
    assert plain.said("en") == plain.en
    through = Means(lambda topic, value: OriginSentence("a", "b", spoken=("category_share_health_90d",)), sensitive=names.get)
    assert reasons([], {"cluster_probs": 0.1}, SUBJECT, 1.0, means=through)[0].sensitive


def test_columns_of_ones_own_are_known_as_sensitive_by_their_names() -> None:
    names = {
        "Diagnosis": True, "religion": True, "disability_status": True, "건강등급": True, "unionMember": True,
        "credit_union_balance": False, "union_bank_transfers": False, "union": True, "smoker": True, "bmi": True,
        "pregnant": True, "drug_spend": True, "care_level": True,
        "income": False, "health_insurance_region": True, "race": True, "grace_period": False, "document_지문서": False,
    }  # fmt: skip
    columns = tuple(
        FeatureColumn(
            i, name=f"c{i}", group="own", part=f"c{i}", unit="count", scale="linear", how=f"column: {n}", empty="",
            sentence_en=f"{n}.", sentence_ko=f"{n}.",
        )
        for i, n in enumerate(names)
    )  # fmt: skip
    found = sensitive_columns(own_schema(columns), load_config("small").explanations.sensitive)
    assert [f"c{i}" in found for i in range(len(names))] == list(names.values())
    assert sensitive_columns(own_schema(columns), ["income"]) == {"c13": ("", "")}
    assert sensitive_columns(own_schema(columns), ["Diagnosis", "health"])["c0"] == ("health", "건강")
    assert sensitive_columns(own_schema(columns), ["health", "Diagnosis"])["c0"] == ("health", "건강")
    nothing = np.zeros(len(columns), bool)
    assert held_columns(own_schema(columns), nothing, ["health"]).nonzero()[0].tolist() == [0, 2, 3, *range(8, 13), 14]
    assert held_columns(own_schema(columns), nothing, [], found).tolist() == list(names.values())


def test_a_name_that_is_none_of_the_model_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"explanations\.sensitive: 'helth'.*did you mean 'health'"):
        sensitive_columns(SCHEMA, ["helth"])


def test_who_has_none_is_told_from_what_nobody_records_and_from_too_short_a_history() -> None:
    there = np.ones(3, bool)
    parts = {p: there & (p != "overseas") for p in PART_SLICES}
    n = sum(s.stop - s.start for s in PART_SLICES.values())
    peers = Population(np.zeros((3, n), np.float32), parts, dict(PART_SLICES), np.zeros(3, int), np.zeros(3, int), {}, {})
    absent = (
        "tda_short_diagrams", part_key("investment"), part_key("tda_short"), part_key("overseas"), part_key("credit"),
        part_key("income_decomposition"), part_key("deposit"),
    )  # fmt: skip
    found = lacking(absent, peers, False)
    assert found.none == ("investment", "credit", "deposit")
    assert found.short == ("tda_features",)
    assert found.unrecorded == ("overseas",)
    assert found.said("en") == (
        "None on record: investments, credit, deposits. Too little activity to tell: shape of activity. "
        "Recorded of no sampled customer: spending abroad."
    )
    assert "투자, 신용, 예금" in found.said("ko")
    assert lacking((), peers, False).said("en") == ""


def test_an_empty_cell_of_ones_own_table_is_told_from_a_column_that_nobody_has() -> None:
    parts = {"income": np.array([True, True, False]), "rating": np.zeros(3, bool)}
    where = {"income": slice(0, 1), "rating": slice(1, 2)}
    peers = Population(np.zeros((3, 2), np.float32), parts, where, np.zeros(3, int), np.zeros(3, int), {}, {})
    found = lacking((part_key("income"), part_key("rating"), "txn_seq"), peers, True)
    assert (found.empty, found.unrecorded, found.none, found.short) == (("income",), ("rating",), (), ())
    assert found.said("en") == "Recorded of no sampled customer: rating. Empty for this customer: income."
    assert "이 고객에게 값이 비어 있는 항목: income" in found.said("ko")


def test_what_no_reason_can_tell_is_counted_with_the_strongest_of_it() -> None:
    features = [fact("lnn_complexity", 1.5, 1.2, 0.5), fact("gap_cv_365d", 4.1, 1.0, -0.4), fact("recency_days", 3, 9, 0.05)]
    features.append(fact("probability_alive", 0.2, 0.5, 0.9))
    means = Means(sayable=lambda n: sayable(SCHEMA, n), named=lambda topic: topic not in UNNAMED_TOPICS)
    sums = fact_sums(features, {"hmm_summary": -0.7, "txn_seq": 2.0, "tda_features": 0.0}, means)
    assert (sums.unnamed, sums.unnamed_key) == ((2, -0.7), "hmm_summary")
    assert fact_sums(features[2:], {}, Means()).unnamed == (0, 0.0)


def test_a_group_is_not_called_by_what_may_be_sensitive_or_is_barred(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("category_share_health_90d", "essential_share_90d", "product_open_count")
    traits = tuple(Trait(SCHEMA.index[n], f"trait.{n}.more", True) for n in names)
    monkeypatch.setattr(teller, "clusters_of", lambda explainer: SimpleNamespace(traits=lambda cluster: traits))
    e = SimpleNamespace(model=SimpleNamespace(context=SimpleNamespace(schema=SCHEMA)))
    path = SimpleNamespace(customer=SimpleNamespace(cluster_ids=[0]))
    barred, sensitive = (np.array([c.name == n for c in SCHEMA.columns]) for n in (names[1], names[0]))
    found = teller.Teller(e, None, None, path, None, "churn", None, barred, frozenset(), sensitive).traits  # type: ignore[arg-type]
    assert found == traits[2:]
