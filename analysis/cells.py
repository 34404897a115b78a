"""Sums over the rows of each segment and cluster, kept beside the rows of a large analysis.

What a page asks of a cohort are mostly sums and counts. Of customers who are chosen by segment and cluster alone they are added
up from these cells, exactly and in a time that does not depend on the number of rows; whatever else is chosen by, and what is
no sum (quantiles), is asked of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.cohort import CohortFilter, where
from analysis.stored_rows import StoredRows
from ple_model.safe_arrays import open_parquet
from ple_model.safe_paths import is_file
from ple_model.sql_text import quote

FILE = "cells.parquet"
BY = ("segment", "cluster")
FROM_ROWS = 50_000
"""Below it the rows themselves answer at once."""
_SUMS = b"sums"


def write_cells(store: StoredRows, sums: Sequence[str]) -> None:
    """Keep `sums` (SQL of sums and counts over rows) of every cell; nothing for an analysis of few rows or without cells."""
    by = [b for b in BY if b in store.columns]
    if store.n < FROM_ROWS or not by:
        return
    named = ", ".join([*map(quote, by), *(f"({sql})::DOUBLE AS {quote(f's{i}')}" for i, sql in enumerate(sums))])
    found = store.cursor().sql(f"SELECT {named} FROM rows GROUP BY {', '.join(map(quote, by))}")
    table: pa.Table = found.to_arrow_table()
    pq.write_table(table.replace_schema_metadata({_SUMS: json.dumps(list(sums)).encode()}), store.path / FILE)


def summed(store: StoredRows, filters: Sequence[CohortFilter]) -> Mapping[str, float] | None:
    """SQL of each kept sum -> its value over the cohort; None where the rows have to be asked."""
    path = store.path / FILE
    if any(f.column not in BY for f in filters) or not is_file(path):
        return None
    cells = _read(path)
    sums: list[str] = json.loads((cells.schema.metadata or {}).get(_SUMS, b"[]"))
    names = [n for n in cells.schema.names if n not in BY]
    if len(names) != len(sums) or not sums:
        return None  # another program's, or damaged: the rows are there
    condition, values = where(filters)
    c = store.cursor()
    c.register("cells", cells)
    found = c.execute(f"SELECT {', '.join(f'sum({quote(n)})' for n in names)} FROM cells {condition}", values).fetchall()[0]
    c.unregister("cells")
    return {sql: 0.0 if v is None else float(v) for sql, v in zip(sums, found, strict=True)}


def _read(path: Path) -> pa.Table:
    with open_parquet(path) as file:
        return file.read()
