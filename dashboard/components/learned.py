"""Tasks that had no label in training: last, grey, and with the reason, wherever tasks are listed or drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
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
    return tuple(task for task in run.tasks if not context.learned(task))


def unlearned_of(*runs: Run | None) -> tuple[str, ...]:
    """Tasks that had no label in the training of any one of these runs."""
    return tuple(dict.fromkeys(task for run in runs if run is not None for task in unlearned(run)))


def last(run: Run, rows: Iterable[Row], task: Callable[[Row], str]) -> list[Row]:
    """The rows in their order, those of tasks (or edges "source:target") that never learned at the end."""
    silent = set(unlearned(run))
    return sorted(rows, key=lambda row: bool(silent & set(task(row).split(":"))))


def tasks(run: Run, names: Iterable[str]) -> list[str]:
    """Task or edge names, those that never learned at the end."""
    return last(run, names, str)


def name(run: Run, task: str) -> str:
    """The task or edge as tables and selectors call it."""
    return named(task, unlearned(run))


def named(task: str, silent: Collection[str]) -> str:
    """The same, for tasks that are known not to have learned."""
    plain = task.replace(":", " → ")
    return plain if set(task.split(":")).isdisjoint(silent) else t("learned.named", name=plain)


def grey(run: Run, figure: go.Figure) -> go.Figure:
    """A figure over tasks: those that never learned last, under grey."""
    return learned_first(figure, unlearned(run), t("learned.why"))


def note(*runs: Run | None) -> None:
    """Which tasks of this page never learned, in any one of these runs; nothing where all did."""
    if silent := unlearned_of(*runs):
        put.caption(t("learned.note", tasks=", ".join(silent)))
