"""Customers whose last days the run's own pre-trained encoder cannot explain, by row and for all rows together.

Each step of a customer's last ones is told from all others without being seen (`ple_model.sequences.anomaly`); what was missed
is ranked among the training customers of the run's sample, each at their latest cut-off. Where the rows at hand are drawn as
these are, one customer in a hundred lies beyond the 99th percentile; how many more chance allows is for the check to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch
from numpy.typing import NDArray

from analysis.stats.odd_days import OddDays, OddGroup
from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.fields import NO_CUTOFF
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sequences.anomaly import LAST_STEPS, AnomalyScale, fit_anomaly_scale, scores_of, step_errors
from ple_model.sequences.carried import restoring
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.scoring import BATCH, LEAST_ROWS, UNUSUAL
from ple_model.sequences.series import Series, series_of
from ple_model.sql_paths import to_read

NAMED = 5
COLUMN, DAY = "anomaly", "anomaly_day"
"""Of a row: the percentile, and how many steps before the cut-off the oddest of the last steps lies (1: the last)."""
DATED = "txn_seq"
"""The field whose steps are days."""


@dataclass(frozen=True, eq=False)
class DayScorer:
    """What the encoder of a run says of the last steps of rows."""

    encoder: SequenceEncoder
    field: str
    scale: AnomalyScale

    @property
    def rank(self) -> int:
        """The smallest place among the reference's scores that lies above `UNUSUAL` percent of them."""
        return int(np.floor(UNUSUAL / 100 * len(self.scale.scores))) + 1

    def columns(self, inputs: PLEClusterInput) -> dict[str, NDArray[Any]]:
        """NaN, and 0 for the day, where none of the last steps is seen."""
        n = len(inputs)
        if getattr(inputs, self.field) is None:
            return {COLUMN: np.full(n, np.nan, np.float32), DAY: np.zeros(n, np.int32)}
        series = series_of(inputs, self.field)
        parts = [self._errors(series.rows(slice(i, i + BATCH))) for i in range(0, n, BATCH)]
        errors = np.concatenate(parts)
        percentile = self.scale.percentile(scores_of(errors, self.scale.channel, self.scale.last))
        relative = np.nan_to_num((errors / self.scale.channel).mean(axis=2), nan=-1.0)
        back = relative.shape[1] - relative.argmax(axis=1)
        return {COLUMN: percentile.astype(np.float32), DAY: np.where(np.isnan(percentile), 0, back).astype(np.int32)}

    def _errors(self, series: Series) -> NDArray[np.float64]:
        return step_errors(self.encoder, series)[:, -self.scale.last :]


def day_scorer(run: Run, model: PLEClusterAdaTT) -> DayScorer:
    """`UserError` with the reason where the run cannot say: no encoder, one that does not restore days, or fewer than
    `LEAST_ROWS` training customers with seen last days in the run's sample."""
    found = restoring(model)
    parts = list(_latest(run.sample(), found.sequence))
    known = sum(int(part.seen[:, -LAST_STEPS:].any(dim=1).sum()) for part in parts)
    if known < LEAST_ROWS:
        raise UserError(
            f"The run's sample has {known} training customers with days to hold others against, it takes {LEAST_ROWS}."
        )
    return DayScorer(found.encoder, found.sequence, fit_anomaly_scale(found.encoder, parts))


def _latest(sample: Dataset, field: str) -> Iterator[Series]:
    """The series of the training customers, each at the latest cut-off."""
    if not sample.rows("train") or field not in sample.manifest.fields:
        return
    table = sample.table(["customer_id", "cutoff"], "train").to_pydict()
    newest: dict[str, str] = {}
    for who, cutoff in zip(map(str, table["customer_id"]), map(str, table["cutoff"]), strict=True):
        newest[who] = max(newest.get(who, ""), cutoff)
    for batch in sample.batches("train", BATCH, fields=(field,)):
        mine = [i for i in range(len(batch)) if newest[batch.customer_id[i]] == batch.cutoff[i]]
        if mine:
            yield series_of(batch.inputs, field).rows(torch.tensor(mine))


def odd_days(scorer: DayScorer | str, rows: Path) -> OddDays:
    """From the file of all rows; a text is the reason why there is no scorer."""
    if isinstance(scorer, str):
        return OddDays(reason=scorer)
    known = OddDays(sequence=scorer.field, last=scorer.scale.last, reference=len(scorer.scale.scores), rank=scorer.rank)
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        source = f"read_parquet({to_read(rows)})"
        others = connection.execute(f"SELECT count(*) FROM {source} WHERE split <> 'train'").fetchall()[0][0] > 0
        chosen = f"FROM {source} WHERE {COLUMN} IS NOT NULL{' AND split <> $$train$$' if others else ''}"
        connection.execute(
            f"CREATE TEMP TABLE newest AS SELECT customer_id, max(cutoff) AS cutoff, arg_max(segment, cutoff) AS segment, "
            f"arg_max({COLUMN}, cutoff) AS score, arg_max({DAY}, cutoff) AS back {chosen} GROUP BY customer_id"
        )
        groups = connection.execute(
            "SELECT cutoff, segment, count(*), count(*) FILTER (score > ?) FROM newest GROUP BY ALL ORDER BY ALL", [UNUSUAL]
        ).fetchall()
        worst = connection.execute(
            "SELECT customer_id FROM newest WHERE score > ? ORDER BY score DESC, customer_id LIMIT ?", [UNUSUAL, NAMED]
        ).fetchall()
        days = connection.execute(
            "SELECT cutoff, back, count(*) FROM newest WHERE score > ? GROUP BY ALL", [UNUSUAL]
        ).fetchall()
    found = replace(
        known, trained=not others, groups=tuple(OddGroup(str(c), str(s), int(n), int(k)) for c, s, n, k in groups),
        worst=tuple(str(w) for (w,) in worst),
    )  # fmt: skip
    return found if scorer.field != DATED else _with_day(found, days)


def _with_day(found: OddDays, days: list[tuple[Any, ...]]) -> OddDays:
    """The date that most of the odd customers are oddest on, of several the latest."""
    count: dict[str, int] = {}
    for cutoff, back, n in days:
        if cutoff != NO_CUTOFF:
            day = (date.fromisoformat(str(cutoff)) - timedelta(days=int(back))).isoformat()
            count[day] = count.get(day, 0) + int(n)
    if not count:
        return found
    day = max(count, key=lambda d: (count[d], d))
    return replace(found, day=day, day_customers=count[day])
