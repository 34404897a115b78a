"""The datasets at hand, and of one of them: its labels, and what simple answers reach on it before any model is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import background, making_cost, state, train_form, ui
from dashboard.components.data_job import ERROR, shell, train_on
from dashboard.components.figure import table
from dashboard.data_jobs import Making, commands
from dashboard.i18n import language, maybe, t
from dashboard.units import duration
from ple_model.baseline_folder import StoredBaselines
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.errors import UserError
from ple_model.tasks import TASKS

SPLITS = ("test", "validation")
SHOWN = ("linear", "boosting", "reachable")
"""Baselines whose skill is shown; the constant's is 0 by definition."""


def dataset_list() -> None:
    """A row a dataset, and below it the one that is chosen."""
    known = [Path(p) for p in train_form.datasets()]
    rows, opened = [], []
    for path in known:
        manifest = state.dataset_manifest(path)
        if isinstance(manifest, DatasetManifest):
            opened.append(path)
            rows.append(_row(path, manifest))
    if not rows:
        ui.info(t("datasets.none"), icon=":material/database_off:")
        return
    table(pd.DataFrame(rows), "datasets", height="content")
    if st.session_state.get("dataset") not in [str(p) for p in opened]:
        st.session_state["dataset"] = str(opened[0])
    chosen = ui.selectbox(t("datasets.look"), [str(p) for p in opened], key="dataset", format_func=train_form.short)
    dataset(Path(chosen))


def _row(path: Path, m: DatasetManifest) -> dict[str, object]:
    return {
        t("datasets.dataset"): train_form.short(str(path)),
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
    found = state.baselines(path)
    split = next((s for s in SPLITS if manifest.splits.get(s)), "test")
    ui.caption(f"`{path}`")
    table(
        pd.DataFrame(_tasks(manifest, found, split)),
        "dataset-tasks",
        title=t("datasets.reach"),
        caption=t("datasets.reach_help", split=maybe(f"split.{split}", split)) if found else t("datasets.reach_none"),
        height="content",
        column_config={
            t(f"baseline.{b}"): st.column_config.NumberColumn(format="%.3f", help=t(f"baseline.{b}_help")) for b in SHOWN
        },
    )
    with st.container(horizontal=True, gap="small"):
        ui.button(
            t("making.train"), icon=":material/model_training:", type="primary", key="train-on", on_click=train_on, args=(path,)
        )
        if found is None:
            _offer(path, manifest)


def _tasks(m: DatasetManifest, found: StoredBaselines | None, split: str) -> list[dict[str, object]]:
    rows = []
    for task, counts in m.label_counts.items():
        if task not in TASKS:
            continue
        row: dict[str, object] = {
            t("overview.task"): task,
            t("datasets.what"): TASKS[task].title_ko if language() == "ko" and TASKS[task].title_ko else TASKS[task].title,
            **{t(f"split_rows.{s}"): counts.get(s, 0) for s in ("train", "validation", "test")},
        }
        if found is not None:
            one = found.tasks.get(task)
            loss = one.splits[split].loss if one is not None and split in one.splits else {}
            constant = loss.get("constant")
            for name in SHOWN:
                there = name in loss and constant
                row[t(f"baseline.{name}")] = 1 - loss[name] / constant if there and constant else None
        rows.append(row)
    return rows


def _offer(path: Path, manifest: DatasetManifest) -> None:
    """Not measured yet: measure, with what it costs."""
    making = Making(("baselines",), dataset=path.absolute())
    cost = making_cost.cost(making.steps, manifest.rows)
    ui.button(
        t("datasets.measure", time=duration(cost.seconds)), icon=":material/straighten:", key="measure-baselines",
        on_click=_measure, args=(making,), help=t("datasets.measure_help"),
    )  # fmt: skip
    st.code(shell(commands(making)[0]), language="bash")


def _measure(making: Making) -> None:
    try:
        background.data_jobs().start(making)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)
