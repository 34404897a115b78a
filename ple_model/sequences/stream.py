"""A pre-trained encoder as one more stream of the temporal expert: its embedding of a sequence field, through a linear map.

What the encoder is stands in the run's own configuration, its weights among the run's, so that a run stands alone. With
`frozen` they stay as pre-trained and in eval mode; with `finetune` they train like the rest; with `lora` adapters beside some
of its linear layers train (`adapters`), which are merged wherever weights are written for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ple_model.arguments import shown
from ple_model.batch import PLEClusterInput
from ple_model.errors import UserError
from ple_model.fields import FIELD_SHAPES
from ple_model.sequences.config import EncoderConfig
from ple_model.sequences.encoder import SequenceEncoder
from ple_model.sequences.series import series_of

EncoderMode = Literal["frozen", "finetune", "lora"]
MODES: tuple[EncoderMode, ...] = ("frozen", "finetune", "lora")


@dataclass(frozen=True)
class StreamEncoder:
    """`shared_experts.temporal.encoder`: the encoder that `ple train --encoder` brought along."""

    sequence: Literal["txn_seq", "session_seq"] = field(metadata={"help": "Sequence field that it was pre-trained on."})
    channels: int = field(metadata={"help": "Channels of that field."})
    length: int = field(metadata={"help": "Steps of that field."})
    shape: EncoderConfig = field(metadata={"help": "What it is, as `ple pretrain` was told."})

    def wrong(self) -> Iterator[tuple[str, str]]:
        """(field, what it must be) where it does not fit the sequence that it is to read."""
        length, channels = FIELD_SHAPES[self.sequence]
        if self.channels != channels:
            yield "channels", f"it must be {channels}, the channels of {self.sequence}"
        if self.length != length:
            yield "length", f"it must be {length}, the steps of {self.sequence}"

    def require_fit(self, where: str) -> None:
        """`UserError` beginning with `where` for the first of them."""
        for name, rule in self.wrong():
            raise UserError(f"{where}.{name}: {shown(getattr(self, name))} is not valid, {rule}")


class PretrainedStream(nn.Module):
    """`forward` gives the stream [B, mix_dim] of every row; one without the field has a stream of nothing but offsets."""

    def __init__(self, params: StreamEncoder, mode: EncoderMode, mix_dim: int, dropout: float) -> None:
        super().__init__()
        self.sequence, self.mode = params.sequence, mode
        self.encoder = SequenceEncoder(params.shape, params.channels, params.length)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.encoder.embedding_dim, mix_dim), nn.LayerNorm(mix_dim))
        self.bias = nn.Parameter(torch.zeros(1))
        self.score = nn.Parameter(mix_dim**-0.5 * torch.randn(1, mix_dim))

    def trained(self) -> list[nn.Parameter]:
        """Parameters of the encoder that train."""
        named = self.encoder.named_parameters()
        if self.mode == "lora":
            return [p for n, p in named if ".lora_" in n]
        return [p for _, p in named] if self.mode == "finetune" else []

    def set_trainable(self, on: bool) -> None:
        """After all parameters of the expert were switched: what stays as pre-trained stays so."""
        chosen = {id(p) for p in self.trained()}
        for p in self.encoder.parameters():
            p.requires_grad_(on and id(p) in chosen)

    def train(self, mode: bool = True) -> PretrainedStream:
        super().train(mode)
        if self.mode == "frozen":
            self.encoder.eval()
        return self

    def forward(self, inputs: PLEClusterInput) -> Tensor:
        if getattr(inputs, self.sequence) is None:
            embedding = inputs.features.new_zeros(inputs.rows_held, self.encoder.embedding_dim)
        else:
            with torch.no_grad() if self.mode == "frozen" else nullcontext():
                embedding = self.encoder(series_of(inputs, self.sequence)).embedding
        stream: Tensor = self.head(embedding)
        return stream
