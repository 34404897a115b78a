"""A run whose weights are no numbers opens in the app, which says so; a page that would use them ends in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis import diagnose
from ple_model.files import read_tensors, write_tensors
from ple_model.run import Run
from tests.dashboard.test_views import opened, text


@pytest.fixture(scope="module")
def runs(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    run = folder / "tiny"
    shutil.copytree(tiny_run.path, run, ignore=shutil.ignore_patterns("analysis", "state"))
    stored, meta = read_tensors(run / "model.safetensors")
    for name in ("brands.keys", "cgc.linear.weight", "sae.mean", "evidential.bias"):
        stored[name].view(-1)[0] = float("nan")
    write_tensors(run / "model.safetensors", stored, meta)
    diagnose(run)
    return folder


@pytest.mark.parametrize("name", ["overview", "sae_neurons", "why_recommended"])
def test_a_page_of_a_run_with_weights_that_are_no_numbers(runs: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    said = text(opened(runs, monkeypatch, name))
    if name == "overview":
        assert "hold NaN or Inf" in said
    if name in ("sae_neurons", "why_recommended"):
        assert "model.safetensors" in said
    assert "nan%" not in said
