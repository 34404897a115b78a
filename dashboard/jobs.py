"""Training jobs that outlive the browser tab and the server that started them.

A job is one row of a small SQLite database (WAL) and one process in a session of its own. The row says what to train (data,
run, settings) and never a command: `command` builds that from values that were checked when they were read back, so that a
database from elsewhere could at most start a training. Jobs live in the user's own state folder (`jobs_root`), never beside
runs, which may come from a stranger; a folder of runs there has one of jobs here. An id is twelve hexadecimal digits, and the
names of a job's log and lock come from it alone.

The page starts a short-lived middle process, which starts the worker (`dashboard.worker`) and ends, so that the worker is
nobody's child here. The worker holds an exclusive `flock` on the job's lock file and hands the open file to the training it
starts: as long as either lives the lock is held, so "alive" never depends on a process id that another program may have taken
over. A second lock, one for the user, is the queue: jobs train one at a time. `reconcile` runs at start and at every poll and
settles jobs whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import typing
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ple_model.errors import UserError
from ple_model.progress_shape import fits
from ple_model.safe_paths import open_file, tail, write_bytes
from ple_model.safe_text import read_object

Status = Literal["queued", "running", "finished", "stopped", "failed", "lost"]
STATUSES: tuple[Status, ...] = typing.get_args(Status)
ACTIVE: tuple[Status, ...] = ("queued", "running")
STARTUP_GRACE_S = 30.0
"""A queued job whose lock is free is given this long to come up before it counts as lost."""

ID = re.compile(r"[0-9a-f]{12}")
PRESET = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
OVERRIDE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*=.*", re.DOTALL)
LINE_BYTES = 200_000
"""The last bytes of a progress file that the sidebar reads."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trainings (
  id TEXT PRIMARY KEY, run TEXT NOT NULL, dataset TEXT NOT NULL, preset TEXT NOT NULL, settings TEXT NOT NULL,
  config TEXT NOT NULL, device TEXT NOT NULL, resume INTEGER NOT NULL, status TEXT NOT NULL,
  created REAL NOT NULL, started REAL, ended REAL, pid INTEGER, returncode INTEGER, stop INTEGER NOT NULL DEFAULT 0)
"""


@dataclass(frozen=True)
class Training:
    """What to train: `dataset` and `run` are absolute folders, `settings` are `key=value`, `config` is YAML text or empty."""

    dataset: Path
    run: Path
    preset: str = "small"
    settings: tuple[str, ...] = ()
    config: str = ""
    device: str = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        for path in (self.dataset, self.run):
            if not path.is_absolute() or "\0" in str(path):
                raise UserError(f"training job: {str(path)!r} is not an absolute path")
        if PRESET.fullmatch(self.preset) is None:
            raise UserError(f"training job: {self.preset!r} is not the name of a preset")
        if DEVICE.fullmatch(self.device) is None:
            raise UserError(f"training job: {self.device!r} is not a device")
        for item in self.settings:
            if not isinstance(item, str) or "\0" in item or OVERRIDE.fullmatch(item) is None:
                raise UserError(f"training job: {item!r} is not key=value")


@dataclass(frozen=True)
class Job:
    """One training job; times are unix seconds."""

    id: str
    training: Training
    status: Status
    created: float
    started: float | None
    ended: float | None
    pid: int | None
    returncode: int | None
    stop: bool

    @property
    def run(self) -> Path:
        """The folder it writes."""
        return self.training.run

    @property
    def label(self) -> str:
        return self.training.run.name

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


def state_root() -> Path:
    """The user's own folder for what the app remembers; nobody else may write there. `UserError` if it cannot be had."""
    given = Path(os.environ.get("XDG_STATE_HOME") or "")
    root = (given if given.is_absolute() else Path.home() / ".local" / "state") / "ple-scope"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = root.stat()
        if found.st_uid == os.getuid() and found.st_mode & 0o077:
            root.chmod(0o700)
    except OSError as e:
        raise UserError(f"{root}: training jobs need this folder, and it cannot be made ({e.strerror})") from e
    if found.st_uid != os.getuid():
        raise UserError(f"{root} belongs to another user; set XDG_STATE_HOME to a folder of your own")
    return root


def jobs_root(runs: Path) -> Path:
    """Where the jobs of the folder of runs `runs` are kept."""
    return state_root() / "jobs" / hashlib.sha256(str(runs.resolve()).encode()).hexdigest()[:16]


def held(path: Path) -> bool:
    """Whether some process holds the exclusive lock on `path`."""
    try:
        with open_file(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def slot_path() -> Path:
    """The slot lock: one training at a time for this user."""
    return state_root() / "training-slot.lock"


def command(training: Training, config: Path | None = None) -> tuple[str, ...]:
    """The `ple train` argument list, the same a person would type; `config` is the file that holds its YAML.

    A resumed run goes on under its own config, which stands beside no other; one that never began is begun.
    """
    words = [sys.executable, "-m", "ple_model", "train", str(training.dataset), str(training.run)]
    resumed = training.resume and (training.run / "manifest.json").exists()
    if resumed:
        words.append("--resume")
    else:
        words += ["--preset", training.preset]
        if config is not None:
            words += ["--config", str(config)]
        for item in training.settings:
            words += ["--set", item]
    return (*words, "--device", training.device)


@dataclass(frozen=True)
class JobStore:
    """The jobs of one folder of runs; everything lives in `root` (`jobs_root`). `worker` is the module that runs a job."""

    root: Path
    worker: str = "dashboard.worker"

    def lock_path(self, job_id: str) -> Path:
        return self.root / f"{checked_id(job_id)}.lock"

    def log_path(self, job_id: str) -> Path:
        return self.root / f"{checked_id(job_id)}.log"

    def config_path(self, training: Training) -> Path | None:
        """Where the YAML of a training is written when it starts; None for one without."""
        if not training.config:
            return None
        return self.root / f"{hashlib.sha256(training.config.encode()).hexdigest()[:12]}.yaml"

    def command(self, training: Training) -> tuple[str, ...]:
        """What the worker runs."""
        return command(training, self.config_path(training))

    @contextlib.contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(self.root / "jobs.sqlite3", timeout=10)
        except (OSError, sqlite3.Error) as e:
            raise UserError(f"{self.root}: the list of training jobs cannot be opened ({e})") from e
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_SCHEMA)
            connection.row_factory = sqlite3.Row
            with connection:
                yield connection
        except sqlite3.Error as e:
            raise UserError(f"{self.root / 'jobs.sqlite3'}: the list of training jobs cannot be read or written ({e})") from e
        finally:
            connection.close()

    def update(self, job_id: str, *, only_if: tuple[Status, ...] = ACTIVE, **values: Any) -> None:
        """Set columns of one job, if its status is still one of `only_if`."""
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" for _ in only_if)
        statement = f"UPDATE trainings SET {columns} WHERE id = ? AND status IN ({marks})"
        with self._db() as db:
            db.execute(statement, (*values.values(), checked_id(job_id), *only_if))

    def get(self, job_id: str) -> Job:
        """One job; `UserError` if there is none of this id."""
        with self._db() as db:
            row = db.execute("SELECT * FROM trainings WHERE id = ?", (checked_id(job_id),)).fetchone()
        if row is None:
            raise UserError(f"no training job '{job_id}' in {self.root}")
        return _job(row)

    def jobs(self) -> list[Job]:
        """All jobs, the newest first, settled against what is alive. A row that holds no training is left out."""
        if not (self.root / "jobs.sqlite3").exists():
            return []
        self.reconcile()
        return self._where("1 ORDER BY created DESC")

    def _where(self, condition: str) -> list[Job]:
        with self._db() as db:
            rows = db.execute(f"SELECT * FROM trainings WHERE {condition}").fetchall()
        found = []
        for row in rows:
            with contextlib.suppress(UserError):
                found.append(_job(row))
        return found

    def start(self, training: Training) -> Job:
        """Queue a training and start its worker; returns at once. A run folder that an active job writes is refused."""
        self.reconcile()
        job_id = uuid.uuid4().hex[:12]
        with self._db() as db:
            db.execute("BEGIN IMMEDIATE")  # looking and inserting are one step: of two starts at once the second is refused
            taken = "SELECT 1 FROM trainings WHERE run = ? AND status IN ('queued', 'running')"
            if db.execute(taken, (str(training.run),)).fetchone() is not None:
                raise UserError(f"{training.run} is being trained already; stop that job or choose another name")
            db.execute(
                "INSERT INTO trainings (id, run, dataset, preset, settings, config, device, resume, status, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                (
                    job_id, str(training.run), str(training.dataset), training.preset, json.dumps(training.settings),
                    training.config, training.device, int(training.resume), time.time(),
                ),
            )  # fmt: skip
        # The middle process ends at once, so that the worker neither dies with this server nor becomes its zombie.
        try:
            subprocess.run(
                [sys.executable, "-m", self.worker, "--detach", str(self.root), job_id],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=_environment(),
            )
        except (OSError, subprocess.CalledProcessError) as e:
            self.update(job_id, status="failed", ended=time.time())
            raise UserError(f"{training.run}: the training could not be started ({e})") from e
        return self.get(job_id)

    def resume(self, job_id: str) -> Job:
        """Start a job's training again from where its run stands."""
        return self.start(replace(self.get(job_id).training, resume=True))

    def write_config(self, training: Training) -> None:
        """Put the YAML of a training where its command looks for it."""
        path = self.config_path(training)
        if path is not None:
            write_bytes(path, training.config.encode())

    def stop(self, job_id: str) -> None:
        """Ask a job to stop: a queued one never starts, a running one gets SIGTERM and leaves a resumable run."""
        self.update(job_id, stop=1)
        job = self.get(job_id)
        if job.active and job.pid is not None and held(self.lock_path(job_id)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGTERM)

    def reconcile(self) -> None:
        """Settle active jobs whose lock is free: their worker and their training are gone."""
        for job in self._where("status IN ('queued', 'running')"):
            starting = job.status == "queued" and time.time() - job.created < STARTUP_GRACE_S
            if held(self.lock_path(job.id)) or (starting and not self.lock_path(job.id).exists()):
                continue
            self.update(job.id, status=_outcome(job), ended=time.time())

    def log_tail(self, job_id: str, limit: int = 8000) -> str:
        """The end of a job's log, at most `limit` bytes."""
        try:
            return tail(self.log_path(job_id), limit).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def checked_id(job_id: str) -> str:
    """`job_id` if it has the form of one; it becomes part of file names."""
    if not isinstance(job_id, str) or ID.fullmatch(job_id) is None:
        raise UserError(f"training job {job_id!r:.60} has no valid id: twelve hexadecimal digits")
    return job_id


def _environment() -> dict[str, str]:
    """The worker must find the packages wherever the server was started from."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not path else f"{root}{os.pathsep}{path}"}


def _outcome(job: Job) -> Status:
    """What became of a job whose processes are gone without a word: the run's manifest knows whether training ended."""
    try:
        status = read_object(job.run / "manifest.json").get("status")
    except (OSError, UserError):
        return "lost"
    return status if status in ("finished", "stopped", "failed") else "lost"


def _job(row: sqlite3.Row) -> Job:
    """A stored row, every value checked: nothing of it is run or opened as it stands."""
    try:
        settings = json.loads(row["settings"])
        if not isinstance(settings, list) or not isinstance(row["config"], str) or row["status"] not in STATUSES:
            raise UserError(f"training job {row['id']!r:.60}: its row is damaged")
        training = Training(
            Path(row["dataset"]), Path(row["run"]), str(row["preset"]), tuple(settings), row["config"],
            str(row["device"]), bool(row["resume"]),
        )  # fmt: skip
        times = [None if row[k] is None else float(row[k]) for k in ("created", "started", "ended")]
        if times[0] is None or not all(math.isfinite(v) for v in times if v is not None):
            raise UserError(f"training job {row['id']!r:.60}: its times are damaged")
        # 0 and negative numbers address groups of processes
        pid = row["pid"] if isinstance(row["pid"], int) and row["pid"] > 1 else None
        code = row["returncode"] if isinstance(row["returncode"], int) else None
        return Job(checked_id(row["id"]), training, row["status"], times[0], times[1], times[2], pid, code, bool(row["stop"]))
    except (TypeError, ValueError) as e:
        raise UserError(f"training job {row['id']!r:.60}: its row is damaged ({e})") from e


def progress(run: Path, limit: int = LINE_BYTES) -> list[dict[str, Any]]:
    """The last lines of a run's `progress.jsonl` (at most `limit` bytes); a torn first or last line is skipped."""
    try:
        lines = tail(run / "progress.jsonl", limit).splitlines()
    except (FileNotFoundError, UserError):
        return []
    out: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(line)
            if fits(value):
                out.append(value)
    return out
