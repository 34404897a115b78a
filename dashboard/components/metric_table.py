"""Metrics by task as a table: each beside what a constant reaches, tasks that never learned last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from analysis.headline import Row
from dashboard.components import learned
from dashboard.components.figure import table
from dashboard.i18n import t
from ple_model.run import Run


def show(
    run: Run, lines: Sequence[Row], key: str, *, title: str, caption: str = "",
    other: tuple[str, Mapping[tuple[str, str], float]] | None = None,
) -> None:  # fmt: skip
    """`other`: name and values by task and metric of a run to set beside this one."""
    rows = learned.last(run, lines, lambda row: str(row["task"]))
    shown: dict[str, list[Any]] = {
        t("overview.task"): [learned.name(run, r["task"]) for r in rows],
        t("overview.metric"): [t(f"metric.{r['called']}") for r in rows],
        t("overview.value"): [r["value"] for r in rows],
    }
    if other is not None:
        shown[other[0]] = [other[1].get((r["task"], r["metric"])) for r in rows]
    shown[t("overview.constant")] = [r["constant"] for r in rows]
    errors = any(r["ece"] is not None for r in rows)
    if errors:
        shown[t("overview.ece")] = [r["ece"] for r in rows]
    shown[t("overview.n")] = [r["n"] for r in rows]
    widths = {t("overview.task"): 132, t("overview.metric"): 150}
    columns: dict[str, Any] = {
        name: st.column_config.NumberColumn(format="%.3f", width=70)
        for name in (t("overview.value"), *([] if other is None else [other[0]]))
    }
    columns |= {name: st.column_config.TextColumn(width=width) for name, width in widths.items()}
    columns[t("overview.constant")] = st.column_config.NumberColumn(format="%.3f", width=75, help=t("overview.constant_help"))
    if errors:
        columns[t("overview.ece")] = st.column_config.NumberColumn(format="%.3f", width=60, help=t("overview.ece_help"))
    columns[t("overview.n")] = st.column_config.NumberColumn(format="localized", width=60, help=t("overview.n_help"))
    table(pd.DataFrame(shown), key, title=title, caption=caption, height="content", column_config=columns)
