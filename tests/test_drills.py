"""A little of each drill; the whole of them: `python -m tests.drills.kills`, `tests.drills.races`, `tests.drills.disk_full`.

`tests.drills.settings` runs in tests/ple_model/test_settings_drill.py, kills that are aimed in tests/ple_model/test_resume.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.drills.kit import Outcome, Report
from tests.drills.races import jobs

pytestmark = pytest.mark.slow


def test_of_starts_at_the_same_moment_one_wins_and_the_others_are_refused() -> None:
    words = [sys.executable, "-m", "tests.drills.races", "--cases", "1"]  # in a process of its own: it forks
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 cases" in done.stdout


def test_a_case_that_is_not_good_makes_a_drill_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.drills.races.together", lambda works, folder: ["done", "done", "refused: x"])
    report = Report("races", 0).add(jobs(tmp_path, 1))
    assert [b.result for b in report.bad] == ["wrong"]
    assert Report("any", 0).add([Outcome("x", "refused"), Outcome("y", "right")]).bad == []
