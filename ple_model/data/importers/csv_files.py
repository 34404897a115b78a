"""A CSV file as exports write them, as DuckDB reads it: delimiter, lines above the header, short rows.

DuckDB's own sniffer takes a file whose last row is shorter ("Total,1,234") for one with a single column, and reads UTF-8
only. So the delimiter and the header line are found here from the first lines, short rows are padded with NULL, and a file in
another encoding is converted to UTF-8 beside the output. The encoding is never guessed on reading: a file that is not UTF-8
needs it in the map, and the error says which encodings would fit.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ple_model.data.importers.encodings import blocks, guess_encoding, readable_as
from ple_model.data.importers.file_kinds import is_binary
from ple_model.errors import UserError
from ple_model.sql_paths import to_read
from ple_model.sql_text import literal

DELIMITERS = (",", ";", "\t", "|")
HEAD_LINES = 200
_VALUE = re.compile(r"[^\W\d_]{0,3}[\W_]*\d[\W\d_]*$")
"""Digits and marks, with a currency before them at most: a number, a date or a clock time, and no name."""
LONGEST_CELL = 20
"""Lines in one cell beyond which a quote is taken for left open."""


@dataclass(frozen=True)
class CsvShape:
    """How a CSV file is written."""

    encoding: str = "utf-8"
    delimiter: str = ","
    skip_lines: int = 0
    """Lines above the header."""


def _wide(encoding: str) -> bool:
    return encoding.lower().replace("_", "-").startswith(("utf-16", "utf-32"))


def require_text(path: Path, encoding: str | None) -> None:
    """`UserError` where the file is no text: control characters are in no export."""
    if not _wide(encoding or "") and path.suffix != ".gz" and is_binary(path):
        raise UserError(f"'{path}' is no text, whatever its name says: export the table as CSV, Excel (.xlsx) or Parquet")


def require_encoding(path: Path, encoding: str | None) -> str:
    """The encoding to read with (default UTF-8); `UserError` where the file is not written in it."""
    wanted = encoding or "utf-8"
    try:
        head = next(blocks(path), b"")
    except (OSError, EOFError) as e:
        raise UserError(f"{path.name} cannot be read: {e}") from e
    require_text(path, wanted)
    zeros = not _wide(wanted) and b"\0" in head  # every byte of UTF-16 may be valid UTF-8, and no text
    if not zeros and readable_as(path, wanted):
        return wanted
    guess = guess_encoding(path)
    which = "the one whose words are right, as " if guess and guess.others else ""
    hint = f"; it can be read as {guess}: write {which}'encoding: {guess.encoding}' under its table in the map" if guess else ""
    raise UserError(f"{path.name} is not written in {wanted}{hint}")


def guess_shape(path: Path, encoding: str = "utf-8") -> CsvShape:
    """Delimiter and header line: the delimiter under which most of the first rows have the same number of fields, at least
    two; which of these is the header, `_header` says. One field everywhere: a comma and no lines to skip."""
    lines = _head(path, encoding)
    best, found = (0.0, 0), CsvShape(encoding)
    for delimiter in DELIMITERS:
        rows = _rows(lines, delimiter)
        widths = Counter(len(r) for _, r in rows if len(r) > 1)
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        header = _header([(start, r) for start, r in rows if len(r) == width])
        # of rows, not of lines: a quoted cell may hold the line's end
        if (score := (count / len(rows), width)) > best:
            best, found = score, CsvShape(encoding, delimiter, header)
    return found


def _header(rows: list[tuple[int, list[str]]]) -> int:
    """The line of the header: of the rows above the first with numbers or dates that is as full as most, the one with the most
    different names. A column may lack its name (an index), and titles or a row of merged cells may stand above. Where no such
    row is there, the first without an empty field."""
    filled = [sum(bool(f.strip()) for f in r) for _, r in rows]
    usual = sorted(filled)[len(filled) // 2]
    data = next((k for k, (_, r) in enumerate(rows) if filled[k] >= usual and any(map(_VALUE.match, r))), 0)
    above = [(len({f.strip() for f in r} - {""}), -start) for start, r in rows[:data]]
    if above and max(above)[0] > 1:
        return -max(above)[1]
    return next((start for start, r in rows if all(f.strip() for f in r)), rows[0][0])


def _rows(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """(first line, fields) of each row. A quote that is left open swallows what follows: then each line is a row."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    rows, start = [], 0
    try:
        for row in reader:
            rows.append((start, row))
            start = reader.line_num
        if not any(f.count("\n") > LONGEST_CELL for _, row in rows[:-1] for f in row):
            return rows[: max(1, len(rows) - 1)] if rows and any("\n" in f for f in rows[-1][1]) else rows
        return [(k, next(csv.reader([line], delimiter=delimiter), [])) for k, line in enumerate(lines)]
    except csv.Error:
        return []


def _head(path: Path, encoding: str) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(next(blocks(path), b""))
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")[:HEAD_LINES]


def as_utf8(path: Path, encoding: str, folder: Path) -> Path:
    """The file itself where DuckDB can read it, else a UTF-8 copy in `folder`, with line ends of one kind."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii") and not _mixed_ends(path):
        return path
    copy = folder / f"{path.name.removesuffix('.gz')}.utf8"
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)()
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    with copy.open("w", encoding="utf-8", newline="") as out:
        for block in blocks(path):
            out.write(lines.decode(block))
        out.write(lines.decode(b"", final=True))
    return copy


def _mixed_ends(path: Path) -> bool:
    """Whether some lines end in CR LF and some in LF: two exports put together, or a line break in a cell."""
    long = short = 0
    last = b""
    for block in blocks(path):
        piece = last + block
        long += piece.count(b"\r\n")
        short += block.count(b"\n")
        last = block[-1:] if block.endswith(b"\r") else b""
        if long and short != long:
            return True
    return False


def csv_scan(path: Path, shape: CsvShape) -> str:
    """SQL that reads the UTF-8 file `path`, every column as text."""
    return (
        f"read_csv({to_read(path)}, header=true, all_varchar=true, delim={literal(shape.delimiter)}, quote='\"', escape='\"', "
        f"skip={shape.skip_lines}, null_padding=true, parallel=false)"
    )
