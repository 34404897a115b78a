"""Amounts of time and disk as a person says them, in the session's language."""

from __future__ import annotations

from dashboard.i18n import t


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return t("unit.seconds", n=f"{seconds:.0f}")
    return t("unit.minutes", n=f"{seconds / 60:.0f}") if seconds < 5400 else t("unit.hours", n=f"{seconds / 3600:.1f}")


def size(count: float) -> str:
    """`12 MB`, `3.4 GB`."""
    mb = count / 1e6
    return t("unit.mb", n=f"{mb:,.0f}" if mb >= 10 else f"{mb:.1f}") if mb < 1000 else t("unit.gb", n=f"{mb / 1000:,.1f}")
