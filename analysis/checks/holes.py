"""Check of the time that the events cover: labels and histories that look into a hole."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.checks.finding import Evidence, Finding, Fix
from analysis.checks.registry import NotMeasured, check
from analysis.checks.thresholds import Thresholds
from analysis.stats.run import Statistics
from ple_model.data.events.holes import HISTORY_DAYS, HoleCost


@check(
    "DATA-HOLE",
    "No cut-off has a hole of the events in its labels or in the 28 days before it.",
    "data.presence",
    unplantable="a hole is in the events, before a dataset is built of them; tests/ple_model/data/test_holes.py digs one",
)
def hole(s: Statistics, t: Thresholds) -> Iterator[Finding]:
    """One finding a hole: a warning where labels look into it, since the silence in it is not the customers'."""
    by_hole: dict[tuple[str, str, str], list[HoleCost]] = {}
    if s.facts.own:
        return
    if s.facts.hole_costs is None:
        raise NotMeasured("The dataset was built without looking for holes in its events.")
    for cost in s.facts.hole_costs:
        by_hole.setdefault((cost.hole.table, cost.hole.first, cost.hole.last), []).append(cost)
    for (table, first, last), hit in by_hole.items():
        worst = max(hit, key=lambda c: (c.label_days, c.history_days))
        labels = sum(c.label_days > 0 for c in hit)
        share = worst.hole.share
        yield Finding(
            "DATA-HOLE",
            "warning" if labels else "info",
            table,
            f"From {first} to {last} {table} has {share:.0%} of its usual events, and {labels} cut-offs have labels in it."
            if labels
            else f"From {first} to {last} {table} has {share:.0%} of its usual events, just before {len(hit)} cut-offs.",
            (
                Evidence("share of the usual events", share, None, worst.hole.days),
                Evidence("days of labels in it", float(worst.label_days), 0.0, worst.horizon_days),
                Evidence("days before the cut-off in it", float(worst.history_days), 0.0, HISTORY_DAYS),
                Evidence("cut-offs", float(len(hit)), 0.0, text=", ".join(c.cutoff for c in hit)),
            ),
            "data.presence",
            "A delivery of these events is missing or was cut short: silence in it is no inactivity.",
            Fix(
                "",
                None,
                None,
                "Import the missing days, or build with cut-offs that keep out of the hole: `ple import map` suggests some.",
            ),
        )
