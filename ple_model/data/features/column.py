"""What a feature column and a part of the schema are, with the small SQL vocabulary that their declarations share.

A column is one SQL expression over one *relation* (see `relations.py`): an aggregate over the customer's rows of that relation,
or, for relation `final`, a scalar expression over columns computed before. `feature_schema.yaml` is written from these
declarations and a test holds the two equal (reference, "734D features").
"""

from __future__ import annotations

from dataclasses import dataclass

HISTORY_DAYS = 365
"""How far back features look. Older events say only that the customer exists."""

LOG_UNITS = frozenset({"currency", "count", "minutes"})


@dataclass(frozen=True)
class Column:
    """One feature. `sql` is evaluated over `source`; an empty `sql` means that a fitted model fills it and `how` says which."""

    name: str
    unit: str
    en: str
    ko: str
    source: str
    sql: str = ""
    how: str = ""

    def built(self) -> str:
        """How the column is built, in one line: the sentence given, else relation and SQL."""
        return self.how or f"{self.source}: {self.sql}"


@dataclass(frozen=True)
class Part:
    """Columns from the same source. `present` = (relation, aggregate) that is true when the source knows the customer.

    `zero_known`: an event log where silence is an answer (nobody called, nobody travelled): when the table itself exists, a
    customer without rows counts as present with zeros. Elsewhere no rows means nothing known: absent, all columns empty.
    """

    name: str
    tables: tuple[str, ...]
    present: tuple[str, str]
    empty: str
    columns: tuple[Column, ...]
    helpers: tuple[Column, ...] = ()
    zero_known: bool = False

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise ValueError(f"part '{self.name}' declares {sorted(twice)} twice")


def helper(name: str, source: str, sql: str) -> Column:
    """A hidden value that `final` expressions may read; its name starts with an underscore and it is not in the schema."""
    return Column(f"_{name}", "", "", "", source, sql)


def div(a: str, b: str) -> str:
    """`a / b`, empty where b is 0."""
    return f"({a}) / nullif({b}, 0)"


def last(days: int, where: str = "") -> str:
    """FILTER clause for the last `days` days before the cut-off (d is 1 on the day before it)."""
    return f"FILTER (WHERE d <= {days}{' AND ' + where if where else ''})"


def between(newest: int, oldest: int, where: str = "") -> str:
    """FILTER clause for days newest..oldest before the cut-off, both inclusive."""
    return f"FILTER (WHERE d BETWEEN {newest} AND {oldest}{' AND ' + where if where else ''})"


def total(expr: str, filter_: str = "") -> str:
    """Sum where no rows make a meaningful zero."""
    return f"coalesce(sum({expr}) {filter_}, 0)"


def net(filter_: str = "") -> str:
    """Card spend over `allcard`: purchases less refunds, never below 0."""
    return f"greatest(coalesce(sum(amount) {filter_}, 0), 0)"


def net_share(part: str, whole: str = "") -> str:
    """The share of the spend of `whole` (a FILTER) that the spend of `part` is; empty where nothing was spent."""
    return div(f"least({net(part)}, {net(whole)})", net(whole))


def count(filter_: str = "") -> str:
    return f"count(*) {filter_}".strip()


def entropy(weight: str, where: str = "TRUE") -> str:
    """Shannon entropy in nats of the shares of a non-negative `weight` over the rows of the group: ln S - sum(w ln w) / S."""
    s = f"sum({weight}) FILTER (WHERE {where} AND {weight} > 0)"
    return f"greatest(ln({s}) - sum({weight} * ln({weight})) FILTER (WHERE {where} AND {weight} > 0) / {s}, 0)"
