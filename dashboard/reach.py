"""What simple answers reach on a dataset, by task: what a good model would be, known before any is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import access, background, making_cost, state, ui
from dashboard.data_job_card import ERROR, shell
from dashboard.data_jobs import Making, commands
from dashboard.i18n import language, t
from dashboard.units import duration
from ple_model.baseline_folder import StoredBaselines
from ple_model.data.dataset.manifest import DatasetManifest
from ple_model.errors import UserError
from ple_model.tasks import TASKS

SPLITS = ("test", "validation")
SHOWN = ("linear", "boosting", "reachable")
"""Baselines whose skill is shown; the constant's is 0 by definition."""


def judged(manifest: DatasetManifest) -> str:
    """The split that baselines are shown on."""
    return next((s for s in SPLITS if manifest.splits.get(s)), "test")


def skills(found: StoredBaselines, task: str, split: str) -> dict[str, float | None]:
    """By baseline, 1 - loss / loss of the constant; None where it is not defined."""
    one = found.tasks.get(task)
    loss = one.splits[split].loss if one is not None and split in one.splits else {}
    constant = loss.get("constant")
    return {name: 1 - loss[name] / constant if name in loss and constant else None for name in SHOWN}


def rows(manifest: DatasetManifest, found: StoredBaselines | None) -> pd.DataFrame:
    """A row a task: its labels by split, and what simple answers reach."""
    split = judged(manifest)
    out = []
    for task, counts in manifest.label_counts.items():
        if task not in TASKS:
            continue
        title = TASKS[task].title_ko if language() == "ko" and TASKS[task].title_ko else TASKS[task].title
        row: dict[str, object] = {t("overview.task"): task, t("datasets.what"): title}
        row |= {t(f"split_rows.{s}"): counts.get(s, 0) for s in ("train", "validation", "test")}
        if found is not None:
            row |= {t(f"baseline.{name}"): value for name, value in skills(found, task, split).items()}
        out.append(row)
    return pd.DataFrame(out)


def columns() -> dict[str, Any]:
    """How counts and skills are shown."""
    return counted() | {
        t(f"baseline.{b}"): st.column_config.NumberColumn(format="%.3f", help=t(f"baseline.{b}_help"), width="small")
        for b in SHOWN
    }


def counted() -> dict[str, Any]:
    """How labels by split are shown."""
    return {t(f"split_rows.{s}"): st.column_config.NumberColumn(format="localized") for s in ("train", "validation", "test")}


def brief(path: Path) -> None:
    """For the training form: a row a task, behind a button; or the offer to measure it."""
    manifest = state.dataset_manifest(path)
    if not isinstance(manifest, DatasetManifest):
        return
    found = state.baselines(path)
    with ui.popover(t("datasets.reach_brief"), icon=":material/straighten:", width="stretch"):
        if found is None:
            offer(path, manifest, "form")
            return
        split = judged(manifest)
        ui.caption(t("datasets.reach_brief_help"))
        table = [
            {t("overview.task"): task, **{t(f"baseline.{n}"): v for n, v in skills(found, task, split).items()}}
            for task in manifest.label_counts
            if task in found.tasks
        ]
        ui.dataframe(pd.DataFrame(table), hide_index=True, column_config=columns(), placeholder="–", height=280)


def offer(path: Path, manifest: DatasetManifest, where: str) -> None:
    """Not measured yet: measure, with what it costs; nothing where nobody may."""
    if not access.may_change():
        return
    making = Making(("baselines",), dataset=path.absolute())
    cost = making_cost.cost(making.steps, manifest.rows)
    ui.button(
        t("datasets.measure", time=duration(cost.seconds)), icon=":material/straighten:", key=f"{where}-measure",
        on_click=_measure, args=(making,), help=t("datasets.measure_help"),
    )  # fmt: skip
    st.code(shell(commands(making)[0]), language="bash", wrap_lines=True)


def _measure(making: Making) -> None:
    """Start it (a callback)."""
    try:
        access.require()
        background.data_jobs().start(making)
    except (UserError, OSError) as e:
        st.session_state[ERROR] = str(e)
