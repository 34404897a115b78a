"""`ple shard`: events in buckets of customers; `commands_sources` lists it."""

from __future__ import annotations

import argparse

from ple_model.arguments import COUNT, folder_or_url, folder_out_or_url
from ple_model.commands import Arguments, Command, add_json, listener
from ple_model.importers.importer import report_events
from ple_model.ticker import counter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("events", type=folder_or_url, metavar="EVENTS", help="folder of event tables, or its URL")
    parser.add_argument(
        "out", type=folder_out_or_url, metavar="OUT", help="new folder for the same events in buckets, or its URL"
    )
    parser.add_argument("--buckets", type=COUNT, metavar="N", help="how many buckets (default: one for every 20,000 customers)")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    from ple_model.data.events.buckets import write_buckets

    manifest = write_buckets(arguments.events, arguments.out, arguments.buckets, counter("tables", heard=listener(arguments)))
    report_events(manifest, arguments.out, arguments.json)
    return 0


SHARD = Command("shard", "events in buckets of customers: build and predict then work a bucket at a time", _configure, _run)
