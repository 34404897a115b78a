"""`ple evaluate`: how good a run's predictions are, next to what simpler things reach on the same rows.

The baselines are those of `baselines.py`, fitted on the training split alone and measured on the same labelled rows: those that
lie with the dataset, measured and kept there if there are none. Skill is 1 - mean loss / mean loss of the constant (`skill`).
Intervals are 95% percentile bootstraps that resample customers, not rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.amounts import AmountMap, amount_metrics
from ple_model.baseline_folder import SPLITS, StoredBaselines
from ple_model.baselines import Progress, measure_all, metrics_of
from ple_model.constant_metrics import constant, training_labels
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.finish import base_rate
from ple_model.interval import Interval
from ple_model.metrics import BY_KIND, Metrics, bootstrap
from ple_model.numerals import fixed
from ple_model.row_loss import Yardstick, of_own
from ple_model.run import Run
from ple_model.scoring import Scores, TaskRows, score
from ple_model.skill import FOLDER, ORDER, PAIRED, Resamples, stored, why_not
from ple_model.yardsticks import of_run, usable

NAMES = {"boosting": "gradient_boosting"}
"""Baselines that have another name here than where they are kept."""
SAID = (
    "base: share of positives, or of the commonest class, among these very rows",
    "constant: what the best constant answer of the training rows reaches on them, by the metric above or the loss here",
    "skill: 1 - loss / loss of the constant; 0 is a constant, below 0 is worse than one",
)
HEADLINE = {"binary": "auc", "multiclass": "accuracy", "regression": "spearman", "contrastive": "recall_at_10"}


@dataclass(frozen=True)
class ComparedLosses:
    """Mean losses on the same rows by name (`model`, `constant`, baselines) and what follows from them."""

    loss: str
    losses: dict[str, float]
    skill: Interval
    behind: dict[str, Interval]
    """(model's loss - other's) / constant's, paired by row."""

    def to_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "losses": self.losses, "skill": asdict(self.skill),
                "behind": {k: asdict(v) for k, v in self.behind.items()}}  # fmt: skip


@dataclass(frozen=True)
class TaskEvaluation:
    """One task on one split. `metrics` holds each metric, and its interval as `<name>_low`, `<name>_high`."""

    task: str
    kind: str
    n: int
    metrics: Metrics
    base_rate: float | None
    baselines: dict[str, Metrics] = field(default_factory=dict)
    skill: ComparedLosses | None = None


@dataclass(frozen=True)
class Evaluation:
    """What `ple evaluate` prints."""

    run: str
    split: str
    dataset: str
    tasks: tuple[TaskEvaluation, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        tasks = [
            {
                "task": t.task, "kind": t.kind, "n": t.n, "metrics": t.metrics, "base_rate": t.base_rate,
                "baselines": t.baselines, "skill": None if t.skill is None else t.skill.to_dict(),
            }
            for t in self.tasks
        ]  # fmt: skip
        return {"run": self.run, "split": self.split, "dataset": self.dataset, "tasks": tasks, "notes": list(self.notes)}

    def table(self) -> str:
        """One line a task: its headline metric with interval, and the same metric of the baselines."""
        names = list(dict.fromkeys(b for t in self.tasks for b in t.baselines))
        head = f"{'task':<20}{'n':>7}{'base':>8}  {'metric':<14}{'model':>8} {'95% interval':<17}"
        lines = [f"{self.run}, {self.split} split of {self.dataset}", "", head + "".join(f"{n:>19}" for n in names)]
        for t in self.tasks:
            metric = HEADLINE[t.kind]
            low, high = t.metrics.get(f"{metric}_low"), t.metrics.get(f"{metric}_high")
            interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
            lines.append(
                f"{t.task:<20}{t.n:>7}{fixed(t.base_rate, 3):>8}  {metric:<14}{fixed(t.metrics.get(metric), 3):>8} "
                f"{interval:<17}" + "".join(f"{fixed(t.baselines.get(n, {}).get(metric), 3):>19}" for n in names)
            )
        lines += ["", *self._skill_lines(), ""]
        for t in (t for t in self.tasks if "sum_ratio" in t.metrics):
            m = t.metrics
            lines.append(
                f"{t.task} in its own unit: R2 {fixed(m['r2_amount'], 3)} (of logs {fixed(m['r2'], 3)}), predicted means add up"
                f" to {fixed(m['sum_ratio'], 3)} of what was"
            )
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def _skill_lines(self) -> list[str]:
        """One line a task: how much less than the constant the model loses, and the same of the baselines."""
        have = [t for t in self.tasks if t.skill is not None]
        names = [n for n in ORDER[1:] if any(t.skill is not None and n in t.skill.losses for t in have)]
        head = f"{'skill':<20}{'loss':<16}{'constant':>9}{'model':>9} {'95% interval':<18}"
        lines = [head + "".join(f"{n:>13}" for n in names)]
        for t in have:
            assert t.skill is not None
            s, base = t.skill, t.skill.losses["constant"]
            interval = f"{s.skill.low:+.3f} to {s.skill.high:+.3f}" if np.isfinite(s.skill.low) else ""
            others = (f"{1 - s.losses[n] / base:>+13.3f}" if n in s.losses and base > 0 else f"{'-':>13}" for n in names)
            lines.append(f"{t.task:<20}{s.loss:<16}{base:>9.3f}{s.skill.value:>+9.3f} {interval:<18}" + "".join(others))
        return [*lines, "", *SAID]

    def __str__(self) -> str:
        return self.table()


def evaluate(
    run: Run, dataset: Dataset | None = None, split: str = "test", *, bootstrap_rounds: int = 200, boosting: bool = True,
    device: str = "cpu", progress: Progress | None = None,
) -> Evaluation:  # fmt: skip
    """Metrics by task of `run` on `split` of `dataset` (default: the dataset it was trained on, else the run's own sample).

    `boosting`: measure the dataset's baselines, and keep them, if it has none; without it only those that cost nothing."""
    notes: list[str] = []
    if dataset is None:
        dataset = run.dataset()
        if dataset is None:
            dataset = run.sample()
            notes.append("the training dataset is not at hand: these are the customers stored with the run")
    elif dataset.manifest.fingerprint != run.manifest.data.fingerprint:
        notes.append(f"the run was trained on other data ('{run.manifest.data.name}')")
    if dataset.rows(split) == 0:
        raise UserError(f"{dataset.path} has no rows in its {split} split")
    scores = score(run.model(device), dataset, split, calibration=run.calibration)
    scores.tally.raise_if_any()
    baselines, said = _baselines(dataset, split, boosting, run.manifest.seed, progress)
    known = training_labels(dataset)
    found: list[TaskEvaluation] = []
    for name, rows in scores.tasks.items():
        if not len(rows):
            notes.append(f"task '{name}' has no labels in the {split} split")
            continue
        one = _evaluate_task(name, rows, scores, bootstrap_rounds, run.amounts.get(name))
        others = {"constant": constant(rows, known[name])} if len(known.get(name, ())) else {}
        if baselines is not None and split in SPLITS:
            others |= {NAMES.get(k, k): v for k, v in metrics_of(baselines, rows.spec, split, rows.row, rows.label).items()}
        skill = _skill(run, dataset, scores, name, baselines, bootstrap_rounds)
        found.append(replace(one, baselines=others, skill=skill))
    return Evaluation(run.name, split, dataset.manifest.name, tuple(found), (*notes, *said))


def _baselines(
    dataset: Dataset, split: str, boosting: bool, seed: int, progress: Progress | None
) -> tuple[StoredBaselines | None, list[str]]:
    """Those that lie with the dataset, or fitted now; with what a reader must know of them."""
    if not dataset.rows("train"):
        return stored(dataset), ["no training rows at hand: no baselines"]
    if split not in SPLITS:
        return None, ["baselines are not measured on the rows that they are fitted on: only the constant stands beside these"]
    found = stored(dataset)
    if found is not None:
        what = "the whole dataset that these rows were taken from" if found.extract else str(dataset.path)
        said = [f"baselines are those kept with {dataset.path}, fitted on the training rows of {what}"]
        if not found.current:
            said.append("they were measured by another version of this program")
        return found, [*said, *found.notes]
    if not boosting:
        found = measure_all(dataset, progress, seed=seed, keep=False, quick=True)
        return found, [f"linear model and boosting left out: {why_not(dataset)}", *found.notes]
    why = why_not(dataset)
    found = measure_all(dataset, progress, seed=seed)
    fitted = f"baselines were fitted on {dataset.rows('train'):,} training rows in {found.seconds:.0f} s ({why})"
    kept = f"they could not be kept there: {found.unkept}" if found.unkept else f"they are kept in {dataset.path / FOLDER}"
    return found, [fitted, kept, *found.notes]


def _evaluate_task(name: str, rows: TaskRows, scores: Scores, rounds: int, amounts: AmountMap | None) -> TaskEvaluation:
    metric = BY_KIND[rows.spec.kind]
    values = dict(metric(rows.label, rows.prediction, None))
    if rounds:
        found = bootstrap(metric, rows.label, rows.prediction, scores.customers(name), rounds=rounds)
        for key, (low, high) in found.items():
            values[f"{key}_low"], values[f"{key}_high"] = low, high
    if amounts is not None:
        paid, mean = np.expm1(rows.label), amounts(rows.prediction)
        values |= amount_metrics(paid, mean)
        found = bootstrap(amount_metrics, paid, mean, scores.customers(name), rounds=rounds) if rounds else {}
        for key, (low, high) in found.items():
            values[f"{key}_low"], values[f"{key}_high"] = low, high
    return TaskEvaluation(name, rows.spec.kind, len(rows), values, base_rate(rows))


def model_losses(run: Run, judge: Yardstick, rows: TaskRows) -> NDArray[np.float64]:
    """[n] losses of a task's rows as its yardstick judges them; NaN for those that it cannot judge."""
    there = judge.known(rows.label)
    label, told = rows.label[there], rows.prediction[there]
    found = np.full(len(rows), np.nan)
    if rows.own is not None:
        found[there] = of_own(rows.own[there])
    elif rows.spec.kind == "regression":
        # as the task is trained: without the shift that makes its sums right, which Huber's loss does not ask for
        shift = run.shifts.get(rows.spec.name)
        found[there] = judge.of_amounts(label, told if shift is None else told - shift.shift)
    else:
        found[there] = judge.of_probabilities(label, told)
    return found


def _skill(
    run: Run, dataset: Dataset, scores: Scores, name: str, baselines: StoredBaselines | None, rounds: int
) -> ComparedLosses | None:
    """None where no training label says what a constant would be."""
    rows = scores.tasks[name]
    judge = of_run(run, dataset, rows.spec, baselines)
    if judge is None:
        return None
    there = judge.known(rows.label)
    if not there.any():
        return None
    model = model_losses(run, judge, rows)[there]
    losses = {"constant": judge.of_constant(rows.label[there])}
    if baselines is not None and usable(run, rows.spec, baselines) is not None:
        kept = {k: v[rows.row][there] for k, v in baselines.losses(name, scores.split).items() if k != "constant"}
        losses |= {k: v for k, v in kept.items() if np.isfinite(v).all()}
    losses["model"] = model
    customers = np.asarray(scores.customers(name))[there]
    resamples = Resamples(customers, rounds=rounds)
    share = resamples.share(model, losses["constant"])
    behind = {k: resamples.share(model - losses[k], losses["constant"]) for k in PAIRED if k in losses}
    means = {k: float(v.mean()) for k, v in losses.items()}
    return ComparedLosses(judge.loss, means, Interval(1 - share.value, 1 - share.high, 1 - share.low), behind)
