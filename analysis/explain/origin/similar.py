"""Customers of the same group: what is usual among them, to set the customer's own values beside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.engine.population import Population
from analysis.explain.origin.clusters import MEMBERS, Trait
from analysis.explain.origin.told import CIRCLE, Columns, listed
from analysis.i18n import phrase
from ple_model.data.dataset.normalize import Normalizer
from ple_model.numerals import LANGUAGES

Array = NDArray[np.float64]
ENOUGH = 13
"""From so many on, the median of the few lies between the quartiles of all such customers in 95 of 100 draws (binomial)."""


@dataclass(frozen=True, eq=False)
class SimilarCustomers:
    """Rows [n] of the sample of the customer's cluster, without the customer and one of each other; `traits` are what sets the
    cluster apart."""

    peers: Population
    rows: NDArray[np.int64]
    normalizer: Normalizer
    traits: tuple[Trait, ...]

    @staticmethod
    def of(
        peers: Population, customers: list[str], customer: str, cluster: int, normalizer: Normalizer, traits: tuple[Trait, ...],
        latest: NDArray[np.bool_] | None = None,
    ) -> SimilarCustomers | None:  # fmt: skip
        """`latest` [rows]: those to choose from, one a customer. None where there are too few of them to compare with."""
        others = np.array([c != customer for c in customers])
        if latest is not None:
            others &= latest
        rows = np.flatnonzero((peers.cluster == cluster) & others)
        return None if len(rows) < MEMBERS else SimilarCustomers(peers, rows, normalizer, traits)

    @cached_property
    def _values(self) -> Array:
        return np.asarray(self.normalizer.inverse(self.peers.features[self.rows]), dtype=np.float64)

    def values(self, column: int) -> Array:
        """What those of them have in a column who have its part at all, in real units."""
        there = self.peers.said(column)[self.rows]
        found: Array = self._values[there, column]
        return found

    def middle(self, columns: Columns, column: int) -> float | None:
        """Their median in a column; None where too few of them have a value, or the column is an angle or a yes or no."""
        c = columns.schema.columns[column]
        if c.unit in ("flag", "category") or CIRCLE.search(c.name):
            return None
        values = self.values(column)
        return None if len(values) < ENOUGH else float(np.median(values))

    def who(self) -> tuple[str, str]:
        """Whom the sentences call similar, in both languages."""
        key = "who" if self.traits else "who_unnamed"
        n = f"{len(self.rows):,}"
        en, ko = (
            phrase(f"origin.similar.{key}", x, n=n, who=listed(tuple(t.said(x) for t in self.traits), x)) for x in LANGUAGES
        )
        return en, ko
