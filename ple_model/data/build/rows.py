"""The rows of a dataset, in chunks: keys, input fields, labels and what people filter by, as the writer's columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np

from ple_model.context import ModelContext
from ple_model.data.build.artifacts import Fitted
from ple_model.data.build.collect import CHUNK, Collected, chunks, collect
from ple_model.data.build.spine import SplitSettings, within
from ple_model.data.build.steps import Array, Work, digest
from ple_model.data.dataset.columns import RAW
from ple_model.data.dataset.writer import DatasetWriter, PartsWritten
from ple_model.data.events.connect import EventStore
from ple_model.data.features import Market
from ple_model.data.labels.labels import Labels, LabelSettings, compute_labels
from ple_model.presence import presence_columns, task_key
from ple_model.sources import source_digest

SEGMENT_NAMES = ("anonymous", "cold start", "warm", "dormant")


@dataclass(frozen=True)
class Plan:
    """Which rows a dataset has and what of the whole source they depend on: all that a step needs beside the fits."""

    events: Path
    out: Path
    cutoffs: tuple[str, ...]
    split: SplitSettings
    labels: LabelSettings
    key: str
    """Of events, cut-offs and settings."""
    market: Market
    last: date | None
    """The last day of any event."""
    buckets: int = 1
    only: str | None = None
    """All rows are of this split."""
    own: tuple[str, ...] = ()
    """Tasks that had labels of their own in training."""

    @property
    def market_key(self) -> str:
        return digest(asdict(self.market))

    @property
    def labels_key(self) -> str:
        return digest([self.key, asdict(self.labels), self.own, source_digest(compute_labels.__module__)])


@dataclass(frozen=True)
class Whole:
    """All rows in this process."""

    plan: Plan
    store: EventStore
    rows: int
    """Of the table `spine`."""
    workers: int

    def collect(self, work: Work) -> tuple[Collected, Labels]:
        """What needs no fitting, and the labels."""
        p = self.plan
        piece = collect(work, self.store, self.rows, p.key, p.market, p.market_key, self.workers)
        return Collected((piece,)), compute_labels(self.store, p.labels, p.own)

    def write(self, work: Work, fitted: Fitted, context: ModelContext, collected: Collected, labels: Labels) -> PartsWritten:
        """All columns as parts of the dataset's folder."""
        writer = DatasetWriter(self.plan.out)
        try:
            write_rows(writer, work, self.store, fitted, context, collected, labels)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise


def write_rows(
    writer: DatasetWriter, work: Work, store: EventStore, fitted: Fitted, context: ModelContext, collected: Collected,
    labels: Labels,
) -> None:  # fmt: skip
    """All rows of the table `spine`; labels and collected arrays are in its order."""
    columns = {f"y_{t}": v for t, v in labels.with_brands(context.brands).items()}
    columns |= presence_columns({task_key(t): v for t, v in labels.defined.items()})
    work.progress("write", 0.0)
    for first, stop in chunks(collected.rows, CHUNK):
        keys = _keys(store, first, stop)
        chunk = fitted.apply(store, collected, first, stop)
        chunk |= {name: v[first:stop] for name, v in columns.items()}
        chunk |= {RAW + k: v for k, v in _raw(store, first, stop).items()}
        chunk[RAW + "segment"] = np.array(SEGMENT_NAMES, dtype=object)[chunk["customer_segment"]]
        writer.write(keys | chunk)
        work.progress("write", stop / collected.rows)


def _keys(store: EventStore, first: int, stop: int) -> dict[str, Array]:
    table = store.con.sql(
        "SELECT customer_id, cutoff::VARCHAR AS cutoff, split FROM spine"
        f" WHERE row_id >= {first} AND row_id < {stop} ORDER BY row_id"
    ).to_arrow_table()
    return {k: np.array(table.column(k).to_pylist(), dtype=object) for k in ("customer_id", "cutoff", "split")}


def _raw(store: EventStore, first: int, stop: int) -> dict[str, Array]:
    """Columns people filter by. The age band is here for cohorts only: no input holds it."""
    mine = within(store.con, first, stop)
    table = store.con.sql(f"""
        WITH s AS (SELECT * FROM spine WHERE row_id >= {first} AND row_id < {stop}),
        c AS (SELECT customer_id, birth_year, age_band, region, joined_on FROM customers t WHERE {mine}),
        t AS (
            SELECT row_id, min(s.cutoff - t.ts::DATE) FILTER (amount > 0) AS recency,
                   greatest(sum(amount) FILTER (t.ts >= s.cutoff - 28), 0) AS spend,
                   count(*) FILTER (amount > 0 AND t.ts >= s.cutoff - 90) AS n
            FROM s JOIN transactions t ON t.customer_id = s.customer_id AND t.ts < s.cutoff
            WHERE coalesce(kind, 'card') = 'card' AND {mine} GROUP BY 1),
        e AS (SELECT row_id, count(*) AS n FROM s JOIN sessions t ON t.customer_id = s.customer_id AND t.ts < s.cutoff
              AND t.ts >= s.cutoff - 90 AND {mine} GROUP BY 1),
        x AS (SELECT customer_id, cutoff, any_value(prior_spend_28d) AS v FROM exact_spend t WHERE {mine} GROUP BY 1, 2)
        SELECT region, coalesce(age_band, CASE WHEN birth_year IS NULL THEN NULL
                 ELSE ['under 25', '25-34', '35-44', '45-54', '55-64', '65 and over']
                      [1 + greatest(0, least(5, (year(s.cutoff) - birth_year - 15) // 10))] END) AS age_band,
               (s.cutoff - joined_on)::DOUBLE AS tenure_days, t.recency::DOUBLE AS recency_days,
               coalesce(t.spend, 0)::DOUBLE AS spend_28d, coalesce(t.n, 0)::DOUBLE AS n_transactions_90d,
               coalesce(e.n, 0)::DOUBLE AS n_sessions_90d, x.v::DOUBLE AS prior_spend_28d
        FROM s LEFT JOIN c USING (customer_id) LEFT JOIN t USING (row_id) LEFT JOIN e USING (row_id)
        LEFT JOIN x ON x.customer_id = s.customer_id AND x.cutoff = s.cutoff ORDER BY row_id""").to_arrow_table()
    out: dict[str, Array] = {}
    for name in table.column_names:
        if name == "prior_spend_28d" and "exact_spend" not in store.present:
            continue
        if name in ("region", "age_band"):
            out[name] = np.array(table.column(name).to_pylist(), dtype=object)
        else:
            out[name] = table.column(name).to_numpy().astype(np.float64)
    return out
