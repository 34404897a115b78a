"""A training whose temporal expert starts from a pre-trained encoder (`ple train --encoder RUN_ENCODER`).

What the encoder is becomes a part of the new run's configuration and its weights a part of the run's: the encoder's folder is
not needed afterwards. Like the weights of another run they are kept in `state/` until the end (`start_from`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ple_model.adapters import add_adapters, params_of, stream_of
from ple_model.config import Config
from ple_model.data.dataset.manifest import sha256_file
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.experts.temporal import TemporalParams
from ple_model.model import PLEClusterAdaTT
from ple_model.run_manifest import EncoderInfo
from ple_model.sequences.encoder_run import WEIGHTS, EncoderRun
from ple_model.sequences.stream import EncoderMode, StreamEncoder
from ple_model.start_from import keep_start

MARK = 32
"""Hexadecimal digits that are kept of the hash of the encoder's weights."""


@dataclass(frozen=True)
class EncoderStart:
    """The encoder run to start from. `mode`: None for that of the configuration (`shared_experts.temporal.encoder_mode`)."""

    run: EncoderRun
    mode: EncoderMode | None = None

    def into(self, config: Config, dataset: Dataset) -> Config:
        """The configuration with this encoder in it. `UserError` where it does not fit: no temporal expert, a field that the
        dataset does not have, other channels or another length."""
        name, params = self._temporal(config)
        sequence = self.run.training.sequence
        if sequence not in dataset.manifest.fields:
            raise UserError(f"{self.run.path} was pre-trained on {sequence}, which {dataset.path} does not have")
        encoder = StreamEncoder(sequence, self.run.channels, self.run.length, self.run.config)
        encoder.require_fit(f"{self.run.path}")
        params = dataclasses.replace(params, encoder=encoder, encoder_mode=self.mode or params.encoder_mode)
        experts = {**config.shared_experts, name: params}
        return dataclasses.replace(config, shared_experts=experts)

    def _temporal(self, config: Config) -> tuple[str, TemporalParams]:
        for name, params in config.shared_experts.items():
            if isinstance(params, TemporalParams):
                return name, params
        raise UserError("--encoder: the configuration has no temporal expert to start from it")

    def keep(self, folder: Path, model: PLEClusterAdaTT) -> EncoderInfo:
        """Put the weights of the fresh `model` with the encoder's in them into the new run's `folder`, and say what trains.
        The model has adapters afterwards where its config says so."""
        expert = stream_of(model)
        assert expert is not None
        assert expert.pretrained is not None
        expert.pretrained.encoder.load_state_dict(self.run.encoder.state_dict())
        keep_start(folder, model.state_dict(), phase=1, fitted=False)
        total = sum(p.numel() for p in expert.pretrained.encoder.parameters())
        add_adapters(model)
        trained = sum(p.numel() for p in expert.pretrained.trained())
        return EncoderInfo(
            self.run.name, sha256_file(self.run.path / WEIGHTS)[:MARK], expert.pretrained.sequence, expert.pretrained.mode,
            trained, total,
        )  # fmt: skip

    def warnings(self, fingerprint: str) -> list[str]:
        """What to know of an encoder whose training has not ended, or that saw other data."""
        found, its = [], self.run.manifest
        if its.status != "finished":
            found.append(f"the encoder's training has not ended: its weights are the best up to epoch {its.epochs}")
        if its.fingerprint != fingerprint:
            found.append(f"the encoder was pre-trained on other data ('{its.dataset}')")
        return found


def require_weights(config: Config, given: bool) -> None:
    """`UserError` where the configuration has an encoder in it whose weights nobody brings."""
    if params_of(config) is not None and not given:
        raise UserError(
            "shared_experts.temporal.encoder: its weights come with `ple train --encoder RUN_ENCODER` or with those of a run "
            "(--from); to train without it set shared_experts.temporal.encoder=null"
        )
