"""A disk that is full is one sentence; the whole drill over all commands: `python -m tests.drills.disk_full`."""

from __future__ import annotations

import errno
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ple_model.cli import main
from ple_model.data.build.steps import new_map
from ple_model.data.dataset.reader import Dataset
from ple_model.disk import DiskFull, disk_full, is_disk_full, writing
from ple_model.errors import UserError
from ple_model.files import write_tensors
from ple_model.progress import ProgressWriter, read_progress
from ple_model.run import load_run
from ple_model.safe_paths import write_bytes
from ple_model.training import trainer
from tests.drills.disk_full import mount, unmount
from tests.fakes import tiny_config


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    if not mount(place, 2**20):
        pytest.skip("mounting a small file system needs root")
    yield place
    unmount(place)


def test_what_does_not_fit_is_named_with_what_it_needs_and_leaves_nothing(small_disk: Path) -> None:
    (small_disk / "kept").write_bytes(b"old")
    with pytest.raises(DiskFull, match=r"no space left on .*small while writing .*kept: 4\.0 MB are needed, 1\.0 MB are free"):
        write_bytes(small_disk / "kept", bytes(4_000_000))
    with pytest.raises(DiskFull, match=r"weights\.safetensors: 4\.0 MB are needed"):
        write_tensors(small_disk / "weights.safetensors", {"w": torch.zeros(1_000_000)})
    with pytest.raises(DiskFull, match=r"table\.parquet: "), writing(small_disk / "table.parquet"):
        pq.write_table(pa.table({"x": np.random.default_rng(0).random(500_000)}), small_disk / "table.parquet")
    assert [p.name for p in small_disk.iterdir()] == ["kept"]
    assert (small_disk / "kept").read_bytes() == b"old"


def test_a_memory_map_is_promised_by_the_disk_before_it_is_filled(small_disk: Path) -> None:
    with pytest.raises(DiskFull, match=r"big\.npy: 8\.0 MB are needed"):
        new_map(small_disk / "big.npy", (1_000_000,), np.float64)
    assert list(small_disk.iterdir()) == []
    fits = new_map(small_disk / "fits.npy", (50_000,), np.float64)
    fits[:] = 1.0
    assert fits.sum() == 50_000


def test_a_copy_that_does_not_fit_names_the_file_that_was_to_be_written(small_disk: Path, tmp_path: Path) -> None:
    source, one = tmp_path / "source", tmp_path / "source" / "big"
    source.mkdir()
    one.write_bytes(bytes(2_000_000))
    for copy, where in ((lambda: shutil.copytree(source, small_disk / "to"), "to/big"),
                        (lambda: shutil.copyfile(one, small_disk / "alone"), "alone")):  # fmt: skip
        with pytest.raises(OSError, match="No space left") as said:
            copy()
        assert f"no space left on {small_disk} while writing {small_disk / where}: " in str(disk_full(said.value))


def test_a_line_of_progress_is_whole_or_not_there(small_disk: Path) -> None:
    log = ProgressWriter(small_disk / "progress.jsonl")
    log.write("first")
    with pytest.raises(DiskFull, match=r"progress\.jsonl"):
        log.write("second", text="x" * 2_000_000)
    log.write("third")
    log.close()
    assert [line["event"] for line in read_progress(small_disk / "progress.jsonl")] == ["first", "third"]


def test_a_limit_on_file_sizes_is_named(tmp_path: Path) -> None:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(DiskFull, match="limit on the size of a file"):
            write_bytes(tmp_path / "file", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert list(tmp_path.iterdir()) == []


def test_a_training_whose_disk_fills_up_says_so_and_goes_on_with_room(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "tiny.yaml").write_text(tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}}).to_yaml())
    run = tmp_path / "run"
    words = ["train", str(tiny_dataset.path), str(run), "--preset", "small", "--config", str(tmp_path / "tiny.yaml"), "--quiet"]
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "save_checkpoint", full)
        assert main([*words, "--device", "cpu"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "no space left on" in said
    assert str(run) in said
    left = load_run(run)
    assert (left.manifest.status, left.manifest.reason) == ("failed", said)
    assert left.progress()[-1]["event"] == "failed"
    assert main(["train", str(tiny_dataset.path), str(run), "--resume", "--quiet"]) == 0
    assert load_run(run).manifest.status == "finished"


def test_other_errors_are_not_taken_for_a_full_disk() -> None:
    assert not is_disk_full(OSError(errno.ENOENT, "No such file"))
    assert not is_disk_full(UserError("File too large is the name of my table"))
    with pytest.raises(ZeroDivisionError), writing(Path("x")):
        _ = 1 / 0
