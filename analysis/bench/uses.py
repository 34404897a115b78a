"""Does the model use a planted cause at all? Where it does not, no attribution of it can name the cause.

Of a task and a cause, on labelled customers whom training did not see:

* **The loss without it**: what the task loses when everything that carries the cause (`CARRIERS`) comes from another customer,
  the same one for all of it (permutation importance: Breiman, Machine Learning 2001; Fisher et al., JMLR 2019). These
  inputs may carry other things too, so a rise is necessary and not sufficient.
* **Its direction**: where the truth table gives each customer another strength and the task answers with one number, how that
  strength goes along with what the prediction owes to these inputs (the prediction less that with all of them at the typical
  customer's), as a rank correlation over customers. Inputs that move the prediction for other reasons do not go along with it.

The model *uses* the cause where the interval of the rise lies above 0 and, where it can be told, that of the correlation is on
one side of 0; both by resampling customers.

Of one question: with all inputs that carry a true cause at the typical customer's, does the prediction move by at least as much
as by the last of the reasons that are counted? Where not, these inputs *weigh too little* to be among them in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.bench.planted import CARRIERS, Planted
from analysis.engine.attribution import Tensors
from analysis.engine.explainer import Explainer, single
from analysis.engine.paired import PairedBootstrap
from analysis.engine.reference import Path
from analysis.engine.score import Score
from analysis.judging import Judge
from analysis.wording import OPAQUE
from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.interval import Interval
from ple_model.schema import FeatureSchema

Array = NDArray[np.float64]
ROWS = 400
"""Customers on whom it is measured, at most."""
SHUFFLES = 3
ROUNDS = 1000
FEWEST = 10
"""Customers with another strength than the rest, below which a correlation says nothing."""


@dataclass(frozen=True)
class Use:
    """`rise`: the mean loss with the cause's inputs from others, less that with one's own; `along`: the rank correlation, None
    where it cannot be told."""

    rise: Interval
    along: Interval | None
    customers: int

    @property
    def used(self) -> bool:
        """Whether the model provably uses the cause."""
        return self.rise.low > 0 and (self.along is None or self.along.low > 0 or self.along.high < 0)


@dataclass(frozen=True)
class Carrying:
    """Which columns of `features` [n] and which other fields carry any of some causes."""

    columns: NDArray[np.bool_]
    fields: frozenset[str]

    @staticmethod
    def of(causes: Iterable[str], schema: FeatureSchema, fields: Sequence[str]) -> Carrying:
        """A part that speaks as one is carried as one."""
        lines = [CARRIERS[c] for c in causes]

        def held(name: str) -> bool:
            return any(line.holds(name) for line in lines)

        columns = [held(c.name) or (c.part in OPAQUE and held(c.part)) for c in schema.columns]
        return Carrying(np.array(columns), frozenset(f for f in fields if f != "features" and held(f)))

    def typical(self, path: Path) -> Tensors:
        """The customer with all of it at the typical customer's."""
        columns, out = torch.from_numpy(self.columns), []
        for name, end, start in zip(path.fields, path.ends, path.starts, strict=True):
            out.append(torch.where(columns, start, end) if name == "features" else start if name in self.fields else end)
        return tuple(out)

    def from_others(self, inputs: PLEClusterInput, order: Tensor) -> PLEClusterInput:
        """Each row with all of it as the row `order` has it."""
        others = inputs.features[order]
        moved: dict[str, Any] = {"features": torch.where(torch.from_numpy(self.columns), others, inputs.features)}
        for name in self.fields:
            if (value := getattr(inputs, name)) is not None:
                moved[name] = value[order]
        there = {k: v[order] if k in self.fields else v for k, v in (inputs.presence or {}).items()}
        return replace(inputs, presence=there or None, **moved)


def unseen(data: Dataset, seed: int) -> list[int]:
    """One row of each customer whom training did not see, at most `ROWS`."""
    table = data.table(["customer_id", "split"])
    ids, splits = (table.column(c).to_pylist() for c in ("customer_id", "split"))
    first: dict[str, int] = {}
    for i in np.random.default_rng(seed).permutation(len(ids)):
        if splits[i] != "train":
            first.setdefault(ids[i], int(i))
    return sorted(list(first.values())[:ROWS])


def measure_uses(
    explainer: Explainer, data: Dataset, planted: Planted, wanted: Mapping[str, Iterable[str]], seed: int = 0
) -> dict[tuple[str, str], Use]:
    """By (task, cause) of `wanted`, where an input carries the cause at all."""
    rows = unseen(data, seed)
    batch = data.take(rows)
    judge = Judge(explainer.run, explainer.model, data, explainer.calibration)
    schema, names = explainer.model.context.schema, Path.of(single(batch.inputs), explainer.reference).fields
    orders = [torch.from_numpy(np.random.default_rng(seed + k).permutation(len(rows))) for k in range(SHUFFLES)]
    every = sorted({c for causes in wanted.values() for c in causes if CARRIERS[c].inputs})
    own = _losses(explainer, judge, batch.inputs, wanted, np.array(rows))
    found = {}
    for cause in every:
        carrying = Carrying.of([cause], schema, names)
        without = [_losses(explainer, judge, carrying.from_others(batch.inputs, o), wanted, np.array(rows)) for o in orders]
        tasks = [t for t, causes in wanted.items() if cause in causes and t in own]
        owed = _owed(explainer, batch.inputs, carrying, tasks)
        for task in tasks:
            lost = np.mean([w[task] for w in without], axis=0)
            there = np.isfinite(own[task]) & np.isfinite(lost)
            customers = [c for c, on in zip(batch.customer_id, there, strict=True) if on]
            rise = PairedBootstrap.of_means(own[task][there], lost[there], customers).run(ROUNDS, seed)[2]
            strength = np.array(
                [
                    planted.at_work(c, task, date.fromisoformat(d)).get(cause, 0.0)
                    for c, d in zip(batch.customer_id, batch.cutoff, strict=True)
                ]
            )
            found[task, cause] = Use(rise, _along(strength, owed[task], seed) if task in owed else None, len(customers))
    return found


def _losses(
    explainer: Explainer, judge: Judge, inputs: PLEClusterInput, wanted: Mapping[str, Iterable[str]], rows: NDArray[np.int64]
) -> dict[str, Array]:
    """task -> [rows] what the model loses, NaN without a label."""
    with torch.no_grad():
        output = explainer.model(replace(inputs, targets=None))
    found = {}
    for task in wanted:
        columns = judge.columns(task, rows, inputs.targets or {}, output.predictions[task].float())
        if columns:
            found[task] = columns[f"w:{task}:model"].to_numpy(zero_copy_only=False).astype(np.float64)
    return found


def _owed(explainer: Explainer, inputs: PLEClusterInput, carrying: Carrying, tasks: Sequence[str]) -> dict[str, Array]:
    """task -> [rows] what a prediction of one number owes to these inputs, NaN where the task is not defined."""
    model = explainer.model
    single_number = [t for t in tasks if model.tasks[t].kind in ("binary", "regression") and model.tasks[t].out_dim == 1]
    found: dict[str, list[float]] = {t: [] for t in single_number}
    for i in range(len(inputs) if single_number else 0):
        one = single(inputs.rows(slice(i, i + 1)))
        path = Path.of(one, explainer.reference)
        both = tuple(torch.cat([e, t]) for e, t in zip(path.ends, carrying.typical(path), strict=True))
        with torch.no_grad():
            output = model.decode(model.encode(path.inputs(both)), sae=False, evidential=False)
        for task in single_number:
            value = Score(model, task, None, explainer.calibration.get(task))(output)
            found[task].append(float(value[0] - value[1]) if bool(one.defined(task)[0]) else np.nan)
    return {t: np.array(v) for t, v in found.items()}


def _along(strength: Array, owed: Array, seed: int) -> Interval | None:
    """The rank correlation over customers with its interval; None where the strength hardly varies."""
    from scipy.stats import rankdata, spearmanr  # late: scipy

    there = np.isfinite(owed)
    strength, owed = strength[there], owed[there]
    if not len(strength) or (strength != np.median(strength)).sum() < FEWEST or np.ptp(owed) == 0:
        return None
    value = float(spearmanr(strength, owed).statistic)
    rng, draws = np.random.default_rng(seed), []
    for _ in range(ROUNDS):
        i = rng.integers(0, len(strength), len(strength))
        a, b = rankdata(strength[i]), rankdata(owed[i])
        if np.ptp(a) > 0 and np.ptp(b) > 0:
            draws.append(float(np.corrcoef(a, b)[0, 1]))
    low, high = np.percentile(draws, (2.5, 97.5))
    return Interval(value, float(low), float(high))


def weighs(explainer: Explainer, path: Path, score: Score, causes: Iterable[str]) -> float:
    """By how much the prediction moves, in either direction, with all inputs of these causes at the typical customer's."""
    carrying = Carrying.of(causes, explainer.model.context.schema, path.fields)
    both = tuple(torch.cat([e, t]) for e, t in zip(path.ends, carrying.typical(path), strict=True))
    with torch.no_grad():
        value = score(explainer.model.decode(explainer.model.encode(path.inputs(both)), sae=False, evidential=False))
    return float((value[0] - value[1]).abs())
