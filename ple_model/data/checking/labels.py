"""A user's own label table: its task columns hold labels that the tasks can have, at cut-offs that a build will look at."""

from __future__ import annotations

from ple_model.data.checking.fault import NOTHING_BUILT
from ple_model.data.checking.table import NUMBER_TYPES, TEXT_TYPES, TableCheck
from ple_model.data.dataset.columns import is_class_task, is_wide_task
from ple_model.data.events.manifest import EventsManifest
from ple_model.data.events.sql import is_blank, scan
from ple_model.errors import did_you_mean
from ple_model.sql_text import quote, sql_list
from ple_model.tasks import TASKS, TaskSpec

PROXY = "_proxy"
"""Ending of columns that a source keeps beside its labels."""


def classes_of(task: str) -> int:
    """How many classes a binary or multiclass task has; 0 for the others."""
    spec = TASKS[task]
    return 2 if spec.kind == "binary" else spec.out_dim if spec.kind == "multiclass" else 0


def check_labels(table: TableCheck, manifest: EventsManifest | None) -> None:
    """Add the faults of the columns beside `customer_id` and `cutoff`, and of cut-offs that the source does not name."""
    tasks = TASKS
    found = False
    for name, stored in table.types.items():
        if name in ("customer_id", "cutoff") or name.endswith(PROXY):
            continue
        if name in tasks:
            found = True
            _column(table, tasks[name], stored)
        elif (hint := did_you_mean(name, tasks)).startswith("; did you mean"):
            table.add(name, "unknown_task", "error", 0, None, f"the column is no task{hint}")
        else:
            table.add(name, "unknown_task", "warning", 0, None, "the column is no task", "It is left out.")
    if not found:
        table.add(None, "unknown_task", "warning", 0, None, "no column is a task", "No label is taken from it.")
    cutoffs = manifest.defaults.cutoffs if manifest is not None else ()
    if cutoffs and any(c.name == "cutoff" for c in table.kept):
        _cutoffs(table, cutoffs)


def _cutoffs(table: TableCheck, cutoffs: tuple[str, ...]) -> None:
    """Labels for more dates than a build asks for are no fault; a date without any label, beside labels of others, may be."""
    dates = ", ".join(f"DATE {c!r}" for c in cutoffs)
    found = table.con.execute(
        f"SELECT count(DISTINCT cutoff) FILTER (cutoff IN ({dates})), count(*) FILTER (cutoff NOT IN ({dates})),"
        f" (min(cutoff) FILTER (cutoff NOT IN ({dates})))::VARCHAR FROM {table.view}"
    ).fetchall()[0]
    labelled, rows, example = int(found[0]), int(found[1]), found[2]
    if labelled < len(cutoffs) and rows:
        message = f"cut-offs that events.json does not name ({', '.join(cutoffs)}), of which {labelled} have labels"
        table.add("cutoff", "other_cutoff", "warning", rows, example, message, "They are used at builds for these dates only.")


def _column(table: TableCheck, spec: TaskSpec, stored: str) -> None:
    plain = "ENUM" if stored.startswith("ENUM") else stored.split("(")[0]
    name = quote(spec.name)
    text = plain in TEXT_TYPES
    if stored == '"NULL"':
        return
    if is_wide_task(spec.name):
        if not stored.endswith("]") or stored[: stored.index("[")].split("(")[0] not in NUMBER_TYPES:
            message = f"type {stored}, expected lists of {spec.out_dim} numbers"
            table.add(spec.name, "wrong_type", "error", table.rows, _example(table, name, f"{name} IS NOT NULL"), message)
        else:
            _count(table, spec.name, f"len({name}) != {spec.out_dim}", "wrong_length", f"not a list of {spec.out_dim} numbers")
        return
    if spec.kind == "contrastive":
        if not text:
            message = f"type {stored}, expected brand names"
            table.add(spec.name, "wrong_type", "error", table.rows, _example(table, name, f"{name} IS NOT NULL"), message)
        return
    if not text and plain not in (*NUMBER_TYPES, "BOOLEAN"):
        message = f"type {stored}, expected numbers"
        table.add(spec.name, "wrong_type", "error", table.rows, _example(table, name, f"{name} IS NOT NULL"), message)
        return
    if text and spec.kind == "multiclass" and spec.classes:
        bad = f"NOT {is_blank(f'{name}::VARCHAR')} AND {name}::VARCHAR NOT IN ({sql_list(spec.classes)})"
        _count(table, spec.name, bad, "wrong_class", f"no class of task '{spec.name}'", spec.classes)
        return
    value = f"TRY_CAST({name} AS DOUBLE)"
    if text:
        bad = f"{name} IS NOT NULL AND NOT {is_blank(f'{name}::VARCHAR')} AND {value} IS NULL"
        _count(table, spec.name, bad, "wrong_type", "text that is no number")
    if is_class_task(spec.name):
        top = classes_of(spec.name) - 1
        bad = f"NOT isnan({value}) AND ({value} < -1 OR {value} > {top} OR {value} != trunc({value}))"
        _count(table, spec.name, bad, "wrong_class", f"no class of task '{spec.name}', which has 0 to {top} (-1: missing)")
    else:
        _count(table, spec.name, f"isinf({value})", "not_finite", "not a finite number")


def _count(table: TableCheck, column: str, where: str, kind: str, message: str, options: tuple[str, ...] = ()) -> None:
    if rows := table.count(where, scan(table.files)):
        example = _example(table, quote(column), where)
        hint = did_you_mean(str(example), options) if options else ""
        table.add(column, kind, "error", rows, example, message + hint, NOTHING_BUILT)


def _example(table: TableCheck, name: str, where: str) -> object:
    found = table.con.execute(f"SELECT {name}::VARCHAR FROM {scan(table.files)} WHERE {where} LIMIT 1").fetchall()
    return found[0][0] if found else None
