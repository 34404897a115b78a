"""`baselines/` of a dataset folder: what simpler answers lose on its validation and test rows, kept as it was measured.

- `baselines.json`: by task the yardstick of the training labels and the mean losses by split; of which content (`rows_of`), of
  which dataset's fit (`dataset`), by which source files (`made_of`).
- `rows.parquet`: one row for each validation and test row in the dataset's file order: its keys; `NAME:TASK`, the row's loss
  (null: no label); for metrics `NAME:TASK:value` (probability or amount), or `:guess`, `:top` and `:above` (most probable
  class, its probability, how many classes are more probable than the right one).

An extract carries the fit of the whole dataset with its own rows, also when the program has changed since: it cannot be made
anew there. Otherwise a folder that does not fit is as good as none, and `why_not` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.data.dataset.columns import KEYS
from ple_model.data.dataset.manifest import DatasetManifest, sha256_file
from ple_model.disk import writing
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.row_loss import Yardstick, yardstick_of
from ple_model.safe_arrays import open_parquet
from ple_model.safe_paths import is_file, is_folder
from ple_model.shapes import NUMBER, TEXT, WHOLE, Keys, ListOf, MapOf, misfit
from ple_model.sources import source_digest
from ple_model.staging import staged_folder

FOLDER = "baselines"
FORMAT = 1
MADE_BY = "ple_model.baselines"
REACHABLE = "reachable.parquet"
SPLITS = ("validation", "test")
BATCH = 16_384
"""Rows that are decoded at a time where some are looked for."""
ORDER = ("constant", "recency", "prior_spend", "linear", "boosting", "reachable")
"""Of baselines, as they are shown."""
Array = NDArray[np.float64]

_YARDSTICK = Keys(
    {
        "task": TEXT, "kind": TEXT, "loss": TEXT, "rows": WHOLE, "constant": ListOf(NUMBER), "mean": NUMBER, "std": NUMBER,
        "low": ListOf(NUMBER), "high": ListOf(NUMBER), "delta": NUMBER,
    },
    ("task", "kind", "loss", "rows", "constant", "mean", "std", "low", "high", "delta"),
)  # fmt: skip
_SPLIT = Keys({"rows": WHOLE, "customers": WHOLE, "loss": MapOf(NUMBER)}, ("rows", "customers", "loss"))
_TASK = Keys(
    {"kind": TEXT, "loss": TEXT, "train_rows": WHOLE, "yardstick": _YARDSTICK, "splits": MapOf(_SPLIT)},
    ("kind", "loss", "train_rows", "yardstick", "splits"),
)
_FILE = Keys(
    {
        "format": WHOLE, "dataset": TEXT, "rows_of": TEXT, "made_of": TEXT, "seconds": NUMBER, "reachable": TEXT,
        "notes": ListOf(TEXT), "tasks": MapOf(_TASK),
    },
    ("format", "dataset", "rows_of", "made_of", "seconds", "tasks"),
)  # fmt: skip


@dataclass(frozen=True)
class SplitBaselines:
    """Of one task: the labelled rows of a split of the dataset that was fitted on, and their mean loss by baseline."""

    rows: int
    customers: int
    loss: dict[str, float]


@dataclass(frozen=True)
class TaskBaselines:
    yardstick: Yardstick
    train_rows: int
    splits: dict[str, SplitBaselines]


@dataclass(frozen=True, eq=False)
class StoredBaselines:
    """See the module docstring; `rows` are read when they are asked for."""

    dataset: str
    """Fingerprint of the dataset that they were fitted on."""
    rows_of: str
    """Fingerprint of the dataset that the rows are of: the same, or an extract of it."""
    made_of: str
    seconds: float
    tasks: dict[str, TaskBaselines]
    sizes: dict[str, int]
    """Rows of `validation` and `test`."""
    source: Path | pa.Table = field(repr=False)
    reachable: str = ""
    notes: tuple[str, ...] = ()
    unkept: str = ""
    """Why they could not be kept; empty where they lie with the dataset."""
    _read: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def extract(self) -> bool:
        return self.rows_of != self.dataset

    @property
    def current(self) -> bool:
        """Whether the source files that measure are the same now."""
        return self.made_of == source_digest(MADE_BY)

    @cached_property
    def names(self) -> list[str]:
        if isinstance(self.source, pa.Table):
            return list(self.source.column_names)
        with open_parquet(self.source) as f:
            return list(f.schema_arrow.names)

    def column(self, name: str, split: str) -> Array:
        """[rows of the split, in its file order] of a numeric column; NaN where it is null."""
        if name not in self._read:
            self._load([name])
        first = 0 if split == SPLITS[0] else self.sizes[SPLITS[0]]
        return self._read[name][first : first + self.sizes[split]]

    def _load(self, names: Sequence[str]) -> None:
        """Read what is not there yet, the file opened once."""
        names = [n for n in names if n not in self._read]
        if isinstance(self.source, pa.Table):
            found = self.source.select(names)
        else:
            with open_parquet(self.source) as f:
                found = f.read(names)
        self._read.update({n: np.asarray(found.column(n).to_numpy(), dtype=np.float64) for n in names})

    def between(self, first: int, last: int) -> dict[str, dict[str, Array]]:
        """By task and baseline, the losses of the rows of the file (validation and test) from `first` to the one before `last`;
        NaN: no label. Nothing else of the file is held."""
        have = {f"{b}:{t}": (t, b) for t in self.tasks for b in ORDER if f"{b}:{t}" in self.names}
        table = self._table(list(have), first, last)
        found: dict[str, dict[str, Array]] = {t: {} for t in self.tasks}
        for name, (task, baseline) in have.items():
            found[task][baseline] = np.asarray(table.column(name).to_numpy(), dtype=np.float64)
        return found

    def _table(self, names: list[str], first: int, last: int) -> pa.Table:
        if isinstance(self.source, pa.Table):
            return self.source.select(names).slice(first, max(0, last - first))
        kept: list[pa.RecordBatch] = []
        with open_parquet(self.source) as f:
            schema, at = pa.schema([f.schema_arrow.field(n) for n in names]), 0
            for k in range(f.num_row_groups):
                group = f.metadata.row_group(k).num_rows
                if at < last and first < at + group:
                    kept += _cut(f.iter_batches(BATCH, row_groups=[k], columns=names), first - at, last - at)
                at += group
        return pa.Table.from_batches(kept, schema)

    def losses(self, task: str, split: str) -> dict[str, Array]:
        """By baseline, the loss of each row of the split in its file order; NaN: no label."""
        if task not in self.tasks or split not in SPLITS:
            return {}
        have = {f"{b}:{task}": b for b in ORDER if f"{b}:{task}" in self.names}
        self._load(list(have))
        return {b: self.column(name, split) for name, b in have.items()}

    def to_dict(self) -> dict[str, Any]:
        """As it stands in `baselines.json`."""
        tasks = {
            t: {
                "kind": b.yardstick.kind, "loss": b.yardstick.loss, "train_rows": b.train_rows,
                "yardstick": b.yardstick.to_dict(),
                "splits": {s: {"rows": x.rows, "customers": x.customers, "loss": x.loss} for s, x in b.splits.items()},
            }
            for t, b in self.tasks.items()
        }  # fmt: skip
        return {
            "format": FORMAT, "dataset": self.dataset, "rows_of": self.rows_of, "made_of": self.made_of,
            "seconds": self.seconds, "reachable": self.reachable, "notes": list(self.notes), "tasks": tasks,
        }  # fmt: skip


def _cut(parts: Iterable[pa.RecordBatch], first: int, last: int) -> Iterator[pa.RecordBatch]:
    """The rows from `first` to the one before `last` of parts that follow each other."""
    at = 0
    for part in parts:
        low, high = max(first - at, 0), min(last - at, len(part))
        if low < high:
            yield part.slice(low, high - low)
        at += len(part)
        if at >= last:
            return


def read(folder: Path, manifest: DatasetManifest, *, same_rows: bool = False) -> StoredBaselines:
    """What lies with the dataset in `folder`. `UserError` with the reason where there is none that fits it. `same_rows`: it is
    known of the dataset that its rows are those that were measured, perhaps in another order."""
    path, rows = folder / FOLDER / "baselines.json", folder / FOLDER / "rows.parquet"
    if not is_folder(folder / FOLDER) or not is_file(path):
        raise UserError(f"{folder} has no baselines yet")
    plain = read_json(path)
    wrong = misfit(plain, _FILE)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    if plain["format"] != FORMAT:
        raise UserError(f"{path} has format {plain['format']}, this version reads {FORMAT}")
    if plain["rows_of"] != manifest.fingerprint and not same_rows:
        raise UserError(f"the baselines of {folder} are of other data: it has changed since")
    extract = plain["dataset"] != plain["rows_of"]
    if not extract and plain["made_of"] != source_digest(MADE_BY):
        raise UserError(f"the baselines of {folder} were measured by another version of this program")
    if not extract and plain.get("reachable", "") != reachable_mark(folder):
        raise UserError(f"{folder / REACHABLE} is not the one that the baselines of {folder} were measured with")
    tasks = {t: _task(path, t, v) for t, v in plain["tasks"].items()}
    sizes = {s: manifest.splits[s] for s in SPLITS}
    with open_parquet(rows) as f:
        if f.metadata.num_rows != sum(sizes.values()):
            raise UserError(f"{rows} is damaged: it has {f.metadata.num_rows} rows, the dataset {sum(sizes.values())}")
        odd = [x.name for x in f.schema_arrow if x.name not in KEYS and not pa.types.is_floating(x.type)]
        if odd:
            raise UserError(f"{rows} is damaged: column '{odd[0]}' is {f.schema_arrow.field(odd[0]).type}, not a number")
    return StoredBaselines(
        plain["dataset"], plain["rows_of"], plain["made_of"], float(plain["seconds"]), tasks, sizes, rows,
        plain.get("reachable", ""), tuple(plain.get("notes", ())),
    )  # fmt: skip


def stored(folder: Path, manifest: DatasetManifest) -> StoredBaselines | None:
    """The same; None where there is none that fits."""
    try:
        return read(folder, manifest)
    except (UserError, FileNotFoundError):
        return None


def why_not(folder: Path, manifest: DatasetManifest) -> str:
    """Why there is none; empty where there is."""
    try:
        read(folder, manifest)
    except (UserError, FileNotFoundError) as e:
        return str(e)
    return ""


def _task(path: Path, task: str, plain: Mapping[str, Any]) -> TaskBaselines:
    splits = {
        s: SplitBaselines(x["rows"], x["customers"], {k: float(v) for k, v in x["loss"].items() if v is not None})
        for s, x in plain["splits"].items()
        if s in SPLITS
    }
    judge = yardstick_of(plain["yardstick"])
    numbers = (judge.mean, judge.std, judge.delta, *judge.constant, *judge.low, *judge.high)
    ends = len(judge.constant) if judge.kind == "regression" else 0
    if not judge.constant or not np.isfinite(numbers).all() or (len(judge.low), len(judge.high)) != (ends, ends):
        raise UserError(f"{path} is damaged: the yardstick of '{task}' is none")
    return TaskBaselines(judge, plain["train_rows"], splits)


def reachable_mark(folder: Path) -> str:
    """Digest of the planted probabilities that lie with a dataset; empty where there are none."""
    path = folder / REACHABLE
    return sha256_file(path)[:20] if is_file(path) else ""


def write(folder: Path, found: StoredBaselines, rows: pa.Table) -> None:
    """Put `baselines/` into the dataset in `folder`, in the place of an older one. `UserError` or `OSError` where it cannot."""
    with staged_folder(folder / FOLDER, replace=True) as fresh:
        write_json(fresh / "baselines.json", found.to_dict())
        with writing(fresh / "rows.parquet"):
            pq.write_table(rows, fresh / "rows.parquet", compression="zstd", use_dictionary=["customer_id", "cutoff", "split"])


def carry(source: Path, manifest: DatasetManifest, rows: NDArray[np.int64], out: Path, extract: DatasetManifest) -> bool:
    """Put the baselines of the dataset in `source` into its extract in `out`, cut to the dataset's `rows` (ascending numbers in
    file order). False where there are none that fit, or the rows are not those of the extract."""
    found = stored(source, manifest)
    if found is None:
        return False
    table = cut(found, manifest, rows)
    if len(table) != sum(extract.splits[s] for s in SPLITS):
        return False
    write(out, copy_for(found, extract, table), table)
    return True


def cut(found: StoredBaselines, manifest: DatasetManifest, rows: NDArray[np.int64]) -> pa.Table:
    """`rows.parquet` of some rows of the dataset (ascending numbers in file order)."""
    mine = rows[rows >= manifest.splits["train"]] - manifest.splits["train"]
    if isinstance(found.source, pa.Table):
        return found.source.take(pa.array(mine))
    with open_parquet(found.source) as f:
        return f.read().take(pa.array(mine))


def copy_for(found: StoredBaselines, extract: DatasetManifest, rows: pa.Table) -> StoredBaselines:
    """The fit of `found` with the rows of an extract."""
    sizes = {s: extract.splits[s] for s in SPLITS}
    return StoredBaselines(
        found.dataset, extract.fingerprint, found.made_of, found.seconds, found.tasks, sizes, rows, found.reachable, found.notes
    )
