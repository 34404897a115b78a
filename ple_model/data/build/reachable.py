"""What a source tells of its own probabilities, taken along for the rows of a dataset (`ple_model.reachable`)."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from ple_model.baseline_folder import REACHABLE
from ple_model.data.events.connect import EventStore
from ple_model.data.labels.labels import LabelSettings
from ple_model.staging import staged_file


def write_reachable(store: EventStore, labels: LabelSettings, out: Path) -> None:
    """Put `reachable.parquet` into the dataset folder `out`, and take an older one away. Nothing is written where the source
    tells nothing, or where labels look further or less far than what it tells of."""
    path = out / REACHABLE
    path.unlink(missing_ok=True)
    if "probabilities" not in store.present or labels.horizon_days != LabelSettings.horizon_days:
        return
    table = store.con.sql("""
        SELECT p.customer_id, p.cutoff::VARCHAR AS cutoff, p.task, p.class, p.p
        FROM probabilities p JOIN spine s ON s.customer_id = p.customer_id AND s.cutoff = p.cutoff
        ORDER BY s.row_id, p.task, p.class""").to_arrow_table()
    if len(table):
        with staged_file(path, durable=False) as temporary:
            pq.write_table(table, temporary, compression="zstd")
