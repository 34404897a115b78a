"""What the open page shows, kept as it is drawn, so that it can be saved as a document of its own.

Components append what they draw (`record`); nothing is copied, since figures and tables are aggregates already. A save button
is pressed after the script has ended, in a thread that knows no session: the session's `PageRecorder` hands it the last page
that was drawn to its end.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
import streamlit as st

from analysis.checks.finding import Finding
from ple_model.errors import UserError

KEY = "shown_page"
WAIT_S = 120.0
"""How long a save waits for a page that is still being drawn; explanations are the slowest."""

Kind = Literal["heading", "text", "caption", "code", "success", "info", "warning", "error"]


@dataclass(frozen=True)
class Text:
    """A heading, a paragraph, a note or a block of code, in the app's Markdown."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Number:
    """One number with its name."""

    label: str
    value: str
    delta: str = ""
    about: str = ""


@dataclass(frozen=True)
class Card:
    """One finding, in the reader's language."""

    finding: Finding


@dataclass(frozen=True)
class Figure:
    """A plotly figure; `points` says that its marks are single customers, `wide` that it needs the page's full width."""

    key: str
    figure: Any
    title: str
    caption: str = ""
    points: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table with the formats of its columns; `customers` says that its rows are single customers."""

    key: str
    rows: pd.DataFrame
    title: str = ""
    caption: str = ""
    formats: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    customers: bool = False


@dataclass(frozen=True)
class Fold:
    """What the page shows folded under a line."""

    title: str
    items: list[Item]


Item = Text | Number | Card | Figure | Table | Fold


@dataclass
class Page:
    """One drawing of a page: what it is about, and its items in the page's order."""

    name: str
    title: str
    question: str
    language: str
    facts: dict[str, str] = field(default_factory=dict)
    """Run, compared run, customers: name (as shown) to words."""
    run: str = ""
    query: str = ""
    items: list[Item] = field(default_factory=list)
    _open: list[list[Item]] = field(default_factory=list, repr=False)

    def add(self, item: Item) -> None:
        """At the end of what is open; a figure or table that is drawn anew (by a fragment) takes its old place."""
        for items in (self.items, *self._open):
            for i, old in enumerate(items):
                if isinstance(item, Figure | Table) and isinstance(old, type(item)) and old.key == item.key:
                    items[i] = item
                    return
        (self._open[-1] if self._open else self.items).append(item)

    @contextmanager
    def fold(self, title: str) -> Iterator[None]:
        """Items added inside go under the line `title`."""
        inner: list[Item] = []
        self.add(Fold(title, inner))
        self._open.append(inner)
        try:
            yield
        finally:
            self._open.pop()

    def walk(self) -> Iterator[Item]:
        """Every item, folded ones too."""

        def inside(items: list[Item]) -> Iterator[Item]:
            for item in items:
                yield item
                if isinstance(item, Fold):
                    yield from inside(item.items)

        yield from inside(self.items)

    def file_name(self, suffix: str) -> str:
        """`RUN-PAGE.html`, without characters that a file system refuses."""
        return re.sub(r"[^\w.-]+", "-", f"{self.run}-{self.name}" if self.run else self.name).strip("-") + suffix


class PageRecorder:
    """A session's page: the one being drawn, and the last one that was drawn to its end."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self.drawing: Page | None = None
        self.shown: Page | None = None

    def begin(self, page: Page) -> None:
        """A script run starts; whatever an interrupted one left is forgotten."""
        with self._change:
            self.drawing = page

    def end(self, page: Page) -> None:
        """The page is complete."""
        with self._change:
            self.shown, self.drawing = page, None
            self._change.notify_all()

    def last(self, wait_s: float = WAIT_S) -> Page:
        """The page as the reader sees it: the one that is being drawn once it is complete, else the one before it."""
        with self._change:
            self._change.wait_for(lambda: self.drawing is None, wait_s)
            if self.shown is None:
                raise UserError(f"the page was not drawn within {wait_s:g} s; save it once it is shown")
            return self.shown


def recorder() -> PageRecorder:
    """The session's."""
    if KEY not in st.session_state:
        st.session_state[KEY] = PageRecorder()
    found: PageRecorder = st.session_state[KEY]
    return found


def current() -> Page | None:
    """The page that is being drawn or, in a fragment, the one that was; none outside the app."""
    found: PageRecorder | None = st.session_state.get(KEY)
    return (found.drawing or found.shown) if found is not None else None


def record(item: Item) -> None:
    """Keep what was drawn."""
    page = current()
    if page is not None:
        page.add(item)
