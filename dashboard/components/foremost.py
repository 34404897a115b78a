"""The customers of whom one measured number is largest, from whom a page leads to their reasons."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from dashboard import state
from dashboard.components.figure import table
from dashboard.frame import Frame
from dashboard.i18n import maybe, t

SAMPLED = 20_000
LISTED = 8


def section(frame: Frame, column: str, key: str, *, title: str, caption: str, number: str, task: str) -> None:
    """`column` of the stored rows, whose head is `number`: each customer at the latest cut-off, the one that is explained."""
    rows = frame.store.rows(["row", "customer_id", "segment", column], frame.filters, SAMPLED)
    values = rows[column].astype(float)
    known = np.isin(rows["row"].astype(np.int64), state.latest_rows(frame.store)) & np.isfinite(values)
    order = np.flatnonzero(known)[np.argsort(-values[known], kind="stable")][:LISTED]
    if not len(order):
        return
    customers = [str(rows["customer_id"][i]) for i in order]
    shown = pd.DataFrame(
        {
            t("why.customer"): customers,
            t("frame.segment"): [maybe(f"segment_name.{rows['segment'][i]}", str(rows["segment"][i])) for i in order],
            number: values[order],
        }
    )
    formats = {number: st.column_config.NumberColumn(format="%.3f")}
    table(
        shown, key, title=title, caption=caption, height="content", column_config=formats, customers=customers, task=task
    )  # fmt: skip
