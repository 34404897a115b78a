"""`dataset.json`: what a dataset folder says of itself, with the size and checksum of every part."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ple_model.errors import UserError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class PartFile:
    """One Parquet part: rows of one split, in the order of the build."""

    name: str
    split: str
    bytes: int
    sha256: str
    rows: int
    group_rows: tuple[int, ...]
    """Rows of each row group: the unit of reading."""


@dataclass(frozen=True)
class DatasetManifest:
    """The contents of `dataset.json`."""

    schema_version: int
    name: str
    source: str
    cutoffs: tuple[str, ...]
    splits: dict[str, int]
    """Rows of each split."""
    rows: int
    fingerprint: str
    """sha256 over the parts' checksums: equal data, equal fingerprint."""
    fields: tuple[str, ...]
    """Input fields that the parts hold; others are absent for every row."""
    tasks: tuple[str, ...]
    raw_columns: tuple[str, ...]
    presence: dict[str, float]
    """Share of rows that have each field or `features:<part>`."""
    label_counts: dict[str, dict[str, int]]
    """Labels that are there, by task and split."""
    files: tuple[PartFile, ...]
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    brands: int = 0
    absent_sources: tuple[str, ...] = ()
    """Event tables that the source does not have."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Horizon, definitions and sizes that the build used."""
    notes: tuple[str, ...] = ()
    """What the build wants a reader to know (repaired states, steps that were left out and why)."""

    def save(self, folder: Path) -> None:
        """Write `dataset.json` (temporary file, then rename)."""
        temporary = folder / "dataset.json.tmp"
        temporary.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(temporary, folder / "dataset.json")

    @staticmethod
    def load(folder: Path) -> DatasetManifest:
        """Read `dataset.json`; `UserError` names it if it is missing, damaged or of another version."""
        path = folder / "dataset.json"
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as e:
            raise UserError(f"{folder} is not a dataset: {path} is missing") from e
        except (ValueError, OSError) as e:
            raise UserError(f"{path} is damaged: {e}") from e
        try:
            version = plain["schema_version"]
            if version != SCHEMA_VERSION:
                raise UserError(f"{path}: schema_version {version} is not readable here, expected {SCHEMA_VERSION}")
            plain["files"] = tuple(PartFile(**{**f, "group_rows": tuple(f["group_rows"])}) for f in plain["files"])
            for name in ("cutoffs", "fields", "tasks", "raw_columns", "absent_sources", "notes"):
                plain[name] = tuple(plain[name])
            plain["class_names"] = {k: tuple(v) for k, v in plain["class_names"].items()}
            return DatasetManifest(**plain)
        except (KeyError, TypeError) as e:
            raise UserError(f"{path} is damaged: {e!r}") from e


def sha256_file(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fingerprint(files: tuple[PartFile, ...]) -> str:
    """Of the parts' contents in their order."""
    return hashlib.sha256("".join(f.sha256 for f in files).encode()).hexdigest()[:32]
