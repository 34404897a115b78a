"""Sequences: what has a pre-trained encoder learnt from the days?"""

from __future__ import annotations

import streamlit as st

from analysis.sequences.learned import place
from dashboard import running, state, ui
from dashboard.components import put, sequence_customer, sequence_map, sequence_probe
from dashboard.components.linked import require
from dashboard.frame import Frame, start_with
from dashboard.i18n import t
from dashboard.view import View
from ple_model.errors import UserError
from ple_model.sequences.encoder_run import EncoderRun


def _chosen() -> EncoderRun | None:
    """The encoder that the reader chose; what can be done where there is none."""
    found = state.encoders()
    if not found:
        put.info(t("sequences.none"), icon=":material/timeline:")
        put.code(t("sequences.command", place=str(state.folders()[-1] / "encoder")), language="bash")
        put.caption(t("sequences.none_help"))
        return None
    require("encoder", list(found), t("sequences.encoder"))
    if "encoder" not in st.session_state and "encoder" not in st.query_params:
        start_with("encoder", next(iter(found)))
    name = ui.selectbox(t("sequences.encoder"), list(found), index=None, key="encoder", bind="query-params", width=320)
    return None if name is None else state.encoder(found[name])


def _identity(encoder: EncoderRun, frame: Frame) -> None:
    m, c = encoder.manifest, encoder.config
    with st.container(horizontal=True, gap="small"):
        put.metric(
            t("sequences.customers"), f"{m.customers.get('train', 0):,}", border=True, help=t("sequences.customers_help")
        )
        beside = t("sequences.outlook_help") if c.outlook == "on" else None
        put.metric(t("sequences.objective"), t(f"sequences.objective_{c.objective}"), border=True, help=beside)
        put.metric(t("sequences.epochs"), f"{m.best_epoch} / {m.epochs}", border=True, help=t("sequences.epochs_help"))
        put.metric(t("sequences.cost"), t("sequences.seconds", n=f"{m.seconds or 0:,.0f}"), border=True,
                   help=t("sequences.cost_help", rate=f"{m.samples_per_s or 0:,.0f}", machine=m.machine or "–"))  # fmt: skip
        put.metric(t("sequences.parameters"), f"{m.parameters:,}", border=True)
    if m.fingerprint != frame.run.manifest.data.fingerprint:
        put.caption(t("sequences.other_data", encoder=m.dataset, run=frame.run.manifest.data.name))


def render(frame: Frame) -> None:
    try:
        encoder = _chosen()
        if encoder is None:
            return
        _identity(encoder, frame)
        file = place(encoder.path, frame.run.path, frame.data)
        learned = state.learned(file)
        if learned is None:
            sequence_map.offer(running.Wanted(encoder.path, frame.run.path, frame.data))
        else:
            sequence_map.section(frame, learned)
        sequence_customer.section(frame, encoder, learned)
        if learned is not None:
            sequence_probe.section(learned)
    except UserError as e:
        put.error(str(e), icon=":material/error:")


VIEW = View("sequences", "understand", 3, ":material/timeline:", "analysis", render)
