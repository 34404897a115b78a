"""Reading a table of one's own: CSV or Parquet, every value as what the schema says it is; all faults in one sentence."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset.columns import SPLITS
from ple_model.data.events.connect import open_connection
from ple_model.data.events.sql import is_blank
from ple_model.data.importers.scan_source import guess_layout, scan_source
from ple_model.data.importers.source_files import find_files
from ple_model.data.own.schema_file import FEATURES, OwnColumn, OwnTable
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import NO_CUTOFF
from ple_model.sql_text import quote, sql_list

LARGEST = float(np.finfo(np.float32).max)
Array = NDArray[Any]


@dataclass(frozen=True)
class OwnFile:
    """An open file: the view `file` holds its columns, CSV ones as text."""

    con: duckdb.DuckDBPyConnection
    file: Path
    types: dict[str, str]
    missing: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        """SQL of a column as trimmed text; what means nothing is NULL."""
        value = f"trim({quote(name)}::VARCHAR)"
        words = f" OR {value} IN ({sql_list(self.missing)})" if self.missing else ""
        return f"CASE WHEN {is_blank(value)}{words} THEN NULL ELSE {value} END"

    def number(self, name: str) -> str:
        """SQL of a column as a number; NULL where it is none."""
        plain = self.types[name].split("(")[0] in ("BOOLEAN", "VARCHAR")
        value = self.text(name) if plain else quote(name)
        if self.types[name] == "BOOLEAN":
            return f"{quote(name)}::INTEGER::DOUBLE"
        found = f"TRY_CAST({value} AS DOUBLE)"
        return f"CASE WHEN isnan({found}) THEN NULL ELSE {found} END"

    def fetch(self, expression: str) -> list[Any]:
        return [r[0] for r in self.con.execute(f"SELECT {expression} FROM file").fetchall()]

    def one(self, expression: str) -> tuple[Any, ...]:
        return tuple(self.con.execute(f"SELECT {expression} FROM file").fetchall()[0])

    @property
    def rows(self) -> int:
        return int(self.one("count(*)")[0])


@contextmanager
def opened(file: Path, missing: tuple[str, ...] = ()) -> Iterator[OwnFile]:
    """The file for reading; `UserError` where it cannot be read."""
    files = find_files(file)
    layout, _, question = guess_layout(files, file.name)
    if question:
        raise UserError(f"'{file}' may be written in several encodings ({question.split('?')[0]}); save it as UTF-8")
    con = open_connection()
    scratch = tempfile.TemporaryDirectory(prefix="ple-table-", ignore_cleanup_errors=True)
    try:
        con.execute(f"CREATE VIEW file AS FROM {scan_source(con, files, layout, Path(scratch.name))}")
        types = {str(r[0]): str(r[1]) for r in con.execute("DESCRIBE file").fetchall()}
        source = OwnFile(con, file, types, missing)
        if not source.rows:
            raise UserError(f"'{file}' has no rows")
        yield source
    except duckdb.Error as e:
        raise UserError(f"'{file}' cannot be read: {str(e).splitlines()[0][:200]}") from e
    finally:
        con.close()
        scratch.cleanup()


@dataclass(frozen=True, eq=False)
class OwnRowsRead:
    """A table read by its schema: keys; numbers [n] with NaN for nothing and words [n] with None, by column; labels by task."""

    customer_id: Array
    cutoff: Array
    split: Array | None
    numbers: dict[str, NDArray[np.float64]]
    words: dict[str, Array]
    labels: dict[str, Array]
    """As text, None where missing."""


def read_rows(source: OwnFile, table: OwnTable, *, labels: bool = True) -> OwnRowsRead:
    """Every column that the schema uses. `labels=False`: customers to be scored, whose labels nobody has yet."""
    wanted = table.of("id", "cutoff", "split", *FEATURES, *(("label",) if labels else ()))
    if not labels:
        wanted = tuple(c for c in wanted if c.kind != "split")
    faults = [f"has no column '{c.name}'{did_you_mean(c.name, source.types)}" for c in wanted if c.name not in source.types]
    if faults:
        raise UserError(f"'{source.file}' {'; '.join(faults)}")
    n = source.rows
    numbers = {c.name: _numbers(source, c, faults) for c in wanted if c.kind in ("numeric", "raw")}
    words = {c.name: np.array(source.fetch(source.text(c.name)), object) for c in wanted if c.kind == "categorical"}
    found = {c.task: np.array(source.fetch(source.text(c.name)), object) for c in wanted if c.kind == "label"}
    cutoff, split = table.one("cutoff"), table.one("split") if labels else None
    ids = _ids(source, table.one("id"), cutoff, faults)
    dates = np.full(n, NO_CUTOFF, object) if cutoff is None else _dates(source, cutoff, faults)
    splits = None if split is None else _splits(source, split, faults)
    if faults:
        raise UserError(f"'{source.file}' cannot be used: {'; '.join(faults)}")
    return OwnRowsRead(ids, dates, splits, numbers, words, found)


def _count(source: OwnFile, name: str, where: str, what: str, faults: list[str], hint: Sequence[str] = ()) -> None:
    count, example = source.one(f"count(*) FILTER ({where}), min({quote(name)}::VARCHAR) FILTER ({where})")
    if count:
        near = did_you_mean(str(example), hint) if hint else ""
        faults.append(f"'{name}' has {count:,} values that {what}, for example {example!r}{near}")


def _numbers(source: OwnFile, column: OwnColumn, faults: list[str]) -> NDArray[np.float64]:
    name, value = column.name, source.number(column.name)
    if source.types[name] == "VARCHAR":
        bad = f"({source.text(name)}) IS NOT NULL AND ({value}) IS NULL AND lower(trim({quote(name)})) != 'nan'"
        _count(source, name, bad, "are no number (words for nothing go under 'missing')", faults)
    _count(source, name, f"isinf({value})", "are not finite", faults)
    _count(source, name, f"isfinite({value}) AND abs({value}) > {LARGEST}", "are too large for a 32-bit number", faults)
    found = source.con.execute(f"SELECT {value} AS v FROM file").fetchnumpy()["v"]
    return np.asarray(np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan))


def _ids(source: OwnFile, name: str | None, cutoff: str | None, faults: list[str]) -> Array:
    if name is None:
        return np.array([f"row {i + 1}" for i in range(source.rows)], object)
    text = source.text(name)
    _count(source, name, f"({text}) IS NULL", "are empty: rows without an id", faults)
    keys = f"({text})" if cutoff is None else f"({text}), {quote(cutoff)}"
    again = source.con.execute(
        f"SELECT count(*), min(v) FROM (SELECT min({text}) AS v FROM file GROUP BY {keys} HAVING count(*) > 1)"
    ).fetchall()[0]
    if again[0]:
        rows = "rows of one cut-off" if cutoff is not None else "rows"
        faults.append(f"{again[0]:,} ids stand in several {rows}, for example {again[1]!r}")
    return np.array(source.fetch(text), object)


def _dates(source: OwnFile, name: str, faults: list[str]) -> Array:
    value = f"TRY_CAST({source.text(name)} AS DATE)"
    _count(source, name, f"{value} IS NULL", "are no date like 2024-05-01", faults)
    return np.array(source.fetch(f"{value}::VARCHAR"), object)


def _splits(source: OwnFile, name: str, faults: list[str]) -> Array:
    text = source.text(name)
    _count(source, name, f"({text}) IS NULL OR ({text}) NOT IN ({sql_list(SPLITS)})", "are no split", faults, SPLITS)
    return np.array(source.fetch(text), object)
