"""The page of sequences: what it offers without an encoder, and what it says of a customer with one, in both languages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.explain.lookup import customers
from analysis.sequences import learned
from analysis.sequences.learned import learn
from dashboard.document import to_html
from dashboard.i18n import catalogue
from dashboard.page import KEY
from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run
from ple_model.sequences.encoder_run import load_encoder
from tests.dashboard.test_views import opened, text
from tests.encoders import tiny_encoder

pytestmark = pytest.mark.slow


def test_without_an_encoder_it_gives_the_command(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(runs_dir, monkeypatch, "sequences", run="tiny")
    assert [c.value for c in app.code] == [f"ple pretrain DATASET {runs_dir / 'encoder'}"]


def test_with_an_encoder_it_speaks_of_days(
    tiny_run: Run, small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path_factory.mktemp("encoders")
    shutil.copytree(tiny_run.path, runs / "tiny")
    shutil.copytree(tiny_encoder(tmp_path_factory, small_dataset), runs / "days")
    assert opened(runs, monkeypatch, "sequences", run="tiny").query_params["encoder"] in ("days", ["days"])
    monkeypatch.setattr(learned, "_map", lambda x, note: x[:, :2])  # where its rows lie on the map is no matter here
    learn(load_encoder(runs / "days"), replace(tiny_run, path=runs / "tiny"))
    for lang in ("en", "ko"):
        said = text(opened(runs, monkeypatch, "sequences", run="tiny", lang=lang))
        words = catalogue(lang)
        for key in ("map", "counting", "oddness", "gate", "alike", "probe"):
            assert words[f"sequences.{key}"] in said
        told = [words[f"sequences.{k}"].split("**{span}**")[1].split("{share}")[0] for k in ("counts", "level")]
        assert sum(t in said for t in told) == 1
        assert words["sequences.ahead"].split("}")[1].split("{")[0] in said
        assert words["sequences.ahead_held"].split("}")[-1] in said
    ids = {c.customer_id for c in customers(runs / "tiny", limit=1000)}
    for asked in (min(ids), f"{min(ids)}9"):
        app = opened(runs, monkeypatch, "sequences", run="tiny", customer=asked)
        saved = to_html(app.session_state[KEY].last(0))
        assert not [i for i in {asked, *ids} if i in saved]
