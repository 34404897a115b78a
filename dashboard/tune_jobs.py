"""Studies as jobs (`dashboard.job_store`): a row says what to search in checked values, and `command` builds from them the very
`ple tune` that a person could type. How far a study is, its folder says (`ple_model.tuning.record`)."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from dashboard.job_store import Record, Status, Store, facts_of
from dashboard.jobs import OVERRIDE, PRESET, stands_still
from ple_model.errors import UserError
from ple_model.training.pause import NAME as PAUSE
from ple_model.tuning.record import MAX_TRIALS, PRUNERS, SAMPLERS, STRATEGIES, is_study, load_study, load_trials

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,199}(=[^\0\n]{1,300})?")
OBJECTIVE = re.compile(r"[a-z0-9_]{1,60}")
MOST_MINUTES = 100_000.0
CHOICES = (("sampler", SAMPLERS), ("pruner", PRUNERS), ("strategy", STRATEGIES))


@dataclass(frozen=True)
class Tuning:
    """What to search: `dataset` and `study` are absolute folders, `settings` are `key=value`, `keys` as `--key` takes them."""

    dataset: Path
    study: Path
    preset: str = "small"
    settings: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    only: bool = False
    trials: int = 20
    minutes: float = 0.0
    """0: no limit."""
    sampler: str = "tpe"
    pruner: str = "median"
    strategy: str = "plain"
    objective: str = "mean"
    folds: int = 0
    seed: int = 0
    find_rate: bool = False
    """Only the learning-rate finder."""

    def __post_init__(self) -> None:
        for path in (self.dataset, self.study):
            if not path.is_absolute() or "\0" in str(path):
                raise UserError(f"tuning job: {str(path)!r} is not an absolute path")
        if PRESET.fullmatch(self.preset) is None:
            raise UserError(f"tuning job: {self.preset!r} is not the name of a preset")
        for item in self.settings:
            if not isinstance(item, str) or "\0" in item or OVERRIDE.fullmatch(item) is None:
                raise UserError(f"tuning job: {item!r} is not key=value")
        for item in self.keys:
            if not isinstance(item, str) or KEY.fullmatch(item) is None:
                raise UserError(f"tuning job: {item!r} is not a key with or without its range")
        for name, allowed in CHOICES:
            if getattr(self, name) not in allowed:
                raise UserError(f"tuning job: {name} {getattr(self, name)!r} is not one of {', '.join(allowed)}")
        if OBJECTIVE.fullmatch(self.objective) is None:
            raise UserError(f"tuning job: {self.objective!r} is not a task")
        whole = {"trials": MAX_TRIALS, "folds": 100, "seed": 2**32 - 1}
        for name, most in whole.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value <= most:
                raise UserError(f"tuning job: {name} {value!r} is not valid, it must be in 0..{most}")
        if not 0 <= self.minutes <= MOST_MINUTES:
            raise UserError(f"tuning job: {self.minutes!r} minutes are not valid")


def command(tuning: Tuning) -> tuple[str, ...]:
    """The `ple tune` argument list. A study that is there is gone on with, as it was begun."""
    words = [sys.executable, "-m", "ple_model", "tune", str(tuning.dataset), str(tuning.study)]
    limit = ["--minutes", f"{tuning.minutes:g}"] if tuning.minutes else []
    if tuning.find_rate:
        words.append("--find-rate")
    elif is_study(tuning.study):
        return (*words, "--resume", *limit)
    words += ["--preset", tuning.preset]
    words += [w for item in tuning.settings for w in ("--set", item)]
    if tuning.find_rate:
        return tuple(words)
    words += [w for item in tuning.keys for w in ("--key", item)]
    words += ["--only"] if tuning.only else []
    words += ["--trials", str(tuning.trials)] if tuning.trials else []
    words += limit
    for name, default in (("sampler", "tpe"), ("pruner", "median"), ("strategy", "plain"), ("objective", "mean")):
        value = getattr(tuning, name)
        words += [f"--{name}", value] if value != default else []
    words += ["--folds", str(tuning.folds)] if tuning.folds else []
    return (*words, *(["--seed", str(tuning.seed)] if tuning.seed else []))


@dataclass(frozen=True)
class TuneJob(Record):
    """One study, or its finder alone."""

    tuning: Tuning

    @property
    def target(self) -> Path:
        return self.tuning.study

    @property
    def work(self) -> Tuning:
        return self.tuning

    def outcome(self) -> Status:
        """Of a study whose processes are gone: finished where its trials are all done."""
        try:
            spec, trials = load_study(self.tuning.study), load_trials(self.tuning.study)
        except (UserError, OSError):
            return "lost"
        whole = bool(spec.trials) and sum(t.done for t in trials) >= spec.trials
        return "finished" if whole else "lost"


@dataclass(frozen=True)
class TuneStore(Store[TuneJob]):
    """The studies of one folder of runs."""

    worker: str = "dashboard.tune_worker"
    table: ClassVar[str] = "tunings"
    target_column: ClassVar[str] = "study"
    columns: ClassVar[tuple[str, ...]] = ("study TEXT NOT NULL", "tuning TEXT NOT NULL")

    def read(self, row: sqlite3.Row) -> TuneJob:
        return TuneJob(**facts_of(row), tuning=_from_json(row["tuning"]))

    def words(self, job: TuneJob) -> tuple[str, ...]:
        return command(job.tuning)

    def pause_path(self, job: TuneJob) -> Path:
        return job.tuning.study / PAUSE

    def can_pause(self, job: TuneJob) -> bool:
        """The finder alone is over before anybody could."""
        return super().can_pause(job) and not job.tuning.find_rate

    def stands_still(self, job: TuneJob) -> bool:
        with contextlib.suppress(UserError, OSError):
            study = job.tuning.study
            runs = [r for t in load_trials(study) if not t.done for r in (study / "trials").glob(f"{t.name}*")]  # folds too
            return any(stands_still(r) for r in runs)
        return False

    def start(self, tuning: Tuning) -> TuneJob:
        """Queue it and start its worker; returns at once. A study that an active job works on is refused."""
        taken = f"{tuning.study} is being worked on already; stop that job or choose another name"
        values = {"study": str(tuning.study), "tuning": json.dumps(_to_json(tuning))}
        return self.begin(tuning.study, values, taken, f"{tuning.study}: the study could not be started")

    def resume(self, job_id: str) -> TuneJob:
        """Go on with a study where it stands."""
        return self.start(replace(self.get(job_id).tuning, find_rate=False))


def _to_json(tuning: Tuning) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(tuning).items()}


def _from_json(text: object) -> Tuning:
    """`UserError` for anything that is no tuning."""
    try:
        plain = json.loads(str(text))
        plain |= {k: Path(plain[k]) for k in ("dataset", "study")} | {k: tuple(plain[k]) for k in ("settings", "keys")}
        return Tuning(**plain)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise UserError(f"tuning job: its row is damaged ({e})") from e
