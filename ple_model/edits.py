"""Edits of what customers bring, before the experts read it: the feature side of a what-if.

A column is set (`12`), scaled (`*1.2`) or shifted (`+50000`, `+-3`) in its own unit; a feature part, a group of parts or an
input field is taken away (`absent`) as by a feed that never arrives: zero, and recorded as absent. A row that lacks a column's
part has no value to edit and stays as it is. Columns, sequences and clusters that were computed from an edited column do not
follow it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ple_model.errors import UserError, did_you_mean
from ple_model.fields import OPTIONAL_FIELDS
from ple_model.presence import part_key
from ple_model.schema import FeatureSchema, load_schema

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.batch import PLEClusterInput
    from ple_model.data.dataset.normalize import Normalizer

How = Literal["set", "times", "plus", "absent"]
FIELDS: tuple[str, ...] = tuple(
    f for f in OPTIONAL_FIELDS if not f.endswith("_mask") and f not in ("hyperbolic_features", "customer_segment")
)
"""Input fields that can be taken away: those that an expert, an HMM mode, the cluster or the cold-start mixing reads."""


def groups_of(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """The parts of each group of columns."""
    found: dict[str, dict[str, None]] = {}
    for part, where in schema.parts.items():
        found.setdefault(schema.columns[where.start].group, {})[part] = None
    return {group: tuple(parts) for group, parts in found.items()}


def removable(schema: FeatureSchema) -> tuple[str, ...]:
    """What `absent` takes: parts, groups of parts, input fields."""
    return tuple(dict.fromkeys((*schema.parts, *groups_of(schema), *FIELDS)))


@dataclass(frozen=True)
class FeatureEdit:
    """What happens to one column, or `absent` for a part, group or field."""

    how: How
    value: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise UserError(f"feature edit {self.how} {self.value!r}: not a finite number")

    @staticmethod
    def of(given: FeatureEdit | float | str, where: str = "feature edit") -> FeatureEdit:
        """From a number (set) or the text after the equals sign; `UserError` names `where` and the text."""
        if isinstance(given, FeatureEdit):
            return given
        text = given.strip() if isinstance(given, str) else repr(float(given))
        if text == "absent":
            return FeatureEdit("absent")
        how: How = "times" if text.startswith("*") else "plus" if text.startswith("+") else "set"
        try:
            value = float(text[how != "set" :])
        except ValueError as e:
            raise UserError(f"{where}: {text!r} is not a number, *factor, +summand or absent") from e
        if not math.isfinite(value):
            raise UserError(f"{where}: {text!r} is not a finite number")
        return FeatureEdit(how, value)

    def __str__(self) -> str:
        return "absent" if self.how == "absent" else {"set": "", "times": "*", "plus": "+"}[self.how] + exact(self.value)

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values [n] in the column's unit -> after the edit."""
        if self.how == "set":
            return np.full_like(values, self.value)
        with np.errstate(over="ignore"):
            return np.asarray(values * self.value if self.how == "times" else values + self.value)

    def describe(self, name: str) -> str:
        """In words: `recency_days set to 12`."""
        if self.how == "absent":
            return f"input {name} taken away"
        return f"{name} {'set to' if self.how == 'set' else self.how} {self.value:g}"


def exact(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(float(value)).removesuffix(".0")


def check(edits: Mapping[str, FeatureEdit], schema: FeatureSchema | None = None) -> None:
    """`UserError` for a column, part, group or field that is not there, with the nearest that is."""
    if not edits:
        return
    schema = schema if schema is not None else load_schema()
    columns, parts = schema.index, removable(schema)
    gone = {key for name, e in edits.items() if e.how == "absent" and name in parts for key in removed_keys(name, schema)}
    for name, edit in edits.items():
        if edit.how == "absent":
            if name in columns and name not in parts:
                part = schema.column(name).part
                raise UserError(f"feature.{name}=absent: a single column cannot be absent, its part can: feature.{part}=absent")
            if name not in parts:
                raise UserError(f"feature.{name}: no such feature part, group or input field{did_you_mean(name, parts)}")
            continue
        if name in parts and name not in columns:
            raise UserError(f"feature.{name}={edit}: a part or field holds many numbers, it can only be absent")
        if name not in columns:
            raise UserError(f"feature.{name}: no such feature column{did_you_mean(name, columns)}")
        part = schema.column(name).part
        if part_key(part) in gone:
            raise UserError(f"feature.{name}={edit}: its part '{part}' is taken away by the same what-if")


def removed_keys(name: str, schema: FeatureSchema) -> tuple[str, ...]:
    """Presence keys that `feature.<name>=absent` takes away."""
    if name in schema.parts:
        return (part_key(name),)
    if name in FIELDS:
        return (name,)
    return tuple(part_key(p) for p in groups_of(schema)[name])


def changed_keys(edits: Mapping[str, FeatureEdit], schema: FeatureSchema | None = None) -> frozenset[str]:
    """What the edits touch, in the form of `Expert.reads`: input fields and `features:<part>`."""
    schema = schema if schema is not None else load_schema()
    return frozenset(
        key
        for name, e in edits.items()
        for key in (removed_keys(name, schema) if e.how == "absent" else (part_key(schema.column(name).part),))
    )


def edit(
    inputs: PLEClusterInput, edits: Mapping[str, FeatureEdit], normalizer: Normalizer, schema: FeatureSchema | None = None
) -> PLEClusterInput:
    """The batch with `edits`, which are in the columns' own units; `normalizer` is the one that made the batch's features, and
    `schema` says their columns (default: the package's).

    `UserError` for unknown names and for a value beyond what the model's numbers hold.
    """
    import torch  # late: torch

    schema = schema if schema is not None else load_schema()
    check(edits, schema)
    features = inputs.features.clone()
    presence = dict(inputs.presence or {})
    fields: dict[str, Any] = {}
    for name, e in edits.items():
        if e.how == "absent":
            for key in removed_keys(name, schema):
                base, _, part = key.partition(":")
                value: Tensor | None = getattr(inputs, base)
                if part:
                    features[:, schema.parts[part]] = 0
                elif value is not None:
                    fields[base] = torch.zeros_like(value)
                presence[key] = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
            continue
        column = schema.column(name)
        rows = inputs.present(part_key(column.part))
        before = column_values(features[rows, column.index].cpu().numpy(), column.index, normalizer)
        after = model_values(e.apply(before), column.index, normalizer, f"feature.{name}={e}")
        features[rows, column.index] = torch.from_numpy(after).to(features)
    return replace(inputs, **fields, features=features, presence=presence)


def one_column(normalizer: Normalizer, index: int) -> Normalizer:
    """The normaliser of a single column."""
    at = slice(index, index + 1)
    return replace(normalizer, kind=normalizer.kind[at], centre=normalizer.centre[at], scale=normalizer.scale[at])


def column_values(values: NDArray[np.floating], index: int, normalizer: Normalizer) -> NDArray[np.float64]:
    """Model input [n] of one column -> its own unit."""
    return one_column(normalizer, index).inverse(values[:, None])[:, 0]


def model_values(
    values: NDArray[np.float64], index: int, normalizer: Normalizer, where: str = "feature edit"
) -> NDArray[np.float32]:
    """One column [n] in its own unit -> model input; `UserError` naming `where` if it is beyond what numbers hold."""
    with np.errstate(over="ignore"):
        out = one_column(normalizer, index).transform(values[:, None])[:, 0]
    if not (np.isfinite(values).all() and np.isfinite(out).all()):
        raise UserError(f"{where}: the result is too large to be a number")
    return out
