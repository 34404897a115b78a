"""The fallback chooser: above which uncertainty should a prediction be withheld, what does that cost, and who is affected?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from analysis.checks.thresholds import Thresholds
from analysis.figures.evidence import coverage
from analysis.uncertainty import judged_split
from dashboard import ui
from dashboard.components import cards, put
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import t
from ple_model.numerals import statistic


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows of the chosen customers outside the training split with a label: uncertainty, error, segment."""

    uncertainty: NDArray[np.float64]
    error: NDArray[np.float64]
    segment: NDArray[Any]


def errors(kind: str, rows: dict[str, NDArray[Any]], task: str) -> NDArray[np.float64]:
    """[n] error of each row: |p - y| (binary), 0 or 1 (multiclass), in the label's unit (regression); NaN without a label."""
    label = np.asarray(rows[f"y:{task}"], dtype=np.float64)
    if kind == "binary":
        return np.asarray(np.where(label >= 0, np.abs(rows[f"p:{task}"] - label), np.nan), dtype=np.float64)
    if kind == "multiclass":
        return np.asarray(np.where(label >= 0, (rows[f"c:{task}"] != label).astype(np.float64), np.nan), dtype=np.float64)
    return np.asarray(np.abs(rows[f"p:{task}"] - label), dtype=np.float64)


def labelled(frame: Frame, task: str) -> Labelled:
    """What the chooser is computed from: a bounded sample of the cohort, without the customers that trained the model."""
    columns = [c for c in ("split", "segment", f"u:{task}", f"p:{task}", f"c:{task}", f"y:{task}") if c in frame.store.columns]
    rows = frame.store.rows(columns, frame.filters)
    kind = frame.statistics.facts.kinds[task]
    error = errors(kind, rows, task) if f"y:{task}" in columns else np.full(len(rows["segment"]), np.nan)
    use = (
        np.isfinite(error)
        & np.isfinite(rows[f"u:{task}"].astype(np.float64))
        & (rows["split"] != "train")
        & (rows["split"] == judged_split(frame.store))
    )
    return Labelled(rows[f"u:{task}"][use].astype(np.float64), error[use], rows["segment"][use])


def chooser(frame: Frame, task: str) -> None:
    """Risk against coverage, the threshold for a chosen coverage, and the share of each segment that falls back."""
    found = labelled(frame, task)
    n, least = len(found.error), Thresholds().min_rows
    put.subheader(t("fallback.title"), anchor=False)
    if n < least:
        put.info(t("fallback.few", n=n, minimum=least), icon=cards.ICONS["unknown"])
        return
    left, right = st.columns(2, gap="small")
    with left:
        show(
            coverage(found.uncertainty, found.error),
            "uncertainty-coverage",
            title=t("fallback.curve"),
            caption=t("fallback.curve_help", n=f"{n:,}"),
        )
    with right:
        share = ui.slider(t("fallback.coverage"), 0.5, 1.0, 0.9, 0.01, format="percent", key="coverage", bind="query-params")
        put.chosen(t("fallback.coverage"), f"{share:.0%}")
        threshold = float(np.quantile(found.uncertainty, share))
        kept = found.uncertainty <= threshold
        risk, whole = float(found.error[kept].mean()), float(found.error.mean())
        with st.container(horizontal=True, gap="small"):
            put.metric(t("fallback.threshold"), statistic(threshold), border=True)
            put.metric(t("fallback.risk"), statistic(risk), border=True, help=t("fallback.risk_help"))
            put.metric(t("fallback.risk_all"), statistic(whole), border=True)
        groups = sorted(set(found.segment))
        table(
            pd.DataFrame(
                {
                    t("frame.segment"): groups,
                    t("fallback.share"): [float((~kept[found.segment == g]).mean()) for g in groups],
                    t("fallback.rows"): [int((found.segment == g).sum()) for g in groups],
                }
            ),
            "fallback",
            title=t("fallback.who"),
            height="content",
            column_config={
                t("fallback.share"): st.column_config.ProgressColumn(format="percent", min_value=0.0, max_value=1.0)
            },
        )
