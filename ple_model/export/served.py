"""The model as it is served: tensors in, one calibrated answer a task out, nothing of it in Python objects.

What `ple predict` writes of a row, without its words: probabilities after calibration, classes and brands as distributions,
amounts as means in their own unit. The onlookers (sparse autoencoder, evidential heads) stay out: no answer depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.calibration import EPS, CalibrationMap
from ple_model.export.signature import PRESENT, GraphSignature
from ple_model.model import PLEClusterAdaTT


class ServedModel(nn.Module):
    """`forward(*inputs)`: tensors in the order of `signature.inputs` -> outputs in that of `signature.outputs`, float32."""

    def __init__(self, model: PLEClusterAdaTT, calibration: Mapping[str, CalibrationMap], signature: GraphSignature) -> None:
        super().__init__()
        self.model = model
        self.calibration = dict(calibration)
        self.names = [i.name for i in signature.inputs]
        self.tasks = [o.name for o in signature.outputs]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.names, inputs, strict=True))
        presence = {k.removeprefix(PRESENT): v for k, v in given.items() if k.startswith(PRESENT)}
        fields: dict[str, Any] = {k: v for k, v in given.items() if not k.startswith(PRESENT)}
        batch = PLEClusterInput(**fields, presence=presence, parts=self.model.context.parts)
        output = self.model.decode(self.model.encode(batch), sae=False, evidential=False)
        return tuple(self._answer(task, output.predictions[task]) for task in self.tasks)

    def _answer(self, task: str, value: Tensor) -> Tensor:
        kind = self.model.tasks[task].kind
        if kind == "binary":
            return calibrated(self.calibration.get(task), value.float())
        if kind == "contrastive":
            return torch.softmax(self.model.brand_logits(value), dim=1).float()
        return (self.model.to_units(task, value) if kind == "regression" else value).float()


def calibrated(found: CalibrationMap | None, p: Tensor) -> Tensor:
    """A calibration map in torch: as `CalibrationMap.__call__`, in single precision."""
    if found is None:
        return p
    q = p.clamp(EPS, 1 - EPS)
    if found.form == "identity":
        return q
    return torch.sigmoid(found.a * torch.log(q) - found.b * torch.log1p(-q) + found.c)


def tensors(signature: GraphSignature, batch: PLEClusterInput) -> tuple[Tensor, ...]:
    """The inputs of a batch in the order of the signature."""
    key = {i.name: i.name.removeprefix(PRESENT) for i in signature.inputs}
    found = {n: batch.present(k) if n.startswith(PRESENT) else getattr(batch, k) for n, k in key.items()}
    return tuple(found[i.name].to(getattr(torch, i.dtype)).contiguous() for i in signature.inputs)
