"""A run from elsewhere whose name, preset, warnings and notes hold Markdown: no page makes a link or an image of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from analysis import diagnose
from ple_model.run import Run
from tests.dashboard.test_views import NAMES, opened, text

PLANTED = "![seen](http://127.0.0.1:9/x.png) [open](http://127.0.0.1:9/) <img src=x>"
MARKUP = re.compile(r"!\[|\]\(|https?://|<img")
NAME = "run ![a](b)"


@pytest.fixture(scope="module")
def hostile(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("hostile")
    run = Path(shutil.copytree(tiny_run.path, runs / NAME))
    for file, change in (
        (run / "manifest.json", {"preset": PLANTED, "warnings": [PLANTED], "commit": PLANTED}),
        (run / "sample" / "dataset.json", {"name": PLANTED, "notes": [PLANTED], "absent_sources": [PLANTED]}),
    ):
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    diagnose(run)
    return runs


@pytest.mark.parametrize("name", NAMES)
def test_no_page_makes_markup_of_foreign_text(name: str, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(hostile, monkeypatch, name)
    shown = text(app) + "\n".join(f"{m.label} {m.value}" for m in app.metric)
    assert MARKUP.findall(shown) == []


def test_the_planted_text_is_shown_as_text(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "seen" in text(opened(hostile, monkeypatch, "overview"))
