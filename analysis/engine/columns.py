"""The feature columns of a run's training customers, in their own units: ranges, percentiles, and what to say of an edit.

Ranges come from the run's training profile (up to 20,000 customers). Percentiles, and the ranges of an older run, come from the
training rows in the run's sample, or from all of its rows where it has too few of those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.fingerprint import files_mark
from analysis.i18n import phrase
from analysis.kept import Kept
from analysis.results.whatif import Note
from analysis.wording import quantity, title
from ple_model.data.dataset.normalize import CLIP, CONSTANT, RAW, Normalizer
from ple_model.edits import FeatureEdit, column_values, one_column, removed_keys
from ple_model.money import is_money
from ple_model.numerals import LANGUAGES, Language, number
from ple_model.presence import is_part, part_key, plain_name
from ple_model.profile import Profile
from ple_model.schema import PART_SLICES, FeatureColumn, FeatureSchema, load_schema

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.run import Run

MIN_ROWS = 50
"""Fewer training rows than this in the sample and all of its rows stand for training."""
SAME = 1e-5
"""Relative difference up to which a number and its float32 are one."""


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Some customers' features [n, 734] as the model reads them, and which parts [n, parts] they have."""

    features: NDArray[np.float32]
    present: NDArray[np.bool_]
    parts: tuple[str, ...] = tuple(PART_SLICES)

    @staticmethod
    def of(batches: Iterable[PLEClusterInput]) -> FeatureRows:
        """From inputs, batch by batch."""
        features, present = [], []
        parts: tuple[str, ...] = ()
        for inputs in batches:
            parts = tuple(inputs.parts)
            features.append(np.asarray(inputs.features.float().cpu().numpy()))
            present.append(np.stack([inputs.present(part_key(p)).cpu().numpy() for p in parts], 1).astype(bool))
        return FeatureRows(np.concatenate(features), np.concatenate(present), parts)

    def __len__(self) -> int:
        return len(self.features)

    def has(self, part: str) -> NDArray[np.bool_]:
        return np.asarray(self.present[:, self.parts.index(part)])

    def values(self, column: FeatureColumn, normalizer: Normalizer) -> NDArray[np.float64]:
        """The column in its own unit, of the rows that have its part."""
        return column_values(self.features[self.has(column.part), column.index], column.index, normalizer)


@dataclass(frozen=True)
class ColumnRange:
    """One column over the training customers that have its part; NaN without any."""

    n: int
    """Customers behind `low` and `high`."""
    low: float
    middle: float
    high: float
    whole: bool
    """Of the whole training profile, not of the run's sample alone."""
    constant: bool
    """The same for every training customer: the model reads nothing of it."""


class TrainingColumns:
    """See the module docstring."""

    def __init__(
        self, rows: FeatureRows, normalizer: Normalizer, profile: Profile | None = None, *, trained: bool = True,
        schema: FeatureSchema | None = None,
    ) -> None:  # fmt: skip
        self.rows, self.normalizer, self.profile, self.trained = rows, normalizer, profile, trained
        self.schema = schema if schema is not None else load_schema()

    @staticmethod
    def of(run: Run) -> TrainingColumns:
        """From the run's sample. `UserError` for a run without one."""
        sample = run.sample()
        trained = sample.rows("train") >= MIN_ROWS
        batches = sample.batches("train" if trained else None, 1024, fields=())
        rows = FeatureRows.of(b.inputs for b in batches)
        known = Normalizer.load(run.preprocess), Profile.load(run.preprocess)
        return TrainingColumns(rows, *known, trained=trained, schema=run.context().schema)

    @staticmethod
    def cached(run: Run) -> TrainingColumns:
        """Kept for the next question; the two most recent are kept."""
        return _KEPT.get(files_mark(run.path), lambda: TrainingColumns.of(run))

    def range(self, name: str) -> ColumnRange:
        column = self.schema.column(name)
        x = self.rows.values(column, self.normalizer)
        low, high = (float(x.min()), float(x.max())) if len(x) else (float("nan"), float("nan"))
        n, whole = len(x), False
        if self.profile is not None and self.profile.extremes is not None:
            ends = self.profile.extremes[column.index]
            if np.isfinite(ends).all():
                low, high = map(float, column_values(ends, column.index, self.normalizer))
                n, whole = int(self.profile.counts[column.index].sum()), True
        middle = float(np.median(x)) if len(x) else float("nan")
        return ColumnRange(n, low, middle, high, whole, int(self.normalizer.kind[column.index]) == CONSTANT)

    def n(self, name: str) -> int:
        """Customers behind a percentile: those of the sample that have the column's part."""
        return int(self.rows.has(self.schema.column(name).part).sum())

    def percentile(self, name: str, value: float) -> float:
        """Share of the sample's training customers below `value`, those equal to it half; NaN without any."""
        x = self.rows.values(self.schema.column(name), self.normalizer)
        if not len(x):
            return float("nan")
        same = np.isclose(x, value, rtol=SAME, atol=1e-9)
        return float((((x < value) & ~same).sum() + 0.5 * same.sum()) / len(x))

    def notes(self, edits: Mapping[str, FeatureEdit], rows: FeatureRows, normalizer: Normalizer) -> Iterator[Note]:
        """What to know of `edits` of `rows`, whose features `normalizer` made."""
        for name, edit in edits.items():
            if edit.how == "absent":
                parts = [plain_name(k) for k in removed_keys(name, self.schema) if is_part(k)]
                gone = int((~np.stack([rows.has(p) for p in parts]).any(0)).sum()) if parts else 0
                if gone:
                    yield _nothing_to_take(name, gone, len(rows))
                continue
            column = self.schema.column(name)
            here = rows.has(column.part)
            if not here.all():
                yield _lacking(column, int((~here).sum()), len(rows))
            if here.any():
                yield from self._value_notes(column, edit, edit.apply(rows.values(column, normalizer)), normalizer)

    def _value_notes(
        self, column: FeatureColumn, edit: FeatureEdit, after: NDArray[np.float64], normalizer: Normalizer
    ) -> Iterator[Note]:
        if int(normalizer.kind[column.index]) == CONSTANT:
            yield _note("constant", lambda language: {"name": column.name})
            return
        known = self.range(column.name)
        if known.n:
            slack = SAME * max(abs(known.low), abs(known.high), 1e-9)
            share = float(((after < known.low - slack) | (after > known.high + slack)).mean())
            if share:
                value = float(after[0]) if len(after) == 1 or edit.how == "set" else None
                yield self._outside(column, known, value, share)
        one = one_column(normalizer, column.index)
        read = one.transform(after[:, None])
        beyond = np.abs(read[:, 0]) >= CLIP
        if int(one.kind[0]) != RAW and beyond.any():
            edge = float(one.inverse(read[beyond][:1])[0, 0])
            if not np.isclose(edge, after[beyond][0], rtol=SAME):
                yield _note("beyond", lambda language: {"name": column.name, "edge": quantity(edge, column.unit, language)})

    def _outside(self, column: FeatureColumn, known: ColumnRange, value: float | None, share: float) -> Note:
        who = "trained_all" if known.whole else "trained_sample" if self.trained else "sample"

        def values(language: Language) -> Mapping[str, object]:
            said = {"name": column.name, "range": _span(known, column.unit, language)}
            said["who"] = phrase(f"note.{who}", language, n=known.n)
            return {**said, "share": share, "value": "" if value is None else quantity(value, column.unit, language)}

        return _note("outside_share" if value is None else "outside", values)


def _span(known: ColumnRange, unit: str, language: Language) -> str:
    """`1 to 252 days`, the unit once."""
    low = quantity(known.low, unit, language) if unit in ("share", "flag") or is_money(unit) else number(known.low)
    return phrase("note.range", language, low=low, high=quantity(known.high, unit, language))


def _note(key: str, values: Callable[[Language], Mapping[str, object]]) -> Note:
    """One sentence in both languages; its values are worded in each."""
    en, ko = (phrase(f"note.{key}", language, **values(language)) for language in LANGUAGES)
    return Note(en, ko)


def _lacking(column: FeatureColumn, k: int, n: int) -> Note:
    """`k` of `n` customers lack the column's part; of one customer it is said without numbers."""
    return _note(
        "lacking" if n > 1 else "lacking_here",
        lambda language: {"name": column.name, "part": column.part, "title": title(column.part, language), "k": k, "n": n},
    )


def _nothing_to_take(name: str, k: int, n: int) -> Note:
    return _note("nothing_to_take" if n > 1 else "nothing_to_take_here", lambda language: {"name": name, "k": k, "n": n})


_KEPT: Kept[TrainingColumns] = Kept()
