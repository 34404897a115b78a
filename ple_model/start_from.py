"""A training that starts from the weights of another run: all of it again, or its second phase alone.

The weights are kept in the new run's `state/`, so that a training that is killed before its first checkpoint starts from them
again, whatever became of the other run. At the end they are removed with the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ple_model.config import Config
from ple_model.errors import UserError
from ple_model.files import load_weights, read_tensors, write_json, write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.safe_text import read_object

WEIGHTS, FACTS = "start.safetensors", "start.json"


@dataclass(frozen=True)
class StartFrom:
    """The run to start from; `phase_2`: its shared experts stay as they are, only the second phase is trained."""

    run: Run
    phase_2: bool = False

    def keep(self, folder: Path, model: PLEClusterAdaTT, config: Config) -> None:
        """Put the weights into the new run's `folder`. `UserError` where they do not fit its model."""
        if self.phase_2 and config.training.phase2_epochs == 0:
            raise UserError("training.phase2_epochs: 0 leaves nothing to train of phase 2 alone; give it at least 1")
        source = self.run.path / "model.safetensors"
        weights, _ = read_tensors(source)
        load_weights(model, weights, source)
        write_tensors(folder / "state" / WEIGHTS, weights, {"format": "pt"})
        write_json(folder / "state" / FACTS, {"phase": 2 if self.phase_2 else 1})


def kept_start(run: Path) -> tuple[dict[str, Tensor], int] | None:
    """(weights, phase to begin with) of a run that starts from another; None for one that starts anew."""
    path = run / "state" / WEIGHTS
    if not path.exists():
        return None
    phase = read_object(run / "state" / FACTS).get("phase")
    if phase not in (1, 2):
        raise UserError(f"{run / 'state' / FACTS}: phase {phase!r:.20} is neither 1 nor 2")
    return read_tensors(path)[0], int(phase)


def drop_start(run: Path) -> None:
    """After the end: the run's own weights are there."""
    for name in (WEIGHTS, FACTS):
        (run / "state" / name).unlink(missing_ok=True)
