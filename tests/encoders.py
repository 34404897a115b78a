"""A tiny encoder, trained once for all workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ple_model.data.dataset.reader import Dataset
from ple_model.sequences.config import EncoderConfig, PretrainConfig, PretrainingConfig
from ple_model.sequences.pretrain import pretrain
from ple_model.training.session import Options
from tests.shared import shared

CONFIG = PretrainConfig(
    EncoderConfig(width=8, heads=2, layers=1, patch=30, stride=30, frequency="on", frequencies=2, outlook="on"),
    PretrainingConfig(epochs=1, batch_size=32),
)


def tiny_encoder(factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    """Its run folder. Nobody may change it."""
    return shared(factory, "days", lambda out: pretrain(dataset, out, CONFIG, options=Options(device="cpu")))
