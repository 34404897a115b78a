"""What raw event rows say of a customer before a cut-off, column by column, worked out from the tables alone: by numpy, from
the words of each column's sentence, without any code of the product. None where there is nothing to tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
YEAR, BLOCK = 365, 28
NECESSARY = ("groceries", "fuel and transport", "health", "education")
CATEGORIES = (
    "groceries", "dining", "fuel and transport", "clothing", "home", "health", "leisure", "travel", "electronics", "education",
    "services", "online",
)  # fmt: skip
MOMENT = {
    "transactions": "ts", "sessions": "ts", "campaigns": "exposed_at", "consultation": "ts", "insurance": "ts",
    "overseas": "ts", "investment": "ts",
}  # fmt: skip


class RawBank:
    """The event tables of a bank in memory, by customer."""

    def __init__(self, events: Path) -> None:
        con = duckdb.connect()
        self.tables: dict[str, dict[str, Array]] = {}
        for name in (*MOMENT, "holdings", "customers"):
            path = events / f"{name}.parquet"
            if not path.exists():
                continue
            joined = "t.*"
            source = f"'{path}' t"
            if name == "transactions":
                joined += ", m.region AS place"
                source += f" LEFT JOIN '{events / 'merchants.parquet'}' m USING (merchant_id)"
            order = MOMENT.get(name, "customer_id")
            found = con.execute(f"SELECT {joined} FROM {source} ORDER BY customer_id, {order}").fetchnumpy()
            self.tables[name] = {k: _plain(v) for k, v in found.items()}
        self.edges = {n: _edges(t["customer_id"]) for n, t in self.tables.items()}

    def of(self, customer: str, cutoff: str) -> Raw:
        mine = {}
        for name, table in self.tables.items():
            first, last = self.edges[name].get(customer, (0, 0))
            mine[name] = {k: v[first:last] for k, v in table.items()}
        return Raw(mine, date.fromisoformat(cutoff))


def _plain(values: Array) -> Array:
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.kind in "fiu":
            return np.ma.filled(values.astype(np.float64), np.nan)
        return np.ma.filled(values, None) if values.dtype.kind == "O" else np.ma.filled(values, np.datetime64("NaT"))
    return values


def _edges(ids: Array) -> dict[str, tuple[int, int]]:
    names, first, count = np.unique(ids.astype(str), return_index=True, return_counts=True)
    return {str(n): (int(f), int(f + c)) for n, f, c in zip(names, first, count, strict=True)}


@dataclass(frozen=True)
class Events:
    """Rows of one table before the cut-off; `d` counts days back, 1 is the day before it. A column is read when asked for:
    `events.amount`, `events["amount"]`."""

    d: Array
    ts: Array
    table: dict[str, Array]
    at: Array

    def __getattr__(self, name: str) -> Array:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Array:
        return self.table[name][self.at]

    def __len__(self) -> int:
        return len(self.d)

    def where(self, mask: Array) -> Events:
        return Events(self.d[mask], self.ts[mask], self.table, self.at[mask])

    def last(self, days: int) -> Events:
        return self.where(self.d <= days)

    def between(self, newest: int, oldest: int) -> Events:
        return self.where((self.d >= newest) & (self.d <= oldest))


class Raw:
    """One customer before one cut-off."""

    def __init__(self, tables: dict[str, dict[str, Array]], cutoff: date) -> None:
        self.tables, self.cutoff = tables, cutoff

    def _events(self, name: str, days: int = YEAR) -> Events:
        table = self.tables.get(name)
        if table is None or not len(table["customer_id"]):
            return Events(np.zeros(0), np.zeros(0, "datetime64[us]"), table or {}, np.zeros(0, int))
        ts = table[MOMENT[name]].astype("datetime64[us]")
        d = (np.datetime64(self.cutoff) - ts.astype("datetime64[D]")).astype(int)
        mine = np.flatnonzero((ts < np.datetime64(self.cutoff)) & (d <= days))
        return Events(d[mine], ts[mine], table, mine)

    @cached_property
    def every(self) -> Events:
        """Card movements of all time, refunds among them."""
        found = self._events("transactions", 100_000)
        return found.where(np.array([k != "deposit" for k in found.kind], dtype=bool))

    @cached_property
    def card(self) -> Events:
        """Card movements of a year, refunds among them."""
        return self.every.last(YEAR)

    @cached_property
    def bought(self) -> Events:
        return self.card.where(self.card.amount > 0)

    @cached_property
    def deposit(self) -> Events:
        found = self._events("transactions")
        return found.where(np.array([k == "deposit" for k in found.kind], dtype=bool))

    @cached_property
    def sessions(self) -> Events:
        return self._events("sessions")

    @cached_property
    def shown(self) -> Events:
        return self._events("campaigns")

    @cached_property
    def contacts(self) -> Events:
        return self._events("consultation")

    def table(self, name: str) -> Events:
        return self._events(name)

    @cached_property
    def days(self) -> Array:
        """Days with a purchase, as days back, ascending."""
        return np.unique(self.bought.d)

    @cached_property
    def spent_on_days(self) -> Array:
        """Net spend of each of `days`."""
        return np.array([max(self.card.amount[self.card.d == d].sum(), 0) for d in self.days])

    @cached_property
    def gaps(self) -> tuple[Array, Array]:
        """(hours since the purchase before, days back of the later one)."""
        if len(self.bought) < 2:
            return np.zeros(0), np.zeros(0)
        order = np.argsort(self.bought.ts, kind="stable")
        ts, d = self.bought.ts[order], self.bought.d[order]
        return np.diff(ts).astype("timedelta64[s]").astype(float) / 3600, d[1:]

    @cached_property
    def weeks(self) -> Array:
        """[26] net spend, the newest first."""
        return np.array([max(self.card.amount[(self.card.d - 1) // 7 == w].sum(), 0) for w in range(26)])

    @cached_property
    def weeks_bought(self) -> Array:
        return np.array([(self.bought.d - 1 >= 7 * w) & (self.bought.d - 1 < 7 * w + 7) for w in range(26)]).sum(1)

    @cached_property
    def blocks(self) -> Array:
        """[13] net spend of four weeks, the newest first."""
        return np.array([max(self.card.amount[(self.card.d - 1) // BLOCK == b].sum(), 0) for b in range(13)])

    @cached_property
    def blocks_bought(self) -> Array:
        return np.array([((self.bought.d - 1) // BLOCK == b).sum() for b in range(13)])

    @cached_property
    def income(self) -> Array:
        """[13] money in of four weeks."""
        d = self.deposit
        return np.array([d.amount[((d.d - 1) // BLOCK == b) & (d.amount > 0)].sum() for b in range(13)])

    @cached_property
    def outgo(self) -> Array:
        d = self.deposit
        return np.array([-d.amount[((d.d - 1) // BLOCK == b) & (d.amount < 0)].sum() for b in range(13)])

    @cached_property
    def hours(self) -> Array:
        """Hour of each purchase of a year, NaN where only the day is known."""
        return hour_of(self.bought.ts)

    @cached_property
    def joined(self) -> float | None:
        rows = self.tables["customers"]["joined_on"]
        if not len(rows) or np.isnat(rows[0].astype("datetime64[D]")):
            return None
        days = int((np.datetime64(self.cutoff) - rows[0].astype("datetime64[D]")).astype(int))
        return float(days) if days > 0 else None

    @cached_property
    def held(self) -> list[dict[str, Any]]:
        """Products by their last statement before the cut-off."""
        table = self.tables.get("holdings")
        if table is None:
            return []
        cut = np.datetime64(self.cutoff)
        opened, as_of, closed = (table[c].astype("datetime64[D]") for c in ("opened_on", "as_of", "closed_on"))
        mine = (as_of < cut) & (np.isnat(opened) | (opened < cut))
        found: dict[tuple[str, Any], dict[str, Any]] = {}
        for i in np.flatnonzero(mine)[np.argsort(as_of[mine], kind="stable")]:
            one = found.setdefault((str(table["product"][i]), opened[i]), {"before": np.nan, "closed": None})
            one |= {
                "product": str(table["product"][i]), "balance": float(table["balance"][i]),
                "limit": float(table["credit_limit"][i]), "age": _days(cut, opened[i]), "stated": _days(cut, as_of[i]),
            }  # fmt: skip
            if as_of[i] < cut - 84:
                one["before"] = float(table["balance"][i])
            if not np.isnat(closed[i]) and closed[i] < cut:
                one["closed"] = _days(cut, closed[i])
        return list(found.values())

    @cached_property
    def open(self) -> list[dict[str, Any]]:
        return [h for h in self.held if h["closed"] is None]

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        return [h for h in self.open if h["limit"] > 0]

    @cached_property
    def touches(self) -> tuple[Array, Array, Array]:
        """(days back, channel, moment) of purchases, sessions and contacts in one order."""
        known = {"app": "app", "web": "web", "branch or store": "store"}
        d, ch, ts = [], [], []
        for events in (self.bought, self.sessions):
            for i in range(len(events)):
                if (name := known.get(str(events.channel[i]))) is not None:
                    d.append(events.d[i])
                    ch.append(name)
                    ts.append(events.ts[i])
        for i in range(len(self.contacts)):
            d.append(self.contacts.d[i])
            ch.append("contact")
            ts.append(self.contacts.ts[i])
        order = sorted(range(len(d)), key=lambda i: (ts[i], ch[i]))
        return np.array([d[i] for i in order]), np.array([ch[i] for i in order]), np.array([ts[i] for i in order])

    def category(self, name: str) -> Events:
        wanted = name.replace("_", " ")
        return self.card.where(np.array([str(c) == wanted for c in self.card.mcc_l1], dtype=bool))


def _days(cut: Any, day: Any) -> float:
    return float("nan") if np.isnat(day) else float((cut - day).astype(int))


def hour_of(ts: Array) -> Array:
    seconds = (ts - ts.astype("datetime64[D]")).astype("timedelta64[s]").astype(float)
    return np.where(seconds == 0, np.nan, seconds // 60 / 60)


def net(events: Events) -> float:
    return max(float(events.amount.sum()), 0.0)


def ratio(a: float, b: float) -> float | None:
    return None if b == 0 or not np.isfinite(a / b) else float(a / b)


def mean(x: Array) -> float | None:
    return float(np.mean(x)) if len(x) else None


def spread(x: Array) -> float | None:
    return float(np.std(x, ddof=1)) if len(x) > 1 else None


def largest(x: Array) -> float | None:
    return float(np.max(x)) if len(x) else None


def smallest(x: Array) -> float | None:
    return float(np.min(x)) if len(x) else None


def quantile(x: Array, q: float) -> float | None:
    return float(np.quantile(x, q)) if len(x) else None


def trend(new: float, old: float) -> float | None:
    """From -1 (stopped) to 1 (new)."""
    return ratio(new - old, new + old)


def even(x: Array) -> float | None:
    """Shannon entropy of the shares in nats."""
    x = np.asarray(x, dtype=float)
    x = x[x > 0]
    return float(-(x / x.sum() * np.log(x / x.sum())).sum()) if len(x) else None


def run_of(active: Array, wanted: bool) -> float:
    best = now = 0
    for on in active:
        now = now + 1 if bool(on) == wanted else 0
        best = max(best, now)
    return float(best)


def slope(y: Array) -> float:
    """Of a series whose newest comes first, by step."""
    return float(np.polyfit(-np.arange(len(y)), y, 1)[0])


Fact = Callable[..., float | None]
W = r"_(\d+)d"
"""In the name of a column: a window of days."""
FACTS: list[tuple[re.Pattern[str], Fact]] = []
"""By the name of the column; groups of the pattern are the arguments: numbers as such, other words as text."""


def fact(*patterns: str) -> Callable[[Fact], Fact]:
    def keep(f: Fact) -> Fact:
        FACTS.extend((re.compile(p), f) for p in patterns)
        return f

    return keep


def known(column: str) -> bool:
    return any(p.fullmatch(column) for p, _ in FACTS)


def value(column: str, raw: Raw) -> float | None:
    """What the raw rows say of a column; KeyError where nobody has written it down."""
    for pattern, f in FACTS:
        if (found := pattern.fullmatch(column)) is not None:
            return f(raw, *(int(g) if g.isdigit() else g for g in found.groups()))
    raise KeyError(f"no fact for column '{column}': add one to tests/analysis/explain/raw_facts.py")
