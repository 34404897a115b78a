"""Facts that are told by a customer's place among all."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.explain.ranks import ENOUGH, QUALITIES, Rank, counted_over, quality, rank_of, rank_said, ranked
from analysis.explain.reasons import Means, Subject, reasons
from analysis.explain.sayable import UNNAMED_PARTS, sayable
from analysis.i18n import section
from analysis.results.explanation_parts import FeatureContribution
from ple_model.numerals import LANGUAGES
from ple_model.schema import load_schema

SCHEMA = load_schema()
SUBJECT = Subject("churn", "Churn", "", True, "")


def fact(name: str, contribution: float) -> FeatureContribution:
    c = SCHEMA.column(name)
    return FeatureContribution(name, c.part, c.group, c.unit, 1.3, 1.0, contribution, c.sentence_en, c.sentence_ko)


def test_every_column_is_told_by_its_number_or_by_its_place_or_has_no_plain_name() -> None:
    for c in SCHEMA.columns:
        by_clock = c.name.startswith(("hour_mean_sin_", "hour_mean_cos_"))
        assert sayable(SCHEMA, c.name) + ranked(c.name) + (c.part in UNNAMED_PARTS) + by_clock == 1, c.name


def test_every_quality_is_said_of_a_column_in_both_languages_and_no_two_columns_of_a_span_sound_alike() -> None:
    told = [c.name for c in SCHEMA.columns if ranked(c.name)]
    assert set(section("rank.of", "en")) == set(section("rank.of", "ko")) == set(QUALITIES)
    assert {n for n in QUALITIES if any(QUALITIES[n].fullmatch(c) for c in told)} == set(QUALITIES)
    for language in LANGUAGES:
        texts: dict[str, list[str]] = {}
        for name in told:
            text = quality(name, language)
            assert "{" not in text
            assert "; " not in text
            assert ", " not in text or language == "en"
            texts.setdefault(text, []).append(name)
        alike = [names for names in texts.values() if len(names) > 1]
        # a spread beside the average and that of the logarithm, and two forms of one number, are the same quality
        assert all(re.match(r"amount_(cv|log_std)_|gap_(cv|burstiness)_", n) for names in alike for n in names)


def test_a_place_is_counted_beside_the_others_on_the_far_side() -> None:
    others = np.arange(100, dtype=np.float32)
    assert rank_of(84.0, 50.0, others) == Rank(True, 0.84)
    assert rank_of(16.0, 50.0, others) == Rank(False, 0.83)
    assert rank_of(50.0, 50.0, others) is None
    assert rank_of(84.0, 50.0, others[: ENOUGH - 1]) is None
    said = rank_said("gap_cv_90d", Rank(True, 0.84), "en")
    assert said == "How unevenly purchases follow one another in the last 90 days: more than for 84% of customers"
    assert rank_said("gap_cv_90d", Rank(False, 0.83), "ko") == "최근 90일 구매 간격이 들쭉날쭉한 정도: 전체 고객의 83%보다 작음"
    assert rank_said("gap_cv_90d", Rank(True, 0.999), "en").endswith("more than for nearly all customers")


def test_what_reads_the_same_of_nothing_as_of_one_thing_is_told_apart_by_a_count() -> None:
    told = {c.name: counted_over(c.name) for c in SCHEMA.columns if ranked(c.name)}
    assert {n for n, count in told.items() if count} == {
        c.name for c in SCHEMA.columns if ranked(c.name) and (c.unit == "nats" or c.name == "merchant_activity_radius")
    }
    assert all(count in SCHEMA.index for count in told.values() if count)
    assert told["hour_entropy_90d"] == "purchase_count_90d"


@given(st.lists(st.integers(0, 5), min_size=ENOUGH, max_size=60), st.integers(-1, 6))
def test_whoever_lies_beyond_the_median_is_ahead_of_half_of_them(values: list[int], own: int) -> None:
    others = np.array(values, np.float32)
    rank = rank_of(float(own), float(np.median(others)), others)
    assert rank is None or rank.share >= 0.5


def test_a_fact_without_a_number_to_say_is_a_reason_by_its_place_and_one_with_a_number_goes_before_it() -> None:
    places = {"gap_cv_90d": Rank(True, 0.84), "gap_burstiness_90d": Rank(True, 0.84)}
    plain = lambda name: sayable(SCHEMA, name)  # noqa: E731
    means = Means(sayable=plain, rank=places.get, matter=lambda name: "pace")
    (only,) = reasons([fact("gap_cv_90d", 0.2), fact("gap_burstiness_90d", 0.1)], {}, SUBJECT, 1.0, means=means)
    assert only.contribution == pytest.approx(0.3)
    assert only.en.startswith("How unevenly purchases follow one another in the last 90 days: more than for 84% of customers")
    assert only.told == ("gap_cv_90d",)  # two statistics of one quality are told once
    assert reasons([fact("gap_cv_365d", 0.2)], {}, SUBJECT, 1.0, means=means) == ()  # no place is known of it
    alike = Means(sayable=plain, rank=places.get, alike=lambda name: ("gap_cv_90d", "active_days_365d"))
    (told,) = reasons([fact("gap_cv_90d", 0.2), fact("active_days_365d", 0.1)], {}, SUBJECT, 1.0, means=alike)
    assert told.told == ("active_days_365d",)
