"""`ple export`; `commands_model` lists it."""

from __future__ import annotations

import argparse

from ple_model.arguments import folder_in, folder_out
from ple_model.commands import Arguments, Command, add_json
from ple_model.json_text import dump


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder_in, metavar="RUN", help="finished run")
    parser.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the graph and what it takes and returns")
    parser.add_argument(
        "--format", choices=("torch", "onnx"), default="torch", help="torch.export's own, or ONNX (default: torch)"
    )
    parser.add_argument("--dataset", type=folder_in, metavar="D", help="rows to compare on (default: the run's own sample)")
    add_json(parser)


def _run(arguments: Arguments) -> int:
    from ple_model.data.dataset.reader import Dataset
    from ple_model.export.write import export
    from ple_model.run import load_run

    dataset = None if arguments.dataset is None else Dataset.open(arguments.dataset)
    found = export(load_run(arguments.run), arguments.out, arguments.format, dataset)
    print(dump(found.to_dict()) if arguments.json else found)
    return 0


EXPORT = Command("export", "the model as a graph that runs without this program, held against the model", _configure, _run)
