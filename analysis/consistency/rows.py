"""One pass over rows at hand: are their inputs still told by each other, do values stand in, do rows repeat?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis import displaced
from analysis.consistency.judge import SUSPECT, InputJudge
from analysis.consistency.stand_ins import stand_ins
from analysis.stats.consistency import ConsistencyStats, Displaced, InputSkill
from ple_model.consistency import Consistency
from ple_model.input_columns import Values
from ple_model.presence import is_part
from ple_model.profile import Profile
from ple_model.repeated_rows import repeated_rows

OLDER = "This run is of before the inputs' consistency was kept at training."


def measure(
    reference: Consistency | None, columns: Sequence[tuple[str, str]], values: Values, customers: Sequence[str],
    cutoffs: Sequence[str], profile: Profile | None = None,
) -> ConsistencyStats:  # fmt: skip
    """Of rows in their order: values [n, c] of columns [c] of (input, name), NaN where a row lacks the input. `profile`: of the
    feature columns in training, where that is known."""
    if reference is None:
        return ConsistencyStats(reason=OLDER)
    values, common = _aligned(reference, columns, values)
    if common < 0.5:
        return ConsistencyStats(reason="The rows have other columns than those of the training.")
    d = reference.directions
    columns = [(d.keys[k], name) for k, name in zip(d.column_key, d.columns, strict=True)]
    again = repeated_rows(values, cutoffs)
    repeated = float(again.mean()) if len(values) else 0.0
    alone, dates = ~again, np.asarray(cutoffs, dtype=str)[~again].tolist()
    shared = tuple(stand_ins(reference, columns, values[alone], dates))  # what a copied row repeats stands in for nothing
    found = ConsistencyStats(
        customers=len(set(customers)), stand_ins=shared, columns=len(columns),
        repeated=repeated, repeated_then=reference.repeated, compared=len(values),
    )  # fmt: skip
    judged = InputJudge(reference, values, customers)
    skill = judged.all() if not judged.reason else {}
    features = np.array([j for j, (key, _) in enumerate(columns) if is_part(key)], dtype=np.int64)
    if _many_lost(skill) and profile is not None and len(profile.edges) == len(features):
        back = _put_back(reference, values, customers, features, profile, skill)
        if back is not None:
            runs, judged, skill, values = back
            names = [columns[j][1] for j in features]
            found = replace(
                found, stand_ins=tuple(one for one in found.stand_ins if not is_part(one.input)),
                displaced=tuple(Displaced(r.first, names[r.first], r.last, names[r.last], r.by) for r in runs),
            )  # fmt: skip
    # the values of an input that holds another's, or of its own columns in another order, are known: they stand in for nothing
    swapped = {k for k, v in skill.items() if v.kind in ("swapped", "constant", "columns")}
    return replace(
        found, reason=judged.reason, rows=judged.rows, skill=skill,
        stand_ins=tuple(one for one in found.stand_ins if one.input not in swapped),
    )  # fmt: skip


def _many_lost(skill: Mapping[str, InputSkill]) -> int:
    """Inputs that are suspect, where these are several parts of the features."""
    lost = [k for k, v in skill.items() if v.high < SUSPECT]
    return len(lost) if sum(map(is_part, lost)) >= 3 else 0


def _put_back(
    reference: Consistency, values: Values, customers: Sequence[str], features: NDArray[np.int64], profile: Profile,
    skill: Mapping[str, InputSkill],
) -> tuple[tuple[displaced.Displacement, ...], InputJudge, dict[str, InputSkill], Values] | None:  # fmt: skip
    """The first explanation by displaced columns under which hardly an input of the many is lost any more."""
    middle = reference.directions.middle[features]
    for runs, places in displaced.candidates(values[:, features], profile):
        again = values.copy()
        again[:, features] = displaced.restored(values[:, features], places, middle)
        judged = InputJudge(reference, again, customers)
        told = judged.all() if not judged.reason else {}
        if told and sum(v.high < SUSPECT for v in told.values()) <= sum(v.high < SUSPECT for v in skill.values()) / 4:
            return runs, judged, told, again
    return None


def _aligned(reference: Consistency, columns: Sequence[tuple[str, str]], values: Values) -> tuple[Values, float]:
    """The rows under the columns of the training, NaN where they lack one (an input that is absent from a whole dataset has no
    columns), and the share of columns that they have."""
    names = reference.directions.columns
    if tuple(n for _, n in columns) == names:
        return values, 1.0
    place = {name: j for j, (_, name) in enumerate(columns)}
    have = np.array([n in place for n in names])
    out = np.full((len(values), len(names)), np.nan, dtype=np.float32)
    out[:, have] = values[:, [place[n] for n in names if n in place]]
    return out, float(have.mean())
