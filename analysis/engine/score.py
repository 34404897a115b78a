"""The number that is explained: a task's prediction as pages show it, as a differentiable function of the model's output.

Binary tasks give the calibrated probability, so that reasons add up to what the reviewer reads; multiclass and brand tasks the
probability of one class; regressions the value in its own unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.calibration import CalibrationMap
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.tasks import TaskSpec


@dataclass(frozen=True)
class Score:
    """`score(output)` -> [B] float64."""

    model: PLEClusterAdaTT
    task: str
    target: int | None
    calibration: CalibrationMap | None = None

    @property
    def spec(self) -> TaskSpec:
        return self.model.tasks[self.task]

    def __call__(self, output: PLEClusterOutput) -> Tensor:
        return self.of(output.logits[self.task], output.predictions[self.task])

    def of(self, raw: Tensor, prediction: Tensor) -> Tensor:
        """[B] from the task's raw output [B, out] and prediction."""
        logits = raw.double()
        kind = self.spec.kind
        if kind == "binary":
            return calibrated(logits[:, 0], self.calibration)
        if kind == "multiclass":
            return torch.softmax(logits, dim=-1)[:, self.target or 0]
        if kind == "contrastive":
            return torch.softmax(self.model.brand_logits(prediction).double(), dim=-1)[:, self.target or 0]
        value = prediction.double()
        return self.model.to_units(self.task, value if value.dim() == 1 else value[:, self.target or 0])


def calibrated(logit: Tensor, calibration: CalibrationMap | None) -> Tensor:
    """Calibrated probability of a binary tower's logit: `CalibrationMap` in torch, finite at any logit."""
    if calibration is None or calibration.form == "identity":
        return torch.sigmoid(logit)
    c = calibration
    return torch.sigmoid(c.a * F.logsigmoid(logit) - c.b * F.logsigmoid(-logit) + c.c)


def distribution(model: PLEClusterAdaTT, output: PLEClusterOutput, task: str) -> Tensor:
    """[B, K] class probabilities of a multiclass or brand task."""
    value = output.predictions[task].float()
    return torch.softmax(model.brand_logits(value), dim=-1) if model.tasks[task].kind == "contrastive" else value


def shown(
    model: PLEClusterAdaTT, output: PLEClusterOutput, task: str, calibrations: Mapping[str, CalibrationMap]
) -> tuple[Tensor, Tensor | None]:
    """(value [B] as pages show it, most probable class [B] or None) of a task."""
    if model.tasks[task].kind in ("multiclass", "contrastive"):
        top = distribution(model, output, task).max(dim=-1)
        return top.values.double(), top.indices
    return Score(model, task, None, calibrations.get(task))(output), None


def answer(model: PLEClusterAdaTT, output: PLEClusterOutput, task: str, calibrations: Mapping[str, CalibrationMap]) -> Tensor:
    """[B, K] the whole answer of a task as pages show it: class probabilities, or every number of the others."""
    kind = model.tasks[task].kind
    if kind in ("multiclass", "contrastive"):
        return distribution(model, output, task).double()
    if kind == "binary":
        return Score(model, task, None, calibrations.get(task))(output)[:, None]
    value = model.to_units(task, output.predictions[task].double())
    return value[:, None] if value.dim() == 1 else value


def distance(kind: str, one: Tensor, two: Tensor) -> Tensor:
    """[...] between two answers [..., K]: total variation of class probabilities, mean absolute difference of the others."""
    apart = (one - two).abs()
    return apart.sum(-1) / 2 if kind in ("multiclass", "contrastive") else apart.mean(-1)


def class_names(model: PLEClusterAdaTT, task: str) -> tuple[str, ...]:
    """Names of a task's classes: the dataset's own, else the task's."""
    spec = model.tasks[task]
    if spec.kind == "contrastive":
        return model.context.brands
    return model.context.class_names.get(task, spec.classes)
