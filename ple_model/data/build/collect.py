"""The steps of a build that need no fitting: what the events before each cut-off say of each row, as memory-mapped arrays.

`features` and `parts` (SQL features, NaN = empty, and which parts are known), sequences, segments and static features,
topology. Everything is read in chunks of rows, so memory does not grow with the number of customers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ple_model.data.build.spine import within
from ple_model.data.build.steps import Array, Work, digest, new_array, read_array
from ple_model.data.derived.segments import ANONYMOUS_WIDTH, COLD_WIDTH, read_segments
from ple_model.data.derived.sequences import (
    DAILY,
    DAILY_STEPS,
    MONTHLY,
    MONTHS,
    SESSION_STEPS,
    SESSION_WIDTH,
    TXN_STEPS,
    TXN_WIDTH,
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
class Collected:
    """Memory-mapped arrays [rows, ...] by name, in spine order."""

    arrays: dict[str, Array]
    rows: int

    def take(self, index: slice | Array, *names: str) -> dict[str, Array]:
        """The arrays of some rows (of these names alone), in memory."""
        return {k: np.array(self.arrays[k][index]) for k in names or self.arrays}


@dataclass(frozen=True)
class Piece:
    """Where the arrays of one bucket's rows lie."""

    folders: tuple[Path, ...]
    rows: int
    kept: bool = False
    """They were there from before."""

    def read(self) -> Collected:
        return Collected({p.stem: read_array(f, p.stem) for f in self.folders for p in sorted(f.glob("*.npy"))}, self.rows)


@dataclass(frozen=True)
class Joined:
    """What was collected of several buckets, one after the other, as if it were one. Arrays are opened when rows are taken:
    all of them at once would be more open files than a process may have."""

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
            part = piece.read().take(index[low:high] - begin, *names)
            for name, values in part.items():
                if name not in found:
                    found[name] = np.empty((len(index), *values.shape[1:]), values.dtype)
                found[name][low:high] = values
        return found


Rows = Collected | Joined


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
    daily, app_events = (read_array(folders["sequences"], n) for n in ("daily", "app_events"))
    folders["topology"] = work.step(
        "topology",
        key,
        lambda f: _topology(f, daily, app_events, workers, lambda x: work.progress("topology", x)),
    )
    return Piece(tuple(folders.values()), rows)


def _features(folder: Path, store: EventStore, rows: int, market: Market, share: Share) -> None:
    con = store.con
    compute_features(con, market, present=store.present, progress=lambda done, total: share(0.9 * done / max(1, total)))
    features = new_array(folder, "features", (rows, N_FEATURES), np.float32)
    parts = new_array(folder, "parts", (rows, len(PART_NAMES)), np.bool_)
    names = ", ".join(f'f."{n}"' for n in load_schema().names)
    flags = ", ".join(f'coalesce(f."{presence_column(part_key(p))}", false)' for p in PART_NAMES)
    for first, stop in chunks(rows):
        table = con.sql(
            f"SELECT {names}, {flags} FROM spine s LEFT JOIN"
            f" (FROM features_base WHERE {within(con, first, stop, 'customer_id')}) f USING (customer_id, cutoff)"
            f" WHERE s.row_id >= {first} AND s.row_id < {stop} ORDER BY s.row_id"
        ).to_arrow_table()
        for j in range(N_FEATURES):
            features[first:stop, j] = table.column(j).to_numpy()
        for j in range(len(PART_NAMES)):
            parts[first:stop, j] = table.column(N_FEATURES + j).to_numpy()
        share(0.9 + 0.1 * stop / rows)
    con.execute("DROP TABLE features_base")
    features.flush()  # type: ignore[attr-defined]


def _sequences(folder: Path, store: EventStore, rows: int, share: Share) -> None:
    shapes = {
        "txn": (TXN_STEPS, TXN_WIDTH),
        "session": (SESSION_STEPS, SESSION_WIDTH),
        "daily": (DAILY_STEPS, len(DAILY)),
        "app_events": (DAILY_STEPS, 1),
        "monthly": (MONTHS, len(MONTHLY)),
    }
    out = {k: new_array(folder, k, (rows, *s), np.float32) for k, s in shapes.items()}
    out |= {k: new_array(folder, k, (rows,), np.bool_) for k in ("p_txn_seq", "p_session_seq")}
    for first, stop in chunks(rows):
        found = read_sequences(store.con, first, stop)
        for name, array in out.items():
            array[first:stop] = getattr(found, name)
        share(stop / rows)


def _segments(folder: Path, store: EventStore, rows: int, share: Share) -> None:
    segment = new_array(folder, "segment", (rows,), np.int32)
    cold = new_array(folder, "coldstart", (rows, COLD_WIDTH), np.float32)
    anonymous = new_array(folder, "anonymous", (rows, ANONYMOUS_WIDTH), np.float32)
    for first, stop in chunks(rows):
        found = read_segments(store, first, stop)
        segment[first:stop], cold[first:stop], anonymous[first:stop] = found.segment, found.coldstart, found.anonymous
        share(stop / rows)


def _topology(folder: Path, daily: Array, app_events: Array, workers: int, share: Share) -> None:
    out: dict[str, Array] = {}
    rows = len(daily)
    for first, stop in chunks(rows):
        found = compute_topology(np.array(daily[first:stop]), np.array(app_events[first:stop, :, 0]), workers=workers)
        for name, values in vars(found).items():
            if name not in out:
                out[name] = new_array(folder, name, (rows, *values.shape[1:]), values.dtype)
            out[name][first:stop] = values
        share(stop / rows)
