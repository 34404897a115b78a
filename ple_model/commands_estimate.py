"""`ple estimate`: what a training of this configuration on this dataset will take, measured by a few of its own steps."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ple_model.arguments import device, folder_or_url
from ple_model.commands import Arguments, Command, add_config, add_json
from ple_model.json_text import dump
from ple_model.threads import settle


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=folder_or_url, metavar="DATASET", help="folder that `ple build` made, or its URL")
    add_config(parser)
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    settle(bind=True)  # as the training that is estimated
    import torch

    from ple_model.config import load_config
    from ple_model.data.dataset.reader import Dataset
    from ple_model.training.probe import estimate

    torch.set_flush_denormal(True)
    preset = arguments.preset or "v3_14"
    config = load_config(preset, arguments.config, arguments.overrides)
    found = estimate(Dataset.open(arguments.dataset), config, preset=preset, device=arguments.device)
    if arguments.json:
        print(dump(asdict(found)))
        return 0
    one, two = found.step_seconds
    print(f"about {found.seconds / 60:.1f} minutes without early stopping, {found.rss_mb / 1024:.1f} GB of memory")
    print(f"{found.timed} steps were timed: {one:.3f} s each in phase 1, {two:.3f} s in phase 2")
    print(f"{found.steps_per_epoch:,} steps an epoch, {found.epochs[0]} + {found.epochs[1]} epochs")
    return 0


COMMANDS: tuple[Command, ...] = (Command("estimate", "what a training would take, by a few steps of it", _configure, _run),)
