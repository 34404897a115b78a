"""A starter map for files of one's own: every guess shown, nothing imported yet."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from ple_model.arguments import file_out, path
from ple_model.commands import Arguments
from ple_model.data.importers.source_files import folder_of
from ple_model.importers.importer import Importer


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=path,
        metavar="FILE",
        help="CSV, Excel or Parquet file, for example of card transactions, or a folder or pattern of such files",
    )
    parser.add_argument("out", type=file_out, metavar="MAP.yaml", help="map to write, or to add the table to")
    parser.add_argument(
        "--table", default="transactions", metavar="NAME", help="which event table the file is (default: transactions)"
    )
    parser.add_argument("--encoding", metavar="NAME", help="how a text file is written, for example cp1252 (default: found)")


def _run(arguments: Arguments) -> int:
    from ple_model.data.importers.starter_map import write_starter

    starter = write_starter(arguments.file, arguments.out, arguments.table, arguments.encoding)
    if arguments.json:
        plain: dict[str, Any] = {"path": str(starter.path), "cutoffs": list(starter.cutoffs)}
        plain["columns"] = {k: list(v) for k, v in starter.table.columns.items()}
        plain |= {"report": list(starter.lines), "open_questions": list(starter.open_questions)}
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        print(starter)
        print(f"Every value is a guess: read {starter.path}, correct it, then:")
        source = arguments.file if arguments.table == "transactions" else folder_of(arguments.file)
        print(f"  ple import tables {shlex.quote(str(source))} EVENTS --map {shlex.quote(str(starter.path))}")
    return 1 if starter.open_questions else 0


IMPORTER = Importer("map", 2, "write a starter map for a file of your own, with every guess shown", _configure, _run)
