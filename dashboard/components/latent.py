"""The latent browser and one latent's page: what it fires on, what it moves, what it is near, and the label people gave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from analysis.figures import sae as figures
from analysis.results.labels import load_labels, save_label
from analysis.results.latents import LatentPage, Latents, TopRow
from analysis.wording import quantity
from dashboard import access, ui
from dashboard.components import learned, put
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from ple_model.numerals import Language

COLUMNS = (
    "latent", "label", "density", "top_task", "effect", "top_expert", "proposal", "lift", "state", "mean", "max", "fve",
)  # fmt: skip
SELECTED = "table-latents"


def _select(shown: list[int]) -> None:
    """Open the latent whose row was clicked (a callback)."""
    rows = st.session_state[SELECTED]["selection"]["rows"]
    if rows and rows[0] < len(shown):
        st.session_state["latent"] = shown[rows[0]]


def browser(frame: Frame, found: Latents) -> None:
    """The latents that fire, densest first; dense ones can be hidden. A click on a row opens its page."""
    hide = ui.toggle(t("sae.hide_dense"), key="hide_dense", bind="query-params")
    rows = pd.DataFrame(found.table(hide_dense=hide, language=language()))
    labels, shown = load_labels(frame.run), [int(j) for j in rows["latent"]]
    rows.insert(1, "label", [labels.get(j, "") for j in rows["latent"]])
    rows["state"] = [t(f"latent_state.{s}") for s in rows["state"]]
    rows = rows[list(COLUMNS)]
    rows.columns = [t(f"latent.{c}") for c in rows.columns]
    columns = {
        t("latent.density"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0),
        t("latent.fve"): st.column_config.NumberColumn(format="percent", help=t("latent.fve_help")),
        t("latent.effect"): st.column_config.NumberColumn(format="%.3f", help=t("latent.effect_help")),
        t("latent.proposal"): st.column_config.TextColumn(width="large"),
        t("latent.mean"): st.column_config.NumberColumn(format="%.2f"),
        t("latent.max"): st.column_config.NumberColumn(format="%.2f"),
        t("latent.lift"): st.column_config.NumberColumn(format="%.2f", help=t("latent.lift_help")),
    }
    table(
        rows,
        "latents",
        title=t("sae.browser"),
        caption=t("sae.browser_help", n=f"{len(rows):,}"),
        height=420,
        column_config=columns,
        units={t("latent.effect"): t("table.deviations")},
        on_select=lambda: _select(shown),
        selection_mode="single-row",
    )


def _keep(frame: Frame, latent: int) -> None:
    access.require()
    save_label(frame.run, latent, str(st.session_state.get("latent_label", "")))


def page(frame: Frame, found: Latents, latent: int) -> None:
    """One latent."""
    one = found.page(latent)
    proposal = one.proposal_ko if language() == "ko" else one.proposal_en
    put.subheader(t("latent.page", n=latent, state=t(f"latent_state.{one.state}")), anchor="latent")
    if proposal:
        put.caption(t("latent.proposed", text=proposal))
    st.session_state["latent_label"] = load_labels(frame.run).get(latent, "")
    ui.text_input(
        t("latent.label"), key="latent_label", on_change=_keep, args=(frame, latent), placeholder=t("latent.own"), width=420,
        disabled=not access.may_change(),
    )  # fmt: skip
    left, right = st.columns(2, gap="small")
    with left:
        show(
            figures.activation(one),
            "latent-histogram",
            title=t("latent.fires", share=f"{one.density:.2%}"),
            caption=t("latent.fires_help"),
        )
        _lift(one.segments, "segments")
    with right:
        scale = dict(zip(found.tasks, found.effect_scale.tolist(), strict=True))
        drawn = learned.grey(frame.run, figures.effects(one, scale))
        show(drawn, "latent-effects", title=t("latent.effects"), caption=t("latent.effects_help"))
    _raised(one)
    left, right = st.columns(2, gap="small")
    with left:
        _lift(one.clusters, "clusters")
    with right:
        show(figures.experts(one), "latent-experts", title=t("latent.experts"), caption=t("latent.experts_help"))
        _near(one)
    left, right = st.columns(2, gap="small")
    with left:
        _rows(one.top, "latent-top", t("latent.top"))
    with right:
        _rows(one.quantile_groups, "latent-groups", t("latent.groups"))


def _lift(values: Mapping[str, float], key: str) -> None:
    show(figures.lift(dict(values)), f"latent-{key}", title=t(f"latent.{key}"), caption=t(f"latent.{key}_help"))


def _near(one: LatentPage) -> None:
    for key, pairs in (("neighbours", one.neighbours), ("together", one.together)):
        rows = pd.DataFrame({t("latent.latent"): [j for j, _ in pairs], t(f"latent.{key}_value"): [v for _, v in pairs]})
        table(rows, f"latent-{key}", title=t(f"latent.{key}"), height=170)


def _raised(one: LatentPage) -> None:
    lang: Language = "ko" if language() == "ko" else "en"
    rows = [
        {
            t("why.feature"): f.sentence_ko if language() == "ko" else f.sentence_en,
            t("latent.difference"): f.difference,
            t("latent.mean_top"): quantity(f.mean_top, f.unit, lang),
            t("latent.mean_rest"): quantity(f.mean_rest, f.unit, lang),
            t("why.unit"): maybe(f"edit.unit.{f.unit}", f.unit),
            t("why.column"): f.name,
        }
        for f in one.raised
    ]
    table(
        pd.DataFrame(rows),
        "latent-raised",
        title=t("latent.raised"),
        caption=t("latent.raised_help"),
        height="content",
        units={t("latent.difference"): t("table.deviations")},
    )


def _rows(found: Sequence[TopRow], key: str, title: str) -> None:
    rows = [
        {
            t("why.customer"): r.customer_id,
            t("latent.activation"): r.activation,
            t("frame.segment"): r.segment,
            t("frame.cluster"): r.cluster,
            t("latent.cutoff"): r.cutoff,
            t("latent.quantile"): maybe(f"latent_group.{r.group}", r.group),
        }
        for r in found
    ]
    columns = [c for c in (rows[0] if rows else {}) if c != t("latent.quantile") or any(r.group for r in found)]
    whose = [r.customer_id for r in found]
    table(pd.DataFrame(rows, columns=columns), key, title=title, height=260, customers=whose)
