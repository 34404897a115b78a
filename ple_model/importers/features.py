"""A table of feature columns made into a dataset: the package's own columns, or any with a schema file."""

from __future__ import annotations

import argparse
import json
import shlex

from ple_model.arguments import SEED, file_in, folder_out
from ple_model.commands import Arguments
from ple_model.importers.importer import Importer


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=file_in, metavar="FILE", help="Parquet or CSV: one row a customer (and cut-off)")
    parser.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the dataset")
    parser.add_argument(
        "--schema",
        type=file_in,
        metavar="FILE.yaml",
        help="what each column of a table of one's own is: numeric, raw, categorical, label, id, ignored, with its unit and "
        "sentence; where the file does not exist, a guessed starter is written there and nothing else (default: the "
        "columns are those of the package, by name)",
    )
    parser.add_argument(
        "--seed", type=SEED, default=0, metavar="S", help="splits customers where the table has no 'split' column"
    )


def _run(arguments: Arguments) -> int:
    from ple_model.data.importers.features import import_features

    if arguments.schema is not None and not arguments.schema.exists():
        return _run_starter(arguments)
    if arguments.schema is not None:
        from ple_model.data.own.dataset import import_own

        dataset = import_own(arguments.file, arguments.out, arguments.schema, seed=arguments.seed)
    else:
        dataset = import_features(arguments.file, arguments.out, seed=arguments.seed)
    plain = {"path": str(arguments.out), "rows": dataset.rows, "splits": dataset.splits, "notes": list(dataset.notes)}
    print(json.dumps(plain, indent=1) if arguments.json else f"{arguments.out}: {dataset.rows:,} rows {dataset.splits}")
    return 0


def _run_starter(arguments: Arguments) -> int:
    """The schema file is not there yet: write a guess of it, build nothing."""
    from ple_model.data.own.starter import write_starter

    starter = write_starter(arguments.file, arguments.schema)
    if arguments.json:
        columns = [{k: v for k, v in vars(c).items() if v} for c in starter.columns]
        plain = {"path": str(starter.path), "columns": columns, "report": starter.lines}
        print(json.dumps(plain, indent=1, ensure_ascii=False))
        return 0
    print(starter)
    print(f"Every line is a guess: read {starter.path}, correct it, then the same command again:")
    again = f"{shlex.quote(str(arguments.file))} {shlex.quote(str(arguments.out))} --schema {shlex.quote(str(starter.path))}"
    print(f"  ple import features {again}")
    return 0


IMPORTER = Importer(
    "features",
    4,
    "a table of the feature columns, or of any columns of one's own, made into a dataset without events",
    _configure,
    _run,
)
