"""The app reads a run anew when anything of it changes: weights and texts, its sample, what it knows of its data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from analysis.fingerprint import files_mark
from dashboard import state

CHANGED = (
    "manifest.json",
    "model.safetensors",
    "sample/dataset.json",
    "preprocess/calibration.json",
    "preprocess/context.json",
)


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured / "tiny", tmp_path / "tiny"))


@pytest.mark.parametrize("name", CHANGED)
def test_a_file_that_changes_is_read_anew(name: str, run: Path) -> None:
    before = state.run(run)
    assert state.run(run) is before
    path = run / name
    data = path.read_bytes()
    path.write_bytes(data + (b"" if path.suffix == ".safetensors" else b"\n"))
    assert state.run(run) is not before


def test_what_the_sample_says_of_its_data_is_the_new_text(run: Path) -> None:
    path = run / "sample" / "dataset.json"
    assert state.run(run).sample().manifest.notes == ()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": ["a new note"]}))
    assert list(state.run(run).sample().manifest.notes) == ["a new note"]


@pytest.mark.parametrize("folder", ["sample", "preprocess"])
def test_a_file_that_comes_or_goes_below_is_seen(folder: str, run: Path) -> None:
    marks = [files_mark(run)]
    (run / folder / "more").mkdir()
    (run / folder / "more" / "new.json").write_text("{}")
    marks.append(files_mark(run))
    (run / folder / "more" / "new.json").unlink()
    marks.append(files_mark(run))
    assert marks[0] == marks[2] != marks[1]
