"""What sentences compare a customer with: the rows of the run's sample as the model reads them, and how alike
columns order the customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ple_model.batch import PLEClusterInput
from ple_model.presence import part_key
from ple_model.tasks import HMM_MODES

Array = NDArray[np.float64]
NEARLY_ALL = 0.99
"""Where fewer customers have a value in a column, its median is not called that of all: by judgement."""
WIDE = 4096
"""Columns up to which all rank correlations are kept: 64 MB."""


@dataclass(frozen=True, eq=False)
class Population:
    """features [n, columns] normalised; parts {part: [n] bool}; segment and cluster [n], -1 where unknown; fields {name:
    [n, d]} and present {name: [n] bool} of the derived inputs that comparisons need."""

    features: NDArray[np.float32]
    parts: dict[str, NDArray[np.bool_]]
    columns: dict[str, slice]
    segment: NDArray[np.int64]
    cluster: NDArray[np.int64]
    fields: dict[str, NDArray[np.float32]]
    present: dict[str, NDArray[np.bool_]]
    empty: NDArray[np.bool_] | None = None
    """[n, columns] where a column has nothing to say of a row and reads as its middle; None where that was not kept."""

    FIELDS = (*(f"hmm_{m}" for m in HMM_MODES), "collaborative_features", "cluster_probs")

    @staticmethod
    def of(pieces: Sequence[PLEClusterInput]) -> Population:
        """From inputs, batch by batch."""
        first = pieces[0]
        names = [f for f in Population.FIELDS if getattr(first, f) is not None]
        segments = [
            np.full(len(p), -1) if p.customer_segment is None else p.customer_segment.cpu().numpy().astype(np.int64)
            for p in pieces
        ]
        return Population(
            np.concatenate([p.features.float().cpu().numpy() for p in pieces]),
            {k: np.concatenate([p.present(part_key(k)).cpu().numpy() for p in pieces]).astype(bool) for k in first.parts},
            dict(first.parts),
            np.concatenate(segments),
            np.concatenate([p.cluster_ids.cpu().numpy().astype(np.int64) for p in pieces]),
            {f: np.concatenate([getattr(p, f).float().cpu().numpy() for p in pieces]) for f in names},
            {f: np.concatenate([p.present(f).cpu().numpy() for p in pieces]).astype(bool) for f in names},
        )

    def __len__(self) -> int:
        return len(self.features)

    def said(self, column: int) -> NDArray[np.bool_]:
        """[n] rows of which a column says anything."""
        there = self.parts[self.part_of(column)]
        return there if self.empty is None else there & ~self.empty[:, column]

    @cached_property
    def shared(self) -> NDArray[np.bool_]:
        """[columns] in which nearly all rows have a value."""
        every = range(self.features.shape[1])
        return np.array([float(self.said(i).mean()) >= NEARLY_ALL for i in every])

    def part_of(self, column: int) -> str:
        return next(p for p, where in self.columns.items() if where.start <= column < where.stop)

    @cached_property
    def _ranks(self) -> NDArray[np.float32]:
        """[n, columns] standardised ranks, 0 in constant columns."""
        from scipy.stats import rankdata  # late: scipy

        ranks = rankdata(self.features, axis=0).astype(np.float32)
        ranks -= ranks.mean(0)
        size = np.sqrt((ranks**2).sum(0))
        return np.asarray(ranks / np.where(size > 0, size, 1), dtype=np.float32)

    @cached_property
    def _orders(self) -> NDArray[np.float32]:
        """[columns, columns] rank correlations: an explanation asks for hundreds of its rows."""
        return np.asarray(self._ranks.T @ self._ranks)

    def order(self, column: int) -> NDArray[np.float32]:
        """[columns] rank correlation with `column`."""
        return self._orders[column] if self.features.shape[1] <= WIDE else np.asarray(self._ranks.T @ self._ranks[:, column])
