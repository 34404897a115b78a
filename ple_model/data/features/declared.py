"""All parts in schema order, and the writer of `feature_schema.yaml`: `python -m ple_model.data.features` after a change."""

from __future__ import annotations

from pathlib import Path

import yaml

from ple_model.data.features import derived, domain, extended_source, merchant, model_derived, multi_source, multidisciplinary
from ple_model.data.features.category import CATEGORY
from ple_model.data.features.column import LOG_UNITS, Column, Part
from ple_model.data.features.raw_power_law import RAW_POWER_LAW
from ple_model.data.features.rfm import RFM
from ple_model.data.features.temporal import TEMPORAL
from ple_model.data.features.transaction_stats import TRANSACTION_STATS
from ple_model.safe_paths import write_bytes
from ple_model.schema import PARTS, SCHEMA_PATH

_MODULES = (derived, multi_source, domain, multidisciplinary, model_derived, extended_source, merchant)
_BY_NAME: dict[str, Part] = {
    part.name: part
    for part in (RFM, CATEGORY, TRANSACTION_STATS, TEMPORAL, RAW_POWER_LAW, *(p for m in _MODULES for p in m.PARTS))
}
DECLARED: tuple[Part, ...] = tuple(_BY_NAME[name] for _, name, _ in PARTS)
"""Parts in column order."""


def scale(part: str, column: Column) -> str:
    """How the normaliser should treat the column: `raw` (left alone), `log` (signed log first) or `linear`."""
    if part == RAW_POWER_LAW.name:
        return "raw"
    return "log" if column.unit in LOG_UNITS else "linear"


def entries() -> list[dict[str, str]]:
    """The schema's columns as written to YAML, in column order."""
    return [
        {
            "name": c.name,
            "group": group,
            "part": part.name,
            "unit": c.unit,
            "scale": scale(part.name, c),
            "sentence_en": c.en,
            "sentence_ko": c.ko,
            "how": c.built(),
            "empty": part.empty,
        }
        for (group, _, _), part in zip(PARTS, DECLARED, strict=True)
        for c in part.columns
    ]


def write(path: Path = SCHEMA_PATH) -> None:
    """Write the YAML."""
    text = yaml.safe_dump({"version": 1, "columns": entries()}, allow_unicode=True, sort_keys=False, width=10_000)
    head = "# The columns of `features`, in order. Written from ple_model/data/features; a test holds the two equal.\n"
    write_bytes(path, (head + text).encode())
