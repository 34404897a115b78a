"""`dataset.json`: what a dataset folder says of itself, with the size and checksum of every part."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ple_model.data.dataset.columns import SPLITS
from ple_model.errors import UserError, did_you_mean
from ple_model.fields import FIELD_SHAPES
from ple_model.safe_paths import open_file, plain_name, write_bytes
from ple_model.safe_text import read_json
from ple_model.stored import Stored, shown
from ple_model.tasks import TASKS

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
        write_bytes(folder / "dataset.json", json.dumps(asdict(self), indent=1, ensure_ascii=False).encode())

    @staticmethod
    def load(folder: Path) -> DatasetManifest:
        """Read `dataset.json`; `UserError` names it if it is missing, damaged or of another version."""
        path = folder / "dataset.json"
        try:
            plain = read_json(path)
        except FileNotFoundError as e:
            raise UserError(f"{folder} is not a dataset: {path} is missing") from e
        found = Stored.of(path, plain)
        if found.values.get("schema_version") != SCHEMA_VERSION:
            version = shown(found.values.get("schema_version"))
            raise UserError(f"{path}: schema_version {version} is not readable here, expected {SCHEMA_VERSION}")
        files = tuple(part_file(Stored.of(path, f, f"files.{i}")) for i, f in enumerate(found.items("files")))
        found.text("fingerprint", 200)  # read for its shape alone: what was left from before says nothing of the parts at hand
        splits, presence = found.mapping("splits"), found.mapping("presence")
        labels, classes = found.mapping("label_counts"), found.mapping("class_names")
        manifest = DatasetManifest(
            schema_version=SCHEMA_VERSION,
            name=found.text("name"),
            source=found.text("source"),
            cutoffs=found.texts("cutoffs"),
            splits={k: splits.whole(k) for k in splits.values},
            rows=found.whole("rows"),
            fingerprint=fingerprint(files),
            fields=found.texts("fields"),
            tasks=found.texts("tasks"),
            raw_columns=found.texts("raw_columns"),
            presence={k: presence.number(k, finite=False) for k in presence.values},
            label_counts={t: {s: labels.mapping(t).whole(s) for s in labels.mapping(t).values} for t in labels.values},
            files=files,
            class_names={t: classes.texts(t) for t in classes.values},
            brands=found.whole("brands", 0, 2**31) if "brands" in found.values else 0,
            absent_sources=found.texts("absent_sources") if "absent_sources" in found.values else (),
            settings=dict(found.mapping("settings").values) if "settings" in found.values else {},
            notes=found.texts("notes") if "notes" in found.values else (),
        )
        _consistent(path, manifest)
        return manifest


def part_file(found: Stored) -> PartFile:
    """A part as a file tells of it."""
    split = found.text("split", 20)
    if split not in SPLITS:
        raise found.wrong("split", f"one of {', '.join(SPLITS)}")
    return PartFile(
        name=plain_name(found.values.get("name"), f"{found.path}: {found.part}.name"),
        split=split,
        bytes=found.whole("bytes"),
        sha256=found.text("sha256", 64),
        rows=found.whole("rows"),
        group_rows=found.wholes("group_rows", 0),
    )


def _consistent(path: Path, m: DatasetManifest) -> None:
    """The counts add up; whether they are those of the Parquet files is compared when the dataset is opened."""
    names = [f.name for f in m.files]
    if len(set(names)) < len(names):
        raise UserError(f"{path} is damaged: it lists a file twice")
    by_split = dict.fromkeys(SPLITS, 0)
    for part in m.files:
        by_split[part.split] += part.rows
        if sum(part.group_rows) != part.rows:
            raise UserError(
                f"{path} is damaged: the row groups of '{part.name}' hold {sum(part.group_rows)} rows, not {part.rows}"
            )
    told = {s: m.splits.get(s, 0) for s in SPLITS}
    if set(m.splits) - set(SPLITS) or told != by_split or sum(by_split.values()) != m.rows:
        raise UserError(f"{path} is damaged: its files hold {by_split} rows, it says {shown(m.splits)} and {m.rows} in all")
    for task in m.tasks:
        if task not in TASKS:
            raise UserError(f"{path} is damaged: '{task}' is not a task{did_you_mean(task, TASKS)}")
    for name in m.fields:
        if name not in FIELD_SHAPES:
            raise UserError(f"{path} is damaged: '{name}' is not an input field{did_you_mean(name, FIELD_SHAPES)}")


def sha256_file(path: Path) -> str:
    with open_file(path) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fingerprint(files: tuple[PartFile, ...]) -> str:
    """Of the parts' contents in their order."""
    return hashlib.sha256("".join(f.sha256 for f in files).encode()).hexdigest()[:32]
