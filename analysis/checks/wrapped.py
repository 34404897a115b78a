"""Check of columns that were stored in too few bits."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.consistency import Wrapped, range_of
from analysis.stats.run import Statistics

HEAPED = 0.05
"""Share of the training rows beyond the range that must be found at its largest number where numbers stop there: half of them
if both ends were passed alike, and a tenth of that tells them from numbers that wrapped round."""


@check("INPUT-WRAPPED", "No column was stored in fewer bits than its numbers need.", "data.drift")
def wrapped(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding an input, of the column that lost most."""
    x = s.consistency
    if x is None or s.trained is None or not x.each_column:
        raise NotMeasured("It was not measured how large the columns were in training.")
    by_input: dict[str, list[Wrapped]] = {}
    for one in x.wrapped:
        by_input.setdefault(one.input, []).append(one)
    for key, found in by_input.items():
        first = max(found, key=lambda w: w.beyond)
        low, high = range_of(first.bits, first.signed)
        stopped = first.edge > HEAPED * first.beyond + 1 / (high - low)
        more = len(found) - 1
        yield Finding(
            "INPUT-WRAPPED",
            "error",
            key,
            f"The values of `{first.column}` are whole numbers from {low:.0f} to {high:.0f}; {first.beyond:.0%} of "
            "training's rows went beyond" + (f"; so are those of {more} more columns of this input." if more else "."),
            (
                Evidence("share of training rows beyond it", first.beyond, None, first.rows, first.column),
                Evidence("share of rows at the largest number", first.edge, None, first.rows),
                Evidence("columns of this input in so few bits", float(len(found)), 0.0),
            ),
            "data.drift",
            f"They were stored in {first.bits} bits: what was larger stayed at the largest number."
            if stopped
            else f"They were stored in {first.bits} bits: what was larger wrapped round and began anew at {low:.0f}.",
            Fix("", None, None, "Store these columns in a type that holds them (32 bits or more), and build anew."),
        )
