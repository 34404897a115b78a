"""Features against values worked out by hand, the strict cut-off, independence of customers, and empty sources."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ple_model.data.build.folds import FOLDS, fold_of
from ple_model.data.features import Market, compute_features, fit_market
from ple_model.data.features.declared import DECLARED
from ple_model.data.features.model_derived import LNN
from ple_model.errors import UserError
from ple_model.schema import load_schema
from tests.ple_model.data.bank_of_three import CUTOFF, EVENTS, FUTURE, bank, daily, wave

Row = dict[str, float | bool | None]
WITH_DAILY = {**EVENTS, "transactions": [*EVENTS["transactions"], *daily()]}


def table(con: duckdb.DuckDBPyConnection, market: Market | None = None, **options: object) -> dict[tuple[str, str], Row]:
    """`features_base` as (customer, cut-off) -> column -> value."""
    compute_features(con, market if market is not None else fit_market(con), **options)  # type: ignore[arg-type]
    cursor = con.execute("SELECT * FROM features_base")
    names = [d[0] for d in cursor.description]
    return {(str(r[0]), str(r[1])): dict(zip(names[2:], r[2:], strict=True)) for r in cursor.fetchall()}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with bank(WITH_DAILY) as con:
        yield fit_market(con)


@pytest.fixture(scope="module")
def rows(market: Market) -> dict[str, Row]:
    with bank(WITH_DAILY) as con:
        return {who: row for (who, _), row in table(con, market).items()}


A: dict[str, dict[str, float | None]] = {
    "rfm": {
        "recency_days": 1, "purchase_count_28d": 3, "purchase_count_90d": 4, "purchase_count_365d": 5, "active_days_28d": 2,
        "spend_28d": 55, "spend_90d": 95, "spend_365d": 195, "avg_ticket_28d": 20, "max_ticket_90d": 40,
        "spend_ratio_28d_to_previous_28d": 1, "spend_share_28d_of_365d": 55 / 195, "first_purchase_days": 184,
        "recency_to_usual_gap": 1 / 61, "expected_shopping_days_28d": 28 * 4 / 184, "probability_alive": (183 / 184) ** 4,
        "spend_per_active_day_90d": 100 / 3,
    },
    "category": {
        "category_share_groceries_90d": 45 / 95, "category_share_travel_90d": 40 / 95, "category_share_home_90d": 0,
        "category_share_groceries_365d": 145 / 195, "category_count_groceries_90d": 2, "category_trend_groceries_90d": 1,
        "category_trend_home_90d": None, "category_recency_clothing": 365, "category_recency_travel": 61,
        "category_entropy_90d": -sum(p * math.log(p) for p in (45 / 95, 40 / 95, 10 / 95)), "category_top_share_90d": 45 / 95,
        "category_used_90d": 3,
    },
    "transaction_stats": {
        "amount_median_90d": 25, "amount_p10_90d": 13, "amount_std_90d": np.std([10, 20, 30, 40], ddof=1),
        "gap_max_90d": 2962, "gap_median_90d": (168 + 1260) / 2, "gap_min_90d": 0.5, "quick_repeat_share_90d": 0.25,
        "round_amount_share_90d": 1, "top1_purchase_share_90d": 0.4, "top3_purchase_share_90d": 0.9, "purchase_gini_365d": 0.4,
        "large_purchase_share_90d": 0, "small_purchase_share_90d": 0.25, "refund_count_365d": 1, "refund_share_365d": 0.025,
        "repeated_amount_share_365d": 0, "weekly_spend_mean_26w": 95 / 26, "weekly_silent_share_26w": 23 / 26,
        "monthly_spend_mean_13m": 195 / 13, "monthly_spend_last_to_mean": 55 * 13 / 195, "monthly_silent_share_13m": 10 / 13,
        "daily_count_max_28d": 2, "daily_spend_median_90d": 30,
    },
    "temporal": {
        "hour_share_morning_90d": 0.75, "hour_share_late_evening_90d": 0.25, "weekday_share_sunday_90d": 0.75,
        "weekend_share_365d": 0.8, "overnight_share_90d": 0.25, "month_end_share_90d": 0.75, "payday_share_90d": 0.75,
        "longest_silence_90d": 52, "longest_streak_90d": 1, "active_week_streak": 2, "active_week_share_12w": 0.25,
        "active_day_share_90d": 3 / 90, "week_01_spend_share": 30 / 95, "month_02_spend_ratio": 0,
        "month_03_spend_ratio": 40 * 13 / 195,
        "weekend_ticket_ratio_365d": 1, "days_to_expected_purchase": 60,
    },
    "deposit": {
        "deposit_inflow_28d": 1000, "deposit_inflow_90d": 2000, "deposit_outflow_90d": 200, "deposit_net_flow_365d": 1800,
        "deposit_inflow_count_90d": 2, "deposit_recency_days": 4, "deposit_savings_rate_365d": 0.9,
        "deposit_inflow_max_90d": 1000,
        "deposit_active_month_share": 2 / 13, "deposit_inflow_day_spread": 0,
    },
    "membership": {
        "membership_tenure_days": 365, "membership_first_purchase_delay": 181, "membership_first_year": 0,
        "membership_days_to_anniversary": 365, "membership_active_months_3m": 2, "membership_month_streak": 1,
        "membership_lapses_365d": 2, "membership_longest_lapse_365d": 2962 / 24, "membership_spend_per_tenure_year": 195,
        "membership_products_per_tenure_year": 3,
    },
    "investment": {
        "investment_bought_sum_90d": 100, "investment_sold_sum_90d": 0, "investment_sold_sum_365d": 40,
        "investment_net_365d": 60,
        "investment_recency_days": 21, "investment_trend_90d": 60 / 140, "investment_kinds_365d": 2,
        "investment_top_kind_share_365d": 100 / 140,
    },
    "credit": {
        "credit_limit_total": 1000, "credit_utilisation": 0.9, "credit_lines_stretched": 1, "credit_headroom": 100,
        "credit_utilisation_change_84d": 0.4, "credit_spend_to_limit_28d": 0.055, "credit_oldest_line_days": 1095,
    },
    "digital": {
        "session_count_28d": 2, "session_minutes_28d": 15, "session_recency_days": 2, "session_app_share_90d": 2 / 3,
        "session_night_share_90d": 1 / 3, "sessions_per_purchase_90d": 3 / 5, "session_events_mean_90d": 6,
        "session_usual_gap_days": 20,
    },
    "product": {
        "product_open_count": 2, "product_ever_count": 3, "product_opened_90d": 1, "product_closed_365d": 1,
        "product_balance_total": 3900, "product_newest_days": 30, "product_statement_age_days": 1,
        "product_top_balance_share": 3000 / 3900,
    },
    "income_decomposition": {
        "income_monthly_mean": 2000 / 13, "income_permanent_share": 0, "income_growth_84d": 1, "income_largest_share_365d": 0.5,
        "income_payments_per_month": 2 / 13, "income_payday_concentration": 1, "income_recency_days": 7,
    },
    "financial_behavior": {
        "spend_to_income_90d": 0.0475, "essential_share_90d": 45 / 95, "payday_week_spend_share_365d": 0,
        "new_merchant_spend_share_90d": 50 / 95, "liquidity_months": 200, "lifestyle_premium_90d": math.log(46 / 51),
    },
    "chemical": {
        "chemical_reaction_rate": 0.75, "chemical_forward_rate": 2 / 3, "chemical_backward_rate": 1,
        "chemical_equilibrium": math.log(0.75), "chemical_reaction_hours": 1260, "chemical_mix_change_90d": None,
    },
    "epidemic": {
        "epidemic_infection_rate": 1, "epidemic_recovery_rate": 0, "epidemic_reproduction_number": 3,
        "epidemic_exposure_90d": 1 / 3, "epidemic_early_adoption": None,  # of B, C and D: one bought B1, nobody the others
    },
    "interference": {"interference_visibility": 1},
    "crime": {
        "crime_unusual_place_share_28d": 1 / 3, "crime_velocity_max_28d": 2, "crime_unguarded_share_90d": 0,
        "crime_unusual_hour_share_28d": 1, "crime_unusual_amount_share_28d": 0,
    },
    "bandit": {
        "bandit_best_offer_rate": 2 / 3, "bandit_regret_rate": 1 / 6, "bandit_exploration_entropy": math.log(2),
        "bandit_uncertainty_bonus": math.sqrt(math.log(3)),
    },
    "lnn": {"lnn_mean": (2 * math.log(31) + math.log(41)) / 90},
    "insurance": {
        "insurance_premium_90d": 100, "insurance_premium_count_90d": 2, "insurance_claim_90d": 0, "insurance_claim_365d": 30,
        "insurance_loss_ratio_365d": 0.3, "insurance_premium_usual_gap_days": 30, "insurance_premium_overdue_days": -8,
        "insurance_kinds_365d": 2, "insurance_claim_recency_days": 92,
    },
    "consultation": {
        "consultation_count_28d": 2, "consultation_complaint_share_365d": 0.5, "consultation_complaint_recency_days": 17,
        "consultation_repeat_share_365d": 0.5, "consultation_usual_gap_days": 3,
    },
    "campaign": {
        "campaign_exposures_28d": 1, "campaign_exposures_90d": 2, "campaign_clicks_90d": 1, "campaign_conversions_365d": 0,
        "campaign_click_recency_days": 30, "campaign_click_delay_hours": 24, "campaign_click_rate_365d": 1.8 / 22,
        "campaign_offers_365d": 2,
    },
    "overseas": {"overseas_spend_90d": 60, "overseas_count_365d": 1, "overseas_recency_days": 27,
    "overseas_share_365d": 60 / 255},
    "other_channel": {
        "channel_app_count_90d": 4, "channel_app_share_365d": 0.4, "channel_web_share_365d": 0.2,
        "channel_contact_share_365d": 0.2,
        "channel_store_recency_days": 8, "channel_online_spend_share_90d": 65 / 95, "channel_contact_count_365d": 10,
    },
    "mcc_l1": {"mcc_l1_count_365d": 3, "mcc_l1_new_90d": 2, "mcc_l1_switch_rate_365d": 0.75, "mcc_l1_visit_hhi_180d": 6 / 16},
    "mcc_l2": {"mcc_l2_count_90d": 3, "mcc_l2_top_share_90d": 45 / 95, "mcc_l2_new_90d": 2},
    "merchant_brand": {
        "brand_count_90d": 3, "brand_loyalty_90d": 0.5, "brand_switch_rate_365d": 0, "brand_favourite_recency_days": 1,
        "brand_repeat_share_365d": 1 / 3,
    },
    "merchant_stats": {"merchant_count_90d": 3, "merchant_top_share_90d": 45 / 95, "merchant_new_share_90d": 2 / 3},
    "radius": {"merchant_activity_radius": math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.2))},
    "raw_power_law": {
        "raw_spend_365d": 195, "raw_spend_ever": 195, "raw_ticket_rank_2_365d": 40, "raw_max_daily_spend_365d": 100,
        "raw_spend_groceries_365d": 145, "raw_max_ticket_travel_365d": 40, "raw_deposit_inflow_365d": 2000,
        "raw_balance_largest": 3000, "raw_merchant_count_365d": 3, "raw_insurance_claim_365d": 30,
        "raw_session_minutes_365d": 16,
    },
}  # fmt: skip


@pytest.mark.parametrize("part", sorted(A))
def test_columns_of_a_part_have_the_values_worked_out_by_hand(rows: dict[str, Row], part: str) -> None:
    row = rows["A"]
    assert row[f"p_features:{part}"] is True
    for name, expected in A[part].items():
        assert load_schema().column(name).part == part
        assert row[name] == (None if expected is None else pytest.approx(expected, rel=1e-5, abs=1e-6)), name


def test_every_part_that_sql_builds_has_a_worked_example() -> None:
    assert set(A) == {p.name for p in DECLARED if p.present[0] != "model"}


def test_an_unknown_category_counts_in_totals_and_has_no_column(rows: dict[str, Row]) -> None:
    b = rows["B"]
    assert (b["spend_28d"], b["category_share_groceries_90d"], b["category_used_90d"]) == (100, 0.5, 2)


def test_a_missing_brand_is_taken_from_the_merchant_table_and_midnight_has_no_hour(rows: dict[str, Row]) -> None:
    assert rows["B"]["brand_count_90d"] == 1
    assert rows["B"]["hour_share_morning_90d"] == 1


def test_silence_is_zero_in_an_event_log_and_absence_elsewhere(rows: dict[str, Row]) -> None:
    c = rows["C"]
    assert {k for k, v in c.items() if v is True} == {"p_features:membership", "p_features:consultation", "p_features:overseas"}
    assert (c["overseas_spend_365d"], c["consultation_count_90d"], c["overseas_recency_days"]) == (0, 0, None)
    assert c["membership_tenure_days"] == 31
    assert rows["B"]["p_features:membership"] is False
    assert rows["B"]["membership_active_months_3m"] is None


def test_columns_of_an_absent_part_are_empty(rows: dict[str, Row]) -> None:
    schema = load_schema()
    for row in rows.values():
        for column in schema.columns:
            assert row[f"p_features:{column.part}"] or row[column.name] is None, column.name


def test_values_are_finite_or_empty_and_the_columns_are_the_schema(market: Market) -> None:
    with bank(WITH_DAILY) as con:
        compute_features(con, market)
        described = con.execute("DESCRIBE features_base").fetchall()
        schema = load_schema()
        assert [r[0] for r in described] == ["customer_id", "cutoff", *schema.names, *(f"p_features:{p}" for p in schema.parts)]
        assert {r[1] for r in described[2:736]} == {"FLOAT"}
        for name, column in con.execute("SELECT * FROM features_base").fetchnumpy().items():
            if name in schema.index:
                assert np.isfinite(np.ma.compressed(np.ma.asarray(column))).all(), name


def test_liquid_time_statistics_agree_with_numpy(rows: dict[str, Row]) -> None:
    y = np.log1p([wave(d) for d in range(90, 0, -1)])
    row = rows["D"]

    def lagged(k: int) -> float:
        return float(np.corrcoef(y[k:], y[:-k])[0, 1])

    centred = np.cumsum(y - y.mean())
    split = int(np.argmax(np.abs(centred))) + 1
    bins = (1, 2, 3, 6, 9, 13, 18, 26, 39)
    power = np.array([np.abs(np.sum(y * np.exp(-2j * np.pi * k * np.arange(90) / 90))) ** 2 for k in bins])
    share = power / power.sum()
    dy, ddy = np.diff(y), np.diff(y, 2)
    hjorth = math.sqrt(dy.var(ddof=1) / y.var(ddof=1))
    patterns = np.unique(
        [4 * (a < b) + 2 * (b < c) + (a < c) for a, b, c in zip(y, y[1:], y[2:], strict=False)], return_counts=True
    )[1]
    p = patterns / patterns.sum()
    above = y > y.mean()
    expected = {
        "lnn_mean": y.mean(), "lnn_std": y.std(ddof=1), "lnn_autocorrelation_lag1": lagged(1),
        "lnn_autocorrelation_lag28": lagged(28),
        "lnn_change_strength": np.abs(centred).max() / (y.std(ddof=1) * math.sqrt(90)), "lnn_change_days_ago": 90 - split,
        "lnn_change_shift": y[split:].mean() - y[:split].mean(), "lnn_dominant_period": 90 / bins[int(power.argmax())],
        "lnn_dominant_share": share.max(), "lnn_spectral_entropy": -(share * np.log(share)).sum(),
        "lnn_slow_share": share[:3].sum(),
        "lnn_complexity": math.sqrt(ddy.var(ddof=1) / dy.var(ddof=1)) / hjorth,
        "lnn_crossing_rate": (above[1:] != above[:-1]).mean(),
        "lnn_permutation_entropy": -(p * np.log(p)).sum() / math.log(6),
    }  # fmt: skip
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("last_bit", [1e-12, -1e-12])
def test_which_of_equal_waves_is_strongest_and_which_of_equal_changes_is_the_one_is_no_matter_of_a_last_bit(
    last_bit: float,
) -> None:
    """A single purchase has all waves alike; threads that add in another order leave other last bits."""
    sql = {c.name: c.sql for c in LNN.columns}
    waves = f"(VALUES (3, 7.5), (1, 7.5 - {last_bit}), (2, 7.5 + {last_bit})) AS w(f, power)"
    assert one_row(f"SELECT {sql['lnn_dominant_period']} FROM {waves}") == (90.0,)
    days = f"(VALUES (60, -2.0), (20, 2.0 - {last_bit}), (40, 2.0 + {last_bit})) AS d(t, cusum)"
    assert one_row(f"SELECT {sql['lnn_change_days_ago']} FROM {days}") == (70.0,)


def one_row(query: str) -> tuple[float, ...] | None:
    with duckdb.connect() as con:
        found: tuple[float, ...] | None = con.execute(query).fetchone()
    return found


def test_events_at_or_after_the_cutoff_move_no_feature_no_presence_and_no_market_figure(
    rows: dict[str, Row], market: Market
) -> None:
    assert set(FUTURE) == set(EVENTS) - {"customers", "merchants"}
    with bank({**WITH_DAILY, **{t: [*WITH_DAILY[t], *FUTURE[t]] for t in FUTURE}}) as con:
        assert fit_market(con) == market
        assert {who: row for (who, _), row in table(con, market).items()} == rows


def test_the_plant_would_be_seen_after_the_cutoff(market: Market) -> None:
    later = [("A", "2024-02-15", "train")]
    with (
        bank(WITH_DAILY, later) as before,
        bank({**WITH_DAILY, **{t: [*WITH_DAILY[t], *FUTURE[t]] for t in FUTURE}}, later) as after,
    ):
        old, new = (table(con, market)[("A", "2024-02-15")] for con in (before, after))
    parts = {c.part for c in load_schema().columns if old[c.name] != new[c.name]}
    assert {"rfm", "deposit", "digital", "credit", "campaign", "insurance", "consultation", "overseas", "investment"} <= parts


def test_a_customer_does_not_depend_on_the_others_in_the_file(rows: dict[str, Row], market: Market) -> None:
    alone = {t: [r for r in rs if t == "merchants" or r[0] == "A"] for t, rs in WITH_DAILY.items()}
    with bank(alone) as con:
        assert table(con, market)[("A", CUTOFF)] == rows["A"]


def test_chunks_and_several_cutoffs_give_the_same_rows(rows: dict[str, Row], market: Market) -> None:
    spine = [(who, day, "train") for who in "ABCD" for day in (CUTOFF, "2023-12-15")]
    seen: list[tuple[int, int]] = []
    with bank(WITH_DAILY, spine) as con:
        built = table(con, market, chunk_rows=3, progress=lambda done, n: seen.append((done, n)))
    assert len(built) == 8
    assert seen == [(4, 8), (6, 8), (8, 8)]
    for who in "ABCD":
        assert built[(who, CUTOFF)] == rows[who]
    assert built[("A", "2023-12-15")]["recency_days"] == 44
    assert built[("B", "2023-12-15")]["p_features:rfm"] is False
    assert built[("A", "2023-12-15")]["epidemic_exposure_90d"] is None  # the market was fitted on later events


def test_empty_tables_leave_every_part_absent() -> None:
    customers = [("A", 1980, None, "r1", None)]
    with bank({"customers": customers}) as con:
        row = table(con)[("A", CUTOFF)]
    assert not any(row.values())
    assert {v for k, v in row.items() if k.startswith("p_")} == {False}


def test_the_age_of_the_customer_enters_no_feature(rows: dict[str, Row], market: Market) -> None:
    other = [(c[0], 1930, "65 and over", *c[3:]) for c in EVENTS["customers"]]
    with bank({**WITH_DAILY, "customers": other}) as con:
        assert {who: row for (who, _), row in table(con, market).items()} == rows


def test_the_market_reads_only_training_customers_and_only_their_past() -> None:
    with bank(WITH_DAILY, [("A", CUTOFF, "train"), ("B", CUTOFF, "test"), ("D", CUTOFF, "validation")]) as con:
        market = fit_market(con)
    assert {b[2] for b in market.brands} == {"B1", "B2", "B3"}
    assert {b[0] for b in market.brands} == {CUTOFF}
    assert {c: m for _, _, c, m in market.categories} == {1: 50, 2: 10, 8: 40}  # groceries, dining, travel
    assert {b[1] for b in market.brands} == set(range(FOLDS)) - {fold_of("A")}  # nobody is a part of what they read


def test_a_row_reads_the_same_market_whatever_its_split(market: Market) -> None:
    """B buys what A buys: A's own purchase is no news to A, in training or not."""
    with bank(WITH_DAILY) as con:
        trained = table(con, market)
    for split in ("validation", "test"):
        with bank(WITH_DAILY, [(who, CUTOFF, split) for who in "ABCD"]) as con:
            assert table(con, market) == trained
    share = {(fold, brand): s for _, fold, brand, s, _ in market.brands}
    assert share[fold_of("A"), "B1"] == pytest.approx(1 / 3)  # B, of B, C and D
    assert (fold_of("A"), "B2") not in share
    assert share[fold_of("B"), "B2"] == pytest.approx(1 / 3)  # A, of A, C and D


def test_a_market_file_from_before_there_were_folds_is_read_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / "market.json"
    path.write_text(f'{{"brands": [["{CUTOFF}", "B1", 0.5, 0.25]], "categories": [["{CUTOFF}", 1, 25.0]]}}', encoding="utf-8")
    with bank(WITH_DAILY) as con:
        found = table(con, Market.load(path))
    assert found[("A", CUTOFF)]["epidemic_exposure_90d"] == pytest.approx(0.5)
    assert found[("A", CUTOFF)]["lifestyle_premium_90d"] == pytest.approx(math.log(46 / 26))


def test_a_market_file_comes_back_equal_and_a_damaged_one_is_named(market: Market, tmp_path: Path) -> None:
    path = tmp_path / "market.json"
    market.save(path)
    assert Market.load(path) == market
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"market\.json"):
        Market.load(path)


def test_the_spine_may_be_empty() -> None:
    with bank({"customers": [("A", 1980, None, "r1", None)]}, []) as con:
        assert table(con) == {}
        assert con.execute("SELECT count(*) FROM features_base").fetchone() == (0,)
