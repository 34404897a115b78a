"""A stored analysis never changes, so a page that is drawn again asks its rows nothing again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pytest

from analysis.cohort import CohortFilter
from analysis.store import AnalysisStore
from analysis.stored_rows import FORMAT, StoredRows
from ple_model.errors import UserError

ROWS = 1_000


@pytest.fixture
def store(tmp_path: Path) -> AnalysisStore:
    duckdb.sql(f"""COPY (SELECT i AS "row", 'c' || (i // 2) AS customer_id, i % 2 AS cutoff, i % 3 AS cluster,
                   i / 7 AS "p:churn" FROM range({ROWS}) r(i)) TO '{tmp_path}/rows.parquet'""")
    (tmp_path / "meta.json").write_text(json.dumps({"format": FORMAT, "fingerprint": "x", "rows": ROWS}))
    return AnalysisStore(tmp_path)


def answers(store: AnalysisStore) -> list[Any]:
    one = (CohortFilter("cluster", "eq", (1.0,)),)
    edges, counts = store.histogram("p:churn", one)
    return [
        store.count(), store.count(one), store.distinct("cluster"), store.group_mean(["p:churn"], "cluster")[2].tolist(),
        edges.tolist(), counts.tolist(), store.latest().tolist(), store.rows(["row", "customer_id"], one)["row"].tolist(),
        store.rows(["row"], (), 10, seed=1)["row"].tolist(), store.rows(["row"], (), 10, seed=2)["row"].tolist(),
    ]  # fmt: skip


def test_what_was_asked_is_answered_again_without_the_file(store: AnalysisStore) -> None:
    first = answers(store)
    with mock.patch.object(StoredRows, "cursor", side_effect=AssertionError("it was asked again")):
        assert answers(store) == first
        with pytest.raises(AssertionError):
            store.count((CohortFilter("cluster", "eq", (2.0,)),))  # another question
    assert answers(AnalysisStore(store.path)) == first
    assert first[0] == ROWS
    assert first[1] == len(first[7])
    assert first[8] != first[9]


def test_what_a_reader_does_to_its_arrays_is_no_other_readers(store: AnalysisStore) -> None:
    mine = store.rows(["row"])["row"]
    before = mine.tolist()
    mine[:] = -1
    store.latest()[:] = -1
    assert store.rows(["row"])["row"].tolist() == before
    assert store.latest().min() == 1


def test_no_more_is_kept_than_fits(store: AnalysisStore) -> None:
    with mock.patch("analysis.stored_rows.KEPT_BYTES", 3 * 8 * ROWS):
        for seed in range(5):
            store.rows(["row"], (), ROWS, seed=seed)
        assert len(store._answers) == 3
        store.rows(["row", "customer_id", "p:churn"])  # more than may be kept at all
        assert not store._answers
        assert len(store.rows(["row", "customer_id", "p:churn"])["row"]) == ROWS


def test_a_question_that_cannot_be_answered_is_an_error_each_time(store: AnalysisStore) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="does not fit the column's type"):
            store.count((CohortFilter("cluster", "eq", ("x",)),))
