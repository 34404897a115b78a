"""Values that many rows of a column share and training did not: what stands there for a value that is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.consistency.judge import FEWEST
from analysis.stats.consistency import StandIn
from ple_model.consistency import Consistency
from ple_model.input_columns import SEQUENCES, Values
from ple_model.profile import Profile, bin_counts

CHANCE = 3.719
"""Standard normal quantile of 1 - 1e-4."""
CONSTANT = 0.9
"""Share of a cut-off's rows from which a value belongs to the date and is no stand-in."""
FAR = 0.5
"""Half distances of a column's deciles beyond all training values from which a shared value is a stand-in. Nearer ones come
with a later date: on healthy rows of a cut-off that training had not seen, one of 1,257 columns shared one, 0.08 beyond."""
REPEATED, DISCRETE = 0.05, 0.25
"""Within the training's range: share of rows in which a value that training did not repeat is a stand-in, and share of the
training rows on repeated values from which a column is one of few values. On those healthy rows the columns that repeated new
values all had 0.50 and more of these."""
MOVED = 0.3
"""Distance in total variation between a column's other rows and training, in its bins, from which the column as a whole moved.
On two healthy banks it is at most 0.29 where the upper third of a column's rows holds another number, and 0.31 or more for nine
of ten columns that moved by a standard deviation."""


def stand_ins(
    reference: Consistency, columns: Sequence[tuple[str, str]], values: Values, cutoffs: Sequence[str]
) -> Iterator[StandIn]:
    """Of each column the value that most rows share of those which training did not share."""
    dates = np.unique(np.asarray(cutoffs, dtype=str), return_inverse=True)[1]
    plain = [
        j for j, (key, _) in enumerate(columns)
        if key not in (*SEQUENCES, "cluster_ids", "customer_segment") and not key.endswith("_diagrams")
    ]  # fmt: skip
    for j, found in _shared(reference, np.array(plain, dtype=np.int64), values).items():
        for value, count, n, beyond in found:
            if not _of_a_date(values[:, j], value, dates):
                key, name = columns[j]
                there = values[np.isfinite(values[:, j]), j]
                edge = -1 if there.min() == np.float32(value) else 1 if there.max() == np.float32(value) else 0
                yield StandIn(key, name, value, count / n, float(reference.bound[j]), n, beyond, edge)
                break


def _shared(reference: Consistency, plain: NDArray[np.int64], values: Values) -> dict[int, list[tuple[float, int, int, bool]]]:
    """Of columns, the values that more rows share than in training and that are unknown there, if beyond all that is known or
    in a column that repeats hardly any; the commonest first: (value, rows with it, rows with any, whether it is beyond)."""
    ordered = np.sort(values[:, plain].T, axis=1)
    ordered[~np.isfinite(ordered)] = np.nan
    if not ordered.size:
        return {}
    have = np.isfinite(ordered).sum(1)
    new = np.ones(ordered.shape, dtype=np.bool_)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(new)
    count = np.diff(starts, append=ordered.size)
    row, x = starts // ordered.shape[1], ordered.ravel()[starts].astype(np.float64)
    limit = np.maximum(0.01, reference.bound[plain].astype(np.float64))
    with np.errstate(divide="ignore"):
        most = np.where(have >= FEWEST, limit + CHANCE * np.sqrt(limit / have), np.inf)
    many = np.flatnonzero((count / np.maximum(have[row], 1) > most[row]) & np.isfinite(x))
    row, x, count = row[many], x[many], count[many]
    j = plain[row]
    scale = reference.directions.scale[j].astype(np.float64)
    low, high = reference.extremes[j].astype(np.float64).T
    beyond = np.maximum(low - x, x - high) > FAR * scale
    alone = (reference.covered[j].astype(np.float64) < DISCRETE) & (count / have[row] > REPEATED + limit[row])
    found: dict[int, list[tuple[float, int, int, bool]]] = {}
    for i in np.lexsort((-count, row)):
        if (beyond[i] or alone[i]) and not _known(reference, int(j[i]), float(x[i])):
            found.setdefault(int(j[i]), []).append((float(x[i]), int(count[i]), int(have[row[i]]), bool(beyond[i])))
    return found


def _known(reference: Consistency, j: int, value: float) -> bool:
    common = reference.common[j]
    common = common[np.isfinite(common)]
    return bool((np.abs(common - value) <= 1e-4 * (np.abs(common) + reference.directions.scale[j])).any())


def of_still_columns(found: Sequence[StandIn], values: Values, names: Sequence[str], profile: Profile) -> tuple[StandIn, ...]:
    """Without those of inputs whose columns moved as a whole: a value that all of training shared has another place then, or is
    another column's, and stands in for nothing. `values` [n, c] of the feature columns `names`, NaN where a row lacks the part;
    a value of an input that is no part of the features is kept."""
    at = {name: j for j, name in enumerate(names)}
    moved: dict[str, list[bool]] = {}
    for one in found:
        if one.column in at:
            moved.setdefault(one.input, []).append(_moved(values[:, at[one.column]], one.value, profile, at[one.column]))
    gone = {key for key, those in moved.items() if np.mean(those) > 0.5}
    return tuple(one for one in found if one.input not in gone)


def _moved(x: Values, value: float, profile: Profile, j: int) -> bool:
    """Whether the rows [n] with other values than this one are spread otherwise than in training, be it that the value stands
    for none of training's bins or for any one of them (a zero that became a default)."""
    there = np.isfinite(x)
    then = profile.counts[j] / max(profile.counts[j].sum(), 1.0)
    mine = there & (x == np.float32(value))
    now = bin_counts(x[:, None], (there & ~mine)[:, None], profile.edges[j : j + 1])[0]
    if now.sum() < FEWEST:
        return False
    share, now = mine.sum() / there.sum(), now / now.sum()
    in_place_of = [now, *((1 - share) * now + share * np.eye(len(now)))]
    return bool(min(np.abs(one - then).sum() / 2 for one in in_place_of) > MOVED)


def _of_a_date(column: Values, value: float, dates: NDArray[np.int64]) -> bool:
    """Nearly all rows of some cut-off that have the column hold the value."""
    there = np.isfinite(column)
    mine, all_rows = np.bincount(dates, there & (column == np.float32(value))), np.bincount(dates, there)
    return bool((mine[all_rows >= 20] >= CONSTANT * all_rows[all_rows >= 20]).any())
