"""Commands that make and check event tables: `ple synth`, `ple import`, `ple validate`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.arguments import COUNT, SEED, file_in, file_out, folder_in, folder_out, path, whole
from ple_model.commands import Arguments, Command, add_json
from ple_model.errors import UserError

if TYPE_CHECKING:
    from ple_model.data.events import EventsManifest
    from ple_model.data.validation import ValidationReport


def _progress(what: str) -> Callable[[int, int], None]:
    """A counter on stderr, rewritten in place; silent where stderr is no terminal."""
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if live:
            end = "\n" if done >= total else ""
            print(f"\r{what} {done:,}/{total:,}", end=end, file=sys.stderr, flush=True)

    return show


def _describe(manifest: EventsManifest, out: Path) -> dict[str, Any]:
    return {
        "path": str(out),
        "source": manifest.source,
        "tables": {name: entry.rows for name, entry in manifest.tables.items()},
        "cutoffs": list(manifest.defaults.cutoffs),
        "horizon_days": manifest.defaults.horizon_days,
        "absent_tables": list(manifest.absent_tables),
        "notes": list(manifest.defaults.notes),
        "bytes": sum(f.stat().st_size for f in out.rglob("*") if f.is_file()),
    }


def _report(manifest: EventsManifest, out: Path, as_json: bool) -> None:
    plain = _describe(manifest, out)
    if as_json:
        print(json.dumps(plain, indent=1, ensure_ascii=False))
        return
    print(f"{out}: {manifest.name}, {plain['bytes'] / 1e6:.1f} MB")
    for name, rows in plain["tables"].items():
        print(f"  {name:<14}{rows:>12,} rows")
    if manifest.absent_tables:
        print(f"  not in this source: {', '.join(manifest.absent_tables)}")
    for note in manifest.defaults.notes:
        print(f"  {note}")


def _configure_synth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the event tables")
    parser.add_argument("--customers", type=COUNT, default=10_000, metavar="N", help="how many customers (default: 10000)")
    parser.add_argument("--seed", type=SEED, default=0, metavar="S", help="the same seed gives the same customers (default: 0)")
    parser.add_argument("--workers", type=whole(0, 1024), default=0, metavar="K", help="processes; no result depends on it")
    add_json(parser)


def _run_synth(arguments: Arguments) -> int:
    from ple_model.data.synth import generate

    workers = arguments.workers or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    progress = _progress("customers")
    manifest = generate(arguments.out, arguments.customers, arguments.seed, progress=progress, workers=min(workers, 8))
    _report(manifest, arguments.out, arguments.json)
    return 0


def _configure_import(parser: argparse.ArgumentParser) -> None:
    sub = parser.add_subparsers(dest="source", metavar="SOURCE", required=True, title="sources")
    journey = sub.add_parser(
        "completejourney", help="the real grocery data (84.51 Complete Journey), a folder of Parquet files"
    )
    journey.add_argument("folder", type=folder_in, metavar="DIR", help="folder that holds transactions_sample.parquet")
    journey.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the event tables")
    journey.add_argument(
        "--proxy-labels", action="store_true", help="also derive labels from the 5%% sample where no exact source has them"
    )
    starter = sub.add_parser("map", help="write a starter map for a file of your own, with every guess shown")
    starter.add_argument(
        "file",
        type=path,
        metavar="FILE",
        help="CSV, Excel or Parquet file, for example of card transactions, or a folder or pattern of such files",
    )
    starter.add_argument("out", type=file_out, metavar="MAP.yaml", help="map to write, or to add the table to")
    starter.add_argument(
        "--table", default="transactions", metavar="NAME", help="which event table the file is (default: transactions)"
    )
    starter.add_argument("--encoding", metavar="NAME", help="how a text file is written, for example cp1252 (default: found)")
    tables = sub.add_parser("tables", help="Parquet or CSV files in the shape of the event tables, or mapped to it")
    tables.add_argument(
        "folder",
        type=path,
        metavar="SOURCE",
        help="folder of <table>.parquet or <table>.csv files; or the transactions: a file, a mapped folder, a pattern",
    )
    tables.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the event tables")
    tables.add_argument("--map", type=file_in, metavar="FILE", help="YAML that says which file and column is which")
    features = sub.add_parser(
        "features", help="a table of the feature columns, or of any columns of one's own, made into a dataset without events"
    )
    features.add_argument("file", type=file_in, metavar="FILE", help="Parquet or CSV: one row a customer (and cut-off)")
    features.add_argument("out", type=folder_out, metavar="OUT", help="new folder for the dataset")
    features.add_argument(
        "--schema",
        type=file_in,
        metavar="FILE.yaml",
        help="what each column of a table of one's own is: numeric, raw, categorical, label, id, ignored, with its unit and "
        "sentence; where the file does not exist, a guessed starter is written there and nothing else (default: the "
        "columns are those of the package, by name)",
    )
    features.add_argument(
        "--seed", type=SEED, default=0, metavar="S", help="splits customers where the table has no 'split' column"
    )
    for one in (journey, starter, tables, features):
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
        add_json(one)


def _run_import(arguments: Arguments) -> int:
    if arguments.source == "features":
        from ple_model.data.import_features import import_features

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
    if arguments.source == "map":
        return _run_map(arguments)
    progress = _progress("tables")
    if arguments.source == "completejourney":
        from ple_model.data.import_completejourney import import_completejourney

        manifest = import_completejourney(
            arguments.folder, arguments.out, proxy_labels=arguments.proxy_labels, progress=progress
        )
    else:
        from ple_model.data.import_tables import import_tables
        from ple_model.data.source_map import load_map

        mapping = load_map(arguments.map) if arguments.map is not None else None
        manifest = import_tables(arguments.folder, arguments.out, mapping, progress)
    _report(manifest, arguments.out, arguments.json)
    from ple_model.data.validation import validate

    report = validate(arguments.out)
    for fault in report.faults:
        print(fault, file=sys.stderr)
    return 0 if report.ok else 1


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


def _run_map(arguments: Arguments) -> int:
    from ple_model.data.import_map import write_starter
    from ple_model.data.source_files import folder_of

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


def _configure_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=folder_in, metavar="PATH", help="a folder of event tables, a dataset or a run")
    add_json(parser)


def _run_validate(arguments: Arguments) -> int:
    report = validate_any(arguments.path)
    print(json.dumps(report.to_json(), indent=1, ensure_ascii=False) if arguments.json else report)
    return 0 if report.ok else 1


def validate_any(path: Path) -> ValidationReport:
    """Check an events folder, a dataset (checksums of all parts) or a run (manifest, weights, sample)."""
    from ple_model.data.validation import Fault, ValidationReport, validate

    # event tables are checked without torch, which takes longer to load than most of them to check
    if (path / "dataset.json").exists():
        from ple_model.data.check_finite import dataset_faults
        from ple_model.data.dataset import Dataset

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
        from ple_model.data.check_finite import run_faults
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


COMMANDS: tuple[Command, ...] = (
    Command("synth", "write the synthetic bank's event tables", _configure_synth, _run_synth),
    Command("import", "turn real data or plain tables into event tables", _configure_import, _run_import),
    Command("validate", "report all faults of event tables, a dataset or a run at once", _configure_validate, _run_validate),
)
