"""The configuration that the training form stands for: preset, YAML laid upon it, single settings; and what differs in it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dashboard.i18n import t
from ple_model.config import Config, apply_overrides, config_from_dict, load_config, merge, preset_dict
from ple_model.config_values import NOT_SET, config_values
from ple_model.errors import UserError
from ple_model.yaml_text import parse_yaml


def chosen(preset: str, yaml: str, overrides: Sequence[str]) -> Config:
    """As `ple train` reads it. `UserError` names the key, the value and the nearest valid one."""
    raw = preset_dict(preset)
    if yaml:
        given = parse_yaml(yaml, "YAML")
        if not isinstance(given, dict):
            raise UserError(t("train.yaml_mapping"))
        raw = merge(raw, given)
    return config_from_dict(apply_overrides(raw, overrides))


def problem(preset: str, yaml: str, overrides: Sequence[str] = ()) -> str:
    """Why this is no configuration, in one sentence; empty where it is one."""
    try:
        chosen(preset, yaml, overrides)
    except UserError as e:
        return str(e)
    return ""


def of_preset(preset: str) -> Config:
    """The preset alone."""
    return load_config(preset)


def differences(here: Config, there: Config, called: str) -> pd.DataFrame:
    """A row a key whose value is another: the key, its value in `there` (under the name `called`), its value here."""
    mine, theirs = config_values(here), config_values(there)
    keys = [k for k in dict.fromkeys([*theirs, *mine]) if mine.get(k) != theirs.get(k)]
    rows = [(k, theirs.get(k, NOT_SET), mine.get(k, NOT_SET)) for k in keys]
    return pd.DataFrame(rows, columns=[t("train.diff_key"), called, t("train.diff_here")])
