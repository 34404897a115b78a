"""A run folder opens as it was written; a foreign, damaged or truncated one is one sentence and never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from ple_model import migrations
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.disk import DiskFull
from ple_model.errors import UserError
from ple_model.files import read_json, write_json, write_tensors
from ple_model.json_text import plain
from ple_model.migrations import FORMAT_VERSION
from ple_model.run import Run, list_runs, load_run
from tests.factories import random_inputs


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of the tiny run that a test may damage."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "run"))


def test_a_run_opens_with_the_weights_that_were_saved(tiny_run: Run) -> None:
    model = load_run(tiny_run.path).model()
    saved = load_file(tiny_run.path / "model.safetensors")
    assert not model.training
    assert all(torch.equal(v, saved[k]) for k, v in model.state_dict().items())


def test_a_loaded_model_keeps_its_gates_frozen(tiny_run: Run) -> None:
    assert tiny_run.model().gates_frozen


def test_two_loads_predict_the_same(tiny_run: Run) -> None:
    inputs = random_inputs(4, seed=3, brands=12)
    with torch.no_grad():
        a, b = tiny_run.model()(inputs), load_run(tiny_run.path).model()(inputs)
    assert all(torch.equal(a.predictions[t], b.predictions[t]) for t in a.predictions)


def test_a_run_names_its_parts(tiny_run: Run) -> None:
    assert set(tiny_run.calibration) == {"ctr", "cvr", "churn", "retention"}
    assert tiny_run.context().constant_loss
    assert tiny_run.state == "finished"
    assert "finished" in repr(tiny_run)


def test_the_dataset_is_found_again_only_if_it_is_the_same(
    tiny_run: Run, tiny_dataset: Dataset, copy: Path, tmp_path: Path
) -> None:
    found = tiny_run.dataset()
    assert found is not None
    assert found.path == tiny_dataset.path.resolve()
    write_json(copy / "state" / "dataset.json", {"path": str(tiny_run.path / "sample")})
    assert load_run(copy).dataset() is None
    shutil.rmtree(copy / "state")
    assert load_run(copy).dataset() is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_manifest(path: Path, **changes: object) -> None:
    raw = json.loads((path / "manifest.json").read_text())
    raw.update(changes)
    (path / "manifest.json").write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))


def _pickle_in_place(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path / "model.safetensors")


def _other_model(path: Path) -> None:
    save_file({"linear.weight": torch.ones(2, 2)}, path / "model.safetensors")


def _other_width(path: Path) -> None:
    tensors = load_file(path / "model.safetensors")
    name = next(k for k, v in tensors.items() if v.dim() == 2)
    save_file({**tensors, name: torch.ones(3, 3)}, path / "model.safetensors")


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda p: (p / "manifest.json").unlink(), "manifest.json"),
    "truncated manifest": (lambda p: truncate(p / "manifest.json"), "manifest.json"),
    "manifest is a list": (lambda p: (p / "manifest.json").write_text("[]"), "manifest.json"),
    "manifest of something else": (lambda p: (p / "manifest.json").write_text('{"name": "app"}'), "format_version"),
    "newer format": (lambda p: edit_manifest(p, format_version=FORMAT_VERSION + 1), "newer"),
    "unknown old format": (lambda p: edit_manifest(p, format_version=0), "format version 0"),
    "unknown status": (lambda p: edit_manifest(p, status="paused"), "paused"),
    "no data": (lambda p: edit_manifest(p, data=None), "data"),
    "wrong type": (lambda p: edit_manifest(p, seed="zero"), "seed"),
    "no config": (lambda p: (p / "config.yaml").unlink(), "config.yaml"),
    "broken config": (lambda p: (p / "config.yaml").write_text("training: ["), "config.yaml"),
    "unsafe config": (lambda p: (p / "config.yaml").write_text("global: !!python/object/apply:os.system [id]"), "config.yaml"),
    "unknown key": (lambda p: (p / "config.yaml").write_text("trainin: {}"), "trainin"),
    "no weights": (lambda p: (p / "model.safetensors").unlink(), "no weights"),
    "truncated weights": (lambda p: truncate(p / "model.safetensors"), "model.safetensors"),
    "empty weights": (lambda p: (p / "model.safetensors").write_bytes(b""), "model.safetensors"),
    "a pickle for weights": (_pickle_in_place, "model.safetensors"),
    "another model's weights": (_other_model, "model.safetensors"),
    "another width": (_other_width, "shape"),
    "damaged context": (lambda p: truncate(p / "preprocess" / "context.json"), "context.json"),
    "damaged calibration": (lambda p: (p / "preprocess" / "calibration.json").write_text('{"ctr": 3}'), "calibration.json"),
    "damaged sample": (lambda p: truncate(p / "sample" / "dataset.json"), "dataset.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_one_sentence_and_exit_2(
    damage: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, word = DAMAGES[damage]
    spoil(copy)
    (copy / "state" / "dataset.json").unlink()
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    assert main(["evaluate", str(copy), "--no-boosting", "--bootstrap", "0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert word in err
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["truncated", "foreign", "other model"])
def test_a_damaged_resume_state_is_one_sentence_and_changes_nothing(
    kind: str, tiny_dataset: Dataset, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = copy / "state" / "checkpoint.safetensors"
    edit_manifest(copy, status="stopped")
    if kind == "other model":
        write_tensors(state, {"model.a": torch.ones(1)}, {"state": json.dumps({"position": {}, "param_groups": []})})
    elif kind == "foreign":
        save_file({"x": torch.ones(2)}, state)
    else:
        shutil.copy(copy / "model.safetensors", state)
        truncate(state)
    before = (copy / "progress.jsonl").read_bytes(), (copy / "model.safetensors").read_bytes()
    assert main(["train", str(tiny_dataset.path), str(copy), "--resume", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert len(err.strip().splitlines()) == 1
    assert "checkpoint.safetensors" in err
    assert before == ((copy / "progress.jsonl").read_bytes(), (copy / "model.safetensors").read_bytes())


def test_a_folder_that_is_no_run_says_what_it_is(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a dataset, not a run"):
        load_run(tiny_dataset.path)
    with pytest.raises(UserError, match="is not a run folder"):
        load_run(tmp_path)
    with pytest.raises(UserError, match="no such run folder"):
        load_run(tmp_path / "none")


def test_runs_are_listed_newest_first_and_a_broken_one_carries_its_error(tiny_run: Run, tmp_path: Path) -> None:
    for name, created in (("old", "2024-01-01T00:00:00+00:00"), ("new", "2025-01-01T00:00:00+00:00"), ("broken", None)):
        shutil.copytree(tiny_run.path, tmp_path / name)
        edit_manifest(tmp_path / name, created=created)
    (tmp_path / "other").mkdir()
    entries = list_runs(tmp_path)
    assert [e.name for e in entries] == ["new", "old", "broken"]
    assert entries[0].error is None
    assert "created" in str(entries[2].error)


def test_an_older_format_is_migrated_on_opening(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(manifest: dict[str, object], config: dict[str, object]) -> tuple[dict[str, object], dict[str, object]]:
        return {**manifest, "preset": manifest.pop("model")}, config

    raw = json.loads((copy / "manifest.json").read_text())
    raw["model"] = raw.pop("preset")
    (copy / "manifest.json").write_text(json.dumps({**raw, "format_version": 0}))
    monkeypatch.setitem(migrations.MIGRATIONS, 0, rename)
    opened = load_run(copy)
    assert opened.manifest.preset == "small"
    assert opened.manifest.format_version == FORMAT_VERSION


def test_the_config_on_disk_is_the_whole_merged_config(tiny_run: Run) -> None:
    raw = yaml.safe_load((tiny_run.path / "config.yaml").read_text())
    assert raw == tiny_run.config.to_dict()


def test_no_file_of_a_run_is_a_pickle(tiny_run: Run) -> None:
    kinds = {p.suffix for p in tiny_run.path.rglob("*") if p.is_file() and p.name != "lock"}
    assert kinds <= {".json", ".jsonl", ".yaml", ".safetensors", ".parquet", ".npz"}


def test_json_that_is_written_is_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": (1, 2), "z": torch.tensor(3.0)})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [1, 2], "z": 3.0}
    assert plain({"a": float("-inf")}) == {"a": None}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", {"x": 1})

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DiskFull, match="no space left on"):
        write_json(tmp_path / "a.json", {"x": 2})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_manifest_of_a_later_minor_release_opens(copy: Path) -> None:
    edit_manifest(copy, mood="good")
    assert load_run(copy).manifest == replace(load_run(copy).manifest)
