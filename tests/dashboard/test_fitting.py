"""Baselines measured beside the pages: progress, the end, a fault and a stop; what a run's stored customers lack."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from dashboard.background import no_baselines
from dashboard.running import Fitting
from ple_model.run import Run


def started(program: str) -> Fitting:
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    return Fitting(process)


SAY = "import sys; say = lambda *lines: [print(l, file=sys.stderr, flush=True) for l in lines]; "


def test_its_progress_is_followed_to_the_end() -> None:
    task = started(SAY + "say('  0% reading the rows', ' 50% churn done', '100% ltv done', 'kept in here')")
    task.follow()
    assert (task.share, task.what, task.said, task.error) == (1.0, "ltv done", "kept in here", "")
    assert not task.alive


def test_a_fault_is_its_last_line() -> None:
    task = started(SAY + "say(' 50% churn done', 'ple: no rows'); sys.exit(2)")
    task.follow()
    assert (task.share, task.error) == (0.5, "ple: no rows")


def test_it_can_be_stopped_from_any_tab() -> None:
    task = started("import time; time.sleep(600)")
    thread = threading.Thread(target=task.follow)
    thread.start()
    task.end()
    thread.join(60)
    assert not task.alive
    assert task.error == ""


def test_a_run_says_why_its_customers_have_none(tiny_run: Run, tmp_path: Path) -> None:
    assert no_baselines(tiny_run.path) == ""
    out = Path(shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("analysis", "state")))
    file = out / "sample" / "baselines" / "baselines.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rows_of": "others"}))
    assert "of other data" in no_baselines(out)
    shutil.rmtree(out / "sample" / "baselines")
    assert "no baselines yet" in no_baselines(out)
    shutil.rmtree(out / "sample")
    assert "is not a dataset" in no_baselines(out)
