"""Days, visits, states and the graph as reasons: read back from planted sequences, true of what was planted."""

from __future__ import annotations

import re
from datetime import date

import numpy as np
import pytest
import torch

from analysis.engine.population import Population
from analysis.explain.origin.days import Days
from analysis.explain.origin.peers import of_graph
from analysis.explain.origin.states import States
from analysis.explain.origin.told import Columns
from analysis.explain.origin.visits import of_days, of_visits, silence
from ple_model.data.derived.hmm import HmmModel, dynamics
from ple_model.schema import PART_SLICES, load_schema

CUTOFF = date(2024, 10, 1)


def planted() -> Days:
    """Three purchases of 90 on 30 September, one of 45.50 on 20 August, 1,000 paid in on 25 September; two visits."""
    txn, visits = np.zeros((180, 16)), np.zeros((90, 8))
    txn[179, :2] = np.log1p(90), np.log1p(3)
    txn[180 - 42, :2] = np.log1p(45.5), np.log1p(1)
    txn[180 - 6, [8, 10]] = np.log1p(1000), 1
    visits[88, [0, 3, 6]] = np.log1p(600), np.log1p(2.25), 1  # 28 September at 18:00, in the app, ten minutes
    visits[89, [0, 3, 7]] = np.log1p(60), np.log1p(0.5), 1
    return Days(CUTOFF, txn, visits)


def attributed(days: Days, **steps: float) -> np.ndarray:
    values = np.zeros_like(days.txn)
    for step, value in steps.items():
        values[int(step[1:]), 0] = value
    return values


def test_the_days_that_counted_are_told_by_their_months_and_sums_without_a_date() -> None:
    days = planted()
    values = attributed(days, s179=0.04, s138=0.01, s174=-0.03)
    told = of_days(days, values, "USD", float(values.sum()))
    assert told is not None
    assert told.en == (
        "Purchases and payments on 2 days in 2024-08 and 2024-09, in all 4 purchases, $135.50 spent. "
        "That is 100% of what the last 180 days do in this direction"
    )
    assert "2024-08, 2024-09 중 2일의 거래: 합계 구매 4건, 지출 US$135.50. " in told.ko
    assert "영향의 100%를 차지" in told.ko
    assert not re.search(r"\d{4}-\d\d-\d\d", told.en + told.ko)
    assert sum(v for _, v in told.through) == pytest.approx(values.sum())
    assert dict(told.through)["2024-09-25"] == pytest.approx(-0.03)
    lower = of_days(days, attributed(days, s179=0.01, s174=-0.04), "KRW", -0.03)
    assert lower is not None
    assert "one day in 2024-09: ₩1,000 paid in. " in lower.en


def test_the_named_days_say_how_much_of_what_goes_their_way_they_carry() -> None:
    days = planted()
    values = attributed(days, s179=0.04, s138=0.02, s174=-0.03)
    values[:100, 0] = 0.0001  # days without anything: 0.01 in all; and a rest of 0.01
    told = of_days(days, values, "USD", float(values.sum()) + 0.01)
    assert told is not None
    assert "That is 75% of what the last 180 days do" in told.en  # 0.06 of 0.08
    assert "영향의 75%를" in told.ko
    assert of_days(days, values, "USD", float(values.sum()) + 0.06) is None  # two days would stand for what they do not carry


def test_a_silence_is_told_with_its_ends() -> None:
    days = planted()
    values = np.zeros_like(days.txn)
    values[:138, 0] = 0.001
    told = of_days(days, values, "USD", 0.138)
    assert told is not None
    assert told.en == (
        "No purchase and no payment in the 138 days from 2024-04-04 to 2024-08-19 (3 active days in the last 180)"
    )
    assert dict(told.through)["idle days"] == pytest.approx(0.138)


def test_of_silences_the_one_that_pulls_most_is_told() -> None:
    active = np.array([False, False, False, True, False, False, True])
    assert silence(active, np.array([0.1, 0.1, 0.1, 9.0, 0.2, 0.3, 9.0])) == (4, 6)
    assert silence(active, np.array([0.2, 0.2, 0.2, 9.0, 0.2, 0.3, 9.0])) == (0, 3)
    assert silence(active, np.zeros(7)) == (0, 3)
    assert silence(np.ones(3, dtype=bool), np.zeros(3)) == (0, 0)


def test_visits_are_told_by_month_channel_and_length() -> None:
    days = planted()
    values = np.zeros_like(days.visits)
    values[88, 0], values[89, 0] = 0.02, -0.005
    told = of_visits(days, values, 0.015)
    assert told is not None
    assert told.en.startswith("Visits in app and web: one in 2024-09 (app, 10 minutes). That is 100% of what")
    assert "09-28" not in told.en + told.ko
    assert dict(told.through) == pytest.approx({"2024-09-28": 0.02, "2024-09-30": -0.005, "rest": 0.0})


def two_states() -> States:
    """State 0: nothing; state 1: a day with one purchase of about 53.6. The other eight are never taken."""
    mean = np.full((10, 4), 50.0)
    mean[0], mean[1] = 0.0, (4.0, np.log1p(1), 0.0, 0.0)
    transition = np.full((10, 10), 1e-9)
    transition[:2, :2] = (0.9, 0.1), (0.5, 0.5)
    transition /= transition.sum(1, keepdims=True)
    start = np.full(10, 1e-9)
    start[:2] = 0.5
    model = HmmModel(start / start.sum(), transition, mean, np.full((10, 4), 0.2), np.zeros(4), np.ones(4))
    share = np.zeros(10)
    share[:2] = 0.75, 0.25
    return States("journey", model, share, "USD")


def columns() -> Columns:
    schema = load_schema()
    n = len(schema.columns)
    return Columns(schema, np.full(n, 2.0), np.ones(n), np.ones(n, bool))


def test_a_daily_state_is_told_with_how_long_it_has_held() -> None:
    states, days = two_states(), planted()
    txn = np.zeros((180, 16))
    txn[:168, :2] = 4.0, np.log1p(1)
    quiet = Days(CUTOFF, txn, np.zeros((90, 8)))
    seen = quiet.journey(90)
    assert seen is not None
    p = states.model.posterior(seen[None])
    stored = np.concatenate([p, dynamics(p, states.model.transition)], 1)[0].astype(np.float32)
    told = states.told(stored, quiet, columns(), 0.1)
    assert told is not None
    assert told.en.startswith("Days of this kind for 12 days in a row, at the latest: no activity at all (75% of customers")
    assert "최근 12일 연속" in told.ko
    assert states.said(1, "en") == "about $53.60 spent, about 1 purchases, no app or web visits and no money paid in"
    assert states.told(stored, days, columns(), 0.1) is None  # other days do not lead to what is stored: nothing is said


def test_visits_that_do_not_reach_back_say_nothing_of_the_days() -> None:
    visits = np.zeros((90, 8))
    visits[:, 3], visits[:, 6] = np.log1p(np.linspace(20, 1, 90)), 1
    assert Days(CUTOFF, np.zeros((180, 16)), visits).journey(90) is None


def test_a_monthly_state_stands_beside_the_customers_own_month() -> None:
    states = two_states()
    mean = np.zeros((10, 6))
    mean[1] = np.log1p(400), np.log1p(12), 8, 0, 0, np.log1p(5)
    model = HmmModel(states.model.start, states.model.transition, mean, np.ones((10, 6)), np.zeros(6), np.ones(6))
    stored = np.zeros(16, np.float32)
    stored[1] = 0.9
    told = States("lifecycle", model, states.share, "USD").told(stored, None, columns(), 0.1)
    assert told is not None
    assert "about $400.00 spent, about 12 purchases, about 8 active days, no app or web visits" in told.en
    assert "25% of customers; it lasts 2 months on average" in told.en
    assert "number of purchases in the last 28 days: 2 (all customers: 1)" in told.en


def monthly() -> States:
    """State 0: silent months; state 1: months of twelve purchases."""
    states = two_states()
    mean = np.zeros((10, 6))
    mean[1] = np.log1p(400), np.log1p(12), 8, np.log1p(3), 0, np.log1p(5)
    model = HmmModel(states.model.start, states.model.transition, mean, np.ones((10, 6)), np.zeros(6), np.ones(6))
    return States("lifecycle", model, states.share, "USD")


@pytest.mark.parametrize(
    ("months", "en", "ko"),
    [
        ([1] * 9 + [0] * 3, "For 3 months now of this kind, quieter than before: no activity", "최근 3개월째 이런 달입니다"),
        ([0] * 11 + [1], "The latest month is nearest to this kind", "최근 한 달은 이런 달에 가장 가깝습니다"),
        ([1] * 11 + [0], "The latest month is of another kind than those before, quieter than before", "그 전과 다른 달입니다"),
        ([0] * 12, "All 12 months of this kind: no activity at all", "12개월 내내 이런 달입니다"),
    ],
)
def test_months_that_a_state_has_held_are_counted(months: list[int], en: str, ko: str) -> None:
    stored = np.zeros(16, np.float32)
    stored[0] = 0.9 if months[-1] == 0 else 0.4  # a path that ends elsewhere says nothing of the stored state
    told = monthly().told(stored, None, columns(), 0.1, np.array(months))
    assert told is not None
    assert told.en.startswith(en)
    assert ko in told.ko
    if "3 months" in en:
        assert "Before them: about $400.00 spent, about 12 purchases, about 8 active days, about 3 app or web visits" in told.en


def test_busier_is_said_where_everything_counted_says_so() -> None:
    states = monthly()
    assert states.turned(0, 1) == "busier"
    assert states.turned(1, 0) == "quieter"
    assert states.turned(0, 0) == "other"


def test_the_graph_is_told_by_what_those_at_the_same_merchants_did() -> None:
    n = 200
    table = np.zeros((n, 64), np.float32)
    table[np.arange(n), np.where(np.arange(n) < 60, 0, 1)] = 1.0
    y = torch.zeros(n, dtype=torch.int64)
    y[:20] = 1
    everybody = np.ones(n, bool)
    none = np.zeros((n, 1), np.float32)
    peers = Population(
        none, dict.fromkeys(PART_SLICES, everybody), dict(PART_SLICES), np.zeros(n), np.zeros(n),
        {"collaborative_features": table}, {"collaborative_features": everybody},
    )  # fmt: skip
    names = [f"C{i}" for i in range(n)]
    told = of_graph(peers, names, "new", table[0], y, "binary", None, 0.05)
    assert told is not None
    assert told.en == "Of the 50 sampled customers who buy at the most similar merchants 40% did so, of all 10%"
    assert of_graph(peers, names, "new", table[0], y, "binary", None, -0.05) is None  # it would say the opposite
    assert of_graph(peers, names, "new", table[0], None, "binary", None, 0.05) is None
    brand = of_graph(peers, names, "new", table[0], y, "contrastive", 1, 0.05)  # who did bought that brand
    assert brand is not None
    assert brand.en == told.en
