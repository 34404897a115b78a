"""The content of some stored rows, by their keys: the same rows in another order, with other columns beside them, are the same.

Each row has a key (customer, cut-off, split), each of its columns a 64-bit hash of key and value; a column's mark is the sum of
these over the rows, which no order changes. `features` is marked part by part. Of the first rows the hashes of their keys are
kept too, in their order, so that what was measured on them can be measured on the same ones again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.dataset.columns import KEYS, RAW, column_type, decode_column
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.presence import part_key, presence_key
from ple_model.stored import Stored

HASH = 16
PIECE = 64
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class RowMarks:
    """See the module docstring."""

    keys: str
    columns: dict[str, str]
    """Mark by column: a field, `features:<part>`, `y_<task>`, `raw:<name>`; a field's presence is part of its mark."""
    first: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "columns": self.columns, "first": "".join(self.first)}

    @staticmethod
    def from_stored(found: Stored) -> RowMarks:
        """`UserError` names what is wrong."""
        columns, first = found.mapping("columns"), found.text("first", 1 << 20)
        if len(first) % HASH:
            raise found.wrong("first", f"hashes of {HASH} digits")
        return RowMarks(
            found.text("keys", HASH), {k: columns.text(k, HASH) for k in columns.values},
            tuple(first[i : i + HASH] for i in range(0, len(first), HASH)),
        )  # fmt: skip

    def changed(self, now: RowMarks) -> tuple[str, ...]:
        """Columns of these rows that are others now, or gone; what was added beside them does not count."""
        return tuple(k for k, v in self.columns.items() if now.columns.get(k) != v)


def row_marks(dataset: Dataset, rows: int) -> RowMarks:
    """Of all rows of a dataset, and of the first `rows` their keys."""
    total: dict[str, np.uint64] = {}
    keys = np.uint64(0)
    first: list[str] = []
    with np.errstate(over="ignore"):
        for table in chain.from_iterable(map(dataset.group_tables, dataset.manifest.files)):
            own = key_hashes(*(table.column(k).to_pylist() for k in KEYS))
            keys += _mixed(own).sum(dtype=np.uint64)
            for name, hashes in _columns(dataset, table):
                total[name] = total.get(name, np.uint64(0)) + _mixed(hashes ^ own).sum(dtype=np.uint64)
            first += [f"{int(k):016x}" for k in own[: max(rows - len(first), 0)]]
    return RowMarks(f"{int(keys):016x}", {k: f"{int(v):016x}" for k, v in sorted(total.items())}, tuple(first))


def key_hashes(customers: list[str], cutoffs: list[str], splits: list[str]) -> Hashes:
    """[n] of rows by their keys."""
    plain = ("|".join(key).encode() for key in zip(customers, cutoffs, splits, strict=True))
    return np.array([int.from_bytes(hashlib.blake2b(k, digest_size=8).digest()) for k in plain], dtype=np.uint64)


def _columns(dataset: Dataset, table: Any) -> Iterator[tuple[str, Hashes]]:
    """Every column with the hash of each row's value."""
    for name in table.column_names:
        if name in KEYS or not _known(name):
            continue
        values = decode_column(table.column(name), name, dataset.path, dataset.width)
        if name == "features":
            for part, where in dataset.parts.items():
                yield part_key(part), _hashed(values[:, where])
        elif (key := presence_key(name)) is not None:
            yield key, _hashed(values)
        elif name.startswith(RAW) and values.dtype.kind not in "biuf":
            told = {v: int.from_bytes(hashlib.blake2b(str(v).encode(), digest_size=8).digest()) for v in set(values.tolist())}
            yield name, np.array([told[v] for v in values.tolist()], dtype=np.uint64)
        else:
            yield name, _hashed(values)


def _known(name: str) -> bool:
    """A delivery may have columns that no reader asks for."""
    try:
        column_type(name)
    except UserError:
        return False
    return True


def _hashed(values: NDArray[Any]) -> Hashes:
    """[n] of each row's numbers, by a fixed odd multiplier a place. Few rows at a time, which stay in the processor's cache."""
    flat = np.ascontiguousarray(values.reshape(len(values), -1))
    with np.errstate(over="ignore"):
        places = (np.arange(1, flat.shape[1] + 1, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)) | np.uint64(1)
        found = [_words(flat[i : i + PIECE]) @ places for i in range(0, len(flat), PIECE)]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *found])


def _words(plain: NDArray[Any]) -> Hashes:
    plain = plain + 0 if plain.dtype.kind == "f" else plain.astype(np.int64)  # a zero has no sign
    return plain.view(f"u{plain.dtype.itemsize}").astype(np.uint64, copy=False)


def _mixed(z: Hashes) -> Hashes:
    """Splitmix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)
