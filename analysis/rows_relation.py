"""The recorded rows as the relation `rows` of a DuckDB connection.

Of a query for a task most is opening hundreds of columns of the file: few rows are read once, many stay in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from ple_model.safe_arrays import open_parquet
from ple_model.sql_paths import to_read
from ple_model.sql_text import quote

HELD_VALUES = 4_000_000
"""Rows times columns that are read at once: about 32 MB."""


def rows_relation(file: Path, columns: Sequence[str] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection of its own, to be closed; nothing is fetched from outside. `columns`: all that is asked for; None: any."""
    with open_parquet(file) as found:
        width = found.metadata.num_columns if columns is None else len(columns)
        few = found.metadata.num_rows * width <= HELD_VALUES
    connection = duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})
    connection.execute("SET parquet_metadata_cache = true")
    chosen = "*" if columns is None else ", ".join(map(quote, columns))
    connection.execute(f"CREATE {'TABLE' if few else 'VIEW'} rows AS SELECT {chosen} FROM read_parquet({to_read(file)})")
    return connection
