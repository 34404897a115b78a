"""The whole configuration: its sections, the rules between them, and itself from plain data."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ple_model.arguments import shown
from ple_model.config.fields import from_mapping, require, shown_key
from ple_model.config.learning import (
    AdattConfig,
    DistillationConfig,
    EvidentialConfig,
    ExplanationsConfig,
    SaeConfig,
    TrainingConfig,
)
from ple_model.config.network import (
    CgcConfig,
    DirectPathConfig,
    GlobalConfig,
    HmmConfig,
    RelationshipsConfig,
    TaskExpertsConfig,
    TaskOverride,
    TowersConfig,
)
from ple_model.errors import UserError, did_you_mean
from ple_model.experts.params import ExpertParams, require_valid
from ple_model.registry import expert_class
from ple_model.tasks import TASKS, TaskSpec


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
            require(p.output_dim >= 1, f"shared_experts.{name}.output_dim", p.output_dim, "it must be at least 1")
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
