"""Raw event tables: their columns and types, the manifest of an events folder, and a DuckDB connection over it.

An events folder holds `events.json`, one Parquet file a table (`<table>.parquet`, or a folder `<table>/` of parts), and
optionally `labels.parquet` (labels that override the derived ones), `exact_spend.parquet` and `truth.parquet` (synthetic
bank). Only `customers` and `transactions` must be there. `connect` gives every table as a view with all its columns: a column
the source lacks is NULL, a table it lacks is an empty view, and `EventStore` says which those are: an empty feed stays visible.

Conventions every source keeps:

* Timestamps are naive; a source with time zones is converted to UTC on reading.
* `transactions.kind = 'card'`: `amount` is money spent (a negative amount is a refund). `kind = 'deposit'`: positive is money
  in, negative is money out.
* `campaigns`: one row an exposure; `clicked_at` / `converted_at` are NULL where it did not happen. A response is a click or a
  conversion.
* `holdings`: one row a customer, product and `as_of` (a monthly statement); `balance` of a credit product is the amount in use
  of `credit_limit`.
* `customers.region` may be a path "province/town"; `merchants.region` likewise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import duckdb

from ple_model.errors import UserError, did_you_mean
from ple_model.tasks import CHANNELS, LIFE_STAGES, OFFERS, SPENDING_CATEGORIES, TASKS

EVENTS_VERSION = 1


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
    ColumnSpec("mcc_l1", "VARCHAR", allowed=SPENDING_CATEGORIES),
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

EXTRA_TABLES: dict[str, TableSpec] = {t.name: t for t in (EXACT_SPEND, LABELS, TRUTH)}


@dataclass(frozen=True)
class TableEntry:
    """What `events.json` records of one table."""

    rows: int
    sha256: str | None = None


@dataclass(frozen=True)
class Defaults:
    """What a build uses unless told otherwise."""

    cutoffs: tuple[str, ...] = ()
    """ISO dates; features see what is before each, labels what is at or after it."""
    horizon_days: int = 84
    """How many days after a cut-off the source covers."""
    label_policy: str = "derived"
    """`derived`: labels from the event tables, `labels.parquet` overriding. `labels_only`: only `labels.parquet` labels a row,
    because the transactions are a thinned sample from which no label may be read."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventsManifest:
    """`events.json`: where the tables come from and what they hold."""

    source: str
    name: str
    tables: Mapping[str, TableEntry] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    absent_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns the source cannot fill, by table."""
    absent_tables: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """How the folder was made (seed, customers, mapping, ...)."""
    version: int = EVENTS_VERSION

    def save(self, folder: Path) -> None:
        """Write `events.json` (temporary file, then rename)."""
        temporary = folder / "events.json.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, folder / "events.json")

    @staticmethod
    def load(folder: Path) -> EventsManifest:
        """Read `events.json`; `UserError` where it is missing, damaged or of an unknown version."""
        path = folder / "events.json"
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as e:
            raise UserError(f"{path} is missing: '{folder}' is not an events folder") from e
        except (OSError, ValueError) as e:
            raise UserError(f"{path} is damaged: {e}") from e
        try:
            version = int(plain.get("version", EVENTS_VERSION))
            if version > EVENTS_VERSION:
                raise UserError(f"{path} has version {version}; this program reads up to {EVENTS_VERSION}")
            known = {f.name for f in fields(Defaults)}
            given = dict(plain.get("defaults", {}))
            for key in given:
                if key not in known:
                    raise UserError(f"{path}: unknown key 'defaults.{key}'{did_you_mean(key, known)}")
            return EventsManifest(
                source=str(plain["source"]),
                name=str(plain["name"]),
                tables={k: TableEntry(int(v["rows"]), v.get("sha256")) for k, v in plain.get("tables", {}).items()},
                defaults=Defaults(
                    cutoffs=tuple(str(c) for c in given.get("cutoffs", ())),
                    horizon_days=int(given.get("horizon_days", 84)),
                    label_policy=str(given.get("label_policy", "derived")),
                    notes=tuple(str(n) for n in given.get("notes", ())),
                ),
                absent_columns={k: tuple(v) for k, v in plain.get("absent_columns", {}).items()},
                absent_tables=tuple(plain.get("absent_tables", ())),
                parameters=dict(plain.get("parameters", {})),
                version=version,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise UserError(f"{path} is damaged: {e!r}") from e


@dataclass(frozen=True)
class EventStore:
    """An open events folder. `con` has one view a table of `TABLES` and `EXTRA_TABLES`, columns in the order of the spec."""

    path: Path
    con: duckdb.DuckDBPyConnection
    manifest: EventsManifest | None
    present: frozenset[str]
    """Tables the source has (an empty file counts as present)."""
    present_columns: Mapping[str, frozenset[str]]
    """By table, the columns the source has; others are NULL in the view."""
    static_columns: tuple[str, ...]
    """Free static columns of `customers`, in file order."""

    def close(self) -> None:
        """Close the connection."""
        self.con.close()

    def __enter__(self) -> EventStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def table_files(path: Path, table: str) -> list[Path]:
    """The Parquet files of one table: `<table>.parquet`, else the sorted parts in `<table>/`; empty: the source lacks it."""
    single = path / f"{table}.parquet"
    if single.is_file():
        return [single]
    return sorted((path / table).glob("*.parquet")) if (path / table).is_dir() else []


def open_connection(memory_limit: str | None = None, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB that fetches nothing at run time and reads time zones as UTC."""
    con = duckdb.connect(":memory:")
    con.execute("SET autoinstall_known_extensions=false; SET autoload_known_extensions=false")
    con.execute("SET TimeZone='UTC'; SET enable_progress_bar=false")  # a bar would mix with what a command prints
    if memory_limit is not None:
        con.execute(f"SET memory_limit='{memory_limit}'")
    if threads is not None:
        con.execute(f"SET threads={int(threads)}")
    return con


def quote(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def scan(files: list[Path]) -> str:
    """SQL that reads these Parquet files."""
    names = ", ".join("'" + str(f).replace("'", "''") + "'" for f in files)
    return f"read_parquet([{names}], union_by_name=true)"


def source_columns(con: duckdb.DuckDBPyConnection, files: list[Path]) -> dict[str, str]:
    """Column name -> DuckDB type of these Parquet files; `duckdb.Error` where one cannot be read."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {scan(files)}").fetchall()
    return {str(r[0]): str(r[1]) for r in rows}


def connect(path: Path, *, memory_limit: str | None = None, threads: int | None = None) -> EventStore:
    """Open an events folder: every table becomes a typed view; `UserError` names a table that cannot be read.

    Values that cannot be converted to the column's type become NULL (`validate` reports them).
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"'{path}' is not a folder of event tables")
    manifest = EventsManifest.load(path) if (path / "events.json").exists() else None
    con = open_connection(memory_limit, threads)
    present: set[str] = set()
    columns: dict[str, frozenset[str]] = {}
    static: tuple[str, ...] = ()
    try:
        for spec in (*TABLES.values(), *EXTRA_TABLES.values()):
            files = table_files(path, spec.name)
            if not files:
                if spec.required:
                    raise UserError(f"'{path}' has no {spec.name}.parquet, which every source must have")
                con.execute(f"CREATE VIEW {spec.name} AS {_empty_select(spec)}")
                columns[spec.name] = frozenset()
                continue
            try:
                types = source_columns(con, files)
                con.execute(f"CREATE VIEW {spec.name} AS {_typed_select(spec, types, files)}")
            except duckdb.Error as e:
                raise UserError(f"{files[0]} cannot be read as Parquet: {_first_line(e)}") from e
            missing = [c.name for c in spec.columns if c.required and c.name not in types]
            if missing:
                hint = did_you_mean(missing[0], types)
                raise UserError(f"{files[0]} has no column '{missing[0]}'{hint}")
            present.add(spec.name)
            columns[spec.name] = frozenset(c.name for c in spec.columns if c.name in types)
            if spec.name == "customers":
                known = {c.name for c in spec.columns}
                static = tuple(c for c in types if c not in known)
    except BaseException:
        con.close()
        raise
    return EventStore(path, con, manifest, frozenset(present), columns, static)


def _empty_select(spec: TableSpec) -> str:
    return "SELECT " + ", ".join(f"NULL::{c.sql_type} AS {quote(c.name)}" for c in spec.columns) + " WHERE false"


def _typed_select(spec: TableSpec, types: Mapping[str, str], files: list[Path]) -> str:
    wanted = [
        f"TRY_CAST({quote(c.name)} AS {c.sql_type}) AS {quote(c.name)}"
        if c.name in types
        else f"NULL::{c.sql_type} AS {quote(c.name)}"
        for c in spec.columns
    ]
    if spec.free_columns:
        known = {c.name for c in spec.columns}
        wanted += [quote(c) for c in types if c not in known]
    return f"SELECT {', '.join(wanted)} FROM {scan(files)}"


def _first_line(e: BaseException) -> str:
    return str(e).splitlines()[0] if str(e) else type(e).__name__
