"""Temporal ensemble: Mamba, a liquid network and a Transformer over both sequences, mixed by learned weights.

Mamba is Mamba-2 (SSD, one decay a head); the liquid network is CfC in closed form; the Transformer reads patches of six days.
Each of the six streams (architecture x sequence) gives a vector; a row mixes the streams it has by a softmax over a learned
score. A row without one of the sequences works on the other. Sequences are oldest first; `txn_days` and `sessions` keep the
last ones. With `encoder` (`ple train --encoder`) the embedding of a pre-trained encoder is a seventh stream; it reads its
sequence whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ple_model.batch import PLEClusterInput
from ple_model.context import ModelContext
from ple_model.experts.base import Expert, ExpertAux, ExpertParams, ReferenceSize
from ple_model.experts.reads import cleared
from ple_model.fields import FIELD_SHAPES
from ple_model.layers.liquid import CfC, elapsed_steps
from ple_model.layers.patch_transformer import PatchTransformer
from ple_model.layers.precision import full_precision, widen
from ple_model.layers.selective_scan import Mamba2Block
from ple_model.searchable import SEARCH, OneOf
from ple_model.sequences.stream import EncoderMode, PretrainedStream, StreamEncoder

SEQUENCES: tuple[str, ...] = ("txn_seq", "session_seq")
ARCHITECTURES: tuple[str, ...] = ("mamba", "lnn", "transformer")
STREAMS: tuple[str, ...] = tuple(f"{a}:{s}" for s in SEQUENCES for a in ARCHITECTURES)
"""Order of the mixing weights."""


@dataclass(frozen=True)
class TemporalParams(ExpertParams):
    txn_days: int = field(
        default=180, metadata={"help": "Last days of txn_seq that are read.", SEARCH: OneOf((30, 60, 90, 180), first=2)}
    )
    sessions: int = field(
        default=90, metadata={"help": "Last sessions of session_seq that are read.", SEARCH: OneOf((15, 30, 60, 90))}
    )
    mamba_dim: int = field(default=64, metadata={"help": "Width of the Mamba blocks."})
    mamba_layers: int = field(default=1, metadata={"help": "Mamba blocks a sequence.", SEARCH: OneOf((1, 2, 3))})
    mamba_state: int = field(default=16, metadata={"help": "State size of the selective scan."})
    mamba_heads: int = field(default=4, metadata={"help": "Heads of the scan; each has one decay (Mamba-2)."})
    mamba_kernel: int = field(default=4, metadata={"help": "Taps of the causal convolution before the scan."})
    chunk: int = field(default=20, metadata={"help": "Chunk length of the scan."})
    lnn_dim: int = field(default=48, metadata={"help": "Width of the closed-form continuous-time cell."})
    transformer_dim: int = field(
        default=128, metadata={"help": "Width of the patch Transformer.", SEARCH: OneOf((16, 32, 64, 128))}
    )
    transformer_layers: int = field(default=1, metadata={"help": "Layers of the patch Transformer.", SEARCH: OneOf((1, 2, 3))})
    transformer_heads: int = field(default=4, metadata={"help": "Attention heads of the patch Transformer."})
    patch: int = field(default=6, metadata={"help": "Steps in one patch.", SEARCH: OneOf((3, 6, 10, 15), first=3)})
    mix_dim: int = field(default=64, metadata={"help": "Width in which the streams are mixed."})
    encoder: StreamEncoder | None = field(
        default=None, metadata={"help": "A pre-trained encoder as one more stream; `ple train --encoder` fills it in."}
    )
    encoder_mode: EncoderMode = field(
        default="frozen", metadata={"help": "Its weights stay (frozen), train (finetune), or adapters beside them do (lora)."}
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of an adapter of encoder_mode lora.", "high": 1024})
    lora_alpha: int = field(default=16, metadata={"help": "An adapter's output is multiplied by lora_alpha / lora_rank."})
    lora_targets: list[str] = field(
        default_factory=lambda: ["query", "value"], metadata={"help": "Names of the encoder's linear layers that get one."}
    )

    def wrong(self) -> Iterator[tuple[str, str]]:
        limits = {"txn_days": FIELD_SHAPES["txn_seq"][0], "sessions": FIELD_SHAPES["session_seq"][0]}
        for name, limit in limits.items():
            if not 1 <= getattr(self, name) <= limit:
                yield name, f"it must be in 1..{limit}"
        for width, heads in (("mamba_dim", "mamba_heads"), ("transformer_dim", "transformer_heads")):
            if getattr(self, width) % getattr(self, heads):
                yield width, f"it must be a multiple of {heads} ({getattr(self, heads)})"
        if self.encoder is not None:
            yield from ((f"encoder.{name}", rule) for name, rule in self.encoder.wrong())
        if not self.lora_targets:
            yield "lora_targets", "it must name a layer, for example query"


class SequenceEncoders(nn.Module):
    """The three architectures over one sequence, each summed up by its last state and its mean."""

    def __init__(self, p: TemporalParams, inputs: int, length: int, dropout: float) -> None:
        super().__init__()
        self.length = length
        self.mamba_in = nn.Linear(inputs, p.mamba_dim)
        self.mamba = nn.Sequential(
            *(
                Mamba2Block(p.mamba_dim, p.mamba_state, p.mamba_heads, p.mamba_kernel, min(p.chunk, length))
                for _ in range(p.mamba_layers)
            )
        )
        self.lnn = CfC(inputs, p.lnn_dim)
        self.transformer = PatchTransformer(
            inputs, length, p.patch, p.transformer_dim, p.transformer_heads, p.transformer_layers
        )
        widths = (p.mamba_dim, p.lnn_dim, p.transformer_dim)
        # dropout on the summaries alone: drawing it for every step costs as much as the layers themselves
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * w, p.mix_dim), nn.LayerNorm(p.mix_dim)) for w in widths
        )

    def forward(self, sequence: Tensor) -> Tensor:
        """[B, any length, F] -> streams [B, 3, mix_dim] in the order of ARCHITECTURES."""
        x = sequence[:, -self.length :]
        with full_precision(x):  # recurrences keep full precision
            liquid = self.lnn(widen(x), elapsed_steps(widen(x)))
        states = (self.mamba(self.mamba_in(x)), liquid, self.transformer(x))
        summaries = [torch.cat([s[:, -1], s.mean(dim=1)], dim=1) for s in states]
        return torch.stack([head(s) for head, s in zip(self.heads, summaries, strict=True)], dim=1)


class Temporal(Expert):
    """Six streams, mixed per row over those it has."""

    name: ClassVar[str] = "temporal"
    reads: tuple[str, ...] = SEQUENCES
    title: ClassVar[tuple[str, str]] = ("sequences", "시퀀스")
    reference: ClassVar[ReferenceSize | None] = ReferenceSize(500_000)
    Params: ClassVar[type[ExpertParams]] = TemporalParams

    def __init__(self, params: TemporalParams, context: ModelContext, dropout: float) -> None:
        super().__init__(params, context, dropout)
        lengths = {"txn_seq": params.txn_days, "session_seq": params.sessions}
        self.encoders = nn.ModuleDict({s: SequenceEncoders(params, FIELD_SHAPES[s][1], lengths[s], dropout) for s in SEQUENCES})
        self.stream_bias = nn.Parameter(torch.zeros(len(STREAMS)))
        self.stream_score = nn.Parameter(params.mix_dim**-0.5 * torch.randn(len(STREAMS), params.mix_dim))
        self.mix = nn.Sequential(nn.LayerNorm(params.mix_dim), nn.SiLU(), nn.Dropout(dropout))
        self.out = nn.Linear(params.mix_dim, params.output_dim)
        self.pretrained: PretrainedStream | None = None
        if params.encoder is not None:
            with torch.random.fork_rng(devices=[]):  # with it or without, all others start the same
                self.pretrained = PretrainedStream(params.encoder, params.encoder_mode, params.mix_dim, dropout)

    def set_trainable(self, on: bool) -> None:
        super().set_trainable(on)
        if self.pretrained is not None:
            self.pretrained.set_trainable(on)

    def last_layer(self) -> nn.Linear:
        return self.out

    def encode(self, inputs: PLEClusterInput) -> tuple[Tensor, ExpertAux]:
        streams: list[Tensor] = []
        held: list[Tensor] = []
        for name in SEQUENCES:
            sequence: Tensor | None = getattr(inputs, name)
            here = inputs.present(name)
            held.append(here[:, None].expand(-1, len(ARCHITECTURES)))
            if sequence is None:
                streams.append(inputs.features.new_zeros(inputs.rows_held, len(ARCHITECTURES), self.params.mix_dim))
            else:
                streams.append(self.encoders[name](cleared(sequence, here)))
        score: Tensor = self.stream_score
        bias: Tensor = self.stream_bias
        if self.pretrained is not None:
            streams.append(self.pretrained(inputs)[:, None])
            held.append(inputs.present(self.pretrained.sequence)[:, None])
            score, bias = torch.cat([score, self.pretrained.score]), torch.cat([bias, self.pretrained.bias])
        with full_precision(streams[0]):
            stacked, have = torch.cat([widen(s) for s in streams], dim=1), torch.cat(held, dim=1)
            scores = (stacked * score).sum(dim=2) + bias
            # a finite floor: a row without any sequence gets equal weights instead of NaN, and a zero output afterwards
            weights = torch.softmax(scores.masked_fill(~have, -1e4), dim=1)
            mixed = (weights[:, :, None] * stacked).sum(dim=1)
        return self.out(self.mix(mixed)), ExpertAux(internals={"mixing_weights": weights.detach()})
