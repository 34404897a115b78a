"""`ple ablate` and `ple signal`: what each expert, and each expert's input, is worth to each task on unseen customers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ple_model.arguments import COUNT, SEED, file_in, folder_in
from ple_model.commands import Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.ticker import counter

if TYPE_CHECKING:
    from analysis.ablation import Ablation


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("--dataset", type=folder_in, metavar="D", help="use this dataset (default: the run's own sample)")
    parser.add_argument(
        "--without", action="append", default=[], metavar="EXPERT=RUN",
        help="compare with a run trained without the expert ('ple train --set shared_experts.EXPERT=null'); may be repeated",
    )  # fmt: skip
    _shared(parser, 10_000, "use at most N rows")


def _configure_signal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", type=folder_in, metavar="DATASET", help="dataset folder")
    parser.add_argument("--task", action="append", metavar="TASK", help="only this task; may be repeated (default: all)")
    _shared(parser, 20_000, "fit on at most N rows of the training split")


def _shared(parser: argparse.ArgumentParser, sample: int, what: str) -> None:
    parser.add_argument("--truth", type=file_in, metavar="FILE", help="truth.parquet of a synthetic bank: marks planted pairs")
    parser.add_argument("--sample", type=COUNT, default=sample, metavar="N", help=f"{what} (default {sample})")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the sample and of the bootstrap (default 0)")
    parser.add_argument("--bootstrap", type=COUNT, default=500, metavar="N", help="bootstrap rounds (default 500)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    add_json(parser)


def _show(args: argparse.Namespace, found: Ablation) -> int:
    print(dump(found.to_dict()) if args.json else found.markdown() if args.markdown else found)
    return 0


def _run(args: argparse.Namespace) -> int:
    from analysis.ablation import ablate, planted_pairs

    without: dict[str, Path] = {}
    for item in args.without:
        expert, eq, run = item.partition("=")
        if not eq or not run:
            raise UserError(f"--without {item!r}: expected EXPERT=RUN, for example perslay=runs/no-perslay")
        without[expert] = Path(run)
    found = ablate(
        args.run, args.dataset, without=without or None, planted=planted_pairs(args.truth) if args.truth else frozenset(),
        sample=args.sample, seed=args.seed, bootstrap=args.bootstrap, progress=counter("experts", quiet=args.json),
    )  # fmt: skip
    return _show(args, found)


def _run_signal(args: argparse.Namespace) -> int:
    from analysis.ablation import planted_pairs
    from analysis.input_signal import input_signal
    from ple_model.data.dataset.reader import Dataset

    found = input_signal(
        Dataset.open(args.dataset), tasks=args.task, planted=planted_pairs(args.truth) if args.truth else frozenset(),
        sample=args.sample, seed=args.seed, bootstrap=args.bootstrap, progress=counter("tasks", quiet=args.json),
    )  # fmt: skip
    return _show(args, found)


COMMANDS: tuple[Command, ...] = (
    Command("ablate", "what each expert is worth to each task: loss with it and without", _configure, _run),
    Command("signal", "what each expert's input says of each task that no other input says", _configure_signal, _run_signal),
)
