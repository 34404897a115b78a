"""The anomaly score of customers whom a run scores: their last days among those of the training customers of its sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ple_model.batch import PLEClusterInput
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.run import Run
from ple_model.sequences.anomaly import AnomalyScale, anomaly_scores, fit_anomaly_scale
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.encoder_run import EncoderRun
from ple_model.sequences.series import Series, series_of

BATCH = 256
UNUSUAL = 99.0
"""Percentile of the training customers above which one customer in a hundred lies where nothing has changed."""


@dataclass(frozen=True, eq=False)
class AnomalyScorer:
    """Percentiles by an encoder run, among `n` training customers' rows."""

    encoder: SequenceEncoder
    field: str
    scale: AnomalyScale
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return len(self.scale.scores)

    def __call__(self, inputs: PLEClusterInput) -> NDArray[np.float32]:
        """[B] in 0..100; NaN where none of the last days is seen."""
        device = next(self.encoder.parameters()).device
        series = series_of(inputs, self.field).to(device)
        pieces = [series.rows(slice(i, i + BATCH)) for i in range(0, len(series), BATCH)]
        scores = np.concatenate([anomaly_scores(self.encoder, p, self.scale) for p in pieces])
        return self.scale.percentile(scores).astype(np.float32)


def anomaly_scorer(run: Run, found: EncoderRun, device: str = "cpu") -> AnomalyScorer:
    """`UserError` where the run's sample has no such series or no training customer, or the encoder no weights."""
    field, sample = found.training.sequence, run.sample()
    if field not in sample.manifest.fields:
        raise UserError(f"{run.path} has no series '{field}', which {found.path} was trained on")
    if not sample.rows("train"):
        raise UserError(f"{run.path}: its sample has no training customer to rank others among")
    encoder = found.encoder.to(device)
    scale = fit_anomaly_scale(encoder, _series(sample, field, device))
    notes: tuple[str, ...] = ()
    if found.manifest.status != "finished":
        notes = (f"the encoder's training has not ended: its weights are the best up to epoch {found.manifest.epochs}",)
    if found.manifest.fingerprint != run.manifest.data.fingerprint:
        notes = (
            *notes,
            f"the encoder learnt from another dataset ('{found.manifest.dataset}') than the run: its errors may be larger",
        )
    return AnomalyScorer(encoder, field, scale, notes)


def _series(sample: Dataset, field: str, device: str) -> Iterator[Series]:
    for batch in sample.batches("train", BATCH, fields=(field,)):
        yield series_of(batch.inputs, field).to(torch.device(device))
