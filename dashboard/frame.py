"""The frame around every page: run and comparison pickers, cohort filter, guards; its whole state travels in the URL."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import streamlit as st

from analysis import AnalysisStore, CohortFilter, CohortStatistics, Diagnosis
from analysis.stats.run import Statistics
from dashboard import background, dataset_folders, state, ui
from dashboard.cohort_choice import cohort_filter, cohort_note, keep_in_url
from dashboard.components import put
from dashboard.components.linked import require
from dashboard.i18n import t
from ple_model.run import Run, RunEntry


@dataclass(frozen=True)
class Frame:
    """What a page is given: the run it shows, the run to compare with, what was measured of them, and the chosen customers."""

    run: Run
    other: Run | None = None
    diagnosis: Diagnosis | None = None
    other_diagnosis: Diagnosis | None = None
    filters: tuple[CohortFilter, ...] = ()
    data: Path | None = None
    """The dataset whose customers are shown; None: the run's own sample."""

    @property
    def found(self) -> Diagnosis:
        """The diagnosis of a page that declared it needs one."""
        assert self.diagnosis is not None, "this page's VIEW needs 'analysis'"
        return self.diagnosis

    @property
    def store(self) -> AnalysisStore:
        return self.found.store

    @property
    def statistics(self) -> Statistics:
        """Of all measured customers; findings rest on these."""
        return self.found.statistics

    @cached_property
    def cohort(self) -> CohortStatistics:
        """Of the chosen customers; figures show these."""
        return self.store.cohort(self.filters)


def toolbar(entries: list[RunEntry]) -> tuple[RunEntry | None, RunEntry | None]:
    """The run pickers; returns (run, compared run)."""
    names = [e.name for e in entries]
    by_name = {e.name: e for e in entries}
    # The chosen run must stay in the URL, so the widget has no default that would leave it out.
    require("run", names, t("frame.run"))
    if st.session_state.get("run") not in names and st.query_params.get("run") not in names:
        start_with("run", next((e.name for e in entries if e.error is None), names[0]))
    chosen = ui.selectbox(
        t("frame.run"), names, index=None, key="run", bind="query-params", help=t("frame.run_help"), width=190
    )
    others = [n for n in names if n != chosen and by_name[n].error is None]
    if st.session_state.get("compare") == chosen:  # the compared run was opened: there is nothing left to compare it with
        st.session_state["compare"] = None
    elif st.query_params.get("compare") != chosen:
        require("compare", others, t("frame.compare"))
    other = ui.selectbox(
        t("frame.compare"),
        others,
        index=None,
        key="compare",
        bind="query-params",
        placeholder=t("frame.compare_none"),
        help=t("frame.compare_help"),
        width=180,
        disabled=not others,
    )
    return by_name.get(chosen or ""), by_name.get(other or "")


def guard(entry: RunEntry) -> Run:
    """The run, opened; an unreadable one ends the page with the sentence that says why."""
    reason = entry.error or state.readable(entry.path)
    if reason is not None:
        ui.error(t("guard.unreadable", name=entry.name, reason=reason), icon=":material/error:")
        st.stop()
    return state.run(entry.path)


def no_runs() -> None:
    """The state before the first run: what to do, in the words of the shell and of the sidebar."""
    with st.container(border=True):
        ui.subheader(t("empty.title"))
        ui.markdown(t("empty.body", folders=", ".join(f"`{f}`" for f in state.folders())))
        ui.button(
            t("datasets.open"), icon=":material/database:", key="first-dataset", type="primary", on_click=state.go_to,
            args=("datasets",),
        )  # fmt: skip
        ui.caption(t("empty.sidebar"))
        ui.caption(t("empty.shell"))
        st.code(
            "ple synth events --customers 5000 --seed 0\n"
            "ple build events data/bank\n"
            "ple train data/bank runs/first --preset small",
            language="bash",
        )


def analysed(frame: Frame, bar: Any) -> Frame:
    """The frame with its measurements and the cohort filter (drawn into `bar`); ends the page while they are not there."""
    with bar:
        frame = replace(frame, data=customers(frame.run))
    _elsewhere(frame)
    task = background.measurement(frame.run.path, frame.data)
    if task.result is None:
        _measuring(frame)
        st.stop()
    diagnosis = task.result
    assert diagnosis is not None
    known = background.known_measurement(frame.other.path, frame.data) if frame.other else None
    compared = known.result if known is not None else None
    with bar:
        filters = cohort_filter(diagnosis.store)
    full = replace(frame, diagnosis=diagnosis, other_diagnosis=compared, filters=filters)
    cohort_note(full.store, full.filters)
    return full


def customers(run: Run) -> Path | None:
    """Whose customers the pages show: the run's own sample, or a dataset at hand. Only what is listed can be asked for."""
    known = {str(p): p for p in map(Path, dataset_folders.datasets()) if p != run.path / "sample"}
    named = {_called(p, known.values()): p for p in known.values()}
    keep_in_url("data")
    require("data", named, t("frame.data"))
    chosen = ui.selectbox(
        t("frame.data"),
        list(named),
        index=None,
        key="data",
        bind="query-params",
        placeholder=t("frame.own_sample"),
        help=t("frame.data_help"),
        width=165,
        disabled=not named,
    )
    return named.get(chosen or "")


def _called(path: Path, others: Collection[Path]) -> str:
    """A dataset's short name: its folder, with the one above it where that alone is not enough."""
    alone = path.name != "sample" and sum(p.name == path.name for p in others) == 1
    return path.name if alone else f"{path.parent.name}/{path.name}"


def _elsewhere(frame: Frame) -> None:
    """Whose customers these are, where they are not the run's own sample."""
    if frame.data is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        put.caption(f":blue[:material/database:] {t('frame.elsewhere', data=str(frame.data))}")
        ui.button(t("frame.back"), key="own-sample", type="tertiary", icon=":material/undo:", on_click=_own_sample)


def _own_sample() -> None:
    """Back to the run's own sample (a callback)."""
    st.session_state["data"] = None


def _measuring(frame: Frame) -> None:
    """Progress of the measurement, polled; a failure or a stop says so and offers to try again."""
    run, data = frame.run, frame.data
    task = background.measurement(run.path, data)
    if task.error is not None:
        if task.error:
            ui.error(t("guard.no_analysis", reason=task.error), icon=":material/error:")
        ui.button(t("guard.measure"), icon=":material/play_arrow:", on_click=background.measure_again, args=(run.path, data))
        return

    @st.fragment(run_every=1.0)
    def poll() -> None:
        if task.result is not None or task.error is not None:
            st.rerun()
        with st.container(border=True):
            ui.markdown(t("guard.analysing") if data is None else t("guard.analysing_data", data=str(data)))
            if task.why in ("program", "changed"):
                ui.caption(t(f"guard.anew_{task.why}"))
            ui.progress(min(max(task.share, 0.0), 1.0), text=task.what or " ")
            if ui.button(t("job.stop"), icon=":material/stop:", disabled=task.stop):
                task.stop = True

    poll()


def start_with(key: str, value: str) -> None:
    """Choose for the reader, in a bound widget that is drawn next, so that a link copied at once holds the choice too.

    A value assigned before a widget's first registration does not reach the URL by itself, and a bound one cannot be written.
    """
    if key not in st.session_state:
        st.query_params[key] = value
    st.session_state[key] = value
