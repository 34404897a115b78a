"""Tasks that had no label in training: last, grey, and with the reason, wherever tasks are listed or drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import plotly.graph_objects as go

from analysis.figures.style import learned_first
from dashboard.components import put
from dashboard.i18n import t
from ple_model.run import Run

Row = TypeVar("Row")


def unlearned(run: Run) -> tuple[str, ...]:
    """Tasks of the run that had no label in training."""
    context = run.context()
    return tuple(task for task in run.config.tasks if not context.learned(task))


def last(run: Run, rows: Iterable[Row], task: Callable[[Row], str]) -> list[Row]:
    """The rows in their order, those of tasks (or edges "source:target") that never learned at the end."""
    silent = set(unlearned(run))
    return sorted(rows, key=lambda row: bool(silent & set(task(row).split(":"))))


def tasks(run: Run, names: Iterable[str]) -> list[str]:
    """Task or edge names, those that never learned at the end."""
    return last(run, names, str)


def name(run: Run, task: str) -> str:
    """The task or edge as tables and selectors call it."""
    plain = task.replace(":", " → ")
    return t("learned.named", name=plain) if set(unlearned(run)) & set(task.split(":")) else plain


def grey(run: Run, figure: go.Figure) -> go.Figure:
    """A figure over tasks: those that never learned last, under grey."""
    return learned_first(figure, unlearned(run), t("learned.why"))


def note(run: Run) -> None:
    """Which tasks of this page never learned; nothing where all did."""
    if silent := unlearned(run):
        put.caption(t("learned.note", tasks=", ".join(silent)))
