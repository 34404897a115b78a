"""`ple faults`: plant known faults in healthy runs, see whether the checks name them. Exit 1 when a clear one was missed, a
harmful one led to no usable cause, or (`--healthy`) a healthy run raised an alarm."""

from __future__ import annotations

import argparse
import sys

from analysis.faults.seeds import CUSTOMERS, FRESH, HEALTHY_CUSTOMERS, LOOKED_AT, ONCE, require_allowed
from ple_model.arguments import MAX_SEED, file_out, folder_out, whole
from ple_model.commands import Command, add_json
from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.json_text import dump


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", metavar="N,N", help="seeds of the synthetic banks and trainings (default 11,12,13)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a fault, a kind (join, labels, units, ...), or a check whose faults are meant; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="a fault of every area on one seed: minutes instead of an hour")
    parser.add_argument(
        "--customers", type=whole(500, 100_000), metavar="N",
        help=f"of each synthetic bank (default {CUSTOMERS}, with --healthy {HEALTHY_CUSTOMERS}); with fewer, checks that need "
        "many rows say unknown",
    )  # fmt: skip
    parser.add_argument("--strong", action="store_true", help="the first, strongest level of each fault alone")
    parser.add_argument(
        "--healthy", type=whole(1, len(FRESH)), metavar="N",
        help="no faults: how many alarms do N healthy runs of fresh seeds raise?",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help=f"the seed that is kept to be run once, at the end: {ONCE}")
    parser.add_argument(
        "--no-fixes", action="store_true", help="do not train again with the suggested fixes (tried on the first seed)"
    )
    parser.add_argument("--list", action="store_true", help="list the faults, what they must raise, and stop")
    parser.add_argument("--workdir", type=folder_out, metavar="DIR", help="keep banks and healthy runs here (default: a cache)")
    parser.add_argument("--out", type=file_out, metavar="FILE", help="write the JSON here too, after each case")
    parser.add_argument(
        "--workers",
        type=whole(1, 64),
        default=1,
        metavar="N",
        help="cases side by side, in processes of one thread each",
    )
    add_json(parser)


def seeds_of(text: str | None, default: tuple[int, ...]) -> tuple[int, ...]:
    """`11,12,13` -> (11, 12, 13); `UserError` names what is not a number."""
    if text is None:
        return default
    found = []
    for word in text.split(","):
        if not (word.strip().isascii() and word.strip().isdigit() and len(word.strip()) < 11 and int(word) <= MAX_SEED):
            raise UserError(f"--seeds {text}: {word.strip()!r} is not a seed, expected for example 11,12,13")
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def _run(args: argparse.Namespace) -> int:
    from analysis.faults.base import cache_dir
    from analysis.faults.bench import QUICK, Request, run_benchmark
    from analysis.faults.score import BenchmarkScore

    only = tuple(args.only) or (QUICK if args.quick else ())
    customers = args.customers or (CUSTOMERS if args.healthy is None else HEALTHY_CUSTOMERS)
    request = Request(
        seeds=_seeds(args), only=only, fixes=not (args.no_fixes or args.quick), healthy=args.healthy is not None,
        strong=args.strong, customers=customers, workers=args.workers,
    )  # fmt: skip
    request.chosen()
    if args.list:
        print(_listing(request, as_json=args.json))
        return 0

    def keep(score: BenchmarkScore) -> None:
        if args.out is not None:
            write_json(args.out, score.to_dict())

    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise UserError(f"--out {args.out}: the folder {args.out.absolute().parent} does not exist")
    score = run_benchmark(request, args.workdir or cache_dir(), _say, keep)
    keep(score)
    print(dump(score.to_dict()) if args.json else score)
    alarms = request.healthy and any(c.false_alarms for c in score.cases)
    return 1 if score.misses or score.untold or alarms else 0


def _seeds(args: argparse.Namespace) -> tuple[int, ...]:
    """The seeds that are meant; `UserError` where two ways of naming them are used at once."""
    if args.healthy is not None and (args.only or args.quick or args.once or args.list):
        raise UserError("--healthy runs no fault: leave out --only, --quick, --once and --list")
    if args.once and args.seeds is not None and seeds_of(args.seeds, ()) != (ONCE,):
        raise UserError(f"--seeds {args.seeds} and --once: --once stands for seed {ONCE} alone")
    default: tuple[int, ...] = LOOKED_AT[:1] if args.quick else LOOKED_AT
    if args.healthy is not None:
        default = FRESH[: args.healthy]
    elif args.once:
        default = (ONCE,)
    seeds = seeds_of(args.seeds, default)
    require_allowed(seeds, once=args.once)
    return seeds


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _listing(request: object, *, as_json: bool) -> str:
    from analysis.faults.bench import Request
    from analysis.faults.fault import unplantable
    from analysis.faults.oracle import oracle_of

    assert isinstance(request, Request)
    rows = [
        {
            "fault": f.name, "kind": f.family, "planted_in": f.kind, "summary": f.summary,
            "levels": [v.name for v in f.levels],
            "required": [f"{e.id} {e.subject}" for e in f.required],
            "usable": [f"{a.id} {a.subject}" for a in oracle_of(f).usable],
        }
        for f in request.chosen()
    ]  # fmt: skip
    if as_json:
        return dump({"faults": rows, "unplantable": unplantable()})
    lines = [
        f"{r['fault']:<40} {r['kind']:<12} {r['planted_in']:<8} {', '.join(r['required'] or r['usable'])}\n    {r['summary']}"
        for r in rows
    ]
    return "\n".join([*lines, *(f"not plantable: {i}: {why}" for i, why in unplantable().items())])


COMMANDS: tuple[Command, ...] = (
    Command("faults", "plant known faults in healthy runs and see whether the checks name them", _configure, _run),
)
