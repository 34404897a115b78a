"""Numbers that are no numbers in a dataset: which field or label, in how many rows, of which customer, for `ple validate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ple_model.data.checking.fault import Fault
from ple_model.data.dataset.columns import KEYS, RAW, infinite
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.finite import bad_inputs, bad_labels
from ple_model.uncertainty import stored_quantiles

if TYPE_CHECKING:
    from ple_model.run import Run

BLANK = "It is left out of what pages draw and filter by."
UNUSED = "Nothing is scored, explained or measured from such rows; a training skips their batches."


@dataclass
class _Found:
    """Rows by column, and the first of them in words."""

    rows: dict[str, int] = field(default_factory=dict)
    example: dict[str, str] = field(default_factory=dict)

    def add(self, bad: Mapping[str, Tensor], customers: list[str], cutoffs: list[str]) -> None:
        for name, rows in bad.items():
            first = int(rows.nonzero()[0])
            self.rows[name] = self.rows.get(name, 0) + int(rows.sum())
            self.example.setdefault(name, f"customer '{customers[first]}' at {cutoffs[first]}")


def dataset_faults(dataset: Dataset, table: str = "dataset") -> list[Fault]:
    """One fault a field with NaN or Inf, one a label or readable column that is infinite, one for what the artifacts hold."""
    inputs, labels = _Found(), _Found()
    for batch in dataset.batches(None, 1024):
        inputs.add(bad_inputs(batch.inputs), batch.customer_id, batch.cutoff)
        labels.add(bad_labels(batch.inputs.targets or {}), batch.customer_id, batch.cutoff)
    share = max(1, dataset.rows())
    faults = [
        Fault(table, name, "nonfinite", "error", n, inputs.example[name], f"NaN or Inf in {n / share:.2%} of rows", UNUSED)
        for name, n in inputs.rows.items()
    ]
    for name, n in labels.rows.items():
        message = f"an infinite label in {n / share:.2%} of rows"
        faults.append(Fault(table, f"y_{name}", "nonfinite", "error", n, labels.example[name], message, UNUSED))
    for name, n in (raw := _infinite_columns(dataset)).rows.items():
        message = f"an infinite number in {n / share:.2%} of rows"
        faults.append(Fault(table, name, "nonfinite", "error", n, raw.example[name], message, BLANK))
    faults += [
        Fault(table, name, "nonfinite", "error", 0, "", "the artifacts hold NaN or Inf here", "It cannot be used.")
        for name in dataset.context().nonfinite
    ]
    return faults


def _infinite_columns(dataset: Dataset) -> _Found:
    """Readable columns with an infinite number; NaN is an empty cell there."""
    found, names = _Found(), [RAW + n.removeprefix(RAW) for n in dataset.manifest.raw_columns]
    for part in dataset.tables([*KEYS, *names]) if names and dataset.rows() else ():
        bad = {n: torch.from_numpy(rows) for n in names if (rows := infinite(part.column(n))).any()}
        customers, cutoffs = (part.column(k).to_pylist() if bad else [] for k in ("customer_id", "cutoff"))
        found.add(bad, customers, cutoffs)
    return found


def run_faults(run: Run) -> list[Fault]:
    """What a run keeps beside its weights: calibration, scales, uncertainty quantiles, and the rows of its sample."""
    faults: list[Fault] = []
    normalizer = run.preprocess / "normalizer.npz"
    loads: list[Callable[[], object]] = [lambda: run.calibration, lambda: stored_quantiles(run)]
    if normalizer.exists():
        loads.append(lambda: Normalizer.load(run.preprocess))
    for load in loads:
        try:
            load()
        except UserError as e:
            faults.append(Fault("run", None, "damaged", "error", 0, "", str(e), "It cannot be used."))
    with suppress(UserError):  # a sample that is missing or damaged has been named where it was opened
        faults += dataset_faults(run.sample(), "sample")
    return faults
