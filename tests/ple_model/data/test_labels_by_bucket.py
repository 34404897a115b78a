"""Labels of a bucket are those that its rows have among all customers, and repeated rows are found in buckets as anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ple_model.data.build.coverage import last_event
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.checking.validation import validate
from ple_model.data.events.buckets import bucket_sql, write_buckets
from ple_model.data.events.connect import Bucket, connect, table_files
from ple_model.data.labels.labels import Labels, LabelSettings, compare_customers, compute_labels, given_labels
from ple_model.tasks import TASKS
from tests.ple_model.data.tiny_events import CUTOFFS, tables, write_events

BUCKETS = 3
SETTINGS = LabelSettings()


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One customer alone has a label of its own of churn, one row of transactions and one of holdings are there twice."""
    frames, folder = tables(), tmp_path_factory.mktemp("bank")
    frames["labels"] = pd.DataFrame({"customer_id": ["c007"], "cutoff": [pd.Timestamp(CUTOFFS[0])], "churn": [1]})
    for name in ("transactions", "holdings"):
        frames[name] = pd.concat([frames[name], frames[name].iloc[[5, 17]]], ignore_index=True)
    write_buckets(write_events(folder / "events", frames), folder / "buckets", BUCKETS)
    return folder / "buckets"


def test_labels_of_a_bucket_are_those_among_all_customers(buckets: Path) -> None:
    with connect(buckets, threads=1) as store:
        create_spine(store.con, CUTOFFS, SplitSettings(), buckets=BUCKETS)
        number = store.con.execute(f"SELECT {bucket_sql(BUCKETS)} AS b FROM spine ORDER BY row_id").fetchnumpy()["b"]
        own, compared = given_labels(store), compare_customers(store, SETTINGS)
        left = {name for (name,) in store.con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        everybody = compute_labels(store, SETTINGS)
        last = last_event(store)
    assert left == {"spine"}, "what the tasks read is not kept"
    assert own == ("churn",)
    assert compared.keys() == {t for t, s in TASKS.items() if s.compares} >= {"spending_bucket"}
    for k in range(BUCKETS):
        mine = number == k
        with connect(buckets, threads=1, bucket=Bucket(k, last)) as store:
            assert create_spine(store.con, CUTOFFS, SplitSettings()) == mine.sum() > 0
            found = compute_labels(store, SETTINGS, own, {t: v[mine] for t, v in compared.items()})
            alone = compute_labels(store, SETTINGS)
        _same(found, everybody, mine)
        assert not np.array_equal(alone.columns["spending_bucket"], found.columns["spending_bucket"], equal_nan=True)
        if "churn" not in alone.own:
            assert "churn" in alone.defined, "of this bucket alone it would be for the active"


def _same(found: Labels, everybody: Labels, mine: np.ndarray) -> None:
    assert found.own == everybody.own
    assert found.defined.keys() == everybody.defined.keys()
    for task, values in found.columns.items():
        np.testing.assert_array_equal(values, everybody.columns[task][mine], err_msg=task)
    for task, rows in found.defined.items():
        np.testing.assert_array_equal(rows, everybody.defined[task][mine], err_msg=task)
    np.testing.assert_array_equal(found.brand, everybody.brand[mine])


def test_repeated_rows_are_found_bucket_by_bucket(buckets: Path) -> None:
    ours, theirs = validate(buckets), validate(buckets.with_name("events"))
    kinds = ("duplicate", "repeated_row")
    found = [f for f in ours.faults if f.kind in kinds]
    assert {(f.table, f.kind, f.rows) for f in found} == {("transactions", "repeated_row", 2), ("holdings", "duplicate", 2)}
    assert sorted(found, key=str) == sorted((f for f in theirs.faults if f.kind in kinds), key=str)
    assert len(table_files(buckets, "transactions")) == BUCKETS
