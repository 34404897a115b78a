"""`ple import features FILE OUT`: a ready table of the 734 feature columns, made into a dataset without events.

FILE (Parquet or CSV) has one row a customer and cut-off: `customer_id`, any of the schema's feature columns in their original
units (NULL, NaN and words for nothing: empty), labels under their task's name (classes as index, NULL or -1 missing;
brand_prediction as name), and optionally `cutoff` (a date), `split` (train, validation, test) and further columns, which are
kept as `raw:<name>` unless they only look like a misspelt feature or task: `feature_faults` names all faults at once.
A part of the features of which the file has no column is recorded as absent, and so is every other input of the model
(sequences, diagrams, HMM posteriors, hierarchy): their experts fall back. Normaliser and Gaussian mixture are fitted on the
training split; without a `split` column, customers are split 70 / 15 / 15 by a seeded hash of their id.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ple_model.context import LabelScaler, ModelContext
from ple_model.data.build.folds import folds_of
from ple_model.data.build.splits import customer_split, in_two_splits
from ple_model.data.checking.features import feature_faults
from ple_model.data.dataset.columns import RAW, is_class_task, is_wide_task
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.data.dataset.normalize import Normalizer, signed_log
from ple_model.data.dataset.writer import DatasetWriter
from ple_model.data.derived.gmm import behaviour, fit_gmm
from ple_model.data.events.connect import open_connection
from ple_model.data.events.spec import ColumnSpec
from ple_model.data.events.sql import is_blank, read_expression
from ple_model.data.importers.scan_source import scan_source
from ple_model.data.importers.source_map import TableMap
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import N_NORMALIZED, NO_CUTOFF
from ple_model.presence import part_key, presence_columns
from ple_model.schema import PART_SLICES, PARTS, load_schema
from ple_model.sql_paths import to_read, to_write
from ple_model.sql_text import quote
from ple_model.tasks import TASKS

SPECIAL = ("customer_id", "cutoff", "split")
CUSTOMER = ColumnSpec("customer_id", "VARCHAR", required=True, key=True)
CHUNK = 8192
MIN_KNOWN = 10
"""Fewer known feature columns than this: the file is taken for something else."""
Array = NDArray[Any]


def import_features(file: Path, out: Path, *, seed: int = 0) -> DatasetManifest:
    """Write the dataset of the feature table `file` to `out` (new or empty) and return its manifest."""
    file, out = Path(file), Path(out)
    if not file.is_file():
        raise UserError(f"'{file}' does not exist; give a Parquet or CSV file of feature columns")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"'{out}' exists and is not an empty folder; give a new place")
    columns, labels, raw = _read(file)
    values = columns.pop("features")
    split = columns["split"] if "split" in columns else customer_split(columns["customer_id"], seed)
    train = np.flatnonzero(split == "train")
    if not len(train):
        raise UserError(f"'{file}' has no row in the split 'train'")
    brands = _brands(labels, train)
    context = ModelContext(
        raw_mean=_raw_statistics(values[train])[0],
        raw_std=_raw_statistics(values[train])[1],
        brands=tuple(b for b, _ in brands),
        brand_counts=tuple(n for _, n in brands),
        label_scalers=_scalers(labels, train),
        class_names={t.name: t.classes for t in TASKS.values() if t.kind == "multiclass" and t.classes},
    )
    if "brand_prediction" in labels:
        index = {b: i for i, b in enumerate(context.brands)}
        labels["brand_prediction"] = np.array([index.get(b, -1) for b in labels["brand_prediction"]], np.int32)
    normalizer = Normalizer.fit(values[train], scales=tuple(c.scale for c in load_schema().columns))
    fold = folds_of(list(columns["customer_id"]))
    gmm = fit_gmm(behaviour(normalizer.transform(values[train])), fold=fold[train], seed=seed)
    known = ~np.isnan(values)
    writer = DatasetWriter(out)
    for first in range(0, len(values), CHUNK):
        rows = slice(first, first + CHUNK)
        features = normalizer.transform(values[rows])
        posterior = gmm.posterior(behaviour(features), fold[rows])
        chunk: dict[str, Array] = {
            "customer_id": columns["customer_id"][rows],
            "cutoff": columns["cutoff"][rows],
            "split": split[rows],
            "features": features,
            "cluster_ids": posterior.argmax(1).astype(np.int32),
            "cluster_probs": posterior,
        }
        presence = dict.fromkeys(("features", "cluster_probs"), np.asarray(known[rows].any(axis=1)))
        presence |= {part_key(part): np.asarray(known[rows, PART_SLICES[part]].any(axis=1)) for _, part, _ in PARTS}
        chunk |= presence_columns(presence)
        chunk |= {f"y_{task}": y[rows] for task, y in labels.items()}
        chunk |= {RAW + name: v[rows] for name, v in raw.items()}
        writer.write(chunk)
    absent = [part for _, part, _ in PARTS if not known[:, PART_SLICES[part]].any()]
    notes = ["Made from a ready feature table: no sequences, diagrams, HMM or hierarchy inputs.", *gmm.notes]
    if absent:
        notes.append(f"Parts without any value: {', '.join(absent)}.")
    if both := in_two_splits(columns["customer_id"], split):
        notes.append(f"{both:,} customers have rows in more than one split: what is measured on the others may be too good.")
    return writer.close(
        name=file.stem, source="features", context=context, normalizer=normalizer, absent_sources=("events",),
        settings={"file": file.name, "seed": seed}, notes=notes,
    )  # fmt: skip


def _read(file: Path) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """(customer_id, cutoff, perhaps split, features [n, 734]); labels by task; other columns. All faults in one error."""
    schema = load_schema()
    con = open_connection()
    scratch = Path(tempfile.mkdtemp(prefix="ple-features-"))
    try:
        con.execute(f"CREATE VIEW file AS SELECT * FROM {_scan(con, file, scratch)}")
        types = {str(r[0]): str(r[1]) for r in con.execute("DESCRIBE file").fetchall()}
        features = [c for c in types if c in schema.index]
        if "customer_id" not in types:
            raise UserError(f"'{file}' has no column 'customer_id'{did_you_mean('customer_id', types)}")
        if len(features) < MIN_KNOWN:
            raise UserError(
                f"'{file}' has {len(features)} of the {len(schema.names)} feature columns; for a table of other columns, "
                "--schema FILE.yaml says what each is (a new FILE.yaml gets a guess)"
            )
        read = ", ".join(f"{_reading(c, t)} AS {quote(c)}" for c, t in types.items())
        rows = f"SELECT {read} FROM file"
        if "VARCHAR" in (types[c] for c in features):  # converted once: many queries follow
            con.execute(f"COPY ({rows}) TO {to_write(scratch / 'source.parquet')} (FORMAT parquet)")
            rows = f"SELECT * FROM read_parquet({to_read(scratch / 'source.parquet')})"
        con.execute(f"CREATE VIEW source AS {rows}")
        n = int(con.execute("SELECT count(*) FROM source").fetchall()[0][0])
        if not n:
            raise UserError(f"'{file}' has no rows")
        tasks = [c for c in types if c in TASKS and not is_wide_task(c)]
        if faults := feature_faults(con, types, features, tasks):
            raise UserError(f"'{file}' cannot be used: {'; '.join(faults)}")
        values = np.full((n, len(schema.names)), np.nan, np.float32)
        picked = ", ".join(f"TRY_CAST({quote(c)} AS FLOAT) AS {quote(c)}" for c in features)
        table = con.execute(f"SELECT {picked} FROM source").fetchnumpy()
        for name in features:
            values[:, schema.index[name]] = np.ma.filled(np.ma.asarray(table[name]).astype(np.float32), np.nan)
        columns: dict[str, Array] = {"features": values, "customer_id": _text(con, "customer_id")}
        columns["cutoff"] = _text(con, "cutoff") if "cutoff" in types else np.full(n, NO_CUTOFF, object)
        if "split" in types:
            columns["split"] = _text(con, "split")
        labels = {t: _label(con, t) for t in tasks}
        raw = {c: _text(con, c) for c in types if c not in schema.index and c not in SPECIAL and c not in tasks}
        return columns, labels, raw
    except duckdb.Error as e:
        raise UserError(f"'{file}' cannot be read: {str(e).splitlines()[0]}") from e
    finally:
        con.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _scan(con: duckdb.DuckDBPyConnection, file: Path, scratch: Path) -> str:
    """SQL that reads the file; a CSV is parsed once, every column as text, so that a word among numbers is counted and not
    guessed away."""
    return scan_source(con, (file,), TableMap(), scratch)


def _reading(name: str, stored: str) -> str:
    """SQL of a column: keys in the type of the event tables, text for nothing as NULL."""
    if name == "customer_id":
        return read_expression(CUSTOMER, stored)
    text = stored == "VARCHAR"
    value = f"CASE WHEN {is_blank(quote(name))} THEN NULL ELSE {quote(name)} END" if text else quote(name)
    if name == "cutoff":  # what is no date stays as it is and is named
        return f"coalesce(TRY_CAST({value} AS DATE)::VARCHAR, {value}::VARCHAR)"
    return value


def _text(con: duckdb.DuckDBPyConnection, column: str) -> Array:
    return np.array([r[0] for r in con.execute(f"SELECT {quote(column)}::VARCHAR FROM source").fetchall()], object)


def _label(con: duckdb.DuckDBPyConnection, task: str) -> Array:
    if TASKS[task].kind == "contrastive":
        return _text(con, task)
    found = con.execute(f"SELECT TRY_CAST({quote(task)} AS DOUBLE) AS v FROM source").fetchnumpy()["v"]
    y = np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan)
    return np.where(np.isnan(y), -1, y).astype(np.int32) if is_class_task(task) else y.astype(np.float32)


def _raw_statistics(values: NDArray[np.float32]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    logged = signed_log(np.nan_to_num(values[:, N_NORMALIZED:].astype(np.float64)))
    std = logged.std(axis=0)
    return tuple(logged.mean(axis=0).tolist()), tuple(np.where(std > 1e-9, std, 1.0).tolist())


def _brands(labels: dict[str, Array], train: NDArray[np.int64]) -> list[tuple[str, int]]:
    if "brand_prediction" not in labels:
        return []
    counts = Counter(b for b in labels["brand_prediction"][train] if b not in (None, "", "-1"))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _scalers(labels: dict[str, Array], train: NDArray[np.int64]) -> dict[str, LabelScaler]:
    out = {}
    for task, y in labels.items():
        if TASKS[task].kind == "regression":
            there = y[train][np.isfinite(y[train])].astype(np.float64)
            if len(there):
                out[task] = LabelScaler(float(there.mean()), float(there.std()) or 1.0)
    return out
