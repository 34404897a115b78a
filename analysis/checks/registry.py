"""Checks by id. A check is a function `(Statistics, Thresholds) -> findings`, registered by decorating it.

Everything that is known of one stands beside it: its sentences, its limits, the change of a healthy run that it must answer.

Convention: a check returns its alarms; when it returns nothing and could measure, it passed and becomes one `ok` finding; when
what it needs was not measured, or on too few rows, it raises `NotMeasured` and becomes one `unknown` finding.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from analysis.checks.finding import Finding, Severity
from analysis.checks.order import in_order
from analysis.checks.thresholds import Limit, Thresholds
from analysis.stats.run import Statistics

CheckFunction = Callable[[Statistics, Thresholds], Iterable[Finding]]


class NotMeasured(Exception):
    """The check cannot say; the message is the `unknown` finding's verdict."""


@dataclass(frozen=True)
class Proof:
    """What makes a check fire: a change of a healthy run's statistics, the severity and the subject of its answer.

    The contract tests hold every check to one, this or a change of the measured arrays in `tests/analysis/planted.py`."""

    change: Callable[[Statistics], Statistics]
    severity: Severity
    subject: str = "run"


@dataclass(frozen=True)
class Check:
    """`passed` is the sentence of the `ok` finding; `figure` shows what was looked at; `unplantable` says why `analysis.faults`
    cannot plant what it finds, empty where a fault does; `limits` are the thresholds that it has to itself."""

    id: str
    passed: str
    run: CheckFunction
    figure: str | None
    unplantable: str = ""
    proof: Proof | None = None
    limits: tuple[Limit, ...] = ()


_CHECKS: dict[str, Check] = {}


def check(
    id: str,
    passed: str,
    figure: str | None = None,
    *,
    unplantable: str = "",
    proof: Proof | None = None,
    limits: tuple[Limit, ...] = (),
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under its stable id."""

    def register(function: CheckFunction) -> CheckFunction:
        if id in _CHECKS:
            raise RuntimeError(f"two checks are named '{id}'")
        _CHECKS[id] = Check(id, passed, function, figure, unplantable, proof, limits)
        return function

    return register


@cache
def checks() -> dict[str, Check]:
    """Every check under `analysis.checks`, by id."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return dict(sorted(_CHECKS.items()))


def thresholds_of(values: Mapping[str, Any]) -> Thresholds:
    """Thresholds with overrides by name, those of the checks' own limits included."""
    return Thresholds.from_dict(values, (limit for c in checks().values() for limit in c.limits))


def run_check(item: Check, statistics: Statistics, thresholds: Thresholds) -> tuple[Finding, ...]:
    """One check's findings; never empty."""
    found: list[Finding] = []
    try:
        found.extend(item.run(statistics, thresholds))
    except NotMeasured as e:  # what was found before the check ran out of measurements stands
        return tuple(found) or (Finding(item.id, "unknown", "run", str(e), figure=item.figure),)
    return tuple(found) or (Finding(item.id, "ok", "run", item.passed, figure=item.figure),)


def run_checks(statistics: Statistics, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    """All checks: loudest finding first, each with the cause it follows from, none beside one that contradicts it."""
    limits = thresholds or Thresholds()
    return in_order((f for c in checks().values() for f in run_check(c, statistics, limits)), statistics)


def need_rows(n: int, thresholds: Thresholds, what: str = "rows") -> None:
    """Raise `NotMeasured` below the minimum."""
    if n < thresholds.min_rows:
        raise NotMeasured(f"Not enough rows to say: {n} {what}, {thresholds.min_rows} needed.")
