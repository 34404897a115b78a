"""Writing a dataset folder: rows in chunks -> Parquet parts of one split each, `artifacts/`, and last of all `dataset.json`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ple_model.context import ModelContext
from ple_model.data.dataset.columns import KEYS, RAW, SPLITS, decode_column, encode, is_class_task
from ple_model.data.dataset.manifest import SCHEMA_VERSION, DatasetManifest, PartFile, fingerprint, sha256_file
from ple_model.data.dataset.normalize import Normalizer
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES, N_FEATURES
from ple_model.presence import presence_key
from ple_model.staging import staged_file

GROUP_ROWS = 1024
PART_ROWS = 32_768


class DatasetWriter:
    """Collects chunks of rows and writes them; nothing under `out` is a dataset before `close`."""

    def __init__(self, out: Path, *, group_rows: int = GROUP_ROWS, part_rows: int = PART_ROWS, width: int = N_FEATURES) -> None:
        self.out, self.group_rows, self.part_rows, self.width = out, group_rows, part_rows, width
        out.mkdir(parents=True, exist_ok=True)
        for old in [out / "dataset.json", *out.glob("part-*.parquet*"), *out.glob(".part-*.tmp")]:
            old.unlink(missing_ok=True)
        self._held: dict[str, list[pa.Table]] = {}
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
            held = self._held.setdefault(split, [])
            held.append(mine)
            while sum(t.num_rows for t in held) >= self.part_rows:
                whole = pa.concat_tables(held)
                self._flush(split, whole.slice(0, self.part_rows))
                held[:] = [whole.slice(self.part_rows)]

    def discard(self) -> None:
        """Remove what was written: without its manifest it is no dataset."""
        for part in self.out.glob("part-*.parquet*"):
            part.unlink(missing_ok=True)

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

    def _flush(self, split: str, table: pa.Table) -> None:
        name = f"part-{split}-{sum(f.split == split for f in self._files):05d}.parquet"
        table = table.combine_chunks()
        with staged_file(self.out / name, durable=False) as temporary:
            pq.write_table(table, temporary, compression="zstd", compression_level=3, row_group_size=self.group_rows)
            groups = pq.read_metadata(temporary)
            sizes = tuple(groups.row_group(i).num_rows for i in range(groups.num_row_groups))
            part = PartFile(name, split, temporary.stat().st_size, sha256_file(temporary), table.num_rows, sizes)
        self._files.append(part)

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
        for split, held in self._held.items():
            if sum(t.num_rows for t in held):
                self._flush(split, pa.concat_tables(held))
        if self._schema is None or not self._files:
            raise UserError(f"{self.out}: a dataset needs at least one row")
        context.save(self.out / "artifacts")
        normalizer.save(self.out / "artifacts")
        total = sum(self._rows.values())
        files = tuple(sorted(self._files, key=lambda f: (SPLITS.index(f.split), f.name)))
        names = self._schema.names
        manifest = DatasetManifest(
            schema_version=SCHEMA_VERSION,
            name=name,
            source=source,
            cutoffs=tuple(sorted(self._cutoffs)),
            splits={s: self._rows.get(s, 0) for s in SPLITS},
            rows=total,
            fingerprint=fingerprint(files),
            fields=tuple(f for f in FIELD_SHAPES if f in names),
            tasks=tuple(n[2:] for n in names if n.startswith("y_")),
            raw_columns=tuple(n[len(RAW) :] for n in names if n.startswith(RAW)),
            presence={k: v / total for k, v in self._present.items()},
            label_counts={t: {s: c.get(s, 0) for s in SPLITS} for t, c in self._labels.items()},
            files=files,
            class_names=context.class_names,
            brands=len(context.brands),
            absent_sources=tuple(absent_sources),
            settings=dict(settings or {}),
            notes=tuple(notes),
        )
        manifest.save(self.out)
        return manifest


def copy_artifacts(source: Path, target: Path) -> None:
    """The fitted artifacts of one dataset folder, copied whole to another (or to a run's `preprocess/`)."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
