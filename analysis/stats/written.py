"""Is a run still what its training wrote, and does it still say the same? Facts of its folder, not of measured rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

ROUNDING = 2.0**-23
"""Relative difference that a number rounded to 32 bits may have."""


@dataclass(frozen=True)
class TensorChange:
    """One tensor of model.safetensors that is not the one that training wrote."""

    module: str
    how: str
    """"value", "factor", "order", "rounded" or "other" """
    values: int = 0
    factor: float = math.nan
    place: int = -1
    was: float = math.nan
    now: float = math.nan
    size_then: float = math.nan
    """Root mean square of its values."""
    size_now: float = math.nan
    start: str = ""
    """"same": the very start of this configuration; "like": of the size of a fresh start; empty: neither"""


@dataclass(frozen=True)
class Written:
    """What `fingerprint.json` says against the folder as it is."""

    reason: str = ""
    """Why nothing could be compared; empty where it was."""
    modules: dict[str, int] = field(default_factory=dict)
    """Tensors by module."""
    tensors: dict[str, TensorChange] = field(default_factory=dict)
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Files of preprocess/ that changed, with the parts that did; no part: the whole, or the file is gone. Of a run without
    fingerprint.json those that are not what the stored customers were made with."""
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of a run without fingerprint.json: module -> norm of its weights (as the log has it of the epoch that was kept, now), of
    those that are not the same."""
    rounded: bool = False
    """Of a run without fingerprint.json: all weights are numbers that 16 bits hold."""
    effect: dict[str, float] = field(default_factory=dict)
    """The same as `outputs`, where tensors changed."""
    exchanged: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """Of files of preprocess/ that changed: pairs of entries of which each now holds what training wrote of the other."""
    gone: tuple[str, ...] = ()
    resaved: dict[str, float] = field(default_factory=dict)
    """Files of preprocess/ that hold the numbers of training rounded to 32 bits, with the largest relative difference."""
    config: bool = False
    """config.yaml says something else; another order of its keys, or a comment, does not count."""
    settings: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By key of config.yaml that changed: (value then, value now); empty also where the values then were not kept."""
    sample: str = "same"
    """"same", "changed", or "absent"; the same rows in another order are the same"""
    sample_parts: tuple[str, ...] = ()
    """Columns of the stored rows that changed; empty also where they were not marked one by one."""
    sample_keys: bool = False
    """They are other customers or dates."""
    sample_effect: dict[str, float] = field(default_factory=dict)
    """The same as `outputs`, where columns of the stored rows changed."""
    rows: int = 0
    outputs: dict[str, float] = field(default_factory=dict)
    """Part of the model, along the way of the data -> how far its output is from that at the end of training, as a share of
    its size."""
    environment: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What differs: (at the end of training, now)."""
    expert_norm: dict[str, float] = field(default_factory=dict)
    """Mean norm of an expert's output at the end of training, on the stored rows."""
    expert_spread: dict[str, float] = field(default_factory=dict)
    gate_top: dict[str, float] = field(default_factory=dict)
    """Mean largest weight of a task's gate then."""
    gate_entropy: dict[str, float] = field(default_factory=dict)

    @property
    def moved(self) -> str:
        """What of the environment differs, in words."""
        return ", ".join(f"{k} {then} -> {now}" for k, (then, now) in self.environment.items())

    @property
    def moved_settings(self) -> list[str]:
        """The keys of config.yaml that changed, in words."""
        return [f"{key}: {then} -> {now}" for key, (then, now) in self.settings.items()]

    def tasks_apart(self, limit: float) -> list[str]:
        """Tasks whose predictions are others by more than this share of their size, where tensors changed."""
        told = {k.removeprefix("predictions."): v for k, v in self.effect.items() if k.startswith("predictions.")}
        return [task for task, v in told.items() if v > limit]

    @property
    def changed(self) -> bool:
        """Anything but the sample."""
        return bool(self.tensors or self.files or self.gone or self.config)
