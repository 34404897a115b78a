"""The frame around every page: run and comparison pickers, cohort filter, guards; its whole state travels in the URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import streamlit as st

from analysis import AnalysisStore, CohortFilter, CohortStatistics, Diagnosis, load_diagnosis
from analysis.card.content import card
from analysis.card.render import to_html as card_html
from analysis.card.render import to_markdown as card_text
from analysis.report import to_html
from analysis.results.card import ModelCard
from analysis.stats.base import MIN_ROWS
from analysis.stats.run import Statistics
from analysis.store import stored
from dashboard import background, state, train_form, ui
from dashboard.components import put
from dashboard.components.linked import require
from dashboard.document import file_of
from dashboard.i18n import language, t
from dashboard.page import recorder
from ple_model.errors import UserError
from ple_model.numerals import Language, statistic
from ple_model.run import Run, RunEntry

NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "HUGEINT")


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
        st.code(
            "ple synth events --customers 5000 --seed 0\n"
            "ple build events data/bank\n"
            "ple train data/bank runs/first --preset small",
            language="bash",
        )
        ui.caption(t("empty.sidebar"))


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
    _cohort_note(full)
    return full


def customers(run: Run) -> Path | None:
    """Whose customers the pages show: the run's own sample, or a dataset at hand. Only what is listed can be asked for."""
    known = {str(p): p for p in map(Path, train_form.datasets()) if p != run.path / "sample"}
    named = {_called(p, known.values()): p for p in known.values()}
    _keep_in_url("data")
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


def cohort_filter(store: AnalysisStore) -> tuple[CohortFilter, ...]:
    """The cohort widgets, in a popover; the filters they stand for."""
    filters: list[CohortFilter] = []
    with ui.popover(t("frame.cohort"), icon=":material/group:", help=t("frame.cohort_help")):
        for column, key in (("segment", "segment"), ("cluster", "cluster")):
            if column in store.columns:
                _keep_in_url(key)
                options = sorted((v for v, _ in store.distinct(column)), key=lambda v: (isinstance(v, str), v))
                require(key, options, t(f"frame.{column}"))
                chosen = ui.multiselect(t(f"frame.{column}"), options, key=key, bind="query-params", format_func=str)
                if chosen:
                    filters.append(CohortFilter(column, "in", tuple(chosen)))
        columns = [c for c in store.filter_columns if c not in ("segment", "cluster")]
        require("column", columns, t("frame.column"))
        _keep_in_url("column")
        other = ui.selectbox(
            t("frame.column"), columns, index=None, key="column", bind="query-params", placeholder=t("frame.column_none")
        )
        if other is not None:
            filters += _column_filter(store, other)
        ui.button(t("frame.clear"), on_click=clear_cohort, width="stretch", disabled=not filters)
    ui.badge(cohort_words(store, filters), color="blue" if filters else "gray")
    return tuple(filters)


def start_with(key: str, value: str) -> None:
    """Choose for the reader, in a bound widget that is drawn next, so that a link copied at once holds the choice too.

    A value assigned before a widget's first registration does not reach the URL by itself, and a bound one cannot be written.
    """
    if key not in st.session_state:
        st.query_params[key] = value
    st.session_state[key] = value


def _keep_in_url(key: str) -> None:
    """Write a bound value back to the URL after a change of page: the browser does so only for widgets it has drawn, and the
    inside of a closed popover is not."""
    if key in st.session_state:
        st.session_state[key] = st.session_state[key]


def cohort_words(store: AnalysisStore, filters: Sequence[CohortFilter]) -> str:
    """How many rows, and of how many customers: with several cut-offs a customer has several rows."""
    customers = f"{store.customers(filters):,}"
    if not filters:
        return t("frame.cohort_all", n=f"{store.n:,}", customers=customers)
    return t("frame.cohort_some", n=f"{store.count(filters):,}", total=f"{store.n:,}", customers=customers)


def _column_filter(store: AnalysisStore, column: str) -> list[CohortFilter]:
    kind = store.columns[column].upper()
    if any(kind.startswith(k) or kind.endswith("INT") or kind.endswith("INTEGER") for k in NUMBERS):
        edges, _ = store.histogram(column, bins=1)
        low, high = float(edges[0]), float(edges[-1])
        if not low < high:
            return []
        _keep_in_url(f"range:{column}")
        chosen = ui.slider(t("frame.range"), low, high, (low, high), key=f"range:{column}", bind="query-params")
        return [CohortFilter(column, "between", chosen)] if chosen != (low, high) else []
    _keep_in_url(f"value:{column}")
    values = [v for v, _ in store.distinct(column)]
    picked = ui.multiselect(t("frame.values"), values, key=f"value:{column}", bind="query-params", format_func=str)
    return [CohortFilter(column, "in", tuple(picked))] if picked else []


def export(frame: Frame) -> None:
    """This page as it is shown, or the whole run's report: each one HTML file, made when it is asked for; aggregates only."""
    kept = recorder()
    page = kept.drawing
    if page is not None:
        page.run, page.facts = frame.run.name, _facts(frame)
    name = page.file_name(".html") if page is not None else f"{frame.run.name}.html"
    lang: Language = "ko" if language() == "ko" else "en"
    with ui.popover(t("frame.export"), icon=":material/download:", help=t("frame.export_help")):
        _save("page", lambda: file_of(kept.last()), name)
        if frame.diagnosis is not None or any(stored(frame.run.path)):
            _save("run", lambda: _report(frame), f"{frame.run.name}.html")
        _save("card", partial(_card, frame, lang, card_html), f"{frame.run.name}-card.html")
        _save("card_text", partial(_card, frame, lang, card_text), f"{frame.run.name}-card.md", "text/markdown")


def _report(frame: Frame) -> bytes:
    found = frame.diagnosis or load_diagnosis(frame.run.path)
    if found is None:
        raise UserError(f"{frame.run.path} has no stored measurement any more; open its overview to measure it again")
    return to_html(found).encode()


def _card(frame: Frame, lang: Language, write: Callable[[ModelCard], str]) -> bytes:
    """The run's model card, of all customers whatever the page shows. Made apart from the session, so `lang` is handed in."""
    found = load_diagnosis(frame.run.path, own=True) or frame.diagnosis or load_diagnosis(frame.run.path)
    return write(card(frame.run, found, lang)).encode()


def _save(what: str, make: Callable[[], bytes], name: str, mime: str = "text/html") -> None:
    ui.download_button(
        t(f"frame.export_{what}"), make, name, mime, key=f"export-{what}", on_click="ignore", width="stretch",
        help=t(f"frame.export_{what}_help"),
    )  # fmt: skip


def _facts(frame: Frame) -> dict[str, str]:
    """What a saved page is about, in words: the run, the run it is compared with, the customers."""
    out = {t("frame.run"): _identity(frame.run)}
    if frame.other is not None:
        out[t("export.compared")] = _identity(frame.other)
    if frame.data is not None:
        out[t("frame.data")] = str(frame.data)
    if frame.diagnosis is not None:
        out[t("frame.cohort")] = chosen = cohort_words(frame.store, frame.filters)
        if frame.filters:
            out[t("frame.cohort")] = f"{chosen} ({'; '.join(map(_in_words, frame.filters))}). {t('export.findings_all')}"
    return out


def _identity(run: Run) -> str:
    m = run.manifest
    data = t("export.data", name=m.data.name, fingerprint=m.data.fingerprint[:12])
    parts = [run.name, m.preset, data, t("export.trained", day=m.created[:10]), t("export.seed", seed=m.seed)]
    if m.commit:
        parts.append(t("export.commit", commit=m.commit[:10]))
    return " · ".join(parts)


def _in_words(chosen: CohortFilter) -> str:
    name = t(f"frame.{chosen.column}") if chosen.column in ("segment", "cluster") else chosen.column.removeprefix("raw:")
    if chosen.op == "between":
        low, high = (statistic(float(v)) for v in chosen.values)
        return f"{name}: {t('export.between', low=low, high=high)}"
    return f"{name}: {', '.join(map(str, chosen.values))}"


def clear_cohort() -> None:
    """All customers again (a callback)."""
    for key in ("segment", "cluster"):
        st.session_state[key] = []
    st.session_state["column"] = None


def _cohort_note(frame: Frame) -> None:
    try:
        n = frame.store.count(frame.filters)
    except UserError as e:
        ui.error(str(e), icon=":material/error:")
        st.stop()
    if frame.filters and n == 0:
        ui.warning(t("frame.cohort_empty"), icon=":material/filter_alt_off:")
        ui.button(t("frame.clear"), key="clear-empty", on_click=clear_cohort)
        st.stop()
    if n < MIN_ROWS:
        put.info(t("guard.few_rows", n=n, minimum=MIN_ROWS), icon=":material/help:")
