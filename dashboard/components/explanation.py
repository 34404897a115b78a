"""One explanation on a page: prediction, reasons, parts that add up, checks of itself, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from analysis.figures.style import bars
from analysis.results.explanation import Explanation
from analysis.results.explanation_parts import Contribution, Counterfactual, Reason
from analysis.wording import given_title, quantity, task_title, title
from dashboard import ui
from dashboard.components import cards, customer_edit, put, report, skill
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from dashboard.i18n.sentences import label
from ple_model.fields import NO_CUTOFF
from ple_model.json_text import plain
from ple_model.numerals import Language, statistic
from ple_model.presence import plain_name

PARTS = 12
NAMED = 12
"""Names listed in a line; of more it says how many."""


def _said(korean: str, english: str) -> str:
    return korean if language() == "ko" else english


def _language() -> Language:
    return "ko" if language() == "ko" else "en"


def headline(frame: Frame, e: Explanation) -> None:
    """What is predicted, beside a typical customer, and how far the explanation may be trusted."""
    put.saved_only(t("export.person"), "warning")
    mask = report.mask_of(frame)(e.customer_id)
    put.chosen(t("why.customer"), mask)
    if e.cutoff != NO_CUTOFF:
        ui.caption(t("why.row", customer=e.customer_id, cutoff=e.cutoff))
        put.saved_only(t("why.row", customer=mask, cutoff=e.cutoff))
    own = next((p for p in e.predictions if p.task == e.task), None)
    asked = given_title(e.task, e.title) or task_title(e.task, _language()) or e.title
    with st.container(horizontal=True, gap="small"):
        put.metric(
            f"{asked} · {e.label_said(e.target_name, _language())}" if e.target_name else asked,
            e.shown(e.prediction, _language()),
            border=True,
        )
        put.metric(t("why.typical"), e.shown(e.typical, _language()), border=True, help=t("why.typical_help"))
        put.metric(t("why.population"), e.shown(e.population, _language()), border=True)
        if own is not None and own.uncertainty is not None:
            rank = t("why.rank", share=f"{own.rank:.0%}") if own.rank is not None else None
            put.metric(t("why.uncertainty"), statistic(own.uncertainty), border=True, help=rank)
        put.metric(t("frame.segment"), maybe(f"segment_name.{e.segment}", e.segment), border=True)
    if e.statistic:
        put.caption(t(f"why.{e.statistic}"))
    if mark := e.answer_mark(_language()):
        put.caption(mark)
    if said := e.person_said(_language()):  # whatever its checks say: nothing green stands beside it
        put.error(f"**{said}**", icon=cards.ICONS["error"])
    if e.unskilled or e.person_because == "check":
        return
    if e.trust == "withheld":
        put.error(e.checks_said(_language()), icon=cards.ICONS["error"])
    else:  # nothing green: what was checked is the calculation, and no answer is approved of
        put.info(e.checks_said(_language()), icon=cards.ICONS["info" if e.trust == "ok" else "unknown"])


def _sentences(reasons: Sequence[Reason]) -> str:
    return "\n".join(f"{i}. {r.said(_language())}{_under(r)}" for i, r in enumerate(reasons, 1))


def _under(reason: Reason) -> str:
    """The line below a reason, within its item of the list."""
    said = reason.linked(_language()).replace("[", "\\[").replace("]", "\\]")
    return f"\n\n   :small[:gray[{said}]]" if said else ""


def _sides(e: Explanation) -> None:
    with st.container(border=True):
        first, second = e.sides
        if e.dormant:
            put.caption(t("why.dormant"))
        put.markdown(f"**{t(f'why.{first}')}**")
        if e.withheld:
            put.markdown(e.meaningless(_language()) or t("why.withheld"))
        else:
            put.markdown(_sentences(e.reasons) or t(f"why.{'none_to_tell' if e.contradicted or e.unseen else 'no_reason'}"))
            if e.against:
                put.markdown(f"**{t(f'why.{second}')}**")
                put.markdown(_sentences(e.against))
            for said in e.below_said(_language()):
                put.caption(said)
        if e.absent:
            put.caption(e.lacking.said(_language()) or t("why.absent", names=_named(e.absent)))


def withheld(frame: Frame, e: Explanation) -> None:
    """In the place of reasons for a task without skill: the numbers that say so, and which tasks can be asked about."""
    assert e.skill is not None
    s = e.skill
    put.caption(t("why.unskilled", skill=f"{s.value:.3f}", low=f"{s.low:.3f}", high=f"{s.high:.3f}", n=f"{s.rows:,}"))
    skill.trust(frame)
    report.downloads(frame, e)
    with put.expander(t("why.audit"), icon=":material/policy:"):
        put.json(plain(e.audit))


def reasons(e: Explanation) -> None:
    """Reasons for and against in sentences; withheld when the explanation failed a check of itself."""
    left, right = st.columns([3, 2], gap="small")
    with left:
        _sides(e)
    with right:
        if e.offers:
            table(
                pd.DataFrame(
                    {
                        t("why.offer"): [e.label_said(o.name, _language()) for o in e.offers],
                        t("why.probability"): [o.probability for o in e.offers],
                    }
                ),
                "offers",
                title=t("why.offers"),
                height="content",
                column_config={
                    t("why.probability"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
                },
            )


def alternatives(frame: Frame, e: Explanation) -> None:
    """What would change the prediction, beside a place to try values of one's own."""
    counterfactual = None if e.withheld else e.counterfactual
    left, right = st.columns(2, gap="small") if counterfactual is not None else (None, st.container())
    if left is not None and counterfactual is not None:
        with left:
            _counterfactual(e, counterfactual)
    with right:
        found = customer_edit.panel(frame, e)
    if found is not None:
        customer_edit.result(e, found)


def _counterfactual(e: Explanation, c: Counterfactual) -> None:
    lang = _language()
    with st.container(border=True):
        put.markdown(f"**{t('why.counterfactual')}**")
        put.caption(e.change_said(lang))
        for change in c.changes:
            put.markdown(f"- {change.named(lang)}: {' → '.join(change.shown(lang))}")
        if c.immutable:
            put.caption(t("why.immutable", names=_named(c.immutable)))
        values = {name: value for change in c.changes for name, value in ((change.name, change.after), *change.along)}
        if values and len(values) <= customer_edit.MOST:
            ui.button(t("edit.start"), icon=":material/tune:", on_click=customer_edit.start, args=(values,))


def _named(groups: Sequence[str]) -> str:
    """Parts and fields by the names a reviewer knows, the first of many."""
    names = list(dict.fromkeys(title(plain_name(g), _language()) for g in groups))
    more = [t("why.rest", n=len(names) - NAMED)] if len(names) > NAMED else []
    return ", ".join([*names[:NAMED], *more])


def _title(c: Contribution) -> str:
    """A part's name in the reader's language; own labels of latents stay as they were written."""
    return label(c.title) if c.kind in ("latent", "rest") else c.named(_language())


def _parts(found: Sequence[Contribution], key: str, caption: str) -> None:
    top = found[:PARTS]
    rest = sum(c.value for c in found[PARTS:])
    names = [_title(c) for c in top] + ([t("why.rest", n=len(found) - PARTS)] if len(found) > PARTS else [])
    values = [c.value for c in top] + ([rest] if len(found) > PARTS else [])
    show(bars(names, {t("why.part"): values}, x_title=t("why.part")), f"why-{key}", title=t(f"why.{key}"), caption=caption)


def evidence(frame: Frame, e: Explanation) -> None:
    """The parts that add up, single features in real units, the transfer chain, similar customers, the checks."""
    left, right = st.columns(2, gap="small")
    with left:
        _parts(e.groups, "groups", t("why.groups_help", difference=e.shown(e.difference, _language())))
    with right:
        _parts(e.experts, "experts", t("why.experts_help", typical=e.shown(e.experts_typical, _language())))
        if e.concepts:
            _parts(e.concepts, "concepts", t("why.concepts_help"))
    table(
        pd.DataFrame(
            [
                {
                    t("why.feature"): f.told(_language()),
                    t("why.value"): f.shown(_language()),
                    t("why.usual"): quantity(f.typical, f.unit, _language()),
                    t("why.unit"): maybe(f"edit.unit.{f.unit}", f.unit),
                    t("why.part"): f.contribution,
                    t("why.column"): f.name,
                }
                for f in e.features
            ]
        ),
        "features",
        title=t("why.features"),
        caption=t("why.features_help"),
    )
    _tables(e)
    report.downloads(frame, e)
    with put.expander(t("why.audit"), icon=":material/policy:"):
        put.json(plain(e.audit))


def _tables(e: Explanation) -> None:
    left, right = st.columns(2, gap="small")
    with left:
        if e.transfer:
            rows = [
                {
                    t("transfer.edge"): s.edge.replace(":", " → "),
                    t("why.entered"): e.entered(s, _language()),
                    t("why.effect"): s.effect,
                }
                for s in e.transfer
            ]
            table(pd.DataFrame(rows), "why-transfer", title=t("why.transfer"), height="content")
        if e.similar:
            rows = [
                {
                    t("why.customer"): s.customer_id,
                    t("why.distance"): s.distance,
                    t("why.prediction"): e.shown(s.prediction, _language()),
                    t("why.outcome"): e.outcome(s, _language()) or "–",
                }
                for s in e.similar
            ]
            whose = [s.customer_id for s in e.similar]
            table(pd.DataFrame(rows), "why-similar", title=t("why.similar"), height="content", customers=whose)
    with right:
        rows = [
            {
                t("why.check"): t(f"check_name.{c.name}"),
                t("why.value"): c.value,
                t("overview.threshold"): c.threshold,
                t("why.passed"): {True: t("severity.ok"), False: t("severity.error"), None: "–"}[c.passed],
                t("why.meaning"): _said(c.text_ko, c.text_en),
            }
            for c in e.faithfulness.checks
        ]
        table(pd.DataFrame(rows), "why-checks", title=t("why.checks"), caption=t("why.checks_help"), height="content")
