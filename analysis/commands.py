"""`ple diagnose` and `ple whatif`. Exit 1 when a warning or an error was found."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from analysis.checks.registry import thresholds_of
from analysis.checks.thresholds import Thresholds
from analysis.diagnose import diagnose
from analysis.fingerprint import SENTENCES, Why
from analysis.report import to_html, to_markdown, write_report
from analysis.whatif import whatif, whatif_customer
from ple_model.arguments import COUNT, COUNT_OR_NONE, SEED, file_in, file_out, folder_in, folder_or_url
from ple_model.commands import Command, add_engine, add_json
from ple_model.engine import engine_if_asked
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.ticker import share_of

EXIT_CODES = "exit code: 0 without, 1 with a warning or an error among the findings, 2 where nothing could be measured"


def _configure_diagnose(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXIT_CODES
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument(
        "--dataset", type=folder_or_url, metavar="D", help="measure on this dataset (default: the run's sample)"
    )
    parser.add_argument("--compare", type=folder_in, metavar="OTHER", help="say what differs from this run beyond noise")
    parser.add_argument("--sample", type=COUNT, metavar="N", help="use at most N rows, chosen with --seed")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the sample (default 0)")
    parser.add_argument("--thresholds", type=file_in, metavar="FILE", help="JSON file with thresholds to override, by name")
    parser.add_argument("--force", action="store_true", help="measure again even if a result is stored")
    parser.add_argument("--html", type=file_out, metavar="FILE", help="write a report that opens offline")
    parser.add_argument("--markdown", type=file_out, metavar="FILE", help="write the findings as Markdown")
    add_engine(parser, "ranges of rows", workers=None)
    add_json(parser)


def _run_diagnose(args: argparse.Namespace) -> int:
    thresholds = _thresholds(args.thresholds)
    tick = share_of(quiet=args.json)

    def tell(why: Why) -> None:
        if why != "first":
            print(SENTENCES[why], file=sys.stderr, flush=True)

    other = None
    with engine_if_asked(args.engine, args.workers, args.address) as engine:
        found = diagnose(
            args.run, args.dataset, args.sample, tick, seed=args.seed, thresholds=thresholds, force=args.force, tell=tell,
            engine=engine,
        )  # fmt: skip
        if args.compare is not None:
            from analysis.against import against

            theirs = diagnose(
                args.compare, args.dataset, args.sample, tick, seed=args.seed, thresholds=thresholds, tell=tell, engine=engine
            )
            other = against(found, theirs)
    if args.html is not None or args.markdown is not None:
        for path, render in ((args.html, to_html), (args.markdown, to_markdown)):
            if path is not None:
                write_report(path, render(found))
    if args.json:
        print(dump(found.to_dict() | ({} if other is None else {"compare": other.to_dict()})))
    else:
        print(found)
        if other is not None:
            print(other)
    if found.alarms:
        errors = sum(f.severity == "error" for f in found.alarms)
        said = f"errors: {errors}, warnings: {len(found.alarms) - errors}; exit code 1 says that there are some"
        print(said, file=sys.stderr, flush=True)
    return 1 if found.alarms else 0


def _thresholds(path: Path | None) -> Any:
    if path is None:
        return Thresholds()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"--thresholds {path}: not a readable JSON file: {' '.join(str(e).split())}") from e
    if not isinstance(values, dict):
        raise UserError(f"--thresholds {path}: expected a mapping of names to numbers")
    return thresholds_of(values)


def _configure_whatif(parser: argparse.ArgumentParser) -> None:
    many: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument(
        "changes", nargs="*", metavar="CHANGE",
        help="a change in its text form, as pages write it: feature.recency_days=3, feature.txn_seq=absent, edge.ctr:cvr=0",
    )  # fmt: skip
    parser.add_argument(
        "--feature", metavar="COLUMN=X", help="set a feature column in its own unit; *1.2 and +500 change it; "
        "PART=absent takes a part, a group or an input field away", **many,
    )  # fmt: skip
    parser.add_argument("--customer", metavar="ID", help="one customer's predictions before and after instead of the sample's")
    parser.add_argument("--task", metavar="TASK", help="with --customer: the task whose class is followed (default: nba)")
    parser.add_argument("--ablate", metavar="EXPERT[=zero|mean]", help="replace an expert's output (default: by zeros)", **many)
    parser.add_argument("--pin", metavar="TASK:EXPERT=W", help="pin a gate weight; the others fill 1", **many)
    parser.add_argument("--temperature", metavar="[TASK=]X", help="multiply the gate temperature", **many)
    parser.add_argument("--cut", metavar="SOURCE:TARGET", help="cut a transfer edge", **many)
    parser.add_argument("--scale", metavar="SOURCE:TARGET=X", help="multiply a transfer edge's strength", **many)
    parser.add_argument("--hmm", metavar="MODE=default|zero", help="replace an HMM mode's projection", **many)
    parser.add_argument("--latent", metavar="INDEX=X", help="set an SAE latent to a value", **many)
    parser.add_argument(
        "--reconstruct", action="store_true", help="replace the shared representation by its SAE reconstruction"
    )
    parser.add_argument("--dataset", type=folder_in, metavar="D", help="use this dataset (default: the run's own sample)")
    parser.add_argument("--sample", type=COUNT, default=10_000, metavar="N", help="use at most N rows (default 10000)")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the sample and of the bootstrap (default 0)")
    parser.add_argument(
        "--bootstrap", type=COUNT_OR_NONE, default=200, metavar="N", help="bootstrap rounds (default 200; 0: no intervals)"
    )
    add_json(parser)


def intervention_items(args: argparse.Namespace) -> tuple[str, ...]:
    """The switches of `ple whatif` in the text form of `Intervention.parse`."""
    items = [*args.changes, *(f"feature.{f}" for f in args.feature)]
    items += [f"ablate.{a}" if "=" in a else f"ablate.{a}=zero" for a in args.ablate]
    for pin in args.pin:
        cell, eq, weight = pin.partition("=")
        task, colon, expert = cell.partition(":")
        if not (eq and colon):
            raise UserError(f"--pin {pin!r}: expected TASK:EXPERT=WEIGHT, for example churn:perslay=1.0")
        items.append(f"pin_gate.{task}.{expert}={weight}")
    for value in args.temperature:
        items.append(f"gate_temperature.{value}" if "=" in value else f"gate_temperature={value}")
    items += [f"edge.{edge}=0" for edge in args.cut]
    items += [f"edge.{edge}" for edge in args.scale]
    items += [f"hmm.{mode}" for mode in args.hmm]
    items += [f"latent.{latent}" for latent in args.latent]
    items += ["replace_shared=true"] if args.reconstruct else []
    if not items:
        raise UserError("ple whatif: no intervention given; for example --ablate temporal or feature.recency_days=3")
    return tuple(items)


def _run_whatif(args: argparse.Namespace) -> int:
    items = intervention_items(args)
    if args.customer is not None:
        one = whatif_customer(args.run, args.customer, items, args.task, dataset=args.dataset)
        print(dump({"run": str(args.run), **one.to_dict()}) if args.json else one)
        return 0
    if args.task is not None:
        raise UserError("--task belongs to --customer: every task of the sample is shown anyway")
    result = whatif(
        args.run, items, dataset=args.dataset, sample=args.sample, seed=args.seed, bootstrap=args.bootstrap
    )  # fmt: skip
    print(dump({"run": str(args.run), **result.to_dict()}) if args.json else result)
    return 0


COMMANDS: tuple[Command, ...] = (
    Command("diagnose", "measure a run and say what is wrong with it", _configure_diagnose, _run_diagnose),
    Command("whatif", "change the model's inner workings and compare before and after", _configure_whatif, _run_whatif),
)
