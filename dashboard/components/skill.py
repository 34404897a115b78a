"""Is it any good: one verdict word, each task's skill on one axis, and which tasks can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from analysis.checks.finding import Severity
from analysis.figures import skill as figures
from analysis.stats.skill import SPLITS, TaskSkill, judged_skill
from analysis.verdict import FITTED, State, Word
from dashboard import access, background, running, state, ui
from dashboard.components import cards, put
from dashboard.components.figure import show, table
from dashboard.frame import Frame
from dashboard.i18n import maybe, t
from ple_model.interval import Interval

ICONS: dict[Word, str] = {
    "healthy": cards.ICONS["ok"],
    "works": cards.ICONS["warning"],
    "learnt_little": ":material/trending_flat:",
    "broken": cards.ICONS["error"],
    "unknown": cards.ICONS["unknown"],
}
MARKS: dict[State, str] = {"trusted": "✓", "doubted": "!", "behind": "<", "none": "✕", "untold": "–", "few": "?"}
NUMBERS: dict[str, Severity] = {"errors": "error", "warnings": "warning", "passed": "ok", "unknown": "unknown"}


def verdict(frame: Frame) -> None:
    """The word with its count of tasks, then what stands against the mechanics."""
    found = frame.found.verdict
    groups = {severity: len(f) for severity, f in frame.found.by_severity().items()}
    box = {"healthy": put.success, "works": put.warning, "learnt_little": put.warning, "broken": put.error, "unknown": put.info}
    counts = {"learnt": found.learnt, "learnable": found.learnable}
    key = f"skill.word_{found.word}"
    counted = "skill.counted" if found.compared else "skill.counted_alone"
    word = t(key) if not found.learnable else t(counted, word=t(key), **counts)
    numbers = {name: groups.get(severity, 0) for name, severity in NUMBERS.items()}
    said = [f"**{word}**", *([t("skill.untold", n=found.untold)] if found.untold else []), t("skill.mechanics", **numbers)]
    if found.learnable and not found.compared:
        said.insert(1, t("skill.uncompared"))
    box[found.word](" ".join(said), icon=ICONS[found.word])


def section(frame: Frame) -> None:
    """Each task's skill beside simpler answers, and whether its predictions can be trusted."""
    split = next((s for s in SPLITS if frame.statistics.skill.get(s)), None)
    everyone = {} if split is None else _learned(frame, frame.statistics.skill[split])
    if split is None or not everyone:
        put.info(t("skill.nothing"), icon=cards.ICONS["unknown"])
        return
    tasks = _learned(frame, state.split_skill(frame.store, split, frame.filters))
    left, right = st.columns([5, 4], gap="small")
    with left:
        _figure(tasks, split)
    with right:
        trust(frame, everyone)
    if not any(x.baseline_skill.keys() & set(FITTED) for x in everyone.values()):
        _offer(frame)


def _learned(frame: Frame, tasks: Mapping[str, TaskSkill]) -> dict[str, TaskSkill]:
    return {k: x for k, x in tasks.items() if k not in frame.statistics.facts.unlearned}


def _figure(tasks: Mapping[str, TaskSkill], split: str) -> None:
    if not tasks:
        put.info(t("overview.no_labels"), icon=cards.ICONS["unknown"])
        return
    rows, customers = max(x.rows for x in tasks.values()), max(x.customers for x in tasks.values())
    said = [t("skill.of", split=maybe(f"split.{split}", split), rows=f"{rows:,}", customers=f"{customers:,}"), t("skill.unit")]
    if split == "train":
        said.append(t("overview.flattered"))
    show(figures.skill(tasks), "skill", title=t("skill.figure"), caption=" ".join(said))


def trust(frame: Frame, tasks: Mapping[str, TaskSkill] | None = None) -> None:
    """A row a task: its skill, and whether its predictions can be trusted."""
    states = frame.found.verdict.states
    tasks = _learned(frame, judged_skill(frame.statistics)) if tasks is None else tasks

    def of(state: State) -> str:
        return f"{MARKS[state]} {t(f'skill.state_{state}')}"

    named = {k: x for k, x in tasks.items() if k in states}
    shown = pd.DataFrame(
        {
            t("overview.task"): list(named),
            t("skill.skill"): [x.skill.value for x in named.values()],
            t("skill.trust"): [of(states[k]) for k in named],
            t("skill.interval"): [_interval(x.skill) for x in named.values()],
            t("overview.n"): [x.rows for x in named.values()],
        }
    )
    columns = {
        t("overview.task"): st.column_config.TextColumn(width=118),
        t("skill.skill"): st.column_config.NumberColumn(format="%.3f", width=55),
        t("skill.trust"): st.column_config.TextColumn(width=210),
        t("skill.interval"): st.column_config.TextColumn(width=115),
        t("overview.n"): st.column_config.NumberColumn(format="localized", width=60),
    }
    table(shown, "skill", title=t("skill.trusted"), caption=t("skill.trusted_help"), height="content", column_config=columns)


def _interval(x: Interval) -> str:
    return f"{x.low:.3f} … {x.high:.3f}" if math.isfinite(x.low) else "–"


def remark(frame: Frame, *tasks: str) -> None:
    """One line where a page explains tasks of which some have no skill; nothing where all have."""
    states = frame.found.verdict.states
    without = [task for task in tasks if states.get(task) in ("none", "untold")]
    if without:
        put.caption(f":orange[{cards.ICONS['warning']}] {t('skill.remark', tasks=', '.join(f'`{x}`' for x in without))}")


def _offer(frame: Frame) -> None:
    """What is not known of simpler answers, and a button that measures it beside the pages."""
    of = frame.run.path if frame.data is None else frame.data
    task = background.fitting(of)
    if task is None or not task.alive:
        if task is not None and task.error:
            put.error(t("skill.no_baselines", reason=task.error), icon=cards.ICONS["error"])
        put.info(t("skill.missing"), icon=cards.ICONS["unknown"])
        ui.button(
            t("skill.measure"), key="measure-baselines", icon=":material/play_arrow:",
            on_click=background.fit_baselines, args=(of,), disabled=not access.may_change(),
        )  # fmt: skip
        return
    _fitting(task)


@st.fragment(run_every=1.0)
def _fitting(task: running.Fitting) -> None:
    if not task.alive:  # the data hold other files now, so the page measures anew
        st.rerun()
    with st.container(border=True):
        ui.markdown(t("skill.measuring"))
        ui.progress(min(max(task.share, 0.0), 1.0), text=task.what or " ")
        ui.button(t("job.stop"), key="stop-baselines", icon=":material/stop:", on_click=task.end)
