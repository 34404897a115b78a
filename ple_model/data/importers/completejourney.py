"""`ple import completejourney DIR OUT`: the real grocery data (84.51 Complete Journey 2.0, CC0) as event tables.

What goes where:

* transactions: the sampled basket lines, one row a line. UTC minus 5 hours (the source's zone is America/New_York; the fixed
  offset keeps every date right but for one hour of summer nights). `merchant_id` is the store, `brand` the manufacturer: the
  place paid at and the maker chosen. The retailer's departments are mapped to the 12 spending categories
  (`completejourney_categories`), its product category and type stay as mcc_l2 and mcc.
* campaigns: a targeted household is exposed on the campaign's first day; its first coupon redemption is the conversion. Clicks
  do not exist. All three campaign types are coupon mailings, so the offer is always "merchant coupon"; the type is in the id.
* customers: the households of the sample; the age band (801 of them) only becomes the label life_stage.
* labels (`labels.parquet`): only what exact sources say, at campaign starts. The transactions hold 5.1% of all basket lines, so
  no label is read from them (`label_policy = labels_only`) unless `proxy_labels` is asked for, and then it is marked.
  - churn: exact spend above 0 in the 28 days before the start and 0 in the 28 days from it (-1: none before).
  - ltv: log(1 + exact spend of the 28 days from the start). spending_bucket: its mid-rank percentile (0-100) among the
    households of the sample at that start; a rank, so nothing is fitted.
  - cvr: of the households targeted by a campaign starting that day, did they redeem a coupon of it at any later time.
  - life_stage: from the demographics. Retention stays empty: no source gives an exact window of days 57 to 84.
* exact_spend: the exact spend of the 28 days before each start. It ends before the cut-off, so it may be a feature
  (rows of earlier starts too) and is the single-feature baseline `raw:prior_spend_28d`.

The exact sources are aggregates of the full file by the same households (household_key = household_id, DAY 285 = 2017-01-01).
There are no bank products, sessions, credit lines or clicks: those inputs and tasks stay empty.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb

from ple_model.data.events.connect import open_connection
from ple_model.data.events.manifest import Defaults, EventsManifest, TableEntry
from ple_model.data.events.spec import TABLES
from ple_model.data.importers.completejourney_categories import DEPARTMENTS, PRODUCT_CATEGORIES
from ple_model.errors import UserError
from ple_model.sql_paths import to_read
from ple_model.sql_text import literal
from ple_model.staging import staged_folder

WINDOW = 28
DAY_ZERO = date(2017, 1, 1) - timedelta(days=285)
"""Day 0 of the exact sources' calendar: DAY 285 is 2017-01-01."""
FIRST_CUTOFF = date(2017, 1, 29)
"""Earlier campaign starts have less than 28 days of sampled history before them."""
AGE_BANDS: dict[str, str] = {
    "19-24": "under 25", "25-34": "25-34", "35-44": "35-44", "45-54": "45-54", "55-64": "55-64", "65+": "65 and over",
}  # fmt: skip
FILES: dict[str, tuple[str, ...]] = {
    "transactions_sample": ("household_id", "store_id", "product_id", "sales_value", "transaction_timestamp"),
    "products": ("product_id", "manufacturer_id", "department", "product_category", "product_type"),
    "campaigns": ("campaign_id", "household_id"),
    "campaign_descriptions": ("campaign_id", "campaign_type", "start_date"),
    "coupon_redemptions": ("household_id", "campaign_id", "redemption_date"),
    "demographics": ("household_id", "age"),
    "exact_labels/agg_household_campaign_lift": (
        "household_key", "CAMPAIGN", "Pre_Spend", "Post_Spend", "Has_Complete_Post_Window", "Extends_Past_Observation",
    ),
    "exact_labels/dim_campaign": ("CAMPAIGN", "CAMPAIGN_TYPE", "START_DAY"),
    "exact_labels/fact_campaign_received": ("household_key", "CAMPAIGN"),
    "exact_labels/fact_coupon_redemption": ("household_key", "DAY", "CAMPAIGN"),
}  # fmt: skip
"""Files read and the columns needed of each."""


def import_completejourney(
    source: Path, out: Path, *, proxy_labels: bool = False, progress: Callable[[int, int], None] | None = None
) -> EventsManifest:
    """Write the event tables of the completejourney folder `source` to `out` (new or empty) and return the manifest.

    `proxy_labels` also derives labels from the 5% sample where no exact one exists; the manifest then says so.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise UserError(f"'{source}' is not a folder; give the one that holds transactions_sample.parquet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    with staged_folder(out) as fresh:
        manifest = _write(source, fresh, proxy_labels, progress)
        manifest.save(fresh)
    return manifest


def _write(source: Path, partial: Path, proxy_labels: bool, progress: Callable[[int, int], None] | None) -> EventsManifest:
    con = open_connection()
    try:
        _open(con, source)
        _tables(con)
        names = ("customers", "transactions", "campaigns", "merchants", "labels", "exact_spend")
        rows: dict[str, int] = {}
        for k, name in enumerate(names):
            path = literal(str(partial / f"{name}.parquet"))
            con.execute(f"COPY (SELECT * FROM out_{name} ORDER BY ALL) TO {path} (FORMAT parquet, COMPRESSION zstd)")
            rows[name] = int(con.execute(f"SELECT count(*) FROM out_{name}").fetchall()[0][0])
            if progress is not None:
                progress(k + 1, len(names))
        manifest = _manifest(con, rows, proxy_labels)
    except duckdb.Error as e:
        raise UserError(f"'{source}' does not hold the expected values: {str(e).splitlines()[0]}") from e
    finally:
        con.close()
    return manifest


def _open(con: duckdb.DuckDBPyConnection, source: Path) -> None:
    """A view a source file; every missing file or column is named at once."""
    missing: list[str] = []
    for name, columns in FILES.items():
        path = source / f"{name}.parquet"
        if not path.is_file():
            missing.append(f"{name}.parquet")
            continue
        view = "src_" + name.split("/")[-1]
        try:
            con.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet({to_read(path)})")
            found = {str(r[0]) for r in con.execute(f"DESCRIBE {view}").fetchall()}
        except duckdb.Error as e:
            raise UserError(f"{path} cannot be read as Parquet: {str(e).splitlines()[0]}") from e
        missing += [f"column {c} of {name}.parquet" for c in columns if c not in found]
    if missing:
        raise UserError(f"'{source}' is not a complete completejourney folder: it lacks {', '.join(missing)}")


def _tables(con: duckdb.DuckDBPyConnection) -> None:
    """The source as event tables, with the labels that its campaigns measured."""
    _maps(con)
    _events(con)
    _windows(con)
    _labels(con)


def _maps(con: duckdb.DuckDBPyConnection) -> None:
    """The source's words and ours."""
    con.execute("CREATE TABLE category_map(name VARCHAR, target VARCHAR)")
    con.executemany("INSERT INTO category_map VALUES (?, ?)", list(PRODUCT_CATEGORIES.items()))
    con.execute("CREATE TABLE department_map(name VARCHAR, target VARCHAR)")
    con.executemany("INSERT INTO department_map VALUES (?, ?)", list(DEPARTMENTS.items()))
    con.execute("CREATE TABLE age_map(name VARCHAR, target VARCHAR)")
    con.executemany("INSERT INTO age_map VALUES (?, ?)", list(AGE_BANDS.items()))


def _events(con: duckdb.DuckDBPyConnection) -> None:
    """Purchases, customers, shops and campaigns."""
    con.execute("""
        CREATE TABLE out_transactions AS
        SELECT CAST(household_id AS VARCHAR) AS customer_id, transaction_timestamp - INTERVAL 5 HOUR AS ts,
               CAST(sales_value AS DOUBLE) AS amount, 'store ' || store_id AS merchant_id,
               -- a product category decides only where its department does not sell fuel or meals
               CASE WHEN d.target IN ('fuel and transport', 'dining', 'travel') THEN d.target
                    ELSE coalesce(c.target, d.target, 'services') END AS mcc_l1,
               coalesce(p.product_category, p.department) AS mcc_l2,
               coalesce(p.product_type, p.product_category, p.department) AS mcc,
               'manufacturer ' || p.manufacturer_id AS brand, 'card' AS kind, 'branch or store' AS channel
        FROM src_transactions_sample t LEFT JOIN src_products p USING (product_id)
        LEFT JOIN category_map c ON c.name = p.product_category LEFT JOIN department_map d ON d.name = p.department;
        CREATE TABLE out_customers AS
        SELECT h.customer_id, a.target AS age_band, d.* EXCLUDE (household_id, age)
        FROM (SELECT DISTINCT customer_id FROM out_transactions) h
        LEFT JOIN src_demographics d ON CAST(d.household_id AS VARCHAR) = h.customer_id LEFT JOIN age_map a ON a.name = d.age;
        CREATE TABLE out_merchants AS SELECT DISTINCT merchant_id FROM out_transactions;
        CREATE TABLE out_campaigns AS
        SELECT CAST(c.household_id AS VARCHAR) AS customer_id,
               lower(d.campaign_type) || ' ' || lpad(CAST(c.campaign_id AS VARCHAR), 2, '0') AS campaign_id,
               'merchant coupon' AS offer, CAST(d.start_date AS TIMESTAMP) AS exposed_at, NULL::TIMESTAMP AS clicked_at,
               CAST(r.first AS TIMESTAMP) AS converted_at
        FROM src_campaigns c JOIN src_campaign_descriptions d USING (campaign_id)
        LEFT JOIN (SELECT household_id, campaign_id, min(redemption_date) AS first FROM src_coupon_redemptions GROUP BY ALL) r
          USING (household_id, campaign_id)
        WHERE CAST(c.household_id AS VARCHAR) IN (SELECT customer_id FROM out_customers)""")


def _windows(con: duckdb.DuckDBPyConnection) -> None:
    """What each household spent before and after the start of a campaign: a cut-off each."""
    con.execute(f"""
        CREATE TABLE starts AS
        SELECT CAST(CAST(household_key AS BIGINT) AS VARCHAR) AS customer_id, l.CAMPAIGN AS campaign,
               DATE '{DAY_ZERO.isoformat()}' + CAST(d.START_DAY AS INTEGER) AS cutoff, Pre_Spend AS before, Post_Spend AS after
        FROM src_agg_household_campaign_lift l JOIN src_dim_campaign d USING (CAMPAIGN)
        WHERE Has_Complete_Post_Window AND NOT l.Extends_Past_Observation;
        DELETE FROM starts WHERE cutoff < DATE '{FIRST_CUTOFF.isoformat()}'
           OR cutoff > (SELECT max(ts)::DATE + 1 FROM out_transactions)
           OR customer_id NOT IN (SELECT customer_id FROM out_customers);
        CREATE TABLE targeted AS
        SELECT s.customer_id, s.cutoff, max((r.household_key IS NOT NULL)::INTEGER) AS redeemed
        FROM starts s JOIN src_fact_campaign_received f
          ON f.CAMPAIGN = s.campaign AND CAST(f.household_key AS VARCHAR) = s.customer_id
        LEFT JOIN (SELECT DISTINCT household_key, CAMPAIGN FROM src_fact_coupon_redemption) r
          ON r.household_key = f.household_key AND r.CAMPAIGN = f.CAMPAIGN
        GROUP BY ALL;
        CREATE TABLE windows AS
        SELECT customer_id, cutoff, max(before) AS before, max(after) AS after FROM starts GROUP BY ALL;
        CREATE TABLE out_exact_spend AS SELECT customer_id, cutoff, before AS prior_spend_28d FROM windows""")


def _labels(con: duckdb.DuckDBPyConnection) -> None:
    """What became of each household, by cut-off."""
    bands = " ".join(f"WHEN '{band}' THEN {k}" for k, band in enumerate(AGE_BANDS.values()))
    con.execute(f"""
        CREATE TABLE out_labels AS
        SELECT w.customer_id, w.cutoff,
               CASE WHEN before > 0 THEN (after <= 0)::INTEGER ELSE -1 END AS churn,
               ln(1 + greatest(after, 0)) AS ltv,
               100 * (rank() OVER by_spend - 1 + 0.5 * count(*) OVER same_spend) / count(*) OVER same_start
                   AS spending_bucket,
               coalesce(t.redeemed, -1) AS cvr,
               CASE c.age_band {bands} ELSE -1 END AS life_stage
        FROM windows w JOIN out_customers c USING (customer_id)
        LEFT JOIN targeted t ON t.customer_id = w.customer_id AND t.cutoff = w.cutoff
        WINDOW same_start AS (PARTITION BY w.cutoff), by_spend AS (PARTITION BY w.cutoff ORDER BY after),
               same_spend AS (PARTITION BY w.cutoff, after)""")


def default_cutoffs(targeted: dict[date, int]) -> tuple[date, ...]:
    """Campaign starts at least 28 days apart (no two label windows share a day), the most targeted first; in date order."""
    chosen: list[date] = []
    for start, _ in sorted(targeted.items(), key=lambda item: (-item[1], item[0])):
        if all(abs((start - other).days) >= WINDOW for other in chosen):
            chosen.append(start)
    return tuple(sorted(chosen))


def _manifest(con: duckdb.DuckDBPyConnection, rows: dict[str, int], proxy_labels: bool) -> EventsManifest:
    targeted = con.execute("SELECT cutoff, count(*) FILTER (cvr >= 0) FROM out_labels GROUP BY ALL").fetchall()
    notes = [
        "Transactions are 5.1% of all basket lines: sequences are thin.",
        "churn, ltv, spending_bucket (28-day windows), cvr and life_stage come from exact sources; other tasks have no label.",
        "No bank products, app sessions, credit line or clicks: those inputs and tasks are empty.",
        "exact_spend.parquet holds the exact spend of the 28 days before each cut-off, usable as a feature.",
    ]
    if proxy_labels:
        notes.append("Proxy labels on: tasks without an exact label are derived from the 5% sample and thinned by it.")
    present = {
        name: {str(r[0]) for r in con.execute(f"DESCRIBE out_{name}").fetchall()}
        for name in ("customers", "transactions", "campaigns", "merchants")
    }
    absent = {name: tuple(c.name for c in TABLES[name].columns if c.name not in found) for name, found in present.items()}
    absent["campaigns"] += ("clicked_at",)
    return EventsManifest(
        source="completejourney",
        name="Complete Journey (real, grocery)",
        tables={t: TableEntry(n) for t, n in rows.items()},
        defaults=Defaults(
            cutoffs=tuple(d.isoformat() for d in default_cutoffs({d: int(n) for d, n in targeted})),
            horizon_days=WINDOW,
            label_policy="derived" if proxy_labels else "labels_only",
            notes=tuple(notes),
        ),
        absent_columns={k: v for k, v in absent.items() if v},
        absent_tables=tuple(t for t in TABLES if t not in present),
        currency="USD",
        parameters={"proxy_labels": proxy_labels},
    )
