"""`manifest.json` of a run: what was trained, on what, with what, and how it ended."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ple_model.errors import UserError
from ple_model.files import write_json
from ple_model.migrations import FORMAT_VERSION
from ple_model.stored import Stored, shown

Status = Literal["running", "finished", "stopped", "failed"]
STATUSES: tuple[Status, ...] = typing.get_args(Status)


@dataclass(frozen=True)
class DataInfo:
    """The dataset a run was trained on; no path, since a run may travel."""

    name: str
    fingerprint: str
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TeacherInfo:
    """The run that a student learnt from; no path, since a run may travel."""

    name: str
    fingerprint: str
    """Of its weights."""


@dataclass(frozen=True)
class EncoderInfo:
    """The pre-trained encoder that the temporal expert started from, and how much of it trained."""

    name: str
    fingerprint: str
    """Of its weights."""
    sequence: str
    mode: str
    trained: int
    """Parameters that train: all of the encoder (finetune), none (frozen), or those of adapters (lora)."""
    parameters: int
    """Of the encoder, without adapters."""

    def __str__(self) -> str:
        share = self.trained / max(1, self.parameters)
        return (
            f"encoder '{self.name}' ({self.sequence}), {self.mode}: {self.trained:,} parameters train beside "
            f"{self.parameters:,} of its own ({share:.1%})"
        )


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`. Times are ISO 8601 in UTC; `versions` holds Python, torch and other library versions."""

    preset: str
    device: str
    amp: str
    seed: int
    threads: int
    batch_size: int
    data: DataInfo
    versions: dict[str, str]
    status: Status
    created: str
    finished: str | None = None
    commit: str | None = None
    """Commit of the code, where it ran from a git checkout."""
    parameters: int = 0
    experts: list[str] = field(default_factory=list)
    """In the order of their blocks in the shared representation; empty for runs of before it was kept here."""
    warnings: list[str] = field(default_factory=list)
    parent: str | None = None
    """Name of the run whose weights it started from."""
    teacher: TeacherInfo | None = None
    """The run whose outputs it learnt from (`ple distill`)."""
    encoder: EncoderInfo | None = None
    """The pre-trained encoder that it started from (`ple train --encoder`)."""
    reason: str | None = None
    """Why a run stopped or failed, in one sentence."""
    machine: str | None = None
    """What it was trained on, in words; None for runs of before it was kept."""
    seconds: float | None = None
    """Wall time of the training, of every process that worked on it, up to the last change of the status."""
    command: str | None = None
    """What makes it again, without the places of its folders, since a run may travel; None where no command began it."""
    world_size: int = 1
    """Processes that shared each batch, as it was started."""
    format_version: int = FORMAT_VERSION

    @staticmethod
    def from_dict(raw: Mapping[str, Any], path: Path) -> Manifest:
        """Every value checked; keys of the same version that are not known (written by a later release) are left out."""
        for name in (f.name for f in dataclasses.fields(Manifest) if f.default is f.default_factory is dataclasses.MISSING):
            if name not in raw:
                raise UserError(f"{path}: the key '{name}' is missing; this is not the manifest of a run")
        found = Stored(path, raw)
        if raw["status"] not in STATUSES:
            raise UserError(f"{path}: status {shown(raw['status'])} is not one of {', '.join(STATUSES)}")
        data = found.mapping("data")
        rows = data.mapping("rows") if data.has("rows") else Stored(path, {})
        versions = found.mapping("versions")
        for moment in ("created", "finished"):
            if moment == "created" or found.has(moment):
                try:
                    datetime.fromisoformat(found.text(moment, 64))
                except ValueError as e:
                    raise found.wrong(moment, "a moment such as 2026-01-31T12:00:00+00:00") from e
        return Manifest(
            preset=found.text("preset", 200),
            device=found.text("device", 200),
            amp=found.text("amp", 200),
            seed=found.whole("seed", -(2**63), 2**64),
            threads=found.whole("threads", 1, 65_536),
            batch_size=found.whole("batch_size", 1, 2**31),
            data=DataInfo(data.text("name"), data.text("fingerprint", 200), {k: rows.whole(k) for k in rows.values}),
            versions={k: versions.text(k, 200) for k in versions.values},
            status=raw["status"],
            created=found.text("created", 64),
            finished=found.text("finished", 64) if found.has("finished") else None,
            commit=found.text("commit", 200) if found.has("commit") else None,
            parameters=found.whole("parameters") if "parameters" in raw else 0,
            experts=list(found.texts("experts")) if "experts" in raw else [],
            warnings=list(found.texts("warnings")) if "warnings" in raw else [],
            parent=found.text("parent", 300) if found.has("parent") else None,
            teacher=_teacher(found.mapping("teacher")) if found.has("teacher") else None,
            encoder=_encoder(found.mapping("encoder")) if found.has("encoder") else None,
            reason=found.text("reason", 100_000) if found.has("reason") else None,
            machine=found.text("machine", 200) if found.has("machine") else None,
            seconds=found.number("seconds") if found.has("seconds") else None,
            command=found.text("command", 100_000) if found.has("command") else None,
            world_size=found.whole("world_size", 1, 65_536) if "world_size" in raw else 1,
            format_version=found.whole("format_version", 1, FORMAT_VERSION),
        )

    def save(self, run: Path) -> None:
        write_json(run / "manifest.json", dataclasses.asdict(self))


def _teacher(found: Stored) -> TeacherInfo:
    return TeacherInfo(found.text("name", 300), found.text("fingerprint", 200))


def _encoder(found: Stored) -> EncoderInfo:
    return EncoderInfo(
        found.text("name", 300), found.text("fingerprint", 200), found.text("sequence", 40), found.text("mode", 40),
        found.whole("trained"), found.whole("parameters"),
    )  # fmt: skip
