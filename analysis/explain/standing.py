"""Is the explained task predicted at all? Its skill on rows that the model did not learn from.

Read from the stored measurement where one holds, else measured on the labelled rows of the run's own sample.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from analysis.fingerprint import code_digest, files_mark, run_digest
from analysis.results.explanation_parts import Standing
from analysis.skill import task_skill
from analysis.stats.skill import SPLITS, TaskSkill, has_skill, judged_skill
from analysis.store import stored
from ple_model.errors import UserError
from ple_model.skill import Resamples

if TYPE_CHECKING:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run

BATCH = 512


def standing(run: Run, task: str, dataset: Dataset | None = None) -> Standing | None:
    """Of the customers of `dataset` where the run was measured on them, else of the run's own sample; None where no row that
    the model did not learn from has a label."""
    if dataset is not None and (found := _stored(run, task, dataset)) is not None:
        return found
    try:
        sample = run.sample()
    except UserError:
        return None
    return _stored(run, task, sample) or _kept(files_mark(run.path), task, _Open(run, sample))


def _stored(run: Run, task: str, data: Dataset) -> Standing | None:
    now = (run_digest(run.path), code_digest())
    for store in stored(run.path):
        same = (store.meta.get("data") or {}).get("fingerprint") == data.manifest.fingerprint
        if same and (store.made_of.get("run"), store.made_of.get("code")) == now:
            found = judged_skill(store.statistics).get(task)
            return None if found is None else _said(found)
    return None


class _Open:
    """What a measurement needs; one call is told from another by the mark of the run's files alone."""

    def __init__(self, run: Run, data: Dataset) -> None:
        self.run, self.data = run, data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Open)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=64)
def _kept(mark: str, task: str, opened: _Open) -> Standing | None:
    return _measured(opened.run, opened.data, task)


def _measured(run: Run, data: Dataset, task: str) -> Standing | None:
    import torch  # late: torch

    from analysis.judging import Judge  # late: torch

    split = next((s for s in SPLITS[:2] if data.rows(s)), None)
    if split is None:
        return None
    model = run.model()
    judge = Judge(run, model, data, run.calibration)
    customers: list[str] = []
    read: dict[str, list[np.ndarray]] = {"constant": [], "model": []}
    with torch.no_grad():
        for batch in data.batches(split, BATCH, window_rows=BATCH):
            value = model(batch.inputs).predictions[task].float()
            rows = np.zeros(len(batch), dtype=np.int64)  # only the baselines, which are not asked for here, go by the row
            columns = judge.columns(task, rows, batch.inputs.targets or {}, value)
            if not columns:
                return None
            for name, values in read.items():
                values.append(columns[f"w:{task}:{name}"].to_numpy(zero_copy_only=False).astype(np.float64))
            customers += batch.customer_id
    names = np.asarray(customers)
    told = judge.yardsticks[task]
    losses = {k: np.concatenate(v) for k, v in read.items()}
    found = task_skill(task, losses, Resamples(names), told.kind, told.loss)
    return None if found is None else _said(found)


def _said(x: TaskSkill) -> Standing:
    return Standing(x.skill.value, x.skill.low, x.skill.high, x.rows, has_skill(x))
