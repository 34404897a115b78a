"""What every part of a model says of some rows, in a few numbers a part, along the way of the data.

Two runs of the same weights over the same rows are held against each other by signed sums: the sum of all values, each with a
fixed pseudo-random sign. Their squared difference is, on average over signs, the squared difference of all values (Alon, Matias
& Szegedy 1999), so that a handful of sums tells how far apart two outputs are without keeping either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ple_model.batch import PLEClusterInput
from ple_model.fields import FIELD_SHAPES
from ple_model.model import PLEClusterAdaTT
from ple_model.output import PLEClusterOutput
from ple_model.stored import Stored

SUMS = 8
ROWS = 512
"""Rows of the stored sample that are looked at."""


@dataclass(frozen=True)
class OutputMark:
    """One part's output: its shape, mean and spread over all values, mean norm of a row, size (root of the summed squares), and
    the signed sums."""

    shape: tuple[int, ...]
    mean: float
    std: float
    norm: float
    size: float
    lost: int
    """Values that are no numbers; they count as 0."""
    sums: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        numbers = {k: _short(getattr(self, k)) for k in ("mean", "std", "norm", "size")}
        return {"shape": list(self.shape), **numbers, "lost": self.lost, "sums": [_short(v) for v in self.sums]}

    @staticmethod
    def from_stored(found: Stored) -> OutputMark:
        """`UserError` names what is wrong."""
        mean, std, norm, size = (found.number(k) for k in ("mean", "std", "norm", "size"))
        sums = found.numbers("sums")
        if len(sums) != SUMS:
            raise found.wrong("sums", f"{SUMS} numbers")
        return OutputMark(found.wholes("shape"), mean, std, norm, size, found.whole("lost"), sums)

    def distance(self, other: OutputMark) -> float:
        """How far apart the two outputs are, as a share of their size; infinite where shapes or lost values differ."""
        if self.shape != other.shape or self.lost != other.lost:
            return math.inf
        apart = math.sqrt(sum((a - b) ** 2 for a, b in zip(self.sums, other.sums, strict=True)) / SUMS)
        size = max(self.size, other.size)
        return apart / size if size > 0 else 0.0


@torch.no_grad()
def output_marks(
    model: PLEClusterAdaTT, inputs: PLEClusterInput, output: PLEClusterOutput | None = None
) -> dict[str, OutputMark]:
    """The marks of what was read and of what each part made of it, in the order in which the data pass through. `output`: what
    the model says of these inputs, where that is known."""
    return {name: output_mark(value) for name, value in _parts(model, inputs, model(inputs) if output is None else output)}


def _parts(model: PLEClusterAdaTT, inputs: PLEClusterInput, output: PLEClusterOutput) -> Iterator[tuple[str, Tensor]]:
    for field in FIELD_SHAPES:
        if (value := getattr(inputs, field)) is not None:
            yield f"inputs.{field}", value
    encoded = output.encoded
    for name, value in encoded.expert_outputs.items():
        yield f"experts.{name}", value
    yield "auxiliary", encoded.shared_concat
    for mode, value in encoded.hmm_projected.items():
        yield f"hmm.{mode}", value
    yield "cluster_embedding", encoded.cluster_embedding
    if encoded.direct is not None:
        yield "direct", encoded.direct
    yield "cgc", output.gate_weights
    yield "basket.encoders", output.encoder_outputs
    for task, value in output.task_expert.items():
        yield f"basket.{task}", value
    for task in model.execution_order:
        for edge, value in output.transfer.items():
            if edge.split(":")[1] == task:
                yield f"transfer.{edge}", value
        yield f"towers.{task}", output.logits[task]
        yield f"predictions.{task}", output.predictions[task]
    if output.sae is not None:
        yield "sae", output.sae.pre_activation
    for task, head in output.evidential.items():
        yield f"evidential.{task}", head.alpha


def output_mark(value: Tensor) -> OutputMark:
    """The mark of one output [B, ...]."""
    x = np.asarray(value.detach().to("cpu", torch.float64).numpy(), dtype=np.float64)
    finite = np.isfinite(x)
    lost = int(x.size - finite.sum())
    x = np.where(finite, x, 0.0) if lost else x
    rows = x.reshape(len(x), -1)
    flat = rows.ravel()
    size = float(np.sqrt(flat @ flat))
    norm = float(np.sqrt(np.einsum("ij,ij->i", rows, rows)).mean()) if len(rows) else 0.0
    mean, std = (float(flat.mean()), float(flat.std())) if flat.size else (0.0, 0.0)
    return OutputMark(tuple(x.shape), mean, std, norm, size, lost, _sums(flat))


BLOCK = 1 << 14
"""Values that are summed at once: their signs stay in the cache of the processor."""


def _sums(flat: NDArray[np.float64]) -> tuple[float, ...]:
    signs, total = _signs(flat.size), np.zeros(SUMS)
    for i in range(0, flat.size, BLOCK):
        total += signs[:, i : i + BLOCK].astype(np.float64) @ flat[i : i + BLOCK]
    return tuple(float(v) for v in total)


@lru_cache(maxsize=64)
def _signs(n: int) -> NDArray[np.float32]:
    """[SUMS, n] of -1 and 1 from the bits of a mixed place (splitmix64, Steele et al. 2014): the same on every machine."""
    with np.errstate(over="ignore"):
        z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    bits = np.stack([(z >> np.uint64(b)) & np.uint64(1) for b in range(SUMS)])
    return np.where(bits == 1, np.float32(1), np.float32(-1))


def _short(value: float) -> float:
    """Ten digits: far more than two machines agree on."""
    return float(f"{value:.10g}")


def row_sizes(value: NDArray[np.floating]) -> tuple[float, float]:
    """(mean norm of a row, root of the total variance over rows) of an output [n, d]."""
    if not len(value):
        return math.nan, math.nan
    x = np.asarray(value, dtype=np.float64)
    return float(np.linalg.norm(x, axis=1).mean()), float(np.sqrt(x.var(axis=0).sum()))


def read_marks(found: Stored) -> Mapping[str, OutputMark]:
    return {name: OutputMark.from_stored(found.mapping(name)) for name in found.values}
