"""Sections of the configuration that say what the network is made of."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from ple_model.config.fields import key, require, shown_key
from ple_model.errors import UserError, did_you_mean
from ple_model.searchable import Between, OneOf
from ple_model.tasks import HMM_MODES, LOGIT_TRANSFERS, TASKS


@dataclass(frozen=True)
class GlobalConfig:
    n_clusters: int = key(20, "Number of GMM clusters; cluster_probs has this width.")
    dropout: float = key(0.2, "Dropout of group encoders and towers.", search=Between(0.0, 0.5, first=6))
    expert_dropout: float = key(0.1, "Dropout inside the shared experts.", search=Between(0.0, 0.5, first=7))

    def __post_init__(self) -> None:
        require(self.n_clusters >= 1, "global.n_clusters", self.n_clusters, "it must be at least 1")
        for name in ("dropout", "expert_dropout"):
            require(0 <= getattr(self, name) < 1, f"global.{name}", getattr(self, name), "it must be in [0, 1)")


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
        require(self.entropy_lambda >= 0, "cgc.entropy_lambda", self.entropy_lambda, "it must not be negative")
        require(self.temperature > 0, "cgc.temperature", self.temperature, "it must be positive")


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
        require(self.input_dim == 16, "hmm_triple_mode.input_dim", self.input_dim, "the input contract fixes it at 16")
        require(self.proj_dim >= 1, "hmm_triple_mode.proj_dim", self.proj_dim, "it must be at least 1")
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
            require(getattr(self, name) >= 1, f"task_experts.{name}", getattr(self, name), "it must be at least 1")
        for name, o in self.tasks.items():
            if name not in TASKS:
                raise UserError(f"task_experts.tasks.{name}: no such task{did_you_mean(name, TASKS)}")
            if o.weight is not None:
                require(o.weight > 0, f"task_experts.tasks.{name}.weight", o.weight, "it must be positive")
            if o.focal_alpha is not None:
                require(0 < o.focal_alpha < 1, f"task_experts.tasks.{name}.focal_alpha", o.focal_alpha, "it must be in (0, 1)")


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
        require(
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
        require(
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
    brand_query: bool = key(
        False,
        "Add a linear map of the customer's graph embedding to the brand query; with start fitted it and the brands' keys are "
        "fitted before the first step.",
    )

    def __post_init__(self) -> None:
        for name in ("dropout", "column_dropout", "path_dropout"):
            require(0 <= getattr(self, name) < 1, f"direct_path.{name}", getattr(self, name), "it must be in [0, 1)")
        require(self.bend_pieces >= 2, "direct_path.bend_pieces", self.bend_pieces, "it must be at least 2")
        rule = "it must be 0 where direct_path.start is random: bends are fitted"
        require(self.bends == 0 or self.start == "fitted", "direct_path.bends", self.bends, rule)
        rule = "it must be positive where direct_path.start is random"
        require(self.rate > 0 or (self.rate == 0 and self.start == "fitted"), "direct_path.rate", self.rate, rule)
