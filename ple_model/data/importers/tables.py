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
from ple_model.data.events.spec import TABLES
from ple_model.data.importers.select_table import Select, select_table
from ple_model.data.importers.source_files import find_files, folder_of, is_pattern
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, SourceMap, TableMap
from ple_model.errors import UserError, did_you_mean
from ple_model.money import UNKNOWN, money
from ple_model.sql_paths import to_read, to_write
from ple_model.staging import staged_folder

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".xlsx", ".xls", ".ods")
HINT = "`ple import map FILE map.yaml` writes a map for files with other names or columns"


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
        name: select_table(con, name, place, mapping.tables.get(name, TableMap()), scratch, problems)
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
