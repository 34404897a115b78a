"""`customer_segment` and the static features of cold-start and anonymous customers, in SQL.

Rule, with everything counted before the cut-off: *dormant* (3) is who is known for at least 60 days (since joining, or since
the first event where that is unknown) and had no purchase, deposit or session in the 365 days before the cut-off, which is all
that the features look at. Of the others *warm_start* (2) has at least 5 active days and is known for at least 60 days,
*anonymous* (0) has neither a joining date nor a region, and *cold_start* (1) is the rest. A refund is no activity; it only
takes off what was spent. Age and anything named after it is left out: it is a label (life_stage).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.spine import within
from ple_model.data.events.connect import EventStore
from ple_model.data.features.column import HISTORY_DAYS
from ple_model.data.labels.conditions import PURCHASE
from ple_model.sql_text import literal, quote
from ple_model.tasks import CHANNELS, SPENDING_CATEGORIES

FloatArray = NDArray[np.float32]
WARM_DAYS, WARM_TENURE = 5, 60
REGION_BUCKETS, STATIC_BUCKETS = 10, 7
COLD_WIDTH, ANONYMOUS_WIDTH = 40, 15
AGE_WORDS = ("age", "birth", "dob", "life_stage", "generation")


@dataclass(frozen=True)
class Segments:
    """segment [n] int32; coldstart [n, 40] and anonymous [n, 15] (log counts, shares, sine and cosine, hashed one-hots)."""

    segment: NDArray[np.int32]
    coldstart: FloatArray
    anonymous: FloatArray


def usable_static(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Free static columns that do not tell the age."""
    return tuple(c for c in columns if not any(w in c.lower().replace("-", "_").split("_") for w in AGE_WORDS))


def read_segments(store: EventStore, first: int, stop: int) -> Segments:
    """Segments of spine rows `first` <= row_id < `stop`."""
    con = store.con
    n = stop - first
    static = usable_static(store.static_columns)
    # several static columns share a few buckets: a hash of name and value, summed
    hashed = ", ".join(f"hash({literal(c)} || coalesce(static_{k}, '')) % {STATIC_BUCKETS}" for k, c in enumerate(static))
    renamed = "".join(f", {quote(c)}::VARCHAR AS static_{k}" for k, c in enumerate(static))  # any name, 'cutoff' as well
    mine = within(con, first, stop, "customer_id")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE segment_events AS
        SELECT s.row_id - {first} AS r, s.cutoff - e.ts::DATE AS age, CASE WHEN what <> 'r' THEN age END AS back, e.*
        FROM spine s JOIN (
            SELECT customer_id, ts, 't' AS what, amount, mcc_l1, channel, NULL::DOUBLE AS duration, NULL::INT AS events
            FROM transactions WHERE {PURCHASE} AND {mine}
            UNION ALL SELECT customer_id, ts, 'r', amount, mcc_l1, NULL, NULL, NULL FROM transactions
                      WHERE coalesce(kind, 'card') <> 'deposit' AND amount < 0 AND {mine}  -- a refund: money back, no activity
            UNION ALL SELECT customer_id, ts, 's', NULL, NULL, channel, duration, events FROM sessions WHERE {mine}
            UNION ALL SELECT customer_id, ts, 'd', amount, NULL, channel, NULL, NULL FROM transactions
                      WHERE kind = 'deposit' AND {mine}
        ) e ON e.customer_id = s.customer_id AND e.ts < s.cutoff
        WHERE s.row_id >= {first} AND s.row_id < {stop}""")
    shares = ", ".join(
        f"coalesce(sum(amount) FILTER (what IN ('t', 'r') AND mcc_l1 = '{c}' AND age <= 90), 0)" for c in SPENDING_CATEGORIES
    )
    channels = ", ".join(f"avg((channel = '{c}')::INT) FILTER (channel IS NOT NULL AND back <= 90)" for c in CHANNELS)
    events = con.execute(f"""
        SELECT r, count(DISTINCT back), max(back), min(back), count(*) FILTER (what = 't' AND back <= 28),
            ln(1 + greatest(coalesce(sum(amount) FILTER (what IN ('t', 'r') AND age <= 28), 0), 0)),
            count(*) FILTER (what = 's' AND back <= 28), avg(duration) FILTER (back <= 90), avg(events) FILTER (back <= 90),
            avg(extract('hour' FROM ts)) FILTER (back <= 90),
            avg((dayofweek(ts) IN (0, 6))::INT) FILTER (back <= 90), count(*) FILTER (what = 's' AND back <= 90),
            count(DISTINCT back) FILTER (back <= 90), count(*) FILTER (what = 't' AND back <= 90),
            {channels}, {shares}
        FROM segment_events GROUP BY r""")
    e = _dense(events, n)
    profile = _dense(
        con.execute(f"""
        SELECT s.row_id - {first}, s.cutoff - joined_on, sin(month(joined_on) * pi() / 6), cos(month(joined_on) * pi() / 6),
            (joined_on IS NOT NULL AND joined_on < s.cutoff)::INT, (region IS NOT NULL)::INT,
            CASE WHEN region IS NULL THEN NULL ELSE hash(region) % {REGION_BUCKETS} END {", " + hashed if hashed else ""}
        FROM spine s LEFT JOIN (SELECT customer_id, joined_on, region{renamed} FROM customers) USING (customer_id)
        WHERE s.row_id >= {first} AND s.row_id < {stop}"""),
        n,
    )
    other = _dense(
        con.execute(f"""
        SELECT s.row_id - {first},
            (SELECT count(*) FROM campaigns c WHERE c.customer_id = s.customer_id AND c.exposed_at < s.cutoff
                AND c.exposed_at >= s.cutoff - 90),
            (SELECT count(*) FROM campaigns c WHERE c.customer_id = s.customer_id AND c.exposed_at < s.cutoff
                AND c.clicked_at < s.cutoff AND c.clicked_at >= s.cutoff - 90),
            (SELECT count(DISTINCT product) FROM holdings h WHERE h.customer_id = s.customer_id AND h.as_of < s.cutoff)
        FROM spine s WHERE s.row_id >= {first} AND s.row_id < {stop}"""),
        n,
    )
    joined, known_region = profile[:, 3] > 0, profile[:, 4] > 0
    tenure = np.where(joined, profile[:, 0], e[:, 1])
    warm = (e[:, 0] >= WARM_DAYS) & (tenure >= WARM_TENURE)
    dormant = ((e[:, 0] == 0) | (e[:, 2] > HISTORY_DAYS)) & (tenure >= WARM_TENURE)
    segment = np.where(dormant, 3, np.where(warm, 2, np.where(~joined & ~known_region, 0, 1))).astype(np.int32)
    e[:, 16:28] = np.maximum(e[:, 16:28], 0)
    categories = e[:, 16:28] / np.maximum(e[:, 16:28].sum(axis=1, keepdims=True), 1e-9)
    region = np.zeros((n, REGION_BUCKETS))
    region[np.flatnonzero(known_region), profile[known_region, 5].astype(np.int64)] = 1.0
    hashes = np.zeros((n, STATIC_BUCKETS))
    for j in range(6, profile.shape[1]):
        np.add.at(hashes, (np.arange(n), profile[:, j].astype(np.int64)), 1.0)
    cold = [
        region, np.log1p(np.maximum(tenure, 0))[:, None] / 5, profile[:, 1:3] * joined[:, None], np.log1p(e[:, 3:4]),
        e[:, 4:5] / 5, np.log1p(e[:, 5:6]), np.log1p(other[:, [0]]), np.log1p(other[:, [2]]),
        e[:, 13:16], np.maximum(categories, 0), hashes,
    ]  # fmt: skip
    angle = e[:, 8] * np.pi / 12
    some = e[:, 0] > 0
    anonymous = [
        np.log1p(e[:, 10]), np.log1p(np.maximum(e[:, 6], 0)), np.log1p(np.maximum(e[:, 7], 0)), np.sin(angle) * some,
        np.cos(angle) * some, e[:, 9], e[:, 13], e[:, 14], e[:, 15], np.log1p(e[:, 2]) * some, np.log1p(e[:, 1]) / 5,
        np.log1p(other[:, 0]), np.log1p(other[:, 1]), np.log1p(e[:, 12]), np.log1p(e[:, 11]),
    ]  # fmt: skip
    return Segments(segment, np.concatenate(cold, axis=1).astype(np.float32), np.stack(anonymous, axis=1).astype(np.float32))


def _dense(result: duckdb.DuckDBPyConnection, n: int) -> NDArray[np.float64]:
    """[n, columns] of a query whose first column is the row; NULL and rows that are not there become 0."""
    columns = list(result.fetchnumpy().values())
    out = np.zeros((n, len(columns) - 1))
    row = np.asarray(np.ma.getdata(columns[0])).astype(np.int64)
    for j, c in enumerate(columns[1:]):
        out[row, j] = np.nan_to_num(np.ma.filled(np.ma.asarray(c).astype(np.float64), 0.0))
    return out
