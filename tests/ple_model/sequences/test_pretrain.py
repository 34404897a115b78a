"""A pre-training reads the training customers alone, resumes exactly, stops early and says what is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ple_model.cli import main
from ple_model.commands_pretrain import with_outlook
from ple_model.data.dataset.from_tensors import write_dataset
from ple_model.data.dataset.reader import Dataset
from ple_model.device import same_device
from ple_model.errors import UserError
from ple_model.files import read_tensors
from ple_model.progress import read_progress
from ple_model.sequences.config import EncoderConfig, PretrainConfig, PretrainingConfig
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.pretrain import pretrain
from ple_model.training.session import Options

ENCODER = EncoderConfig(width=8, heads=2, layers=1, patch=30, stride=30, frequency="on", frequencies=2)
CONFIG = PretrainConfig(ENCODER, PretrainingConfig(epochs=2, batch_size=32, seed=3))
OPTIONS = Options(device="cpu", checkpoint_steps=1)
TIMES = ("time", "seconds", "samples_per_s", "eta_s")


def weights(run: Path) -> dict[str, Tensor]:
    return read_tensors(run / "encoder.safetensors")[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def lines(run: Path, *without: str) -> list[dict[str, Any]]:
    found = [e for e in read_progress(run / "progress.jsonl", steps=False) if e["event"] not in without]
    return [{k: v for k, v in e.items() if k not in TIMES} for e in found]


def changed(dataset: Dataset, out: Path, change: Callable[[Tensor, Tensor], Tensor]) -> Dataset:
    """A copy without a single label, with `change(sequences, rows of the training split)`."""
    batch = dataset.load()
    assert batch.inputs.txn_seq is not None
    train = torch.tensor([s == "train" for s in batch.split])
    sequence = change(batch.inputs.txn_seq.clone(), train)
    bare = replace(batch, inputs=replace(batch.inputs, txn_seq=sequence, targets=None))
    return write_dataset(out, [bare], context=dataset.context(), normalizer=dataset.normalizer())


@pytest.fixture(scope="module")
def trained(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("encoder") / "run"
    pretrain(small_dataset, run, CONFIG, options=OPTIONS)
    return run


def test_other_splits_and_labels_are_not_read(small_dataset: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, training=replace(CONFIG.training, epochs=1))  # the best epoch is the validation's to choose

    def poisoned(x: Tensor, train: Tensor) -> Tensor:
        return torch.where(train[:, None, None], x, 50 * x.flip(1))

    def other(x: Tensor, train: Tensor) -> Tensor:
        return torch.where(train[:, None, None], x * 1.5, x)

    runs = {"as it is": small_dataset, "poisoned": changed(small_dataset, tmp_path / "p", poisoned)}
    runs["other"] = changed(small_dataset, tmp_path / "o", other)
    for name, dataset in runs.items():
        pretrain(dataset, tmp_path / name, config, options=OPTIONS)
    assert same(weights(tmp_path / "as it is"), weights(tmp_path / "poisoned"))
    assert not same(weights(tmp_path / "as it is"), weights(tmp_path / "other"))


class _Killed(BaseException):
    pass


def test_it_resumes_exactly_after_a_stop_and_after_a_kill(small_dataset: Dataset, trained: Path, tmp_path: Path) -> None:
    asked = iter([False, True])
    run = pretrain(small_dataset, tmp_path / "run", CONFIG, options=OPTIONS, stop=lambda: next(asked))
    assert run.manifest.status == "stopped"

    def killing(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            raise _Killed

    with pytest.raises(_Killed):
        pretrain(small_dataset, tmp_path / "run", CONFIG, resume=True, options=OPTIONS, progress=killing)
    assert load_encoder(tmp_path / "run").manifest.status == "running"
    done = pretrain(small_dataset, tmp_path / "run", CONFIG, resume=True, options=OPTIONS)
    assert done.manifest.status == "finished"
    assert same(weights(done.path), weights(trained))
    assert lines(done.path, "stopped", "resumed") == lines(trained)
    assert not (done.path / "state" / "checkpoint.safetensors").exists()


def test_a_resumed_one_has_the_threads_and_the_device_that_it_was_begun_with(
    small_dataset: Dataset, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    replace(load_encoder(run).manifest, threads=3).save(run)
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    assert main(["pretrain", str(small_dataset.path), str(run), "--resume", "--quiet"]) == 0
    assert main(["pretrain", str(small_dataset.path), str(run), "--resume", "--quiet", "--threads", "2"]) == 0
    assert threads == [3, 2]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [same_device(*names).type for names in (("auto", "cpu"), ("auto", "cuda"), ("cuda:0", "cpu"))] == [
        "cpu", "cuda", "cuda",
    ]  # fmt: skip


def test_the_manifest_says_what_it_cost(small_dataset: Dataset, trained: Path) -> None:
    m = load_encoder(trained).manifest
    assert m.customers == {"train": small_dataset.rows("train"), "validation": small_dataset.rows("validation")}
    assert (m.epochs, m.channels, m.length) == (2, 16, 180)
    assert m.samples_per_s is not None
    assert m.samples_per_s > 0
    assert m.seconds is not None
    epochs = [e for e in lines(trained) if e["event"] == "epoch"]
    assert m.best_loss == min(e["validation"] for e in epochs)


def test_it_stops_early_and_another_dataset_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    training = replace(CONFIG.training, learning_rate=1e-30, epochs=9, patience=1)
    run = pretrain(small_dataset, tmp_path / "run", replace(CONFIG, training=training), options=OPTIONS)
    assert (run.manifest.epochs, run.manifest.best_epoch) == (2, 1)  # nothing moves: the second epoch is no better
    with pytest.raises(UserError, match="already holds a run"):
        pretrain(small_dataset, run.path, CONFIG, options=OPTIONS)
    (run.path / "manifest.json").write_text(
        (run.path / "manifest.json").read_text().replace('"finished"', '"stopped"', 1), encoding="utf-8"
    )
    other = changed(small_dataset, tmp_path / "other", lambda x, _: x + 1)
    with pytest.raises(UserError, match="is not the dataset of"):
        pretrain(other, run.path, CONFIG, resume=True, options=OPTIONS)


def test_a_dataset_without_the_series_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    batch = small_dataset.load()
    bare = replace(batch, inputs=replace(batch.inputs, txn_seq=None, presence=None))
    dataset = write_dataset(tmp_path / "d", [bare], context=small_dataset.context(), normalizer=small_dataset.normalizer())
    with pytest.raises(UserError, match=r"has no series 'txn_seq' to learn from; it has session_seq: --set training\.sequence"):
        pretrain(dataset, tmp_path / "run", CONFIG, options=OPTIONS)
    assert not (tmp_path / "run").exists()


def test_the_command(small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["encoder.width=8", "encoder.heads=2", "encoder.layers=1", "encoder.patch=30", "encoder.stride=30"]
    sets = [w for s in (*small, "training.sequence=session_seq", "training.epochs=1") for w in ("--set", s)]
    command = ["pretrain", str(small_dataset.path), str(tmp_path / "run"), "--device", "cpu", "--quiet", "--json"]
    assert main([*command, *sets]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["epochs"], said["customers"]["train"]) == ("finished", 1, 96)
    run = load_encoder(tmp_path / "run")
    assert (run.channels, run.length, run.config.outlook) == (8, 90, "off")
    assert run.manifest.command is not None
    assert run.manifest.command.startswith("ple pretrain DATASET RUN_ENCODER --set encoder.width=8")
    assert main([*command[:2], str(tmp_path / "other"), "--set", "encoder.tokens=patches"]) == 2
    assert "encoder.tokens: 'patches' is not valid; did you mean 'patch'?" in capsys.readouterr().err
    asked = ["--set", "training.sequence=session_seq", "--set", "encoder.outlook=on"]
    assert main([*command[:2], str(tmp_path / "other"), *asked]) == 2
    assert "encoder.outlook: on is not valid for session_seq" in capsys.readouterr().err
    assert with_outlook({})["encoder"] == with_outlook({"training": {"sequence": "txn_seq"}})["encoder"] == {"outlook": "on"}
    assert with_outlook({"encoder": {"outlook": "off"}})["encoder"]["outlook"] == "off"
    assert main([*command, "--language", "ko"]) == 2
    assert "에 이미 실행이 있습니다" in capsys.readouterr().err
