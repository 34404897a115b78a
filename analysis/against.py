"""One run against another, in numbers: what `ple diagnose --compare` says, by the same comparison as the pages.

Subjects and measures are those of `analysis.replicates`; what differs beyond the noise of the customers drawn is listed, the
largest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.checks.finding import Finding
from analysis.compare import Comparison, Difference, compare, config_changes, training_profile
from analysis.diagnose import Diagnosis
from analysis.replicates import PROFILES, profile
from analysis.stats.training import TrainingStats
from ple_model.numerals import statistic

SHOWN = 8
"""Differences of an area that the text lists; JSON has all."""


@dataclass(frozen=True, eq=False)
class Against:
    """`areas`: as the pages compare them, "training" among them where both have a log; `config`: (key, this, other)."""

    this: str
    other: str
    same_data: bool
    areas: Mapping[str, Comparison]
    config: tuple[tuple[str, Any, Any], ...]
    appeared: tuple[Finding, ...]
    """Alarms that the other run does not have."""
    gone: tuple[Finding, ...]
    """Alarms of the other run that this one does not have."""

    def to_dict(self) -> dict[str, Any]:
        """The key `compare` of `ple diagnose --json`."""
        return {
            "other": self.other,
            "same_data": self.same_data,
            "areas": {
                area: {
                    "judged": found.judged,
                    "rows": {"this": found.n_a, "other": found.n_b},
                    "enough": found.enough or area == "training",
                    "only_this": [*found.only_a, *found.parts_only_a],
                    "only_other": [*found.only_b, *found.parts_only_b],
                    "differs": [_plain(r) for r in (*found.shown, *found.chance)],
                }
                for area, found in self.areas.items()
            },
            "config": [{"key": key, "this": a, "other": b} for key, a, b in self.config],
            "findings": {
                name: [{"id": f.id, "subject": f.subject, "severity": f.severity} for f in found]
                for name, found in (("new", self.appeared), ("gone", self.gone))
            },
        }

    def __str__(self) -> str:
        lines = [f"Against {self.other}:"]
        if not self.same_data:
            lines.append("  The two were measured on different customers, so a difference can come from these too.")
        for word, findings in (("new", self.appeared), ("gone", self.gone)):
            lines += [f"  {word:<8} {f.id:<22} {f.subject}: {f.verdict}" for f in findings]
        for area, found in self.areas.items():
            lines += _said(area, found)
        for key, a, b in self.config:
            lines.append(f"  config   {key}: {_value(a)} (other: {_value(b)})")
        if not self.config:
            lines.append("  config   no difference")
        return "\n".join(lines)


def against(this: Diagnosis, other: Diagnosis) -> Against:
    """What differs, by what was stored of both; nothing is measured."""
    silent = {*this.statistics.facts.unlearned, *other.statistics.facts.unlearned}
    of_tasks = ("gates", "transfer", "predictions", "uncertainty")
    areas = {
        area: compare(profile(this.store, area), profile(other.store, area), unlearned=silent if area in of_tasks else ())
        for area in PROFILES
    }
    mine, theirs = this.statistics.training, other.statistics.training
    if mine is not None and theirs is not None and len(mine) and len(theirs):
        areas["training"] = _trainings(mine, theirs, silent)
    alarms = [{(f.id, f.subject): f for f in found.alarms} for found in (this, other)]
    return Against(
        this.run.name,
        other.run.name if other.run.name != this.run.name else str(other.run),
        this.store.meta["data"]["fingerprint"] == other.store.meta["data"]["fingerprint"],
        areas,
        tuple(config_changes(this.statistics.facts.config, other.statistics.facts.config)),
        tuple(f for k, f in alarms[0].items() if k not in alarms[1]),
        tuple(f for k, f in alarms[1].items() if k not in alarms[0]),
    )


def _trainings(mine: TrainingStats, theirs: TrainingStats, silent: set[str]) -> Comparison:
    return compare(training_profile(mine), training_profile(theirs), min_rows=1, unlearned=silent)


def _said(area: str, found: Comparison) -> list[str]:
    if area != "training" and not found.enough:
        return [f"  {area:<8} too few rows to say what differs ({found.n_a} and {found.n_b})"]
    lines = [f"  {area}: {sum(r.verdict == 'differs' for r in found.rows)} of {found.judged} numbers differ beyond noise"]
    if area == "training":
        lines = [f"  {area}: {len(found.shown)} of {len(found.rows)} numbers are not equal; of one training no noise is known"]
    only = [(*found.only_a, *found.parts_only_a), (*found.only_b, *found.parts_only_b)]
    lines += [f"    only in {name}: {', '.join(x)}" for name, x in zip(("this", "the other"), only, strict=True) if x]
    lines += [f"    {_line(r)}" for r in found.shown[:SHOWN]]
    if len(found.shown) > SHOWN:
        lines.append(f"    and {len(found.shown) - SHOWN} more (--json has all)")
    return lines


def _line(r: Difference) -> str:
    subject = " ".join(filter(None, (r.key.subject or "whole", r.key.part, r.key.measure)))
    scale, unit = (100.0, " %") if r.unit == "share" else (1.0, f" {r.unit}")
    span = r.span(scale) or statistic(r.difference * scale)
    return f"{subject}: {statistic(r.a * scale)}, other {statistic(r.b * scale)}{unit}; difference {span}"


def _plain(r: Difference) -> dict[str, Any]:
    return {
        "subject": r.key.subject, "part": r.key.part, "measure": r.key.measure, "unit": r.unit, "this": r.a, "other": r.b,
        "difference": r.difference, "low": r.low, "high": r.high, "n": {"this": r.n_a, "other": r.n_b}, "verdict": r.verdict,
    }  # fmt: skip


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
