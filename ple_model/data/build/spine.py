"""The rows of a dataset: customers x cut-offs, split by customer with time order kept.

A customer is eligible at a cut-off if it joined, or has any transaction or session, before it. Customers are assigned to a
split by a seeded hash of their id, for good. With several cut-offs, the last quarter of them (at least one) belongs to the
test split alone: training and validation customers have rows at the earlier cut-offs only, test customers at the later ones
only, so that every training cut-off is before every test cut-off. With one cut-off all splits share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb

from ple_model.data.events.buckets import bucket_sql
from ple_model.data.events.holes import Hole, costs
from ple_model.data.labels.labels import LabelSettings
from ple_model.errors import UserError
from ple_model.sql_text import literal

STEP_DAYS = 28
MAX_SUGGESTED = 4
"""Suggested cut-offs: three to train on and one for the test customers alone, as in the synthetic bank."""


class NoRows(UserError):
    """Nobody is known at the cut-offs: of a whole source an error, of one bucket nothing to do."""


@dataclass(frozen=True)
class SplitSettings:
    """Shares of customers; the rest is the test split."""

    train: float = 0.6
    validation: float = 0.15
    test_cutoffs: float = 0.25
    """Share of the cut-offs, counted from the last, that the test split has for itself."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.validation >= 0 and self.train + self.validation <= 1):
            raise UserError(f"split shares {self.train} and {self.validation} are not valid, they must add up to at most 1")


def parse_cutoffs(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Sorted ISO dates; `UserError` names one that is not a date."""
    out = set()
    for text in texts:
        try:
            out.add(date.fromisoformat(text).isoformat())
        except ValueError as e:
            raise UserError(f"--cutoff: '{text}' is not a date, expected for example 2024-07-01") from e
    return tuple(sorted(out))


def test_cutoffs(cutoffs: tuple[str, ...], settings: SplitSettings) -> tuple[str, ...]:
    """The cut-offs of the test split (all of them if there is only one)."""
    if len(cutoffs) == 1:
        return cutoffs
    return cutoffs[-max(1, round(settings.test_cutoffs * len(cutoffs))) :]


def suggest_cutoffs(first: date, last: date, holes: Sequence[Hole] = ()) -> tuple[tuple[str, ...], int]:
    """(cut-offs, horizon in days) for events from `first` to `last`: the latest cut-off with all its days of labels, and up to
    three earlier ones at least 28 days apart and on the same weekday, each with at least as much history before it as labels
    after it, and with no hole in its labels or in the 28 days before it. Where 84 days do not fit, 28 are tried; no cut-off
    where those do not fit either."""
    for horizon in (LabelSettings.horizon_days, LabelSettings.active_days):
        found: list[date] = []
        day = last - timedelta(days=horizon - 1)
        while (day - first).days >= horizon and len(found) < MAX_SUGGESTED:
            whole = not costs(holes, [day.isoformat()], horizon)
            found += [day] if whole else []
            day -= timedelta(days=STEP_DAYS if whole else 7)
        if found:
            return tuple(d.isoformat() for d in reversed(found)), horizon
    return (), LabelSettings.active_days


def within(con: duckdb.DuckDBPyConnection, first: int, stop: int, column: str = "t.customer_id") -> str:
    """SQL condition: `column` lies between the customers of spine rows `first` <= row_id < `stop`.

    With it a chunk skips the row groups of events that are sorted by customer; without it every chunk reads every event, and
    the cost of a customer grows with their number.
    """
    low, high = con.execute(
        "SELECT min(customer_id), max(customer_id) FROM spine WHERE row_id >= ? AND row_id < ?", [first, stop]
    ).fetchall()[0]
    return f"{column} BETWEEN {literal(low)} AND {literal(high)}"


def create_spine(
    con: duckdb.DuckDBPyConnection, cutoffs: tuple[str, ...], settings: SplitSettings, only: str | None = None,
    buckets: int = 1,
) -> int:  # fmt: skip
    """Create table `spine(row_id, customer_id, cutoff, split)`, ordered by customer and cut-off (of events in `buckets` by
    bucket first); returns its rows.

    `only` puts every eligible row in that one split (scoring new customers). `NoRows` where there is none.
    """
    order = "customer_id, cutoff" if buckets == 1 else f"{bucket_sql(buckets)}, customer_id, cutoff"
    dates = ", ".join(f"(DATE '{c}')" for c in cutoffs)
    late = ", ".join(f"DATE '{c}'" for c in test_cutoffs(cutoffs, settings))
    train, validation = round(settings.train * 10_000), round((settings.train + settings.validation) * 10_000)
    keep = "true" if only or len(cutoffs) == 1 else f"(split = 'test') = (cutoff IN ({late}))"
    name = (
        f"'{only}'" if only else f"CASE WHEN h < {train} THEN 'train' WHEN h < {validation} THEN 'validation' ELSE 'test' END"
    )
    con.execute(f"""
        CREATE OR REPLACE TABLE spine AS
        WITH first AS (
            SELECT customer_id, min(ts) AS ts FROM (
                SELECT customer_id, ts FROM transactions UNION ALL SELECT customer_id, ts FROM sessions
            ) GROUP BY 1
        ), everyone AS (
            SELECT customer_id, min(joined_on) AS joined_on FROM customers WHERE customer_id IS NOT NULL GROUP BY 1
        ), assigned AS (
            SELECT customer_id, c.cutoff, {name} AS split, joined_on, first.ts
            FROM (SELECT *, ('0x' || substr(md5('{settings.seed}:' || customer_id), 1, 8))::BIGINT % 10000 AS h FROM everyone)
            LEFT JOIN first USING (customer_id) CROSS JOIN (VALUES {dates}) c(cutoff)
        )
        SELECT (row_number() OVER (ORDER BY {order}) - 1)::BIGINT AS row_id, customer_id, cutoff, split
        FROM assigned WHERE {keep} AND (joined_on < cutoff OR ts < cutoff)
        ORDER BY row_id""")
    rows = int(con.execute("SELECT count(*) FROM spine").fetchall()[0][0])
    if not rows:
        raise NoRows(f"no customer has joined or has an event before {', '.join(cutoffs)}: give another --cutoff")
    return rows
