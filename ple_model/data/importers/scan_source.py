"""The files of one table as one relation in DuckDB, whatever each of them is: Parquet, CSV in any encoding, a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from ple_model.data.importers.csv_files import CsvShape, as_utf8, csv_scan, guess_shape, require_encoding, require_text
from ple_model.data.importers.encodings import EncodingGuess, guess_encoding
from ple_model.data.importers.file_kinds import EXCEL, PARQUET, TEXT, file_kind
from ple_model.data.importers.source_files import require_one_layout
from ple_model.data.importers.source_map import TableMap
from ple_model.data.importers.spreadsheets import sheet_as_csv, sheets
from ple_model.errors import UserError
from ple_model.sql_paths import to_read, to_read_all, to_write
from ple_model.sql_text import literal, quote


def scan_source(con: duckdb.DuckDBPyConnection, files: Sequence[Path], table: TableMap, scratch: Path) -> str:
    """SQL that reads all files as one table. Text is parsed once, into `scratch`: every check then reads Parquet.

    `UserError` names the file that is no table or has another layout than the rest, `duckdb.Error` says why one cannot be
    parsed.
    """
    parts = [part for part, _ in _parts(con, files, table, scratch)]
    return f"read_parquet({to_read_all(parts)}, union_by_name=true)"


FILE, ROW = "file of the row", "row in the file"
"""Columns of `scan_rows`."""


def scan_rows(con: duckdb.DuckDBPyConnection, files: Sequence[Path], table: TableMap, scratch: Path) -> str:
    """The same with two more columns: the name of the file a row stands in, and its number there, counted as a spreadsheet
    counts (the header and the lines above it too; a cell of several lines is one row)."""
    parts = _parts(con, files, table, scratch)
    where = ", ".join(
        f"({to_read(part)}, {literal(file.name)}, {first})" for file, (part, first) in zip(files, parts, strict=True)
    )
    read = f"read_parquet({to_read_all([p for p, _ in parts])}, union_by_name=true, filename=true, file_row_number=true)"
    return (
        f"(SELECT p.* EXCLUDE (filename, file_row_number), w.name AS {quote(FILE)}, p.file_row_number + w.first AS {quote(ROW)}"
        f" FROM {read} p JOIN (VALUES {where}) w(part, name, first) ON p.filename = w.part)"
    )


def _parts(con: duckdb.DuckDBPyConnection, files: Sequence[Path], table: TableMap, scratch: Path) -> list[tuple[Path, int]]:
    """A Parquet file for each file, and the number of its first row."""
    parts = [_one(con, file, table, scratch, k) for k, file in enumerate(files)]
    if len(parts) > 1:
        require_one_layout(files, [_columns(con, p) for p, _ in parts])
    return parts


def guess_layout(files: Sequence[Path], name: str, encoding: str | None = None) -> tuple[TableMap, str, str]:
    """How the files are written, the same in words, and what is asked where the encoding is not sure (empty: it is)."""
    kinds = [file_kind(f) for f in files]
    texts = [f for f, kind in zip(files, kinds, strict=True) if kind == TEXT]
    books = [f for f, kind in zip(files, kinds, strict=True) if kind == EXCEL]
    shape, how, question = TableMap(file=name), "", ""
    if texts:
        guesses = [_encoding(f, encoding) for f in texts]
        # a file of plain letters alone is valid in most encodings: the others say which one it is
        kept = next((k for k, g in enumerate(guesses) if g.encoding != "utf-8"), 0)
        if guesses[kept].others:
            others = " or ".join(f"--encoding {name}" for name in guesses[kept].others)
            question = (
                f"which letters are right: {guesses[kept]}? Write encoding: {guesses[kept].encoding} if the first are; else"
                f" delete this map and write it again with {others}"
            )
        csv = guess_shape(texts[kept], guesses[kept].encoding)
        shape = replace(shape, encoding=guesses[kept].encoding, delimiter=csv.delimiter, skip_lines=csv.skip_lines)
        how = f", {guesses[kept]}, separated by {'tab' if csv.delimiter == chr(9) else repr(csv.delimiter)}"
    if books:
        there = sheets(books[0])
        if len(there) > 1:
            largest = max(there, key=lambda sheet: sheet.rows)
            others = ", ".join(sheet.name for sheet in there if sheet != largest)
            shape = replace(shape, sheet=largest.name)
            how += f", sheet '{largest.name}' with the most rows (not read: {others})"
    return shape, how, question


def _encoding(file: Path, given: str | None) -> EncodingGuess:
    if given is not None:
        return EncodingGuess(require_encoding(file, given))
    guess = guess_encoding(file)
    require_text(file, guess.encoding if guess else None)
    if guess is None:
        raise UserError(f"'{file}' is text in no known encoding; save it as UTF-8 and try again")
    return guess


def _columns(con: duckdb.DuckDBPyConnection, part: Path) -> list[str]:
    return [str(r[0]) for r in con.execute(f"DESCRIBE SELECT * FROM read_parquet({to_read(part)})").fetchall()]


def _one(con: duckdb.DuckDBPyConnection, file: Path, table: TableMap, scratch: Path, k: int) -> tuple[Path, int]:
    kind = file_kind(file)
    if kind == PARQUET:
        return file, 1
    copy = scratch / f"part-{k}-{len(list(scratch.iterdir()))}.raw"
    if kind == EXCEL:
        text = scratch / f"sheet-{k}.csv"
        sheet_as_csv(file, table.sheet, text)
        path, shape = text, guess_shape(text)
    else:
        encoding = require_encoding(file, table.encoding)
        path, shape = as_utf8(file, encoding, scratch), guess_shape(file, encoding)
        shape = CsvShape(encoding, table.delimiter or shape.delimiter, shape.skip_lines)
    if table.skip_lines is not None:
        shape = CsvShape(shape.encoding, shape.delimiter, table.skip_lines)
    try:
        con.execute(f"COPY (FROM {csv_scan(path, shape)}) TO {to_write(copy)} (FORMAT parquet)")
    except duckdb.Error as e:
        raise UserError(f"'{file}' cannot be read as CSV: {_reason(e)}") from e
    if path != file:
        path.unlink()
    return copy, shape.skip_lines + 2


def _reason(error: duckdb.Error) -> str:
    return str(error).splitlines()[0][:160]
