"""An encoder's folder gives the encoder back; a damaged or foreign one is one sentence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.migrations import FORMAT_VERSION, migrated
from ple_model.run import list_runs, load_run
from ple_model.run_kind import ENCODER, MODEL, kind_of
from ple_model.sequences.config import EncoderConfig, PretrainConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderManifest, load_encoder, write_encoder, write_encoder_config
from ple_model.sequences.series import Series


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path = tmp_path / "runs" / "enc"
    tmp_path.mkdir(parents=True)
    config = PretrainConfig(EncoderConfig(width=8, heads=2, layers=1, frequency="on"))
    torch.manual_seed(0)
    encoder = SequenceEncoder(config.encoder, 3, 21)
    EncoderManifest("finished", "2026-01-31T12:00:00+00:00", 3, 21, "bank", "ab12", customers={"train": 5}).save(tmp_path)
    write_encoder_config(tmp_path, config)
    write_encoder(tmp_path, encoder.state_dict())
    series = Series.whole(torch.randn(2, 21, 3))
    write_json(tmp_path / "expected.json", {"x": series.values.tolist(), "e": encoder.eval()(series).embedding.tolist()})
    return tmp_path


def test_a_run_from_before_the_newest_tokens_keeps_the_mean_alone(tmp_path: Path) -> None:
    shape = asdict(EncoderConfig())
    now = {"shared_experts": {"temporal": {"encoder": {"sequence": "txn_seq", "shape": shape}}}}
    then = {"shared_experts": {"temporal": {"encoder": {"shape": {k: v for k, v in shape.items() if k != "newest"}}}}}
    manifest = {"format_version": FORMAT_VERSION}
    assert migrated(tmp_path, manifest, now)[1] == now
    assert migrated(tmp_path, manifest, then)[1]["shared_experts"]["temporal"]["encoder"]["shape"]["newest"] == 0
    for odd in ({}, {"shared_experts": None}, {"shared_experts": {"temporal": {"encoder": None}}}):
        assert migrated(tmp_path, manifest, odd)[1] == odd


def test_it_is_read_as_it_was_written(folder: Path) -> None:
    run = load_encoder(folder)
    expected = read_json(folder / "expected.json")
    found = run.encoder(Series.whole(torch.tensor(expected["x"]))).embedding
    torch.testing.assert_close(found, torch.tensor(expected["e"]))
    assert (run.channels, run.length, run.config.frequency) == (3, 21, "on")
    assert run.manifest.customers == {"train": 5}
    assert kind_of(folder) == ENCODER


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("kind", "run", "this is not the manifest of an encoder run"),
        ("status", "done", "status 'done' is not one of"),
        ("channels", 0, "'channels' is 0, expected a whole number"),
        ("length", 10**9, "'length' is 1000000000"),
        ("seconds", "long", "'seconds' is 'long', expected a number"),
    ],
)
def test_a_damaged_manifest_is_named(folder: Path, key: str, value: object, said: str) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", {**raw, key: value})
    with pytest.raises(UserError, match=said):
        load_encoder(folder)


def test_weights_of_another_encoder_or_no_numbers_are_refused(folder: Path) -> None:
    with torch.no_grad():
        broken = load_encoder(folder).encoder
        broken.place[0, 0] = float("nan")
    write_encoder(folder, broken.state_dict())
    with pytest.raises(UserError, match="place"):
        _ = load_encoder(folder).encoder
    write_encoder(folder, SequenceEncoder(EncoderConfig(width=8, heads=2, layers=1), 3, 21).state_dict())
    with pytest.raises(UserError, match="does not fit the run's config"):
        _ = load_encoder(folder).encoder
    (folder / "encoder.safetensors").unlink()
    with pytest.raises(UserError, match="has no weights yet"):
        _ = load_encoder(folder).encoder


def test_a_config_that_asks_for_more_than_the_file_holds_takes_no_memory(folder: Path) -> None:
    write_encoder_config(folder, PretrainConfig(EncoderConfig(width=4096, heads=2, layers=64, feed=16)))  # 144 GiB
    with pytest.raises(UserError, match="does not fit the run's config"):
        _ = load_encoder(folder).encoder


def test_what_is_no_encoder_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not an encoder run: it has no manifest\.json"):
        load_encoder(tmp_path)
    with pytest.raises(UserError, match="no such encoder run"):
        load_encoder(tmp_path / "nowhere")
    assert kind_of(tmp_path) == MODEL


def test_a_folder_of_runs_lists_models_alone(folder: Path) -> None:
    assert list_runs(folder.parent) == []
    with pytest.raises(UserError, match="is an encoder run, no model"):
        load_run(folder)
