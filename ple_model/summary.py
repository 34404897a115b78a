"""`model.summary()`: parameters by module next to the reference's estimates (reference, appendix "parameter estimates")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from ple_model.config import Config, load_config
from ple_model.experts.base import ReferenceSize
from ple_model.registry import expert_class

REFERENCE: dict[str, ReferenceSize] = {
    "cgc": ReferenceSize(75_000),
    "hmm": ReferenceSize(
        5_000,
        "three Linear(16, 32) with LayerNorm and a default embedding are 1,920 parameters by count; the estimate is rough.",
    ),
    "basket": ReferenceSize(362_000),
    "towers": ReferenceSize(80_000),
    "adatt": ReferenceSize(
        10_000, "affinity and transfer are measured from gradients and kept as buffers; nothing is trained."
    ),
    "sae": ReferenceSize(
        2_700_000, "tied weights (W_dec = W_enc^T) count the big matrix once; the estimate is that of untied weights."
    ),
    "evidential": ReferenceSize(
        30_000, "one Linear(32, K) a task (2 for binary, 4 for regression) is 3,168 by count; the estimate is rough."
    ),
    "auxiliary": ReferenceSize(40_000),
}
"""The reference's estimates of what is no expert; an expert's stands in its class (`Expert.reference`)."""
TASKS = 16
"""Tasks that the reference's estimates count."""


@dataclass(frozen=True)
class SummaryRow:
    """One module: `reference` and `explanation` are empty where the reference names no figure."""

    module: str
    parameters: int
    reference: int | None
    explanation: str


@dataclass(frozen=True)
class ModelSummary:
    """Rows in the order of the forward pass; `str()` is the printed table."""

    rows: tuple[SummaryRow, ...]
    default_size: bool

    @property
    def total(self) -> int:
        return sum(r.parameters for r in self.rows)

    @property
    def trained(self) -> int:
        """Without the SAE, as the reference counts."""
        return sum(r.parameters for r in self.rows if r.module != "sae")

    def __str__(self) -> str:
        lines = [f"{'module':<20}{'parameters':>12}{'reference':>12}"]
        for r in self.rows:
            lines.append(f"{r.module:<20}{r.parameters:>12,}{'' if r.reference is None else f'{r.reference:,}':>12}")
        lines.append(f"{'total':<20}{self.total:>12,}{4_400_000:>12,}")
        lines.append(f"{'total without SAE':<20}{self.trained:>12,}{1_700_000:>12,}")
        notes = [f"{r.module}: {r.explanation}" for r in self.rows if r.explanation]
        if not self.default_size:
            said = f"The estimates are those of the reference's default widths and its {TASKS} tasks"
            notes.insert(0, f"{said}; this configuration has other widths or tasks.")
        return "\n".join([*lines, *(["", *notes] if notes else [])])


def summarise(config: Config, blocks: Mapping[str, Sequence[nn.Module]]) -> ModelSummary:
    """The summary of a model by its blocks; one more than a third away from its estimate carries a sentence that says why."""
    default = load_config("v3_14")
    # by number and widths, not by the list that this release has on: a task added later makes no reference size "other"
    same = (
        len(config.tasks) == TASKS
        and replace(config.task_experts, enabled_tasks=None) == replace(default.task_experts, enabled_tasks=None)
        and all(
            p == expert_class(n).Params() for n, p in config.shared_experts.items() if expert_class(n).reference is not None
        )
    )
    rows = []
    for name, modules in blocks.items():
        count = sum(p.numel() for m in modules for p in m.parameters())
        known = expert_class(name).reference if name in config.shared_experts else REFERENCE.get(name)
        far = known is not None and abs(count - known.parameters) > known.parameters / 3
        said = _explanation(name, known, same) if known is not None and far else ""
        rows.append(SummaryRow(name, count, None if known is None else known.parameters, said))
    return ModelSummary(tuple(rows), same)


def _explanation(name: str, known: ReferenceSize, default_size: bool) -> str:
    if not default_size and name not in ("adatt", "sae"):
        return "the configuration has other widths or tasks than the reference's default."
    return known.why or "the reference gives an outline of this module, not its widths; ours follow from its description."
