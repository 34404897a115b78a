"""Typed, strict configuration: one YAML, the reference's sections, every key a dataclass field with its help text.

A config is a preset (`configs/<name>.yaml`), then a user's file, then `key=value` overrides, merged in that order. Unknown
keys, wrong types and impossible values are `UserError`s that name the key. A mapping entry set to null is removed (for example
`shared_experts.raw_scale: null`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import yaml

from ple_model.arguments import MAX_SEED, shown
from ple_model.errors import UserError, did_you_mean
from ple_model.experts.base import ExpertParams, require_valid
from ple_model.registry import expert_class
from ple_model.searchable import SEARCH, Between, OneOf, Search
from ple_model.tasks import GROUP_STRENGTH, HMM_MODES, LOGIT_TRANSFERS, TASKS, TaskSpec
from ple_model.yaml_text import MAX_DEPTH, parse_yaml

PRESETS = ("v3_14", "v3_15", "small", "production")


def key(
    default: Any, help: str, low: int | float | None = None, high: int | float | None = None, search: Search | None = None
) -> Any:
    """A config field with its help text, its bounds where they are not those of its kind (`BOUNDS`), and what it may be
    searched over (`searchable`)."""
    metadata = {"help": help, "low": low, "high": high, SEARCH: search}
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


BOUNDS: dict[type, tuple[float, float]] = {int: (1, 65_536), float: (-1e6, 1e6)}
"""Least and largest value of a key that names no bounds of its own: integers are widths and numbers of something."""


def shown_key(value: object) -> str:
    """A key of a mapping as it was written, shortened."""
    return value if isinstance(value, str) and len(value) <= 60 else shown(value)


def _require(condition: bool, name: str, value: object, rule: str) -> None:
    if not condition:
        raise UserError(f"{name}: {shown(value)} is not valid, {rule}")


@dataclass(frozen=True)
class GlobalConfig:
    n_clusters: int = key(20, "Number of GMM clusters; cluster_probs has this width.")
    dropout: float = key(0.2, "Dropout of group encoders and towers.", search=Between(0.0, 0.5, first=6))
    expert_dropout: float = key(0.1, "Dropout inside the shared experts.", search=Between(0.0, 0.5, first=7))

    def __post_init__(self) -> None:
        _require(self.n_clusters >= 1, "global.n_clusters", self.n_clusters, "it must be at least 1")
        for name in ("dropout", "expert_dropout"):
            _require(0 <= getattr(self, name) < 1, f"global.{name}", getattr(self, name), "it must be in [0, 1)")


@dataclass(frozen=True)
class CgcConfig:
    bias_high: float = key(1.0, "Initial gate bias of a task's domain experts.")
    bias_low: float = key(-1.0, "Initial gate bias of the other experts.")
    dim_normalize: bool = key(True, "Scale block i by sqrt(mean_dim / dim_i), so that equal weight means equal norm.")
    entropy_lambda: float = key(
        0.01, "Weight of the gate entropy term; 0 switches it off.", search=Between(1e-4, 0.1, log=True)
    )
    temperature: float = key(1.0, "Softmax temperature of the gates.", search=Between(0.5, 2.0, log=True))

    def __post_init__(self) -> None:
        _require(self.entropy_lambda >= 0, "cgc.entropy_lambda", self.entropy_lambda, "it must not be negative")
        _require(self.temperature > 0, "cgc.temperature", self.temperature, "it must be positive")


@dataclass(frozen=True)
class HmmModeConfig:
    target_tasks: list[str] = key([], "Tasks that read this mode.")


def _default_modes() -> dict[str, HmmModeConfig]:
    return {m: HmmModeConfig([t.name for t in TASKS.values() if t.hmm_mode == m]) for m in HMM_MODES}


@dataclass(frozen=True)
class HmmConfig:
    input_dim: int = key(16, "Width of an HMM vector: 10 state probabilities and 6 dynamics.")
    proj_dim: int = key(32, "Width of a projected HMM vector.", search=OneOf((16, 32, 64)))
    modes: dict[str, HmmModeConfig] = field(
        default_factory=_default_modes, metadata={"help": "The three modes and the tasks that read them."}
    )

    def __post_init__(self) -> None:
        _require(self.input_dim == 16, "hmm_triple_mode.input_dim", self.input_dim, "the input contract fixes it at 16")
        _require(self.proj_dim >= 1, "hmm_triple_mode.proj_dim", self.proj_dim, "it must be at least 1")
        seen: dict[str, str] = {}
        for mode, m in self.modes.items():
            if mode not in HMM_MODES:
                raise UserError(f"hmm_triple_mode.modes.{mode}: no such mode{did_you_mean(mode, HMM_MODES)}")
            for task in m.target_tasks:
                if task not in TASKS:
                    raise UserError(f"hmm_triple_mode.modes.{mode}.target_tasks: no task '{task}'{did_you_mean(task, TASKS)}")
                if task in seen:
                    raise UserError(f"hmm_triple_mode: task '{task}' is in two modes, '{seen[task]}' and '{mode}'")
                seen[task] = mode


@dataclass(frozen=True)
class TaskOverride:
    enabled: bool | None = key(None, "Switch the task on or off.")
    weight: float | None = key(None, "Fixed weight w_k of the task's loss.")
    focal_alpha: float | None = key(None, "Focal loss weight of the positive class.")
    domain_experts: list[str] | None = key(None, "Experts that the task's gate prefers at the start.")
    gate_bias: dict[str, float] = key({}, "Initial gate bias by expert, instead of bias_high or bias_low.")


@dataclass(frozen=True)
class TaskExpertsConfig:
    use_group_encoder: bool = key(True, "GroupTaskExpertBasket (v3.2); false: the legacy ClusterTaskExpertBasket.")
    group_hidden_dim: int = key(128, "First width of a group encoder.", search=OneOf((64, 96, 128, 192)))
    group_output_dim: int = key(64, "Second width of a group encoder.", search=OneOf((32, 64, 96)))
    cluster_embed_dim: int = key(32, "Width of the cluster embedding.")
    output_dim: int = key(32, "Width of a task expert's output, the tower's input.", search=OneOf((16, 32, 64), first=4))
    legacy_hidden_dim: int = key(15, "Hidden width of a legacy sub-head (per task and cluster).")
    enabled_tasks: list[str] | None = key(
        None,
        "The model's tasks, in the order of its gates; null: those that this release switches on. A run keeps its own list.",
    )
    tasks: dict[str, TaskOverride] = key({}, "Overrides by task.")

    def __post_init__(self) -> None:
        for i, name in enumerate(self.enabled_tasks or ()):
            if name not in TASKS:
                raise UserError(f"task_experts.enabled_tasks[{i}]: no task '{shown_key(name)}'{did_you_mean(name, TASKS)}")
            if name in (self.enabled_tasks or ())[:i]:
                raise UserError(f"task_experts.enabled_tasks[{i}]: task '{name}' is given twice")
        for name in ("group_hidden_dim", "group_output_dim", "cluster_embed_dim", "output_dim", "legacy_hidden_dim"):
            _require(getattr(self, name) >= 1, f"task_experts.{name}", getattr(self, name), "it must be at least 1")
        for name, o in self.tasks.items():
            if name not in TASKS:
                raise UserError(f"task_experts.tasks.{name}: no such task{did_you_mean(name, TASKS)}")
            if o.weight is not None:
                _require(o.weight > 0, f"task_experts.tasks.{name}.weight", o.weight, "it must be positive")
            if o.focal_alpha is not None:
                _require(0 < o.focal_alpha < 1, f"task_experts.tasks.{name}.focal_alpha", o.focal_alpha, "it must be in (0, 1)")


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
        _require(self.grad_interval >= 1, "adatt.grad_interval", self.grad_interval, "it must be at least 1")
        _require(0 <= self.ema_decay < 1, "adatt.ema_decay", self.ema_decay, "it must be in [0, 1)")
        _require(self.warmup_epochs >= 0, "adatt.warmup_epochs", self.warmup_epochs, "it must not be negative")
        _require(self.freeze_epoch >= 1, "adatt.freeze_epoch", self.freeze_epoch, "epochs count from 1")
        _require(
            self.freeze_epoch >= self.warmup_epochs, "adatt.freeze_epoch", self.freeze_epoch,
            f"it must not be before adatt.warmup_epochs ({self.warmup_epochs})",
        )  # fmt: skip
        _require(
            -1 <= self.negative_transfer_threshold <= 0, "adatt.negative_transfer_threshold",
            self.negative_transfer_threshold, "it must be in [-1, 0]",
        )  # fmt: skip
        for group in self.intra_strength:
            if group not in GROUP_STRENGTH:
                raise UserError(f"adatt.intra_strength.{group}: no such task group{did_you_mean(group, GROUP_STRENGTH)}")


@dataclass(frozen=True)
class TransferEdge:
    source: str = key("", "Task whose prediction is handed on.")
    target: str = key("", "Task whose tower receives it.")
    type: Literal["sequential", "inverse", "feature"] = key("feature", "What enters: p, 1 - p, or the output vector.")


@dataclass(frozen=True)
class RelationshipsConfig:
    transfer_strength: float = key(0.5, "alpha: strength of every transfer edge.", search=Between(0.0, 1.0))
    detach_source: bool = key(True, "Stop the target's gradient at the source's prediction.")
    transfers: list[TransferEdge] = field(
        default_factory=lambda: [TransferEdge(s, t, typing.cast(Any, k)) for s, t, k in LOGIT_TRANSFERS],
        metadata={"help": "Edges of the transfer DAG."},
    )

    def __post_init__(self) -> None:
        _require(
            self.transfer_strength >= 0,
            "task_relationships.transfer_strength",
            self.transfer_strength,
            "it must not be negative",
        )
        seen: set[tuple[str, str]] = set()
        for i, e in enumerate(self.transfers):
            for end in (e.source, e.target):
                if end not in TASKS:
                    raise UserError(f"task_relationships.transfers[{i}]: no task '{end}'{did_you_mean(end, TASKS)}")
            if (e.source, e.target) in seen:
                raise UserError(f"task_relationships.transfers: the edge {e.source} -> {e.target} is given twice")
            seen.add((e.source, e.target))
            if e.type in ("sequential", "inverse") and TASKS[e.source].kind != "binary":
                raise UserError(
                    f"task_relationships.transfers[{i}].type: '{e.type}' needs a binary source, "
                    f"'{e.source}' is {TASKS[e.source].kind}; did you mean 'feature'?"
                )


@dataclass(frozen=True)
class TowersConfig:
    hidden_dims: list[int] = key([64, 32], "Hidden widths of a tower.", search=OneOf(([32, 16], [64, 32], [128, 64])))

    def __post_init__(self) -> None:
        _require(
            len(self.hidden_dims) >= 1 and min(self.hidden_dims) >= 1, "task_towers.hidden_dims", self.hidden_dims,
            "it needs at least one width of at least 1",
        )  # fmt: skip


@dataclass(frozen=True)
class DirectPathConfig:
    enabled: bool = key(False, "Add a direct path from the columns to every task's raw output (not in the reference).")
    start: Literal["random", "fitted"] = key(
        "random", "Where its linear map starts: at random, or as fitted to the training rows before the first step."
    )
    hidden_dims: list[int] = key([128, 64], "Hidden widths of its small network; empty: the linear map alone.")
    dropout: float = key(0.3, "Dropout of its small network.", search=Between(0.0, 0.7))
    column_dropout: float = key(0.0, "Share of columns that the linear map goes without in a training step.")
    path_dropout: float = key(
        0.0,
        "Share of training rows that go without the path: the experts must answer them alone.",
        search=Between(0.0, 0.5),
    )
    rate: float = key(0.5, "Factor on training.learning_rate for the linear map; 0: it stays as fitted.", low=0.0)
    ridge: float = key(
        0.03,
        "Penalty on the squared distance of the linear map from zero, or from what was fitted; a part of the loss.",
        low=0.0,
    )
    bends: int = key(0, "Columns a task may bend beside the fitted map; 0: none.", low=0)
    bend_pieces: int = key(10, "Linear pieces that the range of such a column is cut into.")
    blend: Literal["none", "validation"] = key(
        "none",
        "How much of what all else adds to the linear map a task takes: all, or the share that helps on the validation rows.",
    )

    def __post_init__(self) -> None:
        for name in ("dropout", "column_dropout", "path_dropout"):
            _require(0 <= getattr(self, name) < 1, f"direct_path.{name}", getattr(self, name), "it must be in [0, 1)")
        _require(self.bend_pieces >= 2, "direct_path.bend_pieces", self.bend_pieces, "it must be at least 2")
        rule = "it must be 0 where direct_path.start is random: bends are fitted"
        _require(self.bends == 0 or self.start == "fitted", "direct_path.bends", self.bends, rule)
        rule = "it must be positive where direct_path.start is random"
        _require(self.rate > 0 or (self.rate == 0 and self.start == "fitted"), "direct_path.rate", self.rate, rule)


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
        _require(self.expansion >= 1, "sae.expansion", self.expansion, "it must be at least 1")
        _require(self.k >= 1, "sae.k", self.k, "it must be at least 1")


@dataclass(frozen=True)
class EvidentialConfig:
    enabled: bool = key(True, "Train the evidential heads.")
    kl_lambda: float = key(0.01, "Weight of the KL term towards no evidence.")
    annealing_epochs: int = key(10, "Epochs over which the KL term ramps up.")
    nig_lambda: float = key(0.01, "Weight of the NIG evidence regulariser (Amini et al. 2020).")
    loss_weight: float = key(0.1, "Weight of the evidential sum in the total loss.")
    detach_input: bool = key(True, "Keep the heads' gradient out of the model.")

    def __post_init__(self) -> None:
        _require(self.annealing_epochs >= 1, "evidential.annealing_epochs", self.annealing_epochs, "it must be at least 1")


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
        _require(0 < self.share <= 1, "distillation.share", self.share, "it must be in (0, 1]")
        _require(self.temperature >= 1, "distillation.temperature", self.temperature, "it must be at least 1")
        _require(self.hint_weight > 0, "distillation.hint_weight", self.hint_weight, "it must be positive")


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
    focal_gamma: float = key(2.0, "Focusing parameter of the focal loss.", search=Between(0.0, 3.0))
    huber_delta: float = key(1.0, "Width of the quadratic part of the Huber loss, in standard deviations of the label.")
    seed: int = key(0, "Seed of initialisation, shuffling and dropout.", low=0, high=MAX_SEED)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "phase2_rate", "grad_clip", "temperature", "huber_delta", "log_var_limit"):
            _require(getattr(self, name) > 0, f"training.{name}", getattr(self, name), "it must be positive")
        for name in ("phase1_epochs", "max_epochs", "patience", "scheduler_t0", "scheduler_t_mult"):
            _require(getattr(self, name) >= 1, f"training.{name}", getattr(self, name), "it must be at least 1")
        _require(self.phase2_epochs >= 0, "training.phase2_epochs", self.phase2_epochs, "it must not be negative")
        if self.batch_size is not None:
            _require(self.batch_size >= 2, "training.batch_size", self.batch_size, "it must be at least 2")


@dataclass(frozen=True)
class ExplanationsConfig:
    barred: list[str] = key(
        ["age", "sex", "region"],
        "What may not be given as a reason: columns, their groups, inputs, or the kinds age, sex and region.",
    )


@dataclass(frozen=True)
class Config:
    """The whole configuration. `shared_experts` keeps its order: it fixes the order of blocks in shared_concat."""

    global_: GlobalConfig = field(default_factory=GlobalConfig)
    shared_experts: dict[str, ExpertParams] = field(default_factory=dict)
    cgc: CgcConfig = field(default_factory=CgcConfig)
    hmm_triple_mode: HmmConfig = field(default_factory=HmmConfig)
    task_experts: TaskExpertsConfig = field(default_factory=TaskExpertsConfig)
    adatt: AdattConfig = field(default_factory=AdattConfig)
    task_relationships: RelationshipsConfig = field(default_factory=RelationshipsConfig)
    task_towers: TowersConfig = field(default_factory=TowersConfig)
    direct_path: DirectPathConfig = field(default_factory=DirectPathConfig)
    sae: SaeConfig = field(default_factory=SaeConfig)
    evidential: EvidentialConfig = field(default_factory=EvidentialConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    explanations: ExplanationsConfig = field(default_factory=ExplanationsConfig)

    def __post_init__(self) -> None:
        if not self.shared_experts:
            raise UserError("shared_experts: at least one expert is needed")
        # the list stands in the config from here on: what a later release switches on is no task of this one
        listed = dataclasses.replace(self.task_experts, enabled_tasks=self._enabled())
        object.__setattr__(self, "task_experts", listed)
        for name, p in self.shared_experts.items():
            _require(p.output_dim >= 1, f"shared_experts.{name}.output_dim", p.output_dim, "it must be at least 1")
            require_valid(name, p)
        if not self.tasks:
            raise UserError("task_experts.tasks: every task is switched off; at least one is needed")
        for task, o in self.task_experts.tasks.items():
            for name, experts in (("domain_experts", o.domain_experts or []), ("gate_bias", list(o.gate_bias))):
                for expert in experts:
                    if expert not in self.shared_experts:
                        raise UserError(
                            f"task_experts.tasks.{task}.{name}: no expert '{expert}'{did_you_mean(expert, self.shared_experts)}"
                        )

    def _enabled(self) -> list[str]:
        """The list of tasks with each task's own `enabled` applied; what a switch adds to a list that is given stands last."""
        listed, switch = self.task_experts.enabled_tasks, {n: o.enabled for n, o in self.task_experts.tasks.items()}
        if listed is None:
            return [n for n, spec in TASKS.items() if (spec.enabled if switch.get(n) is None else switch[n])]
        added = [n for n in TASKS if switch.get(n) and n not in listed]
        return [*(n for n in listed if switch.get(n) is not False), *added]

    @property
    def tasks(self) -> dict[str, TaskSpec]:
        """The tasks of this config in its own order, with its overrides and HMM routing applied."""
        mode_of = {t: m for m, c in self.hmm_triple_mode.modes.items() for t in c.target_tasks}
        out: dict[str, TaskSpec] = {}
        for name in self.task_experts.enabled_tasks or ():
            spec, o = TASKS[name], self.task_experts.tasks.get(name, TaskOverride())
            experts = spec.domain_experts if o.domain_experts is None else tuple(o.domain_experts)
            out[name] = dataclasses.replace(
                spec,
                enabled=True,
                weight=spec.weight if o.weight is None else o.weight,
                focal_alpha=spec.focal_alpha if o.focal_alpha is None else o.focal_alpha,
                domain_experts=tuple(e for e in experts if e in self.shared_experts),
                hmm_mode=typing.cast(Any, mode_of.get(name, "behavior")),
            )
        return out

    @property
    def shared_dim(self) -> int:
        """Width of shared_concat."""
        return sum(p.output_dim for p in self.shared_experts.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict with the YAML's section names."""
        plain = dataclasses.asdict(self)
        return {"global" if k == "global_" else k: v for k, v in plain.items()}

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


T = TypeVar("T")


def _convert(value: Any, kind: Any, name: str, about: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """`value` as the annotated type `kind`, within the bounds of the field's metadata `about`; `UserError` names the key."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        inner = [a for a in args if a is not type(None)]
        return _convert(value, inner[0], name, about)
    if origin is Literal:
        switch = {False: "off", True: "on"}.get(value) if isinstance(value, bool) else None
        if switch in args:  # YAML 1.1 reads a bare off or on as a truth value
            return switch
        if value not in args:
            raise UserError(f"{name}: {shown(value)} is not valid{did_you_mean(shown(value), map(str, args))}")
        return value
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{name}: {shown(value)} is not a mapping")
        return {shown_key(k): _convert(v, args[1], f"{name}.{k}", about) for k, v in value.items() if v is not None}
    if origin is list:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{name}: {shown(value)} is not a list")
        return [_convert(v, args[0], f"{name}[{i}]", about) for i, v in enumerate(value)]
    if dataclasses.is_dataclass(kind):
        return from_mapping(typing.cast(type, kind), value, name)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 5e-4 as a string
        with contextlib.suppress(ValueError):
            value = float(value)
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise UserError(f"{name}: {shown(value)} is {type(value).__name__}, expected {kind.__name__}")
    if kind in BOUNDS:
        _within(value, kind, name, about)
    return float(value) if kind is float else value


def _within(value: Any, kind: type, name: str, about: Mapping[str, Any]) -> None:
    """`UserError` unless the number is finite and within its key's bounds, or those of its kind."""
    low, high = ((about.get(k) if about.get(k) is not None else d) for k, d in zip(("low", "high"), BOUNDS[kind], strict=True))
    if value != value:
        raise UserError(f"{name}: nan is not valid, it must be a number")
    if value < low:
        raise UserError(f"{name}: {shown(value)} is not valid, it must be at least {low:,}")
    if value > high:
        raise UserError(f"{name}: {shown(value)} is not valid, it must be at most {high:,}")


def from_mapping(cls: type[T], value: Any, name: str) -> T:
    """The dataclass of config fields `cls` from plain data; `UserError` names the key under `name` that is unknown or wrong."""
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise UserError(f"{name}: {shown(value)} is not a mapping")
    hints = typing.get_type_hints(cls)
    known = {f.name: f.metadata for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for k in value:
        if k not in known:
            raise UserError(f"{name}.{shown_key(k)}: unknown key{did_you_mean(shown_key(k), known)}")
    return cls(**{k: _convert(v, hints[k], f"{name}.{k}", known[k]) for k, v in value.items()})


def config_from_dict(raw: Mapping[str, Any]) -> Config:
    """A validated `Config` from plain nested data (the YAML's section names)."""
    hints = typing.get_type_hints(Config)
    sections = {"global" if f.name == "global_" else f.name: f.name for f in dataclasses.fields(Config)}
    parts: dict[str, Any] = {}
    for section, value in raw.items():
        if section not in sections:
            raise UserError(f"{shown_key(section)}: unknown section{did_you_mean(shown_key(section), sections)}")
        if section == "shared_experts":
            if not isinstance(value, Mapping):
                raise UserError(f"shared_experts: {shown(value)} is not a mapping")
            given = {shown_key(n): v for n, v in value.items() if v is not None}
            parts[section] = {n: from_mapping(expert_class(n).Params, v, f"shared_experts.{n}") for n, v in given.items()}
        else:
            parts[sections[section]] = from_mapping(hints[sections[section]], {} if value is None else value, str(section))
    return Config(**parts)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping; anything else is replaced."""
    out = dict(base)
    for k, v in over.items():
        old = out.get(k)
        out[k] = merge(old, v) if isinstance(old, Mapping) and isinstance(v, Mapping) else v
    return out


def read_config_file(path: Path) -> dict[str, Any]:
    """A configuration file as plain data. `UserError` names a file that is missing or no mapping."""
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as e:
        raise UserError(f"{path}: no such config file") from e
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path} cannot be read: {' '.join(str(e).split())}") from e
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UserError(f"{path}: the top level must be a mapping of sections")
    return raw


def read_explanations(path: Path) -> ExplanationsConfig:
    """The section `explanations` of a file that holds nothing else. `UserError` names the key."""
    raw = read_config_file(path)
    for section in raw:
        if section != "explanations":
            raise UserError(
                f"{path}: {shown_key(section)} is not read here{did_you_mean(shown_key(section), ['explanations'])}"
            )
    return from_mapping(ExplanationsConfig, raw.get("explanations") or {}, "explanations")


def preset_dict(name: str) -> dict[str, Any]:
    """A preset as plain data. A preset's `extends` names the preset it is laid upon."""
    if name not in PRESETS:
        raise UserError(f"no preset '{name}'{did_you_mean(name, PRESETS)}")
    raw = read_config_file(Path(__file__).parent / "configs" / f"{name}.yaml")
    parent = raw.pop("extends", None)
    return merge(preset_dict(parent), raw) if parent else raw


def load_config(preset: str = "v3_14", file: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Preset, then `file`, then `key.path=value` overrides (values are YAML)."""
    raw = preset_dict(preset)
    if file is not None:
        raw = merge(raw, read_config_file(Path(file)))
    return config_from_dict(apply_overrides(raw, overrides))


def apply_overrides(raw: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """`key.path=value` settings laid on plain data, in their order."""
    for item in overrides:
        name, eq, text = item.partition("=")
        if not eq or not name:
            raise UserError(f"override {shown(item)}: expected key=value, for example training.learning_rate=1e-3")
        value: Any = parse_yaml(text, f"override {shown(name)}")
        if name.count(".") > MAX_DEPTH:
            raise UserError(f"override {shown(name)}: nested more than {MAX_DEPTH} deep")
        for part in reversed(name.split(".")):
            value = {part: value}
        raw = merge(raw, value)
    return raw
