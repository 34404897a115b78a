"""Everything measured of a run: the facts that do not depend on rows, and one statistic an area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.stats.base import Array, Statistic
from analysis.stats.consistency import ConsistencyStats
from analysis.stats.drift import DriftGroups, DriftStats
from analysis.stats.effects import EffectStats
from analysis.stats.evidence import TaskEvidence
from analysis.stats.expert import ExpertStats
from analysis.stats.finite import FiniteStats
from analysis.stats.gate import GateStats, prior_weights
from analysis.stats.hmm import HmmStats
from analysis.stats.inputs import InputStats
from analysis.stats.labels import TaskLabels
from analysis.stats.odd_days import OddDays
from analysis.stats.probes import TaskProbe
from analysis.stats.sae import SaeStats
from analysis.stats.skill import TaskSkill
from analysis.stats.training import TrainingStats
from analysis.stats.transfer import DoseResponse, TransferStats
from analysis.stats.written import Written
from ple_model.data.events.holes import HoleCost
from ple_model.own_rows import OwnRows
from ple_model.schema import PART_SLICES


@dataclass(frozen=True)
class Facts:
    """What checks need of the config and the model beside measurements; plain data, the same for every shard."""

    config: dict[str, Any]
    """`Config.to_dict()`."""
    tasks: tuple[str, ...]
    kinds: dict[str, str]
    domain_experts: dict[str, tuple[str, ...]]
    hmm_modes: dict[str, str]
    """task -> mode"""
    experts: tuple[str, ...]
    reads: dict[str, tuple[str, ...]]
    """expert -> presence keys of its inputs"""
    edges: tuple[str, ...] = ()
    """active edges "source:target" """
    skipped_edges: tuple[str, ...] = ()
    """sentences: edges that the model left out, and why"""
    execution_order: tuple[str, ...] = ()
    nonfinite_parameters: tuple[str, ...] = ()
    """names of parameters, buffers and scalers with a NaN or Inf"""
    nonfinite_values: dict[str, float] = field(default_factory=dict)
    """tensor -> share of its values that are NaN or Inf"""
    classes: dict[str, int] = field(default_factory=dict)
    """number of classes of each multiclass task"""
    log_scale: tuple[str, ...] = ()
    """tasks whose label is the logarithm of an amount"""
    amount_means: tuple[str, ...] = ()
    """tasks whose predicted logarithm has a map to the mean amount"""
    brand_temperature: float = 0.07
    absent_sources: tuple[str, ...] = ()
    """event tables that the dataset says it never had"""
    hole_costs: tuple[HoleCost, ...] | None = None
    """what holes in the events take from the dataset's cut-offs; None where its build did not look for holes"""
    own_parts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """part -> first and last + 1 of its columns, where the columns are those of a table of one's own"""
    unlearned: tuple[str, ...] = ()
    """tasks that had no label in training: their towers, gates and edges say nothing"""
    blend: dict[str, float] = field(default_factory=dict)
    """task -> share that it takes of what everything else adds to its fitted linear map (brands: to popularity); without tasks
    that take all by config"""
    run: dict[str, Any] = field(default_factory=dict)
    """the manifest, without paths"""

    @property
    def linear(self) -> tuple[str, ...]:
        """Tasks whose prediction is their fitted linear map, or popularity, alone: no gate, expert or edge has a say in it."""
        return tuple(task for task in self.tasks if self.blend.get(task, 1.0) == 0)

    def learned_first(self, tasks: Iterable[str]) -> list[str]:
        """The tasks in their order, those that never learned last."""
        return sorted(tasks, key=lambda task: task in self.unlearned)

    def learned_edge(self, edge: str) -> bool:
        """Both ends of "source:target" had labels in training."""
        return not set(edge.split(":")) & set(self.unlearned)

    @property
    def own(self) -> bool:
        """A table of one's own columns: no events, and no HMM states by its nature."""
        return bool(self.own_parts)

    @property
    def parts(self) -> Mapping[str, slice]:
        """Columns of each part of the features."""
        return {p: slice(*ends) for p, ends in self.own_parts.items()} if self.own_parts else PART_SLICES

    def get(self, key: str, default: Any = None) -> Any:
        """A config value by dotted key, for example "cgc.entropy_lambda"."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def prior(self) -> Array:
        """[T, N] gate weights at initialisation."""
        domains = [self.domain_experts.get(t, ()) for t in self.tasks]
        own = [self.get(f"task_experts.tasks.{t}.gate_bias", {}) for t in self.tasks]
        return prior_weights(domains, self.experts, self.get("cgc.bias_high", 1.0), self.get("cgc.bias_low", -1.0), own)


@dataclass(frozen=True, eq=False)
class RowQuality:
    """Numbers that need the rows themselves (order statistics), by task; computed from rows.parquet, not mergeable."""

    n: int
    adaptive_ece: float = float("nan")
    aurc: float = float("nan")
    excess_aurc: float = float("nan")
    error_auroc: float = float("nan")
    accuracy: float = float("nan")
    auc: float = float("nan")


@dataclass(frozen=True, eq=False)
class TaskPerformance:
    """How well one task is predicted on the labelled rows of one split."""

    kind: str
    n: int
    """Rows that the metrics are drawn from."""
    customers: int
    base_rate: float | None
    metrics: dict[str, float]
    """As `ple evaluate` has them; NaN where the rows cannot say."""
    constant: dict[str, float]
    """The same of the best constant of the training rows; empty where there are none."""


@dataclass(frozen=True, eq=False)
class SplitPerformance:
    """How well a run predicts on the rows of one split, with the weights and rows that were measured."""

    split: str
    rows: int
    customers: int
    tasks: dict[str, TaskPerformance]


@dataclass(frozen=True, eq=False)
class Statistics(Statistic):
    """All statistics of one run over one set of rows. Areas that were not measured are None."""

    SAME = frozenset(
        {
            "facts", "dose", "quality", "performance", "skill", "training", "reference", "trained", "held", "own_rows",
            "written", "labels", "probes", "consistency", "odd_days",
        }
    )  # fmt: skip

    facts: Facts
    n: int
    inputs: InputStats | None = None
    experts: ExpertStats | None = None
    gates: GateStats | None = None
    hmm: HmmStats | None = None
    transfer: TransferStats | None = None
    sae: SaeStats | None = None
    evidence: dict[str, TaskEvidence] = field(default_factory=dict)
    effects: EffectStats | None = None
    dose: dict[str, DoseResponse] = field(default_factory=dict)
    quality: dict[str, RowQuality] = field(default_factory=dict)
    performance: dict[str, SplitPerformance] = field(default_factory=dict)
    """By split, those with rows."""
    skill: dict[str, dict[str, TaskSkill]] = field(default_factory=dict)
    """By split (test, validation; train only where nothing else is there) and task."""
    training: TrainingStats | None = None
    reference: InputStats | None = None
    """Input moments of the run's own sample: what it had of each feed."""
    drift: DriftStats | None = None
    """Counts of all rows on the bins of the training reference."""
    unseen: DriftGroups | None = None
    """The same of the rows that were not trained on, by split and cut-off: what is compared with training."""
    finite: FiniteStats | None = None
    """Rows that are no numbers."""
    trained: DriftStats | None = None
    """The training reference."""
    held: DriftStats | None = None
    """Rows that were held out at training, on the same bins; None in a run of before they were kept."""
    own_rows: OwnRows | None = None
    """Training rows against others of their cut-off, by every column; of the rows themselves, so not mergeable."""
    labels: dict[str, TaskLabels] = field(default_factory=dict)
    """What the labels of the rows are, by task that has some; of the rows themselves, so not mergeable."""
    probes: dict[str, TaskProbe] = field(default_factory=dict)
    """Where on the way through the model a task is lost, by task that lacks skill or is behind; not mergeable."""

    consistency: ConsistencyStats | None = None
    """Whether the inputs of a row go together, and what is there twice; of the rows themselves, so not mergeable."""
    written: Written | None = None
    """Whether the run is what its training wrote, and still says the same."""
    odd_days: OddDays | None = None
    """Customers whose last days the run's pre-trained encoder cannot explain; of the rows themselves, so not mergeable."""

    def share(self, expert: str) -> float:
        """Share of rows where the expert is on zero fallback; NaN where experts were not measured."""
        if self.experts is None or expert not in self.experts.names:
            return float("nan")
        return float(self.experts.fallback_share[self.experts.names.index(expert)])
