"""All sampled customers as a pre-trained encoder sees them: a map, how odd their days are, and what few labels make of it.

`python -m analysis.sequences.learned ENCODER RUN DATA` computes it in a process of its own, as the experts' map is
(`analysis.embedding`), and keeps it beside the run's analyses, under the encoder's weights, the rows and the source files.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.embedding import NEIGHBOURS, principal
from analysis.fingerprint import data_mark, files_mark
from analysis.opening import opened_dataset
from analysis.results.sequences import AheadFit, LearnedMap, ProbeRow, SilenceRow
from analysis.sequences.channels import AMOUNTS, divisors
from analysis.sequences.probe import half_of, probe, summary
from ple_model.data.dataset.batches import Batch
from ple_model.data.dataset.columns import is_class_task
from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.run import Run, load_run
from ple_model.safe_arrays import read_npz, take, write_npz
from ple_model.sequences.encoder_run import EncoderRun, load_encoder
from ple_model.sources import source_digest
from ple_model.stored import Stored
from ple_model.tasks import TASKS

if TYPE_CHECKING:
    from ple_model.sequences.series import Series

MOST_ROWS = 5_000
"""Rows of the map."""
MOST_HIDDEN = 300
"""Training customers whose days are hidden in turn: some 50,000 days, of which the 99th percentile is known to a tenth."""
BATCH = 256
SEED = 0
MAP_BYTES = 1 << 27
AHEAD_ARRAYS = ("weight", "bias", "half", "positive")
AHEAD_COUNTS, AHEAD_NUMBERS = ("fitted", "held", "tested"), ("probability", "covered")
STAGES = ("reading", "encoding", "hiding", "probing", "forecasting", "neighbours", "drawing")
Note = Callable[[str], None]


def place(encoder: Path, run: Path, data: Path | None) -> Path:
    """Where it is kept: beside the run's analyses; the name tells encoder, rows and program apart."""
    from hashlib import sha256  # late: of a name alone

    parts = (
        files_mark(encoder),
        _weights_mark(encoder),
        files_mark(run),
        data_mark(data),
        source_digest("analysis.sequences.learned"),
    )
    return run / "analysis" / f"sequences-{sha256('|'.join(parts).encode()).hexdigest()[:16]}.npz"


def _weights_mark(encoder: Path) -> str:
    try:
        found = (encoder / "encoder.safetensors").stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def load(file: Path) -> LearnedMap | None:
    """What was kept there before; None if nothing was, or if it is damaged."""
    try:
        found = read_npz(file, MAP_BYTES)
        row, xy, error, quantiles = take(found, file, "row", "xy", "error", "day_quantiles")
        near, pool = take(found, file, "embedding", "pool")
        raw = read_json(file.with_suffix(".json"))
        stored = Stored.of(file, raw)
        rows = tuple(_probe_row(Stored.of(file, r)) for r in stored.items("probe"))
        days = stored.whole("days")
        silence = tuple(_silence_row(Stored.of(file, r)) for r in stored.items("silence"))
        about = stored.mapping("ahead")
        ahead = _ahead(about, found) if about.values else None
    except (OSError, UserError):
        return None
    good = row.ndim == 1 and xy.shape == (len(row), 2) and error.shape == row.shape and quantiles.shape == (101,)
    good = good and row.dtype.kind == "i" and near.ndim == pool.ndim == 2 and len(near) == len(pool) == len(row)
    return LearnedMap(row, xy, error, quantiles, rows, days, near, pool, ahead, silence) if good else None


def _ahead(about: Stored, found: dict[str, NDArray[Any]]) -> AheadFit:
    """`UserError` where an array is missing or has another shape."""
    weight, bias, half, positive = take(found, about.path, *(f"ahead_{name}" for name in AHEAD_ARRAYS))
    good = weight.ndim == half.ndim == 2 and bias.shape == weight.shape[:1] == half.shape[:1]
    if not good or positive.shape != half.shape[1:] or positive.dtype != bool:
        raise UserError(f"{about.path} is damaged: its forecast has other shapes")
    errors = about.mapping("error")
    counts = {name: about.whole(name) for name in AHEAD_COUNTS}
    numbers = {name: about.number(name, finite=False) for name in AHEAD_NUMBERS}
    return AheadFit(weight, bias, half, positive, **counts, **numbers, error={k: errors.number(k) for k in errors.values})  # type: ignore[arg-type]


def _probe_row(r: Stored) -> ProbeRow:
    numbers = {k: r.number(k, finite=False) for k in ("share", "encoder", "encoder_spread", "summary", "summary_spread")}
    return ProbeRow(task=r.text("task"), **numbers, **{k: r.whole(k) for k in ("labels", "draws", "tested")})  # type: ignore[arg-type]


def _silence_row(r: Stored) -> SilenceRow:
    numbers = {k: r.number(k, finite=False) for k in ("told", "happened", "auc")}
    return SilenceRow(steps=r.whole("steps"), **numbers, tested=r.whole("tested"))


def learn(encoder: EncoderRun, run: Run, data: Path | None = None, note: Note = lambda stage: None) -> LearnedMap:
    """Compute and keep it. `UserError` where the rows lack the encoder's sequence, or are too few for a map."""
    import torch  # late: torch

    from analysis.sequences.ahead import fit_ahead  # late: torch
    from analysis.sequences.silence import judged  # late: torch
    from ple_model.sequences.series import series_of  # late: torch

    note("reading")
    dataset = opened_dataset(run, data)
    row = _sampled(dataset.rows())
    batch = dataset.take(row.tolist())
    series = series_of(batch.inputs, encoder.training.sequence)
    some = series.seen.any(dim=1).numpy()  # a customer without a single step has no place on a map
    if int(some.sum()) <= 2 * NEIGHBOURS:
        raise UserError(
            f"{dataset.path}: a map needs more than {2 * NEIGHBOURS} customers with a series, there are {int(some.sum())}"
        )
    batch, series, row = dataset.take(row[some].tolist()), series.rows(torch.from_numpy(some)), row[some]
    train = np.array([s == "train" for s in batch.split])
    train = train if train.any() else np.ones_like(train)
    note("encoding")
    embedding = embedded(encoder, series)
    note("hiding")
    error, days = _errors(encoder, series, train)
    note("probing")
    features: dict[str, NDArray[Any]] = {"encoder": embedding, "summary": summary(series.values.numpy(), series.seen.numpy())}
    rows = probe(features, _labels(batch), half_of(batch.customer_id))
    note("forecasting")
    ahead = fit_ahead(encoder, series, batch.customer_id, train)
    silence = judged(encoder.encoder, series, ~train)
    note("neighbours")
    near = _directions(encoder.encoder.without_newest(torch.from_numpy(embedding)).numpy())
    xy = _map(near, note)
    field = encoder.training.sequence
    amounts = series.fitted(encoder.length).values[:, :, AMOUNTS[field]].numpy() * divisors(dataset, field)[AMOUNTS[field]]
    pool = np.asarray(amounts, np.float32)
    file = place(encoder.path, run.path, data)
    file.parent.mkdir(exist_ok=True)
    quantiles = np.quantile(days, np.linspace(0, 1, 101)).astype(np.float32) if len(days) else np.zeros(101, np.float32)
    about = {
        "probe": [dataclasses.asdict(r) for r in rows], "days": len(days), "ahead": {},
        "silence": [dataclasses.asdict(r) for r in silence],
    }  # fmt: skip
    arrays = {"row": row, "xy": xy, "error": error, "day_quantiles": quantiles, "embedding": near, "pool": pool}
    if ahead is not None:
        about["ahead"] = {name: getattr(ahead, name) for name in (*AHEAD_COUNTS, *AHEAD_NUMBERS, "error")}
        arrays |= {f"ahead_{name}": getattr(ahead, name) for name in AHEAD_ARRAYS}
    write_json(file.with_suffix(".json"), about)
    write_npz(file, arrays)
    return LearnedMap(row, xy, error, quantiles, rows, len(days), near, pool, ahead, silence)


def _sampled(total: int) -> NDArray[np.int64]:
    if total <= MOST_ROWS:
        return np.arange(total, dtype=np.int64)
    return np.sort(np.random.default_rng(SEED).choice(total, MOST_ROWS, replace=False)).astype(np.int64)


def embedded(encoder: EncoderRun, series: Series) -> NDArray[np.float32]:
    """[n, E] embeddings."""
    import torch  # late: torch

    net = encoder.encoder
    with torch.inference_mode():
        parts = [net(series.rows(slice(i, i + BATCH))).embedding for i in range(0, len(series), BATCH)]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def _errors(encoder: EncoderRun, series: Series, train: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(mean error a row where it was measured [n], errors of those days [any]); none of an encoder that does not restore."""
    from analysis.sequences.hiding import hide_each  # late: torch

    error = np.full(len(series), np.nan, np.float32)
    if not encoder.config.restores:
        return error, np.zeros(0, np.float32)
    mine = np.flatnonzero(train & series.seen.any(dim=1).numpy())
    mine = np.sort(np.random.default_rng(SEED).permutation(mine)[:MOST_HIDDEN])
    days: list[NDArray[np.float32]] = []
    for i in mine.tolist():
        found = hide_each(encoder.encoder, series.rows(slice(i, i + 1))).error.numpy()
        known = found[np.isfinite(found)]
        error[i] = known.mean()
        days.append(known)
    return error, np.concatenate(days) if days else np.zeros(0, np.float32)


def _labels(batch: Batch) -> dict[str, NDArray[Any]]:
    found = batch.inputs.targets or {}
    return {t: y.numpy() for t, y in found.items() if is_class_task(t) and TASKS[t].kind == "binary"}


def _directions(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, at most 50] leading directions of the embeddings, each dimension in its own deviations."""
    spread = embedding.std(0)
    return principal((embedding - embedding.mean(0)) / np.where(spread > 1e-6, spread, 1.0))


def _map(x: NDArray[np.float32], note: Note) -> NDArray[np.float32]:
    from sklearn.neighbors import NearestNeighbors  # late: as slow to load as to use

    distances, nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(x).kneighbors(x)
    note("drawing")
    import umap  # late: as slow to load as to use

    known = (nearest, distances.astype(np.float32))
    mapper = umap.UMAP(n_neighbors=NEIGHBOURS, random_state=SEED, n_jobs=1, init="pca", precomputed_knn=known)
    return np.asarray(mapper.fit_transform(x), dtype=np.float32)


def main(encoder: str, run: str, data: str) -> int:
    """The worker: stages on stdout, a sentence on stderr if it fails."""
    import torch  # late: torch

    torch.set_flush_denormal(True)
    try:
        learn(load_encoder(encoder), load_run(run), Path(data) if data else None, lambda stage: print(stage, flush=True))
    except UserError as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
