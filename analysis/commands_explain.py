"""`ple explain`: why this, for this customer or for a list of them, and what carries a recommendation.

Exit 1 when an explanation failed a check of itself and is withheld, or when a customer of the list has no report; where the
reasons are withheld because the task has no skill, the answer is whole, and the exit code 0."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.explain.customer import explain
from ple_model.arguments import COUNT, COUNT_OR_NONE, day, file_in, file_out, folder_in, folder_out, text
from ple_model.commands import Command, add_engine, add_json, listener
from ple_model.engine import engine_if_asked
from ple_model.errors import UserError
from ple_model.json_text import dump
from ple_model.safe_paths import write_bytes
from ple_model.ticker import counter, share_of

if TYPE_CHECKING:
    from analysis.results.explanation import Explanation
    from analysis.review.issue import Desk

BESIDE = Path()
"""`--pdf` without a file: beside the HTML of a batch."""


def _pdf(given: str) -> Path:
    return file_out(given) if given else BESIDE


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--customer", type=text, metavar="ID", help="customer id")
    who.add_argument(
        "--customers", type=file_in, metavar="FILE",
        help="a report for each id in FILE: text with one a line, CSV or Parquet with a column customer_id",
    )  # fmt: skip
    who.add_argument(
        "--recommended", type=text, nargs="?", const="", metavar="CLASS",
        help="count the reasons of customers, drawn at random, whose first choice is CLASS, by name or number (default: the "
        "class of most customers; of a task with a number, customers above its mean)",
    )  # fmt: skip
    parser.add_argument("--drawn", type=COUNT, metavar="N", help="with --recommended: so many customers at most (default: 60)")
    parser.add_argument("--task", metavar="TASK", help="task to explain (default: nba, or the first task that had labels)")
    parser.add_argument("--cutoff", type=day, metavar="DATE", help="cut-off date of the row (default: the customer's latest)")
    parser.add_argument(
        "--class", dest="target", type=COUNT_OR_NONE, metavar="N", help="class to explain (default: the likeliest)"
    )
    parser.add_argument(
        "--dataset", type=folder_in, metavar="D", help="look here for the customer (default: sample, then data)"
    )
    parser.add_argument("--language", choices=("en", "ko"), default="en", help="language of the report (default: en)")
    parser.add_argument("--html", type=file_out, metavar="FILE", help="write the report for review, which opens offline")
    parser.add_argument(
        "--pdf", type=_pdf, nargs="?", const=BESIDE, metavar="FILE",
        help="write the report as PDF too; with --customers without FILE, beside the HTML",
    )  # fmt: skip
    parser.add_argument("--details", type=file_out, metavar="FILE", help="write every part in numbers, for an analyst")
    parser.add_argument(
        "--out", type=folder_out, metavar="DIR",
        help="with --customers: folder for the reports; the same command goes on where it was stopped",
    )  # fmt: skip
    parser.add_argument("--show-ids", action="store_true", help="ids instead of masks in what is written or printed")
    parser.add_argument(
        "--mask-key", type=file_in, metavar="FILE", help="key of the masks (default: one of your own, made once)"
    )
    parser.add_argument(
        "--audit", type=folder_out, metavar="DIR", help="folder of the audit record (default: RUN/audit); see `ple audit`"
    )
    parser.add_argument(
        "--config", type=file_in, metavar="FILE",
        help="YAML with `explanations: {barred: [...], sensitive: [...]}`: what may not be a reason, and what is marked in one "
        "(a list that is not named: the run's own)",
    )  # fmt: skip
    parser.add_argument(
        "--anyway", action="store_true", help="show the reasons, under a warning, also for a task that is not predicted better "
        "than by its average",
    )  # fmt: skip
    add_engine(parser, "customers of a list", workers=None)
    add_json(parser)
    parser.epilog = (
        "exit code: 1 where the explanation failed a check of itself, or a customer of a list has no report. In --json "
        '"withheld" says whether reasons are held back, "withheld_because" why ("skill": the task is not predicted better than '
        'by its average; "check"), and "skill" how well the task is predicted (1 - loss / loss of a constant, with its '
        "interval). Every report that is written is noted in the audit record"
    )


def _run(args: argparse.Namespace) -> int:
    if args.recommended is not None:
        return _carried(args)
    if args.drawn is not None:
        raise UserError("--drawn goes with --recommended: of whom customers are drawn")
    return _one(args) if args.customer is not None else _many(args)


def _lists(args: argparse.Namespace) -> tuple[list[str] | None, list[str] | None]:
    """(what may not be a reason, what is marked in one) of this call; None, also for a list that the file does not name: what
    the run's configuration says."""
    if args.config is None:
        return None, None
    from ple_model.config import given_explanations

    given = given_explanations(args.config)
    if "held" in given:
        raise UserError(f"{args.config}: explanations.held is read from the run's own configuration, not from this file")
    return given.get("barred"), given.get("sensitive")


def _desk(args: argparse.Namespace) -> Desk:
    from analysis.review.issue import Desk
    from ple_model.run import load_run

    nothing = args.customer is not None and args.html is None and args.pdf is None and args.details is None
    return Desk.of(
        load_run(args.run),
        args.language,
        show_ids=args.show_ids,
        key_file=args.mask_key,
        record=args.audit,
        recorded=not nothing,
    )


def _one(args: argparse.Namespace) -> int:
    from analysis.review.issue import masked

    if args.out is not None or args.pdf == BESIDE:
        raise UserError("--out and --pdf without a file go with --customers; for one customer: --html FILE, --pdf FILE")
    if args.engine is not None or args.workers is not None or args.address is not None:
        raise UserError("--engine, --workers and --address go with --customers: one customer is explained here")
    wanted = {kind: path for kind in ("html", "pdf") if (path := getattr(args, kind)) is not None}
    desk = _desk(args)
    barred, sensitive = _lists(args)
    found = explain(
        args.run, args.customer, args.task, args.cutoff, args.dataset, target=args.target, anyway=args.anyway, barred=barred,
        sensitive=sensitive,
    )  # fmt: skip
    _write(args, desk, found, wanted)
    if desk.mask is not None:  # the caller named this customer, and none of the others
        found = replace(masked(found, desk.mask), customer_id=found.customer_id)
    if args.json:
        print(dump(found.to_dict()))
    else:
        print(found.text(args.language))
    return 1 if found.faithfulness.withheld else 0


def _write(args: argparse.Namespace, desk: Desk, found: Explanation, wanted: dict[str, Path]) -> None:
    from analysis.explain.report import to_html
    from analysis.report import write_report
    from analysis.review.issue import masked

    if wanted:
        issued = desk.issue(found, [kind for kind in ("html", "pdf") if kind in wanted])
        for kind, path in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, issued.files[kind])
    if args.details is not None:
        page = to_html(masked(found, desk.mask), args.language)
        desk.note("details", found, page.encode())
        write_report(args.details, page)


def _carried(args: argparse.Namespace) -> int:
    """What the reasons of customers who are recommended the same have in common; nothing is written but the measurement."""
    from analysis.diagnose import diagnose
    from analysis.explain.carried import DRAWN, CarriedOrder, carried, class_of
    from analysis.explain.lookup import chosen_task
    from analysis.review.issue import Desk
    from ple_model.run import load_run

    others = ("out", "html", "pdf", "details", "target", "cutoff", "audit", "engine", "workers", "address")
    given = [f"--{'class' if name == 'target' else name}" for name in others if getattr(args, name) is not None]
    given += ["--anyway"] if args.anyway else []
    if given:
        raise UserError(f"{', '.join(given)}: not with --recommended, which prints counts; with --customer or --customers")
    run = load_run(args.run)
    task = chosen_task(run, args.task)
    store = diagnose(run, args.dataset, progress=share_of("measured", quiet=args.json)).store
    target = class_of(run, store, task, args.recommended)
    barred, sensitive = _lists(args)
    order = CarriedOrder(task, target, drawn=args.drawn or DRAWN, barred=barred, sensitive=sensitive)
    tick = counter("customers", quiet=args.json, heard=listener(args))
    found = carried(run, store, order, args.dataset, tick)
    desk = Desk.of(run, args.language, show_ids=args.show_ids, key_file=args.mask_key, recorded=False)
    found = found.named(desk.customer)
    print(dump(found.to_dict()) if args.json else found.text(args.language))
    return 0


def _many(args: argparse.Namespace) -> int:
    from analysis.explain.lookup import chosen_task
    from analysis.review.batch import make_batch
    from analysis.review.id_file import read_ids
    from analysis.review.reports import BatchOrder
    from ple_model.run import load_run

    if args.out is None:
        raise UserError("--customers: --out DIR says where the reports go")
    if args.html is not None or args.details is not None or args.target is not None or args.pdf not in (None, BESIDE):
        raise UserError(
            "--html, --details, --class and a file after --pdf go with --customer; with --customers --out holds all"
        )
    run = load_run(args.run)
    order = BatchOrder(
        chosen_task(run, args.task), ("html",) if args.pdf is None else ("html", "pdf"), args.cutoff, args.anyway, *_lists(args)
    )
    tick = counter("customers", quiet=args.json, heard=listener(args))
    with engine_if_asked(args.engine, args.workers, args.address) as engine:
        summary = make_batch(run, read_ids(args.customers), args.out, _desk(args), order, args.dataset, tick, engine)
    print(dump(summary.to_dict()) if args.json else summary)
    return 1 if summary.problem else 0


COMMANDS: tuple[Command, ...] = (
    Command("explain", "say why a customer gets a prediction, and how far to trust the answer", _configure, _run),
)
