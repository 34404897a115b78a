"""`ple import map FILE MAP.yaml`: a starter map for a file, with every guess written out for a person to correct.

Columns are guessed by their names (English and Korean), then read as what they would become: how dates and numbers are
written, which category is which, which rows lack what every row needs, and which cut-offs the dates allow. The map holds
every guess and the report repeats it; nothing is guessed later, when the tables are imported.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import duckdb

from ple_model.data.build.spine import suggest_cutoffs
from ple_model.data.events.connect import open_connection
from ple_model.data.events.find_holes import table_span
from ple_model.data.events.spec import ColumnSpec
from ple_model.data.importers.column_profile import AMOUNT, CONSTANT, CURRENCY, STATUS, profile_columns
from ple_model.data.importers.currencies import currency_columns, is_currency, paired_with, shares
from ple_model.data.importers.guess_roles import Roles, clock_of, guess_roles, rivals
from ple_model.data.importers.guess_writing import MAX_VALUES, OpenTable, guess_writing, plain_name
from ple_model.data.importers.header_words import CLAIMED, TIMES, guess_columns
from ple_model.data.importers.map_text import comment, one_line, scalar
from ple_model.data.importers.row_rules import lost_digits, value_counts
from ple_model.data.importers.scan_source import guess_layout, scan_source
from ple_model.data.importers.source_files import find_files, folder_of, passed_over
from ple_model.data.importers.source_map import IMPORTABLE, OPEN, TableMap, load_map, require_table
from ple_model.data.importers.starter_lines import column_lines, file_lines, writing_lines
from ple_model.data.importers.status_words import guess_row
from ple_model.data.importers.text_encoding import text_encoding
from ple_model.data.importers.value_sql import converted_sql, source_sql
from ple_model.data.labels.labels import LabelSettings
from ple_model.errors import UserError
from ple_model.sql_text import quote
from ple_model.staging import staged_file

BY_VALUES = ("ts", "amount", "customer_id", "merchant_id", "mcc_l1")
"""What is found by values alone where no header proposes it."""


@dataclass(frozen=True)
class StarterMap:
    """The written map: where it is, and what was guessed, as lines for a person."""

    path: Path
    table: TableMap
    cutoffs: tuple[str, ...]
    lines: tuple[str, ...]
    open_questions: tuple[str, ...]
    """What has to be filled in before the import can work."""

    def __str__(self) -> str:
        return "\n".join((*self.lines, *(f"  STILL OPEN: {q}" for q in self.open_questions)))


def write_starter(file: Path, out: Path, table: str = "transactions", encoding: str | None = None) -> StarterMap:
    """Write a map for `file` to `out`, or add the table to the map that is there; `UserError` where it already has it. The
    encoding is found where it is not given."""
    file, out = Path(file), Path(out)
    require_table(table)
    encoding = encoding if encoding is None else text_encoding(encoding, "--encoding")
    existing = load_map(out) if out.exists() else None
    if existing is not None and table in existing.tables:
        raise UserError(f"'{out}' already maps the table '{table}'; give a new file, or another --table")
    files = find_files(file)
    folder = folder_of(file)
    name = file.resolve().name if file.exists() else os.path.relpath(file, folder)
    shape, how, question = guess_layout(files, name, encoding)
    con = open_connection()
    with tempfile.TemporaryDirectory(prefix="ple-map-") as scratch:
        try:
            scan = scan_source(con, files, shape, Path(scratch))
            found = {str(r[0]): str(r[1]) for r in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
            _require_header(file, found)
            rows = int(con.execute(f"SELECT count(*) FROM {scan}").fetchall()[0][0])
            if not rows:
                raise UserError(f"'{file}' has a header and no rows")
            source = OpenTable(con, scan, found, rows, profile_columns(con, scan, found))
            source.open_questions += [question] if question else []
            block, guessed, dates = _guess_table(source, table, name, shape, bool(question))
            cutoffs, head = _head(source, guessed, dates, name) if existing is None else ((), "")
        except duckdb.Error as e:
            raise UserError(f"'{file}' cannot be read: {str(e).splitlines()[0][:160]}") from e
        finally:
            con.close()
    before = head if existing is None else out.read_text(encoding="utf-8").rstrip("\n") + "\n"
    _save(out, before + block, table)
    done = "added to" if existing is not None else "written to"
    many = f"{len(files)} files of one layout, " if len(files) > 1 else ""
    first = f"{name}: {many}{rows:,} rows, {len(found)} columns{how}; the map of '{table}' was {done} {out}"
    over = passed_over(file)
    lines = (first, *([f"  not read: {', '.join(over)}"] if over else []), *source.lines)
    return StarterMap(out, guessed, cutoffs, lines, tuple(source.open_questions))


def _require_header(file: Path, found: Mapping[str, str]) -> None:
    """`UserError` where the names of the columns are the values of a first row: a day is no name."""
    day = next((n for n in found if re.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b", n)), None)
    if day is not None:
        raise UserError(
            f"'{file}' has no line of column names: its first row is {one_line(', '.join(list(found)[:5]))!r}; write a name for"
            " each column above it, for example card,date,amount"
        )


def _save(out: Path, text: str, table: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
        if table not in load_map(temporary).tables:
            raise UserError(f"'{out}': 'tables' is not its last key; move it to the end, then the table can be added")


def _guess_table(
    source: OpenTable, table: str, name: str, shape: TableMap, unsure: bool
) -> tuple[str, TableMap, tuple[str, ...]]:
    """The table's block of the map as text, and as what it means; and the columns of dates that cut-offs are told by: where
    several may be the right one and are written alike, the first."""
    spec = IMPORTABLE[table]
    ours = tuple(c.name for c in spec.columns)
    roles, reasons = _roles(source, table)
    columns: dict[str, tuple[str, ...]] = {c: (o,) for c, o in roles.columns.items()}
    if "customer_id" in columns:
        for problem in lost_digits(source.con, source.scan, quote(columns["customer_id"][0]), f"{name}: customer_id"):
            raise UserError(problem)
    likely = {**{c: (names[0],) for c, names in roles.open.items()}, **columns}
    complete = _only_complete(source, likely, [c.name for c in spec.columns if c.key], table)
    if "ts" in columns:
        clock = clock_of(source.profiles, set(roles.columns.values())) or next(
            (n for n in source.found if plain_name(n) in map(plain_name, TIMES) and (n,) not in columns.values()), None
        )
        columns |= {"ts": (*columns["ts"], clock)} if clock is not None else {}
    if table == "transactions":
        columns |= {"brand": columns["merchant_id"]} if "merchant_id" in columns and "brand" not in columns else {}
        columns |= {"mcc_l1": columns["mcc"]} if "mcc" in columns and "mcc_l1" not in columns else {}
        columns |= {"mcc_l2": columns["mcc_l1"]} if {"mcc_l1", "mcc_l2", "mcc"} & set(columns) == {"mcc_l1"} else {}
    found = replace(shape, columns=columns, drop_incomplete=not complete)
    used = {o for originals in columns.values() for o in originals}
    if table == "transactions":
        found = _row_rules(source, found, used)
    remarks: dict[str, str] = {}
    for column in (c for c in spec.columns if c.name in roles.open):
        found = _written_alike(source, found, column, roles.open[column.name])
    for column in (c for c in spec.columns if c.name in columns):
        found, remarks[column.name] = guess_writing(source, found, column)
        remarks[column.name] += f"; {reasons[column.name]}" if column.name in reasons else ""
    if table == "transactions" and columns.get("brand") == columns.get("merchant_id") and "brand" in columns:
        remarks["brand"] = "the same column: it gives 'Next brand' its labels"
    if columns.get("mcc_l2") == columns.get("mcc_l1") and "mcc_l2" in columns:
        remarks["mcc_l2"] = "the source's own names, kept as sub-industry"
    lines = [f"  {table}:", f"    file: {scalar(name)}", *file_lines(found, unsure), "    columns:"]
    for c in spec.columns:
        lines += column_lines(source, c, columns, remarks, roles)
    asked = {c: (OPEN,) for c in ours if c not in columns and (c in roles.open or spec.column(c).required)}
    found = replace(found, columns={**found.columns, **asked})
    lines += writing_lines(found)
    kept = "kept as it is" if spec.free_columns else "left out"
    for column_name in (n for n in source.found if n not in used and n not in found.rows):
        looks = f"{kept}: {column_name}: {source.profiles[column_name]}"
        source.lines.append(f"  {one_line(looks)}")
        lines.append(f"    {comment(looks)}")
    return "\n".join(lines) + "\n", found, columns.get("ts", likely.get("ts", ()))


def _written_alike(source: OpenTable, found: TableMap, column: ColumnSpec, candidates: tuple[str, ...]) -> TableMap:
    """How the values of an open column are written, where all that it may be are written in one way: then only its name is left
    to say."""
    ways = []
    for name in candidates:
        quiet = OpenTable(source.con, source.scan, source.found, source.rows, source.profiles, tables=source.tables)
        way, _ = guess_writing(quiet, replace(found, columns={column.name: (name,)}), column)
        ways.append(replace(way, columns=found.columns))
    return ways[0] if all(way == ways[0] for way in ways) else found


def _roles(source: OpenTable, table: str) -> tuple[Roles, dict[str, str]]:
    """Our columns by headers and values; what was found by values alone says so. Two columns of amounts are asked."""
    spec = IMPORTABLE[table]
    named = guess_columns(tuple(source.found), tuple(c.name for c in spec.columns))
    claimed = guess_columns(tuple(n for n in source.found if n not in named.values()), CLAIMED)
    others = {f"another table's {k}": v for k, v in claimed.items()}
    wanted = [c.name for c in spec.columns if table == "transactions" or c.required or c.key]
    roles = guess_roles(
        source.profiles,
        {**named, **others},
        tuple(c for c in BY_VALUES if c in wanted and not (c == "mcc_l1" and "mcc" in named)),
    )
    columns = {k: v for k, v in roles.columns.items() if k not in others}
    asked = dict(roles.open)
    if table == "transactions" and "amount" in columns and source.profiles[columns["amount"]].kind == AMOUNT:
        first = columns["amount"]
        second = [n for n in rivals(source.profiles, first, set(roles.columns.values())) if _differ(source, first, n)]
        if second:
            asked["amount"] = (columns.pop("amount"), *second)
    return Roles(columns, asked), {c: "found by its values" for c, o in columns.items() if named.get(c) != o}


def _differ(source: OpenTable, one: str, other: str) -> bool:
    return source.one(f"SELECT count(*) FROM {source.scan} WHERE {quote(one)} IS DISTINCT FROM {quote(other)}") != (0,)


def _row_rules(source: OpenTable, found: TableMap, used: set[str]) -> TableMap:
    """A status and several currencies decide which rows count: what is sure is proposed, the rest is asked."""
    rules: dict[str, dict[str, str]] = {}
    for name, profile in source.profiles.items():
        if name in used or profile.kind != STATUS:
            continue
        counts = value_counts(source.con, source.scan, name, MAX_VALUES)
        rules[name] = {v: guess_row(v) or OPEN for v in counts}
        shown = ", ".join(f"{one_line(v)} ({n:,} rows): {rules[name][v]}" for v, n in counts.items())
        source.lines.append(f"  rows         by the status '{one_line(name)}': {shown}")
        unsure = [one_line(v) for v, to in rules[name].items() if to == OPEN]
        if unsure:
            source.open_questions.append(
                f"do rows count whose '{one_line(name)}' is {' or '.join(unsure[:6])}? write keep or drop under rows"
            )
    single = {n: p.values[0] for n, p in source.profiles.items() if p.kind == CONSTANT and is_currency(p.values[0])}
    named = {n: kind for n, kind in source.found.items() if source.profiles[n].kind == CURRENCY}
    for name, counts in currency_columns(source.con, source.scan, named).items():
        if len(counts) > 1 and name not in used:
            rules[name] = dict.fromkeys(counts, OPEN)
            several = [name, *single]
            by = {n: paired_with(n, several) for n, p in source.profiles.items() if p.kind == AMOUNT}
            all_kept = "".join(
                f"; keep all where amount is '{one_line(a)}', in {single[c]} by '{one_line(c)}'"
                for a, c in by.items()
                if c in single
            )
            source.open_questions.append(
                f"'{one_line(name)}' holds {len(counts)} currencies ({shares(counts)}), which are not"
                f" added: write keep or drop for each under rows; keep several only where the amount column is in one"
                f" currency{all_kept}"
                f" (to convert instead: no rows, but currency: {{column: {scalar(name)}, to: USD, rates: {{...}}}})"
            )
    return replace(found, rows=rules)


def _only_complete(source: OpenTable, columns: Mapping[str, tuple[str, ...]], keys: list[str], table: str) -> bool:
    """Whether every row has the columns every row needs; what follows looks at those rows alone."""
    there = [f"{source_sql(source.found, columns[k])} IS NOT NULL" for k in keys if k in columns]
    where = " AND ".join(there) or "true"
    lacking = int(str(source.one(f"SELECT count(*) FROM {source.scan} WHERE NOT ({where})")[0]))
    if lacking:
        rows = "1 row lacks" if lacking == 1 else f"{lacking:,} rows lack"
        source.lines.append(f"  {rows} {' or '.join(keys)}: drop_incomplete leaves it out of '{table}'")
        source.scan = f"(SELECT * FROM {source.scan} WHERE {where})"
    return not lacking


def _head(source: OpenTable, found: TableMap, dates: tuple[str, ...], name: str) -> tuple[tuple[str, ...], str]:
    """The top of the map, with the cut-offs that the dates allow."""
    cutoffs: tuple[str, ...] = ()
    horizon, remark = LabelSettings.horizon_days, ""
    if dates and found.formats.get("ts") != OPEN:
        ts = converted_sql("v", source.text(dates), "ts", "TIMESTAMP", found)
        span = table_span(source.con, "transactions", source.distinct(dates), ts, "n")
        if span is not None:
            cutoffs, horizon = suggest_cutoffs(span.first, span.last, span.holes)
            source.lines += [f"  hole         {hole}; cut-offs keep their labels out of it" for hole in span.holes]
            for day, rows in span.apart:
                source.lines.append(f"  apart        {rows:,} rows from {day} on, far from all others: is that date right?")
            if cutoffs:
                history = (date.fromisoformat(cutoffs[0]) - span.first).days
                remark = f"{history} days of history before the first, {horizon} of labels after the last"
                remark += f", by '{one_line(' + '.join(dates))}'" if found.columns.get("ts") != dates else ""
                source.lines.append(f"  cut-offs     {', '.join(cutoffs)}: {remark}")
            else:
                reach = f"{span.first} to {span.last}{' without its holes' if span.holes else ''}"
                source.open_questions.append(f"{reach} is too short: 28 days of history and 28 of labels are needed")
    text = (
        comment(f"A starter for {name}: every value is a guess. Read it, correct it, then import with --map.")
        + f"\nname: {scalar(Path(name).name.split('.')[0] or 'my bank')}\n"
        + f"cutoffs: [{', '.join(cutoffs)}]"
        + (f"  # {remark}" if remark else "")
        + "\n"
        + (f"horizon_days: {horizon}\n" if horizon != LabelSettings.horizon_days else "")
        + "tables:\n"
    )
    return cutoffs, text
