"""A training whose temporal expert starts from a pre-trained encoder: what trains, what stays, what a run then holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pyarrow.parquet import read_schema

from ple_model.adapters import BASE, add_adapters, drop_adapters, merged, stream_of
from ple_model.cli import main
from ple_model.config import Config
from ple_model.data.dataset.reader import Dataset
from ple_model.encoder_start import EncoderStart
from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.optimizer import optimizer_groups
from ple_model.predict import score_to_parquet
from ple_model.run import Run, load_run
from ple_model.sequences.config import EncoderConfig, PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import WEIGHTS, EncoderManifest, EncoderRun, load_encoder, write_encoder_config
from ple_model.sequences.scoring import carried_scorer
from ple_model.sequences.stream import MODES, EncoderMode
from ple_model.train import Options, train
from ple_model.training import trainer
from ple_model.translation import training_sentence
from tests.factories import random_context, random_inputs
from tests.fakes import tiny_config

QUICK = Options(device="cpu", sample_customers=10, baselines=False, checkpoint_steps=2)
SHORT = {"phase1_epochs": 1, "phase2_epochs": 1}
ENCODER = "experts.temporal.pretrained.encoder."


def write_run(folder: Path, channels: int = 16, length: int = 180, frequency: Literal["off", "on"] = "off") -> EncoderRun:
    folder.mkdir(parents=True)
    config = PretrainConfig(EncoderConfig(width=8, heads=2, layers=1, patch=30, stride=30, frequency=frequency))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        encoder = SequenceEncoder(config.encoder, channels, length)
    EncoderManifest("finished", "2026-01-31T12:00:00+00:00", channels, length, "bank", "ab12").save(folder)
    write_encoder_config(folder, config)
    write_tensors(folder / WEIGHTS, encoder.state_dict())
    return load_encoder(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> EncoderRun:
    return write_run(tmp_path_factory.mktemp("encoders") / "days")


def config_with(encoder: EncoderRun, mode: EncoderMode, dataset: Dataset) -> Config:
    return EncoderStart(encoder, mode).into(tiny_config(), dataset)


def started(encoder: EncoderRun, mode: EncoderMode, dataset: Dataset, folder: Path) -> PLEClusterAdaTT:
    """As a training begins."""
    (folder / "state").mkdir(parents=True)
    model = PLEClusterAdaTT(config_with(encoder, mode, dataset), random_context())
    EncoderStart(encoder, mode).keep(folder, model)
    return model


def changed(run: Run, encoder: EncoderRun) -> dict[str, bool]:
    """By tensor of the encoder whether the run's differs from what was pre-trained."""
    weights = read_tensors(run.path / "model.safetensors")[0]
    before = encoder.encoder.state_dict()
    own = {k.removeprefix(ENCODER): v for k, v in weights.items() if k.startswith(ENCODER)}
    assert own.keys() == before.keys()
    return {k: not torch.equal(before[k], v) for k, v in own.items()}


@pytest.mark.parametrize("mode", MODES)
def test_a_run_trains_what_its_mode_says_and_stands_alone(
    mode: EncoderMode, encoder: EncoderRun, small_dataset: Dataset, tmp_path: Path
) -> None:
    """Finished, opened and scored without the encoder's folder; killed and resumed it has the same weights."""
    copy = load_encoder(shutil.copytree(encoder.path, tmp_path / "copy"))
    short = tiny_config({"training": SHORT})
    run = train(small_dataset, tmp_path / "whole", short, options=QUICK, encoder=EncoderStart(copy, mode))
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] == 2

    train(small_dataset, tmp_path / "cut", short, options=QUICK, encoder=EncoderStart(copy, mode), stop=stop)
    shutil.rmtree(tmp_path / "copy")
    again = train(small_dataset, tmp_path / "cut", short, options=QUICK, resume=True)
    one, other = (read_tensors(r.path / "model.safetensors")[0] for r in (run, again))
    assert all(torch.equal(one[k], other[k]) for k in one)
    moved = changed(run, encoder)
    if mode == "frozen":
        assert not any(moved.values())
    elif mode == "lora":
        assert {k for k, v in moved.items() if v} == {"body.blocks.0.query.weight", "body.blocks.0.value.weight"}
    else:
        assert sum(moved.values()) > 10
    info = run.manifest.encoder
    assert info is not None
    assert (info.name, info.sequence, info.mode) == ("copy", "txn_seq", mode)
    whole = sum(p.numel() for p in encoder.encoder.parameters())
    assert (info.trained, info.parameters) == ({"frozen": 0, "finetune": whole, "lora": 2 * 8 * (8 + 8)}[mode], whole)
    assert f"{info.trained:,} parameters train" in next(x["text"] for x in run.progress() if x["event"] == "encoder")
    said = load_run(run.path).model()(small_dataset.load("test").inputs)
    assert said.encoded.expert_aux["temporal"].internals["mixing_weights"].shape[1] == 7
    assert not (run.path / "state" / "start.safetensors").exists()
    assert_served_elsewhere(run, mode, tmp_path / "elsewhere")


def assert_served_elsewhere(run: Run, mode: EncoderMode, folder: Path) -> None:
    """Moved without what a training keeps for itself it is evaluated and scores, and says how odd days are where it can."""
    moved = load_run(shutil.move(run.path, folder))
    shutil.rmtree(folder / "state")
    assert main(["evaluate", str(folder), "--no-boosting", "--bootstrap", "0", "--json"]) == 0
    model = moved.model()
    if mode == "frozen":
        anomaly = carried_scorer(moved, model)
        found = score_to_parquet(moved, model, moved.sample(), folder / "scores.parquet", anomaly=anomaly)
        assert any("anomaly is left empty" in note for note in found.notes)  # of ten customers nobody is ranked
        assert "anomaly" in read_schema(folder / "scores.parquet").names
    else:
        with pytest.raises(UserError, match=rf"trained on with the tasks \({mode}\)"):
            carried_scorer(moved, model)


def test_a_run_with_adapters_stopped_while_baselines_are_measured_goes_on(
    encoder: EncoderRun, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint still has the adapters that a resumed training begins with."""

    def measured(dataset: Dataset, tell: Callable[[float, str], None]) -> None:
        tell(0.5, "boosting")
        raise UserError("none today")

    monkeypatch.setattr(trainer, "stored", lambda dataset: None)
    monkeypatch.setattr(trainer, "measure", measured)
    options = replace(QUICK, baselines=True)
    short, asking = tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}}), [False]

    def stop_there(line: dict[str, Any]) -> None:
        asking[0] |= line["event"] == "baselines"

    run = train(
        small_dataset, tmp_path / "run", short, options=options, encoder=EncoderStart(encoder, "lora"), progress=stop_there,
        stop=lambda: asking[0],
    )  # fmt: skip
    assert run.manifest.status == "stopped"
    again = train(small_dataset, tmp_path / "run", short, options=options, resume=True)
    assert again.manifest.status == "finished"
    before, after = (read_tensors(tmp_path / "run" / "model.safetensors")[0], run.model().state_dict())
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("mode", MODES)
def test_the_optimizer_holds_every_parameter_once_and_a_freeze_frees_no_frozen_one(
    mode: EncoderMode, encoder: EncoderRun, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    model = started(encoder, mode, tiny_dataset, tmp_path)
    model.freeze_shared(True)
    assert not any(p.requires_grad for p in model.experts.parameters())
    model.freeze_shared(False)
    expert = stream_of(model)
    assert expert is not None
    assert expert.pretrained is not None
    trained = {id(p) for p in expert.pretrained.trained()}
    assert {id(p) for p in expert.pretrained.encoder.parameters() if p.requires_grad} == trained
    assert all(p.requires_grad for p in expert.encoders.parameters())
    grouped = [id(p) for g in optimizer_groups(model) for p in g["params"]]
    assert len(grouped) == len(set(grouped))
    assert trained <= set(grouped)
    model.train()
    assert expert.pretrained.encoder.training is (mode != "frozen")
    model(random_inputs(8)).predictions["ctr"].sum().backward()
    reached = {id(p) for p in expert.pretrained.encoder.parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached <= trained
    assert bool(reached) is bool(trained)


def test_the_adapter_acts_in_eval_mode_and_merging_says_the_same(
    encoder: EncoderRun, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    model = started(encoder, "lora", tiny_dataset, tmp_path).eval()
    inputs = random_inputs(6)
    with torch.no_grad():
        base = model(inputs).shared_concat
        for name, p in model.named_parameters():
            if ".lora_B." in name:
                p.normal_()
        acted = model(inputs).shared_concat
        assert float((acted - base).abs().max()) > 1e-3
        weights = model.state_dict()
        plain = PLEClusterAdaTT(model.config, model.context).eval()
        plain.load_state_dict(merged(weights, model.config))
        torch.testing.assert_close(plain(inputs).shared_concat, acted, atol=1e-5, rtol=1e-5)
        drop_adapters(model)
        torch.testing.assert_close(model(inputs).shared_concat, acted, atol=1e-5, rtol=1e-5)
    assert any(BASE in k for k in weights)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_two_starts_with_adapters_are_equal(encoder: EncoderRun, tiny_dataset: Dataset, tmp_path: Path) -> None:
    one, other = (started(encoder, "lora", tiny_dataset, tmp_path / n).state_dict() for n in "ab")
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_without_an_encoder_all_weights_start_as_they_did(encoder: EncoderRun, tiny_dataset: Dataset) -> None:
    plain = PLEClusterAdaTT(tiny_config(), random_context()).state_dict()
    with_it = PLEClusterAdaTT(config_with(encoder, "frozen", tiny_dataset), random_context()).state_dict()
    assert all(torch.equal(with_it[k], v) for k, v in plain.items())
    assert all(k.startswith("experts.temporal.pretrained.") for k in with_it.keys() - plain.keys())


def test_rows_without_the_sequence_do_not_hear_the_encoder(encoder: EncoderRun, tiny_dataset: Dataset) -> None:
    model = PLEClusterAdaTT(config_with(encoder, "frozen", tiny_dataset), random_context()).eval()
    with torch.no_grad():
        some = model(random_inputs(4, absent={"txn_seq": [1]})).encoded
        none = model(random_inputs(4, absent=("txn_seq",))).encoded
    weights = [e.expert_aux["temporal"].internals["mixing_weights"] for e in (some, none)]
    assert weights[0][1, 6] == 0
    assert weights[0][0, 6] > 0
    torch.testing.assert_close(some.expert_outputs["temporal"][1], none.expert_outputs["temporal"][1])


def test_an_encoder_that_does_not_fit_is_one_sentence(encoder: EncoderRun, tiny_dataset: Dataset, tmp_path: Path) -> None:
    for wrong, said in (((3, 180), r"channels: 3 is not valid, it must be 16"), ((16, 90), r"length: 90 is not valid")):
        other = write_run(tmp_path / f"{wrong}", *wrong)
        with pytest.raises(UserError, match=said):
            EncoderStart(other).into(tiny_config(), tiny_dataset)
    without = tiny_config({"shared_experts": {"temporal": None}})
    with pytest.raises(UserError, match="no temporal expert"):
        EncoderStart(encoder).into(without, tiny_dataset)
    config = config_with(encoder, "frozen", tiny_dataset)
    with pytest.raises(UserError, match="its weights come with `ple train --encoder"):
        train(tiny_dataset, tmp_path / "run", config, options=QUICK)
    targets = tiny_config({"shared_experts": {"temporal": {"lora_targets": ["qeury"]}}})
    model = PLEClusterAdaTT(EncoderStart(encoder, "lora").into(targets, tiny_dataset), random_context())
    with pytest.raises(UserError, match=r"lora_targets\[0\].*did you mean 'query'"):
        add_adapters(model)
    assert not (tmp_path / "run").exists()


def test_a_target_that_also_names_a_module_of_layers_means_the_layer(tiny_dataset: Dataset, tmp_path: Path) -> None:
    """`embed`: a linear layer of the tokens, and a sequence of modules in the frequency branch."""
    encoder = write_run(tmp_path / "run", frequency="on")
    config = tiny_config({"shared_experts": {"temporal": {"lora_targets": ["embed"]}}})
    model = PLEClusterAdaTT(EncoderStart(encoder, "lora").into(config, tiny_dataset), random_context())
    add_adapters(model)
    adapted = {k.removeprefix(ENCODER).partition(BASE)[0] for k in model.state_dict() if BASE in k}
    assert adapted == {"tokens.embed"}


def test_an_encoder_whose_training_has_not_ended_is_said_so(encoder: EncoderRun) -> None:
    cut = replace(encoder, manifest=replace(encoder.manifest, status="stopped", epochs=3))
    assert EncoderStart(encoder).warnings(encoder.manifest.fingerprint) == []
    (said,) = EncoderStart(cut).warnings(encoder.manifest.fingerprint)
    assert said == "the encoder's training has not ended: its weights are the best up to epoch 3"
    assert training_sentence(said, "ko") != said


def test_the_command_says_what_does_not_go_together(
    encoder: EncoderRun, tiny_dataset: Dataset, tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(tiny_dataset.path), str(tmp_path / "run")]
    assert main([*words, "--encoder-mode", "lora"]) == 2
    assert "--encoder RUN_ENCODER" in capsys.readouterr().err
    assert main([*words, "--encoder", str(tiny_run.path)]) == 2
    assert "not the manifest of an encoder run" in capsys.readouterr().err
    assert main(["train", str(tiny_dataset.path), str(tiny_run.path), "--resume", "--encoder", str(encoder.path)]) == 2
    assert "leave out --from and --encoder" in capsys.readouterr().err
    assert main([*words, "--preset", "small", "--encoder", str(encoder.path), "--from", str(tiny_run.path), "--quiet"]) == 2
    assert "--encoder and --from" in capsys.readouterr().err
