"""`validate`: every fault of every event table at once, with how many rows, an example, and what a build does about it.

An `error` stops a build; a `warning` says how the rows are handled. A table that is not Parquet or is cut short is one fault
and does not hide those of the others. Nothing is changed on disk. docs/bad-input.md lists the kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from ple_model.data.checking.fault import Fault, ValidationReport, first_line
from ple_model.data.checking.folder import (
    against_manifest,
    mixed_zones,
    read_manifest,
    stray_files,
    unknown_customers,
    unknown_merchants,
)
from ple_model.data.checking.labels import check_labels
from ple_model.data.checking.table import TableCheck
from ple_model.data.checking.time import check_time
from ple_model.data.events.connect import open_connection
from ple_model.data.events.spec import EXTRA_TABLES, TABLES
from ple_model.errors import UserError
from ple_model.safe_paths import check_tree

__all__ = ["Fault", "ValidationReport", "validate"]


def validate(path: Path, progress: Callable[[int, int], None] | None = None) -> ValidationReport:
    """Check all tables of an events folder; `UserError` only where `path` is no folder at all."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"'{path}' is not a folder of event tables")
    check_tree(path)
    faults: list[Fault] = []
    manifest = read_manifest(path, faults)
    stray_files(path, faults)
    con = open_connection()
    checks = [TableCheck(con, path, spec, faults) for spec in (*TABLES.values(), *EXTRA_TABLES.values())]
    readable: dict[str, TableCheck] = {}
    try:
        for k, check in enumerate(checks):
            try:
                if check.open():
                    check.check()
                    readable[check.spec.name] = check
            except duckdb.Error as e:
                check.add(None, "unreadable", "error", 0, None, f"it cannot be read: {first_line(e)}")
            if progress is not None:
                progress(k + 1, len(checks))
        if "labels" in readable:
            check_labels(readable["labels"], manifest)
        check_time(readable, manifest, faults)
        mixed_zones(readable, faults)
        unknown_customers(con, readable, faults)
        unknown_merchants(con, readable, faults)
    finally:
        con.close()
    rows = {name: check.rows for name, check in readable.items()}
    against_manifest(path, manifest, rows, faults)
    faults.sort(key=lambda f: (f.severity != "error",))
    return ValidationReport(str(path), rows, tuple(faults))
