"""What a study has found: the best trial and which others are level with it, then the figures and the table of all."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from analysis.figures import tuning as figures
from analysis.tuning import axes, finished, history
from dashboard import access, studies, ui
from dashboard.components import put
from dashboard.components.figure import show, table
from dashboard.i18n import t
from dashboard.i18n.sentences import say
from ple_model.interval import Interval
from ple_model.numerals import statistic
from ple_model.tuning.finder import RateCurve
from ple_model.tuning.record import TrialRecord
from ple_model.tuning.report import StudyReport

PAGES = ("training", "overview", "expert_health", "uncertainty", "why_recommended")


def study(found: StudyReport) -> None:
    """The whole of it."""
    _answer(found)
    _facts(found)
    _actions(found)
    if found.finder is not None:
        rate(found.finder)
    done = finished(found.trials)
    if done:
        _figures(found)
    if found.trials:
        _table(found)


def _aim(found: StudyReport) -> str:
    return t("tune.mean_skill") if found.spec.objective == "mean" else t("tune.skill_of", task=found.spec.objective)


def _answer(found: StudyReport) -> None:
    best = found.best
    if best is None:
        put.info(t("tune.none_finished"), icon=":material/hourglass_empty:")
        return
    reached = t("tune.best", number=best.number, aim=_aim(found), skill=_with_interval(best.skill))
    level = [n for n in found.level if n != best.number]
    if not level:
        put.success(f"{reached} {t('tune.alone')}", icon=":material/military_tech:")
    else:
        near = t("tune.level", n=len(level) + 1, numbers=", ".join(map(str, found.level)))
        put.info(f"{reached} {near}", icon=":material/compare_arrows:")
    put.caption(t("tune.optimistic"))


def _with_interval(found: Interval) -> str:
    if not math.isfinite(found.low):
        return f"{found.value:.4f}"
    return t("tune.interval", value=f"{found.value:.4f}", low=f"{found.low:.4f}", high=f"{found.high:.4f}")


def _facts(found: StudyReport) -> None:
    counts = {s: sum(x.state == s for x in found.trials) for s in ("finished", "pruned", "failed", "running")}
    seconds = sum(x.seconds for x in found.trials)
    with st.container(horizontal=True, gap="small"):
        for name in ("finished", "pruned", "failed", "running"):
            if counts[name] or name == "finished":
                put.metric(t(f"tune.{name}"), counts[name], border=True, help=t(f"tune.{name}_help"))
        put.metric(t("tune.way"), _way(found), border=True)
        put.metric(t("training.time"), t("unit.minutes", n=f"{seconds / 60:.1f}"), border=True)


def _way(found: StudyReport) -> str:
    return t("tune.way_staged") if found.spec.strategy == "staged" else t(f"tune.way_{found.spec.sampler}")


def _actions(found: StudyReport) -> None:
    """Train with the best, open any trial."""
    ready = [x for x in found.trials if x.runs]
    if not ready:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        if found.best is not None:
            ui.button(
                t("tune.train_best", number=found.best.number), type="primary", icon=":material/model_training:",
                key="tune-train-best", on_click=studies.train_with, args=(found, found.best),
                disabled=not access.may_change(), help=t("tune.train_best_help"),
            )  # fmt: skip
        order = sorted(ready, key=lambda x: (x.state != "finished", -_or_low(x.skill.value), x.number))
        chosen = ui.selectbox(
            t("tune.trial_look"), order, key="tune_trial", format_func=_called, width=260,
        )  # fmt: skip
        where = ui.selectbox(t("tune.on_page"), PAGES, key="tune_page", format_func=lambda n: t(f"{n}.title"), width=200)
        name = studies.run_name(found, chosen)
        ui.button(
            t("tune.open"), icon=":material/open_in_new:", key="tune-open", disabled=name is None,
            on_click=studies.open_trial, args=(name or "", where),
        )  # fmt: skip
        ui.button(
            t("tune.train_this"), icon=":material/model_training:", key="tune-train-this", on_click=studies.train_with,
            args=(found, chosen), disabled=not access.may_change(),
        )  # fmt: skip


def _or_low(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _called(trial: TrialRecord) -> str:
    reached = f"{trial.skill.value:.4f}" if math.isfinite(trial.skill.value) else t(f"tune.{trial.state}")
    return f"{trial.number} · {reached}"


def rate(found: RateCurve) -> None:
    """The finder's curve with what it suggests."""
    said = say(found.why)
    if found.suggestion is not None:
        said = t("tune.suggests", rate=f"{found.suggestion:g}", why=said)
    show(figures.rate_curve(found), "tune-rate", title=t("tune.rate"), caption=f"{said} {t('tune.rate_help')}", wide=True)


def _figures(found: StudyReport) -> None:
    aim, told = _aim(found), history(found.trials, found.level)
    left, right = st.columns([3, 2], gap="small")
    with left:
        show(figures.objective_history(told, aim), "tune-history", title=t("tune.history"), caption=t("tune.history_help"))
    with right:
        if found.importance:
            show(
                figures.importances(found.importance), "tune-importance", title=t("tune.importance"),
                caption=t("tune.importance_help"),
            )  # fmt: skip
        else:
            put.caption(t("tune.no_importance", n=len(found.spec.space) + 2))
    lines = axes(found.trials, found.spec.space)
    if len(told.number) > 1 and lines:
        show(
            figures.parallel(lines, told, aim),
            "tune-parallel",
            title=t("tune.parallel"),
            caption=t("tune.parallel_help"),
            wide=True,
        )
        show(figures.slices(lines, told, aim), "tune-slices", title=t("tune.slices"), caption=t("tune.slices_help"), wide=True)


def _table(found: StudyReport) -> None:
    gaps = {} if found.standing is None else found.standing.ahead
    order = sorted(found.trials, key=lambda x: (x.state != "finished", -_or_low(x.skill.value), x.number))
    rows = [
        {
            t("tune.trial_column"): x.number,
            t("tune.state"): t(f"tune.{x.state}"),
            t("tune.skill"): x.skill.value if math.isfinite(x.skill.value) else None,
            t("tune.low"): x.skill.low if math.isfinite(x.skill.low) else None,
            t("tune.high"): x.skill.high if math.isfinite(x.skill.high) else None,
            t("tune.behind"): _gap(gaps.get(x.number)),
            t("tune.is_level"): t("tune.yes") if x.number in found.level else "",
            **{d.key: x.params.get(d.key) for d in found.spec.space},
            t("tune.seconds"): x.seconds,
            t("tune.reason"): say(x.reason),
        }
        for x in order
    ]  # fmt: skip
    number = st.column_config.NumberColumn(format="%.4f")
    columns = {t(f"tune.{name}"): number for name in ("skill", "low", "high")}
    columns[t("tune.seconds")] = st.column_config.NumberColumn(format="%.0f")
    shown = pd.DataFrame(rows)
    for d in found.spec.space:
        if d.kind == "choice":
            shown[d.key] = shown[d.key].astype(str)
        else:
            columns[d.key] = st.column_config.NumberColumn(format="%.4g")
    table(
        shown, "trials", title=t("tune.table"), caption=t("tune.table_help"), column_config=columns,
        height="content" if len(rows) <= 15 else 560,
    )  # fmt: skip


def _gap(found: Interval | None) -> str:
    if found is None:
        return ""
    if not math.isfinite(found.low):
        return statistic(found.value)
    return t("tune.interval", value=f"{found.value:.4f}", low=f"{found.low:.4f}", high=f"{found.high:.4f}")
