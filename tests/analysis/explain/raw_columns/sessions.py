"""The facts of columns, from the words of their sentences: sessions (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_facts import Raw, W, fact, hour_of, mean, smallest, trend


@fact(rf"session_count{W}", rf"raw_session_count{W}")
def _sessions(r: Raw, w: int) -> float:
    return float(len(r.sessions.last(w)))


@fact(rf"(?:raw_)?session_minutes{W}")
def _minutes(r: Raw, w: int) -> float:
    return float(r.sessions.last(w).duration.sum() / 60)


@fact(rf"session_(minutes|events)_mean{W}")
def _session_mean(r: Raw, what: str, w: int) -> float | None:
    e = r.sessions.last(w)
    return mean(e.duration / 60 if what == "minutes" else e.events)


@fact(rf"raw_session_event_count{W}")
def _session_events(r: Raw, w: int) -> float:
    return float(r.sessions.last(w).events.sum())


@fact("session_recency_days")
def _session_recency(r: Raw) -> float | None:
    return smallest(r.sessions.d)


@fact(rf"session_active_days{W}")
def _session_days(r: Raw, w: int) -> float:
    return float(len(np.unique(r.sessions.last(w).d)))


@fact(rf"session_app_share{W}")
def _app_share(r: Raw, w: int) -> float | None:
    return mean(np.array([c == "app" for c in r.sessions.last(w).channel], dtype=float))


@fact(rf"session_night_share{W}")
def _session_night(r: Raw, w: int) -> float | None:
    h = hour_of(r.sessions.last(w).ts)
    h = h[np.isfinite(h)]
    return mean((h >= 22) | (h < 6))


@fact("session_usual_gap_days")
def _session_gap(r: Raw) -> float | None:
    d = np.unique(r.sessions.d)
    return float(d.max() - d.min()) / (len(d) - 1) if len(d) > 1 else None


@fact("session_trend_28d")
def _session_trend(r: Raw) -> float | None:
    return trend(len(r.sessions.last(28)), len(r.sessions.between(29, 56)))


@fact("sessions_per_purchase_90d")
def _per_purchase(r: Raw) -> float:
    return len(r.sessions.last(90)) / (1 + len(r.bought.last(90)))
