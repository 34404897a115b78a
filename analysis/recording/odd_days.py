"""Customers whose last days the run's own pre-trained encoder cannot explain, by row and for all rows together.

Each step of a customer's last ones is told from all others without being seen (`ple_model.sequences.anomaly`); how odd they are
is ranked among the validation customers of the run's sample, each at their latest cut-off: the scorer is that of `ple predict`.
Judged are customers whose last days neither trained the run nor set the limit; how many of them lie beyond the 99th percentile
by chance is for the check to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from analysis.stats.odd_days import OddDays, OddGroup
from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError
from ple_model.fields import NO_CUTOFF
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sequences.anomaly import signs, step_errors
from ple_model.sequences.scoring import BATCH, LEAST_ROWS, UNUSUAL, AnomalyScorer, carried_scorer, latest_cutoffs
from ple_model.sequences.series import Series, series_of
from ple_model.sql_paths import to_read

COLUMN, DAY = "anomaly", "anomaly_day"
"""Of a row: the percentile, and how many steps before the cut-off the oddest of the last steps lies (1: the last)."""
DATED = "txn_seq"
"""The field whose steps are days."""
NOBODY = (
    "No row is of a customer who neither trained the run nor set the limit: these are the run's test customers, or in another "
    "dataset others than its validation customers at cut-offs after the run's."
)


@dataclass(frozen=True, eq=False)
class DayScorer:
    """What the encoder of a run says of the last steps of rows."""

    scorer: AnomalyScorer
    customers: frozenset[str] = frozenset()
    """The reference: who is in it is not judged by it."""
    newest: str = NO_CUTOFF
    """The latest cut-off of the run's sample."""

    @property
    def field(self) -> str:
        return self.scorer.field

    @property
    def reference(self) -> int:
        return self.scorer.n

    @property
    def last(self) -> int:
        return self.scorer.scale.last

    @property
    def rank(self) -> int:
        """The smallest place among the reference's scores that lies above `UNUSUAL` percent of them."""
        return int(np.floor(UNUSUAL / 100 * self.reference)) + 1

    @property
    def first_new(self) -> str | None:
        """The first cut-off whose last steps all lie after those of the run; None where the run has no cut-offs."""
        if self.newest == NO_CUTOFF:
            return None
        return (date.fromisoformat(self.newest) + timedelta(days=self.last)).isoformat()

    def columns(self, inputs: PLEClusterInput) -> dict[str, NDArray[Any]]:
        """NaN, and 0 for the day, where none of the last steps is seen."""
        n, scale = len(inputs), self.scorer.scale
        if getattr(inputs, self.field) is None:
            return {COLUMN: np.full(n, np.nan, np.float32), DAY: np.zeros(n, np.int32)}
        series = series_of(inputs, self.field)
        pieces = [series.rows(slice(i, i + BATCH)) for i in range(0, n, BATCH)]
        parts = [self._errors(p) for p in pieces]
        numbers = [signs(self.scorer.encoder, p, e, scale.last) for p, e in zip(pieces, parts, strict=True)]
        errors = np.concatenate(parts)
        percentile = scale.percentile(scale.of(np.concatenate(numbers)))
        relative = np.nan_to_num((errors / scale.channel).mean(axis=2), nan=-1.0)
        back = relative.shape[1] - relative.argmax(axis=1)
        return {COLUMN: percentile.astype(np.float32), DAY: np.where(np.isnan(percentile), 0, back).astype(np.int32)}

    def _errors(self, series: Series) -> NDArray[np.float64]:
        return step_errors(self.scorer.encoder, series)[:, -self.last :]


def day_scorer(run: Run, model: PLEClusterAdaTT) -> DayScorer:
    """`UserError` with the reason where the run cannot say: no encoder, one that does not restore days, or fewer than
    `LEAST_ROWS` validation customers with seen last days in the run's sample."""
    found = carried_scorer(run, model)
    if found.split != "validation" or not found.ranks:
        raise UserError(
            f"The run's sample has {found.held} validation customers with days to hold others against, it takes {LEAST_ROWS}."
        )
    sample = run.sample()
    newest = max(latest_cutoffs(sample, None).values(), default=NO_CUTOFF)
    return DayScorer(found, frozenset(latest_cutoffs(sample, "validation")), newest)


def odd_days(scorer: DayScorer | str, rows: Path, *, own: bool = True) -> OddDays:
    """From the file of all rows; a text is the reason why there is no scorer. `own`: the rows are of the dataset that the run
    was trained on, so that their split says who trained it; of others only what is new is judged."""
    if isinstance(scorer, str):
        return OddDays(reason=scorer)
    known = OddDays(
        sequence=scorer.field, last=scorer.last, split=scorer.scorer.split, reference=scorer.reference, rank=scorer.rank
    )  # fmt: skip
    judged, given = _judged(scorer, own)
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        source = f"read_parquet({to_read(rows)})"
        connection.execute("CREATE TEMP TABLE reference AS SELECT unnest(?::VARCHAR[]) AS who", [sorted(scorer.customers)])
        connection.execute(
            f"CREATE TEMP TABLE newest AS SELECT customer_id, max(cutoff) AS cutoff, arg_max(segment, cutoff) AS segment, "
            f"arg_max({COLUMN}, cutoff) AS score, arg_max({DAY}, cutoff) AS back FROM {source} "
            f"WHERE {COLUMN} IS NOT NULL AND {judged} GROUP BY customer_id", given,
        )  # fmt: skip
        groups = connection.execute(
            "SELECT cutoff, segment, count(*), count(*) FILTER (score > ?) FROM newest GROUP BY ALL ORDER BY ALL", [UNUSUAL]
        ).fetchall()
        days = connection.execute(
            "SELECT cutoff, back, count(*) FROM newest WHERE score > ? GROUP BY ALL", [UNUSUAL]
        ).fetchall()
    if not groups:
        return OddDays(reason=NOBODY)
    found = replace(known, groups=tuple(OddGroup(str(c), str(s), int(n), int(k)) for c, s, n, k in groups))
    return found if scorer.field != DATED else _with_day(found, days)


def _judged(scorer: DayScorer, own: bool) -> tuple[str, list[str]]:
    """(condition on a row, its parameters)."""
    if own:
        return "split = 'test'", []
    if scorer.first_new is None:
        return "false", []
    return "cutoff::VARCHAR >= ? AND customer_id::VARCHAR NOT IN (SELECT who FROM reference)", [scorer.first_new]


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
