"""A missing label is missing to every reader of the stored rows: none of them sees the 0 under a mask."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis.cohort import CohortFilter
from analysis.column_contents import label_rows
from analysis.nullable import filled
from analysis.quality import row_quality
from analysis.store import AnalysisStore
from analysis.stored_rows import FORMAT
from analysis.uncertainty import uncertainty
from analysis.vectors import sampled
from dashboard.components.fallback import labelled

N, KNOWN = 400, 100
"""Rows, and those of them with a label: of these every second one is 1."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> AnalysisStore:
    folder = tmp_path_factory.mktemp("analysis") / "stored"
    folder.mkdir()
    con = duckdb.connect()
    con.execute(f"""COPY (
        SELECT i::BIGINT AS "row", 'c' || i AS customer_id, 'test' AS split, 'warm_start' AS segment, 3 AS cluster,
               (0.05 + 0.9 * (i % 2))::FLOAT AS "p:churn", ((i % 97) / 97)::FLOAT AS "u:churn",
               CASE WHEN i < {KNOWN} THEN (i % 2)::TINYINT END AS "y:churn",
               CASE WHEN i < {KNOWN} THEN i::DOUBLE END AS "raw:amount",
               CASE WHEN i < {KNOWN} THEN 'north' END AS "raw:region"
        FROM range({N}) r(i)) TO '{folder}/rows.parquet'""")
    np.savez(folder / "vectors.npz", row=np.arange(0, N, 2))
    (folder / "meta.json").write_text(json.dumps({"format": FORMAT, "fingerprint": "x", "rows": N}))
    return AnalysisStore(folder)


@pytest.mark.parametrize("kind", ["TINYINT", "INTEGER", "UBIGINT", "BOOLEAN", "FLOAT", "DOUBLE"])
def test_a_null_among_numbers_is_nan(kind: str) -> None:
    found = filled(duckdb.sql(f"SELECT CASE WHEN i <> 1 THEN 1::{kind} END AS x FROM range(3) r(i)").fetchnumpy()["x"])
    np.testing.assert_array_equal(found.astype(np.float64), [1, np.nan, 1])


def test_a_null_among_words_and_dates_is_none() -> None:
    for value in ("'a'", "DATE '2024-01-02'"):
        found = filled(duckdb.sql(f"SELECT CASE WHEN i <> 1 THEN {value} END AS x FROM range(3) r(i)").fetchnumpy()["x"])
        assert found[1] is None
        assert found[0] is not None


def test_a_column_without_null_keeps_its_type() -> None:
    found = filled(duckdb.sql("SELECT i::SMALLINT AS x FROM range(3) r(i)").fetchnumpy()["x"])
    assert found.dtype == np.int16


def test_every_reader_counts_the_same_labels(store: AnalysisStore) -> None:
    facts: Any = SimpleNamespace(tasks=("churn",), kinds={"churn": "binary"})
    store.__dict__["statistics"] = SimpleNamespace(facts=facts)
    assert np.isfinite(store.rows(["y:churn"])["y:churn"]).sum() == KNOWN
    assert [x is not None for x in store.rows(["raw:region"])["raw:region"]].count(True) == KNOWN
    assert np.isfinite(sampled(store, ["y:churn"]).columns["y:churn"]).sum() == KNOWN / 2
    page = uncertainty(store, "churn")
    assert page.labelled == KNOWN
    assert page.reliability is not None
    assert page.risk is not None
    assert page.reliability.count.sum() == KNOWN
    assert page.reliability.ece == pytest.approx(0.05, abs=1e-6)  # with the others as class 0 it was 0.40
    assert page.risk.random == pytest.approx(0.05, abs=1e-6)
    (row,) = label_rows(store, (), {})
    assert (row.n, row.rate) == (KNOWN, 0.5)
    assert row_quality(store.path / "rows.parquet", facts, "test")["churn"].n == KNOWN
    frame: Any = SimpleNamespace(store=store, filters=(), statistics=SimpleNamespace(facts=facts))
    chooser = labelled(frame, "churn")
    assert len(chooser.error) == KNOWN
    assert chooser.error == pytest.approx(np.full(KNOWN, 0.05), abs=1e-6)


def test_no_other_reader_takes_a_querys_arrays_as_they_come() -> None:
    """`fetchnumpy` gives masked arrays, which `np.asarray` would strip of their mask: in the analysis and the app they pass
    `filled`."""
    bare = []
    for package in ("analysis", "dashboard"):
        for file in (Path(__file__).parents[2] / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            fetches = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Attribute) and n.attr == "fetchnumpy"]
            if fetches and "import filled" not in text:
                bare.append(str(file))
    assert not bare


def test_rows_and_customers_are_told_apart(tmp_path: Path) -> None:
    duckdb.sql(f"""COPY (SELECT i AS "row", 'c' || (i // 2) AS customer_id, i % 2 AS cluster FROM range(10) r(i))
                   TO '{tmp_path}/rows.parquet'""")
    (tmp_path / "meta.json").write_text(json.dumps({"format": FORMAT, "fingerprint": "x", "rows": 10}))
    store = AnalysisStore(tmp_path)
    assert (store.n, store.customers()) == (10, 5)
    assert store.customers([CohortFilter("row", "in", (0, 1, 2))]) == 2
