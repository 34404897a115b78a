"""A training leaves `fingerprint.json`; what is altered afterwards is told, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from ple_model.errors import UserError
from ple_model.experts.base import Expert
from ple_model.files import read_tensors
from ple_model.module_outputs import output_mark, output_marks
from ple_model.run import Run
from ple_model.run_fingerprint import FILE, RunFingerprint, stored_rows, write_fingerprint


@pytest.fixture(scope="module")
def marked(tiny_run: Run) -> RunFingerprint:
    found = RunFingerprint.load(tiny_run.path)
    assert found is not None
    return found


def test_a_training_marks_every_tensor_every_file_and_every_part(tiny_run: Run, marked: RunFingerprint) -> None:
    tensors, _ = read_tensors(tiny_run.path / "model.safetensors")
    files = {p.relative_to(tiny_run.preprocess).as_posix() for p in tiny_run.preprocess.rglob("*") if p.is_file()}
    assert set(marked.tensors) == set(tensors)
    assert set(marked.preprocess) == files
    assert any(k.startswith("churn") for k in marked.preprocess["calibration.json"].parts)
    assert set(marked.experts) == set(tiny_run.config.shared_experts)
    assert set(marked.gates) == set(tiny_run.config.tasks)
    assert {"torch", "threads", "device", "code"} <= set(marked.environment)
    assert next(iter(marked.outputs)) == "inputs.features"
    assert {f"predictions.{t}" for t in tiny_run.config.tasks} <= set(marked.outputs)


def test_it_is_the_last_that_is_written_and_is_read_back_as_it_was(tiny_run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (copy / FILE).unlink()
    assert RunFingerprint.load(copy) is None
    write_fingerprint(copy)
    again, before = RunFingerprint.load(copy), RunFingerprint.load(tiny_run.path)
    assert again is not None
    assert before is not None
    assert {**again.to_dict(), "environment": 0, "outputs": 0} == {**before.to_dict(), "environment": 0, "outputs": 0}
    assert max(v.distance(again.outputs[k]) for k, v in before.outputs.items()) < 1e-6


def test_a_damaged_file_is_one_sentence(tiny_run: Run, tmp_path: Path) -> None:
    for spoil in ("{", '{"format": 9}', '{"format": 1}', json.dumps({"format": 1, "environment": []})):
        (tmp_path / FILE).write_text(spoil)
        with pytest.raises(UserError, match=FILE):
            RunFingerprint.load(tmp_path)


def test_signed_sums_tell_how_far_apart_two_outputs_are() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 24, generator=g)
    for share in (1e-3, 0.05):
        y = x + share * torch.randn(400, 24, generator=g)
        assert output_mark(x).distance(output_mark(y)) == pytest.approx(share, rel=0.8)
    assert output_mark(x).distance(output_mark(x.flip(0))) > 0.3  # means and norms are the same
    assert output_mark(x).distance(output_mark(x.flip(1))) > 0.3
    lost = x.clone()
    lost[3, 3] = torch.nan
    assert output_mark(x).distance(output_mark(lost)) == float("inf")


def test_the_first_part_that_differs_is_the_one_that_was_changed(tiny_run: Run, marked: RunFingerprint) -> None:
    model, inputs = tiny_run.model(), stored_rows(tiny_run)
    assert inputs is not None
    expert = model.experts["deepfm"]
    assert isinstance(expert, Expert)
    with torch.no_grad():
        expert.last_layer().bias.add_(0.5)
    now = output_marks(model, inputs)
    apart = [k for k, v in marked.outputs.items() if v.distance(now[k]) > 1e-5]
    assert apart[0] == "experts.deepfm"
    assert "experts.causal" not in apart
