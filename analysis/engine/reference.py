"""The reference customer that an explanation compares with, and the path from it to the customer.

Not zero: normalisation layers are singular there and attributions stop adding up. The reference is the sample's median in every
feature column, and the mean of the rows that have a field for every other input; diagram points go to the mean birth and death
of their homology dimension, masks and ids stay the customer's. What the customer does not have is held fixed at its absence: a
missing source is never given as a reason. Presence is written down for every point of the path, so that a value of zero on the
way is not taken for absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.fields import FIELD_SHAPES, OPTIONAL_FIELDS
from ple_model.presence import part_key
from ple_model.schema import PART_SLICES

DIAGRAMS = {"tda_short_diagrams": "tda_short_mask", "tda_long_diagrams": "tda_long_mask"}
FIXED = ("cluster_ids", "customer_segment", "hyperbolic_features", *DIAGRAMS.values())
"""Ids, masks, and coordinates that are only shown."""
FIELDS = tuple(f for f in FIELD_SHAPES if f not in FIXED)
"""The fields that are attributed."""
MAX_HOMOLOGY = 4
SEQUENCES = ("txn_seq", "session_seq")
HAIR = 1e-6
"""How far from zero an idle step of a sequence is held while the path is integrated."""


@dataclass(frozen=True)
class Reference:
    """values: field -> [1, ...]; diagrams: field -> [MAX_HOMOLOGY, 2] mean birth and death; rows: how many it rests on."""

    values: Mapping[str, Tensor]
    diagrams: Mapping[str, Tensor]
    rows: int

    @staticmethod
    def of(batches: Iterable[PLEClusterInput], empty: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> Reference:
        """From the rows of a sample, batch by batch. `empty` [rows, columns]: cells without a value, which are no part of a
        median; None where that is not known."""
        features: list[Tensor] = []
        parts: list[Tensor] = []
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        points: dict[str, Tensor] = {}
        rows = 0
        where: Mapping[str, slice] = PART_SLICES
        for inputs in batches:
            rows += len(inputs)
            features.append(inputs.features)
            parts.append(torch.stack([inputs.present(part_key(p)) for p in inputs.parts], 1))
            where = inputs.parts
            for name in FIELDS:
                value: Tensor | None = getattr(inputs, name)
                if name == "features" or value is None:
                    continue
                there = inputs.present(name)
                if name in DIAGRAMS:
                    points[name] = points.get(name, 0) + _points(value, getattr(inputs, DIAGRAMS[name]), there)
                sums[name] = sums.get(name, 0) + value[there].double().sum(0)
                counts[name] = counts.get(name, 0) + int(there.sum())
        values = {n: (s / max(counts[n], 1)).float()[None] for n, s in sums.items()}
        values["features"] = _medians(torch.cat(features), torch.cat(parts), where, empty)
        means = {n: (p[:, :2] / p[:, 2:].clamp_min(1)).float() for n, p in points.items()}
        return Reference(values, means, rows)

    def baseline(self, name: str, inputs: PLEClusterInput) -> Tensor:
        """[1, ...] where `name` starts for the one customer of `inputs`."""
        own: Tensor = getattr(inputs, name)
        if name == "features":
            value = self.values[name].to(own).clone()
            for part, columns in inputs.parts.items():
                if not bool(inputs.present(part_key(part))[0]):
                    value[:, columns] = own[:, columns]
            return value
        if name in DIAGRAMS and name in self.diagrams:
            mean = self.diagrams[name].to(own)[own[..., 2].long().clamp(0, MAX_HOMOLOGY - 1)]
            return torch.cat([mean, own[..., 2:]], dim=-1)
        return self.values[name].to(own)


@dataclass(frozen=True)
class Path:
    """The attributed fields of one customer with both ends. `inputs(tensors)` makes a batch of points between them."""

    customer: PLEClusterInput
    fields: tuple[str, ...]
    ends: tuple[Tensor, ...]
    starts: tuple[Tensor, ...]
    absent: tuple[str, ...]
    """Fields and `features:<part>` that the customer lacks."""

    @staticmethod
    def of(customer: PLEClusterInput, reference: Reference) -> Path:
        names = [n for n in FIELDS if getattr(customer, n) is not None]
        there = [n for n in names if n == "features" or bool(customer.present(n)[0])]
        there = [n for n in there if n in reference.values]
        ends = tuple(getattr(customer, n) for n in there)
        starts = tuple(reference.baseline(n, customer) for n in there)
        absent = [n for n in FIELDS if n != "features" and n not in there]
        absent += [part_key(p) for p in customer.parts if not bool(customer.present(part_key(p))[0])]
        presence = {n: customer.present(n) for n in OPTIONAL_FIELDS}
        presence |= {part_key(p): customer.present(part_key(p)) for p in customer.parts}
        plain = replace(customer, presence={**(customer.presence or {}), **presence}, targets=None)
        return Path(plain, tuple(there), ends, starts, tuple(absent))

    @property
    def limits(self) -> tuple[Tensor, ...]:
        """`ends` as the path approaches them: a sequence's idle steps are not yet exactly zero. An expert that counts the time
        since the last event reads zero as "nothing happened", so the prediction jumps at the very end of the path."""
        out = []
        for name, end, start in zip(self.fields, self.ends, self.starts, strict=True):
            idle = (end == 0).all(-1, keepdim=True) if name in SEQUENCES else None
            out.append(end if idle is None else torch.where(idle, HAIR * start, end))
        return tuple(out)

    def inputs(self, tensors: tuple[Tensor, ...]) -> PLEClusterInput:
        """A batch with these tensors [n, ...] for `fields` and the customer's own values elsewhere."""
        n = tensors[0].shape[0]
        wide = self.customer.map(lambda t: t.expand(n, *t.shape[1:]))
        changed: dict[str, Any] = dict(zip(self.fields, tensors, strict=True))
        return replace(wide, **changed)

    @property
    def groups(self) -> tuple[str, ...]:
        """What is added or taken away as one: parts of the features that the customer has, and the other fields."""
        parts = [p for p in self.customer.parts if part_key(p) not in self.absent]
        return (*parts, *(f for f in self.fields if f != "features"))

    def mix(self, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[Tensor, ...]:
        """Rows in which the groups with `keep` [n, groups] are the customer's and the others the reference's."""
        column = {g: torch.from_numpy(np.ascontiguousarray(keep[:, i])) for i, g in enumerate(self.groups)}
        out: list[Tensor] = []
        for name, end, start in zip(self.fields, self.ends, self.starts, strict=True):
            if name == "features":
                mask = torch.ones(len(keep), end.shape[1], dtype=torch.bool)
                for part, columns in self.customer.parts.items():
                    if part in column:
                        mask[:, columns] = column[part][:, None]
            else:
                mask = column[name].view(-1, *([1] * (end.dim() - 1)))
            out.append(torch.where(mask, end, start))
        return tuple(out)

    def group_values(self, values: tuple[Tensor, ...]) -> dict[str, float]:
        """Attributions [1, ...] by field, summed by group."""
        out: dict[str, float] = {}
        for name, value in zip(self.fields, values, strict=True):
            if name == "features":
                for part in self.groups:
                    if part in self.customer.parts:
                        out[part] = float(value[:, self.customer.parts[part]].double().sum())
            else:
                out[name] = float(value.double().sum())
        return out


def _medians(
    features: Tensor, present: Tensor, parts: Mapping[str, slice], empty: np.ndarray[Any, np.dtype[np.bool_]] | None
) -> Tensor:
    """[1, columns]: the median over the rows that have the column's part and a value in it; the overall one where none has."""
    out = features.median(0).values
    for i, columns in enumerate(parts.values()):
        rows = present[:, i]
        if bool(rows.any()):
            out[columns] = features[rows, columns].median(0).values
        if empty is not None:
            for j in range(columns.start, columns.stop):
                known = rows & ~torch.from_numpy(empty[:, j])
                if 0 < int(known.sum()) < int(rows.sum()):
                    out[j] = features[known, j].median()
    return out[None]


def _points(diagram: Tensor, mask: Tensor | None, there: Tensor) -> Tensor:
    """[MAX_HOMOLOGY, 3]: sums of birth and death of the valid points and their number, by homology dimension."""
    valid = there[:, None] & (mask.bool() if mask is not None else (diagram[..., :2] != 0).any(-1))
    index = diagram[..., 2].long().clamp(0, MAX_HOMOLOGY - 1)[valid]
    values = torch.cat([diagram[..., :2][valid].double(), torch.ones(len(index), 1, dtype=torch.float64)], 1)
    return torch.zeros(MAX_HOMOLOGY, 3, dtype=torch.float64).index_add_(0, index, values)
