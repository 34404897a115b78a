"""Sections of the configuration that say how it learns, who looks on, who teaches, and what may not be given as a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ple_model.arguments import MAX_SEED
from ple_model.config.fields import key, require
from ple_model.errors import UserError, did_you_mean
from ple_model.searchable import Between, OneOf
from ple_model.tasks import GROUP_STRENGTH


@dataclass(frozen=True)
class AdattConfig:
    enabled: bool = key(True, "Reweight tasks by how far the others' gradients agree with them.")
    warmup_epochs: int = key(0, "Epochs before adaTT acts; gradients are measured from the start.", low=0)
    freeze_epoch: int = key(1, "adaTT coefficients and CGC gates become constant at the end of this epoch.")
    grad_interval: int = key(10, "Steps between gradient measurements; at least four an epoch are taken.", high=2**31)
    ema_decay: float = key(0.9, "Decay of the moving average of the gradient vectors.")
    negative_transfer_threshold: float = key(-0.1, "A pair whose affinity is below this transfers nothing and is flagged.")
    intra_strength: dict[str, float] = key(dict(GROUP_STRENGTH), "Transfer strength within a task group.")
    inter_strength: float = key(0.3, "Transfer strength between task groups.", search=Between(0.0, 0.6))

    def __post_init__(self) -> None:
        require(self.grad_interval >= 1, "adatt.grad_interval", self.grad_interval, "it must be at least 1")
        require(0 <= self.ema_decay < 1, "adatt.ema_decay", self.ema_decay, "it must be in [0, 1)")
        require(self.warmup_epochs >= 0, "adatt.warmup_epochs", self.warmup_epochs, "it must not be negative")
        require(self.freeze_epoch >= 1, "adatt.freeze_epoch", self.freeze_epoch, "epochs count from 1")
        require(
            self.freeze_epoch >= self.warmup_epochs, "adatt.freeze_epoch", self.freeze_epoch,
            f"it must not be before adatt.warmup_epochs ({self.warmup_epochs})",
        )  # fmt: skip
        require(
            -1 <= self.negative_transfer_threshold <= 0, "adatt.negative_transfer_threshold",
            self.negative_transfer_threshold, "it must be in [-1, 0]",
        )  # fmt: skip
        for group in self.intra_strength:
            if group not in GROUP_STRENGTH:
                raise UserError(f"adatt.intra_strength.{group}: no such task group{did_you_mean(group, GROUP_STRENGTH)}")


@dataclass(frozen=True)
class SaeConfig:
    enabled: bool = key(True, "Train the sparse autoencoder on shared_concat (detached, analysis only).")
    expansion: int = key(4, "Latents per dimension of shared_concat.")
    activation: Literal["relu", "topk", "batchtopk"] = key("relu", "Sparsity: ReLU with L1, TopK, or BatchTopK.")
    k: int = key(32, "Active latents a row for topk and batchtopk.")
    l1_lambda: float = key(0.001, "L1 coefficient of the ReLU form.")
    tied_weights: bool = key(True, "W_dec = W_enc^T.")
    loss_weight: float = key(0.01, "Share of the SAE loss in the reported total.")
    learning_rate: float = key(1e-3, "Learning rate of the SAE's own optimizer group.")
    grad_clip: float = key(1.0, "Clipping of the SAE's own gradient.")
    aux_k: int = key(64, "Dead latents that reconstruct the residual (topk, batchtopk).", low=0)
    aux_weight: float = key(1 / 32, "Weight of that auxiliary loss (Gao et al. 2024).")
    dead_steps: int = key(200, "Steps without activation after which a latent counts as dead.", high=2**31)

    def __post_init__(self) -> None:
        require(self.expansion >= 1, "sae.expansion", self.expansion, "it must be at least 1")
        require(self.k >= 1, "sae.k", self.k, "it must be at least 1")


@dataclass(frozen=True)
class EvidentialConfig:
    enabled: bool = key(True, "Train the evidential heads.")
    kl_lambda: float = key(0.01, "Weight of the KL term towards no evidence.")
    annealing_epochs: int = key(10, "Epochs over which the KL term ramps up.")
    nig_lambda: float = key(0.01, "Weight of the NIG evidence regulariser (Amini et al. 2020).")
    loss_weight: float = key(0.1, "Weight of the evidential sum in the total loss.")
    detach_input: bool = key(True, "Keep the heads' gradient out of the model.")

    def __post_init__(self) -> None:
        require(self.annealing_epochs >= 1, "evidential.annealing_epochs", self.annealing_epochs, "it must be at least 1")


@dataclass(frozen=True)
class DistillationConfig:
    enabled: bool = key(False, "Learn from a teacher's outputs beside the labels; `ple distill` switches it on.")
    share: float = key(0.5, "Share of the teacher in a task's loss; the labels have the rest. 1: the teacher alone.")
    temperature: float = key(2.0, "What the raw outputs of classes, yes-or-no tasks and brands are divided by on both sides.")
    hint: Literal["off", "shared", "groups"] = key(
        "off", "Copy the teacher's inner representation too, through a linear map: none, shared_concat or the group encoders'."
    )
    hint_weight: float = key(0.1, "Weight of the hint's loss, whose value is 1 where the map says no more than the mean.")

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, "distillation.share", self.share, "it must be in (0, 1]")
        require(self.temperature >= 1, "distillation.temperature", self.temperature, "it must be at least 1")
        require(self.hint_weight > 0, "distillation.hint_weight", self.hint_weight, "it must be positive")


@dataclass(frozen=True)
class TrainingConfig:
    learning_rate: float = key(5e-4, "AdamW learning rate.", search=Between(1e-4, 1e-2, log=True, first=1))
    weight_decay: float = key(0.01, "AdamW weight decay.", search=Between(1e-5, 0.1, log=True, first=8))
    batch_size: int | None = key(
        None,
        "Rows a step; null: min(16384, max(256, n / 32)).",
        low=2,
        high=2**24,
        search=OneOf((64, 128, 256, 512), first=5),
    )
    grad_clip: float = key(5.0, "Clipping of the global gradient norm.", search=Between(0.5, 20.0, log=True))
    schedule: Literal["warm_restarts", "cosine"] = key(
        "warm_restarts", "Learning rate: cosine with warm restarts, or one cosine a phase that ends at zero with it."
    )
    phase2_rate: float = key(1.0, "Factor on every learning rate in phase 2.", search=Between(0.01, 1.0, log=True))
    scheduler_t0: int = key(10, "First period of the cosine schedule with warm restarts, in epochs.")
    scheduler_t_mult: int = key(2, "Factor between periods.")
    phase1_epochs: int = key(15, "Epochs of phase 1 (everything trains).", search=Between(4, 24))
    phase2_epochs: int = key(8, "Epochs of phase 2 (shared experts frozen).", low=0)
    freeze_shared_in_phase2: bool = key(True, "Shared experts in eval mode and out of the optimizer in phase 2.")
    max_epochs: int = key(100, "Hard limit over both phases.")
    patience: int = key(7, "Early stopping: epochs a phase without a better validation mean.")
    loss_weighting: Literal["uncertainty", "fixed"] = key("uncertainty", "Kendall weighting or fixed weights.")
    log_var_limit: float = key(4.0, "s_k is projected onto [-limit, limit] after each step.")
    amp: Literal["auto", "off", "fp16", "bf16"] = key("auto", "Mixed precision; auto: fp16 on GPU, off on CPU.")
    brand_candidates: int = key(2048, "All brands are candidates up to this number, beyond it they are sampled.", high=2**24)
    temperature: float = key(0.07, "InfoNCE temperature of brand_prediction.", search=Between(0.02, 0.5, log=True))
    brand_blend: Literal["none", "validation"] = key(
        "none",
        "How much of what the network says of brands counts beside how often each is bought: all, or the share that helps on "
        "the validation rows.",
    )
    expert_supervision: float = key(
        0.0,
        "Weight of a second loss of every task, of a linear map that reads all experts ungated, in training alone; 0 switches "
        "it off.",
        low=0,
    )
    focal_gamma: float = key(2.0, "Focusing parameter of the focal loss.", search=Between(0.0, 3.0))
    huber_delta: float = key(1.0, "Width of the quadratic part of the Huber loss, in standard deviations of the label.")
    seed: int = key(0, "Seed of initialisation, shuffling and dropout.", low=0, high=MAX_SEED)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "phase2_rate", "grad_clip", "temperature", "huber_delta", "log_var_limit"):
            require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "it must be positive")
        for name in ("phase1_epochs", "max_epochs", "patience", "scheduler_t0", "scheduler_t_mult"):
            require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "it must be at least 1")
        require(self.expert_supervision >= 0, "training.expert_supervision", self.expert_supervision, "it must not be negative")
        require(self.phase2_epochs >= 0, "training.phase2_epochs", self.phase2_epochs, "it must not be negative")
        if self.batch_size is not None:
            require(self.batch_size >= 2, "training.batch_size", self.batch_size, "it must be at least 2")


@dataclass(frozen=True)
class ExplanationsConfig:
    barred: list[str] = key(
        ["age", "sex", "region"],
        "What may not be given as a reason: columns, their groups, inputs, or the kinds age, sex and region.",
    )
    held: list[str] = key(
        ["bank_decided", "health"],
        "What no change of facts may move, beside what nobody can change: columns, their groups, or the kinds bank_decided "
        "(limits of credit, what was shown to the customer) and health.",
    )
    sensitive: list[str] = key(
        ["health", "belief", "sexual life", "genes and biometrics", "criminal record", "origin"],
        "What is marked wherever it is spoken of, as what may be sensitive: columns, groups, or kinds of sensitive facts.",
    )
