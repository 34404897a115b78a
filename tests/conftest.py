"""Fixtures for all tests: `tiny_dataset` and `tiny_run`, made once a session. Treat both as read-only; copy before changing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run, load_run
from tests.fakes import make_dataset, tiny_config, with_quick_baselines

MADE = "PLE_TINY_RUN"
"""Environment variable: the folder of a tiny run that is there already."""


def pytest_configure() -> None:
    """Denormals are flushed as the command line and the app do it: small models train several times faster."""
    torch.set_flush_denormal(True)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="ple-tests-")  # jobs of tests are not jobs of the user


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small dataset folder with planted signal (`tests/fakes.py`) and baselines that cost nothing."""
    return with_quick_baselines(make_dataset(tmp_path_factory.mktemp("data") / "planted"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Run:
    """A finished run folder of a tiny model, trained for real: progress, metrics, calibration and sample included.

    Tests of a copy of the project take the run of the tests that made the copy (`MADE`)."""
    from ple_model.train import train

    if MADE in os.environ:
        return load_run(os.environ[MADE])
    data: Dataset = request.getfixturevalue("tiny_dataset")
    return train(data, tmp_path_factory.mktemp("runs") / "tiny", tiny_config(), preset="small", device="cpu")


@pytest.fixture
def runs_dir(tiny_run: Run) -> Path:
    """The folder that holds `tiny_run`."""
    return tiny_run.path.parent
