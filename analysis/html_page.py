"""One HTML file that opens offline: every report and saved page is written by this."""

from __future__ import annotations

import html
from functools import cache
from importlib import resources

REPORT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What a saved report may load: nothing from anywhere. It is one file with its own styles, scripts and pictures."""


def html_page(title: str, body: str, style: str, language: str = "en") -> str:
    """The whole file; `title` is escaped here, `body` and `style` are HTML and CSS already."""
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{REPORT_POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body>{body}</body></html>"
    )


@cache
def asset(package: str, name: str) -> str:
    """A style sheet or script of a package's folder `assets`."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
