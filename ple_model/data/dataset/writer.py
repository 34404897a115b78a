"""Writing a dataset folder: rows in chunks -> Parquet parts of one split each, `artifacts/`, and last of all `dataset.json`.

A row group is written as soon as its rows are there, so what is held does not grow with the size of a part.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.context import ModelContext
from ple_model.data.dataset.columns import KEYS, RAW, SPLITS, decode_column, encode, is_class_task
from ple_model.data.dataset.manifest import SCHEMA_VERSION, DatasetManifest, PartFile, fingerprint, part_file, sha256_file
from ple_model.data.dataset.normalize import Normalizer
from ple_model.disk import writing
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES, N_FEATURES
from ple_model.files import read_json, write_json
from ple_model.presence import presence_key
from ple_model.staging import staged_file
from ple_model.stored import Stored

GROUP_ROWS = 1024
PART_ROWS = 32_768
LEVEL = 3
"""Of zstd: higher ones gain little and cost the build."""


@dataclass(frozen=True)
class PartsWritten:
    """What one writer wrote; that of all writers of a dataset adds up to the dataset."""

    files: tuple[PartFile, ...] = ()
    columns: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    """By split."""
    present: dict[str, int] = field(default_factory=dict)
    """Rows that have each field or part."""
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """By task and split."""
    cutoffs: tuple[str, ...] = ()

    def __add__(self, other: PartsWritten) -> PartsWritten:
        if self.columns and other.columns and self.columns != other.columns:
            odd = next(iter(set(self.columns) ^ set(other.columns)), None)
            raise UserError("two buckets have other columns" + (f" ('{odd}')" if odd else ""))
        tasks = dict.fromkeys((*self.labels, *other.labels))
        return PartsWritten(
            self.files + other.files, self.columns or other.columns, _sum(self.rows, other.rows),
            _sum(self.present, other.present),
            {t: _sum(self.labels.get(t, {}), other.labels.get(t, {})) for t in tasks},
            tuple(sorted({*self.cutoffs, *other.cutoffs})),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """As JSON, so that a build that was stopped knows what is finished."""
        write_json(path, asdict(self))

    @staticmethod
    def load(path: Path) -> PartsWritten:
        """What `save` wrote."""
        found = Stored.of(path, read_json(path))
        rows, present, labels = (found.mapping(k) for k in ("rows", "present", "labels"))
        return PartsWritten(
            tuple(part_file(Stored.of(path, f, f"files.{i}")) for i, f in enumerate(found.items("files"))),
            found.texts("columns"), {k: rows.whole(k) for k in rows.values}, {k: present.whole(k) for k in present.values},
            {t: {s: labels.mapping(t).whole(s) for s in labels.mapping(t).values} for t in labels.values},
            found.texts("cutoffs"),
        )  # fmt: skip

    def there(self, folder: Path) -> bool:
        """Do all its files lie in `folder`, whole?"""
        return all((p := folder / f.name).is_file() and p.stat().st_size == f.bytes for f in self.files)


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {k: a.get(k, 0) + b.get(k, 0) for k in dict.fromkeys((*a, *b))}


def _encoded(schema: pa.Schema) -> dict[str, Any]:
    """Vectors of floats byte by byte (BYTE_STREAM_SPLIT): they repeat too little for a dictionary, and their bytes pack better
    among their like. All else by dictionary."""
    vectors = [
        f.name for f in schema if pa.types.is_fixed_size_list(f.type) and pa.types.is_floating(f.type.value_type)
    ]  # fmt: skip
    return {
        "use_dictionary": [f.name for f in schema if f.name not in vectors],
        "use_byte_stream_split": [f"{name}.list.element" for name in vectors],
    }


class _Part:
    """A part file that grows by row groups, and takes its name when it is finished."""

    def __init__(self, path: Path, split: str, schema: pa.Schema) -> None:
        self.path, self.split, self.rows = path, split, 0
        self._held = ExitStack()
        self._file = self._held.enter_context(staged_file(path, durable=False))
        with writing(path):
            self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", compression_level=LEVEL, **_encoded(schema))

    def add(self, group: pa.Table) -> None:
        """One row group."""
        with writing(self.path):
            self._writer.write_table(group.combine_chunks(), row_group_size=group.num_rows)
        self.rows += group.num_rows

    def finish(self) -> PartFile:
        with self._held, writing(self.path):
            self._writer.close()
            groups = pq.read_metadata(self._file)
            sizes = tuple(groups.row_group(i).num_rows for i in range(groups.num_row_groups))
            return PartFile(self.path.name, self.split, self._file.stat().st_size, sha256_file(self._file), self.rows, sizes)

    def discard(self) -> None:
        """As if it had never been begun."""
        with suppress(OSError):
            self._writer.close()
        self._held.pop_all()  # the file is not to take its name
        self._file.unlink(missing_ok=True)


class DatasetWriter:
    """Collects chunks of rows and writes them; nothing under `out` is a dataset before `close`.

    Several writers share a folder by names of their own (`bucket`); what each `finish`es is added and `publish`ed."""

    def __init__(
        self, out: Path, *, group_rows: int = GROUP_ROWS, part_rows: int = PART_ROWS, width: int = N_FEATURES,
        bucket: int | None = None,
    ) -> None:  # fmt: skip
        self.out, self.group_rows, self.part_rows, self.width = out, group_rows, part_rows, width
        self.mine = "" if bucket is None else f"{bucket:03d}-"
        out.mkdir(parents=True, exist_ok=True)
        for old in [out / "dataset.json", *self._parts()]:
            old.unlink(missing_ok=True)
        self._held: dict[str, pa.Table] = {}
        """By split, rows that fill no row group yet."""
        self._open: dict[str, _Part] = {}
        self._files: list[PartFile] = []
        self._schema: pa.Schema | None = None
        self._present: dict[str, int] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._rows: dict[str, int] = {}
        self._cutoffs: set[str] = set()

    def write(self, columns: Mapping[str, NDArray[np.generic]]) -> None:
        """Add rows: `customer_id`, `cutoff`, `split`, fields, `y_*`, `p_*`, `raw:*` (see `columns`). Any mix of splits."""
        self.append(encode(columns, self.width))

    def append(self, table: pa.Table) -> None:
        if self._schema is None:
            missing = [k for k in (*KEYS, "features", "cluster_ids") if k not in table.column_names]
            if missing:
                raise UserError(f"{self.out}: dataset column '{missing[0]}' is missing")
            self._schema = table.schema
        if table.schema != self._schema:
            odd = next(iter(set(self._schema.names) ^ set(table.column_names)), None)
            raise UserError(f"{self.out}: a chunk has other columns or types than the first" + (f" ('{odd}')" if odd else ""))
        splits = table.column("split").to_numpy()
        self._cutoffs.update(table.column("cutoff").unique().to_pylist())
        for split in dict.fromkeys(splits.tolist()):
            if split not in SPLITS:
                raise UserError(f"{self.out}: no split '{split}'{did_you_mean(split, SPLITS)}")
            mine = table.filter(pa.array(splits == split))
            self._count(mine, split)
            waiting = pa.concat_tables([self._held[split], mine]) if split in self._held else mine
            while waiting.num_rows >= (size := self._room(split)):
                self._add(split, waiting.slice(0, size))
                waiting = waiting.slice(size)
            self._held[split] = waiting

    def discard(self) -> None:
        """Remove what was written: without its manifest it is no dataset."""
        for begun in self._open.values():
            begun.discard()
        self._open.clear()
        for part in self._parts():
            part.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        names = f"part-*-{self.mine}*.parquet*" if self.mine else "part-*.parquet*"
        return [*self.out.glob(names), *self.out.glob(f".{names}.tmp")]

    def _count(self, table: pa.Table, split: str) -> None:
        self._rows[split] = self._rows.get(split, 0) + table.num_rows
        for name in table.column_names:
            if (key := presence_key(name)) is not None:
                self._present[key] = self._present.get(key, 0) + int(table.column(name).to_numpy().sum())
            elif name.startswith("y_"):
                values = decode_column(table.column(name), name, self.out)
                first = values.astype(np.float32).reshape(len(values), -1)[:, 0]
                there = int((first >= 0 if is_class_task(name[2:]) else ~np.isnan(first)).sum())
                counts = self._labels.setdefault(name[2:], {})
                counts[split] = counts.get(split, 0) + there

    def _room(self, split: str) -> int:
        """Rows of the next row group."""
        begun = self._open.get(split)
        return min(self.group_rows, self.part_rows - (0 if begun is None else begun.rows))

    def _add(self, split: str, group: pa.Table) -> None:
        """One row group to the split's part, which is finished when it is full."""
        if split not in self._open:
            name = f"part-{split}-{self.mine}{sum(f.split == split for f in self._files):05d}.parquet"
            self._open[split] = _Part(self.out / name, split, group.schema)
        self._open[split].add(group)
        if self._open[split].rows >= self.part_rows:
            self._files.append(self._open.pop(split).finish())

    def finish(self) -> PartsWritten:
        """Write the rest."""
        for split, rest in self._held.items():
            if rest.num_rows:
                self._add(split, rest)
        self._held.clear()
        self._files += [begun.finish() for begun in self._open.values()]
        self._open.clear()
        columns = () if self._schema is None else tuple(self._schema.names)
        return PartsWritten(tuple(self._files), columns, self._rows, self._present, self._labels, tuple(sorted(self._cutoffs)))

    def close(
        self,
        *,
        name: str,
        source: str,
        context: ModelContext,
        normalizer: Normalizer,
        absent_sources: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> DatasetManifest:
        """Write the rest, the artifacts and `dataset.json`."""
        return publish(
            self.out, self.finish(), name=name, source=source, context=context, normalizer=normalizer,
            absent_sources=absent_sources, settings=settings, notes=notes,
        )  # fmt: skip


def publish(
    out: Path,
    written: PartsWritten,
    *,
    name: str,
    source: str,
    context: ModelContext,
    normalizer: Normalizer,
    absent_sources: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> DatasetManifest:
    """The artifacts and `dataset.json` of parts that lie in `out`: from now on it is a dataset."""
    if not written.files:
        raise UserError(f"{out}: a dataset needs at least one row")
    context.save(out / "artifacts")
    normalizer.save(out / "artifacts")
    total = sum(written.rows.values())
    files = tuple(sorted(written.files, key=lambda f: (SPLITS.index(f.split), f.name)))
    names = written.columns
    manifest = DatasetManifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        source=source,
        cutoffs=tuple(sorted(written.cutoffs)),
        splits={s: written.rows.get(s, 0) for s in SPLITS},
        rows=total,
        fingerprint=fingerprint(files),
        fields=tuple(f for f in FIELD_SHAPES if f in names),
        tasks=tuple(n[2:] for n in names if n.startswith("y_")),
        raw_columns=tuple(n[len(RAW) :] for n in names if n.startswith(RAW)),
        presence={k: v / total for k, v in written.present.items()},
        label_counts={t: {s: c.get(s, 0) for s in SPLITS} for t, c in written.labels.items()},
        files=files,
        class_names=context.class_names,
        brands=len(context.brands),
        absent_sources=tuple(absent_sources),
        settings=dict(settings or {}),
        notes=tuple(notes),
    )
    manifest.save(out)
    return manifest


def copy_artifacts(source: Path, target: Path) -> None:
    """The fitted artifacts of one dataset folder, copied whole to another (or to a run's `preprocess/`)."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
