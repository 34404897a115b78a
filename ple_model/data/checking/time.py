"""Checks of a table's events over time: holes, and rows that lie apart from all others."""

from __future__ import annotations

from collections.abc import Mapping

from ple_model.data.checking.fault import Fault
from ple_model.data.checking.table import TableCheck
from ple_model.data.events.find_holes import MOMENTS, Span, distinct, table_spans
from ple_model.data.events.holes import costs
from ple_model.data.events.manifest import Defaults, EventsManifest
from ple_model.data.labels.labels import LabelSettings

HOLE = "They are built as they are: labels and features that look into it take the lack of events for inactivity."
APART = "They are kept; they do not count where it matters how far the events reach."


def check_time(tables: Mapping[str, TableCheck], manifest: EventsManifest | None, faults: list[Fault]) -> None:
    """Warnings: every hole once, with the cut-offs of the source that it reaches into; rows parted from all others by weeks."""
    spans: dict[str, Span] = {}
    for name in MOMENTS:
        if name in tables and tables[name].rows:
            spans |= table_spans(tables[name].con, name, tables[name].view, {c.name for c in tables[name].kept})
    defaults = manifest.defaults if manifest is not None else None
    for hole in distinct(spans.values()):
        hit = costs([hole], defaults.cutoffs, _horizon(defaults)) if defaults is not None else ()
        reached = f"; it reaches into the days around cut-off {', '.join(c.cutoff for c in hit)}" if hit else ""
        table = hole.table.split(" ")[0]
        faults.append(Fault(table, MOMENTS[table], "hole", "warning", 0, "", f"{hole}{reached}", HOLE))
    for name in tables:
        for day, rows in spans[name].apart if name in spans else ():
            message = f"apart from all others, which reach from {spans[name].first} to {spans[name].last}"
            faults.append(Fault(name, MOMENTS[name], "apart", "warning", rows, f"'{day}'", message, APART))


def _horizon(defaults: Defaults) -> int:
    """Days after a cut-off that labels read from the events: none where the source brings its own labels alone."""
    if defaults.label_policy != "derived":
        return 0
    return defaults.horizon_days or LabelSettings.horizon_days
