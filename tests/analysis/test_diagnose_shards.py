"""A diagnosis by ranges of rows: what one process finds, the same bytes from every engine, and nothing measured twice."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from analysis import diagnose
from analysis.judging import Judge
from analysis.record import Recorder
from analysis.recording import samples
from analysis.recording.opened import Opened
from analysis.recording.passed_files import save_passed
from analysis.recording.samples import Drawn, places
from analysis.recording.shards import RecordShard, record_shard, record_shards
from analysis.stats.base import pack
from analysis.stats.run import Statistics
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.engine import ShardEngine, open_engine
from ple_model.errors import UserError
from ple_model.run import Run
from tests.in_process import InProcess

ROWS = 300


@pytest.fixture
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.recording.passing.BATCH", 64)
    monkeypatch.setattr("analysis.recording.shards.SHARD_ROWS", 256)


def copied(run: Run, folder: Path) -> Path:
    """Of a run of which nothing was measured yet."""
    return Path(shutil.copytree(run.path, folder / "run", ignore=shutil.ignore_patterns("analysis")))


@pytest.mark.slow
@pytest.mark.usefixtures("_small_ranges")
def test_ranges_find_what_one_process_finds(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    whole = diagnose(copied(tiny_run, tmp_path / "whole"), tiny_dataset.path, ROWS)
    engine = InProcess()
    ranges = diagnose(copied(tiny_run, tmp_path / "ranges"), tiny_dataset.path, ROWS, engine=engine)
    assert [name for _, name in engine.ran] == ["00002", "00001", "00000"]
    assert_close([f.to_dict() for f in ranges.findings], [f.to_dict() for f in whole.findings])
    assert_same(ranges.statistics, whole.statistics)
    rows, their_rows = (pq.read_table(d.store.path / "rows.parquet") for d in (ranges, whole))
    assert rows.equals(their_rows)
    for name, vectors in whole.store.vectors.items():
        np.testing.assert_array_equal(ranges.store.vectors[name], vectors)
    assert not list((ranges.run / "analysis").glob(".*")), "the parts are gone once the whole is there"


def assert_same(ours: Statistics, theirs: Statistics) -> None:
    """To 1e-9, whole numbers and names exactly."""
    (said, arrays), (expected, their_arrays) = pack(ours), pack(theirs)
    assert_close(json.loads(said), json.loads(expected))
    assert arrays.keys() == their_arrays.keys()
    for name, values in their_arrays.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(arrays[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(arrays[name], values, name)


def assert_close(ours: object, theirs: object) -> None:
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert_close(ours[key], value)
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b)
    else:
        assert ours == (pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True) if isinstance(theirs, float) else theirs)


class Measured:
    """A pass by ranges without what comes at its end."""

    def __init__(self, run: Run, data: Dataset, folder: Path) -> None:
        self.opened, self.folder = Opened.of(run, data), folder
        self.drawn = Drawn.of(data.rows(), None, 0)

    def by(self, engine: ShardEngine) -> dict[str, bytes]:
        """Everything that it leaves."""
        (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        (self.folder / "whole").mkdir(exist_ok=True)
        found = record_shards(
            self.opened, self.drawn, self.folder / "parts", self.folder / "whole" / "rows.parquet", engine, lambda *_: None
        )
        assert found.compared
        assert found.effects.rows() is not None
        assert found.agreements.found
        save_passed(self.folder / "whole", found)
        return {p.name: p.read_bytes() for p in (self.folder / "whole").iterdir()}


@pytest.mark.usefixtures("_small_ranges")
def test_a_lost_range_is_all_that_is_measured_again(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    one, other = (Measured(tiny_run, tiny_dataset, tmp_path / name) for name in ("one", "other"))
    lost, again, whole = InProcess(fails="record_shard 00001"), InProcess(), InProcess()
    with pytest.raises(UserError, match="shard 00001: lost"):
        one.by(lost)
    assert [name for _, name in lost.ran] == ["00002"]
    assert one.by(again) == other.by(whole)
    assert [name for _, name in again.ran] == ["00001", "00000"]


@pytest.mark.usefixtures("_small_ranges")
def test_a_range_that_is_begun_again_keeps_what_its_first_attempt_left(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    shard = RecordShard(tiny_run.path, tiny_dataset.path, Drawn.of(tiny_dataset.rows(), None, 0).between(0, 64), tmp_path / "0")
    record_shard(shard)
    left = {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in shard.out.iterdir()}
    record_shard(shard)
    assert {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in shard.out.iterdir()} == left


def test_a_range_reads_the_losses_of_its_own_rows(
    tiny_run: Run, tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ple_model.baseline_folder.BATCH", 16)
    model, train, end = tiny_run.model(), tiny_dataset.rows("train"), tiny_dataset.rows()
    whole, rng = Judge(tiny_run, model, tiny_dataset, {}), np.random.default_rng(0)
    assert whole.others["churn"]
    for rows in (range(0, 64), range(train - 10, train + 20), range(train + 40, train + 70), range(end - 5, end), range(0)):
        mine = Judge(tiny_run, model, tiny_dataset, {}, rows)
        held = len([r for r in rows if r >= train])
        assert {len(loss) for by_name in mine.others.values() for loss in by_name.values()} == {held}
        if rows:
            label, value = torch.from_numpy(rng.integers(0, 2, len(rows))), torch.from_numpy(rng.uniform(size=len(rows)))
            asked = np.arange(rows.start, rows.stop), {"churn": label}, value
            assert pa.table(mine.columns("churn", *asked)).equals(pa.table(whole.columns("churn", *asked)))
    with_engine = Recorder(tiny_run, tiny_dataset, None, 0, None, InProcess())
    assert not any(len(loss) for by_name in with_engine.judge.others.values() for loss in by_name.values())
    assert with_engine.judge.yardsticks == whole.yardsticks


@pytest.mark.usefixtures("_small_ranges")
def test_parts_that_are_not_gone_on_with_are_swept(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = copied(tiny_run, tmp_path)
    lost = InProcess(fails="record_shard 00000")
    for dataset in (tiny_dataset.path, None):  # of the other one when the second is begun
        with pytest.raises(UserError, match="shard 00000: lost"):
            diagnose(run, dataset, 80, engine=lost)
        assert len(list((run / "analysis").glob(".*.parts"))) == 1


@pytest.fixture(scope="module")
def engines() -> Iterator[list[ShardEngine]]:
    pytest.importorskip("ray")
    with open_engine("local", workers=2) as local, open_engine("ray", workers=2) as ray:
        yield [local, ray]


@pytest.mark.slow
def test_every_engine_leaves_the_same_bytes(
    tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path, engines: list[ShardEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.recording.shards.SHARD_ROWS", 512)  # batches of other processes are as long as ever
    here, *there = (Measured(tiny_run, tiny_dataset, tmp_path / str(i)).by(e) for i, e in enumerate([InProcess(), *engines]))
    assert there == [here, here]


def test_an_address_is_of_ray_alone_and_goes_with_no_number_of_workers(
    tiny_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["diagnose", str(tiny_run.path), "--address", "1.2.3.4:5"]
    assert main(words) == 2
    assert "--engine ray" in capsys.readouterr().err
    assert main([*words, "--engine", "ray", "--workers", "3"]) == 2
    assert "--workers: 3" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "said"), [("diagnose", "default: 2 with --engine"), ("build", "default: 2)")])
def test_help_says_how_many_processes(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("sample", [None, 70])
@pytest.mark.parametrize("permuted", [10, 1000])
def test_ranges_cover_what_was_drawn_once(sample: int | None, permuted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "PERMUTED", permuted)
    monkeypatch.setattr(samples, "VECTOR_ROWS", 40)
    monkeypatch.setattr(samples, "EFFECT_ROWS", 10)
    whole = Drawn.of(130, sample, seed=3)
    parts = [whole.between(first, min(first + 48, 130)) for first in range(0, 130, 48)]
    assert sum(p.total for p in parts) == whole.total == (sample or 130)
    for name in ("vectors", "effects", "compared"):
        drawn = getattr(whole, name)
        assert np.concatenate([getattr(p, name) for p in parts]).tolist() == drawn.tolist() == sorted(set(drawn.tolist()))
        assert set(drawn.tolist()) <= set(whole.measured(0, 130).tolist())
    assert set(whole.effects.tolist()) <= set(whole.vectors.tolist())
    assert np.concatenate([p.measured(p.first, 48) for p in parts]).tolist() == whole.measured(0, 130).tolist()


def test_places_are_of_the_rows_that_are_in_the_sample() -> None:
    rows, nobody = np.arange(10, 20), np.zeros(0, dtype=np.int64)
    assert places(rows, np.array([3, 10, 15, 19, 40])).tolist() == [0, 5, 9]
    assert places(rows, nobody).tolist() == []
    assert places(rows, np.array([40])).tolist() == []


def test_a_draw_does_not_hold_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Drawn.of(3_000_000_000, None, seed=0)  # a number for each would not fit
    held = sum(v.nbytes for f in dataclasses.fields(whole) if isinstance(v := getattr(whole, f.name), np.ndarray))
    assert held < 1_000_000
    assert whole.total == 3_000_000_000
