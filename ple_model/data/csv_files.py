"""A CSV file as exports write them, as DuckDB reads it: encoding, delimiter, lines above the header, short rows.

DuckDB's own sniffer takes a file whose last row is shorter ("Total,1,234") for one with a single column, and reads UTF-8
only. So the delimiter and the header line are found here from the first lines, short rows are padded with NULL, and a file in
another encoding is converted to UTF-8 beside the output. The encoding is never guessed on reading: a file that is not UTF-8
needs it in the map, and the error says which encodings would fit.
"""

from __future__ import annotations

import codecs
import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ple_model.errors import UserError
from ple_model.sql_paths import to_read

CANDIDATES = ("utf-8", "cp949", "shift_jis", "gb18030", "cp1252")
"""Tried in this order; cp1252 and gb18030 accept nearly any bytes, so they come last."""
DELIMITERS = (",", ";", "\t", "|")
HEAD_LINES = 200
CHUNK = 1 << 20


@dataclass(frozen=True)
class CsvShape:
    """How a CSV file is written."""

    encoding: str = "utf-8"
    delimiter: str = ","
    skip_lines: int = 0
    """Lines above the header."""


def _bytes(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        while block := stream.read(CHUNK):
            yield block


def readable_as(path: Path, encoding: str) -> bool:
    """Whether every byte of the file is valid in this encoding; `UserError` for an encoding that does not exist."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as e:
        raise UserError(f"'{encoding}' is no encoding; for example utf-8, cp949 (Korean Windows) or utf-16") from e
    try:
        for block in _bytes(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    except (OSError, EOFError) as e:
        raise UserError(f"{path.name} cannot be read: {e}") from e
    return True


def guess_encoding(path: Path) -> str | None:
    """The first candidate in which the whole file is valid; UTF-16 by its mark; None: none of them."""
    start = next(_bytes(path), b"")[:2]
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16" if readable_as(path, "utf-16") else None
    return next((c for c in CANDIDATES if readable_as(path, c)), None)


def require_encoding(path: Path, encoding: str | None) -> str:
    """The encoding to read with (default UTF-8); `UserError` where the file is not written in it."""
    wanted = encoding or "utf-8"
    if readable_as(path, wanted):
        return wanted
    guess = guess_encoding(path)
    hint = f"; it can be read as {guess}: write 'encoding: {guess}' under its table in the map" if guess else ""
    raise UserError(f"{path.name} is not written in {wanted}{hint}")


def guess_shape(path: Path, encoding: str = "utf-8") -> CsvShape:
    """Delimiter and header line: the delimiter under which most of the first rows have the same number of fields, at least
    two; the header is the first row with that many filled fields. One field everywhere: a comma and no lines to skip."""
    lines = _head(path, encoding)
    best, found = (0, 0), CsvShape(encoding)
    for delimiter in DELIMITERS:
        try:
            rows = [next(csv.reader([line], delimiter=delimiter), []) for line in lines]
        except csv.Error:
            continue
        widths = Counter(len(r) for r in rows if len(r) > 1)
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        header = next((k for k, r in enumerate(rows) if len(r) == width and all(f.strip() for f in r)), None)
        if header is None:
            header = next(k for k, r in enumerate(rows) if len(r) == width)
        if (count, width) > best:
            best, found = (count, width), CsvShape(encoding, delimiter, header)
    return found


def _head(path: Path, encoding: str) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(next(_bytes(path), b""))
    return text.lstrip("\ufeff").splitlines()[:HEAD_LINES]


def as_utf8(path: Path, encoding: str, folder: Path) -> Path:
    """The file itself where DuckDB can read it, else a UTF-8 copy in `folder`."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii"):
        return path
    copy = folder / f"{path.name.removesuffix('.gz')}.utf8"
    decoder = codecs.getincrementaldecoder(encoding)()
    with copy.open("w", encoding="utf-8", newline="") as out:
        for block in _bytes(path):
            out.write(decoder.decode(block))
        out.write(decoder.decode(b"", final=True))
    return copy


def csv_scan(path: Path, shape: CsvShape) -> str:
    """SQL that reads the UTF-8 file `path`, every column as text."""
    delimiter = shape.delimiter.replace("'", "''")
    return (
        f"read_csv({to_read(path)}, header=true, all_varchar=true, delim='{delimiter}', quote='\"', escape='\"', "
        f"skip={shape.skip_lines}, null_padding=true, parallel=false)"
    )
