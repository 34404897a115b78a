"""What the model reads but nobody may be given as a reason: taken out of the attributions before reasons are made of them, and
summed, so that reasons, all other facts and what is barred still add up to the difference.

How much it mattered is measured number by number: a sex that pulls up and a region that pulls down both moved the prediction,
though their sum is nothing. Only columns that one column of a table of one's own became are taken together first. This is the
direct effect; what other inputs tell of the same fact is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.reference import FIELDS
from analysis.explain.origin.told import sentence_said
from analysis.results.explanation_parts import Barred
from analysis.wording import title
from ple_model.barred_words import BARRED_KINDS
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES
from ple_model.schema import FeatureColumn, FeatureSchema

KEY = "explanations.barred"
GROUP = "barred"
"""The group of inputs that stands for all that is barred."""


@dataclass(frozen=True, eq=False)
class BarredInputs:
    """`columns` [columns] and, by field, `dims` [width of its last axis]: what is barred. `entries`: a title in both languages
    with the columns and the fields it bars. `sources` [columns]: the number of what each column came from."""

    columns: NDArray[np.bool_]
    dims: Mapping[str, NDArray[np.bool_]]
    entries: tuple[tuple[tuple[str, str], frozenset[int], frozenset[str]], ...]
    sources: NDArray[np.int64]

    @property
    def fields(self) -> frozenset[str]:
        """Input fields of which something is barred."""
        return frozenset(name for name, mask in self.dims.items() if mask.any())

    def split(
        self, fields: Sequence[str], values: Sequence[Tensor], present: Iterable[str], size: float
    ) -> tuple[tuple[Tensor, ...], Barred | None]:
        """(attributions [1, ...] by field with nothing of what is barred, what that was). `present`: names of the fields that
        the customer has; `size`: sum of the absolute attributions of all else, for the share. None where nothing is barred."""
        kept, total, own, has = [], 0.0, 0.0, set(present)
        for name, value in zip(fields, values, strict=True):
            mask = self.columns if name == "features" else self.dims.get(name)
            if mask is None or not mask.any():
                kept.append(value)
                continue
            where = torch.from_numpy(mask)
            taken = value[..., where].double()
            total += float(taken.sum())
            own += float(np.abs(self._by_source(taken) if name == "features" else taken.numpy()).sum())
            left = value.clone()
            left[..., where] = 0
            kept.append(left)
        titles = tuple(t for t, columns, named in self.entries if columns or named & has)
        if not titles:
            return tuple(values), None
        return tuple(kept), Barred(titles, total, own, own / (own + size) if own + size > 0 else 0.0)

    def _by_source(self, taken: Tensor) -> NDArray[np.float64]:
        """Sums of the barred columns' attributions [1, barred columns] over those from one source."""
        return np.asarray(np.bincount(self.sources[self.columns], weights=taken.numpy().ravel()), dtype=np.float64)


def barred_inputs(schema: FeatureSchema, names: Sequence[str]) -> BarredInputs:
    """Of these columns, parts, groups, fields and kinds (age, sex, region), and of what a schema of one's own marks so.
    `UserError` with the nearest name for one that is none of them."""
    columns = np.zeros(len(schema.columns), dtype=bool)
    dims: dict[str, NDArray[np.bool_]] = {}
    entries: list[tuple[tuple[str, str], frozenset[int], frozenset[str]]] = []
    for name in names:
        title_, own, fields = _entry(schema, name)
        columns[sorted(own)] = True
        for field, where in fields.items():
            mask = dims.setdefault(field, np.zeros(FIELD_SHAPES[field][-1] if FIELD_SHAPES[field] else 1, dtype=bool))
            mask[where] = True
        entries.append((title_, own, frozenset(fields)))
    marked = frozenset(schema.index[n] for n in schema.barred) - {i for _, own, _ in entries for i in own}
    for i in sorted(marked):
        entries.append((_said(schema.columns[i]), frozenset({i}), frozenset()))
    columns[sorted(marked)] = True
    return BarredInputs(columns, dims, tuple(entries), _sources(schema))


def _sources(schema: FeatureSchema) -> NDArray[np.int64]:
    """[columns] the same number for columns from one column of a table of one's own."""
    number: dict[str, int] = {}
    said = [c.how if schema.own else c.name for c in schema.columns]
    return np.array([number.setdefault(s, len(number)) for s in said], dtype=np.int64)


def _entry(schema: FeatureSchema, name: str) -> tuple[tuple[str, str], frozenset[int], dict[str, slice]]:
    """(title, columns, parts of fields) of one name."""
    kind = BARRED_KINDS.get(name)
    if kind is not None:
        own = frozenset(c.index for c in schema.columns if schema.own and kind.called(_source(c)))
        return kind.title, own, {} if schema.own else dict(kind.inputs)
    both = title(name, "en"), title(name, "ko")
    if name in FIELDS and name != "features" and not schema.own:
        return both, frozenset(), {name: slice(None)}
    if name in schema.parts:
        where = schema.parts[name]
        return both, frozenset(range(where.start, where.stop)), {}
    if name in schema.index:
        i = schema.index[name]
        return _said(schema.columns[i]), frozenset({i}), {}
    same = frozenset(c.index for c in schema.columns if name in (c.group, _source(c)))
    if same:
        return both, same, {}
    known = (*BARRED_KINDS, *schema.parts, *schema.index, *FIELDS)
    raise UserError(f"{KEY}: '{name}' is no column, group or input of this model{did_you_mean(name, known)}")


def _said(column: FeatureColumn) -> tuple[str, str]:
    return sentence_said(column.sentence_en, "en"), sentence_said(column.sentence_ko, "ko")


def _source(column: FeatureColumn) -> str:
    """The name in a table of one's own that a feature column came from."""
    return column.how.removeprefix("column: ")
