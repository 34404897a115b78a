"""Labels of tiny event tables, worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import Labels, LabelSettings, compute_labels
from ple_model.errors import UserError
from ple_model.tasks import LIFE_STAGES, OFFERS, TASKS
from tests.ple_model.data.tiny_events import write_events

CUTOFF = pd.Timestamp("2024-01-01")


def at(day: float) -> pd.Timestamp:
    """A moment `day` days after the cut-off (negative: before)."""
    return CUTOFF + pd.Timedelta(days=day)


def buy(who: str, day: float, amount: float = 10.0, merchant: str = "m0", **more: object) -> dict[str, object]:
    return {
        "customer_id": who, "ts": at(day), "amount": amount, "merchant_id": merchant, "mcc_l1": "groceries", "mcc_l2": None,
        "mcc": None, "brand": f"brand of {merchant}", "product": None, "kind": "card", "channel": "app", **more,
    }  # fmt: skip


BUYS = [
    # a: active before and after, two merchants, two categories, days 0.5 (noon of day 1), 7.5, 14.5
    buy("a", -3.5), buy("a", 0.5, 30, "m1", mcc_l1="dining", channel="branch or store"), buy("a", 7.5, 50), buy("a", 14.5, 20),
    buy("a", 60.5, 100, kind="deposit", brand=None),
    # b: active before only
    buy("b", -10.0, 500),
    # c: never before, first at day 40, again in the retention window
    buy("c", 40.2, 5), buy("c", 83.9, 5),
    # the source covers 100 days
    buy("z", 99.0),
]  # fmt: skip
CUSTOMERS = pd.DataFrame(
    {
        "customer_id": ["a", "b", "c", "z"],
        "birth_year": [1990, None, None, 2004],
        "age_band": [None, "65 and over", None, None],
        "region": "r",
        "joined_on": pd.Timestamp("2023-01-01"),
    }
)
CAMPAIGNS = pd.DataFrame(
    [
        ("a", "old", OFFERS[3], at(-2), at(5), pd.NaT),
        ("a", "k1", OFFERS[1], at(2), pd.NaT, pd.NaT),
        ("a", "k2", OFFERS[2], at(3), at(9), at(10)),
        ("b", "k1", OFFERS[1], at(2), at(3), at(4)),
    ],
    columns=["customer_id", "campaign_id", "offer", "exposed_at", "clicked_at", "converted_at"],
)
HOLDINGS = pd.DataFrame(
    [
        {"customer_id": "a", "product": "card", "as_of": at(-1), "balance": 900.0, "credit_limit": 1000.0},
        {"customer_id": "a", "product": "card", "as_of": at(10), "balance": 200.0, "credit_limit": 1000.0},
        {"customer_id": "a", "product": "loan", "as_of": at(10), "balance": 100.0, "credit_limit": 500.0},
        {"customer_id": "a", "product": "card", "as_of": at(40), "balance": 990.0, "credit_limit": 1000.0},
    ]
)


def labels(
    folder: Path,
    policy: str = "derived",
    own: pd.DataFrame | None = None,
    buys: list[dict[str, object]] = BUYS,
    horizon: int = 84,
) -> tuple[Labels, dict[str, int]]:
    """Labels of customers a, b, c, z at the cut-off, and the row of each."""
    frames = {"customers": CUSTOMERS, "transactions": pd.DataFrame(buys), "campaigns": CAMPAIGNS, "holdings": HOLDINGS}
    if own is not None:
        frames["labels"] = own
    write_events(folder, frames, cutoffs=(), policy=policy)
    with connect(folder) as store:
        store.con.execute(
            "CREATE TABLE spine AS SELECT row_number() OVER (ORDER BY customer_id) - 1 AS row_id, customer_id,"
            f" DATE '{CUTOFF.date()}' AS cutoff, 'train' AS split FROM customers"
        )
        return compute_labels(store, LabelSettings(horizon_days=horizon)), {c: i for i, c in enumerate("abcz")}


def test_a_fault_in_a_labels_sql_names_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(TASKS["ctr"], label="SELECT row_id, o.nothing AS label FROM label_spine o")
    monkeypatch.setattr("ple_model.data.labels.labels.TASKS", {**TASKS, "ctr": wrong})
    with pytest.raises(UserError, match=r"task 'ctr': its label's SQL cannot be run: Binder Error"):
        labels(tmp_path)


def test_labels_of_a_hand_made_bank(tmp_path: Path) -> None:
    found, row = labels(tmp_path)
    y = {t: {c: v[i].item() for c, i in row.items()} for t, v in found.columns.items() if v.ndim == 1}
    assert [y["churn"][c] for c in "abc"] == [0, 1, -1]
    assert [y["retention"][c] for c in "abc"] == [1, 0, 1]
    assert y["engagement"]["a"] == pytest.approx(np.log(1 + 4))
    assert y["ltv"]["a"] == pytest.approx(np.log(101))
    assert y["ltv"]["b"] == 0
    assert [y["ctr"][c] for c in "abc"] == [0, 1, -1]
    assert [y["cvr"][c] for c in "abc"] == [0, 1, -1]
    assert [y["nba"][c] for c in "abc"] == [3, 1, -1]  # the click at day 5 on the older exposure comes first
    assert [y["life_stage"][c] for c in "abcz"] == [1, LIFE_STAGES.index("65 and over"), -1, 0]
    assert y["balance_util"]["a"] == pytest.approx(300 / 1500)
    assert np.isnan(y["balance_util"]["b"])
    assert [y["channel"][c] for c in "abc"] == [0, -1, -1]  # c was never active before: outside the condition of these five
    assert [y["timing"][c] for c in "abc"] == [0, -1, -1]
    assert [y["spending_category"][c] for c in "abc"] == [0, -1, -1]  # 70 of groceries against 30 of dining
    assert [y["consumption_cycle"][c] for c in "abc"] == [2, -1, -1]  # every 7 days
    assert y["merchant_affinity"]["a"] == pytest.approx(0.7)
    assert np.isnan(y["merchant_affinity"]["b"])
    # spend in the horizon: a 100, b 0, c 10, z 0 -> mid-ranks of 0 and 0 are shared
    assert [y["spending_bucket"][c] for c in "abcz"] == pytest.approx([87.5, 25, 62.5, 25])
    assert found.brand.tolist() == ["brand of m1", None, None, None]


def test_brands_become_indices_and_unseen_ones_are_missing(tmp_path: Path) -> None:
    found, _ = labels(tmp_path)
    assert found.with_brands(("brand of m1",))["brand_prediction"].tolist() == [0, -1, -1, -1]
    assert found.with_brands(("brand of m0",))["brand_prediction"].tolist() == [-1, -1, -1, -1]


def test_a_window_beyond_the_source_has_no_label(tmp_path: Path) -> None:
    found, row = labels(tmp_path, buys=[b for b in BUYS if b["ts"] < at(50)])
    y = {t: v[row["a"]].item() for t, v in found.columns.items() if v.ndim == 1}
    assert y["churn"] == 0  # 28 days are covered
    assert y["retention"] == -1
    assert np.isnan([y["ltv"], y["engagement"], y["spending_bucket"], y["merchant_affinity"]]).all()


def test_the_horizon_is_configurable(tmp_path: Path) -> None:
    found, row = labels(tmp_path, horizon=7)
    assert found.columns["ltv"][row["a"]] == pytest.approx(np.log(31))


def test_own_labels_override_and_their_gaps_do_not(tmp_path: Path) -> None:
    own = pd.DataFrame(
        {
            "customer_id": ["a", "b"],
            "cutoff": CUTOFF,
            "churn": [1, -1],
            "ltv": [9.0, np.nan],
            "nba": ["fund", None],
            "brand_prediction": ["own brand", None],
        }
    )
    found, _ = labels(tmp_path, own=own)
    assert found.columns["churn"].tolist() == [1, 1, -1, -1]
    assert found.columns["ltv"][:2] == pytest.approx([9.0, 0.0])
    assert found.columns["nba"].tolist()[:2] == [OFFERS.index("fund"), 1]
    assert found.brand.tolist()[:3] == ["own brand", None, "brand of m0"]


def test_labels_only_takes_nothing_from_thinned_events(tmp_path: Path) -> None:
    own = pd.DataFrame({"customer_id": ["a"], "cutoff": CUTOFF, "churn": [1]})
    found, _ = labels(tmp_path, policy="labels_only", own=own)
    assert found.columns["churn"].tolist() == [1, -1, -1, -1]
    assert np.isnan(found.columns["ltv"]).all()
    assert (found.columns["life_stage"] == -1).all()


def test_impossible_own_labels_are_named(tmp_path: Path) -> None:
    key = {"customer_id": ["a"], "cutoff": CUTOFF}
    with pytest.raises(UserError, match="task 'channel' has label 3"):
        labels(tmp_path / "1", own=pd.DataFrame({**key, "channel": [3]}))
    with pytest.raises(UserError, match="'fundd' is no class of task 'nba'; did you mean 'fund'"):
        labels(tmp_path / "2", own=pd.DataFrame({**key, "nba": ["fundd"]}))
    with pytest.raises(UserError, match="did you mean 'churn'"):
        labels(tmp_path / "3", own=pd.DataFrame({**key, "chrun": [1]}))
