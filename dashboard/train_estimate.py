"""How long a training will take and how much memory: by earlier runs, or by a few steps of this one."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import streamlit as st

from dashboard import background, places, state, ui
from dashboard.components.answer import answer
from dashboard.i18n import t
from dashboard.jobs import Training, progress
from dashboard.units import duration
from ple_model.errors import UserError
from ple_model.safe_text import read_object


def estimate(preset: str) -> tuple[float, float, int] | None:
    """(training rows a second, peak MB, runs it rests on) of earlier runs of this preset here, or None. The seconds are those
    of the whole: what was fitted before the first epoch, validation, and the end."""
    speeds: list[float] = []
    memory: list[float] = []
    for entry in state.entries():
        if entry.manifest is None or entry.manifest.preset != preset:
            continue
        lines = progress(entry.path)  # the last of a long one
        epochs = [line for line in lines if line.get("event") == "epoch"]
        if not epochs or entry.manifest.status != "finished":
            continue
        pairs = [(float(a["time"]), float(b["time"])) for a, b in pairwise(lines) if a["event"] == b["event"] == "baselines"]
        seconds = (entry.manifest.seconds or 0.0) - sum(b - a for a, b in pairs)  # measured once for a dataset
        if seconds > 0 and (rows := entry.manifest.data.rows.get("train")):
            speeds.append(rows * int(epochs[-1]["epoch"]) / seconds)
            memory.append(max(float(e.get("rss_mb") or 0) for e in epochs))
    return (statistics.median(speeds), max(memory), len(speeds)) if speeds else None


def _rows(dataset: str) -> int | None:
    try:
        return int(read_object(Path(dataset) / "dataset.json")["splits"]["train"])
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return None


def show_estimate(preset: str, dataset: str | None) -> None:
    known, rows = estimate(preset), _rows(dataset or "")
    if known is None or rows is None:
        ui.caption(t("train.no_estimate"))
        return
    speed, memory, runs = known
    epochs = int(st.session_state["train_phase1"]) + int(st.session_state["train_phase2"])
    ui.caption(
        t("train.estimate", time=duration(rows * epochs / speed), memory=f"{memory / 1024:.1f}", runs=runs, rows=f"{rows:,}")
    )


def measure(training: Training) -> None:
    """A few real steps of this very configuration, in a process of its own: what the whole will take."""
    store = background.jobs()
    command = store.command(replace(training, parent=None, phase_2=False, encoder=None))
    words = ("estimate", *command[4:5], *command[6:])
    mark = training.config + repr(training.settings) + places.mark_of(training.dataset)
    asked = st.session_state.get("train_measured") == (words, mark)
    if not asked:
        ui.button(
            t("train.measure"), icon=":material/timer:", key="measure-steps", width="stretch", help=t("train.measure_help"),
            on_click=_ask_to_measure, args=(words, mark),
        )  # fmt: skip
        return
    found = answer(words, mark, t("train.measuring"), "estimate")
    if found is None:
        return
    epochs = found["epochs"]
    ui.caption(
        t(
            "train.measured",
            time=duration(float(found["seconds"])),
            memory=f"{float(found['rss_mb']) / 1024:.1f}",
            steps=found["timed"],
            epochs=f"{epochs[0]} + {epochs[1]}",
            parameters=f"{found['parameters']:,}",
        )
    )


def _ask_to_measure(words: tuple[str, ...], mark: str) -> None:
    """Start it (a callback)."""
    st.session_state["train_measured"] = (words, mark)
