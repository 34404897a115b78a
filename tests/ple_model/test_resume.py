"""A training killed at any moment and resumed ends with the same bits as one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import make_dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `resume_driver` found: the uninterrupted run and three that were killed and resumed."""
    out = tmp_path_factory.mktemp("resume")
    make_dataset(out / "data", train=128, validation=64, test=64)
    done = subprocess.run(
        [sys.executable, "-m", "tests.ple_model.resume_driver", str(out / "data"), str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("scenario", "kills"), [("steps", 3), ("files", 3), ("end", 3), ("paused", 1)])
def test_killed_and_resumed_training_ends_with_the_same_bits(outcome: dict[str, Any], scenario: str, kills: int) -> None:
    assert outcome[scenario]["killed"] == kills
    assert outcome[scenario]["last"] == 0
    assert outcome[scenario]["status"] == "finished"
    assert outcome[scenario]["digest"] == outcome["whole"]["digest"]


@pytest.mark.parametrize("scenario", ["steps", "files", "end", "paused"])
def test_killed_and_resumed_training_reports_each_epoch_once_with_the_same_numbers(
    outcome: dict[str, Any], scenario: str
) -> None:
    assert [e["epoch"] for e in outcome["whole"]["epochs"]] == [1, 2, 3]
    assert outcome[scenario]["epochs"] == outcome["whole"]["epochs"]


@pytest.mark.parametrize("scenario", ["steps", "files", "end", "paused"])
def test_nothing_half_written_is_left_behind(outcome: dict[str, Any], scenario: str) -> None:
    assert outcome[scenario]["left"] == []
