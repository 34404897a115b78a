"""What came of a distillation: the student beside its teacher and, where it was trained, beside itself without a teacher.

All are judged on the same rows by the same yardsticks (`evaluate.model_losses`); a difference is of row losses, in shares of
what a constant loses, with the interval of whole customers resampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.config_values import config_values
from ple_model.data.dataset.reader import Dataset
from ple_model.distill.latency import BATCHES, ModelSize, latencies, size_of
from ple_model.errors import UserError
from ple_model.evaluate import HEADLINE, model_losses
from ple_model.interval import Interval
from ple_model.metrics import BY_KIND
from ple_model.numerals import fixed
from ple_model.row_loss import Yardstick
from ple_model.run import Run
from ple_model.scoring import Scores, score
from ple_model.skill import Resamples, stored
from ple_model.yardsticks import of_run

Array = NDArray[np.float64]
STUDENT, TEACHER, ALONE = "student", "teacher", "alone"


@dataclass(frozen=True)
class TaughtTask:
    """One task: its headline metric and its skill (1 - loss / constant's loss) by model, and how far the student is behind each
    of the others ((student's loss - other's) / constant's; below 0 it is ahead)."""

    task: str
    kind: str
    n: int
    metric: str
    metrics: dict[str, float]
    skill: dict[str, float]
    behind: dict[str, Interval]


@dataclass(frozen=True)
class TrainingSpent:
    """What a training took, as its run says: epochs and steps until it ended, wall seconds of all processes that worked on it
    (None where it is not known). What the teacher's answers cost is in the student's."""

    epochs: int
    steps: int
    seconds: float | None


@dataclass(frozen=True)
class DistillationReport:
    """What `ple distill` prints. `behind`: the mean over tasks."""

    run: str
    split: str
    runs: dict[str, str]
    tasks: tuple[TaughtTask, ...]
    behind: dict[str, Interval]
    sizes: dict[str, ModelSize]
    milliseconds: dict[str, dict[int, float]]
    spent: dict[str, TrainingSpent]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"milliseconds": {k: {str(b): v for b, v in m.items()} for k, m in self.milliseconds.items()}}

    def table(self) -> str:
        names = list(self.runs)
        others = [n for n in names if n != STUDENT]
        lines = [", ".join(f"{k}: {v}" for k, v in self.runs.items()) + f"; {self.split} split", ""]
        head = "".join(f"{n:>9}" for n in names)
        lines.append(f"{'task':<20}{'n':>6}  {'metric':<13}{head}   {'skill':<6}{head}")
        for t in self.tasks:
            metrics = "".join(f"{fixed(t.metrics.get(n), 3):>9}" for n in names)
            skills = "".join(f"{fixed(t.skill.get(n), 3):>9}" for n in names)
            lines.append(f"{t.task:<20}{t.n:>6}  {t.metric:<13}{metrics}         {skills}")
        lines += ["", f"{'student behind, in shares of what a constant loses':<52}" + "".join(f"{n:<28}" for n in others)]
        for name, behind in [*((t.task, t.behind) for t in self.tasks), ("mean over tasks", self.behind)]:
            lines.append(f"{name:<52}" + "".join(f"{_interval(behind.get(n)):<28}" for n in others))
        lines += [
            "",
            f"{'':<12}{'parameters':>12}{'serving':>12}{'file':>10}" + "".join(f"{f'batch {b:,}':>14}" for b in BATCHES)
            + f"{'epochs':>9}{'steps':>9}{'trained for':>13}",
        ]  # fmt: skip
        for name in names:
            s, ms, spent = self.sizes[name], self.milliseconds[name], self.spent[name]
            times = "".join(f"{f'{ms[b]:.1f} ms':>14}" for b in BATCHES)
            took = "-" if spent.seconds is None else f"{spent.seconds:,.0f} s"
            size = f"{s.parameters:>12,}{s.serving:>12,}{f'{s.bytes / 1e6:.1f} MB':>10}"
            lines.append(f"{name:<12}{size}{times}{spent.epochs:>9,}{spent.steps:>9,}{took:>13}")
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def __str__(self) -> str:
        return self.table()


def _interval(found: Interval | None) -> str:
    if found is None or not np.isfinite(found.value):
        return "-"
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})" if np.isfinite(found.low) else f"{found.value:+.3f}"


def report(student: Run, teacher: Run, alone: Run | None, dataset: Dataset, split: str = "test") -> DistillationReport:
    """Measure all of them on `split` of the dataset. `UserError` where it has no rows."""
    if dataset.rows(split) == 0:
        raise UserError(f"{dataset.path} has no rows in its {split} split")
    runs = {STUDENT: student, TEACHER: teacher} | ({ALONE: alone} if alone is not None else {})
    models = {k: r.model() for k, r in runs.items()}
    scores = {k: score(models[k], dataset, split, calibration=r.calibration) for k, r in runs.items()}
    for found in scores.values():
        found.tally.raise_if_any()
    judges = {t: of_run(student, dataset, s.spec, stored(dataset)) for t, s in scores[STUDENT].tasks.items() if len(s)}
    resamples = Resamples(scores[STUDENT].customer_id)
    losses = {k: _losses(runs[k], scores[k], judges) for k in runs}
    constant = _constant(scores[STUDENT], judges)
    tasks = tuple(_task(t, scores, losses, constant, resamples) for t in constant)
    mean = {
        k: resamples.mean_share([(losses[STUDENT][t] - losses[k][t], constant[t]) for t in constant if t in losses[k]])
        for k in runs
        if k != STUDENT
    }
    return DistillationReport(
        student.name, split, {k: r.name for k, r in runs.items()}, tasks, mean,
        {k: size_of(r, models[k]) for k, r in runs.items()}, latencies(models, dataset, split),
        {k: training_spent(r) for k, r in runs.items()}, tuple(_notes(student, alone)),
    )  # fmt: skip


def training_spent(run: Run) -> TrainingSpent:
    """From the run's progress and manifest."""
    epochs = [line for line in run.progress(steps=False) if line["event"] == "epoch"]
    return TrainingSpent(len(epochs), sum(int(line.get("steps", 0)) for line in epochs), run.manifest.seconds)


def _losses(run: Run, scores: Scores, judges: Mapping[str, Yardstick | None]) -> dict[str, Array]:
    """By task the losses [rows of the split], 0 where the task has no label there."""
    found = {}
    for task, judge in judges.items():
        if judge is None or task not in scores.tasks:
            continue
        rows = scores.tasks[task]
        found[task] = np.zeros(len(scores.customer_id))
        found[task][rows.row] = np.nan_to_num(model_losses(run, judge, rows))
    return found


def _constant(scores: Scores, judges: Mapping[str, Yardstick | None]) -> dict[str, Array]:
    """The same of the constant."""
    found = {}
    for task, judge in judges.items():
        rows = scores.tasks[task]
        if judge is None or not (there := judge.known(rows.label)).any():
            continue
        found[task] = np.zeros(len(scores.customer_id))
        found[task][rows.row[there]] = judge.of_constant(rows.label[there])
    return found


def _task(
    task: str, scores: Mapping[str, Scores], losses: Mapping[str, Mapping[str, Array]], constant: Mapping[str, Array],
    resamples: Resamples,
) -> TaughtTask:  # fmt: skip
    spec = scores[STUDENT].tasks[task].spec
    have = [k for k in scores if task in scores[k].tasks and task in losses[k]]
    metrics = {k: _headline(scores[k], task) for k in have}
    skill = {k: 1 - float(losses[k][task].sum() / constant[task].sum()) for k in have if constant[task].sum()}
    behind = {
        k: resamples.share(losses[STUDENT][task] - losses[k][task], constant[task]) for k in have if k != STUDENT
    }  # fmt: skip
    n = len(scores[STUDENT].tasks[task])
    return TaughtTask(task, spec.kind, n, HEADLINE[spec.kind], metrics, skill, behind)


def _headline(scores: Scores, task: str) -> float:
    rows = scores.tasks[task]
    return float(BY_KIND[rows.spec.kind](rows.label, rows.prediction, None).get(HEADLINE[rows.spec.kind], float("nan")))


def _notes(student: Run, alone: Run | None) -> list[str]:
    """What makes the comparison less than one of a student with and without a teacher."""
    if alone is None:
        return []
    ours, theirs = config_values(student.config), config_values(alone.config)
    other = [k for k in dict.fromkeys([*ours, *theirs]) if ours.get(k) != theirs.get(k) and not k.startswith("distillation.")]
    found = []
    if other:
        found.append(f"'{alone.name}' is not the same student: it differs in {', '.join(other[:5])}")
    here, there = training_spent(student), training_spent(alone)
    if not other and here.steps != there.steps:
        found.append(
            f"both were given the same epochs at most; '{student.name}' was best and stopped after {here.steps:,} steps, "
            f"'{alone.name}' after {there.steps:,}"
        )
    if alone.manifest.data.fingerprint != student.manifest.data.fingerprint:
        found.append(f"'{alone.name}' was trained on other data ('{alone.manifest.data.name}')")
    if alone.manifest.teacher is not None:
        found.append(f"'{alone.name}' had a teacher of its own, '{alone.manifest.teacher.name}'")
    return found
