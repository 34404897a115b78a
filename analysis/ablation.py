"""What each expert is worth to each task: the loss on customers that the model did not learn from, with the expert and without.

Two questions, one table. *Ablated*: one trained model, the expert's block replaced by its mean; the others were never taught to
do without it. *Left out*: a second run trained without the expert; what remains is what no other input could say. A task's loss
is given in percent of the constant predictor's, so that tasks can be compared: +3 means that three hundredths of all that there
was to explain are lost. Intervals are paired bootstraps that resample customers. Experts that read the same input are also
ablated together: which of them a task ends up on is decided by the training, what their input is worth is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from analysis.engine.effects import CHUNK, MIN_LABELS, Engine, Prediction
from analysis.engine.paired import PairedBootstrap
from ple_model.data.synth.truth import CAUSE_EXPERT
from ple_model.errors import UserError, did_you_mean
from ple_model.interval import Interval
from ple_model.losses import standardise
from ple_model.run import load_run

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import Run

Array = NDArray[np.float64]
SMALLEST = 1e-6
"""Probabilities are kept this far from 0 in a logarithm."""
MIN_POSITIVES = 5
"""Rows outside the commonest class below which a classification loss says nothing."""
JOINT = " + "
"""Between the names of experts that are ablated together."""
HOW = {
    "ablated": "each expert's block replaced by its mean",
    "left out": "trained without each expert",
    "unseen": "fitted without each expert's input",
}
"""What was done to an expert, by `Ablation.how`."""


@dataclass(frozen=True)
class Cell:
    """One expert (or several, joined by `JOINT`) and task: extra loss without it, in percent of the constant predictor's loss
    on the same rows."""

    expert: str
    task: str
    n: int
    """Labelled rows."""
    loss: float
    """Loss with the expert, in percent of the constant's (below 100: better than a constant)."""
    extra: Interval

    @property
    def clear(self) -> bool:
        """The interval leaves out 0."""
        return bool(self.extra.low > 0 or self.extra.high < 0)


@dataclass(frozen=True)
class Ablation:
    """Cells of every expert (row) and task (column) that has enough labels. `how` is a key of `HOW`."""

    run: str
    dataset: str
    n: int
    how: str
    cells: tuple[Cell, ...]
    planted: frozenset[tuple[str, str]] = frozenset()
    """(expert, task) pairs that the data's generator planted, where it says so."""

    def cell(self, expert: str, task: str) -> Cell:
        return next(c for c in self.cells if (c.expert, c.task) == (expert, task))

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.expert for c in self.cells))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c.task for c in self.cells))

    def summary(self, expert: str) -> tuple[float, float]:
        """(mean extra loss over the planted tasks, over the others); NaN where there are none."""
        own = [c.extra.value for c in self.cells if c.expert == expert and (expert, c.task) in self.planted]
        rest = [c.extra.value for c in self.cells if c.expert == expert and (expert, c.task) not in self.planted]
        return (float(np.mean(own)) if own else float("nan"), float(np.mean(rest)) if rest else float("nan"))

    def to_dict(self) -> dict[str, Any]:
        cells = [
            {"expert": c.expert, "task": c.task, "n": c.n, "loss": c.loss, "extra": c.extra.value, "low": c.extra.low,
             "high": c.extra.high, "planted": (c.expert, c.task) in self.planted}
            for c in self.cells
        ]  # fmt: skip
        return {
            "run": self.run, "dataset": self.dataset, "n": self.n, "how": self.how,
            "unit": "percent of the constant predictor's loss", "cells": cells,
        }  # fmt: skip

    def markdown(self) -> str:
        """A table, experts in rows; bold: the interval leaves out 0; brackets: planted."""
        head = ["expert", *self.tasks] + (["planted", "others"] if self.planted else [])
        lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
        lines.append(
            "| "
            + " | ".join(["*loss*", *(f"{self._loss(t):.0f}" for t in self.tasks), *([""] * 2 * bool(self.planted))])
            + " |"
        )
        cells = {(c.expert, c.task): c for c in self.cells}
        for expert in self.experts:
            row = [expert]
            for task in self.tasks:
                c = cells[expert, task]
                text = f"{c.extra.value:+.1f}"
                text = f"**{text}**" if c.clear else text
                row.append(f"[{text}]" if (expert, task) in self.planted else text)
            if self.planted:
                row += ["–" if np.isnan(v) else f"{v:+.2f}" for v in self.summary(expert)]
            lines.append("| " + " | ".join(row) + " |")
        return "\n".join(lines)

    def _loss(self, task: str) -> float:
        return next(c.loss for c in self.cells if c.task == task)

    def __str__(self) -> str:
        width = max(len(t) for t in (*self.tasks, "task"))
        what = HOW[self.how]
        names = [f"{e[:6]} +{e.count(JOINT)}" if JOINT in e else e[:12] for e in self.experts]
        lines = [
            f"{self.run} on {self.dataset}, {self.n} rows that it did not learn from; {what}",
            "extra loss in percent of the constant predictor's; * the 95 % interval leaves out 0"
            + ("; [] planted" if self.planted else ""),
            f"{'task':<{width}}{'loss':>7}" + "".join(f"{n:>14}" for n in names),
        ]
        for task in self.tasks:
            line = f"{task:<{width}}{self._loss(task):>7.1f}"
            for expert in self.experts:
                c = self.cell(expert, task)
                text = f"{c.extra.value:+.2f}{'*' if c.clear else ''}"
                line += f"{f'[{text}]' if (expert, task) in self.planted else text:>14}"
            lines.append(line)
        return "\n".join(lines)


@torch.no_grad()
def row_losses(engine: Engine, task: str, prediction: Prediction) -> tuple[Array, NDArray[np.bool_], float] | None:
    """(loss of each row [n], rows with a label [n], mean loss of the best constant on them), or None without enough labels.

    Binary: log loss of the calibrated probability; multiclass and contrastive: negative log-likelihood; regression: squared
    error in standard deviations of the label.
    """
    label = engine.targets.get(task)
    if label is None:
        return None
    kind = engine.kinds[task]
    if kind == "regression":
        y = standardise(label.double(), engine.model.context.label_scalers.get(task)).numpy()
        error = (prediction.raw - y) ** 2
        spread = (y - np.nanmean(y, axis=0)) ** 2
        error, spread = (v.mean(1) if v.ndim > 1 else v for v in (error, spread))
        known = np.isfinite(error)
        return None if known.sum() < MIN_LABELS else (np.where(known, error, 0), known, float(spread[known].mean()))
    code = label.numpy()
    known = code >= 0
    if kind == "binary":
        p = np.clip(prediction.shown, SMALLEST, 1 - SMALLEST)
        values = -np.log(np.where(code == 1, p, 1 - p))
    elif kind == "multiclass":
        picked = np.take_along_axis(prediction.raw, np.where(known, code, 0)[:, None], 1)[:, 0]
        values = -np.log(np.clip(picked, SMALLEST, 1))
    else:
        values, known = _brand_losses(engine, prediction, code)
    n = int(known.sum())
    counts = np.bincount(code[known]) if n else np.zeros(1)
    if n < MIN_LABELS or n - counts.max() < MIN_POSITIVES:
        return None
    share = counts[counts > 0] / n
    return np.where(known, values, 0), known, float(-(share * np.log(share)).sum())


def _brand_losses(engine: Engine, prediction: Prediction, code: NDArray[Any]) -> tuple[Array, NDArray[np.bool_]]:
    values, known = np.zeros(len(code)), np.zeros(len(code), dtype=bool)
    for start in range(0, len(code), CHUNK):
        scores = engine.model.brand_logits(torch.from_numpy(prediction.raw[start : start + CHUNK]).float()).double()
        y = torch.from_numpy(code[start : start + CHUNK]).long()
        there = (y >= 0) & (y < scores.shape[1])
        picked = torch.log_softmax(scores, 1).gather(1, torch.where(there, y, 0)[:, None])[:, 0]
        values[start : start + CHUNK], known[start : start + CHUNK] = -picked.numpy(), there.numpy()
    return values, known


def ablate(
    run: Run | Path | str,
    dataset: Dataset | Path | None = None,
    *,
    without: Mapping[str, Run | Path] | None = None,
    planted: frozenset[tuple[str, str]] = frozenset(),
    sample: int = 10_000,
    seed: int = 0,
    bootstrap: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Extra loss of every task without each expert: its block at its mean or, given `without` (expert -> a run trained without
    it), that run in its place. `UserError` for an unknown expert."""
    opened = load_run(run) if isinstance(run, (str, Path)) else run
    engine = Engine.cached(opened, dataset=dataset, sample=sample, seed=seed)
    data = opened.sample() if dataset is None else dataset
    chosen = list(engine.model.expert_names if without is None else without)
    for expert in chosen:
        if expert not in engine.model.expert_names:
            raise UserError(f"no expert '{expert}'{did_you_mean(expert, engine.model.expert_names)}")
    if without is None:
        groups = {JOINT.join(g): g for g in same_input(engine.model)}
        chosen += list(groups)
        planted |= {(joint, task) for joint, group in groups.items() for expert, task in planted if expert in group}
    before = {t: row_losses(engine, t, p) for t, p in engine.before.items()}
    cells: list[Cell] = []
    for i, expert in enumerate(chosen):
        if without is None:
            ablated = [f"ablate.{e}=mean" for e in expert.split(JOINT)]
            other, after = engine, engine.predict(engine.parse(ablated))
        else:
            other = Engine.cached(without[expert], dataset=data, sample=sample, seed=seed)
            if other.customers != engine.customers:
                raise UserError(f"{without[expert]}: it was measured on other customers; give both the same --dataset")
            after = other.before
        for task, base in before.items():
            found = row_losses(other, task, after[task]) if task in after else None
            if base is not None and found is not None:
                cells.append(_cell(expert, task, base, found, engine.customers, bootstrap, seed))
        if progress is not None:
            progress(i + 1, len(chosen))
    name = data.name if isinstance(data, Path) else data.manifest.name
    how = "ablated" if without is None else "left out"
    tasks = {t for t, v in before.items() if v is not None}
    marked = frozenset(p for p in planted if p[0] in chosen and p[1] in tasks)
    return Ablation(opened.path.name, name, len(engine), how, tuple(cells), marked)


def same_input(model: PLEClusterAdaTT) -> tuple[tuple[str, ...], ...]:
    """Groups of two and more experts that read exactly the same fields, each in the model's order."""
    by: dict[frozenset[str], list[str]] = {}
    for name in model.expert_names:
        reads: tuple[str, ...] = model.experts[name].reads  # type: ignore[assignment]
        by.setdefault(frozenset(reads), []).append(name)
    return tuple(tuple(names) for names in by.values() if len(names) > 1)


def _cell(
    expert: str,
    task: str,
    before: tuple[Array, NDArray[np.bool_], float],
    after: tuple[Array, NDArray[np.bool_], float],
    customers: Sequence[str],
    rounds: int,
    seed: int,
) -> Cell:
    known, scale = before[1] & after[1], 100 / before[2]
    groups = [c for c, k in zip(customers, known, strict=True) if k]
    b, _, extra = PairedBootstrap.of_means(before[0][known] * scale, after[0][known] * scale, groups).run(rounds, seed)
    return Cell(expert, task, int(known.sum()), b.value, extra)


def planted_pairs(truth: Path) -> frozenset[tuple[str, str]]:
    """(expert, task) pairs of a synthetic bank's `truth.parquet`. `UserError` if it cannot be read."""
    try:
        table = pq.read_table(truth, columns=["cause", "task"])
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"{truth}: not a truth table of the synthetic bank ({str(e).splitlines()[0]})") from e
    pairs = table.group_by(["cause", "task"]).aggregate([]).to_pylist()
    return frozenset((CAUSE_EXPERT[p["cause"]], p["task"]) for p in pairs if p["cause"] in CAUSE_EXPERT)
