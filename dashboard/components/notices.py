"""What a training showed of itself, as sentences."""

from __future__ import annotations

from collections.abc import Iterable

from analysis.notices import Notice
from dashboard.i18n import t


def in_words(found: Iterable[Notice]) -> list[str]:
    """A sentence each."""
    return [t(f"notice.{x.kind}", task=x.task, expert=x.expert, value=f"{x.value:.2f}", epoch=x.since) for x in found]
