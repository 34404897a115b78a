"""The facts of columns, from the words of their sentences: campaigns and contacts (see `raw_facts`)."""

from __future__ import annotations

import numpy as np

from tests.analysis.explain.raw_facts import Events, Raw, W, even, fact, largest, mean, net, ratio, smallest, trend


def clicks_of(r: Raw) -> Events:
    return r.shown.where(r.shown.clicked_at.astype("datetime64[us]") < np.datetime64(r.cutoff))


def converted(r: Raw) -> Events:
    return r.shown.where(r.shown.converted_at.astype("datetime64[us]") < np.datetime64(r.cutoff))


@fact(rf"campaign_exposures{W}", rf"raw_campaign_exposure_count{W}")
def _exposures(r: Raw, w: int) -> float:
    return float(len(r.shown.last(w)))


@fact(rf"campaign_clicks{W}")
def _clicks(r: Raw, w: int) -> float:
    return float(len(clicks_of(r).last(w)))


@fact(rf"campaign_conversions{W}")
def _conversions(r: Raw, w: int) -> float:
    return float(len(converted(r).last(w)))


@fact("campaign_exposure_recency_days")
def _exposure_recency(r: Raw) -> float | None:
    return smallest(r.shown.d)


@fact("campaign_click_recency_days")
def _click_recency(r: Raw) -> float | None:
    clicked = clicks_of(r).clicked_at.astype("datetime64[D]")
    return smallest((np.datetime64(r.cutoff) - clicked).astype(int))


@fact("campaign_offers_365d")
def _offers(r: Raw) -> float:
    return float(len({str(o) for o in r.shown.offer}))


@fact("campaign_click_delay_hours")
def _click_delay(r: Raw) -> float | None:
    c = clicks_of(r)
    return mean((c.clicked_at.astype("datetime64[us]") - c.ts).astype("timedelta64[s]").astype(float) / 3600)


@fact(rf"consultation_count{W}")
def _contacts(r: Raw, w: int) -> float:
    return float(len(r.contacts.last(w)))


@fact("consultation_recency_days")
def _contact_recency(r: Raw) -> float | None:
    return smallest(r.contacts.d)


@fact("consultation_first_contact_days")
def _contact_first(r: Raw) -> float | None:
    return largest(r.contacts.d)


@fact("consultation_active_days_365d")
def _contact_days(r: Raw) -> float:
    return float(len(np.unique(r.contacts.d)))


@fact("consultation_kinds_365d")
def _contact_kinds(r: Raw) -> float:
    return float(len({str(k) for k in r.contacts.kind}))


def _complaints(r: Raw) -> Events:
    return r.contacts.where(np.array(["complain" in str(k).lower() for k in r.contacts.kind], dtype=bool))


@fact(rf"consultation_complaint_count{W}")
def _complaint_count(r: Raw, w: int) -> float:
    return float(len(_complaints(r).last(w)))


@fact("consultation_complaint_share_365d")
def _complaint_share(r: Raw) -> float | None:
    return ratio(len(_complaints(r)), len(r.contacts))


@fact("consultation_complaint_recency_days")
def _complaint_recency(r: Raw) -> float | None:
    return smallest(_complaints(r).d)


@fact("consultation_usual_gap_days")
def _contact_gap(r: Raw) -> float | None:
    d = r.contacts.d
    return float(d.max() - d.min()) / (len(d) - 1) if len(d) > 1 else None


@fact("consultation_trend_90d")
def _contact_trend(r: Raw) -> float | None:
    return trend(len(r.contacts.last(90)), len(r.contacts.between(91, 180)))


@fact("consultation_amount_mean_365d")
def _contact_amount(r: Raw) -> float | None:
    return mean(r.contacts.amount[np.isfinite(r.contacts.amount)])


@fact("consultation_top_kind_share_365d")
def _contact_top(r: Raw) -> float | None:
    kinds = [str(k) for k in r.contacts.kind]
    return ratio(max((kinds.count(k) for k in set(kinds)), default=0), len(kinds))


@fact("consultation_kind_entropy_365d")
def _contact_entropy(r: Raw) -> float | None:
    kinds = [str(k) for k in r.contacts.kind]
    return even(np.array([kinds.count(k) for k in set(kinds)]))


@fact("consultation_repeat_share_365d")
def _contact_repeat(r: Raw) -> float | None:
    if not len(r.contacts):
        return None
    day = np.sort(r.contacts.ts).astype("datetime64[D]")
    return float((np.diff(day).astype(int) <= 7).sum() / len(day))


CHANNELS = {"store": "store", "app": "app", "web": "web", "contact": "contact"}


@fact("channel_contact_count_365d")
def _all_touches(r: Raw) -> float:
    return float(len(r.touches[0]))


@fact(rf"channel_(store|app|web|contact)_count{W}")
def _touches(r: Raw, name: str, w: int) -> float:
    d, ch, _ = r.touches
    return float(((ch == name) & (d <= w)).sum()) if len(d) else 0.0


@fact(rf"channel_(store|app|web|contact)_share{W}")
def _touch_share(r: Raw, name: str, w: int) -> float | None:
    d, ch, _ = r.touches
    return mean(ch[d <= w] == name) if len(d) else None


@fact(r"channel_(store|app|web|contact)_recency_days")
def _touch_recency(r: Raw, name: str) -> float:
    d, ch, _ = r.touches
    found = smallest(d[ch == name]) if len(d) else None
    return 365.0 if found is None else found


@fact(r"channel_(store|app|web|contact)_share_shift_28d")
def _touch_shift(r: Raw, name: str) -> float | None:
    new, year = _touch_share(r, name, 28), _touch_share(r, name, 365)
    return None if new is None or year is None else new - year


@fact("channel_digital_share_90d")
def _digital(r: Raw) -> float | None:
    d, ch, _ = r.touches
    return mean(np.isin(ch[d <= 90], ("app", "web"))) if len(d) else None


@fact("channel_top_share_365d")
def _touch_top(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return float(np.unique(ch, return_counts=True)[1].max() / len(ch)) if len(ch) else None


@fact("channel_entropy_365d")
def _touch_entropy(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return even(np.unique(ch, return_counts=True)[1]) if len(ch) else None


@fact("channel_used_90d")
def _touch_used(r: Raw) -> float:
    d, ch, _ = r.touches
    return float(len(np.unique(ch[d <= 90]))) if len(d) else 0.0


@fact("channel_switch_rate_365d")
def _touch_switch(r: Raw) -> float | None:
    _, ch, _ = r.touches
    return mean(ch[1:] != ch[:-1]) if len(ch) > 1 else None


@fact("channel_online_spend_share_90d")
def _online(r: Raw) -> float | None:
    e = r.card.last(90)
    online = e.where(np.array([c in ("app", "web") for c in e.channel], dtype=bool))
    return ratio(min(net(online), net(e)), net(e))
