"""Typed, strict configuration: one YAML, the reference's sections, every key a dataclass field with its help text.

A config is a preset (`configs/<name>.yaml`), then a user's file, then `key=value` overrides, merged in that order. Unknown
keys, wrong types and impossible values are `UserError`s that name the key. A mapping entry set to null is removed (for example
`shared_experts.raw_scale: null`).
"""

from ple_model.config.fields import from_mapping, key, shown_key
from ple_model.config.learning import (
    AdattConfig,
    DistillationConfig,
    EvidentialConfig,
    ExplanationsConfig,
    SaeConfig,
    TrainingConfig,
)
from ple_model.config.loading import (
    PRESETS,
    apply_overrides,
    given_explanations,
    load_config,
    merge,
    preset_dict,
    read_config_file,
    read_explanations,
)
from ple_model.config.network import (
    CgcConfig,
    DirectPathConfig,
    GlobalConfig,
    HmmConfig,
    HmmModeConfig,
    RelationshipsConfig,
    TaskExpertsConfig,
    TaskOverride,
    TowersConfig,
    TransferEdge,
)
from ple_model.config.whole import Config, config_from_dict

__all__ = [
    "PRESETS", "AdattConfig", "CgcConfig", "Config", "DirectPathConfig", "DistillationConfig", "EvidentialConfig",
    "ExplanationsConfig", "GlobalConfig", "HmmConfig", "HmmModeConfig", "RelationshipsConfig", "SaeConfig", "TaskExpertsConfig",
    "TaskOverride", "TowersConfig", "TrainingConfig", "TransferEdge", "apply_overrides", "config_from_dict", "from_mapping",
    "given_explanations", "key", "load_config", "merge", "preset_dict", "read_config_file", "read_explanations", "shown_key",
]  # fmt: skip
