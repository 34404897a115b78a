"""The steps of a build that need no fitting: what the events before each cut-off say of each row, as memory-mapped arrays.

`features` and `parts` (SQL features, NaN = empty, and which parts are known), sequences, segments and static features,
topology. Everything is read in chunks of rows, and a file is mapped for as long as a chunk of it is written or taken, so memory
does not grow with the number of customers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ple_model.data.build.spine import within
from ple_model.data.build.steps import Array, Work, digest, read_array, write_part
from ple_model.data.derived.segments import read_segments
from ple_model.data.derived.sequences import (
    read_sequences,
)
from ple_model.data.derived.tda import compute_topology
from ple_model.data.events.connect import EventStore
from ple_model.data.features import Market, compute_features
from ple_model.fields import N_FEATURES
from ple_model.presence import part_key, presence_column
from ple_model.schema import PARTS, load_schema
from ple_model.sources import source_digest

CHUNK = 4096
PART_NAMES = tuple(part for _, part, _ in PARTS)
Share = Callable[[float], None]


@dataclass(frozen=True)
class Piece:
    """Where the arrays of one bucket's rows lie."""

    folders: tuple[Path, ...]
    rows: int
    kept: bool = False
    """They were there from before."""

    @property
    def names(self) -> dict[str, Path]:
        """The folder of each array."""
        return {p.stem: f for f in self.folders for p in sorted(f.glob("*.npy"))}


@dataclass(frozen=True)
class Collected:
    """Arrays [rows, ...] by name, of all pieces, one after the other. They are opened when rows are taken: all of them at once
    would be more open files than a process may have."""

    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        return sum(p.rows for p in self.pieces)

    def take(self, index: slice | Array, *names: str) -> dict[str, Array]:
        """The arrays of some rows in ascending order (of these names alone), in memory."""
        index = np.arange(self.rows)[index] if isinstance(index, slice) else index
        begins = np.cumsum([0, *(p.rows for p in self.pieces)])
        cuts = np.searchsorted(index, begins)
        found: dict[str, Array] = {}
        for piece, begin, low, high in zip(self.pieces, begins[:-1], cuts[:-1], cuts[1:], strict=True):
            if found and low == high:
                continue
            folders = piece.names
            for name in names or folders:
                array = read_array(folders[name], name)
                if name not in found:
                    found[name] = np.empty((len(index), *array.shape[1:]), array.dtype)
                np.take(array, index[low:high] - begin, axis=0, out=found[name][low:high], mode="clip")
        return found


def chunks(rows: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    for first in range(0, rows, size):
        yield first, min(rows, first + size)


def collect(work: Work, store: EventStore, rows: int, key: str, market: Market, market_key: str, workers: int) -> Piece:
    """Run (or find again) every step for the table `spine` of `store`; `key` says what events and rows these are."""
    key = digest([key, source_digest(__name__)])
    folders = {
        "features": work.step(
            "features",
            digest([key, market_key]),
            lambda f: _features(f, store, rows, market, lambda x: work.progress("features", x)),
        ),
        "sequences": work.step(
            "sequences",
            key,
            lambda f: _sequences(f, store, rows, lambda x: work.progress("sequences", x)),
        ),
        "segments": work.step(
            "segments",
            key,
            lambda f: _segments(f, store, rows, lambda x: work.progress("segments", x)),
        ),
    }
    folders["topology"] = work.step(
        "topology",
        key,
        lambda f: _topology(f, folders["sequences"], rows, workers, lambda x: work.progress("topology", x)),
    )
    return Piece(tuple(folders.values()), rows)


def _features(folder: Path, store: EventStore, rows: int, market: Market, share: Share) -> None:
    con = store.con
    compute_features(con, market, present=store.present, progress=lambda done, total: share(0.9 * done / max(1, total)))
    names = ", ".join(f'f."{n}"' for n in load_schema().names)
    flags = ", ".join(f'coalesce(f."{presence_column(part_key(p))}", false)' for p in PART_NAMES)
    for first, stop in chunks(rows):
        table = con.sql(
            f"SELECT {names}, {flags} FROM spine s LEFT JOIN"
            f" (FROM features_base WHERE {within(con, first, stop, 'customer_id')}) f USING (customer_id, cutoff)"
            f" WHERE s.row_id >= {first} AND s.row_id < {stop} ORDER BY s.row_id"
        ).to_arrow_table()
        features = np.empty((stop - first, N_FEATURES), np.float32)
        for j in range(N_FEATURES):
            features[:, j] = table.column(j).to_numpy()
        parts = np.stack([table.column(N_FEATURES + j).to_numpy() for j in range(len(PART_NAMES))], axis=1)
        write_part(folder, "features", rows, first, features)
        write_part(folder, "parts", rows, first, parts.astype(np.bool_))
        share(0.9 + 0.1 * stop / rows)
    con.execute("DROP TABLE features_base")


def _sequences(folder: Path, store: EventStore, rows: int, share: Share) -> None:
    for first, stop in chunks(rows):
        for name, values in vars(read_sequences(store.con, first, stop)).items():
            write_part(folder, name, rows, first, values)
        share(stop / rows)


def _segments(folder: Path, store: EventStore, rows: int, share: Share) -> None:
    for first, stop in chunks(rows):
        for name, values in vars(read_segments(store, first, stop)).items():
            write_part(folder, name, rows, first, values)
        share(stop / rows)


def _topology(folder: Path, sequences: Path, rows: int, workers: int, share: Share) -> None:
    for first, stop in chunks(rows):
        daily, app_events = (np.array(read_array(sequences, n)[first:stop]) for n in ("daily", "app_events"))
        for name, values in vars(compute_topology(daily, app_events[:, :, 0], workers=workers)).items():
            write_part(folder, name, rows, first, values)
        share(stop / rows)
