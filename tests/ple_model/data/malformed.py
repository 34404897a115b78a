"""Generated malformed event folders: a table, a column and a kind of damage each, and what the report must say of it.

`ERRORS` stop a build; `HANDLED` are read as the clean bank of the same tables (or as the one that `like` makes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ple_model.data.events.manifest import Defaults, EventsManifest
from ple_model.data.events.spec import EXTRA_TABLES, TABLES, ColumnSpec, TableSpec
from tests.ple_model.data import tiny_events

CUTOFF = "2024-03-01"
PEOPLE = 20
CORE = ("customers", "transactions")
ROW = 3
"""The row that is damaged."""
Bank = dict[str, pa.Table]
Change = Callable[[Bank], None]
After = Callable[[Path], None]


@cache
def _whole() -> Bank:
    frames = tiny_events.tables(PEOPLE)
    ids = frames["customers"]["customer_id"]
    frames["labels"] = pd.DataFrame(
        {
            "customer_id": ids, "cutoff": date.fromisoformat(CUTOFF), "churn": [0, 1] * (PEOPLE // 2), "ltv": 2.5,
            "nba": "fund", "brand_prediction": "brand 1", "timing": 4,
        }
    )  # fmt: skip
    frames["exact_spend"] = pd.DataFrame({"customer_id": ids, "cutoff": date.fromisoformat(CUTOFF), "prior_spend_28d": 10.0})
    return {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}


def bank(*tables: str) -> Bank:
    """Customers, transactions and the tables asked for; nothing is wrong with them."""
    return {name: _whole()[name] for name in (*CORE, *tables)}


def everything() -> Bank:
    """All event tables, without own labels and exact spend."""
    return {name: table for name, table in _whole().items() if name in TABLES}


def write(folder: Path, tables: Bank, defaults: Defaults | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    EventsManifest("test", "bank", defaults=defaults or Defaults((CUTOFF,), 84)).save(folder)
    return folder


# what can be done to a column: values -> values


def put(table: str, column: str, values: Callable[[list[Any]], Any]) -> Change:
    """The column made of what a function makes of its values."""

    def change(tables: Bank) -> None:
        old = tables[table]
        new = values(old.column(column).to_pylist())
        array = new if isinstance(new, (pa.Array, pa.ChunkedArray)) else pa.array(new)
        tables[table] = old.set_column(old.schema.get_field_index(column), column, array)

    return change


def cell(value: Any, row: int = ROW) -> Callable[[list[Any]], list[Any]]:
    """One value replaced."""
    return lambda values: [*values[:row], value, *values[row + 1 :]]


def text(value: str | None = None) -> Callable[[list[Any]], list[Any]]:
    """Everything as text, perhaps one of it replaced."""

    def change(values: list[Any]) -> list[Any]:
        out = [None if v is None else str(v) for v in values]
        return out if value is None else cell(value)(out)

    return change


def typed(kind: pa.DataType, value: Any) -> Callable[[list[Any]], pa.Array]:
    """Every row with the same value of an odd type."""
    return lambda values: pa.array([value] * len(values), kind)


def drop(table: str, column: str) -> Change:
    def change(tables: Bank) -> None:
        tables[table] = tables[table].drop_columns([column])

    return change


def rename(table: str, column: str, new: str) -> Change:
    def change(tables: Bank) -> None:
        tables[table] = tables[table].rename_columns([new if c == column else c for c in tables[table].column_names])

    return change


def repeat(table: str, rows: int = 1, **other: Any) -> Change:
    """The first rows once more, with other values in some columns."""

    def change(tables: Bank) -> None:
        more = tables[table].slice(0, rows)
        for column, value in other.items():
            at, kind = more.schema.get_field_index(column), more.schema.field(column).type
            more = more.set_column(at, more.schema.field(at), pa.array([value] * rows, kind))
        tables[table] = pa.concat_tables([tables[table], more])

    return change


def empty(table: str) -> Change:
    def change(tables: Bank) -> None:
        tables[table] = tables[table].slice(0, 0)

    return change


def all_of(*changes: Change) -> Change:
    def change(tables: Bank) -> None:
        for one in changes:
            one(tables)

    return change


def nothing(tables: Bank) -> None:
    """No change."""


@dataclass(frozen=True)
class Case:
    """A damaged folder and the fault that must be reported; `rows` None: any number above 0."""

    name: str
    table: str
    column: str | None
    kind: str
    change: Change = nothing
    rows: int | None = 1
    said: str = ""
    """Part of the message or the example."""
    severity: str = "error"
    tables: tuple[str, ...] = ()
    after: After | None = None
    """Done to the folder once it is written."""
    like: Change = field(default=nothing)
    """What makes the reference of a handled case from the clean bank."""

    def folder(self, place: Path) -> Path:
        tables = bank(*self.more)
        self.change(tables)
        folder = write(place, tables)
        if self.after is not None:
            self.after(folder)
        return folder

    def reference(self, place: Path) -> Path:
        tables = bank(*self.more)
        self.like(tables)
        return write(place, tables)

    @property
    def more(self) -> tuple[str, ...]:
        """Tables beside customers and transactions."""
        return tuple(dict.fromkeys(t for t in (self.table, *self.tables) if t in {**TABLES, **EXTRA_TABLES} and t not in CORE))


# the generated family


def _spec(table: str) -> TableSpec:
    return {**TABLES, **EXTRA_TABLES}[table]


SOON = datetime.combine(date.today() + timedelta(days=40), datetime.min.time())
VALUES: dict[str, tuple[tuple[str, str, Any, int | None, str], ...]] = {
    "DOUBLE": (
        ("a word", "wrong_type", text("much"), 1, "'much'"),
        ("a comma for the point", "wrong_type", text("12,50"), 1, "'12,50'"),
        ("nan", "not_finite", cell(float("nan")), 1, "nan"),
        ("infinity", "not_finite", cell(float("-inf")), 1, "inf"),
        ("huge", "huge", cell(1e13), 1, "10000000000000.0"),
        ("truth values", "wrong_type", typed(pa.bool_(), True), None, "BOOLEAN"),
    ),
    "INTEGER": (
        ("a word", "wrong_type", text("many"), 1, "'many'"),
        ("a fraction", "not_whole", cell(1990.5), 1, "1990.5"),
        ("a fraction as text", "not_whole", text("1990.5"), 1, "1990.5"),
        ("nan", "not_finite", cell(float("nan")), 1, "nan"),
        ("beyond 32 bits", "huge", cell(3_000_000_000), 1, "3000000000"),
        ("dates", "wrong_type", typed(pa.date32(), date(2024, 1, 1)), None, "DATE"),
    ),
    "TIMESTAMP": (
        ("a word", "wrong_type", text("yesterday"), 1, "'yesterday'"),
        ("two formats", "wrong_type", text("31/01/2024 10:00"), 1, "31/01/2024"),
        ("before 1970", "absurd_date", cell(datetime(1969, 12, 31)), 1, "1969-12-31"),
        ("far ahead", "absurd_date", cell(datetime(2150, 1, 1)), 1, "2150-01-01"),
        ("seconds since 1970", "wrong_type", typed(pa.int64(), 1_704_067_200), None, "BIGINT"),
        ("some with a time zone", "mixed_zones", text("2024-01-01 10:00:00+09:00"), None, "without a time zone"),
    ),
    "DATE": (
        ("a word", "wrong_type", text("soon"), 1, "'soon'"),
        ("no day of the calendar", "wrong_type", text("2023-02-30"), 1, "2023-02-30"),
        ("far ahead", "absurd_date", cell(datetime(2150, 1, 1)), 1, "2150-01-01"),
        ("the year 24", "absurd_date", text("0024-02-01"), 1, "0024-02-01"),
        ("a number", "wrong_type", typed(pa.float64(), 45000.0), None, "DOUBLE"),
    ),
}  # fmt: skip
TYPED = (
    "transactions.amount", "holdings.credit_limit", "customers.birth_year", "transactions.ts", "campaigns.exposed_at",
    "customers.joined_on", "holdings.as_of",
)  # fmt: skip
"""Columns of every type; what they share with the others is one piece of code."""
COUNTED = ("sessions.duration", "sessions.events", "insurance.amount", "overseas.amount", "exact_spend.prior_spend_28d")
"""Further columns that cannot be negative."""


def _values() -> Iterator[Case]:
    for place in TYPED:
        table, column = place.split(".")
        spec = _spec(table).column(column)
        for name, kind, change, rows, said in VALUES[spec.sql_type]:
            yield Case(f"{place} holds {name}", table, column, kind, put(table, column, change), rows, said)
    for place in (*TYPED, *COUNTED):
        table, column = place.split(".")
        yield from _impossible(table, _spec(table).column(column))


def _impossible(table: str, spec: ColumnSpec) -> Iterator[Case]:
    if spec.minimum is not None:
        below = cell(spec.minimum - 1)
        said = f"below {spec.minimum:g}"
        yield Case(f"{table}.{spec.name} is negative", table, spec.name, "negative", put(table, spec.name, below), 1, said)


def _keys() -> Iterator[Case]:
    for spec in (*TABLES.values(), EXTRA_TABLES["labels"], EXTRA_TABLES["exact_spend"]):
        for column in (
            c for c in spec.columns if c.key and (c.name != "customer_id" or spec.name in ("customers", "holdings"))
        ):
            place = f"{spec.name}.{column.name}"
            yield Case(
                f"{place} is NULL", spec.name, column.name, "null_key", put(spec.name, column.name, cell(None)), 1, "NULL"
            )
            if column.sql_type == "VARCHAR":
                nan = put(spec.name, column.name, cell(" NaN "))
                yield Case(f"{place} is the word nan", spec.name, column.name, "null_key", nan, 1, "NaN")


def _missing() -> Iterator[Case]:
    for spec in (*TABLES.values(), EXTRA_TABLES["labels"]):
        needed = [c.name for c in spec.columns if c.required]
        for column in needed[-1:] if len(needed) > 1 else needed:
            place = f"{spec.name}.{column}"
            yield Case(f"{place} is missing", spec.name, column, "missing_column", drop(spec.name, column), 0, "is missing")
    for place, new in (
        ("transactions.amount", "ammount"),
        ("customers.customer_id", "Customer_ID"),
        ("holdings.as_of", "asof"),
    ):
        table, column = place.split(".")
        said = f"did you mean '{new}'"
        yield Case(f"{place} is misspelt", table, column, "missing_column", rename(table, column, new), 0, said)


def _repeated() -> Iterator[Case]:
    for table, key in (("customers", "customer_id"), ("merchants", "merchant_id"), ("holdings", "customer_id"),
                       ("labels", "customer_id"), ("exact_spend", "customer_id")):  # fmt: skip
        yield Case(f"{table} has a row twice", table, key, "duplicate", repeat(table), 1, f"{key}=")


def _ids() -> Iterator[Case]:
    id_ = "customer_id"
    for table in ("customers", "transactions"):
        for name, kind, value in (("a tab", "control_character", "c\t1"), ("a NUL", "control_character", "c1\x00"),
                                  ("65 characters", "long_id", "x" * 65)):  # fmt: skip
            yield Case(f"{table}.{id_} holds {name}", table, id_, kind, put(table, id_, cell(value)), 1, repr(value)[1:5])
    big = typed(pa.float64(), 2.0**53)
    yield Case("merchants.merchant_id is a float without its last digits", "merchants", "merchant_id", "inexact_id",
               put("merchants", "merchant_id", big), None, "DOUBLE")  # fmt: skip
    yield Case("transactions.customer_id is a list", "transactions", id_, "wrong_type",
               put("transactions", id_, typed(pa.list_(pa.string()), ["a"])), None, "VARCHAR[]")  # fmt: skip
    padded = put("customers", id_, lambda v: [f"00{k}" for k in range(len(v))])
    plain = put("transactions", id_, lambda v: [k % PEOPLE for k in range(len(v))])
    yield Case("ids have leading zeros in one table and are numbers in the other", "transactions", id_, "unknown_customer",
               all_of(padded, plain), None, "another spelling")  # fmt: skip
    strange = put("transactions", id_, lambda v: [f"client {k}" for k in range(len(v))])
    yield Case(
        "no transaction is of a known customer", "transactions", id_, "unknown_customer", strange, None, "no row is known"
    )


def _order() -> Iterator[Case]:
    late = datetime(2020, 1, 1)
    yield Case("holdings.closed_on is before opened_on", "holdings", "closed_on", "wrong_order",
               put("holdings", "closed_on", cell(date(2022, 1, 1))), 1, "earlier than opened_on")  # fmt: skip
    yield Case("campaigns.clicked_at is before exposed_at", "campaigns", "clicked_at", "wrong_order",
               put("campaigns", "clicked_at", cell(late)), 1, "earlier than exposed_at")  # fmt: skip
    yield Case("transactions.ts lies in the future", "transactions", "ts", "absurd_date",
               put("transactions", "ts", cell(SOON)), 1, "after")  # fmt: skip
    yield Case("customers.birth_year lies in the future", "customers", "birth_year", "absurd_date",
               put("customers", "birth_year", cell(3020)), 1, "3020")  # fmt: skip
    yield Case("transactions.kind is a word nobody knows", "transactions", "kind", "unseen_category",
               put("transactions", "kind", cell("deposits")), 1, "did you mean 'deposit'")  # fmt: skip


def _cut(table: str) -> After:
    def after(folder: Path) -> None:
        path = folder / f"{table}.parquet"
        path.write_bytes(path.read_bytes()[:-40])

    return after


def _content(name: str, content: bytes) -> After:
    return lambda folder: (folder / name).write_bytes(content) and None  # type: ignore[func-returns-value]


def _away(table: str, *others: str) -> After:
    """The table's file is gone; other files, or folders (a trailing slash), are there."""

    def after(folder: Path) -> None:
        content = (folder / f"{table}.parquet").read_bytes()
        (folder / f"{table}.parquet").unlink()
        for other in others:
            (folder / other).mkdir() if other.endswith("/") else (folder / other).write_bytes(content)

    return after


def _parts(folder: Path) -> None:
    """Two parts of sessions whose moments have nothing in common."""
    (folder / "sessions.parquet").unlink()
    (folder / "sessions").mkdir()
    for k, ts in enumerate((pa.array([datetime(2024, 1, 1)]), pa.array([{"day": 1}]))):
        pq.write_table(pa.table({"customer_id": ["c001"], "ts": ts}), folder / "sessions" / f"part-{k}.parquet")


def _files() -> Iterator[Case]:
    for table in ("transactions", "merchants", "labels"):
        yield Case(f"{table} is a truncated file", table, None, "unreadable", rows=0, said="cannot be read", after=_cut(table))
    for table in ("customers", "transactions"):
        yield Case(f"{table} has no rows", table, None, "empty", empty(table), 0, "no rows")
        yield Case(f"{table} is not there", table, None, "missing_table", rows=0, said="is missing", after=_away(table))
    yield Case("sessions is a text file", "sessions", None, "unreadable", rows=0, said="Parquet",
               after=_content("sessions.parquet", b"customer_id,ts\n"))  # fmt: skip
    yield Case("sessions is an empty file", "sessions", None, "unreadable", rows=0, said="Parquet",
               after=_content("sessions.parquet", b""))  # fmt: skip
    yield Case("sessions is an empty folder", "sessions", None, "unreadable", rows=0, said="folder without Parquet",
               after=_away("sessions", "sessions.parquet/"))  # fmt: skip
    yield Case("customers is an empty folder", "customers", None, "unreadable", rows=0, said="folder without Parquet",
               after=_away("customers", "customers/"))  # fmt: skip
    yield Case("sessions is a file and a folder", "sessions", None, "two_sources", rows=0, said="which of them",
               after=lambda folder: (folder / "sessions").mkdir())  # fmt: skip
    yield Case(
        "the parts of sessions do not fit together", "sessions", None, "unreadable", rows=0, said="cannot be read", after=_parts
    )
    for name, said in (("session.parquet", "did you mean 'sessions.parquet'"), ("Sessions.parquet", "sessions.parquet"),
                       ("sessions.csv", "ple import tables")):  # fmt: skip
        yield Case(f"sessions is called {name}", name, None, "unknown_table", rows=0, said=said, tables=("sessions",),
                   after=_away("sessions", name))  # fmt: skip


MANIFESTS = (
    ("no JSON", b"{", "damaged"),
    ("a list", b"[]", "damaged"),
    ("no text", b"\xff\xfe\x00", "damaged"),
    ("without a source", b'{"name": "x"}', "source"),
    ("of a newer version", b'{"source": "x", "name": "x", "version": 99}', "version 99"),
    ("with an unknown key", b'{"source": "x", "name": "x", "defaults": {"cutofs": []}}', "did you mean 'cutoffs'"),
    ("with a cut-off for a list", b'{"source": "x", "name": "x", "defaults": {"cutoffs": "2024-03-01"}}', "give a list"),
    ("with a cut-off that is none", b'{"source": "x", "name": "x", "defaults": {"cutoffs": ["2024-02-30"]}}', "'2024-02-30'"),
    ("with a horizon of no days", b'{"source": "x", "name": "x", "defaults": {"horizon_days": 0}}', "horizon_days is 0"),
    ("with another policy", b'{"source": "x", "name": "x", "defaults": {"label_policy": "label_only"}}', "'labels_only'"),
    ("with rows that are no number", b'{"source": "x", "name": "x", "tables": {"customers": {"rows": "many"}}}', "damaged"),
)  # fmt: skip


def _manifests() -> Iterator[Case]:
    for name, content, said in MANIFESTS:
        yield Case(f"events.json is {name}", "events.json", None, "damaged_manifest", rows=0, said=said,
                   after=_content("events.json", content))  # fmt: skip
    short = b'{"source": "x", "name": "x", "tables": {"merchants": {"rows": 41}}, "defaults": {"cutoffs": ["2024-03-01"]}}'
    yield Case("merchants has fewer rows than events.json says", "merchants", None, "row_count", rows=0, said="lists 41 rows",
               after=_content("events.json", short))  # fmt: skip


def _labels() -> Iterator[Case]:
    for name, column, kind, value, said in (
        ("a class that churn does not have", "churn", "wrong_class", cell(2), "has 0 to 1"),
        ("half a class", "churn", "wrong_class", cell(0.5), "0.5"),
        ("a class below -1", "churn", "wrong_class", cell(-7), "-7"),
        ("an infinite ltv", "ltv", "not_finite", cell(float("inf")), "inf"),
        ("a word as ltv", "ltv", "wrong_type", text("rich"), "'rich'"),
        ("an offer that is none", "nba", "wrong_class", cell("fundd"), "did you mean 'fund'"),
        ("a day beyond the 28", "timing", "wrong_class", cell(28), "has 0 to 27"),
    ):
        yield Case(f"labels hold {name}", "labels", column, kind, put("labels", column, value), 1, said)
    yield Case("labels hold numbers for brands", "labels", "brand_prediction", "wrong_type",
               put("labels", "brand_prediction", typed(pa.int64(), 3)), None, "brand names")  # fmt: skip
    yield Case("labels hold dates for a class", "labels", "churn", "wrong_type",
               put("labels", "churn", typed(pa.date32(), date(2024, 1, 1))), None, "expected numbers")  # fmt: skip
    yield Case("labels name a task that is misspelt", "labels", "chrun", "unknown_task", rename("labels", "churn", "chrun"), 0,
               "did you mean 'churn'")  # fmt: skip


ERRORS: tuple[Case, ...] = (
    *_values(), *_keys(), *_missing(), *_repeated(), *_ids(), *_order(), *_files(), *_manifests(), *_labels(),
)  # fmt: skip


# what is handled: read as the reference


def _zoned(values: list[Any]) -> pa.Array:
    """The same moments with a time zone."""
    return pa.array(values, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz="Asia/Seoul"))


def _offset(values: list[Any]) -> list[str]:
    """The same moments as text, nine hours on and with the offset."""
    return [f"{v + timedelta(hours=9):%Y-%m-%dT%H:%M:%S}+09:00" for v in values]


def _numbered(kind: pa.DataType | None) -> Callable[[list[Any]], pa.Array]:
    """`m7` -> 7 in this type; None stays None."""
    return lambda values: pa.array([None if v is None else int(v[1:]) for v in values], pa.int32()).cast(kind or pa.string())


def _merchant_numbers(customers: pa.DataType | None, transactions: pa.DataType | None) -> Change:
    return all_of(
        put("merchants", "merchant_id", _numbered(customers)), put("transactions", "merchant_id", _numbered(transactions))
    )


def _split(folder: Path) -> None:
    """Sessions in two parts, in a folder that is called like the file, as Spark writes it."""
    table = pq.read_table(folder / "sessions.parquet")
    (folder / "sessions.parquet").unlink()
    (folder / "sessions.parquet").mkdir()
    (folder / "sessions.parquet" / "_SUCCESS").write_bytes(b"")
    for k, part in enumerate((table.slice(0, 50), table.slice(50))):
        pq.write_table(part, folder / "sessions.parquet" / f"part-{k}.parquet")


def _handled() -> Iterator[Case]:
    warned: dict[str, Any] = {"severity": "warning"}
    for place in ("transactions.amount", "sessions.events", "transactions.ts", "holdings.as_of", "campaigns.clicked_at"):
        table, column = place.split(".")
        yield Case(f"{place} is text", table, column, "text", put(table, column, text()), 0, "stored as text", **warned)
    for place in ("customers.birth_year", "sessions.duration", "campaigns.converted_at"):
        table, column = place.split(".")
        yield Case(f"{place} has a word for nothing among text", table, column, "text", put(table, column, text(" N/A ")), 0,
                   like=put(table, column, cell(None)), **warned)  # fmt: skip
    for place in ("transactions.ts", "sessions.ts", "overseas.ts"):
        table, column = place.split(".")
        yield Case(
            f"{place} has a time zone", table, column, "time_zone", put(table, column, _zoned), None, "time zone", **warned
        )
    yield Case("transactions.ts is text with an offset", "transactions", "ts", "time_zone", put("transactions", "ts", _offset),
               None, "time zone", **warned)  # fmt: skip
    for place, value in (("transactions.merchant_id", ""), ("transactions.brand", "nan"), ("customers.region", "  "),
                         ("transactions.channel", "None"), ("overseas.kind", "NULL"), ("merchants.mcc_l1", "\t")):  # fmt: skip
        table, column = place.split(".")
        yield Case(f"{place} is {value!r}", table, column, "blank_text", put(table, column, cell(value)), 1, repr(value),
                   like=put(table, column, cell(None)), **warned)  # fmt: skip
    for place, value in (("transactions.mcc_l1", "Groceries"), ("sessions.channel", " APP"), ("campaigns.offer", "Fund"),
                         ("transactions.kind", "CARD")):  # fmt: skip
        table, column = place.split(".")
        yield Case(f"{place} is written {value!r}", table, column, "spelling", put(table, column, cell(value)), 1, repr(value),
                   like=put(table, column, cell(value.strip().lower())), **warned)  # fmt: skip
    for place in ("sessions.channel", "campaigns.offer", "customers.age_band"):
        table, column = place.split(".")
        add = _age_bands if column == "age_band" else nothing
        yield Case(f"{place} is a value nobody knows", table, column, "unseen_category",
                   all_of(add, put(table, column, cell("kiosk"))), 1, "'kiosk'",
                   like=all_of(add, put(table, column, cell(None))), **warned)  # fmt: skip
    yield Case(
        "sessions has a column nobody knows", "sessions", "colour", "unknown_column", _extra, 0, "no such column", **warned
    )
    regoin = rename("customers", "region", "regoin")
    yield Case("customers.region is misspelt", "customers", "region", "missing_column", regoin, 0,
               "did you mean 'regoin'", like=drop("customers", "region"), **warned)  # fmt: skip
    yield Case("a file that is no table", "notes.parquet", None, "unknown_table", rows=0, said="no event table",
               after=_content("notes.parquet", b"?"), **warned)  # fmt: skip
    yield Case("a second spelling of a table that is there", "Customers.csv", None, "unknown_table", rows=0, said="is there",
               after=_content("Customers.csv", b"?"), **warned)  # fmt: skip
    yield Case("events.json is missing", "events.json", None, "missing_manifest", rows=0,
               after=lambda folder: (folder / "events.json").unlink(), **warned)  # fmt: skip


def _age_bands(tables: Bank) -> None:
    tables["customers"] = tables["customers"].append_column("age_band", pa.array(["25-34"] * PEOPLE))


def _extra(tables: Bank) -> None:
    tables["sessions"] = tables["sessions"].append_column("colour", pa.array(["red"] * len(tables["sessions"])))


HANDLED: tuple[Case, ...] = tuple(_handled())

NUMBERS = {
    "floats and whole numbers": _merchant_numbers(pa.int64(), pa.float64()),
    "text and whole numbers": _merchant_numbers(None, pa.int32()),
    "decimals and text": _merchant_numbers(pa.decimal128(12, 2), None),
}
"""Ids in two types; all are read as the text of the whole number."""
WHOLE_NUMBERS = _merchant_numbers(None, None)
SPARK_FOLDER = _split
