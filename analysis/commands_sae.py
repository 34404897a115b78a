"""`ple sae`: what the latents of a run's sparse autoencoder say, of a bounded sample of customers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from analysis.fingerprint import SENTENCES
from ple_model.arguments import COUNT, SEED, folder_in
from ple_model.commands import Command, add_engine, add_json
from ple_model.engine import engine_if_asked
from ple_model.json_text import dump
from ple_model.ticker import share_of

if TYPE_CHECKING:
    from analysis.results.latents import Latents

SHOWN = 10
"""Latents that are listed where the whole is not asked for."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "keys of --json: run; rows; latents; states (latents that are fine, rare, dense, dead); l0 (active a row); fve (share"
        " of the variance explained); lost (by task, mean change of the shown prediction where the reconstruction stands in for"
        " the experts); each (of every latent that is not dead, the densest first: latent, state, density, log_density, mean,"
        " max, fve, top_expert, top_task, effect on it in spreads of its prediction, largest lift of a cluster, proposal)"
    )
    parser.add_argument("run", type=folder_in, metavar="RUN", help="run folder")
    parser.add_argument("--dataset", type=folder_in, metavar="D", help="measure on this dataset (default: the run's sample)")
    parser.add_argument("--sample", type=COUNT, default=4096, metavar="N", help="use at most N rows (default 4096)")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the sample (default 0)")
    parser.add_argument("--force", action="store_true", help="measure again even if a result is stored")
    add_engine(parser, "customers", workers=None)
    add_json(parser)


def _run(args: argparse.Namespace) -> int:
    from analysis.latents import latents

    with engine_if_asked(args.engine, args.workers, args.address) as engine:
        found = latents(
            args.run, args.dataset, rows=args.sample, seed=args.seed, progress=share_of(quiet=args.json), force=args.force,
            engine=engine,
        )  # fmt: skip
    if found.why != "first":
        print(SENTENCES[found.why], file=sys.stderr, flush=True)
    told = {"run": str(args.run), **summary(found)}
    print(dump(told) if args.json else _text(told))
    return 0


def summary(found: Latents) -> dict[str, Any]:
    """What is known of all latents, and of each that is active at all, the densest first."""
    table = found.table(hide_dead=True)
    states = [found.state(j) for j in range(found.n_latents)]
    return {
        "rows": found.n, "latents": found.n_latents, "states": {s: states.count(s) for s in ("fine", "rare", "dense", "dead")},
        "l0": found.l0, "fve": found.fve, "lost": dict(zip(found.tasks, found.lost.tolist(), strict=True)),
        "each": [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)],
    }  # fmt: skip


def _text(told: dict[str, Any]) -> str:
    states = ", ".join(f"{n} {state}" for state, n in told["states"].items())
    lines = [
        f"{told['latents']} latents over {told['rows']} rows: {states}",
        f"{told['l0']:.1f} active a row; {told['fve']:.1%} of the variance explained",
    ]
    for each in told["each"][:SHOWN]:
        share = f"{each['density']:.1%}"
        lines.append(
            f"  {each['latent']:>5}  {share:>6} of rows  {each['top_expert']} -> {each['top_task']}: {each['proposal']}"
        )
    if len(told["each"]) > SHOWN:
        lines.append(f"  and {len(told['each']) - SHOWN:,} more: --json has them all")
    return "\n".join(lines)


COMMANDS: tuple[Command, ...] = (
    Command("sae", "what the latents of a run's sparse autoencoder say, and what they move", _configure, _run),
)
