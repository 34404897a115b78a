"""A student's training: it follows its teacher, resumes exactly, is a run like any other, and refuses who cannot teach it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ple_model.cli import main
from ple_model.config import Config
from ple_model.data.dataset.reader import Dataset
from ple_model.distill import latency, lessons
from ple_model.distill import report as reports
from ple_model.distill.report import TrainingSpent, report
from ple_model.distill.teacher import Teacher, weights_mark
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run, load_run
from ple_model.train import Options, train
from tests.fakes import tiny_config

QUICK = Options(device="cpu", sample_customers=10, baselines=False)
SHORT = {"phase1_epochs": 1, "phase2_epochs": 1}


def student(**distillation: object) -> Config:
    return tiny_config({"training": SHORT, "distillation": {"enabled": True, **distillation}})


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a latency is of is no matter of these tests."""
    for module in (latency, reports):
        monkeypatch.setattr(module, "BATCHES", (1, 4))


@pytest.fixture(scope="module")
def whole(tiny_dataset: Dataset, tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student with a hint, trained without a break."""
    out = tmp_path_factory.mktemp("students") / "whole"
    return train(tiny_dataset, out, student(hint="shared"), options=QUICK, teacher=Teacher(tiny_run))


def test_the_run_names_its_teacher_and_keeps_none_of_its_answers(whole: Run, tiny_run: Run) -> None:
    assert whole.manifest.teacher is not None
    assert whole.manifest.teacher.name == tiny_run.name
    assert whole.manifest.teacher.fingerprint == weights_mark(tiny_run)
    assert not (whole.path / "state" / lessons.FOLDER).exists()
    assert not any("hint" in k for k in read_tensors(whole.path / "model.safetensors")[0])
    epochs = [line for line in whole.progress() if line["event"] == "epoch"]
    assert set(epochs[0]["train"]["taught"]) == set(whole.config.tasks)
    assert epochs[0]["train"]["aux"]["distillation.hint"] > 0
    assert "distillation.hint" not in epochs[1]["train"]["aux"]  # the shared experts are frozen: nothing is left to copy


def test_a_student_stopped_anywhere_ends_with_the_same_weights(
    whole: Run, tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path
) -> None:
    """While the teacher is asked, and in the middle of an epoch; then without the teacher, whose answers are all there."""
    asked = [0]

    def stop_at(n: int) -> bool:
        asked[0] += 1
        return asked[0] >= n

    run = tmp_path / "cut"
    train(tiny_dataset, run, student(hint="shared"), options=QUICK, teacher=Teacher(tiny_run), stop=lambda: stop_at(3))
    kept = {p.name: p.stat().st_mtime_ns for p in (run / "state" / lessons.FOLDER).glob("part*")}
    assert 0 < len(kept) < sum(len(p.group_rows) for p in tiny_dataset.manifest.files if p.split == "train")
    train(tiny_dataset, run, student(), options=QUICK, teacher=Teacher(tiny_run), stop=lambda: stop_at(15), resume=True)
    assert lessons.complete(run / "state")
    assert {p.name: p.stat().st_mtime_ns for p in (run / "state" / lessons.FOLDER).glob("part*") if p.name in kept} == kept
    assert (run / "state" / "checkpoint.safetensors").exists()
    again = train(tiny_dataset, run, student(), options=QUICK, resume=True)
    assert again.manifest.status == "finished"
    one, other = (read_tensors(r.path / "model.safetensors")[0] for r in (whole, again))
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_rows_of_a_batch_carry_what_the_teacher_says_of_them(tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path) -> None:
    """Shuffled as in a training, against the teacher asked now."""
    model = tiny_run.model()
    plan = Teacher(tiny_run).plan(PLEClusterAdaTT(student(), tiny_run.context()), student(hint="groups"))
    plan.save(tmp_path)
    lessons.compute(tmp_path, plan, model, tiny_dataset, lambda share: None)
    seen = 0
    for batch in lessons.taught(tmp_path, tiny_dataset).batches("train", 50, shuffle=True, seed=4, epoch=2):
        with torch.no_grad():
            now = lessons.answers(model, plan, batch.inputs)
        assert batch.inputs.taught is not None
        for name, value in now.items():
            torch.testing.assert_close(batch.inputs.taught[name], value, atol=2e-3 if name == lessons.HINT else 1e-5, rtol=1e-4)
        seen += len(batch)
    assert seen == tiny_dataset.rows("train")
    assert next(iter(tiny_dataset.batches("train", 8))).inputs.taught is None
    p = torch.cat(
        [b.inputs.taught["ctr"] for b in lessons.taught(tmp_path, tiny_dataset).batches("train", 64) if b.inputs.taught]
    )
    assert lessons.summary(tmp_path).means["ctr"] == pytest.approx(float(torch.sigmoid(p.double()).mean()))


def test_the_teacher_alone_makes_the_student_its_likeness(tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path) -> None:
    """Without any label (share 1) the student's predictions move towards the teacher's."""
    config = tiny_config(
        {"training": {"phase1_epochs": 3, "phase2_epochs": 0}, "distillation": {"enabled": True, "share": 1.0}}
    )
    run = train(tiny_dataset, tmp_path / "copy", config, options=QUICK, teacher=Teacher(tiny_run))
    batch = tiny_dataset.load("test").inputs

    def gap(model: PLEClusterAdaTT) -> float:
        with torch.no_grad():
            own, theirs = model.eval()(batch), tiny_run.model()(batch)
        tasks = [t for t, s in model.tasks.items() if s.kind in ("binary", "regression")]
        return float(torch.stack([(own.predictions[t] - theirs.predictions[t]).abs().mean() for t in tasks]).mean())

    assert gap(run.model()) < 0.7 * gap(PLEClusterAdaTT(config, run.context()))


def test_whoever_cannot_teach_is_refused_before_anything_is_made(tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path) -> None:
    other = PLEClusterAdaTT(tiny_run.config, replace(tiny_run.context(), brands=("x",) * len(tiny_run.context().brands)))
    with pytest.raises(UserError, match="trained on other brands"):
        Teacher(tiny_run).plan(other, student())
    with pytest.raises(UserError, match=r"distillation\.enabled"):
        train(tiny_dataset, tmp_path / "run", student(), options=QUICK)
    with pytest.raises(UserError, match=r"distillation\.share"):
        student(share=1.5)
    assert list(tmp_path.iterdir()) == []


def test_another_teacher_cannot_go_on(whole: Run, tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path) -> None:
    run = tmp_path / "cut"
    train(tiny_dataset, run, student(), options=QUICK, teacher=Teacher(tiny_run), stop=lambda: True)
    with pytest.raises(UserError, match="is not the teacher"):
        train(tiny_dataset, run, student(), options=QUICK, teacher=Teacher(whole), resume=True)
    with pytest.raises(UserError, match="is not the teacher"):  # nor may it report on one that has ended
        train(tiny_dataset, whole.path, student(), options=QUICK, teacher=Teacher(whole), resume=True)
    with pytest.raises(UserError, match="was started without a teacher"):
        train(tiny_dataset, tiny_run.path, student(), options=QUICK, teacher=Teacher(whole), resume=True)


def test_the_command_reports_teacher_student_and_the_student_alone(
    whole: Run, tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "student.yaml"
    plain = tiny_config({"training": SHORT})
    config.write_text(plain.to_yaml(), encoding="utf-8")
    words = [str(tiny_run.path), str(tmp_path / "out"), "--dataset", str(tiny_dataset.path), "--config", str(config), "--quiet"]
    assert main(["distill", *words, "--beside", str(whole.path), "--sample", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["runs"]) == {"student", "teacher", "alone"}
    assert {t["task"] for t in found["tasks"]} == set(plain.tasks)
    assert set(found["behind"]) == {"teacher", "alone"}
    assert found["milliseconds"]["student"].keys() == {"1", "4"}
    assert found["sizes"]["student"]["serving"] < found["sizes"]["student"]["parameters"]
    assert (
        found["spent"]["student"]["epochs"]
        == found["spent"]["alone"]["epochs"]
        == plain.training.phase1_epochs + (plain.training.phase2_epochs)
    )
    assert found["spent"]["student"]["steps"] > 0
    assert any("a teacher of its own" in note for note in found["notes"])
    assert main(["evaluate", str(tmp_path / "out"), "--no-boosting", "--bootstrap", "0"]) == 0
    capsys.readouterr()
    assert main(["distill", *words, "--resume", "--set", "training.seed=1"]) == 2
    assert "--resume goes on under the run's own config" in capsys.readouterr().err
    assert main(["distill", str(tiny_run.path), str(tiny_run.path), "--dataset", str(tiny_dataset.path), "--quiet"]) == 2


def test_a_training_that_has_not_ended_teaches_nobody(tiny_run: Run, tiny_dataset: Dataset, tmp_path: Path) -> None:
    cut = replace(tiny_run, manifest=replace(tiny_run.manifest, status="stopped"))
    with pytest.raises(UserError, match="cannot teach yet: its training is stopped"):
        train(tiny_dataset, tmp_path / "run", student(), options=QUICK, teacher=Teacher(cut))
    assert not (tmp_path / "run").exists()


def test_a_resumed_student_and_the_one_alone_go_on_as_they_were_begun(
    whole: Run, tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With their threads, preset and settings; a folder that is taken is refused before anything is trained."""
    command = "ple distill RUN OUT --student v3_14 --set training.seed=3 --set distillation.share=0.7 --threads 3"
    begun = replace(whole.manifest, threads=3, preset="v3_14", command=command)
    out = shutil.copytree(whole.path, tmp_path / "out")
    begun.save(out)
    asked: list[tuple[str, str, str | None]] = []
    threads: list[int] = []

    def train_nothing(dataset: Dataset, folder: Path, config: Config, **given: Any) -> Run:
        asked.append((folder.name, given["preset"], given["options"].command))
        run = load_run(out)
        return run if len(asked) == 1 else replace(run, manifest=replace(run.manifest, status="stopped"))

    monkeypatch.setattr("ple_model.train.train", train_nothing)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    words = ["distill", str(tiny_run.path), str(out), "--dataset", str(tiny_dataset.path), "--quiet"]
    assert main([*words, "--alone", str(whole.path)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main([*words, "--resume", "--alone", str(whole.path)]) == 2
    assert "has learnt from a teacher" in capsys.readouterr().err
    assert not asked
    assert main([*words, "--resume", "--alone", str(tmp_path / "alone")]) == 0
    again = "ple train DATASET RUN --preset v3_14 --set training.seed=3 --threads 3 --no-baselines"
    assert asked[1] == ("alone", "v3_14", again)
    assert threads == [3]
    on = f"ple distill {tiny_run.path} {out} --resume --dataset {tiny_dataset.path} --alone {tmp_path / 'alone'}"
    assert f"stopped; `{on}` goes on" in capsys.readouterr().err


def test_a_model_beside_itself_is_not_behind(tiny_run: Run, tiny_dataset: Dataset) -> None:
    """The yardstick is `ple evaluate`'s own, and a run is level with itself."""
    found = report(tiny_run, tiny_run, None, tiny_dataset)
    lines = [line for line in tiny_run.progress() if line["event"] == "epoch"]
    assert found.spent["teacher"] == TrainingSpent(len(lines), sum(x["steps"] for x in lines), tiny_run.manifest.seconds)
    heading, row = (line for line in found.table().splitlines() if line.startswith((" " * 12 + "  ", "teacher ")))
    assert heading.split()[-3:] == ["steps", "trained", "for"]
    assert f"{found.spent['teacher'].steps:,}" in row.split()
    assert all(t.behind["teacher"].value == 0 for t in found.tasks)
    stored = load_run(tiny_run.path).metrics()["splits"]["test"]
    for t in found.tasks:
        assert t.metrics["student"] == pytest.approx(stored[t.task]["metrics"][t.metric])
