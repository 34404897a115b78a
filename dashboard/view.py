"""What a page is: one file under `dashboard/views` that declares a `VIEW` record and its `render`; found by discovery."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import dashboard.views as package

if TYPE_CHECKING:
    from dashboard.frame import Frame

Needs = Literal["nothing", "run", "analysis"]
SECTIONS = ("health", "understand", "train")


@dataclass(frozen=True)
class View:
    """One page. `name` is its address and the prefix of its strings in the catalogue (`NAME.title`, `NAME.question`, ...).

    `needs` says what the frame must have before `render` is called: a readable run, or its stored analysis too. A page that
    needs nothing is about no run: it stands without the frame, and its `render` is called with None.
    """

    name: str
    section: str
    order: int
    icon: str
    needs: Needs
    render: Callable[[Frame], None]
    asks: Callable[[], str] = lambda: "question"
    """The string that heads the page, where what is chosen on it makes it another question than `NAME.question`."""

    @property
    def heading(self) -> str:
        """The key of the question that the page answers now."""
        return f"{self.name}.{self.asks()}"


@cache
def views() -> tuple[View, ...]:
    """Every page under `dashboard.views`, in the order of the navigation."""
    found = [importlib.import_module(f"{package.__name__}.{m.name}").VIEW for m in pkgutil.iter_modules(package.__path__)]
    return tuple(sorted(found, key=lambda v: (SECTIONS.index(v.section), v.order, v.name)))


def run_views() -> tuple[View, ...]:
    """The pages that are about a run."""
    return tuple(v for v in views() if v.needs != "nothing")
