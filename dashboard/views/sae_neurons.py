"""SAE neurons: what does this latent mean, what does it move, and is the dictionary sound?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from analysis.figures import sae as figures
from analysis.results.latents import Latents
from dashboard import state, ui
from dashboard.components import cards, learned, put, skill, whatif
from dashboard.components.figure import show
from dashboard.components.latent import browser, page
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View
from ple_model.errors import UserError
from ple_model.numerals import statistic


def _summary(frame: Frame) -> None:
    s, e = frame.statistics.sae, frame.statistics.effects
    assert s is not None
    with st.container(horizontal=True, gap="small"):
        put.metric(t("sae.latents"), f"{len(s.active):,}", border=True)
        put.metric(t("sae.l0"), statistic(s.l0), border=True, help=t("sae.l0_help"))
        put.metric(t("sae.fve"), statistic(s.fve), border=True, help=t("sae.fve_help"))
        put.metric(t("sae.dead"), f"{s.dead_share:.0%}", border=True, help=t("sae.dead_help"))
        put.metric(t("sae.dense"), f"{s.dense_share():.0%}", border=True, help=t("sae.dense_help"))
        if e is not None:
            put.metric(
                t("sae.lost"),
                statistic(float(np.nanmean(e.of("replace_shared=true")))),
                border=True,
                help=t("sae.lost_help"),
            )


def _telling(found: Latents) -> int:
    """The latent to open with: of those that name something, the one that moves a task most."""
    named = np.array([found.state(j) == "fine" for j in range(found.n_latents)])
    return int(np.argmax(np.where(named, np.abs(found.relative_effect).max(1), -1.0)))


def render(frame: Frame) -> None:
    s = frame.statistics.sae
    cards.cards(frame.found.of("SAE-"), whatif.try_finding)
    whatif.top(frame)
    if s is None:
        put.info(t("sae.absent"))
        return
    learned.note(frame.run)
    skill.remark(frame, *frame.statistics.facts.tasks)
    _summary(frame)
    try:
        with ui.spinner(t("sae.working"), show_time=True):
            found = state.dictionary(frame.run.path, frame.data)
    except UserError as e:
        put.error(str(e), icon=":material/error:")
        return
    put.caption(t(f"sae.why_{found.why}"))
    left, right = st.columns([2, 5], gap="small")
    with left:
        show(figures.density(s), "sae-density", title=t("sae.histogram"), caption=t("sae.histogram_help"))
        first = _telling(found)
        require("latent", range(found.n_latents), t("sae.latent"))
        latent = ui.number_input(t("sae.latent"), 0, found.n_latents - 1, first, key="latent", bind="query-params")
        value = ui.number_input(t("sae.clamp"), value=0.0, step=0.5, key="clamp", bind="query-params", help=t("sae.clamp_help"))
        ui.button(t("sae.try"), icon=":material/science:", on_click=whatif.choose, args=(f"latent.{latent}={value:g}",))
    with right:
        browser(frame, found)
    if found.enough:
        page(frame, found, int(latent))
    else:
        put.info(t("guard.no_rows"), icon=cards.ICONS["unknown"])
    whatif.bottom(frame, "latent.12=0")


VIEW = View("sae_neurons", "understand", 0, ":material/neurology:", "analysis", render)
