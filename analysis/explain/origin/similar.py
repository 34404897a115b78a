"""Customers of the same cluster: how the customer's own values stand among theirs, in words that can be counted."""

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
from ple_model.money import is_money
from ple_model.numerals import LANGUAGES, Language

Array = NDArray[np.float64]
UNCOUNTED = ("flag", "category")
"""A yes or no has no rank worth telling."""
MOST = 10
"""Of a middle that is all but nothing anything is many times: beyond this the rank says more."""
EXACT = 0.005
"""So near a whole number the times are told without `about`."""
ROUNDED = 1e-4
"""What a normaliser rounds away is no difference."""


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

    def beside(self, columns: Columns, column: int, language: Language) -> str:
        """`4 times the median of similar customers`, `below that of 92% of similar customers`; empty where neither is worth
        telling: the times from twice on, a rank where more than half are on the other side. Never against what the same
        sentence says of the typical customer: `6, where the median is 21 (3 times ...)` would read as a slip."""
        c = columns.schema.columns[column]
        if not columns.known[column] or c.unit in UNCOUNTED or CIRCLE.search(c.name):
            return ""
        values, own = self.values(column), float(columns.own[column])
        if len(values) < MEMBERS:
            return ""
        way = own - float(columns.typical[column])
        middle = float(np.median(values)) if len(values) == len(self.rows) else 0.0  # of some of them it is no median of all
        if (
            (c.unit == "count" or is_money(c.unit))
            and way >= 0
            and middle > ROUNDED
            and 2 <= (n := round(own / middle)) <= MOST
        ):
            about = "times" if abs(own / middle - n) < EXACT else "about_times"
            return phrase(f"origin.similar.{about}", language, n=f"{n:,}")
        least = ROUNDED * max(1.0, abs(own))
        above, below = (int(side.sum()) / len(self.rows) for side in (values < own - least, values > own + least))
        side, share = ("above", above) if above >= below else ("below", below)
        percent = int(100 * share)  # downwards, so that it is never too much
        if percent <= 50 or (way < 0 if side == "above" else way > 0):
            return ""
        return phrase(f"origin.similar.{side}{'_all' if percent == 100 else ''}", language, share=f"{percent}%")

    def who(self) -> tuple[str, str]:
        """Whom the sentences call similar, in both languages."""
        key = "who" if self.traits else "who_unnamed"
        n = f"{len(self.rows):,}"
        en, ko = (
            phrase(f"origin.similar.{key}", x, n=n, who=listed(tuple(t.said(x) for t in self.traits), x)) for x in LANGUAGES
        )
        return en, ko
