"""`ple import tables SOURCE OUT [--map FILE]`: a user's own Parquet or CSV files as event tables.

Without a map, `<table>.parquet` or `<table>.csv` with the columns of `events.TABLES` are taken as they are; a map
(`source_map.py`) says where other names go. Transactions alone are enough: without a customers table, the customers are
the different `customer_id` of the other tables. `customers` and `labels` keep the source's other columns as static columns or
task columns. Text that is no number or date where one is needed is an error that names every such column at once, and rows
are left out only where the map says so; what was done is noted in `events.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from ple_model.data.events.connect import open_connection
from ple_model.data.events.manifest import Defaults, EventsManifest, TableEntry
from ple_model.data.events.spec import TABLES, ColumnSpec, TableSpec
from ple_model.data.events.sql import has_zone, moment_sql, read_expression
from ple_model.data.importers.currency_rule import MONEY, apply_rule, currency_of
from ple_model.data.importers.numbers import number_sql
from ple_model.data.importers.read_dates import date_readings
from ple_model.data.importers.read_numbers import NumberReading, number_reading
from ple_model.data.importers.row_rules import lost_digits, mixed_currencies, picked
from ple_model.data.importers.scan_source import scan_source
from ple_model.data.importers.source_files import find_files, folder_of, is_pattern
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, SourceMap, TableMap
from ple_model.errors import UserError, did_you_mean
from ple_model.money import UNKNOWN, money
from ple_model.sql_paths import to_read, to_write
from ple_model.sql_text import literal, quote
from ple_model.staging import staged_folder
from ple_model.tasks import TASKS

FRACTIONS = ("FLOAT", "DOUBLE", "DECIMAL")
SUFFIXES = (".parquet", ".csv", ".csv.gz", ".xlsx", ".xls", ".ods")
HINT = "`ple import map FILE map.yaml` writes a map for files with other names or columns"


@dataclass(frozen=True)
class Reading:
    """How one column of ours is read: SQL of the source's value, and of what it becomes (NULL where it cannot)."""

    originals: tuple[str, ...]
    value: str
    converted: str
    kind: str
    """Our type; the source's where the column is its own."""


@dataclass(frozen=True)
class Select:
    """SQL of one table in our columns and types."""

    sql: str
    missing: tuple[str, ...] = ()
    """Our columns that the source lacks."""
    dropped: int = 0
    """Rows left out because a value is missing that every row needs."""
    notes: tuple[str, ...] = ()
    """What the map's `rows` and `currency` did."""
    currency: str = ""
    """Code of the amounts; empty where nothing names one."""
    scan: str = ""
    """SQL of the rows that count, as the source has them."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By column of ours."""


def import_tables(
    source: Path, out: Path, mapping: SourceMap | None = None, progress: Callable[[int, int], None] | None = None
) -> EventsManifest:
    """Write the event tables found in `source` to `out` (new or empty); the manifest. Run `validate` on the result."""
    mapping, out = mapping or SourceMap(), Path(out)
    source, alone = _given(Path(source), mapping)
    if asked := mapping.open_places():
        raise UserError(f'the map still has questions to answer, marked "{OPEN}": {"; ".join(asked)}')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    files = _files(source, alone, mapping)
    with staged_folder(out) as fresh, closing(open_connection()) as con:
        selects, code = _selects(con, files, mapping, alone or source, fresh)
        written = _write(con, selects, files, fresh, progress)
        if "customers" not in written.rows:
            _name_customers(con, written, fresh)
        written.notes.append(_totals(con, fresh / "transactions.parquet", code))
        for raw in fresh.glob("*.raw"):
            raw.unlink()
        manifest = EventsManifest(
            source="tables",
            name=mapping.name,
            tables={t: TableEntry(written.rows[t]) for t in IMPORTABLE if t in written.rows},
            defaults=_defaults(mapping, written.notes),
            absent_columns=written.absent,
            absent_tables=tuple(t for t in TABLES if t not in written.rows),
            currency=code,
        )
        manifest.save(fresh)
    return manifest


def _given(source: Path, mapping: SourceMap) -> tuple[Path, Path | None]:
    """(the folder of the tables, the transactions where they alone were given: a file, a pattern or a folder of one layout)."""
    if source.is_dir() and not _is_table(source, mapping):
        return source, None
    find_files(source)
    return folder_of(source), source


def _selects(
    con: duckdb.DuckDBPyConnection, files: Mapping[str, Path], mapping: SourceMap, given: Path, scratch: Path
) -> tuple[dict[str, Select], str]:
    """(SQL of each table, the currency of all); `UserError` names everything that is wrong with them at once."""
    problems: list[str] = []
    selects = {
        name: _select(con, name, place, mapping.tables.get(name, TableMap()), scratch, problems)
        for name, place in files.items()
    }
    code = _one_currency(selects, mapping, problems)
    if problems:
        hint = f"; {HINT}" if any(" has no column for " in p for p in problems) else ""
        raise UserError(f"'{given}' cannot be imported: {'; '.join(problems)}{hint}")
    return selects, code


@dataclass(frozen=True)
class _TablesWritten:
    """What stands in the new folder."""

    rows: dict[str, int] = field(default_factory=dict)
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that a table's source lacks."""
    notes: list[str] = field(default_factory=list)


def _write(
    con: duckdb.DuckDBPyConnection, selects: Mapping[str, Select], files: Mapping[str, Path], out: Path,
    progress: Callable[[int, int], None] | None,
) -> _TablesWritten:  # fmt: skip
    done = _TablesWritten()
    for k, (name, select) in enumerate(selects.items()):
        try:
            # by customer, so that a build reads of many customers only those of its chunk; by all, so that it is one order
            done.rows[name] = _copy(con, f"FROM ({select.sql}) ORDER BY ALL", out / f"{name}.parquet")
        except duckdb.Error as e:
            raise UserError(f"{files[name]} cannot be read: {str(e).splitlines()[0]}") from e
        if select.missing:
            done.absent[name] = select.missing
        if select.dropped:
            keys = " or ".join(c.name for c in IMPORTABLE[name].columns if c.key)
            done.notes.append(f"{name}: {select.dropped:,} rows without {keys} were left out, as the map says")
        done.notes.extend(f"{name}: {note}" for note in select.notes)
        if progress is not None:
            progress(k + 1, len(selects))
    return done


def _name_customers(con: duckdb.DuckDBPyConnection, done: _TablesWritten, out: Path) -> None:
    """A source without customers has those of its other tables."""
    tables = (t for t in done.rows if t in TABLES and t != "merchants")
    known = " UNION ".join(f"SELECT customer_id FROM read_parquet({to_read(out / f'{t}.parquet')})" for t in tables)
    n = _copy(con, f"SELECT DISTINCT customer_id FROM ({known}) ORDER BY 1", out / "customers.parquet")
    done.rows["customers"] = n
    done.absent["customers"] = tuple(c.name for c in TABLES["customers"].columns if c.name != "customer_id")
    done.notes.append(f"no customers table: the customers are the {n:,} different customer_id of the others")


def _totals(con: duckdb.DuckDBPyConnection, path: Path, code: str) -> str:
    """What a person can hold against the books: purchases, refunds, net spend, first and last day."""
    names = {str(r[0]) for r in con.execute(f"DESCRIBE SELECT * FROM read_parquet({to_read(path)})").fetchall()}
    card = "coalesce(kind, 'card') = 'card'" if "kind" in names else "true"
    bought, returned, spent, back, first, last = con.execute(
        "SELECT count(*) FILTER (amount > 0), count(*) FILTER (amount < 0), coalesce(sum(amount) FILTER (amount > 0), 0),"
        " coalesce(-sum(amount) FILTER (amount < 0), 0), min(ts)::DATE, max(ts)::DATE"
        f" FROM read_parquet({to_read(path)}) WHERE {card}"
    ).fetchall()[0]
    net, refunds = (money(v, code or UNKNOWN) for v in (spent - back, back))
    return (
        f"transactions: net card spend {net} ({bought:,} purchases, {returned:,} refunds of {refunds}), {first} to {last}:"
        " hold it against your own sums"
    )


def _one_currency(selects: Mapping[str, Select], mapping: SourceMap, problems: list[str]) -> str:
    """The currency of the whole source; tables of different ones are a problem."""
    named = {name: select.currency for name, select in selects.items() if select.currency}
    if mapping.currency:
        named = {"the map": mapping.currency, **named}
    if len(set(named.values())) > 1:
        said = ", ".join(f"{name} {code}" for name, code in named.items())
        problems.append(f"amounts are in different currencies ({said}); convert them by 'currency' of each table of the map")
    return next(iter(named.values()), "")


def _defaults(mapping: SourceMap, notes: list[str]) -> Defaults:
    """A horizon only where the map says one: what a source covers is otherwise read from its last event."""
    plain = Defaults(cutoffs=mapping.cutoffs, notes=tuple(notes))
    return plain if mapping.horizon_days is None else replace(plain, horizon_days=mapping.horizon_days)


def _copy(con: duckdb.DuckDBPyConnection, sql: str, path: Path) -> int:
    con.execute(f"COPY ({sql}) TO {to_write(path)} (FORMAT parquet, COMPRESSION zstd)")
    return int(con.execute(f"SELECT count(*) FROM read_parquet({to_read(path)})").fetchall()[0][0])


def _is_table(folder: Path, mapping: SourceMap) -> bool:
    """Whether a folder is the transactions themselves, in many files of one layout, as the map says of its name."""
    table = mapping.tables.get("transactions")
    return table is not None and table.file == folder.resolve().name and not (folder / table.file).exists()


def _files(source: Path, alone: Path | None, mapping: SourceMap) -> dict[str, Path]:
    """The file, folder or pattern of each table that is there; one that is given by itself is the transactions, whatever
    the map names, and only tables of the map are looked for beside it."""
    if alone is not None:
        other = next((n for n, t in mapping.tables.items() if t.file == alone.name and n != "transactions"), None)
        if other is not None:
            raise UserError(f"'{alone}' is the file of table '{other}' in the map; give the folder '{source}' instead")
    files = {} if alone is None else {"transactions": alone}
    for name in IMPORTABLE:
        wanted = name not in files and (alone is None or name in mapping.tables)
        if wanted and (file := _file(source, name, mapping.tables.get(name))) is not None:
            files[name] = file
    if "transactions" not in files:
        found = sorted(p.name for p in source.iterdir())
        near = did_you_mean("transactions.parquet", found)
        raise UserError(
            f"'{source}' has no transactions.parquet or transactions.csv{near}; {HINT}"
            " (of a folder whose files are one table too: `ple import map FOLDER map.yaml`)"
        )
    return files


def _file(source: Path, name: str, table: TableMap | None) -> Path | None:
    if table is not None and table.file is not None:
        path = source / table.file
        if not path.exists() and not is_pattern(table.file):
            found = sorted(p.name for p in source.iterdir())
            raise UserError(f"'{path}', the file of table '{name}', does not exist{did_you_mean(table.file, found)}")
        return path
    for suffix in SUFFIXES:
        if (source / f"{name}{suffix}").is_file():
            return source / f"{name}{suffix}"
    return None


def _one_line(text: str) -> str:
    """SQL; nearly every value is in one line already, and a search for single characters costs a tenth of the pattern."""
    broken = " OR ".join(f"contains({text}, chr({code}))" for code in (9, 10, 13))
    joined = rf"regexp_replace({text}, '\s*[\r\n\t]\s*', ' ', 'g')"
    return f"nullif(trim(CASE WHEN {broken} THEN {joined} ELSE {text} END), '')"


def source_sql(found: Mapping[str, str], originals: tuple[str, ...]) -> str:
    """SQL of the source's columns: as they are, text in one line with NULL for nothing, or several joined with a space."""
    parts = [_one_line(quote(o)) if found[o] == "VARCHAR" else quote(o) for o in originals]
    return parts[0] if len(parts) == 1 else f"nullif(concat_ws(' ', {', '.join(parts)}), '')"


def _replaced(expression: str, values: Mapping[str, str | None]) -> str:
    text = f"CAST({expression} AS VARCHAR)"
    whens = " ".join(f"WHEN {literal(k)} THEN {'NULL' if v is None else literal(v)}" for k, v in values.items())
    return f"CASE {text} {whens} ELSE {text} END" if whens else text


def converted_sql(expression: str, text: bool, column: str, kind: str, table: TableMap) -> str:
    """SQL of the value in our type, NULL where it cannot be converted."""
    if kind in ("DATE", "TIMESTAMP"):
        return _possible(_moment(expression, text, column, kind, table))
    if text and kind in ("DOUBLE", "INTEGER") and (table.thousands or table.decimal != "."):
        return f"TRY_CAST({number_sql(expression, table.thousands, table.decimal)} AS {kind})"
    return f"TRY_CAST({expression} AS {kind})"


def _moment(expression: str, text: bool, column: str, kind: str, table: TableMap) -> str:
    if text and column in table.formats:
        return f"CAST(try_strptime({expression}, {literal(table.formats[column])}) AS {kind})"
    return moment_sql(expression) if text and kind == "TIMESTAMP" else f"TRY_CAST({expression} AS {kind})"


def _possible(moment: str) -> str:
    """Nobody's record is of the first thousand years: 05/10/23 read with a year of four digits is."""
    return f"(CASE WHEN year({moment}) >= 1000 THEN {moment} END)"


def _select(
    con: duckdb.DuckDBPyConnection, name: str, place: Path, table: TableMap, scratch: Path, problems: list[str]
) -> Select:
    """SQL of one table; what is wrong goes to `problems`."""
    file = place.name
    try:
        scan = scan_source(con, find_files(place), table, scratch)
        found = {str(r[0]): str(r[1]) for r in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    except duckdb.Error as e:
        problems.append(f"{file} cannot be read: {str(e).splitlines()[0][:160]}")
        return Select("")
    return select_from(con, name, file, scan, found, table, problems)


def select_from(
    con: duckdb.DuckDBPyConnection, name: str, file: str, scan: str, found: Mapping[str, str], table: TableMap,
    problems: list[str],
) -> Select:  # fmt: skip
    """The same of a relation with the columns `found`, which may have further ones that nobody asks for."""
    spec = IMPORTABLE[name]
    scan, notes = picked(con, scan, found, table.rows, f"{file}: tables.{name}.rows", problems)
    where = f"tables.{name}.currency"
    scan, factor, more = apply_rule(con, scan, found, table.currency, file, where, problems)
    notes += more
    if name == "transactions":
        problems += mixed_currencies(con, scan, found, table, file)
    amounts = tuple(o for c in MONEY & {s.name for s in spec.columns} for o in table.columns.get(c, (c,)))
    currency = currency_of(con, scan, found, table.currency, amounts, file, where, problems) if amounts else ""
    types = {c.name: c.sql_type for c in spec.columns}
    names = [*types, *(c for c in (*table.columns, *table.constants) if c not in types)]
    expressions: dict[str, str] = {}
    missing: list[str] = []
    used: set[str] = set()
    texts: set[str] = set()
    for column in names:
        originals = table.columns.get(column, (column,))
        unknown = next((o for o in originals if o not in found), None)
        if column in table.constants:
            expressions[column] = literal(table.constants[column])
        elif unknown is None:
            used.update(originals)
            expression = source_sql(found, originals)
            if types.get(column) == "VARCHAR" and len(originals) == 1 and found[originals[0]].split("(")[0] in FRACTIONS:
                expression = read_expression(ColumnSpec(originals[0], "VARCHAR", key=True), found[originals[0]])
            expressions[column] = _replaced(expression, table.values[column]) if column in table.values else expression
            if len(originals) > 1 or found[originals[0]] == "VARCHAR":
                texts.add(column)
        elif column in table.columns:
            problems.append(f"{file} has no column '{unknown}' for {name}.{column}{did_you_mean(unknown, found)}")
        else:
            missing.append(column)
            if column in types and spec.column(column).required:
                problems.append(f"{file} has no column for {name}.{column}{did_you_mean(column, found)}")
    where, dropped = _complete(con, spec, scan, found, file, expressions, table.drop_incomplete, problems)
    kept = scan if where == "true" else f"(SELECT * FROM {scan} WHERE {where})"
    wanted: list[str] = []
    readings: dict[str, Reading] = {}
    for column, expression in expressions.items():
        kind, value = types.get(column), expression
        if kind is not None:
            converted = converted_sql(expression, column in texts, column, kind, table)
            _check(con, kept, expression, converted, kind, f"{file}: {name}.{column}", problems)
            if kind == "VARCHAR" and spec.column(column).key:
                problems += lost_digits(con, kept, expression, f"{file}: {name}.{column}")
            expression = f"{converted} * {factor}" if factor and column in MONEY else converted
            if column == "amount" and table.spending == "negative":
                expression = f"CASE WHEN {_is_card(expressions)} THEN -({expression}) ELSE {expression} END"
        wanted.append(f"{expression} AS {quote(column)}")
        originals = () if column in table.constants else table.columns.get(column, (column,))
        readings[column] = Reading(originals, value, expression, kind or "as it is")
    if spec.free_columns:
        wanted += [_free(con, spec, kept, c, found[c]) for c in found if c not in used and c not in names]
    return Select(f"SELECT {', '.join(wanted)} FROM {kept}", tuple(missing), dropped, tuple(notes), currency, scan, readings)


def _is_card(expressions: Mapping[str, str]) -> str:
    """SQL: is a row spending by card? A row without a kind is."""
    return f"coalesce({expressions['kind']}, 'card') = 'card'" if "kind" in expressions else "true"


def _free(con: duckdb.DuckDBPyConnection, spec: TableSpec, scan: str, column: str, found: str) -> str:
    """SQL of a column of the source's own. Text of a label that is a number in every row is that number."""
    name = quote(column)
    if spec.name != "labels" or found != "VARCHAR" or column not in TASKS or TASKS[column].kind == "contrastive":
        return name
    value = f"nullif(trim({name}), '')"
    other = con.execute(f"SELECT count(*) FROM {scan} WHERE {value} IS NOT NULL AND TRY_CAST({value} AS DOUBLE) IS NULL")
    return f"{value} AS {name}" if other.fetchall()[0][0] else f"TRY_CAST({value} AS DOUBLE) AS {name}"


def _complete(
    con: duckdb.DuckDBPyConnection, spec: TableSpec, scan: str, found: Mapping[str, str], file: str,
    expressions: Mapping[str, str], drop: bool, problems: list[str],
) -> tuple[str, int]:  # fmt: skip
    """The condition of the rows to keep, and how many rows it leaves out: those without a value every row needs."""
    keys = [c.name for c in spec.columns if c.key and c.name in expressions]
    where = " AND ".join(f"{expressions[k]} IS NOT NULL" for k in keys) or "true"
    try:
        lacking = int(con.execute(f"SELECT count(*) FROM {scan} WHERE NOT ({where})").fetchall()[0][0])
    except duckdb.Error as e:
        problems.append(f"{file} cannot be read: {str(e).splitlines()[0][:160]}")
        return "true", 0
    if lacking and not drop:
        problems.append(
            f"{file} has {lacking:,} rows without {' or '.join(keys)}, for example {_example(con, scan, found, where)}; "
            f"'drop_incomplete: true' under tables.{spec.name} of the map leaves them out"
        )
    return (where, lacking) if lacking else ("true", 0)


def _example(con: duckdb.DuckDBPyConnection, scan: str, found: Mapping[str, str], where: str) -> str:
    row = con.execute(f"SELECT {', '.join(map(quote, found))} FROM {scan} WHERE NOT ({where}) LIMIT 1").fetchall()[0]
    return repr(",".join("" if v is None else str(v) for v in row)[:60])


def _zones(con: duckdb.DuckDBPyConnection, scan: str, text: str, where: str, problems: list[str]) -> None:
    """Moments with a time zone become UTC; beside them, those without could be anything."""
    try:
        zoned, plain, example = con.execute(
            f"SELECT count(*) FILTER ({has_zone(text)}), count(*) FILTER (NOT {has_zone(text)}),"
            f" min({text}) FILTER (NOT {has_zone(text)}) FROM {scan}"
        ).fetchall()[0]
    except duckdb.Error:
        return  # what cannot be read at all is said by the caller
    if zoned and plain:
        problems.append(f"{where} has {plain:,} moments without a time zone beside {zoned:,} with one, for example {example!r}")


def _number_keys(reading: NumberReading | None) -> str:
    """The keys of the map that read most of the values."""
    if reading is None or 2 * reading.read <= reading.total:
        return "for example thousands: ',' or decimal: ','"
    ways = [reading, *([reading.rival] if reading.rival is not None else [])]
    said = [
        " and ".join(
            [f"thousands: '{w.thousands}'"] * bool(w.thousands) + [f"decimal: '{w.decimal}'"] * (w.decimal != ".")
        ) or "without thousands and decimal"
        for w in ways
    ]  # fmt: skip
    return " or ".join(f"as {s}" for s in said)


def _check(
    con: duckdb.DuckDBPyConnection, scan: str, expression: str, converted: str, kind: str, where: str, problems: list[str]
) -> None:
    """Values that cannot become `kind` are counted with an example: they would silently be lost."""
    if kind == "VARCHAR":
        return
    lost = f"{converted} IS NULL"
    if kind == "INTEGER":  # a cast would round
        lost += f" OR TRY_CAST({expression} AS DOUBLE) <> {converted}"
    if kind == "TIMESTAMP":
        _zones(con, scan, f"CAST({expression} AS VARCHAR)", where, problems)
    bad = f"{expression} IS NOT NULL AND ({lost})"
    try:
        found = con.execute(f"SELECT count(*), min(CAST({expression} AS VARCHAR)) FROM {scan} WHERE {bad}").fetchall()[0]
    except duckdb.Error as e:
        problems.append(f"{where} cannot be read as {kind}: {str(e).splitlines()[0][:120]}")
        return
    count, example = int(found[0]), str(found[1])
    if count:
        column = where.rsplit(".", 1)[1]
        hint = ""
        values = f"(SELECT v FROM (SELECT DISTINCT CAST({expression} AS VARCHAR) AS v FROM {scan}) WHERE v IS NOT NULL)"
        if kind in ("DATE", "TIMESTAMP"):
            ways = [r.format for r in date_readings(con, values) if r.format and 2 * r.read > r.total]
            shown = " or ".join(f"formats: {{{column}: '{way}'}}" for way in ways[:2]) or f"formats: {{{column}: '%d.%m.%Y'}}"
            hint = f" (how dates are written goes into the map, {'as' if ways else 'for example'} {shown})"
        elif any(mark in example for mark in ",. ") or not example.isascii():
            hint = f" (how numbers are written goes into the map, {_number_keys(number_reading(con, values))})"
        problems.append(f"{where} has {count:,} values that are no {kind}, for example {example[:40]!r}{hint}")
