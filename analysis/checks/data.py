"""Checks of what went in: empty feeds, values that are not numbers, drift against the training split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.drift import Drift, compare
from analysis.stats.inputs import CAUSE_TEXT, InputStats
from analysis.stats.run import Statistics
from ple_model.presence import is_part, part_key, plain_name


def known_inputs(s: Statistics, t: Thresholds) -> InputStats:
    """What was measured of the inputs, of rows enough to judge by."""
    if s.inputs is None:
        raise NotMeasured("Inputs were not measured.")
    need_rows(s.inputs.n, t)
    return s.inputs


@check("DATA-EMPTY-FEED", "Every part of the features is fed.", "data.presence")
def empty_feed(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A part of `features` that is absent everywhere. Information where the source says that it never had the table."""
    x = known_inputs(s, t)
    for key in sorted(k for k in x.absent if is_part(k)):
        share = x.absent_share(key)
        if share < t.part_absent:
            continue
        part = plain_name(key)
        where = s.facts.parts.get(part)
        columns = where.stop - where.start if where is not None else 0
        trained = s.reference is not None and s.reference.n >= t.min_rows and s.reference.absent_share(key) < t.part_absent
        declared = bool(s.facts.absent_sources) and not trained
        tables = ", ".join(s.facts.absent_sources)
        readers = [e for e, reads in s.facts.reads.items() if key in reads]
        yield Finding(
            "DATA-EMPTY-FEED",
            "info" if declared else "warning",
            key,
            f"The {columns} `{part}` columns are empty in {share:.0%} of rows"
            + (
                ": expected, the source lacks the tables they come from."
                if declared
                else ", although training had them."
                if trained
                else "."
            ),
            (
                Evidence("absent share", share, t.part_absent, x.n),
                Evidence("cause", None, text=CAUSE_TEXT.get(x.cause(key), "")),
                Evidence("experts that read it", float(len(readers)), text=", ".join(readers)),
                Evidence("tables the source lacks", float(len(s.facts.absent_sources)), text=tables),
            ),
            "data.presence",
            "The source of these columns delivers nothing.",
            Fix("", None, None, "Import the missing table, or accept that the model works without it."),
        )


@check("DATA-NONFINITE", "Every feature value is a number.", "data.presence")
def nonfinite(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """NaN or Inf in feature columns that claim to be present."""
    x = known_inputs(s, t)
    bad = np.flatnonzero(x.nonfinite > 0)
    if len(bad):
        yield Finding(
            "DATA-NONFINITE",
            "error",
            f"features[{int(bad[0])}]",
            f"{len(bad)} feature columns hold NaN or Inf, up to {int(x.nonfinite.max())} rows each.",
            (
                Evidence("columns", float(len(bad)), 0.0, x.n),
                Evidence("most rows in a column", float(x.nonfinite.max()), 0.0, x.n),
            ),
            "data.presence",
            "The features were not normalised, or a part was marked present without values.",
            Fix("", None, None, "Rebuild the dataset, which replaces empty cells."),
        )


@check("DATA-DRIFT", "Columns, classes and presence look like those of the training split.", "data.drift")
def drift(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Columns and class ids whose population stability index says that they moved, and feeds that thinned out or appeared."""
    if s.drift is None or s.trained is None:
        raise NotMeasured("There is no training reference to compare with.")
    if s.unseen is None:
        raise NotMeasured("This analysis is older: run `ple diagnose` again to compare the newest rows with training.")
    if not s.unseen.groups:
        raise NotMeasured("All rows are of the training split: there are none to compare with it.")
    group = s.unseen.judged(t.min_rows)
    if group is None:
        split, cutoff, newest = s.unseen.newest_first()[0]
        raise NotMeasured(
            f"Not enough rows outside training at one cut-off: {newest.n} {split} rows at {cutoff}, {t.min_rows} needed."
        )
    split, cutoff, rows = group
    d = compare(rows, s.trained, t.min_rows)
    if not np.isfinite(d.psi).any():
        raise NotMeasured("Not enough rows to compare columns with training.")
    seen = Evidence("customers of the rows compared", float(rows.customers), None, d.n, f"{split} {cutoff}")
    compared = ComparedRows(split, cutoff, seen)
    before = None if s.held is None else compare(rows, s.held, t.min_rows)
    yield from _drifted_columns(s, d, before, t, compared)
    yield from _drifted_classes(d, before, t, compared)
    yield from _changed_feeds(d, t, compared)


@dataclass(frozen=True)
class ComparedRows:
    """The rows that are compared with training."""

    split: str
    cutoff: str
    seen: Evidence


CHANGED = (
    "The customers, the season or the pipeline changed since training.",
    Fix("", None, None, "Compare the source of these columns with training; retrain if the change is real."),
)
"""Cause and fix of columns and classes that moved."""
MOVED_THEN = (
    "They change with the date, as the age of a product does, or the pipeline had changed before the run was trained.",
    Fix(
        "", None, None, "Nothing moved since; if a feed is among them, compare its last cut-offs before trusting the test rows."
    ),
)
"""Of columns and classes that the rows held out at training had moved by as much."""


def _drifted_columns(s: Statistics, d: Drift, before: Drift | None, t: Thresholds, rows: ComparedRows) -> Iterator[Finding]:
    """Columns that moved from the training rows; told apart: those that moved since the run was trained, and those that the
    rows held out then had moved by already (a product's age)."""
    shifted = d.moved(t.drift_psi)
    since = np.ones_like(shifted) if before is None else before.moved(t.drift_psi) | ~np.isfinite(before.psi)
    for columns, then in ((shifted & since, False), (shifted & ~since, True)):
        if columns.any():
            yield _drifted(s, d, columns, t, rows, then=then, watched=int((d.moved(t.drift_psi_watch) & ~shifted).sum()))


def _drifted(
    s: Statistics, d: Drift, shifted: NDArray[np.bool_], t: Thresholds, rows: ComparedRows, *, then: bool, watched: int
) -> Finding:
    """`then`: they had moved as far when the run was trained."""
    moved, known = np.flatnonzero(shifted), int(np.isfinite(d.psi).sum())
    share = len(moved) / known
    worst = int(moved[np.argmax(d.psi[moved])])
    part = next((p for p, c in s.facts.parts.items() if c.start <= worst < c.stop), "features")
    feeds = [p for p, c in s.facts.parts.items() if shifted[c].sum() >= max(3, t.drift_part * np.isfinite(d.psi[c]).sum())]
    return Finding(
        "DATA-DRIFT",
        "warning" if share > t.drift_columns or feeds else "info",
        part_key(part),
        f"{len(moved)} of {known} columns of the {rows.split} rows at {rows.cutoff} differ from the training rows as they did "
        f"when the run was trained, most of all in `{part}` (PSI {d.psi[worst]:.2f})."
        if then
        else f"{len(moved)} of {known} columns of the {rows.split} rows at {rows.cutoff} have drifted from training, "
        f"most of all in `{part}` (PSI {d.psi[worst]:.2f}).",
        (
            Evidence("share of drifted columns", share, t.drift_columns, d.n),
            Evidence("largest population stability index", float(d.psi[worst]), t.drift_psi, d.n),
            Evidence("its Kolmogorov-Smirnov distance", float(d.ks[worst]), float(d.ks_chance[worst]), d.n),
            Evidence("further columns worth watching", float(watched), None, d.n),
            Evidence("parts that moved as a whole", float(len(feeds)), None, d.n, ", ".join(feeds)),
            rows.seen,
        ),
        "data.drift",
        *(MOVED_THEN if then else CHANGED),
    )


def _drifted_classes(d: Drift, before: Drift | None, t: Thresholds, rows: ComparedRows) -> Iterator[Finding]:
    later = None if before is None else {*before.moved_classes(t.drift_psi), *(d.class_psi.keys() - before.class_psi.keys())}
    for field in d.moved_classes(t.drift_psi):
        value = d.class_psi[field]
        then = later is not None and field not in later
        if np.isfinite(value):
            yield Finding(
                "DATA-DRIFT",
                "warning",
                field,
                f"The classes of `{field}` are shared out differently from training in the {rows.split} rows at {rows.cutoff} "
                f"(PSI {value:.2f}).",
                (
                    Evidence("population stability index", value, t.drift_psi, d.n),
                    Evidence("chi-square over its degrees of freedom", d.class_chi2[field], None, d.n),
                    rows.seen,
                ),
                "data.drift",
                *(MOVED_THEN if then else CHANGED),
            )


def _changed_feeds(d: Drift, t: Thresholds, rows: ComparedRows) -> Iterator[Finding]:
    """Feeds that thinned out or appeared; what is gone altogether is DATA-EMPTY-FEED's and EXP-ZERO-INPUT's to say."""
    changed = [k for k in d.lost(t.drift_presence) if d.presence[k][0] > 1 - t.field_absent]
    if changed:
        now, before = d.presence[changed[0]]
        yield Finding(
            "DATA-DRIFT",
            "warning",
            changed[0],
            f"`{changed[0]}` is there in {now:.0%} of the {rows.split} rows at {rows.cutoff}, "
            f"in training it was in {before:.0%}" + (f"; {len(changed) - 1} more inputs changed." if len(changed) > 1 else "."),
            (
                Evidence("change of the share of rows that have it", abs(now - before), t.drift_presence, d.n),
                Evidence("inputs that changed", float(len(changed)), None, d.n, ", ".join(changed[:6])),
                rows.seen,
            ),
            "data.drift",
            "A feed delivers for other customers than it did in training.",
            Fix("", None, None, "Look at which segment lost or gained it on the Data page, then at the feed."),
        )


@check("DATA-SMALL", "There are enough rows to judge.", None)
def small(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Too few rows is a state of its own."""
    if s.n < t.min_rows:
        yield Finding(
            "DATA-SMALL",
            "info",
            "run",
            f"Only {s.n} rows were measured; most checks need {t.min_rows}.",
            (Evidence("rows", float(s.n), t.min_rows),),
        )
