"""What is taken together as one reason says the same of the customer; what merely goes together stays two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.engine.population import Population
from analysis.explain.hours import hour_of, hours_said
from analysis.explain.origin.alike import SAME_ORDER, alike
from analysis.explain.reasons import Means, Subject, merged, of_feature, reasons
from analysis.naming import said_name
from analysis.results.explanation_parts import FeatureContribution, Reason
from ple_model.data.synth.world import BRANDS
from ple_model.run import load_run
from ple_model.schema import PART_SLICES, load_schema
from ple_model.tasks import TASKS
from tests.shared import SMALL_RUN

SCHEMA = load_schema()
INDEX = SCHEMA.index
RUN = load_run(SMALL_RUN)


def population(**orders: np.ndarray) -> Population:
    n = 400
    features = np.zeros((n, len(SCHEMA.columns)), np.float32)
    for name, values in orders.items():
        features[:, INDEX[name]] = values
    there = np.ones(n, bool)
    return Population(features, dict.fromkeys(PART_SLICES, there), dict(PART_SLICES), np.zeros(n), np.zeros(n), {}, {})


def names(column: str, peers: Population, **sides: float) -> set[str]:
    """What says the same as `column` of a customer who stands on these sides of the typical values."""
    own = np.zeros(len(SCHEMA.columns))
    for name, side in sides.items():
        own[INDEX[name]] = side
    found = alike(SCHEMA, peers, INDEX[column], own, np.zeros(len(own)))
    return {SCHEMA.columns[int(i)].name for i in np.flatnonzero(found)} & {column, *sides}


def test_windows_of_one_fact_are_one_reason_only_where_they_say_the_same_of_the_customer() -> None:
    peers = population()
    both = names("spend_28d", peers, spend_28d=1, spend_365d=1, raw_spend_90d=2)
    assert both == {"spend_28d", "spend_365d", "raw_spend_90d"}
    assert names("spend_28d", peers, spend_28d=-1, spend_365d=1) == {"spend_28d"}
    assert names("spend_28d", peers, spend_28d=1, purchase_count_28d=1) == {"spend_28d"}


def test_facts_that_merely_go_together_stay_two() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    peers = population(credit_headroom=x, credit_limit_mean=x + rng.normal(size=400) * 0.6, session_count_90d=x)
    ranks = peers.order(INDEX["credit_headroom"])
    assert 0.7 < ranks[INDEX["credit_limit_mean"]] < SAME_ORDER
    ones = {"credit_headroom": 1.0, "credit_limit_mean": 1.0, "session_count_90d": 1.0}
    # of the same order, but not of the same part
    assert names("credit_headroom", peers, **ones) == {"credit_headroom"}
    same = population(credit_headroom=x, credit_limit_mean=-x)
    assert names("credit_headroom", same, credit_headroom=1, credit_limit_mean=-1) == {"credit_headroom", "credit_limit_mean"}
    assert names("credit_headroom", same, credit_headroom=1, credit_limit_mean=1) == {"credit_headroom"}


def test_the_threshold_is_that_of_customers_of_whom_two_columns_say_opposites() -> None:
    """In the bundled run's sample: of columns of one order hardly any customer stands on opposite sides, at 0.7 many do."""
    inputs = RUN.sample().load("train", limit=400, seed=0).inputs
    peers = Population.of([inputs])
    side = np.sign(peers.features - np.median(peers.features, 0))
    shares: dict[str, list[float]] = {"one": [], "near": []}
    for i in range(0, 600, 3):
        order = peers.order(i)
        for j in np.flatnonzero((np.abs(order) >= 0.7) & (np.arange(len(order)) > i)):
            both = side[:, i] * side[:, j] * np.sign(order[j])
            kind = "one" if abs(order[j]) >= SAME_ORDER else "near" if abs(order[j]) < 0.75 else ""
            if kind and (both != 0).sum() > 100:
                shares[kind].append(float((both[both != 0] < 0).mean()))
    assert np.mean(shares["one"]) < 0.05
    assert np.mean(shares["near"]) > 0.1


def part(name: str, value: float, typical: float, contribution: float = 0.01) -> FeatureContribution:
    c = SCHEMA.columns[INDEX[name]]
    return FeatureContribution(name, c.part, c.group, c.unit, value, typical, contribution, c.sentence_en, c.sentence_ko)


@pytest.mark.parametrize("hour", [0, 3.5, 6, 11, 17, 20, 23])
def test_an_hour_comes_back_from_its_sine_and_cosine(hour: float) -> None:
    angle = hour * np.pi / 12
    found, close = hour_of(0.8 * np.sin(angle), 0.8 * np.cos(angle))
    assert found == pytest.approx(hour)
    assert close == pytest.approx(0.8)


def circle(hour: float, close: float, usual: float, typical: float) -> list[FeatureContribution]:
    a, b = hour * np.pi / 12, usual * np.pi / 12
    return [
        part("hour_mean_sin_90d", close * np.sin(a), typical * np.sin(b)),
        part("hour_mean_cos_90d", close * np.cos(a), typical * np.cos(b), -0.004),
    ]


def hour_told(parts: list[FeatureContribution], subject: Subject) -> Reason | None:
    both = Means(alike=lambda name: ("hour_mean_sin_90d", "hour_mean_cos_90d"))
    return next(iter(reasons(parts, {}, subject, 1.0, means=both)), None)


def test_a_time_of_day_names_the_hour_in_both_languages() -> None:
    subject = Subject("nba", "Next best action", "fund", True, "")
    found = hour_told(circle(20, 0.9, 14, 0.7), subject)
    assert found is not None
    assert found.en == (
        "Time of purchases in the last 90 days: around 8 pm on average (all customers: around 2 pm); this raises the "
        "probability of 'fund' by 0.6 points."
    )
    assert "평균 오후 8시경(전체 고객 오후 2시경)" in found.ko
    assert "'펀드' 확률" in found.ko
    assert found.contribution == pytest.approx(0.006)
    assert "at no particular time of day (all customers: mostly around 2 pm)" in hours_said(circle(9, 0.2, 14, 0.7), "en")
    assert "평균 낮 12시경(전체 고객 오후 2시경)" in hours_said(circle(12.2, 0.8, 14, 0.7), "ko")
    assert "mostly around 9 pm (all customers: at no particular time of day)" in hours_said(circle(21, 0.8, 14, 0.3), "en")
    assert hours_said(circle(3, 0.05, 14, 0.3), "en") == ""
    assert "around noon on average (all customers: around midnight)" in hours_said(circle(12, 0.8, 23.8, 0.7), "en")


def test_hours_that_differ_by_less_than_they_are_rounded_are_no_reason() -> None:
    subject = Subject("nba", "Next best action", "fund", True, "")
    assert hour_told(circle(14, 0.9, 14.9, 0.7), subject) is None
    assert hour_told(circle(0.3, 0.9, 23.6, 0.7), subject) is None
    assert hour_told(circle(14, 0.6, 20, 0.7)[:1], subject) is None  # half an angle


def test_the_two_halves_of_an_hour_are_one_reason() -> None:
    peers = population()
    both = names("hour_mean_sin_90d", peers, hour_mean_sin_90d=1, hour_mean_cos_90d=-1)
    assert len(both) == 2
    found = merged(circle(20, 0.9, 14, 0.7), Means(alike=lambda name: ("hour_mean_sin_90d", "hour_mean_cos_90d")))
    assert [len(together) for _, together, _ in found] == [2]


def test_every_name_of_the_package_has_its_korean_and_others_stay_as_they_are() -> None:
    for name in {*(c for t in TASKS.values() for c in t.classes), *BRANDS}:
        assert said_name(name, "en") == name
        said = said_name(name, "ko")
        assert said != name or not any("a" <= x <= "z" for x in name.lower()), name
    assert said_name("Supermarket A N", "ko") == "슈퍼마켓 A N"
    assert said_name("in 5 days", "ko") == "5일 후"
    assert said_name("manufacturer 1042", "ko") == "manufacturer 1042"
    assert said_name("Kakao A N", "ko") == "Kakao A N"


def test_a_reason_for_an_offer_of_another_bank_keeps_its_name() -> None:
    subject = Subject("nba", "Next best action", "Gold Saver", True, "")
    assert "'Gold Saver'" in of_feature(part("recency_days", 12, 34), subject).ko


def test_a_customer_without_purchases_has_no_hour() -> None:
    parts = [
        FeatureContribution(f"hour_mean_{axis}_90d", "temporal", "g", "score", 0.0, 0.6, 0.1, "", "") for axis in ("sin", "cos")
    ]
    assert hours_said(parts, "en") == "Time of purchases in the last 90 days: none is known"
    assert "00:00" not in hours_said(parts, "ko")


def test_no_purchase_in_a_year_is_said_in_words_and_not_as_365_days() -> None:
    column = next(c for c in SCHEMA.columns if "last purchase in online shops and services, 365" in c.sentence_en)
    subject = Subject("nba", "next best action", "fund", True, "")
    fact = FeatureContribution(
        column.name, column.part, column.group, column.unit, 365.0, 43.0, 0.05, column.sentence_en, column.sentence_ko
    )
    never = of_feature(fact, subject, lambda name: 80.0)
    assert never.en.startswith(
        "Days since the last purchase in online shops and services: none in a year (all customers: 43 days; "
        "similar customers: 80 days);"
    )
    assert "1년간 없음" in never.ko
    assert "365" not in never.en + never.ko
    some = of_feature(replace(fact, value=12.0), subject)
    assert some.en.startswith("Days since the last purchase in online shops and services: 12 days (all customers: 43 days);")
