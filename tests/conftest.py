"""Fixtures for all tests: `tiny_dataset`, `small_dataset` and `tiny_run`, made once a session and read-only: copy to change."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from ple_model.data.dataset.reader import Dataset
from ple_model.run import Run, load_run
from tests.fakes import make_dataset, tiny_config, with_quick_baselines
from tests.shared import shared

MADE = "PLE_TINY_RUN"
"""Environment variable: the folder of a tiny run that is there already."""


THREADS = torch.get_num_threads()


def pytest_configure() -> None:
    """Denormals are flushed as the command line and the app do it: small models train several times faster."""
    torch.set_flush_denormal(True)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="ple-tests-")  # jobs of tests are not jobs of the user
    sys.dont_write_bytecode = False  # tests start dozens of processes: each would compile the project for itself
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_runtest_setup() -> None:
    """A command with `--threads` sets them for its process, which here goes on to the next test."""
    torch.set_num_threads(THREADS)


def pytest_runtest_call() -> None:
    torch.set_num_threads(THREADS)


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a test that is marked slow come first: one that begins last would keep a single worker busy at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What is imported by now stays: a million objects that each collection of garbage would look through again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small dataset folder with planted signal (`tests/fakes.py`) and baselines that cost nothing, one for all workers."""
    return Dataset.open(shared(tmp_path_factory, "planted", lambda folder: with_quick_baselines(make_dataset(folder))))


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three batches of 32 training rows: for a training that has to run, not to learn. A `ple train` of it measures nothing."""

    def make(folder: Path) -> None:
        with_quick_baselines(make_dataset(folder, train=96, validation=64, test=64))

    return Dataset.open(shared(tmp_path_factory, "small", make))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Run:
    """A finished run folder of a tiny model, trained for real and measured: progress, metrics, calibration and sample included.

    It is trained once for all workers; each has a copy, since what is measured of a run is kept in its folder. Tests of a copy
    of the project take the run of the tests that made the copy (`MADE`)."""
    if MADE in os.environ:
        return load_run(os.environ[MADE])
    data: Dataset = request.getfixturevalue("tiny_dataset")

    def make(folder: Path) -> None:
        from analysis import diagnose
        from ple_model.train import train

        diagnose(train(data, folder, tiny_config(), preset="small", device="cpu").path)

    made = shared(tmp_path_factory, "tiny", make)
    return load_run(Path(shutil.copytree(made, tmp_path_factory.mktemp("runs") / "tiny")))


@pytest.fixture
def runs_dir(tiny_run: Run) -> Path:
    """The folder that holds `tiny_run`."""
    return tiny_run.path.parent
