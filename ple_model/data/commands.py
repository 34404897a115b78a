"""`ple build`: event tables -> dataset; `ple labels`: how many labels it would have."""

from __future__ import annotations

import argparse
import json
import sys
import time

from ple_model.arguments import HORIZON, SEED, day, folder_or_url, folder_out_or_url
from ple_model.commands import Command, add_engine, add_json, listener, unused_engine
from ple_model.ticker import bar


def _configure_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("events", type=folder_or_url, metavar="EVENTS", help="folder of event tables, or its URL")
    parser.add_argument("dataset", type=folder_out_or_url, metavar="DATASET", help="folder to write the dataset to, or its URL")
    parser.add_argument(
        "--cutoff",
        action="append",
        default=[],
        type=day,
        metavar="DATE",
        help="cut-off date, may be repeated (default: those of the source)",
    )
    parser.add_argument(
        "--like", type=folder_or_url, metavar="RUN",
        help="fit nothing: apply what a run stored, for its drift on newer events; all rows become the test split",
    )  # fmt: skip
    parser.add_argument("--horizon-days", type=HORIZON, default=84, help="days after a cut-off that labels see (default: 84)")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the split and the fits (default: 0)")
    add_engine(parser)
    add_json(parser)


def _run_build(args: argparse.Namespace) -> int:
    from ple_model.data.build.build import BuildSettings, build, transform
    from ple_model.data.build.spine import SplitSettings
    from ple_model.data.events.buckets import buckets_of
    from ple_model.data.labels.labels import LabelSettings
    from ple_model.engine import open_engine
    from ple_model.run import load_run

    settings = BuildSettings(
        SplitSettings(seed=args.seed), LabelSettings(horizon_days=args.horizon_days), seed=args.seed, workers=args.workers
    )
    start = time.monotonic()
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        print(sentence, file=sys.stderr, flush=True)  # at once: a long build begins with its reason

    if args.engine is not None and buckets_of(args.events) == 1:
        tell(unused_engine(args.engine))
    shown, cutoffs = bar(heard=listener(args)), args.cutoff or None
    with open_engine(args.engine, args.workers, args.address) as engine:
        if args.like is not None:
            like = load_run(args.like).preprocess
            dataset = transform(args.events, like, args.dataset, cutoffs, shown, settings, tell, engine)
        else:
            dataset = build(args.events, args.dataset, cutoffs, shown, settings, tell, engine)
    m = dataset.manifest
    report = {
        "dataset": str(args.dataset), "rows": m.rows, "splits": m.splits, "cutoffs": list(m.cutoffs),
        "fingerprint": m.fingerprint,
        "seconds": round(time.monotonic() - start, 1), "labels": m.label_counts, "absent_sources": list(m.absent_sources),
        "notes": list(m.notes), "reuse": told,
    }  # fmt: skip
    if args.json:
        print(json.dumps(report, ensure_ascii=False))
        return 0
    print(f"{m.name}: {m.rows} rows at {len(m.cutoffs)} cut-offs in {report['seconds']} s -> {args.dataset}")
    print("  splits: " + ", ".join(f"{k} {v}" for k, v in m.splits.items()))
    unlabelled = [t for t, counts in m.label_counts.items() if not sum(counts.values())]
    if unlabelled:
        print("  no labels for: " + ", ".join(unlabelled))
    for note in m.notes:
        print(f"  note: {note}")
    return 0


def _configure_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("events", type=folder_or_url, metavar="EVENTS", help="folder of event tables, or its URL")
    parser.add_argument(
        "--cutoff", action="append", default=[], type=day, metavar="DATE",
        help="cut-off date, may be repeated (default: those of the source, else what its span allows)",
    )  # fmt: skip
    parser.add_argument("--horizon-days", type=HORIZON, default=84, help="days after a cut-off that labels see (default: 84)")
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the split (default: 0)")
    add_json(parser)


def _run_labels(args: argparse.Namespace) -> int:
    from ple_model.data.build.count import count_labels

    found = count_labels(args.events, args.cutoff or None, args.horizon_days, args.seed)
    print(json.dumps(found.to_json(), ensure_ascii=False) if args.json else found)
    return 0


COMMANDS: tuple[Command, ...] = (
    Command("build", "event tables -> dataset: features, derived inputs, labels", _configure_build, _run_build),
    Command("labels", "how many labels a dataset would have, by task and split", _configure_labels, _run_labels),
)
