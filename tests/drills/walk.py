"""A walk through the app by clicks: what a person does, counted and timed a step, with a picture of every screen."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Locator, Page

from dashboard.browser import DRAWN, WAIT_MS, ready
from dashboard.i18n import catalogue

EN = catalogue("en")
WIDTH, HEIGHT, MOST = 1360, 1000, 4200
"""Of the window, and how high a picture may be."""
HEIGHTS = """() => Math.max(...['[data-testid=stMain] [data-testid=stMainBlockContainer]', '[data-testid=stSidebarContent]']
  .map(s => document.querySelector(s)).filter(Boolean).map(e => e.scrollHeight + e.getBoundingClientRect().top))"""
Theme = Literal["light", "dark"]


@dataclass
class Step:
    """What one step of the walk took."""

    name: str
    seconds: float = 0.0
    clicks: int = 0
    typed: int = 0


@dataclass
class Walk:
    """The person: clicks and entries are counted, and every screen is kept in `out`."""

    page: Page
    out: Path
    steps: list[Step] = field(default_factory=list)
    pictures: int = 0

    @property
    def sidebar(self) -> Locator:
        return self.page.locator('[data-testid="stSidebar"]')

    @property
    def main(self) -> Locator:
        return self.page.locator('[data-testid="stMain"]')

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Whatever is done inside belongs to it."""
        found, began = Step(name), time.monotonic()
        self.steps.append(found)
        try:
            yield found
        except Exception:
            self.page.screenshot(path=self.out / "stuck.png")
            raise
        finally:
            found.seconds = time.monotonic() - began
            print(line(found), file=sys.stderr, flush=True)

    def click(self, what: Locator) -> None:
        """One click, and the page has answered."""
        self.steps[-1].clicks += 1
        what.click(timeout=WAIT_MS)
        self.page.wait_for_timeout(150)
        ready(self.page)

    def type(self, what: Locator, text: str, enter: str = "Enter") -> None:
        """One field filled."""
        self.steps[-1].typed += 1
        what.fill(text, timeout=WAIT_MS)
        what.press(enter)
        self.page.wait_for_timeout(150)
        ready(self.page)

    def choose(self, box: Locator, option: str) -> None:
        """An option of a select box: two clicks."""
        self.click(box)
        self.click(self.page.get_by_role("option", name=option, exact=True))

    def button(self, key: str, within: Locator | None = None, **words: object) -> Locator:
        """The button that says `key` in English."""
        return (within or self.page).get_by_role("button", name=EN[key].format(**words)).first

    def shown(self, text: str | re.Pattern[str], within: Locator | None = None, minutes: float = 30.0) -> None:
        """Wait until the page says it."""
        (within or self.page).get_by_text(text).first.wait_for(timeout=minutes * 60_000)
        ready(self.page)

    def attached(self, text: str, within: Locator) -> None:
        """Wait until a table that is drawn says it, in what it tells those who cannot see it."""
        within.get_by_text(text, exact=True).first.wait_for(state="attached", timeout=WAIT_MS)
        ready(self.page)

    def picture(self, name: str, *, everywhere: bool = False) -> None:
        """The whole screen as it is; `everywhere`: dark, and in Korean, too."""
        began = time.monotonic()
        self.pictures += 1
        self._shoot(f"{self.pictures:02d}-{name}")
        if everywhere:
            self.page.emulate_media(color_scheme="dark")
            self._shoot(f"{self.pictures:02d}-{name}-dark")
            self.page.emulate_media(color_scheme="light")
            self._speak("ko")
            self._shoot(f"{self.pictures:02d}-{name}-ko")
            self._speak("en")
        if self.steps:
            self.steps[-1].seconds -= time.monotonic() - began  # no person takes pictures

    def _speak(self, language: str) -> None:
        self.sidebar.get_by_role("radio", name=language, exact=True).click()
        self.page.wait_for_timeout(400)
        ready(self.page)

    def _shoot(self, name: str) -> None:
        ready(self.page)
        self.page.wait_for_timeout(300)
        tall = min(max(int(self.page.evaluate(HEIGHTS)) + 40, HEIGHT), MOST)
        self.page.set_viewport_size({"width": WIDTH, "height": tall})
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.out / f"{name}.png")
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        self.page.wait_for_timeout(200)

    def drawn(self) -> None:
        """Wait for every figure of the page."""
        ready(self.page)
        self.page.wait_for_function(DRAWN, timeout=WAIT_MS)

    def to_dict(self) -> dict[str, Any]:
        return {"steps": [asdict(s) for s in self.steps], **totals(self.steps)}


def totals(steps: list[Step]) -> dict[str, float | int]:
    """Of the whole walk."""
    return {
        "minutes": round(sum(s.seconds for s in steps) / 60, 1), "clicks": sum(s.clicks for s in steps),
        "fields": sum(s.typed for s in steps),
    }  # fmt: skip


def line(step: Step) -> str:
    """A step as it is printed."""
    return f"{step.name:<34} {step.seconds / 60:6.1f} min  {step.clicks:3d} clicks  {step.typed:2d} fields"
