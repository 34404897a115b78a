"""Which columns may be sensitive, so that a reason that speaks of one says that the customer is not told it without consent.

Unlike what is barred, it stays a reason for the reviewer, who has to know what the model went by.
"""

from __future__ import annotations

from collections.abc import Sequence

from ple_model.errors import UserError, did_you_mean
from ple_model.schema import FeatureSchema
from ple_model.sensitive_words import SENSITIVE_KINDS

KEY = "explanations.sensitive"


def sensitive_columns(schema: FeatureSchema, names: Sequence[str]) -> frozenset[str]:
    """Of these kinds, columns, parts and groups; of a table of one's own a column is known by what it was called there.
    `UserError` with the nearest name for one that is none of them."""
    found: set[str] = set()
    for name in names:
        if (kind := SENSITIVE_KINDS.get(name)) is not None:
            found |= {c.name for c in schema.columns if kind.called(c.how.removeprefix("column: ") if schema.own else c.name)}
            continue
        same = {c.name for c in schema.columns if name in (c.name, c.part, c.group, c.how.removeprefix("column: "))}
        if not same:
            known = (*SENSITIVE_KINDS, *schema.parts, *schema.index)
            raise UserError(f"{KEY}: '{name}' is no column or group of this model{did_you_mean(name, known)}")
        found |= same
    return frozenset(found)
