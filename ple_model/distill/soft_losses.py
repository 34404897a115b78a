"""Losses against what a teacher says, by kind of task (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural
Network", section 2). Each is in the units of the task's own loss, so that the two may be mixed by a share:

- classes and brands: T^2 KL(teacher || student), both distributions at temperature T; T^2 keeps the size of the gradient;
- yes or no: the same of two outcomes. The task trains with a focal loss, of which a constant loses far less than of a log loss:
  the divergence is scaled by what a constant loses of either;
- amounts: the task's own loss to the teacher's value, in standard deviations of the student's labels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ple_model.context import LabelScaler
from ple_model.layers.precision import widen
from ple_model.losses import EPS, BrandTable, huber, mse, standardise
from ple_model.tasks import TaskSpec

CHUNK = 4096
"""Rows whose distributions over all brands are held at once."""


def entropy(p: float) -> float:
    """Of a yes-or-no outcome of probability p, in nats: what the log loss of the best constant is."""
    q = min(max(p, EPS), 1 - EPS)
    return -(q * math.log(q) + (1 - q) * math.log(1 - q))


def soft_binary(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """[n] T^2 KL of two outcomes from log-odds [n]; 0 where they are the same."""
    t, s = widen(teacher) / temperature, widen(student) / temperature
    p = torch.sigmoid(t)
    own = F.binary_cross_entropy_with_logits(t, p, reduction="none")
    return temperature**2 * (F.binary_cross_entropy_with_logits(s, p, reduction="none") - own)


def soft_classes(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """[n] T^2 KL(teacher || student) from raw outputs [n, K]; 0 where they differ by a constant a row."""
    t = F.log_softmax(widen(teacher) / temperature, dim=-1)
    s = F.log_softmax(widen(student) / temperature, dim=-1)
    return temperature**2 * (t.exp() * (t - s)).sum(dim=-1)


def soft_brands(teacher: Tensor, keys: Tensor, query: Tensor, brands: BrandTable, temperature: float) -> Tensor:
    """[n] the same over brands: teacher [n, Q] and query [n, Q'] are L2-normalised, keys [brands, Q] the teacher's, divided by
    its own temperature. Beyond `brands.candidates` brands, in training, over as many drawn by their frequency."""
    own = F.normalize(widen(brands.keys), dim=-1) / brands.temperature
    if len(own) > brands.candidates and brands.training:
        drawn = torch.multinomial(brands.log_q.exp(), brands.candidates, replacement=False)
        keys, own = keys[drawn], own[drawn]
    pairs = zip(torch.split(teacher, CHUNK), torch.split(query, CHUNK), strict=True)
    return torch.cat([soft_classes(widen(t) @ widen(keys).T, widen(q) @ own.T, temperature) for t, q in pairs])


def soft_amounts(spec: TaskSpec, teacher: Tensor, student: Tensor, scaler: LabelScaler | None, delta: float) -> Tensor:
    """[n] of the task's own loss between the student's standardised predictions [n] or [n, outputs] and the teacher's values on
    the scale of the label; of several outputs the mean."""
    target = standardise(teacher, scaler)
    values = huber(student, target, delta) if spec.loss == "huber" else mse(student, target)
    return values if values.dim() == 1 else values.flatten(1).mean(dim=1)
