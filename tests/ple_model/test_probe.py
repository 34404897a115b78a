"""A few real steps tell what a training takes: they are a training's own, nothing is left, and a refusal is a training's."""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from ple_model import fitted_start
from ple_model.cli import main
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.training import probe
from ple_model.training.probe import estimate
from ple_model.training.remaining import END
from tests.fakes import tiny_config


def test_steps_are_timed_and_add_up_to_the_whole(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that goes on by a second at each look: a step takes one, whatever the machine does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ticks = itertools.count()
    config = tiny_config()
    assert config.direct_path.start == "random"
    found = estimate(small_dataset, config, device="cpu", steps=2, clock=lambda: float(next(ticks)))
    t = config.training
    assert found.epochs == (t.phase1_epochs, t.phase2_epochs)
    assert found.step_seconds == (1.0, 1.0)
    stepping = found.steps_per_epoch * sum(found.epochs)
    assert found.seconds == pytest.approx(stepping + sum(found.epochs) + END)  # an epoch's end is looked at once
    assert found.rss_mb > 50
    assert found.parameters > 0
    assert list(tmp_path.glob("ple-*")) == []  # torch keeps a folder of its own there


def test_what_is_timed_on_the_first_rows_is_scaled_by_all(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of an epoch, and the fit of the map, which looks at the clock at each thing that it says."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = small_dataset.manifest.splits

    def seconds(**more: object) -> float:
        ticks = itertools.count()
        config = tiny_config({"training": {"batch_size": rows["validation"] // 2}, "direct_path": more})
        return estimate(small_dataset, config, device="cpu", steps=1, clock=lambda: float(next(ticks))).seconds

    plain, fitted = seconds(), seconds(start="fitted", bends=2)
    assert fitted > plain + 15  # a task's bends are one thing that it says
    monkeypatch.setattr(probe, "VALIDATION_ROWS", 1)
    t = tiny_config().training
    assert seconds() - plain == pytest.approx(t.phase1_epochs + t.phase2_epochs + END)  # one of two batches was looked at
    monkeypatch.setattr(probe, "MOST_SECONDS", 3.0)
    assert seconds(start="fitted", bends=2) > plain  # given up before its end, and reckoned by the share that was done


def test_of_a_large_dataset_as_many_rows_are_fitted_as_are_read(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training fits a sample of all rows; the first rows hold few of that."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[int] = []

    def fit(x: Tensor, *rest: object) -> None:
        seen.append(len(x))
        raise UserError("enough")

    monkeypatch.setattr(fitted_start, "fit_linear_start", fit)
    monkeypatch.setattr(fitted_start, "MAX_ROWS", 40)
    monkeypatch.setattr(fitted_start, "CHUNK", 10)
    monkeypatch.setattr(probe, "FIT_ROWS", 20)
    with pytest.raises(UserError, match="enough"):
        estimate(small_dataset, tiny_config({"direct_path": {"start": "fitted", "bends": 0}}), device="cpu")
    assert seen == [20]


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
