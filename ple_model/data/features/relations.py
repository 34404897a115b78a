"""The relations that feature columns aggregate: events before the cut-off, reshaped once and shared by all parts.

Every relation is keyed by `k`, the number of a (customer, cut-off) row of table `keys(k, customer_id, cutoff, market, fold)`;
`market` is the newest fitted market date at or before the cut-off, `fold` says which of its figures the customer reads. `d`
counts days back: 1 is the day before the cut-off.
Each relation is made by set-based SQL in one pass over its input, so cost is linear in events. Events at or after the cut-off
never enter.

Refunds: `card` holds purchases alone (amount above 0), and counts, gaps, recencies and the sizes of purchases come from it;
`allcard` holds refunds beside them, and every sum of spend (of a window, day, week, category, merchant or brand) is net of the
refunds in it, never below 0. A refund alone makes no visit, no active day and no category, merchant or brand of a customer.

Conventions of the event tables: a card amount is money spent (negative: a refund); a deposit amount is positive for money in
and negative for money out; `holdings` are statements; session `duration` is in seconds; a time of exactly 00:00:00 means that
the hour is unknown.
"""

from __future__ import annotations

from ple_model.data.features.column import HISTORY_DAYS, count, last, net
from ple_model.tasks import SPENDING_CATEGORIES

ESSENTIAL = tuple(
    i + 1 for i, n in enumerate(SPENDING_CATEGORIES) if n in ("groceries", "fuel and transport", "health", "education")
)
"""Category numbers of necessities; the others are treats."""


def _age(moment: str) -> str:
    return f"date_diff('day', CAST({moment} AS DATE), cutoff)"


def _hour(moment: str) -> str:
    return f"CASE WHEN CAST({moment} AS TIME) <> TIME '00:00:00' THEN hour({moment}) + minute({moment}) / 60.0 END"


def _channel(column: str) -> str:
    """The known channels by a short name; what `validate` reports as unknown is unknown here and in the labels."""
    return f"CASE {column} WHEN 'app' THEN 'app' WHEN 'web' THEN 'web' WHEN 'branch or store' THEN 'store' END"


def _events(table: str, moment: str, columns: str, where: str = "TRUE", joins: str = "") -> str:
    """Rows of `table` in the history window before the cut-off, with `k` and `d`, for the chunk's customers."""
    return (
        f"SELECT keys.k, {_age('e.' + moment)} AS d, {columns} FROM keys JOIN {table} e USING (customer_id) {joins} "
        f"WHERE e.customer_id BETWEEN $low AND $high AND e.{moment} < keys.cutoff::TIMESTAMP "
        f"AND e.{moment} >= keys.cutoff::TIMESTAMP - INTERVAL {HISTORY_DAYS} DAY AND {where}"
    )


_CATEGORIES = ", ".join(f"'{n}'" for n in SPENDING_CATEGORIES)
CATEGORY_NUMBER = f"coalesce(list_position([{_CATEGORIES}], coalesce(e.mcc_l1, s.mcc_l1)), 0)"
"""1-12 in the order of `SPENDING_CATEGORIES`; 0 where missing or unknown. Reads aliases e (event) and s (merchant)."""
_CARD_COLUMNS = (
    "e.ts, e.amount, e.merchant_id AS m, coalesce(e.brand, s.brand) AS brand, coalesce(e.mcc_l1, s.mcc_l1) AS l1, "
    "coalesce(e.mcc_l2, s.mcc_l2) AS l2, s.region AS place, "
    f"{CATEGORY_NUMBER} AS c, "
    f"{_channel('e.channel')} AS ch, {_hour('e.ts')} AS h, isodow(e.ts) AS wd, day(e.ts) AS dom"
)
_SPANS = (28, 90, 180, 365)
_BOUGHT = "FILTER (WHERE amount > 0)"
_GROUP_SUMS = (
    ", ".join(f"{net(last(w))} AS s{w}, {count(last(w, 'amount > 0'))} AS n{w}" for w in _SPANS)
    + f", max(d) {_BOUGHT} AS first_d, min(d) {_BOUGHT} AS last_d, max(amount) AS max_amount"
)


def _grouped(column: str) -> str:
    return (
        f"SELECT k, {column}, {_GROUP_SUMS} FROM allcard WHERE {column} IS NOT NULL GROUP BY k, {column} "
        f"HAVING count(*) {_BOUGHT} > 0"
    )


def _by_kind(source: str) -> str:
    return f"SELECT k, coalesce(kind, 'unknown') AS kind, count(*) AS n, sum(amount) AS amount FROM {source} GROUP BY ALL"


_LAGS = ", ".join(f"lag(y, {k}) OVER w AS y_lag{k}" for k in (1, 2, 7, 14, 28))
_DAY = f"""
WITH grid AS (SELECT k, d::INT AS d FROM (SELECT DISTINCT k FROM card), range(1, 91) r(d)),
filled AS (SELECT grid.k, grid.d, 91 - grid.d AS t, coalesce(n, 0) AS n, coalesce(amount, 0) AS spend, ln(1 + spend) AS y
           FROM grid LEFT JOIN cardday USING (k, d)),
centred AS (SELECT *, avg(y) OVER (PARTITION BY k) AS mean_y FROM filled),
lagged AS (SELECT k, d, t, n, spend, y, mean_y, lag(n, 1) OVER w AS n_lag1, lag(n, 7) OVER w AS n_lag7, {_LAGS},
                  sum(y - mean_y) OVER w AS cusum
           FROM centred WINDOW w AS (PARTITION BY k ORDER BY t))
SELECT *, y - y_lag1 AS dy, y - 2 * y_lag1 + y_lag2 AS ddy, (y > mean_y) <> (y_lag1 > mean_y) AS crossing FROM lagged
"""
_WEEK = """
WITH grid AS (SELECT k, w::INT AS w FROM (SELECT DISTINCT k FROM card), range(0, 26) r(w)),
sums AS (SELECT k, (d - 1) // 7 AS w, count(*) FILTER (WHERE amount > 0) AS n, greatest(sum(amount), 0) AS spend,
                least(spend, greatest(sum(amount) FILTER (WHERE essential), 0)) AS essential,
                least(spend, greatest(sum(amount) FILTER (WHERE wd >= 6), 0)) AS weekend
         FROM allcard WHERE d <= 182 GROUP BY ALL),
filled AS (SELECT k, w, coalesce(n, 0) AS n, coalesce(spend, 0) AS spend, coalesce(essential, 0) AS essential,
                  coalesce(weekend, 0) AS weekend FROM grid LEFT JOIN sums USING (k, w))
SELECT *, lag(spend, 1) OVER t AS spend_lag1, lag(spend, 2) OVER t AS spend_lag2, lag(spend, 4) OVER t AS spend_lag4
FROM filled WINDOW t AS (PARTITION BY k ORDER BY w DESC)
"""
_BLOCK = """
WITH grid AS (SELECT k, b::INT AS b FROM (SELECT k FROM card UNION SELECT k FROM dep), range(0, 13) r(b)),
spent AS (SELECT k, (d - 1) // 28 AS b, count(*) FILTER (WHERE amount > 0) AS n, greatest(sum(amount), 0) AS spend
          FROM allcard GROUP BY ALL),
flow AS (SELECT k, (d - 1) // 28 AS b, sum(amount) FILTER (WHERE amount > 0) AS inflow,
                -sum(amount) FILTER (WHERE amount < 0) AS outflow FROM dep GROUP BY ALL)
SELECT k, b, coalesce(n, 0) AS n, coalesce(spend, 0) AS spend, coalesce(inflow, 0) AS inflow, coalesce(outflow, 0) AS outflow
FROM grid LEFT JOIN spent USING (k, b) LEFT JOIN flow USING (k, b)
"""
_SEQ = """
SELECT k, d, amount, c, essential, l1, brand, lag(c) OVER w AS prev_c, lag(essential) OVER w AS prev_essential,
       lag(l1) OVER w AS prev_l1, lag(brand) OVER (PARTITION BY k, c ORDER BY ts, m, amount) AS prev_brand,
       date_diff('second', lag(ts) OVER w, ts) / 3600.0 AS gap_h,
       avg(amount) OVER p AS avg_amount, stddev_samp(amount) OVER p AS std_amount,
       row_number() OVER (PARTITION BY k ORDER BY amount) AS rank_amount,
       count(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) AS hour_count
FROM card WINDOW w AS (PARTITION BY k ORDER BY ts, m, amount), p AS (PARTITION BY k)
"""
_PATTERN = """
SELECT k, (y_lag2 < y_lag1)::INT * 4 + (y_lag1 < y)::INT * 2 + (y_lag2 < y)::INT AS pattern, count(*) AS n
FROM day WHERE y_lag2 IS NOT NULL GROUP BY ALL
"""
_WAVES = (1, 2, 3, 6, 9, 13, 18, 26, 39)
"""Fourier components of the 90-day series that are examined: periods of 90, 45, 30, 15, 10, 7, 5, 3.5 and 2.3 days."""
_WAVE = f"""
SELECT k, f, pow(sum(y * cos(2 * pi() * f * d / 90)), 2) + pow(sum(y * sin(2 * pi() * f * d / 90)), 2) AS power
FROM day, (SELECT unnest({list(_WAVES)}) AS f) GROUP BY k, f
"""
_RUN = """
SELECT k, active, count(*) AS days
FROM (SELECT k, n > 0 AS active, d - row_number() OVER (PARTITION BY k, n > 0 ORDER BY d) AS run FROM day)
GROUP BY k, active, run
"""
_PAYDAY = """
SELECT k, d, amount AS spend, pay.d IS NOT NULL AS after_payday
FROM cardday LEFT JOIN (SELECT DISTINCT k, (dep.d - r.i)::INT AS d FROM dep, range(0, 4) r(i) WHERE amount > 0) pay USING (k, d)
WHERE k IN (SELECT k FROM dep WHERE amount > 0)
"""
_HOLD = """
SELECT k, product, arg_max(h.balance, h.as_of) AS balance, arg_max(h.credit_limit, h.as_of) AS credit_limit,
       any_value(date_diff('day', h.opened_on, cutoff)) AS age,
       min(date_diff('day', h.closed_on, cutoff)) FILTER (WHERE h.closed_on < cutoff) AS closed_days,
       closed_days IS NULL AS is_open,
       arg_max(h.balance, h.as_of) FILTER (WHERE h.as_of < cutoff - 84) AS before_balance,
       min(date_diff('day', h.as_of, cutoff)) AS statement_days
FROM keys JOIN holdings h USING (customer_id)
WHERE h.customer_id BETWEEN $low AND $high AND h.as_of < cutoff AND (h.opened_on IS NULL OR h.opened_on < cutoff)
GROUP BY k, product, h.opened_on
"""
_CAMP = _events(
    "campaigns",
    "exposed_at",
    "e.offer, e.exposed_at, coalesce(e.clicked_at < cutoff::TIMESTAMP, false) AS clicked, "
    "coalesce(e.converted_at < cutoff::TIMESTAMP, false) AS converted, "
    f"{_age('e.clicked_at')} AS click_d, date_diff('second', e.exposed_at, e.clicked_at) / 3600.0 AS delay_h",
)
_TOUCH = """
SELECT k, d, ch, lag(ch) OVER (PARTITION BY k ORDER BY ts, ch) AS prev_ch FROM (
  SELECT k, d, ts, ch FROM card WHERE ch IS NOT NULL
  UNION ALL SELECT k, d, ts, ch FROM ses WHERE ch IS NOT NULL
  UNION ALL SELECT k, d, ts, 'contact' AS ch FROM con)
"""
_ROLE = (
    "CASE WHEN lower(e.kind) LIKE '%premium%' THEN 'premium' "
    "WHEN lower(e.kind) LIKE '%claim%' THEN 'claim' ELSE 'other' END AS role"
)

RELATIONS: dict[str, str] = {
    "allcard": f"SELECT *, c IN {ESSENTIAL} AS essential FROM (" + _events(
        "transactions", "ts", _CARD_COLUMNS, "coalesce(e.kind, 'card') <> 'deposit'",
        "LEFT JOIN merchants s USING (merchant_id)") + ")",
    "card": "SELECT * FROM allcard WHERE amount > 0",
    "cardday": f"SELECT k, d::INT AS d, count(*) {_BOUGHT} AS n, greatest(sum(amount), 0) AS amount FROM allcard "
               f"GROUP BY k, d HAVING count(*) {_BOUGHT} > 0",
    "seq": _SEQ,
    "cat": _grouped("c"),
    "mer": _grouped("m"),
    "brand": _grouped("brand"),
    "l1": _grouped("l1"),
    "l2": _grouped("l2"),
    "hour": "SELECT *, sum(n365 - n28) OVER (PARTITION BY k) AS all_before FROM "
            f"(SELECT k, floor(h) AS hh, {_GROUP_SUMS} FROM card WHERE h IS NOT NULL GROUP BY ALL)",
    "weekday": _grouped("wd"),
    "place": "SELECT k, place, count(*) AS n FROM card WHERE place IS NOT NULL GROUP BY ALL",
    "dep": _events("transactions", "ts", "e.amount, day(e.ts) AS dom", "e.kind = 'deposit'"),
    "day": _DAY,
    "wave": _WAVE,
    "pattern": _PATTERN,
    "run": _RUN,
    "week": _WEEK,
    "block": _BLOCK,
    "income": "SELECT k, inflow, median(inflow) OVER (PARTITION BY k) AS middle_inflow FROM block",
    "payday": _PAYDAY,
    "ever": f"SELECT k, {_age('e.ts')} AS d, e.amount FROM keys JOIN transactions e USING (customer_id) "
            "WHERE e.customer_id BETWEEN $low AND $high AND e.ts < cutoff::TIMESTAMP "
            "AND coalesce(e.kind, 'card') <> 'deposit'",
    "relation": "SELECT k, CASE WHEN joined_on < cutoff THEN date_diff('day', joined_on, cutoff) END AS tenure "
                "FROM keys JOIN (SELECT customer_id, joined_on FROM customers) USING (customer_id)",
    "inv": _events("investment", "ts",
    "e.kind, e.amount, coalesce(regexp_matches(lower(e.kind), 'sell|redeem|withdraw'), false) AS sell"),
    "invkind": _by_kind("inv"),
    "hold": _HOLD,
    "line": "SELECT * REPLACE (coalesce(balance, 0) AS balance) FROM hold WHERE is_open AND credit_limit > 0",
    "ses": _events("sessions", "ts", f"e.ts, e.duration, e.events, {_channel('e.channel')} AS ch, {_hour('e.ts')} AS h"),
    "camp": _CAMP,
    "offer": "SELECT k, coalesce(offer, 'unknown') AS offer, count(*) AS shown, "
             "count(*) FILTER (WHERE clicked OR converted) AS clicks, "
             "sum(count(*)) OVER (PARTITION BY k) AS all_shown FROM camp GROUP BY k, coalesce(offer, 'unknown')",
    "ins": _events("insurance", "ts", f"e.kind, e.amount, {_ROLE}"),
    "inskind": _by_kind("ins"),
    "con": "SELECT *, date_diff('day', lag(ts) OVER (PARTITION BY k ORDER BY ts), ts) AS gap_days FROM (" + _events(
        "consultation", "ts", "e.ts, e.kind, e.amount, coalesce(lower(e.kind) LIKE '%complain%', false) AS complaint") + ")",
    "conkind": _by_kind("con"),
    "ovs": _events("overseas", "ts", "e.kind, e.amount"),
    "touch": _TOUCH,
    "channel": "SELECT k, ch, count(*) AS n FROM touch GROUP BY ALL",
    "brandmarket": "SELECT b.*, m.adopted_share, m.growth FROM brand b JOIN keys USING (k) "
                   "LEFT JOIN market_brand m ON m.as_of = keys.market AND m.fold = keys.fold AND m.brand = b.brand",
    "catmarket": "SELECT a.*, m.median_spend FROM cat a JOIN keys USING (k) "
                 "JOIN market_category m ON m.as_of = keys.market AND m.fold = keys.fold AND m.c = a.c WHERE a.s90 > 0",
}  # fmt: skip
"""SQL of each relation; each needs only earlier ones. `$low` and `$high` bound the chunk's customer ids."""

SHARED = frozenset(
    {"allcard", "card", "cardday", "cat", "brand", "dep", "day", "block", "hold", "ses", "camp", "ins", "con", "inv", "touch"}
)
"""Relations read more than once: made as temporary tables, the others as views."""
