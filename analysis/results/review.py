"""What the report for review consists of, as values that HTML and PDF are both made from: they cannot say different things.

A report is two pages: the explanation with the fields that a person fills, and the checklist of what laws ask for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from ple_model.numerals import Language

BlockKind = Literal["facts", "table", "lines", "form"]
"""`facts`: rows (name, text); `table`: rows under `head`; `lines`: one text a row; `form`: names of fields that a person
fills."""
Level = Literal["ok", "unknown", "withheld"]


@dataclass(frozen=True)
class ReviewBlock:
    """One heading with what stands under it, every text in the report's language."""

    heading: str
    kind: BlockKind
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ()
    note: str = ""
    bold: int = 0
    """Last rows of a table that are sums."""
    numbers: bool = False
    """The columns beside the first are numbers, which stand right."""
    words: tuple[int, ...] = ()
    """Those of them that are words nonetheless."""


@dataclass(frozen=True)
class RunFacts:
    """What a report says of the model and its data, read from the run folder."""

    run: str
    preset: str
    trained: str
    """Day on which the training ended, ISO; empty where it did not."""
    data: str
    rows: int
    """Rows that the model learned from."""
    cutoffs: tuple[str, ...]
    """Of the rows in the run's sample that the model learned from."""
    horizon_days: Mapping[str, int]
    """Days from the cut-off on that a task's label looks at, for the tasks whose label looks as far as the dataset says."""
    window_days: int | None
    """Days before the cut-off that activity is counted over; None for a table of one's own columns."""
    generated: bool
    """The training data is made up: no person stands behind it."""


@dataclass(frozen=True)
class ReviewReport:
    """See the module docstring. `customer` is an id or its mask, as the report shows it."""

    language: Language
    title: str
    customer: str
    masked: bool
    answer: str
    """The decision with its number."""
    against: str
    """What the number is held against."""
    level: Level
    verdict: str
    """How far the explanation may be trusted, in one sentence."""
    first: tuple[ReviewBlock, ...]
    second_title: str
    second: tuple[ReviewBlock, ...]
    footer: str

    def digest(self) -> str:
        """sha256 over the contents, whatever they are printed on."""
        plain = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()
