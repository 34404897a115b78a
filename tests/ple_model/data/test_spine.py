"""Chunks of the spine: which customers they span, whatever the ids are made of."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest

from ple_model.data.build.spine import within


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    ids = sorted(["Ann", "O'Neil", "Zoë", "", "100%"])
    con = duckdb.connect()
    con.execute("CREATE TABLE spine (row_id BIGINT, customer_id VARCHAR, cutoff DATE, split VARCHAR)")
    con.executemany("INSERT INTO spine VALUES (?, ?, ?, 'train')", [[i, name, date(2024, 1, 1)] for i, name in enumerate(ids)])
    return con


@pytest.mark.parametrize(("first", "stop"), [(0, 2), (1, 3), (2, 5), (4, 5)])
def test_a_chunk_spans_its_own_customers_and_no_others(con: duckdb.DuckDBPyConnection, first: int, stop: int) -> None:
    found = con.execute(f"SELECT row_id FROM spine t WHERE {within(con, first, stop)} ORDER BY 1").fetchall()
    assert [r[0] for r in found] == list(range(first, stop))
