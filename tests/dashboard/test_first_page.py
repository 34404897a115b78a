"""What the first page of a run that was measured before does not import: seconds that its reader would wait for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from analysis import diagnose
from dashboard.server import RUNS_VARIABLE
from ple_model.run import load_run
from tests.shared import SMALL_RUN

SCRIPT = """
import json, sys
from streamlit.testing.v1 import AppTest
from dashboard import background
asked = []
background.model_side = lambda: asked.append("the model's side")  # a thread, which imports torch while this one looks
at = AppTest.from_file(sys.argv[1], default_timeout=120)
at.query_params["run"] = sys.argv[2]
at.run()
heavy = [m for m in ("torch", "scipy", "sklearn", "captum", "umap") if m in sys.modules]
said, wrong = ([x.value for x in found] for found in (at.markdown, at.exception))
print(json.dumps({"heavy": heavy, "asked": asked, "wrong": wrong, "said": said}))
"""


def test_the_first_page_of_a_measured_run_needs_neither_torch_nor_scipy(tmp_path: Path) -> None:
    run = Path(shutil.copytree(SMALL_RUN, tmp_path / "runs" / "seen"))
    diagnose(run)
    app = Path(__file__).parents[2] / "dashboard" / "app.py"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(app), "seen"], env={**os.environ, RUNS_VARIABLE: str(run.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["wrong"]
    assert any("tasks" in s for s in found["said"])
    assert found["heavy"] == []
    assert found["asked"] == ["the model's side"]


def test_a_config_that_was_changed_is_read_when_the_run_is_opened_and_one_as_trained_when_it_is_asked_for(
    tmp_path: Path,
) -> None:
    run = Path(shutil.copytree(SMALL_RUN, tmp_path / "run"))
    assert "config" not in vars(load_run(run))
    assert load_run(run).tasks == tuple(load_run(run).config.tasks)
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "\n# by hand\n")
    assert "config" in vars(load_run(run))
