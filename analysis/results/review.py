"""What the report for review consists of, as values that HTML and PDF are both made from: they cannot say different things.

A report is four pages: the answer with its main reasons; all criteria and the data that it rests on; the form that a person
fills; and what laws ask for, with the technical identity. What must be known before anything is done with the answer stands
first (`ReviewReport.act`).
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
    heads: tuple[int, ...] = ()
    """Rows of a table that are small headings over those below them."""
    lead: str = ""
    """What must be known before the rows are read; it stands above them."""
    internal: str = ""
    """What is for the bank alone, above all else of the block: no customer is sent it."""
    tall: tuple[int, ...] = ()
    """Fields of a form with room for several lines."""
    key: str = ""
    """By what a page finds the block."""
    under: tuple[str, ...] = ()
    """Small print under the first cell of each row, where a table has any; empty for a row without."""


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
    periods: Mapping[str, tuple[int, int]]
    """First and last day after the cut-off's own that a task's label looks at (0: that day), for the tasks of which the dataset
    says it."""
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
    act: str
    """Why nobody may act on the answer alone: a person must decide. Empty where nothing of the kind is known."""
    made_up: str
    """That the data is synthetic; empty where it is not."""
    answer: str
    """The answer with its number."""
    meaning: str
    """What the number means, as a sentence."""
    against: str
    """What the number is held against."""
    level: Level
    """Of `verdict`: never `ok` beside `act`."""
    verdict: str
    """What of the calculation could not be checked; empty where all was, which stands among the limits and reads as no
    approval of the answer, and where `act` says it."""
    first: tuple[ReviewBlock, ...]
    pages: tuple[tuple[str, tuple[ReviewBlock, ...]], ...]
    """Those after the first, each with its title."""
    footer: str

    def block(self, key: str) -> ReviewBlock:
        """The block of this key, which every report has; `KeyError` for another."""
        found = self.find(key)
        if found is None:
            raise KeyError(key)
        return found

    def find(self, key: str) -> ReviewBlock | None:
        """The block of this key; None where this report has none, as one without reasons has no table by subject."""
        return next((b for b in self.blocks() if b.key == key), None)

    def blocks(self) -> tuple[ReviewBlock, ...]:
        """All of them, in their order."""
        return (*self.first, *(b for _, blocks in self.pages for b in blocks))

    def digest(self) -> str:
        """sha256 over the contents, whatever they are printed on."""
        plain = json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()
