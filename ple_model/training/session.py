"""What all parts of one training share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ple_model.checkpoint import Position
from ple_model.config import Config
from ple_model.context import ModelContext
from ple_model.data.dataset.reader import Dataset
from ple_model.device import Precision
from ple_model.epochlog import EpochSums
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.training.ranks import ONE, Ranks

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Options:
    """How a training runs, without effect on its numbers (except `device`)."""

    device: str = "auto"
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    """Save every so many steps too."""
    sample_customers: int = 2000
    baselines: bool = False
    """At the end, measure the dataset's baselines if it has none; without it what is there is carried."""
    pause_files: tuple[Path, ...] = ()
    """Files that ask for a pause while they are there, beside the run's own `state/pause`."""
    began: float | None = None
    """When whoever asks for the training began (seconds since 1970): files that ask it to stop or to stand still and are older
    were meant for another. None: when `train` is called."""
    starts: Path | None = None
    """Folder of fitted starts (`start_folder`) that trainings on the same rows share."""
    command: str | None = None
    """What makes the run again, kept in its manifest; a run that is resumed keeps the command that began it."""


class Stopped(Exception):
    """Someone asked the training to stop; the state is saved."""


class LostProcess(UserError):
    """Another process of the training died or does not answer: what this one has is not the whole."""


@dataclass(frozen=True)
class Session:
    """One process that trains a run; `position` and `sums` move on with its steps."""

    run: Run
    dataset: Dataset
    model: PLEClusterAdaTT
    context: ModelContext
    device: torch.device
    precision: Precision
    position: Position
    sums: EpochSums
    ranks: Ranks = ONE

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def batch_size(self) -> int:
        return self.run.manifest.batch_size

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.dataset.rows("train") // self.batch_size)

    @property
    def step_rows(self) -> int:
        """Of the batch of the step that comes next: the last one of an epoch may be short."""
        return min(self.batch_size, self.dataset.rows("train") - self.position.step * self.batch_size)

    @property
    def phase_epochs(self) -> int:
        """Planned for the phase in progress."""
        t = self.config.training
        return t.phase1_epochs if self.position.phase == 1 else t.phase2_epochs

    @property
    def frozen(self) -> dict[str, bool]:
        return {"gates": bool(self.model.gates_frozen), "shared": self.model.shared_frozen}
