"""What of a config a dataset can feed: with a table of one's own columns, experts without any input and tasks without any label
are left out of the model instead of standing in it empty."""

from __future__ import annotations

from dataclasses import replace

from ple_model.config import Config, TaskOverride
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.experts.reads import read_in
from ple_model.presence import part_key
from ple_model.registry import expert_class


def fitted_to(config: Config, dataset: Dataset, context: ModelContext) -> tuple[Config, tuple[str, ...]]:
    """(the config without what the dataset has nothing for, sentences that say what that is). A dataset of the package's
    columns leaves it as it is: a feed that is missing there may come."""
    if context.own is None:
        return config, ()
    there = {*dataset.manifest.fields, *(part_key(p) for p in context.parts)} - {"features"}
    blind = [n for n in config.shared_experts if there.isdisjoint(read_in(expert_class(n).reads, context))]
    counts = dataset.manifest.label_counts
    mute = [n for n in config.tasks if not counts.get(n, {}).get("train")]
    experts = {n: p for n, p in config.shared_experts.items() if n not in blind}
    if not experts:
        raise UserError(f"{dataset.path}: none of the experts {', '.join(config.shared_experts)} reads what it has")
    if len(mute) == len(config.tasks):
        raise UserError(f"{dataset.path} has no training labels for any of the config's tasks: {', '.join(config.tasks)}")
    overrides = {n: _without(o, blind) for n, o in config.task_experts.tasks.items()}
    overrides |= {n: replace(overrides.get(n, TaskOverride()), enabled=False) for n in mute}
    said = []
    if blind:
        said.append(f"experts left out, for want of any input in this dataset: {', '.join(blind)}")
    if mute:
        said.append(f"tasks left out, for want of labels in this dataset: {', '.join(mute)}")
    task_experts = replace(config.task_experts, tasks=overrides)
    edges = [e for e in config.task_relationships.transfers if e.source not in mute and e.target not in mute]
    relationships = replace(config.task_relationships, transfers=edges)
    changed = replace(config, shared_experts=experts, task_experts=task_experts, task_relationships=relationships)
    return changed, tuple(said)


def _without(override: TaskOverride, experts: list[str]) -> TaskOverride:
    named = override.domain_experts
    kept = None if named is None else [e for e in named if e not in experts]
    return replace(override, domain_experts=kept, gate_bias={e: b for e, b in override.gate_bias.items() if e not in experts})
