"""SAE neurons: is the dictionary sound, and what happens when a latent is clamped?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import sae as figures
from dashboard.components import cards, whatif
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View

DENSE = 0.1
"""A latent that is active in more than this share of rows names no concept (Bricken et al. 2023)."""


def _summary(frame: Frame) -> None:
    s, e = frame.statistics.sae, frame.statistics.effects
    assert s is not None
    with st.container(horizontal=True, gap="small"):
        st.metric(t("sae.latents"), f"{len(s.active):,}", border=True)
        st.metric(t("sae.l0"), cards.number(s.l0), border=True, help=t("sae.l0_help"))
        st.metric(t("sae.fve"), cards.number(s.fve), border=True, help=t("sae.fve_help"))
        st.metric(t("sae.dead"), f"{s.dead_share:.0%}", border=True, help=t("sae.dead_help"))
        st.metric(t("sae.dense"), f"{s.dense_share():.0%}", border=True, help=t("sae.dense_help"))
        if e is not None:
            st.metric(
                t("sae.lost"),
                cards.number(float(np.nanmean(e.of("replace_shared=true")))),
                border=True,
                help=t("sae.lost_help"),
            )


def _browser(frame: Frame) -> None:
    s = frame.statistics.sae
    assert s is not None
    hide = st.toggle(t("sae.hide_dense"), key="hide_dense", bind="query-params")
    found = pd.DataFrame(
        {
            t("sae.latent"): np.arange(len(s.active)),
            t("sae.density"): s.density,
            t("sae.mean"): s.mean_active,
            t("sae.max"): s.activation_max,
        }
    ).sort_values(t("sae.density"), ascending=False)
    density = found[t("sae.density")]
    if hide:
        found = found[density <= DENSE]
    table(
        found,
        "latents",
        title=t("sae.browser"),
        caption=t("sae.browser_help", n=f"{len(found):,}"),
        height=420,
        column_config={
            t("sae.density"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0),
        },
    )


def render(frame: Frame) -> None:
    s = frame.statistics.sae
    cards.cards(frame.found.of("SAE-"), whatif.try_finding)
    whatif.top(frame)
    if s is None:
        st.info(t("sae.absent"))
        return
    _summary(frame)
    left, right = st.columns([2, 3], gap="small")
    with left:
        show(figures.density(s), "sae-density", title=t("sae.histogram"), caption=t("sae.histogram_help"))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            latent = st.number_input(
                t("sae.latent"), 0, len(s.active) - 1, int(np.argmax(s.active)), key="latent", bind="query-params", width=140
            )
            value = st.number_input(
                t("sae.clamp"), value=0.0, step=0.5, key="clamp", bind="query-params", width=140, help=t("sae.clamp_help")
            )
            st.button(t("sae.try"), icon=":material/science:", on_click=whatif.choose, args=(f"latent.{latent}={value:g}",))
    with right:
        _browser(frame)
    whatif.bottom(frame, "latent.12=0")


VIEW = View("sae_neurons", "understand", 0, ":material/neurology:", "analysis", render)
