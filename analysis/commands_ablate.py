"""`ple ablate`: what each expert is worth to each task, on customers that the model did not learn from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ple_model.commands import Command, add_json
from ple_model.errors import UserError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--dataset", type=Path, metavar="D", help="use this dataset (default: the run's own sample)")
    parser.add_argument(
        "--without", action="append", default=[], metavar="EXPERT=RUN",
        help="compare with a run trained without the expert ('ple train --set shared_experts.EXPERT=null'); may be repeated",
    )  # fmt: skip
    parser.add_argument("--truth", type=Path, metavar="FILE", help="truth.parquet of a synthetic bank: marks the planted pairs")
    parser.add_argument("--sample", type=int, default=10_000, metavar="N", help="use at most N rows (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample and of the bootstrap (default 0)")
    parser.add_argument("--bootstrap", type=int, default=500, metavar="N", help="bootstrap rounds (default 500)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    from analysis.ablation import ablate, planted_pairs
    from ple_model.run import dump

    for option in ("sample", "bootstrap"):
        if getattr(args, option) < 1:
            raise UserError(f"--{option} {getattr(args, option)} is not valid, it must be at least 1")
    without: dict[str, Path] = {}
    for item in args.without:
        expert, eq, run = item.partition("=")
        if not eq or not run:
            raise UserError(f"--without {item!r}: expected EXPERT=RUN, for example perslay=runs/no-perslay")
        without[expert] = Path(run)

    def tick(done: int, total: int) -> None:
        if sys.stderr.isatty() and not args.json:
            print(f"\r\033[K{done} of {total} experts", end="\n" if done == total else "", file=sys.stderr, flush=True)

    found = ablate(
        args.run, args.dataset, without=without or None, planted=planted_pairs(args.truth) if args.truth else frozenset(),
        sample=args.sample, seed=args.seed, bootstrap=args.bootstrap, progress=tick,
    )  # fmt: skip
    print(dump(found.to_dict()) if args.json else found.markdown() if args.markdown else found)
    return 0


COMMANDS: tuple[Command, ...] = (
    Command("ablate", "what each expert is worth to each task: loss with it and without", _configure, _run),
)
