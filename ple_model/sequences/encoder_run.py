"""The folder of an encoder run: what a pre-training wrote, and what everybody who uses an encoder reads.

    manifest.json          kind `encoder`: what was trained, on what, what it cost and how it ended
    config.yaml            the whole configuration: sections `encoder` and `training`
    encoder.safetensors    the best weights so far
    progress.jsonl         losses by epoch
    state/                 resume state, lock, place of the dataset; left out where a run is shipped

No file is a pickle; all are read as those of a run are (`safe_paths`, `stored`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ple_model.errors import UserError
from ple_model.files import load_weights, read_json, read_tensors, require_fit, write_json, write_tensors
from ple_model.run_kind import ENCODER
from ple_model.run_manifest import STATUSES, Status
from ple_model.safe_paths import check_tree, is_file, write_bytes
from ple_model.safe_text import read_yaml
from ple_model.sequences.config import EncoderConfig, PretrainConfig, PretrainingConfig
from ple_model.stored import Stored, shown

if TYPE_CHECKING:
    from torch import Tensor

    from ple_model.sequences.encoder import SequenceEncoder

FORMAT_VERSION = 1
WEIGHTS = "encoder.safetensors"
MOST_CHANNELS, LONGEST_SERIES = 65_536, 1_000_000


@dataclass(frozen=True)
class EncoderManifest:
    """`manifest.json`. Times are ISO 8601 in UTC; no path of the data, since a run may travel."""

    status: Status
    created: str
    channels: int
    length: int
    dataset: str
    """Name of the dataset."""
    fingerprint: str
    customers: dict[str, int] = field(default_factory=dict)
    """Series trained and judged on: `train`, `validation`."""
    versions: dict[str, str] = field(default_factory=dict)
    parameters: int = 0
    epochs: int = 0
    """Epochs that were trained."""
    best_epoch: int = 0
    best_loss: float | None = None
    """Lowest loss on the validation customers."""
    seconds: float | None = None
    """Wall time of the training, of every process that worked on it."""
    samples_per_s: float | None = None
    """Series a second while steps were taken."""
    device: str = "cpu"
    threads: int = 1
    machine: str | None = None
    finished: str | None = None
    command: str | None = None
    commit: str | None = None
    reason: str | None = None
    kind: str = ENCODER
    format_version: int = FORMAT_VERSION

    @staticmethod
    def from_dict(raw: Mapping[str, Any], path: Path) -> EncoderManifest:
        """Every value checked; keys of a later release are left out."""
        found = Stored(path, raw)
        if raw.get("kind") != ENCODER:
            raise UserError(f"{path}: this is not the manifest of an encoder run; `ple pretrain` makes one")
        if raw.get("status") not in STATUSES:
            raise UserError(f"{path}: status {shown(raw.get('status'))} is not one of {', '.join(STATUSES)}")
        counts, versions = found.mapping("customers"), found.mapping("versions")

        def text(name: str) -> str | None:
            return found.text(name, 100_000) if found.has(name) else None

        def number(name: str) -> float | None:
            return found.number(name) if found.has(name) else None

        return EncoderManifest(
            status=raw["status"], created=found.text("created", 64), finished=text("finished"), reason=text("reason"),
            channels=found.whole("channels", 1, MOST_CHANNELS), length=found.whole("length", 2, LONGEST_SERIES),
            dataset=found.text("dataset"), fingerprint=found.text("fingerprint", 200),
            customers={k: counts.whole(k) for k in counts.values},
            versions={k: versions.text(k, 200) for k in versions.values},
            parameters=found.whole("parameters"), epochs=found.whole("epochs"), best_epoch=found.whole("best_epoch"),
            best_loss=number("best_loss"), seconds=number("seconds"), samples_per_s=number("samples_per_s"),
            device=found.text("device", 200), threads=found.whole("threads", 1, 65_536), machine=text("machine"),
            command=text("command"), commit=text("commit"), format_version=found.whole("format_version", 1, FORMAT_VERSION),
        )  # fmt: skip

    def save(self, run: Path) -> None:
        write_json(run / "manifest.json", dataclasses.asdict(self))


@dataclass(frozen=True)
class EncoderRun:
    """An encoder run, opened. Its weights are read when `encoder` is asked for."""

    path: Path
    manifest: EncoderManifest
    whole: PretrainConfig

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> EncoderConfig:
        return self.whole.encoder

    @property
    def training(self) -> PretrainingConfig:
        return self.whole.training

    @property
    def channels(self) -> int:
        return self.manifest.channels

    @property
    def length(self) -> int:
        return self.manifest.length

    @cached_property
    def encoder(self) -> SequenceEncoder:
        """The encoder in eval mode. `UserError` if the weights are missing, truncated, another encoder's or no numbers."""
        import torch  # late: torch

        from ple_model.finite import bad_tensors, tensors_sentence  # late: torch
        from ple_model.sequences.encoder import SequenceEncoder  # late: torch

        path = self.path / WEIGHTS
        if not is_file(path):
            raise UserError(f"{self.path} has no weights yet: {WEIGHTS} is written after the first epoch")
        tensors, _ = read_tensors(path)
        with torch.device("meta"):  # its config may ask for any size: no memory is taken that the file does not fill
            bare = SequenceEncoder(self.config, self.channels, self.length)
        require_fit(bare, tensors, path)
        encoder = SequenceEncoder(self.config, self.channels, self.length)
        load_weights(encoder, tensors, path)
        if bad := bad_tensors(tensors.items()):
            raise UserError(tensors_sentence(str(path), bad))
        return encoder.eval()


def load_encoder(path: Path | str) -> EncoderRun:
    """Open an encoder run. `UserError` in one sentence if it is none or is damaged."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{str(path)!r}: no such encoder run")
    if not os.path.lexists(path / "manifest.json"):
        raise UserError(f"{path} is not an encoder run: it has no manifest.json; `ple pretrain DATASET {path}` makes one")
    check_tree(path)
    raw = read_json(path / "manifest.json")
    if not isinstance(raw, dict):
        raise UserError(f"{path / 'manifest.json'}: this is not the manifest of an encoder run")
    manifest = EncoderManifest.from_dict(raw, path / "manifest.json")
    try:
        config = read_yaml(path / "config.yaml")
    except FileNotFoundError as e:
        raise UserError(f"{path / 'config.yaml'} is missing") from e
    if not isinstance(config, dict):
        raise UserError(f"{path / 'config.yaml'} is damaged: it is not a mapping of sections")
    try:
        return EncoderRun(path, manifest, PretrainConfig.from_dict(config))
    except UserError as e:
        raise UserError(f"{path / 'config.yaml'}: {e}") from e


def write_encoder(run: Path, state: Mapping[str, Tensor]) -> None:
    """The weights of an encoder (`state_dict`), atomically."""
    write_tensors(run / WEIGHTS, state, {"format": "pt"})


def write_encoder_config(run: Path, config: PretrainConfig) -> None:
    write_bytes(run / "config.yaml", config.to_yaml().encode())
