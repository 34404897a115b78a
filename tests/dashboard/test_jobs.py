"""Jobs survive what a browser and a server do to them; every wait is on a condition, with a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import dashboard.jobs
from dashboard.jobs import JobStore, held, progress, train_command
from ple_model.errors import UserError

REPO = Path(__file__).resolve().parents[2]
QUICK = (sys.executable, "-c", "print('trained')")
BLOCK = "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.touch(); open(sys.argv[2]).read()"
"""Marks that it started, then blocks until somebody writes to a FIFO: no timing in it."""


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Poll `condition`; fail after `seconds`."""
    tick = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        tick.wait(0.05)
    pytest.fail("the condition did not come true in time")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobStore:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a slot of its own, also for the workers
    monkeypatch.setattr(dashboard.jobs.tempfile, "tempdir", str(tmp_path))
    return JobStore(tmp_path / "runs" / ".jobs")


class Blocked:
    """A command that runs until it is released."""

    def __init__(self, folder: Path, name: str) -> None:
        self.started, self.fifo = folder / f"{name}.started", folder / f"{name}.fifo"
        os.mkfifo(self.fifo)
        self.command = (sys.executable, "-c", BLOCK, str(self.started), str(self.fifo))

    def release(self) -> None:
        with self.fifo.open("w") as file:
            file.write("go")


def test_a_quick_command_finishes_and_its_output_is_in_the_log(store: JobStore, tmp_path: Path) -> None:
    job = store.start(tmp_path / "a", "a", QUICK)
    until(lambda: not store.get(job.id).active)
    assert store.get(job.id).status == "finished"
    assert store.get(job.id).returncode == 0
    assert store.log_tail(job.id) == "trained\n"


def test_a_failing_command_is_failed_with_its_exit_status(store: JobStore, tmp_path: Path) -> None:
    job = store.start(tmp_path / "a", "a", (sys.executable, "-c", "raise SystemExit(3)"))
    until(lambda: not store.get(job.id).active)
    assert (store.get(job.id).status, store.get(job.id).returncode) == ("failed", 3)


def test_stop_ends_a_running_job_and_a_second_job_then_gets_the_slot(store: JobStore, tmp_path: Path) -> None:
    first, second = Blocked(tmp_path, "first"), Blocked(tmp_path, "second")
    one = store.start(tmp_path / "a", "a", first.command)
    until(first.started.exists)
    two = store.start(tmp_path / "b", "b", second.command)
    until(lambda: held(store.lock_path(two.id)))
    assert store.get(two.id).status == "queued"
    assert not second.started.exists()
    until(lambda: store.get(one.id).status == "running")
    store.stop(one.id)
    until(second.started.exists)
    assert store.get(one.id).status == "stopped"
    second.release()
    until(lambda: not store.get(two.id).active)
    assert store.get(two.id).status == "finished"


def test_a_queued_job_that_is_stopped_never_starts(store: JobStore, tmp_path: Path) -> None:
    first, second = Blocked(tmp_path, "first"), Blocked(tmp_path, "second")
    one = store.start(tmp_path / "a", "a", first.command)
    until(first.started.exists)
    two = store.start(tmp_path / "b", "b", second.command)
    store.stop(two.id)
    until(lambda: store.get(two.id).status == "stopped")
    first.release()
    until(lambda: not store.get(one.id).active)
    assert not second.started.exists()


def test_a_job_survives_kill_9_of_the_server_that_started_it(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    script = (
        "import sys, signal, os, json; from pathlib import Path; from dashboard.jobs import JobStore\n"
        "job = JobStore(Path(sys.argv[1])).start(Path(sys.argv[2]), 'x', json.loads(sys.argv[3]))\n"
        "print(job.id, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", script, str(store.root), str(tmp_path / "x"), json.dumps(blocked.command)]
    server = subprocess.run(words, capture_output=True, text=True, cwd=REPO, check=False)
    assert server.returncode == -signal.SIGKILL
    job_id = server.stdout.strip()
    until(blocked.started.exists)
    assert [j.id for j in store.jobs() if j.active] == [job_id]
    blocked.release()
    until(lambda: not store.get(job_id).active)
    assert store.get(job_id).status == "finished"


def test_a_killed_worker_leaves_its_training_alive_and_counted_as_running(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    job = store.start(tmp_path / "x", "x", blocked.command)
    until(lambda: blocked.started.exists() and store.get(job.id).status == "running")
    child = store.get(job.id).pid
    assert child is not None
    worker = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(worker, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes())
    assert [j.status for j in store.jobs()] == ["running"]
    store.stop(job.id)
    until(lambda: store.jobs()[0].status == "lost")


def test_a_job_without_a_living_process_takes_its_outcome_from_the_manifest(store: JobStore, tmp_path: Path) -> None:
    job = store.start(tmp_path / "a", "a", QUICK)
    until(lambda: not store.get(job.id).active)
    store.update(job.id, only_if=("finished",), status="running")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({"status": "stopped"}))
    until(lambda: [j.status for j in store.jobs()] == ["stopped"])  # its worker may hold the run's lock a moment longer


def test_one_run_folder_is_never_trained_twice_at_once(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    job = store.start(tmp_path / "x", "x", blocked.command)
    with pytest.raises(UserError, match="being trained already"):
        store.start(tmp_path / "x", "again", QUICK)
    until(blocked.started.exists)
    blocked.release()
    until(lambda: not store.get(job.id).active)


def test_torn_lines_of_progress_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text('{"event": "start"}\n{"event": "epoch", "epoch": 1}\n{"event": "ep')
    assert [line["event"] for line in progress(tmp_path)] == ["start", "epoch"]


def test_the_previewed_command_is_what_a_shell_would_run(tmp_path: Path) -> None:
    words = train_command(tmp_path / "d", tmp_path / "r", preset="small", overrides=["training.seed=1"], resume=True)
    assert words[1:5] == ("-m", "ple_model", "train", str(tmp_path / "d"))
    assert words[-3:] == ("--set", "training.seed=1", "--resume")
