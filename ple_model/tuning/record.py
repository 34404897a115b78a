"""The study folder, read and written without torch or Optuna.

    study.json         what is searched, on what, how and why (`StudySpec`)
    journal.jsonl      Optuna's journal: every trial drawn, every epoch's value, every end; one JSON object a line
    finder.json        the learning-rate finder's curve and its suggestion, where it was asked for
    box.json           the narrowed ranges of the second stage, where the strategy has one
    results/           trial-0001.json: what a trial was and reached (`TrialRecord`); trial-0001.npz: its losses by customer
    trials/            trial-0001: its run folder (of cross-validation the last fold's; trial-0001.fold-1 the others')
    folds/             datasets of the cross-validation
    starts/            fitted starts that the trials share, by what they read
    locks/             who works on which trial; a lock dies with its process

No file is a pickle; a study from a stranger is safe to open.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ple_model.errors import UserError
from ple_model.files import read_json, write_json
from ple_model.interval import Interval
from ple_model.safe_paths import check_tree, is_file, is_folder, make_folder
from ple_model.shapes import FLAG, NUMBER, TEXT, WHOLE, Keys, ListOf, MapOf, misfit
from ple_model.tuning.dimension import Dimension, Value

FORMAT = 1
Sampler = Literal["tpe", "gp", "random", "grid"]
Pruner = Literal["median", "hyperband", "none"]
Strategy = Literal["plain", "staged"]
State = Literal["running", "finished", "pruned", "failed"]
SAMPLERS, PRUNERS, STRATEGIES, STATES = (typing.get_args(x) for x in (Sampler, Pruner, Strategy, State))
MEAN = "mean"
"""The objective that is no single task."""
STARTS = "starts"
MAX_TRIALS = 10_000

_DIMENSION = Keys(
    {
        "key": TEXT, "kind": TEXT, "low": NUMBER, "high": NUMBER, "log": FLAG, "choices": ListOf(TEXT), "first": WHOLE,
        "help": TEXT,
    },
    ("key", "kind", "low", "high", "log", "choices"),
)  # fmt: skip
_SPACE = Keys({"space": ListOf(_DIMENSION)}, ("space",))
_STUDY = Keys(
    {
        "format": WHOLE, "dataset": TEXT, "fingerprint": TEXT, "preset": TEXT, "settings": ListOf(TEXT), "config": Keys({}),
        "space": ListOf(_DIMENSION), "sampler": TEXT, "pruner": TEXT, "strategy": TEXT, "objective": TEXT, "folds": WHOLE,
        "seed": WHOLE, "trials": WHOLE, "device": TEXT, "created": TEXT, "config_file": TEXT,
    },
    ("format", "dataset", "fingerprint", "preset", "settings", "config", "space", "sampler", "pruner", "strategy",
     "objective", "folds", "seed", "trials", "device", "created"),
)  # fmt: skip
_INTERVAL = Keys({"value": NUMBER, "low": NUMBER, "high": NUMBER}, ("value", "low", "high"))
_TRIAL = Keys(
    {
        "number": WHOLE, "state": TEXT, "params": Keys({}), "settings": ListOf(TEXT), "runs": ListOf(TEXT), "stage": TEXT,
        "epochs": ListOf(ListOf(NUMBER)), "skill": _INTERVAL, "tasks": MapOf(_INTERVAL), "seconds": NUMBER, "reason": TEXT,
        "attempts": WHOLE, "began": TEXT, "ended": TEXT,
    },
    ("number", "state", "params", "settings", "runs", "stage", "epochs", "skill", "tasks", "seconds", "reason", "attempts"),
)  # fmt: skip


@dataclass(frozen=True)
class StudySpec:
    """What a study is; it does not change while it goes on, except for its budget `trials` (0: none by number)."""

    dataset: Path
    fingerprint: str
    preset: str
    settings: tuple[str, ...]
    """`key=value` laid on the preset for every trial."""
    config: Mapping[str, Any]
    """The whole configuration that trials start from."""
    space: tuple[Dimension, ...]
    sampler: Sampler
    pruner: Pruner
    strategy: Strategy
    objective: str
    """`mean`, or a task."""
    folds: int
    """Of the time-ordered cross-validation; 0: one training on the training split, judged on the validation split."""
    seed: int
    trials: int
    device: str
    created: str
    config_file: str = ""
    """Name of the file that `--config` laid on the preset."""

    def to_dict(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in asdict(self).items() if k != "space"}, "format": FORMAT, "dataset": str(self.dataset),
            "space": [d.to_dict() for d in self.space],
        }  # fmt: skip


@dataclass(frozen=True)
class TrialRecord:
    """One trial: what it tried and what it reached on the validation rows."""

    number: int
    state: State
    params: Mapping[str, Value]
    settings: tuple[str, ...]
    """The same as `--set` takes it."""
    runs: tuple[str, ...] = ()
    """Folders in `trials/`; the last one is the trial's own."""
    stage: str = ""
    """Of a staged strategy: `random` or `bayesian`."""
    epochs: tuple[tuple[float, float], ...] = ()
    """(step, objective) as the training's own log had it, by which trials are pruned."""
    skill: Interval = field(default_factory=lambda: Interval(float("nan")))
    """The objective: 1 - loss / constant's loss, customers resampled; NaN until it is measured."""
    tasks: Mapping[str, Interval] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    """Why it failed, was pruned or was begun again."""
    attempts: int = 1
    began: str = ""
    ended: str = ""

    @property
    def name(self) -> str:
        return trial_name(self.number)

    @property
    def done(self) -> bool:
        return self.state != "running"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def trial_name(number: int) -> str:
    return f"trial-{number:04d}"


def train_command(spec: StudySpec, settings: Sequence[str]) -> str:
    """The `ple train` that makes a run of these settings."""
    words = ["ple", "train", "DATASET", "RUN", "--preset", spec.preset]
    words += ["--config", spec.config_file] if spec.config_file else []
    words += [w for item in (*spec.settings, *settings) for w in ("--set", item)]
    return shlex.join(words)


def is_study(folder: Path) -> bool:
    return is_file(folder / "study.json")


def save_study(folder: Path, spec: StudySpec) -> None:
    write_json(folder / "study.json", spec.to_dict())


def load_study(folder: Path) -> StudySpec:
    """`UserError` in one sentence where there is none, or none that can be read."""
    path = folder / "study.json"
    if not is_file(path):
        raise UserError(f"{folder} is no study: it has no study.json; `ple tune DATASET STUDY` makes one")
    check_tree(folder)
    plain = read_json(path)
    wrong = misfit(plain, _STUDY)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    if plain["format"] != FORMAT:
        raise UserError(f"{path} has format {plain['format']}, this version reads {FORMAT}")
    for key, allowed in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("strategy", STRATEGIES)):
        if plain[key] not in allowed:
            raise UserError(f"{path} is damaged: {key} is '{plain[key]}', expected one of {', '.join(allowed)}")
    if plain["trials"] > MAX_TRIALS:
        raise UserError(f"{path} is damaged: it asks for {plain['trials']} trials, at most {MAX_TRIALS} are made")
    return StudySpec(
        Path(plain["dataset"]), plain["fingerprint"], plain["preset"], tuple(plain["settings"]), plain["config"],
        tuple(_dimension(path, d) for d in plain["space"]), plain["sampler"], plain["pruner"], plain["strategy"],
        plain["objective"], plain["folds"], plain["seed"], plain["trials"], plain["device"], plain["created"],
        plain.get("config_file", ""),
    )  # fmt: skip


def load_space(path: Path) -> tuple[Dimension, ...]:
    """The ranges that `box.json` holds. `UserError` where they are damaged."""
    plain = read_json(path)
    wrong = misfit(plain, _SPACE)
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    return tuple(_dimension(path, d) for d in plain["space"])


def _dimension(path: Path, plain: Mapping[str, Any]) -> Dimension:
    known = {f.name for f in fields(Dimension)}
    values: dict[str, Any] = {k: tuple(v) if k == "choices" else v for k, v in plain.items() if k in known}
    found = Dimension(**values)
    if found.low is None or found.high is None:
        raise UserError(f"{path} is damaged: an end of the range of '{found.key}' is missing")
    if found.kind not in ("float", "int", "choice") or (found.kind == "choice") != bool(found.choices):
        raise UserError(f"{path} is damaged: '{found.key}' is neither a range nor a choice")
    if not found.choices and (not found.low < found.high or (found.log and found.low <= 0)):
        raise UserError(f"{path} is damaged: the range of '{found.key}' is none")
    return found


def save_trial(folder: Path, trial: TrialRecord) -> None:
    write_json(make_folder(folder / "results") / f"{trial.name}.json", trial.to_dict())


def load_trial(folder: Path, number: int) -> TrialRecord | None:
    path = folder / "results" / f"{trial_name(number)}.json"
    return _trial(path) if is_file(path) else None


def load_trials(folder: Path) -> tuple[TrialRecord, ...]:
    """Every trial in its order. `UserError` names the file that is damaged."""
    place = folder / "results"
    files = sorted(place.glob("trial-*.json")) if is_folder(place) else []
    return tuple(_trial(p) for p in files[:MAX_TRIALS])


def _trial(path: Path) -> TrialRecord:
    plain = read_json(path)
    wrong = misfit(plain, _TRIAL)
    if wrong is None and plain["state"] not in STATES:
        wrong = f"state is not one of {', '.join(STATES)}"
    if wrong is None and trial_name(plain["number"]) != path.stem:
        wrong = f"number is {plain['number']}"
    if wrong is None and not all(isinstance(v, (int, float, str)) for v in plain["params"].values()):
        wrong = "params holds what is neither a number nor a text"
    if wrong is None and not all(trial_run(r, path.stem) for r in plain["runs"]):
        wrong = "runs names a folder that is not this trial's"
    if wrong is None and not all(len(e) == 2 and None not in e for e in plain["epochs"]):
        wrong = "epochs is not a list of pairs"
    if wrong is not None:
        raise UserError(f"{path} is damaged: {wrong}")
    known = {k: plain[k] for k in ("number", "state", "params", "stage", "seconds", "reason", "attempts")}
    return TrialRecord(
        **known, settings=tuple(plain["settings"]), runs=tuple(plain["runs"]),
        epochs=tuple((float(a), float(b)) for a, b in plain["epochs"]), skill=_interval(plain["skill"]),
        tasks={k: _interval(v) for k, v in plain["tasks"].items()}, began=plain.get("began", ""), ended=plain.get("ended", ""),
    )  # fmt: skip


def trial_run(name: str, trial: str) -> bool:
    """Whether a folder's name is one that this trial writes."""
    return name == trial or (name.startswith(f"{trial}.fold-") and name.removeprefix(f"{trial}.fold-").isdigit())


def _interval(plain: Mapping[str, Any]) -> Interval:
    return Interval(*(float("nan") if plain[k] is None else float(plain[k]) for k in ("value", "low", "high")))


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold a lock of the study, waiting for it; it dies with its process."""
    held = os.open(make_folder(folder / "locks") / f"{name}.lock", LOCK_FLAGS, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def claim(folder: Path, name: str) -> int | None:
    """Take a lock of the study without waiting: its descriptor, to be closed by the caller, or None where another holds it."""
    held = os.open(make_folder(folder / "locks") / f"{name}.lock", LOCK_FLAGS, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held
