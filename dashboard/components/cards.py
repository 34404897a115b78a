"""Verdict cards: what is wrong, the numbers behind it, the likely cause, the fix, and two ways to act on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import streamlit as st

from analysis.checks.finding import Evidence, Finding, Severity
from analysis.checks.order import Group, grouped
from analysis.harmless import harmless
from dashboard import access, train_form, ui
from dashboard.components import put
from dashboard.i18n import maybe, t
from dashboard.i18n.sentences import localised
from dashboard.job_status import Colour
from dashboard.page import Card, record
from ple_model.numerals import statistic

COLOURS: dict[Severity, Colour] = {
    "ok": "green",
    "info": "blue",
    "unknown": "gray",
    "warning": "orange",
    "error": "red",
}
ICONS: dict[Severity, str] = {
    "ok": ":material/check_circle:",
    "info": ":material/info:",
    "unknown": ":material/help:",
    "warning": ":material/warning:",
    "error": ":material/error:",
}
NUMBERS = 3
OPEN = 2
"""Warnings that a page of one subject shows before its figures; the others are folded."""
TINY = 1e-3
SHARES = frozenset(
    (
        "absent share", "zero fallback share", "txn_seq absent", "mean weight", "largest mean weight",
        "weight on zero fallback",
        "dead dimensions", "rows with NaN or Inf", "valid share of the mask", "death before birth", "valid points at (0, 0)",
        "variance outside the leading direction", "rows without evidence", "ECE, 15 equal-width bins", "ECE, adaptive bins",
        "dead latents", "dense latents", "fraction of variance explained", "share of drifted columns", "default rate",
        "share of the usual events", "share of columns that tell",
        "conflicting pairs", "share of the KL", "mean rise of task losses", "median change of task losses",
        "decisions flipped by the cut",
    )
)  # fmt: skip
"""Evidence that is a part of a whole."""


def written(item: Evidence, value: float | None) -> str:
    """A number of this evidence (its value or its threshold): shares as percent, what rounds to nothing as such."""
    if value is not None and math.isfinite(value):
        if item.name in SHARES:
            return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"
        if 0 < abs(value) < TINY and (item.threshold is None or abs(item.threshold) >= TINY):
            return f"{'<' if value > 0 else '>'} {math.copysign(TINY, value)}"
    return statistic(value)


def _evidence_caption(item: Evidence) -> str:
    parts = []
    if item.threshold is not None:
        parts.append(t("card.threshold", value=written(item, item.threshold)))
    if item.n is not None:
        parts.append(t("card.n", n=f"{item.n:,}"))
    return " · ".join(parts)


def _numbers(evidence: Sequence[Evidence]) -> None:
    shown = [e for e in evidence if e.value is not None][:NUMBERS]
    if shown:
        for column, item in zip(st.columns(NUMBERS, gap="small"), shown, strict=False):
            with column:
                called = maybe(f"evidence.{item.name}", item.name.replace("_", " "))
                with st.container(gap=None):
                    ui.caption(called)  # a metric cuts its own label off where the column is narrow
                    ui.metric(called, written(item, item.value), label_visibility="collapsed")
                    if caption := _evidence_caption(item):
                        ui.caption(caption)
    named = [
        f"{maybe(f'evidence.{e.name}', e.name.replace('_', ' '))}: {e.text}" for e in evidence if e.value is None and e.text
    ]
    if named:
        ui.caption(" · ".join(named))


def _plain(finding: Finding) -> Finding:
    """Its words as text: a subject or an evidence may be a name out of the data."""
    fix = finding.fix and replace(finding.fix, text=finding.fix.text and harmless(finding.fix.text))
    evidence = tuple(replace(e, text=e.text and harmless(e.text)) for e in finding.evidence)
    return replace(
        finding, subject=harmless(finding.subject), verdict=harmless(finding.verdict), cause=harmless(finding.cause or ""),
        fix=fix, evidence=evidence,
    )  # fmt: skip


def card(finding: Finding, try_it: Callable[[Finding], None] | None = None) -> None:
    """One finding. `try_it` is called back with it when the reader wants the what-if. Of one whose cause is not on the page it
    says what that is."""
    finding = _plain(localised(finding))
    record(Card(finding))
    key = f"{finding.id}-{finding.subject}"
    with st.container(border=True, gap="small", key=f"card-{finding.severity}-{key}", height="stretch"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            ui.badge(t(f"severity.{finding.severity}"), icon=ICONS[finding.severity], color=COLOURS[finding.severity])
            ui.markdown(f"**{finding.subject}**", width="content")
            ui.caption(finding.id, width="content", help=maybe(f"check.{finding.id}", finding.id))
        ui.markdown(finding.verdict)
        if finding.follows:
            id, _, subject = finding.follows.partition(" ")
            ui.caption(f":blue[:material/subdirectory_arrow_right:] {t('card.follows', id=id, subject=subject)}")
        _numbers(finding.evidence)
        if finding.cause:
            ui.caption(f"{t('card.cause')}: {finding.cause}")
        override = finding.fix.override() if finding.fix else None
        if finding.fix is not None and override is None and finding.fix.text:
            ui.caption(f"{t('card.fix')}: {finding.fix.text}")
        if finding.fix is not None and override is not None:
            ui.caption(f"{t('card.fix')}: {finding.fix.text}" if finding.fix.text else t("card.fix"))
            st.code(
                f"- {finding.fix.key}: {finding.fix.old}\n+ {finding.fix.key}: {finding.fix.new}",
                language="diff",
                wrap_lines=True,
            )
        if override is not None or (finding.whatif and try_it is not None):
            with st.container(horizontal=True, gap="small"):
                if finding.whatif and try_it is not None:
                    ui.button(t("card.try"), icon=":material/science:", key=f"try-{key}", on_click=try_it, args=(finding,))
                if override is not None:
                    ui.button(
                        t("card.train"),
                        icon=":material/model_training:",
                        key=f"train-{key}",
                        on_click=train_form.open_with,
                        args=([override],),
                        disabled=not access.may_change(),
                    )


def _group(group: Group, try_it: Callable[[Finding], None] | None) -> None:
    """A cause, and folded beneath it what follows from it: what was found, without fixes of its own."""
    card(group.cause, try_it)
    if group.followers:
        with put.expander(t("card.followers", n=len(group.followers)), icon=":material/subdirectory_arrow_right:"):
            for finding in group.followers:
                _line(finding)
                numbers = [
                    f"{maybe(f'evidence.{e.name}', e.name.replace('_', ' '))} {written(e, e.value)}"
                    for e in finding.evidence
                    if e.value is not None
                ]
                put.caption(" · ".join((finding.id, *numbers[:NUMBERS])))


def _line(finding: Finding) -> None:
    ui.badge(t(f"severity.{finding.severity}"), icon=ICONS[finding.severity], color=COLOURS[finding.severity])
    put.markdown(f"**{finding.subject}** · {finding.verdict}")


def _rows(groups: Sequence[Group], try_it: Callable[[Finding], None] | None) -> None:
    """Two a row; one alone has the whole width."""
    if len(groups) == 1:
        _group(groups[0], try_it)
        return
    for i in range(0, len(groups), 2):
        for column, group in zip(st.columns(2, gap="small"), groups[i : i + 2], strict=False):
            with column:
                _group(group, try_it)


def cards(findings: Iterable[Finding], try_it: Callable[[Finding], None] | None = None, *, every: bool = False) -> None:
    """Causes with an alarm as cards, two a row, what follows from each folded beneath it; information folded; what passed as
    one line. Of many warnings the first two are open (`every`: all of them), errors are always."""
    groups = grouped(localised(f) for f in findings)
    listed = [f for g in groups for f in (g.cause, *g.followers)]
    loud = [g for g in groups if g.cause.alarm]
    quiet = [f for g in groups if not g.cause.alarm for f in (g.cause, *g.followers) if f.severity in ("info", "unknown")]
    passed = [f for f in listed if f.severity == "ok"]
    if not listed:
        put.caption(t("card.none"))
        return
    open_questions = sum(f.severity == "unknown" for f in quiet)
    if not loud and open_questions:
        put.info(t("card.calm_unknown", n=len(passed), unknown=open_questions), icon=ICONS["unknown"])
    elif not loud:
        put.success(t("card.calm_ok", n=len(passed)), icon=ICONS["ok"])
    errors = sum(g.cause.severity == "error" for g in loud)
    shown = len(loud) if every else max(OPEN, errors)
    _rows(loud[:shown], try_it)
    if loud[shown:]:
        with put.expander(t("card.more", n=len(loud) - shown), icon=ICONS["warning"]):
            _rows(loud[shown:], try_it)
    if quiet:
        with put.expander(t("card.quiet", n=len(quiet)), icon=ICONS["info"]):
            for finding in quiet:
                _line(finding)
                put.caption(" · ".join(filter(None, (finding.id, finding.cause))))
    if passed:
        with put.expander(t("card.passed", n=len(passed)), icon=ICONS["ok"]):
            for finding in passed:
                put.markdown(f":green[{ICONS['ok']}] **{finding.subject}** · {finding.verdict} :gray[{finding.id}]")
