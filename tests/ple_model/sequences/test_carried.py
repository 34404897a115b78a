"""The encoder that a run carries: scored by, as the encoder run that it came from is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.encoder_start import EncoderStart
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.sequences.encoder_run import load_encoder
from ple_model.sequences.scoring import anomaly_scorer, carried_scorer
from tests.encoders import tiny_encoder
from tests.factories import random_context
from tests.fakes import tiny_config


def test_it_ranks_as_the_encoder_run_does(
    small_dataset: Dataset, tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = load_encoder(tiny_encoder(tmp_path_factory, small_dataset))
    model = PLEClusterAdaTT(EncoderStart(found, "frozen").into(tiny_config(), tiny_dataset), random_context())
    start = {k: v for k, v in model.state_dict().items() if ".pretrained.encoder." not in k}
    weights = {f"experts.temporal.pretrained.encoder.{k}": v for k, v in found.encoder.state_dict().items()}
    model.load_state_dict({**start, **weights})
    manifest = SimpleNamespace(data=SimpleNamespace(fingerprint=found.manifest.fingerprint))
    run = cast(Run, SimpleNamespace(sample=lambda: tiny_dataset, path=Path("run"), manifest=manifest))
    inputs = next(tiny_dataset.batches("test", 64)).inputs
    one, other = anomaly_scorer(run, found), carried_scorer(run, model.eval())
    assert one.ranks
    np.testing.assert_array_equal(one(inputs), other(inputs))
    assert other.notes == one.notes


def test_a_run_without_one_is_told_so(tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(tiny_run.path), str(tmp_path), str(tmp_path / "out.parquet"), "--anomaly"]
    assert main([*words, "--encoder", str(tmp_path)]) == 2
    assert main(words) == 2
    assert not (tmp_path / "out.parquet").exists()
