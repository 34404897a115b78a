"""Jobs that outlive the browser tab and the server that started them: what every kind of job shares.

A job is one row of a small SQLite database (WAL) and one process in a session of its own. A row says what to do in checked
values and never a command, so that a database from elsewhere could at most start one of the app's own jobs. Jobs live in the
user's own state folder (`jobs_root`), never beside runs, which may come from a stranger; a folder of runs there has one of jobs
here. An id is twelve hexadecimal digits, and the names of a job's log and lock come from it alone.

The page starts a short-lived middle process, which starts the worker (`dashboard.worker`) and ends, so that the worker is
nobody's child here. The worker holds an exclusive `flock` on the job's lock file and hands the open file to the process it
starts: as long as either lives the lock is held, so "alive" never depends on a process id that another program may have taken
over. A second lock, one for the user, is the queue: jobs run one at a time. `reconcile` runs at start and at every poll and
settles jobs whose lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from dashboard.server import read_only
from ple_model.errors import UserError
from ple_model.safe_paths import open_file, tail, write_bytes
from ple_model.staging import alone
from ple_model.state_folder import state_root

Status = Literal["queued", "running", "finished", "stopped", "failed", "lost"]
STATUSES: tuple[Status, ...] = typing.get_args(Status)
ACTIVE: tuple[Status, ...] = ("queued", "running")
STARTUP_GRACE_S = 30.0
"""A queued job whose lock is free is given this long to come up before it counts as lost."""

ID = re.compile(r"[0-9a-f]{12}")

_COLUMNS = """
  status TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL, pid INTEGER, returncode INTEGER,
  stop INTEGER NOT NULL DEFAULT 0
"""


@dataclass(frozen=True)
class Record:
    """What every job says of itself; times are unix seconds."""

    id: str
    status: Status
    created: float
    started: float | None
    ended: float | None
    pid: int | None
    returncode: int | None
    stop: bool

    @property
    def target(self) -> Path:
        """The folder it writes."""
        raise NotImplementedError

    @property
    def work(self) -> Any:
        """What it does, as it was asked for."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        return self.target.name

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    def outcome(self) -> Status:
        """What became of it when its processes are gone without a word."""
        return "lost"


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
    """The slot lock: one job at a time for this user."""
    return state_root() / "training-slot.lock"


J = TypeVar("J", bound=Record)


@dataclass(frozen=True)
class Store(Generic[J]):
    """The jobs of one kind; everything lives in `root` (`jobs_root`). `worker` is the module that runs a job."""

    root: Path
    worker: str = "dashboard.worker"
    table: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    """Of the table, beside those of `Record`: name and type. `target` is the folder it writes."""
    target_column: ClassVar[str]

    def read(self, row: sqlite3.Row) -> J:
        """A stored row, every value checked: nothing of it is run or opened as it stands. `UserError` if it is damaged."""
        raise NotImplementedError

    def words(self, job: J) -> tuple[str, ...]:
        """The argument list that the worker runs."""
        raise NotImplementedError

    def prepare(self, job: J) -> None:
        """What has to lie in `root` before a job is run."""

    def lock_path(self, job_id: str) -> Path:
        return self.root / f"{checked_id(job_id)}.lock"

    def log_path(self, job_id: str) -> Path:
        return self.root / f"{checked_id(job_id)}.log"

    @contextlib.contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            connection = sqlite3.connect(self.root / "jobs.sqlite3", timeout=10)
        except (OSError, sqlite3.Error) as e:
            raise UserError(f"{self.root}: the list of jobs cannot be opened ({e})") from e
        try:
            with alone(self.root):  # SQLite does not wait for another connection that changes the mode of a new file
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self.table} (id TEXT PRIMARY KEY, {', '.join(self.columns)}, {_COLUMNS})"
            )
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({self.table})")}
            for column in self.columns:
                if column.split()[0] not in known:  # a list that an earlier release made
                    with contextlib.suppress(sqlite3.OperationalError):  # another session did it in the meantime
                        connection.execute(f"ALTER TABLE {self.table} ADD COLUMN {column}")
            connection.row_factory = sqlite3.Row
            with connection:
                yield connection
        except sqlite3.Error as e:
            raise UserError(f"{self.root / 'jobs.sqlite3'}: the list of jobs cannot be read or written ({e})") from e
        finally:
            connection.close()

    def update(self, job_id: str, *, only_if: tuple[Status, ...] = ACTIVE, **values: Any) -> None:
        """Set columns of one job, if its status is still one of `only_if`."""
        columns = ", ".join(f"{name} = ?" for name in values)
        marks = ", ".join("?" for _ in only_if)
        statement = f"UPDATE {self.table} SET {columns} WHERE id = ? AND status IN ({marks})"
        with self._db() as db:
            db.execute(statement, (*values.values(), checked_id(job_id), *only_if))
        if "ended" in values:  # nobody looks for it any more
            self.log_path(job_id).with_suffix(".pause").unlink(missing_ok=True)

    def get(self, job_id: str) -> J:
        """One job; `UserError` if there is none of this id."""
        with self._db() as db:
            row = db.execute(f"SELECT * FROM {self.table} WHERE id = ?", (checked_id(job_id),)).fetchone()
        if row is None:
            raise UserError(f"no job '{job_id}' in {self.root}")
        return self.read(row)

    def jobs(self) -> list[J]:
        """All jobs, the newest first, settled against what is alive. A row that holds no job is left out."""
        if not (self.root / "jobs.sqlite3").exists():
            return []
        self.reconcile()
        return self._where("1 ORDER BY created DESC")

    def _where(self, condition: str) -> list[J]:
        with self._db() as db:
            rows = db.execute(f"SELECT * FROM {self.table} WHERE {condition}").fetchall()
        found = []
        for row in rows:
            with contextlib.suppress(UserError):
                found.append(self.read(row))
        return found

    def begin(self, target: Path, values: Mapping[str, Any], taken: str, failed: str) -> J:
        """Queue a job and start its worker; returns at once. A folder that an active job writes is refused with `taken`."""
        _writable()
        self.reconcile()
        _sweep(self.root)
        job_id = uuid.uuid4().hex[:12]
        row = {"id": job_id, **values, "status": "queued", "created": time.time()}
        with self._db() as db:
            db.execute("BEGIN IMMEDIATE")  # looking and inserting are one step: of two starts at once the second is refused
            others = f"SELECT 1 FROM {self.table} WHERE {self.target_column} = ? AND status IN ('queued', 'running')"
            if db.execute(others, (str(target),)).fetchone() is not None:
                raise UserError(taken)
            marks = ", ".join("?" for _ in row)
            db.execute(f"INSERT INTO {self.table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
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
            raise UserError(f"{failed} ({e})") from e
        return self.get(job_id)

    def stop(self, job_id: str) -> None:
        """Ask a job to stop: a queued one never starts, a running one gets SIGTERM and leaves what can be resumed."""
        _writable()
        self.update(job_id, stop=1)
        job = self.get(job_id)
        if job.active and job.pid is not None and held(self.lock_path(job_id)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGTERM)

    def pause_path(self, job: J) -> Path:
        """The file that asks a job to stand still while it is there."""
        return self.log_path(job.id).with_suffix(".pause")

    def can_pause(self, job: J) -> bool:
        """Whether it works already, so that somebody looks for the file."""
        return job.status == "running" and self.pause_path(job).parent.is_dir()

    def pause_asked(self, job: J) -> bool:
        return self.pause_path(job).exists()

    def stands_still(self, job: J) -> bool:
        """Whether it does, as it said itself."""
        raise NotImplementedError

    def pause(self, job_id: str) -> None:
        """Ask a running job to stand still after the step in progress: its process stays and takes no processor time."""
        _writable()
        if self.can_pause(job := self.get(job_id)):
            write_bytes(self.pause_path(job), b"")

    def go_on(self, job_id: str) -> None:
        """Let it work again."""
        _writable()
        self.pause_path(self.get(job_id)).unlink(missing_ok=True)

    def reconcile(self) -> None:
        """Settle active jobs whose lock is free: their worker and its process are gone."""
        for job in self._where("status IN ('queued', 'running')"):
            starting = job.status == "queued" and job.pid is None and time.time() - job.created < STARTUP_GRACE_S
            if starting or held(self.lock_path(job.id)):  # between making its lock and taking it a worker is still coming up
                continue
            self.update(job.id, status=job.outcome(), ended=time.time())

    def log_tail(self, job_id: str, limit: int = 8000) -> str:
        """The end of a job's log, at most `limit` bytes."""
        try:
            return tail(self.log_path(job_id), limit).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def _writable() -> None:
    """`UserError` in a server that lets nobody change anything."""
    if read_only():
        raise UserError("the app is read-only: no job is started or stopped here")


def _sweep(root: Path) -> None:
    """Remove half-written files of processes that are gone (`staging.staged_file`: `.NAME.PID.tmp`): nobody else would."""
    for left in root.glob(".*.*.tmp"):
        pid = left.name.split(".")[-2]
        if not pid.isdecimal() or len(pid) > 10:
            continue
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except (OSError, OverflowError):  # it lives, and belongs to another user; or it is no process's number
            continue


def checked_id(job_id: str) -> str:
    """`job_id` if it has the form of one; it becomes part of file names."""
    if not isinstance(job_id, str) or ID.fullmatch(job_id) is None:
        raise UserError(f"job {job_id!r:.60} has no valid id: twelve hexadecimal digits")
    return job_id


def _environment() -> dict[str, str]:
    """The worker must find the packages wherever the server was started from."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root if not path else f"{root}{os.pathsep}{path}"}


def facts_of(row: sqlite3.Row) -> dict[str, Any]:
    """The values of `Record` out of a stored row, checked."""
    name = f"job {row['id']!r:.60}"
    try:
        if row["status"] not in STATUSES:
            raise UserError(f"{name}: its row is damaged")
        times = [None if row[k] is None else float(row[k]) for k in ("created", "started", "ended")]
        if times[0] is None or not all(math.isfinite(v) for v in times if v is not None):
            raise UserError(f"{name}: its times are damaged")
    except (TypeError, ValueError) as e:
        raise UserError(f"{name}: its row is damaged ({e})") from e
    # 0 and negative numbers address groups of processes
    pid = row["pid"] if isinstance(row["pid"], int) and row["pid"] > 1 else None
    return {
        "id": checked_id(row["id"]), "status": row["status"], "created": times[0], "started": times[1], "ended": times[2],
        "pid": pid, "returncode": row["returncode"] if isinstance(row["returncode"], int) else None, "stop": bool(row["stop"]),
    }  # fmt: skip
