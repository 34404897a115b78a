"""What a build holds at once is a piece: of a part a row group, of collected arrays a chunk, of the fits' rows what is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ple_model.data.build import artifacts, reachable
from ple_model.data.build.collect import Collected, Piece, chunks
from ple_model.data.build.steps import write_part
from ple_model.data.dataset.writer import DatasetWriter
from ple_model.data.derived.sequences import SequenceScale
from ple_model.fields import N_FEATURES

ROWS, CHUNK = 100, 16


def _mapped(folder: Path) -> list[str]:
    """Files of the folder that lie in this process's memory."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder) in line]


@pytest.fixture
def pieces(tmp_path: Path) -> tuple[Collected, dict[str, np.ndarray]]:
    """Arrays of two pieces, written in chunks, and all of them in memory."""
    rng = np.random.default_rng(0)
    shapes = {"daily": (365, 4), "txn": (180, 16), "session": (90, 8), "features": (N_FEATURES,), "p": ()}
    whole = {k: rng.normal(size=(ROWS, *s)).astype(np.float32) for k, s in shapes.items()}
    folders = tmp_path / "first", tmp_path / "second"
    cuts = (0, 60), (60, ROWS)
    for folder, (begin, end) in zip(folders, cuts, strict=True):
        folder.mkdir()
        for first, stop in chunks(end - begin, CHUNK):
            for name, values in whole.items():
                write_part(folder, name, end - begin, first, values[begin + first : begin + stop])
    assert _mapped(tmp_path) == [], "what was written is the disk's"
    return Collected(tuple(Piece((f,), b - a) for f, (a, b) in zip(folders, cuts, strict=True))), whole


def test_rows_of_all_pieces_are_taken_and_no_file_stays_mapped(
    pieces: tuple[Collected, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    rows, whole = pieces
    some = np.array([0, 1, 58, 59, 60, 99])
    for index in (some, slice(50, 70), slice(0, 0), np.arange(61, 64)):
        found = rows.take(index)
        assert found.keys() == whole.keys()
        for name, values in found.items():
            np.testing.assert_array_equal(values, whole[name][index], err_msg=name)
    assert _mapped(tmp_path) == []


def test_fits_read_rows_by_chunks_and_keep_no_more_than_they_read(
    pieces: tuple[Collected, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, whole = pieces
    taken: list[int] = []
    real = Collected.take

    def noted(self: Collected, index: np.ndarray, *names: str) -> dict[str, np.ndarray]:
        taken.append(len(index))
        return real(self, index, *names)

    monkeypatch.setattr(Collected, "take", noted)
    monkeypatch.setattr(artifacts, "chunks", lambda n: chunks(n, CHUNK))
    monkeypatch.setattr(artifacts, "READ_BY_FITS", ("features", "daily"))
    chosen = np.flatnonzero(np.arange(ROWS) % 7)
    kept = artifacts._read_by_fits(rows, chosen)
    np.testing.assert_array_equal(kept["features"], whole["features"][chosen])
    np.testing.assert_array_equal(kept["daily"], whole["daily"][chosen][:, -artifacts.RECENT_DAYS :])
    assert artifacts.recent(kept).shape == (len(chosen),)
    scale = SequenceScale.fit(artifacts._sequences(rows, chosen))
    for found, name in ((scale.txn, "txn"), (scale.session, "session")):
        flat = whole[name][chosen].astype(np.float64).reshape(-1, whole[name].shape[-1])
        np.testing.assert_allclose(found, np.sqrt((flat**2).mean(axis=0)), rtol=1e-6)
    assert max(taken) == CHUNK < len(chosen)


def test_a_part_grows_by_row_groups(tmp_path: Path) -> None:
    """Held are less than a row group of each split, and the chunk in hand."""
    rng, chunk, many = np.random.default_rng(0), 50, 24
    writer = DatasetWriter(tmp_path / "dataset", group_rows=64)
    before = pa.total_allocated_bytes()
    size = most = 0
    for k in range(many):
        table = _table(rng, k * chunk, chunk)
        size = table.nbytes
        writer.append(table)
        del table
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 10 * size < many * size
    assert {f.split: f.rows for f in writer.finish().files} == {"train": 800, "test": 400}


def test_parts_and_row_groups_are_of_their_sizes_and_rows_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = [_table(rng, 50 * k, 50) for k in range(7)]
    writer = DatasetWriter(tmp_path / "dataset", group_rows=64, part_rows=200)
    for table in tables:
        writer.append(table)
    files = {f.name: f for f in writer.finish().files}
    assert {n: f.group_rows for n, f in files.items()} == {
        "part-train-00000.parquet": (64, 64, 64, 8), "part-train-00001.parquet": (34,), "part-test-00000.parquet": (64, 52),
    }  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "dataset").iterdir()) == sorted(files)
    for split in ("train", "test"):
        mine = pa.concat_tables(tables).filter(pc.field("split") == split)
        read = [pq.read_table(tmp_path / "dataset" / n) for n in sorted(files) if f"-{split}-" in n]
        assert pa.concat_tables(read).combine_chunks().equals(mine.combine_chunks())


def test_a_writer_that_gives_up_leaves_no_part(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "dataset", group_rows=16, part_rows=64)
    writer.append(_table(np.random.default_rng(0), 0, 150))
    assert list((tmp_path / "dataset").iterdir()), "one is finished, one begun"
    writer.discard()
    assert list((tmp_path / "dataset").iterdir()) == []


def _table(rng: np.random.Generator, first: int, rows: int) -> pa.Table:
    """Two rows of three are of the train split."""
    features = pa.array(rng.normal(size=rows * N_FEATURES).astype(np.float32))
    return pa.table(
        {
            "customer_id": [f"c{first + i:05d}" for i in range(rows)],
            "cutoff": ["2024-01-01"] * rows,
            "split": ["test" if (first + i) % 3 == 2 else "train" for i in range(rows)],
            "features": pa.FixedSizeListArray.from_arrays(features, N_FEATURES),
            "cluster_ids": pa.array(np.zeros(rows, np.int32)),
        }
    )


@given(st.lists(st.integers(0, 9), max_size=12))
def test_row_groups_do_not_depend_on_how_rows_arrive(sizes: list[int]) -> None:
    arrived = iter(range(sum(sizes)))
    batches = [pa.record_batch({"row": pa.array([next(arrived) for _ in range(n)], pa.int64())}) for n in sizes]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reachable, "ROW_GROUP", 9)
        groups = list(reachable._groups(batches))
    assert [r for g in groups for r in g["row"].to_pylist()] == list(range(sum(sizes)))
    assert [g.num_rows for g in groups[:-1]] == [9] * (len(groups) - 1)
    assert all(0 < g.num_rows <= 9 for g in groups)
