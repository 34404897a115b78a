"""Checks of what went in: empty feeds, values that are not numbers, drift against the training split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check, need_rows
from analysis.checks.thresholds import Thresholds
from analysis.stats.inputs import CAUSE_TEXT, InputStats
from analysis.stats.run import Statistics
from ple_model.schema import PART_SLICES


def _inputs(s: Statistics, t: Thresholds) -> InputStats:
    if s.inputs is None:
        raise NotMeasured("Inputs were not measured.")
    need_rows(s.inputs.n, t)
    return s.inputs


@check("DATA-EMPTY-FEED", "Every part of the features is fed.", "data.presence")
def empty_feed(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """A part of `features` that is absent everywhere. Information where the source says that it never had the table."""
    x = _inputs(s, t)
    for key in sorted(k for k in x.absent if k.startswith("features:")):
        share = x.absent_share(key)
        if share < t.part_absent:
            continue
        part = key.removeprefix("features:")
        columns = PART_SLICES[part].stop - PART_SLICES[part].start if part in PART_SLICES else 0
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
    x = _inputs(s, t)
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


@check("DATA-DRIFT", "The columns look like those of the training split.", "data.drift")
def drift(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """Columns whose mean has moved by more than a training standard deviation."""
    x = _inputs(s, t)
    if s.reference is None:
        raise NotMeasured("There is no training reference to compare with.")
    d = np.abs(x.drift(s.reference, t.min_rows))
    known = np.isfinite(d)
    if not known.any():
        raise NotMeasured("Not enough rows to compare columns with training.")
    moved = np.flatnonzero(known & (np.nan_to_num(d) > t.drift))
    share = len(moved) / int(known.sum())
    if share > t.drift_columns:
        worst = int(np.nanargmax(d))
        part = next((p for p, c in PART_SLICES.items() if c.start <= worst < c.stop), "features")
        yield Finding(
            "DATA-DRIFT",
            "warning",
            f"features:{part}",
            f"{len(moved)} columns have drifted from training, most of all in `{part}` ({d[worst]:.1f} standard deviations).",
            (
                Evidence("share of drifted columns", share, t.drift_columns, int(known.sum())),
                Evidence("largest shift, in training standard deviations", float(d[worst]), t.drift, x.n),
            ),
            "data.drift",
            "The customers or the pipeline changed since training.",
            Fix("", None, None, "Compare the source of these columns with training; retrain if the change is real."),
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
