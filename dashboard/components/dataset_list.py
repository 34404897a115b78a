"""The datasets at hand, and of one of them: its labels, and what simple answers reach on it before any model is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import access, dataset_folders, reach, state, ui
from dashboard.components.figure import table
from dashboard.data_job_card import train_on
from dashboard.i18n import t
from ple_model.data.dataset.manifest import DatasetManifest


def dataset_list() -> None:
    """A row a dataset, and below it the one that is chosen."""
    known = [Path(p) for p in dataset_folders.datasets()]
    rows, opened = [], []
    for path in known:
        manifest = state.dataset_manifest(path)
        if isinstance(manifest, DatasetManifest):
            opened.append(path)
            rows.append(_row(path, manifest))
    if not rows:
        ui.info(t("datasets.none"), icon=":material/database_off:")
        return
    counts = {t(f"datasets.{name}"): st.column_config.NumberColumn(format="localized") for name in ("train_rows", "rows")}
    table(pd.DataFrame(rows), "datasets", height="content", column_config=counts)
    if st.session_state.get("dataset") not in [str(p) for p in opened]:
        st.session_state["dataset"] = str(opened[0])
    chosen = ui.selectbox(t("datasets.look"), [str(p) for p in opened], key="dataset", format_func=dataset_folders.short)
    dataset(Path(chosen))


def _row(path: Path, m: DatasetManifest) -> dict[str, object]:
    return {
        t("datasets.dataset"): dataset_folders.short(str(path)),
        t("datasets.source"): m.source,
        t("datasets.train_rows"): m.splits.get("train", 0),
        t("datasets.rows"): m.rows,
        t("datasets.cutoffs"): ", ".join(m.cutoffs),
        t("datasets.labelled"): sum(any(c.values()) for c in m.label_counts.values()),
        t("datasets.measured"): t("datasets.measured_yes" if state.baselines(path) is not None else "datasets.measured_no"),
    }


def dataset(path: Path) -> None:
    """One dataset: labels by split, and the skill of simple answers."""
    manifest = state.dataset_manifest(path)
    if not isinstance(manifest, DatasetManifest):
        ui.error(manifest, icon=":material/error:")
        return
    found, split = state.baselines(path), reach.judged(manifest)
    ui.caption(f"`{path}`")
    table(
        reach.rows(manifest, found), "dataset-tasks", title=t("datasets.reach"),
        caption=t("datasets.reach_help", split=t(f"split.{split}")) if found else t("datasets.reach_none"), height="content",
        column_config=reach.columns(),
    )  # fmt: skip
    ui.button(
        t("making.train"), icon=":material/model_training:", type="primary", key="train-on", on_click=train_on, args=(path,),
        disabled=not access.may_change(),
    )  # fmt: skip
    if found is None:
        reach.offer(path, manifest, "page")
