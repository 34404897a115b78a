"""The bundled run of the whole model: a small variant of it, stopped, gone on with, made, and left as it is."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ple_model.data.dataset.reader import Dataset
from ple_model.data.events.manifest import EventsManifest
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.run import load_run
from sample_runs import full
from sample_runs.full import Plan, Stopped, make_full
from sample_runs.make import main

SETTINGS = ("training.batch_size=32", "training.phase1_epochs=1", "training.phase2_epochs=1", "adatt.freeze_epoch=1")


class AfterSteps:
    """A `stop` that says yes from the n-th question on."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_the_run_of_the_whole_model_goes_on_where_it_was_stopped_and_is_made_once(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    data = Dataset.open(shutil.copytree(small_dataset.path, tmp_path / "data"))
    plan = Plan(tmp_path / "work", tmp_path / "out" / "full", dataset=data.path, stored=24, preset="small", settings=SETTINGS)
    said: list[str] = []
    with pytest.raises(Stopped):
        make_full(plan, said.append, AfterSteps(2))
    begun = load_run(tmp_path / "work" / "run").manifest
    assert begun.status == "stopped"
    assert not (tmp_path / "out" / "full").exists()

    made = make_full(plan, said.append)
    assert any(s.startswith("training goes on") for s in said)
    run = load_run(made)
    assert (run.manifest.status, run.manifest.created) == ("finished", begun.created)
    assert (run.manifest.command, run.manifest.threads) == (full.COMMAND, 1)
    assert run.manifest.seconds is not None
    assert begun.seconds is not None
    assert run.manifest.seconds > begun.seconds
    assert "CPU cores" in (run.manifest.machine or "")
    assert {p.name for p in made.iterdir()} >= {"model.safetensors", "sample", "analysis", "fingerprint.json", "metrics.json"}
    assert not (made / "state").exists()
    assert str(tmp_path) not in "".join(p.read_text() for p in made.glob("*.json*"))
    assert json.loads((tmp_path / "work" / "evaluation.json").read_text())["split"] == "test"
    (analysis,) = (made / "analysis").iterdir()

    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    said.clear()
    assert make_full(plan, said.append) == made
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert said == ["analysis"]
    assert [analysis] == list((made / "analysis").iterdir())

    with pytest.raises(UserError, match=r"training\.learning_rate is .*asked for is 0\.5"):
        make_full(replace(plan, settings=(*SETTINGS, "training.learning_rate=0.5")), said.append)


def test_a_bank_of_another_seed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tmp_path / "bank"
    bank.mkdir()
    EventsManifest("synthetic bank", "synthetic bank", parameters={"customers": 300, "seed": 7}).save(bank)
    where = ["--work", str(tmp_path / "work"), "--out", str(tmp_path), "--bank", str(bank)]
    words = ["--full", "full", *where, "--customers", "300"]
    assert main(words) == 2
    assert f"{bank}: the bank's seed is 7, asked for is {full.SEED}" in capsys.readouterr().err


def test_the_bundled_run_with_faults_is_made_of_data_in_which_the_feed_is_cut(small_dataset: Dataset, tmp_path: Path) -> None:
    data = Dataset.open(shutil.copytree(small_dataset.path, tmp_path / "data"))
    plan = replace(
        Plan.named("cut-feed", tmp_path / "work", tmp_path / "out"),
        dataset=data.path, stored=24, preset="small", settings=(*SETTINGS, *full.COLLAPSE),
    )  # fmt: skip
    said: list[str] = []
    run = load_run(make_full(plan, said.append))
    assert run.path == tmp_path / "out" / "cut-feed"
    sample = run.sample().load(None).inputs
    assert all(not bool(sample.present(field).any()) for field in full.CUT)
    assert run.config.task_experts.tasks["nba"].gate_bias == {"deepfm": 20.0}
    tensors = read_tensors(run.path / "model.safetensors")[0]
    assert tensors["basket.encoder_weight"].dtype == torch.float16
    assert tensors["direct.linear.weight"].dtype == tensors["cgc.linear.bias"].dtype == torch.float32
    (moved,) = (s for s in said if s.startswith("weights in 16 bits"))
    assert float(re.search(r"at most (\S+) of", moved).group(1)) < 0.001  # type: ignore[union-attr]


@pytest.mark.parametrize(("words", "wrong"), [(["--full", "healthy"], "no run 'healthy'"), (["ful"], "no run 'ful'")])
def test_a_run_that_is_not_made_here_is_refused(words: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert wrong in capsys.readouterr().err
