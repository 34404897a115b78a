"""Which rows a trial learns from and is judged on; the test split is among neither.

Without cross-validation: the training split, judged on the validation split. With it: fold k learns from the training
customers' rows at the first k cut-offs and is judged on the validation customers' rows at the next one, the semantics of
scikit-learn's `TimeSeriesSplit` (an expanding window; the last folds where fewer are asked for than there are). Past and future
never meet in one customer: those judged on are others than those learned from, and every cut-off learned from is before the one
judged on.

The dataset's fitted inputs (normaliser, mixtures, HMMs) stay those of its build, of all training customers and cut-offs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ple_model.data.dataset.reader import Dataset
from ple_model.data.dataset.writer import DatasetWriter, copy_artifacts
from ple_model.errors import UserError
from ple_model.safe_paths import is_file
from ple_model.staging import staged_folder

USED = ("train", "validation")


def without_test(dataset: Dataset) -> Dataset:
    """The same dataset without its test rows: what follows in the files is left out, what comes before keeps its place. It
    keeps its fingerprint, for what is trained on it is a model of this dataset."""
    m = dataset.manifest
    files = tuple(f for f in m.files if f.split in USED)
    splits = {s: (n if s in USED else 0) for s, n in m.splits.items()}
    hidden = replace(m, files=files, splits=splits, rows=sum(splits.values()))
    return Dataset(dataset.path, hidden, 1024, None)


@dataclass(frozen=True)
class TimeFold:
    """`learns` are the cut-offs that are trained on, `judged` the one after them."""

    number: int
    learns: tuple[str, ...]
    judged: str


def plan(dataset: Dataset, folds: int) -> tuple[TimeFold, ...]:
    """The folds of a dataset, the earliest first; the last `folds` of all that there are. `UserError` in a clear sentence where
    the dataset has too few cut-offs."""
    learned, judged = (_cutoffs(dataset, split) for split in USED)
    every = [TimeFold(0, tuple(c for c in learned if c < last), last) for last in judged if learned and learned[0] < last]
    if not every:
        here = sorted({*learned, *judged})
        only = f"one cut-off ({here[0]})" if len(here) == 1 else "no later cut-off to be judged on"
        raise UserError(
            f"--folds {folds}: {dataset.path} has {only} in its training and validation splits; cross-validation in time needs "
            "at least two: build it with more (`ple build --cutoff DATE ...`), or tune without --folds"
        )
    if folds > len(every):
        raise UserError(
            f"--folds {folds}: the training and validation splits of {dataset.path} make at most {len(every)} "
            f"{'fold' if len(every) == 1 else 'folds'}: there is one for each cut-off that has an earlier one"
        )
    return tuple(replace(f, number=i) for i, f in enumerate(every[-folds:], start=1))


def overlap_days(dataset: Dataset, fold: TimeFold) -> int:
    """Days by which the labels that are learned from reach into those that are judged; they are of other customers."""
    horizon = dataset.manifest.settings.get("horizon_days", 0)
    last = date.fromisoformat(fold.learns[-1])
    apart = (date.fromisoformat(fold.judged) - last).days
    return max(0, int(horizon) - apart) if isinstance(horizon, int) else 0


def _cutoffs(dataset: Dataset, split: str) -> tuple[str, ...]:
    """Those of a split, in order."""
    if not dataset.rows(split):
        return ()
    return tuple(sorted(set(dataset.table(["cutoff"], split).column("cutoff").to_pylist())))


def fold_dataset(dataset: Dataset, fold: TimeFold, target: Path) -> Dataset:
    """The fold as a dataset folder of its own at `target`, made if it is not there yet."""
    if not is_file(target / "dataset.json"):
        with staged_folder(target) as fresh:
            _write(dataset, fold, fresh)
    return Dataset.open(target)


def _write(dataset: Dataset, fold: TimeFold, out: Path) -> None:
    writer = DatasetWriter(out, width=dataset.width)
    for part in dataset.manifest.files:
        if part.split not in USED:
            continue
        table = dataset.part_table(part)
        wanted = fold.learns if part.split == "train" else (fold.judged,)
        keep = pc.is_in(table.column("cutoff"), value_set=pa.array(wanted, pa.string()))
        mine = table.filter(keep)
        if mine.num_rows:
            writer.append(mine)
    m = dataset.manifest
    writer.close(
        name=f"{m.name}, fold {fold.number}", source=m.source, context=dataset.context(), normalizer=dataset.normalizer(),
        absent_sources=m.absent_sources, notes=m.notes,
        settings={**m.settings, "extracted_from": m.fingerprint, "fold": [*fold.learns, fold.judged]},
    )  # fmt: skip
    copy_artifacts(dataset.path / "artifacts", out / "artifacts")
