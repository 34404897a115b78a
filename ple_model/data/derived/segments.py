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
Columns = NDArray[np.float64]
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
    events = _events(store.con, first, stop)
    profile = _profile(store, first, stop)
    contacts = _contacts(store.con, first, stop)
    joined, known_region = profile[:, 3] > 0, profile[:, 4] > 0
    tenure = np.where(joined, profile[:, 0], events[:, 1])
    segment = _segment(events, tenure, joined | known_region)
    coldstart = _coldstart(events, profile, contacts, tenure)
    return Segments(segment, coldstart.astype(np.float32), _anonymous(events, contacts).astype(np.float32))


def _events(con: duckdb.DuckDBPyConnection, first: int, stop: int) -> Columns:
    """[n, 28] of purchases, deposits and sessions, up to 90 days back where nothing else is said: 0 days; 1 first, 2 last
    day back; 3 purchases and 4 log spend in 28 days; 5 sessions in 28 days; 6 duration and 7 events of a session; 8 hour,
    9 share at weekends; 10 sessions; 11 days; 12 purchases; 13 to 15 share by channel; 16 to 27 spend by category."""
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
    found = con.execute(f"""
        SELECT r, count(DISTINCT back), max(back), min(back), count(*) FILTER (what = 't' AND back <= 28),
            ln(1 + greatest(coalesce(sum(amount) FILTER (what IN ('t', 'r') AND age <= 28), 0), 0)),
            count(*) FILTER (what = 's' AND back <= 28), avg(duration) FILTER (back <= 90), avg(events) FILTER (back <= 90),
            avg(extract('hour' FROM ts)) FILTER (back <= 90),
            avg((dayofweek(ts) IN (0, 6))::INT) FILTER (back <= 90), count(*) FILTER (what = 's' AND back <= 90),
            count(DISTINCT back) FILTER (back <= 90), count(*) FILTER (what = 't' AND back <= 90),
            {channels}, {shares}
        FROM segment_events GROUP BY r""")
    e = _dense(found, stop - first)
    e[:, 16:28] = np.maximum(e[:, 16:28], 0)
    return e


def _profile(store: EventStore, first: int, stop: int) -> Columns:
    """[n, 6 + free columns]: 0 days since joining; 1, 2 its month on a circle; 3 whether that and 4 the region are known; 5 the
    region's bucket; then the bucket of each usable static column."""
    static = usable_static(store.static_columns)
    # several static columns share a few buckets: a hash of name and value, summed
    hashed = ", ".join(f"hash({literal(c)} || coalesce(static_{k}, '')) % {STATIC_BUCKETS}" for k, c in enumerate(static))
    renamed = "".join(f", {quote(c)}::VARCHAR AS static_{k}" for k, c in enumerate(static))  # any name, 'cutoff' as well
    found = store.con.execute(f"""
        SELECT s.row_id - {first}, s.cutoff - joined_on, sin(month(joined_on) * pi() / 6), cos(month(joined_on) * pi() / 6),
            (joined_on IS NOT NULL AND joined_on < s.cutoff)::INT, (region IS NOT NULL)::INT,
            CASE WHEN region IS NULL THEN NULL ELSE hash(region) % {REGION_BUCKETS} END {", " + hashed if hashed else ""}
        FROM spine s LEFT JOIN (SELECT customer_id, joined_on, region{renamed} FROM customers) USING (customer_id)
        WHERE s.row_id >= {first} AND s.row_id < {stop}""")
    return _dense(found, stop - first)


def _contacts(con: duckdb.DuckDBPyConnection, first: int, stop: int) -> Columns:
    """[n, 3]: campaigns shown and clicked in 90 days, products held."""
    found = con.execute(f"""
        SELECT s.row_id - {first},
            (SELECT count(*) FROM campaigns c WHERE c.customer_id = s.customer_id AND c.exposed_at < s.cutoff
                AND c.exposed_at >= s.cutoff - 90),
            (SELECT count(*) FROM campaigns c WHERE c.customer_id = s.customer_id AND c.exposed_at < s.cutoff
                AND c.clicked_at < s.cutoff AND c.clicked_at >= s.cutoff - 90),
            (SELECT count(DISTINCT product) FROM holdings h WHERE h.customer_id = s.customer_id AND h.as_of < s.cutoff)
        FROM spine s WHERE s.row_id >= {first} AND s.row_id < {stop}""")
    return _dense(found, stop - first)


def _segment(events: Columns, tenure: Columns, known: NDArray[np.bool_]) -> NDArray[np.int32]:
    """[n] number in `SEGMENTS`: dormant before warm before cold, and nobody is known of whom there is neither."""
    warm = (events[:, 0] >= WARM_DAYS) & (tenure >= WARM_TENURE)
    dormant = ((events[:, 0] == 0) | (events[:, 2] > HISTORY_DAYS)) & (tenure >= WARM_TENURE)
    return np.where(dormant, 3, np.where(warm, 2, np.where(known, 1, 0))).astype(np.int32)


def _coldstart(events: Columns, profile: Columns, contacts: Columns, tenure: Columns) -> Columns:
    """[n, 40]: what is known of a customer without a history."""
    n, e = len(events), events
    joined, known_region = profile[:, 3] > 0, profile[:, 4] > 0
    categories = e[:, 16:28] / np.maximum(e[:, 16:28].sum(axis=1, keepdims=True), 1e-9)
    region = np.zeros((n, REGION_BUCKETS))
    region[np.flatnonzero(known_region), profile[known_region, 5].astype(np.int64)] = 1.0
    hashes = np.zeros((n, STATIC_BUCKETS))
    for j in range(6, profile.shape[1]):
        np.add.at(hashes, (np.arange(n), profile[:, j].astype(np.int64)), 1.0)
    parts = [
        region, np.log1p(np.maximum(tenure, 0))[:, None] / 5, profile[:, 1:3] * joined[:, None], np.log1p(e[:, 3:4]),
        e[:, 4:5] / 5, np.log1p(e[:, 5:6]), np.log1p(contacts[:, [0]]), np.log1p(contacts[:, [2]]),
        e[:, 13:16], np.maximum(categories, 0), hashes,
    ]  # fmt: skip
    return np.concatenate(parts, axis=1)


def _anonymous(events: Columns, contacts: Columns) -> Columns:
    """[n, 15]: how somebody behaves, without who it is."""
    e = events
    angle, some = e[:, 8] * np.pi / 12, e[:, 0] > 0
    parts = [
        np.log1p(e[:, 10]), np.log1p(np.maximum(e[:, 6], 0)), np.log1p(np.maximum(e[:, 7], 0)), np.sin(angle) * some,
        np.cos(angle) * some, e[:, 9], e[:, 13], e[:, 14], e[:, 15], np.log1p(e[:, 2]) * some, np.log1p(e[:, 1]) / 5,
        np.log1p(contacts[:, 0]), np.log1p(contacts[:, 1]), np.log1p(e[:, 12]), np.log1p(e[:, 11]),
    ]  # fmt: skip
    return np.stack(parts, axis=1)


def _dense(result: duckdb.DuckDBPyConnection, n: int) -> Columns:
    """[n, columns] of a query whose first column is the row; NULL and rows that are not there become 0."""
    columns = list(result.fetchnumpy().values())
    out = np.zeros((n, len(columns) - 1))
    row = np.asarray(np.ma.getdata(columns[0])).astype(np.int64)
    for j, c in enumerate(columns[1:]):
        out[row, j] = np.nan_to_num(np.ma.filled(np.ma.asarray(c).astype(np.float64), 0.0))
    return out
