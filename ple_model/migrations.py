"""Run folders of older formats, read as those of today; a change of the format adds one function to `MIGRATIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ple_model.errors import UserError

FORMAT_VERSION = 2
Migration = Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]
TASKS_OF_FORMAT_1 = (
    "ctr", "cvr", "engagement", "uplift", "churn", "retention", "life_stage", "ltv", "balance_util", "channel", "timing", "nba",
    "spending_category", "consumption_cycle", "spending_bucket", "category_uplift", "brand_prediction", "merchant_affinity",
)  # fmt: skip
OFF_IN_FORMAT_1 = ("uplift", "category_uplift")
"""Tasks that were off unless the config switched them on."""


def _list_tasks(manifest: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Format 1 left out which tasks the model has: all that the release had then, in its order. Format 2 lists them. What is no
    mapping stays as it is, for the config to refuse it."""
    section = config.get("task_experts") or {}
    given = (section.get("tasks") or {}) if isinstance(section, Mapping) else None
    if not isinstance(section, Mapping) or not isinstance(given, Mapping) or "enabled_tasks" in section:
        return manifest, config
    switch = {t: o.get("enabled") for t, o in given.items() if isinstance(o, Mapping)}
    on = [t for t in TASKS_OF_FORMAT_1 if (t not in OFF_IN_FORMAT_1 if switch.get(t) is None else switch[t])]
    return manifest, {**config, "task_experts": {**section, "enabled_tasks": on}}


def _mean_alone(config: dict[str, Any]) -> dict[str, Any]:
    """An encoder within a run from before `newest` handed on the mean of its tokens alone; whoever has the key says so."""
    shared = config.get("shared_experts")
    expert = shared.get("temporal") if isinstance(shared, Mapping) else None
    encoder = expert.get("encoder") if isinstance(expert, Mapping) else None
    shape = encoder.get("shape") if isinstance(encoder, Mapping) else None
    if not (isinstance(shared, Mapping) and isinstance(expert, Mapping) and isinstance(encoder, Mapping)):
        return config
    if not isinstance(shape, Mapping) or "newest" in shape:
        return config
    told = {**expert, "encoder": {**encoder, "shape": {**shape, "newest": 0}}}
    return {**config, "shared_experts": {**shared, "temporal": told}}


MIGRATIONS: dict[int, Migration] = {1: _list_tasks}
"""By version n: (manifest, config) as plain data of version n to the same of version n + 1."""


def migrated(path: Path, manifest: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    version = manifest.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise UserError(f"{path / 'manifest.json'}: format_version is {version!r}; this is not the manifest of a run")
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path / 'manifest.json'}: format version {version} is newer than {FORMAT_VERSION}, which this release reads"
        )
    while version < FORMAT_VERSION:
        if version not in MIGRATIONS:
            oldest = min(MIGRATIONS, default=FORMAT_VERSION)
            raise UserError(f"{path / 'manifest.json'}: format version {version} is not known; the oldest is {oldest}")
        manifest, config = MIGRATIONS[version](manifest, config)
        version += 1
    return {**manifest, "format_version": FORMAT_VERSION}, _mean_alone(config)
