"""Training: how did it go? Losses against a constant, task weights, gradients, adaTT, speed; two runs on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis import headline
from analysis.figures import training as figures
from analysis.notices import notices
from analysis.stats.training import TrainingStats, kept_blends, measure
from analysis.stats.turning import Turn, turns
from analysis.store import stored
from dashboard import state
from dashboard.components import cards, compare, learned, metric_table, put
from dashboard.components.figure import show, table
from dashboard.components.notices import in_words
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View
from ple_model.numerals import statistic

CHECKS = ("LOSS-", "GRAD-", "CGC-LATE")


def _facts(frame: Frame, stats: TrainingStats) -> None:
    last, seconds = stats.last(), float(stats.series("seconds").sum())
    with st.container(horizontal=True, gap="small"):
        put.metric(t("training.epochs"), len(stats), border=True)
        ratio = stats.series("valid", "mean_ratio")
        put.metric(
            t("training.best"),
            statistic(float(ratio[ratio == ratio].min())) if (ratio == ratio).any() else "–",
            border=True,
            help=t("training.best_help"),
        )
        put.metric(t("training.time"), t("unit.minutes", n=f"{seconds / 60:.1f}"), border=True)
        put.metric(t("training.speed"), statistic(last.get("samples_per_s")), border=True)
        put.metric(t("training.memory"), t("training.mb", n=statistic(last.get("rss_mb"))), border=True)
        put.metric(t("identity.status"), t(f"run_state.{frame.run.state}"), border=True)


def _noticed(frame: Frame, stats: TrainingStats) -> None:
    """What gates and experts did, with the epoch since when: as the sidebar said it while it trained."""
    said = in_words(notices(stats, frame.run.manifest.experts))
    if said:
        put.markdown("\n".join(f"- {x}" for x in said), help=t("training.noticed_help"))


def _turned(frame: Frame, stats: TrainingStats) -> None:
    """Which tasks turned when, and how far what they learnt holds on customers that they did not learn from."""
    found = turns(stats)
    if not found:
        return
    late = sorted((x for x in found if not x.improving and not x.level), key=lambda x: x.best_epoch)
    put.subheader(t("training.turned"), anchor=False)
    first, last = (late[0], late[-1]) if late else (None, None)
    if first is not None and last is not None and first.best_epoch < last.best_epoch:
        put.markdown(
            t(
                "training.turned_said",
                first=first.task,
                early=f"{first.best_epoch:.0f}",
                n=sum(x.improving for x in found),
                total=len(found),
                kept=f"{found[0].kept_epoch:.0f}",
                lost=f"{float(np.mean([x.lost for x in found])):.3f}",
            )
        )
    left, right = st.columns(2, gap="small")
    with left:
        show(
            learned.grey(frame.run, figures.turning(found)),
            "training-turned",
            title=t("training.turned_figure"),
            caption=t("training.turned_help"),
        )
    with right:
        show(figures.gap(stats), "training-gap", title=t("training.gap"), caption=t("training.gap_help"))
    with put.expander(t("training.turned_table"), icon=":material/table_rows:"):
        _costs(frame, found)


def _blends(stats: TrainingStats) -> None:
    """What each task takes of what the network adds to its fitted map, where the training chose that."""
    found = kept_blends(stats)
    if not found:
        return
    most = sorted(found.items(), key=lambda item: -item[1])
    taking = ", ".join(t("training.blend_one", task=task, share=f"{share:.1f}") for task, share in most if share > 0)
    nothing = ", ".join(task for task, share in most if share == 0)
    put.markdown(
        " ".join(
            (
                t("training.blend_taking", tasks=taking) if taking else t("training.blend_none"),
                t("training.blend_nothing", tasks=nothing) if taking and nothing else "",
            )
        ).strip(),
        help=t("training.blend_help"),
    )


def _costs(frame: Frame, found: Sequence[Turn]) -> None:
    rows = learned.last(frame.run, found, lambda x: x.task)
    shown = pd.DataFrame(
        {
            t("overview.task"): [learned.name(frame.run, x.task) for x in rows],
            t("training.own_epoch"): [x.best_epoch for x in rows],
            t("training.own_skill"): [x.best for x in rows],
            t("training.kept_skill"): [x.kept for x in rows],
            t("training.lost"): [x.lost for x in rows],
            t("training.gap_kept"): [x.gap for x in rows],
        }
    )
    columns: dict[str, Any] = {
        t(f"training.{name}"): st.column_config.NumberColumn(format="%.3f")
        for name in ("own_skill", "kept_skill", "lost", "gap_kept")
    }
    columns[t("training.own_epoch")] = st.column_config.NumberColumn(format="%d")
    table(shown, "turned", caption=t("training.turned_table_help"), height="content", column_config=columns)


def _at_the_end(frame: Frame) -> None:
    """What training measured when it ended, said to be that."""
    splits = headline.kept_splits(frame.run)
    if not splits:
        return
    metric_table.show(
        frame.run,
        headline.kept(frame.run, splits[0]),
        "at-end",
        title=t("training.at_end", split=t(f"split.{splits[0]}")),
        caption=t("training.at_end_help"),
    )


def render(frame: Frame) -> None:
    stats = measure(frame.run.progress(steps=False))
    if not len(stats):
        put.info(t("training.none"), icon=":material/hourglass_empty:")
        return
    known = state.kept_diagnosis(frame.run.path)
    findings = known.of(*CHECKS) if known else ()
    if known:
        cards.cards(findings)
    elif any(stored(frame.run.path)):
        put.caption(t("training.stale"))
    _facts(frame, stats)
    _noticed(frame, stats)
    other = measure(frame.other.progress(steps=False)) if frame.other else None
    compare.training(frame, stats, other)
    put.caption(t("training.written"))
    learned.note(frame.run)
    _curves(frame, stats)
    _blends(stats)
    _turned(frame, stats)
    _of_each_task(frame, stats)
    _of_the_steps(frame, stats)
    _at_the_end(frame)


def _curves(frame: Frame, stats: TrainingStats) -> None:
    """The loss, and the rate that it was learnt at."""
    left, right = st.columns([3, 2], gap="small")
    with left:
        show(
            figures.loss(stats, frame.run.name),
            "training-loss",
            title=t("training.loss"),
            caption=t("training.loss_help"),
        )
    with right:
        c = frame.run.config.training
        said = t("training.lr_help_cosine", share=f"{c.phase2_rate:.0%}") if c.schedule == "cosine" else t("training.lr_help")
        show(figures.learning_rate(stats), "training-lr", title=t("training.lr"), caption=said)


def _of_each_task(frame: Frame, stats: TrainingStats) -> None:
    """How far each task came, and the weight that it gave itself."""
    left, right = st.columns(2, gap="small")
    with left:
        show(
            learned.grey(frame.run, figures.task_ratio(stats)),
            "training-tasks",
            title=t("training.tasks"),
            caption=t("training.tasks_help"),
        )
    with right:
        show(
            learned.grey(frame.run, figures.log_vars(stats, frame.run.config.training.log_var_limit)),
            "training-s",
            title=t("training.s"),
            caption=t("training.s_help", limit=frame.run.config.training.log_var_limit),
        )


def _of_the_steps(frame: Frame, stats: TrainingStats) -> None:
    """Gradients and speed; whether tasks pull the same way."""
    left, right = st.columns(2, gap="small")
    with left:
        show(
            figures.gradients(stats), "training-gradients", title=t("training.gradients"), caption=t("training.gradients_help")
        )
        show(figures.speed(stats), "training-speed", title=t("training.speed"), caption=t("training.speed_help"))
    with right:
        affinity = figures.affinity(stats)
        if affinity is None:
            put.caption(t("training.no_affinity"))
        else:
            show(
                learned.grey(frame.run, affinity),
                "training-affinity",
                title=t("training.affinity"),
                caption=t("training.affinity_help"),
            )
            show(
                figures.conflict(stats), "training-conflict", title=t("training.conflict"), caption=t("training.conflict_help")
            )


VIEW = View("training", "train", 0, ":material/show_chart:", "run", render)
