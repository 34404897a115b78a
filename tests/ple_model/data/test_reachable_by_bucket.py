"""Planted probabilities come in the order of a dataset's rows, however many files hold them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from ple_model.baseline_folder import REACHABLE
from ple_model.data.build.reachable import write_reachable
from ple_model.data.build.spine import SplitSettings, create_spine
from ple_model.data.events.buckets import write_buckets
from ple_model.data.events.connect import connect
from ple_model.data.labels.labels import LabelSettings
from ple_model.data.synth import generate

BUCKETS = 3
CUTOFFS = ("2024-07-01", "2024-10-01")


def written(events: Path, out: Path, buckets: int) -> list[tuple[object, ...]]:
    out.mkdir()
    with connect(events, threads=1) as store:
        create_spine(store.con, CUTOFFS, SplitSettings(), buckets=BUCKETS)
        write_reachable(store, LabelSettings(), out, buckets)
    return [tuple(r.values()) for r in pq.read_table(out / REACHABLE).to_pylist()]


def test_a_bucket_at_a_time_is_what_all_at_once_is_also_where_one_file_holds_all(tmp_path: Path) -> None:
    generate(tmp_path / "events", 60, seed=1)
    write_buckets(tmp_path / "events", tmp_path / "buckets", BUCKETS)
    at_once = written(tmp_path / "buckets", tmp_path / "at-once", 1)
    assert len({r[0] for r in at_once}) > BUCKETS
    assert written(tmp_path / "buckets", tmp_path / "by-bucket", BUCKETS) == at_once
    shutil.rmtree(tmp_path / "buckets" / "probabilities")
    shutil.copy(tmp_path / "events" / "probabilities.parquet", tmp_path / "buckets" / "probabilities.parquet")
    assert written(tmp_path / "buckets", tmp_path / "one-file", BUCKETS) == at_once
