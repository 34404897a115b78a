"""`ple explain`: why this, for this customer. Exit 1 when the explanation failed a check of itself and is withheld; where the
reasons are withheld because the task has no skill, the answer is whole, and the exit code 0."""

from __future__ import annotations

import argparse

from analysis.explain.customer import explain
from analysis.explain.report import to_html
from analysis.report import write_report
from ple_model.arguments import COUNT_OR_NONE, day, file_out, folder_in
from ple_model.commands import Command, add_json
from ple_model.json_text import dump


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("--customer", required=True, metavar="ID", help="customer id")
    parser.add_argument("--task", metavar="TASK", help="task to explain (default: nba, or the first task that had labels)")
    parser.add_argument("--cutoff", type=day, metavar="DATE", help="cut-off date of the row (default: the customer's latest)")
    parser.add_argument(
        "--class", dest="target", type=COUNT_OR_NONE, metavar="N", help="class to explain (default: the likeliest)"
    )
    parser.add_argument(
        "--dataset", type=folder_in, metavar="D", help="look here for the customer (default: sample, then data)"
    )
    parser.add_argument("--language", choices=("en", "ko"), default="en", help="language of the report (default: en)")
    parser.add_argument("--html", type=file_out, metavar="FILE", help="write a one-page report that opens offline")
    parser.add_argument(
        "--anyway", action="store_true", help="show the reasons, under a warning, also for a task that is not predicted better "
        "than by its average",
    )  # fmt: skip
    add_json(parser)
    parser.epilog = (
        'exit code: 1 where the explanation failed a check of itself. In --json "withheld" says whether reasons are held back, '
        '"withheld_because" why ("skill": the task is not predicted better than by its average; "check"), and "skill" how well '
        "the task is predicted (1 - loss / loss of a constant, with its interval)"
    )


def _run(args: argparse.Namespace) -> int:
    found = explain(args.run, args.customer, args.task, args.cutoff, args.dataset, target=args.target, anyway=args.anyway)
    if args.html is not None:
        write_report(args.html, to_html(found, args.language))
    if args.json:
        print(dump(found.to_dict()))
    else:
        print(found.text(args.language))
    return 1 if found.faithfulness.withheld else 0


COMMANDS: tuple[Command, ...] = (
    Command("explain", "say why a customer gets a prediction, and how far to trust the answer", _configure, _run),
)
