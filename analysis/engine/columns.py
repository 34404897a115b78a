"""The feature columns of a run's training customers, in their own units: ranges, percentiles, and what to say of an edit.

Ranges come from the run's training profile (up to 20,000 customers). Percentiles, and the ranges of an older run, come from the
training rows in the run's sample, or from all of its rows where it has too few of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.fingerprint import files_mark
from analysis.kept import Kept
from analysis.results.whatif import Note
from analysis.wording import Language, number, quantity, title
from ple_model.data.normalize import CLIP, CONSTANT, RAW, Normalizer
from ple_model.edits import FeatureEdit, column_values, one_column, removed_keys
from ple_model.money import is_money
from ple_model.profile import Profile
from ple_model.schema import PART_SLICES, FeatureColumn, FeatureSchema, load_schema

if TYPE_CHECKING:
    from ple_model.batch import PLEClusterInput
    from ple_model.run import Run

MIN_ROWS = 50
"""Fewer training rows than this in the sample and all of its rows stand for training."""
SAME = 1e-5
"""Relative difference up to which a number and its float32 are one."""
LANGUAGES: tuple[Language, ...] = ("en", "ko")


@dataclass(frozen=True, eq=False)
class Rows:
    """Some customers' features [n, 734] as the model reads them, and which parts [n, parts] they have."""

    features: NDArray[np.float32]
    present: NDArray[np.bool_]
    parts: tuple[str, ...] = tuple(PART_SLICES)

    @staticmethod
    def of(batches: Iterable[PLEClusterInput]) -> Rows:
        """From inputs, batch by batch."""
        features, present = [], []
        parts: tuple[str, ...] = ()
        for inputs in batches:
            parts = tuple(inputs.parts)
            features.append(np.asarray(inputs.features.float().cpu().numpy()))
            present.append(np.stack([inputs.present(f"features:{p}").cpu().numpy() for p in parts], 1).astype(bool))
        return Rows(np.concatenate(features), np.concatenate(present), parts)

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
        self, rows: Rows, normalizer: Normalizer, profile: Profile | None = None, *, trained: bool = True,
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
        rows = Rows.of(b.inputs for b in batches)
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

    def notes(self, edits: Mapping[str, FeatureEdit], rows: Rows, normalizer: Normalizer) -> Iterator[Note]:
        """What to know of `edits` of `rows`, whose features `normalizer` made."""
        many = len(rows) > 1
        for name, edit in edits.items():
            if edit.how == "absent":
                parts = [k.removeprefix("features:") for k in removed_keys(name, self.schema) if k.startswith("features:")]
                gone = int((~np.stack([rows.has(p) for p in parts]).any(0)).sum()) if parts else 0
                if gone:
                    yield _nothing_to_take(name, gone, len(rows)) if many else _nothing_to_take_here(name)
                continue
            column = self.schema.column(name)
            here = rows.has(column.part)
            if not here.all():
                yield _lacking(column, int((~here).sum()), len(rows)) if many else _lacking_here(column)
            if here.any():
                yield from self._value_notes(column, edit, edit.apply(rows.values(column, normalizer)), normalizer)

    def _value_notes(
        self, column: FeatureColumn, edit: FeatureEdit, after: NDArray[np.float64], normalizer: Normalizer
    ) -> Iterator[Note]:
        if int(normalizer.kind[column.index]) == CONSTANT:
            yield Note(
                f"{column.name} was the same for every training customer, so the model reads nothing of it.",
                f"{column.name} 은(는) 모든 학습 고객에서 같았으므로 모델이 읽지 않습니다.",
            )
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
                yield Note(
                    f"{column.name}: the model reads whatever lies beyond {quantity(edge, column.unit)} as that.",
                    f"{column.name}: {quantity(edge, column.unit, 'ko')} 을(를) 넘는 값은 모델이 그 값으로 읽습니다.",
                )

    def _outside(self, column: FeatureColumn, known: ColumnRange, value: float | None, share: float) -> Note:
        who = f"{known.n:,} {'training' if known.whole or self.trained else 'sampled'} customers"
        who += "" if known.whole else " in the run's sample"
        who_ko = f"{'' if known.whole else '실행 표본의 '}{'학습 ' if known.whole or self.trained else ''}고객 {known.n:,}명"
        en, ko = (_span(known, column.unit, language) for language in LANGUAGES)
        if value is not None:
            return Note(
                f"{column.name} of {quantity(value, column.unit)} is outside what {who} have ({en}).",
                f"{column.name} {quantity(value, column.unit, 'ko')}: {who_ko}의 범위({ko})를 벗어납니다.",
            )
        return Note(
            f"{share:.1%} of the customers then have a {column.name} outside what {who} have ({en}).",
            f"고객의 {share:.1%} 에서 {column.name} 이(가) {who_ko}의 범위({ko})를 벗어납니다.",
        )


def _span(known: ColumnRange, unit: str, language: Language) -> str:
    """`1 to 252 days`, the unit once."""
    low = quantity(known.low, unit, language) if unit in ("share", "flag") or is_money(unit) else number(known.low)
    return f"{low}{' ~ ' if language == 'ko' else ' to '}{quantity(known.high, unit, language)}"


def _lacking(column: FeatureColumn, k: int, n: int) -> Note:
    return Note(
        f"{k:,} of {n:,} customers have nothing in {column.part} ({title(column.part)}): their {column.name} stays empty.",
        f"고객 {n:,}명 중 {k:,}명은 {column.part}({title(column.part, 'ko')}) 정보가 없어 {column.name} 이(가) 비어 있습니다.",
    )


def _lacking_here(column: FeatureColumn) -> Note:
    return Note(
        f"This customer has nothing in {column.part} ({title(column.part)}): {column.name} stays empty.",
        f"이 고객은 {column.part}({title(column.part, 'ko')}) 정보가 없어 {column.name} 이(가) 비어 있습니다.",
    )


def _nothing_to_take(name: str, k: int, n: int) -> Note:
    return Note(
        f"{k:,} of {n:,} customers had no {name} to begin with.",
        f"고객 {n:,}명 중 {k:,}명은 처음부터 {name} 이(가) 없습니다.",
    )


def _nothing_to_take_here(name: str) -> Note:
    return Note(f"This customer had no {name} to begin with.", f"이 고객은 처음부터 {name} 이(가) 없습니다.")


_KEPT: Kept[TrainingColumns] = Kept()
