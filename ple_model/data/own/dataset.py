"""A table of one's own columns and its schema file -> a dataset; new rows of the same columns -> a dataset to be scored.

Customers are split 70 / 15 / 15 by a seeded hash of their id (or by a column of the kind split); recipe, normaliser and the
Gaussian mixture over the normalised columns are fitted on the training rows alone, the mixture by folds (`data.folds`).
Everything else that the model can read (sequences, diagrams, HMM states, hierarchy) is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.context import LabelScaler, ModelContext, OwnLabel
from ple_model.data.build.folds import FOLDS, folds_of
from ple_model.data.build.splits import customer_split, in_two_splits
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.data.dataset.normalize import Normalizer, signed_log
from ple_model.data.dataset.writer import DatasetWriter
from ple_model.data.derived.gmm import ARRAYS, FOLD_ARRAYS, GmmModel, fit_gmm
from ple_model.data.own.labels import read_labels
from ple_model.data.own.recipe import Recipe
from ple_model.data.own.schema_file import FEATURES, OwnColumn, load_table
from ple_model.data.own.table import OwnRowsRead, opened, read_rows
from ple_model.errors import UserError
from ple_model.presence import part_key, presence_columns
from ple_model.safe_arrays import write_npz
from ple_model.schema import FeatureSchema
from ple_model.tasks import TASKS

SOURCE = "own columns"
CHUNK = 8192
MIN_TRAIN = 20
"""Training rows without which nothing is fitted."""
GMM = "gmm.npz"
Array = NDArray[Any]


def import_own(file: Path, out: Path, schema: Path, *, seed: int = 0) -> DatasetManifest:
    """Write the dataset of the table `file` under the schema file `schema` to `out` (new or empty)."""
    file, out = Path(file), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    table = load_table(schema)
    if not table.of("label"):
        raise UserError(f"'{schema}' names no label: give a column the kind label and the task that it feeds")
    with opened(file, table.missing) as source:
        rows = read_rows(source, table)
        unnamed = [c for c in source.types if c not in {k.name for k in table.columns}]
    split = rows.split if rows.split is not None else customer_split(rows.customer_id, seed)
    train = np.flatnonzero(split == "train")
    if len(train) < MIN_TRAIN or not (split == "validation").any():
        raise UserError(f"'{file}' has {len(train)} training and {int((split == 'validation').sum())} validation rows; too few")
    try:
        labels, classes = read_labels(table, rows, train)
        recipe = Recipe.fit(table, rows, train)
    except UserError as e:
        raise UserError(f"'{file}': {e}") from e
    columns = recipe.schema()
    values = recipe.values(rows, columns)
    normalizer = Normalizer.fit(values[train], scales=tuple(c.scale for c in columns.columns))
    normalized = columns.normalized
    fold = folds_of([str(c) for c in rows.customer_id[train]])
    gmm = fit_gmm(normalizer.transform(values[train])[:, normalized], fold=fold, seed=seed)
    mean, std = _raw_statistics(values[train][:, columns.raw])
    context = ModelContext(
        raw_mean=mean, raw_std=std, class_names=classes, own=columns,
        own_labels={c.task: _own_label(c) for c in table.of("label")}, currency=table.currency,
        label_scalers={t: s for t, y in labels.items() if (s := _scaler(t, y[train])) is not None},
    )  # fmt: skip
    fitted = FittedRecipe(recipe, columns, normalizer, gmm)
    named = {c.task: c.name for c in table.of("label")}
    features, learned = len(table.of(*FEATURES)), ", ".join(f"'{name}' is the label of {task}" for task, name in named.items())
    notes = [
        f"A table of its own columns: {features} columns of the file are {len(columns.columns)} feature columns; {learned}.",
        "Customers have no sequences, diagrams, HMM states or hierarchy: experts of only those are left out of a training.",
        f"Clusters: a Gaussian mixture over the {normalized.stop} normalised columns.",
        *gmm.notes,
    ]  # fmt: skip
    if unnamed:
        notes.append(f"Columns that the schema does not name are ignored: {', '.join(unnamed[:10])}.")
    if both := in_two_splits(rows.customer_id, split):
        notes.append(f"{both:,} customers have rows in more than one split: what is measured on the others may be too good.")
    settings = {"file": file.name, "seed": seed, "labels": named, "currency": table.currency}
    return fitted.write(out, rows, split, labels, context, name=file.stem, settings=settings, notes=notes)


@dataclass(frozen=True)
class FittedRecipe:
    """What a new row goes through; kept in a dataset's `artifacts/` and a run's `preprocess/`."""

    recipe: Recipe
    columns: FeatureSchema
    normalizer: Normalizer
    gmm: GmmModel

    @staticmethod
    def load(folder: Path) -> FittedRecipe:
        """From a run's `preprocess/`. `UserError` names a damaged file."""
        recipe = Recipe.load(folder)
        own = ModelContext.load(folder).own
        if own is None or [c.name for c in own.columns] != [c.name for c in recipe.schema().columns]:
            raise UserError(f"{folder}: columns.json and table.json are not of one table")
        try:
            with np.load(folder / GMM, allow_pickle=False) as z:
                gmm = GmmModel(**{k: z[k] for k in (*ARRAYS, *(FOLD_ARRAYS if FOLD_ARRAYS[0] in z else ()))})
        except (OSError, ValueError, KeyError) as e:
            raise UserError(f"{folder / GMM} is missing or damaged: {e}") from e
        normalizer = Normalizer.load(folder)
        if not len(normalizer.kind) == len(normalizer.centre) == len(normalizer.scale) == len(own.columns):
            raise UserError(f"{folder}: normalizer.npz has {len(normalizer.kind)} columns, columns.json has {len(own.columns)}")
        if gmm.centre.shape != (own.normalized.stop,) or gmm.axes.shape[:1] != gmm.centre.shape:
            raise UserError(f"{folder / GMM} is not of the columns of columns.json")
        if not gmm.folds_fit(FOLDS):
            raise UserError(f"{folder / GMM} is damaged: its folds are not of its components")
        return FittedRecipe(recipe, own, normalizer, gmm)

    def write(
        self, out: Path, rows: OwnRowsRead, split: Array, labels: dict[str, Array], context: ModelContext, *, name: str,
        settings: dict[str, Any], notes: Sequence[str],
    ) -> DatasetManifest:  # fmt: skip
        """The dataset of these rows."""
        values = self.recipe.values(rows, self.columns)
        known = ~np.isnan(values)
        writer = DatasetWriter(out, width=values.shape[1])
        for first in range(0, len(values), CHUNK):
            here = slice(first, first + CHUNK)
            features = self.normalizer.transform(values[here])
            fold = folds_of([str(c) for c in rows.customer_id[here]])
            posterior = self.gmm.posterior(features[:, self.columns.normalized], fold)
            chunk: dict[str, Array] = {
                "customer_id": rows.customer_id[here], "cutoff": rows.cutoff[here], "split": split[here], "features": features,
                "cluster_ids": posterior.argmax(1).astype(np.int32), "cluster_probs": posterior,
            }  # fmt: skip
            presence = dict.fromkeys(("features", "cluster_probs"), np.asarray(known[here].any(axis=1)))
            presence |= {part_key(p): np.asarray(known[here, w].any(axis=1)) for p, w in self.columns.parts.items()}
            chunk |= presence_columns(presence)
            chunk |= {f"y_{task}": y[here] for task, y in labels.items()}
            writer.write(chunk)
        artifacts = out / "artifacts"
        artifacts.mkdir(parents=True, exist_ok=True)
        self.recipe.save(artifacts)
        write_npz(artifacts / GMM, self.gmm.arrays())
        return writer.close(
            name=name, source=SOURCE, context=context, normalizer=self.normalizer, absent_sources=(),
            settings=settings, notes=notes,
        )  # fmt: skip


def rows_to_score(file: Path, preprocess: Path, out: Path) -> DatasetManifest:
    """The dataset of new rows of a run's own columns, nothing fitted; labels and splits are not looked at."""
    fitted = FittedRecipe.load(preprocess)
    with opened(Path(file), fitted.recipe.table.missing) as source:
        rows = read_rows(source, fitted.recipe.table, labels=False)
    notes = [f"validation, {text}" for text in fitted.recipe.unseen(rows)]
    split = np.full(len(rows.customer_id), "test", object)
    context = ModelContext.load(preprocess)
    return fitted.write(out, rows, split, {}, context, name=Path(file).stem, settings={"file": Path(file).name}, notes=notes)


def _own_label(column: OwnColumn) -> OwnLabel:
    title = (column.sentence_en or column.name).strip().rstrip(".")
    if column.positive and TASKS[column.task].kind == "binary":
        title += f": {' or '.join(column.positive)}"
    return OwnLabel(title, column.unit)


def _raw_statistics(values: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    logged = signed_log(np.nan_to_num(values.astype(np.float64)))
    std = logged.std(axis=0)
    return tuple(logged.mean(axis=0).tolist()), tuple(np.where(std > 1e-9, std, 1.0).tolist())


def _scaler(task: str, y: Array) -> LabelScaler | None:
    if TASKS[task].kind != "regression":
        return None
    there = y[np.isfinite(y)].astype(np.float64)
    return LabelScaler(float(there.mean()), float(there.std()) or 1.0) if len(there) else None
