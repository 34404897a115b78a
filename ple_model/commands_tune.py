"""`ple tune`: search for settings, and the learning-rate finder."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.arguments import COUNT, PROCESSES, SEED, device, folder_or_url, folder_out, number, text
from ple_model.commands import Arguments, Command, add_config, add_engine, add_json, began
from ple_model.engine import engine_name, open_engine
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.numerals import fixed
from ple_model.threads import settle

if TYPE_CHECKING:
    from ple_model.tuning.begin import Asked
    from ple_model.tuning.record import StudySpec
    from ple_model.tuning.search import Study, Told

LED_BY = "PLE_TUNE_LED_BY"
"""Environment variable: the process that started this worker; it stops when that one is gone."""
BEGUN_WITH = {"sampler": "tpe", "pruner": "median", "strategy": "plain", "objective": "mean", "folds": 0, "seed": 0}
"""Options that a study keeps from its beginning, and what they are where they were left out."""
MISSING = "tuning needs Optuna, which is not installed: pip install 'ple-scope[tune]'"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=folder_or_url, metavar="DATASET", nargs="?", help="folder that `ple build` made, or its URL"
    )
    parser.add_argument("study", type=folder_out, metavar="STUDY", nargs="?", help="study folder to make or to go on with")
    add_config(parser)
    parser.add_argument("--trials", type=COUNT, metavar="N", help="trials of the study in all")
    parser.add_argument("--minutes", type=number, metavar="M", help="begin no trial after so many minutes")
    parser.add_argument(
        "--sampler", choices=("tpe", "gp", "random", "grid"), default="tpe",
        help="tpe and gp: Bayesian, by Parzen estimators or a Gaussian process; random; grid: all choices and five points of "
        "each range (default: tpe)",
    )  # fmt: skip
    parser.add_argument(
        "--pruner", choices=("median", "hyperband", "none"), default="median",
        help="give up trials that fall behind: below the others' median at the same epoch, or by Hyperband (default: median)",
    )  # fmt: skip
    parser.add_argument(
        "--strategy",
        choices=("plain", "staged"),
        default="plain",
        help="staged: find a learning rate, then half of the trials at random, then Bayesian around the best three to five",
    )
    parser.add_argument(
        "--objective", type=text, default="mean", metavar="mean|TASK", help="mean skill over the tasks, or that of one task"
    )
    parser.add_argument(
        "--folds", type=COUNT, default=0, metavar="K",
        help="time-ordered cross-validation: learn from the first cut-offs, judge on the next one, K times",
    )  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], type=text, metavar="KEY[=RANGE]", dest="keys",
        help="search over this key too, or in this range: LOW..HIGH, LOW..HIGH:log or A|B|C; may be repeated",
    )  # fmt: skip
    parser.add_argument("--only", action="store_true", help="search over the keys given with --key alone")
    parser.add_argument("--space", action="store_true", help="list what may be searched over, and end")
    parser.add_argument(
        "--find-rate", action="store_true", help="only find a learning rate: loss against rate, kept in the study folder"
    )
    add_engine(parser, "trials", workers=1)
    parser.add_argument("--seed", type=SEED, default=0, metavar="S", help="seed of what is drawn (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on with the study; --trials may raise its budget")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=PROCESSES, metavar="N", help="CPU threads of a process (default: cores / workers)")
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    if arguments.space:
        return _space(arguments)
    if arguments.dataset is None or arguments.study is None:
        raise UserError("ple tune: DATASET and STUDY are needed; see `ple tune --help`")
    if arguments.minutes is not None and arguments.minutes <= 0:
        raise UserError(f"--minutes: {arguments.minutes:g} is not valid, it must be positive")
    if engine_name(arguments.engine, arguments.address) == "ray" and not arguments.find_rate:
        if arguments.threads not in (None, 1):
            raise UserError(f"--threads: {arguments.threads} is not valid, a trial of --engine ray is a task of one CPU")
        if arguments.device not in ("auto", "cpu"):
            raise UserError(f"--device: {arguments.device} is not valid, a trial of --engine ray is a task of one CPU")
    # one process alone is bound as a training is; several that were would share the first cores
    settle(arguments.threads, bind=arguments.workers == 1 and LED_BY not in os.environ)
    return _find(arguments) if arguments.find_rate else _tune(arguments)


def _space(arguments: Arguments) -> int:
    from ple_model.config import load_config
    from ple_model.tuning.space import chosen_space, declared

    config = load_config(arguments.preset or "v3_14", arguments.config, arguments.overrides)
    searched = {d.key: d for d in chosen_space(config, arguments.keys, only=arguments.only)}
    every = {**declared(config), **searched}
    if arguments.json:
        print(dump({"keys": [{**d.to_dict(), "range": d.range, "searched": k in searched} for k, d in every.items()]}))
        return 0
    width = max(map(len, every))
    for key in (*searched, *(k for k in every if k not in searched)):
        print(f"{'*' if key in searched else ' '} {key:<{width}}  {every[key].range:<20}  {every[key].help}")
    print("\n* is searched over unless --key or --only say otherwise")
    return 0


def _settled(arguments: Arguments) -> None:
    """Threads and floating point, before torch works."""
    import torch

    torch.set_flush_denormal(True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    elif arguments.workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // arguments.workers))


def _find(arguments: Arguments) -> int:
    from ple_model.config import config_from_dict, load_config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.tuning.record import is_study, load_study

    _settled(arguments)
    dataset = Dataset.open(arguments.dataset)
    preset = arguments.preset or "v3_14"
    if is_study(arguments.study):
        spec = load_study(arguments.study)
        config, preset = config_from_dict(spec.config), spec.preset
    else:
        config = load_config(preset, arguments.config, arguments.overrides)
    found = find(dataset, config, arguments.study, preset, arguments.device, arguments.quiet)
    if arguments.json:
        print(dump(found.to_dict()))
        return 0
    for rate, loss in list(zip(found.rates, found.smoothed, strict=True))[:: max(1, len(found.rates) // 20)]:
        print(f"{rate:.2e}  {loss:.4f}")
    said = "no suggestion" if found.suggestion is None else f"suggestion: training.learning_rate={found.suggestion:g}"
    print(f"{said}: {found.why} (the configuration has {found.current:g})")
    return 0


def find(dataset: Any, config: Any, study: Path, preset: str, on: str, quiet: bool) -> Any:
    """Run the finder and keep its curve with the study."""
    from ple_model.stop_on_signals import stop_on_signals
    from ple_model.ticker import counter
    from ple_model.tuning.finder import find_rate, save_curve
    from ple_model.tuning.record import STARTS

    with stop_on_signals("en") as stop:
        found = find_rate(
            dataset, config, preset=preset, device=on, progress=counter("steps of the finder", quiet=quiet), stop=stop.asked,
            starts=study / STARTS,
        )  # fmt: skip
    study.mkdir(parents=True, exist_ok=True)
    save_curve(study, found)
    return found


def _tune(arguments: Arguments) -> int:
    if find_spec("optuna") is None:
        raise UserError(MISSING)
    from ple_model.data.dataset.reader import Dataset
    from ple_model.stop_on_signals import stop_on_signals
    from ple_model.training.pause import NAME as PAUSE
    from ple_model.training.pause import forget
    from ple_model.tuning.begin import notes
    from ple_model.tuning.on_engine import work_by_engine
    from ple_model.tuning.record import is_study
    from ple_model.tuning.report import report, table
    from ple_model.tuning.search import Study

    _settled(arguments)
    dataset = Dataset.open(arguments.dataset)
    until = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    if arguments.resume and is_study(arguments.study):
        _check_resumed(arguments, dataset)
    else:
        _begin(arguments, dataset)
    if LED_BY not in os.environ:  # a process that helps another does not lift what that one is asked for
        forget(arguments.study / PAUSE, began(arguments))
    tell = _Teller(arguments.quiet)
    study = Study(arguments.study, tell)
    for said in notes(dataset, study.spec):
        tell.line(said)
    left = 0
    with stop_on_signals("en") as stop:
        if engine_name(arguments.engine, arguments.address) == "ray":
            with open_engine(arguments.engine, arguments.workers, arguments.address) as engine:
                left = work_by_engine(study, engine, stop.asked, until, tell)
        else:
            _by_processes(arguments, study, stop.asked, until)
    found = report(arguments.study)
    print(dump(found.to_dict()) if arguments.json else table(found))
    if stop.seen:
        print(f"stopped; `ple tune {arguments.dataset} {arguments.study} --resume` goes on", file=sys.stderr)
    if left:
        again = f"`ple tune {arguments.dataset} {arguments.study} --resume` goes on with them"
        print(f"trials that have not ended: {left}; {again}", file=sys.stderr)
    return 1 if left else 0


def _begin(arguments: Arguments, dataset: Any) -> StudySpec:
    """A new study; of the staged strategy with the finder's curve, and the learning rate searched around its suggestion."""
    from ple_model.config import config_from_dict
    from ple_model.tuning.begin import around, planned
    from ple_model.tuning.finder import load_curve
    from ple_model.tuning.record import save_study

    spec = planned(dataset, arguments.study, _asked(arguments))
    if spec.strategy == "staged":
        config, found = config_from_dict(spec.config), load_curve(arguments.study)
        if found is None:
            found = find(dataset, config, arguments.study, spec.preset, arguments.device, arguments.quiet)
        spec = replace(spec, space=around(spec.space, found))
    arguments.study.mkdir(parents=True, exist_ok=True)
    save_study(arguments.study, spec)
    return spec


def _asked(arguments: Arguments) -> Asked:
    from ple_model.tuning.begin import Asked

    return Asked(
        arguments.preset or "v3_14", arguments.config, tuple(arguments.overrides), tuple(arguments.keys), arguments.only,
        arguments.sampler, arguments.pruner, arguments.strategy, arguments.objective, arguments.folds, arguments.seed,
        arguments.trials or 0, arguments.minutes, arguments.device,
    )  # fmt: skip


def _check_resumed(arguments: Arguments, dataset: Any) -> None:
    """A study goes on as it was begun; only its budget may be raised."""
    from ple_model.tuning.record import load_study, locked, save_study

    spec = load_study(arguments.study)
    if arguments.preset or arguments.config or arguments.overrides or arguments.keys:
        raise UserError("--resume goes on with the study as it was begun: leave out --preset, --config, --set and --key")
    for name, default in BEGUN_WITH.items():
        asked, begun = getattr(arguments, name), getattr(spec, name)
        if asked not in (default, begun):
            raise UserError(f"--{name} {asked}: --resume goes on with the study as it was begun, with --{name} {begun}")
    if dataset.manifest.fingerprint != spec.fingerprint:
        raise UserError(f"{dataset.path} is not the dataset of {arguments.study}, which was begun on {spec.dataset}")
    if arguments.trials and arguments.trials != spec.trials:
        if spec.strategy == "staged":
            raise UserError(f"--trials: a staged study has divided its {spec.trials} trials; begin another one for more")
        with locked(arguments.study, "draw"):
            save_study(arguments.study, replace(load_study(arguments.study), trials=arguments.trials))
    if not arguments.trials and not spec.trials and arguments.minutes is None:
        raise UserError("the study was begun with --minutes: give --minutes M or --trials N for what is to come")


# --- several processes


def _by_processes(arguments: Arguments, study: Study, stopped: Callable[[], bool], until: float | None) -> None:
    """This process and those that help it."""
    others = _workers(arguments, until)
    try:
        study.work(lambda: stopped() or _left_alone(), until)
        _wait(others, stopped)
    except BaseException:
        _signal(others)
        raise


def _workers(arguments: Arguments, until: float | None) -> list[subprocess.Popen[bytes]]:
    """The other processes of the study; they go on with it as anybody else could, for the minutes that are left."""
    left = None if until is None else (until - time.monotonic()) / 60
    if left is not None and left <= 0:
        return []
    words = [sys.executable, "-m", "ple_model", "tune", str(arguments.dataset), str(arguments.study), "--resume", "--quiet"]
    words += ["--engine", "local"]  # whatever the environment says: this process leads
    words += ["--minutes", f"{left:.6f}"] if left is not None else []
    words += ["--threads", str(arguments.threads or max(1, (os.cpu_count() or 1) // arguments.workers))]
    environment = {**os.environ, LED_BY: str(os.getpid())}
    return [
        subprocess.Popen(
            words,
            env=environment,
            start_new_session=True,  # the terminal's Ctrl-C is for this process, which tells them
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(arguments.workers - 1)
    ]


def _left_alone() -> bool:
    """Whether the process that started this worker is gone."""
    leader = os.environ.get(LED_BY)
    return leader is not None and str(os.getppid()) != leader


def _signal(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for one in others:
        if one.poll() is None:
            with suppress(ProcessLookupError):
                one.terminate()


def _wait(others: Sequence[subprocess.Popen[bytes]], stopped: Callable[[], bool]) -> None:
    """Until they have ended; told to stop, once, they leave what can be resumed: a second signal would break them off."""
    told = False
    while any(one.poll() is None for one in others):
        if stopped() and not told:
            _signal(others)
            told = True
        time.sleep(0.2)


class _Teller:
    """A line a trial on stderr."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def __call__(self, told: Told) -> None:
        t = told.trial
        if told.event == "trial":
            again = f" ({t.reason})" if t.reason else ""
            self.line(f"{t.name}{again}: {' '.join(t.settings)}")
        elif told.event == "ended":
            reached = f"skill {fixed(t.skill.value, 4)}" if t.state == "finished" else t.reason
            self.line(f"{t.name} {t.state}: {reached}, {t.seconds:.0f} s")

    def line(self, said: str) -> None:
        if not self.quiet:
            print(said, file=sys.stderr, flush=True)


COMMANDS: tuple[Command, ...] = (Command("tune", "search for settings: every trial is a run", _configure, _run),)
