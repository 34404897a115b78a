"""Do the cut-offs of a build fit the events? What a date too early or too late does to inputs and labels is said in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from ple_model.data.events.connect import EventStore
from ple_model.data.events.find_holes import MOMENTS, Span, distinct, table_span, table_spans
from ple_model.data.events.holes import costs
from ple_model.errors import UserError, did_you_mean


def event_spans(store: EventStore) -> dict[str, Span]:
    """How far each table of events that is there reaches, and its holes."""
    spans: dict[str, Span] = {}
    for table in MOMENTS:
        if table in store.present:
            spans |= table_spans(store.con, table, table, store.present_columns.get(table, frozenset()))
    return spans


def last_event(store: EventStore) -> date | None:
    """The day of the last transaction or session; single rows that lie apart from all others do not count."""
    if store.last is not None:
        return store.last
    spans = (table_span(store.con, t, t, "ts") for t in ("transactions", "sessions"))
    return max((s.last for s in spans if s is not None), default=None)


def coverage(
    store: EventStore, cutoffs: tuple[str, ...], horizon_days: int | None = None, spans: Mapping[str, Span] | None = None
) -> tuple[str, ...]:
    """Notes on cut-offs after the last event, on holes around a cut-off, and (given a horizon) on labels that look further than
    the events reach."""
    spans = event_spans(store) if spans is None else spans
    end = max((spans[t].last for t in ("transactions", "sessions") if t in spans), default=None)
    if end is None:
        return ("cut-offs: there is no transaction and no session",)
    notes = []
    for cutoff in cutoffs:
        late = (date.fromisoformat(cutoff) - end).days - 1
        if late > 0:
            notes.append(f"cut-off {cutoff}: the last event is of {end}, {late:,} days without any event lie before it")
    declared = store.manifest.defaults if store.manifest else None
    own_labels = declared is not None and declared.label_policy != "derived"
    notes += [str(c) for c in costs(distinct(spans.values()), cutoffs, 0 if own_labels else horizon_days or 0)]
    if horizon_days is None or own_labels:
        return tuple(notes)
    for cutoff in cutoffs:
        until = date.fromisoformat(cutoff) + timedelta(days=horizon_days - 1)
        if end >= until:
            continue
        if declared is not None and declared.horizon_days is not None and cutoff in declared.cutoffs:
            notes.append(
                f"cut-off {cutoff}: events.json says that {declared.horizon_days} days after it are covered and the last event"
                f" is of {end}; labels take the silence since then for inactivity"
            )
        else:
            notes.append(f"cut-off {cutoff}: events end on {end}, so labels that look until {until} are missing")
    return tuple(notes)


def own_tables(store: EventStore, cutoffs: tuple[str, ...]) -> tuple[str, ...]:
    """Notes on rows of the source's own labels and exact spend that are for other cut-offs; `UserError` if no label is for one
    of these."""
    notes = []
    dates = ", ".join(f"DATE '{c}'" for c in cutoffs)
    for table in ("labels", "exact_spend"):
        if table not in store.present:
            continue
        rows, used = store.con.execute(f"SELECT count(*), count(*) FILTER (cutoff IN ({dates})) FROM {table}").fetchall()[0]
        if used == rows:
            continue
        others = [str(r[0]) for r in store.con.execute(f"SELECT DISTINCT cutoff::VARCHAR FROM {table}").fetchall()]
        if not used and table == "labels":
            raise UserError(
                f"'{store.path}': none of the {rows:,} rows of labels.parquet is at a cut-off of this build"
                f" ({', '.join(cutoffs)}){did_you_mean(cutoffs[0], others)}"
            )
        unused = next(c for c in sorted(others) if c not in cutoffs)
        notes.append(f"{table}: {rows - used:,} of {rows:,} rows are for other cut-offs, for example {unused}")
    return tuple(notes)
