"""Training jobs that outlive the browser tab and the server that started them.

A job is one row of a small SQLite database (WAL) beside the runs, and one process in a session of its own. The page starts a
short-lived middle process, which starts the worker (`dashboard.worker`) and ends, so that the worker is nobody's child here.
The worker holds an exclusive `flock` on the job's lock file and hands the open file to the training it starts: as long as
either lives the lock is held, so "alive" never depends on a process id that another program may have taken over. A second
lock, one for the machine, is the queue: jobs train one at a time. `reconcile` runs at start and at every poll and settles
jobs whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ple_model.errors import UserError

Status = Literal["queued", "running", "finished", "stopped", "failed", "lost"]
ACTIVE: tuple[Status, ...] = ("queued", "running")
STARTUP_GRACE_S = 30.0
"""A queued job whose lock is free is given this long to come up before it counts as lost."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, run TEXT NOT NULL, label TEXT NOT NULL, command TEXT NOT NULL, status TEXT NOT NULL,
  created REAL NOT NULL, started REAL, ended REAL, pid INTEGER, returncode INTEGER, stop INTEGER NOT NULL DEFAULT 0)
"""


@dataclass(frozen=True)
class Job:
    """One training: `run` is the folder it writes, `command` the argument list, times are unix seconds."""

    id: str
    run: Path
    label: str
    command: tuple[str, ...]
    status: Status
    created: float
    started: float | None
    ended: float | None
    pid: int | None
    returncode: int | None
    stop: bool

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


def held(path: Path) -> bool:
    """Whether some process holds the exclusive lock on `path`."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def slot_path() -> Path:
    """The machine-wide slot lock: one training at a time for this user."""
    return Path(tempfile.gettempdir()) / f"ple-training-slot-{os.getuid()}.lock"


def train_command(
    dataset: Path,
    run: Path,
    *,
    preset: str,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    device: str = "auto",
    resume: bool = False,
) -> tuple[str, ...]:
    """The `ple train` argument list, the same a person would type."""
    words = [sys.executable, "-m", "ple_model", "train", str(dataset), str(run), "--preset", preset, "--device", device]
    if config is not None:
        words += ["--config", str(config)]
    for item in overrides:
        words += ["--set", item]
    return (*words, "--resume") if resume else tuple(words)


@dataclass(frozen=True)
class JobStore:
    """The jobs of one folder of runs; everything lives in `root` (`RUNS_DIR/.jobs`)."""

    root: Path

    def lock_path(self, job_id: str) -> Path:
        return self.root / f"{job_id}.lock"

    def log_path(self, job_id: str) -> Path:
        return self.root / f"{job_id}.log"

    @contextlib.contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        self.root.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.root / "jobs.sqlite3", timeout=10)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_SCHEMA)
            connection.row_factory = sqlite3.Row
            with connection:
                yield connection
        finally:
            connection.close()

    def update(self, job_id: str, *, only_if: tuple[Status, ...] = ACTIVE, **values: Any) -> None:
        """Set columns of one job, if its status is still one of `only_if`."""
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" for _ in only_if)
        with self._db() as db:
            db.execute(f"UPDATE jobs SET {columns} WHERE id = ? AND status IN ({marks})", (*values.values(), job_id, *only_if))

    def get(self, job_id: str) -> Job:
        """One job; `UserError` if there is none of this id."""
        with self._db() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise UserError(f"no training job '{job_id}' in {self.root}")
        return _job(row)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first, settled against what is alive."""
        if not (self.root / "jobs.sqlite3").exists():
            return []
        self.reconcile()
        with self._db() as db:
            return [_job(row) for row in db.execute("SELECT * FROM jobs ORDER BY created DESC")]

    def start(self, run: Path, label: str, command: Sequence[str]) -> Job:
        """Queue `command` and start its worker; returns at once. A run folder that an active job writes is refused."""
        if any(job.active and job.run == run for job in self.jobs()):
            raise UserError(f"{run} is being trained already; stop that job or choose another name")
        job_id = uuid.uuid4().hex[:12]
        with self._db() as db:
            db.execute(
                "INSERT INTO jobs (id, run, label, command, status, created) VALUES (?, ?, ?, ?, 'queued', ?)",
                (job_id, str(run), label, json.dumps(list(command)), time.time()),
            )
        # The middle process ends at once, so that the worker neither dies with this server nor becomes its zombie.
        subprocess.run(
            [sys.executable, "-m", "dashboard.worker", "--detach", str(self.root), job_id],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )
        return self.get(job_id)

    def stop(self, job_id: str) -> None:
        """Ask a job to stop: a queued one never starts, a running one gets SIGTERM and leaves a resumable run."""
        self.update(job_id, stop=1)
        job = self.get(job_id)
        if job.active and job.pid is not None and held(self.lock_path(job_id)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGTERM)

    def reconcile(self) -> None:
        """Settle active jobs whose lock is free: their worker and their training are gone."""
        with self._db() as db:
            rows = [_job(r) for r in db.execute("SELECT * FROM jobs WHERE status IN ('queued', 'running')")]
        for job in rows:
            starting = job.status == "queued" and time.time() - job.created < STARTUP_GRACE_S
            if held(self.lock_path(job.id)) or (starting and not self.lock_path(job.id).exists()):
                continue
            self.update(job.id, status=_outcome(job), ended=time.time())

    def log_tail(self, job_id: str, limit: int = 8000) -> str:
        """The end of a job's log, at most `limit` bytes."""
        try:
            with self.log_path(job_id).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - limit))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def _environment() -> dict[str, str]:
    """The worker must find the packages wherever the server was started from."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not path else f"{root}{os.pathsep}{path}"}


def _outcome(job: Job) -> Status:
    """What became of a job whose processes are gone without a word: the run's manifest knows whether training ended."""
    try:
        status = json.loads((job.run / "manifest.json").read_text(encoding="utf-8")).get("status")
    except (OSError, ValueError, AttributeError):
        return "lost"
    return status if status in ("finished", "stopped", "failed") else "lost"


def _job(row: sqlite3.Row) -> Job:
    plain = dict(row)
    return Job(
        **{**plain, "run": Path(plain["run"]), "command": tuple(json.loads(plain["command"])), "stop": bool(plain["stop"])}
    )


def progress(run: Path, limit: int = 200_000) -> list[dict[str, Any]]:
    """The last lines of a run's `progress.jsonl` (at most `limit` bytes); a torn first or last line is skipped."""
    try:
        with (run / "progress.jsonl").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    out: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                out.append(value)
    return out
