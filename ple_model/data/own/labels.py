"""Label columns of one's own table -> labels of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ple_model.data.own.schema_file import OwnColumn, OwnTable
from ple_model.data.own.table import OwnRowsRead
from ple_model.errors import UserError, did_you_mean
from ple_model.tasks import TASKS

Array = NDArray[Any]


def read_labels(
    table: OwnTable, rows: OwnRowsRead, train: NDArray[np.int64]
) -> tuple[dict[str, Array], dict[str, tuple[str, ...]]]:
    """(labels by task: classes with -1, numbers with NaN where missing; class names by multiclass task). `UserError` with all
    faults: a value that no class is, a label with one value among the training rows."""
    labels: dict[str, Array] = {}
    classes: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    for column in table.of("label"):
        kind = TASKS[column.task].kind
        words = rows.labels[column.task]
        if kind == "regression":
            y, known = _numbers(column, words, faults), None
        elif kind == "binary":
            y, known = _binary(column, words, faults), None
        else:
            y, known = _classes(column, words, train, faults)
        if known is not None:
            classes[column.task] = known
        mine = y[train]
        there = mine[np.isfinite(mine)] if kind == "regression" else mine[mine >= 0]
        if len(np.unique(there)) < 2 and not any(f"'{column.name}'" in f for f in faults):
            what = "no value" if not len(there) else f"one value ({there[0]:g})"
            faults.append(f"label '{column.name}' has {what} among the training rows; there is nothing to learn from it")
        labels[column.task] = y
    if faults:
        raise UserError("; ".join(faults))
    return labels, classes


def _example(words: Array, wrong: Array) -> tuple[int, str]:
    bad = words[wrong]
    return len(bad), str(bad[0]) if len(bad) else ""


def _numbers(column: OwnColumn, words: Array, faults: list[str]) -> Array:
    y = np.array([_number(w) for w in words], np.float64)
    there = np.array([w is not None for w in words])
    if (bad := _example(words, there & ~np.isfinite(y)))[0]:
        faults.append(f"label '{column.name}' has {bad[0]:,} values that are no number, for example {bad[1]!r}")
    if TASKS[column.task].log_scale:
        if (bad := _example(words, y < 0))[0]:
            faults.append(
                f"label '{column.name}' has {bad[0]:,} values below 0, for example {bad[1]!r}; task '{column.task}' is learned "
                "on log(1 + value), give it to balance_util, spending_bucket or merchant_affinity"
            )
        y = np.log1p(np.maximum(y, 0.0))
    return y.astype(np.float32)


def _number(word: str | None) -> float:
    try:
        return float("nan") if word is None else float(word)
    except ValueError:
        return float("nan")


def _binary(column: OwnColumn, words: Array, faults: list[str]) -> Array:
    there = np.array([w is not None for w in words])
    if column.positive:
        yes = np.isin(words.astype(str), column.positive)
        if not (yes & there).any():
            faults.append(
                f"label '{column.name}': no row holds {column.positive[0]!r}"
                f"{did_you_mean(column.positive[0], {str(w) for w in words[there]})}"
            )
        return np.where(there, yes, -1).astype(np.int32)
    y = np.array([_number(w) for w in words])
    if (bad := _example(words, there & ~np.isin(y, (0.0, 1.0))))[0]:
        faults.append(
            f"label '{column.name}' has {bad[0]:,} values that are neither 0 nor 1, for example {bad[1]!r}; "
            "'positive' names the one that counts as 1"
        )
    return np.where(there & np.isfinite(y), y == 1.0, -1).astype(np.int32)


def _classes(column: OwnColumn, words: Array, train: NDArray[np.int64], faults: list[str]) -> tuple[Array, tuple[str, ...]]:
    named = column.classes or tuple(sorted({str(w) for w in words[train] if w is not None}))
    most = TASKS[column.task].out_dim
    if len(named) > most:
        faults.append(f"label '{column.name}' has {len(named)} classes, task '{column.task}' takes {most} at most")
    index = {c: i for i, c in enumerate(named)}
    y = np.array([-1 if w is None else index.get(str(w), -2) for w in words], np.int32)
    if column.classes and (bad := _example(words, y == -2))[0]:
        faults.append(
            f"label '{column.name}' has {bad[0]:,} values that are none of its classes, for example {bad[1]!r}"
            f"{did_you_mean(bad[1], named)}"
        )
    return np.maximum(y, -1), named
