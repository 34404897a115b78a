"""Checks of how inputs were delivered: in the unit of training, and up to the cut-off."""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.consistency import OtherUnit
from analysis.stats.factor import said, unit
from analysis.stats.run import Statistics


@check("INPUT-UNIT", "Every column is in the unit of training.", "data.drift")
def input_unit(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding an input and factor, of the column that shows it most evenly."""
    x = s.consistency
    if x is None or s.trained is None:
        raise NotMeasured("It was not measured how large the columns were in training.")
    groups: dict[tuple[str, int], list[OtherUnit]] = {}
    for one in x.units:
        f = one.factor
        if one.share < 1:
            if _mixed(one, t):
                groups.setdefault((one.input, round(2 * f.power)), []).append(one)
        elif abs(f.power) >= math.log10(t.unit_factor) and f.uneven <= t.unit_uneven:
            groups.setdefault((one.input, round(2 * f.power)), []).append(one)
    for (key, _), columns in groups.items():
        first = min(columns, key=lambda c: (c.share < 1, c.factor.uneven, c.column))  # a whole column before a mixture
        more = len(columns) - 1
        yield Finding(
            "INPUT-UNIT",
            "error",
            key,
            (
                f"{first.share:.0%} of the values of `{first.column}` are about {said(first.factor.times)} times the others"
                if first.share < 1
                else f"The values of `{first.column}` are about {said(first.factor.times)} times those of training"
            )
            + (f"; so are {more} more columns of this input." if more else "."),
            (
                Evidence("values over those of training", first.factor.times, t.unit_factor, first.factor.n, first.column),
                *_shape(first, t),
                Evidence("columns of this input with such a factor", float(len(columns)), 0.0),
            ),
            "data.drift",
            unit(first.factor.times)
            if first.share == 1
            else "Two units in one column: a part of the source delivers its amounts in another unit, for example cents.",
            Fix("", None, None, "Convert these columns to the unit of training before the import, and build anew."),
        )


def _shape(one: OtherUnit, t: Thresholds) -> tuple[Evidence, ...]:
    if one.share == 1:
        return (Evidence("largest distance of a decile from that, in powers of ten", one.factor.uneven, t.unit_uneven),)
    return (
        Evidence("share of rows", one.share, t.unit_share, one.factor.n),
        Evidence("distance of the training's distribution from that of these rows", one.alone),
        Evidence("the same with two units mixed", one.factor.uneven, one.alone / t.unit_better),
    )


def _mixed(one: OtherUnit, t: Thresholds) -> bool:
    """Are there rows enough, is the factor a whole power, and the mixture much nearer than training's amounts alone?"""
    power = one.factor.power
    whole = abs(power - round(power)) <= t.unit_whole and abs(round(power)) >= t.unit_power
    return whole and one.share >= t.unit_share and one.factor.uneven * t.unit_better <= one.alone


@check(
    "DATA-STALE",
    "The events of every sequence go up to the cut-off.",
    "data.presence",
    unplantable="a sequence that ends early is cut in the events; tests/analysis/test_delivery.py cuts one",
)
def stale(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A sequence whose newest steps hardly any row has an event in, and more of them than in training."""
    x = s.consistency
    if x is None:
        raise NotMeasured("It was not measured how far the events go.")
    for one in x.silent:
        usual = 0 if one.then is None else one.then
        if one.steps < usual + t.stale_steps or one.rows * one.usual * one.steps < t.stale_events:
            continue
        experts = [e for e in s.facts.experts if one.input in s.facts.reads.get(e, ())]
        yield Finding(
            "DATA-STALE",
            "warning",
            one.input,
            f"`{one.input}` has hardly an event in the newest {one.steps} of its {one.of} steps before {one.cutoff}; before "
            f"that {one.usual:.0%} of rows have one a step.",
            (
                Evidence("newest steps without events", float(one.steps), usual + t.stale_steps, one.rows),
                Evidence("the same in training", None if one.then is None else float(one.then)),
                Evidence("events to be expected in them", one.rows * one.usual * one.steps, t.stale_events, one.rows),
                Evidence("experts that read it", float(len(experts)), text=", ".join(experts)),
            ),
            "data.presence",
            "The feed stopped before the cut-off: what looks like inactivity was not delivered.",
            Fix("", None, None, "Import the missing days, or build with a cut-off at which the feed was still delivered."),
        )


@check(
    "DATA-SHORT",
    "Every sequence goes as far back as in training.",
    "data.presence",
    unplantable="a sequence that begins late is cut in the events; tests/analysis/test_columns.py moves one",
)
def short(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A sequence whose oldest steps hardly any row has an event in, and more of them than in training."""
    x = s.consistency
    if x is None:
        raise NotMeasured("It was not measured how far the events go back.")
    if x.silent and all(one.oldest_then is None for one in x.silent):
        raise NotMeasured("It was not measured how far the events go back.")
    for one in x.silent:
        if one.input != "txn_seq" or one.oldest_then is None or one.oldest >= one.of:
            continue  # of visits the number decides, not the day
        if one.oldest < one.oldest_then + t.stale_steps or one.rows * one.usual * one.oldest < t.stale_events:
            continue
        experts = [e for e in s.facts.experts if one.input in s.facts.reads.get(e, ())]
        yield Finding(
            "DATA-SHORT",
            "warning",
            one.input,
            f"`{one.input}` has hardly an event in the oldest {one.oldest} of its {one.of} steps; in training "
            f"{one.oldest_then} of them were empty.",
            (
                Evidence("oldest steps without events", float(one.oldest), one.oldest_then + t.stale_steps, one.rows),
                Evidence("the same in training", float(one.oldest_then)),
                Evidence("experts that read it", float(len(experts)), text=", ".join(experts)),
            ),
            "data.presence",
            "Its steps were moved towards the cut-off, padded on the wrong side, or older events were not delivered.",
            Fix("", None, None, "Put every event into the step of its own day, and deliver the whole window."),
        )
