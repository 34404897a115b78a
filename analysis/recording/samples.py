"""The bounded samples of a pass: for vectors, for interventions and probes, and to hold training rows against others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.engine.encoded import concat_encoded, rows_alone
from analysis.labels import ReadRows
from analysis.probing import ProbedRows
from ple_model.data.dataset.batches import Batch
from ple_model.input_columns import activity, thirds
from ple_model.output import Encoded, PLEClusterOutput
from ple_model.own_rows import ROWS, OwnRows, columns_of, compare
from ple_model.tensors import as_numpy

VECTOR_ROWS, EFFECT_ROWS = 20_000, 2_000
PERMUTED = 2_000_000
"""Rows up to which all are put into a random order, 8 bytes each; of more only the samples are drawn."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Which rows of a dataset are measured, and which of these go into which sample: prefixes of one random order. Rows are
    numbers in file order, ascending. What is held does not grow with the rows of the dataset, but with the
    `sample` that was asked for."""

    first: int
    last: int
    """The rows before it; both of a range of the dataset, see `between`."""
    chosen: Rows | None
    """Rows that are measured; None: all of the range."""
    vectors: Rows
    effects: Rows
    compared: Rows

    @classmethod
    def of(cls, rows: int, sample: int | None, seed: int) -> Drawn:
        """Of a dataset with so many rows, at most `sample` of them. To draw over a fiftieth takes 8 bytes a row meanwhile."""
        rng = np.random.default_rng(seed)
        chosen = None
        if sample is not None and sample < rows:
            chosen = np.sort(rng.choice(rows, sample, replace=False)).astype(np.int64)
        order = _order(rng, rows, chosen)
        return cls(0, rows, chosen, *(np.sort(order[:n]) for n in (VECTOR_ROWS, EFFECT_ROWS, ROWS)))

    def between(self, first: int, last: int) -> Drawn:
        """Of the rows from `first` to the one before `last`."""
        chosen = None if self.chosen is None else _within(self.chosen, first, last)
        return Drawn(first, last, chosen, *(_within(x, first, last) for x in (self.vectors, self.effects, self.compared)))

    @property
    def total(self) -> int:
        """Rows that are measured."""
        return self.last - self.first if self.chosen is None else len(self.chosen)

    def measured(self, first: int, count: int) -> Rows:
        """Those of `count` rows from `first` on."""
        last = min(first + count, self.last)
        return np.arange(first, last, dtype=np.int64) if self.chosen is None else _within(self.chosen, first, last)


def _order(rng: np.random.Generator, rows: int, chosen: Rows | None) -> Rows:
    """The first `VECTOR_ROWS` of the measured rows in random order."""
    n = rows if chosen is None else len(chosen)
    if n <= PERMUTED:
        return np.asarray(rng.permutation(np.arange(rows, dtype=np.int64) if chosen is None else chosen)[:VECTOR_ROWS])
    drawn = rng.choice(n, VECTOR_ROWS, replace=False).astype(np.int64)
    return drawn if chosen is None else chosen[drawn]


def _within(rows: Rows, first: int, last: int) -> Rows:
    return rows[np.searchsorted(rows, first) : np.searchsorted(rows, last)]


def places(rows: Rows, sample: Rows) -> Rows:
    """Positions in `rows` of those that are in `sample`; both ascending."""
    at = np.minimum(np.searchsorted(sample, rows), max(len(sample) - 1, 0))
    return np.flatnonzero(sample[at] == rows) if len(sample) else np.zeros(0, dtype=np.int64)


class VectorSample:
    """Vectors of rows, in float16: each expert's output, each projection of hidden states."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {}

    def add(self, local: NDArray[np.int64], rows: NDArray[np.int64], output: PLEClusterOutput) -> None:
        """The rows at `local` of a batch whose rows are numbered `rows`; the same holds for the other samples."""
        outputs = [as_numpy(v[local], np.float16) for v in output.encoded.expert_outputs.values()]
        vectors: dict[str, NDArray[Any]] = {"row": rows[local], "experts": np.concatenate(outputs, axis=1)}
        vectors |= {f"hmm:{m}": as_numpy(v[local], np.float16) for m, v in output.encoded.hmm_projected.items()}
        for name, value in vectors.items():
            self._parts.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {k: np.concatenate(v) for k, v in self._parts.items()}

    def follow(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """The `arrays` of later rows."""
        for name, value in arrays.items():
            self._parts.setdefault(name, []).append(value)


@dataclass
class EffectSample:
    """Rows encoded, so that interventions and probes need no expert again."""

    _encoded: list[Encoded] = field(default_factory=list)
    _targets: dict[str, list[Tensor]] = field(default_factory=dict)
    _customers: list[str] = field(default_factory=list)
    _split: list[str] = field(default_factory=list)
    _row: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, local: NDArray[np.int64], rows: NDArray[np.int64], batch: Batch, output: PLEClusterOutput) -> None:
        index = torch.from_numpy(local)
        self._encoded.append(rows_alone(output.encoded, index))
        self._customers += [batch.customer_id[i] for i in local]
        self._split += [batch.split[i] for i in local]
        self._row.append(rows[local])
        for task, label in (batch.inputs.targets or {}).items():
            self._targets.setdefault(task, []).append(label[index])

    def rows(self) -> ProbedRows | None:
        """None where no row's numbers are all finite."""
        if not self._encoded:
            return None
        targets = {t: torch.cat(v) for t, v in self._targets.items()}
        return ProbedRows(concat_encoded(self._encoded), targets, self._customers, self._split, np.concatenate(self._row))

    def follow(self, later: ProbedRows | None) -> None:
        """The `rows` of a sample of later rows."""
        if later is None:
            return
        self._encoded.append(later.encoded)
        self._customers += later.customers
        self._split += later.split
        self._row.append(later.row)
        for task, label in later.targets.items():
            self._targets.setdefault(task, []).append(label)


@dataclass
class ComparedSample:
    """What the model reads of the rows on which training rows are held against others."""

    names: Sequence[str]
    columns: list[tuple[str, str]] = field(default_factory=list)
    thirds: list[tuple[str, str]] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    cutoff: list[str] = field(default_factory=list)
    events: dict[tuple[str, str], tuple[int, NDArray[np.float64]]] = field(default_factory=dict)
    """(sequence, cut-off) -> rows that have it, and those of them with an event in each step"""
    _drawn: list[NDArray[np.int64]] = field(default_factory=list)
    _values: list[NDArray[np.float32]] = field(default_factory=list)
    _blocks: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, local: NDArray[np.int64], rows: NDArray[np.int64], batch: Batch) -> None:
        mine = batch.inputs if len(local) == len(batch) else batch.inputs.rows(torch.from_numpy(local))
        self.columns, values = columns_of(mine, self.names)
        self.thirds, block = thirds(mine)
        self._values.append(values)
        self._blocks.append(block)
        self._drawn.append(rows[local])
        dates = np.array([batch.cutoff[i] for i in local])
        for date in map(str, np.unique(dates)):
            at = np.flatnonzero(dates == date)
            for key, steps in activity(mine, slice(None) if len(at) == len(dates) else torch.from_numpy(at)).items():
                n, count = self.events.get((key, date), (0, np.zeros(steps.shape[1])))
                self.events[key, date] = n + len(steps), count + steps.sum(0)
        self.people += [batch.customer_id[i] for i in local]
        self.split += [batch.split[i] for i in local]
        self.cutoff += [batch.cutoff[i] for i in local]

    def follow(self, later: ComparedSample) -> None:
        """A sample of later rows."""
        if not later:
            return
        self.columns, self.thirds = later.columns, later.thirds
        self._drawn += later._drawn
        self._values += later._values
        self._blocks += later._blocks
        for key, (n, count) in later.events.items():
            before, so_far = self.events.get(key, (0, np.zeros(len(count))))
            self.events[key] = before + n, so_far + count
        self.people += later.people
        self.split += later.split
        self.cutoff += later.cutoff

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `of_arrays` makes the sample of again; without rows none."""
        if not self:
            return {}
        pairs = {"columns": self.columns, "thirds": self.thirds, "events": list(self.events)}
        words = {"people": self.people, "split": self.split, "cutoff": self.cutoff}
        found: dict[str, NDArray[Any]] = {k: np.array(v, dtype=str).reshape(-1, 2) for k, v in pairs.items()}
        found |= {k: np.array(v, dtype=str) for k, v in words.items()}
        found |= {"row": np.concatenate(self._drawn), "values": self.values(), "blocks": self.blocks()}
        for i, (n, count) in enumerate(self.events.values()):
            found |= {f"events.{i}.rows": np.array(n), f"events.{i}.steps": count}
        return found

    @staticmethod
    def of_arrays(names: Sequence[str], arrays: Mapping[str, NDArray[Any]]) -> ComparedSample:
        """The inverse of `arrays`."""
        found = ComparedSample(names)
        if not arrays:
            return found
        found.columns = [(str(a), str(b)) for a, b in arrays["columns"]]
        found.thirds = [(str(a), str(b)) for a, b in arrays["thirds"]]
        found.people, found.split, found.cutoff = (arrays[k].tolist() for k in ("people", "split", "cutoff"))
        found._drawn, found._values, found._blocks = ([arrays[k]] for k in ("row", "values", "blocks"))
        for i, (field_name, date) in enumerate(arrays["events"]):
            found.events[str(field_name), str(date)] = int(arrays[f"events.{i}.rows"]), arrays[f"events.{i}.steps"]
        return found

    def __bool__(self) -> bool:
        return bool(self._values)

    def read(self) -> ReadRows | None:
        return ReadRows(np.concatenate(self._drawn), self.columns, np.concatenate(self._values)) if self else None

    def own_rows(self) -> OwnRows | None:
        return compare(np.concatenate(self._values), self.columns, self.split, self.cutoff) if self else None

    def values(self) -> NDArray[np.float32]:
        """[n, columns]"""
        return np.concatenate(self._values)

    def blocks(self) -> NDArray[np.float32]:
        """[n, thirds]"""
        return np.concatenate(self._blocks)
