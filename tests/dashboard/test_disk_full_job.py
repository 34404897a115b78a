"""A training that the app started and whose disk fills up: the job's card says it in one sentence, in the reader's language."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dashboard.i18n import LANGUAGES, catalogue
from dashboard.jobs import JobStore, Training, jobs_root
from ple_model.data.dataset.reader import Dataset
from tests.dashboard.test_jobs import until
from tests.dashboard.test_views import opened
from tests.drills.disk_full import mount, unmount
from tests.fakes import TINY

DISK = 3 << 20
"""Room for the run, not for the sample of customers at its end."""


@pytest.fixture(scope="module")
def full(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs on a small disk, in which a training of the app has failed."""
    place = tmp_path_factory.mktemp("full") / "runs"
    if not mount(place, DISK):
        pytest.skip("mounting a small file system needs root")
    try:
        settings = ("training.phase1_epochs=1", "training.phase2_epochs=0")
        job = JobStore(jobs_root(place)).start(
            Training(tiny_dataset.path, place / "run", "small", settings, yaml.safe_dump(TINY), "cpu")
        )
        until(lambda: not JobStore(jobs_root(place)).get(job.id).active, 300)
        yield place
    finally:
        unmount(place)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_card_of_a_training_whose_disk_is_full_says_so(language: str, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(full, monkeypatch, "training", lang=language)
    assert catalogue(language)["job.end_disk"] in [e.value for e in app.sidebar.error]
    said = [t.value for t in app.sidebar.text]
    assert len(said) == 1
    assert len(said[0].splitlines()) == 1
    assert re.match(r"no space left on" if language == "en" else r".*공간이 없어졌습니다", said[0])
    assert "Traceback" not in said[0]
    assert catalogue(language)["job.resume"] in [b.label for b in app.sidebar.button]


def test_nothing_half_written_is_left_and_there_is_room_again(full: Path) -> None:
    assert [p.name for p in (full / "run").rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".sample")] == []
    assert shutil.disk_usage(full).free > DISK // 8  # it had been full to the last byte
