"""Overview: is it any good? Each task's skill and one verdict, then the mechanics, metrics, what the run is, what changed."""

from __future__ import annotations

import pandas as pd
import streamlit as st
import yaml

from analysis import headline
from analysis.checks.finding import SEVERITIES, Severity
from analysis.compare import config_changes
from analysis.replicates import gaps
from dashboard import access, state, ui
from dashboard.components import cards, compare, metric_table, put, skill, whatif
from dashboard.components.figure import table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import maybe, t
from dashboard.i18n.sentences import say
from dashboard.view import View
from ple_model.errors import UserError
from ple_model.note import NOTE_CHARACTERS, read_note, write_note

SHOWN: tuple[Severity, ...] = ("error", "warning", "info", "unknown", "ok")


def _mechanics(frame: Frame) -> None:
    """How many checks said what, then the causes that are alarms."""
    groups = frame.found.by_severity()
    put.subheader(t("overview.mechanics"), anchor="mechanics")
    with st.container(horizontal=True, gap="small"):
        for severity in SHOWN:
            n = len(groups.get(severity, ()))
            put.metric(t(f"severity.{severity}"), n, border=True, width="stretch", icon=cards.ICONS[severity])
    shown = [f for f in frame.found.findings if f.alarm or f.follows]
    if shown:
        cards.cards(shown, whatif.try_finding, every=True)


def _keep_note(frame: Frame) -> None:
    access.require()
    write_note(frame.run.path, str(st.session_state.get("run_note", "")))


def _note(frame: Frame) -> None:
    """What people wrote about this run; where nothing may be changed, it is only read."""
    try:
        found = read_note(frame.run.path)
    except UserError as e:
        put.caption(str(e))
        return
    if not access.may_change():
        if found:
            put.caption(f"{t('overview.note')}: {found}")
        return
    st.session_state["run_note"] = found
    ui.text_area(
        t("overview.note"), key="run_note", on_change=_keep_note, args=(frame,), placeholder=t("overview.note_none"),
        max_chars=NOTE_CHARACTERS, height="content", help=t("overview.note_help"),
    )  # fmt: skip


def _identity(frame: Frame) -> None:
    m = frame.run.manifest
    facts = {
        "preset": m.preset,
        "status": t(f"run_state.{frame.run.state}"),
        "data": m.data.name,
        "fingerprint": m.data.fingerprint[:12],
        "rows": " · ".join(f"{k} {v:,}" for k, v in m.data.rows.items()),
        "parameters": f"{m.parameters:,}",
        "device": m.device,
        "seed": str(m.seed),
        "commit": (m.commit or "–")[:10],
        "created": m.created[:16].replace("T", " "),
        **({"parent": m.parent} if m.parent else {}),
        "versions": " · ".join(f"{k} {v}" for k, v in m.versions.items() if k in ("python", "torch")),
    }
    put.subheader(t("overview.identity"), anchor=False)
    rows = {t("overview.key"): [t(f"identity.{k}") for k in facts], t("overview.is"): list(facts.values())}
    table(pd.DataFrame(rows), "identity", static=True)
    _note(frame)
    for warning in m.warnings:
        put.caption(f":orange[{cards.ICONS['warning']}] {say(warning)}")
    with put.expander(t("overview.config"), icon=":material/settings:"):
        put.code(yaml.safe_dump(dict(frame.run.settings), sort_keys=False, allow_unicode=True), language="yaml", height=360)


def _metrics(frame: Frame) -> None:
    """Of the weights and rows at hand, the chosen rows where a cohort is chosen; what training wrote is on its own page."""
    put.subheader(t("overview.metrics"), anchor=False)
    splits = list(frame.statistics.performance)
    if not splits:
        put.caption(t("overview.no_metrics"))
        return
    require("split", splits, t("overview.split"))
    split = ui.segmented_control(
        t("overview.split"),
        splits,
        default=splits[0],
        required=True,
        key="split",
        bind="query-params",
        label_visibility="collapsed",
        format_func=lambda s: maybe(f"split.{s}", s),
    )
    found = state.split_performance(frame.store, split, frame.filters)
    title = t("overview.of_rows", rows=f"{found.rows:,}", customers=f"{found.customers:,}")
    said = [t("overview.measured_cohort" if frame.filters else "overview.measured")]
    if split == "train":
        said.append(t("overview.flattered"))
    lines = headline.rows(found)
    if not lines:
        put.info(f"{title}. {t('overview.no_labels')}", icon=cards.ICONS["unknown"])
        return
    values = _of_other(frame, split)
    other = None if frame.other is None or values is None else (frame.other.name, values)
    metric_table.show(frame.run, lines, "metrics", title=title, caption=" ".join(said), other=other)
    with put.expander(t("overview.every_metric"), icon=":material/table_rows:"):
        metric_table.show(frame.run, headline.every(found), "every-metric", title=title)


def _of_other(frame: Frame, split: str) -> dict[tuple[str, str], float] | None:
    """The compared run's values on its own rows of the same split and cohort; None where they cannot be had."""
    if frame.other_diagnosis is None:
        return None
    store = frame.other_diagnosis.store
    if any(gap.kind == "column" for gap in gaps(store, frame.filters)):
        return None
    found = state.split_performance(store, split, frame.filters)
    return {(r["task"], r["metric"]): r["value"] for r in headline.rows(found)}


def _changes(frame: Frame) -> None:
    if frame.other is None:
        return
    put.subheader(t("overview.changed", name=frame.other.name), anchor=False)
    rows = config_changes(frame.other.config.to_dict(), frame.run.config.to_dict())
    m, o = frame.run.manifest, frame.other.manifest
    pairs = {
        "data": (o.data.name, m.data.name),
        "fingerprint": (o.data.fingerprint, m.data.fingerprint),
        "device": (o.device, m.device),
        "commit": (o.commit, m.commit),
    }
    rows += [(t(f"identity.{k}"), a, b) for k, (a, b) in pairs.items() if a != b]
    if rows:
        table(
            pd.DataFrame(
                [(k, compare.written(a), compare.written(b)) for k, a, b in rows],
                columns=[t("overview.key"), frame.other.name, frame.run.name],
            ),
            "changes",
        )
    else:
        put.caption(t("overview.no_change"))
    if frame.other_diagnosis is None:
        compare.offer(frame.other, frame.data)
    else:
        mine = {(f.id, f.subject): f for f in frame.found.findings if f.alarm}
        theirs = {(f.id, f.subject): f for f in frame.other_diagnosis.findings if f.alarm}
        for key, label in ((mine.keys() - theirs.keys(), "appeared"), (theirs.keys() - mine.keys(), "gone")):
            for k in sorted(key):
                f = mine.get(k) or theirs[k]
                put.markdown(f"{t(f'overview.{label}')} **{f.subject}** · {say(f.verdict)} :gray[{f.id}]")
        compare.predictions(frame)


def _checklist(frame: Frame) -> None:
    rows = []
    for f in sorted(frame.found.findings, key=lambda f: (-SEVERITIES.index(f.severity), f.id)):
        number = next((e for e in f.evidence if e.value is not None), None)
        rows.append(
            {
                t("overview.severity"): t(f"severity.{f.severity}"),
                t("overview.check"): f.id,
                t("overview.subject"): f.subject,
                t("overview.value"): cards.written(number, number.value) if number else "–",
                t("overview.threshold"): cards.written(number, number.threshold)
                if number and number.threshold is not None
                else "–",
                t("overview.follows"): f.follows or "–",
                t("overview.finding"): say(f.verdict).replace("`", ""),  # a table shows text as it is
            }
        )
    table(pd.DataFrame(rows), "checks", title=t("overview.checklist"), caption=t("overview.checklist_help"))


def render(frame: Frame) -> None:
    skill.verdict(frame)
    skill.section(frame)
    _mechanics(frame)
    whatif.top(frame)
    left, right = st.columns([2, 1], gap="medium")
    with left:
        _metrics(frame)
    with right:
        _identity(frame)
    _changes(frame)
    _checklist(frame)
    whatif.bottom(frame, "ablate.temporal=zero")


VIEW = View("overview", "health", 0, ":material/monitor_heart:", "analysis", render)
