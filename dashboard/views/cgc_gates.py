"""CGC gates: has attention collapsed?"""

from __future__ import annotations

import streamlit as st

from analysis.figures import gates as figures
from analysis.figures import training as history
from dashboard import ui
from dashboard.components import cards, compare, foremost, learned, put, whatif
from dashboard.components.figure import show
from dashboard.components.linked import require
from dashboard.frame import Frame
from dashboard.i18n import t
from dashboard.view import View


def _cell(frame: Frame) -> None:
    facts = frame.statistics.facts
    require("task", facts.tasks, t("gates.task"))
    require("expert", facts.experts, t("gates.expert"))
    with st.container(horizontal=True):
        task = ui.selectbox(
            t("gates.task"), learned.tasks(frame.run, facts.tasks), key="task", bind="query-params", width=240,
            format_func=lambda name: learned.name(frame.run, name),
        )  # fmt: skip
        expert = ui.selectbox(t("gates.expert"), facts.experts, key="expert", bind="query-params", width=240)
    left, right = st.columns([2, 3], gap="small")
    with left:
        edges, counts = frame.store.histogram(f"g:{task}:{expert}", frame.filters, bins=40)
        prior = facts.prior()[facts.tasks.index(task), facts.experts.index(expert)]
        show(
            figures.histogram(edges, counts.astype(float), t("gates.weight")),
            "gates-cell",
            title=t("gates.cell", task=task, expert=expert),
            caption=t("gates.cell_help", prior=f"{prior:.3f}"),
        )
    with right:
        training = frame.statistics.training
        if training is None or not len(training) or not training.gates(task).size:
            put.caption(t("gates.no_history"))
        else:
            show(
                history.gate_history(training, task, facts.experts),
                "gates-history",
                title=t("gates.history", task=task),
                caption=t("gates.history_help"),
            )
        foremost.section(
            frame, f"g:{task}:{expert}", "gates-foremost", title=t("gates.foremost", task=task, expert=expert),
            caption=t("gates.foremost_help"), number=t("gates.weight"), task=task,
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        factor = ui.number_input(t("gates.temperature"), 0.1, 20.0, 2.0, 0.5, key="temperature", bind="query-params", width=200)
        ui.button(
            t("gates.try_temperature"),
            icon=":material/science:",
            on_click=whatif.choose,
            args=(f"gate_temperature={factor:g}",),
        )
        weight = ui.number_input(t("gates.pin"), 0.0, 1.0, 0.5, 0.1, key="pin", bind="query-params", width=200)
        ui.button(
            t("gates.try_pin", task=task, expert=expert),
            icon=":material/push_pin:",
            on_click=whatif.choose,
            args=(f"pin_gate.{task}.{expert}={weight:g}",),
        )


def render(frame: Frame) -> None:
    gates, facts = frame.cohort.gates, frame.statistics.facts
    cards.cards(frame.found.of("CGC-"), whatif.try_finding)
    whatif.top(frame)
    compare.section(frame, "gates")
    learned.note(frame.run)
    if lost := frame.cohort.n - gates.n:
        put.caption(t("gates.left_out", n=f"{lost:,}", total=f"{frame.cohort.n:,}"))
    left, right = st.columns(2, gap="small")
    with left:
        show(
            learned.grey(frame.run, figures.weights(gates)),
            "gates-weights",
            title=t("gates.weights"),
            caption=t("gates.weights_help"),
        )
    with right:
        show(
            learned.grey(frame.run, figures.effective(gates)),
            "gates-effective",
            title=t("gates.effective"),
            caption=t("gates.effective_help"),
        )
    left, right = st.columns(2, gap="small")
    with left:
        show(
            learned.grey(frame.run, figures.prior_shift(gates, facts.prior())),
            "gates-moved",
            title=t("gates.moved"),
            caption=t("gates.moved_help"),
        )
    with right:
        show(
            learned.grey(frame.run, figures.dilution(gates)),
            "gates-dilution",
            title=t("gates.dilution"),
            caption=t("gates.dilution_help"),
        )
    left, right = st.columns(2, gap="small")
    with left:
        show(
            learned.grey(frame.run, figures.collapse(gates)),
            "gates-collapse",
            title=t("gates.collapse"),
            caption=t("gates.collapse_help"),
        )
    with right:
        show(
            figures.importance(gates),
            "gates-use",
            title=t("gates.use"),
            caption=t("gates.use_help", cv=f"{gates.load_variation:.2f}"),
        )
        show(
            learned.grey(frame.run, figures.task_distance(gates)),
            "gates-tasks",
            title=t("gates.tasks"),
            caption=t("gates.tasks_help"),
        )
    _cell(frame)
    whatif.bottom(frame, "gate_temperature=2")


VIEW = View("cgc_gates", "health", 2, ":material/tune:", "analysis", render)
