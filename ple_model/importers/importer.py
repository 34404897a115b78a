"""What a source is, and what all of them print."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ple_model.importers as package
from ple_model.commands import Arguments
from ple_model.numerals import megabytes

if TYPE_CHECKING:
    from ple_model.data.events.manifest import EventsManifest


@dataclass(frozen=True)
class Importer:
    """`ple import NAME ...`. `configure` declares its arguments (`--json` and `--debug` are there); `run` imports, and returns
    the exit code: 0, or 1 where what was written has faults. `order` is its place in the help."""

    name: str
    order: int
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Arguments], int]


@cache
def importers() -> dict[str, Importer]:
    """Every source under `ple_model.importers`, by name."""
    modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
    found: list[Importer] = [m.IMPORTER for m in modules if hasattr(m, "IMPORTER")]
    return {s.name: s for s in sorted(found, key=lambda s: (s.order, s.name))}


def imported(manifest: EventsManifest, arguments: Arguments) -> int:
    """Say what event tables were written to `arguments.out`, and check them: the exit code."""
    from ple_model.data.checking.validation import validate

    report_events(manifest, arguments.out, arguments.json)
    report = validate(arguments.out)
    for fault in report.faults:
        print(fault, file=sys.stderr)
    return 0 if report.ok else 1


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


def report_events(manifest: EventsManifest, out: Path, as_json: bool) -> None:
    plain = _describe(manifest, out)
    if as_json:
        print(json.dumps(plain, indent=1, ensure_ascii=False))
        return
    print(f"{out}: {manifest.name}, {megabytes(plain['bytes'])}")
    for name, rows in plain["tables"].items():
        print(f"  {name:<14}{rows:>12,} rows")
    if manifest.absent_tables:
        print(f"  not in this source: {', '.join(manifest.absent_tables)}")
    for note in manifest.defaults.notes:
        print(f"  {note}")
