"""Check of columns that hold the values of others."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.consistency import Copied
from analysis.stats.run import Statistics

NAMED = 4
"""Pairs that are written out at most."""


@check("INPUT-COPY", "No column repeats another that it did not repeat in training.", "data.drift")
def copied(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding an input, of all its columns that hold others' values."""
    x = s.consistency
    if x is None or s.trained is None or not x.each_column:
        raise NotMeasured("It was not measured whether columns repeat each other.")
    by_input: dict[str, list[Copied]] = {}
    for one in x.copied:
        by_input.setdefault(one.input, []).append(one)
    for key, found in by_input.items():
        first = max(found, key=lambda c: c.apart)
        yield Finding(
            "INPUT-COPY",
            "error",
            key,
            f"`{first.column}` holds the values of `{first.source}` in every row"
            + (f"; {len(found) - 1} more columns of this input repeat others too." if len(found) > 1 else "."),
            (
                Evidence(
                    "columns of this input that repeat others",
                    float(len(found)),
                    0.0,
                    first.rows,
                    ", ".join(f"{c.column} = {c.source}" for c in found[:NAMED]),
                ),
                Evidence("share of training rows in which the two differed, at least", first.apart, None, first.rows),
            ),
            "data.drift",
            "Two columns were given one name upstream, or one was selected twice; windows of one fact are also alike where the "
            "history is shorter than they are.",
            Fix("", None, None, "Select each of these columns under its own name, and build anew."),
        )
