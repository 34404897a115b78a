"""Raw event tables: their columns and types, the manifest of an events folder, and a DuckDB connection over it.

An events folder holds `events.json`, one Parquet file a table (`<table>.parquet`, or a folder of that name or `<table>/` with
its parts), and
optionally `labels.parquet` (labels that override the derived ones), `exact_spend.parquet` and `truth.parquet` (synthetic
bank). Only `customers` and `transactions` must be there. `connect` gives every table as a view with all its columns: a column
the source lacks is NULL, a table it lacks is an empty view, and `EventStore` says which those are: an empty feed stays visible.

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

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from ple_model.errors import UserError, did_you_mean
from ple_model.money import require_currency
from ple_model.safe_paths import check_tree, is_file, write_bytes
from ple_model.safe_text import read_object
from ple_model.sql_paths import to_read_all
from ple_model.stored import shown
from ple_model.tasks import CHANNELS, LIFE_STAGES, OFFERS, SPENDING_CATEGORIES, TASKS

EVENTS_VERSION = 1
BLANK_WORDS = ("", "nan", "none", "null", "nat", "<na>", "n/a")
"""What table libraries and spreadsheets write where there is nothing; capitals and outer blanks do not matter."""
LABEL_POLICIES = ("derived", "labels_only")


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
    horizon_days: int | None = None
    """How many days after each of its cut-offs the source covers; None: up to its last event."""
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
    currency: str = ""
    """ISO 4217 code of all amounts; empty where it is not known."""

    def save(self, folder: Path) -> None:
        """Write `events.json` (temporary file, then rename)."""
        write_bytes(folder / "events.json", json.dumps(asdict(self), indent=1, ensure_ascii=False).encode())

    @staticmethod
    def load(folder: Path) -> EventsManifest:
        """Read `events.json`; `UserError` where it is missing, damaged or of an unknown version."""
        path = folder / "events.json"
        try:
            plain = read_object(path)
        except FileNotFoundError as e:
            raise UserError(f"{path} is missing: '{folder}' is not an events folder") from e
        try:
            version = int(plain.get("version", EVENTS_VERSION))
            if version > EVENTS_VERSION:
                raise UserError(f"{path} has version {version}; this program reads up to {EVENTS_VERSION}")
            return EventsManifest(
                source=str(plain["source"]),
                name=str(plain["name"]),
                tables={k: TableEntry(int(v["rows"]), v.get("sha256")) for k, v in plain.get("tables", {}).items()},
                defaults=_defaults(path, plain.get("defaults", {})),
                absent_columns={k: tuple(v) for k, v in plain.get("absent_columns", {}).items()},
                absent_tables=tuple(plain.get("absent_tables", ())),
                parameters=dict(plain.get("parameters", {})),
                version=version,
                currency=require_currency(f"{path}: currency", plain.get("currency")),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            raise UserError(f"{path} is damaged: {shown(str(e))}") from e


def _defaults(path: Path, given: Mapping[str, Any]) -> Defaults:
    """The part `defaults` of events.json; `UserError` names the key and what arrived."""
    known = {f.name for f in fields(Defaults)}
    for key in given:
        if key not in known:
            raise UserError(f"{path}: unknown key 'defaults.{key}'{did_you_mean(key, known)}")
    lists = {}
    for key in ("cutoffs", "notes"):
        lists[key] = given.get(key) or []
        if not isinstance(lists[key], list):
            raise UserError(f"{path}: defaults.{key} is {lists[key]!r}; give a list")
    cutoffs = []
    for value in lists["cutoffs"]:
        try:
            cutoffs.append(date.fromisoformat(value).isoformat())
        except (TypeError, ValueError) as e:
            raise UserError(f"{path}: defaults.cutoffs holds {value!r}, which is no date such as 2024-07-01") from e
    horizon = given.get("horizon_days")
    if horizon is not None and (not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1):
        raise UserError(f"{path}: defaults.horizon_days is {horizon!r}; give a whole number of days, at least 1")
    policy = given.get("label_policy", "derived")
    if policy not in LABEL_POLICIES:
        raise UserError(f"{path}: defaults.label_policy is {policy!r}{did_you_mean(str(policy), LABEL_POLICIES)}")
    return Defaults(tuple(cutoffs), horizon, policy, tuple(str(n) for n in lists["notes"]))


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
    """The Parquet files of one table: `<table>.parquet`, or the sorted parts in a folder of that name or in `<table>/`; empty:
    the source lacks it."""
    single = path / f"{table}.parquet"
    if single.is_file():
        return [single]
    folder = next((f for f in (single, path / table) if f.is_dir()), None)
    return sorted(f for f in folder.glob("*.parquet") if f.is_file()) if folder is not None else []


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


def literal(text: str) -> str:
    """SQL text."""
    return "'" + text.replace("'", "''") + "'"


def scan(files: list[Path]) -> str:
    """SQL that reads these Parquet files."""
    return f"read_parquet({to_read_all(files)}, union_by_name=true)"


def source_columns(con: duckdb.DuckDBPyConnection, files: list[Path]) -> dict[str, str]:
    """Column name -> DuckDB type of these Parquet files; `duckdb.Error` where one cannot be read."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {scan(files)}").fetchall()
    return {str(r[0]): str(r[1]) for r in rows}


_OUTER_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"
_LONGEST_BLANK = max(len(w) for w in BLANK_WORDS)


def plain_text(expression: str) -> str:
    """SQL of a text in small letters without outer blanks."""
    return f"lower(trim({expression}, {_OUTER_BLANKS}))"


def is_blank(expression: str) -> str:
    """SQL: is this text nothing (`BLANK_WORDS`)? Only what is short or begins with a blank is looked at closely: this runs on
    every text of every event."""
    maybe = f"strlen({expression}) <= {_LONGEST_BLANK} OR {expression} < '!'"
    return f"CASE WHEN {maybe} THEN {plain_text(expression)} IN ({sql_list(BLANK_WORDS)}) ELSE false END"


def sql_list(values: Iterable[str]) -> str:
    """SQL literals, separated by commas."""
    return ", ".join("'" + v.replace("'", "''") + "'" for v in values)


def moment_sql(text: str) -> str:
    """SQL of a moment written as text, in UTC where an offset is written with it: read as TIMESTAMP alone, that offset would be
    dropped."""
    return f"TRY_CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP)"


def has_zone(text: str) -> str:
    """SQL: does a moment written as text end in a time zone?"""
    return rf"regexp_matches({text}, ':\d\d(\.\d+)?\s*(Z|UTC|[+-]\d\d(:?\d\d)?|[A-Za-z]+/[A-Za-z_]+)$')"


def read_expression(column: ColumnSpec, found: str) -> str:
    """SQL that reads a column stored as DuckDB type `found` in the type and spelling of the spec; NULL where it cannot."""
    name, stored = quote(column.name), found.split("(")[0]
    as_type = f"TRY_CAST({name} AS {column.sql_type})"
    text = stored in ("VARCHAR", "ENUM")
    if column.sql_type == "VARCHAR" and stored in ("FLOAT", "DOUBLE", "DECIMAL"):
        # Table libraries turn whole numbers with a gap among them into floats; 12.0 and 12 are one id.
        whole = f"TRY_CAST({name} AS HUGEINT)"
        return f"nullif(CASE WHEN {name} = {whole} THEN {whole}::VARCHAR ELSE {as_type} END, 'nan')"
    if column.sql_type == "VARCHAR" and not column.key and (text or column.allowed):
        value = f"{name}::VARCHAR"
        if not column.allowed:
            return f"CASE WHEN {is_blank(value)} THEN NULL ELSE {value} END"
        known, other = sql_list(column.allowed), value if column.open else "NULL"
        return (
            f"CASE WHEN {value} IN ({known}) THEN {value} WHEN {plain_text(value)} IN ({known}) THEN {plain_text(value)}"
            f" WHEN {is_blank(value)} THEN NULL ELSE {other} END"
        )
    if column.sql_type != "VARCHAR" and text:
        value = f"CASE WHEN {is_blank(f'{name}::VARCHAR')} THEN NULL ELSE {name}::VARCHAR END"
        if column.sql_type == "TIMESTAMP":
            return moment_sql(value)
        return f"TRY_CAST({value} AS {column.sql_type})"
    return as_type


def connect(path: Path, *, memory_limit: str | None = None, threads: int | None = None) -> EventStore:
    """Open an events folder: every table becomes a typed view; `UserError` names a table that cannot be read.

    Values that cannot be converted to the column's type become NULL (`validate` reports them).
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"'{path}' is not a folder of event tables")
    check_tree(path)
    manifest = EventsManifest.load(path) if is_file(path / "events.json") else None
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
                static = _free(spec, types)
    except BaseException:
        con.close()
        raise
    return EventStore(path, con, manifest, frozenset(present), columns, static)


def _empty_select(spec: TableSpec) -> str:
    return "SELECT " + ", ".join(f"NULL::{c.sql_type} AS {quote(c.name)}" for c in spec.columns) + " WHERE false"


def _typed_select(spec: TableSpec, types: Mapping[str, str], files: list[Path]) -> str:
    wanted = [
        f"{read_expression(c, types[c.name])} AS {quote(c.name)}"
        if c.name in types
        else f"NULL::{c.sql_type} AS {quote(c.name)}"
        for c in spec.columns
    ]
    if spec.free_columns:
        wanted += [quote(c) for c in _free(spec, types)]
    return f"SELECT {', '.join(wanted)} FROM {scan(files)}"


def _free(spec: TableSpec, types: Mapping[str, str]) -> tuple[str, ...]:
    """Columns beside those of the spec. One that differs from a spec's name in capitals alone is not kept: SQL could not tell
    them apart."""
    known = {c.name for c in spec.columns}
    return tuple(c for c in types if c.lower() not in known)


def _first_line(e: BaseException) -> str:
    return str(e).splitlines()[0] if str(e) else type(e).__name__
