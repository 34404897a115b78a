"""A teacher in a training: its lessons with the rows, its losses with each step, the hint's map beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.config import DistillationConfig
from ple_model.data.dataset.reader import Dataset
from ple_model.distill import lessons
from ple_model.distill.hint import HintMap
from ple_model.distill.soft_losses import entropy, soft_amounts, soft_binary, soft_brands, soft_classes
from ple_model.errors import UserError
from ple_model.layers.precision import widen
from ple_model.losses import masked_mean
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput, TaughtLosses


class Teaching:
    """Of one training. `prepare` before the first step."""

    def __init__(self, state: Path, model: PLEClusterAdaTT) -> None:
        """`state`: the run's, with the plan that the run was made with. `model`: the student, on its device."""
        self.state, self.params = state, model.config.distillation
        self.plan = lessons.LessonPlan.load(state)
        self.device = next(model.parameters()).device
        self.hint = self._hint(model, self.params)

    def _hint(self, model: PLEClusterAdaTT, params: DistillationConfig) -> HintMap | None:
        if params.hint == "off":
            return None
        seed = model.config.training.seed + 2
        if params.hint == "shared":
            return HintMap(1, sum(model.dims), self.plan.width, seed).to(self.device)
        own = model.config.task_experts.group_output_dim
        return HintMap(len(self.plan.tasks), own, self.plan.width, seed).to(self.device)

    def optimizer_groups(self) -> list[dict[str, Any]]:
        """What trains beside the model."""
        return [] if self.hint is None else [{"params": list(self.hint.parameters()), "weight_decay": 0.0}]

    def weights(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {} if self.hint is None else dict(self.hint.state_dict())

    def restore(self, weights: dict[str, Tensor]) -> None:
        if self.hint is None:
            return
        own = self.hint.state_dict()
        if own.keys() != weights.keys() or any(own[k].shape != v.shape for k, v in weights.items()):
            raise UserError(f"{self.state}: the checkpoint holds no map of the hint that fits the run's config")
        self.hint.load_state_dict(weights)

    def prepare(self, dataset: Dataset, teacher: PLEClusterAdaTT | None, tell: lessons.Tell) -> Dataset:
        """The dataset with the lessons in its training rows. `teacher`: needed where they are not all there yet."""
        if not lessons.complete(self.state):
            assert teacher is not None
            lessons.compute(self.state, self.plan, teacher, dataset, tell)
        self.summary = lessons.summary(self.state)
        self.keys = None if self.summary.keys is None else self.summary.keys.to(self.device)
        self.scale = {t: entropy(p) for t, p in self.summary.means.items()}
        return lessons.taught(self.state, dataset)

    # ------------------------------------------------------------------- a step

    def losses(self, model: PLEClusterAdaTT, output: PLEClusterOutput, inputs: PLEClusterInput) -> TaughtLosses:
        """What the teacher adds to this batch's loss: over rows for which a task is defined and the teacher says a number."""
        said = inputs.taught or {}
        tasks: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        with torch.autocast(output.shared_concat.device.type, enabled=False):
            for task in (t for t in self.plan.tasks if t in said and t in model.tasks):
                there = torch.isfinite(said[task].flatten(1) if said[task].dim() > 1 else said[task][:, None]).all(dim=1)
                clean = torch.where(there.view(-1, *[1] * (said[task].dim() - 1)), said[task], 0.0)
                values = self._rows(task, model, output, clean)
                tasks[task], counts[task] = masked_mean(values, there & inputs.defined(task))
            return TaughtLosses(tasks, counts, self.params.share, self._hint_loss(model, output, said))

    def _rows(self, task: str, model: PLEClusterAdaTT, output: PLEClusterOutput, said: Tensor) -> Tensor:
        """[B] the task's loss against the teacher, in the units of its own."""
        spec, t, raw = model.tasks[task], self.params.temperature, output.logits[task]
        if spec.kind == "binary":
            constant = model.context.constant_loss.get(task, 1.0)
            return soft_binary(said, raw[:, 0], t) * (constant / self.scale[task])
        if spec.kind == "multiclass":
            return soft_classes(said, raw, t)
        if spec.kind == "regression":
            scaler = model.context.label_scalers.get(task)
            return soft_amounts(spec, said, output.predictions[task], scaler, model.config.training.huber_delta)
        assert model.brands is not None
        assert self.keys is not None
        return soft_brands(said, self.keys, output.predictions[task], model.brands, t)

    def _hint_loss(self, model: PLEClusterAdaTT, output: PLEClusterOutput, said: Mapping[str, Tensor]) -> Tensor | None:
        """Weighted; none while the shared experts do not train and their output alone is what it is about."""
        if self.hint is None or (self.params.hint == "shared" and model.shared_frozen):
            return None
        assert self.summary.hint_mean is not None
        assert self.summary.hint_std is not None
        own = lessons.represented(self.params.hint, self.plan.tasks, model, output)
        mean, std = (v.to(self.device) for v in (self.summary.hint_mean, self.summary.hint_std))
        return self.params.hint_weight * self.hint.loss(widen(own), said[lessons.HINT], mean, std)
