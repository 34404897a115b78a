"""Jobs that make data (`dashboard.job_store`): a synthetic bank, an import, a dataset, its baselines.

A row says what to make in checked values, and `commands` builds from them the very commands of `ple` that a person could type;
`dashboard.making` runs them one after the other and writes down how far it is.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import typing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from dashboard.job_store import Record, Store, facts_of
from ple_model.arguments import COUNT, HORIZON, SEED, Fault, day
from ple_model.errors import UserError
from ple_model.safe_paths import write_bytes
from ple_model.safe_text import read_object

Step = Literal["synth", "import", "build", "baselines"]
STEPS: tuple[Step, ...] = typing.get_args(Step)
NEEDS: dict[Step, tuple[str, ...]] = {
    "synth": ("events",), "import": ("source", "events"), "build": ("events", "dataset"), "baselines": ("dataset",),
}  # fmt: skip
Command = tuple[str, ...]
"""Words after `ple`."""
MAX_CUTOFFS = 100


@dataclass(frozen=True)
class Making:
    """What to make: `steps` in order. Event tables go to `events` and come from a seed or from `source` read by `mapping`; the
    dataset is built from them. Folders are absolute."""

    steps: tuple[Step, ...]
    dataset: Path | None = None
    events: Path | None = None
    source: Path | None = None
    mapping: Path | None = None
    customers: int = 0
    seed: int = 0
    cutoffs: tuple[str, ...] = ()
    horizon_days: int = 84

    def __post_init__(self) -> None:
        if not self.steps or any(s not in STEPS for s in self.steps):
            raise UserError(f"data job: {self.steps!r} are not steps of {', '.join(STEPS)}")
        for path in (self.dataset, self.events, self.source, self.mapping):
            if path is not None and (not path.is_absolute() or "\0" in str(path)):
                raise UserError(f"data job: {str(path)!r} is not an absolute path")
        for step in self.steps:
            missing = [name for name in NEEDS[step] if getattr(self, name) is None]
            if missing:
                raise UserError(f"data job: '{step}' needs {' and '.join(missing)}")
        if len(self.cutoffs) > MAX_CUTOFFS:
            raise UserError(f"data job: {len(self.cutoffs)} cut-offs are more than {MAX_CUTOFFS}")
        try:
            SEED(str(self.seed))
            HORIZON(str(self.horizon_days))
            if "synth" in self.steps:
                COUNT(str(self.customers))
            for cutoff in self.cutoffs:
                day(cutoff)
        except (Fault, TypeError) as e:
            raise UserError(f"data job: {e}") from e

    @property
    def target(self) -> Path:
        """The folder that is there in the end."""
        found = self.dataset if {"build", "baselines"} & set(self.steps) else self.events
        assert found is not None  # `__post_init__` has seen to it
        return found


def commands(making: Making) -> tuple[Command, ...]:
    """The commands of `ple`, in order."""
    return tuple(_words(making, step) for step in making.steps)


def _words(m: Making, step: Step) -> Command:
    if step == "synth":
        return ("synth", str(m.events), "--customers", str(m.customers), "--seed", str(m.seed))
    if step == "import":
        how = () if m.mapping is None else ("--map", str(m.mapping))
        return ("import", "tables", str(m.source), str(m.events), *how)
    if step == "baselines":
        return ("baselines", str(m.dataset))
    days = tuple(word for cutoff in m.cutoffs for word in ("--cutoff", cutoff))
    horizon = () if m.horizon_days == 84 else ("--horizon-days", str(m.horizon_days))
    return ("build", str(m.events), str(m.dataset), *days, *horizon)


@dataclass(frozen=True)
class DataJob(Record):
    """One job that makes data."""

    making: Making

    @property
    def target(self) -> Path:
        return self.making.target

    @property
    def work(self) -> Making:
        return self.making


@dataclass(frozen=True)
class Progress:
    """How far a job is: the step it is in (of how many), the stage of that step, and the share of the stage."""

    number: int
    stage: str
    share: float
    paused: bool = False
    """Whether it stands still."""


@dataclass(frozen=True)
class DataStore(Store[DataJob]):
    """The jobs that make data for one folder of runs."""

    worker: str = "dashboard.data_worker"
    table: ClassVar[str] = "makings"
    target_column: ClassVar[str] = "target"
    columns: ClassVar[tuple[str, ...]] = ("target TEXT NOT NULL", "making TEXT NOT NULL")

    def read(self, row: sqlite3.Row) -> DataJob:
        return DataJob(**facts_of(row), making=_from_json(row["making"]))

    def words(self, job: DataJob) -> tuple[str, ...]:
        return (sys.executable, "-m", "dashboard.making", str(self.root), job.id)

    def start(self, making: Making) -> DataJob:
        """Queue it and start its worker; returns at once. A folder that another job makes is refused."""
        taken = f"{making.target} is being made already; stop that job or choose another name"
        values = {"target": str(making.target), "making": json.dumps(_to_json(making))}
        return self.begin(making.target, values, taken, f"{making.target}: the job could not be started")

    def again(self, job_id: str) -> DataJob:
        """Start a job once more; what it has finished is kept."""
        return self.start(self.get(job_id).making)

    def how_far(self, job_id: str) -> Progress | None:
        """How far a job is, as it said last."""
        try:
            said = read_object(self._progress_path(job_id), 10_000)
            share = min(max(float(said["share"]), 0.0), 1.0)
            return Progress(int(said["number"]), str(said["stage"]), share, said.get("paused") is True)
        except (OSError, UserError, KeyError, TypeError, ValueError):
            return None

    def stands_still(self, job: DataJob) -> bool:
        found = self.how_far(job.id)
        return found is not None and found.paused

    def note(self, job_id: str, progress: Progress) -> None:
        """Write down how far a job is."""
        write_bytes(self._progress_path(job_id), json.dumps(asdict(progress)).encode())

    def _progress_path(self, job_id: str) -> Path:
        return self.log_path(job_id).with_suffix(".progress")


def _to_json(making: Making) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(making).items()}


def _from_json(text: object) -> Making:
    """`UserError` for anything that is no making."""
    try:
        plain = json.loads(str(text))
        paths = {k: None if plain[k] is None else Path(plain[k]) for k in ("dataset", "events", "source", "mapping")}
        whole = {k: plain[k] for k in ("customers", "seed", "horizon_days")}
        if not all(type(v) is int for v in whole.values()):
            raise TypeError("a number is none")
        lists = {k: tuple(str(x) for x in plain[k]) for k in ("steps", "cutoffs")}
        return Making(**paths, **whole, **lists)  # type: ignore[arg-type]
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        raise UserError(f"data job: its row is damaged ({e})") from e
