"""`ple baselines`: what simpler answers reach on a dataset, measured once and kept with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.arguments import folder_in
from ple_model.commands import Arguments, Command, add_json, listener
from ple_model.json_text import dump
from ple_model.ticker import share_of

if TYPE_CHECKING:
    from ple_model.baseline_folder import StoredBaselines
    from ple_model.baselines import Progress


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset", type=folder_in, metavar="DATASET",
        help="dataset folder; of a run folder its dataset where that is at hand, else the customers stored with it",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="measure again what is there")
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    found, said = baselines_of(arguments.dataset, arguments.force, _told(arguments))
    for line in said:
        print(line, file=sys.stderr)
    print(dump({**found.to_dict(), "said": said}) if arguments.json else table(found))
    return 0


def _told(arguments: Arguments) -> Progress:
    return share_of("baselines", lines=True, quiet=arguments.quiet, heard=listener(arguments))


def baselines_of(path: Path, force: bool = False, progress: Progress | None = None) -> tuple[StoredBaselines, list[str]]:
    """Those of a dataset or run folder, measured if there are none that fit; with what was reused or made anew, and why."""
    from ple_model.data.dataset.reader import Dataset
    from ple_model.run import load_run
    from ple_model.skill import lend, measure, stored, why_not

    run = load_run(path) if (path / "manifest.json").exists() else None
    dataset = Dataset.open(path) if run is None else (run.dataset() or run.sample())
    found, why = None if force else stored(dataset), why_not(dataset)
    if found is not None:
        said = [f"reused: measured before on these very rows of {dataset.path}"]
        if not found.current:
            said.append("measured by another version of this program; --force measures again")
    else:
        found = measure(dataset, progress)
        said = [f"measured in {found.seconds:.0f} s: {why or 'as asked for'}"]
        said.append(f"not kept: {found.unkept}" if found.unkept else f"kept in {dataset.path / 'baselines'}")
    if run is not None and dataset.path != run.path / "sample" and not found.unkept:
        sample = run.sample()
        if (force or stored(sample) is None) and lend(found, dataset, sample):
            said.append(f"taken over for the customers stored with {run.path}")
    return found, [*said, *found.notes]


def table(found: StoredBaselines) -> str:
    """A line a task and split: the constant's loss, and how much less than it the others lose."""
    from ple_model.skill import ORDER

    have = {n for b in found.tasks.values() for x in b.splits.values() for n in x.loss}
    names = [n for n in ORDER[1:] if n in have]
    head = f"{'task':<20}{'split':<12}{'rows':>9}  {'loss':<16}{'constant':>9}"
    lines = [head + "".join(f"{n:>13}" for n in names)]
    for task, one in found.tasks.items():
        for split, x in one.splits.items():
            base: Any = x.loss.get("constant")
            skills = (f"{1 - x.loss[n] / base:>+13.3f}" if n in x.loss and base else f"{'-':>13}" for n in names)
            lines.append(f"{task:<20}{split:<12}{x.rows:>9,}  {one.yardstick.loss:<16}{base:>9.4f}" + "".join(skills))
    return "\n".join([*lines, "", "skill: 1 - loss / loss of the constant; 0 is a constant, below 0 is worse than one"])


COMMANDS: tuple[Command, ...] = (
    Command("baselines", "what a constant, a linear model and a boosting reach on a dataset, kept with it", _configure, _run),
)
