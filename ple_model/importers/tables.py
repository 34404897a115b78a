"""Files in the shape of the event tables, or mapped to it."""

from __future__ import annotations

import argparse

from ple_model.arguments import file_in, folder_out, path
from ple_model.commands import Arguments, listener
from ple_model.importers.importer import Importer, imported
from ple_model.ticker import counter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=path,
        metavar="SOURCE",
        help="folder of <table>.parquet or <table>.csv files; or the transactions: a file, a mapped folder, a pattern",
    )
    parser.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the event tables")
    parser.add_argument("--map", type=file_in, metavar="FILE", help="YAML that says which file and column is which")


def _run(arguments: Arguments) -> int:
    from ple_model.data.importers.source_map import load_map
    from ple_model.data.importers.tables import import_tables

    mapping = load_map(arguments.map) if arguments.map is not None else None
    return imported(
        import_tables(arguments.folder, arguments.out, mapping, counter("tables", heard=listener(arguments))), arguments
    )


IMPORTER = Importer("tables", 3, "Parquet or CSV files in the shape of the event tables, or mapped to it", _configure, _run)
