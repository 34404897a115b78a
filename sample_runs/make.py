"""Make the two bundled runs: `healthy`, and `cut-feed`, in which a feed was cut and a gate collapsed.

Both are `small` models of one seeded synthetic bank. In `cut-feed` the sequence feed never arrives (`txn_seq` and `session_seq`
are absent in every row, as when sequence loading is switched off), and the gate of `nba` starts with nearly all its weight on
one expert: a saturated softmax has no gradient, so it never looks at the others. Run it with `make sample-runs`; about forty
minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.faults.feeds import cut_feed
from ple_model.config import load_config
from ple_model.data.build.build import build
from ple_model.data.dataset.reader import Dataset
from ple_model.data.synth import generate
from ple_model.finish import write_sample
from ple_model.run_fingerprint import write_fingerprint
from ple_model.train import Options, train

HERE = Path(__file__).parent
SEED = 7
CUSTOMERS = 20_000
CUT = ("txn_seq", "session_seq")
COLLAPSE = ("task_experts.tasks.nba.gate_bias={deepfm: 20.0}",)
SHARES = {"test": 0.8, "validation": 0.1, "train": 0.1}
"""Mostly customers that the model never saw, so that calibration has enough labelled rows."""
STORED_CUSTOMERS = 800


def make(target: Path, customers: int, built: Path | None, names: Sequence[str], work: Path) -> None:
    """Generate and build (unless `built` is given), train the runs of these names, and put their folders under `target`."""
    if built is None:
        generate(work / "events", customers, SEED, workers=min(8, os.cpu_count() or 1))
        built = build(work / "events", work / "dataset", progress=_step).path
    dataset = Dataset.open(built)
    if "healthy" in names:
        one_run(dataset, target / "healthy", (), work)
    if "cut-feed" in names:
        one_run(cut_feed(dataset, work / "cut", CUT), target / "cut-feed", COLLAPSE, work)


def one_run(dataset: Dataset, out: Path, overrides: tuple[str, ...], work: Path) -> None:
    """Train `small` to the end and strip the folder to what ships: no state, no dataset path."""
    config = load_config("small", overrides=overrides)
    scratch = work / f"run-{out.name}"
    run = train(dataset, scratch, config, preset="small", device="cpu", progress=_epoch, options=Options(baselines=True))
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["healthy", "cut-feed"], help="healthy, cut-feed (default: both)")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help="customers of the bank (default: 20000)")
    parser.add_argument("--dataset", type=Path, help="an already built dataset of the same bank")
    parser.add_argument("--out", type=Path, default=HERE, help="where the two folders go (default: sample_runs)")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        make(arguments.out, arguments.customers, arguments.dataset, arguments.names, Path(folder))
