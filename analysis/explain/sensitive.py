"""Which columns may be sensitive, so that whatever speaks of one asks for a check: whether the bank may use it, and how it is
told. That is a question to the bank's counsel; what the law asks for is not decided here.

Unlike what is barred, it stays a reason for the reviewer, who has to know what the model went by.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.results.explanation_parts import Kind
from ple_model.errors import UserError, did_you_mean
from ple_model.schema import FeatureSchema
from ple_model.sensitive_words import SENSITIVE_KINDS

KEY = "explanations.sensitive"


def sensitive_columns(schema: FeatureSchema, names: Sequence[str]) -> dict[str, Kind]:
    """column -> what kind it may be, in both languages: of these kinds, columns, parts and groups (without a kind: two empty
    texts). Of a table of one's own a column is known by what it was called there. `UserError` with the nearest name for one
    that is none of them."""
    found: dict[str, Kind] = {}
    for name in names:
        if (kind := SENSITIVE_KINDS.get(name)) is not None:
            called = {c.name for c in schema.columns if kind.called(c.how.removeprefix("column: ") if schema.own else c.name)}
            found = dict.fromkeys(called, kind.title) | {n: k for n, k in found.items() if any(k)}
            continue
        same = {c.name for c in schema.columns if name in (c.name, c.part, c.group, c.how.removeprefix("column: "))}
        if not same:
            known = (*SENSITIVE_KINDS, *schema.parts, *schema.index)
            raise UserError(f"{KEY}: '{name}' is no column or group of this model{did_you_mean(name, known)}")
        found = dict.fromkeys(same, ("", "")) | found
    return found
