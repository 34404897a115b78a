"""A run with every warning that a training can leave, read in Korean: no English sentence is left on any page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from analysis import diagnose
from dashboard import job_card
from dashboard.i18n.sentences import say
from dashboard.jobs import Job, Training
from ple_model.run import Run
from tests.dashboard.test_views import NAMES, opened, text
from tests.training_warnings import every_warning

pytestmark = pytest.mark.slow

SENTENCE = re.compile(r"(?:\b[A-Za-z]{2,},? ){3}[A-Za-z]{2,}\b")
"""Four English words in a row."""
OLDER = "a warning of an older release that nobody knows"


@pytest.fixture(scope="module")
def warned(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("warned")
    run = Path(shutil.copytree(tiny_run.path, runs / "tiny"))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"warnings": every_warning()}))
    with (run / "progress.jsonl").open("a") as file:
        file.writelines(json.dumps({"event": "warning", "text": w}) + "\n" for w in every_warning())
    diagnose(run)
    return runs


@pytest.mark.parametrize("name", NAMES)
def test_no_page_in_korean_says_an_english_sentence(name: str, warned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(warned, monkeypatch, name, lang="ko")
    shown = text(app)
    if name == "overview":
        assert sum("에폭 2" in c.value for c in app.caption) >= 10
    assert SENTENCE.findall(re.sub(r"`[^`]*`", "", shown)) == []


def test_what_an_older_run_wrote_still_shows(warned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(shutil.copytree(warned / "tiny", tmp_path / "tiny"))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"warnings": [OLDER]}))
    diagnose(run)
    assert OLDER in text(opened(tmp_path, monkeypatch, "overview", lang="ko"))


@pytest.mark.parametrize(
    "reason",
    [
        "no space left on /data while writing progress.jsonl: 1.0 MB are needed, 0.0 MB are free; make room and start again",
        "epoch 1, step 3: the loss or its gradient was not finite for 25 steps; the output of 'temporal' overflowed; lower "
        "training.learning_rate or look at the inputs with `ple validate`",
    ],
)
def test_a_failed_training_says_why_in_korean(reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "failed"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"status": "failed", "reason": reason}))
    monkeypatch.setattr("dashboard.i18n.sentences.language", lambda: "ko")
    job = Job("0" * 32, "failed", 0.0, None, None, None, 2, False, Training(tmp_path, run, "small"))
    assert re.search(r"[가-힣]", said := say(job_card.last_words(job)))
    assert SENTENCE.search(said) is None
