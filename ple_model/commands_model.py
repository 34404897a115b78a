"""`ple train`, `distill`, `evaluate`, `predict`, `export`, `config`, `presets`, `runs`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.arguments import COUNT, COUNT_OR_NONE, device, folder_in, folder_or_url, folder_out
from ple_model.commands import Arguments, Command, add_config, add_json, add_running, began
from ple_model.commands_distill import DISTILL
from ple_model.commands_export import EXPORT
from ple_model.commands_forecast import FORECAST
from ple_model.commands_predict import PREDICT
from ple_model.commands_track import add_track, both, follower
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.progressbar import ProgressBar
from ple_model.stop_on_signals import stop_on_signals
from ple_model.threads import settle
from ple_model.ticker import share_of
from ple_model.training.launch import Launch, launched
from ple_model.translation import training_sentence

if TYPE_CHECKING:
    from ple_model.training.ranks import Ranks

MODES = ("frozen", "finetune", "lora")
"""As `sequences.stream.MODES`, which loads torch."""
SAMPLE = 2000
"""Customers stored with a run unless said otherwise."""
HELP = (
    "train a model on a dataset; Ctrl-C leaves a run that can be resumed; several processes share each batch if "
    "`torchrun --nproc-per-node N -m ple_model train ...` starts them"
)


def _configure_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=folder_or_url, metavar="DATASET", help="folder that `ple build` made, or its URL")
    parser.add_argument("run", type=folder_out, metavar="RUN", help="run folder to make or to go on with")
    add_config(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run where it stopped, under its own config")
    parser.add_argument(
        "--from",
        type=folder_in,
        metavar="RUN",
        dest="parent",
        help="start with the weights of this run, which must fit the config",
    )
    parser.add_argument("--phase-2", action="store_true", help="with --from: train the second phase alone")
    parser.add_argument(
        "--encoder", type=folder_in, metavar="RUN_ENCODER", help="start the temporal expert from this encoder of `ple pretrain`"
    )
    parser.add_argument(
        "--encoder-mode", choices=MODES, help="its weights stay, train, or adapters beside them do (default: frozen)"
    )
    add_running(parser)
    parser.add_argument(
        "--no-baselines", action="store_true", help="do not measure at the end what simpler answers reach on the dataset"
    )
    parser.add_argument(
        "--sample", type=COUNT, default=SAMPLE, metavar="N", help=f"customers stored with the run (default: {SAMPLE})"
    )
    add_track(parser)


def _train(arguments: Arguments) -> int:
    launch = launched()
    settle(arguments.threads, bind=launch.world == 1)  # processes of one machine would bind to the same cores
    import torch

    from ple_model.training.ranks import ONE

    torch.set_flush_denormal(True)
    if launch.world == 1:
        return _train_with(arguments, launch, ONE)
    from ple_model.training.processes import together  # late: not every build of torch can talk to other processes

    with together(launch) as ranks:
        return _train_with(arguments, launch, ranks)


def _train_with(arguments: Arguments, launch: Launch, ranks: Ranks) -> int:
    import torch

    from ple_model.config import load_config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import load_run
    from ple_model.sequences.encoder_run import load_encoder
    from ple_model.train import EncoderStart, Options, StartFrom, train

    exists: bool = ranks.first_does((arguments.run / "manifest.json").exists)
    chosen = arguments.preset or arguments.config or arguments.overrides
    if arguments.resume and exists and chosen:
        raise UserError("--resume goes on under the run's own config: leave out --preset, --config and --set")
    if arguments.phase_2 and arguments.parent is None:
        raise UserError("--phase-2 needs a run to start from: --from RUN")
    if arguments.resume and exists and (arguments.parent is not None or arguments.encoder is not None):
        raise UserError("--resume goes on with the run's own weights: leave out --from and --encoder")
    if arguments.encoder_mode is not None and arguments.encoder is None:
        raise UserError("--encoder-mode needs an encoder to start from: --encoder RUN_ENCODER")
    preset = arguments.preset or "v3_14"
    resuming = arguments.resume and exists
    config = load_run(arguments.run).config if resuming else load_config(preset, arguments.config, arguments.overrides)
    dataset = Dataset.open(arguments.dataset)
    threads = arguments.threads or (load_run(arguments.run).manifest.threads if resuming else None)
    if threads:
        torch.set_num_threads(threads)
    start = None if arguments.parent is None else StartFrom(load_run(arguments.parent), arguments.phase_2)
    encoder = None if arguments.encoder is None else EncoderStart(load_encoder(arguments.encoder), arguments.encoder_mode)
    follow = follower(arguments) if launch.first else None
    bar = None if arguments.quiet or not launch.first else ProgressBar(language=arguments.language)
    with stop_on_signals(arguments.language, tell=launch.first) as stop:
        try:
            run = train(
                dataset, arguments.run, config, preset=preset, resume=arguments.resume, progress=both(bar, follow),
                stop=stop.asked, start=start, encoder=encoder, ranks=ranks,
                options=Options(
                    device=arguments.device, sample_customers=arguments.sample, baselines=not arguments.no_baselines,
                    command=_again(arguments, launch), began=began(arguments),
                ),
            )  # fmt: skip
        except UserError as e:
            raise type(e)(training_sentence(str(e), arguments.language)) from e
        finally:
            if bar is not None:
                bar.close()
            if follow is not None:
                follow.close()
    if not launch.first:
        return 0
    if run.manifest.status == "stopped":
        said = f"stopped; `{_on(arguments, launch)}` goes on"
        print(training_sentence(said, arguments.language), file=sys.stderr)
    else:
        print(run.path)
    return 0


def _on(arguments: Arguments, launch: Launch) -> str:
    """The command that goes on with what was stopped: what the run does not remember itself is said again."""
    words = [*launch.command, "train", str(arguments.dataset), str(arguments.run), "--resume"]
    words += ["--device", arguments.device] if arguments.device != "auto" else []
    words += ["--sample", str(arguments.sample)] if arguments.sample != SAMPLE else []
    words += ["--no-baselines"] if arguments.no_baselines else []
    words += ["--track", arguments.track] if arguments.track else []
    words += ["--track-to", arguments.track_to] if arguments.track_to else []
    return shlex.join([*words, *(["--language", arguments.language] if arguments.language != "en" else [])])


def _again(arguments: Arguments, launch: Launch) -> str:
    """The command that makes the same run, without the places of its folders: a run may travel."""
    words = [*launch.command, "train", "DATASET", "RUN"]
    words += ["--preset", arguments.preset] if arguments.preset else []
    words += ["--config", arguments.config.name] if arguments.config else []
    words += [w for item in arguments.overrides for w in ("--set", item)]
    words += ["--from", arguments.parent.name] if arguments.parent else []
    words += ["--phase-2"] if arguments.phase_2 else []
    words += ["--encoder", arguments.encoder.name] if arguments.encoder else []
    words += ["--encoder-mode", arguments.encoder_mode] if arguments.encoder_mode else []
    words += ["--device", arguments.device] if arguments.device != "auto" else []
    words += ["--threads", str(arguments.threads)] if arguments.threads else []
    words += ["--sample", str(arguments.sample)] if arguments.sample != SAMPLE else []
    return shlex.join([*words, *(["--no-baselines"] if arguments.no_baselines else [])])


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("--dataset", type=folder_or_url, metavar="D", help="default: the run's own dataset, or its sample")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"), help="default: test")
    parser.add_argument(
        "--bootstrap", type=COUNT_OR_NONE, default=200, metavar="N", help="resamples (default: 200; 0: no intervals)"
    )
    parser.add_argument(
        "--no-boosting",
        action="store_true",
        help="do not measure the linear model and the boosting where they are not kept with the dataset",
    )
    parser.add_argument("--device", type=device, default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    add_json(parser)


def _evaluate(arguments: Arguments) -> int:
    import torch

    from ple_model.data.dataset.reader import Dataset
    from ple_model.evaluate import evaluate
    from ple_model.run import load_run

    torch.set_flush_denormal(True)
    dataset = Dataset.open(arguments.dataset) if arguments.dataset else None
    found = evaluate(
        load_run(arguments.run), dataset, arguments.split, bootstrap_rounds=arguments.bootstrap,
        boosting=not arguments.no_boosting, device=arguments.device, progress=share_of("baselines", lines=True),
    )  # fmt: skip
    print(dump(found.to_dict()) if arguments.json else found.table())
    return 0


def _config(arguments: Arguments) -> int:
    from ple_model.config import load_config

    config = load_config(arguments.preset or "v3_14", arguments.config, arguments.overrides)
    print(dump(config.to_dict()) if arguments.json else config.to_yaml(), end="" if not arguments.json else "\n")
    return 0


def _configure_config(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_json(parser)


def _presets(arguments: Arguments) -> int:
    from ple_model.config import PRESETS, load_config

    rows: list[dict[str, Any]] = []
    for name in PRESETS:
        config = load_config(name)
        t = config.training
        rows.append({"preset": name, "experts": len(config.shared_experts), "tasks": len(config.tasks),
                     "shared_dim": config.shared_dim, "epochs": [t.phase1_epochs, t.phase2_epochs]})  # fmt: skip
    if arguments.json:
        print(dump(rows))
        return 0
    for r in rows:
        epochs = " + ".join(str(e) for e in r["epochs"])
        print(f"{r['preset']:<12}{r['experts']} experts, {r['tasks']} tasks, shared_concat {r['shared_dim']}, epochs {epochs}")
    return 0


def _noted(path: Path) -> str:
    """A run's note; of one that cannot be read, why."""
    from ple_model.note import read_note

    try:
        return read_note(path)
    except UserError as e:
        return str(e)


def _runs(arguments: Arguments) -> int:
    from ple_model.run import list_runs

    entries = list_runs(arguments.folder)
    if arguments.json:
        rows = []
        for e in entries:
            m = e.manifest
            rows.append({"name": e.name, "path": str(e.path), "state": e.state, "error": e.error,
                         "preset": m and m.preset, "data": m and m.data.name, "created": m and m.created,
                         "note": m and _noted(e.path)})  # fmt: skip
        print(dump(rows))
    elif not entries:
        print(f"no runs in {arguments.folder}")
    else:
        for e in entries:
            m = e.manifest
            what = e.error if m is None else f"{e.state:<12}{m.preset:<12}{m.data.name:<24}{m.created}"
            first = _noted(e.path).partition("\n")[0] if m is not None else ""
            print(f"{e.name:<28}{what}{f'  {first:.60}' if first else ''}")
    return 1 if any(e.error for e in entries) else 0


def _configure_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder_in, nargs="?", default=Path("runs"), metavar="RUNS_DIR", help="default: runs")
    add_json(parser)


def _note(arguments: Arguments) -> int:
    from ple_model.note import read_note, write_note
    from ple_model.run import load_run

    run = load_run(arguments.run)
    if arguments.text is not None:
        write_note(run.path, arguments.text)
    print(dump({"note": read_note(run.path)}) if arguments.json else read_note(run.path) or "no note")
    return 0


def _configure_note(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("text", nargs="?", metavar="TEXT", help="what is written; '' removes the note (default: show it)")
    add_json(parser)


COMMANDS: tuple[Command, ...] = (
    Command("train", HELP, _configure_train, _train),
    DISTILL,
    Command("evaluate", "metrics by task next to base rates and baselines, with intervals", _configure_evaluate, _evaluate),
    PREDICT,
    FORECAST,
    EXPORT,
    Command("config", "print the merged config", _configure_config, _config),
    Command("presets", "list the presets", add_json, _presets),
    Command("runs", "list the runs of a folder", _configure_runs, _runs),
    Command("note", "write or show a note on a run", _configure_note, _note),
)
