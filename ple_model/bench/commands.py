"""`ple bench`: measure the fast forms against the plain ones. Exit 1 if the two forms of a benchmark disagree."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ple_model.arguments import COUNT, COUNT_OR_NONE, PROCESSES, SEED, folder_in, folder_out, text, whole
from ple_model.commands import Command, add_json
from ple_model.errors import UserError
from ple_model.json_text import dump

if TYPE_CHECKING:
    from ple_model.bench.measure import Row

THREADS = 2
LEFT = (0, 5, 6, 8)
"""Columns of the table that are flush left: measure, target, met, source."""


def _counts(given: str) -> tuple[int, ...]:
    """How many of something, or several such numbers, from the least on."""
    return tuple(sorted({COUNT(one) for one in text(given).split(",")}))


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="one benchmark (see --list); default: all but the proofs")
    parser.add_argument("--list", action="store_true", help="say which benchmarks there are, and which targets have none yet")
    parser.add_argument("--quick", action="store_true", help="small sizes: a check in seconds, not a measurement")
    parser.add_argument("--rounds", type=whole(5), default=5, metavar="N", help="interleaved rounds (default and least 5)")
    parser.add_argument("--threads", type=PROCESSES, default=THREADS, metavar="N", help=f"threads of torch (default {THREADS})")
    proofs = parser.add_argument_group("proofs (forecast, labels, anomaly, neighbours, sharing, scale)")
    proofs.add_argument(
        "--only", type=text, default="", metavar="TEXT", help="measures that begin so, as 'ETTh1 96' or 'churn 5%%'"
    )
    proofs.add_argument(
        "--seeds", type=COUNT, default=3, metavar="N", help="trainings or draws, each from its own seed (default: 3)"
    )
    proofs.add_argument(
        "--bank", type=folder_out, metavar="DIR",
        help="keep the synthetic bank and its encoder here, and use what is there (default: made for this run)",
    )  # fmt: skip
    proofs.add_argument(
        "--customers",
        type=_counts,
        default=(),
        metavar="N",
        help="customers of the bank, or asked about (default: 4000; reasons: 500; scale: 10000,100000,300000)",
    )
    proofs.add_argument(
        "--seed", type=SEED, default=0, metavar="S", help="seed of the bank, and the first one of a proof (default: 0)"
    )
    proofs.add_argument(
        "--workers", type=PROCESSES, default=1, metavar="N", help="of scale: processes of shards at a time (default: 1)"
    )
    asked = parser.add_argument_group("of a run (reasons, single, page)")
    asked.add_argument(
        "--run",
        type=folder_in,
        metavar="RUN",
        dest="of_run",
        help="reasons: a run trained on a synthetic bank; single: a run; page: a diagnosed run",
    )
    asked.add_argument("--events", type=folder_in, metavar="DIR", help="what `ple synth` made of it, with its truth table")
    asked.add_argument("--data", type=folder_in, metavar="DATASET", help="of single: the run's dataset, if it has moved")
    asked.add_argument(
        "--method", action="append", default=[], type=text, metavar="NAME",
        help="only this, beside what pages show; may be repeated",
    )  # fmt: skip
    asked.add_argument("--task", action="append", default=[], type=text, metavar="TASK", help="only this; may be repeated")
    asked.add_argument(
        "--tested", type=COUNT_OR_NONE, default=0, metavar="N",
        help="customers a task whom faithfulness is measured on, by every method (default: 0, no one)",
    )  # fmt: skip
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(as_json=args.json)
    import torch

    from ple_model.bench.measure import Disagreement, Settings
    from ple_model.bench.registry import chosen

    names = chosen(args.name)
    if len(args.customers) > 1 and [b.name for b in names] != ["scale"]:
        raise UserError("--customers: several numbers are read by `ple bench scale` alone")
    _require_read(args, [b.name for b in names])
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    torch.set_num_threads(args.threads)
    settings = Settings(
        quick=args.quick, rounds=args.rounds, seed=args.seed, seeds=args.seeds, only=args.only, bank=args.bank,
        customers=args.customers[0] if len(args.customers) == 1 else None, sizes=args.customers, workers=args.workers,
        run=args.of_run, events=args.events, data=args.data, methods=tuple(args.method), tasks=tuple(args.task),
        tested=args.tested,
    )  # fmt: skip
    rows: list[Row] = []
    failed: dict[str, str] = {}
    try:
        for benchmark in names:
            if sys.stderr.isatty():
                print(f"{benchmark.name} ...", file=sys.stderr, flush=True)
            try:
                rows += benchmark.run(settings)
            except Disagreement as e:
                failed[benchmark.name] = str(e)
    finally:
        torch.set_num_threads(before)
    if args.json:
        _print_json(rows, failed, args)
    else:
        print(table(rows))
        if args.quick:
            print("quick sizes: the ratios say little about speed")
    for message in failed.values():
        print(message, file=sys.stderr)
    return 1 if failed else 0


def _require_read(args: argparse.Namespace, names: Sequence[str]) -> None:
    """`UserError` for an option that none of the benchmarks named reads."""
    given = {
        "--run": (args.of_run, ("reasons", "single", "page")), "--events": (args.events, ("reasons",)),
        "--data": (args.data, ("single",)), "--method": (args.method, ("reasons",)),
        "--task": (args.task, ("reasons", "single")), "--tested": (args.tested, ("reasons",)),
    }  # fmt: skip
    for option, (value, readers) in given.items():
        if value and not set(readers) & set(names):
            told = ", ".join(f"`ple bench {r}`" for r in readers)
            raise UserError(f"{option}: read by {told} alone, not by {', '.join(names)}")


def _print_json(rows: Sequence[Row], failed: dict[str, str], args: argparse.Namespace) -> None:
    import torch

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    machine = {"threads": args.threads, "cores": os.cpu_count(), "load": load, "torch": torch.__version__}
    found = [r.to_dict() for r in rows]
    print(dump({"quick": args.quick, "rounds": args.rounds, "machine": machine, "rows": found, "failed": failed}))


def _list(*, as_json: bool) -> int:
    from ple_model.bench.registry import NOT_YET, benchmarks

    found = {n: b.help for n, b in benchmarks().items()}
    if as_json:
        print(dump({"benchmarks": found, "not_yet": NOT_YET}))
        return 0
    width = max(map(len, [*found, *NOT_YET]))
    print("\n".join(f"{n:<{width}}  {text}" for n, text in found.items()))
    if NOT_YET:
        print("\ntargets without a benchmark yet:")
        print("\n".join(f"{n:<{width}}  {text}" for n, text in NOT_YET.items()))
    return 0


def table(rows: Sequence[Row]) -> str:
    """The rows as text: measure, ours, reference, ratio and its range over the rounds, target, met."""
    cells = [("measure", "ours", "reference", "ratio", "range", "target", "met", "difference", "source, detail")]
    for r in rows:
        ours, reference = ("" if v is None else f"{v:.4g} {r.unit}" for v in (r.ours, r.reference))
        span = "" if r.low is None or r.high is None else f"{r.low:.3g}-{r.high:.3g}"
        met = "" if r.met is None else "yes" if r.met else "no"
        difference = "" if r.difference is None else f"{r.difference:.0e}"
        name, target = f"{r.bench}: {r.measure}", "" if r.target is None else str(r.target)
        said = "; ".join((*([r.source] if r.source else []), *(f"{k} {v:.3g}" for k, v in r.detail.items())))
        cells.append((name, ours, reference, f"{r.value:.3g}", span, target, met, difference, said))
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        padded = [v.ljust(w) if i in LEFT else v.rjust(w) for i, (v, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


COMMANDS: tuple[Command, ...] = (Command("bench", "measure the fast forms against plain ones, side by side", _configure, _run),)
