"""Healthy statistics from random arrays, and one planted fault for every check: `healthy()`, `PLANTED[id]()`.

A planted case changes one thing in the arrays that are measured (or in the training record), never a threshold. A check that
stands with its own proof (`analysis.checks.registry.Proof`) is planted by that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import consistency
from analysis.checks import checks
from analysis.checks.registry import Proof
from analysis.stats import drift, effects, evidence, expert, finite, gate, hmm, sae, training, transfer
from analysis.stats.consistency import ConsistencyStats, Copied, OtherUnit, Selected, Silence, Wrapped
from analysis.stats.drift import DriftStats
from analysis.stats.factor import Factor
from analysis.stats.inputs import measure as measure_inputs
from analysis.stats.labels import Giveaway, Missing, Rate, Refound, Scales, TaskLabels
from analysis.stats.run import Facts, RowQuality, Statistics
from analysis.stats.skill import TaskSkill
from analysis.stats.transfer import DoseResponse
from analysis.stats.written import TensorChange, Written
from ple_model.config import load_config
from ple_model.consistency import Consistency, consistency_of
from ple_model.data.events.holes import Hole, costs
from ple_model.fields import OPTIONAL_FIELDS
from ple_model.interval import Interval
from ple_model.own_rows import OwnRows, compare
from ple_model.profile import ProfileRows, quantile_edges
from ple_model.schema import PART_SLICES, load_schema

EXPERTS = ("unified_hgcn", "perslay", "deepfm", "temporal", "lightgcn", "causal", "optimal_transport", "raw_scale")
READS = {
    "unified_hgcn": ("hierarchy_features", "features:overseas"),
    "perslay": ("tda_short_diagrams", "tda_long_diagrams", "tda_features"),
    "deepfm": ("features:rfm", "features:category"),
    "temporal": ("txn_seq", "session_seq"),
    "lightgcn": ("collaborative_features",),
    "causal": ("features:rfm",),
    "optimal_transport": ("features:rfm",),
    "raw_scale": ("features:raw_power_law",),
}
DIM = 16
MODES = ("journey", "lifecycle", "behavior")
ALL_FIELDS = (*OPTIONAL_FIELDS, *(f"features:{p}" for p in PART_SLICES))


@dataclass
class World:
    """The arrays that statistics are measured from; planted cases change them."""

    n: int
    rng: np.random.Generator
    facts: Facts
    outputs: dict[str, NDArray[Any]]
    present: dict[str, NDArray[Any]]
    weights: NDArray[Any]
    absent: dict[str, NDArray[Any]]
    features: NDArray[Any]
    points: NDArray[Any]
    mask: NDArray[Any]
    hierarchy: NDArray[Any]
    projected: dict[str, NDArray[Any]]
    default: dict[str, NDArray[Any]]
    embedding: dict[str, NDArray[Any]]
    added: dict[str, NDArray[Any]]
    own: dict[str, NDArray[Any]]
    latent: NDArray[Any]
    x: NDArray[Any]
    reconstruction: NDArray[Any]
    uncertainty: dict[str, NDArray[Any]]
    probability: dict[str, NDArray[Any]]
    label: dict[str, NDArray[Any]]
    epochs: list[dict[str, Any]]
    cut_change: dict[str, float]
    bad: dict[str, dict[str, NDArray[Any]]]
    """inputs, experts, tasks, heads -> name -> rows that are no numbers"""
    dose: dict[str, DoseResponse]
    quality: dict[str, RowQuality]
    written: Written
    labels: dict[str, TaskLabels]
    skill: dict[str, TaskSkill]
    rows: NDArray[Any]
    """What is held against each other: four inputs of four columns, all from the same four causes."""
    people: list[str]

    def measure(self) -> Statistics:
        n, facts = self.n, self.facts
        there = np.ones((n, 734), dtype=bool)
        for part, columns in PART_SLICES.items():
            there[:, columns] = (self.absent[f"features:{part}"] == 0)[:, None]
        diagrams = {f: (self.points, self.mask, np.ones(n, bool)) for f in ("tda_short_diagrams", "tda_long_diagrams")}
        inputs = measure_inputs(
            self.features, self.absent, there, diagrams, (self.hierarchy, self.absent["hierarchy_features"] == 0)
        )
        before = {t: np.full((n,), 0.5) if k != "multiclass" else np.full((n, 4), 0.25) for t, k in facts.kinds.items()}
        after = {
            e: {t: v + self.cut_change.get(e, 0.001) for t, v in before.items()} for e in (f"edge.{x}=0" for x in facts.edges)
        }
        reference = replace(self, features=np.random.default_rng(7).normal(size=(n, 734)))
        trained = of_rows(reference.features, self.absent)
        edges = training_edges()
        return Statistics(
            facts=facts,
            n=n,
            inputs=inputs,
            drift=drift.measure(of_rows(self.features, self.absent), edges),
            unseen=drift.DriftGroups({"2025-05-01 test": drift.measure(of_rows(self.features, self.absent), edges)}),
            trained=drift.measure(trained, edges),
            experts=expert.measure(self.outputs, self.present),
            gates=gate.measure(facts.tasks, facts.experts, self.weights, np.stack(list(self.present.values()), 1)),
            hmm=hmm.measure(self.projected, self.default, self.embedding),
            transfer=transfer.measure(self.added, self.own, n),
            sae=sae.measure(self.latent, self.x, self.reconstruction),
            evidence={
                t: evidence.measure(
                    facts.kinds[t], self.uncertainty[t], 2 / self.uncertainty[t], self.probability.get(t), self.label.get(t)
                )
                for t in self.uncertainty
            },
            effects=effects.measure(facts.kinds, before, after, {"cvr": 0.505}),
            finite=finite.measure(n, self.bad["inputs"], self.bad["experts"], self.bad["tasks"], self.bad["heads"]),
            dose=self.dose,
            quality=self.quality,
            training=training.measure(self.epochs),
            reference=measure_inputs(reference.features, self.absent, np.ones((n, 734), bool)),
            own_rows=held_apart(self.features),
            written=self.written,
            labels=self.labels,
            skill={"test": self.skill},
            consistency=replace(
                goes_together(self.rows, self.people),
                twice=len(self.people) - len(set(self.people)),
                measured=n,
                example=self.people[0],
            ),
        )


def held_apart(features: NDArray[Any]) -> OwnRows:
    """Every other row is of the training split; of the columns the first hundred."""
    first = PART_SLICES["category"].stop
    where = {j: p for p, c in PART_SLICES.items() for j in range(c.start, c.stop)}
    columns = [(f"features:{where[c.index]}", c.name) for c in load_schema().columns[:first]]
    split = [("train", "validation")[i % 2] for i in range(len(features))]
    return compare(features[:, :first].astype(np.float32), columns, split, ["2025-04-01"] * len(features))


@cache
def training_edges() -> NDArray[np.float32]:
    """[734, 18] cuts of the training reference's deciles."""
    return np.stack([quantile_edges(c) for c in np.random.default_rng(7).normal(size=(600, 734)).T])


def of_rows(features: NDArray[Any], absent: dict[str, NDArray[Any]]) -> ProfileRows:
    present = {k: v == 0 for k, v in absent.items()}
    return ProfileRows(features.astype(np.float32), {}, present, np.full(len(features), 2))


def world(n: int = 600, seed: int = 0) -> World:
    """A healthy run: every expert varies in its own way, gates moved and depend on the row, losses fall."""
    rng = np.random.default_rng(seed)
    config = load_config("small")
    tasks = config.tasks
    facts = Facts(
        config=config.to_dict(),
        tasks=tuple(tasks),
        kinds={k: t.kind for k, t in tasks.items()},
        domain_experts={k: t.domain_experts for k, t in tasks.items()},
        hmm_modes={k: t.hmm_mode for k, t in tasks.items()},
        experts=EXPERTS,
        reads=READS,
        edges=("ctr:cvr", "churn:retention", "cvr:ltv"),
        execution_order=tuple(tasks),
        hole_costs=(),
        run={"name": "planted"},
    )
    prior = facts.prior()
    noise = rng.normal(scale=0.8, size=(n, len(tasks), len(EXPERTS))) + rng.normal(
        scale=0.5, size=(1, len(tasks), len(EXPERTS))
    )
    logits = np.log(prior)[None] + noise
    weights = np.exp(logits)
    x = rng.normal(size=(n, 64))
    probability = np.where(rng.random(n) < 0.5, 0.2, 0.4)
    label = (rng.random(n) < probability).astype(int)
    classes = rng.integers(0, 12, n)
    shares = np.full((n, 12), 1 / 12)
    mask = np.arange(50)[None] < rng.integers(5, 30, n)[:, None]
    birth = rng.random((n, 50))
    points = np.stack([birth, birth + 0.1 + rng.random((n, 50)), np.zeros((n, 50))], 2) * mask[..., None]
    hierarchy = rng.normal(size=(n, 20))
    hierarchy /= 2 * np.linalg.norm(hierarchy, axis=1, keepdims=True)
    own = {t: rng.normal(size=(n, 8)) for t in tasks}
    return World(
        n=n, rng=rng, facts=facts,
        outputs={e: rng.normal(size=(n, DIM)) for e in EXPERTS},
        present={e: np.ones(n, bool) for e in EXPERTS},
        weights=weights / weights.sum(-1, keepdims=True),
        absent={k: np.zeros(n, np.int8) for k in ALL_FIELDS},
        features=rng.normal(size=(n, 734)),
        points=points, mask=mask, hierarchy=hierarchy,
        projected={m: rng.normal(size=(n, 8)) for m in MODES},
        default={m: rng.random(n) < 0.1 for m in MODES},
        embedding={m: 0.2 * np.ones(8) for m in MODES},
        added={e: 0.1 * rng.normal(size=(n, 8)) for e in facts.edges}, own=own,
        latent=np.where(rng.random((n, 128)) < 0.05, 1.0, 0.0), x=x, reconstruction=x + 0.2 * rng.normal(size=x.shape),
        uncertainty={"ctr": rng.uniform(0.1, 0.6, n), "nba": rng.uniform(0.1, 0.6, n)},
        probability={"ctr": probability, "nba": shares}, label={"ctr": label, "nba": classes},
        epochs=epoch_lines(facts), cut_change={},
        bad={"inputs": {}, "experts": {}, "tasks": {}, "heads": {}},
        dose={e: DoseResponse(e, (0.0, 0.5, 1.0), (0.1, 0.2, 0.3), 0.2, n) for e in facts.edges},
        quality={"nba": RowQuality(n, 0.02, 0.3, 0.1, 0.62, 0.4)},
        written=as_written(facts),
        labels=sound_labels(n),
        skill={t: task_skill(t, k, n // 2) for t, k in facts.kinds.items()},
        rows=four_inputs(n, seed), people=[f"c{i}" for i in range(n)],
    )  # fmt: skip


FOUR = [(f, f"{f}[{j}]") for f in ("hmm_journey", "hmm_behavior", "collaborative_features", "tda_features") for j in range(4)]


def four_inputs(n: int, seed: int) -> NDArray[np.float32]:
    """[n, 16] four inputs of four columns that tell each other."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 4))
    mixing = np.random.default_rng(99).normal(size=(4, 16))
    return np.asarray(cause @ mixing + 0.5 * rng.normal(size=(n, 16)), dtype=np.float32)


@cache
def held_together() -> Consistency:
    return consistency_of(FOUR, four_inputs(1500, 1), ["2025-04-01"] * 1500, four_inputs(800, 2))


def goes_together(rows: NDArray[Any], people: list[str]) -> ConsistencyStats:
    found = consistency.measure(held_together(), FOUR, rows, people, ["2025-05-01"] * len(rows))
    return replace(found, each_column=True)


def as_written(facts: Facts) -> Written:
    """A run that nobody touched: norms and gates as `world` makes them, outputs within rounding."""
    parts = ["inputs.features", *(f"experts.{e}" for e in EXPERTS), "cgc", *(f"predictions.{t}" for t in facts.tasks)]
    return Written(
        modules={"perslay": 10, "towers": 4}, rows=512, outputs=dict.fromkeys(parts, 2e-7),
        expert_norm=dict.fromkeys(EXPERTS, DIM**0.5), expert_spread=dict.fromkeys(EXPERTS, DIM**0.5),
        gate_top=dict.fromkeys(facts.tasks, 0.4), gate_entropy=dict.fromkeys(facts.tasks, 1.6),
    )  # fmt: skip


def task_skill(
    task: str, kind: str, n: int, model: float = 0.3, boosting: float = 0.3, linear: float = 0.25, by: float = 0.03
) -> TaskSkill:
    """Skill of a model beside boosting's and the linear model's, each `by` about certain."""
    behind = {"boosting": boosting - model, "linear": linear - model}
    return TaskSkill(
        task, kind, "log_loss", n, n, {"constant": 1.0, "boosting": 1 - boosting, "linear": 1 - linear, "model": 1 - model},
        Interval(model, model - by, model + by), {"boosting": boosting, "linear": linear},
        {k: Interval(v, v - by, v + by) for k, v in behind.items()}, 1000,
    )  # fmt: skip


def sound_labels(n: int) -> dict[str, TaskLabels]:
    """Labels of a task of each kind as a healthy run has them; half of `n` rows did not train it."""
    m = n // 2
    classes = (m // 2, m // 3, m - m // 2 - m // 3)
    told = Giveaway("recency_days", "features:rfm", 0.6, 2, "spend_28d", 0.5, m)
    return {
        "churn": TaskLabels(
            "binary", m, m, 2, (m - m // 5, m // 5), trained=(800, 200), trained_values=2, giveaway=told,
            rate=Rate(m, m, 0.2, 0.2, 0.21, 0.02),
        ),
        "channel": TaskLabels(
            "multiclass", m, m, 3, classes, (m // 2, m // 2, 0), tuple(1.3 * c / max(m, 1) for c in classes),
            trained=(500, 333, 167), trained_values=3, giveaway=told,
        ),
        "ltv": TaskLabels("regression", m, m, m, trained_values=101, scales=Scales(m, 1.0, 0.02, 0.0, 1.0, 0.0), giveaway=told),
    }  # fmt: skip


def epoch_lines(facts: Facts, epochs: int = 10) -> list[dict[str, Any]]:
    """Epoch lines of a healthy training of the `small` preset: phase 2 from epoch 9, gates frozen after epoch 7."""
    lines = []
    for e in range(1, epochs + 1):
        moving = min(e, 7)
        gates = {t: (facts.prior()[i] * np.exp(0.02 * moving * np.arange(8))).tolist() for i, t in enumerate(facts.tasks)}
        lines.append({
            "event": "epoch", "epoch": e, "phase": 1 if e <= 8 else 2, "steps": 20, "samples_per_s": 1000.0,
            "train": {
                "total": 20.0 - e, "tasks": dict.fromkeys(facts.tasks, 1.0 - 0.03 * e), "n": dict.fromkeys(facts.tasks, 1000),
                "evidential_kl": 0.001 * e,
            },
            "valid": {"tasks": dict.fromkeys(facts.tasks, 0.9), "mean_ratio": 0.9},
            "s": dict.fromkeys(facts.tasks, -0.1 * e),
            "gates": {t: [v / sum(w) for v in w] for t, w in gates.items()},
            "grad_norm": {**dict.fromkeys(facts.experts, 0.0 if e > 8 else 0.1), "cgc": 0.0 if e > 7 else 0.05},
            "hmm_grad": dict.fromkeys(MODES, 0.1),
            "adatt": {"conflict_share": 0.1}, "adatt_time_share": 0.03,
            "frozen": {"gates": e > 7, "shared": e > 8}, "nonfinite_steps": 0,
        })  # fmt: skip
    return lines


def healthy(n: int = 600, seed: int = 0) -> Statistics:
    return world(n, seed).measure()


@dataclass(frozen=True)
class Case:
    """A planted fault: its statistics, the subject that the check must name, and the severity that it must have."""

    statistics: Statistics
    subject: str
    severity: str


PLANTED: dict[str, Callable[[], Case]] = {}


def planted(id: str, subject: str, severity: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Register a fault: a function that changes a healthy world."""

    def register(change: Callable[[World], None]) -> Callable[[World], None]:
        @cache
        def build() -> Case:
            w = world()
            change(w)
            return Case(w.measure(), subject, severity)

        assert id not in PLANTED, f"{id} is planted twice"
        PLANTED[id] = build
        return change

    return register


def proved(proof: Proof) -> Callable[[], Case]:
    """The case of a check that says itself what it must answer."""
    return cache(lambda: Case(proof.change(healthy()), proof.subject, proof.severity))


PLANTED.update({id: proved(c.proof) for id, c in checks().items() if c.proof is not None})


def set_config(w: World, key: str, value: Any) -> None:
    section, name = key.split(".")
    config = {**w.facts.config, section: {**w.facts.config[section], name: value}}
    w.facts = replace(w.facts, config=config)


@planted("EXP-ZERO-INPUT", "temporal.session_seq", "warning")
def _no_sessions(w: World) -> None:
    w.absent["session_seq"][:] = 1


@planted("EXP-TEMPORAL-ZERO", "temporal", "error")
def _no_transactions(w: World) -> None:
    w.absent["txn_seq"][:] = 1
    w.absent["session_seq"][:] = 1
    w.present["temporal"][:] = False
    w.outputs["temporal"][:] = 0


@planted("EXP-DEAD", "causal", "error")
def _constant(w: World) -> None:
    w.outputs["causal"][:] = w.outputs["causal"][0]


@planted("EXP-HGCN-NAN", "unified_hgcn", "error")
def _overflow(w: World) -> None:
    w.outputs["unified_hgcn"][:30] = np.nan
    w.hierarchy[:30] *= 10


@planted("EXP-NONFINITE", "deepfm", "error")
def _infinite(w: World) -> None:
    w.outputs["deepfm"][5, 3] = np.inf


@planted("EXP-PERSLAY-PAD", "perslay.tda_short_diagrams", "error")
def _padding_counts(w: World) -> None:
    w.mask = np.ones_like(w.mask)


@planted("EXP-REDUNDANT", "causal:optimal_transport", "warning")
def _twins(w: World) -> None:
    w.outputs["optimal_transport"] = 3 * w.outputs["causal"] + 1


@planted("EXP-LOW-RANK", "lightgcn", "warning")
def _one_direction(w: World) -> None:
    w.outputs["lightgcn"] = w.rng.normal(size=(w.n, 1)) * np.ones((1, DIM)) + 0.01 * w.rng.normal(size=(w.n, DIM))


def _onto(w: World, task: int, expert: int, weight: float) -> None:
    rest = w.weights[:, task] * (1 - weight) / (1 - w.weights[:, task, expert])[:, None]
    rest[:, expert] = weight
    w.weights[:, task] = rest


@planted("CGC-COLLAPSE", "churn:perslay", "error")
def _collapse(w: World) -> None:
    _onto(w, w.facts.tasks.index("churn"), EXPERTS.index("perslay"), 0.97)


@planted("CGC-UNIFORM", "timing", "warning")
def _uniform(w: World) -> None:
    w.weights[:, w.facts.tasks.index("timing")] = 1 / 8


@planted("CGC-UNMOVED", "gates", "warning")
def _unmoved(w: World) -> None:
    w.weights[:] = w.facts.prior()[None]


@planted("CGC-OFF-DOMAIN", "ltv:raw_scale", "info")
def _off_domain(w: World) -> None:
    _onto(w, w.facts.tasks.index("ltv"), EXPERTS.index("raw_scale"), 0.6)


@planted("CGC-LATE-SHIFT", "nba", "warning")
def _late_shift(w: World) -> None:
    for line in w.epochs[7:]:
        line["gates"]["nba"] = [0.01] * 7 + [0.93]


@planted("CGC-DILUTION", "perslay", "warning")
def _dilution(w: World) -> None:
    w.present["perslay"][:] = False
    w.outputs["perslay"][:] = 0


@planted("CGC-DEAD-EXPERT", "raw_scale", "warning")
def _nobody_looks(w: World) -> None:
    w.weights[..., EXPERTS.index("raw_scale")] = 1e-4
    w.weights /= w.weights.sum(-1, keepdims=True)


@planted("CGC-NONFINITE", "gates", "error")
def _gate_nan(w: World) -> None:
    w.weights[:4] = np.nan


@planted("WEIGHTS-NONFINITE", "towers", "error")
def _weight_nan(w: World) -> None:
    w.facts = replace(w.facts, nonfinite_parameters=("towers.out_bias",), nonfinite_values={"towers.out_bias": 0.01})


@planted("INPUT-NONFINITE", "hmm_behavior", "error")
def _input_nan(w: World) -> None:
    rows = np.arange(w.n) % 20 == 0
    w.bad["inputs"]["hmm_behavior"] = rows
    w.bad["tasks"]["ltv"] = rows


@planted("OUTPUT-NONFINITE", "ltv", "error")
def _output_nan(w: World) -> None:
    w.bad["tasks"]["ltv"] = np.arange(w.n) < 3


@planted("LOSS-NAN", "total", "error")
def _loss_nan(w: World) -> None:
    w.epochs[3]["train"]["total"] = float("nan")


@planted("LOSS-TASK-ZERO", "nba", "warning")
def _no_labels(w: World) -> None:
    for line in w.epochs:
        line["train"]["tasks"]["nba"], line["train"]["n"]["nba"] = None, 0


@planted("LOSS-UW-CLAMP", "ltv", "warning")
def _at_the_clamp(w: World) -> None:
    for line in w.epochs:
        line["s"]["ltv"] = 4.0


@planted("LOSS-KL-JUMP", "evidential", "warning")
def _kl_ramp(w: World) -> None:
    for i, line in enumerate(w.epochs):
        line["train"]["evidential_kl"] = 1.5 * i
        line["train"]["total"] = 5 + 1.5 * i


@planted("LOSS-ADATT-JUMP", "adatt", "warning")
def _adatt_jump(w: World) -> None:
    for line in w.epochs[1:]:
        line["train"]["tasks"] = {t: 2 * v for t, v in line["train"]["tasks"].items()}


@planted("GRAD-SHARED-ZERO", "deepfm", "error")
def _frozen_early(w: World) -> None:
    for line in w.epochs[:8]:
        line["grad_norm"]["deepfm"] = 0.0


@planted("GRAD-CGC-ZERO", "gates", "error")
def _gates_frozen_early(w: World) -> None:
    for line in w.epochs:
        line["grad_norm"]["cgc"] = 0.0


@planted("GRAD-ADATT-MEMORY", "adatt", "warning")
def _dear_gradients(w: World) -> None:
    for line in w.epochs:
        line["adatt_time_share"] = 2.0


@planted("GRAD-BRAND-WEAK", "brand_prediction", "warning")
def _hot(w: World) -> None:
    w.facts = replace(w.facts, brand_temperature=0.7)


@planted("HMM-ALL-DEFAULT", "journey", "error")
def _all_default(w: World) -> None:
    w.default["journey"][:] = True


@planted("HMM-MODE-IMBALANCE", "lifecycle", "warning")
def _one_mode(w: World) -> None:
    for line in w.epochs:
        line["hmm_grad"]["lifecycle"] = 1e-4


@planted("HMM-DEFAULT-UNTRAINED", "behavior", "warning")
def _default_at_zero(w: World) -> None:
    w.embedding["behavior"] = np.zeros(8)


@planted("LT-OVERRELIANCE", "ctr:cvr", "warning")
def _leans(w: World) -> None:
    w.added["ctr:cvr"] = 20 * w.added["ctr:cvr"]


@planted("LT-INACTIVE", "ctr:cvr", "warning")
def _off(w: World) -> None:
    w.added["ctr:cvr"] = np.zeros_like(w.added["ctr:cvr"])


@planted("LT-ORDER", "ctr:cvr", "error")
def _order(w: World) -> None:
    w.facts = replace(w.facts, execution_order=w.facts.execution_order[::-1], edges=("ctr:cvr",))
    w.added = {"ctr:cvr": w.added["ctr:cvr"]}


@planted("LT-SCALE-FREE", "churn:retention", "info")
def _flat(w: World) -> None:
    w.dose["churn:retention"] = DoseResponse("churn:retention", (0.0, 0.5, 1.0), (0.2, 0.2, 0.2001), 0.2, w.n)


@planted("SAE-DEAD", "sae", "warning")
def _dead_latents(w: World) -> None:
    w.latent[:, :100] = 0


@planted("SAE-DENSE", "sae", "warning")
def _dense_latents(w: World) -> None:
    w.latent = np.ones_like(w.latent)
    set_config(w, "sae.activation", "topk")


@planted("SAE-LOW-FVE", "sae", "warning")
def _mean_predictor(w: World) -> None:
    w.reconstruction = np.broadcast_to(w.x.mean(0), w.x.shape)


@planted("EVI-ZERO-EVIDENCE", "ctr", "warning")
def _no_evidence(w: World) -> None:
    w.uncertainty["ctr"] = np.full(w.n, 0.999)


@planted("EVI-MISCALIBRATED", "ctr", "warning")
def _overconfident(w: World) -> None:
    w.probability["ctr"] = np.full(w.n, 0.9)


@planted("EVI-UNINFORMATIVE", "nba", "warning")
def _wrong_way(w: World) -> None:
    w.quality["nba"] = RowQuality(w.n, 0.02, 0.5, 0.3, 0.2, 0.4)


@planted("DATA-EMPTY-FEED", "features:insurance", "warning")
def _no_insurance(w: World) -> None:
    w.absent["features:insurance"][:] = 2
    w.features[:, PART_SLICES["insurance"]] = 0


@planted("DATA-NONFINITE", "features[3]", "error")
def _not_a_number(w: World) -> None:
    w.features[2, 3] = np.nan


@planted("DATA-DRIFT", "features:credit", "warning")
def _drift(w: World) -> None:
    w.features[:, PART_SLICES["credit"]] += 3
    w.features[:, PART_SLICES["deposit"]] += 2


@planted("DATA-OWN-ROWS", "features:rfm", "warning")
def _fitted_on_its_own_rows(w: World) -> None:
    w.features[::2, 4] += 0.77


@planted("DATA-HOLE", "transactions", "warning")
def _hole(w: World) -> None:
    hole = Hole("transactions", "2023-08-01", "2023-08-31", 0.01)
    w.facts = replace(w.facts, hole_costs=costs([hole], ["2023-07-10", "2023-10-08"], 84))


@planted("DATA-SMALL", "run", "info")
def _few(w: World) -> None:
    few = world(40)
    for name in few.__dataclass_fields__:
        setattr(w, name, getattr(few, name))


@planted("RUN-CHANGED", "perslay", "error")
def _reinitialised(w: World) -> None:
    change = TensorChange("perslay", "other", 64, size_then=0.4, size_now=0.1, start="same")
    w.written = replace(w.written, tensors={"experts.perslay.out.weight": change})


@planted("RUN-DIFFERS", "experts.deepfm", "error")
def _another_program(w: World) -> None:
    later = {k: 0.2 for k in w.written.outputs if k.startswith("predictions.")}
    w.written = replace(w.written, outputs={**w.written.outputs, "experts.deepfm": 0.3, **later})


@planted("FIT-OVER", "run", "warning")
def _by_heart(w: World) -> None:
    for line in w.epochs[:8]:
        line["train"]["mean_ratio"] = 1 - 0.06 * line["epoch"]
        line["valid"]["mean_ratio"] = 0.95 + 0.03 * max(0, line["epoch"] - 2)


@planted("FIT-UNDER", "run", "warning")
def _still_falling(w: World) -> None:
    for line in w.epochs:
        line["train"]["mean_ratio"] = line["valid"]["mean_ratio"] = 1.2 - 0.03 * line["epoch"]


@planted("FIT-LINEAR", "tasks", "info")
def _linear(w: World) -> None:
    w.facts = replace(w.facts, blend={task: 0.0 if task in ("nba", "churn") else 0.8 for task in w.facts.tasks})


@planted("FIT-RATE", "learning_rate", "warning")
def _stood_still(w: World) -> None:
    for line in w.epochs:
        line["step_size"] = {"deepfm": 3e-7, "cgc": 5e-7, "towers": 4e-7}


@planted("LABEL-CONSTANT", "churn", "warning")
def _one_label(w: World) -> None:
    w.labels["churn"] = replace(w.labels["churn"], values=1, counts=(w.labels["churn"].n, 0))


@planted("LABEL-CLASS", "channel", "warning")
def _class_left_out(w: World) -> None:
    w.labels["channel"] = replace(w.labels["channel"], trained=(600, 400, 0))


@planted("LABEL-RATE", "churn", "error")
def _positives_missing(w: World) -> None:
    sound = w.labels["churn"]
    n = sound.n
    w.labels["churn"] = replace(
        sound, counts=(n - n // 20, n // 20), rate=Rate(n, n, 0.05, 0.2, 0.19, 0.02),
        missing=Missing("region", ("North", "East"), 0.7, 40.0, 1.0, 0.98),
    )  # fmt: skip


@planted("LABEL-UNIT", "ltv", "error")
def _thousands(w: World) -> None:
    w.labels["ltv"] = replace(w.labels["ltv"], scales=Scales(w.n // 2, 0.5, 3.01, 6.0, 1.9, 1.5))


@planted("LABEL-LEAK", "churn", "warning")
def _given_away(w: World) -> None:
    w.labels["churn"] = replace(
        w.labels["churn"], giveaway=Giveaway("credit_limit", "features:credit", 1.0, 1, "recency", 0.6, w.n)
    )


@planted("SKILL-NONE", "nba", "warning")
def _not_learnt(w: World) -> None:
    w.skill["nba"] = task_skill("nba", "multiclass", w.n // 2, model=0.01)


@planted("SKILL-HARMFUL", "ltv", "error")
def _worse(w: World) -> None:
    w.skill["ltv"] = task_skill("ltv", "regression", w.n // 2, model=-0.2)


@planted("SKILL-BEHIND", "ctr", "warning")
def _behind(w: World) -> None:
    w.skill["ctr"] = task_skill("ctr", "binary", w.n // 2, model=0.1, linear=0.2)


@planted("LABEL-JOIN", "labels", "error")
def _other_customers(w: World) -> None:
    for task in ("churn", "ltv"):
        w.skill[task] = task_skill(task, w.facts.kinds[task], w.n // 2, model=-0.1)
        w.labels[task] = replace(w.labels[task], refound=Refound(w.n // 2, 0.3, Interval(0.0, -0.01, 0.01), 0.2, 0.03))


@planted("INPUT-JOIN", "hmm_behavior", "error")
def _shuffled(w: World) -> None:
    w.rows[:, 4:8] = w.rows[w.rng.permutation(w.n), 4:8]


@planted("INPUT-SENTINEL", "tda_features", "error")
def _stand_in(w: World) -> None:
    w.rows[::10, 13] = -999


def _delivered(**changed: Any) -> Statistics:
    x = healthy()
    assert x.consistency is not None
    return replace(x, consistency=replace(x.consistency, **changed))


PLANTED["INPUT-UNIT"] = lambda: Case(
    _delivered(units=(OtherUnit("features:rfm", "spend_28d", Factor(98.0, 0.04, 7, 600)),)), "features:rfm", "error"
)
PLANTED["INPUT-COPY"] = lambda: Case(
    _delivered(copied=(Copied("features:rfm", "spend_28d", "spend_84d", 600, 0.2),)), "features:rfm", "error"
)
PLANTED["INPUT-WRAPPED"] = lambda: Case(
    _delivered(wrapped=(Wrapped("features:rfm", "spend_28d", 8, False, 0.6, 600, 0.004),)), "features:rfm", "error"
)
PLANTED["DATA-SELECTED"] = lambda: Case(
    _delivered(
        selected=(
            Selected("features:rfm", "recency_days", 7.0, True, 0.3, 0.3, 0.01, 600),
            Selected("features:temporal", "active_week_streak", 1.0, False, 0.3, 0.3, 0.02, 600),
        )
    ),
    "rows",
    "warning",
)
PLANTED["DATA-SHORT"] = lambda: Case(
    _delivered(silent=(Silence("txn_seq", "2025-05-01", 0, 180, 0.25, 600, 0, 90, 0),)), "txn_seq", "warning"
)


def with_codes(order: tuple[int, ...]) -> Statistics:
    """Segments whose rows have other inputs each; at hand code k is what training called `order[k]`."""
    x = healthy()
    assert x.trained is not None
    assert x.unseen is not None
    segments = np.array([50.0, 200.0, 350.0, 0.0, 0.0])
    present = {
        "txn_seq": np.array([0.0, 100, 350, 0, 0]), "session_seq": np.array([0.0, 20, 300, 0, 0]),
        "collaborative_features": np.array([25.0, 150, 350, 0, 0]),
    }  # fmt: skip
    rows = [i if i < 3 else 4 for i in (*order, *range(len(order), 4))]

    def counted(s: DriftStats, at: list[int]) -> DriftStats:
        at = [at[0], at[1], at[2], 3, at[3]]
        classes = {**s.classes, "customer_segment": segments[[0, 1, 2, 4]]}
        return replace(s, n=600, classes=classes, segments=segments[at], present={k: v[at] for k, v in present.items()})

    groups = {k: counted(g, rows) for k, g in x.unseen.groups.items()}
    return replace(x, trained=counted(x.trained, [0, 1, 2, 4]), unseen=replace(x.unseen, groups=groups))


PLANTED["INPUT-CODES"] = lambda: Case(with_codes((1, 2, 0)), "customer_segment", "error")
PLANTED["DATA-STALE"] = lambda: Case(
    _delivered(silent=(Silence("txn_seq", "2025-05-01", 30, 180, 0.25, 600, 0),)), "txn_seq", "warning"
)


@planted("INPUT-DUPLICATE", "rows", "error")
def _twice(w: World) -> None:
    w.people[1] = w.people[0]


@planted("EXP-SCALE", "causal", "warning")
def _faint(w: World) -> None:
    w.outputs["causal"] *= 0.01


@planted("GATE-JITTER", "gates", "warning")
def _saturated(w: World) -> None:
    sharp = np.exp(20 * w.rng.normal(size=w.weights.shape))
    w.weights = sharp / sharp.sum(-1, keepdims=True)
