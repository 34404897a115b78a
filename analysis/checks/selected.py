"""Check of rows that were chosen: an end of a column is missing, and nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import JUDGEMENT, Limit, Thresholds
from analysis.stats.drift import compare
from analysis.stats.run import Statistics
from ple_model.numerals import statistic
from ple_model.presence import part_key
from ple_model.schema import RAW_PART

NAMED = 4
"""Columns that are written out at most."""
SHARE = Limit(
    "selected_share", 0.05, "Share of the training rows beyond an end of a column from which customers are missing.", JUDGEMENT
)


def _elsewhere(s: Statistics, t: Thresholds, inputs: set[str]) -> bool:
    """Do other inputs say so too? A column that is spread exponentially and merely moved looks as if it had been cut off; a
    filter takes the customers out of everything."""
    if len(inputs - {part_key(RAW_PART)}) > 1:  # which says the other columns' amounts again
        return True
    group = None if s.unseen is None else s.unseen.judged(t.min_rows)
    if group is None or s.trained is None:
        return False
    d = compare(group[2], s.trained, t.min_rows)
    return bool(d.moved_classes(t.drift_psi)) or any(k not in inputs for k in d.lost(t.drift_presence))


@check(
    "DATA-SELECTED", "No part of the customers that training had is left out by a column.", "data.drift", limits=(SHARE,)
)  # fmt: skip
def selected(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """The rows beyond some value of a column are missing; columns that say the same are named with it."""
    x = s.consistency
    if x is None or s.trained is None or not x.each_column:
        raise NotMeasured("It was not measured how the columns were spread in training.")
    found = [one for one in x.selected if one.gone >= t[SHARE]]
    if not found or not _elsewhere(s, t, {one.input for one in found}):
        return
    first = found[0]
    last, gone = statistic(first.value), f"{first.gone:.0%}"
    yield Finding(
        "DATA-SELECTED",
        "warning",
        "rows",
        f"No row has a `{first.column}` above {last}, as {gone} of training's rows had: the others are spread as then."
        if first.above
        else f"No row has a `{first.column}` below {last}, as {gone} of training's rows had: the others are spread as then.",
        (
            Evidence("share of training rows that are missing", first.gone, t[SHARE], first.rows, first.column),
            Evidence("population stability index of the others", first.psi, None, first.rows),
            Evidence(
                "columns with an end that is missing",
                float(len(found)),
                0.0,
                None,
                ", ".join(f"{c.column} {'>' if c.above else '<'} {statistic(c.value)}" for c in found[:NAMED]),
            ),
        ),
        "data.drift",
        "A filter on the way here left these customers out; the model was trained with them, and shares and rates are others.",
        Fix("", None, None, "Take the filter out, or judge the model as one of these customers alone."),
    )
