"""`Dataset`: a folder of Parquet parts -> batches of `PLEClusterInput`, streamed in bounded memory.

Reading is by row group; a window of a few thousand rows is held and shuffled (see `order`). A dataset that fits `memory_mb` is
decoded once and stays in memory. A part's size is checked when the dataset is opened, its checksum when it is first read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ple_model.baseline_folder import carry
from ple_model.context import ModelContext
from ple_model.data.dataset import order
from ple_model.data.dataset.batches import Batch, Columns, concat, to_batch
from ple_model.data.dataset.cache import RowCopier, fill_cache, has_column, open_column, row_copier
from ple_model.data.dataset.columns import KEYS, SPLITS, decode
from ple_model.data.dataset.manifest import DatasetManifest, PartFile, sha256_file
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.parts import check_rows, check_size, read_parquet
from ple_model.data.dataset.writer import DatasetWriter, copy_artifacts
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES, N_FEATURES
from ple_model.own_schema import load_own
from ple_model.presence import presence_column
from ple_model.safe_arrays import open_parquet
from ple_model.safe_paths import check_tree
from ple_model.schema import PART_SLICES, FeatureSchema, load_schema

Beside = Callable[[PartFile, int], Columns]
"""A part and the number of its row group -> further columns of these rows, or none."""


@dataclass
class _RowGroup:
    """One row group of a part, where it lies."""

    part: PartFile
    index: int
    size: int


class Dataset:
    """See the module docstring. Open with `Dataset.open(path)`."""

    def __init__(self, path: Path, manifest: DatasetManifest, memory_mb: int, cache: Path | None) -> None:
        self.path, self.manifest, self._cache = path, manifest, cache
        self._budget = memory_mb << 20
        self._held: OrderedDict[tuple[str, int], Columns] = OrderedDict()
        self._held_bytes = 0
        self._verified: set[str] = set()
        self._maps: Columns = {}
        self._beside: Beside | None = None

    @staticmethod
    def open(path: Path | str, *, memory_mb: int = 1024, cache: Path | None = None) -> Dataset:
        """The dataset in folder `path`; `UserError` names a file that is missing or has another size than recorded.

        `cache`: a folder for decoded, memory-mapped columns (see `cache`), made on first use: for datasets beyond `memory_mb`
        that are read many times. Batches are the same with and without it.
        """
        path = Path(path)
        check_tree(path)
        manifest = DatasetManifest.load(path)
        for part in manifest.files:
            check_size(path, part)
            check_rows(path, part)
        return Dataset(path, manifest, memory_mb, cache)

    def with_beside(self, columns: Beside) -> Dataset:
        """The same rows with columns that lie elsewhere: what `batches` and `load` yield has them too."""
        found = Dataset(self.path, self.manifest, self._budget >> 20, None)
        found._beside = columns
        return found

    def streamed(self) -> Dataset:
        """The same rows, for who reads them once: none of them stay in memory."""
        found = Dataset(self.path, self.manifest, 0, self._cache)
        found._beside, found._verified = self._beside, self._verified
        return found

    def __repr__(self) -> str:
        m = self.manifest
        return f"Dataset({m.name!r}, {m.rows} rows {m.splits}, {len(m.tasks)} tasks, {m.fingerprint[:8]})"

    def rows(self, split: str | None = None) -> int:
        return self.manifest.rows if split is None else self.manifest.splits[_split(split)]

    def context(self) -> ModelContext:
        return ModelContext.load(self.path / "artifacts")

    @cached_property
    def own(self) -> FeatureSchema | None:
        """The columns of `features` where they came with the dataset; None: the package's."""
        return load_own(self.path / "artifacts")

    @property
    def width(self) -> int:
        """Columns of `features`."""
        return N_FEATURES if self.own is None else len(self.own.columns)

    @property
    def schema(self) -> FeatureSchema:
        """The columns of `features`."""
        return load_schema() if self.own is None else self.own

    @property
    def parts(self) -> Mapping[str, slice]:
        """Columns of each part of `features`."""
        return PART_SLICES if self.own is None else self.own.parts

    def normalizer(self) -> Normalizer:
        return Normalizer.load(self.path / "artifacts")

    def verify(self) -> None:
        """Read every part against its checksum; `UserError` names the first that differs."""
        for part in self.manifest.files:
            self._verify(part)

    def batches(
        self,
        split: str | None,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        window_rows: int = 8192,
        fields: Sequence[str] | None = None,
    ) -> Iterator[Batch]:
        """Batches of an epoch in a reproducible order, from the `start`-th on; the last may be smaller.

        `split` None reads all splits (train, validation, test). `rank` of `world` readers gets every `world`-th row of each
        batch, whose size is that of all readers together; none of a last batch that has too few rows for it. `fields` limits
        the input fields that are decoded (`features` and `cluster_ids` always are).
        """
        if batch_size < world:
            raise UserError(f"batch_size: {batch_size} is not valid, it must be at least {world}")
        groups = self._groups(split)
        plan = order.windows([g.size for g in groups], window_rows, shuffle=shuffle, seed=seed, epoch=epoch)
        names = self._columns(fields)
        size = len(range(rank, batch_size, world))
        with row_copier(self._copiers()) as copier:
            carried: list[Columns] = []
            count = 0
            for window in order.needed(plan, rank=rank, batch=batch_size, start=start):
                mine = order.shard(window, rank=rank, world=world, batch=batch_size, start=start)
                if not len(mine):
                    continue
                fetch = self._fetcher(split, groups, window.groups, names, copier)
                position = 0
                while position < len(mine):
                    take = mine[position : position + size - count]
                    carried.append(fetch(take))
                    position, count = position + len(take), count + len(take)
                    if count == size:
                        yield to_batch(concat(carried), self.parts)
                        carried, count = [], 0
            if count:
                yield to_batch(concat(carried), self.parts)

    def group(self, part: PartFile, index: int) -> Batch:
        """One row group of a part, in file order."""
        return to_batch(self._decode(_RowGroup(part, index, part.group_rows[index]), self._columns(None)), self.parts)

    def load(self, split: str | None = None, limit: int | None = None, seed: int = 0) -> Batch:
        """All rows of a split (of the dataset) as one batch, or a seeded sample of `limit` of them, in file order."""
        groups = self._groups(split)
        return self._gather(groups, _sample(sum(g.size for g in groups), limit, seed), f"split '{split}' has no rows")

    def drawn(self, limit: int | None, seed: int = 0) -> NDArray[np.int64]:
        """Positions in the file order of the rows that `load` takes."""
        return _sample(self.manifest.rows, limit, seed)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Batch:
        """The rows at these positions of the file order (that of `table`), in ascending order; reads only their row groups."""
        chosen = np.unique(np.asarray(rows, dtype=np.int64))
        if len(chosen) and not (chosen[0] >= 0 and chosen[-1] < self.manifest.rows):
            raise UserError(f"{self.path}: rows {chosen[0]} to {chosen[-1]} asked for, it has 0 to {self.manifest.rows - 1}")
        return self._gather(self._groups(None), chosen, "no rows asked for")

    def _gather(self, groups: list[_RowGroup], chosen: NDArray[np.int64], none: str) -> Batch:
        pieces: list[Columns] = []
        names = self._columns(None)
        first = 0
        for g in groups:
            mine = chosen[(chosen >= first) & (chosen < first + g.size)] - first
            first += g.size
            if len(mine):
                pieces.append({k: v[mine] for k, v in self._read(g, names).items()})
        if not pieces:
            raise UserError(f"{self.path}: {none}")
        return to_batch(concat(pieces), self.parts)

    def table(self, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        """Scalar columns (keys, `y_*`, `p_*`, `raw:*`, ids) in file order, all by default. `UserError` on an unknown name."""
        return pa.concat_tables(self.tables(columns, split))

    def tables(self, columns: Sequence[str] | None = None, split: str | None = None) -> Iterator[pa.Table]:
        """The same, one file at a time."""
        parts = [p for p in self.manifest.files if split is None or p.split == _split(split)]
        if not parts:
            raise UserError(f"{self.path}: split '{split}' has no rows")
        with open_parquet(self.path / self.manifest.files[0].name) as file:
            have = file.schema_arrow
        scalars = [n for n in have.names if not pa.types.is_fixed_size_list(have.field(n).type)]
        for name in columns or ():
            if name not in have.names:
                raise UserError(f"{self.path} has no column '{name}'{did_you_mean(name, have.names)}")
        wanted = list(columns) if columns is not None else scalars
        return (self._arrow(p, wanted) for p in parts)

    def extract(
        self, out: Path | str, customers: Sequence[str] | None = None, limit: int | None = None, seed: int = 0
    ) -> Dataset:
        """A small dataset in the same format at `out`: the rows of `customers`, or a seeded sample of `limit` rows, or both;
        with what its baselines lose on these rows, where it has any."""
        out = Path(out)
        writer = DatasetWriter(out, width=self.width)
        keys = self.table(["customer_id"]).column("customer_id")
        keep = np.arange(len(keys))
        if customers is not None:
            wanted = np.asarray(pc.is_in(keys, value_set=pa.array(list(customers), pa.string())))
            keep = keep[wanted.astype(bool)]
            if not len(keep):
                raise UserError(f"{self.path} has none of the {len(customers)} customers asked for")
        keep = keep[_sample(len(keep), limit, seed)]
        first = 0
        for part in self.manifest.files:
            mine = keep[(keep >= first) & (keep < first + part.rows)] - first
            first += part.rows
            if len(mine):
                writer.append(self._arrow(part, None).take(pa.array(mine)))
        m = self.manifest
        writer.close(
            name=m.name, source=m.source, context=self.context(), normalizer=self.normalizer(), absent_sources=m.absent_sources,
            settings={**m.settings, "extracted_from": m.fingerprint, "source_rows": m.rows}, notes=m.notes,
        )  # fmt: skip
        copy_artifacts(self.path / "artifacts", out / "artifacts")
        made = Dataset.open(out)
        carry(self.path, m, keep, out, made.manifest)
        return made

    # --- reading

    def _copiers(self) -> int:
        """Threads that copy rows out of the cache: as many as torch was given."""
        if self._cache is None:
            return 1
        import torch  # late: torch

        return torch.get_num_threads()

    def _fetcher(
        self, split: str | None, groups: list[_RowGroup], window: tuple[int, ...], names: tuple[str, ...], copier: RowCopier
    ) -> Callable[[NDArray[np.int64]], Columns]:
        """Rows of a window's groups by position: from the held, decoded groups or from the memory-mapped cache."""
        if self._cache is None:
            held = concat([self._read(groups[g], names) for g in window])
            return lambda take: {k: v.take(take, axis=0) for k, v in held.items()}
        known = ("split",) if split is not None else ()  # the same for all rows: not worth keeping
        mapped = self._mapped(split, groups, tuple(n for n in names if n not in known))
        starts = np.cumsum([0, *(g.size for g in groups)])
        place = np.concatenate([np.arange(starts[g], starts[g + 1]) for g in window])

        def rows(take: NDArray[np.int64]) -> Columns:
            return {**copier.take(mapped, place[take]), **{n: np.full(len(take), split, dtype=object) for n in known}}

        return rows

    def _mapped(self, split: str | None, groups: list[_RowGroup], names: tuple[str, ...]) -> Columns:
        """The split's columns as memory maps, decoded into the cache folder if they are not there yet."""
        assert self._cache is not None
        folder = self._cache / self.manifest.fingerprint / (split or "all")
        missing = tuple(n for n in names if f"{split}/{n}" not in self._maps and not has_column(folder, n))
        if missing:
            rows = sum(g.size for g in groups)
            fill_cache(folder, missing, rows, (self._decode(g, missing) for g in groups))
        for name in names:
            if (key := f"{split}/{name}") not in self._maps:
                self._maps[key] = np.asarray(open_column(folder, name))  # a plain array of it: numpy makes one a call otherwise
        return {n: self._maps[f"{split}/{n}"] for n in names}

    def part_table(self, part: PartFile, columns: Sequence[str] | None = None) -> pa.Table:
        """One part file, whole or these columns of it, its size and checksum verified."""
        return self._arrow(part, columns)

    def group_tables(self, part: PartFile) -> Iterator[pa.Table]:
        """One part file, all columns, a row group at a time, its size and checksum verified."""
        self._verify(part)
        return (read_parquet(self.path / part.name, None, i, self.width) for i in range(len(part.group_rows)))

    def _groups(self, split: str | None) -> list[_RowGroup]:
        if split is not None:
            _split(split)
        return [
            _RowGroup(part, i, size)
            for part in self.manifest.files
            if split is None or part.split == split
            for i, size in enumerate(part.group_rows)
        ]

    def _columns(self, fields: Sequence[str] | None) -> tuple[str, ...]:
        """Columns to decode: keys, fields, labels, presence; not the human-readable ones."""
        for name in fields or ():
            if name not in FIELD_SHAPES:
                raise UserError(f"no input field '{name}'{did_you_mean(name, FIELD_SHAPES)}")
        have = [f for f in self.manifest.fields if fields is None or f in fields or f in ("features", "cluster_ids")]
        presence = [presence_column(k) for k in self.manifest.presence]
        return (*KEYS, *have, *(f"y_{t}" for t in self.manifest.tasks), *presence)

    def _read(self, group: _RowGroup, names: tuple[str, ...]) -> Columns:
        key = (f"{group.part.name}#{group.index}", hash(names))
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        columns = self._decode(group, names)
        size = sum(v.nbytes for v in columns.values())
        # a dataset beyond the budget is streamed: keeping a part of it would only evict what comes next
        if size / max(1, group.size) * self.manifest.rows <= self._budget:
            self._held[key] = columns
            self._held_bytes += size
            while self._held_bytes > self._budget:
                _, old = self._held.popitem(last=False)
                self._held_bytes -= sum(v.nbytes for v in old.values())
        return columns

    def _decode(self, group: _RowGroup, names: tuple[str, ...]) -> Columns:
        self._verify(group.part)
        path = self.path / group.part.name
        columns = decode(read_parquet(path, names, group.index, self.width), path, self.width)
        return columns if self._beside is None else columns | self._beside(group.part, group.index)

    def _arrow(self, part: PartFile, names: Sequence[str] | None) -> pa.Table:
        self._verify(part)
        return read_parquet(self.path / part.name, names, None, self.width)

    def _verify(self, part: PartFile) -> None:
        if part.name in self._verified:
            return
        check_size(self.path, part)
        path = self.path / part.name
        if sha256_file(path) != part.sha256:
            raise UserError(f"{path} was altered: its checksum is not the one in dataset.json; rebuild the dataset")
        self._verified.add(part.name)


def _split(name: str) -> str:
    if name not in SPLITS:
        raise UserError(f"no split '{name}'{did_you_mean(name, SPLITS)}")
    return name


def _sample(total: int, limit: int | None, seed: int) -> NDArray[np.int64]:
    """Sorted row numbers: all, or a seeded sample of `limit`."""
    if limit is None or limit >= total:
        return np.arange(total, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False)).astype(np.int64)
