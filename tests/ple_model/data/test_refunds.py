"""One rule for refunds, against plain SQL: spend is net of them and never below 0, counts are of purchases alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ple_model.data.build.rows import _raw
from ple_model.data.derived.segments import read_segments
from ple_model.data.derived.sequences import DAILY, read_sequences
from ple_model.data.events.connect import EventStore, connect
from ple_model.data.features import compute_features
from ple_model.data.labels.labels import LabelSettings, compute_labels
from tests.ple_model.data.tiny_events import write_events

CUT = pd.Timestamp("2024-06-03")
WHO = ("a", "b", "c", "d")
Rows = dict[str, dict[str, float]]


def bought(who: str, day: int, amount: float, merchant: str = "m1", category: str = "groceries") -> dict[str, object]:
    return {
        "customer_id": who, "ts": CUT + pd.Timedelta(days=day, hours=12), "amount": amount, "merchant_id": merchant,
        "mcc_l1": category, "mcc_l2": None, "mcc": None, "brand": f"brand {merchant}", "product": None, "kind": "card",
        "channel": "app",
    }  # fmt: skip


TRANSACTIONS = pd.DataFrame([
    # a: a refund in part, at another merchant's category too, and one on a day of its own
    bought("a", -40, 100), bought("a", -20, 60), bought("a", -20, -10), bought("a", -5, 30, "m2", "dining"),
    bought("a", -2, -25),
    bought("a", 3, 80), bought("a", 9, -30), bought("a", 20, 40, "m2", "dining"), bought("a", 75, 5),
    # b: refunded more than it bought of late, and nothing but a refund after the cut-off
    bought("b", -50, 200), bought("b", -10, 20), bought("b", -3, -90), bought("b", 6, -50),
    # c: bought long ago, a refund yesterday; d: no refund
    bought("c", -200, 70), bought("c", -1, -70), bought("d", -15, 45), bought("d", 10, 15), bought("d", 90, 15),
])  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EventStore:
    people = pd.DataFrame(
        {"customer_id": WHO, "birth_year": 1980, "age_band": None, "region": "r", "joined_on": pd.Timestamp("2020-01-01")}
    )
    folder = tmp_path_factory.mktemp("refunds") / "events"
    store = connect(write_events(folder, {"customers": people, "transactions": TRANSACTIONS}, cutoffs=()))
    store.con.execute(
        "CREATE TABLE spine AS SELECT row_number() OVER (ORDER BY customer_id) - 1 AS row_id, customer_id,"
        f" DATE '{CUT.date()}' AS cutoff, 'train' AS split FROM customers"
    )
    return store


@pytest.fixture(scope="module")
def plain(store: EventStore) -> Rows:
    """The rule as a practitioner would write it down."""

    def spend(low: int, high: int) -> str:
        return f"greatest(coalesce(sum(amount) FILTER (ts::DATE - cutoff BETWEEN {low} AND {high}), 0), 0)"

    def number(what: str, low: int, high: int) -> str:
        return f"count({what}) FILTER (amount > 0 AND ts::DATE - cutoff BETWEEN {low} AND {high})"

    found = store.con.execute(f"""
        SELECT customer_id, {spend(-28, -1)} AS spend_28d, {spend(-90, -1)} AS spend_90d, {spend(-365, -1)} AS spend_365d,
               {number("*", -28, -1)} AS count_28d, {number("DISTINCT ts::DATE", -28, -1)} AS days_28d,
               {number("*", -90, -1)} AS count_90d,
               min(cutoff - ts::DATE) FILTER (amount > 0 AND ts < cutoff) AS recency, {spend(0, 83)} AS spend_ahead,
               {number("DISTINCT ts::DATE", 0, 83)} AS days_ahead,
               max(amount) FILTER (amount > 0 AND ts < cutoff AND ts >= cutoff - 90) AS largest
        FROM transactions JOIN spine USING (customer_id) GROUP BY customer_id""").df()
    return {str(r["customer_id"]): {k: float(v) for k, v in r.items() if k != "customer_id"} for r in found.to_dict("records")}


def test_features_say_what_plain_sql_says(store: EventStore, plain: Rows) -> None:
    compute_features(store.con)
    found = store.con.execute("SELECT * FROM features_base").df().set_index("customer_id")
    pairs = {
        "spend_28d": "spend_28d", "spend_90d": "spend_90d", "spend_365d": "spend_365d", "purchase_count_28d": "count_28d",
        "active_days_28d": "days_28d", "purchase_count_90d": "count_90d", "recency_days": "recency",
        "max_ticket_90d": "largest", "raw_spend_90d": "spend_90d",
    }  # fmt: skip
    for column, name in pairs.items():
        got = found.loc[list(WHO), column].to_numpy(float)
        np.testing.assert_allclose(got, [plain[who][name] for who in WHO], rtol=1e-6, err_msg=column)
    assert found.loc["a", "refund_count_365d"] == 2
    assert found.loc["a", "refund_share_365d"] == pytest.approx(35 / 190)
    assert found.loc["a", "category_share_dining_90d"] == pytest.approx(30 / 155)  # groceries: 160 less 35
    assert found.loc["a", "merchant_top_share_90d"] == pytest.approx(125 / 155)
    assert found.loc["b", "spend_28d"] == 0


def test_labels_say_what_plain_sql_says(store: EventStore, plain: Rows) -> None:
    y = compute_labels(store, LabelSettings()).columns
    for i, who in enumerate(WHO):
        assert y["ltv"][i] == pytest.approx(np.log1p(plain[who]["spend_ahead"]))
        assert y["engagement"][i] == pytest.approx(np.log1p(plain[who]["days_ahead"]))
    assert y["churn"].tolist() == [0, 1, -1, 0]  # b: a refund is no activity after; c: none before
    assert y["merchant_affinity"][0] == pytest.approx(55 / 95)


def test_the_columns_to_filter_by_say_what_plain_sql_says(store: EventStore, plain: Rows) -> None:
    raw = _raw(store, 0, len(WHO))
    for i, who in enumerate(WHO):
        assert raw["spend_28d"][i] == pytest.approx(plain[who]["spend_28d"])
        assert raw["n_transactions_90d"][i] == plain[who]["count_90d"]
        assert raw["recency_days"][i] == plain[who]["recency"]


def test_sequences_and_static_features_say_what_plain_sql_says(store: EventStore, plain: Rows) -> None:
    daily = read_sequences(store.con, 0, len(WHO)).daily
    a, spend, purchases = daily[0], DAILY.index("spend"), DAILY.index("purchases")
    assert a[-20, spend] == 50
    assert a[-20, purchases] == 1
    assert a[-2].tolist() == [0] * len(DAILY)  # nothing but a refund
    static = read_segments(store, 0, len(WHO)).coldstart
    for i, who in enumerate(WHO):
        assert np.expm1(5 * static[i, 14]) == pytest.approx(plain[who]["spend_28d"], rel=1e-5)
        assert np.expm1(static[i, 13]) == pytest.approx(plain[who]["count_28d"], rel=1e-5)
