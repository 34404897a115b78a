"""`ple distill`; `commands_model` lists it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ple_model.arguments import COUNT, assignment, file_in, folder_in, folder_out
from ple_model.commands import Arguments, Command, add_json, add_running
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.progressbar import ProgressBar
from ple_model.stop_on_signals import stop_on_signals
from ple_model.threads import settle
from ple_model.translation import training_sentence

if TYPE_CHECKING:
    from ple_model.config import Config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import Run
    from ple_model.train import Teacher

STUDENT = "small"
SAMPLE = 2000
"""Customers stored with a run unless said otherwise."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("teacher", type=folder_in, metavar="RUN", help="the finished run to learn from")
    parser.add_argument("run", type=folder_out, metavar="OUT", help="run folder of the student, to make or to go on with")
    parser.add_argument("--student", metavar="PRESET", help=f"preset of the student (see `ple presets`; default: {STUDENT})")
    parser.add_argument("--config", type=file_in, metavar="FILE", help="YAML file laid on the preset")
    parser.add_argument(
        "--set", action="append", default=[], type=assignment, metavar="KEY=VALUE", dest="overrides",
        help="one config value, for example distillation.share=0.7; may be repeated",
    )  # fmt: skip
    parser.add_argument("--dataset", type=folder_in, metavar="D", help="default: the dataset that the teacher was trained on")
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--beside", type=folder_in, metavar="RUN", help="the same student without a teacher, trained already")
    beside.add_argument(
        "--alone", type=folder_out, metavar="RUN",
        help="train the same student without a teacher too, into this folder: twice the time",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with OUT where it stopped, under its own config")
    add_running(parser)
    parser.add_argument(
        "--sample", type=COUNT, default=SAMPLE, metavar="N", help=f"customers stored with the run (default: {SAMPLE})"
    )
    add_json(parser)


def _run(arguments: Arguments) -> int:
    settle(arguments.threads, bind=True)
    import torch

    from ple_model.distill.report import report
    from ple_model.files import write_json
    from ple_model.run import load_run
    from ple_model.train import Teacher

    torch.set_flush_denormal(True)
    teacher = load_run(arguments.teacher)
    beside = None if arguments.beside is None else load_run(arguments.beside)
    _require_free(arguments)
    config = _student(arguments)
    dataset = _dataset(arguments, teacher)
    preset = arguments.student or STUDENT
    run = _train(arguments, arguments.run, dataset, config, preset, _again(arguments), Teacher(teacher))
    if run is None:
        return 0
    if arguments.alone is not None:
        preset = run.manifest.preset
        command = _again_alone(run.manifest.command, preset)
        beside = _train(arguments, arguments.alone, dataset, _alone(run.config), preset, command, None)
        if beside is None:
            return 0
    found = report(run, teacher, beside, dataset)
    write_json(run.path / "distillation.json", found.to_dict())
    print(dump(found.to_dict()) if arguments.json else found.table())
    return 0


def _require_free(arguments: Arguments) -> None:
    """`UserError` where the student without a teacher could not be trained once the student is."""
    folder = arguments.alone
    if folder is None:
        return
    if folder.resolve() == arguments.run.resolve():
        raise UserError(f"--alone {folder} is the student's own folder; choose another")
    if (folder / "manifest.json").exists():
        if not arguments.resume:
            raise UserError(f"--alone: {folder} already holds a run; --resume goes on with it, or choose another folder")
        from ple_model.run import load_run

        if load_run(folder).manifest.teacher is not None:
            raise UserError(f"--alone: {folder} has learnt from a teacher; choose another folder")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--alone: {folder} is not empty and holds no run; choose another folder")


def _student(arguments: Arguments) -> Config:
    """The student's configuration, with distillation on; of a run that goes on its own."""
    from dataclasses import replace

    from ple_model.config import load_config
    from ple_model.run import load_run

    if arguments.resume and (arguments.run / "manifest.json").exists():
        if arguments.student or arguments.config or arguments.overrides:
            raise UserError("--resume goes on under the run's own config: leave out --student, --config and --set")
        return load_run(arguments.run).config
    config = load_config(arguments.student or STUDENT, arguments.config, arguments.overrides)
    return replace(config, distillation=replace(config.distillation, enabled=True))


def _alone(config: Config) -> Config:
    from dataclasses import replace

    return replace(config, distillation=replace(config.distillation, enabled=False))


def _dataset(arguments: Arguments, teacher: Run) -> Dataset:
    from ple_model.data.dataset.reader import Dataset

    if arguments.dataset is not None:
        return Dataset.open(arguments.dataset)
    found = teacher.dataset()
    if found is None:
        raise UserError(f"the dataset of {teacher.path} is no longer where it was, or is another by now; name it: --dataset D")
    return found


def _train(
    arguments: Arguments, folder: Path, dataset: Dataset, config: Config, preset: str, command: str | None,
    teacher: Teacher | None,
) -> Run | None:  # fmt: skip
    """A finished run; None where it was stopped, which is said. One that goes on has the threads that it was begun with."""
    import torch

    from ple_model.run import load_run
    from ple_model.train import Options, train

    begun = arguments.resume and (folder / "manifest.json").exists()
    threads = arguments.threads or (load_run(folder).manifest.threads if begun else None)
    if threads:
        torch.set_num_threads(threads)
    options = Options(device=arguments.device, sample_customers=arguments.sample, command=command)
    bar = None if arguments.quiet else ProgressBar(language=arguments.language)
    with stop_on_signals(arguments.language) as stop:
        try:
            run = train(
                dataset, folder, config, preset=preset, resume=arguments.resume, progress=bar, stop=stop.asked,
                options=options, teacher=teacher,
            )  # fmt: skip
        except UserError as e:
            raise type(e)(training_sentence(str(e), arguments.language)) from e
        finally:
            if bar is not None:
                bar.close()
    if run.manifest.status != "stopped":
        return run
    said = f"stopped; `{_on(arguments)}` goes on"
    print(training_sentence(said, arguments.language), file=sys.stderr)
    return None


def _on(arguments: Arguments) -> str:
    """The command that goes on with what was stopped, to the same report."""
    words = ["ple", "distill", str(arguments.teacher), str(arguments.run), "--resume"]
    words += [
        w for name in ("dataset", "beside", "alone") if (folder := getattr(arguments, name)) is not None
        for w in (f"--{name}", str(folder))
    ]  # fmt: skip
    return shlex.join([*words, *(["--sample", str(arguments.sample)] if arguments.sample != SAMPLE else [])])


def _again(arguments: Arguments) -> str:
    """The command that makes the same run, without the places of its folders: a run may travel."""
    words = ["ple", "distill", "RUN", "OUT"]
    words += ["--student", arguments.student] if arguments.student else []
    words += ["--config", arguments.config.name] if arguments.config else []
    words += [w for item in arguments.overrides for w in ("--set", item)]
    words += ["--device", arguments.device] if arguments.device != "auto" else []
    words += ["--threads", str(arguments.threads)] if arguments.threads else []
    return shlex.join([*words, *(["--sample", str(arguments.sample)] if arguments.sample != SAMPLE else [])])


def _again_alone(student: str | None, preset: str) -> str | None:
    """The command that makes the student without a teacher, from the one that made the student: a training of its preset,
    without the settings of a distillation. None where no command made the student."""
    if student is None:
        return None
    words = ["ple", "train", "DATASET", "RUN", "--preset", preset]
    given = iter(shlex.split(student)[4:])  # option and value in turn
    for option, value in zip(given, given, strict=True):
        if option != "--student" and not (option == "--set" and value.startswith("distillation.")):
            words += [option, value]
    return shlex.join([*words, "--no-baselines"])


DISTILL = Command(
    "distill", "train a small model on a big run's outputs, and say what it keeps of them at which cost", _configure, _run
)
