"""Sparse autoencoder over shared_concat: analysis only, never part of a prediction (reference, "SAE"; Bricken et al. 2023).

`z = ReLU(W_enc h + b_enc)`, `h_hat = W_dec z + b_dec`, on running-standardised, detached h. Also `topk` (Gao et al. 2024) and
`batchtopk` (Bussmann et al. 2024) with an auxiliary loss by which dead latents rebuild what the living ones missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ple_model.config import SaeConfig
from ple_model.layers.precision import widen
from ple_model.whole_batch import WholeBatch


@dataclass(frozen=True)
class SAEOutput:
    """latent [B, expansion * width]; x_standardised and reconstruction [B, width], both in standard deviations of
    shared_concat; pre_activation as latent, before ReLU and selection."""

    latent: Tensor
    reconstruction: Tensor
    x_standardised: Tensor
    pre_activation: Tensor


class SparseAutoencoder(nn.Module):
    """`forward(shared)` detaches its input. Running statistics and dead-latent counters move in training mode only."""

    mean: Tensor
    var: Tensor
    batches: Tensor
    idle_steps: Tensor
    threshold: Tensor

    MIN_STD = 1e-3
    """A constant dimension (an expert that always falls back) stays at 0 instead of dividing by 0."""
    MOMENTUM = 0.01

    def __init__(self, width: int, config: SaeConfig) -> None:
        super().__init__()
        self.config = config
        self.batch = WholeBatch()
        """In training: of which the rows are that come next."""
        self.n_latents = width * config.expansion
        bound = 1 / math.sqrt(width)
        self.w_enc = nn.Parameter(torch.empty(self.n_latents, width).uniform_(-bound, bound))
        self.b_enc = nn.Parameter(torch.zeros(self.n_latents))
        self.b_dec = nn.Parameter(torch.zeros(width))
        self.w_dec = None if config.tied_weights else nn.Parameter(F.normalize(self.w_enc.detach().T.clone(), dim=0))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.register_buffer("batches", torch.tensor(0, dtype=torch.long))
        self.register_buffer("idle_steps", torch.zeros(self.n_latents, dtype=torch.long))
        self.register_buffer("threshold", torch.tensor(0.0))

    @property
    def decoder(self) -> Tensor:
        """[width, latents]; column j is the direction that latent j writes."""
        return self.w_enc.T if self.w_dec is None else self.w_dec

    @property
    def std(self) -> Tensor:
        return self.var.sqrt().clamp_min(self.MIN_STD)

    @torch.no_grad()
    def _update_statistics(self, x: Tensor) -> None:
        """Plain averages over the first batches, then an exponential average. A batch with a NaN or Inf changes nothing: it
        would stay in the averages for good."""
        batches = self.batches + 1
        rate = torch.clamp(1 / batches.float(), min=self.MOMENTUM)
        mean, spread = self.batch.moments(x)
        difference = mean - self.mean
        # the variance of a mixture of the old and the new distribution, the first batch replacing the start
        mixed = torch.where(batches > 1, rate * (1 - rate), 0.0) * difference**2
        var = (1 - rate) * self.var + rate * spread + mixed
        finite = torch.isfinite(var).all() & torch.isfinite(mean).all()
        self.batches.copy_(torch.where(finite, batches, self.batches))
        self.var.copy_(torch.where(finite, var, self.var))
        self.mean.copy_(torch.where(finite, self.mean + rate * difference, self.mean))

    def standardise(self, shared: Tensor) -> Tensor:
        return (shared - self.mean) / self.std

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised [B, width] -> (latent, pre-activation)."""
        pre = F.linear(x, self.w_enc, self.b_enc)
        z = F.relu(pre)
        k = min(self.config.k, self.n_latents)
        if self.config.activation == "topk":
            values, index = z.topk(k, dim=-1)
            z = torch.zeros_like(z).scatter(-1, index, values)
        elif self.config.activation == "batchtopk":
            if self.training:
                z, smallest = self.batch.largest(z, k)
                self._update_threshold(smallest)
            else:  # a fixed threshold, so that a row does not depend on its neighbours
                z = torch.where(z > self.threshold, z, torch.zeros_like(z))
        return z, pre

    @torch.no_grad()
    def _update_threshold(self, kept: Tensor) -> None:
        """`kept`: the smallest latent of this batch that was kept."""
        smallest = kept.float().clamp_min(0)
        moved = torch.where(self.batches <= 1, smallest, 0.99 * self.threshold + 0.01 * smallest)
        self.threshold.copy_(torch.where(torch.isfinite(moved), moved, self.threshold))

    def decode(self, latent: Tensor) -> Tensor:
        """Latents -> standardised reconstruction [B, width]."""
        return F.linear(latent, self.decoder, self.b_dec)

    def forward(self, shared: Tensor) -> SAEOutput:
        """shared [B, width] -> `SAEOutput`. Float32 throughout: the loss sums squares over hundreds of dimensions."""
        with torch.autocast(shared.device.type, enabled=False):
            shared = widen(shared.detach())
            if self.training:
                self._update_statistics(shared)
            x = self.standardise(shared)
            z, pre = self.encode(x)
            if self.training:
                with torch.no_grad():
                    fired, sound = self.batch.seen((z > 0).any(0), torch.isfinite(pre).all())
                    idle = torch.where(fired, torch.zeros_like(self.idle_steps), self.idle_steps + 1)
                    self.idle_steps.copy_(torch.where(sound, idle, self.idle_steps))
            return SAEOutput(z, self.decode(z), x, pre)

    def loss(self, out: SAEOutput) -> Tensor:
        """Sums over a row, mean over rows: `||x - x_hat||^2 + l1 ||z||_1`, or with the AuxK term for topk and batchtopk."""
        residual = out.x_standardised - out.reconstruction
        error = (residual**2).sum(-1).mean()
        if self.config.activation == "relu":
            return error + self.config.l1_lambda * out.latent.sum(-1).mean()
        dead = self.idle_steps >= self.config.dead_steps
        values, index = out.pre_activation.masked_fill(~dead, float("-inf")).topk(
            min(self.config.aux_k, self.n_latents), dim=-1
        )
        z = torch.zeros_like(out.latent).scatter(-1, index, F.relu(values))
        rebuilt = F.linear(z, self.decoder)
        auxiliary = ((rebuilt - residual.detach()) ** 2).sum(-1).mean()
        return error + torch.where(dead.any(), self.config.aux_weight * auxiliary, torch.zeros_like(auxiliary))

    def edit(self, shared: Tensor, clamp: dict[int, float]) -> Tensor:
        """shared with some latents set to given values: `h + std * W_dec (z' - z)`; what the SAE does not explain stays."""
        z, _ = self.encode(self.standardise(widen(shared)))
        index = list(clamp)
        change = z.new_tensor([clamp[i] for i in index]) - z[:, index]
        return shared + (change @ self.decoder[:, index].T * self.std).to(shared.dtype)

    def reconstruct(self, shared: Tensor) -> Tensor:
        """The reconstruction of shared in its own units."""
        z, _ = self.encode(self.standardise(widen(shared)))
        return (self.decode(z) * self.std + self.mean).to(shared.dtype)

    @torch.no_grad()
    def project_(self) -> None:
        """Untied decoder columns back to unit norm: otherwise L1 is lowered by shrinking z and growing W_dec."""
        if self.w_dec is not None:
            self.w_dec.div_(self.w_dec.norm(dim=0, keepdim=True).clamp_min(1e-8))
