"""The 734 columns of `features` by name, group and part; `feature_schema.yaml` is the only source (reference, "734D")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import yaml

from ple_model.errors import UserError, did_you_mean

SCHEMA_PATH = Path(__file__).with_name("feature_schema.yaml")

PARTS: tuple[tuple[str, str, int], ...] = (
    ("base", "rfm", 34), ("base", "category", 64), ("base", "transaction_stats", 80), ("base", "temporal", 60),
    ("multi_source", "deposit", 20), ("multi_source", "membership", 15), ("multi_source", "investment", 18),
    ("multi_source", "credit", 12), ("multi_source", "digital", 14), ("multi_source", "product", 12),
    ("domain", "tda_short", 24), ("domain", "tda_long", 36), ("domain", "phase_transition", 10), ("domain", "gmm", 22),
    ("domain", "mamba_temporal", 50), ("domain", "income_decomposition", 8), ("domain", "financial_behavior", 9),
    ("multidisciplinary", "chemical", 6), ("multidisciplinary", "epidemic", 5), ("multidisciplinary", "interference", 8),
    ("multidisciplinary", "crime", 5),
    ("model_derived", "bandit", 4), ("model_derived", "hmm_summary", 5), ("model_derived", "lnn", 18),
    ("extended_source", "insurance", 25), ("extended_source", "consultation", 18), ("extended_source", "campaign", 12),
    ("extended_source", "overseas", 6), ("extended_source", "other_channel", 23),
    ("merchant", "mcc_l1", 4), ("merchant", "mcc_l2", 4), ("merchant", "merchant_brand", 8), ("merchant", "merchant_stats", 4),
    ("merchant", "radius", 1),
    ("raw_power_law", "raw_power_law", 90),
)  # fmt: skip
"""(group, part, width) in column order; the widths sum to 734."""


def _slices() -> dict[str, slice]:
    out: dict[str, slice] = {}
    start = 0
    for _, part, width in PARTS:
        out[part] = slice(start, start + width)
        start += width
    return out


PART_SLICES: dict[str, slice] = _slices()
"""Columns of each part: `PART_SLICES["overseas"] == slice(594, 600)`."""

MERCHANT_SLICE_PARTS: tuple[str, ...] = ("overseas", "mcc_l1", "mcc_l2", "merchant_brand", "merchant_stats", "radius")
"""The 27 columns that unified_hgcn reads beside the hierarchy coordinates: 594-599 and 623-643."""

RAW_PART = "raw_power_law"
COLUMN_FIELDS = ("name", "group", "part", "unit", "scale", "sentence_en", "sentence_ko", "how", "empty")


@dataclass(frozen=True)
class FeatureColumn:
    """One column. `scale` is what the normaliser does first: `log` (signed log), `linear`, or `raw` (left in its unit)."""

    index: int
    name: str
    group: str
    part: str
    unit: str
    scale: str
    sentence_en: str
    sentence_ko: str
    how: str
    empty: str
    """What an absent source leaves in the column."""

    def sentence(self, language: str = "en") -> str:
        """The sentence for a business reviewer, in `en` or `ko`."""
        return self.sentence_ko if language == "ko" else self.sentence_en


@dataclass(frozen=True)
class FeatureSchema:
    """Columns in order, with the look-ups that readers need."""

    version: int
    columns: tuple[FeatureColumn, ...]
    index: Mapping[str, int]
    """Column number by name."""
    parts: Mapping[str, slice]
    """Columns of each part."""
    own: bool = False
    """The columns of a table of one's own, which came with a dataset; False: those of this package."""
    fixed: frozenset[str] = frozenset()
    """Columns of a table of one's own that nobody can change, such as an age: counterfactuals leave them as they are."""
    barred: frozenset[str] = frozenset()
    """Columns of a table of one's own that may not be given as reasons."""

    def __deepcopy__(self, memo: dict[int, object]) -> FeatureSchema:
        return self  # nothing in it changes

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def normalized(self) -> slice:
        """The columns that the normaliser scales: all before the raw ones."""
        return slice(0, sum(c.scale != "raw" for c in self.columns))

    @property
    def raw(self) -> slice:
        """The heavy-tailed columns that stay in their own units: the last ones."""
        return slice(self.normalized.stop, len(self.columns))

    def column(self, name: str) -> FeatureColumn:
        """The column of this name; `UserError` with the nearest name otherwise."""
        if name not in self.index:
            raise UserError(f"no feature column '{name}'{did_you_mean(name, self.index)}")
        return self.columns[self.index[name]]


def parse_schema(text: str, where: str = "feature_schema.yaml") -> FeatureSchema:
    """Schema from YAML text; one `UserError` for all faults (fields, repeated names, part widths, order)."""
    document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(document, dict) or not isinstance(document.get("columns"), list):
        raise UserError(f"{where} has no list 'columns'")
    expected = [(group, part) for group, part, width in PARTS for _ in range(width)]
    faults: list[str] = []
    columns: list[FeatureColumn] = []
    for i, entry in enumerate(document["columns"]):
        if not isinstance(entry, dict):
            faults.append(f"column {i} is not a mapping")
            continue
        missing = [f for f in COLUMN_FIELDS if not isinstance(entry.get(f), str) or not entry[f].strip()]
        unknown = sorted(set(entry) - set(COLUMN_FIELDS))
        if missing or unknown:
            faults.append(f"column {i} ({entry.get('name')}): missing {missing}, unknown {unknown}")
            continue
        columns.append(FeatureColumn(i, **{f: entry[f] for f in COLUMN_FIELDS}))
        if i < len(expected) and (entry["group"], entry["part"]) != expected[i]:
            found = f"{entry['group']}/{entry['part']}"
            faults.append(f"column {i} ({entry['name']}): in {found}, expected {'/'.join(expected[i])}")
    if len(document["columns"]) != len(expected):
        faults.append(f"{len(document['columns'])} columns, expected {len(expected)}")
    index: dict[str, int] = {}
    for column in columns:
        if column.name in index:
            faults.append(f"column {column.index} repeats the name '{column.name}' of column {index[column.name]}")
        index.setdefault(column.name, column.index)
    if faults:
        raise UserError(f"{where}: " + "; ".join(faults))
    return FeatureSchema(
        int(document.get("version", 1)), tuple(columns), MappingProxyType(index), MappingProxyType(PART_SLICES)
    )


@lru_cache(maxsize=1)
def load_schema() -> FeatureSchema:
    """The schema that ships with the package."""
    return parse_schema(SCHEMA_PATH.read_text(encoding="utf-8"))
