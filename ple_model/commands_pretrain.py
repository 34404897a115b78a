"""`ple pretrain`: a sequence encoder without labels."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ple_model.arguments import PROCESSES, assignment, device, file_in, folder_or_url, folder_out
from ple_model.commands import Arguments, Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.stop_on_signals import stop_on_signals
from ple_model.threads import settle


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=folder_or_url, metavar="DATASET", help="folder that `ple build` made, or its URL")
    parser.add_argument("run", type=folder_out, metavar="RUN_ENCODER", help="folder of the encoder, to make or to go on with")
    parser.add_argument("--config", type=file_in, metavar="FILE", help="YAML file with sections encoder and training")
    parser.add_argument(
        "--set", action="append", default=[], type=assignment, metavar="KEY=VALUE", dest="overrides",
        help="one config value, for example encoder.objective=both or training.sequence=session_seq; may be repeated",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on with the run where it stopped, under its own config")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=PROCESSES, metavar="N", help="CPU threads (default: torch's own choice)")
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    parser.add_argument(
        "--language", choices=("en", "ko"), default="en", help="language of progress, warnings and errors (default: en)"
    )
    add_json(parser)


def _pretrain(arguments: Arguments) -> int:
    settle(arguments.threads, bind=True)
    import torch

    from ple_model.config import apply_overrides, read_config_file
    from ple_model.data.dataset.reader import Dataset
    from ple_model.progressbar import ProgressBar
    from ple_model.sequences.config import PretrainConfig
    from ple_model.sequences.encoder_run import load_encoder
    from ple_model.sequences.pretrain import pretrain
    from ple_model.training.session import Options
    from ple_model.translation import training_sentence

    resuming = arguments.resume and (arguments.run / "manifest.json").exists()
    if resuming and (arguments.config or arguments.overrides):
        raise UserError("--resume goes on under the run's own config: leave out --config and --set")
    torch.set_flush_denormal(True)
    threads = arguments.threads
    if resuming:
        begun = load_encoder(arguments.run)
        config, threads = begun.whole, threads or begun.manifest.threads
    else:
        raw = read_config_file(arguments.config) if arguments.config else {}
        config = PretrainConfig.from_dict(with_outlook(apply_overrides(raw, arguments.overrides)))
    if threads:
        torch.set_num_threads(threads)
    bar = None if arguments.quiet else ProgressBar(language=arguments.language)
    with stop_on_signals(arguments.language) as stop:
        try:
            run = pretrain(
                Dataset.open(arguments.dataset), arguments.run, config, resume=arguments.resume, progress=bar, stop=stop.asked,
                options=Options(device=arguments.device, command=_again(arguments)),
            )  # fmt: skip
        except UserError as e:
            raise type(e)(training_sentence(str(e), arguments.language)) from e
        finally:
            if bar is not None:
                bar.close()
    if run.manifest.status == "stopped":
        said = f"stopped; `ple pretrain {arguments.dataset} {arguments.run} --resume` goes on"
        print(training_sentence(said, arguments.language), file=sys.stderr)
    if arguments.json:
        print(dump(_said(asdict(run.manifest), str(run.path))))
    elif run.manifest.status != "stopped":
        print(run.path)
    return 0


def with_outlook(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, and an outlook on days where nothing is said of it; encoders of before it have none, so the key's own
    default is off."""
    from ple_model.sequences.config import DAILY  # late: not needed to list commands

    encoder, training = raw.get("encoder") or {}, raw.get("training") or {}
    if not isinstance(encoder, Mapping) or not isinstance(training, Mapping):
        return dict(raw)
    days = training.get("sequence", DAILY) == DAILY
    return {**raw, "encoder": {"outlook": "on" if days else "off", **encoder}}


def _said(manifest: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What a program wants to know of the run."""
    names = ("status", "epochs", "best_epoch", "best_loss", "customers", "parameters", "seconds", "samples_per_s", "device")
    return {"path": path, **{name: manifest[name] for name in names}}


def _again(arguments: Arguments) -> str:
    """The command that makes the same run, without the places of its folders: a run may travel."""
    words = ["ple", "pretrain", "DATASET", "RUN_ENCODER"]
    words += ["--config", arguments.config.name] if arguments.config else []
    words += [w for item in arguments.overrides for w in ("--set", item)]
    words += ["--device", arguments.device] if arguments.device != "auto" else []
    return shlex.join([*words, *(["--threads", str(arguments.threads)] if arguments.threads else [])])


COMMANDS: tuple[Command, ...] = (
    Command(
        "pretrain", "train a sequence encoder without labels; Ctrl-C leaves a run that can be resumed", _configure, _pretrain
    ),
)
