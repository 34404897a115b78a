"""Every shipped config loads; a wrong one is refused in one sentence that names the key and the nearest valid name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import ple_model
from ple_model.config import PRESETS, Config, config_from_dict, load_config, preset_dict
from ple_model.errors import UserError

CONFIGS = sorted((Path(ple_model.__file__).parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_yaml_is_a_preset_that_loads(path: Path) -> None:
    assert path.stem in PRESETS
    assert load_config(path.stem).tasks


def test_every_preset_has_its_yaml() -> None:
    assert {p.stem for p in CONFIGS} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_its_own_yaml(preset: str) -> None:
    config = load_config(preset)
    assert config_from_dict(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize(("preset", "width", "experts"), [("v3_14", 576, 8), ("v3_15", 512, 7), ("production", 576, 8)])
def test_presets_have_the_references_widths(preset: str, width: int, experts: int) -> None:
    config = load_config(preset)
    assert config.shared_dim == width
    assert len(config.shared_experts) == experts


def test_production_trains_as_the_reference_says() -> None:
    config = load_config("production")
    assert (config.training.phase1_epochs, config.training.phase2_epochs) == (40, 8)
    assert (config.adatt.warmup_epochs, config.adatt.freeze_epoch) == (10, 28)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.lerning_rate=1", ["training.lerning_rate", "learning_rate"]),
        ("trainin.learning_rate=1", ["trainin", "training"]),
        ("training.batch_size=many", ["training.batch_size", "many", "int"]),
        ("training.patience=true", ["training.patience", "True", "int"]),
        ("training.amp=fp61", ["training.amp", "fp61", "fp16"]),
        ("training.learning_rate=-1", ["training.learning_rate", "-1", "positive"]),
        ("shared_experts.deepfm.output_dim=0", ["shared_experts.deepfm.output_dim", "0"]),
        ("shared_experts.temporel.output_dim=8", ["temporel", "temporal"]),
        ("shared_experts.deepfm.embeding_dim=8", ["shared_experts.deepfm.embeding_dim", "embedding_dim"]),
        ("task_experts.tasks.chrun.weight=2", ["chrun", "churn"]),
        ("task_experts.tasks.churn.domain_experts=[temporel]", ["churn", "temporel", "temporal"]),
        ("hmm_triple_mode.input_dim=12", ["hmm_triple_mode.input_dim", "12", "16"]),
        ("adatt.freeze_epoch=0", ["adatt.freeze_epoch", "0"]),
        ("task_towers.hidden_dims=[]", ["task_towers.hidden_dims"]),
        ("task_towers.hidden_dims=[64, wide]", ["task_towers.hidden_dims[1]", "wide"]),
        ("global=3", ["global", "3", "mapping"]),
        ("training.seed", ["training.seed", "key=value"]),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_key_and_the_nearest_name(override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config("small", overrides=[override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_warm_up_after_the_freeze_names_both_keys() -> None:
    with pytest.raises(UserError, match=r"adatt\.freeze_epoch.*adatt\.warmup_epochs"):
        load_config("small", overrides=["adatt.warmup_epochs=9", "adatt.freeze_epoch=3"])


def test_a_cycle_of_transfers_is_named_before_training() -> None:
    from ple_model.model import PLEClusterAdaTT

    edges: list[dict[str, Any]] = [
        {"source": "ctr", "target": "cvr", "type": "sequential"},
        {"source": "cvr", "target": "ctr", "type": "sequential"},
    ]
    config = config_from_dict({**preset_dict("small"), "task_relationships": {"transfers": edges}})
    with pytest.raises(UserError, match=r"ctr.*cvr"):
        PLEClusterAdaTT(config)


def test_an_expert_set_to_null_is_taken_out() -> None:
    config = load_config("v3_14", overrides=["shared_experts.raw_scale=null"])
    assert config.shared_dim == 512
    assert "raw_scale" not in config.shared_experts


def test_file_lies_on_the_preset_and_overrides_on_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("training: {learning_rate: 1e-3, patience: 3}\n")
    config = load_config("small", file, ["training.patience=4"])
    assert config.training.learning_rate == 1e-3
    assert config.training.patience == 4
    assert config.training.phase1_epochs == 8


@pytest.mark.parametrize("text", ["training: [", "- a\n- b\n", "\xff\xfe"])
def test_a_file_that_is_no_mapping_of_sections_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"bad\.yaml"):
        load_config("small", file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such config file"):
        load_config("small", tmp_path / "none.yaml")


def test_defaults_are_shared_by_no_two_configs() -> None:
    a, b = load_config("small"), load_config("small")
    a.adatt.intra_strength["Value"] = 0.0
    assert b.adatt.intra_strength["Value"] == 0.6
    assert isinstance(a, Config)
