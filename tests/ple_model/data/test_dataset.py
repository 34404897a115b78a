"""The dataset on disk: what is written is read back, in a reproducible order, and damage is named."""

from __future__ import annotations

import itertools
import json
import threading
import tracemalloc
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset import cache
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.manifest import sha256_file
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from tests.factories import joined, random_context, random_inputs

SPLITS = ["train"] * 170 + ["validation"] * 60 + ["test"] * 70
N = len(SPLITS)


def make(path: Path, group_rows: int = 32) -> tuple[PLEClusterInput, Dataset]:
    inputs = random_inputs(N, seed=1, absent={"txn_seq": [0, 3], "features:overseas": [5]})
    batch = Batch(inputs, [f"c{i}" for i in range(N)], ["2020-01-01"] * N, SPLITS, {"region": ["a", "b", "c"] * (N // 3)})
    return inputs, write_dataset(path, [batch], context=random_context(), group_rows=group_rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PLEClusterInput, Dataset]:
    return make(tmp_path_factory.mktemp("dataset"))


def assert_same(a: PLEClusterInput, b: PLEClusterInput) -> None:
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if f.name == "parts" or x is None or y is None:
            assert x == y
            continue
        pairs = [(x, y)] if isinstance(x, torch.Tensor) else [(x[k], y[k]) for k in x]
        for u, v in pairs:
            assert u.dtype == v.dtype
            torch.testing.assert_close(u, v, rtol=0, atol=0, equal_nan=True)


def ids(dataset: Dataset, split: str | None = "train", size: int = 16, **kwargs: int | bool) -> list[str]:
    return list(itertools.chain.from_iterable(b.customer_id for b in dataset.batches(split, size, **kwargs)))  # type: ignore[arg-type]


def test_what_is_written_is_read_back_exactly(made: tuple[PLEClusterInput, Dataset]) -> None:
    inputs, dataset = made
    read = dataset.load()
    assert_same(inputs, read.inputs)
    assert read.customer_id == [f"c{i}" for i in range(N)]
    assert read.split == SPLITS
    assert dataset.rows() == N
    assert dataset.rows("test") == 70
    assert dataset.context().brands == random_context().brands
    assert dataset.manifest.presence["txn_seq"] == pytest.approx(1 - 2 / N)


def test_streaming_without_memory_equals_reading_whole(made: tuple[PLEClusterInput, Dataset]) -> None:
    inputs, dataset = made
    stream = Dataset.open(dataset.path, memory_mb=0)
    pieces = [b.inputs for b in stream.batches(None, 50, window_rows=40)]
    assert_same(inputs, joined(pieces))
    assert not stream._held


def test_the_training_cache_gives_the_same_batches(made: tuple[PLEClusterInput, Dataset], tmp_path: Path) -> None:
    _, dataset = made
    order = {"shuffle": True, "seed": 5, "window_rows": 64, "start": 2}
    for _ in range(2):  # the second time from what is there
        cached = Dataset.open(dataset.path, memory_mb=0, cache=tmp_path)
        for a, b in zip(dataset.batches("train", 16, **order), cached.batches("train", 16, **order), strict=True):  # type: ignore[arg-type]
            assert (a.customer_id, a.cutoff, a.split) == (b.customer_id, b.cutoff, b.split)
            assert_same(a.inputs, b.inputs)
    cached = Dataset.open(dataset.path, cache=tmp_path)
    next(iter(cached.batches("train", 16))).inputs.features.zero_()
    assert next(iter(cached.batches("train", 16))).inputs.features.abs().sum() > 0


@pytest.mark.parametrize("split", ["train", None])
def test_rows_that_several_threads_copy_are_the_same(
    made: tuple[PLEClusterInput, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str | None
) -> None:
    _, dataset = made
    monkeypatch.setattr(cache, "LARGE", 1)
    cached = Dataset.open(dataset.path, cache=tmp_path)
    monkeypatch.setattr(cached, "_copiers", lambda: 3)
    waiting = cached.batches(split, 16, shuffle=True)
    for a, b in zip(dataset.batches(split, 16, shuffle=True), waiting, strict=True):
        assert (a.customer_id, a.cutoff, a.split) == (b.customer_id, b.cutoff, b.split)
        assert {type(v) for v in (*b.customer_id, *b.cutoff, *b.split)} == {str}
        assert_same(a.inputs, b.inputs)


def test_threads_that_copy_rows_end_with_the_batches(
    made: tuple[PLEClusterInput, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LARGE", 1)
    cached = Dataset.open(made[1].path, cache=tmp_path)
    monkeypatch.setattr(cached, "_copiers", lambda: 3)

    def copying() -> int:
        return sum(t.name.startswith("rows of a batch") for t in threading.enumerate())

    left_early = iter(cached.batches("train", 16))
    next(left_early)
    assert copying() > 0
    left_early.close()  # type: ignore[attr-defined]
    assert copying() == 0


def test_only_a_window_is_held_in_memory(made: tuple[PLEClusterInput, Dataset]) -> None:
    _, dataset = made
    assert ids(Dataset.open(dataset.path, memory_mb=0), window_rows=32) == ids(dataset, window_rows=32)
    peaks = []
    for window in (32, 10**6):
        tracemalloc.start()
        ids(Dataset.open(dataset.path, memory_mb=0), None, 8, window_rows=window)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 0.4 * peaks[1]


def test_shuffling_is_reproducible_and_differs_by_epoch_and_seed(made: tuple[PLEClusterInput, Dataset]) -> None:
    _, dataset = made
    first = ids(dataset, shuffle=True, seed=3, window_rows=64)
    assert first == ids(Dataset.open(dataset.path), shuffle=True, seed=3, window_rows=64)
    assert sorted(first) == sorted(ids(dataset))
    assert first != ids(dataset)
    assert first != ids(dataset, shuffle=True, seed=3, epoch=1, window_rows=64)
    assert first != ids(dataset, shuffle=True, seed=4, window_rows=64)


@pytest.mark.parametrize("start", [0, 1, 4, 10, 11])
def test_a_start_position_continues_exactly(made: tuple[PLEClusterInput, Dataset], start: int) -> None:
    _, dataset = made
    whole = ids(dataset, shuffle=True, window_rows=64)
    assert ids(dataset, shuffle=True, window_rows=64, start=start) == whole[start * 16 :]


@pytest.mark.parametrize("size", [16, 7, 3])
def test_ranks_share_out_each_batch(made: tuple[PLEClusterInput, Dataset], size: int) -> None:
    _, dataset = made
    order: dict[str, Any] = {"shuffle": True, "window_rows": 64}
    whole = [b.customer_id for b in dataset.batches("train", size, **order)]
    shards = [[b.customer_id for b in dataset.batches("train", size, rank=r, world=3, **order)] for r in range(3)]
    for number, batch in enumerate(whole):
        parts = [s[number] if number < len(s) else [] for s in shards]
        assert parts == [batch[r::3] for r in range(3)]
    resumed = [b.customer_id for b in dataset.batches("train", size, rank=1, world=3, start=2, **order)]
    assert resumed == shards[1][2:]


def test_a_batch_can_be_changed_without_changing_the_dataset(made: tuple[PLEClusterInput, Dataset]) -> None:
    _, dataset = made
    batch = next(iter(dataset.batches("train", 170)))
    before = batch.inputs.features.clone()
    batch.inputs.features.zero_()
    assert torch.equal(next(iter(dataset.batches("train", 170))).inputs.features, before)


def test_fields_limit_what_is_decoded(made: tuple[PLEClusterInput, Dataset]) -> None:
    _, dataset = made
    batch = next(iter(dataset.batches("train", 8, fields=["txn_seq"])))
    assert batch.inputs.txn_seq is not None
    assert batch.inputs.session_seq is None
    with pytest.raises(UserError, match="did you mean 'txn_seq'"):
        next(iter(dataset.batches("train", 8, fields=["txn_sec"])))


def test_an_extract_holds_the_chosen_rows(made: tuple[PLEClusterInput, Dataset], tmp_path: Path) -> None:
    inputs, dataset = made
    small = dataset.extract(tmp_path / "few", customers=["c7", "c200"])
    batch = small.load()
    assert batch.customer_id == ["c7", "c200"]
    assert_same(inputs.rows(torch.tensor([7, 200])), batch.inputs)
    assert small.table(["raw:region"]).column(0).to_pylist() == ["b", "c"]
    sample = dataset.extract(tmp_path / "sample", limit=25, seed=2)
    assert sample.rows() == 25
    assert sample.load().customer_id == dataset.extract(tmp_path / "again", limit=25, seed=2).load().customer_id
    with pytest.raises(UserError, match="none of the 1 customers"):
        dataset.extract(tmp_path / "none", customers=["nobody"])


def test_a_table_gives_scalar_columns(made: tuple[PLEClusterInput, Dataset]) -> None:
    _, dataset = made
    table = dataset.table()
    assert "features" not in table.column_names
    assert {"customer_id", "y_churn", "p_txn_seq", "raw:region"} <= set(table.column_names)
    assert dataset.table(["y_ltv"], split="test").num_rows == 70
    with pytest.raises(UserError, match="did you mean 'y_churn'"):
        dataset.table(["y_chrun"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "part-test-00000.parquet").unlink()
    with pytest.raises(UserError, match=r"part-test-00000\.parquet is missing"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(UserError, match=r"dataset\.json is missing"):
        Dataset.open(tmp_path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "part-train-00000.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"part-train-00000\.parquet is truncated"):
        Dataset.open(tmp_path)


def test_an_altered_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "part-validation-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    dataset = Dataset.open(tmp_path)
    assert len(next(iter(dataset.batches("train", 4)))) == 4
    with pytest.raises(UserError, match=r"part-validation-00000\.parquet was altered"):
        next(iter(dataset.batches("validation", 4)))
    with pytest.raises(UserError, match="was altered"):
        dataset.verify()


def rewrite(path: Path, table: pa.Table) -> None:
    """Another table in the place of a part, with the size and checksum recorded as if the writer had made it."""
    pq.write_table(table, path)
    record = json.loads((path.parent / "dataset.json").read_text())
    for entry in record["files"]:
        if entry["name"] == path.name:
            entry.update(bytes=path.stat().st_size, sha256=sha256_file(path), group_rows=[table.num_rows])
    (path.parent / "dataset.json").write_text(json.dumps(record))


def test_a_missing_column_and_a_wrong_type_are_named(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "part-test-00000.parquet"
    table = pq.read_table(path)
    rewrite(path, table.drop_columns(["txn_seq"]))
    with pytest.raises(UserError, match="column 'txn_seq' is missing"):
        Dataset.open(tmp_path).load("test")
    wrong = table.set_column(table.schema.get_field_index("y_ltv"), "y_ltv", table.column("y_ltv").cast(pa.float64()))
    rewrite(path, wrong)
    with pytest.raises(UserError, match="column 'y_ltv' is double, expected float"):
        Dataset.open(tmp_path).load("test")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 1}')
    with pytest.raises(UserError, match=r"dataset\.json is damaged"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match="schema_version 99"):
        Dataset.open(tmp_path)


def test_equal_data_have_an_equal_fingerprint(tmp_path: Path) -> None:
    _, a = make(tmp_path / "a")
    _, b = make(tmp_path / "b")
    assert a.manifest.fingerprint == b.manifest.fingerprint


def test_an_unknown_split_is_named(made: tuple[PLEClusterInput, Dataset]) -> None:
    with pytest.raises(UserError, match="did you mean 'train'"):
        made[1].load("trian")
