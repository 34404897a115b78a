"""Which columns say the same of a customer: one fact over several windows, or two columns of a part that no customer's order
tells apart.

That two columns merely go together does not make them one fact. In the bundled run's sample two columns with a rank correlation
of 0.7 stand on opposite sides of their medians for one customer in five, of 0.9 for one in ten, of 0.98 for one in thirty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analysis.engine.population import Population
from analysis.explain.origin.told import CIRCLE, column_said
from analysis.wording import OPAQUE
from ple_model.schema import FeatureColumn, FeatureSchema

Array = NDArray[np.float64]
WINDOW = re.compile(r"\bthe last (\d+ )?(days?|weeks?|months?|year)\b")
SAME_ORDER = 0.98


@lru_cache(maxsize=4096)
def fact_of(column: FeatureColumn) -> tuple[str, str]:
    """What a column says but for its window, and its unit: alike for columns that are one fact over several windows."""
    if CIRCLE.search(column.name):
        return CIRCLE.pattern, column.unit
    return WINDOW.sub("the last", column_said(column, "en").lower()), column.unit


@dataclass(frozen=True, eq=False)
class SameFacts:
    """By column [columns]: numbers of its fact and its part, whether it speaks for itself, and whether it is half an hour."""

    fact: NDArray[np.int64]
    part: NDArray[np.int64]
    open: NDArray[np.bool_]
    circle: NDArray[np.bool_]

    @staticmethod
    def of(schema: FeatureSchema) -> SameFacts:
        """Worked out once for all columns: a reason asks for each of hundreds."""
        facts: dict[object, int] = {}
        parts: dict[str, int] = {}
        return SameFacts(
            np.array([facts.setdefault(fact_of(c), len(facts)) for c in schema.columns]),
            np.array([parts.setdefault(c.part, len(parts)) for c in schema.columns]),
            np.array([c.part not in OPAQUE for c in schema.columns]),
            np.array([bool(CIRCLE.search(c.name)) for c in schema.columns]),
        )


def alike(
    schema: FeatureSchema, peers: Population, column: int, own: Array, typical: Array, facts: SameFacts | None = None
) -> NDArray[np.bool_]:
    """[columns] that say of the customer what `column` says, itself included: the same fact or the same order of customers, and
    on the same side of the typical value, where both are off it. own, typical: [columns], in one scale."""
    f = SameFacts.of(schema) if facts is None else facts
    order, side = peers.order(column), np.sign(own - typical)
    windows = f.open & (f.fact == f.fact[column])
    way = np.where(windows, 1.0, np.sign(order))
    found = (windows | ((f.part == f.part[column]) & (np.abs(order) >= SAME_ORDER))) & (side[column] * side * way >= 0)
    if f.circle[column]:
        found |= f.circle
    found[column] = True
    return np.asarray(found)
