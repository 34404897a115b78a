"""`direct_path.start: fitted`: the training rows as the direct path reads them, and a model put where their maps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ple_model.answer import Answer
from ple_model.boosting import held_out
from ple_model.brand_query import fit_brand_start
from ple_model.data.dataset.reader import Dataset
from ple_model.direct import DirectPath
from ple_model.linear_start import LinearStart, Progress, fit_linear_start
from ple_model.losses import standardise
from ple_model.model import PLEClusterAdaTT
from ple_model.start_folder import fit_once

MAX_ROWS = 100_000
"""Training rows that the map is fitted on at most, drawn at random."""
CHUNK = 4096
BRANDS = 0.9
"""The share of the work that is done when brands are fitted, where they are (of ten minutes for 83,852 rows 37 seconds)."""


def wants_fit(model: PLEClusterAdaTT) -> bool:
    """Whether this model's map starts as fitted."""
    return model.direct is not None and model.direct.params.start == "fitted"


def start_as_fitted(
    model: PLEClusterAdaTT, dataset: Dataset, progress: Progress | None = None, kept: Path | None = None
) -> LinearStart:
    """Fit the map of the direct path on the training split, and that of brands where it has one, and start the model there; no
    random state is touched. `kept`: a folder of fits of the first, where one of these very rows is taken from and a new one is
    put."""
    direct = model.direct
    assert direct is not None
    seed = model.config.training.seed
    if progress is not None:
        progress(0.0, "reading the rows")
    rows = _rows(direct, dataset, seed)
    watch = held_out(rows.customers, seed)
    told = progress if direct.query is None else _part(progress, 0.0, BRANDS)
    read = rows.columns, _answers(model, direct, rows.targets), watch, told, direct.bend_sizes
    found = fit_linear_start(*read) if kept is None else fit_once(kept, *read)
    direct.start_at(found.weight, found.bias)
    direct.start_bends(found.bends)
    model.towers.clear_bias(direct.slices)
    _start_brands(model, direct, rows, torch.from_numpy(watch), _part(progress, BRANDS, 1.0))
    return found


def _start_brands(
    model: PLEClusterAdaTT, direct: DirectPath, rows: _Rows, watch: Tensor, progress: Progress | None
) -> None:  # fmt: skip
    task = direct.query_task
    if direct.query is None or task is None or model.brands is None or task not in rows.targets:
        return
    brands = fit_brand_start(
        rows.embedding, rows.targets[task], watch, model.brands, model.config.training.seed, progress
    )  # fmt: skip
    if brands is not None:
        direct.query.start_at(brands)
        model.brands.start_at(brands.keys)
        model.towers.clear_bias([task])


def _part(progress: Progress | None, begin: float, end: float) -> Progress | None:
    """Of work that is the part from `begin` to `end` of all."""
    if progress is None:
        return None
    tell = progress
    return lambda share, what: tell(begin + (end - begin) * share, what)


@dataclass(frozen=True, eq=False)
class _Rows:
    """columns [n, columns] as the path reads them, embedding [n, width] (no column where it reads none), labels by task
    [n, ...], customers [n]; in file order."""

    columns: Tensor
    embedding: Tensor
    targets: dict[str, Tensor]
    customers: np.ndarray


def _rows(direct: DirectPath, dataset: Dataset, seed: int) -> _Rows:
    total = dataset.rows("train")
    chosen = np.ones(total, dtype=bool)
    if total > MAX_ROWS:
        chosen[:] = False
        chosen[np.random.default_rng(seed).choice(total, MAX_ROWS, replace=False)] = True
    device = direct.raw_mean.device
    pieces: list[Tensor] = []
    embeddings: list[Tensor] = []
    targets: dict[str, list[Tensor]] = {}
    customers: list[str] = []
    first = 0
    for batch in dataset.batches("train", CHUNK, window_rows=CHUNK, fields=direct.fields):
        mine = torch.from_numpy(chosen[first : first + len(batch)])
        first += len(batch)
        with torch.no_grad():
            inputs = batch.inputs.to(device)
            pieces.append(direct.columns(inputs).float().cpu()[mine])
            if direct.query is not None:
                embeddings.append(direct.query.embedding(inputs).float().cpu()[mine])
        customers += [c for c, taken in zip(batch.customer_id, mine.tolist(), strict=True) if taken]
        for task, value in (batch.inputs.targets or {}).items():
            targets.setdefault(task, []).append(value[mine])
    x = torch.cat(pieces)
    embedding = torch.cat(embeddings) if embeddings else x.new_zeros(len(x), 0)
    return _Rows(x, embedding, {k: torch.cat(v) for k, v in targets.items()}, np.array(customers, dtype=object))


def _answers(model: PLEClusterAdaTT, direct: DirectPath, targets: Mapping[str, Tensor]) -> list[Answer]:
    t = model.config.training
    out = []
    for task, where in direct.slices.items():
        spec = model.tasks[task]
        n = len(next(iter(targets.values())))
        y = targets.get(task, torch.full((n,), torch.nan))
        if spec.kind == "regression":
            kind = "huber" if spec.loss == "huber" else "mse"
            y = standardise(y, model.context.label_scalers.get(task)).float()
        else:
            kind = spec.kind
            y = torch.where(y < 0, torch.nan, y.float())
        out.append(Answer(task, kind, where, y, t.huber_delta, spec.focal_alpha or 0.25, t.focal_gamma))
    return out
