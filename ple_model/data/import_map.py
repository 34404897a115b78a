"""`ple import map FILE MAP.yaml`: a starter map for a file, with every guess written out for a person to correct.

Columns are guessed by their names (English and Korean), then read as what they would become: how dates and numbers are
written, which category is which, which rows lack what every row needs, and which cut-offs the dates allow. The map holds
every guess and the report repeats it; nothing is guessed later, when the tables are imported.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product
from pathlib import Path

import duckdb

from ple_model.data.category_words import guess_category
from ple_model.data.csv_files import guess_encoding, guess_shape
from ple_model.data.events import ColumnSpec, open_connection
from ple_model.data.find_holes import table_span
from ple_model.data.import_tables import converted_sql, scan_file, source_sql
from ple_model.data.labels import LabelSettings
from ple_model.data.source_map import IMPORTABLE, TableMap, load_map
from ple_model.data.spine import suggest_cutoffs
from ple_model.errors import UserError, did_you_mean

NAMES: dict[str, tuple[str, ...]] = {
    "customer_id": (
        "customer", "client", "client id", "cust id", "card number", "card no", "card", "card id", "account", "account number",
        "account id", "member", "member id", "user", "user id", "고객번호", "고객id", "고객", "회원번호", "카드번호",
        "이용카드", "계좌번호",
    ),
    "ts": (
        "date", "datetime", "timestamp", "time stamp", "transaction date", "transaction time", "posted", "posting date",
        "booking date",
        "purchase date", "거래일자", "거래일시", "거래일", "이용일자", "이용일시", "이용일", "승인일자", "승인일시", "승인일",
        "매출일자", "일자", "날짜",
    ),
    "amount": (
        "amt", "value", "sum", "total", "price", "transaction amount", "purchase amount", "spend", "이용금액", "거래금액",
        "승인금액",
        "결제금액", "매출금액", "사용금액", "금액",
    ),
    "merchant_id": (
        "merchant", "merchant name", "store", "store name", "shop", "payee", "counterparty", "가맹점명", "가맹점",
        "이용가맹점", "이용처", "사용처",
        "상호",
    ),
    "brand": ("brand name", "chain", "브랜드", "브랜드명"),
    "mcc": ("mcc code", "merchant category code", "업종코드"),
    "mcc_l1": (
        "category", "merchant category", "spending category", "category name", "main category", "업종", "업종명",
        "가맹점업종", "카테고리",
        "분류", "대분류",
    ),
    "mcc_l2": ("subcategory", "sub category", "중분류", "소분류"),
    "product": ("product name", "상품", "상품명"),
    "channel": ("채널",),
    "birth_year": ("year of birth", "yob", "출생연도", "출생년도"),
    "age_band": ("age group", "age", "연령대"),
    "region": ("city", "province", "area", "지역", "시도", "거주지"),
    "joined_on": ("joined", "join date", "customer since", "since", "가입일", "가입일자"),
    "as_of": ("statement date", "month", "기준일", "기준일자"),
    "balance": ("outstanding", "잔액"),
    "credit_limit": ("limit", "한도"),
    "duration": ("seconds", "체류시간"),
    "campaign_id": ("campaign", "캠페인", "캠페인id"),
    "offer": ("action", "제안"),
    "exposed_at": ("sent at", "shown at", "발송일시", "노출일시"),
    "clicked_at": ("clicked", "클릭일시"),
    "converted_at": ("converted", "responded at", "전환일시"),
}  # fmt: skip
"""What sources call our columns, beside our own names; compared without case, spaces and punctuation."""

TIMES = ("time", "transaction time", "purchase time", "거래시간", "이용시간", "승인시간", "시간")
"""A column of its own for the time of day, joined to the date."""

DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y년 %m월 %d일", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d %b %Y", "%b %d, %Y", "%y.%m.%d", "%y/%m/%d", "%y-%m-%d", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y",
)  # fmt: skip
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H%M%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
SEPARATORS = (("", "."), (",", "."), (".", ","), (" ", ","), ("'", "."), ("", ","))
"""(thousands, decimal), the plain form first."""
SAMPLE = 20_000
"""Different values that are tried against each way of writing."""
MAX_VALUES = 300
"""Category names that are listed; a source with more has them listed by their number of rows, the rest is unknown."""
PLACEHOLDER = "?"


@dataclass(frozen=True)
class Starter:
    """The written map: where it is, and what was guessed, as lines for a person."""

    path: Path
    table: TableMap
    cutoffs: tuple[str, ...]
    lines: tuple[str, ...]
    open_questions: tuple[str, ...]
    """What has to be filled in before the import can work."""

    def __str__(self) -> str:
        return "\n".join((*self.lines, *(f"  STILL OPEN: {q}" for q in self.open_questions)))


@dataclass
class _Source:
    """The open file while it is looked at."""

    con: duckdb.DuckDBPyConnection
    scan: str
    found: dict[str, str]
    rows: int
    lines: list[str] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)

    def one(self, sql: str) -> tuple[object, ...]:
        """The first row of a query."""
        row: tuple[object, ...] = self.con.execute(sql).fetchall()[0]
        return row

    def text(self, originals: tuple[str, ...]) -> bool:
        """Whether the joined source columns are text."""
        return len(originals) > 1 or self.found[originals[0]] == "VARCHAR"


def write_starter(file: Path, out: Path, table: str = "transactions") -> Starter:
    """Write a map for `file` to `out`, or add the table to the map that is there; `UserError` where it already has it."""
    file, out = Path(file), Path(out)
    if table not in IMPORTABLE:
        raise UserError(f"--table {table} is no event table{did_you_mean(table, IMPORTABLE)}")
    if not file.is_file():
        near = did_you_mean(file.name, [p.name for p in file.parent.iterdir()]) if file.parent.is_dir() else ""
        raise UserError(f"'{file}' is not a file; give a CSV or Parquet file{near}")
    existing = load_map(out) if out.exists() else None
    if existing is not None and table in existing.tables:
        raise UserError(f"'{out}' already maps the table '{table}'; give a new file, or another --table")
    shape, written = TableMap(file=file.name), {}
    if file.suffix != ".parquet":
        encoding = guess_encoding(file)
        if encoding is None:
            raise UserError(f"'{file}' is text in no known encoding; save it as UTF-8 and try again")
        guess = guess_shape(file, encoding)
        written = {"encoding": encoding, "delimiter": guess.delimiter, "skip_lines": guess.skip_lines}
        shape = replace(shape, encoding=encoding, delimiter=guess.delimiter, skip_lines=guess.skip_lines)
    con = open_connection()
    with tempfile.TemporaryDirectory(prefix="ple-map-") as scratch:
        try:
            scan = scan_file(con, file, shape, Path(scratch))
            found = {str(r[0]): str(r[1]) for r in con.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
            rows = int(con.execute(f"SELECT count(*) FROM {scan}").fetchall()[0][0])
            source = _Source(con, scan, found, rows)
            block, guessed = _guess_table(source, table, file, written)
            cutoffs, head = _head(source, guessed, file) if existing is None else ((), "")
        except duckdb.Error as e:
            raise UserError(f"'{file}' cannot be read: {str(e).splitlines()[0][:160]}") from e
        finally:
            con.close()
    before = head if existing is None else out.read_text(encoding="utf-8").rstrip("\n") + "\n"
    _save(out, before + block, table)
    done = "added to" if existing is not None else "written to"
    first = f"{file.name}: {rows:,} rows, {len(found)} columns{_how(written)}; the map of '{table}' was {done} {out}"
    return Starter(out, guessed, cutoffs, (first, *source.lines), tuple(source.open_questions))


def _how(written: Mapping[str, object]) -> str:
    if not written:
        return ""
    delimiter = {"\t": "tab"}.get(str(written["delimiter"]), repr(written["delimiter"]))
    return f", {written['encoding']}, separated by {delimiter}"


def _save(out: Path, text: str, table: str) -> None:
    temporary = out.with_name(out.name + ".tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(text, encoding="utf-8")
    try:
        if table not in load_map(temporary).tables:
            raise UserError(f"'{out}': 'tables' is not its last key; move it to the end, then the table can be added")
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)


def _plain_name(name: str) -> str:
    return re.sub(r"[\W_]+", "", re.sub(r"\(.*?\)", "", name.lower()))


def guess_columns(names: tuple[str, ...], wanted: tuple[str, ...]) -> dict[str, str]:
    """Our column -> the source's, by name; of several that fit, the one whose word stands first in `NAMES`."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_plain_name(name), name)
    out: dict[str, str] = {}
    for column in wanted:
        words = (column, *NAMES.get(column, ()))
        hit = next((plain[p] for p in map(_plain_name, words) if p in plain and plain[p] not in out.values()), None)
        if hit is not None:
            out[column] = hit
    return out


def _guess_table(source: _Source, table: str, file: Path, written: Mapping[str, object]) -> tuple[str, TableMap]:
    """The table's block of the map as text, and as what it means."""
    spec = IMPORTABLE[table]
    guessed = guess_columns(tuple(source.found), tuple(c.name for c in spec.columns))
    columns: dict[str, tuple[str, ...]] = {c: (o,) for c, o in guessed.items()}
    complete = _only_complete(source, columns, [c.name for c in spec.columns if c.key], table)
    if "ts" in columns:
        clock = next(
            (n for n in source.found if _plain_name(n) in map(_plain_name, TIMES) and (n,) not in columns.values()), None
        )
        columns |= {"ts": (*columns["ts"], clock)} if clock is not None else {}
    if table == "transactions":
        columns |= {"brand": columns["merchant_id"]} if "merchant_id" in columns and "brand" not in columns else {}
        columns |= {"mcc_l1": columns["mcc"]} if "mcc" in columns and "mcc_l1" not in columns else {}
        columns |= {"mcc_l2": columns["mcc_l1"]} if {"mcc_l1", "mcc_l2", "mcc"} & set(columns) == {"mcc_l1"} else {}
    found = TableMap(file=file.name, columns=columns, drop_incomplete=not complete)
    remarks: dict[str, str] = {}
    for column in (c for c in spec.columns if c.name in columns):
        found, remarks[column.name] = _guess_writing(source, found, column)
    if table == "transactions" and columns.get("brand") == columns.get("merchant_id") and "brand" in columns:
        remarks["brand"] = "the same column: it gives 'Next brand' its labels"
    if columns.get("mcc_l2") == columns.get("mcc_l1") and "mcc_l2" in columns:
        remarks["mcc_l2"] = "the source's own names, kept as sub-industry"
    lines = [f"  {table}:", f"    file: {_quoted(file.name)}"]
    if written and written["encoding"] != "utf-8":
        lines.append(f"    encoding: {written['encoding']}")
    if written and written["delimiter"] != ",":
        lines.append(f"    delimiter: {_quoted(str(written['delimiter']))}")
    if written and written["skip_lines"]:
        lines.append(f"    skip_lines: {written['skip_lines']}  # lines above the header")
    lines.append("    columns:")
    for c in spec.columns:
        lines += _column_lines(source, c, columns, remarks)
    lines += _writing_lines(found)
    used = {o for originals in columns.values() for o in originals}
    unused = [n for n in source.found if n not in used]
    if unused:
        kept = "kept as they are" if spec.free_columns else "left out"
        source.lines.append(f"  {kept}: {', '.join(unused)}")
        lines.append(f"    # {kept}: {', '.join(unused)}".replace("\n", " "))
    return "\n".join(lines) + "\n", found


def _column_lines(
    source: _Source, column: ColumnSpec, columns: Mapping[str, tuple[str, ...]], remarks: Mapping[str, str]
) -> list[str]:
    if column.name in columns:
        originals = columns[column.name]
        shown = _quoted(originals[0]) if len(originals) == 1 else f"[{', '.join(_quoted(o) for o in originals)}]"
        remark = remarks.get(column.name, "")
        source.lines.append(f"  {column.name:<12} <- {' + '.join(originals):<20} {remark}".rstrip())
        return [f"      {column.name}: {shown}" + (f"  # {remark}" if remark else "")]
    if column.required:
        choices = ", ".join(source.found)
        source.open_questions.append(f"no column looks like '{column.name}'; put one of these in its place: {choices}")
        return [f"      {column.name}: {_quoted(PLACEHOLDER)}  # which of: {choices}"]
    return []


def _writing_lines(found: TableMap) -> list[str]:
    lines = []
    if found.formats:
        lines.append("    formats:")
        lines += [f"      {c}: {_quoted(f)}" for c, f in found.formats.items()]
    if found.thousands:
        lines.append(f"    thousands: {_quoted(found.thousands)}")
    if found.decimal != ".":
        lines.append(f"    decimal: {_quoted(found.decimal)}")
    if found.drop_incomplete:
        lines.append("    drop_incomplete: true  # rows without one of the columns every row needs, such as a total at the end")
    if found.values:
        lines.append("    values:")
        for column, pairs in found.values.items():
            allowed = next(c.allowed for spec in IMPORTABLE.values() for c in spec.columns if c.name == column and c.allowed)
            lines.append(f"      {column}:  # one of: {', '.join(allowed)}; ~ is unknown")
            lines += [f"        {_quoted(k)}: {'~' if v is None else v}" for k, v in pairs.items()]
    return lines


def _quoted(text: str) -> str:
    """A YAML string whatever it holds: JSON's double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _guess_writing(source: _Source, found: TableMap, column: ColumnSpec) -> tuple[TableMap, str]:
    """How the values of a column are written, added to the map; and a remark for a person."""
    originals = found.columns[column.name]
    expression = source_sql(source.found, originals)
    distinct = f"(SELECT DISTINCT {expression} AS v FROM {source.scan} WHERE v IS NOT NULL LIMIT {SAMPLE})"
    if column.allowed:
        return _guess_values(source, found, column, expression)
    if column.sql_type in ("DATE", "TIMESTAMP"):
        return _guess_dates(source, found, column, expression, distinct)
    if column.sql_type in ("DOUBLE", "INTEGER") and source.text(originals):
        return _guess_numbers(source, found, column, expression, distinct)
    n = int(str(source.one(f"SELECT count(DISTINCT {expression}) FROM {source.scan}")[0]))
    remark = f"{n:,} different"
    if column.name == "customer_id" and source.one(
        f"SELECT count(*) FROM {distinct} WHERE regexp_matches(regexp_replace(v::VARCHAR, '[- ]', '', 'g'), '^[0-9]{{13,19}}$')"
    ) != (0,):
        remark += "; whole card or account numbers: replace them by a code before you share a run"
    return found, remark


def _read(source: _Source, distinct: str, ways: Sequence[str]) -> list[int]:
    """How many of the different values each way of reading them (SQL of `v`) can read, first all of them; one pass."""
    counts = source.one(f"SELECT count(*), {', '.join(f'count({way})' for way in ways)} FROM {distinct}")
    return [int(str(n)) for n in counts]


def _guess_dates(source: _Source, found: TableMap, column: ColumnSpec, expression: str, distinct: str) -> tuple[TableMap, str]:
    text = source.text(found.columns[column.name])
    formats = ["", *(day + clock for day, clock in product(DATES, CLOCKS))] if text else [""]
    plain = f"TRY_CAST(v AS {column.sql_type})"
    total, *read = _read(source, distinct, [plain, *(f"try_strptime(v, '{f}')" for f in formats[1:])])
    best = max(read)
    chosen = formats[read.index(best)]
    equal = bool(chosen) and read.count(best) > 1 and total > 0
    if chosen:
        found = replace(found, formats={**found.formats, column.name: chosen})
    converted = converted_sql(expression, source.text(found.columns[column.name]), column.name, column.sql_type, found)
    first, last = source.one(f"SELECT min({converted})::DATE, max({converted})::DATE FROM {source.scan}")
    if first is None:
        source.open_questions.append(
            f"'{found.columns[column.name][0]}' holds no readable date for '{column.name}': see formats"
        )
        return found, "not readable as dates"
    clash = "; another order of day and month fits as well, check it" if equal else ""
    return found, f"{first} to {last}" + (f", written as {chosen}{clash}" if chosen else "")


def _guess_numbers(
    source: _Source, found: TableMap, column: ColumnSpec, expression: str, distinct: str
) -> tuple[TableMap, str]:
    trials = [replace(found, thousands=thousands, decimal=decimal) for thousands, decimal in SEPARATORS]
    ways = [converted_sql("v", True, column.name, column.sql_type, trial) for trial in trials]
    _, *read = _read(source, distinct, ways)
    kept = trials[read.index(max(read))]
    converted = converted_sql(expression, True, column.name, column.sql_type, kept)
    low, high, below = source.one(
        f"SELECT min({converted}), max({converted}), count(*) FILTER ({converted} < 0) FROM {source.scan}"
    )
    if low is None:
        source.open_questions.append(f"'{found.columns[column.name][0]}' holds no readable number for '{column.name}'")
        return found, "not readable as numbers"
    refunds = f", {below:,} below 0" + (" (refunds)" if column.name == "amount" else "") if below else ""
    if column.sql_type == "INTEGER":
        return kept, f"{low} to {high}{refunds}"
    return kept, f"{_number(low)} to {_number(high)}{refunds}"


def _number(value: object) -> str:
    number = float(str(value))
    return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"


def _guess_values(source: _Source, found: TableMap, column: ColumnSpec, expression: str) -> tuple[TableMap, str]:
    names = source.con.execute(
        f"SELECT CAST({expression} AS VARCHAR) AS v, count(*) AS n FROM {source.scan} WHERE v IS NOT NULL"
        " GROUP BY 1 ORDER BY n DESC, v"
    ).fetchall()
    if all(v in column.allowed for v, _ in names):
        return found, f"{len(names)} values, all known"
    pairs: dict[str, str | None] = {}
    for value, _ in names[:MAX_VALUES]:
        own = next((a for a in column.allowed if _plain_name(a) == _plain_name(str(value))), None)
        pairs[str(value)] = own or (guess_category(str(value)) if column.name == "mcc_l1" else None)
    unknown = [v for v, to in pairs.items() if to is None]
    remark = f"{len(names):,} values, {len(names) - len(unknown):,} of them guessed below"
    if unknown:
        remark += f"; without a guess: {', '.join(unknown[:8])}{', ...' if len(unknown) > 8 else ''}"
    if len(names) > MAX_VALUES:
        remark = f"{len(names):,} values, the {MAX_VALUES} most frequent are below"
    return replace(found, values={**found.values, column.name: pairs}), remark


def _only_complete(source: _Source, columns: Mapping[str, tuple[str, ...]], keys: list[str], table: str) -> bool:
    """Whether every row has the columns every row needs; what follows looks at those rows alone."""
    there = [f"{source_sql(source.found, columns[k])} IS NOT NULL" for k in keys if k in columns]
    where = " AND ".join(there) or "true"
    lacking = int(str(source.one(f"SELECT count(*) FROM {source.scan} WHERE NOT ({where})")[0]))
    if lacking:
        rows = "1 row lacks" if lacking == 1 else f"{lacking:,} rows lack"
        source.lines.append(f"  {rows} {' or '.join(keys)}: drop_incomplete leaves it out of '{table}'")
        source.scan = f"(SELECT * FROM {source.scan} WHERE {where})"
    return not lacking


def _head(source: _Source, found: TableMap, file: Path) -> tuple[tuple[str, ...], str]:
    """The top of the map, with the cut-offs that the dates allow."""
    cutoffs: tuple[str, ...] = ()
    horizon, remark = LabelSettings.horizon_days, ""
    if "ts" in found.columns:
        originals = found.columns["ts"]
        ts = converted_sql(source_sql(source.found, originals), source.text(originals), "ts", "TIMESTAMP", found)
        span = table_span(source.con, "transactions", source.scan, ts)
        if span is not None:
            cutoffs, horizon = suggest_cutoffs(span.first, span.last, span.holes)
            source.lines += [f"  hole         {hole}; cut-offs keep their labels out of it" for hole in span.holes]
            for day, rows in span.apart:
                source.lines.append(f"  apart        {rows:,} rows from {day} on, far from all others: is that date right?")
            if cutoffs:
                history = (date.fromisoformat(cutoffs[0]) - span.first).days
                remark = f"{history} days of history before the first, {horizon} of labels after the last"
                source.lines.append(f"  cut-offs     {', '.join(cutoffs)}: {remark}")
            else:
                reach = f"{span.first} to {span.last}{' without its holes' if span.holes else ''}"
                source.open_questions.append(f"{reach} is too short: 28 days of history and 28 of labels are needed")
    text = (
        f"# A starter for {file.name}: every value is a guess. Read it, correct it, then import with --map.\n"
        f"name: {_quoted(file.name.split('.')[0])}\n"
        f"cutoffs: [{', '.join(cutoffs)}]"
        + (f"  # {remark}" if remark else "")
        + "\n"
        + (f"horizon_days: {horizon}\n" if horizon != LabelSettings.horizon_days else "")
        + "tables:\n"
    )
    return cutoffs, text
