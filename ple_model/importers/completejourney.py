"""The real grocery data: 84.51 Complete Journey 2.0."""

from __future__ import annotations

import argparse

from ple_model.arguments import folder_in, folder_out
from ple_model.commands import Arguments
from ple_model.importers.importer import Importer, imported
from ple_model.ticker import counter


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder_in, metavar="DIR", help="folder that holds transactions_sample.parquet")
    parser.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the event tables")
    parser.add_argument(
        "--proxy-labels", action="store_true", help="also derive labels from the 5%% sample where no exact source has them"
    )


def _run(arguments: Arguments) -> int:
    from ple_model.data.importers.completejourney import import_completejourney

    found = import_completejourney(
        arguments.folder, arguments.out, proxy_labels=arguments.proxy_labels, progress=counter("tables")
    )
    return imported(found, arguments)


IMPORTER = Importer(
    "completejourney", 1, "the real grocery data (84.51 Complete Journey), a folder of Parquet files", _configure, _run
)
