"""The anomaly score of customers whom a run scores: their last days among those of the customers of its sample.

Ranked among the validation customers, each at their latest cut-off, whose days the encoder has not learnt from; where the
sample holds too few of them, among the training customers, and a note says so. What is usual is said by training customers,
and nobody of the reference had a part in it. The check of odd days asks the same scorer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sequences.anomaly import LAST_STEPS, AnomalyScale, anomaly_scores, fit_anomaly_scale
from ple_model.sequences.carried import restoring
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun
from ple_model.sequences.series import Series, series_of

BATCH = 256
UNUSUAL = 99.0
"""Percentile of the reference above which one customer in a hundred lies where nothing has changed."""
LEAST_ROWS = 100
"""Customers of a reference: of fewer there is none that one in a hundred lies above."""


@dataclass(frozen=True, eq=False)
class AnomalyScorer:
    """Percentiles by an encoder run, among the `n` customers of the reference, who are of `split`."""

    encoder: SequenceEncoder
    field: str
    scale: AnomalyScale
    split: str = "validation"
    held: int = 0
    """Validation customers with seen last days in the run's sample."""
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.scale.scores)

    @property
    def ranks(self) -> bool:
        """Is the reference large enough for percentiles?"""
        return self.n >= LEAST_ROWS

    def __call__(self, inputs: PLEClusterInput) -> NDArray[np.float32]:
        """[B] in 0..100; NaN where none of the last days is seen, and for all where the reference is too small."""
        if not self.ranks:
            return np.full(len(inputs), np.nan, np.float32)
        device = next(self.encoder.parameters()).device
        series = series_of(inputs, self.field).to(device)
        pieces = [series.rows(slice(i, i + BATCH)) for i in range(0, len(series), BATCH)]
        scores = np.concatenate([anomaly_scores(self.encoder, p, self.scale) for p in pieces])
        return self.scale.percentile(scores).astype(np.float32)


def anomaly_scorer(run: Run, found: EncoderRun, device: str = "cpu") -> AnomalyScorer:
    """`UserError` where the encoder has not learnt to restore steps or has no weights, where the run's sample has no such
    series, or nobody in it has seen last days."""
    if not found.config.restores:
        raise UserError(
            f"{found.path} was trained with encoder.objective={found.config.objective}, which does not teach it to restore "
            f"hidden steps: an anomaly score needs masked or both"
        )
    field = found.training.sequence
    if field not in run.sample().manifest.fields:
        raise UserError(f"{run.path} has no series '{field}', which {found.path} was trained on")
    notes = []
    if found.manifest.status != "finished":
        notes.append(f"the encoder's training has not ended: its weights are the best up to epoch {found.manifest.epochs}")
    if found.manifest.fingerprint != run.manifest.data.fingerprint:
        notes.append(
            f"the encoder learnt from another dataset ('{found.manifest.dataset}') than the run: its errors may be larger"
        )
    return _among_others(run, found.encoder, field, device, notes)


def carried_scorer(run: Run, model: PLEClusterAdaTT, device: str = "cpu") -> AnomalyScorer:
    """By the encoder that the run carries; `UserError` where it has none, or one that does not restore hidden steps."""
    found = restoring(model)
    if found.sequence not in run.sample().manifest.fields:
        raise UserError(f"{run.path} has no series '{found.sequence}' among its stored customers, which its encoder reads")
    return _among_others(run, found.encoder, found.sequence, device, [])


def _among_others(run: Run, encoder: SequenceEncoder, field: str, device: str, notes: list[str]) -> AnomalyScorer:
    sample, encoder = run.sample(), encoder.to(device)
    known = {split: _with_days(sample, split, field) for split in ("validation", "train")}
    split = "validation" if known["validation"] >= min(LEAST_ROWS, known["train"]) else "train"
    place = torch.device(device)
    usual = None if split == "train" or not known["train"] else (s.to(place) for s in latest_series(sample, "train", field))
    scale = fit_anomaly_scale(encoder, (s.to(place) for s in latest_series(sample, split, field)), usual=usual)
    held = known["validation"]
    return AnomalyScorer(encoder, field, scale, split, held, (_reference_note(split, len(scale.scores), held), *notes))


def _reference_note(split: str, n: int, validation: int) -> str:
    """Among how many of whom the last days are ranked, or why they are not."""
    if n < LEAST_ROWS:
        return f"anomaly is left empty: the run's sample has {n:,} {split} customers to rank among, it takes {LEAST_ROWS}"
    if split == "validation":
        return f"anomaly is a percentile among {n:,} validation customers of the run's sample, each at their latest cut-off"
    return (
        f"anomaly is a percentile among {n:,} training customers of the run's sample, whose days the encoder may have learnt: "
        f"others look odder than they are. Of validation customers there are {validation:,}, it takes {LEAST_ROWS}"
    )


def _with_days(sample: Dataset, split: str, field: str) -> int:
    """Customers with a seen step among their last ones, at their latest cut-off."""
    return sum(int(s.seen[:, -LAST_STEPS:].any(dim=1).sum()) for s in latest_series(sample, split, field))


def latest_series(sample: Dataset, split: str, field: str) -> Iterator[Series]:
    """The series of a split's customers, each at the latest cut-off, in pieces."""
    if not sample.rows(split):
        return
    newest = latest_cutoffs(sample, split)
    for batch in sample.batches(split, BATCH, fields=(field,)):
        mine = [i for i in range(len(batch)) if newest[batch.customer_id[i]] == batch.cutoff[i]]
        if mine:
            yield series_of(batch.inputs, field).rows(torch.tensor(mine))


def latest_cutoffs(sample: Dataset, split: str | None) -> dict[str, str]:
    """By customer of a split."""
    table = sample.table(["customer_id", "cutoff"], split).to_pydict()
    newest: dict[str, str] = {}
    for who, cutoff in zip(map(str, table["customer_id"]), map(str, table["cutoff"]), strict=True):
        newest[who] = max(newest.get(who, ""), cutoff)
    return newest
