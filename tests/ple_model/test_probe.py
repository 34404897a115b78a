"""A few real steps tell what a training takes: they are a training's own, nothing is left, and a refusal is a training's."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.training.probe import estimate
from ple_model.training.remaining import ASIDE, END
from tests.fakes import tiny_config


def test_steps_are_timed_and_add_up_to_the_whole(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by a second at each look: a step takes one, whatever the machine does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ticks = itertools.count()
    config = tiny_config()
    found = estimate(small_dataset, config, device="cpu", steps=2, clock=lambda: float(next(ticks)))
    t, rows = config.training, small_dataset.manifest.splits
    assert found.epochs == (t.phase1_epochs, t.phase2_epochs)
    assert found.step_seconds == (1.0, 1.0)
    aside = ASIDE * found.steps_per_epoch * rows["validation"] / rows["train"]
    stepping = found.steps_per_epoch * sum(found.epochs)
    assert found.seconds >= stepping + aside * (sum(found.epochs) + END) - 1e-9
    assert found.rss_mb > 50
    assert found.parameters > 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_training_would_refuse_is_refused(small_dataset: Dataset) -> None:
    config = tiny_config()
    half = replace(config, training=replace(config.training, amp="fp16"))
    with pytest.raises(UserError, match="fp16"):
        estimate(small_dataset, half, device="cpu")


def test_the_command_prints_it_as_json(small_dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", str(small_dataset.path), "--preset", "small", "--device", "cpu", "--json"]
    assert main([*words, "--set", "training.phase1_epochs=2", "--set", "training.phase2_epochs=1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == [2, 1]
    assert found["seconds"] > 0
