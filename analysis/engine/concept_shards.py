"""The customers whose latents are measured, taken through the experts by an engine: some chunks a shard.

What is measured of them (`concepts.measure`) is of all of them at once and stays in one place: they are a bounded sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.engine.concepts import CHUNK, LatentRows, Progress, read_rows
from analysis.engine.encoded import concat_encoded, of_tensors, to_tensors
from analysis.engine.explainer import private
from analysis.opening import opened_dataset, opened_run
from ple_model.data.build.floating_point import reproducible
from ple_model.data.dataset.reader import Dataset
from ple_model.engine import ShardEngine
from ple_model.errors import UserError
from ple_model.files import read_json, read_tensors, write_json, write_tensors
from ple_model.parts_folder import leave, parts_left
from ple_model.run import Run

SHARD_ROWS = 2 * CHUNK
ENCODED = "encoded:"
TENSORS, ABOUT = "rows.safetensors", "rows.json"


@dataclass(frozen=True, eq=False)
class LatentShard:
    """Some of the customers, by their positions in a dataset."""

    run: Path
    data: Path
    rows: NDArray[np.int64]
    out: Path


def read_shards(
    run: Run, data: Dataset, rows: NDArray[np.int64], parts: Path, engine: ShardEngine, progress: Progress | None
) -> LatentRows:
    """The customers at these positions after the experts. `UserError` names the shard that failed."""
    tick: Progress = progress if progress is not None else (lambda share, what: None)
    shards: dict[str, LatentShard] = {}
    for first in range(0, len(rows), SHARD_ROWS):
        name = f"{first // SHARD_ROWS:05d}"
        mine = rows[first : first + SHARD_ROWS]
        shards[name] = LatentShard(run.path.absolute(), data.path.absolute(), mine, parts / name)
    for done in parts_left(engine, latent_shard, shards, ABOUT):
        tick(0.6 * done / len(shards), f"{done} of {len(shards)} shards of {len(rows)} customers")
    return _joined([_load(s.out) for s in shards.values()])


@reproducible()
def latent_shard(shard: LatentShard) -> None:
    """Its customers into a folder."""
    leave(shard.out, ABOUT, partial(_read, shard))


def _read(shard: LatentShard, folder: Path) -> None:
    run = opened_run(shard.run)
    data = opened_dataset(run, None if shard.data == run.path / "sample" else shard.data)
    read = read_rows(private(run.model()), data, data.take(shard.rows), lambda share, what: None)
    encoded = {f"{ENCODED}{k}": v for k, v in to_tensors(read.encoded).items()}
    told = {"features": read.features, "segment": read.segment, "cluster": read.cluster}
    write_tensors(folder / TENSORS, encoded | told)
    write_json(folder / ABOUT, {"customer_id": read.customer_id, "cutoff": read.cutoff, "order": list(encoded)})


def _load(folder: Path) -> LatentRows:
    tensors, _ = read_tensors(folder / TENSORS)
    about = read_json(folder / ABOUT)
    try:
        encoded = of_tensors({k.removeprefix(ENCODED): tensors[k] for k in about["order"]})
        features, segment, cluster = (tensors[k] for k in ("features", "segment", "cluster"))
        return LatentRows(encoded, features, segment, cluster, about["customer_id"], about["cutoff"])
    except (KeyError, TypeError) as e:
        raise UserError(f"{folder} is damaged ({e}); remove it and measure again") from e


def _joined(read: list[LatentRows]) -> LatentRows:
    features, segment, cluster = (torch.cat([getattr(r, k) for r in read]) for k in ("features", "segment", "cluster"))
    people, dates = ([x for r in read for x in getattr(r, k)] for k in ("customer_id", "cutoff"))
    return LatentRows(concat_encoded([r.encoded for r in read]), features, segment, cluster, people, dates)
