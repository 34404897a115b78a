"""The map of `ple import tables --map FILE`: which file and column of a source is which of ours.

    name: our bank
    cutoffs: [2024-07-01, 2024-08-01]
    currency: KRW                          # of all amounts; default: the one that the files name, if they name one
    horizon_days: 84                       # default: up to the last event
    tables:
      transactions:
        file: payments.csv                 # default: transactions.parquet or transactions.csv
        encoding: cp949                    # default: utf-8
        columns: {customer_id: client, ts: [day, time], amount: value, mcc_l1: category}
        formats: {ts: "%d.%m.%Y"}          # default: 2024-07-01 and 2024/07/01, with or without a time
        thousands: ","                     # default: numbers have no thousands separator
        spending: negative                 # money spent is written with a minus; default: positive
        constants: {kind: card}            # the same value in every row
        values: {mcc_l1: {Food: groceries, Gas: fuel and transport, Other: ~}}
        drop_incomplete: true              # leave out rows without a customer, date or amount
        rows: {status: {BOOKED: keep, DECLINED: drop}}   # rows by the values of a column of the source
        leave_out: {payments.csv: [17, 204]}   # faulty rows by their number, as `ple preview` names them
        currency: {column: cur, to: USD, rates: {KRW: 0.00075}}   # or {column: cur, keep: USD}, or a code

Keys of `columns` are ours, values are the source's; a list is joined with a space. `~` among `values` is unknown, and `"?"`
anywhere is an open question: the import refuses until it is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ple_model.arguments import MAX_HORIZON, shown
from ple_model.data.events.spec import EXTRA_TABLES, TABLES, TableSpec
from ple_model.data.importers.currency_rule import CurrencyRule, parse_rule
from ple_model.data.importers.row_numbers import parse_rows
from ple_model.data.importers.text_encoding import text_encoding
from ple_model.errors import UserError, did_you_mean
from ple_model.money import require_currency
from ple_model.yaml_text import parse_yaml

OPEN = "?"
"""An open question: a person has to answer it before the import reads anything."""
IMPORTABLE: dict[str, TableSpec] = {**TABLES, "labels": EXTRA_TABLES["labels"], "exact_spend": EXTRA_TABLES["exact_spend"]}


@dataclass(frozen=True)
class TableMap:
    """How one table is read; all parts are optional."""

    file: str | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Our column -> the source's; several are joined with a space."""
    constants: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Our column -> the source's value -> ours; None is unknown."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Date column -> its strptime format."""
    thousands: str = ""
    decimal: str = "."
    spending: str = "positive"
    """The sign of money spent by card in the source; amounts of the other sign are refunds."""
    encoding: str | None = None
    delimiter: str | None = None
    skip_lines: int | None = None
    sheet: str | None = None
    """Of a spreadsheet with several."""
    drop_incomplete: bool = False
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The source's column -> its value -> keep or drop."""
    leave_out: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """A file's name -> rows of it that do not count, numbered as a preview numbers them."""
    currency: CurrencyRule = field(default_factory=CurrencyRule)


@dataclass(frozen=True)
class SourceMap:
    """The whole map file."""

    name: str = "plain tables"
    cutoffs: tuple[str, ...] = ()
    horizon_days: int | None = None
    """Days after each cut-off that the source covers; None: up to its last event."""
    tables: Mapping[str, TableMap] = field(default_factory=dict)
    currency: str = ""
    """ISO 4217 code of all amounts."""

    def open_places(self) -> list[str]:
        """Where the map still holds a question, with what is asked where that is short."""
        return [place for name, table in self.tables.items() for place in _open_places(f"tables.{name}", table)]


def _open_places(here: str, table: TableMap) -> list[str]:
    places = [f"{here}.columns.{c}" for c, originals in table.columns.items() if OPEN in originals]
    places += [f"{here}.formats.{c}" for c, text in table.formats.items() if text == OPEN]
    asked_once = ("encoding", "thousands", "decimal", "spending", "sheet")
    places += [f"{here}.{part}" for part in asked_once if getattr(table, part) == OPEN]
    named = {**{f"values.{k}": v for k, v in table.values.items()}, **{f"rows.{k}": v for k, v in table.rows.items()}}
    for part, pairs in named.items():
        asked = [k for k, v in pairs.items() if v == OPEN]
        if asked:
            more = f" and {len(asked) - 4} more" if len(asked) > 4 else ""
            places.append(f"{here}.{part} ({', '.join(asked[:4])}{more})")
    return places


def require_table(name: str) -> str:
    """The name of an event table; `UserError` for any other."""
    if name not in IMPORTABLE:
        raise UserError(f"--table {name} is no event table{did_you_mean(name, IMPORTABLE)}")
    return name


def load_map(path: Path) -> SourceMap:
    """Read a YAML map; `UserError` names the unknown key, table or column and the nearest valid one."""
    try:
        plain = parse_yaml(path.read_text(encoding="utf-8"), f"the map '{path}'")
    except FileNotFoundError as e:
        raise UserError(f"the map '{path}' does not exist; `ple import map FILE {path}` writes a starter") from e
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"the map '{path}' cannot be read: {' '.join(str(e).split())[:200]}") from e
    top = _mapping(path, "the map", plain, ("name", "cutoffs", "horizon_days", "currency", "tables"))
    cutoffs = top.get("cutoffs") or []
    if not isinstance(cutoffs, list):
        raise UserError(f"{path}: cutoffs is {cutoffs!r}; give a list of dates")
    horizon = top.get("horizon_days")
    if horizon is not None and (not isinstance(horizon, int) or isinstance(horizon, bool) or not 1 <= horizon <= MAX_HORIZON):
        raise UserError(f"{path}: horizon_days is {shown(horizon)}; give a whole number of days, 1 to {MAX_HORIZON:,}")
    tables = {}
    for name, entry in _mapping(path, "tables", top.get("tables") or {}, IMPORTABLE).items():
        tables[name] = _table_map(path, name, entry or {})
    currency = require_currency(f"{path}: currency", top.get("currency"))
    return SourceMap(str(top.get("name", "plain tables")), tuple(_iso(path, c) for c in cutoffs), horizon, tables, currency)


def _mapping(path: Path, where: str, value: Any, allowed: Mapping[str, Any] | tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{path}: {where} is {value!r}; it must be a mapping")
    for key in value:
        if allowed is not None and key not in allowed:
            raise UserError(f"{path}: unknown key '{key}' in {where}{did_you_mean(str(key), allowed)}")
    return {_text(path, f"a key of {where}", k): v for k, v in value.items()}


def _text(path: Path, where: str, value: Any) -> str:
    """YAML reads a bare yes, no, on or off as a truth value: it would never match the text in the file."""
    if isinstance(value, (bool, list, dict)) or value is None:
        raise UserError(f"{path}: {where} is {value!r}; write the text in quotes")
    return str(value)


def _table_map(path: Path, name: str, entry: Any) -> TableMap:
    spec, here = IMPORTABLE[name], f"tables.{name}"
    parts = _mapping(path, here, entry, tuple(TableMap.__dataclass_fields__))
    allowed = None if spec.free_columns else tuple(c.name for c in spec.columns)
    given: dict[str, dict[str, Any]] = {
        part: _mapping(path, f"{here}.{part}", parts.get(part) or {}, allowed) for part in ("columns", "constants", "values")
    }
    moments = tuple(c.name for c in spec.columns if c.sql_type in ("DATE", "TIMESTAMP"))
    formats = _mapping(path, f"{here}.formats", parts.get("formats") or {}, moments)
    values: dict[str, dict[str, str | None]] = {}
    for column, pairs in given["values"].items():
        where = f"{here}.values.{column}"
        mapped = _mapping(path, where, pairs, None)
        values[column] = {k: None if v is None else _text(path, f"{where}.{k}", v) for k, v in mapped.items()}
    return TableMap(
        file=None if parts.get("file") is None else _text(path, f"{here}.file", parts["file"]),
        columns={k: _columns(path, f"{here}.columns.{k}", v) for k, v in given["columns"].items()},
        constants={k: _text(path, f"{here}.constants.{k}", v) for k, v in given["constants"].items()},
        values=values,
        formats={k: _text(path, f"{here}.formats.{k}", v) for k, v in formats.items()},
        thousands=_separator(path, f"{here}.thousands", parts.get("thousands", ""), (",", ".", " ", "'", "", OPEN)),
        decimal=_separator(path, f"{here}.decimal", parts.get("decimal", "."), (".", ",", OPEN)),
        spending=_spending(path, name, parts.get("spending", "positive")),
        encoding=None if parts.get("encoding") is None else _encoding(path, f"{here}.encoding", parts["encoding"]),
        delimiter=None if parts.get("delimiter") is None else _delimiter(path, f"{here}.delimiter", parts["delimiter"]),
        skip_lines=None if parts.get("skip_lines") is None else _count(path, f"{here}.skip_lines", parts["skip_lines"]),
        sheet=None if parts.get("sheet") is None else _text(path, f"{here}.sheet", parts["sheet"]),
        drop_incomplete=_flag(path, f"{here}.drop_incomplete", parts.get("drop_incomplete", False)),
        rows=_rows(path, f"{here}.rows", parts.get("rows") or {}),
        leave_out=parse_rows(f"{path}: {here}.leave_out", parts.get("leave_out") or {}),
        currency=parse_rule(f"{path}: {here}.currency", parts.get("currency")),
    )


def _rows(path: Path, where: str, value: Any) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for column, pairs in _mapping(path, where, value, None).items():
        out[column] = {
            k: _text(path, f"{where}.{column}.{k}", v) for k, v in _mapping(path, f"{where}.{column}", pairs, None).items()
        }
        for k, v in out[column].items():
            if v not in ("keep", "drop", OPEN):
                raise UserError(f"{path}: {where}.{column}.{k} is '{v}'; give keep or drop")
    return out


def _columns(path: Path, where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and value:
        return tuple(_text(path, where, v) for v in value)
    return (_text(path, where, value),)


def _encoding(path: Path, where: str, value: Any) -> str:
    text = _text(path, where, value)
    return text if text == OPEN else text_encoding(text, f"{path}: {where}")


def _separator(path: Path, where: str, value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UserError(f"{path}: {where} is {value!r}; give one of {', '.join(repr(a) for a in allowed if a != OPEN)}")
    return str(value)


def _spending(path: Path, table: str, value: Any) -> str:
    where = f"{path}: tables.{table}.spending"
    if value not in ("positive", "negative", OPEN):
        raise UserError(
            f"{where} is {shown(value)}; give positive or negative{did_you_mean(str(value), ('positive', 'negative'))}"
        )
    if table != "transactions" and value != "positive":
        raise UserError(f"{where}: only transactions have money spent and refunds; remove it")
    return str(value)


def _delimiter(path: Path, where: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1:
        raise UserError(f"{path}: {where} is {value!r}; give one character in quotes, for example ';' or \"\\t\"")
    return value


def _count(path: Path, where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"{path}: {where} is {value!r}; give how many lines stand above the header, 0 or more")
    return value


def _flag(path: Path, where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{path}: {where} is {value!r}; give true or false")
    return value


def _iso(path: Path, value: Any) -> str:
    try:
        return (value if isinstance(value, date) else date.fromisoformat(str(value))).isoformat()[:10]
    except ValueError as e:
        raise UserError(f"{path}: cut-off {value!r} is no date; write it as 2024-07-01") from e
