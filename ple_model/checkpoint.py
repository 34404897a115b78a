"""The resume state of a training: one safetensors file, `state/checkpoint.safetensors`, replaced atomically.

It holds the weights, the best weights so far, the optimizer's moments, the sums of the epoch in progress and the random
generators' states as tensors, and everything else (position, schedule, early stopping, loss scaler) as JSON in the file's
metadata. One file means that a kill at any moment leaves either the old state or the new one, so that a resumed CPU training at
the same thread count ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ple_model.errors import UserError
from ple_model.files import read_tensors, write_tensors
from ple_model.safe_paths import is_file

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Position:
    """Where a training stands. Epochs and phases count from 1; `phase` 3 means that only the end is left."""

    phase: int = 1
    epoch: int = 1
    """The epoch in progress, or the next one."""
    phase_epoch: int = 0
    """Epochs of this phase that are complete."""
    step: int = 0
    """Steps of the epoch in progress that are complete: the data position."""
    total_steps: int = 0
    best: float | None = None
    """Lowest validation mean so far."""
    best_epoch: int = 0
    since_best: int = 0
    seconds: float = 0.0
    """Training time of the epoch in progress."""
    total_seconds: float = 0.0
    worked: float = 0.0
    """Wall time of all processes that worked on the run, validation and what is fitted before the first step included."""
    sum_names: list[str] = field(default_factory=list)
    progress_size: int = 0
    """Length of progress.jsonl in bytes when this was saved."""
    warnings: list[str] = field(default_factory=list)
    skipped: int = 0
    """Steps of the epoch in progress that were not finite."""
    skipped_why: str = ""
    """The first of them, in words."""
    lost: dict[str, int] = field(default_factory=dict)
    """Onlooker -> steps of the epoch in progress in which it alone was not finite, and was left as it was."""
    step_size: dict[str, float] = field(default_factory=dict)
    """How far the middle step of the epoch in progress moved the weights of each block."""


@dataclass(frozen=True)
class Checkpoint:
    position: Position
    model: dict[str, Tensor]
    best: dict[str, Tensor]
    sums: dict[str, Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any]
    rng: dict[str, Tensor]
    aside: dict[str, Tensor] = field(default_factory=dict)
    """Weights that train beside the model and are no part of it: a teacher's hint."""


def rng_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng(states: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in `folder` (the run's `state/`)."""
    tensors: dict[str, Tensor] = {}
    for prefix in ("model", "best", "sums", "rng", "aside"):
        tensors |= {f"{prefix}.{k}": v for k, v in getattr(checkpoint, prefix).items()}
    moments: dict[str, Tensor] = {}
    for index, entry in checkpoint.optimizer["state"].items():
        moments |= {f"optimizer.{index}.{k}": v for k, v in entry.items()}
    meta = {
        "position": asdict(checkpoint.position),
        "param_groups": checkpoint.optimizer["param_groups"],
        "scheduler": checkpoint.scheduler,
        "scaler": checkpoint.scaler,
    }
    write_tensors(folder / CHECKPOINT, tensors | moments, {"state": json.dumps(meta)})


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """What `save_checkpoint` wrote; None if there is none yet. `UserError` if it is truncated or something else."""
    path = folder / CHECKPOINT
    if not is_file(path):
        return None
    tensors, metadata = read_tensors(path)
    try:
        meta = json.loads(metadata["state"])
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "sums": {}, "rng": {}, "aside": {}}
        by_index: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            prefix, _, rest = name.partition(".")
            if prefix == "optimizer":
                index, _, key = rest.partition(".")
                by_index.setdefault(int(index), {})[key] = value
            else:
                parts[prefix][rest] = value
        groups = [{**g, "betas": tuple(g["betas"])} for g in meta["param_groups"]]
        return Checkpoint(
            position=_position(meta["position"]),
            optimizer={"state": by_index, "param_groups": groups},
            scheduler=meta["scheduler"],
            scaler=meta["scaler"],
            **parts,
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise UserError(f"{path} is not a resume state of this release: {' '.join(str(e).split())}") from e


def _position(raw: dict[str, Any]) -> Position:
    """As it was saved. A state of before wall time was kept says at least how long its steps took."""
    found = Position(**raw)
    return found if "worked" in raw else replace(found, worked=found.total_seconds + found.seconds)
