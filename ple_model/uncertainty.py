"""When to fall back: quantiles of each task's uncertainty on validation customers, kept with the run.

A prediction whose uncertainty lies above the validation quantile `1 - share` is marked as a fallback, so that about `share` of
customers like those of the validation split are marked. Evidential uncertainty ranks rows by how unfamiliar they are; its level
means nothing by itself (Juergens et al. 2024, "Is epistemic uncertainty faithfully represented by evidential deep learning
methods?"), which is why the threshold is a quantile and not a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.errors import UserError
from ple_model.evidential import EvidentialOutput
from ple_model.files import read_json, write_json

if TYPE_CHECKING:
    from ple_model.data.dataset.batches import Batch
    from ple_model.data.dataset.reader import Dataset
    from ple_model.model import PLEClusterAdaTT
    from ple_model.run import Run

FILE = "uncertainty.json"
STEPS = 100
"""Quantiles are kept at 0, 1/100, ..., 1."""
MAX_ROWS = 20_000
FALLBACK_SHARE = 0.05
"""Share of validation customers whose answers are marked as too uncertain, unless another is asked for."""
MIN_ROWS = 50
"""Below this many validation rows a quantile is not worth a threshold."""
Origin = Literal["stored", "computed from the sample"]


@dataclass(frozen=True)
class UncertaintyQuantiles:
    """Of one task: `values` [101] at 0, 1/100, ..., 1 over `n` validation rows."""

    n: int
    values: tuple[float, ...]

    def threshold(self, share: float) -> float:
        """The uncertainty that a share of validation rows lies above; `share` in [0, 1]."""
        return float(np.interp(1.0 - share, np.linspace(0.0, 1.0, len(self.values)), self.values))


def row_uncertainty(head: EvidentialOutput) -> Tensor:
    """[B] one number a row: vacuity or epistemic variance, the mean over outputs where a task has several."""
    return head.uncertainty if head.uncertainty.dim() == 1 else head.uncertainty.mean(dim=1)


@torch.no_grad()
def measure(model: PLEClusterAdaTT, batches: Iterable[Batch], limit: int = MAX_ROWS) -> dict[str, UncertaintyQuantiles]:
    """Quantiles by evidential task over at most `limit` rows of `batches`, those that are numbers and that the task is defined
    for; a task without any is left out. `model` is in eval mode."""
    device = next(model.parameters()).device
    pieces: dict[str, list[NDArray[np.float64]]] = {}
    rows = 0
    for batch in batches:
        output = model(batch.inputs.to(device))
        for task, head in output.evidential.items():
            there = batch.inputs.defined(task).cpu().numpy()
            pieces.setdefault(task, []).append(row_uncertainty(head).cpu().double().numpy()[there])
        rows += len(batch)
        if rows >= limit:
            break
    found = {t: v[np.isfinite(v)] for t, p in pieces.items() for v in (np.concatenate(p),)}
    at = np.linspace(0.0, 1.0, STEPS + 1)
    return {t: UncertaintyQuantiles(len(v), tuple(np.quantile(v, at).tolist())) for t, v in found.items() if len(v)}


def write(run: Path, quantiles: Mapping[str, UncertaintyQuantiles]) -> None:
    write_json(run / "preprocess" / FILE, {t: asdict(q) for t, q in quantiles.items()})


def measure_and_write(run: Path, model: PLEClusterAdaTT, dataset: Dataset) -> None:
    """Measure on the validation split and write `preprocess/uncertainty.json`; nothing without validation rows."""
    if dataset.rows("validation"):
        batches = dataset.batches("validation", 1024, shuffle=True)
        write(run, measure(model, batches))


def stored_quantiles(run: Run) -> dict[str, UncertaintyQuantiles] | None:
    """Those kept with the run, None in an older one. `UserError` if they are damaged or hold NaN or Inf."""
    path = run.preprocess / FILE
    if not path.exists():
        return None
    try:
        stored: dict[str, Any] = read_json(path)
        found = {t: UncertaintyQuantiles(int(q["n"]), tuple(map(float, q["values"]))) for t, q in stored.items()}
        bad = [t for t, q in found.items() if not np.isfinite(q.values).all()]
        if bad:
            raise ValueError(f"the quantiles of '{bad[0]}' hold NaN or Inf")
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise UserError(f"{path} is damaged: {e!r}") from e
    return found


def quantiles_of(run: Run, model: PLEClusterAdaTT) -> tuple[dict[str, UncertaintyQuantiles], Origin]:
    """Those stored with the run; of an older run, those of the validation rows in its sample. Empty where neither is there."""
    stored = stored_quantiles(run)
    if stored is not None:
        return stored, "stored"
    try:
        sample = run.sample()
    except UserError:
        return {}, "computed from the sample"
    if not sample.rows("validation"):
        return {}, "computed from the sample"
    return measure(model, sample.batches("validation", 1024)), "computed from the sample"
