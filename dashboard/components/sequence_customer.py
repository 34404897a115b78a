"""One customer's days on a page: which count, which are out of the ordinary, and what the encoder says of a hidden one."""

from __future__ import annotations

from datetime import date

import numpy as np
import streamlit as st
from babel.dates import format_date
from numpy.typing import NDArray

from analysis.figures import sequences as figures
from analysis.results.sequences import CustomerSteps, LearnedMap, SequenceChannel
from analysis.sequences.channels import CHANNELS
from dashboard import state, ui
from dashboard.components import put, report, sequence_ahead, sequence_neighbours
from dashboard.components.figure import show
from dashboard.components.linked import require
from dashboard.frame import Frame, start_with
from dashboard.i18n import language, t
from dashboard.i18n.sentences import label
from ple_model.errors import UserError
from ple_model.sequences.encoder_run import EncoderRun

LISTED = 300
ODD = 99.0
"""Percentile of the training customers' days beyond which a day is marked: one in a hundred of theirs is."""
RECENT = 4
"""Blocks that "the last ones" are."""
STANDS_OUT = 1.2
"""Times as far as without any other stretch: by less, which one is the first is no matter of the customer but of chance."""
NAMED = 5
"""Days named in a sentence."""


def section(frame: Frame, encoder: EncoderRun, learned: LearnedMap | None) -> None:
    """The chosen customer, or whom to choose."""
    options = list(dict.fromkeys(str(i) for i in frame.store.rows(["customer_id"], frame.filters)["customer_id"]))[:LISTED]
    if "customer" not in st.session_state and "customer" not in st.query_params and options:
        start_with("customer", options[0])
    asked = st.session_state.get("customer") or st.query_params.get("customer")
    shown = options if asked in options or not asked else [asked, *options]
    put.subheader(t("sequences.one"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        customer = ui.selectbox(
            t("why.customer"), shown, index=None, key="customer", bind="query-params", width=200, accept_new_options=True
        )
        names = [label(c.name) for c in _channels(encoder)]
        require("channel", range(len(names)), t("sequences.channel"))
        channel = ui.selectbox(
            t("sequences.channel"), range(len(names)), key="channel", bind="query-params", width=280,
            format_func=lambda i: names[i],
        )  # fmt: skip
    if not customer:
        put.info(t("why.choose"))
        return
    mask = report.mask_of(frame)(customer)
    put.chosen(t("why.customer"), mask)
    try:
        found = state.steps_of(encoder.path, frame.run.path, customer, frame.data)
    except UserError as e:
        said = t("export.no_customer", customer=mask)
        put.error(str(e), icon=":material/error:", saved=said)  # the sentence names the id, or others like it
        return
    if not np.isfinite(found.error).any():
        put.info(t("sequences.silent", customer=customer), saved=t("sequences.silent", customer=mask))
        return
    _silence(found, learned)
    _said(found, learned)
    odd = _odd(found, learned)
    _restored(found, int(channel), odd)
    sequence_ahead.section(frame, encoder, found, int(channel), odd, learned)
    _figures(found, learned)
    if learned is not None and found.row in learned.row:
        sequence_neighbours.section(frame, encoder, found, learned)


def _channels(encoder: EncoderRun) -> tuple[SequenceChannel, ...]:
    return CHANNELS[encoder.training.sequence]


def _day(label_: str, daily: bool) -> str:
    """A step in the reader's language: 2 March 2026, or the place of a session."""
    if not daily:
        return t("sequences.session", n=label_)
    return str(format_date(date.fromisoformat(label_), format="medium", locale="ko" if language() == "ko" else "en_GB"))


def _span(found: CustomerSteps, block: int) -> str:
    first, last = found.span(block)
    one, other = _day(first, found.daily), _day(last, found.daily)
    return one if first == last else f"{one} – {other}"


def _silence(found: CustomerSteps, learned: LearnedMap | None) -> None:
    """How likely nothing happens next, and how right that was of others."""
    if not found.silence or not found.daily:
        return
    with st.container(horizontal=True, gap="small"):
        for days, chance in found.silence:
            put.metric(t("sequences.silence", days=days), f"{chance:.1%}", border=True, help=t("sequences.silence_help"))
    right = learned.silence if learned is not None else ()
    before = max((row.steps for row in right), default=0)
    for row in right:
        put.caption(
            t(
                "sequences.silence_right", before=before, days=row.steps, tested=f"{row.tested:,}", told=f"{row.told:.1%}",
                happened=f"{row.happened:.1%}", auc="–" if np.isnan(row.auc) else f"{row.auc:.3f}",
            )
        )  # fmt: skip


def _said(found: CustomerSteps, learned: LearnedMap | None) -> None:
    """Which steps count most, in words, and which are out of the ordinary."""
    put.saved_only(t("export.person"), "warning")
    most = int(np.argmax(found.weight))
    if found.weight[most] > 0:
        ordered = np.sort(found.weight)
        beside = float(found.weight[most] / ordered[-2]) if len(ordered) > 1 and ordered[-2] > 0 else float("inf")
        said = "only" if np.isinf(beside) else "counts" if beside >= STANDS_OUT else "level"
        times = f"{beside:,.1f}" if beside < 100 else f"{beside:,.0f}"
        put.markdown(t(f"sequences.{said}", span=_span(found, most), share=f"{found.weight[most]:.0%}", times=times))
        last = min(RECENT, len(found.blocks))
        put.markdown(
            t(
                "sequences.spread",
                half=found.half(),
                all=int((found.weight > 0).sum()),
                last=last,
                recent=f"{found.recent(last):.0%}",
            )
        )
    if not found.restores:
        put.info(t("sequences.untaught"))
        return
    if learned is None or not learned.day_count:
        put.caption(t("sequences.no_percentile"))
        return
    percentile = learned.percentile(found.error)
    odd = np.flatnonzero(percentile > ODD)
    if not len(odd):
        put.markdown(t("sequences.ordinary", limit=f"{ODD:.0f}"))
        return
    worst = odd[np.argsort(-found.error[odd])][:NAMED]
    days = ", ".join(_day(found.steps[i], found.daily) for i in sorted(worst))
    put.markdown(t("sequences.odd", n=len(odd), all=len(percentile), limit=f"{ODD:.0f}", days=days))


def _percentile(found: CustomerSteps, learned: LearnedMap | None) -> NDArray[np.float64] | None:
    """Of each step among the training customers' days, where these were measured."""
    return None if learned is None or not learned.day_count else learned.percentile(found.error)


def _odd(found: CustomerSteps, learned: LearnedMap | None) -> NDArray[np.bool_]:
    percentile = _percentile(found, learned)
    return np.zeros(len(found.error), bool) if percentile is None else percentile > ODD


def _restored(found: CustomerSteps, channel: int, odd: NDArray[np.bool_]) -> None:
    show(
        figures.restored(found, channel, odd), "sequence-restored",
        title=t("sequences.restored" if found.restores else "sequences.seen", channel=label(found.channels[channel].name)),
        caption=t("sequences.restored_help") if found.restores else "",
        points=True, wide=True,
    )  # fmt: skip


def _figures(found: CustomerSteps, learned: LearnedMap | None) -> None:
    percentile = _percentile(found, learned)
    caption = t("sequences.counting_help" if found.attention is not None else "sequences.counting_alone_help")
    left, right = st.columns(2, gap="small")
    with left:
        show(figures.counting(found), "sequence-counting", title=t("sequences.counting"), caption=caption, points=True)
    with right:
        if percentile is not None:
            show(
                figures.oddness(found, percentile, ODD), "sequence-odd", title=t("sequences.oddness"),
                caption=t("sequences.oddness_help", limit=f"{ODD:.0f}"), points=True,
            )  # fmt: skip
        elif found.gate is not None:
            _gate(found)
    if found.gate is not None and percentile is not None:
        _gate(found)


def _gate(found: CustomerSteps) -> None:
    names = [label(c.name) for c in found.channels]
    show(figures.gates(found, names), "sequence-gate", title=t("sequences.gate"), caption=t("sequences.gate_help"), points=True)
