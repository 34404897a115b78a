"""File names in DuckDB's SQL, taken literally: a reader expands `[ ] * ?` in a name and would read `x1.csv` for `x[1].csv`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ple_model.errors import UserError
from ple_model.sql_text import literal

_MARKS = re.compile(r"([\[*?])")


def _here(path: Path | str) -> str:
    """A leading ~ would be taken for the home folder."""
    text = str(path)
    return f"./{text}" if text.startswith("~") else text


def to_read(path: Path | str) -> str:
    """SQL text of the one file of this name, for `read_csv` and `read_parquet`."""
    text = _here(path)
    if _MARKS.search(text) and "\\" in text:  # beside such marks DuckDB takes a backslash for the end of a folder's name
        raise UserError(f"'{path}': a path with a backslash beside [, * or ? cannot be read; rename the file or its folder")
    return literal(_MARKS.sub(r"[\1]", text))


def to_read_all(paths: Iterable[Path | str]) -> str:
    """SQL list of the files of these names."""
    return f"[{', '.join(map(to_read, paths))}]"


def to_write(path: Path | str) -> str:
    """SQL text of this name, for `COPY ... TO`, which takes it as it is."""
    return literal(_here(path))
