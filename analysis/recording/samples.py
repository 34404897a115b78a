"""The bounded samples of a pass: for vectors, for interventions and probes, and to hold training rows against others."""

from __future__ import annotations

from collections.abc import Sequence
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


class Drawn:
    """Which rows of a dataset are measured, and which of these go into which sample: prefixes of one random order. [total]"""

    def __init__(self, total: int, sample: int | None, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.measured = np.ones(total, dtype=bool)
        if sample is not None and sample < total:
            self.measured[:] = False
            self.measured[rng.choice(total, sample, replace=False)] = True
        index = np.flatnonzero(self.measured)
        self.total = len(index)
        order = rng.permutation(index)[:VECTOR_ROWS]
        self.vectors, self.effects, self.compared = (_among(total, order[:n]) for n in (VECTOR_ROWS, EFFECT_ROWS, ROWS))


def _among(total: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.zeros(total, dtype=bool)
    found[rows] = True
    return found


class VectorSample:
    """Vectors of rows, in float16: each expert's output, each projection of hidden states."""

    def __init__(self) -> None:
        self._parts: dict[str, list[NDArray[Any]]] = {}

    def add(self, local: NDArray[np.int64], rows: NDArray[np.int64], output: PLEClusterOutput) -> None:
        """The rows at `local` of a batch whose rows are numbered `rows`; the same holds for the other samples."""
        outputs = torch.cat(list(output.encoded.expert_outputs.values()), dim=1)
        vectors: dict[str, NDArray[Any]] = {"row": rows[local], "experts": as_numpy(outputs[local], np.float16)}
        vectors |= {f"hmm:{m}": as_numpy(v[local], np.float16) for m, v in output.encoded.hmm_projected.items()}
        for name, value in vectors.items():
            self._parts.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {k: np.concatenate(v) for k, v in self._parts.items()}


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
        mine = batch.inputs.rows(torch.from_numpy(local))
        self.columns, values = columns_of(mine, self.names)
        self.thirds, block = thirds(mine)
        self._values.append(values)
        self._blocks.append(block)
        self._drawn.append(rows[local])
        for date in sorted({batch.cutoff[i] for i in local}):
            of_date = torch.tensor([i for i in local if batch.cutoff[i] == date])
            for key, steps in activity(batch.inputs.rows(of_date)).items():
                n, count = self.events.get((key, date), (0, np.zeros(steps.shape[1])))
                self.events[key, date] = n + len(steps), count + steps.sum(0)
        self.people += [batch.customer_id[i] for i in local]
        self.split += [batch.split[i] for i in local]
        self.cutoff += [batch.cutoff[i] for i in local]

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
