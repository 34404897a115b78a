"""Evidential heads: how much a prediction is based on (Sensoy et al., NeurIPS 2018; Amini et al., NeurIPS 2020;
reference, "Evidential Deep Learning").

Parallel to the towers, on the task experts' outputs: Dirichlet for multiclass, Beta (a Dirichlet of two, class 1 positive) for
binary, Normal-Inverse-Gamma for regression, nothing for contrastive. Evidence by softplus. All heads are one padded product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.context import LabelScaler
from ple_model.layers.precision import widen
from ple_model.losses import label_mask, masked_mean, standardise
from ple_model.tasks import TaskSpec

NIG_FLOOR = 1e-6
"""Keeps nu and beta off 0 and alpha off 1, where the variances are infinite."""


@dataclass(frozen=True)
class EvidentialOutput:
    """Parameters of one task's evidential head, float32 (float64 of a float64 model).

    kind 'dirichlet' or 'beta': alpha [B, K]. kind 'nig': gamma, nu, alpha, beta [B] ([B, out_dim] for wider regressions).
    """

    kind: Literal["dirichlet", "beta", "nig"]
    alpha: Tensor
    gamma: Tensor | None = None
    nu: Tensor | None = None
    beta: Tensor | None = None

    @property
    def probability(self) -> Tensor:
        """Mean prediction: class probabilities alpha / S [B, K]; P(y = 1) [B] for 'beta'; gamma for 'nig'."""
        if self.gamma is not None:
            return self.gamma
        p = self.alpha / self.alpha.sum(-1, keepdim=True)
        return p[:, 1] if self.kind == "beta" else p

    @property
    def strength(self) -> Tensor:
        """S = sum alpha [B]; nu, the number of virtual observations of the mean, for 'nig'."""
        return self.alpha.sum(-1) if self.nu is None else self.nu

    @property
    def uncertainty(self) -> Tensor:
        """Vacuity K / S in (0, 1]; epistemic variance beta / (nu (alpha - 1)) for 'nig'."""
        if self.nu is None or self.beta is None:
            return self.alpha.shape[-1] / self.strength
        return self.beta / (self.nu * (self.alpha - 1))

    @property
    def aleatoric(self) -> Tensor:
        """Noise of the label itself: expected entropy of the class distribution in nats; beta / (alpha - 1) for 'nig'."""
        if self.beta is not None:
            return self.beta / (self.alpha - 1)
        total = self.alpha.sum(-1, keepdim=True)
        return (self.alpha / total * (torch.digamma(total + 1) - torch.digamma(self.alpha + 1))).sum(-1)


class EvidentialLayers(nn.Module):
    """Heads of all tasks that have one. `forward`: [B, tasks, dim] -> {task: EvidentialOutput}."""

    _rows: Tensor
    _index: Tensor

    def __init__(self, tasks: Mapping[str, TaskSpec], input_dim: int) -> None:
        super().__init__()
        self.specs = {n: t for n, t in tasks.items() if t.kind != "contrastive"}
        self.widths = {n: self._width(t) for n, t in self.specs.items()}
        total, widest = sum(self.widths.values()), max(self.widths.values(), default=0)
        bound = 1 / math.sqrt(input_dim)
        self.weight = nn.Parameter(torch.empty(total, input_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(total))
        # position of head row r in the padded [heads, widest] layout
        rows = [i * widest + j for i, w in enumerate(self.widths.values()) for j in range(w)]
        self.register_buffer("_rows", torch.tensor(rows, dtype=torch.long), persistent=False)
        index = [i for i, n in enumerate(tasks) if n in self.specs]
        self.register_buffer("_index", torch.tensor(index, dtype=torch.long), persistent=False)
        self._padded = (len(self.specs), widest)

    @staticmethod
    def _width(spec: TaskSpec) -> int:
        return {"binary": 2, "multiclass": spec.out_dim, "regression": 4 * spec.out_dim}[spec.kind]

    def forward(self, experts: Tensor) -> dict[str, EvidentialOutput]:
        if not self.specs:
            return {}
        heads, widest = self._padded
        dim = self.weight.shape[1]
        weight = self.weight.new_zeros(heads * widest, dim).index_copy(0, self._rows, self.weight).view(heads, widest, dim)
        bias = self.bias.new_zeros(heads * widest).index_copy(0, self._rows, self.bias).view(heads, 1, widest)
        raw = widen(torch.baddbmm(bias, experts.index_select(1, self._index).transpose(0, 1), weight.transpose(1, 2)))
        return {n: self._output(t, raw[i, :, : self.widths[n]]) for i, (n, t) in enumerate(self.specs.items())}

    @staticmethod
    def _output(spec: TaskSpec, raw: Tensor) -> EvidentialOutput:
        if spec.kind == "regression":
            gamma, nu, alpha, beta = raw.view(-1, 4, spec.out_dim).unbind(1)
            if spec.out_dim == 1:
                gamma, nu, alpha, beta = gamma[:, 0], nu[:, 0], alpha[:, 0], beta[:, 0]
            return EvidentialOutput(
                "nig", F.softplus(alpha) + 1 + NIG_FLOOR, gamma, F.softplus(nu) + NIG_FLOOR, F.softplus(beta) + NIG_FLOOR
            )
        return EvidentialOutput("beta" if spec.kind == "binary" else "dirichlet", F.softplus(raw) + 1)


def dirichlet_kl(alpha: Tensor) -> Tensor:
    """KL(Dir(alpha) || Dir(1)) over the last dimension, in nats."""
    k = alpha.shape[-1]
    total = alpha.sum(-1, keepdim=True)
    log_norm = torch.lgamma(total[..., 0]) - torch.lgamma(alpha).sum(-1) - math.lgamma(k)
    return log_norm + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(-1)


def dirichlet_loss(alpha: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """By row: (expected cross-entropy `digamma(S) - digamma(alpha_y)`, KL of the evidence for wrong classes) (Sensoy et al.
    2018, eq. 4 and 5 with alpha~ = y + (1 - y) alpha)."""
    classes = torch.arange(alpha.shape[-1], device=y.device)  # `one_hot` would look at the labels, and a GPU wait for it
    one_hot = (y.long().clamp_min(0)[..., None] == classes).to(alpha.dtype)
    expected = (one_hot * (torch.digamma(alpha.sum(-1, keepdim=True)) - torch.digamma(alpha))).sum(-1)
    return expected, dirichlet_kl(one_hot + (1 - one_hot) * alpha)


def nig_nll(gamma: Tensor, nu: Tensor, alpha: Tensor, beta: Tensor, y: Tensor) -> Tensor:
    """Negative log-likelihood of the Student-t that a NIG prior implies (Amini et al. 2020, eq. 8)."""
    omega = 2 * beta * (1 + nu)
    return (
        0.5 * torch.log(math.pi / nu) - alpha * torch.log(omega) + (alpha + 0.5) * torch.log((y - gamma) ** 2 * nu + omega)
        + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5)
    )  # fmt: skip


def evidential_loss(
    spec: TaskSpec, out: EvidentialOutput, y: Tensor, scaler: LabelScaler | None, kl_weight: float, nig_lambda: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(masked mean loss without KL, masked mean of `kl_weight` * KL, number of labels) of one task; `y` in original units."""
    mask = label_mask(spec, y)
    if out.kind == "nig":
        assert out.gamma is not None
        assert out.nu is not None
        assert out.beta is not None
        target = standardise(torch.where(mask, y, torch.zeros_like(y)), scaler)
        values = nig_nll(out.gamma, out.nu, out.alpha, out.beta, target)
        values = values + nig_lambda * (target - out.gamma).abs() * (2 * out.nu + out.alpha)
        mean, n = masked_mean(values, mask)
        return mean, torch.zeros_like(mean), n
    data, kl = dirichlet_loss(out.alpha, y)
    mean, n = masked_mean(data, mask)
    return mean, kl_weight * masked_mean(kl, mask)[0], n
