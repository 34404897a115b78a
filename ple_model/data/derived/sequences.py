"""Daily and session sequences from SQL into dense arrays, scattered by (row, step) without a Python loop over customers.

* `txn_seq` [180, 16]: one row a day, the last is the day before the cut-off. Card: log spend, log count, log largest amount,
  sine and cosine of the mean hour, merchants, categories, share bought online. Deposit: log in, log out, count in, count out,
  signed log of the net flow, log largest movement, sine and cosine of the mean hour.
* `session_seq` [90, 8]: the last 90 sessions, newest last. Log duration, log events, log days since the one before, log days
  before the cut-off, sine and cosine of the hour, app, web.
* `daily` [365, 4], `app_events` [365, 1] and `monthly` [12, 12]: what topology and the hidden Markov models read; unscaled.

Each channel of the two model inputs is divided by the root mean square of its non-zero training values: zero stays zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.data.build.spine import within

FloatArray = NDArray[np.float32]
TXN_STEPS, TXN_WIDTH = 180, 16
SESSION_STEPS, SESSION_WIDTH = 90, 8
DAILY_STEPS = 365
DAILY = ("spend", "purchases", "sessions", "deposit_in")
MONTHS = 12
MONTHLY = (
    "spend", "purchases", "active_days", "sessions", "deposit_in", "merchants",
    "entropy", "online_share", "weekend_share", "night_share", "mean_amount", "top_share",
)  # fmt: skip
LIFECYCLE = (0, 1, 2, 3, 4, 5)
BEHAVIOR = (6, 7, 8, 9, 10, 11)


@dataclass(frozen=True)
class Sequences:
    """Unscaled sequences of a range of spine rows, and which rows have events before the cut-off at all."""

    txn: FloatArray
    session: FloatArray
    daily: FloatArray
    app_events: FloatArray
    """Events within the day's sessions; a session that does not count them is one."""
    monthly: FloatArray
    p_txn_seq: NDArray[np.bool_]
    p_session_seq: NDArray[np.bool_]


def read_sequences(con: duckdb.DuckDBPyConnection, first: int, stop: int) -> Sequences:
    """Sequences of spine rows `first` <= row_id < `stop`. Sees events strictly before the cut-off only."""
    n = stop - first
    mine = within(con, first, stop)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE seq_txn AS
        SELECT s.row_id - {first} AS r, s.cutoff - t.ts::DATE AS back, t.amount, t.merchant_id, t.mcc_l1,
               coalesce(t.kind, 'card') AS kind, t.channel,
               extract('hour' FROM t.ts) + extract('minute' FROM t.ts) / 60.0 AS hour,
               dayofweek(t.ts) IN (0, 6) AS weekend
        FROM spine s JOIN transactions t ON t.customer_id = s.customer_id AND t.ts < s.cutoff
         AND t.ts >= s.cutoff - {DAILY_STEPS}
        WHERE s.row_id >= {first} AND s.row_id < {stop} AND {mine}""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE seq_session AS
        SELECT s.row_id - {first} AS r, s.cutoff - t.ts::DATE AS back, t.ts, s.cutoff, t.duration, t.events, t.channel
        FROM spine s JOIN sessions t ON t.customer_id = s.customer_id AND t.ts < s.cutoff AND t.ts >= s.cutoff - {DAILY_STEPS}
        WHERE s.row_id >= {first} AND s.row_id < {stop} AND {mine}""")
    return Sequences(
        txn=_scatter(con, _TXN, n, TXN_STEPS, TXN_WIDTH),
        session=_scatter(con, _SESSION, n, SESSION_STEPS, SESSION_WIDTH),
        daily=_scatter(con, _DAILY, n, DAILY_STEPS, len(DAILY)),
        app_events=_scatter(con, _APP_EVENTS, n, DAILY_STEPS, 1),
        monthly=_scatter(con, _MONTHLY, n, MONTHS, len(MONTHLY)),
        p_txn_seq=_exists(con, "transactions", first, stop),
        p_session_seq=_exists(con, "sessions", first, stop),
    )


_HOUR = "sin(avg(hour) {f} * pi() / 12), cos(avg(hour) {f} * pi() / 12)"
_NET, _CARD, _DEPOSIT = "FILTER (kind = 'card')", "FILTER (kind = 'card' AND amount > 0)", "FILTER (kind = 'deposit')"
_ACTIVE = "FILTER (kind <> 'card' OR amount > 0)"
"""Spend is net of refunds, all else is of purchases alone."""
_TXN = f"""
    SELECT r, {TXN_STEPS} - back AS step,
        ln(1 + greatest(sum(amount) {_NET}, 0)), ln(1 + count(*) {_CARD}), ln(1 + greatest(max(amount) {_CARD}, 0)),
        {_HOUR.format(f=_CARD)},
        count(DISTINCT merchant_id) {_CARD}, count(DISTINCT mcc_l1) {_CARD},
        avg((channel IN ('app', 'web'))::INT) {_CARD},
        ln(1 + sum(greatest(amount, 0)) {_DEPOSIT}), ln(1 + sum(greatest(-amount, 0)) {_DEPOSIT}),
        count(*) FILTER (kind = 'deposit' AND amount > 0), count(*) FILTER (kind = 'deposit' AND amount < 0),
        sign(sum(amount) {_DEPOSIT}) * ln(1 + abs(sum(amount) {_DEPOSIT})), ln(1 + max(abs(amount)) {_DEPOSIT}),
        {_HOUR.format(f=_DEPOSIT)}
    FROM seq_txn WHERE back <= {TXN_STEPS} GROUP BY r, back"""
_SESSION = f"""
    SELECT r, {SESSION_STEPS} - place AS step, ln(1 + greatest(coalesce(duration, 0), 0)),
        ln(1 + greatest(coalesce(events, 0), 0)), ln(1 + coalesce(gap, 0)),
        ln(1 + greatest(date_diff('second', ts, cutoff::TIMESTAMP), 0) / 86400.0),
        sin(extract('hour' FROM ts) * pi() / 12), cos(extract('hour' FROM ts) * pi() / 12),
        (channel = 'app')::INT, (channel = 'web')::INT
    FROM (SELECT *, row_number() OVER (PARTITION BY r ORDER BY ts DESC, duration DESC, events DESC) AS place,
                 date_diff('second', lag(ts) OVER (PARTITION BY r ORDER BY ts, duration, events), ts) / 86400.0 AS gap
          FROM seq_session) WHERE place <= {SESSION_STEPS}"""
_DAILY = f"""
    SELECT r, {DAILY_STEPS} - back AS step, greatest(sum(spend), 0), sum(purchases), sum(sessions), sum(deposit) FROM (
        SELECT r, back, CASE WHEN kind = 'card' THEN amount ELSE 0 END AS spend,
               (kind = 'card' AND amount > 0)::INT AS purchases, 0 AS sessions,
               CASE WHEN kind = 'deposit' THEN greatest(amount, 0) ELSE 0 END AS deposit FROM seq_txn
        UNION ALL SELECT r, back, 0, 0, 1, 0 FROM seq_session
    ) GROUP BY r, back"""
_APP_EVENTS = f"""
    SELECT r, {DAILY_STEPS} - back AS step, sum(greatest(coalesce(events, 1), 0)) FROM seq_session GROUP BY r, back"""
_MONTHLY = f"""
    WITH m AS (SELECT r, (back - 1) // 30 AS month, back, * EXCLUDE (r, back) FROM seq_txn WHERE back <= {30 * MONTHS}),
    share AS (
        SELECT r, month, -sum(p * ln(p)) AS entropy, max(p) AS top FROM (
            SELECT r, month, greatest(sum(amount), 0) / sum(greatest(sum(amount), 0)) OVER (PARTITION BY r, month) AS p FROM m
            WHERE kind = 'card' GROUP BY r, month, mcc_l1
        ) WHERE p > 0 GROUP BY r, month),
    t AS (
        SELECT r, month, ln(1 + greatest(sum(amount) {_NET}, 0)) AS spend, ln(1 + count(*) {_CARD}) AS n,
            count(DISTINCT back) {_ACTIVE} AS days, ln(1 + sum(greatest(amount, 0)) {_DEPOSIT}) AS deposit,
            ln(1 + count(DISTINCT merchant_id) {_ACTIVE}) AS merchants, avg((channel IN ('app', 'web'))::INT) {_CARD} AS online,
            avg(weekend::INT) {_CARD} AS weekend, avg((hour >= 21 OR hour < 6)::INT) {_CARD} AS night,
            ln(1 + greatest(avg(amount) {_CARD}, 0)) AS mean_amount
        FROM m GROUP BY r, month),
    e AS (SELECT r, (back - 1) // 30 AS month, ln(1 + count(*)) AS n FROM seq_session WHERE back <= {30 * MONTHS} GROUP BY 1, 2)
    SELECT r, {MONTHS} - 1 - month AS step, t.spend, t.n, t.days, e.n, t.deposit, t.merchants,
        share.entropy, t.online, t.weekend, t.night, t.mean_amount, share.top
    FROM t FULL JOIN e USING (r, month) LEFT JOIN share USING (r, month)"""


def _scatter(con: duckdb.DuckDBPyConnection, sql: str, n: int, steps: int, width: int) -> FloatArray:
    """[n, steps, width] from a query of (row, step, values ...); cells without an event are zero."""
    out = np.zeros((n, steps, width), np.float32)
    columns = list(con.execute(sql).fetchnumpy().values())
    row, step = (np.asarray(np.ma.getdata(c)).astype(np.int64) for c in columns[:2])
    for j, values in enumerate(columns[2:]):
        out[row, step, j] = np.nan_to_num(np.ma.filled(np.ma.asarray(values).astype(np.float64), 0.0))
    return out


def _exists(con: duckdb.DuckDBPyConnection, table: str, first: int, stop: int) -> NDArray[np.bool_]:
    out = np.zeros(stop - first, np.bool_)
    found = con.execute(
        f"SELECT s.row_id - {first} AS r FROM spine s WHERE s.row_id >= {first} AND s.row_id < {stop} AND EXISTS"
        f" (SELECT 1 FROM {table} t WHERE t.customer_id = s.customer_id AND t.ts < s.cutoff AND {within(con, first, stop)})"
    ).fetchnumpy()["r"]
    out[np.asarray(found, np.int64)] = True
    return out


@dataclass(frozen=True)
class SequenceScale:
    """Divisors of the channels of `txn_seq` [16] and `session_seq` [8], fitted on the training split."""

    txn: FloatArray
    session: FloatArray

    @staticmethod
    def fit(pieces: Iterable[tuple[FloatArray, FloatArray]]) -> SequenceScale:
        """Of (`txn` [n, 180, 16], `session` [n, 90, 8]) of the training rows, some at a time."""
        sums = [(_squares(txn), _squares(session)) for txn, session in pieces]
        txn, session = (np.sum(of, axis=0) for of in zip(*sums, strict=True))
        return SequenceScale(_rms(*txn), _rms(*session))


def _squares(x: FloatArray) -> NDArray[np.float64]:
    """[2, channels] sum of squares, and how many are not zero."""
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return np.stack([(flat**2).sum(axis=0), (flat != 0).sum(axis=0)])


def _rms(total: NDArray[np.float64], there: NDArray[np.float64]) -> FloatArray:
    rms = np.sqrt(total / np.maximum(there, 1))
    return np.where(rms > 0, rms, 1.0).astype(np.float32)
