"""Make the two runs of `small` that the tests use: `cut-feed`, in which a feed was cut and a gate collapsed, and `healthy`.

Both are `small` models of one seeded synthetic bank. In `cut-feed` the sequence feed never arrives (`txn_seq` and `session_seq`
are absent in every row, as when sequence loading is switched off), and the gate of `nba` starts with nearly all its weight on
one expert: a saturated softmax has no gradient, so it never looks at the others. Run it with `make sample-runs`; about forty
minutes on two cores. `--full` makes the bundled runs, of the whole model (`full.py`): `make sample-runs-full`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from analysis.faults.feeds import cut_feed
from ple_model.config import load_config
from ple_model.data.build.build import build
from ple_model.data.dataset.reader import Dataset
from ple_model.data.synth import generate
from ple_model.errors import UserError, did_you_mean
from ple_model.finish import write_sample
from ple_model.run_fingerprint import write_fingerprint
from ple_model.stop_on_signals import stop_on_signals
from ple_model.train import Options, train
from sample_runs.full import COLLAPSE, CUT, Plan, Stopped, make_full

HERE = Path(__file__).parent
OF_TESTS = HERE.parent / "tests" / "runs"
WORK = HERE.parent / "build" / "sample-runs-full"
"""Outside what is versioned."""
SEED = 7
CUSTOMERS = 20_000
SHARES = {"test": 0.8, "validation": 0.1, "train": 0.1}
"""Mostly customers that the model never saw, so that calibration has enough labelled rows."""
STORED_CUSTOMERS = 800


def make(target: Path | None, customers: int, built: Path | None, names: Sequence[str], work: Path) -> None:
    """Generate and build (unless `built` is given), train the runs of these names, and put their folders under `target`
    (default: where the tests look for them)."""
    if built is None:
        generate(work / "events", customers, SEED, workers=min(8, os.cpu_count() or 1))
        built = build(work / "events", work / "dataset", progress=_step).path
    dataset = Dataset.open(built)
    if "healthy" in names:
        one_run(dataset, (target or OF_TESTS) / "healthy", (), work)
    if "cut-feed" in names:
        one_run(cut_feed(dataset, work / "cut", CUT), (target or OF_TESTS) / "cut-feed", COLLAPSE, work)


def one_run(dataset: Dataset, out: Path, overrides: tuple[str, ...], work: Path) -> None:
    """Train `small` to the end and strip the folder to what ships: no state, no dataset path."""
    config = load_config("small", overrides=overrides)
    scratch = work / f"run-{out.name}"
    options = Options(baselines=True, command="make sample-runs")
    run = train(dataset, scratch, config, preset="small", device="cpu", progress=_epoch, options=options)
    write_sample(run.path, dataset, STORED_CUSTOMERS, shares=SHARES)
    write_fingerprint(run.path)
    for folder in ("state", "analysis"):
        shutil.rmtree(run.path / folder, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(run.path, out)


def _step(step: str, share: float) -> None:
    if share == 1:
        print(f"  {step}", flush=True)


def _epoch(line: dict[str, Any]) -> None:
    if line["event"] == "epoch":
        print(f"  epoch {line['epoch']}: {line['valid']['mean_ratio']:.3f} of the constant predictor", flush=True)


def _full(arguments: argparse.Namespace) -> int:
    """`--full`: the bundled runs, in stages that are kept; a first Ctrl-C stops it after the step in progress."""
    names = arguments.names
    if len(names) > 1 and (arguments.bank or arguments.dataset or arguments.run):
        raise UserError("--bank, --dataset and --run are one run's: name it")
    with stop_on_signals("en") as stop:
        for name in names:
            plan = Plan.named(name, arguments.work, HERE if arguments.out is None else arguments.out)
            plan = replace(
                plan, bank=arguments.bank, dataset=arguments.dataset, run=arguments.run,
                customers=arguments.customers or plan.customers, stored=arguments.sample or plan.stored,
                preset=arguments.preset or plan.preset, settings=(*plan.settings, *arguments.overrides),
                threads=arguments.threads,
            )  # fmt: skip
            try:
                made = make_full(plan, lambda text: print(text, flush=True), stop.asked)
            except Stopped:
                print(f"stopped; the same command goes on with what is in {plan.work}", file=sys.stderr)
                return 1
            print(made)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="healthy, cut-feed; with --full: full, cut-feed (default: both)")
    parser.add_argument(
        "--customers", type=int, help=f"customers of the bank (default: {CUSTOMERS}; with --full 50000 and 10000)"
    )
    parser.add_argument("--dataset", type=Path, help="an already built dataset of the same bank")
    parser.add_argument("--out", type=Path, help="where the folders go (default: tests/runs, with --full sample_runs)")
    full = parser.add_argument_group("the runs of the whole model, in stages that are passed over where they are done")
    full.add_argument("--full", action="store_true", help="make the bundled runs instead: v3_14, two and a half hours")
    full.add_argument("--work", type=Path, default=WORK, help=f"where its stages are kept (default: {WORK})")
    full.add_argument("--bank", type=Path, help="an already generated bank")
    full.add_argument("--run", type=Path, help="the run folder to train or to go on with")
    full.add_argument("--sample", type=int, metavar="N", help="customers stored with the run (default: 640 and 500)")
    full.add_argument("--threads", type=int, default=1, help="threads of the training (default: 1)")
    full.add_argument("--preset", help="another preset, for a trial")
    full.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="for a trial")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    torch.set_flush_denormal(True)
    known = ("full", "cut-feed") if arguments.full else ("healthy", "cut-feed")
    arguments.names = arguments.names or list(known)
    for name in arguments.names:
        if name not in known:
            print(f"no run '{name}' is made here{did_you_mean(name, known)}", file=sys.stderr)
            return 2
    if arguments.full:
        try:
            return _full(arguments)
        except UserError as e:
            print(e, file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory() as folder:
        make(arguments.out, arguments.customers or CUSTOMERS, arguments.dataset, arguments.names, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
