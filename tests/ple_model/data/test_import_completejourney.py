"""The real data as event tables: exact labels only, known sanity figures, and honest absence of what a grocer does not have."""

from __future__ import annotations

import os
import shutil
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from ple_model.data.checking.validation import validate
from ple_model.data.events.connect import EventStore, connect
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.importers.completejourney import DAY_ZERO, WINDOW, default_cutoffs, import_completejourney
from ple_model.data.importers.completejourney_categories import DEPARTMENTS, PRODUCT_CATEGORIES
from ple_model.errors import UserError
from ple_model.tasks import SPENDING_CATEGORIES

SOURCE = Path(os.environ.get("PLE_REAL_DATA", Path(__file__).parents[4] / "shared" / "data")) / "completejourney"
needs_data = pytest.mark.skipif(
    not (SOURCE / "transactions_sample.parquet").is_file(), reason=f"no real data at {SOURCE}; set PLE_REAL_DATA to its folder"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("journey") / "events"
    import_completejourney(SOURCE, out)
    return out


@pytest.fixture(scope="module")
def store(folder: Path) -> EventStore:
    return connect(folder, threads=1)


def _one(store: EventStore, sql: str) -> float:
    return float(store.con.execute(sql).fetchall()[0][0])


def test_the_category_map_uses_canonical_names_only() -> None:
    assert set(DEPARTMENTS.values()) | set(PRODUCT_CATEGORIES.values()) <= set(SPENDING_CATEGORIES)


def test_default_cutoffs_never_share_a_day_of_their_windows_and_prefer_the_most_targeted() -> None:
    starts = {date(2017, 3, 1): 5, date(2017, 3, 10): 500, date(2017, 4, 7): 20, date(2017, 4, 6): 90}
    assert default_cutoffs(starts) == (date(2017, 3, 10), date(2017, 4, 7))


def test_an_incomplete_folder_names_everything_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match=r"transactions_sample\.parquet.*products\.parquet.*fact_coupon_redemption\.parquet"):
        import_completejourney(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="not a folder"):
        import_completejourney(tmp_path / "nothing", tmp_path / "out")


@needs_data
def test_a_damaged_source_file_is_one_sentence(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "in")
    path = tmp_path / "in" / "products.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"products\.parquet cannot be read as Parquet"):
        import_completejourney(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@needs_data
def test_the_tables_are_whole_and_validate_with_two_documented_warnings(folder: Path) -> None:
    report = validate(folder)
    assert report.errors == ()
    # Two products of one basket can agree in every column that is kept, and a coupon is redeemed without a click.
    assert [(f.table, f.column, f.kind) for f in report.faults] == [
        ("transactions", None, "repeated_row"),
        ("campaigns", "converted_at", "wrong_order"),
    ]
    assert report.tables["customers"] == 2377
    assert report.tables["transactions"] == 75_000


@needs_data
def test_timestamps_are_local_so_every_purchase_is_of_2017(store: EventStore) -> None:
    first, last = store.con.execute("SELECT min(ts), max(ts) FROM transactions").fetchall()[0]
    assert first >= datetime(2017, 1, 1)
    assert last < datetime(2018, 1, 1)


@needs_data
def test_every_category_is_canonical_and_the_finer_levels_are_the_sources_own(store: EventStore) -> None:
    names = {r[0] for r in store.con.execute("SELECT DISTINCT mcc_l1 FROM transactions").fetchall()}
    assert names <= set(SPENDING_CATEGORIES)
    assert {"groceries", "home", "health", "fuel and transport"} <= names
    assert _one(store, "SELECT count(*) FROM transactions WHERE mcc_l2 = 'SOFT DRINKS' AND mcc_l1 = 'groceries'") > 3000
    assert _one(store, "SELECT count(DISTINCT mcc) FROM transactions") > 1500


@needs_data
def test_exact_churn_is_about_a_tenth_of_the_active_at_every_start(store: EventStore) -> None:
    rates = store.con.execute("SELECT avg(churn) FROM labels WHERE churn >= 0 GROUP BY cutoff").fetchall()
    assert len(rates) == 22
    assert all(0.07 < r[0] < 0.12 for r in rates)
    assert _one(store, "SELECT avg(churn) FROM labels WHERE churn >= 0") == pytest.approx(0.095, abs=0.006)


@needs_data
def test_redemption_given_targeting_is_about_sixteen_percent_in_the_large_campaigns(store: EventStore) -> None:
    rows = store.con.execute(
        "SELECT count(*), avg(cvr) FROM labels WHERE cvr >= 0 GROUP BY cutoff HAVING count(*) > 300"
    ).fetchall()
    large = [(n, r) for n, r in rows if n > 1000]
    assert len(large) == 3
    assert np.average([r for _, r in large], weights=[n for n, _ in large]) == pytest.approx(0.172, abs=0.01)
    assert np.average([r for _, r in rows], weights=[n for n, _ in rows]) == pytest.approx(0.15, abs=0.02)


@needs_data
def test_recency_and_prior_exact_spend_rank_churn_as_known(store: EventStore) -> None:
    rows = store.con.execute("""
        SELECT churn, prior_spend_28d, date_diff('day', r.last, l.cutoff)
        FROM labels l JOIN exact_spend USING (customer_id, cutoff)
        LEFT JOIN LATERAL (SELECT max(ts)::DATE AS last FROM transactions t
                           WHERE t.customer_id = l.customer_id AND t.ts < l.cutoff) r ON true WHERE churn >= 0""").fetchall()
    churn, spend, recency = (
        np.array([np.nan if v is None else v for v in column], float) for column in zip(*rows, strict=True)
    )
    assert roc_auc_score(churn, -spend) == pytest.approx(0.765, abs=0.015)
    assert roc_auc_score(churn, np.nan_to_num(recency, nan=400)) == pytest.approx(0.70, abs=0.015)


@needs_data
def test_labels_are_those_of_the_exact_source_and_nothing_else(folder: Path, store: EventStore) -> None:
    assert set(pq.read_schema(folder / "labels.parquet").names) == {
        "customer_id", "cutoff", "churn", "ltv", "spending_bucket", "cvr", "life_stage",
    }  # fmt: skip
    lift = f"'{SOURCE}/exact_labels/agg_household_campaign_lift.parquet'"
    dim = f"'{SOURCE}/exact_labels/dim_campaign.parquet'"
    wrong = _one(
        store,
        f"""SELECT count(*) FROM labels l JOIN (
                SELECT household_key::VARCHAR AS customer_id, DATE '{DAY_ZERO}' + START_DAY::INTEGER AS cutoff,
                       max(Post_Spend) AS after, max(Pre_Spend) AS before
                FROM {lift} JOIN {dim} USING (CAMPAIGN) GROUP BY ALL) x USING (customer_id, cutoff)
            WHERE abs(exp(ltv) - 1 - after) > 0.01 OR churn != (CASE WHEN before > 0 THEN (after = 0)::INT ELSE -1 END)""",
    )
    assert wrong == 0
    assert date.fromordinal(DAY_ZERO.toordinal() + 285) == date(2017, 1, 1)


@needs_data
def test_the_spending_percentile_is_uniform_at_every_start(store: EventStore) -> None:
    rows = store.con.execute(
        "SELECT avg(spending_bucket), min(spending_bucket), max(spending_bucket) FROM labels GROUP BY cutoff"
    ).fetchall()
    for mean, low, high in rows:
        assert mean == pytest.approx(50, abs=1e-6)
        assert 0 < low < 15
        assert 99 < high < 100


@needs_data
def test_prior_spend_never_reaches_into_its_label_window(store: EventStore) -> None:
    # Pre-spend of one start equals post-spend of the start 28 days earlier: the windows touch and do not overlap.
    n, differing = store.con.execute(f"""
        SELECT count(*), count(*) FILTER (abs(e.prior_spend_28d - (exp(l.ltv) - 1)) > 0.01) FROM exact_spend e
        JOIN labels l ON l.customer_id = e.customer_id AND l.cutoff = e.cutoff - {WINDOW}""").fetchall()[0]
    assert n > 2000
    assert differing == 0


@needs_data
def test_the_manifest_says_what_a_grocer_does_not_have(folder: Path) -> None:
    manifest = EventsManifest.load(folder)
    assert set(manifest.absent_tables) == {"sessions", "holdings", "insurance", "consultation", "overseas", "investment"}
    assert "clicked_at" in manifest.absent_columns["campaigns"]
    assert manifest.defaults.label_policy == "labels_only"
    assert manifest.defaults.horizon_days == WINDOW
    days = [date.fromisoformat(c).toordinal() for c in manifest.defaults.cutoffs]
    assert len(days) >= 8
    assert min(np.diff(days)) >= WINDOW


@needs_data
def test_proxy_labels_are_off_unless_asked_for_and_then_marked(tmp_path: Path) -> None:
    manifest = import_completejourney(SOURCE, tmp_path / "proxy", proxy_labels=True)
    assert manifest.defaults.label_policy == "derived"
    assert any("Proxy labels on" in note for note in manifest.defaults.notes)
