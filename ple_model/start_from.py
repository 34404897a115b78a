"""A training that starts from the weights of another run: all of it again, or its second phase alone.

What training learnt is taken over, the fitted linear map and its bends as they stand. What the new data gives stays the new
data's (means, the merchant tree), and a whole training begins with gates and adaTT that are not frozen yet, as every training
does; the second phase alone goes on with them as they are.

The weights are kept in the new run's `state/`, so that a training that is killed before its first checkpoint starts from them
again, whatever became of the other run. At the end they are removed with the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ple_model.config import Config
from ple_model.context import ModelContext
from ple_model.errors import UserError
from ple_model.files import load_weights, read_tensors, write_json, write_tensors
from ple_model.model import PLEClusterAdaTT
from ple_model.run import Run
from ple_model.safe_text import read_object

OF_TRAINING = ("direct.blend", "brands.share", "expert_heads.")
"""What an epoch chooses anew or training alone reads: a model that has it may start from one without, and the other way."""
WEIGHTS, FACTS = "start.safetensors", "start.json"


def require_same_names(run: Run, ours: ModelContext, otherwise: str) -> None:
    """`UserError` where the brands or class names of `run` are others than ours: its outputs mean other things."""
    theirs = run.context()
    for what, had, has in (("brands", theirs.brands, ours.brands), ("class names", theirs.class_names, ours.class_names)):
        if had != has:
            raise UserError(f"{run.path} was trained on other {what} than those of the dataset; {otherwise}")


@dataclass(frozen=True)
class StartFrom:
    """The run to start from; `phase_2`: its shared experts stay as they are, only the second phase is trained."""

    run: Run
    phase_2: bool = False

    def keep(self, folder: Path, model: PLEClusterAdaTT, config: Config) -> None:
        """Put the weights into the new run's `folder`. `model`: its fresh model, which is changed. `UserError` where they do
        not fit it."""
        if self.phase_2 and config.training.phase2_epochs == 0:
            raise UserError("training.phase2_epochs: 0 leaves nothing to train of phase 2 alone; give it at least 1")
        theirs = self.run.context()
        require_same_names(self.run, model.context, "train anew without --from")
        source = self.run.path / "model.safetensors"
        weights, _ = read_tensors(source)
        own = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(OF_TRAINING)}
        weights = {k: v for k, v in weights.items() if k in own or not k.startswith(OF_TRAINING)}
        weights |= {k: v for k, v in own.items() if k not in weights}
        fresh = {name: value.clone() for name, value in model.named_buffers()}
        load_weights(model, weights, source)
        kept = fresh.keys() & weights.keys() & (self._given(theirs, fresh, config) | self._begun(fresh))
        weights |= {name: fresh[name] for name in kept}
        keep_start(folder, weights, phase=2 if self.phase_2 else 1, fitted=True)

    def _given(self, theirs: ModelContext, fresh: Mapping[str, Tensor], config: Config) -> set[str]:
        """Buffers that are others with the other run's data, before any training."""
        with torch.random.fork_rng():
            torch.manual_seed(config.training.seed)
            before = dict(PLEClusterAdaTT(self.run.config, theirs).named_buffers())
        return {name for name, value in fresh.items() if name not in before or not torch.equal(before[name], value)}

    def _begun(self, fresh: Mapping[str, Tensor]) -> set[str]:
        """Where a training stands: what a whole one begins anew."""
        return set() if self.phase_2 else {n for n in fresh if n.startswith("adatt.") or n.endswith(".frozen")}

    def warnings(self, fingerprint: str) -> list[str]:
        """What to know of weights that were learnt from other data."""
        data = self.run.manifest.data
        if data.fingerprint == fingerprint:
            return []
        return [f"the weights that it starts from were learnt from other data ('{data.name}'); the fitted map is of that data"]


@dataclass(frozen=True)
class KeptStart:
    """Weights that a training starts with, the phase that it begins with, and whether they hold a fitted linear map."""

    weights: dict[str, Tensor]
    phase: int
    fitted: bool


def keep_start(folder: Path, weights: Mapping[str, Tensor], *, phase: int, fitted: bool) -> None:
    """Into the `state/` of a new run."""
    write_tensors(folder / "state" / WEIGHTS, weights, {"format": "pt"})
    write_json(folder / "state" / FACTS, {"phase": phase, "fitted": fitted})


def kept_start(run: Path) -> KeptStart | None:
    """What a run starts from; None for one that starts anew."""
    path = run / "state" / WEIGHTS
    if not path.exists():
        return None
    facts = read_object(run / "state" / FACTS)
    phase, fitted = facts.get("phase"), facts.get("fitted", True)
    if phase not in (1, 2):
        raise UserError(f"{run / 'state' / FACTS}: phase {phase!r:.20} is neither 1 nor 2")
    if not isinstance(fitted, bool):
        raise UserError(f"{run / 'state' / FACTS}: fitted {fitted!r:.20} is neither true nor false")
    return KeptStart(read_tensors(path)[0], int(phase), fitted)


def drop_start(run: Path) -> None:
    """After the end: the run's own weights are there."""
    for name in (WEIGHTS, FACTS):
        (run / "state" / name).unlink(missing_ok=True)
