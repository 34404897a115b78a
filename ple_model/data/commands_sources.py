"""Commands that make and check event tables: `ple synth`, `ple import`, `ple preview`, `ple shard`, `ple validate`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ple_model.arguments import COUNT, SEED, file_in, folder_or_url, folder_out_or_url, whole
from ple_model.arguments import path as any_path
from ple_model.commands import Arguments, Command, add_json, listener
from ple_model.data.commands_shard import SHARD
from ple_model.errors import UserError
from ple_model.importers.importer import importers, report_events
from ple_model.ticker import counter

if TYPE_CHECKING:
    from ple_model.data.checking.validation import ValidationReport


def _configure_synth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=folder_out_or_url, metavar="OUT", help="new folder for the event tables, or its URL")
    parser.add_argument("--customers", type=COUNT, default=10_000, metavar="N", help="how many customers (default: 10000)")
    parser.add_argument("--seed", type=SEED, default=0, metavar="S", help="the same seed gives the same customers (default: 0)")
    parser.add_argument("--workers", type=whole(0, 1024), default=0, metavar="K", help="processes; no result depends on it")
    add_json(parser)


def _run_synth(arguments: Arguments) -> int:
    from ple_model.data.synth import generate

    workers = arguments.workers or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    manifest = generate(
        arguments.out,
        arguments.customers,
        arguments.seed,
        progress=counter("customers", heard=listener(arguments)),
        workers=min(workers, 8),
    )
    report_events(manifest, arguments.out, arguments.json)
    return 0


def _configure_import(parser: argparse.ArgumentParser) -> None:
    sub = parser.add_subparsers(dest="source", metavar="SOURCE", required=True, title="sources")
    for source in importers().values():
        one = sub.add_parser(source.name, help=source.help)
        source.configure(one)
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
        add_json(one)


def _run_import(arguments: Arguments) -> int:
    return importers()[arguments.source].run(arguments)


def _configure_preview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=any_path, metavar="SOURCE", help="a file, or a folder or pattern of files of one layout")
    parser.add_argument("--map", type=file_in, metavar="FILE", help="YAML that says which column is which (`ple import map`)")
    parser.add_argument(
        "--table", default="transactions", metavar="NAME", help="which event table it is (default: transactions)"
    )
    parser.add_argument("--rows", type=COUNT, default=10, metavar="N", help="how many rows to show (default: 10)")
    add_json(parser)


def _run_preview(arguments: Arguments) -> int:
    from ple_model.data.importers.preview import preview
    from ple_model.data.importers.source_map import SourceMap, load_map, require_table

    mapping = load_map(arguments.map) if arguments.map is not None else SourceMap()
    found = preview(arguments.source, mapping, require_table(arguments.table), arguments.rows)
    print(json.dumps(found.to_json(), ensure_ascii=False) if arguments.json else found)
    return 0 if found.ok else 1


def validate_any(path: Path) -> ValidationReport:
    """Check an events folder, a dataset (checksums of all parts) or a run (manifest, weights, sample)."""
    from ple_model.data.checking.validation import Fault, ValidationReport, validate

    # event tables are checked without torch, which takes longer to load than most of them to check
    if (path / "dataset.json").exists():
        from ple_model.data.checking.finite import dataset_faults
        from ple_model.data.dataset.reader import Dataset

        dataset, faults, rows = None, [], {}
        try:
            dataset = Dataset.open(path)
            rows = {"dataset": dataset.rows()}
        except UserError as e:
            faults.append(Fault("dataset", None, "damaged", "error", 0, "", str(e), "It cannot be used."))
        if dataset is not None:
            for check in (dataset.verify, dataset.context, dataset.normalizer):
                try:
                    check()
                except UserError as e:
                    faults.append(Fault("dataset", None, "damaged", "error", 0, "", str(e), "It cannot be used."))
            if not faults:  # what is damaged cannot be read for its numbers
                faults += dataset_faults(dataset)
        return ValidationReport(str(path), rows, tuple(faults))
    if (path / "manifest.json").exists():
        from ple_model.data.checking.finite import run_faults
        from ple_model.run import load_run

        faults = []
        try:
            run = load_run(path)
        except UserError as e:
            return ValidationReport(
                str(path), {}, (Fault("run", None, "damaged", "error", 0, "", str(e), "It cannot be used."),)
            )
        for load in (run.model, run.metrics, run.progress, lambda: run.sample().verify()):
            try:
                load()
            except UserError as e:
                faults.append(Fault("run", None, "damaged", "error", 0, "", str(e), "It cannot be used."))
        faults += run_faults(run)
        return ValidationReport(str(path), {}, tuple(faults))
    return validate(path)


def _configure_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", type=folder_or_url, metavar="PATH", help="a folder of event tables, a dataset or a run, or its URL"
    )
    add_json(parser)


def _run_validate(arguments: Arguments) -> int:
    report = validate_any(arguments.path)
    print(json.dumps(report.to_json(), indent=1, ensure_ascii=False) if arguments.json else report)
    return 0 if report.ok else 1


COMMANDS: tuple[Command, ...] = (
    Command("synth", "write the synthetic bank's event tables", _configure_synth, _run_synth),
    Command("import", "turn real data or plain tables into event tables", _configure_import, _run_import),
    Command("preview", "the rows of a source as a map reads them, and what cannot be read", _configure_preview, _run_preview),
    SHARD,
    Command("validate", "report all faults of event tables, a dataset or a run at once", _configure_validate, _run_validate),
)
