"""A training that did not reach its end says how: a full disk, no memory, killed, gone, crashed and refused are told apart."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard import worker
from dashboard.i18n import catalogue
from dashboard.job_end import KILLED_FOR_MEMORY, End, end_of, signal_name
from dashboard.jobs import Job, JobStore, Training, jobs_root
from tests.dashboard.plain_worker import plan
from tests.dashboard.test_jobs import until

JOB = Job("a" * 12, "failed", 1.0, 1.0, 2.0, None, 1, False, training=Training(Path("/d"), Path("/r")))


@pytest.mark.parametrize(
    ("said", "code", "end"),
    [
        ("no space left on / while writing /r/x: 3.0 MB are needed, 1.0 MB are free; make room and start again", 2, "disk"),
        ("/r/x: 3.0 MB are needed, the system's limit on the size of a file (see `ulimit -f`) does not allow it", 2, "disk"),
        ("[Errno 28] No space left on device", 1, "disk"),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", 1, "memory"),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes", 1, "memory"),
        ("MemoryError", 1, "memory"),
        ("the model: its weights need more than the 3.1 GB of memory that are free", 2, "memory"),
        (KILLED_FOR_MEMORY, -9, "memory"),
        ("epoch 3", -9, "killed"),
        ("epoch 3", -15, "killed"),
        ("Segmentation fault", -11, "crashed"),
        ("ZeroDivisionError: division by zero", 1, "crashed"),
        ("/d is not the dataset of /r: fingerprint a, the run was started on 'b' c", 2, "refused"),
    ],
)
def test_how_it_ended_follows_from_its_status_and_its_last_words(said: str, code: int, end: End) -> None:
    assert end_of(replace(JOB, returncode=code), said) == end


def test_a_job_that_is_gone_without_a_word_was_interrupted() -> None:
    assert end_of(replace(JOB, status="lost", returncode=None), "epoch 3") == "interrupted"
    assert end_of(replace(JOB, status="lost", returncode=None), "no space left on /") == "disk"


def test_every_end_says_what_can_be_done_in_each_language() -> None:
    for language in ("en", "ko"):
        assert all(f"job.end_{end}" in catalogue(language) for end in End.__args__)  # type: ignore[attr-defined]


def test_the_signal_has_its_name() -> None:
    assert [signal_name(code) for code in (-9, -11, 1, None, -999)] == ["SIGKILL", "SIGSEGV", "", "", ""]


@pytest.mark.parametrize(("counts", "end"), [((3, 4), "memory"), ((3, 3), "killed")])
def test_a_training_that_the_kernel_killed_for_memory_says_so_in_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int], end: End
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = JobStore(jobs_root(tmp_path), worker="tests.dashboard.plain_worker")
    plan(tmp_path / "a", (sys.executable, "-c", "print('trained')"))
    job = store.start(Training(tmp_path, tmp_path / "a"))
    until(lambda: not store.get(job.id).active)
    store.update(job.id, only_if=("finished",), status="queued", returncode=None)
    told = iter(counts)
    monkeypatch.setattr(worker, "kills_for_memory", lambda: next(told))
    monkeypatch.setattr(signal, "signal", lambda *a: None)  # this process is no worker
    suicide = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert worker.work(store, job.id, lambda training: suicide) == -signal.SIGKILL
    found = store.get(job.id)
    assert found.status == "failed"
    assert end_of(found, store.log_tail(job.id)) == end
