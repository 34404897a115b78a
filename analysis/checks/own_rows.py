"""Check of figures that were fitted on the rows which read them: training rows that one column alone tells from others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from ple_model.own_rows import OwnRows


@dataclass(frozen=True)
class _Told:
    """A column that tells, where it does so most."""

    column: str
    input: str
    cutoff: str
    area: float
    """of being a training row, above 0.5: how well it tells, not in which direction"""
    limit: float
    rows: int
    wider: bool
    """its distance from the common middle tells, not the value"""


def _told(found: OwnRows, t: Thresholds) -> tuple[list[_Told], int]:
    """(columns whose area is beyond chance, the clearest first; columns that could be judged)."""
    judged = _judged(found, t)
    beyond = found.deviations(t.own_rows_alpha, judged)
    best: dict[int, _Told] = {}
    able = np.zeros(len(found.columns), dtype=bool)
    for wider, area, sd in ((False, found.higher, found.higher_sd), (True, found.wider, found.wider_sd)):
        able |= (np.nan_to_num(sd[judged]) > 0).any(axis=0)
        away = np.abs(np.nan_to_num(area, nan=0.5) - 0.5)
        for k, j in np.argwhere((away > beyond * np.nan_to_num(sd, nan=np.inf)) & judged[:, None]):
            rows = int(found.train[k] + found.others[k])
            one = _Told(
                found.columns[j], found.inputs[j], found.cutoffs[k], 0.5 + float(away[k, j]), 0.5 + beyond * float(sd[k, j]),
                rows, wider,
            )  # fmt: skip
            if j not in best or one.area > best[j].area:
                best[j] = one
    return sorted(best.values(), key=lambda c: -c.area), int(able.sum())


def _judged(found: OwnRows, t: Thresholds) -> np.ndarray:
    """[k] bool: cut-offs whose rows would show a column such as the one that this check was made for."""
    chance = found.deviations(t.own_rows_alpha, np.ones(len(found.cutoffs), dtype=bool)) * found.reach
    return np.asarray(chance <= t.own_rows_reach)


@check("DATA-OWN-ROWS", "No column alone tells training rows from other rows of their cut-off.")
def own_rows(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding an input; one for all of them where so many columns tell that the split itself must be the reason."""
    found = s.own_rows
    if found is None:
        raise NotMeasured("This analysis is older: run `ple diagnose` again to hold training rows against others.")
    if not found.cutoffs:
        raise NotMeasured("No cut-off has training rows and others: there is nothing to hold against each other.")
    if not _judged(found, t).any():
        best = int(np.argmin(found.reach))
        chance = found.deviations(t.own_rows_alpha, np.ones(len(found.cutoffs), dtype=bool)) * float(found.reach[best])
        raise NotMeasured(
            f"Not enough rows to say: of {found.train[best]} training rows and {found.others[best]} others at "
            f"{found.cutoffs[best]} chance alone may reach an AUC of {min(0.5 + chance, 1.0):.2f}."
        )
    told, able = _told(found, t)
    share = len(told) / max(able, 1)
    if share > t.own_rows_columns:
        first = told[0]
        yield Finding(
            "DATA-OWN-ROWS",
            "warning",
            "run",
            f"{len(told)} of {able} columns each tell training rows from others at one cut-off, most of all `{first.column}` "
            f"(AUC {first.area:.2f}).",
            (
                Evidence("share of columns that tell", share, t.own_rows_columns, first.rows),
                Evidence("largest AUC", first.area, first.limit, first.rows, first.column),
            ),
            None,
            "The splits were not drawn at random among the customers of a cut-off.",
            Fix("", None, None, "Split by a hash of the customer id, or read the metrics as those of other customers."),
        )
        return
    by_input: dict[str, list[_Told]] = {}
    for one in told:
        by_input.setdefault(one.input, []).append(one)
    for key, columns in by_input.items():
        first, others = columns[0], len(columns) - 1
        clear = first.area >= 0.5 + t.own_rows_area
        yield Finding(
            "DATA-OWN-ROWS",
            "warning" if clear else "info",
            key,
            (
                f"How far `{first.column}` lies from its middle tells training rows from others at {first.cutoff} "
                f"(AUC {first.area:.2f})"
                if first.wider
                else f"`{first.column}` alone tells training rows from others at {first.cutoff} (AUC {first.area:.2f})"
            )
            + (f"; {others} more columns of this input tell too." if others else "."),
            (
                Evidence("AUC of the column for being a training row", first.area, first.limit, first.rows, first.column),
                Evidence("columns of this input that tell", float(len(columns)), 0.0, first.rows),
                Evidence("training rows and others compared", float(first.rows), None, text=first.cutoff),
            ),
            None,
            "This figure was fitted on the training rows themselves, so that it is another one on rows that it never saw.",
            Fix("", None, None, "Fit it by folds: no customer may read a figure that it went into. Then build and train anew."),
        )
