"""`ple predict`; `commands_model` lists it."""

from __future__ import annotations

import argparse
import sys

from ple_model.arguments import COUNT, any_or_url, day, device, file_out_or_url, folder_in, folder_or_url, share
from ple_model.commands import Arguments, Command, add_engine, add_json, unused_engine
from ple_model.json_text import dump
from ple_model.ticker import bar


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_or_url, metavar="RUN", help="run folder, or its URL; its dataset is not needed")
    parser.add_argument(
        "events",
        type=any_or_url,
        metavar="EVENTS",
        help="event tables of the customers to score (a folder, or its URL); of a run on a table of one's own columns,"
        " a file of such rows",
    )
    parser.add_argument(
        "out", type=file_out_or_url, metavar="OUT.parquet", help="file to write, or its URL: one row a customer and cut-off"
    )
    parser.add_argument(
        "--cutoff", action="append", default=[], type=day, metavar="DATE",
        help="score as of this date, may be repeated (default: the cut-offs of the source)",
    )  # fmt: skip
    parser.add_argument("--top", type=COUNT, default=3, metavar="N", help="offers a customer (default: 3)")
    parser.add_argument(
        "--fallback-share", type=share, default=0.05, metavar="SHARE",
        help="mark what is more uncertain than all but this share of validation customers (default: 0.05)",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", type=folder_in, metavar="RUN_ENCODER",
        help="an encoder run (ple pretrain): adds how hard the last 14 days are to explain, as a percentile",
    )  # fmt: skip
    parser.add_argument(
        "--anomaly", action="store_true",
        help="the same by the encoder that the run carries (ple train --encoder, its weights frozen)",
    )  # fmt: skip
    parser.add_argument("--device", type=device, default="cpu", help="auto, cpu, cuda or cuda:N (default: cpu)")
    add_engine(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on the terminal")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    import torch

    from ple_model.data.events.buckets import buckets_of
    from ple_model.engine import open_engine
    from ple_model.predict import predict
    from ple_model.run import load_run

    torch.set_flush_denormal(True)
    if arguments.engine is not None and (arguments.events.is_file() or buckets_of(arguments.events) == 1):
        print(unused_engine(arguments.engine), file=sys.stderr)
    with open_engine(arguments.engine, arguments.workers, arguments.address) as engine:
        found = predict(
            load_run(arguments.run), arguments.events, arguments.out, arguments.cutoff or None, device=arguments.device,
            top=arguments.top, fallback_share=arguments.fallback_share, workers=arguments.workers,
            progress=bar(quiet=arguments.quiet), encoder=arguments.encoder,
            anomaly=arguments.anomaly, engine=engine,
        )  # fmt: skip
    print(dump(found.to_dict()) if arguments.json else found)
    return 0


PREDICT = Command(
    "predict", "score customers from raw events: calibrated predictions, uncertainty, fallback marks, offers", _configure, _run
)
