"""Data: what went in? Columns by name, presence by segment, labels, drift against training, what the build has to say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from analysis.checks.thresholds import Thresholds
from analysis.column_contents import column_bins, column_rows, label_rows, part_drift
from analysis.figures import data as figures
from analysis.stats.base import MIN_ROWS
from analysis.stats.drift import Drift, DriftGroups, DriftStats, compare
from dashboard import ui
from dashboard.components import cards, learned, put
from dashboard.components.figure import show, table
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import language, maybe, t
from dashboard.view import View
from ple_model.data.dataset.normalize import Normalizer
from ple_model.data.dataset.reader import Dataset
from ple_model.errors import UserError
from ple_model.numerals import statistic
from ple_model.presence import plain_name
from ple_model.schema import FeatureSchema

SEGMENTS = ("anonymous", "cold_start", "warm_start", "unknown", "dormant")


def _dataset(frame: Frame) -> tuple[Dataset | None, bool]:
    """(the run's dataset, else its sample; is it the whole dataset?)."""
    whole = frame.run.dataset()
    if whole is not None:
        return whole, True
    try:
        return frame.run.sample(), False
    except UserError:
        return None, False


def _facts(frame: Frame, dataset: Dataset | None, whole: bool) -> None:
    """What the dataset is, and everything its build noted."""
    if dataset is None:
        return
    m = dataset.manifest
    with st.container(horizontal=True, gap="small"):
        put.metric(t("data.name"), m.name, border=True, help=m.source)
        put.metric(t("data.rows"), f"{m.rows:,}", border=True, help=None if whole else t("data.sample_only"))
        put.metric(t("data.cutoffs"), len(m.cutoffs), border=True, help=", ".join(m.cutoffs))
        put.metric(t("data.fingerprint"), frame.run.manifest.data.fingerprint[:8], border=True)
    with put.expander(t("data.notes", n=len(m.notes)), icon=":material/sticky_note_2:", expanded=bool(m.notes)):
        put.markdown("\n".join(f"- {n}" for n in m.notes) if m.notes else t("data.no_notes"))


def _columns(stats: DriftStats, drift: Drift | None, schema: FeatureSchema) -> None:
    """The schema, searchable, with presence and drift beside each column."""
    left, right = st.columns([2, 3], gap="small")
    groups = list(dict.fromkeys(c.group for c in schema.columns))
    require("feature_group", groups, t("data.group"))
    with left:
        group = ui.selectbox(
            t("data.group"), groups, index=None, key="feature_group", bind="query-params", placeholder=t("data.all_groups"),
            format_func=lambda g: maybe(f"data.group_name.{g}", g),
        )  # fmt: skip
    with right:
        words = ui.text_input(t("data.search"), key="feature", bind="query-params", placeholder=t("data.search_help"))
    if group or words:
        put.chosen(t("data.group"), maybe(f"data.group_name.{group}", group) if group else t("data.all_groups"))
        put.chosen(t("data.search"), words or "–")
    wanted = words.lower().split()
    rows = []
    for r in column_rows(stats, drift, Thresholds().drift_psi, schema):
        c = r.column
        text = f"{c.name} {c.part} {c.unit} {c.sentence_en} {c.sentence_ko}".lower()
        if (group is None or c.group == group) and all(w in text for w in wanted):
            rows.append(
                (
                    c.index,
                    c.name,
                    c.part,
                    maybe(f"edit.unit.{c.unit}", c.unit),
                    c.sentence(language()),
                    r.present,
                    r.psi,
                    r.ks,
                    r.moved,
                )
            )
    names = ("index", "column", "part", "unit", "sentence", "present", "psi", "ks", "moved")
    table(
        pd.DataFrame(rows, columns=[t(f"data.{n}") for n in names]),
        "columns",
        title=t("data.schema", n=len(rows), total=len(schema.columns)),
        caption=t("data.schema_help"),
        column_config={
            t("data.present"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0),
            t("data.psi"): st.column_config.NumberColumn(format="%.3f", help=t("data.psi_help")),
            t("data.ks"): st.column_config.NumberColumn(format="%.3f", help=t("data.ks_help")),
            t("data.sentence"): st.column_config.TextColumn(width="medium"),
        },
    )


def _groups(unseen: DriftGroups, trained: DriftStats) -> None:
    """Every group of rows that were not trained on against training, the newest first."""
    limits = Thresholds()
    lines = []
    for split, cutoff, rows in unseen.newest_first():
        found = compare(rows, trained, limits.min_rows)
        known = found.psi[np.isfinite(found.psi)]
        lines.append(
            {
                t("data.of_split"): t(f"split.{split}"),
                t("data.cutoff"): cutoff,
                t("data.rows"): rows.n,
                t("data.customers"): rows.customers,
                t("data.largest_psi"): float(known.max()) if len(known) else None,
                t("data.moved_columns"): int(found.moved(limits.drift_psi).sum()) if len(known) else None,
            }
        )
    table(
        pd.DataFrame(lines),
        "drift-groups",
        title=t("data.groups_title"),
        caption=t("data.groups_help", minimum=limits.min_rows),
        height="content",
        column_config={t("data.largest_psi"): st.column_config.NumberColumn(format="%.3f", help=t("data.psi_help"))},
    )


def _drift(frame: Frame, group: tuple[str, str, DriftStats], trained: DriftStats, drift: Drift) -> None:
    """Parts by their most drifted column, and one column's distribution then and now."""
    limits = Thresholds()
    split, cutoff, stats = group
    parts = part_drift(drift, limits.drift_psi, frame.run.context().parts)
    if not parts:
        put.info(t("data.drift_few", n=f"{stats.n:,}", minimum=MIN_ROWS), icon=cards.ICONS["unknown"])
        return
    rows = {"split": t(f"split.{split}"), "cutoff": cutoff, "n": f"{drift.n:,}", "customers": f"{stats.customers:,}"}
    left, right = st.columns(2, gap="small")
    with left:
        show(
            figures.part_drift(parts, limits.drift_psi_watch, limits.drift_psi),
            "data-drift",
            title=t("data.parts"),
            caption=t("data.parts_help", **rows, trained=f"{drift.reference_n:,}"),
        )
    with right:
        columns = frame.run.context().schema.columns
        order = [int(i) for i in np.argsort(-np.nan_to_num(drift.psi, nan=-1.0), kind="stable") if np.isfinite(drift.psi[i])]
        names = [columns[i].name for i in order]
        require("drifted", names, t("data.column"))
        name = ui.selectbox(t("data.column"), names, key="drifted", bind="query-params")
        chosen = frame.run.context().schema.column(name or names[0])
        try:
            normalizer = Normalizer.load(frame.run.preprocess)
        except UserError:
            normalizer = None
        show(
            figures.column(column_bins(chosen.index, stats, trained, normalizer, chosen.unit, language() == "ko")),
            "data-column",
            title=f"{chosen.name} ({maybe(f'edit.unit.{chosen.unit}', chosen.unit)})",
            caption=chosen.sentence(language()),
        )


def _presence(stats: DriftStats) -> None:
    keys, shares = stats.presence_by_segment()
    there = np.flatnonzero(stats.segments > 0)
    order = np.argsort([stats.presence(k) for k in keys], kind="stable")
    labels = [
        t("frame.group", name=t(f"data.segment_name.{SEGMENTS[i]}"), n=f"{int(stats.segments[i]):,}") for i in there.tolist()
    ]
    show(
        figures.segment_presence([plain_name(keys[i]) for i in order], shares[order][:, there], labels),
        "data-presence",
        title=t("data.presence"),
        caption=t("data.presence_help"),
        wide=True,
    )


def _labels(frame: Frame, dataset: Dataset | None) -> None:
    context = frame.run.context()
    names = {**context.class_names, "brand_prediction": context.brands}
    counts = dataset.manifest.label_counts if dataset is not None else {}
    rows = [
        {
            t("data.task"): learned.name(frame.run, r.task),
            t("data.kind"): t(f"kind.{r.kind}"),
            **{t(f"split_rows.{s}"): counts.get(r.task, {}).get(s, 0) for s in ("train", "validation", "test")},
            t("data.labelled"): r.n,
            t("data.rate"): statistic(r.rate) if r.kind == "regression" else "–" if r.rate != r.rate else f"{r.rate:.1%}",
            t("data.commonest"): r.commonest,
        }
        for r in learned.last(frame.run, label_rows(frame.store, frame.filters, names), lambda r: r.task)
    ]
    learned.note(frame.run)
    table(pd.DataFrame(rows), "labels", title=t("data.labels"), caption=t("data.labels_help"), height="content")


def render(frame: Frame) -> None:
    s = frame.statistics
    cards.cards(frame.found.of("DATA-"))
    dataset, whole = _dataset(frame)
    _facts(frame, dataset, whole)
    if s.drift is None:
        put.info(t("guard.not_measured"))
    else:
        group = s.unseen.judged(Thresholds().min_rows) if s.unseen is not None else None
        drift = compare(group[2], s.trained, Thresholds().min_rows) if s.trained is not None and group is not None else None
        _columns(s.drift, drift, frame.run.context().schema)
        if s.trained is not None:
            put.subheader(t("data.drift"), anchor=False)
            if s.unseen is None or not s.unseen.groups:
                put.info(t("data.drift_older" if s.unseen is None else "data.drift_none"), icon=cards.ICONS["unknown"])
            else:
                if group is None or drift is None:
                    newest = s.unseen.newest_first()[0][2].n
                    put.info(t("data.drift_few", n=f"{newest:,}", minimum=MIN_ROWS), icon=cards.ICONS["unknown"])
                else:
                    _drift(frame, group, s.trained, drift)
                _groups(s.unseen, s.trained)
        _presence(s.drift)
    _labels(frame, dataset)


VIEW = View("data", "health", 5, ":material/table_view:", "analysis", render)
