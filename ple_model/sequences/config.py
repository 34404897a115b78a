"""What a sequence encoder is: every choice one key with its help text, checked as the rest of the configuration is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import yaml

from ple_model.arguments import MAX_SEED, shown
from ple_model.config import from_mapping, key, shown_key
from ple_model.errors import UserError, did_you_mean

DAILY = "txn_seq"
"""The sequence field whose steps are days."""


def _require_valid(section: str, config: EncoderConfig | PretrainingConfig) -> None:
    for name, rule in config.wrong():
        raise UserError(f"{section}.{name}: {shown(getattr(config, name))} is not valid, {rule}")


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and objective of an encoder."""

    norm: Literal["revin", "none", "last"] = key(
        "revin", "Per series and channel: mean and deviation taken out (revin), the last value taken out (last), or nothing."
    )
    min_scale: float = key(
        0.1, "Least deviation that revin divides by, in the units of the series, so that a quiet channel stays small.",
        low=1e-6, high=1e6,
    )  # fmt: skip
    tokens: Literal["patch", "multi_patch", "variate"] = key(
        "patch",
        "One token a run of steps and channel (patch), of several lengths at once (multi_patch), or a channel (variate).",
    )
    patch: int = key(7, "Steps in a patch.", high=4096)
    stride: int = key(7, "Steps from one patch to the next.", high=4096)
    patches: list[int] = key([7, 14, 28], "Lengths of multi_patch; the shortest is also its stride.", high=4096)
    newest: int = key(
        4, "Last tokens of each channel that the embedding holds one by one, beside the mean of all; unused with variate.",
        low=0, high=64,
    )  # fmt: skip
    frequency: Literal["off", "on"] = key("off", "Add amplitude and phase of the strongest frequencies through a gate.")
    frequencies: int = key(8, "Frequencies that the branch reads.", high=1024)
    body: Literal["transformer", "mamba", "liquid"] = key("transformer", "What mixes the tokens of a series.")
    width: int = key(32, "Width of a token.", low=4, high=4096)
    layers: int = key(2, "Layers of the body.", high=64)
    heads: int = key(4, "Heads of attention, or of the scan.", high=256)
    feed: int = key(2, "Width of the feed-forward part, in widths of a token.", high=16)
    state: int = key(16, "State size of the Mamba blocks.", high=1024)
    dropout: float = key(0.0, "Dropout within the body; drawing it costs a tenth of a step.", low=0.0, high=0.9)
    objective: Literal["masked", "contrastive", "both", "next"] = key(
        "masked", "What is learnt without labels: hidden patches, two views of one series, both, or the next patch."
    )
    outlook: Literal["off", "on"] = key(
        "off", "Learn beside it to tell, from an earlier step, what the steps after it held and whether anything happened."
    )
    ahead: list[int] = key([7, 28], "Numbers of steps that the outlook is told for.", high=4096)
    mask_share: float = key(0.4, "Share of patches that are hidden.", low=0.01, high=0.9)
    huber_delta: float = key(
        3.0, "Deviations up to which an error counts squared, beyond which linearly: one huge day must not own a step.",
        low=0.01, high=1e6,
    )  # fmt: skip
    contrast: Literal["nt_xent", "hierarchical", "both"] = key(
        "both", "Contrastive loss: whole series against the batch, TS2Vec's over time and scales, or their sum."
    )
    temperature: float = key(0.2, "Temperature of NT-Xent.", low=1e-3, high=100.0)
    jitter: float = key(0.1, "Deviation of the noise on a view, in deviations of the series.", low=0.0, high=10.0)
    scaling: float = key(0.2, "Deviation of a view's random factor.", low=0.0, high=1.0)
    warp: float = key(0.05, "Largest shift of a step in a view's time warp, as a share of the length.", low=0.0, high=0.5)

    def __post_init__(self) -> None:
        _require_valid("encoder", self)

    def wrong(self) -> Iterator[tuple[str, str]]:
        """(field, what it must be) for each value that gives no encoder."""
        if self.stride > self.patch:
            yield "stride", f"it must be at most patch ({self.patch}): steps between patches would never be read"
        if not 2 <= len(self.patches) <= 8 or len(set(self.patches)) != len(self.patches):
            yield "patches", "it must be 2 to 8 different lengths"
        if not 1 <= len(self.ahead) <= 8 or sorted(set(self.ahead)) != self.ahead:
            yield "ahead", "it must be 1 to 8 different numbers, the smallest first"
        if self.width % self.heads:
            yield "width", f"it must be a multiple of heads ({self.heads})"
        if self.tokens == "variate" and self.body != "transformer":
            yield "body", "it must be transformer where tokens is variate: channels have no order to scan"
        if self.tokens == "variate" and self.objective == "next":
            yield "objective", "it must not be next where tokens is variate: a token is a whole channel"
        if self.tokens == "variate" and self.objective in ("contrastive", "both") and self.contrast != "nt_xent":
            yield "contrast", "it must be nt_xent where tokens is variate: a channel's token has no place in time"
        if self.objective == "next" and self.frequency == "on":
            yield "frequency", "it must be off where objective is next: a spectrum knows the future"

    @property
    def restores(self) -> bool:
        """Does the objective teach to restore hidden steps?"""
        return self.objective in ("masked", "both")

    @property
    def causal(self) -> bool:
        """Does a token hear only what came before it?"""
        return self.objective == "next"


@dataclass(frozen=True)
class PretrainingConfig:
    """How an encoder is trained."""

    sequence: Literal["txn_seq", "session_seq"] = key("txn_seq", "Sequence field of the dataset.")
    epochs: int = key(20, "Passes over the training customers at most.", high=100_000)
    patience: int = key(4, "Early stopping: epochs without a better validation loss.", high=100_000)
    batch_size: int = key(64, "Customers a step.", low=2, high=2**20)
    learning_rate: float = key(1e-3, "Highest rate of AdamW; it ends at zero along a cosine.", low=0.0, high=10.0)
    weight_decay: float = key(0.01, "AdamW weight decay.", low=0.0, high=10.0)
    warmup: float = key(0.05, "Share of the steps over which the rate rises.", low=0.0, high=0.9)
    grad_clip: float = key(1.0, "Clipping of the gradient norm.", low=1e-6, high=1e6)
    seed: int = key(0, "Seed of initialisation, order and masks.", low=0, high=MAX_SEED)

    def __post_init__(self) -> None:
        _require_valid("training", self)

    def wrong(self) -> Iterator[tuple[str, str]]:
        """(field, what it must be) for each value that gives no training."""
        if self.learning_rate == 0:
            yield "learning_rate", "it must be positive"


@dataclass(frozen=True)
class PretrainConfig:
    """The whole of `config.yaml` of an encoder run: sections `encoder` and `training`."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    training: PretrainingConfig = field(default_factory=PretrainingConfig)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> PretrainConfig:
        """From plain data; what is not said keeps its default. `UserError` names the key that is unknown or wrong."""
        kinds: dict[str, type] = {"encoder": EncoderConfig, "training": PretrainingConfig}
        for section in raw:
            if section not in kinds:
                raise UserError(f"{shown_key(section)}: unknown section{did_you_mean(shown_key(section), kinds)}")
        return PretrainConfig(**{name: from_mapping(kind, raw.get(name) or {}, name) for name, kind in kinds.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict with the file's section names."""
        return asdict(self)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False)
