"""`ple sae`: what the latents of a run's sparse autoencoder say, of a bounded sample of customers."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from analysis.i18n import phrase
from ple_model.arguments import COUNT, SEED, folder_in, folder_or_url
from ple_model.commands import Command, add_engine, add_json
from ple_model.engine import engine_if_asked
from ple_model.json_text import dump
from ple_model.ticker import share_of

if TYPE_CHECKING:
    from analysis.results.latents import Latents

STATES = ("fine", "rare", "dense", "dead")
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
    parser.add_argument(
        "--dataset", type=folder_or_url, metavar="D", help="measure on this dataset (default: the run's sample)"
    )
    parser.add_argument("--sample", type=COUNT, default=4096, metavar="N", help="use at most N rows (default 4096)")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the sample (default 0)")
    parser.add_argument("--force", action="store_true", help="measure again even if a result is stored")
    parser.add_argument("--language", choices=("en", "ko"), default="en", help="language of the result (default: en)")
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
        print(phrase(f"sae.why_{found.why}", args.language), file=sys.stderr, flush=True)
    told = {"run": str(args.run), **summary(found, args.language)}
    print(dump(told) if args.json else _text(told, args.language))
    return 0


def summary(found: Latents, language: str = "en") -> dict[str, Any]:
    """What is known of all latents, and of each that is active at all, the densest first."""
    table = found.table(hide_dead=True, language=language)
    states = [found.state(j) for j in range(found.n_latents)]
    return {
        "rows": found.n, "latents": found.n_latents, "states": {s: states.count(s) for s in STATES},
        "l0": found.l0, "fve": found.fve, "lost": dict(zip(found.tasks, found.lost.tolist(), strict=True)),
        "each": [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)],
    }  # fmt: skip


def _text(told: dict[str, Any], language: str) -> str:
    """Experts and tasks by the names that other commands take, in every language."""
    states = ", ".join(phrase(f"sae.state_{state}", language, n=n) for state, n in told["states"].items())
    lines = [
        phrase("sae.rows", language, latents=told["latents"], rows=told["rows"], states=states),
        phrase("sae.share", language, l0=told["l0"], fve=told["fve"]),
    ]
    for each in told["each"][:SHOWN]:
        values = {"latent": each["latent"], "density": each["density"], "proposal": each["proposal"]}
        lines.append(f"  {phrase('sae.latent', language, **values, expert=each['top_expert'], task=each['top_task'])}")
    if len(told["each"]) > SHOWN:
        lines.append(f"  {phrase('sae.more', language, n=len(told['each']) - SHOWN)}")
    return "\n".join(lines)


COMMANDS: tuple[Command, ...] = (
    Command("sae", "what the latents of a run's sparse autoencoder say, and what they move", _configure, _run),
)
