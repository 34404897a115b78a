"""A bank small enough to work out by hand: four customers, one cut-off, every event table in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from ple_model.data.events.spec import TABLES

CUTOFF = "2024-01-01"

Rows = Mapping[str, Sequence[tuple[Any, ...]]]

CUSTOMERS = (("A", 1980, None, "r1", "2023-01-01"), ("B", 1990, None, "r2", None), ("C", 2000, None, "r1", "2023-12-01"),
             ("D", 1970, None, "r1", "2020-01-01"))  # fmt: skip


def _buy(who: str, ts: str, amount: float, merchant: str, brand: str | None, l1: str, channel: str = "app") -> tuple[Any, ...]:
    return (who, ts, amount, merchant, l1, f"{l1}/{merchant}", None, brand, "credit card", "card", channel)


def _move(who: str, ts: str, amount: float) -> tuple[Any, ...]:
    return (who, ts, amount, None, None, None, None, None, "deposit account", "deposit", None)


def wave(d: int) -> float:
    """Spend of customer D on the d-th day before the cut-off: a weekly wave, a level shift 30 days ago, some silent days."""
    return 0.0 if d % 5 == 0 else round(40 + 25 * math.sin(2 * math.pi * d / 7) + (30 if d <= 30 else 0) + (d * 7919 % 13), 2)


EVENTS: dict[str, list[tuple[Any, ...]]] = {
    "customers": list(CUSTOMERS),
    "transactions": [
        _buy("A", "2023-12-31 10:00:01", 20, "M1", "B1", "groceries", "app"),
        _buy("A", "2023-12-31 10:30:01", 10, "M2", "B2", "dining", "web"),
        _buy("A", "2023-12-24 10:00:01", 30, "M1", "B1", "groceries", "branch or store"),
        _buy("A", "2023-11-01 22:00:01", 40, "M3", "B3", "travel", "app"),
        _buy("A", "2023-07-01 12:00:01", 100, "M1", "B1", "groceries", "branch or store"),
        _buy("A", "2023-12-20 09:00:00", -5, "M1", "B1", "groceries"),
        _move("A", "2023-12-25 08:00:00", 1000),
        _move("A", "2023-12-28 08:00:00", -200),
        _move("A", "2023-11-25 08:00:00", 1000),
        _buy("B", "2023-12-30 10:00:00", 50, "M1", "B1", "groceries"),
        _buy("B", "2023-12-28 00:00:00", 50, "M4", None, "a category nobody knows"),
    ],
    "sessions": [("A", "2023-12-30 23:00:00", 600, "app", 10), ("A", "2023-12-20 12:00:00", 300, "web", 5),
                 ("A", "2023-11-20 09:00:00", 60, "app", 3)],
    "holdings": [("A", "credit card", "2023-12-31", "2021-01-01", None, 900, 1000),
                 ("A", "credit card", "2023-09-30", "2021-01-01", None, 500, 1000),
                 ("A", "savings", "2023-12-31", "2023-12-02", "2024-03-01", 3000, None),
                 ("A", "fund", "2023-12-31", "2022-01-01", "2023-12-22", 0, None)],
    "campaigns": [("A", "c1", "fund", "2023-12-01 12:00:00", "2023-12-02 12:00:00", "2024-01-05 00:00:00"),
                  ("A", "c2", "insurance", "2023-12-30 12:00:00", "2024-01-02 00:00:00", None)],
    "merchants": [("M1", "B1", "groceries", None, None, "r1"), ("M2", "B2", "dining", None, None, "r1"),
                  ("M3", "B3", "travel", None, None, "r2"), ("M4", "B1", "groceries", None, None, None)],
    "insurance": [("A", "2023-12-10 09:00:00", "premium", 50), ("A", "2023-11-10 09:00:00", "premium", 50),
                  ("A", "2023-10-01 09:00:00", "claim", 30)],
    "consultation": [("A", "2023-12-15 09:00:00", "complaint", 0), ("A", "2023-12-12 09:00:00", "information", 0)],
    "overseas": [("A", "2023-12-05 09:00:00", "jp", 60)],
    "investment": [("A", "2023-12-11 09:00:00", "buy", 100), ("A", "2023-10-02 09:00:00", "sell", 40)],
}  # fmt: skip

FUTURE: dict[str, list[tuple[Any, ...]]] = {
    "transactions": [
        *(_buy(who, ts, 7777, "M9", "B9", "electronics", "web") for who in "ABCD" for ts in ("2024-01-01 00:00:00",
          "2024-01-20 10:00:00")),
        _move("A", "2024-01-01 00:00:00", 5555), _move("B", "2024-02-01 00:00:00", -5555),
    ],
    "sessions": [("A", "2024-01-01 00:00:00", 9000, "web", 99), ("B", "2024-01-03 00:00:00", 9000, "app", 99)],
    "holdings": [("A", "credit card", "2024-01-01", "2021-01-01", "2024-01-01", 1, 9), ("A", "savings", "2024-01-31",
    "2023-12-02", None, 9, None),
                 ("B", "loan", "2024-01-31", "2024-01-15", None, 500, None), ("B", "loan", "2023-12-31", "2024-01-15", None,
                   500, None)],
    "campaigns": [("A", "c3", "fund", "2024-01-01 00:00:00", "2024-01-02 00:00:00", "2024-01-02 00:00:00"),
                  ("C", "c3", "fund", "2024-01-09 00:00:00", "2024-01-10 00:00:00", None)],
    **{t: [("A", "2024-01-01 00:00:00", "premium complaint sell", 4444), ("C", "2024-01-02 00:00:00", "claim", 4444)]
       for t in ("insurance", "consultation", "overseas", "investment")},
}  # fmt: skip
"""Events at or after the cut-off, in every table that has a time."""


def bank(events: Rows, spine: Sequence[tuple[str, str, str]] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection with all event tables and a spine (default: everybody in training at the cut-off). D shops every day."""
    con = duckdb.connect(":memory:")
    con.execute("SET threads=1")
    for spec in TABLES.values():
        con.execute(f"CREATE TABLE {spec.name} ({', '.join(f'{c.name} {c.sql_type}' for c in spec.columns)})")
        rows = list(events.get(spec.name, ()))
        if rows:
            con.executemany(f"INSERT INTO {spec.name} VALUES ({', '.join('?' * len(spec.columns))})", rows)
    con.execute("CREATE TABLE spine (customer_id VARCHAR, cutoff DATE, split VARCHAR)")
    for row in spine if spine is not None else [(c[0], CUTOFF, "train") for c in events["customers"]]:
        con.execute("INSERT INTO spine VALUES (?, ?, ?)", list(row))
    return con


def daily(who: str = "D") -> list[tuple[Any, ...]]:
    """A purchase a day at 18:00 for 90 days, of amount `wave(d)`; none on silent days."""
    con = duckdb.connect(":memory:")
    days = con.execute(f"SELECT d, (DATE '{CUTOFF}' - d::INT)::VARCHAR FROM range(1, 91) r(d)").fetchall()
    return [_buy(who, f"{day} 18:00:00", wave(d), "M5", "B5", "home", "web") for d, day in days if wave(d) > 0]
