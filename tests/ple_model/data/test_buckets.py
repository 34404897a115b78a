"""Events in buckets: every row in one of them, none changed, and a folder as any other."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pytest

from ple_model.cli import main
from ple_model.data.checking.validation import validate
from ple_model.data.events.buckets import MAX_BUCKETS, bucket_sql, write_buckets
from ple_model.data.events.connect import Bucket, connect, table_files
from ple_model.data.events.manifest import EventsManifest
from ple_model.errors import UserError
from tests.ple_model.data.tiny_events import tables, write_events

BUCKETS = 3
WITH_CUSTOMERS = ("customers", "transactions", "sessions", "holdings", "campaigns")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("bank") / "events", tables())


@pytest.fixture(scope="module")
def buckets(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bank") / "buckets"
    write_buckets(events, out, BUCKETS)
    return out


def _rows(folder: Path, table: str, bucket: int | None = None) -> pd.DataFrame:
    found = pd.concat([pd.read_parquet(f) for f in table_files(folder, table, bucket)], ignore_index=True)
    return found.sort_values(list(found.columns), ignore_index=True)


@pytest.mark.parametrize("table", [*WITH_CUSTOMERS, "merchants"])
def test_no_row_is_lost_or_changed(events: Path, buckets: Path, table: str) -> None:
    pd.testing.assert_frame_equal(_rows(events, table), _rows(buckets, table))


def test_a_customer_lies_in_one_bucket_of_every_table_and_that_is_its_hash(buckets: Path) -> None:
    found: dict[str, set[int]] = {}
    for table in WITH_CUSTOMERS:
        for k in range(BUCKETS):
            for customer in _rows(buckets, table, k)["customer_id"].unique():
                found.setdefault(customer, set()).add(k)
    assert len(found) > 50
    with duckdb.connect() as con:
        for customer, where in found.items():
            hashed = con.execute(f"SELECT {bucket_sql(BUCKETS, '?')}", [customer]).fetchall()[0][0]
            assert where == {hashed}


def test_rows_of_a_bucket_are_sorted_by_customer_and_time(buckets: Path) -> None:
    for file in table_files(buckets, "transactions"):
        keys = list(zip(*(pd.read_parquet(file)[c] for c in ("customer_id", "ts")), strict=True))
        assert keys == sorted(keys)


def test_it_is_a_folder_of_events_as_any_other_and_one_bucket_is_read_alone(events: Path, buckets: Path) -> None:
    assert validate(buckets).ok
    counts = []
    for bucket in (None, *(Bucket(k, None) for k in range(BUCKETS))):
        with connect(buckets, bucket=bucket) as store:
            counts.append(store.con.execute("SELECT count(*) FROM transactions").fetchall()[0][0])
            assert store.con.execute("SELECT count(*) FROM merchants").fetchall()[0][0] == len(_rows(events, "merchants"))
    assert counts[0] == sum(counts[1:]) == len(_rows(events, "transactions"))


def test_the_manifest_keeps_what_the_source_said(events: Path, buckets: Path) -> None:
    before, after = EventsManifest.load(events), EventsManifest.load(buckets)
    assert (after.name, after.defaults, after.currency) == (before.name, before.defaults, before.currency)
    assert (before.buckets, after.buckets) == (1, BUCKETS)


def test_rows_without_an_id_are_not_lost(tmp_path: Path) -> None:
    given = tables()
    given["transactions"].loc[0, "customer_id"] = None
    write_events(tmp_path / "events", given)
    write_buckets(tmp_path / "events", tmp_path / "out", 2)
    assert _rows(tmp_path / "out", "transactions", 0)["customer_id"].isna().sum() == 1


def test_a_bucket_that_is_gone_is_named_and_not_taken_for_an_empty_one(events: Path, tmp_path: Path) -> None:
    write_buckets(events, tmp_path / "out", 2)
    (tmp_path / "out" / "sessions" / "bucket=001.parquet").unlink()
    with pytest.raises(UserError, match=r"sessions' has no bucket=001\.parquet"):
        connect(tmp_path / "out", bucket=Bucket(1, None))


def test_bad_use_is_one_sentence_and_leaves_nothing(events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=f"--buckets: 1,001 is not valid, it must be at most {MAX_BUCKETS:,}"):
        write_buckets(events, tmp_path / "many", MAX_BUCKETS + 1)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    assert main(["shard", str(events), str(tmp_path / "taken")]) == 2
    assert "taken" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no customers\.parquet"):
        write_buckets(tmp_path / "empty", tmp_path / "out")


def test_one_bucket_for_so_many_customers(events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shard", str(events), str(tmp_path / "out"), "--json"]) == 0
    assert EventsManifest.load(tmp_path / "out").buckets == 1
    capsys.readouterr()
