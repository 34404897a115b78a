"""Jobs survive what a browser and a server do to them; every wait is on a condition, with a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dashboard.i18n import catalogue
from dashboard.job_card import held as held_seconds
from dashboard.job_pause import state_of, waiting
from dashboard.jobs import Job, JobStore, Training, held, jobs_root, progress
from ple_model.errors import UserError
from tests.dashboard.plain_worker import plan

EN = catalogue("en")
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
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # a slot of its own, also for the workers
    return JobStore(jobs_root(tmp_path), worker="tests.dashboard.plain_worker")


def start(store: JobStore, run: Path, command: tuple[str, ...]) -> Job:
    """A job whose worker runs `command` in the place of a training."""
    plan(run, command)
    return store.start(Training(run.parent, run))


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
    job = start(store, tmp_path / "a", QUICK)
    until(lambda: not store.get(job.id).active)
    assert store.get(job.id).status == "finished"
    assert store.get(job.id).returncode == 0
    assert store.log_tail(job.id) == "trained\n"


def test_what_a_killed_process_had_half_written_is_gone_with_the_next_job(store: JobStore, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    store.root.mkdir(parents=True)
    dead, alive, other = (store.root / n for n in (f".x.progress.{gone.pid}.tmp", f".x.progress.{os.getpid()}.tmp", ".x.y.tmp"))
    for file in (dead, alive, other):
        file.touch()
    job = start(store, tmp_path / "a", QUICK)
    assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)
    until(lambda: not store.get(job.id).active)


def test_a_failing_command_is_failed_with_its_exit_status(store: JobStore, tmp_path: Path) -> None:
    job = start(store, tmp_path / "a", (sys.executable, "-c", "raise SystemExit(3)"))
    until(lambda: not store.get(job.id).active)
    assert (store.get(job.id).status, store.get(job.id).returncode) == ("failed", 3)


def test_stop_ends_a_running_job_and_a_second_job_then_gets_the_slot(store: JobStore, tmp_path: Path) -> None:
    first, second = Blocked(tmp_path, "first"), Blocked(tmp_path, "second")
    one = start(store, tmp_path / "a", first.command)
    until(first.started.exists)
    two = start(store, tmp_path / "b", second.command)
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
    one = start(store, tmp_path / "a", first.command)
    until(first.started.exists)
    two = start(store, tmp_path / "b", second.command)
    store.stop(two.id)
    until(lambda: store.get(two.id).status == "stopped")
    first.release()
    until(lambda: not store.get(one.id).active)
    assert not second.started.exists()


def test_a_job_survives_kill_9_of_the_server_that_started_it(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    script = (
        "import sys, signal, os; from pathlib import Path; from dashboard.jobs import JobStore, Training\n"
        "run = Path(sys.argv[2])\n"
        "job = JobStore(Path(sys.argv[1]), worker=sys.argv[3]).start(Training(run.parent, run))\n"
        "print(job.id, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    plan(tmp_path / "x", blocked.command)
    words = [sys.executable, "-c", script, str(store.root), str(tmp_path / "x"), store.worker]
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
    job = start(store, tmp_path / "x", blocked.command)
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
    job = start(store, tmp_path / "a", QUICK)
    until(lambda: not store.get(job.id).active)
    store.update(job.id, only_if=("finished",), status="running")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({"status": "stopped"}))
    until(lambda: [j.status for j in store.jobs()] == ["stopped"])  # its worker may hold the run's lock a moment longer


def test_one_run_folder_is_never_trained_twice_at_once(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    job = start(store, tmp_path / "x", blocked.command)
    with pytest.raises(UserError, match="being trained already"):
        store.start(Training(tmp_path, tmp_path / "x"))
    until(blocked.started.exists)
    blocked.release()
    until(lambda: not store.get(job.id).active)


def test_torn_lines_of_progress_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text('{"event": "start"}\n{"event": "epoch", "epoch": 1}\n{"event": "ep')
    assert [line["event"] for line in progress(tmp_path)] == ["start", "epoch"]


def test_the_command_is_what_a_shell_would_run_and_a_resumed_run_keeps_its_own_config(store: JobStore, tmp_path: Path) -> None:
    training = Training(tmp_path / "d", tmp_path / "r", settings=("training.seed=1",), config="training: {}")
    words = store.command(training)
    where = str(store.config_path(training))
    assert words[1:7] == ("-m", "ple_model", "train", str(tmp_path / "d"), str(tmp_path / "r"), "--preset")
    assert words[7:] == ("small", "--config", where, "--set", "training.seed=1", "--device", "auto")
    resumed = replace(training, resume=True)
    assert "--resume" not in store.command(resumed)  # there is nothing yet to go on with
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "manifest.json").write_text("{}")
    assert store.command(resumed)[4:] == (str(tmp_path / "d"), str(tmp_path / "r"), "--resume", "--device", "auto")


def test_jobs_lie_in_the_users_own_folder_and_nothing_beside_the_runs_is_read(store: JobStore, tmp_path: Path) -> None:
    foreign = tmp_path / ".jobs"
    foreign.mkdir()
    (foreign / "jobs.sqlite3").write_bytes(b"not a database")
    job = start(store, tmp_path / "a", QUICK)
    until(lambda: not store.get(job.id).active)
    assert not store.root.is_relative_to(foreign)
    assert (tmp_path / "state" / "ple-scope").stat().st_mode & 0o777 == 0o700
    assert {p.name for p in foreign.iterdir()} == {"jobs.sqlite3"}


def test_a_stored_job_names_a_training_and_never_a_command(store: JobStore, tmp_path: Path) -> None:
    """Rows that somebody else wrote: none is run as a command, none reaches a file outside."""
    canary = tmp_path / "outside.log"
    canary.write_text("secret")
    assert store.jobs() == []
    with store._db() as db:
        for job_id, column, value in (
            ("../../outside", "run", str(tmp_path / "x")),
            ("a" * 12, "settings", '["--config", "/etc/passwd"]'),
            ("b" * 12, "settings", "[1]"),
            ("c" * 12, "preset", "--help"),
            ("d" * 12, "device", "--threads=99"),
            ("e" * 12, "run", "relative/-x"),
            ("f" * 12, "status", "sh -c true"),
            ("0" * 12, "created", "soon"),
        ):
            row = {
                "id": job_id, "run": str(tmp_path / "x"), "dataset": str(tmp_path), "preset": "small", "settings": "[]",
                "config": "", "device": "auto", "resume": 0, "status": "lost", "created": 1.0,
            } | {column: value}  # fmt: skip
            marks = ", ".join("?" for _ in row)
            db.execute(f"INSERT INTO trainings ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    assert store.jobs() == []
    for job_id in ("a" * 12, "b" * 12, "c" * 12, "d" * 12, "e" * 12, "f" * 12, "0" * 12):
        with pytest.raises(UserError):
            store.resume(job_id)
    for use in (store.resume, store.log_tail, store.stop, store.get, store.lock_path):
        with pytest.raises(UserError, match="no valid id"):
            use("../../outside")
    assert canary.read_text() == "secret"


def test_a_log_that_is_a_link_is_not_read(store: JobStore, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    store.root.mkdir(parents=True)
    store.log_path("a" * 12).symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UserError, match="is a link"):
        store.log_tail("a" * 12)


def test_of_many_starts_of_one_run_at_once_exactly_one_is_taken(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    plan(tmp_path / "x", blocked.command)
    gate, taken, refused = threading.Barrier(6), [], []

    def attempt() -> None:
        gate.wait()
        try:
            taken.append(store.start(Training(tmp_path, tmp_path / "x")))
        except UserError as e:
            refused.append(str(e))

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 5)
    assert all("being trained already" in sentence for sentence in refused)
    until(blocked.started.exists)
    blocked.release()
    until(lambda: not store.get(taken[0].id).active)


def test_a_damaged_list_of_jobs_is_one_sentence(store: JobStore) -> None:
    store.root.mkdir(parents=True)
    (store.root / "jobs.sqlite3").write_bytes(b"x" * 4096)
    with pytest.raises(UserError, match=r"jobs\.sqlite3: the list of jobs cannot be read"):
        store.jobs()


def test_a_training_from_another_runs_weights_says_so_in_its_command_also_after_it_was_stored(
    store: JobStore, tmp_path: Path
) -> None:
    training = Training(tmp_path / "d", tmp_path / "r", parent=tmp_path / "old", phase_2=True)
    assert store.command(training)[-4:] == (str(tmp_path / "old"), "--phase-2", "--device", "auto")
    plan(tmp_path / "r", QUICK)
    job = store.start(training)
    until(lambda: not store.get(job.id).active)
    assert store.get(job.id).training == training


def test_a_list_of_jobs_that_an_earlier_release_made_is_read_on(store: JobStore, tmp_path: Path) -> None:
    start(store, tmp_path / "a", QUICK)
    with store._db() as db:
        for column in ("parent", "phase_2"):
            db.execute(f"ALTER TABLE trainings DROP COLUMN {column}")
    assert [j.training.parent for j in store.jobs()] == [None]
    until(lambda: not store.jobs()[0].active)


def test_a_paused_job_is_asked_by_a_file_is_told_by_its_last_line_and_can_be_stopped(store: JobStore, tmp_path: Path) -> None:
    blocked = Blocked(tmp_path, "x")
    job = start(store, tmp_path / "a", blocked.command)
    until(lambda: blocked.started.exists() and store.get(job.id).status == "running")
    job = store.get(job.id)
    store.pause(job.id)
    assert state_of(store, job) == "running"  # it has no folder yet: nobody would look
    (tmp_path / "a" / "state").mkdir(parents=True)
    store.pause(job.id)
    assert state_of(store, job) == "pausing"
    with (tmp_path / "a" / "progress.jsonl").open("w") as said:
        said.write('{"event": "paused", "time": 1.0, "epoch": 1, "step": 3}\n')
    assert state_of(JobStore(store.root), store.get(job.id)) == "paused"  # whoever looks, also after a restart of the server
    assert waiting((store,)) == EN["job.waiting_paused"]
    store.go_on(job.id)
    assert state_of(store, job) == "running"
    store.pause(job.id)
    store.stop(job.id)
    until(lambda: not store.get(job.id).active)
    assert state_of(store, store.get(job.id)) == "stopped"


def test_the_time_that_a_training_stands_still_is_told_apart() -> None:
    lines = [{"event": e, "time": t} for e, t in (("paused", 10.0), ("continued", 25.0), ("step", 30.0), ("paused", 40.0))]
    assert held_seconds(lines) == (15.0, 40.0)
    assert held_seconds([*lines, {"event": "resumed", "time": 99.0}]) == (0.0, None)
