"""Finds holes in time: stretches in which a table has far fewer events than the weeks around, and rows that lie apart from all.

A month that a delivery left out is no month without customers: labels that look into it call active customers silent, and
what is trained and calibrated on them is wrong. A hole is told by daily counts against the same weekdays of the 13 weeks
before and after (a shop that closes on Sundays has no hole every week; a change of level is no hole), in windows of one to
four weeks, and only where chance cannot explain it, so that a table of few events says nothing rather than something wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from ple_model.data.events.holes import Hole
from ple_model.sql_text import literal

AROUND_WEEKS = 13
"""Weeks before and after a day that say what is usual: a hole is found up to about this length."""
WINDOWS = (7, 14, 28)
"""Days looked at together; a week is a quarter of the shortest label window (28 days)."""
THIN = 0.25
"""A hole has less than this share of the usual events."""
CHANCE = 1e-6
"""Probability, under Poisson counts with the table's own dispersion, below which a thin window is a hole."""
APART_DAYS = 28
"""Rows that so many empty days part from the rest ..."""
APART_SHARE = 0.01
"""... and that are fewer than this share of the table are strays: they do not say how far the events reach."""

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Span:
    """How far the bulk of a table's events reaches, its holes, and the rows that lie apart (day and rows of each stretch)."""

    first: date
    last: date
    rows: int
    holes: tuple[Hole, ...] = ()
    apart: tuple[tuple[date, int], ...] = ()


def span_of(table: str, days: Sequence[date], counts: Sequence[int]) -> Span | None:
    """The span of a table from its rows a day (days in ascending order, each once); None without rows."""
    if not days:
        return None
    rows = np.asarray(counts, dtype=np.float64)
    low, high, apart = _bulk(days, rows)
    first, last = days[low], days[high - 1]
    daily = np.zeros((last - first).days + 1)
    daily[[(d - first).days for d in days[low:high]]] = rows[low:high]
    return Span(first, last, int(rows[low:high].sum()), tuple(_holes(table, first, daily)), apart)


MOMENTS = {
    "transactions": "ts", "sessions": "ts", "campaigns": "exposed_at",
    "insurance": "ts", "consultation": "ts", "overseas": "ts", "investment": "ts",
}  # fmt: skip
"""Tables of events, and when one happened. `holdings` are statements at chosen dates, not events."""


def table_spans(con: duckdb.DuckDBPyConnection, table: str, source: str, columns: Collection[str]) -> dict[str, Span]:
    """The span of a table of events by its name, and of transactions one a kind too where there are several: card payments may
    stop arriving while the account goes on."""
    spans: dict[str, Span] = {}
    moment = MOMENTS.get(table)
    if moment is None or moment not in columns:
        return spans
    whole = table_span(con, table, source, moment)
    if whole is None:
        return spans
    spans[table] = whole
    if table == "transactions" and "kind" in columns:
        kinds = [k for (k,) in con.execute(f"SELECT DISTINCT coalesce(kind, 'card') FROM {source} ORDER BY 1").fetchall()]
        for kind in kinds if len(kinds) > 1 else []:
            of_kind = f"(SELECT {moment} FROM {source} WHERE coalesce(kind, 'card') = {literal(kind)})"
            span = table_span(con, f"{table} ({kind})", of_kind, moment)
            if span is not None:
                spans[f"{table} ({kind})"] = span
    return spans


def distinct(spans: Iterable[Span]) -> tuple[Hole, ...]:
    """The holes of all spans. One of all transactions is not said again for each kind that has the same."""
    found = [h for span in spans for h in span.holes]
    whole = [h for h in found if "(" not in h.table]
    return tuple(h for h in found if h in whole or not any(_within(h, w) for w in whole if h.table.startswith(w.table)))


def _within(inner: Hole, outer: Hole) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def table_span(con: duckdb.DuckDBPyConnection, table: str, source: str, moment: str, rows: str = "1") -> Span | None:
    """The span of the rows of `source` (SQL of a relation) by `moment` (SQL of a timestamp or date in it); `rows` is how many
    rows one of the relation stands for."""
    found = con.execute(
        f"SELECT d, sum(r) FROM (SELECT ({moment})::DATE AS d, {rows} AS r FROM {source}) WHERE d IS NOT NULL AND isfinite(d)"
        " GROUP BY d ORDER BY d"
    ).fetchall()
    return span_of(table, [d for d, _ in found], [int(n) for _, n in found])


def _bulk(days: Sequence[date], rows: Counts) -> tuple[int, int, tuple[tuple[date, int], ...]]:
    """(first, stop) of the days without the strays before and after, and the strays."""
    low, high = 0, len(days)
    limit = APART_SHARE * rows.sum()
    ends = [k for k in range(1, len(days)) if (days[k] - days[k - 1]).days > APART_DAYS]
    apart: list[tuple[date, int]] = []
    for end in ends:
        if rows[:end].sum() >= limit:
            break
        apart.append((days[low], int(rows[low:end].sum())))
        low = end
    for start in reversed(ends):
        if start <= low or rows[start:].sum() >= limit:
            break
        apart.append((days[start], int(rows[start:high].sum())))
        high = start
    return low, high, tuple(apart)


def _usual(daily: Counts) -> Counts:
    """[D] median count of the same weekday in the weeks around, the day's own week included: at a change of level each side
    has the majority of its own."""
    padded = np.pad(daily, 7 * AROUND_WEEKS, constant_values=np.nan)
    around = np.stack([padded[7 * k : 7 * k + len(daily)] for k in range(2 * AROUND_WEEKS + 1)])
    return np.asarray(np.nanmedian(around, axis=0))


def _dispersion(observed: Counts, usual: Counts) -> float:
    """Variance over mean of a window's count, from the middle of the squared residuals (a hole does not widen it); at least 1,
    as for Poisson counts."""
    there = usual > 0
    middle = float(np.median((observed[there] - usual[there]) ** 2 / usual[there])) if there.any() else 0.0
    return max(1.0, middle / 0.4549)  # the median of chi-squared with one degree of freedom


def _holes(table: str, first: date, daily: Counts) -> list[Hole]:
    usual = _usual(daily)
    inside = np.zeros(len(daily), dtype=bool)
    for width in WINDOWS:
        if len(daily) < 2 * width:
            continue
        observed, expected = (np.convolve(x, np.ones(width), "valid") for x in (daily, usual))
        spread = _dispersion(observed, expected)
        thin = (observed < THIN * expected) & (pdtr(np.floor(observed / spread), expected / spread) < CHANCE)
        for start in np.flatnonzero(thin):
            inside[start : start + width] = True
    edges = np.flatnonzero(np.diff(np.r_[0, inside.astype(int), 0]))
    holes = []
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        # a window reaches past the hole: its outer days that are as usual are not in it
        thin_days = start + np.flatnonzero(daily[start:stop] < 0.5 * usual[start:stop])
        low, high = int(thin_days[0]), int(thin_days[-1]) + 1
        share = float(daily[low:high].sum() / max(usual[low:high].sum(), 1e-9))
        holes.append(Hole(table, _day(first, low), _day(first, high - 1), round(share, 4)))
    return holes


def _day(first: date, offset: int) -> str:
    return (first + timedelta(days=offset)).isoformat()
