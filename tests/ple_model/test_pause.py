"""Files that ask a training to stand still: what was meant for another, and what came while this one still started."""

from __future__ import annotations

import os
from pathlib import Path

from ple_model.data.dataset.reader import Dataset
from ple_model.train import Options, train
from ple_model.training.pause import NAME, forget
from tests.fakes import tiny_config


def test_what_was_asked_before_is_forgotten_and_what_was_asked_since_is_kept(tmp_path: Path) -> None:
    for age, left in ((-1.0, False), (1.0, True)):
        file = tmp_path / NAME
        file.touch()
        os.utime(file, (1000 + age, 1000 + age))
        forget(file, 1000.0)
        assert file.exists() == left
    forget(tmp_path / "never", 1000.0)


def test_a_stop_that_came_while_the_command_started_stops_it_and_an_older_one_does_not(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    run, quick = tmp_path / "run", tiny_config({"training": {"phase1_epochs": 1, "phase2_epochs": 0}})
    train(small_dataset, run, quick, stop=lambda: True, device="cpu")
    asked = run / "state" / "stop"
    for began, status in ((999.0, "stopped"), (1001.0, "finished")):
        asked.touch()
        os.utime(asked, (1000.0, 1000.0))
        options = Options(device="cpu", sample_customers=20, began=began)
        assert train(small_dataset, run, quick, resume=True, options=options).manifest.status == status
