"""Checks between tables and around them: stray files, events.json, ids of one table that another does not have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from ple_model.data.checking.fault import NOTHING_BUILT, Fault, Severity, show
from ple_model.data.checking.table import TableCheck
from ple_model.data.events.connect import table_files
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.events.spec import EXTRA_TABLES, TABLES
from ple_model.errors import UserError, did_you_mean
from ple_model.safe_paths import is_file

TABLE_SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".json", ".jsonl", ".xlsx", ".feather", ".arrow")
LEFT_OUT = "Their rows are left out."


def read_manifest(path: Path, faults: list[Fault]) -> EventsManifest | None:
    if not is_file(path / "events.json"):
        message, handling = "events.json is missing", "The tables are read; cut-offs must be given by hand."
        faults.append(Fault("events.json", None, "missing_manifest", "warning", 0, "", message, handling))
        return None
    try:
        return EventsManifest.load(path)
    except UserError as e:
        faults.append(Fault("events.json", None, "damaged_manifest", "error", 0, "", str(e), NOTHING_BUILT))
        return None


def stray_files(path: Path, faults: list[Fault]) -> None:
    """Files that look like tables and are read by nobody: a feed that is spelt wrong would be missing without a word."""
    known = (*TABLES, *EXTRA_TABLES)
    for entry in sorted(path.iterdir()):
        suffix = next((s for s in TABLE_SUFFIXES if entry.name.lower().endswith(s)), None)
        if entry.name == "events.json" or entry.name.startswith(".") or suffix is None:
            continue
        stem = entry.name[: -len(suffix)]
        if entry.name == f"{stem}.parquet" and stem in known:
            continue
        hint = did_you_mean(stem.lower(), known)
        meant = stem.lower() if stem.lower() in known else hint.split("'")[1] if "did you mean" in hint else None
        if meant is None:
            message = f"'{entry.name}' is no event table{hint}"
            faults.append(Fault(entry.name, None, "unknown_table", "warning", 0, "", message, "It is left out."))
        elif table_files(path, meant):
            message = f"'{entry.name}' is no event table, '{meant}' is there"
            faults.append(Fault(entry.name, None, "unknown_table", "warning", 0, "", message, "It is left out."))
        elif suffix == ".parquet":
            message = f"'{entry.name}' is no event table; did you mean '{meant}.parquet'?"
            faults.append(Fault(entry.name, None, "unknown_table", "error", 0, "", message, NOTHING_BUILT))
        else:
            message = f"'{entry.name}' is not '{meant}.parquet'; `ple import tables` turns it into that"
            faults.append(Fault(entry.name, None, "unknown_table", "error", 0, "", message, NOTHING_BUILT))


def mixed_zones(tables: Mapping[str, TableCheck], faults: list[Fault]) -> None:
    """Where some tables have time zones, those without are taken for UTC: the report names them beside the zone."""
    zoned = {f.table for f in faults if f.kind == "time_zone"}
    plain = [f"{n}.{c.name}" for n, t in tables.items() if n not in zoned for c in t.kept if c.sql_type == "TIMESTAMP"]
    if plain:
        for k, fault in enumerate(faults):
            if fault.kind == "time_zone":
                taken = f"{fault.handling} What has none ({', '.join(plain)}) is taken for UTC."
                faults[k] = replace(fault, handling=taken)


def _columns(table: TableCheck) -> set[str]:
    return {c.name for c in table.kept}


def _missing_keys(
    con: duckdb.DuckDBPyConnection, tables: Mapping[str, TableCheck], key: str, owner: str, names: Iterable[str],
    faults: list[Fault], kind: str, what: str, handling: str,
) -> None:  # fmt: skip
    """Ids that the owner of the key does not have. Where they only seem to be others (blanks, zeros), the two spellings are
    shown; where not one row of a table is known for that reason, it is an error."""
    if owner not in tables or key not in _columns(tables[owner]) or tables[owner].rows == 0:
        return
    for name in names:
        if name == owner or name not in tables or key not in _columns(tables[name]):
            continue
        table = tables[name]
        anti = f"FROM {table.view} t ANTI JOIN {tables[owner].view} o USING ({key}) WHERE t.{key} IS NOT NULL"
        count, example = con.execute(f"SELECT count(*), min(t.{key}) {anti}").fetchall()[0]
        if not count:
            continue
        lost = f"SELECT t.{key} AS mine, {_bare(f't.{key}')} AS bare {anti}"
        owned = f"SELECT {_bare(key)} AS bare, min({key}) AS theirs FROM {tables[owner].view} GROUP BY 1"
        alike, mine, theirs = con.execute(
            f"SELECT count(*), arg_min(mine, mine), arg_min(theirs, mine) FROM ({lost}) JOIN ({owned}) USING (bare)"
        ).fetchall()[0]
        message, severity, then = what, "warning", handling
        if alike:
            message += f"; {alike:,} of the rows are known under another spelling ({show(mine)} here, {show(theirs)} there)"
        everything = int(count) == int(table.count(f"{key} IS NOT NULL"))
        if everything and (alike == count or (name == "transactions" and owner == "customers")):
            message, severity, then = f"no row is known: {message}", "error", NOTHING_BUILT
        faults.append(Fault(name, key, kind, _severity(severity), int(count), show(example), message, then))


def _severity(name: str) -> Severity:
    return "error" if name == "error" else "warning"


def _bare(key: str) -> str:
    """SQL of an id without what spellings differ in: blanks, capitals, leading zeros, a trailing '.0', composed characters."""
    return f"ltrim(regexp_replace(nfc_normalize(lower(trim({key}))), '[.]0+$', ''), '0')"


def unknown_customers(con: duckdb.DuckDBPyConnection, tables: Mapping[str, TableCheck], faults: list[Fault]) -> None:
    what = "customers that the customers table does not have"
    _missing_keys(con, tables, "customer_id", "customers", tables, faults, "unknown_customer", what, LEFT_OUT)


def unknown_merchants(con: duckdb.DuckDBPyConnection, tables: Mapping[str, TableCheck], faults: list[Fault]) -> None:
    what, handling = "merchants that the merchants table does not have", "What the transaction itself says is used."
    names = ("transactions",)
    _missing_keys(con, tables, "merchant_id", "merchants", names, faults, "unknown_merchant", what, handling)


def against_manifest(path: Path, manifest: EventsManifest | None, rows: Mapping[str, int], faults: list[Fault]) -> None:
    """events.json says how many rows a table had when it was written: fewer means it was cut or changed since."""
    if manifest is None:
        return
    for table, entry in manifest.tables.items():
        if table not in rows:
            if not table_files(path, table):
                message = f"events.json lists {entry.rows:,} rows and the file is not there"
                faults.append(Fault(table, None, "missing_table", "error", 0, "", message, NOTHING_BUILT))
        elif rows[table] != entry.rows:
            message = f"events.json lists {entry.rows:,} rows, the file has {rows[table]:,}"
            faults.append(Fault(table, None, "row_count", "error", 0, "", message, NOTHING_BUILT))
