"""Whether a row has an input: one key from the events to the analysis, and what the files call it.

A key is an input field (`txn_seq`), a part of `features` (`features:<part>`) or a task (`task:<task>`: the rows for which it is
defined). `PLEClusterInput.presence`, `Expert.reads`, `DatasetManifest.presence` and every statistic speak in keys. Two file
formats have names of their own, which are fixed because stored folders hold them:

* a dataset's Parquet parts hold the column `p_<key>` (`presence_column`), and so do the arrays it is built from;
* an analysis store holds, a row, the column `f:<expert>` (`fallback_column`): none of the keys that the expert reads was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TypeVar

Values = TypeVar("Values")
_PART, _TASK, _COLUMN = "features:", "task:", "p_"


class Absence(IntEnum):
    """Why a row does not have an input: the code of a row, and the order in which causes are counted."""

    NONE = 0
    """It has it."""
    FIELD = 1
    """The data do not have the field at all."""
    ROW = 2
    """This row does not have it."""
    MASK = 3
    """The row's mask leaves nothing."""


def part_key(part: str) -> str:
    return f"{_PART}{part}"


def task_key(task: str) -> str:
    return f"{_TASK}{task}"


def is_part(key: str) -> bool:
    return key.startswith(_PART)


def plain_name(key: str) -> str:
    """The key's part, or its field: what a person is shown."""
    return key.removeprefix(_PART)


def task_of(key: str) -> str | None:
    """The task whose definition the key tells; None for an input's key."""
    return key.removeprefix(_TASK) if key.startswith(_TASK) else None


def presence_column(key: str) -> str:
    return f"{_COLUMN}{key}"


def presence_columns(presence: Mapping[str, Values]) -> dict[str, Values]:
    """What is known by key, by column."""
    return {presence_column(key): values for key, values in presence.items()}


def presence_key(column: str) -> str | None:
    """The key of a dataset's column; None for a column of values."""
    return column.removeprefix(_COLUMN) if column.startswith(_COLUMN) else None


def fallback_column(expert: str) -> str:
    return f"f:{expert}"
