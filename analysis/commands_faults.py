"""`ple faults`: plant known faults in healthy runs, see whether the checks name them. Exit 1 when a clear one was missed."""

from __future__ import annotations

import argparse
import sys

from ple_model.arguments import MAX_SEED, file_out, folder_out
from ple_model.commands import Command, add_json
from ple_model.errors import UserError


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", metavar="N,N", help="seeds of the synthetic banks and trainings (default 11,12,13)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a fault, or a check whose faults are meant; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="a fault of every area on one seed: minutes instead of an hour")
    parser.add_argument(
        "--no-fixes", action="store_true", help="do not train again with the suggested fixes (tried on the first seed)"
    )
    parser.add_argument("--list", action="store_true", help="list the faults, what they must raise, and stop")
    parser.add_argument("--workdir", type=folder_out, metavar="DIR", help="keep banks and healthy runs here (default: a cache)")
    parser.add_argument("--out", type=file_out, metavar="FILE", help="write the JSON here too, after each case")
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
    from analysis.faults.bench import QUICK, SEEDS, Request, run_benchmark
    from analysis.faults.score import BenchmarkScore
    from ple_model.files import write_json
    from ple_model.run import dump

    only = tuple(args.only) or (QUICK if args.quick else ())
    seeds = seeds_of(args.seeds, SEEDS[:1] if args.quick else SEEDS)
    request = Request(seeds=seeds, only=only, fixes=not (args.no_fixes or args.quick))
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
    return 1 if score.misses else 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _listing(request: object, *, as_json: bool) -> str:
    from analysis.faults.bench import Request
    from analysis.faults.fault import unplantable
    from ple_model.run import dump

    assert isinstance(request, Request)
    rows = [
        {
            "fault": f.name, "kind": f.kind, "summary": f.summary, "levels": [v.name for v in f.levels],
            "required": [f"{e.id} {e.subject}" for e in f.required],
        }
        for f in request.chosen()
    ]  # fmt: skip
    if as_json:
        return dump({"faults": rows, "unplantable": unplantable()})
    lines = [f"{r['fault']:<24} {r['kind']:<9} {', '.join(r['required'])}\n    {r['summary']}" for r in rows]
    return "\n".join([*lines, *(f"not plantable: {i}: {why}" for i, why in unplantable().items())])


COMMANDS: tuple[Command, ...] = (
    Command("faults", "plant known faults in healthy runs and see whether the checks name them", _configure, _run),
)
