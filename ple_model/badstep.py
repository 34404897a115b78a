"""Why a training step had to be skipped: what was no number first, and which tasks it reached.

A NaN spreads: one in a field makes the expert that reads it NaN, then the shared representation, then every task. The likely
cause is the earliest place that is not finite: the inputs and labels, an expert's output, a task's prediction or loss, and at
last a gradient alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.finite import bad_inputs, bad_labels, bad_predictions, bad_rows, listed
from ple_model.output import LossBreakdown, PLEClusterOutput

LOGGED = 3
"""Skipped steps of an epoch that get a line in progress.jsonl; all are counted."""


@dataclass(frozen=True)
class BadStep:
    """One step that was not finite."""

    rows: int
    tasks: tuple[str, ...]
    """Tasks whose prediction or loss was not finite; empty where only a gradient was not."""
    inputs: dict[str, int]
    """Input field, or `label <task>` -> rows of the batch."""
    cause: str
    place: int = 0
    """How far from the inputs the cause lies: 0 in them, 1 in an expert, 2 behind, 3 in a gradient alone."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> BadStep:
        found = json.loads(text)
        return BadStep(**{**found, "tasks": tuple(found["tasks"])})

    def __str__(self) -> str:
        reached = f" (it reached the tasks {listed(self.tasks)})" if self.tasks else ""
        return f"{self.cause}{reached}"


def bad_step(
    inputs: PLEClusterInput, output: PLEClusterOutput, losses: LossBreakdown, gradients: Mapping[str, Tensor]
) -> BadStep:
    """`gradients`: norms by block of the model."""
    reached = [t for t, v in losses.raw.items() if not bool(torch.isfinite(v))]
    reached += [t for t in bad_predictions(output) if t not in reached]
    given = {k: int(v.sum()) for k, v in bad_inputs(inputs).items()}
    given |= {f"label {t}": int(v.sum()) for t, v in bad_labels(inputs.targets or {}).items()}
    rows, place = len(inputs), 0
    experts = [e for e, v in output.encoded.expert_outputs.items() if bool(bad_rows(v).any())]
    grads = [k for k, v in gradients.items() if not bool(torch.isfinite(v))]
    if given:
        cause = _of_inputs(given, rows)
    elif experts:
        cause, place = f"the output of {listed(experts)} overflowed", 1
    elif reached:
        cause, place = "a prediction or a loss overflowed behind the experts", 2
    else:
        cause, place = f"the gradient of {listed(grads)} overflowed" if grads else "the sum of the losses overflowed", 3
    return BadStep(rows, tuple(reached), given, cause, place)


def _of_inputs(given: Mapping[str, int], rows: int) -> str:
    named = ", ".join(f"'{k}' in {n}" for k, n in given.items())
    return f"NaN or Inf in the batch: {named} of {rows} rows"


def worst(parts: Sequence[BadStep]) -> BadStep:
    """Of one batch, from what its parts say: the cause that lies nearest to the inputs."""
    first = min(parts, key=lambda p: p.place)
    if len(parts) == 1:
        return first
    rows = sum(p.rows for p in parts)
    inputs = {k: sum(p.inputs.get(k, 0) for p in parts) for k in dict.fromkeys(k for p in parts for k in p.inputs)}
    tasks = tuple(dict.fromkeys(t for p in parts for t in p.tasks))
    return BadStep(rows, tasks, inputs, _of_inputs(inputs, rows) if inputs else first.cause, first.place)
