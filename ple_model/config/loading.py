"""The configuration from what it is laid up of: a preset, a user's file, single overrides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ple_model.arguments import shown
from ple_model.config.fields import from_mapping, shown_key
from ple_model.config.learning import ExplanationsConfig
from ple_model.config.whole import Config, config_from_dict
from ple_model.errors import UserError, did_you_mean
from ple_model.yaml_text import MAX_DEPTH, parse_yaml

PRESETS = ("v3_14", "v3_15", "small", "production")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping; anything else is replaced."""
    out = dict(base)
    for k, v in over.items():
        old = out.get(k)
        out[k] = merge(old, v) if isinstance(old, Mapping) and isinstance(v, Mapping) else v
    return out


def read_config_file(path: Path) -> dict[str, Any]:
    """A configuration file as plain data. `UserError` names a file that is missing or no mapping."""
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as e:
        raise UserError(f"{path}: no such config file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path} cannot be read: {' '.join(str(e).split())}") from e
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UserError(f"{path}: the top level must be a mapping of sections")
    return raw


def read_explanations(path: Path) -> ExplanationsConfig:
    """The section `explanations` of a file that holds nothing else. `UserError` names the key."""
    raw = read_config_file(path)
    for section in raw:
        if section != "explanations":
            raise UserError(
                f"{path}: {shown_key(section)} is not read here{did_you_mean(shown_key(section), ['explanations'])}"
            )
    return from_mapping(ExplanationsConfig, raw.get("explanations") or {}, "explanations")


def given_explanations(path: Path) -> dict[str, list[str]]:
    """As `read_explanations`, only the keys that the file names: of all others nothing was said."""
    whole = read_explanations(path)
    return {name: getattr(whole, name) for name in read_config_file(path).get("explanations") or {}}


def preset_dict(name: str) -> dict[str, Any]:
    """A preset as plain data. A preset's `extends` names the preset it is laid upon."""
    if name not in PRESETS:
        raise UserError(f"no preset '{name}'{did_you_mean(name, PRESETS)}")
    raw = read_config_file(Path(__file__).parent.parent / "configs" / f"{name}.yaml")
    parent = raw.pop("extends", None)
    return merge(preset_dict(parent), raw) if parent else raw


def load_config(preset: str = "v3_14", file: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Preset, then `file`, then `key.path=value` overrides (values are YAML)."""
    raw = preset_dict(preset)
    if file is not None:
        raw = merge(raw, read_config_file(Path(file)))
    return config_from_dict(apply_overrides(raw, overrides))


def apply_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`key.path=value` settings laid on plain data, in their order."""
    for item in overrides:
        name, eq, text = item.partition("=")
        if not eq or not name:
            raise UserError(f"override {shown(item)}: expected key=value, for example training.learning_rate=1e-3")
        value: Any = parse_yaml(text, f"override {shown(name)}")
        if name.count(".") > MAX_DEPTH:
            raise UserError(f"override {shown(name)}: nested more than {MAX_DEPTH} deep")
        for part in reversed(name.split(".")):
            value = {part: value}
        raw = merge(raw, value)
    return raw
