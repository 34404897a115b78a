"""Raw event tables: their columns and types.

An events folder holds `events.json`, one Parquet file a table (`<table>.parquet`, or a folder of that name or `<table>/` with
its parts), and optionally `labels.parquet` (labels that override the derived ones), `exact_spend.parquet`, and of the synthetic
bank `truth.parquet` and `probabilities.parquet`. Only `customers` and `transactions` must be there. `connect` gives every table
as a view with all its columns: a column the source lacks is NULL, a table it lacks is an empty view, and `EventStore` says
which those are: an empty feed stays visible.

Conventions every source keeps:

* Timestamps are naive; a source with time zones is converted to UTC on reading.
* Ids are text: a whole number stored as a float is that number (12.0 is '12'). In other text, blanks and the words in
  `BLANK_WORDS` are NULL, and a known category may differ in capitals and outer blanks. `read_expression` says it in SQL.
* `transactions.kind = 'card'`: `amount` is money spent; a negative amount is a refund, which spend is net of and which is no
  purchase. `kind = 'deposit'`: positive is money in, negative is money out.
* `campaigns`: one row an exposure; `clicked_at` / `converted_at` are NULL where it did not happen. A response is a click or a
  conversion.
* `holdings`: one row a customer, product and `as_of` (a monthly statement); `balance` of a credit product is the amount in use
  of `credit_limit`.
* `customers.region` may be a path "province/town"; `merchants.region` likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

from ple_model.errors import UserError, did_you_mean
from ple_model.tasks import CHANNELS, LIFE_STAGES, OFFERS, SPENDING_CATEGORIES, TASKS


@dataclass(frozen=True)
class ColumnSpec:
    """One column: its SQL type, whether a table must have it, and what its values must look like."""

    name: str
    sql_type: str
    required: bool = False
    key: bool = False
    """NULL is a fault."""
    allowed: tuple[str, ...] = ()
    """Values outside this set are reported; empty: any."""
    strict: bool = False
    """A value outside `allowed` is an error, not a warning."""
    open: bool = False
    """A value outside `allowed` is kept (a branch of its own in a tree); elsewhere it is read as NULL."""
    minimum: float | None = None
    """Smaller numbers are reported."""


@dataclass(frozen=True)
class TableSpec:
    """One event table. `unique` is the set of columns that names a row; `order` are pairs (earlier, later) of moments."""

    name: str
    columns: tuple[ColumnSpec, ...]
    required: bool = False
    unique: tuple[str, ...] = ()
    order: tuple[tuple[str, str], ...] = ()
    free_columns: bool = False
    """Other columns are kept (static columns of customers, task columns of labels); elsewhere they are left out."""

    def column(self, name: str) -> ColumnSpec:
        """The column of this name; `UserError` with the nearest one otherwise."""
        for c in self.columns:
            if c.name == name:
                return c
        raise UserError(f"table '{self.name}' has no column '{name}'{did_you_mean(name, [c.name for c in self.columns])}")


def _id(required: bool = True) -> ColumnSpec:
    return ColumnSpec("customer_id", "VARCHAR", required=required, key=True)


def _ts() -> ColumnSpec:
    return ColumnSpec("ts", "TIMESTAMP", required=True, key=True)


_MCC = (
    ColumnSpec("mcc_l1", "VARCHAR", allowed=SPENDING_CATEGORIES, open=True),
    ColumnSpec("mcc_l2", "VARCHAR"),
    ColumnSpec("mcc", "VARCHAR"),
)


def _side_table(name: str) -> TableSpec:
    return TableSpec(name, (_id(), _ts(), ColumnSpec("kind", "VARCHAR"), ColumnSpec("amount", "DOUBLE", minimum=0.0)))


_ALL = (
    TableSpec(
        "customers",
        (
            _id(),
            ColumnSpec("birth_year", "INTEGER", minimum=1890),
            ColumnSpec("age_band", "VARCHAR", allowed=LIFE_STAGES),
            ColumnSpec("region", "VARCHAR"),
            ColumnSpec("joined_on", "DATE"),
        ),
        required=True,
        unique=("customer_id",),
        free_columns=True,
    ),
    TableSpec(
        "transactions",
        (
            _id(),
            _ts(),
            ColumnSpec("amount", "DOUBLE", required=True, key=True),
            ColumnSpec("merchant_id", "VARCHAR"),
            *_MCC,
            ColumnSpec("brand", "VARCHAR"),
            ColumnSpec("product", "VARCHAR"),
            ColumnSpec("kind", "VARCHAR", allowed=("card", "deposit"), strict=True),
            ColumnSpec("channel", "VARCHAR", allowed=CHANNELS),
        ),
        required=True,
    ),
    TableSpec(
        "sessions",
        (
            _id(),
            _ts(),
            ColumnSpec("duration", "DOUBLE", minimum=0.0),
            ColumnSpec("channel", "VARCHAR", allowed=CHANNELS),
            ColumnSpec("events", "INTEGER", minimum=0),
        ),
    ),
    TableSpec(
        "holdings",
        (
            _id(),
            ColumnSpec("product", "VARCHAR", required=True, key=True),
            ColumnSpec("as_of", "DATE", required=True, key=True),
            ColumnSpec("opened_on", "DATE"),
            ColumnSpec("closed_on", "DATE"),
            ColumnSpec("balance", "DOUBLE"),
            ColumnSpec("credit_limit", "DOUBLE", minimum=0.0),
        ),
        unique=("customer_id", "product", "as_of"),
        order=(("opened_on", "closed_on"),),
    ),
    TableSpec(
        "campaigns",
        (
            _id(),
            ColumnSpec("campaign_id", "VARCHAR", required=True, key=True),
            ColumnSpec("offer", "VARCHAR", allowed=OFFERS),
            ColumnSpec("exposed_at", "TIMESTAMP", required=True, key=True),
            ColumnSpec("clicked_at", "TIMESTAMP"),
            ColumnSpec("converted_at", "TIMESTAMP"),
        ),
        unique=("customer_id", "campaign_id", "exposed_at"),
        order=(("exposed_at", "clicked_at"), ("clicked_at", "converted_at"), ("exposed_at", "converted_at")),
    ),
    TableSpec(
        "merchants",
        (
            ColumnSpec("merchant_id", "VARCHAR", required=True, key=True),
            ColumnSpec("brand", "VARCHAR"),
            *_MCC,
            ColumnSpec("region", "VARCHAR"),
        ),
        unique=("merchant_id",),
    ),
    _side_table("insurance"),
    _side_table("consultation"),
    _side_table("overseas"),
    _side_table("investment"),
)

TABLES: dict[str, TableSpec] = {t.name: t for t in _ALL}
"""The ten event tables by name."""

EXACT_SPEND = TableSpec(
    "exact_spend",
    (
        _id(),
        ColumnSpec("cutoff", "DATE", required=True, key=True),
        ColumnSpec("prior_spend_28d", "DOUBLE", required=True, minimum=0.0),
    ),
    unique=("customer_id", "cutoff"),
)
"""Exact spend of the 28 days before a cut-off, where a source knows it although its transactions are only a sample.
It holds nothing at or after the cut-off, so it may be a feature (`raw:prior_spend_28d`, and the single-feature baseline)."""

LABELS = TableSpec(
    "labels",
    (_id(), ColumnSpec("cutoff", "DATE", required=True, key=True)),
    unique=("customer_id", "cutoff"),
    free_columns=True,
)
"""A label table: one column a task; where a column is there it overrides the derived label, NULL / -1 / NaN is missing."""

TRUTH = TableSpec(
    "truth",
    (
        _id(),
        ColumnSpec("cause", "VARCHAR", required=True, key=True),
        ColumnSpec("task", "VARCHAR", required=True, key=True, allowed=tuple(TASKS)),
        ColumnSpec("effect", "DOUBLE", required=True, key=True),
        ColumnSpec("since", "DATE"),
        ColumnSpec("until", "DATE"),
    ),
)
"""Synthetic bank only: which cause moved which label of which customer, never read by features or labels."""

PROBABILITIES = TableSpec(
    "probabilities",
    (
        _id(),
        ColumnSpec("cutoff", "DATE", required=True, key=True),
        ColumnSpec("task", "VARCHAR", required=True, key=True, allowed=tuple(TASKS)),
        ColumnSpec("class", "INTEGER", minimum=0),
        ColumnSpec("p", "DOUBLE", required=True, key=True, minimum=0.0),
    ),
    unique=("customer_id", "cutoff", "task", "class"),
)
"""Synthetic bank only: the planted probability of a task's class at a cut-off (NULL: of a binary task's yes), never read by
features or labels. What no model can beat is measured with it."""

EXTRA_TABLES: dict[str, TableSpec] = {t.name: t for t in (EXACT_SPEND, LABELS, TRUTH, PROBABILITIES)}
