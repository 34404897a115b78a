"""Numbers that are no numbers (NaN, Inf), found before anything is drawn from them: in weights, inputs and outputs.

A NaN passes through a mean, a sort or an argmax without a word, and a comparison with it is false: a rank counted as "how many
are above" is then the best one. So weights are looked at when a run is opened, inputs and outputs of every batch before they
are scored, written or explained, and one sentence names tensor, field, task and share of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.output import PLEClusterOutput

NAMED = 3
"""Names in a sentence; the rest is counted."""


def listed(names: Sequence[str]) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(f"'{n}'" for n in names[:NAMED])
    more = len(names) - NAMED
    return shown if more <= 0 else f"{shown} and {more} more"


def bad_rows(value: Tensor) -> Tensor:
    """[B] bool: rows of [B, ...] with a NaN or Inf; none where the values are whole numbers."""
    if not value.is_floating_point() or (value.device.type == "cpu" and bool(torch.isfinite(value.sum()))):
        # what is no number stays none in a sum, which reads all once; a sum that is too large for its type is looked into
        return torch.zeros(value.shape[0], dtype=torch.bool, device=value.device)
    return ~torch.isfinite(value).flatten(1).all(dim=1) if value.dim() > 1 else ~torch.isfinite(value)


def bad_inputs(inputs: PLEClusterInput) -> dict[str, Tensor]:
    """field -> [B] bool of the fields that hold a NaN or Inf anywhere."""
    found: dict[str, Tensor] = {}
    for name in FIELD_SHAPES:
        value: Tensor | None = getattr(inputs, name)
        if value is not None and value.is_floating_point():
            rows = bad_rows(value)
            if bool(rows.any()):
                found[name] = rows
    return found


def bad_labels(targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """task -> [B] bool of the tasks with an infinite label; NaN is a label that is missing."""
    found = {t: torch.isinf(y).flatten(1).any(1) if y.dim() > 1 else torch.isinf(y) for t, y in targets.items()}
    return {task: bad for task, bad in found.items() if bool(bad.any())}


def bad_predictions(output: PLEClusterOutput) -> dict[str, Tensor]:
    """task -> [B] bool of the tasks with a prediction that is not finite."""
    rows = {task: bad_rows(value) for task, value in output.predictions.items()}
    return {task: bad for task, bad in rows.items() if bool(bad.any())}


def bad_tensors(named: Iterable[tuple[str, Tensor]]) -> dict[str, float]:
    """tensor -> share of its values that are not finite; only those that have any."""
    found: dict[str, float] = {}
    for name, value in named:
        if value.is_floating_point() and value.numel():
            bad = int((~torch.isfinite(value)).sum())
            if bad:
                found[name] = bad / value.numel()
    return found


def tensors_sentence(where: str, bad: Mapping[str, float]) -> str:
    """What `bad_tensors` found in the file `where`."""
    worst = max(bad.values())
    return f"{where}: {listed(list(bad))} hold NaN or Inf, up to {worst:.3g} of a tensor's values"


@dataclass
class Tally:
    """Rows of a pass over a dataset whose inputs or predictions are not finite."""

    where: str
    """What the sentence starts with: the dataset."""
    rows: int = 0
    inputs: dict[str, int] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    example: str = ""
    """The first customer that has one."""

    def __bool__(self) -> bool:
        return bool(self.inputs or self.tasks)

    def add_inputs(self, inputs: PLEClusterInput, customers: Sequence[str]) -> None:
        """Count a batch before it goes through the model."""
        self.rows += len(inputs)
        self._count(self.inputs, bad_inputs(inputs), customers)
        self._count(self.inputs, {f"label {t}": bad for t, bad in bad_labels(inputs.targets or {}).items()}, customers)

    def add_output(self, output: PLEClusterOutput, customers: Sequence[str]) -> None:
        """Count what the model made of the batch that was counted last."""
        self._count(self.tasks, bad_predictions(output), customers)

    def _count(self, into: dict[str, int], found: Mapping[str, Tensor], customers: Sequence[str]) -> None:
        for name, bad in found.items():
            into[name] = into.get(name, 0) + int(bad.sum())
            self.example = self.example or customers[int(bad.nonzero()[0])]

    def to_json(self) -> str:
        return json.dumps({"rows": self.rows, "inputs": self.inputs, "tasks": self.tasks, "example": self.example})

    def joined(self, said: Iterable[str]) -> Tally:
        """Of all rows, from what the parts of a split say (`to_json`)."""
        whole = Tally(self.where)
        for part in map(json.loads, said):
            whole.rows += part["rows"]
            for into, found in ((whole.inputs, part["inputs"]), (whole.tasks, part["tasks"])):
                into.update({name: into.get(name, 0) + n for name, n in found.items()})
            whole.example = whole.example or part["example"]
        return whole

    def _shares(self, counts: Mapping[str, int]) -> str:
        ordered = sorted(counts, key=lambda k: -counts[k])
        shown = ", ".join(f"'{k}' in {counts[k] / max(1, self.rows):.2%}" for k in ordered[:NAMED])
        more = len(ordered) - NAMED
        return shown if more <= 0 else f"{shown} and {more} more"

    def sentence(self) -> str:
        """One sentence: fields, tasks, share of the rows, a customer; empty where everything is finite."""
        parts = []
        if self.inputs:
            parts.append(f"input fields that hold NaN or Inf: {self._shares(self.inputs)} of {self.rows:,} rows")
        if self.tasks:
            parts.append(f"predictions that are no numbers: {self._shares(self.tasks)} of {self.rows:,} rows")
        return f"{self.where}: {'; '.join(parts)} (customer '{self.example}', for example)" if parts else ""

    def raise_if_any(self) -> None:
        """`UserError` with the sentence."""
        if self:
            raise UserError(f"{self.sentence()}; `ple validate` lists the fields, `ple diagnose` what they reach")


def require_finite_inputs(where: str, inputs: PLEClusterInput, customers: Sequence[str]) -> None:
    """`UserError` that names the fields of a batch that hold NaN or Inf."""
    tally = Tally(where)
    tally.add_inputs(inputs, customers)
    tally.raise_if_any()


def require_finite(where: str, inputs: PLEClusterInput, output: PLEClusterOutput, customers: Sequence[str]) -> None:
    """The same, of a batch and of what the model said of it."""
    tally = Tally(where)
    tally.add_inputs(inputs, customers)
    tally.add_output(output, customers)
    tally.raise_if_any()
